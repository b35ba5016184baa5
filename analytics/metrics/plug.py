"""What a charger gave at the plug that never reached the battery: heat and cold, hotel loads."""

from __future__ import annotations

import numpy as np
import polars as pl

from analytics.metrics.arrays import Flags, Floats
from analytics.metrics.running import AMOUNTS, POWER

LOADS = ("auxiliary_power_kw", "hotel_power_kw")
"""Loads that tell of themselves, the first that does."""


def past_pack_kwh(segments: pl.DataFrame) -> tuple[Floats, Flags]:
    """Energy past the battery in each segment (kWh, DC), and whether a load tells of itself there.

    NaN where nothing was plugged in, or neither loads nor the battery's power were watched.
    """
    loads = np.full(segments.height, np.nan)
    for name in reversed(LOADS):
        loads = np.where(_numbers(segments, f"{name}_s") > 0, _numbers(segments, AMOUNTS[name][0]), loads)
    pack = _numbers(segments, "returned_kwh") - _numbers(segments, "drawn_kwh")
    plugged = (segments["plugged"] & ~segments["silent"]).fill_null(False).to_numpy()
    watched = plugged & (_numbers(segments, f"{POWER}_s") > 0)
    past = np.maximum(pack + loads, 0) - np.maximum(pack, 0)
    return np.where(watched, past, np.nan), ~np.isnan(loads)


def _numbers(segments: pl.DataFrame, name: str) -> Floats:
    return segments[name].cast(pl.Float64).to_numpy()


def past_pack() -> pl.Expr:
    loads = pl.coalesce(*(pl.when(pl.col(f"{name}_s") > 0).then(AMOUNTS[name][0]) for name in LOADS))
    pack = pl.col("returned_kwh") - pl.col("drawn_kwh")
    watched = pl.col("plugged") & ~pl.col("silent") & (pl.col(f"{POWER}_s") > 0)
    return pl.when(watched).then((pack + loads).clip(0) - pack.clip(0))


def notes_expr(*parts: pl.Expr) -> pl.Expr:
    joined = pl.concat_str(*(part.cast(pl.String) for part in parts), separator="; ", ignore_nulls=True)
    return pl.when(joined != "").then(joined)
