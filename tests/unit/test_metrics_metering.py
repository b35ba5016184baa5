"""What records of meters make of grid energy: cut exactly, measured, beside what was charged elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest
from hourly_case import GRID, tables
from metrics_case import DAY, DAY_S, HOUR, Day, at, day_rows, inputs, telemetry

from analytics.metrics import Inputs, Results, compute
from analytics.metrics.metering import matched
from schemas.frames import MeterSessions

STEP = 60


def meters(*sessions: tuple[float, float, float], vehicle_id: int = 1) -> pl.DataFrame:
    """Records from an hour to another (of the first day), kWh."""
    rows = [(n, vehicle_id, at(a * HOUR), at(b * HOUR), kwh) for n, (a, b, kwh) in enumerate(sessions)]
    return MeterSessions.validate(pl.DataFrame(rows, MeterSessions.create_empty().schema, orient="row"))


def night(charges: Sequence[tuple[float, float, float]], hours: float = 48, **more: object) -> Inputs:
    """Two days, at the plug from hour 18 to 30 and while charging, at so many kW from hour to hour; else parked."""
    times = list(range(0, int(hours * HOUR) + 1, STEP))
    power = [sum(kw for a, b, kw in charges if a <= t / HOUR < b) for t in times]
    counter = [sum(kw * max(0.0, min(t / HOUR, b) - a) for a, b, kw in charges) for t in times]
    plugged = [18 <= t / HOUR < 30 or p > 0 for t, p in zip(times, power, strict=True)]
    rows = telemetry(
        times, ignition_on=[False] * len(times), plugged_in=plugged, charging=[p > 0 for p in power],
        battery_power_kw=power, energy_charged_kwh=counter, speed_kmh=[0.0] * len(times),
    )  # fmt: skip
    return inputs(rows, vehicles=({"sample_period_s": 60.0, **more},), days=day_rows(2))


def days_of(results: Results) -> tuple[Day, Day]:
    return Day(results), Day(results, day=DAY + timedelta(days=1))


def test_a_session_over_the_cut_is_split_by_when_it_charged() -> None:
    # 3 h at 30 kW before the cut, 1 h at 10 kW after it: 90 and 10 kWh DC; the meter counted 110.
    world = night([(19, 22, 30.0), (26, 27, 10.0)])
    first, second = days_of(compute(replace(world, meters=meters((18, 30, 110.0)))))
    assert first["grid_energy_kwh"] == pytest.approx(99.0, rel=1e-9)
    assert second["grid_energy_kwh"] == pytest.approx(11.0, rel=1e-9)
    assert first["grid_energy_kwh"] + second["grid_energy_kwh"] == pytest.approx(110.0, abs=1e-9)
    for day in (first, second):
        assert day.part("grid_energy_kwh", "method") == "measured"
        assert day.part("grid_energy_kwh", "note") == "metered sessions"
        assert day.part("grid_energy_kwh", "coverage_pct") == 100
        assert day.part("grid_energy_kwh", "low") is None


def test_without_a_record_the_efficiency_tells() -> None:
    first, _ = days_of(compute(night([(19, 22, 30.0)])))
    assert first["grid_energy_kwh"] == pytest.approx(100.0, rel=1e-9)
    assert first.part("grid_energy_kwh", "method") == "estimated"


def test_a_day_on_its_own_gives_what_both_give() -> None:
    world = replace(night([(19, 22, 30.0), (26, 27, 10.0)]), meters=meters((18, 30, 110.0)))
    _, both = days_of(compute(world))
    alone = compute(replace(world, days=world.days.filter(pl.col("day") > DAY)))
    assert Day(alone, day=DAY + timedelta(days=1))["grid_energy_kwh"] == both["grid_energy_kwh"]


def test_what_was_charged_elsewhere_goes_through_the_efficiency() -> None:
    # 20 kWh DC at noon without a record, 90 kWh DC at night with one of 100 kWh.
    world = night([(9, 10, 20.0), (19, 22, 30.0)])
    first, _ = days_of(compute(replace(world, meters=meters((18, 23, 100.0)))))
    assert first["grid_energy_kwh"] == pytest.approx(100 + 20 / 0.9, rel=1e-9)
    assert first.part("grid_energy_kwh", "method") == "mixed"
    assert first.part("grid_energy_kwh", "low") == pytest.approx(100 + 20 / 0.98)
    assert first.part("grid_energy_kwh", "high") == pytest.approx(100 + 20 / 0.80)
    assert "the rest charged / 0.9" in str(first.part("grid_energy_kwh", "note"))


def test_a_charger_whose_clock_is_late_changes_nothing() -> None:
    late = meters((18 + 0.1, 30, 100.0))  # six minutes
    first, _ = days_of(compute(replace(night([(18, 21, 30.0)]), meters=late)))
    assert first["grid_energy_kwh"] == pytest.approx(100.0, rel=1e-9)
    assert first.part("grid_energy_kwh", "method") == "measured"


def test_a_vehicle_that_tells_nothing_is_split_evenly_and_says_so() -> None:
    silent = inputs(telemetry([0, 2 * DAY_S], ignition_on=[False, False]), days=day_rows(2))
    first, second = days_of(compute(replace(silent, meters=meters((18, 30, 120.0)))))
    assert (first["grid_energy_kwh"], second["grid_energy_kwh"]) == pytest.approx((60.0, 60.0))
    assert first.part("grid_energy_kwh", "method") == "mixed"
    assert "spread evenly" in str(first.part("grid_energy_kwh", "note"))
    within = compute(replace(silent, meters=meters((18, 23, 120.0))))
    assert Day(within).part("grid_energy_kwh", "method") == "measured"
    assert "not observed" in str(Day(within).part("grid_energy_kwh", "note"))


def test_a_meter_in_the_telemetry_goes_before_and_is_compared() -> None:
    world = night([(19, 22, 30.0)])
    counter = [100 / 3 * max(0.0, min(t / HOUR, 22) - 19) for t in range(0, 48 * HOUR + 1, STEP)]
    rows = world.telemetry.with_columns(grid_energy_kwh=pl.Series(counter))
    results = compute(replace(world, telemetry=rows, meters=meters((18, 23, 104.0))))
    assert Day(results)["grid_energy_kwh"] == pytest.approx(100.0, rel=1e-9)
    check = results.agreements.filter(pl.col("check") == "recorded_over_metered").row(0, named=True)
    assert (check["numerator"], check["denominator"]) == pytest.approx((104.0, 100.0))
    assert check["agrees"]
    told = results.methods.filter((pl.col("metric") == "grid_energy_kwh") & (pl.col("day") == DAY))
    assert dict(told.select("method", "value").iter_rows()) == pytest.approx(
        {"meter": 100.0, "metered sessions": 104.0, "charger's efficiency": 100.0}
    )


def test_charged_over_grid_is_judged_by_records() -> None:
    results = compute(replace(night([(19, 22, 30.0)]), meters=meters((18, 23, 200.0))))
    check = results.agreements.filter(pl.col("check") == "charged_over_grid").row(0, named=True)
    assert (check["numerator"], check["denominator"], check["agrees"]) == (pytest.approx(90), pytest.approx(200), False)


def test_the_charging_session_shows_what_was_metered() -> None:
    results = compute(replace(night([(19, 22, 30.0), (26, 27, 10.0)]), meters=meters((18, 30, 110.0))))
    session = results.charge_sessions.row(0, named=True)
    assert session["grid_energy_kwh"] == pytest.approx(110.0, rel=1e-9)
    assert session["grid_method"] == "measured"


def test_emissions_and_hours_use_what_was_metered() -> None:
    known = {at(h * HOUR): 300.0 for h in range(48)}
    world = night([(19, 21, 30.0)], grid=GRID, baseline_fuel="diesel", baseline_rate=10.0, baseline_unit="L/h")
    metered = replace(world, hourly=tables(known), meters=meters((18, 23, 70.0)))
    first, _ = days_of(compute(metered))
    assert first["hourly_matched_energy_kwh"] == pytest.approx(70.0, abs=1e-9)
    silent = inputs(telemetry([0, DAY_S], ignition_on=[False, False]), vehicles=({"grid": GRID},), days=day_rows(1))
    told = Day(compute(replace(silent, hourly=tables(known), meters=meters((18.5, 20.5, 60.0)))))
    assert told["hourly_matched_energy_kwh"] == pytest.approx(60.0, abs=1e-9)


def row(
    meter_id: int, start: float, end: float, kwh: float = 50.0, charger: int = 1, vehicle: int | None = None
) -> dict:
    return {"meter_id": meter_id, "site_id": 1, "charger_id": charger, "vehicle_id": vehicle, "starts_at": at(start),
            "ends_at": at(end), "grid_kwh": kwh}  # fmt: skip


def session(vehicle: int, start: float, end: float, kwh: float | None = 45.0) -> dict:
    return {"vehicle_id": vehicle, "site_id": 1, "starts_at": at(start), "ends_at": at(end), "energy_charged_kwh": kwh}


TYPES = {"vehicle_id": pl.Int64, "energy_charged_kwh": pl.Float64}


def found(meters: list[dict], sessions: list[dict], named: Sequence[dict] = ()) -> dict[int, int]:
    frame = pl.DataFrame(meters, schema_overrides={"vehicle_id": pl.Int64})
    told = pl.DataFrame(list(named), schema=frame.schema) if named else frame.clear()
    return dict(matched(frame, pl.DataFrame(sessions, schema_overrides=TYPES), told).iter_rows())


@pytest.mark.parametrize(
    ("meters", "sessions", "expected"),
    [
        ([row(1, 0, 100)], [session(7, 5, 110)], {1: 7}),
        ([row(1, 0, 100)], [session(7, 60, 170)], {}),  # less than half of the shorter
        ([row(1, 0, 100)], [session(7, 0, 100), session(8, 5, 105)], {}),  # two could be it
        ([row(1, 0, 100)], [session(7, 0, 100), session(8, 50, 250)], {1: 7}),  # one is clearly it
        ([row(1, 0, 100), row(2, 0, 100, charger=2)], [session(7, 0, 100)], {}),  # two chargers for one vehicle
        ([row(1, 0, 40, 25), row(2, 50, 100, 25)], [session(7, 0, 100)], {1: 7, 2: 7}),  # one after the other
        ([row(1, 0, 100, 200.0)], [session(7, 0, 100)], {}),  # counted far more than was charged
        ([row(1, 0, 100, 20.0)], [session(7, 0, 100)], {}),  # counted less than was charged
        ([row(1, 0, 100)], [session(7, 0, 100, None)], {1: 7}),
    ],
)
def test_whose_session_a_record_is(meters: list[dict], sessions: list[dict], expected: dict[int, int]) -> None:
    assert found(meters, sessions) == expected
    assert found(meters[::-1], sessions[::-1]) == expected


def test_a_session_that_a_record_names_is_taken() -> None:
    assert found([row(1, 0, 100)], [session(7, 0, 100)], [row(2, 0, 100, charger=2, vehicle=7)]) == {}


def test_another_site_is_elsewhere() -> None:
    assert found([row(1, 0, 100) | {"site_id": 2}], [session(7, 0, 100)]) == {}
