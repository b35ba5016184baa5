"""The tables, as SQLAlchemy models. `schemas/migrations` builds them; a check keeps both equal.

Grain and meaning of each table stand in its docstring. Times are `timestamptz` in UTC. Names carry units.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP, TSTZMULTIRANGE
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from schemas.signals import SIGNALS, Kind

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
Timestamp = TIMESTAMP(timezone=True)
CATEGORIES = ("truck", "bus", "equipment", "vessel", "car")
POWERTRAINS = ("bev", "fcev", "phev", "hev", "cng", "lng", "diesel")
UPLOAD_STATUSES = ("loaded", "queued", "failed", "void", "duplicate")
UPLOAD_KINDS = ("telemetry", "can-log")


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


class Base(DeclarativeBase):
    """All tables."""

    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012  (SQLAlchemy reads this mapping from the class)
        dt.datetime: Timestamp,
        str: sa.Text(),
        dict[str, Any]: JSONB(),
        list[int]: ARRAY(sa.Integer()),
        list[str]: ARRAY(sa.Text()),
    }


# --- registry: what a programme declares ---------------------------------------------------------


class Partner(Base):
    """An organisation: city, agency, manufacturer, fleet, energy supplier."""

    __tablename__ = "partner"
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    kind: Mapped[str]


class Site(Base):
    """A place where vehicles charge: its grid and the losses up to its meter."""

    __tablename__ = "site"
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    latitude_deg: Mapped[float | None]
    longitude_deg: Mapped[float | None]
    grid: Mapped[str | None]
    line_loss_pct: Mapped[float | None]


class Charger(Base):
    """A charger (one port) at a site. `installed_on` is when it began to serve; null: not declared."""

    __tablename__ = "charger"
    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"))
    slug: Mapped[str]
    rated_kw: Mapped[float | None]
    efficiency_pct: Mapped[float | None]
    ends_on: Mapped[dt.date | None]
    installed_on: Mapped[dt.date | None]
    __table_args__ = (UniqueConstraint("site_id", "slug"),)


class Pilot(Base):
    """A pilot: vehicles in one region, under one operator, judged together."""

    __tablename__ = "pilot"
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    region: Mapped[str]
    grid: Mapped[str | None]
    segment: Mapped[str]
    starts_on: Mapped[dt.date]
    baseline_from: Mapped[dt.date | None]
    ends_on: Mapped[dt.date | None]
    targets: Mapped[dict[str, Any]] = mapped_column(server_default=sa.text("'{}'::jsonb"))
    funding: Mapped[list[Any]] = mapped_column(JSONB, server_default=sa.text("'[]'::jsonb"))


class PilotPartner(Base):
    """Who takes part in a pilot, and as what."""

    __tablename__ = "pilot_partner"
    pilot_id: Mapped[int] = mapped_column(ForeignKey("pilot.id"), primary_key=True)
    partner_id: Mapped[int] = mapped_column(ForeignKey("partner.id"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)


class PilotCalendar(Base):
    """Which time zone and day boundary hold for a pilot, from which date on."""

    __tablename__ = "pilot_calendar"
    pilot_id: Mapped[int] = mapped_column(ForeignKey("pilot.id"), primary_key=True)
    valid_from: Mapped[dt.date] = mapped_column(primary_key=True)
    time_zone: Mapped[str]
    day_starts_at: Mapped[dt.time]


class Vehicle(Base):
    """A vehicle, vessel or machine. Its place in a pilot is an `assignment`; its name is its own within that pilot."""

    __tablename__ = "vehicle"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    category: Mapped[str]
    powertrain: Mapped[str]
    make: Mapped[str | None]
    model: Mapped[str | None]
    model_year: Mapped[int | None]
    gross_mass_kg: Mapped[float | None]
    nameplate_battery_kwh: Mapped[float | None]
    usable_battery_kwh: Mapped[float | None]
    battery_packs: Mapped[int] = mapped_column(server_default=sa.text("1"))
    sample_period_s: Mapped[float] = mapped_column(server_default=sa.text("1"))
    sleeps_at_key_off: Mapped[bool] = mapped_column(server_default=sa.false())
    site_id: Mapped[int | None] = mapped_column(ForeignKey("site.id"))
    baseline: Mapped[dict[str, Any] | None]
    fuel: Mapped[str | None]  # what it burns itself; null: the usual one of its powertrain
    emission_standard: Mapped[str | None]  # of its own engine
    # counter -> the value at which it starts again from zero
    roll_over: Mapped[dict[str, Any]] = mapped_column(server_default=sa.text("'{}'::jsonb"))
    __table_args__ = (_one_of("category", CATEGORIES), _one_of("powertrain", POWERTRAINS))


class VehicleAlias(Base):
    """Another name a vehicle is addressed by: VIN, IMEI, serial."""

    __tablename__ = "vehicle_alias"
    alias: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    vehicle_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), index=True)


class Assignment(Base):
    """Which pilot a vehicle belongs to, from a date to a date (inclusive); open while `ends_on` is null."""

    __tablename__ = "assignment"
    id: Mapped[int] = mapped_column(primary_key=True)
    vehicle_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), index=True)
    pilot_id: Mapped[int] = mapped_column(ForeignKey("pilot.id"), index=True)
    starts_on: Mapped[dt.date]
    ends_on: Mapped[dt.date | None]
    __table_args__ = (
        UniqueConstraint("vehicle_id", "starts_on"),
        CheckConstraint("ends_on IS NULL OR ends_on >= starts_on - 1", name="order"),
    )


class Gateway(Base):
    """A device or vendor cloud that uploads. Covers the vehicles bound to it, or its whole pilot."""

    __tablename__ = "gateway"
    id: Mapped[int] = mapped_column(primary_key=True)
    pilot_id: Mapped[int] = mapped_column(ForeignKey("pilot.id"))
    slug: Mapped[str]
    whole_pilot: Mapped[bool] = mapped_column(server_default=sa.false())
    ends_on: Mapped[dt.date | None]
    __table_args__ = (UniqueConstraint("pilot_id", "slug"),)


class GatewayVehicle(Base):
    """A vehicle that a gateway may upload for, while it does not cover its whole pilot."""

    __tablename__ = "gateway_vehicle"
    gateway_id: Mapped[int] = mapped_column(ForeignKey("gateway.id"), primary_key=True)
    vehicle_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), primary_key=True)


class ApiKey(Base):
    """A gateway's key. Only the SHA-256 of its 256-bit secret is kept; `prefix` tells keys apart in lists."""

    __tablename__ = "api_key"
    id: Mapped[int] = mapped_column(primary_key=True)
    gateway_id: Mapped[int] = mapped_column(ForeignKey("gateway.id"), index=True)
    prefix: Mapped[str] = mapped_column(unique=True)
    secret_sha256: Mapped[bytes]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())
    revoked_at: Mapped[dt.datetime | None]
    last_used_at: Mapped[dt.datetime | None]
    expires_at: Mapped[dt.datetime | None]  # when a key that another takes the place of ends


