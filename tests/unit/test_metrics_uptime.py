"""Availability and roadcalls."""

import math

import polars as pl
import pytest
from metrics_case import DAY, HOUR, Day, inputs, one_day, telemetry

from analytics.metrics import Policy, compute, totals
from analytics.metrics.poisson import interval
from analytics.metrics.rows import COLUMNS

PARKED = telemetry(range(0, 24 * HOUR + 1, 60), ignition_on=[False] * 1441)
SERVICE = [(6 * HOUR, 18 * HOUR)]
Record = tuple[float, float | None, bool, str]


def _day(*maintenance: Record, policy: Policy = Policy(), rows: pl.DataFrame = PARKED) -> Day:  # noqa: B008 - frozen
    return one_day(rows, vehicles=({"sample_period_s": 60.0},), planned=SERVICE, maintenance=maintenance, policy=policy)


def _down(start_min: float, minutes: float, cause: str = "vehicle", planned: bool = False) -> Record:
    """A record that starts so many minutes after the pull-out at 06:00."""
    return (6 * HOUR + start_min * 60, 6 * HOUR + (start_min + minutes) * 60, planned, cause)


@pytest.mark.parametrize(
    ("record", "available"),
    [
        (None, 100),
        (_down(-120, 120 + 30), 100),  # down at pull-out, back at the very end of the grace
        (_down(-120, 120 + 31), 0),  # down at pull-out, back only when the grace is over
        (_down(-120, 120 + 29), 100),  # back within the grace
        (_down(5, 40), 100),  # not down at pull-out, short
        (_down(300, 60), 100),  # an hour is the limit
        (_down(300, 61), 0),
        (_down(-300, 200), 100),  # repaired before service
        (_down(12 * 60, 300), 100),  # after service
    ],
)
def test_pull_out_and_time_down(record: Record | None, available: float) -> None:
    assert _day(*([record] if record else []))["availability_pct"] == available


def test_limits_are_the_operators() -> None:
    record = _down(-10, 25)
    assert _day(record)["availability_pct"] == 100
    assert _day(record, policy=Policy(pull_out_grace_min=14))["availability_pct"] == 0
    assert _day(_down(60, 45), policy=Policy(down_limit_min=30))["availability_pct"] == 0


def test_several_short_outages_add_up() -> None:
    assert _day(_down(60, 35), _down(200, 35))["availability_pct"] == 0


@pytest.mark.parametrize(
    ("record", "cause"),
    [(_down(60, 90, "vehicle"), "vehicle"), (_down(60, 90, "charger"), "supply"), (_down(60, 90, "supply"), "supply"),
     (_down(60, 90, "inspection", planned=True), "planned_maintenance")],
)  # fmt: skip
def test_the_cause_is_what_took_most_time(record: Record, cause: str) -> None:
    day = _day(record, _down(200, 10, "charger" if cause == "vehicle" else "vehicle"))
    causes = ("vehicle", "supply", "planned_maintenance")
    assert {c: day[f"unavailable_{c}_days"] for c in causes} == {c: float(c == cause) for c in causes}


def test_planned_maintenance_counts_in_one_figure_and_not_in_the_other() -> None:
    day = _day(_down(60, 90, "inspection", planned=True))
    assert day["availability_pct"] == 0
    assert day["availability_excl_planned_maintenance_pct"] == 100
    assert day["planned_maintenance_h"] == pytest.approx(1.5)


def test_a_red_lamp_at_a_standstill_in_service_makes_the_day_lost() -> None:
    lit = PARKED.with_columns(red_stop_lamp=pl.int_range(pl.len()) >= 400)
    assert _day(rows=lit)["availability_pct"] == 0
    driving = lit.with_columns(speed_kmh=pl.lit(36.0), ignition_on=pl.lit(True))
    assert _day(rows=driving)["availability_pct"] == 100


