"""Duty cycles: what each kind of vehicle does in a shift, as legs between standstills.

A duty yields hops. A hop is a chain of legs (length, cruise speed) with short stops between them, and what comes after:
a wait with the key on, a break with the key off, a charge at the pier, trailer work. `follow` lays hops out in time
until the shift ends; what does not fit is not driven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ingest.gateway.simulator.calendar import Floats, Spans
from ingest.gateway.simulator.charging import PlugSpan
from ingest.gateway.simulator.fleet import Chassis, Duty, VehicleSpec

WARM_UP_S = 150.0
COOL_DOWN_S = 90.0
KEY_OFF_AFTER_S = 90.0
SHORTEST_SHIFT_S = 20 * 60
KNOT_MS = 1.852 / 3.6


@dataclass(frozen=True, slots=True)
class Hop:
    """Legs with stops after each, then a wait. All times in s, lengths in m, speeds in m/s.

    `before_s` is spent standing with the power take-off at work. `charge_s` is a charge within the wait.
    """

    lengths_m: Floats
    cruise_ms: Floats
    stops_s: Floats
    mass_kg: float
    wait_s: float
    before_s: float = 0.0
    key_off: bool = False
    charge_s: float = 0.0
    genset: bool = False


@dataclass(frozen=True, slots=True)
class Legs:
    """All legs of a day in order: start and duration in s, cruise speed in m/s, mass in kg."""

    start_s: Floats
    duration_s: Floats
    cruise_ms: Floats
    mass_kg: Floats


@dataclass(slots=True)
class ShiftPlan:
    """What one shift comes to."""

    legs: list[Legs] = field(default_factory=list)
    key_on: Spans = field(default_factory=list)
    power_take_off: Spans = field(default_factory=list)
    genset: Spans = field(default_factory=list)
    plugs: list[PlugSpan] = field(default_factory=list)


def leg_duration_s(chassis: Chassis, lengths_m: Floats, cruise_ms: Floats) -> Floats:
    """Time from standstill to standstill: a trapezium of speed, or a triangle where the leg is too short for it."""
    slope = 1 / chassis.accelerate_ms2 + 1 / chassis.brake_ms2
    cruising = lengths_m / cruise_ms + cruise_ms * slope / 2
    return np.where(lengths_m >= cruise_ms**2 * slope / 2, cruising, np.sqrt(2 * lengths_m * slope))


def speed_ms(chassis: Chassis, legs: Legs, t: Floats, unsteadiness: Floats) -> Floats:
    """Speed at instants t (s): accelerate, cruise unsteadily, brake; zero between legs."""
    if legs.start_s.size == 0:
        return np.zeros(t.shape)
    leg = np.searchsorted(legs.start_s, t, "right") - 1
    into = t - legs.start_s[leg]
    left = legs.duration_s[leg] - into
    ramps = np.minimum(chassis.accelerate_ms2 * into, chassis.brake_ms2 * left)
    speed: Floats = np.where(leg < 0, 0.0, np.maximum(np.minimum(ramps, legs.cruise_ms[leg] * unsteadiness), 0.0))
    return speed


def mass_kg(chassis: Chassis, legs: Legs, t: Floats) -> Floats:
    """Mass at instants t: that of the leg under way or the last one."""
    if legs.start_s.size == 0:
        return np.full(t.shape, chassis.empty_kg)
    leg = np.searchsorted(legs.start_s, t, "right") - 1
    return np.where(leg < 0, chassis.empty_kg, legs.mass_kg[leg])


def follow(chassis: Chassis, hops: Iterator[Hop], start_s: float, end_s: float) -> ShiftPlan:
    """Lay hops out between start and end of a shift; legs that would end too late are left out, and all after them."""
    plan = ShiftPlan()
    key_from, clock, arrived = start_s, start_s + WARM_UP_S, start_s + WARM_UP_S
    for hop in hops:
        if hop.before_s:
            plan.power_take_off.append((clock, min(clock + hop.before_s, end_s)))
        legs = _lay(chassis, hop, clock + hop.before_s)
        driven = legs.start_s + legs.duration_s <= end_s - COOL_DOWN_S
        plan.legs.append(Legs(*(column[driven] for column in _columns(legs))))
        if driven.any():
            arrived = float((legs.start_s + legs.duration_s)[driven][-1])
        if hop.genset:
            plan.genset.append((clock, arrived))
        if not driven.all() or arrived + hop.wait_s > end_s - COOL_DOWN_S:
            break
        clock = arrived + hop.wait_s
        if hop.charge_s:
            plan.plugs.append(PlugSpan(arrived + 90, arrived + 90 + hop.charge_s, arrived + 90))
        if hop.key_off:
            plan.key_on.append((key_from, arrived + KEY_OFF_AFTER_S))
            key_from, clock = clock, clock + WARM_UP_S
    plan.key_on.append((key_from, max(min(arrived + COOL_DOWN_S, end_s), key_from + WARM_UP_S)))
    return plan


def _columns(legs: Legs) -> tuple[Floats, Floats, Floats, Floats]:
    return legs.start_s, legs.duration_s, legs.cruise_ms, legs.mass_kg


def _lay(chassis: Chassis, hop: Hop, start_s: float) -> Legs:
    duration = leg_duration_s(chassis, hop.lengths_m, hop.cruise_ms)
    start = start_s + np.concatenate(([0.0], np.cumsum(duration[:-1] + hop.stops_s[:-1])))
    return Legs(start, duration, hop.cruise_ms, np.full(duration.shape, hop.mass_kg))


def join(plans: list[ShiftPlan]) -> Legs:
    """The legs of a day's shifts in one."""
    legs = [leg for plan in plans for leg in plan.legs]
    if not legs:
        return Legs(*(np.zeros(0) for _ in range(4)))
    return Legs(*(np.concatenate(columns) for columns in zip(*map(_columns, legs), strict=True)))


