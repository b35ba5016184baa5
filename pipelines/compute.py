"""The job: read the windows of stale days, call the pure metrics, replace the days. Run twice, it is run once.

A day is computed when a mark says that something in it changed, or when it should have results and has none: every day
between a vehicle's first and last telemetry, and every planned day up to the newest one that the pilot has data for
(a silent vehicle's planned days are unknown, not absent). Marks are taken away in the transaction that completes the
pilot's totals, so a job that dies leaves them for the next run.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
from adbc_driver_postgresql import dbapi as adbc

import analytics
from analytics import metrics
from pipelines import baselines, calendar, meters, periods, reading, results, store
from pipelines.calendar import Span
from pipelines.lineage import lineage, said
from pipelines.reading import Reading, VehicleDayKey
from schemas import frames, signals, units
from schemas.database import engine
from schemas.frames import Figures, schema_of
from schemas.memory import keep_freed_memory

BATCH_VEHICLE_DAYS = 7  # 600,000 rows at one a second: some 600 MB
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Selection:
    """Which days to compute: the stale ones, or those of some vehicles between two dates whatever their state."""

    stale_only: bool = True
    vehicles: frozenset[str] | None = None
    first: dt.date | None = None
    last: dt.date | None = None


@dataclass(frozen=True)
class Computed:
    """What a job did for a pilot."""

    pilot: str
    vehicle_days: int
    changed: int
    pilot_days_changed: int


def compute_pilot(
    url: str, slug: str, selection: Selection | None = None, progress: Progress = lambda done, total: None
) -> Computed:
    """Bring a pilot's results up to date; `url` is the jobs' address.

    Raises:
        NotFoundError: there is no such pilot.
    """
    keep_freed_memory()
    database = engine(url, application="beachhead jobs")
    try:
        with database.connect() as lock, database.connect() as connection, adbc.connect(url) as telemetry:
            store.lock_pilot(lock, store.pilot_facts(lock, slug).pilot_id)
            return _compute_and_match(connection, telemetry, slug, selection or Selection(), progress)
    finally:
        database.dispose()  # ends the sessions, and with them the lock


def _compute_and_match(
    connection: sa.Connection, telemetry: adbc.Connection, slug: str, selection: Selection, progress: Progress
) -> Computed:
    """Compute; then once more the days of meter sessions of which only now is known whose they are."""
    facts = store.pilot_facts(connection, slug)
    connection.rollback()
    meters.match_meters(connection, facts)
    scope = meters.marked_span(connection, facts)
    done = _compute(connection, telemetry, facts, selection, progress)
    if meters.match_meters(connection, facts, scope) and selection.stale_only:
        more = _compute(connection, telemetry, facts, selection, progress)
        done = Computed(
            slug, done.vehicle_days + more.vehicle_days, done.changed + more.changed,
            done.pilot_days_changed + more.pilot_days_changed,
        )  # fmt: skip
    return done


def _compute(
    connection: sa.Connection,
    telemetry: adbc.Connection,
    facts: store.PilotFacts,
    selection: Selection,
    progress: Progress,
) -> Computed:
    read = [mark for mark in store.marks(connection, [v.vehicle_id for v in facts.vehicles]) if _is_ours(facts, mark)]
    present = results.computed_days(connection, facts.pilot_id)
    candidates = list(_candidates(facts))
    touched = [*read, *baselines.spread(connection, facts, read)]
    wanted = [key for key in candidates if _is_wanted(key, facts, touched, present, selection)]
    gone = sorted(present - {(key.vehicle_id, key.day.day) for key in candidates})
    history = [VehicleDayKey(*key, planned=None) for key in baselines.stale_history(connection, facts, read)]
    connection.rollback()
    pins = periods.pins(connection, facts.pilot_id)
    reading = Reading(connection, telemetry, facts, {key.vehicle_id for key in (*history, *wanted)})
    connection.rollback()
    for batch in _batches(history, pins):
        _compute_history(connection, reading, batch)
    changed, done = 0, 0
    for batch in _in_order(wanted, facts, pins):
        changed += _compute_batch(connection, reading, facts, batch, _pin_of(batch[0], pins))
        done += len(batch)
        progress(done, len(wanted))
    settled = read if selection.stale_only else []
    moved = results.miscounted_days(connection, facts)
    connection.rollback()
    days = sorted({key.day.day for key in wanted} | {day for _, day in gone} | moved)
    pilot_days = _finish(connection, facts, days, gone, settled)
    return Computed(facts.slug, len(wanted), changed, pilot_days)


# --- which days -----------------------------------------------------------------------------------


def _candidates(facts: store.PilotFacts) -> Iterator[VehicleDayKey]:
    """Every vehicle-day that should have results, by vehicle and day."""
    heard = [vehicle for vehicle in facts.vehicles if vehicle.last_time is not None]
    if not heard:
        return
    newest = max(_last_day(facts, vehicle) for vehicle in heard)
    for vehicle in facts.vehicles:
        last = min(newest, vehicle.ends_on or newest)
        spoken = _spoken_days(facts, vehicle)
        for day in facts.calendar.days(vehicle.starts_on, last):
            planned = facts.calendar.planned(vehicle.vehicle_id, day.day)
            if planned is not None or (spoken is not None and spoken[0] <= day.day <= spoken[1]):
                yield VehicleDayKey(vehicle.vehicle_id, day, planned)


def _spoken_days(facts: store.PilotFacts, vehicle: store.PilotVehicle) -> tuple[dt.date, dt.date] | None:
    if vehicle.first_time is None or vehicle.last_time is None:
        return None
    return facts.calendar.day_of(vehicle.first_time), facts.calendar.day_of(vehicle.last_time)


def _last_day(facts: store.PilotFacts, vehicle: store.PilotVehicle) -> dt.date:
    spoken = _spoken_days(facts, vehicle)
    last = spoken[1] if spoken else dt.date.min
    return min(last, vehicle.ends_on) if vehicle.ends_on else last


def _is_wanted(
    key: VehicleDayKey,
    facts: store.PilotFacts,
    marks: Sequence[store.Mark],
    present: set[tuple[int, dt.date]],
    selection: Selection,
) -> bool:
    if not selection.stale_only:
        name = next(vehicle.name for vehicle in facts.vehicles if vehicle.vehicle_id == key.vehicle_id)
        return (
            (selection.vehicles is None or name in selection.vehicles)
            and (selection.first is None or key.day.day >= selection.first)
            and (selection.last is None or key.day.day <= selection.last)
        )
    return (key.vehicle_id, key.day.day) not in present or any(
        mark.vehicle_id == key.vehicle_id
        and mark.reaches_from < key.day.ends_at
        and mark.reaches_to >= key.day.starts_at
        for mark in marks
    )


def _spans_here(facts: store.PilotFacts, vehicle_id: int) -> list[Span]:
    mine = (vehicle for vehicle in facts.vehicles if vehicle.vehicle_id == vehicle_id)
    return [facts.calendar.span(vehicle.starts_on, vehicle.ends_on) for vehicle in mine]


def _is_ours(facts: store.PilotFacts, mark: store.Mark) -> bool:
    """A mark is ours unless all that it touches is a moved vehicle's time with other pilots."""
    marked = Span(mark.from_time, mark.to_time)
    touches_us = any(marked.shared(span) for span in _spans_here(facts, mark.vehicle_id))
    return touches_us or not any(marked.shared(span) for span in facts.elsewhere.get(mark.vehicle_id, ()))


