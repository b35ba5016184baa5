"""NOx and PM2.5 avoided by standard and work, against cases computed by hand."""

import datetime as dt
from typing import Any

import polars as pl
import pytest
from test_emissions import DAY, day_frame, figure, figure_frame, vehicle, vehicle_frame

from analytics.factors.contract import RECALLED
from analytics.factors.standards import US_MODEL_YEARS, standard_of
from analytics.factors.tables import shipped
from analytics.metrics.pollutants import NOX, PM, screened

G_PER_KWH = 1 / 0.745699872  # of 1 g/hp-h
DAY_OF_200_KM = {"distance_km": 200.0, "grid_energy_kwh": 260.0}
HEATER_NOX, HEATER_PM = (20 * 453.59237 / 1000 / 3.785411784, 1 * 453.59237 / 1000 / 3.785411784)  # g per litre


def results(given: dict[str, float | None], table: pl.DataFrame | None = None, **change: Any) -> dict[str, Any]:
    rows = figure_frame(*(figure(slug, value) for slug, value in given.items()))
    found = screened(vehicle_frame(vehicle(**change)), day_frame((1, DAY)), rows, shipped() if table is None else table)
    return {row["metric"]: row for row in found.figures.iter_rows(named=True)}


def test_an_electric_truck_in_place_of_a_2018_diesel() -> None:
    found = results(DAY_OF_200_KM)
    # 200 km x 1.2 kWh/km = 240 kWh; 0.20 and 0.01 g/hp-h / 0.7457 kW/hp
    assert found[NOX]["value"] == pytest.approx(240 * 0.20 * G_PER_KWH)
    assert found[PM]["value"] == pytest.approx(240 * 0.01 * G_PER_KWH)
    for slug in (NOX, PM):
        assert found[slug]["method"] == "estimated"
        assert found[slug]["note"].startswith("screening; displaced engine by us-hd-")
        assert "work 1.2 kWh/km (dynamometer)" in found[slug]["note"]


@pytest.mark.parametrize(
    ("rate", "unit", "kwh"),
    [
        (2.5, "hp-h/mi", 200 / 1.609344 * 2.5 * 0.745699872),
        (20.0, "kWh/h", 9 * 20.0),
        (3.9, "kWh/L", 80 * 3.9),  # 40 L/100 km x 200 km
        (18.5, "hp-h/gal", 80 / 3.785411784 * 18.5 * 0.745699872),
    ],
)
def test_work_by_distance_hour_and_fuel(rate: float, unit: str, kwh: float) -> None:
    found = results(DAY_OF_200_KM | {"key_on_h": 9.0}, work_rate=rate, work_unit=unit)
    assert found[NOX]["value"] == pytest.approx(kwh * 0.20 * G_PER_KWH)


def test_a_low_nox_gas_truck_keeps_a_tenth_and_claims_no_pm() -> None:
    given = {"distance_km": 200.0, "cng_used_kg": 60.0}
    found = results(given, powertrain="cng", own_standard="carb-low-nox-0.02")
    # the same 240 kWh at 0.20 and at 0.02 g/hp-h
    assert found[NOX]["value"] == pytest.approx(240 * (0.20 - 0.02) * G_PER_KWH)
    assert "own engine by carb-low-nox/carb-low-nox-0.02 subtracted" in found[NOX]["note"]
    assert (found[PM]["value"], found[PM]["note"]) == (None, "a near-zero claim covers NOx only")


def test_a_gas_truck_dirtier_than_what_it_displaces_shows_it() -> None:
    found = results({"distance_km": 200.0}, powertrain="cng", own_standard="us-hd-2010", baseline_model_year=2030)
    assert found[NOX]["value"] == pytest.approx(240 * (0.035 - 0.20) * G_PER_KWH)


def test_a_plug_in_hybrid_counts_the_share_of_its_engine() -> None:
    found = results(DAY_OF_200_KM | {"fuel_used_l": 20.0}, powertrain="phev", own_standard="us-hd-2027")
    # its engine burned 20 L of the 80 L: a quarter of the 240 kWh
    assert found[NOX]["value"] == pytest.approx((240 * 0.20 - 60 * 0.035) * G_PER_KWH)
    assert found[PM]["value"] == pytest.approx((240 * 0.01 - 60 * 0.005) * G_PER_KWH)


@pytest.mark.parametrize(
    "change",
    [
        {"baseline_rate": 30.0, "baseline_unit": "kg/100km", "baseline_fuel": "cng"},  # litres of so many kg?
        {"baseline_rate": 8.0, "baseline_unit": "L/h", "work_rate": 1.2, "work_unit": "kWh/km"},  # its fuel is 0 L
    ],
)
def test_a_share_that_is_not_known_is_not_taken_for_nothing(change: dict[str, Any]) -> None:
    given = DAY_OF_200_KM | {"key_on_h": 0.0, "fuel_used_l": 20.0}
    row = results(given, powertrain="phev", own_standard="us-hd-2027", **change)[NOX]
    assert (row["value"], row["coverage_pct"], row["note"]) == (
        None, 0.0, "the share of the work that the vehicle's engine did is not known",
    )  # fmt: skip


def test_an_electric_school_bus_pays_for_its_heater() -> None:
    found = results(DAY_OF_200_KM | {"heater_fuel_used_l": 6.0}, category="bus")
    assert found[NOX]["value"] == pytest.approx(240 * 0.20 * G_PER_KWH - 6 * HEATER_NOX)
    assert found[PM]["value"] == pytest.approx(240 * 0.01 * G_PER_KWH - 6 * HEATER_PM)
    assert "heater by distillate-burner-nox/diesel subtracted" in found[NOX]["note"]


