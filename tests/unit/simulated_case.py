"""Simulated fleets through the metrics: what was computed beside what truly happened."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl
from metrics_case import TRUCK

from analytics.metrics import Inputs, compute
from analytics.metrics.samples import SIGNALS
from ingest.gateway.simulator import DEMO_FLEET, Fleet, Incidents, PilotSpec, VehicleSpec, as_frames, simulate
from ingest.gateway.simulator.calendar import OperatingDay
from ingest.gateway.simulator.fleet import Charger, Duty, Engine, FuelCell, GasEngine, Pack
from ingest.gateway.simulator.incidents import Downtime
from ingest.gateway.simulator.simulate import VehicleLog
from schemas.frames import Maintenance, OperatingDays, PlannedService, Roadcalls, Vehicles

CATEGORY = {Duty.YARD: "equipment", Duty.LIFT: "equipment", Duty.DIG: "equipment", Duty.FERRY: "vessel"}
Numbered = dict[str, tuple[int, PilotSpec, VehicleSpec]]
"""Vehicles by name: their number, their pilot and what they are."""


def numbered(fleet: Fleet) -> Numbered:
    """The vehicles of a fleet, numbered."""
    pairs = ((pilot, spec) for pilot in fleet.pilots for spec in pilot.vehicles)
    return {spec.name: (n, pilot, spec) for n, (pilot, spec) in enumerate(pairs)}


def one_of_each_kind(first_day: dt.date, days: int, zones: Sequence[str] = ()) -> Fleet:
    """The demonstration's pilots (in `zones`; without any, all) with one vehicle of each kind, nothing going wrong."""
    pilots = tuple(
        replace(pilot, vehicles=_kinds(pilot)) for pilot in DEMO_FLEET.pilots
        if not zones or pilot.zone.key in zones
    )  # fmt: skip
    return Fleet(pilots, first_day, days, Incidents())


def other_kinds(first_day: dt.date, days: int) -> Fleet:
    """What the demonstration lacks: fuel cells, gas, a plug-in hybrid, a diesel bus, a forklift and an excavator."""
    demo = {vehicle.name: vehicle for pilot in DEMO_FLEET.pilots for vehicle in pilot.vehicles}
    plain = ("speed_kmh", "odometer_km", "ignition_on")
    cell = FuelCell(limit_kw=250, idle_kg_h=0.15, kg_per_kwh=0.058, tank_kg=75)
    truck, bus, van, yard = (demo[name] for name in ("truck-01", "bus-01", "van-01", "yard-01"))
    electric = {*truck.signals} - {"plugged_in", "charging", "grid_power_kw", "grid_energy_kwh"}
    vehicles = {
        "long-beach-drayage": (
            replace(truck, name="truck-h2", charger=None, pack=Pack(160, 660, 0.05), fuel_cell=cell, sample_period_s=2,
                    signals=(*electric, "hydrogen_used_kg", "hydrogen_rate_kg_h", "fuel_cell_power_kw")),
        ),
        "santiago-buses": (
            replace(bus, name="bus-h2", charger=None, fuel_cell=replace(cell, limit_kw=90),
                    signals=(*plain, "battery_power_kw", "battery_soc_pct", "hydrogen_mass_kg")),
            replace(bus, name="bus-gas", charger=None, pack=None, gas_engine=GasEngine(2.1, 0.19, 6),
                    signals=(*plain, "cng_rate_kg_h", "engine_speed_rpm")),
            replace(bus, name="bus-diesel", charger=None, pack=None, engine=Engine(2.0, 0.21, 5, 300),
                    signals=(*plain, "fuel_used_l", "fuel_rate_l_h")),
        ),
        "quebec-school-bus": (
            replace(demo["school-bus-01"], name="bus-rng", charger=None, pack=None, gas_engine=GasEngine(1.8, 0.19, 4),
                    signals=(*plain, "cng_used_kg", "heater_fuel_used_l")),
        ),
        "shenzhen-delivery": (
            replace(van, name="van-hybrid", engine=Engine(0.9, 0.24, 1.5, 60), electric_km=60, sample_period_s=2,
                    signals=(*van.signals, "energy_charged_kwh", "fuel_used_l", "engine_speed_rpm"), decimals={}),
        ),
        "rotterdam-yard": (
            replace(yard, name="forklift", duty=Duty.LIFT, daily_km=30, pack=Pack(80, 80, 0.004),
                    chassis=replace(yard.chassis, empty_kg=6_000, loaded_kg=8_500, power_take_off_kw=9)),
        ),
        "kochi-ferries": (
            replace(yard, name="excavator", duty=Duty.DIG, daily_km=1, pack=Pack(420, 600, 0.03), place=yard.place,
                    charger=Charger("site-1", 150, 0.94),
                    chassis=replace(yard.chassis, empty_kg=20_000, loaded_kg=20_000, power_take_off_kw=38)),
        ),
    }  # fmt: skip
    pilots = (replace(pilot, vehicles=vehicles[pilot.id]) for pilot in DEMO_FLEET.pilots if pilot.id in vehicles)
    return Fleet(tuple(pilots), first_day, days, Incidents())