def _left_over(facts: store.PilotFacts, marks: Sequence[store.Mark]) -> list[tuple[int, Span]]:
    """The parts of moved vehicles' marks that lie in their time with other pilots: those pilots' concern."""
    return [
        (mark.vehicle_id, shared)
        for mark in marks
        for span in facts.elsewhere.get(mark.vehicle_id, ())
        if (shared := Span(mark.from_time, mark.to_time).shared(span)) is not None
    ]


# --- one batch ------------------------------------------------------------------------------------


def _in_order(
    wanted: Sequence[VehicleDayKey], facts: store.PilotFacts, pins: Sequence[periods.Pin]
) -> Iterator[list[VehicleDayKey]]:
    """Batches of reference vehicles first: the baselines of those paired with them rest on their results."""
    for first in (True, False):
        yield from _batches([key for key in wanted if (key.vehicle_id in facts.reference_ids) is first], pins)


def _pin_of(key: VehicleDayKey, pins: Sequence[periods.Pin]) -> periods.Pin | None:
    return next((pin for pin in pins if pin.covers(key.day.day)), None)


def _batches(wanted: Sequence[VehicleDayKey], pins: Sequence[periods.Pin]) -> Iterator[list[VehicleDayKey]]:
    """Up to `BATCH_VEHICLE_DAYS`, and no two days of a vehicle with others between: all that lies between is read.

    Days of a closed month are not with others: other factors may hold.
    """
    batch: list[VehicleDayKey] = []
    for key in wanted:
        apart = batch and key.vehicle_id == batch[-1].vehicle_id and key.day.starts_at > batch[-1].day.ends_at
        other = batch and pins and _pin_of(key, pins) != _pin_of(batch[0], pins)
        if apart or other or len(batch) == BATCH_VEHICLE_DAYS:
            yield batch
            batch = []
        batch.append(key)
    if batch:
        yield batch


