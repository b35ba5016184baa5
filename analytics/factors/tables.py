"""The factors that ship with the package, read from the CSV files beside this module."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import dataframely as dy
import polars as pl

from analytics.factors.contract import RECALLED, Factors
from analytics.factors.contract import UNITS as UNITS_BY_KIND
from schemas.units import UNITS, house_unit

_KNOWN_UNITS = sorted({unit for units in UNITS_BY_KIND.values() for unit in units})
_SCALE = {unit: UNITS[unit].scale for unit in _KNOWN_UNITS}
_HOUSE_UNIT = {unit: house_unit(UNITS[unit].quantity) for unit in _KNOWN_UNITS}


def _read(name: str) -> pl.DataFrame:
    with files(__package__).joinpath(name).open("rb") as file:
        return pl.read_csv(file, infer_schema_length=None, try_parse_dates=True)


def assemble(series: pl.DataFrame, values: pl.DataFrame) -> dy.DataFrame[Factors]:
    """Join values to the series they belong to, and check the result against the contract.

    `series` holds what a document's table has in common; `values` one row per series and key, with area and name.
    A value without a series keeps nulls and fails the contract (`dataframely.exc.ValidationError`).
    """
    factors = values.join(series, on="series", how="left", suffix="_of_series").select(
        pl.concat_str("series", "key", separator="/").alias("id"),
        pl.exclude("series", "note", "note_of_series"),
        note=pl.concat_str("note_of_series", "note", separator="; ", ignore_nulls=True).replace("", None),
    )
    return Factors.validate(factors, cast=True)


@cache
def shipped() -> dy.DataFrame[Factors]:
    """Every factor of the package, also those that are listed without ever being used."""
    grid = _read("grid_values.csv").join(_read("grids.csv"), on="key", how="left")
    fuel = _read("fuel_values.csv").with_columns(note=pl.lit(None, pl.String))
    columns = ["series", "key", "area", "name", "value", "note"]
    values = pl.concat([grid.select(columns), fuel.select(columns)], how="vertical_relaxed")
    return assemble(_read("series.csv"), values)


def usable(table: pl.DataFrame) -> pl.DataFrame:
    """The factors that may be used: none that was only recalled."""
    return table.filter(pl.col("confidence") != RECALLED)


def in_si(table: pl.DataFrame) -> pl.DataFrame:
    """Add `si_value` and `si_unit`: kg/kWh, kg/L, kg/kg, kg/km or share."""
    return table.with_columns(
        si_value=pl.col("value") * pl.col("unit").replace_strict(_SCALE, return_dtype=pl.Float64),
        si_unit=pl.col("unit").replace_strict(_HOUSE_UNIT, return_dtype=pl.String),
    )
