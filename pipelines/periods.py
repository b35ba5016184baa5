"""Closing of periods: a pilot's month becomes a row that nothing changes any more.

A closing keeps the figures, what they were computed from and by, and pins every factor that was known: whatever is
computed of these days later uses the same. Late data or a found error that changes a closed month makes a new revision
beside the old one, with its cause; a new edition of a factor does not.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dataframely as dy
import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from analytics import metrics
from analytics.factors.contract import Factors
from analytics.factors.own import with_own
from analytics.periods import changes, days_of
from pipelines.factors import own_factors
from pipelines.store import PilotFacts
from schemas import tables
from schemas.errors import PeriodError
from schemas.frames import Figures, schema_of

JOB = "beachhead compute"
"""Who makes a revision that nobody asked for."""


@dataclass(frozen=True)
class Pin:
    """A closed month, and the factors that hold in it."""

    month: dt.date
    factors_sha256: str

    def covers(self, day: dt.date) -> bool:
        """Whether a day is of this month."""
        return (day.year, day.month) == (self.month.year, self.month.month)


@dataclass(frozen=True)
class Closing:
    """A closed month as it stands."""

    month: dt.date
    revision: int
    closed_by: str
    figures: Mapping[str, Any]


# --- closing --------------------------------------------------------------------------------------


def close(connection: sa.Connection, facts: PilotFacts, month: dt.date, by: str, note: str | None) -> Closing:
    """Close a month, in the connection's transaction; again makes a new revision where anything changed.

    Raises:
        PeriodError: the month is not over or not computed up to date, or it is closed and nothing changed.
    """
    _refuse_early(connection, facts, month)
    return _revised(connection, facts.pilot_id, month, by, note) or _unchanged(month)


def _unchanged(month: dt.date) -> Closing:
    raise PeriodError(f"{month:%Y-%m} is closed already, and nothing has changed since")


def _refuse_early(connection: sa.Connection, facts: PilotFacts, month: dt.date) -> None:
    last = days_of(month).last
    newest = connection.scalar(sa.select(sa.func.max(tables.PilotDay.day)).filter_by(pilot_id=facts.pilot_id))
    if newest is None or newest < month:
        raise PeriodError(f"nothing is computed for {month:%Y-%m}")
    if newest < last:
        raise PeriodError(f"{month:%Y-%m} is not over: the newest day with results is {newest}")
    mark, span = tables.StaleMark, facts.calendar.span(month, last)
    ids = [vehicle.vehicle_id for vehicle in facts.vehicles]
    stale = sa.select(mark.id).where(
        mark.vehicle_id.in_(ids), mark.from_time < span.ends_at, mark.to_time >= span.starts_at
    )
    if connection.scalar(stale.limit(1)) is not None:
        raise PeriodError(f"{month:%Y-%m} has changes that are not computed yet: run `beachhead compute --stale` first")


def restate(connection: sa.Connection, pilot_id: int, days: Sequence[dt.date], causes: Sequence[str]) -> list[Closing]:
    """Make a new revision of each closed month in which figures changed with these days, in the open transaction."""
    months = {day.replace(day=1) for day in days} & {pin.month for pin in pins(connection, pilot_id)}
    note = f"after closing: {', '.join(sorted(set(causes)))}" if causes else "after closing: computed again"
    made = [_revised(connection, pilot_id, month, JOB, note) for month in sorted(months)]
    return [closing for closing in made if closing is not None]


def _revised(connection: sa.Connection, pilot_id: int, month: dt.date, by: str, note: str | None) -> Closing | None:
    """Write the next revision; None where the newest says the same."""
    days = _days(connection, pilot_id, month)
    figures = _totals(days)
    newest = _newest(connection, pilot_id, month)
    if newest is not None and not changes(newest.figures, figures):
        return None
    revision = 1 if newest is None else newest.revision + 1
    pinned = _pin(connection) if newest is None else newest.factors_sha256
    hashes = "".join(day.input_hash for day in days)
    row = {
        "pilot_id": pilot_id, "month": month, "revision": revision, "closed_at": dt.datetime.now(dt.UTC),
        "closed_by": by, "note": note, "figures": figures, "days": len(days),
        "vehicles": max((day.vehicles for day in days), default=0),
        "data_until": max((day.data_until for day in days if day.data_until), default=None),
        "input_rows": sum(day.input_rows for day in days),
        "input_hash": hashlib.sha256(hashes.encode()).hexdigest(),
        "code_version": ", ".join(sorted({day.code_version for day in days})),
        "factors": sorted({factor for day in days for factor in day.factors}), "factors_sha256": pinned,
    }  # fmt: skip
    connection.execute(sa.insert(tables.ReportPeriod).values(row))
    return Closing(month, revision, by, figures)


def _totals(days: Sequence[sa.Row[Any]]) -> dict[str, dict[str, Any]]:
    """The month's figures, components included, by slug."""
    schema = {name: kind for name, kind in schema_of(Figures).items() if name not in ("vehicle_id", "day")}
    rows = [
        {"metric": slug, **figure} for day in days for slug, figure in day.figures.items() if slug in metrics.METRICS
    ]
    totals = metrics.totals(pl.DataFrame(rows, schema=schema), by=[])
    return {row.pop("metric"): _kept(row) for row in totals.iter_rows(named=True)}


def _kept(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None or name == "value"}


def _days(connection: sa.Connection, pilot_id: int, month: dt.date) -> list[sa.Row[Any]]:
    day = tables.PilotDay
    query = sa.select(day.__table__).where(day.pilot_id == pilot_id, day.day.between(month, days_of(month).last))
    return list(connection.execute(query.order_by(day.day)))


def _newest(connection: sa.Connection, pilot_id: int, month: dt.date) -> sa.Row[Any] | None:
    period = tables.ReportPeriod
    query = sa.select(period.revision, period.figures, period.factors_sha256).filter_by(pilot_id=pilot_id, month=month)
    return connection.execute(query.order_by(period.revision.desc()).limit(1)).one_or_none()


# --- pinned factors -------------------------------------------------------------------------------


def pins(connection: sa.Connection, pilot_id: int) -> list[Pin]:
    """The closed months of a pilot."""
    period = tables.ReportPeriod
    query = sa.select(period.month, period.factors_sha256).filter_by(pilot_id=pilot_id, revision=1)
    return [Pin(*row) for row in connection.execute(query)]


def pinned_factors(connection: sa.Connection, sha256: str) -> dy.DataFrame[Factors]:
    """The factors that a closing pinned: rows of `Factors`."""
    rows = connection.scalar(sa.select(tables.PinnedFactors.rows).filter_by(sha256=sha256))
    schema = schema_of(Factors)
    frame = pl.DataFrame(rows, schema=schema | {"starts_on": pl.String()})
    return Factors.validate(frame.with_columns(pl.col("starts_on").str.to_date()), cast=True)


def _pin(connection: sa.Connection) -> str:
    """Keep all factors as they are now, once for all closings that have the same; tells their hash."""
    known = with_own(own_factors(connection)).sort("id").with_columns(pl.col("starts_on").dt.to_string())
    rows = known.to_dicts()
    sha256 = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
    connection.execute(insert(tables.PinnedFactors).values(sha256=sha256, rows=rows).on_conflict_do_nothing())
    return sha256
