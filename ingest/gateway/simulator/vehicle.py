"""One vehicle through one operating day: motion, loads, battery, fuel and counters on its sample grid."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ingest.gateway.simulator.calendar import Flags, Floats, within
from ingest.gateway.simulator.charging import charging_power_kw
from ingest.gateway.simulator.climate import ambient_c
from ingest.gateway.simulator.duty import mass_kg, speed_ms
from ingest.gateway.simulator.fleet import Duty, Engine, FuelCell, GasEngine, Pack, VehicleSpec
from ingest.gateway.simulator.physics import (
    SECONDS_PER_H,
    BatteryTrace,
    Charge,
    Road,
    hvac_power_kw,
    integral,
    long_standstill,
    motor_power_kw,
    road,
    run_battery,
    running_total,
    split_at_zero_kwh,
    wheel_power_kw,
)
from ingest.gateway.simulator.plan import DayPlan

MOVING_MS = 0.5
WORKING_KW = 2.0
WORKING_DUTIES = (Duty.YARD, Duty.FERRY, Duty.LIFT, Duty.DIG)
IDLE_AFTER_S = 60.0
FULL_SOC = 0.97
CHARGING_ABOVE_KW = 0.5
KNOT_SPACING_S = 12.0
GENSET_IDLE_L_H, GENSET_L_PER_KWH = 0.8, 0.28
GENSET_SHARE = 0.9
CELL_SHARES, CELL_SPARES_ABOVE_SOC = (0.8, 1.0), 0.6
"""What a fuel cell takes of the load, by whether the day begins with a well-filled battery or not."""


@dataclass(slots=True)
class VehicleState:
    """What a vehicle carries from one day to the next. `counters` hold the readings at the start of the day."""

    charge: Charge
    counters: dict[str, float] = field(default_factory=dict)


def fresh_state(vehicle: VehicleSpec) -> VehicleState:
    """A vehicle with some history on its counters."""
    energy = vehicle.soc_start * vehicle.pack.usable_kwh if vehicle.pack else 0.0
    km = vehicle.odometer_km
    counters = {
        "odometer_km": km, "operating_hours_h": km / 20, "energy_charged_kwh": km * 1.1,
        "energy_discharged_kwh": km * 1.3, "energy_regenerated_kwh": km * 0.2, "grid_energy_kwh": km * 1.2,
        "fuel_used_l": km * 0.4, "heater_fuel_used_l": km * 0.05, "genset_fuel_used_l": km * 0.02,
        "cng_used_kg": km * 0.3, "hydrogen_used_kg": km * 0.08,
    }  # fmt: skip
    return VehicleState(Charge(energy, 0.0), counters)


@dataclass(frozen=True, slots=True)
class Motion:
    """Time, speed and place, sample by sample."""

    t: Floats
    speed_ms: Floats
    step_km: Floats
    mass_kg: Floats
    road: Road


@dataclass(frozen=True, slots=True)
class States:
    """Yes or no, sample by sample."""

    key_on: Flags
    moving: Flags
    working: Flags
    idle: Flags
    plugged_in: Flags
    power_take_off: Flags
    down: Flags
    planned_maintenance: Flags


@dataclass(frozen=True, slots=True)
class Loads:
    """Powers in kW, sample by sample.

    `motor_kw` is the drive's, of whatever kind; of a hybrid the electric part alone. `crank_kw` is what an engine
    gives.
    """

    ambient_c: Floats
    wheel_kw: Floats
    motor_kw: Floats
    hvac_kw: Floats
    auxiliary_kw: Floats
    genset_kw: Floats
    cell_kw: Floats
    crank_kw: Floats
    engine_on: Flags


@dataclass(frozen=True, slots=True)
class VehicleDay:
    """Everything about one vehicle-day on the full sample grid, awake or asleep. `steps` are amounts per interval."""

    plan: DayPlan
    motion: Motion
    states: States
    loads: Loads
    battery: BatteryTrace | None
    battery_kw: Floats
    charging: Flags
    charger_kw: Floats
    fuel_rate_l_h: Floats
    gas_rate_kg_h: Floats
    hydrogen_rate_kg_h: Floats
    steps: dict[str, Floats]
    start: VehicleState

    @property
    def period_s(self) -> float:
        """The sample period."""
        return float(self.plan.vehicle.sample_period_s)

    def counter(self, name: str) -> Floats:
        """A counter's reading at each sample; after a reset, what it read then is missing."""
        readings = running_total(self.start.counters[name], self.steps[name])
        for at_s, names in self.plan.resets:
            if name in names:
                after = self.motion.t >= at_s
                readings = readings - after * readings[int(after.argmax())]
        return readings

    @property
    def end(self) -> VehicleState:
        """The state that the next day starts from."""
        counters = {name: float(self.counter(name)[-1] + steps[-1]) for name, steps in self.steps.items()}
        return VehicleState(self.battery.last if self.battery else self.start.charge, counters)


