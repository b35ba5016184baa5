"""What a charger gives that never reaches the battery."""

from __future__ import annotations

import numpy as np
import polars as pl

from analytics.metrics.arrays import Flags, Floats, floats
from analytics.metrics.running import AMOUNTS, POWER

LOADS = ("auxiliary_power_kw", "hotel_power_kw")
"""Loads beside the battery: at the plug the first that is watched counts, and a day's own count off the plug alone."""


def past_pack_kwh(segments: pl.DataFrame) -> tuple[Floats, Flags]:
    """What a charger gave in each segment that never reached the battery: heat, cold, hotel loads (kWh, DC).

    Besides, whether a load tells of itself in the segment.

    NaN where nothing was plugged in, or neither loads nor power were watched.
    """
    loads = np.full(segments.height, np.nan)
    for name in reversed(LOADS):
        loads = np.where(floats(segments[f"{name}_s"]) > 0, floats(segments[AMOUNTS[name][0]]), loads)
    pack = floats(segments["returned_kwh"]) - floats(segments["drawn_kwh"])
    unseen = segments["silent"].to_numpy() | ~(floats(segments[f"{POWER}_s"]) > 0)
    past = np.maximum(pack + loads, 0) - np.maximum(pack, 0)
    return np.where(segments["plugged"].to_numpy() & ~unseen, past, np.nan), ~np.isnan(loads)
