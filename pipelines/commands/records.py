"""`beachhead records`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from pipelines.records import KindName, import_records
from schemas.addresses import Role, role_url
from schemas.database import engine

app = typer.Typer(
    help="What people and schedules say: service plans, maintenance, roadcalls, fuel, meters, outages.",
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def _group() -> None:
    """Records."""


@app.command("import")
def import_(
    kind: Annotated[KindName, typer.Argument(help="What the file holds.")],
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV with a header.")],
    pilot: Annotated[str | None, typer.Option(help="The pilot whose vehicles are meant, where names repeat.")] = None,
) -> None:
    """Import a CSV of records: all of it, or nothing and a list of faults."""
    with Session(engine(role_url(Role.WEB))) as session, session.begin():
        report = import_records(session, kind, file, pilot)
    typer.echo(f"{report.rows} rows read, {report.changed} of them new or changed.")
