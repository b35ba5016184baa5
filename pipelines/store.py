"""The jobs' SQL: what a pilot is, which of its days are stale, its telemetry."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import dataframely as dy
import polars as pl
import sqlalchemy as sa
import sqlalchemy.orm

from analytics.metrics import LASTING, PADDING, Padding, rules
from analytics.metrics.dispensed import OF_FUEL
from pipelines.calendar import Calendar, CalendarRule, PlanRule, ServiceDayRule, Span
from schemas import tables
from schemas.errors import NotFoundError
from schemas.frames import TELEMETRY_SCHEMA, FaultEpisodes, Fillings, Maintenance, Roadcalls, Vehicles, framed

if TYPE_CHECKING:
    from adbc_driver_postgresql import dbapi as adbc

PILOT_LOCK = 7_250_517
REACHES: dict[type[tables.Trip | tables.ChargeSession], dt.timedelta] = {
    tables.Trip: dt.timedelta(minutes=10), tables.ChargeSession: dt.timedelta(hours=1),
}  # fmt: skip
"""Rows this soon after a trip or a charging session may still belong to it."""


@dataclass(frozen=True)
class PilotVehicle:
    """A vehicle's time in a pilot, and the span of its telemetry there (null: none)."""

    vehicle_id: int
    name: str
    starts_on: dt.date
    ends_on: dt.date | None
    first_time: dt.datetime | None
    last_time: dt.datetime | None


@dataclass(frozen=True)
class PilotFacts:
    """All that the job needs to know of a pilot before it reads telemetry."""

    pilot_id: int
    slug: str
    vehicles: tuple[PilotVehicle, ...]
    calendar: Calendar
    reference_ids: frozenset[int]
    elsewhere: Mapping[int, tuple[Span, ...]]


@dataclass(frozen=True)
class Mark:
    """A stale mark, and how far what it stands for may reach: see `marks`."""

    id: int
    vehicle_id: int
    from_time: dt.datetime
    to_time: dt.datetime
    reaches_from: dt.datetime
    reaches_to: dt.datetime
    cause: str


def stale_pilots(connection: sa.Connection) -> list[str]:
    """The pilots that have something to compute, by slug; a vehicle's mark counts for the pilots it was in then."""
    assignment, mark, margin = tables.Assignment, tables.StaleMark, dt.timedelta(days=2)
    marked = (
        sa.select(tables.Pilot.slug)
        .join(assignment, assignment.pilot_id == tables.Pilot.id)
        .join(mark, mark.vehicle_id == assignment.vehicle_id)
        .where(mark.to_time >= assignment.starts_on - margin)
        .where(sa.or_(assignment.ends_on.is_(None), mark.from_time <= assignment.ends_on + margin))
    )
    return sorted(connection.scalars(sa.union(marked, _waiting())))


def _waiting() -> sa.Select[Any]:
    """Slugs of pilots with meter sessions at their sites that nobody looked at yet."""
    meter, match, charger, vehicle = tables.MeterSession, tables.MeterMatch, tables.Charger, tables.Vehicle
    return (
        sa.select(tables.Pilot.slug)
        .join(tables.Assignment, tables.Assignment.pilot_id == tables.Pilot.id)
        .join(vehicle, vehicle.id == tables.Assignment.vehicle_id)
        .join(charger, charger.site_id == vehicle.site_id)
        .join(meter, meter.charger_id == charger.id)
        .outerjoin(match, match.meter_id == meter.id)
        .where(meter.vehicle_id.is_(None), match.meter_id.is_(None))
    )


def all_pilots(connection: sa.Connection) -> list[str]:
    """Every pilot, by slug."""
    return list(connection.scalars(sa.select(tables.Pilot.slug).order_by(tables.Pilot.slug)))


def lock_pilot(connection: sa.Connection, pilot_id: int) -> None:
    """Wait until no other job computes this pilot; held until the connection's server session ends."""
    connection.execute(sa.select(sa.func.pg_advisory_lock(PILOT_LOCK, pilot_id)))
    connection.commit()


