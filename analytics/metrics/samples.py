"""Telemetry rows made ready: in order, with a row at every cut, and the state of the vehicle on each.

The day cuts are rows of their own, so that filling splits energy, distance and hours exactly and everything after this
works on whole intervals.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from analytics.metrics import rules
from analytics.metrics.arrays import Flags, Whole, microseconds
from analytics.metrics.fill import US_PER_S, Memory, Said, following
from analytics.metrics.readings import Rows, Samples, Signal, Told
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
    day_at: dict[tuple[int, dt.datetime], dt.date | None] = {}
    for vehicle_id, day, starts_at, ends_at in days[["vehicle_id", "day", "starts_at", "ends_at"]].iter_rows():
        day_at[vehicle_id, starts_at] = day
        day_at.setdefault((vehicle_id, ends_at))
    rows = [(*place, day_at[place], cut) for cut, place in enumerate(sorted(day_at))]
    schema = {name: days.schema[name] for name in ("vehicle_id", "starts_at", "day")}
    return pl.DataFrame(rows, schema={**schema, "cut": pl.Int32()}, orient="row").rename({"starts_at": "time"})


def ordered(telemetry: pl.DataFrame, vehicles: pl.DataFrame, cuts: pl.DataFrame) -> Samples:
    """`telemetry` of `vehicles` in order of vehicle and time, without duplicates, with a row at each of `cuts`.

    Signals without any value are absent.
    """
    ids = vehicles["vehicle_id"]
    read, order = _in_order(_of_vehicles(telemetry, ids), ids)
    at_cuts = np.searchsorted(order, _order(cuts, ids)) + np.arange(cuts.height)
    real = np.ones(read.height + cuts.height, bool)
    real[at_cuts] = False
    told = Told.where(real)
    us, vehicle_id = np.empty(len(real), np.int64), np.empty(len(real), np.int32)
    for frame, at in ((read, told.at), (cuts, at_cuts)):
        us[at], vehicle_id[at] = microseconds(frame["time"]), frame["vehicle_id"].to_numpy()
    have = present(read)
    signals = {name: _signal(read[name], name, told) for name in SIGNALS if name in have}
    return Samples(vehicle_id, Rows.of(vehicle_id, us, real), told, signals)


def _signal(column: pl.Series, name: str, real: Told) -> Signal:
    """A column of telemetry as readings; numbers and flags come as arrays without copying where that can be."""
    told = real
    if column.null_count():
        on = real.on.copy()
        on[real.at] = column.is_not_null().to_numpy()
        told, column = Told.where(on), column.drop_nulls()
    x = column.cast(TELEMETRY_SCHEMA[name])
    return Signal(told, x.cast(pl.UInt8).to_numpy().view(bool) if x.dtype == pl.Boolean else x.to_numpy())


@dataclass(frozen=True, eq=False)
class States:
    """Samples with what the vehicle was doing on each row: flags that are known, and what may not be known."""

    samples: Samples
    flags: dict[str, Flags]
    said: dict[str, Said]

    def with_rows(self, source: Whole, us: Whole, fresh: Flags) -> States:
        """Rows put in between, of which holds what was said on the row before: see `Samples.with_rows`."""
        return States(
            self.samples.with_rows(source, us, fresh),
            {name: flags[source] for name, flags in self.flags.items()},
            {name: Said(said.value[source], said.told[source]) for name, said in self.said.items()},
        )


def prepare(samples: Samples, vehicles: pl.DataFrame) -> States:
    """Derive the state of the vehicle on each row.

    Said are `silence_s` (time between the rows around the interval, unknown at the end of the data), `unheard_s` (time
    since the last row), `key`, `works`, and where the vehicle last was; flags are `moving`, `stands`, `plugged`,
    `charges`, `red_lamp`, `cable_told`.
    """
    samples = samples.with_signals(_with_power(samples.signals))
    memory, said = samples.memory, {name: samples.said(name) for name in _READ}
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
        **_silence(memory, samples.real.on),
        "key": _lasting(memory, said["ignition_on"].otherwise(said["ready"])),
        "works": _works(samples, vehicles),
        **{f"last_{name}": memory.carried(said[name]) for name in PLACE},
    }
    return States(samples, flags, known)


_READ = (*LASTING, *PLACE, "speed_kmh", "odometer_km", "battery_power_kw")


def _with_power(signals: Mapping[str, Signal]) -> Mapping[str, Signal]:
    """Battery power is voltage x current where it is not told itself."""
    own, *parts = (signals.get(name) for name in ("battery_power_kw", "battery_voltage_v", "battery_current_a"))
    volts, amps = parts
    if volts is None or amps is None or (own is not None and own.told.on[volts.told.at].all()):
        return signals
    told_v, told_a = volts.on_rows(), amps.on_rows()
    there = Said(told_v.value * told_a.value / 1000, told_v.told & told_a.told)
    power = there if own is None else own.on_rows().otherwise(there)
    told = Told.where(power.told)
    return {**signals, "battery_power_kw": Signal(told, power.value[told.at])} if len(told.at) else signals


def present(telemetry: pl.DataFrame) -> frozenset[str]:
    """Signals that have at least one value."""
    return frozenset(n for n in SIGNALS if n in telemetry.columns and telemetry[n].null_count() < telemetry.height)


def _of_vehicles(telemetry: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
    """The rows of some vehicles: as they are where there are no others."""
    mine = np.isin(telemetry["vehicle_id"].to_numpy(), ids.to_numpy())
    return telemetry if mine.all() else telemetry.filter(mine)


def _in_order(rows: pl.DataFrame, ids: pl.Series) -> tuple[pl.DataFrame, Whole]:
    """Rows by vehicle and time, the first of each instant; and their `_order`."""
    order = _order(rows, ids)
    if (order[1:] > order[:-1]).all():
        return rows, order
    at = np.argsort(order, kind="stable")
    at = at[np.append(True, np.diff(order[at]) > 0)]
    return rows[at], order[at]


def _order(rows: pl.DataFrame, ids: pl.Series) -> Whole:
    """Vehicle and time as one number: sorting by it is many times faster than by two columns."""
    if len(ids) > _MAX_VEHICLES:
        raise ValueError(f"{len(ids)} vehicles at once; at most {_MAX_VEHICLES}")
    us = microseconds(rows["time"])
    if len(ids) > 1:
        us = us + np.searchsorted(np.sort(ids.to_numpy()), rows["vehicle_id"].to_numpy()) * _ORDER_SPAN
    return us


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


def _works(samples: Samples, vehicles: pl.DataFrame) -> Said:
    """Power take-off engaged, or motor or shaft power above the threshold; null but where equipment and vessels say."""
    facts = zip(vehicles["vehicle_id"], vehicles["category"], strict=True)
    working = [vehicle for vehicle, category in facts if category in WORKING_CATEGORIES]
    works, says = np.zeros(samples.height, bool), np.zeros(samples.height, bool)
    if working:
        mine, memory, take_off = np.isin(samples.vehicle_id, working), samples.memory, samples.said("pto_on")
        for name in ("motor_power_kw", "shaft_power_kw"):
            said = samples.said(name)
            power = memory.carried_for(said, rules.CONTACT_GAP_S)
            works |= power.told & (np.abs(power.value) > rules.WORKING_KW)
            says |= mine & memory.ever(said.told)
        works |= _lasting(memory, take_off).known()
        says |= mine & memory.ever(take_off.told)
    return Said(works, says)


def _cable_in(memory: Memory, plugged_in: Said, charging: Said, moving: Flags) -> Flags:
    """The cable is in, as last said: charging says so too, and moving takes it out."""
    said = plugged_in.otherwise(Said(charging.value, charging.known()))
    return _lasting(memory, Said(said.value.astype(bool) & ~moving, said.told | moving)).known()
