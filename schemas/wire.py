"""Pydantic bodies: receipts and problems of the write side, models of the read side."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Body(BaseModel):
    """A body that goes over the wire; unknown fields are a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- write side -----------------------------------------------------------------------------------


class RowCounts(Body):
    """What became of the rows: received = accepted + merged + duplicate + conflicting + rejected."""

    received: int = Field(0, description="rows in the upload")
    accepted: int = Field(0, description="rows for instants that were not stored yet")
    merged: int = Field(0, description="rows that added signals to a stored instant")
    duplicate: int = Field(0, description="rows whose every value was stored already")
    conflicting: int = Field(0, description="rows with a value that differs from the stored one; the stored one stays")
    rejected: int = Field(0, description="rows that could not be used")
    late: int = Field(0, description="rows that arrived more than an hour after their time")
    replaced: int = Field(0, description="rows of a raw log that took the place of stored values")


class Reject(Body):
    """One row, or one field of a row, that did not load."""

    row: int = Field(description="number of the row in the upload, from 1; 0: a row that came before, set aside")
    field: str | None = Field(None, description="the field at fault; null: the whole row")
    value: str | None = None
    reason: str


class UnknownId(Body):
    """Frames that no definition covers."""

    channel: str
    id: str = Field(description="in hexadecimal; 29-bit ids have eight digits")
    frames: int


class CanCounts(Body):
    """What was in a raw CAN log."""

    format: str
    clock: str = Field(description="how the log's times were read")
    frames_read: int
    frames_decoded: int
    lines_rejected: int = Field(description="lines or records that could not be read")
    remote_frames: int = 0
    error_frames: int = 0
    frames_dropped: int = Field(0, description="frames beyond what one minute may hold")
    unknown_ids: list[UnknownId] = Field(default_factory=list, description="the ten most frequent")
    unknown_frames: int = 0
    signals: list[str] = Field(default_factory=list, description="every signal that was decoded")
    out_of_limits: dict[str, int] = Field(default_factory=dict, description="values left out, by canonical signal")
    transport_losses: int = Field(0, description="messages of several frames that did not arrive whole")


class Receipt(Body):
    """What became of an upload."""

    upload_id: uuid.UUID
    sha256: str = Field(description="of the uncompressed bytes")
    status: Literal["loaded", "queued", "duplicate", "failed", "void"]
    received_at: dt.datetime
    server_time: dt.datetime
    rows: RowCounts
    fields_rejected: int = Field(0, description="values set aside while their rows loaded")
    can: CanCounts | None = Field(None, description="of raw CAN logs")
    first_time: dt.datetime | None = None
    last_time: dt.datetime | None = None
    vehicles: list[str] = Field(default_factory=list)
    extra_signals: list[str] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    rejects: list[Reject] = Field(default_factory=list, description="the first hundred; all of them at rejects_url")
    rejects_url: str | None = None


class Receipts(Body):
    """Receipts in the order of acceptance."""

    uploads: list[Receipt]
    next_url: str | None = Field(None, description="where the next ones are; null: these are the last so far")


class Rejects(Body):
    """Rejected rows and fields in the order of rows."""

    rejects: list[Reject]
    next_url: str | None = Field(None, description="where the next ones are; null: these are the last")


class Problem(Body):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    retryable: bool = False
    errors: list[Reject] = Field(default_factory=list)
    expected_offset: int | None = Field(
        None, exclude_if=lambda offset: offset is None, description="where the next part of an upload begins"
    )


class PartsState(Body):
    """How far an upload in parts has come."""

    name: str
    durable_bytes: int = Field(description="bytes from the start that are kept; the next part begins here")
    finished: bool = Field(False, description="whether it is complete; the receipt is that of upload_id")
    upload_id: uuid.UUID | None = None
    expires_at: dt.datetime | None = Field(None, description="when it is given up unless another part comes")