def pilot_facts(connection: sa.Connection, slug: str) -> PilotFacts:
    """Read a pilot.

    Raises:
        NotFoundError: there is none of that name.
    """
    pilot = connection.execute(sa.select(tables.Pilot.__table__).filter_by(slug=slug)).one_or_none()
    if pilot is None:
        raise NotFoundError(f"there is no pilot {slug!r}; `beachhead pilot list` shows them all")
    vehicles = tuple(PilotVehicle(*row) for row in connection.execute(_assigned(pilot.id)))
    diesel = sa.select(tables.Vehicle.id).where(
        tables.Vehicle.id.in_([vehicle.vehicle_id for vehicle in vehicles]), tables.Vehicle.powertrain == "diesel"
    )
    return PilotFacts(
        pilot_id=pilot.id,
        slug=slug,
        vehicles=vehicles,
        calendar=_calendar(connection, pilot.id, [vehicle.vehicle_id for vehicle in vehicles]),
        reference_ids=frozenset(connection.scalars(diesel)),
        elsewhere=_elsewhere(connection, pilot.id),
    )


def _elsewhere(connection: sa.Connection, pilot_id: int) -> dict[int, tuple[Span, ...]]:
    """When the pilot's vehicles belonged to other pilots."""
    here, there = tables.Assignment, sa.orm.aliased(tables.Assignment)
    moved = (
        sa.select(there.vehicle_id, there.pilot_id, there.starts_on, there.ends_on)
        .join(here, here.vehicle_id == there.vehicle_id)
        .where(here.pilot_id == pilot_id, there.pilot_id != pilot_id)
        .distinct()
    )
    spans: dict[int, tuple[Span, ...]] = {}
    for vehicle_id, other, starts_on, ends_on in connection.execute(moved):
        spans[vehicle_id] = (*spans.get(vehicle_id, ()), _calendar(connection, other, []).span(starts_on, ends_on))
    return spans


