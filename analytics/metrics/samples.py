"""Telemetry rows made ready: in order, with a row at every cut, and the state of the vehicle on each.

The day cuts are rows of their own, so that filling splits energy, distance and hours exactly and everything after this
works on whole intervals.
"""

from __future__ import annotations

from functools import cache

import polars as pl

from analytics.metrics import rules
from analytics.metrics.fill import (
    HAS_NEXT,
    US,
    US_PER_S,
    carried,
    carried_for,
    indexed,
    known_after,
    known_before,
)  # fmt: skip
from schemas.frames import TELEMETRY_SCHEMA

COUNTERS = (
    "odometer_km", "operating_hours_h",
    "energy_charged_kwh", "energy_discharged_kwh", "energy_regenerated_kwh", "grid_energy_kwh",
    "charger_output_energy_kwh",
    "fuel_used_l", "heater_fuel_used_l", "genset_fuel_used_l", "hydrogen_used_kg", "cng_used_kg",
)  # fmt: skip
RATES = (
    "auxiliary_power_kw", "hotel_power_kw", "grid_power_kw", "charger_output_power_kw", "fuel_rate_l_h",
    "hydrogen_rate_kg_h", "cng_rate_kg_h",
)  # fmt: skip
"""Signals integrated over time as they are. Battery power and speed are too, with more detail."""
STATES = (
    "ignition_on", "ready", "plugged_in", "charging", "pto_on", "red_stop_lamp", "motor_power_kw", "shaft_power_kw",
)  # fmt: skip
LASTING = ("ignition_on", "ready", "plugged_in", "charging", "pto_on", "red_stop_lamp")
"""Signals that may be sent on change only: what they last said holds for `rules.REACH`."""
BATTERY = ("battery_power_kw", "battery_voltage_v", "battery_current_a", "battery_soc_pct")
PLACE = ("latitude_deg", "longitude_deg")
LEVELS = ("hydrogen_mass_kg", "payload_kg")
"""What a tank or a load bed holds."""
SIGNALS = (*COUNTERS, *RATES, *STATES, *BATTERY, "speed_kmh", "engine_speed_rpm", *LEVELS, *PLACE, "gnss_hdop")
"""Every signal the metrics read: what a job has to fetch."""

_ORDER_SPAN = 2**53  # twice the microseconds from 1970 to 2112
_MAX_VEHICLES = 2**10

WORKING_CATEGORIES = ("equipment", "vessel")
"""Vehicles in service also when they work without moving."""


def day_cuts(days: pl.DataFrame) -> pl.DataFrame:
    """One row per instant at which a vehicle's day starts or ends.

    `cut` numbers them in order of vehicle and time; `day` is the day that starts there, null where none does.
    """
    starts = days.select("vehicle_id", "day", time="starts_at")
    ends = days.select("vehicle_id", day=pl.lit(None, pl.Date), time="ends_at")
    return (
        pl.concat([starts, ends])
        .group_by("vehicle_id", "time")
        .agg(pl.col("day").max())
        .sort("vehicle_id", "time")
        .with_columns(cut=pl.int_range(pl.len(), dtype=pl.Int32))
    )


def ordered(telemetry: pl.DataFrame, vehicles: pl.DataFrame, cuts: pl.DataFrame) -> pl.DataFrame:
    """`telemetry` in order of vehicle and time, with a row at each of `cuts` and without duplicates.

    Signals without any value are absent, but for those that states are read from. Added are the columns of `indexed`
    and `cut`, the last cut passed (null before the first).
    """
    return indexed(_ordered(telemetry, vehicles, cuts)).with_columns(cut=carried(pl.col("cut"))).collect()


def prepare(ordered_rows: pl.DataFrame, vehicles: pl.DataFrame) -> pl.DataFrame:
    """Derive the state of the vehicle on each of `ordered` rows.

    Added are `silence_s` (time between the rows around the interval, null at the end of the data), and the flags `key`,
    `moving`, `stands`, `works`, `plugged`, `charges`, `red_lamp`, `cable_told`.
    """
    rows = ordered_rows.lazy().with_columns(**_silence())
    rows = rows.with_columns(key=_key(), moving=_moving(), battery_power_kw=_battery_power())
    rows = rows.with_columns(
        works=_works(vehicles),
        plugged=_plugged(),
        red_lamp=_lasting(pl.col("red_stop_lamp")).fill_null(False),
        cable_told=_cable_told(),
        stands=known_before(pl.col("speed_kmh")) & ~pl.col("moving"),
    )
    rows = rows.with_columns(charges=_charges(), **{f"last_{name}": carried(pl.col(name)) for name in PLACE})
    return rows.drop(*STATES, "battery_voltage_v", "battery_current_a").collect()


def present(telemetry: pl.DataFrame) -> frozenset[str]:
    """Signals that have at least one value."""
    return frozenset(n for n in SIGNALS if n in telemetry.columns and telemetry[n].null_count() < telemetry.height)