def _kmh(values: Floats) -> Floats:
    return values / 3.6


def drayage(spec: VehicleSpec, rng: np.random.Generator, shift: int) -> Iterator[Hop]:
    """Port to warehouse and back: streets, motorway, streets, then the queue at the gate; loaded one way."""
    moves = 8
    for move in range(moves):
        city_in, city_out = int(rng.integers(5, 8)), int(rng.integers(3, 6))
        lengths = rng.uniform(550, 900, city_in + 1 + city_out)
        total_m = spec.daily_km * 1000 / moves * rng.uniform(0.97, 1.05)
        lengths[city_in] = total_m - lengths.sum() + lengths[city_in]
        cruise = _kmh(rng.uniform(36, 48, lengths.size))
        cruise[city_in] = rng.uniform(78, 86) / 3.6
        lunch = move == moves // 2 - 1
        yield Hop(
            lengths, cruise, rng.uniform(12, 42, lengths.size),
            mass_kg=spec.chassis.loaded_kg if move % 2 == 0 else spec.chassis.empty_kg,
            wait_s=float(rng.uniform(2400, 2700) if lunch else rng.uniform(1700, 2700)), key_off=lunch,
        )  # fmt: skip


def transit(spec: VehicleSpec, rng: np.random.Generator, shift: int) -> Iterator[Hop]:
    """A line with a stop every 380 m and a layover at each end."""
    trips = 5
    for _ in range(trips):
        stops = 50
        lengths = rng.uniform(0.7, 1.3, stops)
        lengths *= spec.daily_km * 1000 / (len(spec.shifts_h) * trips) / lengths.sum()
        riders_kg = (spec.chassis.loaded_kg - spec.chassis.empty_kg) * rng.uniform(0.3, 1)
        yield Hop(
            lengths, _kmh(rng.uniform(25, 35, stops)), rng.uniform(10, 26, stops),
            mass_kg=float(spec.chassis.empty_kg + riders_kg), wait_s=float(rng.uniform(400, 720)),
        )  # fmt: skip


def yard(spec: VehicleSpec, rng: np.random.Generator, shift: int) -> Iterator[Hop]:
    """Couple, pull a trailer across the yard, uncouple, run back alone, wait; until the shift ends."""
    move_m = spec.daily_km * 1000 / 2 / 95
    while True:
        for loaded in (True, False):
            yield Hop(
                move_m * rng.uniform(0.7, 1.3, 1), _kmh(rng.uniform(17, 24, 1)), np.zeros(1),
                mass_kg=spec.chassis.loaded_kg if loaded else spec.chassis.empty_kg,
                before_s=float(rng.uniform(20, 34)),
                wait_s=float(rng.uniform(4, 14) if loaded else rng.uniform(140, 330)),
            )  # fmt: skip