def _assigned(pilot_id: int) -> sa.Select[Any]:
    telemetry = tables.telemetry
    assignment, vehicle = tables.Assignment, tables.Vehicle

    def edge(order: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
        own = sa.select(telemetry.c.time).where(telemetry.c.vehicle_id == assignment.vehicle_id)
        return own.order_by(order).limit(1).correlate(assignment).scalar_subquery()

    return (
        sa.select(
            assignment.vehicle_id, vehicle.name, assignment.starts_on, assignment.ends_on,
            edge(telemetry.c.time.asc()), edge(telemetry.c.time.desc()),
        )
        .join(vehicle, vehicle.id == assignment.vehicle_id)
        .where(assignment.pilot_id == pilot_id)
        .order_by(assignment.vehicle_id, assignment.starts_on)
    )  # fmt: skip


def _calendar(connection: sa.Connection, pilot_id: int, vehicle_ids: list[int]) -> Calendar:
    rule, plan, record = tables.PilotCalendar, tables.ServicePlan, tables.ServiceDay
    rules = sa.select(rule.valid_from, rule.time_zone, rule.day_starts_at).where(rule.pilot_id == pilot_id)
    plans = sa.select(
        plan.vehicle_id, plan.valid_from, plan.weekdays, plan.starts_at, plan.ends_at, plan.holidays
    ).where(plan.pilot_id == pilot_id)
    records = sa.select(record.vehicle_id, record.day, record.starts_at, record.ends_at).where(
        record.vehicle_id.in_(vehicle_ids)
    )
    return Calendar(
        [CalendarRule(*row) for row in connection.execute(rules)],
        [PlanRule(v, d, tuple(w), s, e, tuple(h)) for v, d, w, s, e, h in connection.execute(plans)],
        [ServiceDayRule(*row) for row in connection.execute(records)],
    )


def marks(connection: sa.Connection, vehicle_ids: Sequence[int]) -> list[Mark]:
    """The stale marks of these vehicles, each widened to what its rows can have changed.

    What a row says reaches up to its neighbours: rows that arrive between two stored ones change the time between
    them. A silence longer than the metrics' reach is judged by nothing, so the search ends there.
    A trip or charging session that the marked time touches may change as a whole, from the day on which it starts.
    """
    mark, telemetry = tables.StaleMark, tables.telemetry
    own = sa.select(telemetry.c.time).where(telemetry.c.vehicle_id == mark.vehicle_id).correlate(mark)
    time = telemetry.c.time
    earlier = own.where(time < mark.from_time, time >= mark.from_time - PADDING.reach)
    later = own.where(time > mark.to_time, time <= mark.to_time + PADDING.reach)
    before = earlier.order_by(time.desc()).limit(1).scalar_subquery()
    after = later.order_by(time).limit(1).scalar_subquery()
    touched = [
        sa.select(sa.func.min(part.starts_at))
        .where(part.vehicle_id == mark.vehicle_id, part.starts_at <= mark.to_time)
        .where(part.ends_at >= mark.from_time - reach)
        .correlate(mark)
        .scalar_subquery()
        for part, reach in REACHES.items()
    ]
    query = sa.select(
        mark.id, mark.vehicle_id, mark.from_time, mark.to_time, sa.func.least(before, *touched, mark.from_time),
        sa.func.coalesce(after, mark.to_time), mark.cause,
    ).where(mark.vehicle_id.in_(vehicle_ids))  # fmt: skip
    return [Mark(*row) for row in connection.execute(query)]


def vehicles_frame(connection: sa.Connection, pilot_id: int, vehicle_ids: Sequence[int]) -> dy.DataFrame[Vehicles]:
    """`Vehicles` of a pilot; the charger efficiency is the mean of the site's chargers by rated power."""
    vehicle, pilot, site, charger = tables.Vehicle, tables.Pilot, tables.Site, tables.Charger
    weight = sa.func.coalesce(charger.rated_kw, 1)
    efficiency = (
        sa.select(sa.func.sum(charger.efficiency_pct * weight) / sa.func.sum(weight) / 100)
        .where(charger.site_id == vehicle.site_id, charger.efficiency_pct.is_not(None), charger.ends_on.is_(None))
        .correlate(vehicle)
        .scalar_subquery()
    )
    query = (
        sa.select(
            vehicle.id.label("vehicle_id"), sa.literal(pilot_id).label("pilot_id"), vehicle.name, vehicle.category,
            vehicle.powertrain, vehicle.usable_battery_kwh, vehicle.sample_period_s, vehicle.sleeps_at_key_off,
            efficiency.label("charger_efficiency"), (site.line_loss_pct / 100).label("line_loss"), pilot.region,
            sa.func.coalesce(site.grid, pilot.grid).label("grid"),
            vehicle.fuel.label("own_fuel"),
            vehicle.baseline["fuel"].astext.label("baseline_fuel"),
            vehicle.baseline["rate"].astext.cast(sa.Double).label("baseline_rate"),
            vehicle.baseline["unit"].astext.label("baseline_unit"),
            vehicle.baseline["source"].astext.label("baseline_source"),
            vehicle.baseline["emission_standard"].astext.label("baseline_standard"),
            vehicle.baseline["engine_model_year"].astext.cast(sa.Integer).label("baseline_model_year"),
            vehicle.baseline["work"]["rate"].astext.cast(sa.Double).label("work_rate"),
            vehicle.baseline["work"]["unit"].astext.label("work_unit"),
            vehicle.baseline["work"]["source"].astext.label("work_source"),
            vehicle.emission_standard.label("own_standard"),
            site.latitude_deg.label("site_latitude_deg"), site.longitude_deg.label("site_longitude_deg"),
        )
        .select_from(vehicle)
        .join(pilot, pilot.id == pilot_id)
        .outerjoin(site, site.id == vehicle.site_id)
        .where(vehicle.id.in_(vehicle_ids))
    )  # fmt: skip
    return checked(Vehicles, _rows(connection, query))


def roll_overs(connection: sa.Connection, vehicle_ids: Sequence[int]) -> dict[str, dict[int, float]]:
    """At which value counters start again from zero: by counter and vehicle, where it is declared."""
    vehicle = tables.Vehicle
    declared = sa.select(vehicle.id, vehicle.roll_over).where(vehicle.id.in_(vehicle_ids), vehicle.roll_over != {})
    found: dict[str, dict[int, float]] = {}
    for vehicle_id, counters in connection.execute(declared):
        for counter, value in counters.items():
            found.setdefault(counter, {})[vehicle_id] = value
    return found


def maintenance_frame(connection: sa.Connection, vehicle_ids: Sequence[int]) -> dy.DataFrame[Maintenance]:
    """`Maintenance` of the vehicles."""
    record = tables.Maintenance
    query = sa.select(
        record.vehicle_id, record.starts_at, record.ends_at, record.planned, record.cause
    ).where(record.vehicle_id.in_(vehicle_ids))  # fmt: skip
    return checked(Maintenance, _rows(connection, query))


def roadcalls_frame(connection: sa.Connection, vehicle_ids: Sequence[int]) -> dy.DataFrame[Roadcalls]:
    """`Roadcalls` of the vehicles."""
    record = tables.Roadcall
    query = sa.select(record.vehicle_id, record.time, record.system).where(record.vehicle_id.in_(vehicle_ids))
    return checked(Roadcalls, _rows(connection, query))


def fillings_frame(
    connection: sa.Connection, vehicle_ids: Sequence[int], first: dt.datetime, last: dt.datetime
) -> dy.DataFrame[Fillings]:
    """`Fillings` of the vehicles between two times."""
    record = tables.FuelDispensed
    query = sa.select(
        record.vehicle_id, record.time, record.fuel, sa.func.coalesce(record.mass_kg, record.volume_l)
    ).where(record.vehicle_id.in_(vehicle_ids), record.time.between(first, last))  # fmt: skip
    rows = [(vehicle, time, OF_FUEL[fuel], amount) for vehicle, time, fuel, amount in connection.execute(query)]
    return checked(Fillings, rows)


def faults_frame(
    connection: sa.Connection, vehicle_ids: Sequence[int], first: dt.datetime, last: dt.datetime
) -> dy.DataFrame[FaultEpisodes]:
    """`FaultEpisodes` of the vehicles that may matter between two times: those that light the red stop lamp."""
    event = tables.fault_event.c
    seen = sa.func.coalesce(event.last_seen_at, event.time)
    query = (
        sa.select(event.vehicle_id, event.time, seen, event.cleared_at, event.red_stop_lamp)
        .where(event.vehicle_id.in_(vehicle_ids), event.red_stop_lamp, event.time < last)
        .where(sa.func.coalesce(event.cleared_at, seen + PADDING.reach) > first)
    )
    return checked(FaultEpisodes, _rows(connection, query))


def _rows(connection: sa.Connection, query: sa.Executable) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(query)]


