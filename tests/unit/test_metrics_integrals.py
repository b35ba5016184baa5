"""Integrals of power and speed: trapezoid, gaps, zero crossings, cuts."""

import polars as pl
import pytest
from metrics_case import DAY, DAY_S, HOUR, Day, day_rows, inputs, one_day, telemetry

from analytics.metrics import compute

EVERY_10_S = list(range(0, 3601, 10))


def test_t03_power_with_a_gap_and_zero_crossings() -> None:
    """T03: discharge is positive there, negative here. 60 s steps are allowed by a median of 20 s."""
    rows = telemetry([0, 10, 20, 90, 100], battery_power_kw=[-100, -120, 40, -80, -80])
    day = one_day(rows)
    assert day["energy_used_by_power_kwh"] == pytest.approx(2300 / 3600)
    assert day["energy_discharged_kwh"] == pytest.approx(2350 / 3600)
    assert day["energy_regenerated_kwh"] == pytest.approx(50 / 3600)


def test_t03_covers_30_of_100_s() -> None:
    rows = telemetry([0, 10, 20, 90, 100], battery_power_kw=[-100, -120, 40, -80, -80], ignition_on=[True] * 5)
    assert one_day(rows).part("energy_used_by_power_kwh", "coverage_pct") == pytest.approx(30)


def test_t04_constant_volts_and_amperes() -> None:
    n = len(EVERY_10_S)
    rows = telemetry(EVERY_10_S, battery_voltage_v=[650.0] * n, battery_current_a=[-100.0] * n, ignition_on=[True] * n)
    day = one_day(rows)
    assert day["energy_used_kwh"] == pytest.approx(65.0)
    assert day.part("energy_used_kwh", "method") == "measured"
    assert day.part("energy_used_kwh", "note") == "power integral"


def test_power_signal_outranks_volts_times_amperes() -> None:
    rows = telemetry([0, 10], battery_power_kw=[-36, -36], battery_voltage_v=[1, 1], battery_current_a=[1, 1])
    assert one_day(rows)["energy_used_kwh"] == pytest.approx(0.1)


def test_a_signal_slower_than_the_rows_is_integrated_over_its_own_samples() -> None:
    power = [-36.0 if t % 30 == 0 else None for t in EVERY_10_S]
    assert one_day(telemetry(EVERY_10_S, battery_power_kw=power))["energy_used_kwh"] == pytest.approx(36.0)


@pytest.mark.parametrize(("period", "gap", "counted"), [(1, 5, True), (1, 6, False), (10, 30, True), (10, 31, False),
                                                        (30, 90, True), (30, 91, False)])  # fmt: skip
def test_max_gap_is_three_median_intervals_5_to_60_s_and_90_for_slow_feeds(
    period: int, gap: int, counted: bool
) -> None:
    times = [n * period for n in range(6)]
    times.append(times[-1] + gap)
    rows = telemetry(times, battery_power_kw=[-36.0] * 7)
    expected = (5 * period + gap * counted) * 36 / 3600
    assert one_day(rows)["energy_used_by_power_kwh"] == pytest.approx(expected)


def test_speed_only_logger() -> None:
    rows = telemetry(EVERY_10_S, speed_kmh=[36.0] * 361)
    day = one_day(rows)
    assert day["distance_km"] == pytest.approx(36.0)
    assert day.part("distance_km", "coverage_pct") == pytest.approx(100)
    assert day.part("distance_km", "note") == "from speed"
    assert day["energy_used_kwh"] is None
    assert day.part("energy_used_kwh", "note") == "no energy counter, power or state of charge"
    assert day["key_on_h"] == pytest.approx(1.0)
    assert day.part("key_on_h", "method") == "estimated"


def test_distance_between_80_and_100_pct_is_scaled_and_estimated() -> None:
    times = [t for t in EVERY_10_S if not 1800 <= t < 2080]
    rows = telemetry(times, speed_kmh=[36.0] * len(times), ignition_on=[True] * len(times))
    day = one_day(rows)
    assert day["distance_km"] == pytest.approx(36.0)
    assert day.part("distance_km", "coverage_pct") == pytest.approx(100 * 3310 / 3600)
    assert day.part("distance_km", "method") == "estimated"


def test_below_80_pct_is_shown_as_it_is_and_left_out_of_ratios() -> None:
    power = [-36.0 if t <= 1800 else None for t in EVERY_10_S]
    odometer = [t / 100 for t in EVERY_10_S]
    rows = telemetry(EVERY_10_S, battery_power_kw=power, odometer_km=odometer, ignition_on=[True] * 361)
    day = one_day(rows)
    assert day["energy_used_kwh"] == pytest.approx(18.0)
    assert day.part("energy_used_kwh", "coverage_pct") == pytest.approx(50)
    assert "left out of ratios" in str(day.part("energy_used_kwh", "note"))
    assert day["energy_per_km_kwh"] is None
    assert day["energy_per_hour_kwh"] is None


def test_a_cut_splits_energy_and_distance_exactly() -> None:
    """Power runs from -100 to +100 kW and speed from 0 to 72 km/h over 20 s; the cut is 5 s in."""
    cut = DAY_S
    rows = telemetry([cut - 5, cut + 15], battery_power_kw=[-100, 100], speed_kmh=[0, 72])
    results = compute(inputs(rows, days=day_rows(2)))
    first, second = Day(results), Day(results, day=DAY.replace(day=6))
    assert first["energy_discharged_kwh"] == pytest.approx((100 + 50) / 2 * 5 / 3600)
    assert first["energy_regenerated_kwh"] == pytest.approx(0)
    assert second["energy_discharged_kwh"] == pytest.approx(50 / 2 * 5 / 3600)
    assert second["energy_regenerated_kwh"] == pytest.approx(100 / 2 * 10 / 3600)
    assert first.rows["distance_km"]["value"] == pytest.approx(18 / 2 * 5 / 3600)
    assert second.rows["distance_km"]["value"] == pytest.approx((18 + 72) / 2 * 15 / 3600)


