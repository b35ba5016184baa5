"""`beachhead factors`."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from pipelines import lists, store
from pipelines.commands.output import JsonFlag, show
from pipelines.factors import import_factors, own_factors, remove_table
from schemas.addresses import Role, role_url
from schemas.database import engine

NEXT = "`beachhead compute --stale`, or the next scheduled run, computes the days anew."
app = typer.Typer(
    help="Emission factors: those that ship, and your own.", no_args_is_help=True, add_completion=False
)  # fmt: skip


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV with a header, or Parquet.")],
) -> None:
    """Import own factors, annual or hourly: all of the file, or nothing and a list of faults."""
    with Session(engine(role_url(Role.WEB))) as session, session.begin():
        report = import_factors(session, file)
    typer.echo(
        f"{report.rows} rows read, {report.factors_changed} factors and {report.hours_changed} hours new or changed."
    )
    if report.vehicles:
        typer.echo(f"{report.vehicles} vehicles may have other figures now: {NEXT}")


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Option(help="grid, fuel, trace, line_loss …: only these.")] = None,
    own: Annotated[bool, typer.Option("--own", help="Only imported ones.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Every factor with value, unit, boundary, year, edition, source and confidence."""
    with engine(role_url(Role.JOBS)).connect() as connection:
        rows = lists.factor_rows(own_factors(connection), kind, own_only=own)
    show(rows, as_json=as_json, empty="no such factors")


@app.command("show")
def show_(
    name: Annotated[str, typer.Argument(help="A grid such as egrid:CAMX, or a fuel such as diesel.")],
    region: Annotated[str, typer.Option(help="Of a fuel: the region where it is burnt, such as US-CA.")] = "WORLD",
    pilot: Annotated[str | None, typer.Option(help="Of a fuel: the pilot that burns it.")] = None,
    day: Annotated[dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="On this day; default: today.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """What answers on a day, the first at each boundary being used; where nothing does, why."""
    on = (day or dt.datetime.now(dt.UTC)).date()
    with engine(role_url(Role.JOBS)).connect() as connection:
        own = own_factors(connection)
        pilot_id = None if pilot is None else store.pilot_facts(connection, pilot).pilot_id
    place = lists.FuelPlace(region, pilot_id)
    show(lists.factor_answers(own, name, place, on), as_json=as_json, empty=f"no factor of {name} is known")


@app.command("remove")
def remove(table: Annotated[str, typer.Argument(help="An imported table, by the name in its file.")]) -> None:
    """Take an imported table away."""
    with Session(engine(role_url(Role.WEB))) as session, session.begin():
        count = remove_table(session, table)
    typer.echo(f"{count} factors removed. {NEXT}")
