"""The SQL of what the jobs compute: vehicle-days with what starts in them, and pilot-days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import dataframely as dy
import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from pipelines.store import PilotFacts
from schemas import tables
from schemas.frames import ChargeSessions, StateSpells, Trips

PARTS: Mapping[type[tables.Trip | tables.ChargeSession | tables.StateSpell], type[dy.Schema]] = {
    tables.Trip: Trips, tables.ChargeSession: ChargeSessions, tables.StateSpell: StateSpells,
}  # fmt: skip
"""What is stored under the vehicle-day on which it starts, with its contract."""


def computed_days(connection: sa.Connection, pilot_id: int) -> set[tuple[int, dt.date]]:
    """The vehicle-days of a pilot that have results."""
    rows = connection.execute(
        sa.select(tables.VehicleDay.vehicle_id, tables.VehicleDay.day).where(tables.VehicleDay.pilot_id == pilot_id)
    )
    return {(vehicle_id, day) for vehicle_id, day in rows}


def replace_vehicle_days(
    connection: sa.Connection, pilot_id: int, results: Sequence[dict[str, Any]], parts: Sequence[pl.DataFrame]
) -> int:
    """Write these vehicle-days and what starts in them, in the order of `PARTS`; rows that say the same stay.

    Returns how many vehicle-days changed.
    """
    if not results:
        return 0
    changed = _upsert(connection, tables.VehicleDay, ("vehicle_id", "day"), results)
    keys = [(row["vehicle_id"], row["day"]) for row in results]
    for (table, contract), frame in zip(PARTS.items(), parts, strict=True):
        connection.execute(sa.delete(table).where(sa.tuple_(table.vehicle_id, table.day).in_(keys)))
        rows = contract.validate(frame).with_columns(pilot_id=pl.lit(pilot_id)).to_dicts()
        if rows:
            connection.execute(sa.insert(table), rows)
    return changed


def remove_vehicle_days(connection: sa.Connection, keys: Sequence[tuple[int, dt.date]]) -> None:
    """Take away results of vehicle-days that no longer have anything behind them."""
    for table in (tables.VehicleDay, *PARTS):
        connection.execute(sa.delete(table).where(sa.tuple_(table.vehicle_id, table.day).in_(keys)))


def pilot_figures(connection: sa.Connection, pilot_id: int, days: Sequence[dt.date]) -> list[sa.Row[Any]]:
    """The stored vehicle-days of a pilot on these days."""
    day = tables.VehicleDay
    query = sa.select(
        day.vehicle_id, day.day, day.figures, day.data_until, day.factors, day.code_version, day.input_rows,
        day.input_hash,
    ).where(day.pilot_id == pilot_id, day.day.in_(days))  # fmt: skip
    return list(connection.execute(query))


def miscounted_days(connection: sa.Connection, facts: PilotFacts) -> set[dt.date]:
    """The days of a pilot whose totals count other vehicles than have results: one of them went to another pilot."""
    total, own = tables.PilotDay, tables.VehicleDay
    counted = (
        sa.select(own.day, sa.func.count().label("vehicles"))
        .where(own.pilot_id == facts.pilot_id, own.vehicle_id.not_in(facts.reference_ids))
        .group_by(own.day)
        .subquery()
    )
    query = (
        sa.select(total.day)
        .outerjoin(counted, counted.c.day == total.day)
        .where(total.pilot_id == facts.pilot_id, total.vehicles.is_distinct_from(counted.c.vehicles))
    )
    return set(connection.scalars(query))


def replace_pilot_days(
    connection: sa.Connection, pilot_id: int, results: Sequence[dict[str, Any]], days: Sequence[dt.date]
) -> int:
    """Write a pilot's days; those of `days` without a result any more go. Returns how many changed."""
    kept = [row["day"] for row in results]
    gone = sa.delete(tables.PilotDay).where(
        tables.PilotDay.pilot_id == pilot_id, tables.PilotDay.day.in_(days), tables.PilotDay.day.not_in(kept)
    )
    connection.execute(gone)
    return _upsert(connection, tables.PilotDay, ("pilot_id", "day"), results) if results else 0


def _upsert(
    connection: sa.Connection, table: type[tables.Base], key: tuple[str, ...], rows: Sequence[dict[str, Any]]
) -> int:
    """Insert or update; a row whose content is the same keeps its `computed_at`."""
    statement = insert(table).values(list(rows))
    content = [name for name in rows[0] if name not in (*key, "computed_at")]
    new = {name: statement.excluded[name] for name in (*content, "computed_at")}
    differs = sa.tuple_(*(getattr(table, name) for name in content)).is_distinct_from(
        sa.tuple_(*(statement.excluded[name] for name in content))
    )
    upsert = statement.on_conflict_do_update(index_elements=list(key), set_=new, where=differs)
    return connection.execute(upsert.returning(*(getattr(table, name) for name in key))).rowcount
