"""The factor tables, and which factor holds where and when."""

import datetime as dt
from pathlib import Path

import dataframely as dy
import polars as pl
import pytest

from analytics.factors.contract import RECALLED, Factors
from analytics.factors.document import markdown
from analytics.factors.regions import PROGRAMME, answers
from analytics.factors.resolve import EU_MEMBERS, electricity, fuels, grid_reasons, line_losses
from analytics.factors.tables import assemble, in_si, shipped, usable

TABLE = shipped()
ROOT = Path(__file__).parents[2]
FAR = dt.date(2031, 1, 1)


def value(factor_id: str) -> float:
    return in_si(TABLE).row(by_predicate=pl.col("id") == factor_id, named=True)["si_value"]


def on(grid: str | None, day: dt.date, boundary: str, table: pl.DataFrame = TABLE) -> list[str]:
    cases = pl.DataFrame({"grid": [grid], "day": [day]}, schema={"grid": pl.String, "day": pl.Date})
    return electricity(cases, table).filter(pl.col("boundary") == boundary)["id"].to_list()


def reason(grid: str | None, region: str, boundary: str) -> str:
    cases = pl.DataFrame({"grid": [grid], "region": [region]}, schema={"grid": pl.String, "region": pl.String})
    return grid_reasons(cases, TABLE).row(by_predicate=pl.col("boundary") == boundary, named=True)["grid_reason"]


# --- the tables


def test_every_row_says_where_it_comes_from() -> None:
    stripped = TABLE.select(pl.col("source", "edition", "unit", "confidence", "name").str.strip_chars().str.len_chars())
    assert stripped.min().row(0) > (0, 0, 0, 0, 0)
    dated = TABLE.filter(~pl.col("kind").is_in(["engine", "heater"]))  # standards and burners change in decades
    assert dated["year"].is_between(2012, 2025).all()


def test_the_tables_hold_what_the_methods_verify() -> None:
    grid = TABLE.filter(pl.col("kind") == "grid")
    count = dict(
        grid.group_by(pl.col("key").str.split(":").list.first()).agg(keys=pl.col("key").n_unique()).iter_rows()
    )
    assert count == {"egrid": 28, "ember": 36 + 10, "zone": 35 + 10 + 58, "official": 14}


@pytest.mark.parametrize(
    ("factor_id", "si"),
    [
        ("egrid2023r2-co2e/egrid:CAMX", 0.195037),  # T07: 429.983 lb/MWh
        ("egrid2023r2-co2/egrid:CAMX", 0.1943),
        ("egrid2023r2-us-co2/egrid:US", 0.347905),  # 767 lb/MWh
        ("mcti-2023/official:BRA", 0.0385),
        ("lcfs-2020/official:US-CA", 0.298512),  # 82.92 g/MJ
        ("epa-hub-co2/diesel", 2.697197),  # 10.21 kg/US gal
        ("red2-diesel/diesel", 3.384),  # 94 g/MJ x 36 MJ/L
        ("greet2019-gasoline/gasoline", 2.839886),  # 23.7 lb/US gal
        ("defra2025-gas/cng", 2.57546),  # 2575.46 kg/t
        ("epa-hub-cng-mass/cng", 2.6205),  # 0.05444 kg/scf over 0.0458 lb/scf
        ("epa-hub-road-mile/diesel/on-road", 0.00726228),  # 0.0116875 kg/mi
    ],
)
def test_values_in_house_units(factor_id: str, si: float) -> None:
    assert value(factor_id) == pytest.approx(si, rel=1e-5)


def test_each_kind_has_one_house_unit() -> None:
    units = in_si(TABLE).group_by("kind").agg(pl.col("si_unit").unique().sort())
    assert dict(units.iter_rows()) == {
        "grid": ["kg/kWh"], "fuel": ["kg/L", "kg/kg"], "trace": ["kg/L", "kg/km"], "engine": ["kg/kWh"],
        "heater": ["kg/L"], "line_loss": ["share"],
    }  # fmt: skip


