"""`beachhead period`."""

from __future__ import annotations

import datetime as dt
import getpass
from typing import Annotated

import sqlalchemy as sa
import typer

from pipelines import periods, store
from pipelines.commands.output import JsonFlag, show
from schemas import tables
from schemas.addresses import Role, role_url
from schemas.database import engine

app = typer.Typer(help="Months that are closed: their figures stay.", no_args_is_help=True, add_completion=False)
Month = Annotated[dt.datetime, typer.Option(formats=["%Y-%m"], help="The month.")]


@app.callback()
def _group() -> None:
    """Months that are closed."""


@app.command("close")
def close(
    pilot: Annotated[str, typer.Argument(help="The pilot.")],
    month: Month,
    by: Annotated[str | None, typer.Option(help="Who closes it; default: the account this runs as.")] = None,
    note: Annotated[str | None, typer.Option(help="What is to be remembered with it.")] = None,
) -> None:
    """Keep a month's figures, their lineage and the factors as they are now. Later changes make a new revision."""
    with engine(role_url(Role.JOBS)).connect() as connection, connection.begin():
        facts = store.pilot_facts(connection, pilot)
        done = periods.close(connection, facts, month.date().replace(day=1), by or getpass.getuser(), note)
    typer.echo(f"{pilot} {done.month:%Y-%m} is closed, revision {done.revision}, by {done.closed_by}.")


@app.command("list")
def list_(
    pilot: Annotated[str | None, typer.Argument(help="One pilot; default: all.")] = None, as_json: JsonFlag = False
) -> None:
    """Every closed month with its revisions."""
    period = tables.ReportPeriod
    query = (
        sa.select(tables.Pilot.slug.label("pilot"), period.month, period.revision, period.closed_at, period.closed_by,
                  period.days, period.code_version, period.note)
        .join(tables.Pilot, tables.Pilot.id == period.pilot_id)
        .order_by(tables.Pilot.slug, period.month, period.revision)
    )  # fmt: skip
    with engine(role_url(Role.JOBS)).connect() as connection:
        rows = connection.execute(query if pilot is None else query.where(tables.Pilot.slug == pilot)).mappings().all()
    show([{**row, "month": f"{row['month']:%Y-%m}"} for row in rows], as_json=as_json, empty="No month is closed.")
