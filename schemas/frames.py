"""Contracts of the Polars frames that cross a module boundary.

Outside data is checked row by row at the edge (dropped and counted with a reason); inside, a frame that breaks its
contract raises. `Contract.validate(frame, cast=True)` is the inner door.
Times are UTC with microseconds. A *day* is a pilot's local operating day, named by the date on which it starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import dataframely as dy
import polars as pl

from schemas.signals import SIGNALS, Kind

UTC_TIME = pl.Datetime("us", "UTC")
POLARS_TYPE: dict[Kind, pl.DataType] = {
    Kind.FLOAT: pl.Float64(),
    Kind.INTEGER: pl.Int64(),
    Kind.BOOLEAN: pl.Boolean(),
}
TELEMETRY_SCHEMA: dict[str, pl.DataType] = {
    "vehicle_id": pl.Int32(),
    "time": UTC_TIME,
    **{signal.name: POLARS_TYPE[signal.kind] for signal in SIGNALS.values()},
}

ROW_NUMBER = pl.UInt32()
REJECT_SCHEMA: dict[str, pl.DataType] = {
    "row": ROW_NUMBER,  # position in the upload, from 1
    "vehicle_id": pl.Int32(),
    "time": UTC_TIME,
    "field": pl.String(),
    "value": pl.String(),
    "reason": pl.String(),
}
"""Rows, and single fields of rows, that did not load."""
NO_REJECTS = pl.DataFrame(schema=REJECT_SCHEMA)
EXTRA_SCHEMA: dict[str, pl.DataType] = {
    "row": ROW_NUMBER,
    "vehicle_id": pl.Int32(),
    "time": UTC_TIME,
    "name": pl.String(),
    "kind": pl.String(),  # number | boolean | text
    "number": pl.Float64(),  # of numbers, and of booleans as 0 and 1
    "text": pl.String(),
}
"""Values of signals outside the catalogue, in long form."""
NO_EXTRAS = pl.DataFrame(schema=EXTRA_SCHEMA)


@cache
def schema_of(contract: type[dy.Schema]) -> pl.Schema:
    """A contract's columns and types."""
    return contract.create_empty().schema


def framed(rows: Iterable[tuple[Any, ...]], contract: type[dy.Schema]) -> pl.DataFrame:
    """Rows with a contract's columns, in their order. Column by column, which is much faster than row by row."""
    schema = schema_of(contract)
    columns: list[Any] = list(zip(*rows, strict=True)) or [[] for _ in schema]
    return pl.DataFrame(dict(zip(schema, columns, strict=True)), schema=schema)


def _utc(*, nullable: bool = False, primary_key: bool = False) -> dy.Datetime:
    return dy.Datetime(time_unit="us", time_zone="UTC", nullable=nullable, primary_key=primary_key)


class Vehicles(dy.Schema):
    """What the jobs know of each vehicle. Rates of a baseline are as declared, with their unit."""

    vehicle_id = dy.Int32(primary_key=True)
    pilot_id = dy.Int32(nullable=False)
    name = dy.String(nullable=False)
    category = dy.String(nullable=False)  # truck | bus | equipment | vessel | car
    powertrain = dy.String(nullable=False)  # bev | fcev | phev | hev | cng | lng | diesel
    usable_battery_kwh = dy.Float64(nullable=True, min_exclusive=0)
    sample_period_s = dy.Float64(nullable=False, min_exclusive=0)
    sleeps_at_key_off = dy.Bool(nullable=False)
    charger_efficiency = dy.Float64(nullable=True, min_exclusive=0, max=1)  # null: not declared
    line_loss = dy.Float64(nullable=True, min=0, max_exclusive=1)  # share of injected energy; null: not declared
    region = dy.String(nullable=False)  # ISO 3166 country or subdivision
    grid = dy.String(nullable=True)  # for example egrid:CAMX
    own_fuel = dy.String(nullable=True)  # what it burns itself, where declared: cng, rng, hydrogen …
    baseline_fuel = dy.String(nullable=True)
    baseline_rate = dy.Float64(nullable=True, min_exclusive=0)
    baseline_unit = dy.String(nullable=True)  # L/100km, L/h, mpg, gal/h, kg/100km, kg/h
    baseline_source = dy.String(nullable=True)
    baseline_standard = dy.String(nullable=True)  # to which the displaced engine is certified, where declared
    baseline_model_year = dy.Int32(nullable=True)
    work_rate = dy.Float64(nullable=True, min_exclusive=0)  # of the displaced engine, at its shaft
    work_unit = dy.String(nullable=True)  # kWh/km, hp-h/mi, kWh/h, kWh/L, hp-h/gal
    work_source = dy.String(nullable=True)
    own_standard = dy.String(nullable=True)  # of the vehicle's own engine
    site_latitude_deg = dy.Float64(nullable=True, min=-90, max=90)  # of its depot
    site_longitude_deg = dy.Float64(nullable=True, min=-180, max=180)