# --- records: what people and schedules say -------------------------------------------------------


class ServicePlan(Base):
    """Weekly planned service of a pilot, or of one vehicle, from a date on. Hours may reach over midnight."""

    __tablename__ = "service_plan"
    id: Mapped[int] = mapped_column(primary_key=True)
    pilot_id: Mapped[int] = mapped_column(ForeignKey("pilot.id"), index=True)
    vehicle_id: Mapped[int | None] = mapped_column(ForeignKey("vehicle.id"))
    valid_from: Mapped[dt.date]
    weekdays: Mapped[list[int]]  # ISO: Monday is 1
    starts_at: Mapped[dt.time]
    ends_at: Mapped[dt.time]
    holidays: Mapped[list[dt.date]] = mapped_column(ARRAY(sa.Date()), server_default=sa.text("'{}'"))
    __table_args__ = (UniqueConstraint("pilot_id", "vehicle_id", "valid_from", postgresql_nulls_not_distinct=True),)


class ServiceDay(Base):
    """Planned service of one vehicle on one date, from records; it replaces the weekly plan of that date.

    Null times say that no service is planned.
    """

    __tablename__ = "service_day"
    vehicle_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), primary_key=True)
    day: Mapped[dt.date] = mapped_column(primary_key=True)
    starts_at: Mapped[dt.time | None]
    ends_at: Mapped[dt.time | None]


