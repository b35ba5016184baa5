"""Questions to the database, and typed answers. All SQL of the read side stands here.

The role `beachhead_reader` sees only the views of schema `reading`. Days are operating days and ranges of days include
both ends; ranges of time are half-open.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import polars as pl
import psycopg
import pyarrow as pa
import sqlalchemy as sa
from adbc_driver_postgresql import StatementOptions
from adbc_driver_postgresql import dbapi as adbc
from psycopg import sql

from analytics import queries
from analytics.factors.own import OwnRows, to_list
from schemas import database
from schemas.database import unavailable_when_gone
from schemas.errors import NotFoundError, UnavailableError
from schemas.frames import UTC_TIME, Figures, schema_of
from schemas.signals import SIGNALS, Kind, Signal

BATCH_BYTES = 4 * 2**20
"""About how much telemetry is in memory at once while it is streamed out."""

REFERENCE_POWERTRAIN = "diesel"
"""Vehicles of this powertrain are there to compare with: they are in no total of a pilot."""

_SAMPLES = """
SELECT {vehicle} AS vehicle, {time} AS time, {columns} FROM reading.telemetry t
WHERE {conditions} {grouping} ORDER BY 2
"""

Parameter = str | int | dt.date | list[int] | list[str]


@dataclass(frozen=True, slots=True)
class Pilot:
    """A pilot with the range of its computed days. Without any, `first_day`, `last_day`, `data_until` are null."""

    id: int
    slug: str
    name: str
    region: str
    grid: str | None
    segment: str
    starts_on: dt.date
    ends_on: dt.date | None
    targets: dict[str, Any]
    time_zone: str | None
    day_starts_at: dt.time | None
    first_day: dt.date | None
    last_day: dt.date | None
    data_until: dt.datetime | None
    vehicles: int
    reference_vehicles: int
    categories: list[str]


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A vehicle within a pilot."""

    id: int
    name: str
    category: str
    powertrain: str
    make: str | None
    model: str | None
    model_year: int | None
    usable_battery_kwh: float | None
    sample_period_s: float
    baseline: dict[str, Any] | None
    reference: bool
    site: str | None
    pilot_id: int


@dataclass(frozen=True, slots=True)
class PilotDay:
    """What a pilot's day was computed from, besides its figures."""

    day: dt.date
    vehicles: int
    data_until: dt.datetime | None
    code_version: str
    factors: list[str]
    input_rows: int
    input_hash: str
    computed_at: dt.datetime


@dataclass(frozen=True, slots=True)
class VehicleDay:
    """What a vehicle's day was computed from, besides its figures, and the UTC bounds of the day."""

    day: dt.date
    starts_at: dt.datetime
    ends_at: dt.datetime
    data_until: dt.datetime | None
    code_version: str
    factors: list[str]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What stands behind a vehicle's day: entries as the job wrote them, and the lineage but for uploads."""

    day: dt.date
    starts_at: dt.datetime
    ends_at: dt.datetime
    methods: list[dict[str, Any]]
    agreements: list[dict[str, Any]]
    set_aside: list[dict[str, Any]]
    code_version: str
    factors: list[str]
    input_rows: int
    input_hash: str
    computed_at: dt.datetime


@dataclass(frozen=True, slots=True)
class ClosedMonth:
    """A revision of a closed month, as it was kept."""

    month: dt.date
    revision: int
    closed_at: dt.datetime
    closed_by: str
    note: str | None
    figures: dict[str, Any]
    days: int
    vehicles: int
    data_until: dt.datetime | None
    input_rows: int
    input_hash: str
    code_version: str
    factors: list[str]
    factors_sha256: str


@dataclass(frozen=True, slots=True)
class Trip:
    """A trip, whole, under the operating day on which it starts."""

    starts_at: dt.datetime
    ends_at: dt.datetime
    day: dt.date
    distance_km: float | None
    energy_used_kwh: float | None
    soc_start_pct: float | None
    soc_end_pct: float | None