def test_grid_factors_are_of_the_order_of_grids() -> None:
    grid = in_si(TABLE).filter(pl.col("kind") == "grid")
    assert grid["si_value"].is_between(0.015, 0.95).all()


def test_fifty_gallons_of_diesel() -> None:  # T08
    row = TABLE.row(by_predicate=pl.col("id") == "epa-hub-co2/diesel", named=True)
    assert (50 * row["value"], row["unit"]) == (pytest.approx(510.5), "kg/US gal")


def test_b20_splits_into_fossil_and_biogenic() -> None:  # T24
    b20 = dict(TABLE.filter(pl.col("key") == "b20").select("boundary", "value").iter_rows())
    assert b20 == {"tailpipe": pytest.approx(0.8 * 10.21), "tailpipe_biogenic": pytest.approx(0.2 * 9.45)}


@pytest.mark.parametrize("engine", ["on-road", "off-road", "vessel"])
def test_trace_gases_as_co2e_are_their_gases_by_ar5(engine: str) -> None:
    gases = dict(TABLE.filter(pl.col("key") == f"diesel/{engine}").select("gases", "value").iter_rows())
    scale = 1000 if engine == "on-road" else 1  # the sum is kept in kg per mile there
    assert gases["ch4_n2o_co2e"] * scale == pytest.approx(28 * gases["ch4"] + 265 * gases["n2o"], rel=1e-6)


@pytest.mark.parametrize(
    ("key", "banned"),
    [
        ("gasoline", 10.21), ("diesel", 73.96),
        ("egrid:AZNM", 337.3), ("egrid:CAMX", 198.7), ("egrid:FRCC", 364.9), ("egrid:NYCW", 442.8),
        ("egrid:SPSO", 405.9), ("egrid:US", 351.6), ("egrid:FRCC", 821), ("egrid:SRMW", 1611.8), ("egrid:US", 604.3),
        ("zone:CA-BC", 7), ("zone:CA-AB", 590), ("zone:CA-ON", 25), ("zone:CA-NS", 670),
        ("ember:IND", 608), ("ember:CHN", 485), ("zone:US-CAL-IID", 168),
    ],
)  # fmt: skip
def test_no_figure_that_must_not_be_used(key: str, banned: float) -> None:
    values = TABLE.filter(pl.col("key") == key)["value"]
    assert len(values) > 0
    assert banned not in values.to_list()


def test_uk_factors_stay_in_the_uk() -> None:
    assert TABLE.filter(pl.col("id").str.starts_with("defra") & (pl.col("kind") == "fuel"))[
        "area"
    ].unique().to_list() == ["GB"]


def test_brazil_is_per_mwh_not_per_tonne() -> None:
    assert TABLE.row(by_predicate=pl.col("id") == "mcti-2023/official:BRA", named=True)["unit"] == "t/MWh"


# --- the contract


def broken(**change: object) -> pl.DataFrame:
    return TABLE.head(1).with_columns(**{name: pl.lit(new) for name, new in change.items()})


@pytest.mark.parametrize(
    "change",
    [
        {"value": -1.0}, {"value": float("nan")}, {"unit": "kg/L"}, {"unit": "g/kwh"}, {"boundary": "tailpipe"},
        {"confidence": "SURE"}, {"gases": "co3"}, {"source": ""}, {"year": 25},
    ],
)  # fmt: skip
def test_the_contract_refuses(change: dict[str, object]) -> None:
    Factors.validate(TABLE.head(1), cast=True)
    with pytest.raises(dy.exc.ValidationError):
        Factors.validate(broken(**change), cast=True)


def test_two_usable_values_for_one_edition_are_refused() -> None:
    one = TABLE.head(1)
    other = one.with_columns(id=pl.lit("another"), value=pl.lit(1.0))
    with pytest.raises(dy.exc.ValidationError):
        Factors.validate(pl.concat([one, other]))
    Factors.validate(pl.concat([one, other.with_columns(confidence=pl.lit(RECALLED))]))


