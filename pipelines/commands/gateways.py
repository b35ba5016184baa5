"""`beachhead gateway`."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import psycopg
import typer

from ingest.scorecard import score
from pipelines import lists
from pipelines.commands.output import JsonFlag, show
from schemas.addresses import Role, role_url
from schemas.database import engine
from schemas.wire import GatewayScore

app = typer.Typer(help="How gateways do.", no_args_is_help=True, add_completion=False)


@app.callback()
def _group() -> None:
    pass


@app.command("show")
def show_(
    gateway: Annotated[str, typer.Argument(help="The gateway, as gateway or pilot/gateway.")], as_json: JsonFlag = False
) -> None:
    """A gateway's scorecard: what came, what was late, rejected or in conflict, and whether its clock is right."""
    with engine(role_url(Role.INGEST)).connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)  # noqa: S101  (engine() names this driver)
        told = score(driver, lists.gateway_id(connection, gateway), dt.datetime.now(dt.UTC))
    if as_json:
        typer.echo(told.model_dump_json(indent=1))
    else:
        _print(told)


def _print(told: GatewayScore) -> None:
    seen_at, upload_at, clock = told.last_seen_at or "never", told.last_upload_at or "never", told.clock
    typer.echo(f"{told.pilot}/{told.gateway}: last seen {seen_at}, last upload {upload_at}")
    behind = "not known" if clock.offset_s is None else f"{clock.offset_s:g} s behind, spread {clock.spread_s:g} s"
    typer.echo(f"clock: {behind}, from {clock.uploads} uploads" + (f"; {clock.note}" if clock.note else ""))
    short, long = told.last_7_days.model_dump(), told.last_30_days.model_dump()
    rows = [{"what": name, "last_7_days": short[name], "last_30_days": long[name]} for name in short]
    show(rows, as_json=False)
    show([reject.model_dump() for reject in told.last_rejects], as_json=False, empty="nothing was rejected")