Contract = TypeVar("Contract", bound=dy.Schema)


def checked(contract: type[Contract], rows: Sequence[tuple[Any, ...]]) -> dy.DataFrame[Contract]:
    """Rows as a frame that is held to its contract; most of what a batch asks for has none, and is none to check."""
    frame = framed(rows, contract)
    return contract.validate(frame, cast=True) if rows else cast("dy.DataFrame[Contract]", frame)


@dataclass(frozen=True)
class Window:
    """A vehicle's telemetry from a time up to another, the end left out."""

    vehicle_id: int
    starts_at: dt.datetime
    ends_at: dt.datetime


def padded(connection: sa.Connection, window: Window, padding: Padding) -> Window:
    """The window with its padding, as wide as the vehicle's rows around it ask for, never wider than the reach."""
    time = tables.telemetry.c.time
    own = sa.select(time).where(tables.telemetry.c.vehicle_id == window.vehicle_id)
    earlier = own.where(time < window.starts_at, time >= window.starts_at - padding.reach).order_by(time.desc())
    later = own.where(time >= window.ends_at, time < window.ends_at + padding.reach).order_by(time)
    first = connection.scalar(sa.select(sa.func.min(earlier.limit(padding.rows).subquery().c.time)))
    last = connection.scalar(sa.select(sa.func.max(later.limit(padding.rows).subquery().c.time)))
    starts_at, ends_at = window.starts_at - padding.before, window.ends_at + padding.after
    beyond_last = last + dt.timedelta(microseconds=1) if last else ends_at
    return Window(window.vehicle_id, min(first or starts_at, starts_at), max(beyond_last, ends_at))


