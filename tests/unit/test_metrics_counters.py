"""Counters: spikes, resets, roll-over, device changes, and what a cut gets."""

import dataclasses

import polars as pl
import pytest
from metrics_case import DAY, DAY_S, HOUR, Day, day_rows, inputs, one_day, telemetry

from analytics.metrics import compute


def _used(readings: list[float | None], roll_over: dict[str, float] | None = None) -> float | None:
    rows = telemetry([n * 600 for n in range(len(readings))], fuel_used_l=readings)
    return one_day(rows, roll_over=roll_over)["fuel_used_l"]


@pytest.mark.parametrize(
    ("readings", "used"),
    [
        ([100, 110, 125], 25),
        ([100, None, 125], 25),
        ([100, 110, 900, 120, 125], 25),  # a spike up returns
        ([100, 110, 0, 120, 125], 25),  # a spike down returns
        ([100, 110, 2, 7], 15),  # a reset: 10 before, 5 after
        ([100, 110, 0, 0.5], 10.5),
        ([100, 110, 90_000, 90_005], 15),  # another device: no engine burns that in ten minutes
        ([100, 100.01, 100.0, 100.02], 0.02),  # jitter
        ([100], None),
    ],
)
def test_readings_to_amount(readings: list[float | None], used: float | None) -> None:
    assert _used(readings) == (None if used is None else pytest.approx(used))


def test_a_fall_of_a_counter_of_known_width_is_a_roll_over() -> None:
    assert _used([990, 998, 3, 10], {"fuel_used_l": 1000}) == pytest.approx(20)
    assert _used([990, 998, 3, 10]) == pytest.approx(15)


def test_a_small_fall_of_a_counter_of_known_width_is_a_reset() -> None:
    assert _used([500, 510, 300, 310], {"fuel_used_l": 1000}) == pytest.approx(20)


def test_counters_roll_over_where_their_own_vehicle_says_so() -> None:
    """Both fall from 998 to 3; the second vehicle's counter is of a kind that starts again at 1,000."""
    rows = pl.concat([telemetry([0, 600, 1200, 1800], n, fuel_used_l=[990.0, 998, 3, 10]) for n in (1, 2)])
    world = inputs(rows, vehicles=({}, {"vehicle_id": 2}), days=day_rows(1, (1, 2)))
    results = compute(dataclasses.replace(world, roll_over={"fuel_used_l": {2: 1000.0}}))
    assert [Day(results, vehicle)["fuel_used_l"] for vehicle in (1, 2)] == pytest.approx([8 + 7, 8 + 5 + 7])


def _two_hours_with_one_between(**counters: list[float]) -> Day:
    """An hour of driving, an hour in which nothing is heard, another hour of driving; counters at the four corners."""
    corners = [0, HOUR, 2 * HOUR, 3 * HOUR]
    times = [*range(0, HOUR + 1, 10), *range(2 * HOUR, 3 * HOUR + 1, 10)]
    at_corners = {name: dict(zip(corners, values, strict=True)) for name, values in counters.items()}
    spread = {name: [at_corner.get(t) for t in times] for name, at_corner in at_corners.items()}
    return one_day(telemetry(times, speed_kmh=[40.0] * len(times), ignition_on=[True] * len(times), **spread))


def test_what_was_used_before_a_reset_in_a_silence_is_not_covered() -> None:
    """20 kWh and 20 kWh seen on 80 of 120 km; the counter started anew in between."""
    day = _two_hours_with_one_between(
        odometer_km=[0, 40, 80, 120], energy_discharged_kwh=[100, 120, 5, 25], energy_regenerated_kwh=[0, 0, 0, 0]
    )
    for slug in ("energy_used_kwh", "energy_discharged_kwh"):
        assert day[slug] == pytest.approx(40)
        assert day.part(slug, "coverage_pct") == pytest.approx(100 * 80 / 120)
    assert day["energy_per_km_kwh"] is None


def test_an_odometer_that_starts_anew_in_a_silence_does_not_say_parked() -> None:
    day = _two_hours_with_one_between(odometer_km=[500, 540, 0, 40])
    assert day["distance_km"] == pytest.approx(80)
    assert day.hours() == pytest.approx({"in_service": 2, "unknown": 22})


def test_counters_are_interpolated_at_the_cut() -> None:
    rows = telemetry([DAY_S - 30, DAY_S + 60], odometer_km=[100, 103], fuel_used_l=[10, 13])
    results = compute(inputs(rows, days=day_rows(2)))
    assert Day(results)["distance_km"] == pytest.approx(1)
    assert Day(results, day=DAY.replace(day=6))["fuel_used_l"] == pytest.approx(2)


def test_an_odometer_counts_through_a_silence_of_a_long_weekend_but_not_of_a_week() -> None:
    for hours, bridged in ((90, True), (100, False)):
        rows = telemetry([HOUR, 2 * HOUR, (2 + hours) * HOUR], odometer_km=[100, 110, 160])
        results = compute(inputs(rows, days=day_rows(6)))
        total = sum(row["value"] or 0 for row in results.figures.filter(metric="distance_km").iter_rows(named=True))
        assert total == pytest.approx(60 if bridged else 10)


def test_odometer_outranks_speed_and_a_stuck_one_does_not() -> None:
    times = list(range(0, 3601, 10))
    speed = [36.0] * 361
    moving = one_day(telemetry(times, speed_kmh=speed, odometer_km=[t / 97 for t in times]))
    stuck = one_day(telemetry(times, speed_kmh=speed, odometer_km=[5.0] * 361))
    assert moving["distance_km"] == pytest.approx(3600 / 97)
    assert moving.part("distance_km", "note") == "odometer"
    assert stuck["distance_km"] == pytest.approx(36)
    assert stuck.part("distance_km", "note") == "from speed"


def test_each_fuel_has_its_own_counter_and_rates_stand_in() -> None:
    times = list(range(0, 3601, 10))
    rows = telemetry(
        times,
        ignition_on=[True] * 361,
        fuel_rate_l_h=[12.0] * 361,
        heater_fuel_used_l=[t / 3600 for t in times],
        genset_fuel_used_l=[t / 1800 for t in times],
        hydrogen_rate_kg_h=[3.0] * 361,
        cng_used_kg=[t / 720 for t in times],
    )
    day = one_day(rows)
    assert day["fuel_used_l"] == pytest.approx(12)
    assert day.part("fuel_used_l", "note") == "from rate"
    assert day["heater_fuel_used_l"] == pytest.approx(1)
    assert day["genset_fuel_used_l"] == pytest.approx(2)
    assert day["hydrogen_used_kg"] == pytest.approx(3)
    assert day["cng_used_kg"] == pytest.approx(5)
    assert day.part("cng_used_kg", "note") == "counter"


def test_t06_hydrogen_per_100_km() -> None:
    """8 miles on one kilogram."""
    rows = telemetry([0, 1800], hydrogen_used_kg=[5, 6], odometer_km=[100, 100 + 8 * 1.609344])
    assert one_day(rows)["hydrogen_per_100km_kg"] == pytest.approx(7.767, abs=0.0005)
