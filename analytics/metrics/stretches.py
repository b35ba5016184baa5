"""Stretches of segments that belong together though there are pauses in them: trips, charging sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from analytics.metrics.arrays import Flags, Floats, Whole, microseconds
from analytics.metrics.fill import US_PER_S


@dataclass(frozen=True, slots=True)
class Stretches:
    """The numbers of the `first` and `last` segment of each stretch, and the time between their ends."""

    first: Whole
    last: Whole
    s: Floats

    def sums(self, amounts: Mapping[str, Floats]) -> list[dict[str, float]]:
        """What each of the segments' `amounts` adds up to in each stretch, and `s`; what is not known adds nothing."""
        known = np.nan_to_num(np.stack(list(amounts.values())))
        # The sums between the stretches are thrown away; the zero lets the last one end after all segments.
        bounds = np.stack([self.first, self.last + 1], axis=1).ravel()
        sums = np.add.reduceat(np.pad(known, ((0, 0), (0, 1))), bounds, axis=1)[:, ::2]
        return [dict(zip((*amounts, "s"), row, strict=True)) for row in np.vstack([sums, self.s]).T.tolist()]


def stretches(segments: pl.DataFrame, inside: Flags, breaks: Flags, pause_s: Floats) -> Stretches:
    """Find the stretches, pauses inside them included.

    A stretch is made of segments that are `inside`. It ends at a segment that `breaks`, at another vehicle, and at a
    pause of `pause_s` (s) or more. `segments` are in order of vehicle and time.
    """
    starts_us, ends_us = microseconds(segments["starts_at"]), microseconds(segments["ends_at"])
    at = np.flatnonzero(inside)
    vehicle, broken = segments["vehicle_id"].to_numpy()[at], np.cumsum(breaks)[at]
    paused_s = (starts_us[at[1:]] - ends_us[at[:-1]]) / US_PER_S
    ends = (vehicle[1:] != vehicle[:-1]) | (broken[1:] != broken[:-1]) | (paused_s >= pause_s[at[1:]])
    some = np.ones(min(1, len(at)), bool)
    first, last = at[np.append(some, ends)], at[np.append(ends, some)]
    return Stretches(first, last, (ends_us[last] - starts_us[first]) / US_PER_S)
