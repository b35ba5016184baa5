"""Fuel displaced and CO2e avoided, against cases computed by hand."""

import datetime as dt
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from analytics.factors.tables import shipped
from analytics.metrics.emissions import (
    BIOGENIC,
    CONSERVATIVE,
    DISPLACED,
    METRICS,
    TAILPIPE_VS_GENERATION,
    WELL_TO_WHEEL,
    avoided,
    factors_used,
    headline,
    headline_slug,
    programme_totals,
)
from schemas.frames import Figures, OperatingDays, Vehicles


def figures(vehicles: pl.DataFrame, days: pl.DataFrame, given: pl.DataFrame) -> pl.DataFrame:
    """The figures by the factors that ship."""
    return avoided(vehicles, days, given, shipped()).figures


DAY = dt.date(2026, 3, 2)
KM_PER_MILE = 1.609344
L_PER_GAL = 3.785411784
DIESEL = 10.21 / L_PER_GAL  # kg CO2 per litre
ROAD = 0.0116875 / KM_PER_MILE  # kg CO2e of CH4 and N2O per km
OFF_ROAD = (1.01 * 28 + 0.94 * 265) / 1000 / L_PER_GAL  # kg CO2e of CH4 and N2O per litre
VESSEL = (6.41 * 28 + 0.17 * 265) / 1000 / L_PER_GAL


def vehicle(**change: Any) -> dict[str, Any]:
    return {
        "vehicle_id": 1, "pilot_id": 1, "name": "v", "category": "truck", "powertrain": "bev",
        "usable_battery_kwh": 375.0, "sample_period_s": 1.0, "sleeps_at_key_off": False, "charger_efficiency": 0.92,
        "line_loss": None, "region": "US-CA", "grid": "egrid:CAMX", "own_fuel": None, "baseline_fuel": "diesel",
        "baseline_rate": 40.0, "baseline_unit": "L/100km", "baseline_source": "operator records",
        "baseline_standard": None, "baseline_model_year": 2018, "work_rate": 1.2, "work_unit": "kWh/km",
        "work_source": "dynamometer", "own_standard": None, **change,
    }  # fmt: skip


def vehicle_frame(*rows: dict[str, Any]) -> pl.DataFrame:
    schema = {name: column.dtype for name, column in Vehicles.columns().items()}
    return Vehicles.validate(pl.DataFrame(list(rows), schema=schema))


def day_frame(*pairs: tuple[int, dt.date]) -> pl.DataFrame:
    midnight = dt.time(tzinfo=dt.UTC)
    rows = [
        (number, day, 1, dt.datetime.combine(day, midnight), dt.datetime.combine(day, midnight) + dt.timedelta(days=1))
        for number, day in pairs
    ]
    schema = {name: column.dtype for name, column in OperatingDays.columns().items()}
    return OperatingDays.validate(pl.DataFrame(rows, schema=schema, orient="row"))


def figure(slug: str, value: float | None, **change: Any) -> dict[str, Any]:
    return {
        "vehicle_id": 1, "day": DAY, "metric": slug, "value": value, "low": None, "high": None, "coverage_pct": 100.0,
        "weight": 200.0, "method": "measured", "note": None, **change,
    }  # fmt: skip


def figure_frame(*rows: dict[str, Any]) -> pl.DataFrame:
    schema = {name: column.dtype for name, column in Figures.columns().items()}
    return Figures.validate(pl.DataFrame(list(rows), schema=schema))


def results(day: dt.date = DAY, /, *, given: dict[str, float | None], **change: Any) -> dict[str, dict[str, Any]]:
    """One vehicle, one day: its four rows by slug."""
    rows = [figure(slug, value, day=day) for slug, value in given.items()]
    found = figures(vehicle_frame(vehicle(**change)), day_frame((1, day)), figure_frame(*rows))
    return {row["metric"]: row for row in found.iter_rows(named=True)}


# --- hand-computed cases


