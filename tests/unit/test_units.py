"""The converter, against definitions."""

import polars as pl
import pytest

from schemas.units import FUEL_RATES, UNITS, from_house, fuel_per_activity, house_unit, to_house


@pytest.mark.parametrize(
    ("value", "unit", "house"),
    [
        (1.0, "mi", 1.609344), (48.0, "nmi", 88.896), (60.0, "mph", 96.56064), (10.0, "m/s", 36.0),
        (212.0, "°F", 100.0),
        (-40.0, "°F", -40.0), (50.0, "US gal", 189.2705892), (2.0, "lb", 0.90718474), (3.6, "MJ", 1.0),
        (429.983, "lb/MWh", 0.195037), (10.21, "kg/US gal", 2.697197), (82.92, "g/MJ", 0.298512),
        (5.0, "percent", 0.05),
    ],
)  # fmt: skip
def test_values_by_definition(value: float, unit: str, house: float) -> None:
    assert to_house(value, unit) == pytest.approx(house, rel=1e-6, abs=1e-9)
    assert from_house(house, unit) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("unit", list(UNITS))
def test_there_and_back(unit: str) -> None:
    assert from_house(to_house(17.25, unit), unit) == pytest.approx(17.25)
    house = house_unit(UNITS[unit].quantity)
    assert to_house(17.25, house) == 17.25


@pytest.mark.parametrize(
    ("rate", "unit", "per_activity"),
    [
        (39.9, "L/100km", 0.399), (6.6, "L/h", 6.6), (3.64, "mpg", 2.352145833 / 3.64), (1.75, "gal/h", 6.624470622),
        (7.767, "kg/100km", 0.07767), (4.0, "kg/h", 4.0),
    ],
)  # fmt: skip
def test_fuel_rates(rate: float, unit: str, per_activity: float) -> None:
    assert fuel_per_activity(rate, unit) == pytest.approx(per_activity)
    column = pl.DataFrame({"rate": [rate, None]}).select(fuel_per_activity(pl.col("rate"), unit))["rate"].to_list()
    assert column == [pytest.approx(per_activity), None]


def test_rates_are_per_distance_or_time_of_volume_or_mass() -> None:
    assert {(rate.amount, rate.activity) for rate in FUEL_RATES.values()} == {
        ("L", "km"), ("L", "h"), ("kg", "km"), ("kg", "h"),
    }  # fmt: skip


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(KeyError):
        to_house(1.0, "furlong")
