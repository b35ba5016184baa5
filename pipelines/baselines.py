"""Baselines that are not declared as a rate: of a class, of paired vehicles, of the vehicle's own history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dataframely as dy
import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from analytics.metrics import baselines
from pipelines.calendar import OperatingDay
from pipelines.store import Mark, PilotFacts
from schemas import tables
from schemas.frames import Baselines, Figures, schema_of

UNIT = "L/100km"
FOREVER = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)
REACH = dt.timedelta(days=baselines.PAIRED_DAYS)
VehicleDays = Sequence[tuple[int, dt.date]]


NONE = Baselines.create_empty()


def declared(connection: sa.Connection, vehicle_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """The baselines of these vehicles that are not a rate, by vehicle."""
    vehicle = tables.Vehicle
    query = sa.select(vehicle.id, vehicle.baseline).where(vehicle.id.in_(list(vehicle_ids)))
    return {number: known for number, known in connection.execute(query) if known and known.get("rate") is None}


def references(connection: sa.Connection, facts: PilotFacts) -> dict[int, list[int]]:
    """The vehicles that are paired with references, and which those are."""
    ids = {vehicle.name: vehicle.vehicle_id for vehicle in facts.vehicles}
    known = declared(connection, ids.values())
    return {
        number: [ids[name] for name in baseline["reference"] if name in ids]
        for number, baseline in known.items()
        if baseline.get("reference")
    }


def spread(connection: sa.Connection, facts: PilotFacts, marks: Sequence[Mark]) -> list[Mark]:
    """What marks mean beyond the days they touch.

    One on a reference reaches the vehicles paired with it up to four weeks later; one on a vehicle's own history
    reaches all of its days.
    """
    on_paired = [
        replace(mark, vehicle_id=number, reaches_to=mark.reaches_to + REACH)
        for number, with_ids in references(connection, facts).items()
        for mark in marks
        if mark.vehicle_id in with_ids
    ]
    begins = {span.vehicle_id: span.ends_at for span in histories(connection, facts)}
    on_history = [
        replace(mark, reaches_to=FOREVER)
        for mark in marks
        if mark.vehicle_id in begins and mark.reaches_from < begins[mark.vehicle_id]
    ]
    return on_paired + on_history


@dataclass(frozen=True)
class History:
    """The days before a vehicle entered its pilot that are its baseline."""

    vehicle_id: int
    days: tuple[OperatingDay, ...]

    @property
    def ends_at(self) -> dt.datetime:
        """When the last of them ends."""
        return self.days[-1].ends_at


def histories(connection: sa.Connection, facts: PilotFacts) -> list[History]:
    """Of the vehicles whose baseline is their own history."""
    since = connection.scalar(sa.select(tables.Pilot.baseline_from).filter_by(id=facts.pilot_id))
    known = declared(connection, (vehicle.vehicle_id for vehicle in facts.vehicles))
    found: dict[int, History] = {}
    for vehicle in facts.vehicles:  # by vehicle and date: the first time in the pilot counts
        number = vehicle.vehicle_id
        if since is None or vehicle.first_time is None or number in found or not known.get(number, {}).get("history"):
            continue
        first = max(since, facts.calendar.day_of(vehicle.first_time))
        days = tuple(facts.calendar.days(first, vehicle.starts_on - dt.timedelta(days=1)))
        if days:
            found[number] = History(number, days)
    return list(found.values())


def stale_history(
    connection: sa.Connection, facts: PilotFacts, marks: Sequence[Mark]
) -> list[tuple[int, OperatingDay]]:
    """The days of histories that a mark touches, or that have not been computed."""
    known = histories(connection, facts)
    table = tables.HistoryDay
    query = sa.select(table.vehicle_id, table.day).where(table.vehicle_id.in_([one.vehicle_id for one in known]))
    present = {(row.vehicle_id, row.day) for row in connection.execute(query)}
    return [
        (one.vehicle_id, day)
        for one in known
        for day in one.days
        if (one.vehicle_id, day.day) not in present
        or any(
            mark.vehicle_id == one.vehicle_id and mark.reaches_from < day.ends_at and mark.reaches_to >= day.starts_at
            for mark in marks
        )
    ]


def keep_history(connection: sa.Connection, days: VehicleDays, figures: pl.DataFrame) -> None:
    """Store fuel, distance and hours of these days of histories."""
    needed = figures.filter(pl.col("metric").is_in(baselines.SLUGS))
    by_day: dict[tuple[int, dt.date], dict[str, Any]] = {key: {} for key in days}
    for row in needed.iter_rows(named=True):
        told = {name: row[name] for name in ("value", "coverage_pct", "method")}
        by_day[row["vehicle_id"], row["day"]][row["metric"]] = told
    now = dt.datetime.now(dt.UTC)
    rows = [
        {"vehicle_id": number, "day": day, "figures": told, "computed_at": now}
        for (number, day), told in by_day.items()
    ]
    statement = insert(tables.HistoryDay).values(rows)
    new = {name: statement.excluded[name] for name in ("figures", "computed_at")}
    connection.execute(statement.on_conflict_do_update(index_elements=["vehicle_id", "day"], set_=new))


def of_days(connection: sa.Connection, facts: PilotFacts, days: VehicleDays) -> dy.DataFrame[Baselines]:
    """The baselines of these vehicle-days. Those of paired vehicles rest on what is stored of their references."""
    known = declared(connection, {number for number, _ in days})
    if not known:
        return NONE
    parts = [
        _of_class(known, days),
        _paired(connection, facts, known, days),
        _by_history(connection, facts, known, days),
    ]
    return Baselines.validate(pl.concat(parts))


def _of_class(known: dict[int, dict[str, Any]], days: VehicleDays) -> pl.DataFrame:
    rows = [
        (number, day, known[number]["class_average"])
        for number, day in days
        if known.get(number, {}).get("class_average")
    ]
    schema = {"vehicle_id": pl.Int32, "day": pl.Date, "class": pl.String}
    return baselines.of_class(pl.DataFrame(rows, schema=schema, orient="row"))


def _paired(
    connection: sa.Connection, facts: PilotFacts, known: dict[int, dict[str, Any]], days: VehicleDays
) -> pl.DataFrame:
    ids = {vehicle.name: vehicle.vehicle_id for vehicle in facts.vehicles}
    rows = [
        (number, day, known[number].get("unit") or UNIT, ids.get(name), name)
        for number, day in days
        if number in known
        for name in known[number].get("reference") or ()
    ]
    schema = {
        "vehicle_id": pl.Int32, "day": pl.Date, "unit": pl.String, "reference_id": pl.Int32, "reference": pl.String,
    }  # fmt: skip
    asked = pl.DataFrame(rows, schema=schema, orient="row")
    if asked.is_empty():
        return Baselines.create_empty()
    first, last = min(day for _, day in days), max(day for _, day in days)
    return baselines.paired(asked, _figures(connection, asked["reference_id"].drop_nulls().unique(), first, last))


def _by_history(
    connection: sa.Connection, facts: PilotFacts, known: dict[int, dict[str, Any]], days: VehicleDays
) -> pl.DataFrame:
    spans = {one.vehicle_id: one.days for one in histories(connection, facts)}
    rows = [
        (number, day, known[number].get("unit") or UNIT, spans[number][0].day, spans[number][-1].day)
        for number, day in days
        if number in spans
    ]
    schema = {"vehicle_id": pl.Int32, "day": pl.Date, "unit": pl.String, "since": pl.Date, "until": pl.Date}
    table = tables.HistoryDay
    query = sa.select(table.vehicle_id, table.day, table.figures).where(table.vehicle_id.in_(list(spans)))
    return baselines.by_history(pl.DataFrame(rows, schema=schema, orient="row"), _long(connection, query))


def _figures(connection: sa.Connection, vehicle_ids: Iterable[int], first: dt.date, last: dt.date) -> pl.DataFrame:
    """What is stored of the references' fuel and activity, from `REACH` before the first day on."""
    day = tables.VehicleDay
    query = sa.select(day.vehicle_id, day.day, day.figures).where(
        day.vehicle_id.in_(list(vehicle_ids)), day.day > first - REACH, day.day <= last
    )
    return _long(connection, query)


def _long(connection: sa.Connection, query: sa.Select[Any]) -> pl.DataFrame:
    """Stored figures of fuel and activity, in long form."""
    rows = [
        {"vehicle_id": number, "day": on, "metric": slug, **figures[slug]}
        for number, on, figures in connection.execute(query)
        for slug in baselines.SLUGS
        if slug in figures
    ]
    return pl.DataFrame(rows, schema=schema_of(Figures))