def telemetry_frame(connection: adbc.Connection, windows: Iterable[Window], signals: Sequence[str]) -> pl.DataFrame:
    """Telemetry of the windows, with the named signals, what lasts from before each, and what a cable still in does.

    The connection's transaction is ended, so that nothing waits for it between two batches.
    """
    schema = {name: TELEMETRY_SCHEMA[name] for name in ("vehicle_id", "time", *signals)}
    columns = ", ".join(f'"{name}"' for name in schema)
    frames = [pl.DataFrame(schema=schema)]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL timezone TO 'UTC'")
        for window in windows:
            cursor.execute(
                f"SELECT {columns} FROM telemetry"  # noqa: S608  (column names are the catalogue's)
                f" WHERE vehicle_id = {window.vehicle_id:d} AND time >= '{window.starts_at.isoformat()}'"
                f" AND time < '{window.ends_at.isoformat()}' ORDER BY time"
            )
            frames.append(_received(cursor, schema))
            cursor.execute(_last_words(window))
            frames.append(_received(cursor, {name: schema[name] for name in ("vehicle_id", "time", *_SPOKEN)}))
            if _still_plugged(pl.concat(frames[-2:], how="diagonal")):
                cursor.execute(_charged_later(window, columns))
                frames.append(_received(cursor, schema))
    connection.rollback()
    return pl.concat(frames, how="diagonal")


_SPOKEN = (*LASTING, "speed_kmh")


def _last_words(window: Window) -> str:
    """The rows before a window on which the vehicle last moved, and on which lasting signals were last read."""
    said = [f"max(time) FILTER (WHERE {name} IS NOT NULL)" for name in LASTING]
    moved = f"max(time) FILTER (WHERE speed_kmh > {rules.MOVING_KMH})"
    return (
        f"SELECT vehicle_id, time, {', '.join(_SPOKEN)} FROM telemetry"  # noqa: S608  (names are the catalogue's)
        f" WHERE vehicle_id = {window.vehicle_id:d} AND time IN (SELECT unnest(ARRAY[{', '.join((*said, moved))}])"
        f" FROM telemetry WHERE vehicle_id = {window.vehicle_id:d} AND time < '{window.starts_at.isoformat()}'"
        f" AND time >= '{(window.starts_at - PADDING.reach).isoformat()}') ORDER BY time"
    )


def _still_plugged(rows: pl.DataFrame) -> bool:
    """Whether the cable was in when it was last told of."""
    told = rows.sort("time").select(pl.coalesce("plugged_in", pl.when("charging").then(True))).to_series().drop_nulls()
    return bool(told.len() and told[-1])


def _charged_later(window: Window, columns: str) -> str:
    """The rows after a window on which the battery charges, up to the first on which the cable is out."""
    out = f"(plugged_in = false OR speed_kmh > {rules.MOVING_KMH})"
    power = "coalesce(battery_power_kw, battery_voltage_v * battery_current_a / 1000)"
    later = (
        f"vehicle_id = {window.vehicle_id:d} AND time >= '{window.ends_at.isoformat()}'"
        f" AND time < '{(window.ends_at + PADDING.reach).isoformat()}'"
    )
    return (
        f"SELECT {columns} FROM telemetry WHERE {later} AND ({out} OR charging OR {power} > {rules.CHARGING_KW})"  # noqa: S608
        f" AND time <= coalesce((SELECT min(time) FROM telemetry WHERE {later} AND {out}), 'infinity') ORDER BY time"
    )


def _received(cursor: adbc.Cursor, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    frame = pl.from_arrow(cursor.fetch_arrow_table())
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("a query returns a table")
    return frame.select(pl.col(name).cast(kind) for name, kind in schema.items())


def settle_marks(connection: sa.Connection, done: Sequence[Mark], left: Sequence[tuple[int, Span]]) -> None:
    """Take away exactly the marks that were read, and put back what of them concerns another pilot."""
    if done:
        connection.execute(sa.delete(tables.StaleMark).where(tables.StaleMark.id.in_([mark.id for mark in done])))
    rows = [
        {
            "vehicle_id": vehicle_id,
            "from_time": span.starts_at,
            "to_time": span.ends_at,
            "cause": "another pilot's part",
        }
        for vehicle_id, span in left
    ]
    if rows:
        connection.execute(sa.insert(tables.StaleMark), rows)