def _ordered(telemetry: pl.DataFrame, vehicles: pl.DataFrame, cuts: pl.DataFrame) -> pl.LazyFrame:
    have = present(telemetry)
    always = {*STATES, *BATTERY, *PLACE, "speed_kmh", "odometer_km"}
    needed = [name for name in SIGNALS if name in have or name in always]
    columns = [
        pl.col(n).cast(TELEMETRY_SCHEMA[n]) if n in have else pl.lit(None, TELEMETRY_SCHEMA[n]).alias(n) for n in needed
    ]
    keys = ["vehicle_id", "time"]
    read = telemetry.lazy().filter(pl.col("vehicle_id").is_in(vehicles["vehicle_id"].implode()))
    read = read.select(*keys, *columns, real=pl.lit(True))
    at_cuts = cuts.lazy().select(*keys, "cut", real=pl.lit(False))
    rows = read.with_columns(order=_order(vehicles)).collect()
    cut_rows = pl.concat([rows.lazy().clear(), at_cuts.with_columns(order=_order(vehicles))], how="diagonal")
    steps = rows["order"].diff().drop_nulls()
    if len(steps) and steps.min() <= 0:  # type: ignore[operator]
        rows = rows.sort("order").filter((pl.col("order") != pl.col("order").shift(1)).fill_null(True))
    merged = rows.lazy().with_columns(cut=pl.lit(None, pl.Int32)).merge_sorted(cut_rows, key="order")
    return merged.drop("order")


def _order(vehicles: pl.DataFrame) -> pl.Expr:
    """Vehicle, time and cut before row as one number: sorting by it is many times faster than by three columns."""
    ids = vehicles["vehicle_id"]
    if len(ids) > _MAX_VEHICLES:
        raise ValueError(f"{len(ids)} vehicles at once; at most {_MAX_VEHICLES}")
    rank = pl.col("vehicle_id").replace_strict(ids, pl.int_range(len(ids), eager=True), return_dtype=pl.Int64)
    return rank * _ORDER_SPAN + pl.col("time").dt.epoch("us") * 2 + pl.col("real").cast(pl.Int64)


@cache
def _silence() -> dict[str, pl.Expr]:
    """Time between the real rows around each interval."""
    seen = pl.when("real").then(US)
    bracketed = known_before(seen) & HAS_NEXT & known_after(seen).shift(-1)
    wait = (seen.backward_fill().shift(-1) - seen.forward_fill()) / US_PER_S
    heard = pl.when(known_before(seen)).then((US - seen.forward_fill()) / US_PER_S)
    return {"silence_s": pl.when(bracketed).then(wait), "unheard_s": heard}


@cache
def _key() -> pl.Expr:
    """Key on, off, or null where the vehicle has not said."""
    return _lasting(pl.coalesce("ignition_on", "ready"))


def _lasting(value: pl.Expr) -> pl.Expr:
    """What the vehicle last said, as long as that is believed: not longer than jobs read back."""
    return carried_for(value, rules.REACH.total_seconds())


@cache
def _moving() -> pl.Expr:
    """Speed above the noise; without a speed signal, an odometer that counts before the next row."""
    speed = carried_for(pl.col("speed_kmh"), rules.CONTACT_GAP_S)
    counts = pl.when(HAS_NEXT).then(pl.col("odometer_km").shift(-1) > pl.col("odometer_km"))
    return pl.when(known_before(pl.col("speed_kmh"))).then(speed > rules.MOVING_KMH).otherwise(counts).fill_null(False)


@cache
def _battery_power() -> pl.Expr:
    product = pl.col("battery_voltage_v") * pl.col("battery_current_a") / 1000
    return pl.coalesce("battery_power_kw", product)


def _works(vehicles: pl.DataFrame) -> pl.Expr:
    """Power take-off engaged, or motor or shaft power above the threshold; null but where equipment and vessels say."""
    working = vehicles.filter(pl.col("category").is_in(WORKING_CATEGORIES))["vehicle_id"]
    signals = [pl.col(name) for name in ("motor_power_kw", "shaft_power_kw")]
    strong = [carried_for(signal, rules.CONTACT_GAP_S).abs() > rules.WORKING_KW for signal in signals]
    flags = [*strong, _lasting(pl.col("pto_on"))]
    says = pl.any_horizontal(*(known_before(s) | known_after(s) for s in (*signals, pl.col("pto_on"))))
    any_work = pl.any_horizontal(*(flag.fill_null(False) for flag in flags))
    return pl.when(says & pl.col("vehicle_id").is_in(working.implode())).then(any_work)


@cache
def _plugged() -> pl.Expr:
    """The cable is in, as last said; moving takes it out. Without such a signal it is in while the pack gains."""
    said = pl.coalesce("plugged_in", pl.when("charging").then(True))
    told = _lasting(pl.when("moving").then(False).otherwise(said))
    stands = known_before(pl.col("speed_kmh")) & ~pl.col("moving")
    gains = (pl.col("battery_power_kw") > rules.CHARGING_KW) & stands
    return pl.when(_cable_told()).then(told).otherwise(gains).fill_null(False)


@cache
def _cable_told() -> pl.Expr:
    """The vehicle has a signal that tells whether the cable is in."""
    said = pl.coalesce("plugged_in", "charging")
    return known_before(said) | known_after(said)


@cache
def _charges() -> pl.Expr:
    """Energy flows into the plugged pack."""
    flows = pl.coalesce("charging", pl.col("battery_power_kw") > rules.CHARGING_KW, _lasting(pl.col("charging")))
    return pl.col("plugged") & flows.fill_null(False)