class Baselines(dy.Schema):
    """Baseline rates that are measured or of a class, per vehicle-day; a null `rate` has a `reason`.

    Vehicles that declare a rate have no rows.
    """

    vehicle_id = dy.Int32(primary_key=True)
    day = dy.Date(primary_key=True)
    rate = dy.Float64(nullable=True, min_exclusive=0)
    unit = dy.String(nullable=False)
    method = dy.String(nullable=False)
    words = dy.String(nullable=False)  # what it is, the same for every day
    reason = dy.String(nullable=True)


class OperatingDays(dy.Schema):
    """The days to compute: one row per vehicle and local operating day, with its UTC bounds."""

    vehicle_id = dy.Int32(primary_key=True)
    day = dy.Date(primary_key=True)
    pilot_id = dy.Int32(nullable=False)
    starts_at = _utc(nullable=False)
    ends_at = _utc(nullable=False)


class PlannedService(dy.Schema):
    """Intervals in which a vehicle is planned to be in service, listed under their operating day."""

    vehicle_id = dy.Int32(primary_key=True)
    day = dy.Date(primary_key=True)
    starts_at = _utc(primary_key=True)
    ends_at = _utc(nullable=False)


class Maintenance(dy.Schema):
    """Time a vehicle could not be used. `ends_at` is null while it lasts. `cause`: vehicle | charger | supply | …."""

    vehicle_id = dy.Int32(nullable=False)
    starts_at = _utc(nullable=False)
    ends_at = _utc(nullable=True)
    planned = dy.Bool(nullable=False)
    cause = dy.String(nullable=False)


class Roadcalls(dy.Schema):
    """Events in service that needed help or delayed the trip. `system`: propulsion | storage | other."""

    vehicle_id = dy.Int32(nullable=False)
    time = _utc(nullable=False)
    system = dy.String(nullable=False)


class MeterSessions(dy.Schema):
    """What a charger's meter counted at its input (AC) in one session of a vehicle."""

    meter_id = dy.Int64(primary_key=True)
    vehicle_id = dy.Int32(nullable=False)
    starts_at = _utc(nullable=False)
    ends_at = _utc(nullable=False)
    grid_kwh = dy.Float64(nullable=False, min_exclusive=0)


class Fillings(dy.Schema):
    """Fuel put into vehicles; `fuel` is the figure that it counts in, `amount` in that figure's unit."""

    vehicle_id = dy.Int32(nullable=False)
    time = _utc(nullable=False)
    fuel = dy.String(nullable=False)  # of analytics.metrics.dispensed.USED_OF
    amount = dy.Float64(nullable=False, min_exclusive=0)


class FaultEpisodes(dy.Schema):
    """Trouble codes, from when one began to when its source first reported without it (null: never seen to)."""

    vehicle_id = dy.Int32(nullable=False)
    starts_at = _utc(nullable=False)
    last_seen_at = _utc(nullable=False)
    cleared_at = _utc(nullable=True)
    red_stop_lamp = dy.Bool(nullable=False)  # the code asked for the lamp that tells to stop


METHODS = ("measured", "estimated", "mixed")


class Figures(dy.Schema):
    """Results in long form: one row per vehicle, day and metric.

    A null `value` is a figure that cannot be known; `note` says why. `weight` is the activity (km, h or vehicle-days)
    that the figure should have covered, and `coverage_pct` the share of it that was observed, so that totals can
    weigh coverages. `low` and `high` bound the value where that is meant to be shown.
    """

    vehicle_id = dy.Int32(primary_key=True)
    day = dy.Date(primary_key=True)
    metric = dy.String(primary_key=True)
    value = dy.Float64(nullable=True)
    low = dy.Float64(nullable=True)
    high = dy.Float64(nullable=True)
    coverage_pct = dy.Float64(nullable=True, min=0, max=100)
    weight = dy.Float64(nullable=True, min=0)
    method = dy.String(nullable=True)
    note = dy.String(nullable=True)


