"""Which standard an engine is certified to, where that is not declared: by model year, on US roads."""

from __future__ import annotations

import polars as pl

from analytics.factors.resolve import country_of

ON_ROAD = ("truck", "bus")
US_MODEL_YEARS = {
    1985: "us-hd-1985", 1990: "us-hd-1990", 1991: "us-hd-1991", 1994: "us-hd-1994", 1998: "us-hd-1998",
    2004: "us-hd-2004", 2007: "us-hd-2010", 2027: "us-hd-2027",
}  # fmt: skip
"""The first model year of each standard. From 2007 to 2009 its NOx was phased in: the final limit claims less."""


def standard_of(declared: pl.Expr, region: pl.Expr, category: pl.Expr, model_year: pl.Expr) -> pl.Expr:
    """The standard of a displaced engine; null where neither it nor what it follows from is declared."""
    by_year = pl.lit(None, pl.String)
    for first, standard in US_MODEL_YEARS.items():
        by_year = pl.when(model_year >= first).then(pl.lit(standard)).otherwise(by_year)
    american = (country_of(region) == "US") & category.is_in(ON_ROAD)
    return pl.coalesce(declared, pl.when(american).then(by_year))