class UnfinishedUploads(Body):
    """The uploads in parts that a gateway has begun and not finished."""

    uploads: list[PartsState]


class GatewayVehicleInfo(Body):
    """A vehicle as its gateway sees it."""

    vehicle: str
    aliases: dict[str, str]
    sample_period_s: float


class GatewayInfo(Body):
    """What a gateway may do and should know."""

    gateway: str
    pilot: str
    server_time: dt.datetime
    vehicles: list[GatewayVehicleInfo]
    wanted_signals: list[str]
    max_body_bytes: int = Field(description="also after decompression")
    max_rows: int
    max_fields: int
    max_log_bytes: int = Field(description="of a raw CAN log, also when unpacked")
    max_part_bytes: int = Field(description="of one part of a raw CAN log")
    max_requests_per_s: float = Field(description="of this gateway in the long run, else 429; 0: no limit")
    max_bytes_per_s: float = Field(description="of this gateway in the long run, else 429; 0: no limit")


class GatewayPeriod(Body):
    """What came from a gateway in the last days. Shares are null where no row came."""

    uploads: int = Field(description="that were loaded; a repeated one counts once")
    uploads_failed: int = Field(description="that were kept and brought no row")
    rows_received: int
    rows_accepted: int
    rows_merged: int
    rows_duplicate: int
    rows_conflicting: int
    rows_rejected: int
    rows_late: int
    late_pct: float | None = Field(description="of the rows received, those that arrived long after their time")
    reject_pct: float | None = Field(description="of the rows received, those that could not be used")
    conflict_pct: float | None = Field(description="of the rows received, those that differ from what was stored")


class GatewayClock(Body):
    """Whether a gateway's clock is right, from its uploads of the last seven days that held no late row.

    Where its latest uploads are all late by about the same time, from those.
    """

    offset_s: float | None = Field(
        description="median of arrival less time of the last row; negative: the clock is fast; null: no such upload"
    )
    spread_s: float | None = Field(description="between the quartiles of the same")
    uploads: int = Field(description="so many were looked at, the newest")
    rows_in_future: int = Field(description="rows that were rejected because their time lies in the future")
    rows_before_start: int = Field(
        description="rows that were rejected because their time lies before the vehicle's start, and long before now"
    )
    is_off: bool = Field(
        description="rows lie in the future or before the vehicle's start, or the offset is beyond ten minutes"
    )
    note: str | None = Field(description="why it is off")


class RejectReason(Body):
    """Why rows or fields were rejected, in the newest uploads of the last thirty days that hold such."""

    reason: str
    field: str | None = Field(description="the field at fault; null: the whole row")
    count: int
    last_at: dt.datetime


class GatewayScore(Body):
    """How a gateway does. Uploads that were refused whole (4xx) leave nothing that could be counted."""

    gateway: str
    pilot: str
    server_time: dt.datetime
    last_seen_at: dt.datetime | None = Field(description="when it called last, to within half a minute")
    last_upload_at: dt.datetime | None
    last_7_days: GatewayPeriod
    last_30_days: GatewayPeriod
    clock: GatewayClock
    last_rejects: list[RejectReason] = Field(description="the ten latest")


# --- read side ------------------------------------------------------------------------------------

Method = Literal["measured", "estimated", "mixed"]


class FigureValue(Body):
    """A figure with what one needs to believe it. A null value is unknown, never zero; `note` says why."""

    value: float | None
    unit: str
    coverage_pct: float | None
    method: Method | None
    low: float | None = None
    high: float | None = None
    note: str | None = None


class FactorUsed(Body):
    """An emission factor behind a figure."""

    id: str
    name: str
    value: float
    unit: str
    year: int
    edition: str
    source: str
    confidence: str


