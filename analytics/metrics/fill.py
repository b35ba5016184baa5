"""Values between samples, on rows in order of vehicle and time, as whole arrays.

What a vehicle last said holds until it says something else: `Memory` knows on which row that was. An *interval* is a
row and the next one of its vehicle; what is said of it is stored on its first row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
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
        if self.told is other.told:
            return self
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
            at, known, age_s = np.arange(len(told)), np.ones(len(told), bool), np.zeros(len(told))
            rest = np.flatnonzero(~told)  # mostly hardly any
            begins = np.diff(rest, prepend=-2) > 1
            at[rest] = before = np.maximum.accumulate(np.where(begins, rest - 1, -1))
            known[rest] = before >= self.first_row[rest]
            age_s[rest] = (self.us[rest] - self.us[before]) / US_PER_S
            self._last[key] = (at, known, age_s)
        return self._last[key]

    def next(self, told: Flags) -> tuple[Whole, Flags]:
        """The row from each on at which it is told next, and whether that is by this vehicle."""
        rows = len(told)
        at, known, rest = np.arange(rows), np.ones(rows, bool), np.flatnonzero(~told)
        ends = np.diff(rest, append=rows + 1) > 1
        after = np.minimum.accumulate(np.where(ends, rest + 1, rows)[::-1])[::-1]
        known[rest], at[rest] = after <= self.last_row[rest], np.minimum(after, rows - 1)
        return at, known

    def ever(self, told: Flags) -> Flags:
        """True where the vehicle tells it at all."""
        return self.last(told)[1] | self.next(told)[1]

    def carried(self, said: Said) -> Said:
        """The vehicle's last value up to this row."""
        return Said(self._held(said), self.last(said.told)[1])

    def carried_for(self, said: Said, seconds: float) -> Said:
        """The vehicle's last value up to this row, if it is at most `seconds` old."""
        _, known, age_s = self.last(said.told)
        return Said(self._held(said), known & (age_s <= seconds))

    def _held(self, said: Said) -> NDArray[Any]:
        value, rest = said.value.copy(), np.flatnonzero(~said.told)
        value[rest] = said.value[self.last(said.told)[0][rest]]
        return value

    @cached_property
    def has_next(self) -> Flags:
        """The vehicle has a later row."""
        return np.arange(len(self.us)) < self.last_row


def following(values: Numbers) -> Numbers:
    """Each row's values on the next one; the last keeps its own."""
    return np.append(values[1:], values[-1:])
