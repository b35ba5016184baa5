"""Meter sessions of the pilot's sites: which vehicle each is of, and those that reach into a window.

The vehicle is the one that the record names. Of those that name none, a job looks for the vehicle's own charging
session at the charger's site, by the rules of `analytics.metrics.metering.matched`, and keeps what it found. Where that
changes, the vehicle's days are marked as stale.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import dataframely as dy
import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from analytics.metrics import PADDING
from analytics.metrics.metering import matched
from pipelines.store import PilotFacts, checked
from schemas import tables
from schemas.frames import UTC_TIME, MeterSessions

METERS = {
    "meter_id": pl.Int64(), "site_id": pl.Int64(), "charger_id": pl.Int64(), "vehicle_id": pl.Int64(),
    "starts_at": UTC_TIME, "ends_at": UTC_TIME, "grid_kwh": pl.Float64(),
}  # fmt: skip
SESSIONS = {
    "vehicle_id": pl.Int64(), "site_id": pl.Int64(), "starts_at": UTC_TIME, "ends_at": UTC_TIME,
    "energy_charged_kwh": pl.Float64(),
}  # fmt: skip
Span = tuple[dt.datetime, dt.datetime]
AnySelect = sa.Select[*tuple[Any, ...]]


def meters_frame(
    connection: sa.Connection, vehicle_ids: Sequence[int], first: dt.datetime, last: dt.datetime
) -> dy.DataFrame[MeterSessions]:
    """`MeterSessions` of the vehicles that reach between two times, whole."""
    meter, match = tables.MeterSession, tables.MeterMatch
    of = sa.func.coalesce(meter.vehicle_id, match.vehicle_id)
    query = (
        sa.select(meter.id, of, meter.starts_at, meter.ends_at, meter.grid_kwh)
        .outerjoin(match, match.meter_id == meter.id)
        .where(of.in_(vehicle_ids), meter.starts_at < last, meter.ends_at > first)
        .where(meter.ends_at - meter.starts_at <= PADDING.reach)
    )
    return checked(MeterSessions, [tuple(row) for row in connection.execute(query)])


def marked_span(connection: sa.Connection, facts: PilotFacts) -> Span | None:
    """The time from the first to the last of what is marked as stale of the pilot's vehicles; None: nothing is."""
    mark = tables.StaleMark
    ids = [one.vehicle_id for one in facts.vehicles]
    query = sa.select(sa.func.min(mark.from_time), sa.func.max(mark.to_time)).where(mark.vehicle_id.in_(ids))
    with connection.begin():
        first, last = connection.execute(query).one()
    return None if first is None else (first, last)


def match_meters(connection: sa.Connection, facts: PilotFacts, changed: Span | None = None) -> bool:
    """Look for the vehicles of sessions that nobody looked at yet, or in whose time something `changed`.

    Returns whether any is of another vehicle than before; its days are then marked.
    """
    with connection.begin():
        sites = _sites(connection, facts)
        span = _asked(connection, sites, changed) if sites else None
        return span is not None and _keep(connection, _held(connection, sites, span), _found(connection, sites, span))


def _sites(connection: sa.Connection, facts: PilotFacts) -> list[int]:
    vehicle = tables.Vehicle
    ids = [one.vehicle_id for one in facts.vehicles]
    return list(connection.scalars(sa.select(vehicle.site_id).where(vehicle.id.in_(ids), vehicle.site_id.is_not(None))
                                   .distinct()))  # fmt: skip


def _asked(connection: sa.Connection, sites: Sequence[int], changed: Span | None) -> Span | None:
    """The time of sessions without a name that were never looked at, or that reach into what changed."""
    meter, match = tables.MeterSession, tables.MeterMatch
    told: sa.ColumnElement[bool] = match.meter_id.is_(None)
    if changed is not None:
        told = sa.or_(told, sa.and_(meter.ends_at >= changed[0], meter.starts_at <= changed[1]))
    query = _unnamed(sa.select(sa.func.min(meter.starts_at), sa.func.max(meter.ends_at)), sites).where(told)
    first, last = connection.execute(query).one()
    return None if first is None else (first, last)


def _unnamed(query: AnySelect, sites: Sequence[int]) -> AnySelect:
    """Of meter sessions at the sites that name no vehicle, with what was found before."""
    meter, match, charger = tables.MeterSession, tables.MeterMatch, tables.Charger
    joined = query.select_from(meter).join(charger, charger.id == meter.charger_id)
    joined = joined.outerjoin(match, match.meter_id == meter.id)
    return joined.where(meter.vehicle_id.is_(None), charger.site_id.in_(sites))


def _held(connection: sa.Connection, sites: Sequence[int], span: Span) -> list[sa.Row[Any]]:
    """The sessions that lie in a time: others of the same time may be in doubt by new ones, so all are looked at."""
    meter, match = tables.MeterSession, tables.MeterMatch
    columns = sa.select(meter.id, match.vehicle_id, meter.starts_at, meter.ends_at)
    query = _unnamed(columns, sites)
    return list(connection.execute(query.where(meter.starts_at >= span[0], meter.ends_at <= span[1])))


def _found(connection: sa.Connection, sites: Sequence[int], span: Span) -> dict[int, int]:
    """The vehicle of each session that has one without doubt."""
    first, last = span
    meter, session, vehicle = tables.MeterSession, tables.ChargeSession, tables.Vehicle
    counted = (
        sa.select(meter.id, tables.Charger.site_id, meter.charger_id, meter.vehicle_id, meter.starts_at, meter.ends_at,
                  meter.grid_kwh)
        .join(tables.Charger, tables.Charger.id == meter.charger_id)
        .where(tables.Charger.site_id.in_(sites), meter.starts_at < last, meter.ends_at > first)
    )  # fmt: skip
    own = (
        sa.select(session.vehicle_id, vehicle.site_id, session.starts_at, session.ends_at, session.energy_charged_kwh)
        .join(vehicle, vehicle.id == session.vehicle_id)
        .where(vehicle.site_id.in_(sites), session.place.is_distinct_from("away"))
        .where(session.starts_at < last, session.ends_at > first)
    )
    meters, sessions = _frame(connection, counted, METERS), _frame(connection, own, SESSIONS)
    named = pl.col("vehicle_id").is_not_null()
    return dict(matched(meters.filter(~named), sessions, meters.filter(named)).iter_rows())


def _frame(connection: sa.Connection, query: sa.Executable, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame([tuple(row) for row in connection.execute(query)], schema, orient="row")


def _keep(connection: sa.Connection, asked: Sequence[sa.Row[Any]], found: dict[int, int]) -> bool:
    """Write what was found, and mark the days of vehicles whose sessions it changes."""
    kept = [{"meter_id": row.id, "vehicle_id": found.get(row.id)} for row in asked]
    statement = insert(tables.MeterMatch)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["meter_id"], set_={"vehicle_id": statement.excluded.vehicle_id}
        ), kept,
    )  # fmt: skip
    marks = [
        {"vehicle_id": vehicle_id, "from_time": row.starts_at, "to_time": row.ends_at, "cause": "meter"}
        for row in asked
        if row.vehicle_id != found.get(row.id)
        for vehicle_id in (row.vehicle_id, found.get(row.id))
        if vehicle_id is not None
    ]
    if marks:
        connection.execute(sa.insert(tables.StaleMark), marks)
    return bool(marks)