def ferry(spec: VehicleSpec, rng: np.random.Generator, shift: int) -> Iterator[Hop]:
    """Sixteen crossings of three nautical miles, a short charge at the pier after each; the genset helps on two."""
    crossings = 16
    for crossing in range(crossings):
        length_m = spec.daily_km * 1000 / crossings * rng.uniform(0.99, 1.01, 1)
        yield Hop(
            length_m, rng.uniform(8.0, 8.5, 1) * KNOT_MS, np.zeros(1),
            mass_kg=spec.chassis.loaded_kg, wait_s=float(rng.uniform(1750, 2150)),
            charge_s=float(rng.uniform(690, 880)), genset=crossing in (11, 13),
        )  # fmt: skip


def delivery(spec: VehicleSpec, rng: np.random.Generator, shift: int) -> Iterator[Hop]:
    """Forty-four drops through the city, traffic lights between; a lunch break with the key off."""
    drops = 44
    for drop in range(drops):
        lights = int(rng.integers(2, 5))
        lengths = rng.uniform(0.7, 1.3, lights)
        lengths *= spec.daily_km * 1000 / drops * rng.uniform(0.85, 1.15) / lengths.sum()
        lunch = drop == drops // 2
        share_left = 1 - drop / drops
        yield Hop(
            lengths, _kmh(rng.uniform(38, 58, lights)), rng.uniform(15, 40, lights),
            mass_kg=spec.chassis.empty_kg + (spec.chassis.loaded_kg - spec.chassis.empty_kg) * share_left,
            wait_s=float(rng.uniform(3000, 3600) if lunch else rng.uniform(150, 330)), key_off=lunch,
        )  # fmt: skip


def school(spec: VehicleSpec, rng: np.random.Generator, shift: int) -> Iterator[Hop]:
    """Round up the children, wait at the school, run back empty (and the other way round in the afternoon)."""
    total_m = spec.daily_km * 1000 / len(spec.shifts_h)
    for share, stops in ((0.62, 36), (0.38, 14)):
        lengths = rng.uniform(0.6, 1.4, stops)
        lengths *= total_m * share / lengths.sum()
        carrying = (share > 0.5) == (shift == 0)
        yield Hop(
            lengths, _kmh(rng.uniform(38, 60, stops)), rng.uniform(14, 32, stops),
            mass_kg=spec.chassis.loaded_kg if carrying else spec.chassis.empty_kg,
            wait_s=float(rng.uniform(420, 600)),
        )  # fmt: skip


def lift(spec: VehicleSpec, rng: np.random.Generator, shift: int) -> Iterator[Hop]:
    """Lift a pallet, carry it across the hall, put it down, come back for the next; a pause now and then."""
    move_m = spec.daily_km * 1000 / 2 / 240
    while True:
        for loaded in (True, False):
            yield Hop(
                move_m * rng.uniform(0.7, 1.3, 1), _kmh(rng.uniform(9, 14, 1)), np.zeros(1),
                mass_kg=spec.chassis.loaded_kg if loaded else spec.chassis.empty_kg,
                before_s=float(rng.uniform(12, 20)),
                wait_s=float(rng.uniform(4, 20) if loaded else rng.uniform(60, 200)),
            )  # fmt: skip


def dig(spec: VehicleSpec, rng: np.random.Generator, shift: int) -> Iterator[Hop]:
    """Dig for ten to twenty minutes, move up a few metres, wait for the next lorry."""
    while True:
        yield Hop(
            rng.uniform(15, 40, 1), _kmh(rng.uniform(2.8, 4.5, 1)), np.zeros(1), mass_kg=spec.chassis.empty_kg,
            before_s=float(rng.uniform(600, 1200)), wait_s=float(rng.uniform(120, 600)),
        )  # fmt: skip


DUTIES: Mapping[Duty, Callable[[VehicleSpec, np.random.Generator, int], Iterator[Hop]]] = {
    Duty.DRAYAGE: drayage,
    Duty.TRANSIT: transit,
    Duty.YARD: yard,
    Duty.FERRY: ferry,
    Duty.DELIVERY: delivery,
    Duty.SCHOOL: school,
    Duty.LIFT: lift,
    Duty.DIG: dig,
}
