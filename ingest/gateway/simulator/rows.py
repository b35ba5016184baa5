"""What a gateway sends of a simulated vehicle-day: when it is awake, which signals, how finely rounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

from ingest.gateway.simulator.calendar import Flags, Floats
from ingest.gateway.simulator.physics import KM_PER_DEGREE, running_total
from ingest.gateway.simulator.vehicle import VehicleDay

STAYS_AWAKE_S = 60.0
HEARTBEAT_S = 600.0
DAILY_WAKE_H = 12.0
CABIN_C = 19.0
GEAR_DRIVE, GEAR_NEUTRAL, GEAR_PARK = "D", "N", "P"

Column = Floats | Flags | pl.Series
DECIMALS: Mapping[str, int] = {
    "speed_kmh": 2, "odometer_km": 2, "latitude_deg": 6, "longitude_deg": 6, "altitude_m": 1, "heading_deg": 1,
    "gross_combination_mass_kg": 0, "operating_hours_h": 2, "battery_soc_pct": 1, "battery_voltage_v": 1,
    "battery_current_a": 1, "battery_power_kw": 2, "battery_temperature_c": 0, "energy_charged_kwh": 2,
    "energy_discharged_kwh": 2, "energy_regenerated_kwh": 2, "grid_energy_kwh": 2, "motor_power_kw": 2,
    "auxiliary_power_kw": 2, "hvac_power_kw": 2, "hotel_power_kw": 2, "shaft_power_kw": 2, "grid_power_kw": 2,
    "fuel_used_l": 2, "heater_fuel_used_l": 2, "genset_fuel_used_l": 2, "fuel_rate_l_h": 2, "engine_speed_rpm": 0,
    "cng_used_kg": 2, "cng_rate_kg_h": 3, "hydrogen_used_kg": 3, "hydrogen_rate_kg_h": 3, "hydrogen_mass_kg": 2,
    "fuel_cell_power_kw": 2, "engine_torque_pct": 0, "ambient_temperature_c": 1, "cabin_temperature_c": 1,
}  # fmt: skip


def rows(done: VehicleDay) -> pl.DataFrame:
    """The rows of a vehicle-day: `vehicle`, `time` (UTC, µs), then the vehicle's signals and extras, in time order."""
    spec = done.plan.vehicle
    sent = _sent(done)
    columns = {name: _column(done, name, sent) for name in spec.signals}
    return pl.DataFrame({"time": _times(done, sent), **columns}).select(
        pl.lit(spec.name).alias("vehicle"), pl.col("time"), pl.exclude("time")
    )


def _times(done: VehicleDay, sent: Flags) -> pl.Series:
    start_us = int(done.plan.day.starts_at.timestamp()) * 1_000_000
    micros = start_us + (done.motion.t[sent] * 1_000_000).astype(np.int64)
    return pl.Series(micros).cast(pl.Datetime("us", "UTC"))


def _sent(done: VehicleDay) -> Flags:
    """Every sample while key-on, charging, or within a minute of that or of a cable event.

    Asleep, one gateway keeps silent but for a daily sign of life, another sends a row every ten minutes.
    """
    t, states = done.motion.t, done.states
    cable = np.diff(states.plugged_in, prepend=states.plugged_in[0]) != 0
    active = states.key_on | done.charging | cable
    last_active_s = np.maximum.accumulate(np.where(active, t, -np.inf))
    wakes_s = done.plan.day.at(DAILY_WAKE_H)
    sign_of_life = t == wakes_s if done.plan.vehicle.sleeps_at_key_off else t % HEARTBEAT_S == 0
    sent: Flags = (t - last_active_s <= STAYS_AWAKE_S) | sign_of_life
    return sent


def _column(done: VehicleDay, name: str, sent: Flags) -> pl.Series:
    if name in done.steps:
        values: Column = done.counter(name)[sent]
    else:
        values = SIGNALS[name](done, sent)
    series = values if isinstance(values, pl.Series) else pl.Series(values)
    decimals = done.plan.vehicle.decimals.get(name, DECIMALS.get(name))
    return series if decimals is None else series.round(decimals)


def _position(done: VehicleDay, sent: Flags, north: bool) -> Floats:
    place, along = done.plan.vehicle.place, done.motion.road.route_km[sent]
    bearing = np.radians(place.bearing_deg)
    if north:
        latitude: Floats = place.latitude_deg + along * np.cos(bearing) / KM_PER_DEGREE
        return latitude
    longitude: Floats = place.longitude_deg + along * np.sin(bearing) / KM_PER_DEGREE / np.cos(
        np.radians(place.latitude_deg)
    )
    return longitude


def _heading(done: VehicleDay, sent: Flags) -> Floats:
    back: Floats = np.where(done.motion.road.direction[sent] < 0, 180.0, 0.0)
    return (done.plan.vehicle.place.bearing_deg + back) % 360


