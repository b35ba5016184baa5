"""Electricity factors of single hours, matched to the UTC hours in which the energy was drawn.

An hour without a factor takes the mean of that table over the same month and hour of the day. Where there is none
either, the day has no factor. Hours are never mixed with annual factors: a pilot that declares an hourly table is
answered by it alone at that boundary.
"""

from __future__ import annotations

import polars as pl

from analytics.factors.own import HourlyTables

PLACE = ["vehicle_id", "day", "grid"]


def filled(drawn: pl.DataFrame, tables: HourlyTables) -> pl.DataFrame:
    """The factor of every hour in which energy was drawn.

    `drawn` has columns `PLACE`, hour (UTC; null where it is not known when) and kwh. The result has the columns of
    `drawn` and, for each table of the grid, those of `HourlyHeads`, kg_per_kwh (null: none is known) and is_filled.
    """
    hours = tables.hours
    month, clock = pl.col("hour").dt.truncate("1mo"), pl.col("hour").dt.hour()
    means = hours.group_by("factor_id", month=month, clock=clock).agg(mean=pl.col("kg_per_kwh").mean())
    asked = drawn.join(tables.heads, on="grid").with_columns(month=month, clock=clock)
    known = asked.join(hours, on=["factor_id", "hour"], how="left")
    return (
        known.join(means, on=["factor_id", "month", "clock"], how="left")
        .with_columns(
            kg_per_kwh=pl.coalesce("kg_per_kwh", "mean"),
            is_filled=pl.col("kg_per_kwh").is_null() & pl.col("mean").is_not_null(),
        )
        .drop("month", "clock", "mean")
    )


def matched(cases: pl.DataFrame, drawn: pl.DataFrame, tables: HourlyTables) -> pl.DataFrame:
    """The factor of each vehicle-day whose grid has hours, weighted by the energy of each hour.

    `cases` has the columns of `PLACE`, `drawn` those of `filled`. One row per case and table of its grid: the columns
    of `HourlyHeads`, `kg_per_kwh` (0 for a day without energy, null where an hour has no factor), `drawn_kwh`,
    `filled_kwh` and `hourly_reason`.
    """
    parts = filled(drawn, tables).group_by(*PLACE, "factor_id").agg(
        emitted_kg=(pl.col("kwh") * pl.col("kg_per_kwh")).sum(),
        drawn_kwh=pl.col("kwh").sum(),
        filled_kwh=pl.col("kwh").filter("is_filled").sum(),
        unplaced=pl.col("hour").is_null().any(),
        without=pl.col("kg_per_kwh").is_null().sum(),
        of=pl.len(),
    )  # fmt: skip
    rows = cases.select(PLACE).unique().join(tables.heads, on="grid").join(parts, on=[*PLACE, "factor_id"], how="left")
    whole = pl.col("without").fill_null(0) == 0
    drew = pl.col("drawn_kwh").fill_null(0.0) > 0
    reason = (
        pl.when(pl.col("unplaced").fill_null(False))
        .then(pl.lit("it is not known in which hours the energy was drawn"))
        .when(~whole)
        .then(
            pl.format("{} has no factor for {} of {} hours of charging, nor for that hour on other days of the month",
                      "grid", "without", "of")
        )
    )  # fmt: skip
    return rows.select(
        *PLACE, *(name for name in tables.heads.columns if name != "grid"),
        kg_per_kwh=pl.when(whole & drew).then(pl.col("emitted_kg") / pl.col("drawn_kwh")).when(whole).then(0.0),
        filled_kwh=pl.col("filled_kwh").fill_null(0.0),
        drawn_kwh=pl.col("drawn_kwh").fill_null(0.0),
        hourly_reason=reason,
    )  # fmt: skip
