"""What a file of own factors must say, and what is told of one that does not."""

from collections.abc import Mapping

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.factors.contract import CONFIDENCES, RECALLED
from analytics.factors.importing import COLUMNS, MOST_FAULTS, OwnFactors, checked

PILOTS = {"port": 7}
AREAS = frozenset({"US-CAMX", "CHL"})
GRID = {
    "table": "depot", "kind": "grid", "boundary": "generation_direct", "gases": "co2", "value": "0.21",
    "unit": "kg/kWh", "year": "2025", "edition": "2025", "source": "supplier's letter", "confidence": "VERIFIED",
}  # fmt: skip
HOUR = {name: text for name, text in GRID.items() if name != "year"} | {"hour": "2026-03-02T14:00Z"}
FUEL = GRID | {"kind": "fuel", "boundary": "well_to_wheel", "gases": "co2e", "unit": "kg/kg", "fuel": "hydrogen"}


def read(*rows: Mapping[str, str]) -> OwnFactors | list[str]:
    cells = pl.DataFrame(list(rows), schema_overrides=dict.fromkeys(COLUMNS, pl.String), infer_schema_length=None)
    found = checked(cells, PILOTS, AREAS)
    return found if isinstance(found, OwnFactors) else [str(fault) for fault in found]


def taken(*rows: Mapping[str, str]) -> OwnFactors:
    found = read(*rows)
    assert isinstance(found, OwnFactors), found
    return found


def test_an_annual_factor_of_electricity() -> None:
    row = taken(GRID).factors.row(0, named=True)
    assert row["id"] == "own:depot/generation_direct/co2/2025-01-01"
    assert (row["key"], row["area"], row["value"], row["year"], row["hours"]) == (
        "own:depot",
        "own:depot",
        0.21,
        2025,
        0,
    )
    assert (row["losses_included"], row["pilot_id"], row["name"]) == (False, None, "own:depot")


def test_a_place_that_is_known_lets_other_sources_answer_other_boundaries() -> None:
    assert taken(GRID | {"area": "US-CAMX"}).factors["area"].to_list() == ["US-CAMX"]


def test_a_fuel_of_a_pilot_and_of_the_programme() -> None:
    rows = taken(FUEL, FUEL | {"pilot": "port"}, FUEL | {"starts_on": "2025-04-01"}).factors
    assert rows.select("id", "key", "area", "pilot_id").rows() == [
        ("own:depot/hydrogen/well_to_wheel/co2e/2025-01-01", "hydrogen", "programme", None),
        ("own:depot/hydrogen/port/well_to_wheel/co2e/2025-01-01", "hydrogen", "pilot:7", 7),
        ("own:depot/hydrogen/well_to_wheel/co2e/2025-04-01", "hydrogen", "programme", None),
    ]