class Trips(dy.Schema):
    """Trips, whole, under the operating day on which they start."""

    vehicle_id = dy.Int32(primary_key=True)
    starts_at = _utc(primary_key=True)
    ends_at = _utc(nullable=False)
    day = dy.Date(nullable=False)
    distance_km = dy.Float64(nullable=True, min=0)
    energy_used_kwh = dy.Float64(nullable=True)
    soc_start_pct = dy.Float64(nullable=True)
    soc_end_pct = dy.Float64(nullable=True)


SESSION_KINDS = ("overnight", "opportunity", "fast")
SESSION_PLACES = ("depot", "away")


class ChargeSessions(dy.Schema):
    """Charging sessions, from plugged in to unplugged, whole, under the operating day on which they start.

    Energy is DC into the battery; `grid_energy_kwh` is AC at the charger's input. `charging_h` is the time in which
    energy flowed, pauses left out, and `power_kw` the mean over it.
    """

    vehicle_id = dy.Int32(primary_key=True)
    starts_at = _utc(primary_key=True)
    ends_at = _utc(nullable=False)
    day = dy.Date(nullable=False)
    kind = dy.String(nullable=False)  # of SESSION_KINDS
    place = dy.String(nullable=True)  # of SESSION_PLACES; null: position not known
    charging_h = dy.Float64(nullable=False, min=0)
    energy_charged_kwh = dy.Float64(nullable=True, min=0)
    energy_method = dy.String(nullable=True)  # of METHODS
    grid_energy_kwh = dy.Float64(nullable=True, min=0)
    grid_method = dy.String(nullable=True)  # of METHODS
    power_kw = dy.Float64(nullable=True, min=0)
    soc_start_pct = dy.Float64(nullable=True)
    soc_end_pct = dy.Float64(nullable=True)
    note = dy.String(nullable=True)


class MethodValues(dy.Schema):
    """What each method alone tells of a figure, in the figure's unit and not scaled, with what it covered."""

    vehicle_id = dy.Int32(primary_key=True)
    day = dy.Date(primary_key=True)
    metric = dy.String(primary_key=True)
    method = dy.String(primary_key=True)
    value = dy.Float64(nullable=False)
    coverage_pct = dy.Float64(nullable=True, min=0, max=100)


class Agreements(dy.Schema):
    """Two tellings of one quantity side by side: `agrees` where their ratio is within its accepted band."""

    vehicle_id = dy.Int32(primary_key=True)
    day = dy.Date(primary_key=True)
    check = dy.String(primary_key=True)
    numerator = dy.Float64(nullable=False)
    denominator = dy.Float64(nullable=False, min_exclusive=0)
    agrees = dy.Bool(nullable=False)


class SetAside(dy.Schema):
    """Readings flagged as not believed, by signal and reason; `left_out` where nothing was computed from them."""

    vehicle_id = dy.Int32(primary_key=True)
    day = dy.Date(primary_key=True)
    signal = dy.String(primary_key=True)  # or `time`: the whole row
    reason = dy.String(primary_key=True)
    samples = dy.Int64(nullable=False, min=1)
    left_out = dy.Bool(nullable=False)


class StateSpells(dy.Schema):
    """What a vehicle was doing: the pieces of an operating day, without gap or overlap.

    `state` is one of `analytics.metrics.states.STATES`; `cause` says why it is down or in planned maintenance.
    `unobserved`: busy in a silence, known by what came before and after.
    """

    vehicle_id = dy.Int32(primary_key=True)
    starts_at = _utc(primary_key=True)
    ends_at = _utc(nullable=False)
    day = dy.Date(nullable=False)
    state = dy.String(nullable=False)
    cause = dy.String(nullable=True)  # vehicle | supply | planned_maintenance
    unobserved = dy.Bool(nullable=False)


class FactorIds(dy.Schema):
    """The emission factors behind a vehicle-day, by id."""

    vehicle_id = dy.Int32(primary_key=True)
    day = dy.Date(primary_key=True)
    factor_id = dy.String(primary_key=True)
