"""A vehicle's day at one row a second with 30 signals: twelve hours of driving, five of charging, the rest parked."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from analytics.metrics import Inputs
from schemas.frames import Maintenance, OperatingDays, PlannedService, Roadcalls, Vehicles

DAY_S = 86_400
FIRST = dt.date(2026, 1, 5)
CAPACITY_KWH = 400.0


def instant(day: int) -> dt.datetime:
    return dt.datetime(2026, 1, 5, 11, tzinfo=dt.UTC) + dt.timedelta(days=day)


def telemetry(vehicles: int, days: int) -> pl.DataFrame:
    """Rows of so many vehicles and days, in order. Counters go on from day to day."""
    return pl.concat(_rows(vehicle, day) for vehicle in range(1, vehicles + 1) for day in range(days))


def inputs(rows: pl.DataFrame, vehicles: int, days: int) -> Inputs:
    """What the metrics are computed from: the rows and the little that is declared."""
    ids = range(1, vehicles + 1)
    facts = [
        {
            "vehicle_id": n, "pilot_id": 1, "name": f"truck-{n}", "category": "truck", "powertrain": "bev",
            "usable_battery_kwh": CAPACITY_KWH, "sample_period_s": 1.0, "sleeps_at_key_off": False, "region": "US-CA",
            "charger_efficiency": 0.92, "line_loss": 0.05, "grid": "egrid:CAMX", "baseline_fuel": "diesel",
            "baseline_rate": 39.9, "baseline_unit": "L/100km", "baseline_source": "operator records 2024",
        }
        for n in ids
    ]  # fmt: skip
    keys = [(n, day) for n in ids for day in range(days)]
    bounds = [
        {"vehicle_id": n, "day": FIRST + dt.timedelta(days=day), "pilot_id": 1, "starts_at": instant(day),
         "ends_at": instant(day + 1)}
        for n, day in keys
    ]  # fmt: skip
    planned = [
        {"vehicle_id": n, "day": FIRST + dt.timedelta(days=day), "starts_at": instant(day) + dt.timedelta(hours=3),
         "ends_at": instant(day) + dt.timedelta(hours=15)}
        for n, day in keys
    ]  # fmt: skip
    return Inputs(
        telemetry=rows,
        vehicles=Vehicles.validate(pl.DataFrame(facts, schema=Vehicles.create_empty().schema)),
        days=OperatingDays.validate(pl.DataFrame(bounds, schema=OperatingDays.create_empty().schema)),
        planned=PlannedService.validate(pl.DataFrame(planned, schema=PlannedService.create_empty().schema)),
        maintenance=Maintenance.create_empty(),
        roadcalls=Roadcalls.create_empty(),
    )


def _rows(vehicle: int, day: int) -> pl.DataFrame:
    random, t = np.random.default_rng(100 * vehicle + day), np.arange(DAY_S)
    drives = (t // 60 % 47 < 33) & (t > 3 * 3600) & (t < 15 * 3600)
    plugged = (t > 16 * 3600) & (t < 23 * 3600)
    charges = plugged & (t < 21 * 3600)
    speed = np.where(drives, np.clip(45 + 25 * np.sin(t / 53) + random.normal(0, 1, DAY_S), 0, 100), 0.0)
    power = np.where(drives, 60 * np.sin(t / 11) - 20 - speed * 0.9, np.where(charges, 60.0, -0.5))
    out, into = np.cumsum(np.clip(-power, 0, None)) / 3600, np.cumsum(np.clip(power, 0, None)) / 3600
    into_plugged = np.cumsum(np.where(plugged, np.clip(power, 0, None), 0)) / 3600
    km = np.cumsum(speed) / 3600
    signals = {
        "speed_kmh": speed, "odometer_km": np.round(1000 * (day + 1) + km, 2),
        "latitude_deg": 33.7 + km / 2000, "longitude_deg": -118.2 + km / 2000,
        "payload_kg": np.where(t < 9 * 3600, 12_000.0, 4_000.0),
        "energy_discharged_kwh": np.round(1000 * day + out, 2),
        "energy_regenerated_kwh": np.round(1000 * day + into - into_plugged, 2),
        "energy_charged_kwh": np.round(1000 * day + into_plugged, 2),
        "grid_energy_kwh": np.round(1000 * day + into_plugged / 0.92, 2),
        "grid_power_kw": np.where(charges, 65.2, 0.0),
        "battery_power_kw": power, "battery_voltage_v": 650 + random.normal(0, 1, DAY_S),
        "battery_current_a": power * 1000 / 650, "battery_temperature_c": 25 + 5 * np.sin(t / 9000),
        "battery_soc_pct": np.clip(95 + (into - out) / CAPACITY_KWH * 100, 5, 100),
        "ignition_on": (t > 3 * 3600) & (t < 15 * 3600), "ready": drives, "plugged_in": plugged, "charging": charges,
        "pto_on": np.zeros(DAY_S, bool), "red_stop_lamp": np.zeros(DAY_S, bool), "motor_power_kw": -power,
        "auxiliary_power_kw": np.abs(random.normal(3, 0.5, DAY_S)),
        "operating_hours_h": np.round(20 * day + np.cumsum(drives) / 3600, 2),
        "fuel_rate_l_h": np.where(drives, 1.5, 0.0), "fuel_used_l": np.round(50 * day + np.cumsum(drives) / 2400, 2),
        "heater_fuel_used_l": np.round(day + t / DAY_S, 2), "hydrogen_rate_kg_h": np.where(drives, 1.0, 0.0),
        "hydrogen_used_kg": np.round(20 * day + np.cumsum(drives) / 3600, 3),
        "ambient_temperature_c": 15 + 8 * np.sin(t / 13_000),
    }  # fmt: skip
    last = instant(day + 1) - dt.timedelta(seconds=1)
    time = pl.datetime_range(instant(day), last, "1s", time_unit="us", time_zone="UTC", eager=True)
    return pl.DataFrame({"vehicle_id": pl.Series([vehicle] * DAY_S, dtype=pl.Int32), "time": time, **signals})
