"""Samples onto a grid of bins. A bin is a sample period, named by its start; times must ascend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.signals import Aggregate

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """`bins` periods of `period_us` from `low_us` (UTC microseconds) on."""

    low_us: int
    period_us: int
    bins: int

    @property
    def times_us(self) -> NDArray[np.int64]:
        """The start of each bin."""
        return self.low_us + self.period_us * np.arange(self.bins, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Runs:
    """Where samples of one message fall: the runs of samples that share a bin."""

    grid: Grid
    bins: NDArray[np.int64]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, time_us: NDArray[np.int64], grid: Grid) -> Runs:
        """The runs of samples at these times, all of them within the grid."""
        return cls._of_bins((time_us - grid.low_us) // grid.period_us, grid)

    @classmethod
    def _of_bins(cls, bins: NDArray[np.int64], grid: Grid) -> Runs:
        starts = np.flatnonzero(np.concatenate(([True], bins[1:] != bins[:-1]))) if len(bins) else bins
        return cls(grid, bins[starts], starts, np.diff(np.append(starts, len(bins))))

    def binned(self, values: Floats, aggregate: Aggregate) -> Floats:
        """One value per bin of the grid: the mean, or the last; NaN where no sample is."""
        missing = np.isnan(values)
        if missing.any():
            known = ~missing
            return self._of_bins(np.repeat(self.bins, self.counts)[known], self.grid).binned(values[known], aggregate)
        out = np.full(self.grid.bins, np.nan)
        if len(self.starts):
            out[self.bins] = self._mean(values) if aggregate is Aggregate.MEAN else self._last(values)
        return out

    def _mean(self, values: Floats) -> Floats:
        """The first value plus the mean distance from it, added up in order.

        So a value that stands still is its own mean, and a bin's mean does not depend on what lies around it.
        """
        first = values[self.starts]
        run = np.repeat(np.arange(len(self.starts)), self.counts)
        sums = np.bincount(run, weights=values - first[run], minlength=len(first))
        means: Floats = first + sums / self.counts
        return means

    def _last(self, values: Floats) -> Floats:
        last: Floats = values[self.starts + self.counts - 1]
        return last


def held(values: Floats, most: int) -> Floats:
    """Each gap filled with the value before it, for at most this many bins."""
    places = np.arange(len(values))
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, places))
    return np.where((last >= 0) & (places - last <= most), values[last], np.nan)


def changes(values: Floats, dead_bands: Floats, bins_per_bucket: int) -> NDArray[np.bool_]:
    """Which values of a matrix (signals x bins) are stored: those that left the dead band around the last stored one.

    Every bucket of `bins_per_bucket` bins starts anew, so that what is stored of a bucket depends on nothing before it.
    """
    signals, bins = values.shape
    by_bucket = values.reshape(signals, bins // bins_per_bucket, bins_per_bucket)
    stored = np.zeros(by_bucket.shape, bool)
    last = np.full(by_bucket.shape[:2], np.nan)
    for n in range(bins_per_bucket):
        value = by_bucket[:, :, n]
        new = ~np.isnan(value) & ~(np.abs(value - last) <= dead_bands[:, None])
        stored[:, :, n] = new
        last = np.where(new, value, last)
    return stored.reshape(signals, bins)