def drive(plan: DayPlan, rng: np.random.Generator) -> Motion:
    """Put the day's legs on the sample grid."""
    spec, period = plan.vehicle, float(plan.vehicle.sample_period_s)
    t = np.arange(0.0, plan.day.seconds, period)
    knots = np.arange(0.0, plan.day.seconds + KNOT_SPACING_S, KNOT_SPACING_S)
    unsteadiness = np.interp(t, knots, rng.uniform(0.94, 1.06, knots.size))
    speed = speed_ms(spec.chassis, plan.legs, t, unsteadiness)
    step_km = integral(speed, period) / 1000
    return Motion(t, speed, step_km, mass_kg(spec.chassis, plan.legs, t), road(spec.place, running_total(0.0, step_km)))


def observe(plan: DayPlan, motion: Motion) -> States:
    """Key, cable, motion and incidents on the sample grid."""
    t = motion.t
    key_on = within(t, plan.key_on)
    plugged = within(t, [(plug.start_s, plug.end_s) for plug in plan.plugs])
    nowhere = np.zeros(t.shape, dtype=bool)
    return States(
        key_on, motion.speed_ms > MOVING_MS, nowhere, nowhere, plugged, within(t, plan.power_take_off) & key_on,
        within(t, plan.down), within(t, plan.planned_maintenance),
    )  # fmt: skip


def judge(plan: DayPlan, states: States, loads: Loads) -> States:
    """Add what depends on power: work (power take-off or drive, for machines and vessels) and idling."""
    drive_kw = loads.wheel_kw if plan.vehicle.chassis.hull_kw_per_ms3 else loads.motor_kw
    works = states.power_take_off | (np.abs(drive_kw) > WORKING_KW)
    working = works if plan.vehicle.duty in WORKING_DUTIES else np.zeros(works.shape, dtype=bool)
    standing = states.key_on & ~states.moving & ~working & ~states.plugged_in
    idle = long_standstill(standing, IDLE_AFTER_S, plan.vehicle.sample_period_s)
    return replace(states, working=working, idle=idle)


def load(plan: DayPlan, motion: Motion, states: States, soc: Floats, rng: np.random.Generator) -> Loads:
    """Powers that follow from motion, weather and work at a given state of charge."""
    chassis, key = plan.vehicle.chassis, states.key_on
    air = ambient_c(plan.vehicle.place, motion.t, rng)
    wheel = wheel_power_kw(chassis, motion.speed_ms, motion.mass_kg, motion.road.grade, plan.vehicle.sample_period_s)
    motor = motor_power_kw(chassis, wheel, soc)
    hvac = hvac_power_kw(chassis, air) * key
    work = chassis.power_take_off_kw * states.power_take_off
    auxiliary = chassis.auxiliary_kw * key + hvac + work
    genset_on = within(motion.t, plan.genset) & ~states.plugged_in
    genset = np.minimum(chassis.genset_kw, GENSET_SHARE * (np.maximum(motor, 0) + auxiliary)) * genset_on
    engine_on = _engine_on(plan.vehicle, motion, states)
    crank = np.maximum(motor, 0) * engine_on
    if plan.vehicle.pack is not None:
        motor = motor - crank
    cell = _cell_kw(plan.vehicle, np.maximum(motor, 0) + auxiliary, soc[0]) * key * ~states.plugged_in
    return Loads(air, wheel, motor, hvac, auxiliary, genset, cell, crank, engine_on)