@dataclass(frozen=True, slots=True)
class ChargeSession:
    """A charging session, whole, under the operating day on which it starts."""

    starts_at: dt.datetime
    ends_at: dt.datetime
    day: dt.date
    kind: str
    place: str | None
    charging_h: float
    energy_charged_kwh: float | None
    energy_method: str | None
    grid_energy_kwh: float | None
    grid_method: str | None
    power_kw: float | None
    soc_start_pct: float | None
    soc_end_pct: float | None
    note: str | None


@dataclass(frozen=True, slots=True)
class StateSpell:
    """A piece of a vehicle's operating day in one state."""

    starts_at: dt.datetime
    ends_at: dt.datetime
    day: dt.date
    state: str
    cause: str | None
    unobserved: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """An episode of a trouble code; `cleared_at` is null while nothing has told that it cleared."""

    starts_at: dt.datetime
    last_seen_at: dt.datetime | None
    cleared_at: dt.datetime | None
    channel: str
    source: int
    spn: int
    fmi: int
    occurrence_count: int | None
    red_stop_lamp: bool | None
    amber_warning_lamp: bool | None
    protect_lamp: bool | None
    malfunction_lamp: bool | None


@dataclass(frozen=True, slots=True)
class Charger:
    """A charger that records tell of: when it began to serve or was first told of, and what its meter counted."""

    id: int
    site: str
    charger: str
    rated_kw: float | None
    installed_on: dt.date | None
    first_record: dt.datetime
    sessions: int
    unmatched_sessions: int
    grid_energy_kwh: float | None


@dataclass(frozen=True, slots=True)
class Span:
    """A time up to another, the end left out."""

    since: dt.datetime
    until: dt.datetime


@dataclass(frozen=True, slots=True)
class Samples:
    """A question for telemetry: which columns of which vehicle, between which instants, binned how.

    `every` is the width of a bin; bins are labelled by their start and counted from 1970. Null: as sampled. `aggregate`
    is a key of `AGGREGATES`; null: the catalogue's own for each signal.
    """

    vehicle: Vehicle
    signals: tuple[Signal, ...]
    first: dt.datetime | None = None
    before: dt.datetime | None = None
    every: dt.timedelta | None = None
    aggregate: str | None = None


@dataclass(frozen=True, slots=True)
class Period:
    """Operating days from `first` to `last`, both included."""

    first: dt.date
    last: dt.date


AGGREGATES: Mapping[str, str] = MappingProxyType(
    {
        "mean": "avg({})",
        "min": "min({})",
        "max": "max({})",
        "first": "(array_agg({} ORDER BY time) FILTER (WHERE {} IS NOT NULL))[1]",
        "last": "(array_agg({} ORDER BY time DESC) FILTER (WHERE {} IS NOT NULL))[1]",
        "count": "count({})",
    }
)
"""How the samples of a bin become one value. A flag averages to the share of samples in which it was set."""