def test_a_value_of_an_unknown_series_is_refused() -> None:
    values = pl.DataFrame(
        {"series": ["none"], "key": ["egrid:X"], "area": ["X"], "name": ["X"], "value": [1.0], "note": [None]}
    )
    series = pl.read_csv(ROOT / "analytics/factors/series.csv", try_parse_dates=True)
    with pytest.raises(dy.exc.ValidationError):
        assemble(series, values.with_columns(pl.col("note").cast(pl.String)))


# --- recalled values


def test_recalled_values_are_listed_and_never_answer() -> None:
    recalled = set(TABLE.filter(pl.col("confidence") == RECALLED)["id"])
    assert "defra-2025-generation/official:GBR" in recalled
    assert usable(TABLE).filter(pl.col("id").is_in(list(recalled))).is_empty()
    cases = TABLE.filter(pl.col("kind") == "grid").select(grid="key", day=pl.lit(FAR)).unique()
    assert recalled.isdisjoint(electricity(cases, TABLE)["id"])
    regions = pl.DataFrame({"region": ["NL", "US-CA", "CA-QC", "JP", "GB", "CN"], "day": [FAR] * 6}).with_columns(
        pilot_id=1
    )
    burned = regions.join(TABLE.filter(pl.col("kind") == "fuel").select(fuel="key").unique(), how="cross")
    assert recalled.isdisjoint(fuels(burned, TABLE)["id"])


def test_a_newer_recalled_edition_does_not_displace_an_older_verified_one() -> None:
    newer = TABLE.filter(pl.col("id") == "egrid2023r2-co2/egrid:CAMX").with_columns(
        id=pl.lit("rumour"), starts_on=dt.date(2025, 1, 1), year=pl.lit(2025, pl.Int32)
    )
    day = dt.date(2026, 1, 1)
    rumoured = pl.concat([TABLE, newer.with_columns(confidence=pl.lit(RECALLED))])
    assert on("egrid:CAMX", day, "generation_direct", rumoured)[0] == "egrid2023r2-co2/egrid:CAMX"
    assert on("egrid:CAMX", day, "generation_direct", pl.concat([TABLE, newer]))[0] == "rumour"


# --- editions


@pytest.mark.parametrize(
    ("grid", "boundary", "day", "first"),
    [
        ("egrid:CAMX", "generation_direct", dt.date(2022, 1, 1), "egrid2022-co2e/egrid:CAMX"),
        ("egrid:CAMX", "generation_direct", dt.date(2022, 12, 31), "egrid2022-co2e/egrid:CAMX"),
        ("egrid:CAMX", "generation_direct", dt.date(2023, 1, 1), "egrid2023r2-co2/egrid:CAMX"),
        ("egrid:CAMX", "generation_direct", dt.date(2025, 6, 1), "egrid2023r2-co2/egrid:CAMX"),
        ("ember:CHL", "life_cycle", dt.date(2023, 6, 1), "owid-2023/ember:CHL"),
        ("ember:CHL", "life_cycle", dt.date(2026, 6, 1), "ember-2024/ember:CHL"),
        ("ember:PRY", "life_cycle", dt.date(2026, 6, 1), "ember-2023/ember:PRY"),
        ("zone:CA-QC", "life_cycle", dt.date(2024, 6, 1), "electricitymaps-2024/zone:CA-QC"),
        ("zone:US-CAL-IID", "life_cycle", dt.date(2026, 6, 1), "electricitymaps-2024/zone:US-CAL-IID"),
        ("official:IND", "generation_direct", dt.date(2024, 3, 31), "cea-fy2023/official:IND"),
        ("official:IND", "generation_direct", dt.date(2024, 4, 1), "cea-fy2024/official:IND"),
        ("official:CHN", "generation_direct", dt.date(2022, 6, 1), "mee-2022/official:CHN"),
        ("official:MEX", "generation_direct", dt.date(2026, 6, 1), "semarnat-2021/official:MEX"),
    ],
)
def test_the_edition_is_of_the_day_or_the_newest_before(grid: str, boundary: str, day: dt.date, first: str) -> None:
    assert on(grid, day, boundary)[0] == first


