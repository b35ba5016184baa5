"""A vehicle's day before any physics: shifts, incidents, duty and cable put together."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ingest.gateway.simulator.calendar import OperatingDay, Spans, subtract
from ingest.gateway.simulator.charging import PlugSpan
from ingest.gateway.simulator.duty import DUTIES, SHORTEST_SHIFT_S, Legs, ShiftPlan, follow, join
from ingest.gateway.simulator.fleet import PilotSpec, VehicleSpec
from ingest.gateway.simulator.incidents import Incidents

PLUG_AFTER_S = 900.0
UNPLUG_BEFORE_S = 600.0
LATE_START_S = 300.0


@dataclass(frozen=True, slots=True)
class DayPlan:
    """One vehicle, one operating day. Spans are in seconds from its start."""

    vehicle: VehicleSpec
    day: OperatingDay
    service: Spans
    down: Spans
    planned_maintenance: Spans
    legs: Legs
    key_on: Spans
    power_take_off: Spans
    genset: Spans
    plugs: list[PlugSpan]
    resets: list[tuple[float, tuple[str, ...]]]
    cause: str | None

    @property
    def planned(self) -> bool:
        """Whether service is planned on this day."""
        return bool(self.service)


def random_for(seed: int, vehicle: str, day: OperatingDay) -> np.random.Generator:
    """The dice of one vehicle-day: the same whatever else is simulated."""
    return np.random.default_rng([seed, zlib.crc32(vehicle.encode()), day.date.toordinal()])


def plan_day(
    pilot: PilotSpec, vehicle: VehicleSpec, day: OperatingDay, incidents: Incidents, rng: np.random.Generator
) -> DayPlan:
    """Plan a day. A vehicle that is down neither works nor charges; without power it does not charge."""
    planned = pilot.plans(day.date)
    service = [(day.at(pilot.service_h[0]), day.at(pilot.service_h[1]))] if planned else []
    down = incidents.down(vehicle.name, day, planned=False)
    maintenance = incidents.down(vehicle.name, day, planned=True)
    shifts = [_shift(vehicle, day, number, planned, down + maintenance, rng) for number in range(len(vehicle.shifts_h))]
    plans = [plan for pieces in shifts for plan in pieces]
    plugs = _cable(vehicle, day, plans, planned) if vehicle.charger else []
    blocked = down + maintenance + incidents.no_power(vehicle.name, day)
    return DayPlan(
        vehicle=vehicle, day=day, service=service, down=down, planned_maintenance=maintenance, legs=join(plans),
        key_on=[span for plan in plans for span in plan.key_on],
        power_take_off=[span for plan in plans for span in plan.power_take_off],
        genset=[span for plan in plans for span in plan.genset], plugs=_without(plugs, blocked),
        resets=incidents.resets_on(vehicle.name, day),
        cause=incidents.cause(vehicle.name, day, service) if service else None,
    )  # fmt: skip


def _shift(
    vehicle: VehicleSpec, day: OperatingDay, number: int, planned: bool, blocked: Spans, rng: np.random.Generator
) -> list[ShiftPlan]:
    start_h, end_h = vehicle.shifts_h[number]
    late_s = float(rng.uniform(0, LATE_START_S))
    hops = DUTIES[vehicle.duty](vehicle, rng, number)
    span = (day.at(start_h) + late_s, day.at(end_h))
    pieces = subtract([span], blocked) if planned else []
    return [follow(vehicle.chassis, hops, a, b) for a, b in pieces if b - a >= SHORTEST_SHIFT_S]


def _cable(vehicle: VehicleSpec, day: OperatingDay, plans: list[ShiftPlan], planned: bool) -> list[PlugSpan]:
    """Plugged in from the cut to pull-out, between shifts or within duties where that is done, and at night."""
    charger = vehicle.charger
    night_s = 0.0 if charger is None or charger.starts_h is None else day.at(charger.starts_h)
    keys = [(plan.key_on[0][0], plan.key_on[-1][1]) for plan in plans]
    if not keys:
        first = day.at(vehicle.shifts_h[0][0]) - UNPLUG_BEFORE_S if planned else day.seconds
        return [PlugSpan(0, first, 0)] + ([PlugSpan(first, day.seconds, night_s)] if first < day.seconds else [])
    spans = [PlugSpan(0, keys[0][0] - UNPLUG_BEFORE_S, 0)]
    if vehicle.charges_between_shifts:
        spans += [PlugSpan(a[1] + UNPLUG_BEFORE_S, b[0] - UNPLUG_BEFORE_S, 0) for a, b in pairwise(keys)]
    spans += [plug for plan in plans for plug in plan.plugs]
    spans.append(PlugSpan(keys[-1][1] + PLUG_AFTER_S, day.seconds, night_s))
    return sorted(spans, key=lambda span: span.start_s)


def _without(plugs: list[PlugSpan], blocked: Spans) -> list[PlugSpan]:
    pieces = [
        PlugSpan(start, end, max(plug.charge_from_s, start))
        for plug in plugs
        for start, end in subtract([(plug.start_s, plug.end_s)], blocked)
    ]
    return [piece for piece in pieces if piece.end_s - piece.start_s > 60]