class Summary(Body):
    """A pilot's figures over a period of operating days, both ends included."""

    pilot: str
    name: str
    from_: dt.date = Field(alias="from")
    to: dt.date
    data_until: dt.datetime | None
    metrics: dict[str, FigureValue]
    headline_co2e: str | None = Field(description="slug of the boundary that leads on pages")
    factors: list[FactorUsed]
    vehicles: int
    reference_vehicles: int
    days: int
    code_version: str
    input_rows: int = Field(description="rows of telemetry in the days")
    input_hash: str = Field(description="SHA-256 of all that the days were computed from")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class BoundaryTotal(Body):
    """CO2e avoided at one boundary, over the pilots whose headline it is. Boundaries are never added."""

    metric: str
    value: float
    unit: str
    pilots: list[str]


class Change(Body):
    """A figure that a revision of a closed month says otherwise than the one before. Null: unknown."""

    metric: str
    name: str
    unit: str
    before: float | None
    after: float | None


class PeriodRow(Body):
    """A revision of a closed month. It is never changed; what changed later is in the next revision."""

    month: str = Field(description="such as 2026-01")
    from_: dt.date = Field(alias="from")
    to: dt.date
    revision: int
    closed_at: dt.datetime
    closed_by: str
    note: str | None = Field(description="why; of a revision that nobody asked for: what came after closing")
    days: int
    vehicles: int
    data_until: dt.datetime | None
    code_version: str
    factors: list[str] = Field(description="ids of the emission factors behind the figures, with their edition")
    factors_sha256: str = Field(description="of all factors that were known at the first closing: they are pinned")
    input_rows: int
    input_hash: str
    metrics: dict[str, FigureValue]
    changed: list[Change] = Field(description="what the revision before said otherwise; empty for the first")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ProgrammeSummary(Body):
    """Totals over all pilots, each over all its days. Null dates: nothing is computed yet."""

    from_: dt.date | None = Field(alias="from")
    to: dt.date | None
    data_until: dt.datetime | None
    pilots: int
    vehicles: int
    metrics: dict[str, FigureValue]
    co2e_avoided: list[BoundaryTotal]

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class SegmentRow(Body):
    """The pilots of a segment (transit-bus, drayage, …) and their totals, each over all its days."""

    segment: str
    pilots: list[str]
    totals: ProgrammeSummary


class DayLineage(Body):
    """What a pilot's day was computed from, and by what."""

    code_version: str
    factors: list[str] = Field(description="ids of emission factors with their edition")
    input_rows: int
    input_hash: str = Field(description="of the hashes of its vehicle-days")
    computed_at: dt.datetime
    uploads: int = Field(description="loaded uploads that hold rows of its vehicles within their days")
    upload_ids: list[uuid.UUID] | None = Field(description="null where more than a week was asked for")


class DayRow(Body):
    """One operating day of a pilot or a vehicle."""

    day: dt.date
    starts_at: dt.datetime | None = Field(None, description="start of a vehicle's day, in UTC")
    ends_at: dt.datetime | None = None
    data_until: dt.datetime | None = Field(None, description="time of the newest sample behind the day")
    vehicles: int | None = Field(None, description="vehicles behind a pilot's day")
    lineage: DayLineage | None = Field(None, description="of a pilot's day; a vehicle's is told with the day itself")
    metrics: dict[str, FigureValue]


class MethodValue(Body):
    """What one method alone tells of a figure, not scaled."""

    metric: str
    method: str
    value: float
    unit: str
    coverage_pct: float | None


class Agreement(Body):
    """Two tellings of one quantity. `agrees` is false where their ratio is outside the accepted band."""

    check: str
    name: str
    numerator: float
    denominator: float
    unit: str
    ratio: float
    low: float = Field(description="lowest ratio accepted")
    high: float = Field(description="highest ratio accepted")
    agrees: bool | None = Field(description="null: too few days to judge")
    days: int = Field(1, description="vehicle-days on which both were told")


class SetAsideReadings(Body):
    """Readings that were flagged. `signal` is `time` where it is whole rows."""

    signal: str
    reason: str
    meaning: str
    samples: int
    left_out: bool = Field(description="false: flagged, and used")