def test_before_the_first_edition_there_is_none_and_the_reason_says_so() -> None:
    assert on("egrid:CAMX", dt.date(2021, 12, 31), "generation_direct") == []
    assert reason("egrid:CAMX", "US-CA", "generation_direct") == (
        "the first edition of a direct generation factor for egrid:CAMX begins 2022-01-01"
    )


# --- areas


@pytest.mark.parametrize(
    ("grid", "boundary", "first"),
    [
        ("ember:IND", "generation_direct", "cea-fy2024/official:IND"),  # the authority of the same country
        ("official:IND", "life_cycle", "ember-2024/ember:IND"),
        ("official:CHN", "life_cycle", "mee-2023-footprint/official:CHN"),
        ("ember:CHN", "life_cycle", "ember-2024/ember:CHN"),  # what is declared speaks first at its own boundary
        ("egrid:CAMX", "life_cycle", "electricitymaps-2025/zone:US-CAL-CISO"),
        ("egrid:US", "life_cycle", "ember-2024/ember:USA"),
    ],
)
def test_another_source_of_the_same_area_stands_in(grid: str, boundary: str, first: str) -> None:
    assert on(grid, dt.date(2026, 1, 1), boundary)[0] == first


@pytest.mark.parametrize(
    ("grid", "boundary"),
    [
        ("official:CHN-S", "life_cycle"), ("zone:IN-SO", "generation_direct"), ("zone:JP-TK", "generation_direct"),
        ("egrid:NYCW", "life_cycle"), ("zone:US-NY-NYIS", "generation_direct"), ("zone:CA-QC", "generation_direct"),
        ("ember:CHL", "generation_direct"), ("official:US-CA", "generation_direct"),
    ],
)  # fmt: skip
def test_no_other_area_stands_in(grid: str, boundary: str) -> None:
    assert on(grid, FAR, boundary) == []


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (None, "no grid factor is known for region MA: no grid is declared"),
        ("ember:MAR", "no factor is known for grid ember:MAR"),
        ("own:depot", "no factor is known for grid own:depot"),
        ("ember:CHL", "no direct generation factor is known for the area of ember:CHL"),
        (
            "ember:GBR",
            "the direct generation factor known for ember:GBR was never seen in its source, so it is not used",
        ),
    ],
)
def test_reasons(grid: str | None, words: str) -> None:
    assert reason(grid, "MA", "generation_direct") == words


@pytest.mark.parametrize(
    ("region", "day", "tailpipe", "well_to_wheel"),
    [
        ("NL", dt.date(2026, 1, 1), "epa-hub-co2/diesel", "red2-diesel/diesel"),
        ("EU", dt.date(2026, 1, 1), "epa-hub-co2/diesel", "red2-diesel/diesel"),
        ("GB", dt.date(2026, 1, 1), "defra2025-tailpipe/diesel", "defra2025-well-to-wheel/diesel"),
        ("UK", dt.date(2026, 1, 1), "defra2025-tailpipe/diesel", "defra2025-well-to-wheel/diesel"),
        ("GB", dt.date(2024, 1, 1), "epa-hub-co2/diesel", None),
        ("NO", dt.date(2026, 1, 1), "epa-hub-co2/diesel", None),
        ("CA-QC", dt.date(2022, 1, 1), "epa-hub-co2/diesel", None),
        ("US-CA", dt.date(2022, 1, 1), "epa-hub-co2/diesel", None),
    ],
)
def test_diesel_by_region(region: str, day: dt.date, tailpipe: str, well_to_wheel: str | None) -> None:
    found = fuels(pl.DataFrame({"pilot_id": [1], "region": [region], "fuel": ["diesel"], "day": [day]}), TABLE)
    first = {row["boundary"]: row["id"] for row in found.reverse().iter_rows(named=True)}
    assert (first["tailpipe"], first.get("well_to_wheel")) == (tailpipe, well_to_wheel)


def test_line_loss_is_known_for_the_united_states_alone() -> None:
    regions = ["US-CA", "US", "NL", "CA-QC", "IN"]
    cases = pl.DataFrame({"pilot_id": [1] * 5, "region": regions, "day": [dt.date(2026, 1, 1)] * 5})
    assert dict(line_losses(cases, TABLE).select("region", "known_loss").iter_rows()) == {"US-CA": 0.05, "US": 0.05}