def _compute_batch(
    connection: sa.Connection,
    reading: Reading,
    facts: store.PilotFacts,
    batch: Sequence[VehicleDayKey],
    pin: periods.Pin | None,
) -> int:
    """Compute and write some vehicle-days in one transaction; returns how many of them changed."""
    with connection.begin():
        inputs = reading.inputs(batch, pin)
        found = metrics.compute(inputs)
        rows = _day_rows(facts.pilot_id, batch, inputs, found)
        parts = (found.trips, found.charge_sessions, found.state_spells)
        return results.replace_vehicle_days(connection, facts.pilot_id, rows, parts)


def _compute_history(connection: sa.Connection, reading: Reading, batch: Sequence[VehicleDayKey]) -> None:
    """Compute and keep what some days before the pilot tell of a vehicle's own baseline."""
    with connection.begin():
        found = metrics.compute(reading.inputs(batch))
        baselines.keep_history(connection, [(key.vehicle_id, key.day.day) for key in batch], found.figures)


def _day_rows(
    pilot_id: int, batch: Sequence[VehicleDayKey], inputs: metrics.Inputs, found: metrics.Results
) -> list[dict[str, Any]]:
    figures = _figures_by(found.figures, ("vehicle_id", "day"))
    factors = _factors_by_day(found.factor_ids)
    lists = {name: _lists_by_day(getattr(found, name)) for name in ("methods", "agreements", "set_aside")}
    telemetry = {key[0]: frame for key, frame in inputs.telemetry.partition_by("vehicle_id", as_dict=True).items()}
    words = said(inputs)
    rates = {(row["vehicle_id"], row["day"]): row for row in inputs.baselines.iter_rows(named=True)}
    return [
        {
            "vehicle_id": key.vehicle_id, "day": key.day.day, "pilot_id": pilot_id, "starts_at": key.day.starts_at,
            "ends_at": key.day.ends_at, "figures": figures.get((key.vehicle_id, key.day.day), {}),
            **{name: by_day.get((key.vehicle_id, key.day.day), []) for name, by_day in lists.items()},
            **lineage(telemetry.get(key.vehicle_id), key.day, key.vehicle_id, words,
                      rates.get((key.vehicle_id, key.day.day), {})), "code_version": code_version(),
            "factors": factors.get((key.vehicle_id, key.day.day), []), "computed_at": dt.datetime.now(dt.UTC),
        }
        for key in batch
    ]  # fmt: skip


def _factors_by_day(ids: pl.DataFrame) -> dict[tuple[int, dt.date], list[str]]:
    """The ids of the factors behind each vehicle-day."""
    lists = ids.group_by("vehicle_id", "day").agg(pl.col("factor_id").sort())
    return {(row["vehicle_id"], row["day"]): row["factor_id"] for row in lists.iter_rows(named=True)}