class Lineage(Body):
    """What a result was computed from, and by what."""

    code_version: str
    factors: list[str] = Field(description="ids of emission factors with their edition")
    input_rows: int
    input_hash: str = Field(description="of the values of all rows of the day, of records and of the registry")
    computed_at: dt.datetime
    uploads: list[uuid.UUID] = Field(description="loaded uploads that hold rows of the vehicle within the day")


class VehicleDayDetail(Body):
    """A vehicle's day with everything behind its figures."""

    day: dt.date
    starts_at: dt.datetime
    ends_at: dt.datetime
    data_until: dt.datetime | None
    metrics: dict[str, FigureValue]
    methods: list[MethodValue]
    agreements: list[Agreement]
    set_aside: list[SetAsideReadings]
    lineage: Lineage


class TripRow(Body):
    """One trip."""

    starts_at: dt.datetime
    ends_at: dt.datetime
    day: dt.date
    distance_km: float | None
    energy_used_kwh: float | None
    soc_start_pct: float | None
    soc_end_pct: float | None


class ChargeSessionRow(Body):
    """One charging session, from plugged in to unplugged."""

    starts_at: dt.datetime
    ends_at: dt.datetime
    day: dt.date = Field(description="operating day on which it starts")
    kind: Literal["overnight", "opportunity", "fast"]
    place: Literal["depot", "away"] | None = Field(description="null: position not known")
    charging_h: float = Field(description="time in which energy flowed")
    energy_charged_kwh: float | None = Field(description="DC, into the battery")
    energy_method: Method | None
    grid_energy_kwh: float | None = Field(description="AC, at the charger's input")
    grid_method: Method | None
    power_kw: float | None = Field(description="mean while energy flowed, DC")
    soc_start_pct: float | None
    soc_end_pct: float | None
    note: str | None


class StateSpellRow(Body):
    """A piece of an operating day in one state; the pieces of a day leave no gap."""

    starts_at: dt.datetime
    ends_at: dt.datetime
    day: dt.date
    state: Literal["in_service", "charging", "plugged_idle", "idle", "parked", "down", "planned_maintenance", "unknown"]
    cause: Literal["vehicle", "supply", "planned_maintenance"] | None = Field(
        description="of not being fit for service"
    )
    unobserved: bool = Field(description="busy in a silence, known by what came before and after")


class FaultRow(Body):
    """An episode of a J1939 trouble code."""

    starts_at: dt.datetime
    last_seen_at: dt.datetime | None
    cleared_at: dt.datetime | None = Field(description="when its source first reported without it; null: never seen to")
    channel: str
    source: int = Field(description="address of the controller that reports it")
    spn: int = Field(description="suspect parameter number")
    fmi: int = Field(description="failure mode identifier")
    occurrence_count: int | None
    red_stop_lamp: bool | None
    amber_warning_lamp: bool | None
    protect_lamp: bool | None
    malfunction_lamp: bool | None


class ChargerRow(Body):
    """A charger (port) with its uptime by record, and what its meter counted in the period."""

    site: str
    charger: str
    rated_kw: float | None
    installed_on: dt.date | None = Field(description="null: not declared; then it is known since its first record")
    figure: Literal["nevi_uptime_pct", "uptime_since_start_pct"] = Field(
        description="by the formula of 23 CFR 680.116(b); a port younger than twelve months has a figure of its own"
    )
    name: str
    uptime_pct: float | None
    outage_min: float
    excluded_min: float = Field(description="part of the outage, for causes outside the operator's control")
    from_time: dt.datetime
    until: dt.datetime
    meter_sessions: int
    unmatched_sessions: int = Field(
        description="of them; they name no vehicle and none is found: in no vehicle's figure"
    )
    grid_energy_kwh: float | None = Field(description="AC, of the sessions that start in the period")


