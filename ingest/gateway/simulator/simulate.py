"""Run a fleet day by day, vehicle by vehicle."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import polars as pl

from ingest.gateway.simulator.account import account
from ingest.gateway.simulator.calendar import OperatingDay
from ingest.gateway.simulator.demo import DEMO_FLEET
from ingest.gateway.simulator.fleet import Fleet, PilotSpec, VehicleSpec
from ingest.gateway.simulator.plan import plan_day, random_for
from ingest.gateway.simulator.rows import rows
from ingest.gateway.simulator.truth import Piece, Truth, as_frames
from ingest.gateway.simulator.vehicle import VehicleDay, VehicleState, fresh_state, simulate_day

DEFAULT_SEED = 7


@dataclass(frozen=True, slots=True)
class VehicleLog:
    """The rows one vehicle's gateway records in one operating day, in time order, with true times.

    `frame` has `vehicle`, `time` (UTC, µs) and the vehicle's signals and extras. It may be empty.
    """

    pilot: PilotSpec
    vehicle: VehicleSpec
    day: OperatingDay
    frame: pl.DataFrame
    truth: tuple[Piece, ...]


def simulate(
    fleet: Fleet = DEMO_FLEET,
    *,
    days: int | None = None,
    pilots: Collection[str] | None = None,
    seed: int = DEFAULT_SEED,
) -> Iterator[VehicleLog]:
    """Yield one log per vehicle and operating day: day by day, vehicle by vehicle.

    `days` runs only the first days, `pilots` only those (by id); either gives the very rows of the full run. Memory
    holds one vehicle-day.
    """
    for pilot, done in _run(fleet, days, pilots, seed):
        frame = rows(done)
        yield VehicleLog(pilot, done.plan.vehicle, done.plan.day, frame, tuple(account(pilot.id, done)))


def truth(
    fleet: Fleet = DEMO_FLEET,
    *,
    days: int | None = None,
    pilots: Collection[str] | None = None,
    seed: int = DEFAULT_SEED,
) -> Truth:
    """The truth of the same run as frames, without making its rows."""
    return as_frames(piece for pilot, done in _run(fleet, days, pilots, seed) for piece in account(pilot.id, done))


def _run(
    fleet: Fleet, days: int | None, pilots: Collection[str] | None, seed: int
) -> Iterator[tuple[PilotSpec, VehicleDay]]:
    chosen = fleet.pilots if pilots is None else tuple(fleet.pilot(pilot_id) for pilot_id in pilots)
    states: dict[str, VehicleState] = {}
    for date in fleet.dates[:days]:
        for pilot in chosen:
            day = OperatingDay(date, pilot.zone)
            for vehicle in pilot.vehicles:
                rng = random_for(seed, vehicle.name, day)
                plan = plan_day(pilot, vehicle, day, fleet.incidents, rng)
                before = states.get(vehicle.name) or fresh_state(vehicle)
                done = simulate_day(plan, before, rng)
                states[vehicle.name] = done.end
                yield pilot, done
