"""`beachhead db` and `beachhead migrate`."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Annotated

import psycopg
import typer
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pipelines.commands.output import JsonFlag, show
from schemas import database as databases
from schemas.addresses import Role, role_url
from schemas.errors import SettingsError
from schemas.local.progress import reporter
from schemas.local.provision import SCHEDULER
from schemas.local.provision import provision as make_roles
from schemas.local.server import Server, open_server, running_server
from schemas.settings import settings

app = typer.Typer(
    help="The TimescaleDB of this checkout, or the one BEACHHEAD_DATABASE_URL names.",
    no_args_is_help=True,
    add_completion=False,
)


def server() -> Server:
    """The server that the settings mean."""
    given = settings().database_url
    return open_server(settings().home, given.get_secret_value() if given else None)


@app.command()
def up() -> None:
    """Start the server, and make it first where there is none."""
    with reporter() as report:
        status = server().up(report)
    typer.echo(f"TimescaleDB runs ({status.origin}); `beachhead db url` prints its address.")


@app.command()
def down() -> None:
    """Stop the server. Its data stays."""
    server().down()
    is_given = settings().database_url is not None
    typer.echo(
        "The server that BEACHHEAD_DATABASE_URL names is not of this checkout: it still runs."
        if is_given
        else "TimescaleDB is stopped; its data stays."
    )


@app.command("status")
def tell_status(as_json: JsonFlag = False) -> None:
    """Tell whether the server runs; exit 1 when it does not."""
    status = server().status()
    show([dataclasses.asdict(status)], as_json=as_json)
    if not status.running:
        raise typer.Exit(1)


@app.command()
def provision(
    superuser_url: Annotated[str, typer.Option(envvar="BEACHHEAD_SUPERUSER_URL", help="A superuser's address.")],
    scheduler_url: Annotated[
        str, typer.Option(envvar="BEACHHEAD_SCHEDULER_URL", help="The address of Airflow's own database.")
    ],
) -> None:
    """Make roles and databases on a server of your own, with the passwords that the roles' addresses name."""
    passwords = {str(role): _password(role_url(role)) for role in Role}
    make_roles(superuser_url, passwords | {SCHEDULER: _password(scheduler_url)})
    typer.echo("Roles and databases are there.")


def _password(url: str) -> str:
    password = conninfo_to_dict(url).get("password")
    if not password:
        raise SettingsError("An address of a role has no password.")
    return str(password)


@app.command()
def url(
    role: Annotated[Role, typer.Option(help="Whose address.")] = Role.OWNER,
    database: Annotated[str | None, typer.Option(help="Another database of the local server, such as demo.")] = None,
) -> None:
    """Print the address of the database for a role, password included."""
    typer.echo(server().url(role, database) if database else role_url(role))


def migrate(
    check: Annotated[
        bool,
        typer.Option("--check", help="Prove on a scratch database that migrations and models agree; keep nothing."),
    ] = False,
) -> None:
    """Bring the database up to date, and give each role its rights."""
    if check:
        _prove()
        typer.echo("Migrations apply on an empty database, agree with the models, and can be taken back.")
    else:
        databases.migrate(role_url(Role.OWNER))
        typer.echo("The database is up to date.")


def _prove() -> None:
    """Upgrade, compare, downgrade and upgrade again, in a database that is made for this and dropped."""
    with reporter() as report, running_server(settings().home, report) as local:
        name = sql.Identifier(scratch := f"scratch_{uuid.uuid4().hex}")
        with psycopg.connect(local.url("postgres", "postgres"), autocommit=True) as superuser:
            superuser.execute(sql.SQL("CREATE DATABASE {} OWNER beachhead TEMPLATE template0").format(name))
            try:
                url = local.url(Role.OWNER, scratch)
                databases.migrate(url)
                databases.check(url)
                databases.downgrade(url)
                databases.migrate(url)
            finally:
                superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