class Maintenance(Base):
    """Time a vehicle could not be used, planned or not, and why."""

    __tablename__ = "maintenance"
    id: Mapped[int] = mapped_column(primary_key=True)
    vehicle_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"))
    starts_at: Mapped[dt.datetime]
    ends_at: Mapped[dt.datetime | None]
    planned: Mapped[bool]
    cause: Mapped[str]
    note: Mapped[str | None]
    __table_args__ = (UniqueConstraint("vehicle_id", "starts_at"),)


class Roadcall(Base):
    """An event in service that needed a replacement or a repair on the road, or delayed the trip beyond the limit."""

    __tablename__ = "roadcall"
    id: Mapped[int] = mapped_column(primary_key=True)
    vehicle_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"))
    time: Mapped[dt.datetime]
    system: Mapped[str]
    note: Mapped[str | None]
    __table_args__ = (
        UniqueConstraint("vehicle_id", "time"),
        _one_of("system", ("propulsion", "storage", "other")),
    )


class ChargerOutage(Base):
    """Time in which a charger could not serve. `excluded`: for a cause outside the operator's control.

    `ends_at` is null while it lasts.
    """

    __tablename__ = "charger_outage"
    id: Mapped[int] = mapped_column(primary_key=True)
    charger_id: Mapped[int] = mapped_column(ForeignKey("charger.id"))
    starts_at: Mapped[dt.datetime]
    ends_at: Mapped[dt.datetime | None]
    excluded: Mapped[bool]
    cause: Mapped[str | None]
    note: Mapped[str | None]
    __table_args__ = (UniqueConstraint("charger_id", "starts_at"),)


class MeterSession(Base):
    """What a charger's meter counted at its input (AC) in one session, and the vehicle, where the record names one."""

    __tablename__ = "meter_session"
    id: Mapped[int] = mapped_column(primary_key=True)
    charger_id: Mapped[int] = mapped_column(ForeignKey("charger.id"))
    starts_at: Mapped[dt.datetime]
    ends_at: Mapped[dt.datetime]
    grid_kwh: Mapped[float]
    vehicle_id: Mapped[int | None] = mapped_column(ForeignKey("vehicle.id"))
    __table_args__ = (UniqueConstraint("charger_id", "starts_at"),)


class MeterMatch(Base):
    """The vehicle that a meter session without a name is of, as a job found; null: none, or in doubt."""

    __tablename__ = "meter_match"
    meter_id: Mapped[int] = mapped_column(ForeignKey("meter_session.id", ondelete="CASCADE"), primary_key=True)
    vehicle_id: Mapped[int | None] = mapped_column(ForeignKey("vehicle.id"))


class FuelDispensed(Base):
    """Fuel put into a vehicle: `amount` as the record gives it, and the same in kg (gases) or L (liquids)."""

    __tablename__ = "fuel_dispensed"
    id: Mapped[int] = mapped_column(primary_key=True)
    vehicle_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"))
    time: Mapped[dt.datetime]
    fuel: Mapped[str]
    amount: Mapped[float]
    unit: Mapped[str]
    mass_kg: Mapped[float | None]
    volume_l: Mapped[float | None]
    __table_args__ = (UniqueConstraint("vehicle_id", "time", "fuel"),)


# --- definitions: what CAN frames mean -------------------------------------------------------------


class DbcFile(Base):
    """A DBC file, by the hash of its content."""

    __tablename__ = "dbc"
    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    content: Mapped[bytes]
    messages: Mapped[int]
    signals: Mapped[int]
    warnings: Mapped[list[str]]
    added_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())


class DbcBinding(Base):
    """Where a DBC file holds: on a vehicle or on every vehicle of a model; on one channel or, null, on all."""

    __tablename__ = "dbc_binding"
    id: Mapped[int] = mapped_column(primary_key=True)
    dbc_id: Mapped[int] = mapped_column(ForeignKey("dbc.id"), index=True)
    vehicle_id: Mapped[int | None] = mapped_column(ForeignKey("vehicle.id"))
    model: Mapped[str | None]
    channel: Mapped[str | None]
    __table_args__ = (
        UniqueConstraint("dbc_id", "vehicle_id", "model", "channel", postgresql_nulls_not_distinct=True),
        CheckConstraint("(vehicle_id IS NULL) <> (model IS NULL)", name="target"),
    )


