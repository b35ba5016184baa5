"""From a simulated vehicle-day to its truth."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import numpy as np

from ingest.gateway.simulator.calendar import Flags, Floats, within
from ingest.gateway.simulator.physics import SECONDS_PER_H, integral
from ingest.gateway.simulator.truth import DayTruth, Piece, SessionTruth, TripTruth
from ingest.gateway.simulator.vehicle import WORKING_DUTIES, VehicleDay

SHORTEST_TRIP_KM = 0.1


def account(pilot: str, done: VehicleDay) -> Iterator[Piece]:
    """The truth of a vehicle-day: its figures, trips and charging stretches."""
    yield day_truth(pilot, done)
    yield from _trips(pilot, done)
    yield from _sessions(pilot, done)


def day_truth(pilot: str, done: VehicleDay) -> DayTruth:
    """Figures of a vehicle-day."""
    plan = done.plan
    figures: dict[str, Any] = {**_energies(done), **_hours(done), **_fuels(done)}
    return DayTruth(
        pilot=pilot, vehicle=plan.vehicle.name, day=plan.day.date, starts_at=plan.day.starts_at,
        ends_at=plan.day.ends_at, day_h=plan.day.seconds / SECONDS_PER_H, distance_km=_sum(done, "odometer_km"),
        auxiliary_energy_kwh=float(integral(done.loads.auxiliary_kw, done.period_s).sum()) / SECONDS_PER_H,
        planned=plan.planned, available=plan.cause is None if plan.planned else None, cause=plan.cause, **figures,
    )  # fmt: skip


def _sum(done: VehicleDay, counter: str, where: Flags | None = None) -> float:
    steps = done.steps[counter]
    return float(steps.sum() if where is None else steps[where].sum())


def _energies(done: VehicleDay) -> dict[str, float | None]:
    names = ("discharged", "regenerated", "charged")
    if done.battery is None:
        nothing = ("idle_energy_kwh", "loss_kwh", "stored_start_kwh", "stored_end_kwh", "grid_energy_kwh")
        missing = [f"energy_{name}_kwh" for name in (*names, "used")]
        return {**dict.fromkeys(nothing), **dict.fromkeys(missing)}
    out, back, charged = (_sum(done, f"energy_{name}_kwh") for name in names)
    standing = done.states.idle
    idle = _sum(done, "energy_discharged_kwh", standing) - _sum(done, "energy_regenerated_kwh", standing)
    loss = float(integral(done.battery_kw - done.battery.store_kw, done.period_s).sum()) / SECONDS_PER_H
    return {
        "energy_discharged_kwh": out, "energy_regenerated_kwh": back, "energy_used_kwh": out - back,
        "energy_charged_kwh": charged, "grid_energy_kwh": _sum(done, "grid_energy_kwh"),
        "idle_energy_kwh": idle, "loss_kwh": loss,
        "stored_start_kwh": done.start.charge.energy_kwh, "stored_end_kwh": float(done.battery.energy_kwh[-1]),
    }  # fmt: skip


def _hours(done: VehicleDay) -> dict[str, float | None]:
    states, hour = done.states, done.period_s / SECONDS_PER_H
    ladder: dict[str, Flags] = {
        "planned_maintenance_h": states.planned_maintenance, "down_h": states.down, "charging_h": done.charging,
        "plugged_idle_h": states.plugged_in, "idle_h": states.idle, "in_service_h": states.key_on,
        "parked_h": np.ones(states.key_on.shape, dtype=bool),
    }  # fmt: skip
    hours: dict[str, float | None] = {}
    taken = np.zeros(states.key_on.shape, dtype=bool)
    for name, holds in ladder.items():
        hours[name] = float((holds & ~taken).sum()) * hour
        taken = taken | holds
    flags = {"key_on_h": states.key_on, "moving_h": states.moving, "working_h": states.working}
    totals: dict[str, float | None] = {name: float(flag.sum()) * hour for name, flag in flags.items()}
    return hours | totals | ({} if done.plan.vehicle.duty in WORKING_DUTIES else {"working_h": None})


def _fuels(done: VehicleDay) -> dict[str, float | None]:
    spec = done.plan.vehicle
    burns = {
        "fuel_used_l": spec.engine is not None,
        "heater_fuel_used_l": spec.chassis.heater_l_h_per_k > 0,
        "genset_fuel_used_l": spec.chassis.genset_kw > 0,
        "cng_used_kg": spec.gas_engine is not None,
        "hydrogen_used_kg": spec.fuel_cell is not None,
    }
    electric = None if spec.electric_km is None else _sum(done, "odometer_km", ~done.loads.engine_on)
    return {name: _sum(done, name) if burnt else None for name, burnt in burns.items()} | {
        "electric_distance_km": electric
    }


def _instant(done: VehicleDay, seconds: float) -> dt.datetime:
    return done.plan.day.starts_at + dt.timedelta(seconds=seconds)


def _trips(pilot: str, done: VehicleDay) -> Iterator[TripTruth]:
    for start, end in done.plan.key_on:
        inside = within(done.motion.t, [(start, end)])
        km = _sum(done, "odometer_km", inside)
        if km < SHORTEST_TRIP_KM:
            continue
        t: Floats = done.motion.t[inside]
        used = _sum(done, "energy_discharged_kwh", inside) - _sum(done, "energy_regenerated_kwh", inside)
        yield TripTruth(
            pilot, done.plan.vehicle.name, done.plan.day.date, _instant(done, float(t[0])),
            _instant(done, float(t[-1]) + done.period_s), km, None if done.battery is None else used,
        )  # fmt: skip


def _sessions(pilot: str, done: VehicleDay) -> Iterator[SessionTruth]:
    for plug in done.plan.plugs:
        on_cable = within(done.motion.t, [(plug.start_s, plug.end_s)])
        inside = on_cable & done.charging
        if not inside.any():
            continue
        t: Floats = done.motion.t[inside]
        yield SessionTruth(
            pilot, done.plan.vehicle.name, done.plan.day.date, _instant(done, float(t[0])),
            _instant(done, float(t[-1]) + done.period_s), _sum(done, "energy_charged_kwh", on_cable),
        )  # fmt: skip
