"""`beachhead redecode`."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn, Progress

from pipelines import dbc_files
from pipelines.commands.output import console
from pipelines.commands.uploads import NEXT, corrections
from schemas.addresses import Role, role_url
from schemas.database import engine


def redecode(
    upload: Annotated[uuid.UUID | None, typer.Option(help="One log, by the id of its upload.")] = None,
    vehicle: Annotated[str | None, typer.Option(help="The vehicle's logs, as vehicle or pilot/vehicle.")] = None,
    dbc: Annotated[str | None, typer.Option(help="The logs of every vehicle for which this DBC file holds.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also logs that the present definitions decoded.")] = False,
) -> None:
    """Decode kept logs anew, after a DBC file or a map changed: what is stored is what it would always have been."""
    if [upload, vehicle, dbc].count(None) != 2:
        raise typer.BadParameter("say what: --upload, --vehicle or --dbc")
    logs = [upload] if upload else _logs(vehicle, dbc, every=every)
    if not logs:
        typer.echo("Every log is decoded by the present definitions already; --all decodes them anyway.")
        return
    with Progress(
        *Progress.get_default_columns(), MofNCompleteColumn(), console=console, disable=not console.is_terminal
    ) as bars:
        bar = bars.add_task("decoding", total=len(logs))
        for done in corrections().redecode(logs):
            bars.update(bar, completed=done)
    typer.echo(f"{len(logs)} {'log' if len(logs) == 1 else 'logs'} decoded anew. {NEXT}")


def _logs(vehicle: str | None, dbc: str | None, *, every: bool) -> list[uuid.UUID]:
    with engine(role_url(Role.OWNER)).connect() as connection:
        if vehicle is not None:
            vehicles = [dbc_files.vehicle_id(connection, vehicle)]
        else:
            vehicles = dbc_files.vehicles_of(connection, dbc_files.find(connection, dbc or "")[0])
    return [log for one in vehicles for log in corrections().outdated_logs(one, every=every)]
