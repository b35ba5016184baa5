"""A hybrid's electric share of the distance, by hand."""

import polars as pl
import pytest
from metrics_case import DAY_S, HOUR, Day, day_rows, inputs, one_day, telemetry

from analytics.metrics import compute

EVERY = 10
HYBRID = {"powertrain": "phev"}


def drive(engine: list[bool | None], **change: object) -> pl.DataFrame:
    """Quarters of an hour at 40 km/h; with each, whether the engine runs, or null for what nobody said."""
    times = list(range(0, len(engine) * 900 + 1, EVERY))
    state = [engine[min(t // 900, len(engine) - 1)] for t in times]
    rpm = [None if runs is None else 1200.0 * runs for runs in state]
    return telemetry(times, ignition_on=[True] * len(times), speed_kmh=[40.0] * len(times), engine_speed_rpm=rpm)


def test_the_share_is_of_the_distance() -> None:
    day = one_day(drive([False, False, False, True]), vehicles=(HYBRID,))
    # three of four quarters of an hour at 40 km/h: 30 of 40 km
    assert day["electric_distance_km"] == pytest.approx(30)
    assert day["electric_distance_share_pct"] == pytest.approx(75)
    assert day.part("electric_distance_share_pct", "method") == "measured"


def test_what_nobody_said_is_in_neither_side_but_in_the_coverage() -> None:
    day = one_day(drive([False, True, None, None]), vehicles=(HYBRID,))
    assert day["electric_distance_share_pct"] == pytest.approx(50)
    assert day.part("electric_distance_share_pct", "coverage_pct") == pytest.approx(50)


def test_fuel_that_flows_is_an_engine_that_runs() -> None:
    rows = drive([False, True]).rename({"engine_speed_rpm": "fuel_rate_l_h"})
    assert one_day(rows, vehicles=(HYBRID,))["electric_distance_share_pct"] == pytest.approx(50)


def test_a_gap_adds_nothing() -> None:
    rows = drive([False, True, False, True])
    apart = rows.filter(~pl.col("time").is_between(rows["time"][90], rows["time"][180], closed="none"))
    # the second quarter is missing: 10 of 10, 0 of 10 unseen, 10, 0 of 10
    assert one_day(apart, vehicles=(HYBRID,))["electric_distance_share_pct"] == pytest.approx(100 * 20 / 30, rel=0.01)


def test_shares_of_days_are_ratios_of_sums() -> None:
    second = drive([True, True]).with_columns(pl.col("time") + pl.duration(seconds=DAY_S))
    rows = pl.concat([drive([False, False, False, True]), second])
    results = compute(inputs(rows, vehicles=(HYBRID,), days=day_rows(2)))
    total = results.figures.filter(pl.col("metric").is_in(["electric_distance_km", "engine_told_distance_km"]))
    km = dict(total.group_by("metric").agg(pl.col("value").sum()).iter_rows())
    assert km["electric_distance_km"] / km["engine_told_distance_km"] == pytest.approx(30 / 60, rel=1e-3)


@pytest.mark.parametrize("powertrain", ["bev", "diesel", "cng"])
def test_only_hybrids_have_one(powertrain: str) -> None:
    assert one_day(drive([False, True]), vehicles=({"powertrain": powertrain},))["electric_distance_km"] is None


def test_a_silent_engine_has_no_share() -> None:
    rows = telemetry(list(range(0, HOUR, EVERY)), speed_kmh=[40.0] * (HOUR // EVERY))
    assert Day(compute(inputs(rows, vehicles=(HYBRID,))))["electric_distance_share_pct"] is None
