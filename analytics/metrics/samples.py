"""Telemetry rows made ready: in order, with a row at every cut, and the state of the vehicle on each.

The day cuts are rows of their own, so that filling splits energy, distance and hours exactly and everything after this
works on whole intervals.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from analytics.metrics import rules
from analytics.metrics.arrays import Flags, Whole
from analytics.metrics.fill import US_PER_S, Memory, Said, following, indexed
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

_ORDER_SPAN = 2**52  # the microseconds from 1970 to 2112
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

    Signals without any value are absent, but for those that states are read from. Added are the columns of `indexed`,
    `real` (false on the rows of cuts) and `cut`, the last cut passed (null before the first).
    """
    read, order = _in_order(_read(telemetry, vehicles), vehicles["vehicle_id"])
    ends = [*np.searchsorted(order, _order(cuts, vehicles["vehicle_id"])).tolist(), read.height]
    at_cuts = cuts.select("vehicle_id", "time", real=pl.lit(False))
    empty, parts, begin = read.clear(), [], 0
    at_cuts = pl.concat([empty, at_cuts], how="diagonal")
    for cut, end in enumerate(ends):  # one turn for each day
        parts += [read[begin:end], at_cuts[cut : cut + 1]]
        begin = end
    rows = indexed(pl.concat(parts, rechunk=True))
    return rows.with_columns(_cut(rows))


def prepare(ordered_rows: pl.DataFrame, vehicles: pl.DataFrame) -> pl.DataFrame:
    """Derive the state of the vehicle on each of `ordered` rows.

    Added are `silence_s` (time between the rows around the interval, null at the end of the data), and the flags `key`,
    `moving`, `stands`, `works`, `plugged`, `charges`, `red_lamp`, `cable_told`.
    """
    rows = ordered_rows.with_columns(_battery_power())
    real = rows["real"].to_numpy()
    memory, said = Memory.of(rows), {name: Said.of(rows[name], real) for name in _READ}
    speed, power = said["speed_kmh"], said["battery_power_kw"]
    moving = _moving(memory, speed, said["odometer_km"])
    stands = memory.last(speed.told)[1] & ~moving
    charging, cable = said["charging"], said["plugged_in"].otherwise(said["charging"])
    cable_told = memory.ever(cable.told)
    gains = power.told & (power.value > rules.CHARGING_KW)
    plugged = np.where(cable_told, _cable_in(memory, said["plugged_in"], charging, moving), gains & stands)
    flows = charging.otherwise(Said(gains, power.told)).otherwise(_lasting(memory, charging))
    flags = {
        "moving": moving, "stands": stands, "plugged": plugged, "charges": plugged & flows.known(),
        "red_lamp": _lasting(memory, said["red_stop_lamp"]).known(), "cable_told": cable_told,
    }  # fmt: skip
    known = {
        **_silence(memory, real),
        "key": _lasting(memory, said["ignition_on"].otherwise(said["ready"])),
        "works": _works(memory, said, rows["vehicle_id"], vehicles),
        **{f"last_{name}": memory.carried(said[name]) for name in PLACE},
    }
    return rows.drop(*STATES, "battery_voltage_v", "battery_current_a").with_columns(
        *(pl.Series(name, flag) for name, flag in flags.items()), *(is_.series(name) for name, is_ in known.items())
    )


_READ = (*STATES, *PLACE, "speed_kmh", "odometer_km", "battery_power_kw")


def present(telemetry: pl.DataFrame) -> frozenset[str]:
    """Signals that have at least one value."""
    return frozenset(n for n in SIGNALS if n in telemetry.columns and telemetry[n].null_count() < telemetry.height)


def _read(telemetry: pl.DataFrame, vehicles: pl.DataFrame) -> pl.DataFrame:
    """The rows of `vehicles`, with the signals that are needed."""
    have = present(telemetry)
    always = {*STATES, *BATTERY, *PLACE, "speed_kmh", "odometer_km"}
    needed = [name for name in SIGNALS if name in have or name in always]
    columns = [
        pl.col(n).cast(TELEMETRY_SCHEMA[n]) if n in have else pl.lit(None, TELEMETRY_SCHEMA[n]).alias(n) for n in needed
    ]
    mine = telemetry.lazy().filter(pl.col("vehicle_id").is_in(vehicles["vehicle_id"].implode()))
    return mine.select("vehicle_id", "time", *columns, real=pl.lit(True)).collect()