class DbcMap(Base):
    """Which signal is which canonical signal: canonical = value x factor + offset.

    A null `dbc_id` is the built-in J1939 table, a null `vehicle_id` every vehicle. `canonical` is null for a signal
    that is kept in `signal_sample` at full resolution instead.
    """

    __tablename__ = "dbc_map"
    id: Mapped[int] = mapped_column(primary_key=True)
    dbc_id: Mapped[int | None] = mapped_column(ForeignKey("dbc.id"), index=True)
    vehicle_id: Mapped[int | None] = mapped_column(ForeignKey("vehicle.id"))
    canonical: Mapped[str | None]
    message: Mapped[str]
    signal: Mapped[str]
    factor: Mapped[float] = mapped_column(server_default=sa.text("1"))
    offset: Mapped[float] = mapped_column(server_default=sa.text("0"))
    __table_args__ = (
        UniqueConstraint("dbc_id", "vehicle_id", "canonical", "message", "signal", postgresql_nulls_not_distinct=True),
    )


# --- factors: what a programme knows better than the tables that ship ------------------------------


class OwnFactor(Base):
    """An imported emission factor. `hours` counts the rows of `grid_hour`; then `value` is their mean.

    `pilot_id` is null for a factor of the whole programme. The other columns are those of the tables that ship.
    """

    __tablename__ = "own_factor"
    id: Mapped[str] = mapped_column(primary_key=True)
    table_name: Mapped[str] = mapped_column(index=True)
    pilot_id: Mapped[int | None] = mapped_column(ForeignKey("pilot.id"))
    kind: Mapped[str]
    key: Mapped[str]
    area: Mapped[str]
    name: Mapped[str]
    boundary: Mapped[str]
    gases: Mapped[str]
    gwp_set: Mapped[str | None]
    value: Mapped[float] = mapped_column(sa.Double)
    unit: Mapped[str]
    losses_included: Mapped[bool]
    year: Mapped[int]
    starts_on: Mapped[dt.date]
    edition: Mapped[str]
    source: Mapped[str]
    confidence: Mapped[str]
    note: Mapped[str | None]
    hours: Mapped[int] = mapped_column(server_default=sa.text("0"))
    __table_args__ = (
        UniqueConstraint("kind", "key", "area", "boundary", "gases", "starts_on"),
        CheckConstraint("confidence <> 'RECALLED'", name="seen"),
    )


class GridHour(Base):
    """The emission factor of one UTC hour of an hourly electricity table, in the unit of its `own_factor`."""

    __tablename__ = "grid_hour"
    factor_id: Mapped[str] = mapped_column(ForeignKey("own_factor.id"), primary_key=True)
    hour: Mapped[dt.datetime] = mapped_column(primary_key=True)
    value: Mapped[float] = mapped_column(sa.Double)


# --- telemetry: what vehicles say -----------------------------------------------------------------

_SQL_TYPE: dict[Kind, type[sa.types.TypeEngine[Any]]] = {
    Kind.FLOAT: sa.Double,
    Kind.INTEGER: sa.BigInteger,
    Kind.BOOLEAN: sa.Boolean,
}

telemetry = sa.Table(
    "telemetry",
    Base.metadata,
    sa.Column("vehicle_id", sa.Integer, primary_key=True),
    sa.Column("time", Timestamp, primary_key=True),
    *(sa.Column(signal.name, _SQL_TYPE[signal.kind]) for signal in SIGNALS.values()),
    comment="Hypertable. One row per vehicle and instant, one column per canonical signal.",
)


class ExtraSignal(Base):
    """A signal outside the catalogue, by name, per vehicle. Its kind is fixed when it is first seen."""

    __tablename__ = "extra_signal"
    id: Mapped[int] = mapped_column(primary_key=True)
    vehicle_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"))
    name: Mapped[str]
    kind: Mapped[str]
    unit: Mapped[str | None]  # where a definition tells it
    __table_args__ = (UniqueConstraint("vehicle_id", "name"), _one_of("kind", ("number", "boolean", "text")))


signal_sample = sa.Table(
    "signal_sample",
    Base.metadata,
    sa.Column("vehicle_id", sa.Integer, primary_key=True),
    sa.Column("signal_id", sa.Integer, primary_key=True),
    sa.Column("time", Timestamp, primary_key=True),
    sa.Column("number", sa.Double),
    sa.Column("text", sa.Text),
    comment="Hypertable. Values of extra signals; booleans are 0 and 1 in `number`.",
)


