"""`beachhead key`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from ingest import store as keys
from pipelines import lists
from pipelines.commands.output import JsonFlag, show
from schemas.addresses import Role, role_url
from schemas.database import engine

app = typer.Typer(
    help="Gateway keys. Only a hash is kept: a key is shown once, when it is made.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def create(gateway: Annotated[str, typer.Argument(help="The gateway, as gateway or pilot/gateway.")]) -> None:
    """Make another key for a gateway; the ones it has stay valid until they are revoked."""
    with engine(role_url(Role.OWNER)).begin() as connection:
        typer.echo(keys.create_key(connection, lists.gateway_id(connection, gateway)))


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """All keys, by the part of them that is no secret."""
    with engine(role_url(Role.OWNER)).connect() as connection:
        show([dataclasses.asdict(key) for key in keys.list_keys(connection)], as_json=as_json)


@app.command()
def revoke(prefix: Annotated[str, typer.Argument(help="The key's prefix, from `beachhead key list`.")]) -> None:
    """Make a key useless."""
    with engine(role_url(Role.OWNER)).begin() as connection:
        keys.revoke_key(connection, prefix)
    typer.echo(f"Key {prefix} is revoked.")