def _in_order(rows: pl.DataFrame, ids: pl.Series) -> tuple[pl.DataFrame, Whole]:
    """Rows by vehicle and time, the first of each instant; and their `_order`."""
    order = _order(rows, ids)
    if (np.diff(order) > 0).all():
        return rows, order
    at = np.argsort(order, kind="stable")
    at = at[np.append(True, np.diff(order[at]) > 0)]
    return rows[at], order[at]


def _order(rows: pl.DataFrame, ids: pl.Series) -> Whole:
    """Vehicle and time as one number: sorting by it is many times faster than by two columns."""
    if len(ids) > _MAX_VEHICLES:
        raise ValueError(f"{len(ids)} vehicles at once; at most {_MAX_VEHICLES}")
    rank = np.searchsorted(np.sort(ids.to_numpy()), rows["vehicle_id"].to_numpy())
    us: Whole = rank * _ORDER_SPAN + rows["time"].dt.epoch("us").to_numpy()
    return us


def _cut(rows: pl.DataFrame) -> pl.Series:
    """The last cut that each row's vehicle has passed: they are numbered in the order of the rows."""
    at_cut = ~rows["real"].to_numpy()
    _, known, _ = Memory.of(rows).last(at_cut)
    return Said((np.cumsum(at_cut) - 1).astype(np.int32), known).series("cut")


def _silence(memory: Memory, real: Flags) -> dict[str, Said]:
    """Time between the real rows around each interval, and since the last one."""
    us, (before, heard, unheard_s), (after, follows) = memory.us, memory.last(real), memory.next(real)
    bracketed = heard & memory.has_next & following(follows)
    return {
        "silence_s": Said((us[following(after)] - us[before]) / US_PER_S, bracketed),
        "unheard_s": Said(unheard_s, heard),
    }


def _lasting(memory: Memory, said: Said) -> Said:
    """What the vehicle last said, as long as that is believed: not longer than jobs read back."""
    return memory.carried_for(said, rules.REACH.total_seconds())


def _moving(memory: Memory, speed: Said, odometer: Said) -> Flags:
    """Speed above the noise; without a speed signal, an odometer that counts before the next row."""
    fast = memory.carried_for(speed, rules.CONTACT_GAP_S)
    counts = memory.has_next & odometer.told & following(odometer.told) & (following(odometer.value) > odometer.value)
    moving: Flags = np.where(memory.last(speed.told)[1], fast.told & (fast.value > rules.MOVING_KMH), counts)
    return moving


def _battery_power() -> pl.Expr:
    product = pl.col("battery_voltage_v") * pl.col("battery_current_a") / 1000
    return pl.coalesce("battery_power_kw", product)


def _works(memory: Memory, said: Mapping[str, Said], vehicle_id: pl.Series, vehicles: pl.DataFrame) -> Said:
    """Power take-off engaged, or motor or shaft power above the threshold; null but where equipment and vessels say."""
    working = vehicles.filter(pl.col("category").is_in(WORKING_CATEGORIES))["vehicle_id"]
    works, says = np.zeros(len(vehicle_id), bool), np.zeros(len(vehicle_id), bool)
    if len(working):
        mine = vehicle_id.is_in(working.implode()).to_numpy()
        for name in ("motor_power_kw", "shaft_power_kw"):
            power = memory.carried_for(said[name], rules.CONTACT_GAP_S)
            works |= power.told & (np.abs(power.value) > rules.WORKING_KW)
            says |= mine & memory.ever(said[name].told)
        works |= _lasting(memory, said["pto_on"]).known()
        says |= mine & memory.ever(said["pto_on"].told)
    return Said(works, says)


def _cable_in(memory: Memory, plugged_in: Said, charging: Said, moving: Flags) -> Flags:
    """The cable is in, as last said: charging says so too, and moving takes it out."""
    said = plugged_in.otherwise(Said(charging.value, charging.known()))
    return _lasting(memory, Said(said.value.astype(bool) & ~moving, said.told | moving)).known()
