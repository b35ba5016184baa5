"""`beachhead compute`."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer
from rich.progress import Progress

from pipelines import store
from pipelines.commands.output import JsonFlag, console, show
from pipelines.compute import Computed, Selection, compute_pilot
from schemas.addresses import Role, role_url
from schemas.database import engine

DATE = ["%Y-%m-%d"]


def compute(
    pilot: Annotated[str | None, typer.Option(help="One pilot; default: all.")] = None,
    vehicle: Annotated[list[str] | None, typer.Option(help="These vehicles only; may be given again.")] = None,
    from_: Annotated[dt.datetime | None, typer.Option("--from", formats=DATE, help="First operating day.")] = None,
    to: Annotated[dt.datetime | None, typer.Option(formats=DATE, help="Last operating day.")] = None,
    stale: Annotated[bool, typer.Option("--stale", help="Only what changed since it was computed.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Compute vehicle-days and pilot-days; rows that come out the same stay as they are."""
    if stale and (vehicle or from_ or to):
        raise typer.BadParameter("--stale chooses the days itself: leave out --vehicle, --from and --to")
    selection = Selection(stale, frozenset(vehicle) if vehicle else None, from_ and from_.date(), to and to.date())
    url = role_url(Role.JOBS)
    with engine(url).connect() as connection:
        slugs = [pilot] if pilot else store.stale_pilots(connection) if stale else store.all_pilots(connection)
    show([_row(_compute(url, slug, selection)) for slug in slugs], as_json=as_json, empty="Nothing is stale.")


def _compute(url: str, slug: str, selection: Selection) -> Computed:
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(slug)
        return compute_pilot(url, slug, selection, lambda done, total: bars.update(bar, completed=done, total=total))


def _row(done: Computed) -> dict[str, object]:
    return {
        "pilot": done.pilot, "vehicle_days": done.vehicle_days, "changed": done.changed,
        "pilot_days_changed": done.pilot_days_changed,
    }  # fmt: skip
