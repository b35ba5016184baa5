"""`beachhead pilot`."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from pipelines import lists, registry, store
from pipelines.commands.output import JsonFlag, show
from schemas.addresses import Role, role_url
from schemas.database import engine
from schemas.programme import read_programme

app = typer.Typer(help="Pilots, and the programme files that declare them.", no_args_is_help=True, add_completion=False)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The programme's YAML file.")],
) -> None:
    """Make the registry say what a programme file says. New gateway keys are printed once."""
    programme = read_programme(file)
    with Session(engine(role_url(Role.OWNER))) as session, session.begin():
        report = registry.import_programme(session, programme, dt.datetime.now(dt.UTC).date())
    typer.echo(
        f"{', '.join(report.pilots)}: {len(report.added)} entries new, {len(report.changed)} changed,"
        f" {len(report.ended)} ended."
    )
    for line in (*report.changed, *(f"{name}: ended" for name in report.ended)):
        typer.echo(f"  {line}")
    if report.new_keys:
        typer.echo("Gateway keys, shown this once:")
    for gateway, key in report.new_keys.items():
        typer.echo(f"  {gateway}  {key}")


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """All pilots."""
    with engine(role_url(Role.JOBS)).connect() as connection:
        show(lists.pilot_rows(connection), as_json=as_json, empty="no pilots yet: `beachhead pilot import FILE.yaml`")


@app.command("show")
def show_(slug: str, as_json: JsonFlag = False) -> None:
    """A pilot's vehicles."""
    with engine(role_url(Role.JOBS)).connect() as connection:
        show(lists.vehicle_rows(connection, store.pilot_facts(connection, slug)), as_json=as_json)