def test_an_auxiliary_engine_is_subtracted() -> None:
    given = {"key_on_h": 10.0, "grid_energy_kwh": 400.0, "genset_fuel_used_l": 24.0}
    change: dict[str, Any] = {
        "category": "vessel", "region": "IN", "grid": "official:IND", "baseline_rate": 24.0, "baseline_unit": "L/h",
        "baseline_standard": "marine-tier-2", "work_rate": 90.0, "work_unit": "kWh/h",
    }  # fmt: skip
    untold = results(given, **change)
    assert (untold[NOX]["value"], untold[NOX]["note"]) == (
        None, "the standard of the vehicle's own engine is not declared",
    )  # fmt: skip
    found = results(given, own_standard="marine-tier-2", **change)
    # 10 h x 90 kWh/h = 900 kWh at 7.2 g/kWh; the generator burned 24 L of the 240 L: a tenth
    assert found[NOX]["value"] == pytest.approx(900 * 7.2 * 0.9)
    assert found[PM]["value"] == pytest.approx(900 * 0.2 * 0.9)


def test_european_and_chinese_standards_are_declared() -> None:
    found = results(DAY_OF_200_KM, region="CN", baseline_standard="china-v")
    assert found[NOX]["value"] == pytest.approx(240 * 2.0)
    assert results(DAY_OF_200_KM, region="NL", baseline_standard="euro-vi")[PM]["value"] == pytest.approx(240 * 0.01)


@pytest.mark.parametrize(
    ("change", "slug", "words"),
    [
        (
            {"region": "NL"}, NOX,
            "neither the displaced engine's standard nor, on US roads, its model year is declared",
        ),
        (
            {"category": "equipment"}, NOX,
            "neither the displaced engine's standard nor, on US roads, its model year is declared",
        ),
        ({"baseline_standard": "euro-v"}, NOX, "no NOx limit of euro-v is known"),  # it was only recalled
        ({"baseline_standard": "carb-low-nox-0.02"}, PM, "no PM limit of carb-low-nox-0.02 is known"),
        (
            {"work_rate": None, "work_unit": None}, NOX,
            "the displaced engine's work is not declared, and none was seen in a source",
        ),
        ({"work_unit": "kWh/h"}, NOX, "key_on_h of the day is not known"),
        ({"powertrain": "hev"}, NOX, "the standard of the vehicle's own engine is not declared"),
        (
            {"powertrain": "phev", "own_standard": "us-hd-2010"}, NOX,
            "neither fuel_used_l nor genset_fuel_used_l of the day is known",
        ),
        ({"baseline_fuel": None, "baseline_rate": None, "baseline_unit": None}, PM, "no baseline is declared"),
    ],
)  # fmt: skip
def test_what_cannot_be_known_says_why(change: dict[str, Any], slug: str, words: str) -> None:
    row = results(DAY_OF_200_KM, **change)[slug]
    assert (row["value"], row["note"]) == (None, words)


@pytest.mark.parametrize(
    ("year", "standard"),
    [(1984, None), (1985, "us-hd-1985"), (1990, "us-hd-1990"), (1993, "us-hd-1991"), (2003, "us-hd-1998"),
     (2006, "us-hd-2004"), (2007, "us-hd-2010"), (2026, "us-hd-2010"), (2027, "us-hd-2027")],
)  # fmt: skip
def test_model_years_on_us_roads(year: int, standard: str | None) -> None:
    assert standard_of(None, "US-CA", "truck", year) == standard
    known = shipped().filter(pl.col("confidence") != RECALLED)["key"].to_list()
    assert set(US_MODEL_YEARS.values()) <= set(known)


def test_twice_the_work_twice_the_avoided() -> None:
    given = DAY_OF_200_KM | {"heater_fuel_used_l": 3.0}
    once, twice = results(given), results({slug: 2 * value for slug, value in given.items()})
    for slug in (NOX, PM):
        assert twice[slug]["value"] == pytest.approx(2 * once[slug]["value"])


def test_the_factors_behind_it_are_listed() -> None:
    rows = figure_frame(figure("distance_km", 200.0), figure("heater_fuel_used_l", 1.0))
    found = screened(vehicle_frame(vehicle()), day_frame((1, DAY)), rows, shipped())
    assert found.factor_ids["factor_id"].to_list() == [
        "distillate-burner-nox/diesel", "distillate-burner-pm/diesel", "us-hd-nox/us-hd-2010", "us-hd-pm/us-hd-2010",
    ]  # fmt: skip


def test_a_diesel_reference_avoids_nothing() -> None:
    rows = figure_frame(figure("distance_km", 200.0))
    assert screened(
        vehicle_frame(vehicle(powertrain="diesel")), day_frame((1, DAY)), rows, shipped()
    ).figures.is_empty()


def test_days_stand_alone() -> None:
    days = [DAY + dt.timedelta(days=n) for n in range(3)]
    rows = figure_frame(*(figure("distance_km", 100.0 + n, day=day) for n, day in enumerate(days)))
    found = screened(vehicle_frame(vehicle()), day_frame(*((1, day) for day in days)), rows, shipped()).figures
    nox = found.filter(pl.col("metric") == NOX)["value"].to_list()
    assert nox == pytest.approx([(100 + n) * 1.2 * 0.2 * G_PER_KWH for n in range(3)])
