"""Every registered metric, once, computed by hand. A metric without a case here fails `test_none_is_left_out`.

The worlds are an hour or a day in which everything is even, so that each expectation is a line of arithmetic. What
happens at gaps, cuts, resets and edges is tested with each family.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import polars as pl
import pytest
from hourly_case import GRID, tables
from metrics_case import DAY_S, HOUR, Day, at, inputs, one_day, telemetry

from analytics.metrics import METRICS, compute
from schemas.frames import Fillings

KM_PER_MILE, L_PER_GALLON = 1.609344, 3.785411784
EVERY_10_S = list(range(0, HOUR + 1, 10))
N = len(EVERY_10_S)


def _hour(**signals: object) -> dict[str, list[object]]:
    """An hour of even signals: a number for a level, `(total,)` for a counter that rises evenly."""
    return {
        name: [value[0] * t / HOUR for t in EVERY_10_S] if isinstance(value, tuple) else [value] * N  # type: ignore[misc]
        for name, value in signals.items()
    }


@cache
def truck() -> Day:
    """An hour at 36 km/h with 10 t on board: 40 kWh out, 4 kWh back; 3 kW of auxiliaries; 30 % of 100 kWh."""
    signals = _hour(
        ignition_on=True, speed_kmh=36.0, odometer_km=(36.0,), energy_discharged_kwh=(40.0,),
        energy_regenerated_kwh=(4.0,), battery_power_kw=-36.0, auxiliary_power_kw=3.0, payload_kg=10_000.0,
    )  # fmt: skip
    return one_day(telemetry(EVERY_10_S, **signals, battery_soc_pct=[90 - t / 120 for t in EVERY_10_S]))


@cache
def bus() -> Day:
    """Half an hour of driving 18 km, then half an hour at the plug: 36 kWh in, 40 kWh from the grid."""
    drives = [t <= 1800 for t in EVERY_10_S]
    at_plug = [max(0, t - 1800) / 1800 for t in EVERY_10_S]
    rows = telemetry(
        EVERY_10_S, ignition_on=drives, plugged_in=[not d for d in drives], charging=[not d for d in drives],
        speed_kmh=[36.0 if d else 0.0 for d in drives], odometer_km=[min(t, 1800) / 100 for t in EVERY_10_S],
        energy_charged_kwh=[36 * share for share in at_plug], grid_energy_kwh=[40 * share for share in at_plug],
    )  # fmt: skip
    return one_day(rows, vehicles=({"category": "bus"},))


@cache
def renewable_gas() -> Day:
    """An hour in which 6 kg of renewable natural gas are burnt."""
    return one_day(
        telemetry(EVERY_10_S, **_hour(ignition_on=True, cng_used_kg=(6.0,))),
        vehicles=({"powertrain": "cng", "own_fuel": "rng"},),
    )


@cache
def hybrid() -> Day:
    """An hour at 36 km/h; the engine runs in the last quarter of it."""
    signals = _hour(ignition_on=True, speed_kmh=36.0)
    rpm = [1200.0 if t >= 2700 else 0.0 for t in EVERY_10_S]
    return one_day(telemetry(EVERY_10_S, **signals, engine_speed_rpm=rpm), vehicles=({"powertrain": "phev"},))


@cache
def by_the_hour() -> Day:
    """40 kWh from the grid, 30 of them from 11:00 to 12:00, an hour whose factor is missing on this day."""
    times = [0, HOUR, 2 * HOUR, 3 * HOUR]
    rows = telemetry(times, plugged_in=[True] * 4, grid_energy_kwh=[0.0, 30.0, 40.0, 40.0])
    known = {at(HOUR): 300.0, at(24 * HOUR): 500.0}
    return Day(compute(replace(inputs(rows, vehicles=({"grid": GRID},)), hourly=tables(known))))


@cache
def loader() -> Day:
    """An hour with key on: 30 minutes of work at 50 kW, 30 minutes standing at 4 kW. It stands all along."""
    works = [t < 1800 for t in EVERY_10_S]
    rows = telemetry(
        EVERY_10_S, ignition_on=[True] * N, speed_kmh=[0.0] * N, motor_power_kw=[45.0 if w else 0.0 for w in works],
        battery_power_kw=[-50.0 if w else -4.0 for w in works],
        energy_discharged_kwh=[min(t, 1800) / 72 + max(0, t - 1800) / 900 for t in EVERY_10_S],
        energy_regenerated_kwh=[0.0] * N,
    )  # fmt: skip
    return one_day(rows, vehicles=({"category": "equipment"},))


@cache
def ferry() -> Day:
    """An hour under way: 10 nautical miles, 50 kW from the battery, of which 5 kW are hotel load."""
    signals = _hour(ignition_on=True, speed_kmh=18.52, battery_power_kw=-50.0, hotel_power_kw=5.0, shaft_power_kw=40.0)
    return one_day(telemetry(EVERY_10_S, **signals), vehicles=({"category": "vessel"},))


@cache
def burner() -> Day:
    """An hour over 40 km on 2 kg of hydrogen, 8 kg of gas and 12 L of fuel, with 1 L for heat and 2 L aboard."""
    signals = _hour(
        ignition_on=True, odometer_km=(40.0,), hydrogen_used_kg=(2.0,), cng_used_kg=(8.0,), fuel_used_l=(12.0,),
        heater_fuel_used_l=(1.0,), genset_fuel_used_l=(2.0,),
    )  # fmt: skip
    return one_day(telemetry(EVERY_10_S, **signals), vehicles=({"powertrain": "fcev"},))


@cache
def filled() -> Day:
    """Two fillings of hydrogen, one of gas, one of diesel; another on the next day is not of this one."""
    times = (100, 200, 300, DAY_S - 1, DAY_S)
    slugs = ("hydrogen_dispensed_kg", "hydrogen_dispensed_kg", "cng_dispensed_kg", "fuel_dispensed_l")
    rows = [
        (1, at(t), slug, kg) for t, slug, kg in zip(times, (*slugs, slugs[0]), (3.0, 1.5, 9.0, 80.0, 7.0), strict=True)
    ]
    fillings = Fillings.validate(pl.DataFrame(rows, Fillings.create_empty().schema, orient="row"))
    return Day(compute(replace(inputs(telemetry([])), fillings=fillings)))


MINUTES = list(range(0, 24 * HOUR + 1, 60))


@cache
def shift() -> Day:
    """A day of minutes: parked 8 h, driving 2 h (60 km), idle 1 h, charging 3 h, at the plug 1 h, parked.

    Service is planned from 8 to 20 h; the vehicle is repaired from 20 to 21 h, inspected from 21 to 22 h.
    """
    hour = [t / HOUR for t in MINUTES]
    drives = [8 <= h < 10 for h in hour]
    rows = telemetry(
        MINUTES, ignition_on=[8 <= h < 11 for h in hour], speed_kmh=[30.0 if d else 0.0 for d in drives],
        odometer_km=[30 * min(max(h - 8, 0), 2) for h in hour], plugged_in=[12 <= h < 16 for h in hour],
        charging=[12 <= h < 15 for h in hour],
    )  # fmt: skip
    return one_day(
        rows, vehicles=({"sample_period_s": 60.0},), planned=[(8 * HOUR, 20 * HOUR)],
        maintenance=[(20 * HOUR, 21 * HOUR, False, "vehicle"), (21 * HOUR, 22 * HOUR, True, "inspection")],
        roadcalls=[(9 * HOUR, "propulsion"), (9.5 * HOUR, "storage")],
    )  # fmt: skip


@cache
def lost(cause: str, planned: bool = False) -> Day:
    """A planned day on which the vehicle stands in the workshop, or without a charger, from 8 to 20 h."""
    rows = telemetry(MINUTES, ignition_on=[False] * len(MINUTES))
    return one_day(
        rows, vehicles=({"sample_period_s": 60.0},), planned=[(8 * HOUR, 20 * HOUR)],
        maintenance=[(8 * HOUR, 20 * HOUR, planned, cause)],
    )  # fmt: skip


@cache
def silent() -> Day:
    """A planned day of which nothing is known."""
    return one_day(telemetry([]), planned=[(8 * HOUR, 20 * HOUR)])


@cache
def silent_afternoon() -> Day:
    """Heard each minute for 18 of 24 hours, then a row at the end of the day."""
    times = [*range(0, 18 * HOUR + 1, 60), 24 * HOUR]
    return one_day(telemetry(times, ignition_on=[False] * len(times)), vehicles=({"sample_period_s": 60.0},))


@cache
def displacing(region: str = "US-CA", grid: str = "egrid:CAMX") -> Day:
    """100 km on 120 kWh from the grid, in the place of a diesel at 40 L/100 km."""
    signals = _hour(ignition_on=True, odometer_km=(100.0,), grid_energy_kwh=(120.0,), energy_charged_kwh=(108.0,))
    facts = {
        "baseline_fuel": "diesel", "baseline_rate": 40.0, "baseline_unit": "L/100km", "baseline_source": "records",
        "region": region, "grid": grid, "line_loss": 0.05, "baseline_model_year": 2018, "work_rate": 1.5,
        "work_unit": "kWh/km", "work_source": "records",
    }  # fmt: skip
    return one_day(telemetry(EVERY_10_S, **signals), vehicles=(facts,))


@dataclass(frozen=True)
class Case:
    """A world and what a metric is in it."""

    world: Callable[[], Day]
    value: float
    rel: float = 1e-6


COMBUSTION = 40 * 10.21 / L_PER_GALLON
"""kg CO2 of 40 L of diesel, 10.21 kg a US gallon (EPA)."""

CASES: dict[str, Case] = {
    "distance_km": Case(truck, 36),  # 36 km/h for an hour
    "energy_used_kwh": Case(truck, 40 - 4),
    "energy_discharged_kwh": Case(truck, 40),
    "energy_regenerated_kwh": Case(truck, 4),
    "energy_charged_kwh": Case(bus, 36),
    "grid_energy_kwh": Case(bus, 40),
    "auxiliary_energy_kwh": Case(truck, 3 * 1),
    "hotel_energy_kwh": Case(ferry, 5 * 1),
    "propulsion_energy_kwh": Case(ferry, 50 - 5),
    "idle_energy_kwh": Case(loader, 4 * 0.5, rel=0.04),  # the step from 50 to 4 kW takes 10 s
    "energy_used_by_counter_kwh": Case(truck, 36),
    "energy_used_by_power_kwh": Case(truck, 36 * 1),
    "energy_used_by_soc_kwh": Case(truck, 30 / 100 * 100),
    "transport_work_tkm": Case(truck, 10 * 36),
    "energy_per_km_kwh": Case(truck, 36 / 36),
    "energy_per_100km_kwh": Case(truck, 100 * 36 / 36),
    "energy_per_mi_kwh": Case(truck, 36 / (36 / KM_PER_MILE)),
    "energy_per_hour_kwh": Case(truck, 36 / 1),
    "energy_per_working_hour_kwh": Case(loader, (25 + 2) / 0.5),
    "energy_per_nmi_kwh": Case(ferry, 50 / 10),
    "energy_per_tonne_km_kwh": Case(truck, 36 / 360),
    "grid_energy_per_km_kwh": Case(bus, 40 / 18),
    "mpgdge": Case(truck, 37.64 / KM_PER_MILE),  # 1 kWh/km is 1.609344 kWh/mi
    "hydrogen_per_100km_kg": Case(burner, 2 / 40 * 100),
    "cng_per_100km_kg": Case(burner, 8 / 40 * 100),
    "mpgdge_hydrogen": Case(burner, 40 / KM_PER_MILE / 2 * 1.116),
    "mpgdge_cng": Case(burner, 40 / KM_PER_MILE / (8 / 0.45359237) * 6.373),
    "hydrogen_dispensed_kg": Case(filled, 3 + 1.5),
    "cng_dispensed_kg": Case(filled, 9),
    "fuel_dispensed_l": Case(filled, 80),
    "fuel_per_100km_l": Case(burner, 12 / 40 * 100),
    "ratio_energy_per_km_kwh": Case(truck, 36),
    "ratio_distance_km": Case(truck, 36),
    "ratio_energy_per_hour_kwh": Case(truck, 36),
    "ratio_key_on_h": Case(truck, 1),
    "ratio_working_energy_kwh": Case(loader, 25 + 2),
    "ratio_working_h": Case(loader, 0.5),
    "ratio_dge_energy_kwh": Case(truck, 36),
    "ratio_dge_distance_km": Case(truck, 36),
    "ratio_sea_energy_kwh": Case(ferry, 50),
    "ratio_sea_distance_km": Case(ferry, 10 * 1.852),
    "ratio_transport_energy_kwh": Case(truck, 36),
    "ratio_transport_work_tkm": Case(truck, 360),
    "ratio_grid_energy_kwh": Case(bus, 40),
    "ratio_grid_distance_km": Case(bus, 18),
    "ratio_hydrogen_kg": Case(burner, 2),
    "ratio_hydrogen_distance_km": Case(burner, 40),
    "ratio_cng_kg": Case(burner, 8),
    "ratio_cng_distance_km": Case(burner, 40),
    "ratio_fuel_l": Case(burner, 12),
    "ratio_fuel_distance_km": Case(burner, 40),
    "fuel_used_l": Case(burner, 12),
    "heater_fuel_used_l": Case(burner, 1),
    "genset_fuel_used_l": Case(burner, 2),
    "hydrogen_used_kg": Case(burner, 2),
    "cng_used_kg": Case(burner, 8),
    "key_on_h": Case(shift, 2 + 1),
    "working_h": Case(loader, 0.5),
    "in_service_h": Case(shift, 2),
    "charging_h": Case(shift, 3),
    "plugged_idle_h": Case(shift, 1),
    "idle_h": Case(shift, 1),
    "parked_h": Case(shift, 24 - 2 - 1 - 3 - 1 - 1),
    "down_h": Case(shift, 1),
    "planned_maintenance_h": Case(shift, 1),
    "unknown_h": Case(silent, 24),
    "connected_h": Case(silent_afternoon, 18),
    "expected_contact_h": Case(silent_afternoon, 24),
    "connectivity_pct": Case(silent_afternoon, 100 * 18 / 24),
    "planned_days": Case(shift, 1),
    "available_days": Case(shift, 1),
    "unknown_days": Case(silent, 1),
    "available_excl_planned_maintenance_days": Case(lambda: lost("inspection", True), 1),
    "unavailable_vehicle_days": Case(lambda: lost("vehicle"), 1),
    "unavailable_supply_days": Case(lambda: lost("charger"), 1),
    "unavailable_planned_maintenance_days": Case(lambda: lost("inspection", True), 1),
    "availability_pct": Case(lambda: lost("vehicle"), 0),
    "availability_excl_planned_maintenance_pct": Case(lambda: lost("inspection", True), 100),
    "roadcalls": Case(shift, 2),
    "propulsion_roadcalls": Case(shift, 1),
    "storage_roadcalls": Case(shift, 1),
    "km_between_roadcalls": Case(shift, 60 / 2),
    "km_between_propulsion_roadcalls": Case(shift, 60 / 1),
    "km_between_storage_roadcalls": Case(shift, 60 / 1),
    "fuel_displaced_l": Case(displacing, 100 * 40 / 100),
    # 100 km x 1.5 kWh/km at 0.20 and 0.01 g/hp-h (US model years from 2007 on)
    "nox_avoided_screening_g": Case(displacing, 150 * 0.20 / 0.745699872),
    "pm25_avoided_screening_g": Case(displacing, 150 * 0.01 / 0.745699872),
    # 36 km, of them the last 9 km with the engine on
    "electric_distance_km": Case(hybrid, 27),
    "engine_told_distance_km": Case(hybrid, 36),
    "electric_distance_share_pct": Case(hybrid, 75),
    # 6 kg of renewable gas at 0.05444 kg/scf over 0.0458 lb/scf
    "biogenic_co2_kg": Case(renewable_gas, 6 * 0.05444 / 0.0458 / 0.45359237, rel=1e-4),
    "hourly_matched_energy_kwh": Case(by_the_hour, 40),
    "hourly_filled_energy_kwh": Case(by_the_hour, 30),
    "hourly_filled_pct": Case(by_the_hour, 100 * 30 / 40),
    # 40 L burnt, less 120 kWh of generation in California: 0.1943 kg CO2/kWh (eGRID2023), 5 % lost on the line
    "co2e_avoided_tailpipe_vs_generation_kg": Case(displacing, COMBUSTION - 120 * 0.1943 / 0.95),
    # 94 g CO2e/MJ x 36 MJ/L x 40 L, less 120 kWh at 342.06 g/kWh life-cycle (Ember, Germany), 5 % lost
    "co2e_avoided_well_to_wheel_kg": Case(
        lambda: displacing("DE", "ember:DEU"), 40 * 0.094 * 36 - 120 * 0.34206 / 0.95
    ),
    # 40 L burnt with the CH4 and N2O of 100 km of road, less 120 kWh at 208 g/kWh life-cycle (CAISO), 5 % lost
    "co2e_avoided_conservative_kg": Case(displacing, COMBUSTION + 100 * 0.0116875 / KM_PER_MILE - 120 * 0.208 / 0.95),
}


@pytest.mark.parametrize("slug", [slug for slug in CASES if slug in METRICS])
def test_by_hand(slug: str) -> None:
    case = CASES[slug]
    assert case.world()[slug] == pytest.approx(case.value, rel=case.rel, abs=1e-9)


def test_none_is_left_out() -> None:
    assert METRICS.keys() - CASES.keys() == set(), "registered, but not computed by hand"
    assert CASES.keys() - METRICS.keys() == set(), "computed by hand, but not registered"