def test_no_driver_is_available_and_no_evidence_is_unknown() -> None:
    assert _day()["availability_pct"] == 100
    silent = _day(rows=telemetry([]))
    assert silent["availability_pct"] is None
    assert silent["unknown_days"] == 1
    assert silent.part("availability_pct", "note") == "no evidence"


def test_a_work_order_is_evidence() -> None:
    assert _day((0, None, False, "vehicle"), rows=telemetry([]))["availability_pct"] == 0


def test_days_without_planned_service_have_no_availability() -> None:
    assert one_day(PARKED)["availability_pct"] is None
    assert one_day(PARKED)["planned_days"] is None


def _figures(**values: float) -> pl.DataFrame:
    rows = [{"vehicle_id": 1, "day": DAY, "metric": m, "value": v, "method": "measured"} for m, v in values.items()]
    return pl.DataFrame(rows, schema=COLUMNS, strict=False)


def test_t27_availability_bounds() -> None:
    figures = _figures(planned_days=110, available_days=110 - 9 - 5, unknown_days=5)
    row = totals(figures, []).row(by_predicate=pl.col("metric") == "availability_pct", named=True)
    assert row["low"] == pytest.approx(87.27, abs=0.01)
    assert row["high"] == pytest.approx(91.82, abs=0.01)
    assert row["value"] == pytest.approx(91.43, abs=0.01)
    assert row["coverage_pct"] == pytest.approx(100 * 105 / 110)


def test_t28_distance_without_roadcalls_is_a_bound() -> None:
    figures = _figures(distance_km=83_128, roadcalls=0)
    row = totals(figures, []).row(by_predicate=pl.col("metric") == "km_between_roadcalls", named=True)
    assert row["value"] is None
    assert row["low"] == pytest.approx(83_128 / 3.0)
    assert row["high"] is None


@pytest.mark.parametrize(
    ("count", "low", "high"),
    # Garwood's limits as tabulated, for example in Ulm (1990): half the 2.5 and 97.5 % points of chi-squared.
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (2, 0.2422, 7.225), (3, 0.6187, 8.767), (5, 1.6235, 11.668),
     (10, 4.7954, 18.390), (20, 12.2165, 30.888), (50, 37.1110, 65.919), (100, 81.3640, 121.627)],
)  # fmt: skip
def test_exact_poisson_intervals(count: int, low: float, high: float) -> None:
    assert interval(count) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=2e-3))


def test_no_event_leaves_three() -> None:
    assert math.exp(-3.0) == pytest.approx(0.05, abs=0.001)


def test_roadcalls_are_counted_by_system_and_day() -> None:
    rows = telemetry(range(0, 7201, 60), odometer_km=[t / 60 for t in range(121)])
    calls = [(100.0, "propulsion"), (200.0, "other"), (300.0, "storage"), (25 * HOUR, "other")]
    day = one_day(rows, vehicles=({"sample_period_s": 60.0},), roadcalls=calls)
    assert (day["roadcalls"], day["propulsion_roadcalls"], day["storage_roadcalls"]) == (3, 1, 1)
    assert day["km_between_storage_roadcalls"] == pytest.approx(2)
    assert day["km_between_roadcalls"] == pytest.approx(2 / 3)
    low, high = interval(3)
    assert day.part("km_between_roadcalls", "low") == pytest.approx(2 / high)
    assert day.part("km_between_roadcalls", "high") == pytest.approx(2 / low)
    assert day["km_between_propulsion_roadcalls"] == pytest.approx(2)


def test_two_windows_of_planned_service_have_one_pull_out() -> None:
    planned = [(6 * HOUR, 9 * HOUR), (14 * HOUR, 18 * HOUR)]
    records: list[Record] = [(13 * HOUR, 14 * HOUR + 50 * 60, False, "vehicle")]
    case = inputs(PARKED, vehicles=({"sample_period_s": 60.0},), planned=planned, maintenance=records)
    assert Day(compute(case))["availability_pct"] == 100
