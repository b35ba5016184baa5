"""Factors of a programme's own: a file of them into the database, and what is there for lists.

A file is taken whole or not at all; each fault is told with its line and field. A row that is imported again changes
nothing; one that says something new replaces the old one, and the days it can have changed become stale.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from analytics.factors.importing import HOURLY, OwnFactors, checked
from analytics.factors.own import NO_TABLES, HourlyTables, OwnRows, hourly_tables
from analytics.factors.tables import shipped
from schemas import tables
from schemas.errors import Fault, NotFoundError, RegistryError
from schemas.frames import UTC_TIME, schema_of

EVER = (dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(2200, 1, 1, tzinfo=dt.UTC))
CHUNK_ROWS = 5_000
UPDATED_APART = ("value", "year", "starts_on", "hours")
"""What an hourly table's head takes from its hours, old and new."""


@dataclass(frozen=True)
class FactorsReport:
    """The rows a file held, how many factors and hours said something new, and how many vehicles became stale."""

    rows: int
    factors_changed: int
    hours_changed: int
    vehicles: int


def import_factors(session: Session, path: Path) -> FactorsReport:
    """Import a CSV or Parquet file of own factors in the session's transaction.

    Raises:
        RegistryError: with line and field of every fault; nothing was imported.
    """
    cells = _cells(path)
    pilots = {row.slug: row.id for row in session.execute(sa.select(tables.Pilot.slug, tables.Pilot.id))}
    areas = frozenset(shipped().filter(pl.col("kind") == "grid")["area"])
    given = checked(cells, pilots, areas)
    if not isinstance(given, OwnFactors):
        raise RegistryError([Fault(f"{path.name}, {fault.where}", fault.field, fault.reason) for fault in given])
    clashes = _clashes(session, given.factors)
    if clashes:
        raise RegistryError([Fault(path.name, "table", clash) for clash in clashes])
    changed = [row["id"] for row in given.factors.to_dicts() if _put(session, row)]
    hours = {factor: _put_hours(session, factor, rows) for (factor,), rows in given.hours.group_by("factor_id")}
    _mean_of_hours(session, list(hours))
    touched = {*changed, *(factor for factor, count in hours.items() if count)}
    rows = given.factors.filter(pl.col("id").is_in(touched))
    vehicles = {vehicle for row in rows.to_dicts() for vehicle in _vehicles(session, row)}
    _mark(session, vehicles)
    return FactorsReport(cells.height, len(changed), sum(hours.values()), len(vehicles))


def remove_table(session: Session, name: str) -> int:
    """Take an imported table away, and tell how many factors it held; the days computed with it become stale.

    Raises:
        NotFoundError: there is no such table.
    """
    own = tables.OwnFactor
    rows = session.execute(sa.select(own.id, own.kind, own.key, own.pilot_id).where(own.table_name == name)).all()
    if not rows:
        raise NotFoundError(f"there is no imported table {name!r}; `beachhead factors list --own` shows them")
    vehicles = {vehicle for row in rows for vehicle in _vehicles(session, dict(row._mapping))}
    session.execute(sa.delete(tables.GridHour).where(tables.GridHour.factor_id.in_([row.id for row in rows])))
    session.execute(sa.delete(own).where(own.table_name == name))
    _mark(session, vehicles)
    return len(rows)


