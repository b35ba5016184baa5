"""Where marked rows lie among the readings of tracks, and what the tracks tell there.

What depends on the rows alone is looked up once for all marks, and for all tracks that share a sampling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from analytics.metrics.arrays import Flags, Floats, Whole
from analytics.metrics.fill import US_PER_S
from analytics.metrics.readings import Rows, Sampling
from analytics.metrics.tracks import Track


@dataclass(frozen=True)
class Places:
    """Where marked rows lie among the readings of tracks; looked up once for each sampling."""

    marks: Rows
    _found: dict[int, tuple[Sampling, Place]] = field(default_factory=dict)

    def among(self, sampling: Sampling) -> Place:
        """The readings around each mark."""
        if id(sampling) not in self._found:
            self._found[id(sampling)] = (sampling, Place.of(sampling, self.marks))
        return self._found[id(sampling)][1]


@dataclass(frozen=True)
class Place:
    """The last reading up to each mark and the first one from it on: positions, and whether the vehicle has one.

    Everything in it is the same for all tracks of one sampling.
    """

    rows: Rows
    marks: Rows
    before: Whole
    after: Whole
    has_before: Flags
    has_after: Flags
    _sums: dict[int, tuple[Floats, Floats]] = field(default_factory=dict)

    @classmethod
    def of(cls, sampling: Sampling, marks: Rows, *, beyond: int = 0) -> Place:
        """Look up `marks`; `beyond` rows further on for the reading after."""
        row = sampling.rows.row
        before = np.searchsorted(row, marks.row, side="right") - 1
        after = np.searchsorted(row, marks.row + beyond, side="left")
        last = len(row) - 1
        before, after, follows, precedes = np.maximum(before, 0), np.minimum(after, last), after <= last, before >= 0
        has_before = precedes & (row[before] >= marks.first_row)
        has_after = follows & (row[after] <= marks.last_row)
        return cls(sampling.rows, marks, before, after, has_before, has_after)

    @cached_property
    def here(self) -> Whole:
        """The reading to start from: the one before, or after where there is none before."""
        return np.where(self.has_before, self.before, self.after)

    @cached_property
    def there(self) -> Whole:
        """The reading to go to: the one after, or the only one."""
        return np.where(self.has_before & self.has_after, self.after, self.here)

    @cached_property
    def unknown(self) -> Flags:
        """The vehicle has no reading at all."""
        return ~(self.has_before | self.has_after)

    @cached_property
    def inside(self) -> Flags:
        """The mark lies between two readings, on neither."""
        return self.has_before & self.has_after & (self.rows.row[self.before] < self.marks.row)

    @cached_property
    def seconds(self) -> Floats:
        """Time since the reading to start from."""
        return (self.marks.us - self.rows.us[self.here]) / US_PER_S

    @cached_property
    def hours(self) -> Floats:
        """The same time in hours."""
        return self.seconds / 3600

    @cached_property
    def km(self) -> Floats:
        """Distance since the reading to start from."""
        return self.marks.km - self.rows.km[self.here]

    @cached_property
    def share(self) -> Floats:
        """How far the mark is on the way from here to there."""
        since, span = self.marks.us - self.rows.us[self.here], self.rows.us[self.there] - self.rows.us[self.here]
        share: Floats = np.divide(since, span, out=np.zeros(len(span)), where=span > 0)
        return share

    @cached_property
    def _bounds(self) -> tuple[Whole, Whole]:
        """The readings to start from, each once and after the very first, and which of them each mark has."""
        return np.unique(np.append(0, self.here), return_inverse=True)

    def sum_before(self, steps: Floats) -> Floats:
        """What the steps before the readings to start from add up to."""
        known = self._sums.get(id(steps))
        if known is None:
            bounds, which = self._bounds
            between = np.add.reduceat(steps, bounds)
            sums = np.append(0.0, np.cumsum(between[:-1]))[which[1:]]
            known = self._sums[id(steps)] = (steps, sums)
        return known[1]

    def between(self, x: Floats) -> Floats:
        """The value at each mark on the line from here to there."""
        here = x[self.here]
        return here + (x[self.there] - here) * self.share


def at(track: Track, places: Places) -> dict[str, Floats]:
    """Running sums of `track` at marked rows.

    A row before a vehicle's first reading gets the sum at that reading; NaN means that the vehicle has none.
    """
    place = places.among(track.sampling)
    parts = track.amounts(track.x[place.here], place.between(track.x), place.hours, place.km)
    parts |= {f"{track.name}_s": place.seconds}
    if track.with_km:
        parts |= {f"{track.name}_km": place.km}
    part_way = place.inside & track.covered[place.before]
    sums = {name: _before(track, name, place) + np.where(part_way, part, 0.0) for name, part in parts.items()}
    for values in sums.values():
        values[place.unknown] = np.nan
    return sums


def _before(track: Track, name: str, place: Place) -> Floats:
    """A sum before the readings to start from."""
    return track.running[name][place.here] if name in track.running else place.sum_before(track.steps[name])


def level(track: Track, places: Places) -> Floats:
    """The track's value at each mark, linear between readings, the nearest one outside them."""
    place = places.among(track.sampling)
    return np.where(place.unknown, np.nan, place.between(track.x))


def rise_across(track: Track, places: Places) -> Floats:
    """The change of the track's value from the last reading up to each mark to the first one after it.

    NaN where the track does not cover the time between them.
    """
    place = Place.of(track.sampling, places.marks, beyond=1)
    covered = place.has_before & place.has_after & track.covered[place.before]
    return np.where(covered, track.x[place.after] - track.x[place.before], np.nan)
