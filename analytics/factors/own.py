"""Imported factors beside those that ship: annual ones in one table with them, hourly ones apart."""

from __future__ import annotations

from dataclasses import dataclass

import dataframely as dy
import polars as pl

from analytics.factors.contract import Factors
from analytics.factors.tables import in_si, shipped

HOUR_MEAN = "mean of its hours"


class OwnRows(Factors):
    """Imported factors. `hours` is 0 for annual ones; else `value` is the mean of that many hours."""

    hours = dy.Int32(nullable=False, min=0)


class HourlyHeads(dy.Schema):
    """Hourly tables of electricity: what all their hours have in common. `grid` is what pilots declare."""

    factor_id = dy.String(primary_key=True)
    grid = dy.String(nullable=False)
    area = dy.String(nullable=False)
    boundary = dy.String(nullable=False)
    gases = dy.String(nullable=False)
    losses_included = dy.Bool(nullable=False)
    words = dy.String(nullable=False)  # the factor's id with its edition
    note = dy.String(nullable=True)


class GridHours(dy.Schema):
    """Electricity factors of single UTC hours, kg/kWh."""

    factor_id = dy.String(primary_key=True)
    hour = dy.Datetime(time_unit="us", time_zone="UTC", primary_key=True)
    kg_per_kwh = dy.Float64(nullable=False, min=0, allow_inf=False, allow_nan=False)


@dataclass(frozen=True, slots=True)
class HourlyTables:
    """Hourly tables, and those of their hours that a computation needs: whole UTC months."""

    heads: dy.DataFrame[HourlyHeads]
    hours: dy.DataFrame[GridHours]

    def places(self) -> pl.DataFrame:
        """The grids that have hours: columns key and area."""
        return self.heads.select(key="grid", area="area").unique()


NO_TABLES = HourlyTables(HourlyHeads.create_empty(), GridHours.create_empty())


def with_own(own: pl.DataFrame) -> dy.DataFrame[Factors]:
    """The factors that ship and the imported annual ones of `own`, which follows `OwnRows`."""
    annual = own.filter(pl.col("hours") == 0).select(Factors.column_names())
    return Factors.validate(pl.concat([shipped(), annual], how="vertical_relaxed"), cast=True)


def to_list(own: pl.DataFrame) -> pl.DataFrame:
    """Every factor that a figure may name, hourly tables with the mean of their hours: the columns of `Factors`."""
    hourly = own.filter(pl.col("hours") > 0).with_columns(
        edition=pl.format("{}, {} of {} hours", "edition", pl.lit(HOUR_MEAN), "hours")
    )
    return pl.concat([with_own(own), hourly.select(Factors.column_names())], how="vertical_relaxed")


def hourly_tables(own: pl.DataFrame, hours: pl.DataFrame) -> HourlyTables:
    """The hourly tables of `own` (`OwnRows`), with `hours` (factor_id, hour, value) in house units."""
    heads = in_si(own.filter(pl.col("hours") > 0).with_columns(value=pl.lit(1.0))).select(
        "area", "boundary", "gases", "losses_included", "note", factor_id="id", grid="key", scale="si_value",
        words=pl.format("{} ({})", "id", pl.concat_str("edition", "gwp_set", separator=", ", ignore_nulls=True)),
    )  # fmt: skip
    rows = hours.join(heads, on="factor_id").with_columns(kg_per_kwh=pl.col("value") * pl.col("scale"))
    return HourlyTables(
        HourlyHeads.validate(heads.select(HourlyHeads.column_names()), cast=True),
        GridHours.validate(rows.select(GridHours.column_names()), cast=True),
    )