def _fault_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("vehicle_id", sa.Integer, primary_key=True),
        sa.Column("time", Timestamp, primary_key=True),
        sa.Column("channel", sa.Text, primary_key=True),
        sa.Column("source", sa.SmallInteger, primary_key=True),
        sa.Column("spn", sa.Integer, primary_key=True),
        sa.Column("fmi", sa.SmallInteger, primary_key=True),
        sa.Column("last_seen_at", Timestamp),
        sa.Column("cleared_at", Timestamp),
        sa.Column("occurrence_count", sa.SmallInteger),
        sa.Column("red_stop_lamp", sa.Boolean),
        sa.Column("amber_warning_lamp", sa.Boolean),
        sa.Column("protect_lamp", sa.Boolean),
        sa.Column("malfunction_lamp", sa.Boolean),
    )


fault_event = sa.Table(
    "fault_event",
    Base.metadata,
    *_fault_columns(),
    comment="Hypertable. Episodes of trouble codes: `time` is when one began, `last_seen_at` when it was last "
    "reported, `cleared_at` when its source first reported without it (null: never seen to).",
)
fault_sighting = sa.Table(
    "fault_sighting",
    Base.metadata,
    *_fault_columns(),
    comment="Hypertable. What `fault_event` is joined from: stretches in which a trouble code was reported, cut "
    "at fixed minutes. A row without `last_seen_at` tells of a clearing alone.",
)


# --- ledger: what was uploaded --------------------------------------------------------------------


class Upload(Base):
    """One accepted upload. `seq` is the order of acceptance; `receipt` is what the gateway was told."""

    __tablename__ = "upload"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), unique=True)
    gateway_id: Mapped[int] = mapped_column(ForeignKey("gateway.id"))
    kind: Mapped[str]  # telemetry | can-log
    sha256: Mapped[bytes]  # of the uncompressed bytes
    query: Mapped[str]  # the query parameters that change meaning, sorted
    content_type: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(sa.BigInteger)
    status: Mapped[str]
    reason: Mapped[str | None]
    received_at: Mapped[dt.datetime]
    loaded_at: Mapped[dt.datetime | None]
    idempotency_key: Mapped[str | None]
    first_time: Mapped[dt.datetime | None]
    last_time: Mapped[dt.datetime | None]
    rows_received: Mapped[int]
    rows_accepted: Mapped[int]
    rows_merged: Mapped[int]
    rows_duplicate: Mapped[int]
    rows_conflicting: Mapped[int]
    rows_rejected: Mapped[int]
    rows_late: Mapped[int]
    fields_rejected: Mapped[int]
    receipt: Mapped[dict[str, Any]]
    shift_s: Mapped[float] = mapped_column(server_default=sa.text("0"))  # added to every time of the upload
    # field -> {factor, offset}: what was sent x factor + offset
    scales: Mapped[dict[str, Any]] = mapped_column(server_default=sa.text("'{}'::jsonb"))
    expired_at: Mapped[dt.datetime | None]  # since when its bytes are not kept any more
    __table_args__ = (
        _one_of("status", UPLOAD_STATUSES),
        Index("uq_upload_same", "gateway_id", "kind", "sha256", "query", unique=True,
              postgresql_where=sa.text("status = 'loaded'")),
        Index("uq_upload_idempotency_key", "gateway_id", "idempotency_key", unique=True,
              postgresql_where=sa.text("idempotency_key IS NOT NULL AND status = 'loaded'")),
        Index("ix_upload_gateway_id_sha256", "gateway_id", "sha256"),
        Index("ix_upload_gateway_id_idempotency_key", "gateway_id", "idempotency_key",
              postgresql_where=sa.text("idempotency_key IS NOT NULL")),
        Index("ix_upload_received_at", "received_at"),
        Index("ix_upload_kept", "received_at", postgresql_where=sa.text("expired_at IS NULL")),
        Index("ix_upload_gateway_id_received_at", "gateway_id", "received_at"),
    )  # fmt: skip


class UploadVehicle(Base):
    """The vehicles an upload holds rows of, and their range of time."""

    __tablename__ = "upload_vehicle"
    upload_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("upload.id"), primary_key=True)
    vehicle_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), primary_key=True)
    first_time: Mapped[dt.datetime]
    last_time: Mapped[dt.datetime]
    rows: Mapped[int]
    __table_args__ = (Index("ix_upload_vehicle_range", "vehicle_id", "first_time", "last_time"),)