def one_percent_of(truth: pl.Expr) -> pl.Expr:
    """How far a figure may be from the truth.

    Of one unit (kWh, km, L, kg) or less it is what counters told in hundredths leave open: a day is the difference of
    two readings, and net energy that of two such counters.
    """
    size = truth.cast(pl.Float64).abs()
    return pl.when(size > 1).then(0.01 * size).otherwise(0.02)


def powertrain(spec: VehicleSpec) -> str:
    """What drives a simulated vehicle."""
    if spec.fuel_cell is not None:
        return "fcev"
    if spec.gas_engine is not None:
        return "cng"
    if spec.engine is not None:
        return "phev" if spec.pack is not None else "diesel"
    return "bev"


def _kinds(pilot: PilotSpec) -> tuple[VehicleSpec, ...]:
    kinds = {(spec.duty, spec.pack is None): spec for spec in reversed(pilot.vehicles)}
    return tuple(kinds.values())


def computed(fleet: Fleet, chunk: int) -> Iterator[pl.DataFrame]:
    """Figure beside truth, `chunk` days at a time: vehicle, day, day_h, sample_h, metric, figure and the truth's row.

    The rows of the day before and after each chunk are read too, as the jobs do; the fleet's last day is left out, as
    what follows it is not known.
    """
    ids = numbered(fleet)
    held: list[VehicleLog] = []
    asked = fleet.dates[:-1]
    for log in simulate(fleet):
        held.append(log)
        dates = asked[:chunk]
        complete = log.day.date > dates[-1] and log.vehicle.name == list(ids)[-1] if dates else False
        if complete:
            yield _beside(held, ids, dates)
            asked = asked[chunk:]
            held = [one for one in held if asked and one.day.date >= asked[0] - dt.timedelta(days=1)]


def _beside(logs: Sequence[VehicleLog], ids: Numbered, dates: list[dt.date]) -> pl.DataFrame:
    results = compute(inputs_of(logs, ids, dates))
    truth = as_frames(piece for log in logs if log.day.date in dates for piece in log.truth).days
    names = pl.DataFrame(
        [(number, name, spec.sample_period_s / 3600) for name, (number, _, spec) in ids.items()],
        schema={"vehicle_id": pl.Int32, "vehicle": pl.String, "sample_h": pl.Float64}, orient="row",
    )  # fmt: skip
    figures = results.figures.join(names, on="vehicle_id").select(
        "vehicle", "sample_h", "day", "metric", figure="value"
    )
    return figures.join(truth, on=["vehicle", "day"])


def inputs_of(
    logs: Sequence[VehicleLog], ids: Numbered, dates: Sequence[dt.date], downtimes: Sequence[Downtime] = ()
) -> Inputs:
    """What the metrics compute these days from; `downtimes` are records of maintenance."""
    frames = [
        log.frame.with_columns(vehicle_id=pl.lit(ids[log.vehicle.name][0], pl.Int32)).drop("vehicle") for log in logs
    ]
    rows = pl.concat(frames, how="diagonal_relaxed")
    days: list[dict[str, object]] = []
    service: list[dict[str, object]] = []
    for number, pilot, _ in ids.values():
        for date in dates:
            day = OperatingDay(date, pilot.zone)
            key = {"vehicle_id": number, "day": date}
            days.append({**key, "pilot_id": 1, "starts_at": day.starts_at, "ends_at": day.ends_at})
            if pilot.plans(date):
                start, end = (day.starts_at + dt.timedelta(seconds=day.at(hour)) for hour in pilot.service_h)
                service.append({**key, "starts_at": start, "ends_at": end})
    return Inputs(
        telemetry=rows.select("vehicle_id", "time", *(name for name in SIGNALS if name in rows.columns)),
        vehicles=_frame(Vehicles, [_vehicle(number, spec) for number, _, spec in ids.values()]),
        days=_frame(OperatingDays, days),
        planned=_frame(PlannedService, service),
        maintenance=_frame(Maintenance, [_record(ids[down.vehicle][0], down) for down in downtimes]),
        roadcalls=Roadcalls.create_empty(),
    )


def _record(number: int, down: Downtime) -> dict[str, object]:
    return {
        "vehicle_id": number, "starts_at": down.start, "ends_at": down.end, "planned": down.planned,
        "cause": down.cause,
    }  # fmt: skip


def _vehicle(number: int, spec: VehicleSpec) -> dict[str, object]:
    return {
        **TRUCK, "vehicle_id": number, "name": spec.name, "category": CATEGORY.get(spec.duty, "truck"),
        "powertrain": powertrain(spec), "sample_period_s": float(spec.sample_period_s),
        "usable_battery_kwh": spec.pack.usable_kwh if spec.pack else None, "sleeps_at_key_off": spec.sleeps_at_key_off,
        "charger_efficiency": spec.charger.efficiency if spec.charger else None,
    }  # fmt: skip


def _frame(contract, rows):  # type: ignore[no-untyped-def]
    return contract.validate(pl.DataFrame(rows, schema=contract.create_empty().schema, strict=False))