def _cells(path: Path) -> pl.DataFrame:
    """A file's cells as text. Times of a Parquet file keep their zone."""
    try:
        if path.suffix == ".parquet":
            return _as_text(pl.read_parquet(path))
        return pl.read_csv(path, infer_schema=False, truncate_ragged_lines=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RegistryError([Fault(path.name, "file", f"cannot be read: {str(error).splitlines()[0]}")]) from None


def _as_text(frame: pl.DataFrame) -> pl.DataFrame:
    zoned = [n for n, kind in frame.schema.items() if isinstance(kind, pl.Datetime) and kind.time_zone is not None]
    utc = [pl.col(name).dt.convert_time_zone("UTC").dt.to_string("%Y-%m-%dT%H:%M:%SZ") for name in zoned]
    return frame.with_columns(*utc).cast(pl.String)


def _clashes(session: Session, factors: pl.DataFrame) -> list[str]:
    """Factors that another table holds already for the same use, or that make an annual table hourly."""
    own = tables.OwnFactor
    listed = session.execute(sa.select(
        own.id, own.kind, own.key, own.area, own.boundary, own.gases, own.starts_on, own.hours
    )).all()  # fmt: skip
    use = ("kind", "key", "area", "boundary", "gases", "starts_on")
    others = {tuple(getattr(row, name) for name in use): row.id for row in listed}
    is_hourly = {(row.key, row.boundary): row.hours > 0 for row in listed if row.kind == "grid"}
    found = []
    for row in factors.to_dicts():
        other = others.get(tuple(row[name] for name in use))
        if other not in (None, row["id"]):
            found.append(f"{row['id']} says what {other} says already")
        place = (row["key"], row["boundary"])
        hourly = row["id"].endswith(HOURLY)
        if row["kind"] == "grid" and is_hourly.setdefault(place, hourly) != hourly:
            found.append(f"{row['key']} would be annual and hourly at the boundary {row['boundary']}")
    return found


def _put(session: Session, row: dict[str, Any]) -> bool:
    """Insert or replace one factor; tell whether anything changed."""
    own = tables.OwnFactor
    hourly = row["hours"] > 0
    others = {name: value for name, value in row.items() if name != "id" and not (hourly and name in UPDATED_APART)}
    old = session.execute(sa.select(*(getattr(own, name) for name in others)).filter_by(id=row["id"])).one_or_none()
    if old is not None and tuple(old) == tuple(others.values()):
        return False
    statement = insert(own).values(**row).on_conflict_do_update(index_elements=["id"], set_=others)
    session.execute(statement)
    return True


def _put_hours(session: Session, factor_id: object, rows: pl.DataFrame) -> int:
    """Insert or replace a table's hours; returns how many changed."""
    changed = 0
    for chunk in rows.iter_slices(CHUNK_ROWS):
        statement = insert(tables.GridHour).values(chunk.to_dicts())
        upsert = statement.on_conflict_do_update(
            index_elements=["factor_id", "hour"], set_={"value": statement.excluded.value},
            where=tables.GridHour.value != statement.excluded.value,
        )  # fmt: skip
        changed += len(session.execute(upsert.returning(tables.GridHour.hour)).all())
    return changed


def _mean_of_hours(session: Session, factor_ids: list[object]) -> None:
    own, hour = tables.OwnFactor, tables.GridHour
    first = sa.func.min(sa.func.timezone("UTC", hour.hour))
    found = (
        sa.select(
            hour.factor_id, sa.func.avg(hour.value).label("value"), sa.func.count().label("hours"),
            sa.cast(first, sa.Date).label("starts_on"), sa.cast(sa.extract("year", first), sa.Integer).label("year"),
        )
        .where(hour.factor_id.in_(factor_ids))
        .group_by(hour.factor_id)
        .subquery()
    )  # fmt: skip
    values = {name: found.c[name] for name in UPDATED_APART}
    session.execute(sa.update(own).where(own.id == found.c.factor_id).values(values))


def _vehicles(session: Session, factor: dict[str, Any]) -> list[int]:
    """The vehicles whose figures a factor may enter: those that declare the electricity; a pilot's or all of a fuel."""
    vehicle, assignment, pilot, site = tables.Vehicle, tables.Assignment, tables.Pilot, tables.Site
    query = (
        sa.select(vehicle.id)
        .distinct()
        .join(assignment, assignment.vehicle_id == vehicle.id)
        .join(pilot, pilot.id == assignment.pilot_id)
        .outerjoin(site, site.id == vehicle.site_id)
    )
    if factor["kind"] == "grid":
        query = query.where(sa.func.coalesce(site.grid, pilot.grid) == factor["key"])
    elif factor["pilot_id"] is not None:
        query = query.where(pilot.id == factor["pilot_id"])
    return list(session.scalars(query))


def _mark(session: Session, vehicle_ids: set[int]) -> None:
    rows = [
        {"vehicle_id": number, "from_time": EVER[0], "to_time": EVER[1], "cause": "own factors changed"}
        for number in sorted(vehicle_ids)
    ]
    if rows:
        session.execute(sa.insert(tables.StaleMark).inline(), rows)  # whoever marks need not read marks


# --- what is there ---


def own_factors(connection: sa.Connection) -> dy.DataFrame[OwnRows]:
    """Every imported factor."""
    own = tables.OwnFactor
    query = sa.select(*(getattr(own, name) for name in OwnRows.column_names())).order_by(own.id)
    return OwnRows.validate(_frame(connection, query, schema_of(OwnRows)), cast=True)


def tables_of_grids(
    connection: sa.Connection, own: dy.DataFrame[OwnRows], grids: Iterable[str], first: dt.datetime, last: dt.datetime
) -> HourlyTables:
    """The hourly tables of these grids, with the hours of every UTC month that the time `first` to `last` touches."""
    heads = own.filter(pl.col("hours") > 0, pl.col("key").is_in(list(grids)))
    if heads.is_empty():
        return NO_TABLES
    hour = tables.GridHour
    begin = first.astimezone(dt.UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    after = last.astimezone(dt.UTC).replace(day=28, hour=0, minute=0, second=0, microsecond=0)
    end = (after + dt.timedelta(days=4)).replace(day=1)
    query = sa.select(hour.factor_id, hour.hour, hour.value).where(
        hour.factor_id.in_(heads["id"].to_list()), hour.hour >= begin, hour.hour < end
    )
    schema = pl.Schema({"factor_id": pl.String(), "hour": UTC_TIME, "value": pl.Float64()})
    return hourly_tables(heads, _frame(connection, query, schema))


def _frame(connection: sa.Connection, query: sa.Executable, schema: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame([tuple(row) for row in connection.execute(query)], schema=schema, orient="row")
