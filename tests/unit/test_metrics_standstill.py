"""Auxiliary energy from power at a standstill, where no signal tells of it."""

from __future__ import annotations

import pytest
from metrics_case import HOUR, Day, one_day, telemetry

TIMES = list(range(0, 2 * HOUR + 1, 10))


def stop_and_go(**more: object) -> Day:
    """Two hours with key on: ten minutes driving at 60 kW, five standing at 4 kW, over and over; once at 20 kW."""
    drives = [t % 900 < 600 for t in TIMES]
    power = [-60.0 if d else -20.0 if t < 900 else -4.0 for t, d in zip(TIMES, drives, strict=True)]
    signals = {"battery_power_kw": power, "speed_kmh": [36.0 if d else 0.0 for d in drives]}
    vehicle = more.pop("vehicle", {})
    return one_day(telemetry(TIMES, ignition_on=[True] * len(TIMES), **signals, **more), vehicles=(vehicle,))


def test_the_median_at_a_standstill_times_key_on_hours() -> None:
    day = stop_and_go()
    # Of each 300 s the last 10 s are the step from 4 to 60 kW.
    assert day["auxiliary_energy_kwh"] == pytest.approx((290 * 4 + 10 * 32) / 300 * 2)
    assert day.part("auxiliary_energy_kwh", "method") == "estimated"
    assert "standstill" in str(day.part("auxiliary_energy_kwh", "note"))
    # Covered is to be the whole of what was driven, not of one standstill.
    assert day.part("auxiliary_energy_kwh", "weight") == pytest.approx(day["distance_km"])


def test_a_signal_goes_before() -> None:
    day = stop_and_go(auxiliary_power_kw=[3.0] * len(TIMES))
    assert day["auxiliary_energy_kwh"] == pytest.approx(6.0)
    assert day.part("auxiliary_energy_kwh", "method") == "measured"


def test_equipment_must_tell_when_it_works() -> None:
    assert stop_and_go(vehicle={"category": "equipment"})["auxiliary_energy_kwh"] is None
    works = [50.0 if t % 900 < 600 else 0.0 for t in TIMES]
    told = stop_and_go(vehicle={"category": "equipment"}, motor_power_kw=works)
    assert told["auxiliary_energy_kwh"] == pytest.approx((290 * 4 + 10 * 32) / 300 * 2)


def test_a_few_minutes_tell_nothing() -> None:
    times = list(range(0, 1800, 10))
    rows = telemetry(
        times, ignition_on=[True] * 180, battery_power_kw=[-4.0] * 180,
        speed_kmh=[0.0 if t < 500 else 30.0 for t in times],
    )  # fmt: skip
    assert one_day(rows)["auxiliary_energy_kwh"] is None
