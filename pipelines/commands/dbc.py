"""`beachhead dbc`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer

from ingest.can import j1939_table
from ingest.can.dbc import read_dbc
from ingest.can.propose import factor_of, propose
from ingest.can.specs import Canonical, MessageSpec
from pipelines import dbc_files
from pipelines.commands.output import JsonFlag, show
from pipelines.commands.uploads import corrections
from schemas.addresses import Role, role_url
from schemas.database import engine
from schemas.errors import NotFoundError
from schemas.signals import SIGNALS

BUILT_IN = "j1939"
app = typer.Typer(
    help="Definitions of CAN frames: DBC files, where they hold, and which of their signals are canonical.",
    no_args_is_help=True,
    add_completion=False,
)
VehicleOption = Annotated[str | None, typer.Option(help="The vehicle, as vehicle or pilot/vehicle.")]


@app.command()
def add(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The DBC file.")],
    vehicle: VehicleOption = None,
    model: Annotated[str | None, typer.Option(help="Every vehicle of this model.")] = None,
    channel: Annotated[str | None, typer.Option(help="Only this bus, as logs name it.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Take the proposed map without asking.")] = False,
) -> None:
    """Add a DBC file, say where it holds, and confirm the map that is proposed."""
    if (vehicle is None) == (model is None):
        raise typer.BadParameter("say where it holds: --vehicle or --model")
    content = file.read_bytes()
    dbc = read_dbc(content, file.name)
    for warning in dbc.warnings:
        typer.echo(f"warning: {file.name}: {warning}", err=True)
    with engine(role_url(Role.OWNER)).begin() as connection:
        dbc_id = dbc_files.add(connection, dbc, content)
        target = dbc_files.vehicle_id(connection, vehicle) if vehicle else None
        dbc_files.bind(connection, dbc_id, target, model, channel)
    signals = sum(len(message.signals) for message in dbc.messages)
    typer.echo(f"{file.name}: {len(dbc.messages)} messages, {signals} signals, for {vehicle or model}.")
    _confirm(dbc_id, dbc.messages, file.name, yes=yes)
    _tell_outdated(dbc_id, f"--dbc {file.name}")


def _confirm(dbc_id: int, messages: tuple[MessageSpec, ...], name: str, *, yes: bool) -> None:
    proposals = propose(messages)
    with engine(role_url(Role.OWNER)).connect() as connection:
        known = {row["canonical"] for row in dbc_files.mapped(connection, dbc_id)}
    proposals = [proposal for proposal in proposals if proposal.canonical.name not in known]
    if not proposals:
        typer.echo(f"No new map is proposed. Set one: beachhead dbc map {name} speed_kmh=Message.Signal")
        return
    show([_shown(proposal.canonical, proposal.unit) for proposal in proposals], as_json=False)
    if yes or typer.confirm("Use this map? Check the sign of the battery's current: + is into the battery."):
        with engine(role_url(Role.OWNER)).begin() as connection:
            for proposal in proposals:
                dbc_files.set_map(connection, dbc_id, None, proposal.canonical.name, [proposal.canonical])
        typer.echo("The map is in use for logs from now on.")


def _tell_outdated(dbc_id: int, option: str) -> None:
    """Say how many kept logs were decoded by other definitions, and what brings them up to date."""
    with engine(role_url(Role.OWNER)).connect() as connection:
        vehicles = dbc_files.vehicles_of(connection, dbc_id)
    logs = sum(len(corrections().outdated_logs(vehicle)) for vehicle in vehicles)
    if logs:
        typer.echo(f"{logs} kept logs were decoded before this: `beachhead redecode {option}` decodes them anew.")


def _shown(canonical: Canonical, unit: str) -> dict[str, object]:
    return {
        "canonical": canonical.name, "signal": f"{canonical.message}.{canonical.signal}", "unit": unit,
        "factor": canonical.factor, "offset": canonical.offset,
    }  # fmt: skip


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """Every DBC file, and where it holds."""
    with engine(role_url(Role.OWNER)).connect() as connection:
        show(dbc_files.listed(connection), as_json=as_json, empty="no DBC files yet: beachhead dbc add FILE")


@app.command("map")
def map_(
    dbc: Annotated[str, typer.Argument(help=f"The file's name or hash, or {BUILT_IN} for the built-in table.")],
    entries: Annotated[
        list[str] | None, typer.Argument(help="canonical=Message.Signal[*factor][,Message.Signal …]; empty: ends it.")
    ] = None,
    vehicle: VehicleOption = None,
    keep: Annotated[list[str] | None, typer.Option(help="Message.Signal to store at full resolution.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show a map, or say which signals are canonical: battery_current_a=BMS.Current*-1 turns a sign."""
    with engine(role_url(Role.OWNER)).begin() as connection:
        dbc_id, messages = _definitions(connection, dbc)
        target = dbc_files.vehicle_id(connection, vehicle) if vehicle else None
        for entry in entries or []:
            name, _, signals = entry.partition("=")
            if name not in SIGNALS:
                raise typer.BadParameter(f"{name} is no canonical signal")
            found = [_parsed(name, text, messages) for text in signals.split(",") if text]
            dbc_files.set_map(connection, dbc_id, target, name, found)
        if keep:
            kept = [_parsed(None, text, messages) for text in keep]
            dbc_files.set_map(connection, dbc_id, target, None, kept)
        show(dbc_files.mapped(connection, dbc_id), as_json=as_json, empty="nothing is mapped yet")
    if dbc_id is not None and (entries or keep) and not as_json:
        _tell_outdated(dbc_id, f"--dbc {dbc}")


def _definitions(connection: sa.Connection, name: str) -> tuple[int | None, tuple[MessageSpec, ...]]:
    if name == BUILT_IN:
        return None, j1939_table.MESSAGES
    dbc_id, content, file = dbc_files.find(connection, name)
    return dbc_id, read_dbc(content, file).messages


def _parsed(name: str | None, text: str, messages: tuple[MessageSpec, ...]) -> Canonical:
    """`Message.Signal`, with `*factor` where the proposed one does not serve."""
    path, _, factor = text.partition("*")
    message, _, signal = path.partition(".")
    spec = next((s for m in messages if m.name == message for s in m.signals if s.name == signal), None)
    if spec is None:
        raise NotFoundError(f"{path} is in no message of this file")
    scale, offset = (factor_of(spec.unit, name) if name else None) or (1.0, 0.0)
    return Canonical(name or "", message, signal, scale * float(factor or 1), offset * float(factor or 1))
