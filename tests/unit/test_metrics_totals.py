"""Totals: sums, ratios of sums, coverage, notes; totals of totals are totals."""

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from analytics.metrics import METRICS, Total, totals
from analytics.metrics.rows import COLUMNS

SUMS = sorted(slug for slug, metric in METRICS.items() if metric.total is Total.SUM)


def _figures(*rows: dict[str, object]) -> pl.DataFrame:
    blank = {"vehicle_id": 1, "day": date(2026, 1, 5), "metric": "distance_km"}
    return pl.DataFrame([{**blank, **row} for row in rows], schema=COLUMNS, strict=False)


def _one(figures: pl.DataFrame, metric: str = "distance_km") -> dict[str, object]:
    return totals(figures, []).row(by_predicate=pl.col("metric") == metric, named=True)


def test_missing_is_never_zero() -> None:
    missing = {"value": None, "note": "no odometer or speed"}
    assert _one(_figures(missing, missing))["value"] is None
    assert _one(_figures(missing))["note"] == "no odometer or speed"
    some = _one(_figures(missing, {"value": 5.0, "method": "measured", "note": "odometer"}))
    assert (some["value"], some["note"]) == (5.0, "in part: no odometer or speed; odometer")


@pytest.mark.parametrize("levels", [[[]], [["day"], []], [["vehicle_id"], []]])
def test_what_cannot_be_told_of_some_is_covered_by_nothing(levels: list[list[str]]) -> None:
    """Half of the distance is of a vehicle without a baseline; alone, it is not a matter of coverage."""
    undeclared = {
        "metric": "fuel_displaced_l", "vehicle_id": 2, "value": None, "weight": 100.0,
        "note": "no baseline is declared",
    }  # fmt: skip
    known = {
        "metric": "fuel_displaced_l", "value": 40.0, "coverage_pct": 90.0, "weight": 100.0, "method": "measured",
        "note": "baseline 40 L/100km",
    }  # fmt: skip
    later = {"day": date(2026, 1, 6)}
    figures = _figures(known, undeclared, known | later, undeclared | later)
    for by in levels[:-1]:
        figures = totals(figures, by)
    both = _one(figures, "fuel_displaced_l")
    assert (both["value"], both["coverage_pct"], both["weight"]) == (80.0, pytest.approx(45), 400.0)
    assert both["note"] == "baseline 40 L/100km; in part: no baseline is declared"
    alone = _one(_figures(undeclared), "fuel_displaced_l")
    assert (alone["value"], alone["coverage_pct"], alone["note"]) == (None, None, "no baseline is declared")


def test_coverage_is_weighted() -> None:
    figures = _figures(
        {"value": 90, "coverage_pct": 90, "weight": 100}, {"value": 100, "coverage_pct": 50, "weight": 300}
    )
    assert _one(figures)["coverage_pct"] == pytest.approx((90 * 100 + 50 * 300) / 400)


def test_a_weight_without_coverage_weighs_nothing_at_any_level() -> None:
    figures = _figures(
        {"coverage_pct": 0.0, "weight": None}, {"coverage_pct": None, "weight": 1.0, "vehicle_id": 2},
        {"coverage_pct": 1.0, "weight": None, "vehicle_id": 2},
    )  # fmt: skip
    assert _one(figures)["coverage_pct"] == 0
    assert _one(totals(figures, ["vehicle_id"]))["coverage_pct"] == 0


@pytest.mark.parametrize(
    ("methods", "method"),
    [(["measured"] * 2, "measured"), (["estimated"] * 2, "estimated"), (["measured", "estimated"], "mixed"),
     (["measured", "mixed"], "mixed")],
)  # fmt: skip
def test_method(methods: list[str], method: str) -> None:
    assert _one(_figures(*({"value": 1, "method": m} for m in methods)))["method"] == method


def test_notes_are_joined_once_each() -> None:
    figures = _figures({"value": 1, "note": "odometer"}, {"value": 1, "note": "from speed; scaled to full activity"},
                       {"value": 1, "note": "odometer"})  # fmt: skip
    assert _one(figures)["note"] == "from speed; odometer; scaled to full activity"


def test_bounds_stand_in_with_the_value() -> None:
    row = _one(_figures({"value": 10, "low": 8, "high": 13}, {"value": 5}))
    assert (row["low"], row["high"]) == (13, 18)
    assert _one(_figures({"value": 5}))["low"] is None


def test_ratios_are_ratios_of_sums() -> None:
    figures = _figures(
        {"metric": "ratio_energy_per_km_kwh", "value": 100, "method": "measured"},
        {"metric": "ratio_energy_per_km_kwh", "value": 10, "method": "estimated", "vehicle_id": 2},
        {"metric": "ratio_distance_km", "value": 100, "method": "measured"},
        {"metric": "ratio_distance_km", "value": 20, "method": "measured", "vehicle_id": 2},
        {"metric": "energy_per_km_kwh", "value": 77},
    )
    row = _one(figures, "energy_per_km_kwh")
    assert row["value"] == pytest.approx(110 / 120)
    assert row["method"] == "mixed"


def test_a_metric_nobody_registered_is_refused() -> None:
    with pytest.raises(ValueError, match="speed_of_light"):
        totals(_figures({"metric": "speed_of_light", "value": 1}), [])


def test_grouping_columns_may_be_null_or_many() -> None:
    figures = _figures({"value": 1}, {"value": 2}, {"value": 4}).with_columns(
        pilot_id=pl.Series([1, 1, None]), week=pl.Series([1, 2, 1])
    )
    folded = totals(figures, ["pilot_id", "week"])
    assert sorted(folded["value"]) == [1, 2, 4]


NUMBERS = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
ROWS = st.builds(
    dict,
    metric=st.sampled_from(SUMS),
    vehicle_id=st.integers(1, 3),
    offset=st.integers(0, 2),
    value=st.none() | NUMBERS,
    low=st.none() | NUMBERS,
    coverage_pct=st.none() | st.floats(0, 100).map(lambda x: round(x, 1)),
    weight=st.none() | st.sampled_from([0.0, 1.0, 24.0, 300.0]),
    method=st.sampled_from(["measured", "estimated", "mixed"]),
    note=st.none() | st.sampled_from(["counter", "odometer", "counter; scaled"]),
)
COUNTS = {slug for slug in SUMS if METRICS[slug].unit in ("vehicle-days", "1")}


def _plausible(row: dict[str, object]) -> dict[str, object]:
    """Counts are small whole numbers; what has no value has no bounds."""
    value = row["value"]
    if row["metric"] in COUNTS and isinstance(value, float):
        value = float(abs(int(value)) % 4)
    day = date(2026, 1, 1) + timedelta(days=int(str(row["offset"])))
    kept = {name: part for name, part in row.items() if name != "offset"}
    return {**kept, "day": day, "value": value, "low": None if value is None else row["low"]}


@settings(deadline=None, max_examples=60)
@given(st.lists(ROWS, max_size=40))
def test_totals_of_totals_are_totals(rows: list[dict[str, object]]) -> None:
    """Also through a second grouping, for every metric: sums, ratios, availability and roadcalls."""
    figures = _figures(*(_plausible(row) for row in rows))
    flat = totals(figures, [])
    folded = totals(totals(totals(figures, ["vehicle_id", "day"]), ["vehicle_id"]), [])
    assert_frame_equal(folded, flat, rel_tol=1e-6, abs_tol=1e-6)