def test_hours_are_one_factor_with_its_mean() -> None:
    found = taken(HOUR, HOUR | {"hour": "2026-03-02T16:00:00+01:00", "value": "0.31"})
    row = found.factors.row(0, named=True)
    assert (row["id"], row["value"], row["hours"], row["year"]) == (
        "own:depot/generation_direct/co2/hourly", pytest.approx(0.26), 2, 2026,
    )  # fmt: skip
    assert found.hours["hour"].dt.to_string("%d %H:%M").to_list() == ["02 14:00", "02 15:00"]


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        (
            {"confidence": RECALLED},
            ["confidence: a value that is only recalled is never used: see it in its source first"],
        ),
        ({"confidence": ""}, ["confidence: is empty"]),
        ({"source": " "}, ["source: is empty"]),
        ({"confidence": "SURE"}, [f"confidence: SURE is none of {', '.join(CONFIDENCES)}"]),
        ({"value": "high"}, ["value: high is not a number"]),
        ({"value": "-0.1"}, ["value: -0.1 is below 0"]),
        ({"value": "inf"}, ["value: inf is not finite"]),
        ({"unit": "kg/L"}, ["unit: kg/L does not suit grid: g/kWh, kg/kWh, t/MWh, lb/MWh, g/MJ"]),
        ({"boundary": "tailpipe"}, ["boundary: tailpipe does not suit grid: generation_direct, life_cycle"]),
        ({"table": "my depot"}, ["table: my depot has more than letters, digits, _ and -"]),
        ({"year": ""}, ["year: is empty, and so is hour"]),
        ({"year": "25"}, ["year: 25 is not a year such as 2025"]),
        ({"fuel": "diesel"}, ["fuel: electricity is no fuel"]),
        ({"pilot": "port"}, ["pilot: a pilot declares its electricity itself, as grid: own:<table>"]),
        ({"gwp_set": "AR5"}, ["gwp_set: co2 alone is not weighed by warming potentials"]),
        ({"losses_included": "some"}, ["losses_included: some is neither yes nor no"]),
        ({"starts_on": "April"}, ["starts_on: April is not a date such as 2025-04-01"]),
        (
            {"area": "US-XX"},
            ["area: no factor is known for the area US-XX; leave it empty if it is a place of its own"],
        ),
        (
            {"year": "", "hour": "2026-03-02T14:00"},
            ["hour: 2026-03-02T14:00 is not a time with its offset such as 2026-03-02T14:00Z"],
        ),
        (
            {"year": "", "hour": "2026-03-02T14:30Z"},
            ["hour: 2026-03-02T14:30Z is not the start of a UTC hour"],
        ),
        (
            {"kind": "diesel", "value": ""},
            ["value: is empty", "kind: diesel is none of grid, fuel, trace, engine, heater, line_loss"],
        ),
    ],
)  # fmt: skip
def test_a_cell_at_fault_is_told_with_line_field_and_reason(change: dict[str, str], faults: list[str]) -> None:
    assert read(GRID, GRID | {"table": "other"} | change) == [f"line 3: {fault}" for fault in faults]


def test_a_fuel_names_its_fuel_and_a_known_pilot() -> None:
    assert read(FUEL | {"fuel": ""}) == ["line 2: fuel: is empty: a factor of a fuel names it"]
    assert read(FUEL | {"pilot": "harbor"}) == ["line 2: pilot: there is no pilot harbor"]
    assert read(FUEL | {"area": "CHL"}) == ["line 2: area: is for electricity only"]


def test_the_same_twice_is_a_fault() -> None:
    assert read(GRID, FUEL, GRID | {"value": "0.3"}) == ["line 4: table: says the same as line 2"]
    assert read(HOUR, HOUR) == ["line 3: hour: says the same as line 2"]


def test_an_hourly_table_is_of_one_piece() -> None:
    assert read(HOUR, HOUR | {"hour": "2026-03-02T15:00Z", "unit": "g/kWh"}) == [
        "line 3: unit: differs from line 2 of the same hourly table"
    ]


def test_a_header_at_fault() -> None:
    without = {name: text for name, text in GRID.items() if name not in ("source", "year")}
    assert read(without | {"valeu": "1"}) == [
        "line 1: source: is missing from the header",
        f"line 1: valeu: is none of {', '.join(COLUMNS)}",
        "line 1: year: is missing from the header, and so is hour",
    ]
    empty = pl.DataFrame(schema=dict.fromkeys(GRID, pl.String))
    assert [str(fault) for fault in checked(empty, PILOTS, AREAS)] == ["line 2: table: the file has no rows"]


def test_many_faults_are_counted() -> None:
    found = read(*[GRID | {"table": f"t{n}", "value": "x"} for n in range(MOST_FAULTS + 5)])
    assert isinstance(found, list)
    assert (len(found), found[-1]) == (MOST_FAULTS + 1, "more lines: file: 5 faults more")


@given(st.dictionaries(st.sampled_from(COLUMNS), st.text(max_size=8), min_size=1))
def test_whatever_a_cell_holds_the_answer_is_factors_or_faults(change: dict[str, str]) -> None:
    found = read(GRID | change)
    if isinstance(found, OwnFactors):
        row = found.factors.row(0, named=True)
        assert row["confidence"] in CONFIDENCES
        assert row["confidence"] != RECALLED
        assert row["source"].strip()
    else:
        assert found
