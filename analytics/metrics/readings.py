"""What was read, and on which rows: telemetry in order of vehicle and time, as arrays, with a row at every cut.

A signal is kept as its readings alone, with the rows on which they were made. Signals that are read on the same rows
share these, and all that follows from the times of the rows (`Sampling`), which is most of the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.metrics import rules
from analytics.metrics.arrays import Flags, Floats, Numbers, Whole, median
from analytics.metrics.fill import US_PER_S, Memory, Said

MOST_STRETCHES = 64
"""Copying so many stretches is faster than picking rows one by one."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in order of vehicle and time: position, time, distance on the odometer, bounds of their vehicle, cut.

    `cut` numbers the last cut passed; it is -1 before the first.
    """

    row: Whole
    us: Whole
    km: Floats
    first_row: Whole
    last_row: Whole
    cut: Whole

    @classmethod
    def of(cls, vehicle_id: NDArray[Any], us: Whole, real: Flags) -> Rows:
        """Take rows in order; those that are not `real` are the cuts. All `km` are zero."""
        rows = len(us)
        starts = np.flatnonzero(np.append(True, vehicle_id[1:] != vehicle_id[:-1])) if rows else np.zeros(0, np.int64)
        counts = np.diff(np.append(starts, rows))
        first_row, last_row = np.repeat(starts, counts), np.repeat(starts + counts - 1, counts)
        at_cuts = np.flatnonzero(~real)
        cut = np.repeat(np.arange(-1, len(at_cuts)), np.diff(np.concatenate([[0], at_cuts, [rows]])))
        if len(starts) > 1:
            # A vehicle's rows before its first cut are not of the vehicle before.
            cut = np.where(np.append(at_cuts, -1)[cut] < first_row, -1, cut)
        return cls(np.arange(rows), us, np.zeros(rows), first_row, last_row, cut)

    def at(self, positions: Whole | Flags) -> Rows:
        """Some of the rows."""
        return Rows(*(getattr(self, name)[positions] for name in Rows.__dataclass_fields__))

    def told(self, told: Told) -> Rows:
        """The rows on which something was read."""
        return Rows(*(told.of(getattr(self, name)) for name in Rows.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class Told:
    """Rows on which something was read: their numbers, and a flag on every row."""

    at: Whole
    on: Flags

    @classmethod
    def where(cls, on: Flags) -> Told:
        """The rows with a flag."""
        return cls(np.flatnonzero(on), on)

    @cached_property
    def _stretches(self) -> list[slice] | None:
        """The rows as a few stretches without a gap; None where there are many."""
        gaps = np.flatnonzero(self.at[1:] - self.at[:-1] != 1) + 1
        if not len(self.at) or len(gaps) > MOST_STRETCHES:
            return None
        firsts, ends = self.at[np.append(0, gaps)], self.at[np.append(gaps - 1, len(self.at) - 1)] + 1
        return [slice(first, end) for first, end in zip(firsts.tolist(), ends.tolist(), strict=True)]

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """What there is on these rows, out of what there is on every row."""
        parts = self._stretches
        return values[self.at] if parts is None else np.concatenate([values[part] for part in parts])

    def spread(self, x: NDArray[Any], into: NDArray[Any]) -> None:
        """Put what there is on these rows among what there is on every row."""
        if self._stretches is None:
            into[self.at] = x
            return
        done = 0
        for part in self._stretches:
            size = part.stop - part.start
            into[part] = x[done : done + size]
            done += size


@dataclass(frozen=True, eq=False)
class Signal:
    """A signal's readings, in order of the rows on which they were made."""

    told: Told
    x: NDArray[Any]

    def on_rows(self) -> Said:
        """On every row, what was read there."""
        value = np.zeros(len(self.told.on), self.x.dtype)
        self.told.spread(self.x, value)
        return Said(value, self.told.on)

    def kept(self, stays: Flags) -> Signal:
        """Some of the readings."""
        on = np.zeros(len(self.told.on), bool)
        on[self.told.at[stays]] = True
        return Signal(Told(self.told.at[stays], on), self.x[stays])