def _soc(done: VehicleDay, sent: Flags) -> Floats:
    battery, pack = done.battery, done.plan.vehicle.pack
    if battery is None or pack is None:
        return np.full(int(sent.sum()), np.nan)
    return np.clip(100 * battery.energy_kwh[sent] / pack.usable_kwh, 0, 100)


def _volts(done: VehicleDay, sent: Flags) -> Floats:
    return np.full(int(sent.sum()), np.nan) if done.battery is None else done.battery.voltage_v[sent]


def _amperes(done: VehicleDay, sent: Flags) -> Floats:
    return np.full(int(sent.sum()), np.nan) if done.battery is None else done.battery.current_a[sent]


def _cells_c(done: VehicleDay, sent: Flags) -> Floats:
    """A well-cooled pack: near 22 °C, drawn by the air, warmer as it empties."""
    emptied = 1 - _soc(done, sent) / 100
    return 22 + 0.3 * (done.loads.ambient_c[sent] - 20) + 8 * emptied


def _gear(done: VehicleDay, sent: Flags) -> pl.Series:
    moving, key_on = done.states.moving[sent], done.states.key_on[sent]
    codes = np.where(moving, GEAR_DRIVE, np.where(key_on, GEAR_NEUTRAL, GEAR_PARK))
    return pl.Series(codes, dtype=pl.String)


def _stopped(done: VehicleDay) -> Flags:
    return done.states.key_on & ~done.states.moving


def _rpm(done: VehicleDay, sent: Flags) -> Floats:
    running = 650 + 11 * np.minimum(done.motion.speed_ms[sent] * 3.6, 70)
    return np.where(done.loads.engine_on[sent], running, 0.0)


def _torque(done: VehicleDay, sent: Flags) -> Floats:
    return np.clip(done.loads.wheel_kw[sent] / 3.36, 0, 100) * done.loads.engine_on[sent]


def _hydrogen_kg(done: VehicleDay, sent: Flags) -> Floats:
    """What is in the tanks: full at the start of the day."""
    cell = done.plan.vehicle.fuel_cell
    used: Floats = running_total(0.0, done.steps["hydrogen_used_kg"])[sent]
    return (cell.tank_kg if cell else np.nan) - used


def _grid_kw(done: VehicleDay, sent: Flags) -> Floats:
    charger = done.plan.vehicle.charger
    return done.charger_kw[sent] / (charger.efficiency if charger else 1.0)


SIGNALS: Mapping[str, Callable[[VehicleDay, Flags], Column]] = {
    "speed_kmh": lambda d, s: d.motion.speed_ms[s] * 3.6,
    "latitude_deg": lambda d, s: _position(d, s, north=True),
    "longitude_deg": lambda d, s: _position(d, s, north=False),
    "altitude_m": lambda d, s: d.motion.road.altitude_m[s],
    "heading_deg": _heading,
    "gross_combination_mass_kg": lambda d, s: d.motion.mass_kg[s],
    "ignition_on": lambda d, s: d.states.key_on[s],
    "parking_brake_on": lambda d, s: ~d.states.key_on[s] | d.states.idle[s],
    "plugged_in": lambda d, s: d.states.plugged_in[s],
    "charging": lambda d, s: d.charging[s],
    "pto_on": lambda d, s: d.states.power_take_off[s],
    "battery_soc_pct": _soc,
    "battery_voltage_v": _volts,
    "battery_current_a": _amperes,
    "battery_power_kw": lambda d, s: d.battery_kw[s],
    "battery_temperature_c": _cells_c,
    "motor_power_kw": lambda d, s: d.loads.motor_kw[s],
    "auxiliary_power_kw": lambda d, s: d.loads.auxiliary_kw[s],
    "hvac_power_kw": lambda d, s: d.loads.hvac_kw[s],
    "hotel_power_kw": lambda d, s: d.loads.auxiliary_kw[s],
    "shaft_power_kw": lambda d, s: d.loads.wheel_kw[s],
    "grid_power_kw": _grid_kw,
    "fuel_rate_l_h": lambda d, s: d.fuel_rate_l_h[s],
    "cng_rate_kg_h": lambda d, s: d.gas_rate_kg_h[s],
    "hydrogen_rate_kg_h": lambda d, s: d.hydrogen_rate_kg_h[s],
    "hydrogen_mass_kg": _hydrogen_kg,
    "fuel_cell_power_kw": lambda d, s: d.loads.cell_kw[s],
    "engine_speed_rpm": _rpm,
    "engine_torque_pct": _torque,
    "ambient_temperature_c": lambda d, s: d.loads.ambient_c[s],
    "cabin_temperature_c": lambda d, s: np.where(d.states.key_on[s], CABIN_C, d.loads.ambient_c[s]),
    "gear": _gear,
    "door_open": lambda d, s: (_stopped(d) & ~d.states.idle)[s],
    "bow_door_open": lambda d, s: (_stopped(d) & d.states.plugged_in)[s],
    "fifth_wheel_locked": lambda d, s: (d.motion.mass_kg > d.plan.vehicle.chassis.empty_kg)[s],
}