class Reader:
    """Asks the database. Every method may raise `UnavailableError`."""

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        self.url = url
        self._engine = database.engine(url, pool_size=pool_size, application="beachhead analytics")

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    def ping(self) -> None:
        """Ask for nothing, to see that someone answers."""
        with self._connection() as connection:
            connection.execute(sa.text("SELECT 1 FROM reading.pilot LIMIT 1"))

    def pilots(self) -> list[Pilot]:
        """All pilots, by name."""
        return [Pilot(**row) for row in self._rows(queries.PILOTS + " ORDER BY p.name", reference=REFERENCE_POWERTRAIN)]

    def pilot(self, slug: str) -> Pilot:
        """One pilot.

        Raises:
            NotFoundError: there is no such pilot.
        """
        rows = self._rows(queries.PILOTS + " WHERE p.slug = :slug", reference=REFERENCE_POWERTRAIN, slug=slug)
        for row in rows:
            return Pilot(**row)
        raise NotFoundError(f"there is no pilot {slug!r}")

    def vehicles(self, pilot: Pilot) -> list[Vehicle]:
        """The vehicles that are or were in a pilot, by name."""
        statement = queries.VEHICLES + " WHERE p.id = :pilot_id ORDER BY v.name"
        return [Vehicle(**row) for row in self._rows(statement, reference=REFERENCE_POWERTRAIN, pilot_id=pilot.id)]

    def vehicle(self, pilot: Pilot, name: str) -> Vehicle:
        """One vehicle of a pilot.

        Raises:
            NotFoundError: the pilot has no such vehicle.
        """
        found = [vehicle for vehicle in self.vehicles(pilot) if vehicle.name == name]
        if not found:
            raise NotFoundError(f"pilot {pilot.slug!r} has no vehicle {name!r}")
        return found[-1]

    def vehicles_named(self, name: str) -> list[Vehicle]:
        """Every vehicle of this name, in whichever pilot."""
        statement = queries.VEHICLES + " WHERE v.name = :name ORDER BY v.id"
        return [Vehicle(**row) for row in self._rows(statement, reference=REFERENCE_POWERTRAIN, name=name)]

    def pilot_days(self, pilot: Pilot, period: Period) -> list[PilotDay]:
        """The pilot's computed days."""
        return [PilotDay(**row) for row in self._rows(queries.PILOT_DAYS, pilot_id=pilot.id, **_bounds(period))]

    def version(self, pilot: Pilot, period: Period) -> str:
        """A word that changes when any of the pilot's days in the period is computed anew, or appears or goes."""
        (row,) = self._rows(queries.VERSION, pilot_id=pilot.id, **_bounds(period))
        return str(row["version"])

    def vehicle_days(self, vehicle: Vehicle, period: Period) -> list[VehicleDay]:
        """The vehicle's computed days in its pilot."""
        return [VehicleDay(**row) for row in self._rows(queries.VEHICLE_DAYS, **_place(vehicle), **_bounds(period))]

    def evidence(self, vehicle: Vehicle, period: Period) -> list[Evidence]:
        """What stands behind the vehicle's computed days."""
        return [Evidence(**row) for row in self._rows(queries.EVIDENCE, **_place(vehicle), **_bounds(period))]

    def uploads(self, vehicle: Vehicle, day: dt.date) -> list[uuid.UUID]:
        """The loaded uploads whose rows of the vehicle reach into the day, in the order of acceptance."""
        return [row["id"] for row in self._rows(queries.UPLOADS, **_place(vehicle), day=day)]

    def pilot_figures(self, pilot: Pilot, period: Period) -> pl.DataFrame:
        """The pilot's daily figures in long form: pilot_id and the columns of `Figures`."""
        return self._figures("pilot_id", queries.PILOT_FIGURES, pilot_id=pilot.id, **_bounds(period))

    def vehicle_figures(self, pilot: Pilot, period: Period, vehicle: Vehicle | None = None) -> pl.DataFrame:
        """Daily figures of a pilot's vehicles, or of one, in long form: the columns of `Figures`."""
        only = {} if vehicle is None else {"vehicle_id": vehicle.id}
        statement = queries.VEHICLE_FIGURES + (" AND vehicle_id = :vehicle_id" if only else "")
        return self._figures("vehicle_id", statement, pilot_id=pilot.id, **only, **_bounds(period))

    def closed_months(self, pilot: Pilot) -> list[ClosedMonth]:
        """The pilot's closed months with every revision, in order."""
        return [ClosedMonth(**row) for row in self._rows(queries.CLOSED_MONTHS, pilot_id=pilot.id)]

    def trips(self, vehicle: Vehicle, period: Period) -> list[Trip]:
        """The vehicle's trips that start in the period."""
        return [Trip(**row) for row in self._rows(queries.TRIPS, **_place(vehicle), **_bounds(period))]

    def charge_sessions(self, vehicle: Vehicle, period: Period) -> list[ChargeSession]:
        """The vehicle's charging sessions that start in the period."""
        rows = self._rows(queries.CHARGE_SESSIONS, **_place(vehicle), **_bounds(period))
        return [ChargeSession(**row) for row in rows]

    def factors(self) -> pl.DataFrame:
        """Every factor that a figure may name, shipped or imported: the columns of `Factors`."""
        schema = schema_of(OwnRows)
        rows = [tuple(row.values()) for row in self._rows(queries.OWN_FACTORS)]
        return to_list(OwnRows.validate(pl.DataFrame(rows, schema=schema, orient="row"), cast=True))

    def state_spells(self, vehicle: Vehicle, period: Period) -> list[StateSpell]:
        """What the vehicle was doing on the days of the period."""
        return [StateSpell(**row) for row in self._rows(queries.STATE_SPELLS, **_place(vehicle), **_bounds(period))]

    def faults(self, vehicle: Vehicle, period: Period) -> list[Fault]:
        """The vehicle's trouble codes that were active in the period."""
        return [Fault(**row) for row in self._rows(queries.FAULTS, **_place(vehicle), **_bounds(period))]

    def chargers(self, pilot: Pilot, since: dt.datetime, until: dt.datetime) -> list[Charger]:
        """The chargers of the pilot's sites with records up to `until`, and what meters counted from `since`."""
        rows = self._rows(queries.CHARGERS, pilot_id=pilot.id, since=since, until=until)
        return [Charger(**row) for row in rows]

    def outages(self, chargers: Sequence[Charger]) -> pl.DataFrame:
        """Outages of chargers: charger_id, starts_at, ends_at, excluded, cause, note."""
        schema = {
            "charger_id": pl.Int64(), "starts_at": UTC_TIME, "ends_at": UTC_TIME, "excluded": pl.Boolean(),
            "cause": pl.String(), "note": pl.String(),
        }  # fmt: skip
        rows = self._rows(queries.OUTAGES, charger_ids=[charger.id for charger in chargers])
        return pl.DataFrame(rows, schema=schema)

    def refused(self, vehicles: Sequence[Vehicle], span: Span) -> list[dict[str, Any]]:
        """What receipts refused of the vehicles' rows of a time: signal (null: whole rows), reason, samples."""
        ids = [vehicle.id for vehicle in vehicles]
        return self._rows(queries.REFUSED, vehicle_ids=ids, since=span.since, until=span.until)

    def set_aside(self, pilot: Pilot, period: Period) -> list[dict[str, Any]]:
        """Readings of a pilot's vehicles that were flagged: signal, reason, left_out, samples, vehicle_days."""
        return self._rows(queries.SET_ASIDE, pilot_id=pilot.id, **_bounds(period))

    def agreements(self, pilot: Pilot, period: Period) -> list[dict[str, Any]]:
        """Comparisons over a pilot's vehicle-days: check, numerator, denominator, days, and how many are apart."""
        return self._rows(queries.AGREEMENTS, pilot_id=pilot.id, **_bounds(period))

    def receipts(self, pilot: Pilot, span: Span) -> dict[str, int]:
        """How many rows and fields the pilot's uploads of a time held, and how many were refused."""
        (row,) = self._rows(queries.RECEIPTS, pilot_id=pilot.id, since=span.since, until=span.until)
        return row

    def covered(self, pilot: Pilot, period: Period, slugs: Sequence[str]) -> dict[str, dict[str, int]]:
        """By metric, how many vehicle-days have a figure that is unknown, doubtful or estimated."""
        rows = self._rows(queries.COVERED, pilot_id=pilot.id, slugs=list(slugs), **_bounds(period))
        return {row.pop("metric"): row for row in rows}

    def day_uploads(self, pilot: Pilot, period: Period) -> dict[dt.date, list[uuid.UUID]]:
        """The loaded uploads that hold rows of a pilot's vehicles, by day."""
        rows = self._rows(queries.DAY_UPLOADS, pilot_id=pilot.id, **_bounds(period))
        return {row["day"]: row["ids"] for row in rows}

    def signals(self, vehicle: Vehicle, span: Span) -> dict[str, Any]:
        """Of every canonical signal of a vehicle's time: `<name>.n`, `.low` and `.high`; `rows` there are."""
        parts: list[sql.Composable] = [sql.SQL("count(*) AS rows")]
        for signal in SIGNALS.values():
            column = sql.SQL("{}::int" if signal.kind is Kind.BOOLEAN else "{}").format(sql.Identifier(signal.name))
            for name, aggregate in (("n", "count({})"), ("low", "min({})"), ("high", "max({})")):
                alias = sql.Identifier(f"{signal.name}.{name}")
                parts.append(sql.SQL("{} AS {}").format(sql.SQL(aggregate).format(column), alias))
        statement = sql.SQL(
            "SELECT {} FROM reading.telemetry WHERE vehicle_id = {} AND time >= {} AND time < {}"
        ).format(sql.SQL(", ").join(parts), vehicle.id, span.since, span.until)
        with self._connection() as connection:
            return dict(connection.execute(sa.text(statement.as_string())).mappings().one())

    def samples(self, question: Samples) -> Iterator[pa.RecordBatch]:
        """Telemetry in batches of bounded size: `vehicle`, `time` and the signals asked for, in order of time.

        The first batch is empty and tells the columns. Closing the iterator ends the question.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        try:
            connection = adbc.connect(self.url)
        except adbc.OperationalError as error:
            raise UnavailableError("the database cannot be reached now") from error
        return _batches(connection, _samples_statement(question))

    @contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        with unavailable_when_gone(), _up_to_date(), self._engine.connect() as connection:
            yield connection

    def _rows(self, statement: str, **parameters: Parameter) -> list[dict[str, Any]]:
        with self._connection() as connection:
            return [dict(row) for row in connection.execute(sa.text(statement), parameters).mappings()]

    def _figures(self, key: str, statement: str, **parameters: Parameter) -> pl.DataFrame:
        columns: dict[str, Any] = {name: kind.dtype for name, kind in Figures.columns().items() if name != "vehicle_id"}
        with self._connection() as connection:
            rows = connection.execute(sa.text(statement), parameters).all()
        return pl.DataFrame([tuple(row) for row in rows], schema={key: pl.Int32()} | columns, orient="row")


@contextmanager
def _up_to_date() -> Iterator[None]:
    """Say what to do about a database that is older than this code."""
    try:
        yield
    except sa.exc.ProgrammingError as error:
        if isinstance(error.orig, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
            raise UnavailableError("the database is older than this program: run `beachhead migrate`") from error
        raise


def _bounds(period: Period) -> dict[str, dt.date]:
    return {"first": period.first, "last": period.last}


def _place(vehicle: Vehicle) -> dict[str, int]:
    return {"pilot_id": vehicle.pilot_id, "vehicle_id": vehicle.id}


def _batches(connection: adbc.Connection, statement: str) -> Iterator[pa.RecordBatch]:
    with connection, connection.cursor() as cursor:
        cursor.adbc_statement.set_options(**{StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(BATCH_BYTES)})
        cursor.execute(statement)
        batches = cursor.fetch_record_batch()
        yield pa.RecordBatch.from_pylist([], schema=batches.schema)
        yield from batches


def _samples_statement(question: Samples) -> str:
    """The statement with its values written in: the COPY that carries rows out takes no parameters."""
    columns = [_column(signal, question) for signal in question.signals]
    conditions = [sql.SQL("vehicle_id = {}").format(question.vehicle.id)]
    if question.first is not None:
        conditions.append(sql.SQL("time >= {}").format(question.first))
    if question.before is not None:
        conditions.append(sql.SQL("time < {}").format(question.before))
    parts = {
        "vehicle": sql.Literal(question.vehicle.name),
        "time": _bin(question.every),
        "columns": sql.SQL(", ").join(columns),
        "conditions": sql.SQL(" AND ").join(conditions),
        "grouping": sql.SQL("" if question.every is None else "GROUP BY 2"),
    }
    return sql.SQL(_SAMPLES).format(**parts).as_string()


def _bin(every: dt.timedelta | None) -> sql.Composable:
    if every is None:
        return sql.SQL("t.time")
    return sql.SQL("date_bin({}, t.time, TIMESTAMPTZ 'epoch')").format(every)


def _column(signal: Signal, question: Samples) -> sql.Composable:
    name = sql.Identifier(signal.name)
    if question.every is None:
        return name
    how = question.aggregate or signal.aggregate.value
    value = sql.SQL("{}::int").format(name) if signal.kind is Kind.BOOLEAN else name
    aggregate = sql.SQL(AGGREGATES[how]).format(*[value] * AGGREGATES[how].count("{}"))
    return sql.SQL("({})::double precision AS {}").format(aggregate, name)