class UploadBody(Base):
    """The kept bytes of an upload, zstd-compressed: the source of truth for a rebuild."""

    __tablename__ = "upload_body"
    upload_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("upload.id"), primary_key=True)
    body_zstd: Mapped[bytes]


class UploadLog(Base):
    """The raw CAN log of an upload: where it is kept, and how its bytes are read.

    `landing_key` names the bytes in the landing store, `start_at` is when a relative clock began, `time_zone` reads
    wall-clock times. `definitions_sha256` says by which definitions and maps it was decoded last. `spans` are the whole
    minutes in which it holds frames.
    """

    __tablename__ = "upload_log"
    upload_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("upload.id"), primary_key=True)
    vehicle_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), index=True)
    landing_key: Mapped[str]
    format: Mapped[str]
    channel: Mapped[str | None]
    start_at: Mapped[dt.datetime | None]
    time_zone: Mapped[str | None]
    signals_key: Mapped[str | None]  # every decoded signal at full resolution, a Parquet file in the landing store
    definitions_sha256: Mapped[str]
    spans: Mapped[Any] = mapped_column(TSTZMULTIRANGE, server_default=sa.text("'{}'::tstzmultirange"))
    __table_args__ = (
        Index("ix_upload_log_spans", "spans", postgresql_using="gist"),
        Index("ix_upload_log_landing_key", "landing_key"),
    )


class UploadReject(Base):
    """The quarantine: a row, or one field of a row, that did not load, and why."""

    __tablename__ = "upload_reject"
    upload_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("upload.id"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True)
    row: Mapped[int]
    vehicle_id: Mapped[int | None]
    time: Mapped[dt.datetime | None]
    field: Mapped[str | None]
    value: Mapped[str | None]
    reason: Mapped[str]
    __table_args__ = (
        Index("ix_upload_reject_value", "vehicle_id", "time", "field",
              postgresql_where=sa.text("field IS NOT NULL AND time IS NOT NULL")),
    )  # fmt: skip


class StaleMark(Base):
    """Append-only: this vehicle's results for a range of time are out of date. A job deletes only the marks it read."""

    __tablename__ = "stale_mark"
    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    vehicle_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), index=True)
    from_time: Mapped[dt.datetime]
    to_time: Mapped[dt.datetime]
    cause: Mapped[str]
    marked_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())


# --- results: what the jobs compute ---------------------------------------------------------------


class Trip(Base):
    """A trip, whole, under the operating day on which it starts."""

    __tablename__ = "trip"
    vehicle_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), primary_key=True)
    starts_at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    ends_at: Mapped[dt.datetime]
    pilot_id: Mapped[int] = mapped_column(ForeignKey("pilot.id"))
    day: Mapped[dt.date]
    distance_km: Mapped[float | None]
    energy_used_kwh: Mapped[float | None]
    soc_start_pct: Mapped[float | None]
    soc_end_pct: Mapped[float | None]
    __table_args__ = (Index("ix_trip_pilot_id_day", "pilot_id", "day"),)


class ChargeSession(Base):
    """A charging session, from plugged in to unplugged, whole, under the operating day on which it starts.

    Energy is DC into the battery, grid energy AC at the charger's input, each measured, estimated or mixed; power is
    the mean while energy flowed.
    """

    __tablename__ = "charge_session"
    vehicle_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), primary_key=True)
    starts_at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    ends_at: Mapped[dt.datetime]
    pilot_id: Mapped[int] = mapped_column(ForeignKey("pilot.id"))
    day: Mapped[dt.date]
    kind: Mapped[str]  # overnight | opportunity | fast
    place: Mapped[str | None]  # depot | away; null: position not known
    charging_h: Mapped[float]
    energy_charged_kwh: Mapped[float | None]
    energy_method: Mapped[str | None]
    grid_energy_kwh: Mapped[float | None]
    grid_method: Mapped[str | None]
    power_kw: Mapped[float | None]
    soc_start_pct: Mapped[float | None]
    soc_end_pct: Mapped[float | None]
    note: Mapped[str | None]
    __table_args__ = (Index("ix_charge_session_pilot_id_day", "pilot_id", "day"),)