@dataclass(frozen=True)
class Sampling:
    """Rows on which a signal was read, and what follows from their times alone."""

    rows: Rows

    def spread(self, km: Floats) -> None:
        """Tell each row its distance on the odometer; what followed from another one is forgotten."""
        self.rows.km[:] = km[self.rows.row]
        for derived in ("km", "short_km"):
            self.__dict__.pop(derived, None)

    @cached_property
    def same(self) -> Flags:
        """The next reading is of the same vehicle."""
        first = self.rows.first_row
        return np.append(first[1:] == first[:-1], np.zeros(min(1, len(first)), bool))

    @cached_property
    def gap_s(self) -> Floats:
        """Time to the vehicle's next reading; NaN on its last."""
        return np.where(self.same, to_next(self.rows.us) / US_PER_S, np.nan)

    @cached_property
    def gap_h(self) -> Floats:
        """Time to the vehicle's next reading in hours."""
        return self.gap_s / 3600

    @cached_property
    def km(self) -> Floats:
        """Distance to the next reading."""
        return to_next(self.rows.km)

    @cached_property
    def until_s(self) -> Floats:
        """Time of each reading in seconds."""
        return self.rows.us / US_PER_S

    @cached_property
    def short(self) -> Flags:
        """Steps no longer than a rate may be integrated over."""
        return self.gap_s <= self._limit_s()

    @cached_property
    def unbroken(self) -> bool:
        """Every step may be bridged."""
        return bool((self.bridgeable | ~self.same).all())

    @cached_property
    def long(self) -> Whole:
        """All other steps, and the vehicles' last readings."""
        return np.flatnonzero(~self.short)

    @cached_property
    def short_s(self) -> Floats:
        """Time of each short step, 0 of the others."""
        return np.where(self.short, self.gap_s, 0.0)

    @cached_property
    def short_km(self) -> Floats:
        """Distance of each short step, 0 of the others."""
        return np.where(self.short, self.km, 0.0)

    @cached_property
    def bridgeable(self) -> Flags:
        """Steps no longer than a change of level may bridge."""
        return self.gap_s <= rules.REACH.total_seconds()

    def _limit_s(self) -> Floats:
        """The longest step to integrate over, from the median spacing of the readings in each day.

        A step over a cut is judged by its neighbours, so that a day gives the same whatever is computed with it.
        """
        cut, gap = self.rows.cut, self.gap_s
        limit = np.full(len(cut), rules.GAP_CEILING_S)
        edges = np.flatnonzero(np.diff(cut, prepend=-2, append=-2))
        for start, end in pairwise(edges):  # one turn for each day
            told = gap[start:end][self.same[start:end]]
            if cut[start] >= 0 and len(told):
                limit[start:end] = _limit_s(told[0] if told.min() == told.max() else median(told))
        over = np.flatnonzero(self.same & (to_next(cut) != 0))
        if len(over):
            padded = np.concatenate([[np.nan], gap, [np.nan]])
            beside = np.stack([padded[over], padded[over + 2]])
            known = ~np.isnan(beside)
            total, count = np.where(known, beside, 0.0).sum(axis=0), known.sum(axis=0)
            limit[over] = np.where(count > 0, _limit_s(total / np.maximum(count, 1)), rules.GAP_CEILING_S)
        return limit


def to_next(values: Numbers) -> Numbers:
    """What comes on top of each value until the next; zero on the last."""
    step = np.zeros_like(values)
    np.subtract(values[1:], values[:-1], out=step[:-1])
    return step


def _limit_s(spacing_s: Floats | float) -> Floats:
    fast = np.clip(np.multiply(spacing_s, rules.GAP_FACTOR), rules.GAP_FLOOR_S, rules.GAP_CEILING_S)
    return np.where(np.greater_equal(spacing_s, rules.SLOW_FEED_S), rules.GAP_SLOW_S, fast)


def sum_before(steps: Floats) -> Floats:
    """What the steps before each one add up to."""
    sums = np.zeros(len(steps))
    np.cumsum(steps[:-1], out=sums[1:])
    return sums


@dataclass(frozen=True)
class Readings:
    """A signal's values on the rows where it was read.

    `lost` is true where what happened until the next reading cannot be told: nowhere, until `counted` finds a reset.
    """

    sampling: Sampling
    x: Floats
    lost: Flags | None = None


