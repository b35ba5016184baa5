"""The weather of a place: the season's mean, the day's mood, the sun's course."""

from __future__ import annotations

import numpy as np

from ingest.gateway.simulator.calendar import DAY_CUT_H, Floats
from ingest.gateway.simulator.fleet import Place

WARMEST_H = 15
DAY_TO_DAY_C = 1.5


def ambient_c(place: Place, elapsed_s: Floats, rng: np.random.Generator) -> Floats:
    """Outside air over an operating day, warmest at three in the afternoon."""
    mood_c = rng.normal(0, DAY_TO_DAY_C)
    clock_h = DAY_CUT_H + elapsed_s / 3600
    air: Floats = place.mean_c + mood_c + place.swing_c * np.cos(2 * np.pi * (clock_h - WARMEST_H) / 24)
    return air