def test_a_row_exactly_on_the_cut_belongs_to_both_sides_once() -> None:
    rows = telemetry([DAY_S - 10, DAY_S, DAY_S + 10], battery_power_kw=[-36.0] * 3)
    results = compute(inputs(rows, days=day_rows(2)))
    for day in (DAY, DAY.replace(day=6)):
        assert Day(results, day=day)["energy_used_kwh"] == pytest.approx(0.1)


def _drive(vehicle_id: int, start: float, hours: float) -> pl.DataFrame:
    times = [start + t for t in range(0, int(hours * HOUR) + 1, 10)]
    n = len(times)
    wave = [30 + 25 * ((k * 7) % 11) / 10 for k in range(n)]
    return telemetry(
        times, vehicle_id, speed_kmh=wave, battery_power_kw=[80 - 2 * v for v in wave], ignition_on=[True] * n,
        odometer_km=[100 + k * 0.1 for k in range(n)], battery_soc_pct=[90 - k * 0.01 for k in range(n)],
    )  # fmt: skip


def test_row_order_and_duplicates_do_not_matter() -> None:
    rows = pl.concat([_drive(1, 3600, 5), _drive(2, 80_000, 4)])
    options = {"vehicles": ({}, {"vehicle_id": 2}), "days": day_rows(2, (1, 2))}
    expected = compute(inputs(rows, **options))  # type: ignore[arg-type]
    shuffled = pl.concat([rows, rows.head(500)]).sample(fraction=1.0, shuffle=True, seed=4)
    again = compute(inputs(shuffled, **options))  # type: ignore[arg-type]
    assert again.figures.equals(expected.figures)
    assert again.trips.equals(expected.trips)


def test_days_add_up_to_a_long_day() -> None:
    rows = _drive(1, DAY_S - 2 * HOUR, 5)
    long_day = [{**day_rows()[0], "ends_at": day_rows(2)[1]["ends_at"]}]
    whole = Day(compute(inputs(rows, days=long_day)))
    halves = compute(inputs(rows, days=day_rows(2)))
    first, second = Day(halves), Day(halves, day=DAY.replace(day=6))
    for slug in ("energy_discharged_kwh", "energy_regenerated_kwh", "distance_km", "key_on_h", "in_service_h"):
        parts = (first[slug], second[slug])
        assert None not in parts
        assert min(parts) > 0  # type: ignore[type-var]
        assert sum(parts) == pytest.approx(whole[slug])  # type: ignore[arg-type]


def test_computing_days_apart_gives_what_computing_them_together_gives() -> None:
    rows = _drive(1, DAY_S - 2 * HOUR, 5)
    together = compute(inputs(rows, days=day_rows(2))).figures
    apart = [compute(inputs(rows, days=[day])).figures for day in day_rows(2)]
    key = ["vehicle_id", "day", "metric"]
    from polars.testing import assert_frame_equal

    assert_frame_equal(pl.concat(apart).sort(key), together.sort(key), rel_tol=1e-9)


def test_a_gap_over_the_cut_is_judged_alike_whatever_is_computed_with_it() -> None:
    """Rows each second; 40 s are missing over the cut, which is more than three intervals."""
    times = [t for t in range(DAY_S - 300, DAY_S + 300) if not DAY_S - 20 < t < DAY_S + 20]
    rows = telemetry(times, battery_power_kw=[-36.0] * len(times), speed_kmh=[36.0] * len(times))
    both = Day(compute(inputs(rows, days=day_rows(2))), day=DAY.replace(day=6))
    alone = Day(compute(inputs(rows, days=day_rows(2)[1:])), day=DAY.replace(day=6))
    assert alone["energy_discharged_kwh"] == both["energy_discharged_kwh"]
    assert alone["energy_used_by_power_kwh"] == pytest.approx(279 * 0.01)


def test_a_gap_never_adds_energy() -> None:
    whole = telemetry(EVERY_10_S, battery_power_kw=[-36.0] * 361)
    broken = whole.filter((pl.col("time").dt.minute() < 10) | (pl.col("time").dt.minute() > 20))
    assert one_day(broken)["energy_used_by_power_kwh"] < one_day(whole)["energy_used_by_power_kwh"]  # type: ignore[operator]


def test_an_empty_day_has_no_figures_but_unknown_hours() -> None:
    day = one_day(telemetry([]))
    assert day.hours() == {"unknown": 24.0}
    assert day["distance_km"] is None
    assert day["energy_used_kwh"] is None
    assert day["key_on_h"] is None


def test_nothing_to_compute_is_nothing() -> None:
    results = compute(inputs(_drive(1, 0, 1), days=[]))
    assert results.figures.is_empty()
    assert results.trips.is_empty()


def test_rows_of_other_vehicles_and_other_columns_are_ignored() -> None:
    mine, other = _drive(1, 0, 1), _drive(7, 0, 1)
    expected = one_day(mine).rows
    assert one_day(pl.concat([mine, other]).with_columns(door_open=pl.lit(True))).rows == expected


def test_latitudes_and_longitudes_that_never_come_together_are_no_positions() -> None:
    n = len(EVERY_10_S)
    latitude = [33.77 if t % 20 else None for t in EVERY_10_S]
    for longitude in ([None] * n, [None if t % 20 else -118.2 for t in EVERY_10_S]):
        rows = telemetry(EVERY_10_S, speed_kmh=[36.0] * n, latitude_deg=latitude, longitude_deg=longitude)
        assert one_day(rows)["distance_km"] == pytest.approx(36.0)