class StateSpell(Base):
    """What a vehicle was doing: pieces of its operating days, without gap or overlap.

    `cause` says why it was down or in planned maintenance; `unobserved` that it was busy in a silence.
    """

    __tablename__ = "state_spell"
    vehicle_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), primary_key=True)
    starts_at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    ends_at: Mapped[dt.datetime]
    pilot_id: Mapped[int] = mapped_column(ForeignKey("pilot.id"))
    day: Mapped[dt.date]
    state: Mapped[str]
    cause: Mapped[str | None]
    unobserved: Mapped[bool]
    __table_args__ = (Index("ix_state_spell_pilot_id_day", "pilot_id", "day"),)


class VehicleDay(Base):
    """A vehicle's operating day. `figures` maps a metric's slug to its value, bounds, coverage, method and note.

    `methods` lists what each method alone tells of a figure, `agreements` how they compare, `set_aside` the readings
    that were flagged, by signal and reason.
    """

    __tablename__ = "vehicle_day"
    vehicle_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), primary_key=True)
    day: Mapped[dt.date] = mapped_column(primary_key=True)
    pilot_id: Mapped[int] = mapped_column(ForeignKey("pilot.id"))
    starts_at: Mapped[dt.datetime]
    ends_at: Mapped[dt.datetime]
    figures: Mapped[dict[str, Any]]
    methods: Mapped[list[Any]] = mapped_column(JSONB, server_default=sa.text("'[]'::jsonb"))
    agreements: Mapped[list[Any]] = mapped_column(JSONB, server_default=sa.text("'[]'::jsonb"))
    set_aside: Mapped[list[Any]] = mapped_column(JSONB, server_default=sa.text("'[]'::jsonb"))
    data_until: Mapped[dt.datetime | None]
    input_rows: Mapped[int]
    input_hash: Mapped[str]
    code_version: Mapped[str]
    factors: Mapped[list[str]]
    computed_at: Mapped[dt.datetime]
    __table_args__ = (Index("ix_vehicle_day_pilot_id_day", "pilot_id", "day"),)


class HistoryDay(Base):
    """A vehicle's day before it entered its pilot, where that is its baseline: fuel, distance and hours alone."""

    __tablename__ = "history_day"
    vehicle_id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), primary_key=True)
    day: Mapped[dt.date] = mapped_column(primary_key=True)
    figures: Mapped[dict[str, Any]]
    computed_at: Mapped[dt.datetime]


class ReportPeriod(Base):
    """A closed month of a pilot. Rows are never changed: what changes after closing makes the next revision.

    `figures` are totals over the month, `code_version` and `factors` those of its days. `factors_sha256` pins all
    factors that were known when the month was closed first; `note` says why a revision was made.
    """

    __tablename__ = "report_period"
    pilot_id: Mapped[int] = mapped_column(ForeignKey("pilot.id"), primary_key=True)
    month: Mapped[dt.date] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    closed_at: Mapped[dt.datetime]
    closed_by: Mapped[str]
    note: Mapped[str | None]
    figures: Mapped[dict[str, Any]]
    days: Mapped[int]
    vehicles: Mapped[int]
    data_until: Mapped[dt.datetime | None]
    input_rows: Mapped[int] = mapped_column(sa.BigInteger)
    input_hash: Mapped[str]
    code_version: Mapped[str]
    factors: Mapped[list[str]]
    factors_sha256: Mapped[str] = mapped_column(ForeignKey("pinned_factors.sha256"))


class PinnedFactors(Base):
    """All factors known at a closing, by the hash of their content."""

    __tablename__ = "pinned_factors"
    sha256: Mapped[str] = mapped_column(primary_key=True)
    rows: Mapped[list[Any]] = mapped_column(JSONB)


class PilotDay(Base):
    """A pilot's operating day: totals over its vehicles, reference vehicles left out.

    `input_rows` and `input_hash` are of the vehicle-days it totals.
    """

    __tablename__ = "pilot_day"
    pilot_id: Mapped[int] = mapped_column(ForeignKey("pilot.id"), primary_key=True)
    day: Mapped[dt.date] = mapped_column(primary_key=True)
    figures: Mapped[dict[str, Any]]
    vehicles: Mapped[int]
    data_until: Mapped[dt.datetime | None]
    input_rows: Mapped[int] = mapped_column(sa.BigInteger, server_default=sa.text("0"))
    input_hash: Mapped[str] = mapped_column(server_default=sa.text("''"))
    code_version: Mapped[str]
    factors: Mapped[list[str]]
    computed_at: Mapped[dt.datetime]
