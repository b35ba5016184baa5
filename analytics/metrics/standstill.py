"""Auxiliary energy where no signal of it exists: what the battery gives at a standstill, over the hours with key on.

The median of the mean power of each standstill, neither charging nor working, times key-on hours. It is an estimate:
loads while driving may differ.
"""

from __future__ import annotations

import polars as pl

from analytics.metrics import rules
from analytics.metrics.energy import activity
from analytics.metrics.rows import ESTIMATED, KEYS, Figure, Listing
from analytics.metrics.running import POWER

WORKING_AT_REST = ("equipment", "vessel")
"""Categories that may work at a standstill: without a signal of their work nothing is estimated."""
WORDS = "median power of standstills x key-on hours"


def auxiliary_estimates(wide: pl.DataFrame, stretches: pl.DataFrame) -> pl.DataFrame | None:
    """Figures of `auxiliary_energy_kwh` on days without its signal, in long form; None where there are none."""
    if not wide["auxiliary_power_kw_sum"].null_count() or wide["drawn_kwh"].null_count() == wide.height:
        return None  # nearly free, and so for most fleets
    signal = pl.col("auxiliary_power_kw_sum").is_not_null()
    untold = wide.filter(~signal & pl.col("drawn_kwh").is_not_null() & (pl.col("on_h") > 0))
    if untold.is_empty():
        return None
    days = untold.select(*KEYS, "on_h", "distance_km", "category", pct=f"{POWER}_pct")
    mean_kw = (pl.col("drawn_kwh") - pl.col("returned_kwh")) / pl.col(f"{POWER}_s") * 3600
    rested = stretches.filter(_rests()).join(days, on=KEYS).filter(_idle()).with_columns(kw=mean_kw)
    loads = (
        rested.sort(*KEYS, "kw")
        .group_by(KEYS, maintain_order=True)
        .agg(_median(), watched_s=pl.col(f"{POWER}_s").sum(), **{n: pl.col(n).first() for n in days.columns[2:]})
        .filter(pl.col("watched_s") >= rules.STANDSTILL_MIN_S)
        .with_columns(day_kwh=pl.col("load_kw").clip(0) * pl.col("on_h"))
    )
    if loads.is_empty():
        return None
    return _FIGURES.of(loads)


_FIGURES = Listing(
    {
        "auxiliary_energy_kwh": Figure(
            pl.col("day_kwh"), pl.col("pct"), activity(), pl.lit(ESTIMATED), pl.lit(WORDS)
        )
    }
)  # fmt: skip


def _rests() -> pl.Expr:
    key = pl.col("key").fill_null(False)
    return key & ~pl.col("moving") & ~pl.col("plugged") & ~pl.col("gains") & (pl.col(f"{POWER}_s") > 0)


def _idle() -> pl.Expr:
    works = pl.col("works").fill_null(pl.col("category").is_in(WORKING_AT_REST))
    return ~works


def _median() -> pl.Expr:
    """The median of standstills' mean power (kW), each by its time; rows are in order of power."""
    so_far = pl.col(f"{POWER}_s").cum_sum()
    half = so_far >= pl.col(f"{POWER}_s").sum() / 2
    return pl.col("kw").filter(half).first().alias("load_kw")