@dataclass(frozen=True, eq=False)
class Fixes:
    """Positions, on rows on which both coordinates were read."""

    told: Told
    latitude_deg: Floats
    longitude_deg: Floats

    @classmethod
    def of(cls, latitude: Signal, longitude: Signal) -> Fixes:
        """Both coordinates where both are known."""
        if latitude.told is longitude.told:
            return cls(latitude.told, latitude.x, longitude.x)
        told = Told.where(latitude.told.on & longitude.told.on)
        return cls(told, *(signal.on_rows().value[told.at] for signal in (latitude, longitude)))


@dataclass(frozen=True, eq=False)
class Samples:
    """Telemetry as arrays: rows, which of them are `real`, and the readings of every signal that was ever read."""

    vehicle_id: NDArray[Any]
    rows: Rows
    real: Told
    signals: Mapping[str, Signal]
    _samplings: dict[bytes, Sampling] = field(default_factory=dict)
    _of_told: dict[int, tuple[Told, Sampling]] = field(default_factory=dict)

    @property
    def height(self) -> int:
        """How many rows there are, those of cuts included."""
        return len(self.rows.us)

    @cached_property
    def memory(self) -> Memory:
        """What vehicles last said."""
        return Memory(self.rows.us, self.rows.first_row, self.rows.last_row)

    def of_vehicles(self, values: Mapping[int, float]) -> Floats:
        """What is known of each row's vehicle."""
        starts = np.flatnonzero(self.rows.first_row == self.rows.row)
        told = [values[id_] for id_ in self.vehicle_id[starts].tolist()]
        return np.repeat(np.array(told, float), np.diff(np.append(starts, self.height)))

    def with_signals(self, signals: Mapping[str, Signal]) -> Samples:
        """The same rows with other readings."""
        return replace(self, signals=signals)

    def said(self, name: str) -> Said:
        """A signal on every row; nothing is told of one that was never read."""
        signal = self.signals.get(name)
        return Said(np.zeros(self.height), np.zeros(self.height, bool)) if signal is None else signal.on_rows()

    def spread(self, km: Floats) -> None:
        """Tell every row its distance on the odometer."""
        self.rows.km[:] = km
        for sampling in self._samplings.values():
            sampling.spread(km)

    def sampling(self, told: Told) -> Sampling:
        """What follows from the rows on which something was read, found once for all that was read on them."""
        known = self._of_told.get(id(told))
        if known is None:
            key = np.packbits(told.on).tobytes()
            if key not in self._samplings:
                self._samplings[key] = Sampling(self.rows.told(told))
            known = self._of_told[id(told)] = (told, self._samplings[key])
        return known[1]

    def readings(self, name: str) -> Readings:
        """The readings of a signal."""
        signal = self.signals[name]
        return Readings(self.sampling(signal.told), signal.x)

    def modulus(self, readings: Readings, of_vehicles: Mapping[int, float]) -> Floats | None:
        """Where the counter of each reading's vehicle starts again; NaN where that is not known, None for all."""
        if not of_vehicles:
            return None
        vehicle = self.vehicle_id[readings.sampling.rows.row]
        found = np.full(len(vehicle), np.nan)
        for vehicle_id, modulus in of_vehicles.items():
            found[vehicle == vehicle_id] = modulus
        return found

    def with_rows(self, source: Whole, us: Whole, fresh: Flags) -> Samples:
        """Rows put in between: `source` is the row that each one stands for or comes after, `fresh` those put in."""
        vehicle_id, old = self.vehicle_id[source], np.flatnonzero(~fresh)
        at_cut = ~self.real.on[source] & ~fresh
        rows = Rows.of(vehicle_id, us, ~at_cut)
        moved = {id(told): Told(old[told.at], told.on[source] & ~fresh) for told in self._tolds()}
        signals = {name: Signal(moved[id(signal.told)], signal.x) for name, signal in self.signals.items()}
        return Samples(vehicle_id, rows, moved[id(self.real)], signals)

    def _tolds(self) -> Iterable[Told]:
        return [self.real, *(signal.told for signal in self.signals.values())]