def _lists_by_day(rows: pl.DataFrame) -> dict[tuple[int, dt.date], list[dict[str, Any]]]:
    """Rows of a contract as lists of each vehicle-day, in an order that is always the same."""
    found: dict[tuple[int, dt.date], list[dict[str, Any]]] = {}
    for row in rows.sort(pl.all()).iter_rows(named=True):
        found.setdefault((row.pop("vehicle_id"), row.pop("day")), []).append(row)
    return found


def _figures_by(figures: pl.DataFrame, keys: tuple[str, ...]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Long figures as `{keys: {metric: {field: value}}}`, without null fields but for the value itself."""
    nested: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in figures.sort(*keys, "metric").iter_rows(named=True):
        key = tuple(row.pop(name) for name in keys)
        metric = row.pop("metric")
        kept = {name: value for name, value in row.items() if value is not None or name == "value"}
        nested.setdefault(key, {})[metric] = kept
    return nested


@cache
def code_version() -> str:
    """The release, and a hash of the code that computes figures and of what it reads: equal versions agree."""
    package, digest = Path(analytics.__file__).parent, hashlib.sha256()
    shared = [Path(module.__file__ or "") for module in (calendar, reading, meters, baselines, units, signals, frames)]
    for path in [*sorted([*package.glob("metrics/**/*.py"), *package.glob("factors/**/*.*")]), *shared]:
        if "__pycache__" not in path.parts:
            digest.update(path.read_bytes())
    return f"{version('beachhead')}+{digest.hexdigest()[:8]}"


# --- totals ---------------------------------------------------------------------------------------


def _finish(
    connection: sa.Connection,
    facts: store.PilotFacts,
    days: Sequence[dt.date],
    gone: Sequence[tuple[int, dt.date]],
    settled: Sequence[store.Mark],
) -> int:
    """Remove what has nothing behind it, total the pilot's days, restate closed months and settle the marks.

    All in one transaction.
    """
    with connection.begin():
        results.remove_vehicle_days(connection, gone)
        changed = results.replace_pilot_days(connection, facts.pilot_id, _pilot_rows(connection, facts, days), days)
        periods.restate(connection, facts.pilot_id, days, [mark.cause for mark in settled])
        store.settle_marks(connection, settled, _left_over(facts, settled))
    return changed


def _figures_frame(stored: Sequence[sa.Row[Any]]) -> pl.DataFrame:
    """Stored vehicle-days as long figures."""
    rows = [
        {"vehicle_id": row.vehicle_id, "day": row.day, "metric": metric, **figure}
        for row in stored
        for metric, figure in row.figures.items()
    ]
    return Figures.validate(pl.DataFrame(rows, schema=schema_of(Figures)))


def _pilot_rows(connection: sa.Connection, facts: store.PilotFacts, days: Sequence[dt.date]) -> list[dict[str, Any]]:
    stored = [
        row
        for row in results.pilot_figures(connection, facts.pilot_id, days)
        if row.vehicle_id not in facts.reference_ids
    ]
    if not stored:
        return []
    totals = _figures_by(metrics.totals(_figures_frame(stored), by=["day"]), ("day",))
    return [
        {
            "pilot_id": facts.pilot_id, "day": day, "figures": totals[(day,)],
            "vehicles": len({row.vehicle_id for row in stored if row.day == day}),
            "data_until": max((row.data_until for row in stored if row.day == day and row.data_until), default=None),
            **_input_of([row for row in stored if row.day == day]), "code_version": code_version(),
            "factors": sorted({factor for row in stored if row.day == day for factor in row.factors}),
            "computed_at": dt.datetime.now(dt.UTC),
        }
        for day in sorted({row.day for row in stored})
    ]  # fmt: skip


def _input_of(days: Sequence[sa.Row[Any]]) -> dict[str, Any]:
    """How many rows a pilot's day rests on, and a hash of the hashes of its vehicle-days."""
    hashes = "".join(row.input_hash for row in sorted(days, key=lambda row: row.vehicle_id))
    return {
        "input_rows": sum(row.input_rows for row in days), "input_hash": hashlib.sha256(hashes.encode()).hexdigest(),
    }  # fmt: skip