class OutageRow(Body):
    """Time in which a charger could not serve, by record."""

    site: str
    charger: str
    starts_at: dt.datetime
    ends_at: dt.datetime | None = Field(description="null: it lasts")
    excluded: bool = Field(description="for a cause outside the operator's control")
    cause: str | None
    note: str | None


class SentRows(Body):
    """What the pilot's gateways sent for the period, and what the receiver refused of it."""

    uploads: int
    rows_received: int
    rows_rejected: int
    fields_rejected: int
    rows_conflicting: int = Field(description="rows that told otherwise than what was stored")
    rows_late: int


class FigureCoverage(Body):
    """How well a figure is known over the vehicle-days of a period."""

    metric: str
    name: str
    coverage_pct: float | None
    method: Method | None
    vehicle_days: int = Field(description="on which the figure is told")
    unknown: int = Field(description="of them without a value, with the reason")
    doubtful: int = Field(description="of them with less than 80 % coverage")
    estimated: int


class PilotQuality(Body):
    """The quality of a pilot's data over a period."""

    pilot: str
    name: str
    from_: dt.date = Field(alias="from")
    to: dt.date
    data_until: dt.datetime | None
    vehicle_days: int
    connectivity_pct: float | None
    unknown_h: float | None
    receipts: SentRows
    figures: list[FigureCoverage]
    agreements: list[Agreement]
    set_aside: list[SetAsideReadings] = Field(description="with what was refused at receipt")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class SignalQuality(Body):
    """What came of one canonical signal of a vehicle in a period."""

    signal: str
    unit: str
    samples: int
    share_pct: float | None = Field(description="of the rows of the period; signals sent on change have few")
    low: float | None
    high: float | None
    set_aside: int = Field(description="readings that the metrics left out")
    flagged: int = Field(description="readings that look unlikely, and are used")
    refused: int = Field(description="values that the receiver refused")
    read_by_metrics: bool


class PilotRow(Body):
    """A pilot in the list of all."""

    id: str
    name: str
    region: str
    grid: str | None
    segment: str
    time_zone: str | None
    starts_on: dt.date
    first_day: dt.date | None = Field(description="first computed operating day; null: none yet")
    last_day: dt.date | None
    data_until: dt.datetime | None
    vehicles: int
    targets: dict[str, float]


class VehicleRow(Body):
    """A vehicle of a pilot."""

    id: str
    category: str
    powertrain: str
    make: str | None
    model: str | None
    model_year: int | None
    usable_battery_kwh: float | None
    site: str | None
    reference: bool = Field(description="there to compare with: in none of the pilot's totals")
    metrics: dict[str, FigureValue]


class SignalRow(Body):
    """A canonical signal."""

    name: str
    group: str
    unit: str
    meaning: str
    low: float
    high: float
    kind: str
    counter: bool
    vss: str | None
    spn: int | None


class MetricRow(Body):
    """A metric of the catalogue."""

    slug: str
    name: str
    unit: str
    meaning: str
    definition: str
    inputs: list[str] = Field(description="canonical signals, slugs of metrics, or records and declarations in words")
    totals: str
    side: Literal["DC", "AC"] | None = Field(None, description="of an energy: at the battery or at the charger's input")
    printed: str | None = Field(None, description="what is read with every figure")
    source: str = Field(description="published method, or that the definition is an own one")


class GridFactorRow(Body):
    """One emission factor of a grid."""

    id: str
    boundary: str
    gases: str
    value: float
    unit: str
    losses_included: bool
    year: int
    starts_on: dt.date
    edition: str
    source: str
    confidence: str


class RegionRow(Body):
    """A grid that a pilot can declare, the factors known for it, and the pilots that declare it."""

    grid: str
    area: str | None
    name: str | None
    factors: list[GridFactorRow] = Field(description="empty: emissions of its pilots are null and say why")
    pilots: list[str]
