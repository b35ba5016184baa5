"""Values between samples, on rows in order of vehicle and time, as whole arrays.

What a vehicle last said holds until it says something else: `Memory` knows on which row that was. An *interval* is a
row and the next one of its vehicle; what is said of it is stored on its first row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analytics.metrics.arrays import Flags, Floats, Numbers, Whole, floats

US_PER_S, US_PER_H = 1e6, 3.6e9


@dataclass(frozen=True, slots=True)
class Said:
    """A signal on each row: `value` counts only where it was `told`."""

    value: NDArray[Any]
    told: Flags

    @classmethod
    def read(cls, column: pl.Series) -> Said:
        """Take a column of flags."""
        value = floats(column)
        return cls(value == 1, ~np.isnan(value))

    def series(self, name: str) -> pl.Series:
        """A column again, null where nothing was told."""
        values = pl.Series(name, self.value)
        nothing = pl.Series([None], dtype=values.dtype)
        return values if self.told.all() else values.zip_with(pl.Series(self.told), nothing).alias(name)

    def otherwise(self, other: Said) -> Said:
        """What this says, and where it says nothing what the other does."""
        return Said(np.where(self.told, self.value, other.value), self.told | other.told)

    def known(self) -> Flags:
        """A flag that was told and is up."""
        known: Flags = self.told & self.value.astype(bool)
        return known


@dataclass(frozen=True)
class Memory:
    """Where each row's vehicle last said something: looked up once for all that was said on the same rows."""

    us: Whole
    first_row: Whole
    last_row: Whole
    _last: dict[bytes, tuple[Whole, Flags, Floats]] = field(default_factory=dict)

    def last(self, told: Flags) -> tuple[Whole, Flags, Floats]:
        """The row up to each on which it was last told, whether that was by this vehicle, and its age in seconds."""
        key = np.packbits(told).tobytes()
        if key not in self._last:
            at = np.maximum.accumulate(np.where(told, np.arange(len(told)), -1))
            self._last[key] = (at, at >= self.first_row, (self.us - self.us[at]) / US_PER_S)
        return self._last[key]

    def next(self, told: Flags) -> tuple[Whole, Flags]:
        """The row from each on at which it is told next, and whether that is by this vehicle."""
        rows = len(told)
        at = np.minimum.accumulate(np.where(told, np.arange(rows), rows)[::-1])[::-1]
        return np.minimum(at, rows - 1), at <= self.last_row

    def ever(self, told: Flags) -> Flags:
        """True where the vehicle tells it at all."""
        return self.last(told)[1] | self.next(told)[1]

    def carried(self, said: Said) -> Said:
        """The vehicle's last value up to this row."""
        at, known, _ = self.last(said.told)
        return Said(said.value[at], known)

    def carried_for(self, said: Said, seconds: float) -> Said:
        """The vehicle's last value up to this row, if it is at most `seconds` old."""
        at, known, age_s = self.last(said.told)
        return Said(said.value[at], known & (age_s <= seconds))

    @property
    def has_next(self) -> Flags:
        """The vehicle has a later row."""
        return np.arange(len(self.us)) < self.last_row


def following(values: Numbers) -> Numbers:
    """Each row's values on the next one; the last keeps its own."""
    return np.append(values[1:], values[-1:])