def test_ten_thousand_miles_against_californian_generation() -> None:  # T10, CO2 with CO2
    found = results(
        given={"distance_km": 10_000 * KM_PER_MILE, "grid_energy_kwh": 21_700.0},
        category="bus", baseline_rate=3.64, baseline_unit="mpg",
    )  # fmt: skip
    # 10,000 / 3.64 x 10.21 = 28,049.45 kg; 21,700 x 0.1943 / 0.95 = 4,438.22 kg
    assert found[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(23_611.23, abs=0.01)
    assert found[TAILPIPE_VS_GENERATION]["high"] is None  # the same table's CO2e does not make a range
    assert found[DISPLACED]["value"] == pytest.approx(10_000 / 3.64 * L_PER_GAL)


def test_ten_thousand_miles_as_co2e_on_both_sides() -> None:  # T10, CO2e with CO2e: no table of CO2 alone
    rows = [figure("distance_km", 10_000 * KM_PER_MILE), figure("grid_energy_kwh", 21_700.0)]
    table = shipped().filter(pl.col("id") != "egrid2023r2-co2/egrid:CAMX")
    bus = vehicle_frame(vehicle(category="bus", baseline_rate=3.64, baseline_unit="mpg"))
    found = avoided(bus, day_frame((1, DAY)), figure_frame(*rows), table).figures
    row = found.row(by_predicate=pl.col("metric") == TAILPIPE_VS_GENERATION, named=True)
    # 28,049.45 + 10,000 x 0.0116875 = 28,166.33 kg; 21,700 x 0.195037 / 0.95 = 4,455.06 kg
    assert row["value"] == pytest.approx(23_711.27, abs=0.01)
    assert "; CO2e; " in row["note"]


def test_hundred_gallons_over_six_hundred_miles_as_co2e() -> None:  # T09: 1,021 + 7.0125
    found = results(
        given={"distance_km": 600 * KM_PER_MILE, "grid_energy_kwh": 0.0},
        region="MX", grid="official:MEX", baseline_rate=6.0, baseline_unit="mpg",
    )  # fmt: skip
    assert found[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(1_028.0125, abs=1e-6)


def test_an_older_edition_known_as_co2e_only_is_paired_as_co2e() -> None:
    found = results(dt.date(2022, 6, 1), given={"distance_km": 200.0, "grid_energy_kwh": 300.0}, line_loss=0.06)
    expected = 80 * DIESEL + 200 * ROAD - 300 * 0.2265 / 0.94
    assert found[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(expected)
    assert "; CO2e; " in found[TAILPIPE_VS_GENERATION]["note"]
    assert "line loss 6.0 % as declared" in found[TAILPIPE_VS_GENERATION]["note"]


def test_californian_truck_conservatively() -> None:
    found = results(given={"distance_km": 200.0, "grid_energy_kwh": 300.0})
    expected = 80 * DIESEL + 200 * ROAD - 300 * 0.208 / 0.95
    assert found[CONSERVATIVE]["value"] == pytest.approx(expected)
    assert found[WELL_TO_WHEEL]["value"] is None


def test_dutch_yard_tractor_well_to_wheel() -> None:
    found = results(
        given={"distance_km": 35.0, "key_on_h": 12.0, "grid_energy_kwh": 120.0},
        category="equipment", region="NL", grid="ember:NLD", baseline_rate=6.6, baseline_unit="L/h",
    )  # fmt: skip
    # 12 h x 6.6 L/h = 79.2 L x 3.384 = 268.0128 kg; 120 x 0.2527 = 30.324 kg (0.253 by electricityMaps: 30.36)
    row = found[WELL_TO_WHEEL]
    assert row["value"] == pytest.approx(237.6888)
    assert (row["low"], row["high"]) == (pytest.approx(237.6528), pytest.approx(237.6888))
    assert found[DISPLACED]["value"] == pytest.approx(79.2)
    assert found[TAILPIPE_VS_GENERATION]["value"] is None
    assert found[CONSERVATIVE]["value"] == pytest.approx(79.2 * (DIESEL + OFF_ROAD) - 30.324)


def test_declared_loss_raises_grid_emissions() -> None:
    found = results(
        given={"key_on_h": 12.0, "grid_energy_kwh": 120.0},
        category="equipment", region="NL", grid="ember:NLD", baseline_rate=6.6, baseline_unit="L/h", line_loss=0.06,
    )  # fmt: skip
    assert found[WELL_TO_WHEEL]["value"] == pytest.approx(268.0128 - 30.324 / 0.94)


def test_shenzhen_truck_by_its_grid_region() -> None:
    found = results(
        given={"distance_km": 140.0, "grid_energy_kwh": 60.0}, region="CN", grid="official:CHN-S", baseline_rate=14.0
    )
    assert found[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(19.6 * DIESEL - 60 * 0.4042)
    assert found[CONSERVATIVE]["value"] is None
    assert "0 % used" in found[TAILPIPE_VS_GENERATION]["note"]


def test_kochi_ferry_by_the_central_electricity_authority() -> None:
    found = results(
        given={"distance_km": 89.0, "key_on_h": 14.0, "grid_energy_kwh": 400.0, "genset_fuel_used_l": 5.0},
        category="vessel", region="IN", grid="official:IND", baseline_rate=24.0, baseline_unit="L/h",
    )  # fmt: skip
    # 14 h x 24 L/h = 336 L, less 5 L of the generator
    assert found[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(331 * DIESEL - 400 * 0.7117)
    assert found[CONSERVATIVE]["value"] == pytest.approx(331 * (DIESEL + VESSEL) - 400 * 0.70896)
    assert found[CONSERVATIVE]["high"] == pytest.approx(331 * (DIESEL + VESSEL) - 400 * 0.593)
    assert found[DISPLACED]["value"] == pytest.approx(331.0)


def test_quebec_school_bus_pays_for_its_heater() -> None:
    found = results(
        given={"distance_km": 100.0, "grid_energy_kwh": 110.0, "heater_fuel_used_l": 6.0},
        category="bus", region="CA-QC", grid="zone:CA-QC", baseline_rate=34.0,
    )  # fmt: skip
    expected = 34 * DIESEL + 100 * ROAD - 6 * (DIESEL + OFF_ROAD) - 110 * 0.041
    assert found[CONSERVATIVE]["value"] == pytest.approx(expected)
    assert found[DISPLACED]["value"] == pytest.approx(28.0)
    assert "own fuel subtracted: heater fuel used" in found[CONSERVATIVE]["note"]


def test_japan_counts_losses_once() -> None:
    found = results(
        given={"distance_km": 200.0, "grid_energy_kwh": 300.0}, region="JP", grid="official:JPN", line_loss=0.05
    )
    assert found[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(80 * DIESEL - 300 * 0.421)
    assert "line losses are in the factor" in found[TAILPIPE_VS_GENERATION]["note"]


def test_british_diesel_by_defra() -> None:
    found = results(given={"distance_km": 200.0, "grid_energy_kwh": 300.0}, region="GB", grid="ember:GBR")
    assert found[WELL_TO_WHEEL]["value"] == pytest.approx(80 * 3.19747 - 300 * 0.21579)


def test_where_sources_of_a_fuel_differ_the_figure_has_a_low_and_a_high() -> None:
    found = results(given={"distance_km": 200.0, "grid_energy_kwh": 300.0}, region="GB", grid="ember:GBR")
    row = found[CONSERVATIVE]
    # 80 L by DEFRA (B7, 2.57082 kg/L) or by EPA with CH4 and N2O; 300 kWh by Ember or electricityMaps, no loss known.
    by_epa = 80 * DIESEL + 200 * ROAD
    low_grid, high_grid = 300 * 0.176, 300 * 0.21579
    assert row["value"] == pytest.approx(80 * 2.57082 - high_grid)
    assert row["low"] == pytest.approx(80 * 2.57082 - high_grid)
    assert row["high"] == pytest.approx(by_epa - low_grid)
    assert "epa-hub-co2/diesel" in row["note"].split("range by ")[1]


def test_the_range_of_own_fuel_is_subtracted_the_other_way_round() -> None:
    burned = results(given={"distance_km": 200.0, "grid_energy_kwh": 0.0, "heater_fuel_used_l": 10.0}, region="GB",
                     grid="ember:GBR")[CONSERVATIVE]  # fmt: skip
    by_defra, by_epa = 2.57082, DIESEL + OFF_ROAD
    assert burned["low"] == pytest.approx(80 * by_defra - 10 * by_epa)
    assert burned["high"] == pytest.approx(80 * DIESEL + 200 * ROAD - 10 * by_defra)


def test_gas_truck_baseline_in_kg() -> None:
    found = results(
        given={"distance_km": 100.0, "grid_energy_kwh": 130.0},
        baseline_fuel="cng", baseline_rate=35.0, baseline_unit="kg/100km",
    )  # fmt: skip
    assert found[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(35 * 2.6205 - 130 * 0.1943 / 0.95)
    assert (found[DISPLACED]["value"], found[DISPLACED]["note"]) == (None, "the baseline is declared in kg")


def test_a_plug_in_hybrid_counts_engine_and_plug() -> None:
    found = results(given={"distance_km": 100.0, "grid_energy_kwh": 50.0, "fuel_used_l": 12.0}, powertrain="phev")
    assert found[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(28 * DIESEL - 50 * 0.1943 / 0.95)


def test_a_hybrid_whose_engine_is_a_genset_counts_its_fuel() -> None:
    given = {"distance_km": 100.0, "grid_energy_kwh": 50.0, "genset_fuel_used_l": 12.0}
    found = results(given=given, powertrain="phev")
    assert found[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(28 * DIESEL - 50 * 0.1943 / 0.95)


def test_a_loss_is_shown_as_a_loss() -> None:
    found = results(
        given={"distance_km": 100.0, "grid_energy_kwh": 300.0}, region="CN", grid="official:CHN", baseline_rate=10.0
    )
    assert found[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(10 * DIESEL - 300 * 0.5306)
    assert found[TAILPIPE_VS_GENERATION]["value"] < 0


# --- near-zero

GAS = 0.05444 / 0.0458 / 0.45359237  # kg CO2 per kg of natural gas: per scf, over lb per scf
GAS_TRUCK = {"distance_km": 200.0, "cng_used_kg": 60.0}


def test_a_gas_truck_burns_less_carbon_than_the_diesel_it_displaces() -> None:
    found = results(given=GAS_TRUCK, powertrain="cng", grid=None)
    # 80 L x 2.6972 = 215.776 kg; 60 kg x 2.6205 = 157.230 kg; it draws no electricity, so it needs no grid
    row = found[TAILPIPE_VS_GENERATION]
    assert row["value"] == pytest.approx(80 * DIESEL - 60 * 2.6205)
    assert row["value"] == pytest.approx(80 * DIESEL - 60 * GAS, rel=1e-3)
    assert "; CO2; " in row["note"]
    assert "no electricity was drawn" in row["note"]
    assert "CH4 and N2O of the gas engine are not in it" in row["note"]
    assert found[DISPLACED]["value"] == pytest.approx(80.0)
    assert BIOGENIC not in found


def test_a_thirsty_gas_truck_avoids_less_than_nothing() -> None:
    row = results(given=GAS_TRUCK | {"cng_used_kg": 90.0}, powertrain="cng")[TAILPIPE_VS_GENERATION]
    assert row["value"] == pytest.approx(80 * DIESEL - 90 * 2.6205)
    assert row["value"] < 0


def test_renewable_gas_is_biogenic_and_shown_apart() -> None:
    found = results(given=GAS_TRUCK, powertrain="cng", own_fuel="rng")
    assert found[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(80 * DIESEL)
    assert found[BIOGENIC]["value"] == pytest.approx(60 * 2.6205)
    assert "rng-biogenic/rng" in found[BIOGENIC]["note"]
    assert found[WELL_TO_WHEEL]["value"] is None


def test_a_british_gas_truck_well_to_wheel() -> None:
    row = results(given=GAS_TRUCK, powertrain="cng", region="GB")[WELL_TO_WHEEL]
    # 80 L x 3.19747 (DEFRA 2025) - 60 kg x (2.57042 + 0.53078) (DEFRA 2024, the newest with upstream)
    assert row["value"] == pytest.approx(80 * 3.19747 - 60 * 3.1012)


def test_a_mild_hybrid_counts_what_its_engine_burned() -> None:
    found = results(given={"distance_km": 200.0, "fuel_used_l": 68.0}, powertrain="hev", grid=None)
    assert found[DISPLACED]["value"] == pytest.approx(12.0)
    assert found[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(12 * DIESEL)


def own_hydrogen(boundary: str, kg_per_kg: float) -> pl.DataFrame:
    """The tables with one pilot's own hydrogen. The value is the pilot's, not a default."""
    row = shipped().filter(pl.col("id") == "epa-hub-cng-mass/cng").with_columns(
        id=pl.lit(f"own:supply/hydrogen/{boundary}"), key=pl.lit("hydrogen"), area=pl.lit("pilot:1"),
        boundary=pl.lit(boundary), gases=pl.lit("co2e"), value=pl.lit(kg_per_kg),
    )  # fmt: skip
    return pl.concat([shipped(), row])


def fuel_cell(table: pl.DataFrame, **change: Any) -> dict[str, dict[str, Any]]:
    given = figure_frame(figure("distance_km", 200.0), figure("hydrogen_used_kg", 16.0))
    found = avoided(vehicle_frame(vehicle(powertrain="fcev", **change)), day_frame((1, DAY)), given, table).figures
    return {row["metric"]: row for row in found.iter_rows(named=True)}


def test_a_fuel_cell_truck_needs_to_know_where_its_hydrogen_comes_from() -> None:
    found = fuel_cell(shipped())
    assert found[DISPLACED]["value"] == pytest.approx(80.0)
    for slug in (TAILPIPE_VS_GENERATION, CONSERVATIVE):
        assert (found[slug]["value"], found[slug]["note"]) == (
            None, "no hydrogen factor is known at this boundary for what this vehicle burned itself",
        )  # fmt: skip


def test_hydrogen_counts_like_electricity_where_it_is_made() -> None:
    life_cycle = own_hydrogen("well_to_wheel", 14.1)  # F35; the arithmetic is under test, not the value
    found = fuel_cell(life_cycle)
    assert found[CONSERVATIVE]["value"] == pytest.approx(80 * DIESEL + 200 * ROAD - 16 * 14.1)
    assert found[TAILPIPE_VS_GENERATION]["value"] is None
    dutch = fuel_cell(life_cycle, region="NL")
    assert dutch[WELL_TO_WHEEL]["value"] == pytest.approx(80 * 3.384 - 16 * 14.1)
    direct = fuel_cell(own_hydrogen("production_direct", 20.0))[TAILPIPE_VS_GENERATION]
    # 80 L x 2.6972 + 200 km x CH4 and N2O - 16 kg x 20: made from the grid, it is worse than diesel
    assert direct["value"] == pytest.approx(80 * DIESEL + 200 * ROAD - 320)
    assert direct["value"] < 0
    assert "own:supply/hydrogen/production_direct" in fuel_ids(own_hydrogen("production_direct", 20.0))


def fuel_ids(table: pl.DataFrame) -> list[str]:
    given = figure_frame(figure("distance_km", 200.0), figure("hydrogen_used_kg", 16.0))
    found = avoided(vehicle_frame(vehicle(powertrain="fcev")), day_frame((1, DAY)), given, table)
    return found.factor_ids["factor_id"].to_list()


def test_another_pilots_hydrogen_is_not_ours() -> None:
    found = fuel_cell(own_hydrogen("well_to_wheel", 14.1), pilot_id=2)
    assert found[CONSERVATIVE]["value"] is None


def test_propane_goes_by_its_name_in_the_tables() -> None:
    row = results(
        given={"key_on_h": 8.0, "grid_energy_kwh": 30.0}, category="equipment", baseline_fuel="propane",
        baseline_rate=3.0, baseline_unit="L/h",
    )[TAILPIPE_VS_GENERATION]  # fmt: skip
    assert row["value"] == pytest.approx(24 * 5.68 / L_PER_GAL - 30 * 0.1943 / 0.95)


# --- what cannot be known is null and says why


def test_morocco_has_no_factor_and_says_so() -> None:
    found = results(
        given={"distance_km": 40.0, "grid_energy_kwh": 5.0},
        category="car", region="MA", grid=None, baseline_rate=6.0,
    )  # fmt: skip
    for slug in (TAILPIPE_VS_GENERATION, WELL_TO_WHEEL, CONSERVATIVE):
        assert found[slug]["value"] is None
        assert found[slug]["note"].startswith("no grid factor is known for region MA")
        assert (found[slug]["coverage_pct"], found[slug]["method"]) == (None, None)
    assert found[DISPLACED]["value"] == pytest.approx(2.4)


@pytest.mark.parametrize(
    ("change", "slug", "words"),
    [
        ({"baseline_rate": None, "baseline_unit": None, "baseline_fuel": None}, DISPLACED, "no baseline is declared"),
        (
            {"baseline_rate": None, "baseline_unit": None, "baseline_fuel": None},
            CONSERVATIVE,
            "no baseline is declared",
        ),
        ({"powertrain": "fcev"}, TAILPIPE_VS_GENERATION, "hydrogen_used_kg of the day is not known"),
        ({"powertrain": "cng"}, CONSERVATIVE, "cng_used_kg of the day is not known"),
        (
            {"powertrain": "phev"},
            TAILPIPE_VS_GENERATION,
            "neither fuel_used_l nor genset_fuel_used_l of the day is known",
        ),
        ({"baseline_unit": "L/h"}, TAILPIPE_VS_GENERATION, "key_on_h of the day is not known"),
        ({"baseline_unit": "kg/h"}, WELL_TO_WHEEL, "no well-to-wheel factor of diesel per kg is known for US-CA"),
        (
            {"category": "car", "grid": "ember:USA"},
            CONSERVATIVE,
            "electricity is known as CO2e only, and CH4 and N2O of diesel in a car are not known",
        ),
    ],
)
def test_missing_things_are_named(change: dict[str, Any], slug: str, words: str) -> None:
    row = results(given={"distance_km": 100.0, "grid_energy_kwh": 100.0}, **change)[slug]
    assert (row["value"], row["note"]) == (None, words)


@pytest.mark.parametrize("given", [{"distance_km": 100.0}, {"distance_km": 100.0, "grid_energy_kwh": None}])
def test_without_grid_energy_the_fuel_is_still_known(given: dict[str, float | None]) -> None:
    found = results(given=given)
    assert found[DISPLACED]["value"] == pytest.approx(40.0)
    row = found[TAILPIPE_VS_GENERATION]
    assert (row["value"], row["note"], row["coverage_pct"]) == (None, "grid_energy_kwh of the day is not known", 0.0)


def test_ch4_and_n2o_per_km_need_the_distance() -> None:
    found = results(
        given={"key_on_h": 10.0, "grid_energy_kwh": 50.0}, region="CL", grid="ember:CHL", baseline_unit="L/h"
    )
    assert found[CONSERVATIVE]["value"] is None
    assert found[CONSERVATIVE]["note"] == "distance_km of the day is not known, so CH4 and N2O per km are not"


def test_own_fuel_without_a_factor_at_the_boundary_is_not_ignored() -> None:
    given = {"distance_km": 100.0, "grid_energy_kwh": 50.0, "heater_fuel_used_l": 2.0}
    change = {"region": "US", "grid": "egrid:US", "baseline_fuel": "gasoline"}
    assert results(given=given | {"heater_fuel_used_l": 0.0}, **change)[WELL_TO_WHEEL]["value"] is not None
    row = results(given=given, **change)[WELL_TO_WHEEL]
    assert row["value"] is None
    assert "burned itself" in row["note"]


def test_a_day_at_rest_avoids_nothing() -> None:
    found = results(given={"distance_km": 0.0, "grid_energy_kwh": 0.0})
    assert (found[DISPLACED]["value"], found[TAILPIPE_VS_GENERATION]["value"]) == (0.0, 0.0)


def test_a_diesel_reference_has_no_rows() -> None:
    found = figures(
        vehicle_frame(vehicle(powertrain="diesel")), day_frame((1, DAY)), figure_frame(figure("distance_km", 100.0))
    )
    assert found.is_empty()


def test_nothing_to_compute() -> None:
    assert figures(vehicle_frame(), day_frame(), figure_frame()).is_empty()
    assert figures(vehicle_frame(vehicle()), day_frame(), figure_frame()).is_empty()


def test_four_rows_for_every_day_even_without_figures() -> None:
    found = figures(vehicle_frame(vehicle()), day_frame((1, DAY), (1, DAY + dt.timedelta(days=1))), figure_frame())
    assert found.group_by("day").len()["len"].to_list() == [4, 4]
    assert found["value"].null_count() == 8


# --- ranges of what was measured


def test_what_scaling_and_an_unknown_charger_leave_open_reaches_what_was_avoided() -> None:
    """144 km, 117.6 to 170.4, at 40 L/100 km; 120 kWh, 110.2 to 135: most was avoided far and with little energy."""
    given = [
        figure("distance_km", 144.0, low=117.6, high=170.4, method="estimated"),
        figure("grid_energy_kwh", 120.0, low=110.2, high=135.0, method="estimated"),
    ]
    truck = vehicle(baseline_rate=40.0, baseline_unit="L/100km")
    rows = figures(vehicle_frame(truck), day_frame((1, DAY)), figure_frame(*given))
    found = {row["metric"]: row for row in rows.iter_rows(named=True)}
    assert found[DISPLACED]["value"] == pytest.approx(57.6)
    assert (found[DISPLACED]["low"], found[DISPLACED]["high"]) == (pytest.approx(47.04), pytest.approx(68.16))
    middle, low, high = (found[TAILPIPE_VS_GENERATION][part] for part in ("value", "low", "high"))
    kg_per_l = (middle - low - 15 * (kg_per_kwh := (middle - 57.6 * 10.21 / 3.785411784) / -120)) / (57.6 - 47.04)
    assert kg_per_kwh > 0.15
    assert kg_per_l == pytest.approx(10.21 / 3.785411784)
    assert high == pytest.approx(68.16 * kg_per_l - 110.2 * kg_per_kwh)


def test_fuel_of_its_own_is_subtracted_at_the_other_end() -> None:
    given = [
        figure("distance_km", 100.0),
        figure("grid_energy_kwh", 0.0),
        figure("fuel_used_l", 10.0, low=8.0, high=12.0),
    ]
    truck = vehicle(powertrain="phev", baseline_rate=40.0, baseline_unit="L/100km")
    rows = figures(vehicle_frame(truck), day_frame((1, DAY)), figure_frame(*given))
    displaced = rows.row(by_predicate=pl.col("metric") == DISPLACED, named=True)
    assert (displaced["low"], displaced["value"], displaced["high"]) == (28.0, 30.0, 32.0)


# --- coverage and method


def test_coverage_is_the_weakest_input_and_weight_the_activity() -> None:
    rows = [
        figure("distance_km", 200.0, coverage_pct=97.0, weight=206.0),
        figure("grid_energy_kwh", 300.0, coverage_pct=91.0, weight=210.0, method="estimated"),
    ]
    found = figures(vehicle_frame(vehicle()), day_frame((1, DAY)), figure_frame(*rows))
    by_slug = {row["metric"]: row for row in found.iter_rows(named=True)}
    picked = {slug: tuple(by_slug[slug][part] for part in ("coverage_pct", "weight", "method")) for slug in by_slug}
    assert picked[DISPLACED] == (97.0, 206.0, "measured")
    assert picked[TAILPIPE_VS_GENERATION] == (91.0, 206.0, "mixed")
    assert picked[WELL_TO_WHEEL] == (None, 206.0, None)


@pytest.mark.parametrize(
    ("methods", "expected"), [("mm", "measured"), ("ee", "estimated"), ("me", "mixed"), ("xx", "mixed")]
)
def test_measured_only_if_all_inputs_are(methods: str, expected: str) -> None:
    words = {"m": "measured", "e": "estimated", "x": "mixed"}
    rows = [
        figure("distance_km", 200.0, method=words[methods[0]]),
        figure("grid_energy_kwh", 300.0, method=words[methods[1]]),
        figure("key_on_h", 5.0, method="estimated"),  # not an input of a figure per km
    ]
    found = figures(vehicle_frame(vehicle()), day_frame((1, DAY)), figure_frame(*rows))
    assert found.row(by_predicate=pl.col("metric") == TAILPIPE_VS_GENERATION, named=True)["method"] == expected


def test_the_note_names_boundary_gases_factors_loss_and_baseline() -> None:
    note = results(given={"distance_km": 200.0, "grid_energy_kwh": 300.0})[TAILPIPE_VS_GENERATION]["note"]
    for words in (
        "tailpipe against direct generation", "; CO2; ", "epa-hub-co2/diesel (2025)",
        "egrid2023r2-co2/egrid:CAMX (eGRID2023 rev 2)", "line loss 5.0 % (eia-line-loss/line-loss)",
        "baseline 40.0 L/100km of diesel (operator records)",
    ):  # fmt: skip
        assert words in note


# --- properties


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((40.0, "L/100km"), (235.214583 / 40.0, "mpg")),
        ((6.6, "L/h"), (6.6 / L_PER_GAL, "gal/h")),
    ],
)
def test_the_unit_of_the_baseline_does_not_matter(one: tuple[float, str], other: tuple[float, str]) -> None:
    given = {"distance_km": 200.0, "key_on_h": 9.0, "grid_energy_kwh": 300.0}
    first = results(given=given, baseline_rate=one[0], baseline_unit=one[1])
    second = results(given=given, baseline_rate=other[0], baseline_unit=other[1])
    for slug in (DISPLACED, TAILPIPE_VS_GENERATION, CONSERVATIVE):
        assert first[slug]["value"] == pytest.approx(second[slug]["value"], rel=1e-7)


def test_twice_the_work_avoids_twice_as_much() -> None:
    given = {"distance_km": 170.0, "key_on_h": 9.0, "grid_energy_kwh": 250.0, "heater_fuel_used_l": 3.0}
    once = results(given=given)
    twice = results(given={slug: 2 * value for slug, value in given.items()})
    for slug in (DISPLACED, TAILPIPE_VS_GENERATION, CONSERVATIVE):
        assert twice[slug]["value"] == pytest.approx(2 * once[slug]["value"])


def test_rows_may_come_in_any_order_and_days_do_not_touch_one_another() -> None:
    days = [dt.date(2021, 5, 1), dt.date(2022, 5, 1), dt.date(2023, 5, 1), DAY]
    grids = [("US-CA", "egrid:CAMX"), ("NL", "ember:NLD"), ("IN", "official:IND"), ("MA", None)]
    vehicles = vehicle_frame(
        *(vehicle(vehicle_id=i, region=region, grid=grid) for i, (region, grid) in enumerate(grids))
    )
    operating = day_frame(*((i, day) for i in range(len(grids)) for day in days))
    given = figure_frame(
        *(
            figure(slug, value + i, vehicle_id=i, day=day)
            for i in range(len(grids))
            for day in days
            for slug, value in (("distance_km", 100.0), ("grid_energy_kwh", 120.0))
        )
    )
    whole = figures(vehicles, operating, given)
    shuffled = figures(*(frame.sample(fraction=1, shuffle=True, seed=7) for frame in (vehicles, operating, given)))
    assert_frame_equal(whole, shuffled)
    one_by_one = [figures(vehicles, operating[i], given) for i in range(len(operating))]
    assert_frame_equal(whole, pl.concat(one_by_one).sort("vehicle_id", "day", "metric"))
    edition = dict(
        whole.filter(pl.col("vehicle_id") == 0, pl.col("metric") == TAILPIPE_VS_GENERATION)
        .select("day", "note")
        .iter_rows()
    )
    assert "begins 2022-01-01" in edition[days[0]]
    assert "egrid2022-co2e" in edition[days[1]]
    assert "egrid2023r2-co2/" in edition[days[2]]
    assert "egrid2023r2-co2/" in edition[days[3]]


# --- pilots, programme, registry


def test_the_headline_is_well_to_wheel_then_tailpipe_then_conservative() -> None:
    totals = pl.DataFrame(
        [
            ("a", WELL_TO_WHEEL, 5.0), ("a", TAILPIPE_VS_GENERATION, 7.0), ("a", CONSERVATIVE, 3.0),
            ("b", WELL_TO_WHEEL, None), ("b", TAILPIPE_VS_GENERATION, -7.0), ("b", CONSERVATIVE, 3.0),
            ("c", WELL_TO_WHEEL, None), ("c", TAILPIPE_VS_GENERATION, None), ("c", CONSERVATIVE, 0.0),
            ("d", WELL_TO_WHEEL, None), ("d", DISPLACED, 10.0),
            ("e", CONSERVATIVE, 4.0),
        ],
        schema=["pilot_id", "metric", "value"],
        orient="row",
    )  # fmt: skip
    leading = headline(totals)
    assert leading.rows() == [
        ("a", WELL_TO_WHEEL, 5.0), ("b", TAILPIPE_VS_GENERATION, -7.0), ("c", CONSERVATIVE, 0.0), ("d", None, None),
        ("e", CONSERVATIVE, 4.0),
    ]  # fmt: skip
    for pilot, slug, _ in leading.rows():
        of_pilot = totals.filter(pl.col("pilot_id") == pilot)
        assert headline_slug(dict(of_pilot.select("metric", "value").iter_rows())) == slug
    assert {row[0]: row[1:] for row in programme_totals(leading).rows()} == {
        WELL_TO_WHEEL: (5.0, ["a"]), TAILPIPE_VS_GENERATION: (-7.0, ["b"]), CONSERVATIVE: (4.0, ["c", "e"]),
    }  # fmt: skip


def test_factors_used_are_those_behind_known_figures() -> None:
    rows = figure_frame(figure("distance_km", 200.0), figure("grid_energy_kwh", 300.0))
    found = avoided(vehicle_frame(vehicle()), day_frame((1, DAY)), rows, shipped())
    used = factors_used(found.factor_ids, shipped())
    assert used["id"].to_list() == [
        "egrid2023r2-co2/egrid:CAMX",
        "eia-line-loss/line-loss",
        "electricitymaps-2025/zone:US-CAL-CISO",
        "epa-hub-co2/diesel",
        "epa-hub-road-mile/diesel/on-road",
    ]
    assert used.columns == ["id", "name", "value", "unit", "year", "edition", "source", "confidence"]
    nothing = avoided(vehicle_frame(vehicle()), day_frame((1, DAY)), figure_frame(), shipped())
    assert factors_used(nothing.factor_ids, shipped()).is_empty()


def test_the_registry_lists_what_is_computed() -> None:
    found = results(given={"distance_km": 1.0, "grid_energy_kwh": 1.0})
    found |= results(given={"cng_used_kg": 1.0}, powertrain="cng", own_fuel="rng")
    assert {metric.slug for metric in METRICS} == set(found)
    assert {metric.slug: metric.unit for metric in METRICS} == {
        slug: slug.rsplit("_", 1)[1].replace("l", "L") for slug in found
    }
