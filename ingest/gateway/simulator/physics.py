"""Forces, loads and the battery. SI inside; powers in kW at the border, energies in kWh.

Signs: motor power positive when it propels, battery power and current positive into the battery.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ingest.gateway.simulator.calendar import Flags, Floats
from ingest.gateway.simulator.fleet import Chassis, Pack, Place

GRAVITY_MS2 = 9.81
AIR_KG_M3 = 1.2
SECONDS_PER_H = 3600.0
KM_PER_DEGREE = 111.195
FULL_REGEN_BELOW, NO_REGEN_ABOVE = 0.92, 0.98


@dataclass(frozen=True, slots=True)
class Road:
    """Where a vehicle is along its route: coordinate, direction (+1 out, -1 back), altitude and grade (rise / run)."""

    route_km: Floats
    direction: Floats
    altitude_m: Floats
    grade: Floats


def road(place: Place, distance_km: Floats) -> Road:
    """Fold the day's distance onto an out-and-back route over sine hills: potential energy returns with the place."""
    turns = distance_km / place.route_km
    outward = np.floor(turns).astype(int) % 2 == 0
    fraction = turns - np.floor(turns)
    route_km = place.route_km * np.where(outward, fraction, 1 - fraction)
    direction = np.where(outward, 1.0, -1.0)
    angle = 2 * np.pi * route_km / place.hill_length_km
    slope = np.pi * place.hill_m / (1000 * place.hill_length_km) * np.sin(angle)
    return Road(route_km, direction, place.altitude_m + place.hill_m / 2 * (1 - np.cos(angle)), slope * direction)


def wheel_power_kw(chassis: Chassis, speed_ms: Floats, mass_kg: Floats, grade: Floats, period_s: float) -> Floats:
    """Power at the wheels (or the shaft): inertia, rolling, drag and grade; for a hull, speed cubed."""
    if chassis.hull_kw_per_ms3:
        return chassis.hull_kw_per_ms3 * speed_ms**3
    inertia_n = mass_kg * np.gradient(speed_ms, period_s)
    rolling_n = mass_kg * GRAVITY_MS2 * (chassis.rolling + grade)
    drag_n = 0.5 * AIR_KG_M3 * chassis.drag_area_m2 * speed_ms**2
    power: Floats = (inertia_n + rolling_n + drag_n) * speed_ms / 1000
    return power


def motor_power_kw(chassis: Chassis, wheel_kw: Floats, soc: Floats) -> Floats:
    """Electric power of the drive; what the motor does not take of braking goes into the brakes.

    A nearly full battery takes less and less regeneration.
    """
    welcome = np.clip((NO_REGEN_ABOVE - soc) / (NO_REGEN_ABOVE - FULL_REGEN_BELOW), 0, 1)
    braking_kw = np.maximum(wheel_kw, 0) - wheel_kw
    regen_kw = np.minimum(braking_kw * chassis.regen_share * chassis.regen_efficiency, chassis.regen_limit_kw)
    motor: Floats = np.maximum(wheel_kw, 0) / chassis.drive_efficiency - regen_kw * welcome
    return motor


def hvac_power_kw(chassis: Chassis, ambient_c: Floats) -> Floats:
    """Electric heating or cooling by the distance of the season from comfort."""
    demand: Floats = np.minimum(chassis.hvac_kw_per_k * np.abs(ambient_c - chassis.comfort_c), chassis.hvac_limit_kw)
    return demand


@dataclass(frozen=True, slots=True)
class Charge:
    """What a battery holds, and the rate at which its store changes, at one instant."""

    energy_kwh: float
    store_kw: float


@dataclass(frozen=True, slots=True)
class BatteryTrace:
    """A battery sample by sample. `store_kw` is the rate of the store: terminal power less the loss inside."""

    voltage_v: Floats
    current_a: Floats
    store_kw: Floats
    energy_kwh: Floats

    @property
    def last(self) -> Charge:
        """The state at the last sample."""
        return Charge(float(self.energy_kwh[-1]), float(self.store_kw[-1]))


def open_circuit_v(pack: Pack, soc: Floats) -> Floats:
    """Voltage at rest, rising with charge."""
    voltage: Floats = pack.nominal_v * (0.92 + 0.15 * soc)
    return voltage


def run_battery(pack: Pack, power_kw: Floats, before: Charge, period_s: float) -> BatteryTrace:
    """Follow a battery under a terminal power (kW, into it) from the sample before the first.

    Terminal voltage V = E + I R and P = V I give the current; the store changes by E I. As E depends on the charge
    that is sought, the second pass uses the charge the first one found.
    """
    soc = np.full(power_kw.shape, before.energy_kwh / pack.usable_kwh)
    for _ in range(2):
        rest_v = open_circuit_v(pack, soc)
        root = np.sqrt(rest_v**2 + 4 * pack.resistance_ohm * power_kw * 1000)
        current_a = (root - rest_v) / (2 * pack.resistance_ohm)
        store_kw = rest_v * current_a / 1000
        rates = np.concatenate(([before.store_kw], store_kw))
        energy_kwh = before.energy_kwh + np.cumsum((rates[:-1] + rates[1:]) / 2) * period_s / SECONDS_PER_H
        soc = energy_kwh / pack.usable_kwh
    return BatteryTrace(rest_v + current_a * pack.resistance_ohm, current_a, store_kw, energy_kwh)


def split_at_zero_kwh(power_kw: Floats, period_s: float) -> tuple[Floats, Floats]:
    """Exact energy above and below zero of a power that is linear between samples.

    Returns (into, out), both positive, one value per sample: the interval that starts there. The last interval, whose
    end is not known yet, holds the last value.
    """
    start, end = power_kw, np.append(power_kw[1:], power_kw[-1])
    hours = period_s / SECONDS_PER_H
    span = np.where(start == end, 1.0, np.abs(start) + np.abs(end))
    crossing = (start * end) < 0
    high, low = np.maximum(start, end), np.minimum(start, end)
    mean = (start + end) / 2
    into = np.where(crossing, high * high / (2 * span), np.maximum(mean, 0)) * hours
    out = np.where(crossing, low * low / (2 * span), np.maximum(-mean, 0)) * hours
    return into, out


def integral(values: Floats, period_s: float) -> Floats:
    """Integral in value x seconds over the interval that starts at each sample; the last interval holds its value."""
    area: Floats = (values + np.append(values[1:], values[-1])) / 2 * period_s
    return area


def running_total(start: float, steps: Floats) -> Floats:
    """A counter's reading at each sample, from the amounts of the intervals that start there."""
    total: Floats = start + np.concatenate(([0.0], np.cumsum(steps[:-1])))
    return total


def long_standstill(standing: Flags, longer_than_s: float, period_s: float) -> Flags:
    """True on standing samples whose whole standstill lasts longer than a limit."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], standing.astype(np.int8), [0]))))
    marks = np.zeros(standing.size + 1, dtype=np.int64)
    starts, ends = edges[::2], edges[1::2]
    long = (ends - starts) * period_s > longer_than_s
    np.add.at(marks, starts[long], 1)
    np.add.at(marks, ends[long], -1)
    return np.cumsum(marks[:-1]) > 0