def _engine_on(spec: VehicleSpec, motion: Motion, states: States) -> Flags:
    """When an engine runs: with the key, a hybrid's after the day's electric distance."""
    if spec.engine is None and spec.gas_engine is None:
        return np.zeros(states.key_on.shape, dtype=bool)
    if spec.electric_km is None:
        return states.key_on
    done: Flags = running_total(0.0, motion.step_km) > spec.electric_km
    return states.key_on & ~states.plugged_in & done


def _cell_kw(spec: VehicleSpec, load_kw: Floats, soc: float) -> Floats:
    """What a fuel cell gives: a share of the load, so that the battery takes the peaks and what braking returns."""
    if spec.fuel_cell is None:
        return np.zeros(load_kw.shape)
    return np.minimum(spec.fuel_cell.limit_kw, CELL_SHARES[int(soc < CELL_SPARES_ABOVE_SOC)] * load_kw)


def _rough_soc(plan: DayPlan, motion: Motion, states: States, energy_kwh: float, pack: Pack) -> Floats:
    """State of charge as if nothing were charged today: good enough to limit regeneration after pull-out."""
    chassis = plan.vehicle.chassis
    period = float(plan.vehicle.sample_period_s)
    wheel = wheel_power_kw(chassis, motion.speed_ms, motion.mass_kg, motion.road.grade, period)
    full_kwh = FULL_SOC * pack.usable_kwh if states.plugged_in[0] else energy_kwh
    used = running_total(0.0, np.maximum(integral(wheel, period), 0) / SECONDS_PER_H)
    return np.clip((full_kwh - used) / pack.usable_kwh, 0, 1)


def _battery_power(plan: DayPlan, states: States, loads: Loads, before: Charge) -> tuple[Floats, BatteryTrace]:
    """Battery power and state, stretch by stretch: on the road by the loads, on the cable by the charger."""
    pack, charger, period = plan.vehicle.pack, plan.vehicle.charger, float(plan.vehicle.sample_period_s)
    if pack is None:
        raise ValueError(f"{plan.vehicle.name} has no battery")
    power = (loads.genset_kw + loads.cell_kw - loads.motor_kw - loads.auxiliary_kw) * ~states.plugged_in
    t: Floats = np.arange(power.size, dtype=np.float64) * period
    traces, charge, done = [], before, 0
    for plug in plan.plugs:
        first, last = (int(np.searchsorted(t, edge, "left")) for edge in (plug.start_s, plug.end_s))
        if first > done:
            traces.append(run_battery(pack, power[done:first], charge, period))
            charge = traces[-1].last
        if charger is not None and last > first:
            flowing = t[first:last] - max(plug.start_s, plug.charge_from_s)
            power[first:last] = charging_power_kw(charger, pack, charge.energy_kwh, flowing)
            power[first] *= first == 0  # the contactor closes after the cable is in
            power[last - 1] *= last == power.size  # and opens before it goes
            traces.append(run_battery(pack, power[first:last], charge, period))
            charge = traces[-1].last
        done = max(done, last)
    if done < power.size:
        traces.append(run_battery(pack, power[done:], charge, period))
    return power, _chain(traces)


def _chain(traces: list[BatteryTrace]) -> BatteryTrace:
    columns = [[t.voltage_v, t.current_a, t.store_kw, t.energy_kwh] for t in traces]
    return BatteryTrace(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))


