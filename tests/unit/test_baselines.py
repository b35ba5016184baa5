"""Baselines of a class, of a paired vehicle and of a vehicle's own history, computed by hand."""

import datetime as dt
from typing import Any

import polars as pl
import pytest
from test_emissions import DAY, L_PER_GAL, day_frame, figure, figure_frame, vehicle, vehicle_frame

from analytics.factors.tables import shipped
from analytics.metrics.baselines import PAIRED_DAYS, by_history, class_averages, of_class, paired
from analytics.metrics.emissions import DISPLACED, TAILPIPE_VS_GENERATION, avoided
from schemas.programme import SEGMENTS, SEGMENTS_OF_CLASS

UNDECLARED: dict[str, Any] = {"baseline_rate": None, "baseline_unit": None, "baseline_source": None}
DIESEL_ID = 9


def day(number: int) -> dt.date:
    return DAY + dt.timedelta(days=number)


def measured(*days: tuple[int, float | None, float | None], vehicle_id: int = DIESEL_ID, **change: Any) -> pl.DataFrame:
    """Litres and km of days before (or after) `DAY`."""
    rows = [
        figure(slug, value, vehicle_id=vehicle_id, day=day(number), **change)
        for number, litres, km in days
        for slug, value in (("fuel_used_l", litres), ("distance_km", km))
    ]
    return figure_frame(*rows)


def asked(**change: Any) -> pl.DataFrame:
    row = {"vehicle_id": 1, "day": DAY, "unit": "L/100km", "reference_id": DIESEL_ID, "reference": "diesel-1", **change}
    return pl.DataFrame([row], schema_overrides={"vehicle_id": pl.Int32, "reference_id": pl.Int32})


def only(frame: pl.DataFrame) -> dict[str, Any]:
    assert frame.height == 1
    return frame.row(0, named=True)


def test_a_paired_vehicle_is_a_ratio_of_sums_over_four_weeks() -> None:
    figures = measured((0, 60, 150), (-1, 20, 50), (-PAIRED_DAYS + 1, 40, 100), (-PAIRED_DAYS, 900, 100), (1, 900, 100))
    # (60 + 20 + 40) L over (150 + 50 + 100) km: 40 L/100 km; the day before the window and the one after do not count
    row = only(paired(asked(), figures))
    assert row["rate"] == pytest.approx(40.0)
    assert (row["unit"], row["method"], row["reason"]) == ("L/100km", "measured", None)
    assert row["words"] == "baseline by paired diesel-1, measured over 28 days"


def test_several_references_add_up() -> None:
    both = pl.concat([asked(), asked(reference_id=8, reference="diesel-0")])
    figures = pl.concat([measured((0, 60, 150)), measured((0, 30, 50), vehicle_id=8)])
    row = only(paired(both, figures))
    assert (row["rate"], row["words"]) == (
        pytest.approx(45.0),
        "baseline by paired diesel-0, diesel-1, measured over 28 days",
    )


@pytest.mark.parametrize(
    "figures",
    [
        measured(), measured((-PAIRED_DAYS, 40, 100)), measured((0, None, 100)), measured((0, 40, 0)),
        measured((0, 40, 100), coverage_pct=79.0), measured((0, 40, 100), vehicle_id=7),
    ],
)  # fmt: skip
def test_without_a_measured_day_there_is_no_rate_and_a_reason(figures: pl.DataFrame) -> None:
    row = only(paired(asked(), figures))
    assert (row["rate"], row["reason"]) == (None, "diesel-1 has no measured day in the 28 days up to this one")


def test_machines_are_paired_by_the_hour() -> None:
    hours = figure_frame(
        figure("fuel_used_l", 66.0, vehicle_id=DIESEL_ID), figure("key_on_h", 10.0, vehicle_id=DIESEL_ID)
    )
    assert only(paired(asked(unit="L/h"), hours))["rate"] == pytest.approx(6.6)


def test_own_history() -> None:
    since = pl.DataFrame(
        {"vehicle_id": [1], "day": [DAY], "unit": ["L/100km"], "since": [day(-60)], "until": [day(-1)]},
        schema_overrides={"vehicle_id": pl.Int32},
    )
    row = only(by_history(since, measured((-60, 38, 100), (-20, 84, 200), vehicle_id=1)))
    assert row["rate"] == pytest.approx(122 / 3)  # 122 L over 300 km
    assert row["words"] == "baseline by its own history, 2026-01-01 to 2026-03-01"
    nothing = only(by_history(since, measured()))
    assert nothing["reason"] == "its own history, 2026-01-01 to 2026-03-01, has no measured day"


def test_a_class_is_an_estimate_with_its_source() -> None:
    asked_class = pl.DataFrame({"vehicle_id": [1], "day": [DAY], "class": ["class-8-truck"]})
    row = only(of_class(asked_class))
    assert (row["rate"], row["unit"], row["method"]) == (5.9, "mpg", "estimated")
    assert "US DOE Alternative Fuels Data Center" in row["words"]


def test_class_averages_are_what_the_methods_hold() -> None:
    table = class_averages()
    assert dict(table.select("class", "mpg_diesel").iter_rows()) == {
        "paratransit-shuttle": 7.92, "delivery-truck": 7.25, "school-bus": 6.92, "class-8-truck": 5.90,
        "transit-bus": 3.64, "refuse-truck": 2.82,
    }  # fmt: skip
    for mpgge, mpg in ((7.1, 7.92), (6.5, 7.25), (6.2, 6.92), (5.288, 5.90), (3.262, 3.64), (2.531, 2.82)):
        assert mpgge * 1.1154 == pytest.approx(mpg, abs=0.006)
    segments = {row["class"]: tuple(row["segment"].split()) for row in table.iter_rows(named=True)}
    assert segments == SEGMENTS_OF_CLASS
    assert {segment for known in segments.values() for segment in known} <= set(SEGMENTS)


def results(baselines: pl.DataFrame) -> dict[str, dict[str, Any]]:
    given = figure_frame(figure("distance_km", 200.0), figure("grid_energy_kwh", 260.0))
    found = avoided(
        vehicle_frame(vehicle(**UNDECLARED)), day_frame((1, DAY)), given, shipped(), baselines=baselines
    ).figures
    return {row["metric"]: row for row in found.iter_rows(named=True)}


def test_the_rate_is_used_and_told() -> None:
    row = results(paired(asked(), measured((0, 60, 150))))[DISPLACED]
    assert (row["value"], row["method"]) == (pytest.approx(80.0), "measured")
    assert row["note"] == "baseline by paired diesel-1, measured over 28 days"
    by_class = results(of_class(pl.DataFrame({"vehicle_id": [1], "day": [DAY], "class": ["class-8-truck"]})))
    assert by_class[DISPLACED]["value"] == pytest.approx(200 / 1.609344 / 5.9 * L_PER_GAL)
    assert by_class[DISPLACED]["method"] == "mixed"  # a measured distance, an average rate


def test_why_there_is_none_is_told() -> None:
    for slug in (DISPLACED, TAILPIPE_VS_GENERATION):
        row = results(paired(asked(), measured()))[slug]
        assert (row["value"], row["note"]) == (None, "diesel-1 has no measured day in the 28 days up to this one")


def test_there_is_no_silent_default() -> None:
    nothing = paired(asked().clear(), measured((0, 60, 150)))
    assert results(nothing)[DISPLACED]["note"] == "no baseline is declared"