# --- regions of the programme


def test_every_region_of_the_programme_has_a_factor_or_a_reason() -> None:
    found = answers(dt.date(2026, 1, 1), TABLE)
    assert found.height == 2 * sum(len(grids) for grids in PROGRAMME.values())
    answered, silent = pl.col("factor_id").is_not_null(), pl.col("factor_id").is_null()
    assert found.filter(answered & (pl.col("value").is_null() | pl.col("reason").is_not_null())).is_empty()
    assert found.filter(silent & (pl.col("value").is_not_null() | pl.col("reason").is_null())).is_empty()
    # Each grid answers at least at one boundary; nothing that was only recalled does.
    by_grid = found.group_by("grid").agg(known=answered.sum())
    assert by_grid["known"].min() == 1
    recalled = TABLE.filter(pl.col("confidence") == RECALLED)["id"].to_list()
    assert found.filter(pl.col("factor_id").is_in(recalled)).is_empty()


@pytest.mark.parametrize(
    ("grid", "direct", "life_cycle"),
    [
        ("egrid:NYCW", "egrid2023r2-co2/egrid:NYCW", "no life-cycle factor is known for the area of egrid:NYCW"),
        ("official:CHN-S", "mee-2023/official:CHN-S", "no life-cycle factor is known for the area of official:CHN-S"),
        ("official:IND", "cea-fy2024/official:IND", "ember-2024/ember:IND"),
        *(
            (
                f"zone:{z}",
                f"no direct generation factor is known for the area of zone:{z}",
                f"electricitymaps-2025/zone:{z}",
            )
            for z in ("IN-SO", "JP-TK", "CA-QC", "BR-S")
        ),
        ("official:JPN", "elcs-fy2023/official:JPN", "ember-2024/ember:JPN"),
        ("official:MEX", "semarnat-2021/official:MEX", "ember-2024/ember:MEX"),
        ("ember:BGR", "no direct generation factor is known for the area of ember:BGR", "ember-2023-members/ember:BGR"),
        ("ember:NOR", "no direct generation factor is known for the area of ember:NOR", "ember-2024/ember:NOR"),
        (
            "ember:GBR",
            "the direct generation factor known for ember:GBR was never seen in its source, so it is not used",
            "ember-2024/ember:GBR",
        ),
        ("official:BRA", "mcti-2023/official:BRA", "ember-2024/ember:BRA"),
        *(
            (f"ember:{c}", f"no direct generation factor is known for the area of ember:{c}", f"ember-2024/ember:{c}")
            for c in ("CHL", "COL", "ARG", "PER", "URY", "ECU", "EU27", "CAN")
        ),
    ],
)  # fmt: skip
def test_what_answers_in_a_region(grid: str, direct: str, life_cycle: str) -> None:
    rows = answers(dt.date(2026, 1, 1), TABLE).filter(pl.col("grid") == grid)
    said = {row["boundary"]: row["factor_id"] or row["reason"] for row in rows.iter_rows(named=True)}
    assert said == {"generation_direct": direct, "life_cycle": life_cycle}


def test_the_lists_of_regions_are_whole() -> None:
    declared = {key for key in TABLE["key"] if key.startswith("egrid:")}
    assert set(PROGRAMME["United States"]) == declared
    assert len(PROGRAMME["European Union"]) == 1 + len(EU_MEMBERS)
    assert (len(PROGRAMME["China"]), len(PROGRAMME["Japan"]), len(PROGRAMME["Canada"])) == (1 + 7, 1 + 10, 1 + 13)


def test_before_any_edition_every_region_says_so() -> None:
    found = answers(dt.date(2010, 1, 1), TABLE)
    assert found["value"].null_count() == found["reason"].count() == found.height


def test_the_page_is_written_from_the_tables() -> None:
    assert (ROOT / "docs/factors.md").read_text(encoding="utf-8") == markdown(TABLE)