def _fuel_rate(engine: Engine | None, loads: Loads) -> Floats:
    """Engine fuel flow (L/h): idle plus work at the crankshaft; nothing while the vehicle brakes."""
    if engine is None:
        return np.zeros(loads.wheel_kw.shape)
    crank_kw = loads.crank_kw + engine.accessories_kw
    return (engine.idle_l_h + engine.litres_per_kwh * crank_kw) * loads.engine_on * (loads.wheel_kw > -5)


def _gas_rate(engine: GasEngine | None, loads: Loads) -> Floats:
    """Gas flow (kg/h), as that of liquid fuel."""
    if engine is None:
        return np.zeros(loads.wheel_kw.shape)
    crank_kw = loads.crank_kw + engine.accessories_kw
    return (engine.idle_kg_h + engine.kg_per_kwh * crank_kw) * loads.engine_on * (loads.wheel_kw > -5)


def _hydrogen_rate(cell: FuelCell | None, loads: Loads) -> Floats:
    """Hydrogen flow (kg/h): idle plus what the cell gives."""
    if cell is None:
        return np.zeros(loads.wheel_kw.shape)
    return (cell.idle_kg_h + cell.kg_per_kwh * loads.cell_kw) * (loads.cell_kw > 0)


def simulate_day(plan: DayPlan, start: VehicleState, rng: np.random.Generator) -> VehicleDay:
    """Run one vehicle through one day from the state the day before left."""
    spec, period = plan.vehicle, float(plan.vehicle.sample_period_s)
    motion = drive(plan, rng)
    states = observe(plan, motion)
    soc = np.zeros(motion.t.size)
    if spec.pack is not None:
        soc = _rough_soc(plan, motion, states, start.charge.energy_kwh, spec.pack)
    loads = load(plan, motion, states, soc, rng)
    states = judge(plan, states, loads)
    power, battery = np.zeros(motion.t.size), None
    if spec.pack is not None:
        power, battery = _battery_power(plan, states, loads, start.charge)
    charging = states.plugged_in & (power > CHARGING_ABOVE_KW)
    charger_kw = (power + loads.auxiliary_kw) * states.plugged_in
    rates = (
        _fuel_rate(spec.engine, loads), _gas_rate(spec.gas_engine, loads), _hydrogen_rate(spec.fuel_cell, loads)
    )  # fmt: skip
    steps = _steps(spec, motion, states, loads, power, charger_kw, rates, period)
    return VehicleDay(plan, motion, states, loads, battery, power, charging, charger_kw, *rates, steps, start)


def _steps(
    spec: VehicleSpec, motion: Motion, states: States, loads: Loads, power: Floats, charger_kw: Floats,
    rates: tuple[Floats, Floats, Floats], period: float,
) -> dict[str, Floats]:  # fmt: skip
    into, out = split_at_zero_kwh(power, period)
    plugged, hours = states.plugged_in, np.float64(period / SECONDS_PER_H)
    efficiency = spec.charger.efficiency if spec.charger else 1.0
    heater_l_h = spec.chassis.heater_l_h_per_k * np.maximum(spec.chassis.comfort_c - loads.ambient_c, 0) * states.key_on
    genset_on = loads.genset_kw > 0
    genset_l_h = (GENSET_IDLE_L_H + GENSET_L_PER_KWH * loads.genset_kw) * genset_on
    return {
        "odometer_km": motion.step_km,
        "operating_hours_h": states.key_on * hours,
        "energy_charged_kwh": into * plugged,
        "energy_discharged_kwh": out,
        "energy_regenerated_kwh": into * ~plugged,
        "grid_energy_kwh": integral(charger_kw / efficiency, period) / SECONDS_PER_H * plugged,
        **{
            name: integral(rate, period) / SECONDS_PER_H
            for name, rate in zip(("fuel_used_l", "cng_used_kg", "hydrogen_used_kg"), rates, strict=True)
        },
        "heater_fuel_used_l": heater_l_h * hours,
        "genset_fuel_used_l": genset_l_h * hours,
    }  # fmt: skip
