"""Intervals of time, by whatever they belong to.

All of them lie on one line, on which the times of each owner come after those of the owner before: an instant of an
owner is one number, and what is looked up is looked up for all owners at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from analytics.metrics.arrays import Flags, Whole, microseconds

_NONE = np.array([], np.int64)


@dataclass(frozen=True, slots=True)
class Line:
    """The line of `owners`, in order, with `length_us` for each, from `from_us` on."""

    owners: Whole
    from_us: int
    length_us: int

    @classmethod
    def over(cls, owner: Whole, starts_us: Whole, ends_us: Whole) -> Line:
        """A line on which there is room for all of these intervals."""
        return cls(np.unique(owner), int(starts_us.min()), int(ends_us.max() - starts_us.min()))

    def has(self, owner: Whole) -> Flags:
        """Those who have a place on the line."""
        rank = np.minimum(np.searchsorted(self.owners, owner), len(self.owners) - 1)
        has: Flags = self.owners[rank] == owner
        return has

    def at(self, owner: Whole, us: Whole) -> Whole:
        """Where on the line a time of each owner lies. Times off the line are moved to its ends."""
        rank: Whole = np.searchsorted(self.owners, owner)
        return rank * (self.length_us + 1) + np.clip(us - self.from_us, 0, self.length_us)

    def us(self, instants: Whole) -> Whole:
        """The time of each instant."""
        return instants % (self.length_us + 1) + self.from_us

    def owner(self, instants: Whole) -> Whole:
        """Whose each instant is."""
        return self.owners[instants // (self.length_us + 1)]

    def spans(self, owner: Whole, starts_us: Whole, ends_us: Whole) -> Spans:
        """The union of each owner's intervals; those of anybody else are left out."""
        if not len(owner):
            return Spans(_NONE, _NONE)
        mine = self.has(owner)
        laid = self.laid(owner[mine], starts_us[mine], ends_us[mine])
        some = laid.starts < laid.ends
        return Spans.union(laid.starts[some], laid.ends[some])

    def laid(self, owner: Whole, starts_us: Whole, ends_us: Whole) -> Spans:
        """Intervals of owners on the line as they are: in order, and without overlap."""
        return Spans(self.at(owner, starts_us), self.at(owner, ends_us))


@dataclass(frozen=True, slots=True)
class Spans:
    """Intervals on a line in order, without overlap."""

    starts: Whole
    ends: Whole

    @classmethod
    def union(cls, starts: Whole, ends: Whole) -> Spans:
        """What any of the intervals covers. Those that touch become one."""
        if not len(starts):
            return cls(starts, ends)
        order = np.argsort(starts, kind="stable")
        starts, so_far = starts[order], np.maximum.accumulate(ends[order])
        apart = starts[1:] > so_far[:-1]
        return cls(starts[np.append(True, apart)], so_far[np.append(apart, True)])

    def around(self, instants: Whole) -> tuple[Whole, Flags]:
        """The last interval that starts up to each instant, and whether the instant lies inside."""
        if not len(self.starts):
            return np.zeros(len(instants), np.int64), np.zeros(len(instants), bool)
        last = np.searchsorted(self.starts, instants, side="right") - 1
        found = np.maximum(last, 0)
        return found, (last >= 0) & (self.ends[found] > instants)


def merged(intervals: pl.DataFrame, key: str = "vehicle_id") -> pl.DataFrame:
    """The union of each key's intervals `starts_at` to `ends_at`, without overlap, in order."""
    intervals = intervals.select(key, "starts_at", "ends_at").filter(pl.col("ends_at") > pl.col("starts_at"))
    if intervals.is_empty():
        return intervals
    owner, starts, ends = (intervals[key].to_numpy(), *(microseconds(intervals[n]) for n in ("starts_at", "ends_at")))
    line = Line.over(owner, starts, ends)
    union = line.spans(owner, starts, ends)
    columns = {key: line.owner(union.starts), "starts_at": line.us(union.starts), "ends_at": line.us(union.ends)}
    return pl.DataFrame([pl.Series(name, values).cast(intervals.schema[name]) for name, values in columns.items()])
