"""A signal's own samples, and what has been summed up before each; `places` tells the sums between them.

A *track* holds the rows on which a signal was read, in order of vehicle and time, with what has been summed up before
each. A quantity between two instants is the difference of two lookups; between samples it is filled linearly, so a cut
splits it exactly. Nothing is summed over an interval longer than its limit.

All of it is arithmetic on whole arrays, NaN standing for "not known". Signals read on the same rows share everything
that depends on the rows alone (`Sampling`), which is most of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import polars as pl

from analytics.metrics import rules
from analytics.metrics.arrays import Flags, Floats, Numbers, Whole, median
from analytics.metrics.fill import US_PER_S

US_PER_H = 3.6e9
RollOver = Mapping[str, Mapping[int, float]]
"""By counter and vehicle, the value at which it starts again from zero."""
Amounts = Callable[[Floats, Floats, Floats, Floats], dict[str, Floats]]
"""From the value here, the value there, and the hours and kilometres between: what an interval adds, by name."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in order of vehicle and time: position, time, distance on the odometer, bounds of their vehicle, cut."""

    row: Whole
    us: Whole
    km: Floats
    first_row: Whole
    last_row: Whole
    cut: Whole

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Rows:
        """Take what tracks need out of prepared rows. A row before the first cut has cut -1, and all `km` are zero."""
        row, us, first_row, last_row = (_whole(rows[name]) for name in ("row", "us", "first_row", "last_row"))
        return cls(row, us, np.zeros(len(row)), first_row, last_row, _whole(rows["cut"].fill_null(-1)))

    def at(self, positions: Whole | Flags) -> Rows:
        """Some of the rows."""
        return Rows(*(getattr(self, name)[positions] for name in Rows.__dataclass_fields__))


def _whole(values: pl.Series) -> Whole:
    return values.cast(pl.Int64).to_numpy()


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
    def ends(self) -> Whole:
        """The last reading of each vehicle."""
        return np.flatnonzero(~self.same)

    @cached_property
    def gap_s(self) -> Floats:
        """Time to the vehicle's next reading; NaN on its last."""
        return np.where(self.same, _to_next(self.rows.us) / US_PER_S, np.nan)

    @cached_property
    def gap_h(self) -> Floats:
        """Time to the vehicle's next reading in hours."""
        return self.gap_s / 3600

    @cached_property
    def km(self) -> Floats:
        """Distance to the next reading."""
        return _to_next(self.rows.km)

    @cached_property
    def until_s(self) -> Floats:
        """Time of each reading in seconds."""
        return self.rows.us / US_PER_S

    @cached_property
    def since_h(self) -> Floats:
        """Hours since the reading before; zero on the first."""
        since = np.zeros(len(self.rows.us))
        np.divide(np.diff(self.rows.us), US_PER_H, out=since[1:])
        return since

    @cached_property
    def short(self) -> Flags:
        """Steps no longer than a rate may be integrated over."""
        return self.gap_s <= self._limit_s()

    @cached_property
    def unbroken(self) -> bool:
        """Every step may be bridged."""
        return bool((self.bridgeable | ~self.same).all())

    @cached_property
    def short_s(self) -> Floats:
        """Time of such steps before each reading."""
        return _sum_before(np.where(self.short, self.gap_s, 0.0))

    @cached_property
    def short_km(self) -> Floats:
        """Distance of such steps before each reading."""
        return _sum_before(np.where(self.short, self.km, 0.0))

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
                limit[start:end] = _limit_s(median(told))
        over = np.flatnonzero(self.same & (_to_next(cut) != 0))
        if len(over):
            padded = np.concatenate([[np.nan], gap, [np.nan]])
            beside = np.stack([padded[over], padded[over + 2]])
            known = ~np.isnan(beside)
            total, count = np.where(known, beside, 0.0).sum(axis=0), known.sum(axis=0)
            limit[over] = np.where(count > 0, _limit_s(total / np.maximum(count, 1)), rules.GAP_CEILING_S)
        return limit


def _to_next(values: Numbers) -> Numbers:
    """What is added up to the next value; zero on the last."""
    step = np.zeros_like(values)
    np.subtract(values[1:], values[:-1], out=step[:-1])
    return step


def _limit_s(spacing_s: Floats | float) -> Floats:
    fast = np.clip(np.multiply(spacing_s, rules.GAP_FACTOR), rules.GAP_FLOOR_S, rules.GAP_CEILING_S)
    return np.where(np.greater_equal(spacing_s, rules.SLOW_FEED_S), rules.GAP_SLOW_S, fast)


@dataclass(frozen=True)
class Readings:
    """A signal's values on the rows where it was read.

    `lost` is true where what happened until the next reading cannot be told: nowhere, until `counted` finds a reset.
    """

    sampling: Sampling
    x: Floats
    lost: Flags | None = None


class Reader:
    """Finds the readings of signals in prepared rows, once for all signals that are read on the same rows."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame
        self._all = Rows.of(frame)
        self.real = frame["real"].to_numpy()
        self._unread = frame.height - int(self.real.sum())
        self._samplings: dict[bytes, Sampling] = {}

    @property
    def rows(self) -> Rows:
        """Every row."""
        return self._all

    def spread(self, km: Floats) -> None:
        """Tell every row its distance on the odometer, before anything else is read."""
        self._all.km[:] = km
        for sampling in self._samplings.values():
            sampling.spread(km)

    def sampled(self, read: Flags) -> Sampling:
        """The rows on which something was read."""
        key = np.packbits(read).tobytes()
        if key not in self._samplings:
            self._samplings[key] = Sampling(self._all if read.all() else self._all.at(np.flatnonzero(read)))
        return self._samplings[key]

    def readings(self, name: str) -> Readings:
        """The readings of a signal."""
        column = self.frame[name].cast(pl.Float64)
        if column.null_count() == self._unread:
            # Read on every row but the cuts, which have no readings.
            return Readings(self.sampled(self.real), column.filter(self.frame["real"]).to_numpy())
        x = column.to_numpy()
        read = ~np.isnan(x)
        return Readings(self.sampled(read), x[read])

    def modulus(self, readings: Readings, of_vehicles: Mapping[int, float]) -> Floats | None:
        """Where the counter of each reading's vehicle starts again; NaN where that is not known, None for all."""
        if not of_vehicles:
            return None
        vehicle = self.frame["vehicle_id"].gather(readings.sampling.rows.row)
        return vehicle.replace_strict(of_vehicles, default=None, return_dtype=pl.Float64).to_numpy()


@dataclass(frozen=True)
class Track:
    """Readings of a signal, which steps to the next are `covered`, and the sums before each reading."""

    name: str
    sampling: Sampling
    x: Floats
    covered: Flags
    sums: dict[str, Floats]
    amounts: Amounts
    with_km: bool = True


def counted(readings: Readings, name: str, modulus: Floats | None = None) -> Readings:
    """Turn the readings of a counter into what it has counted, free of spikes, resets and device changes.

    A single reading that leaves and returns is dropped. A fall counts nothing and goes on from the new value, unless
    `modulus`, of each reading, says that the counter starts again there. A rise faster than possible counts nothing.
    Intervals that count nothing for these reasons are `lost`.
    """
    rise = _to_next(readings.x)
    rise[readings.sampling.ends] = 0
    if len(rise) == 0 or (rise.min() >= 0 and rise.max() <= rules.RATE_SLACK):
        return readings
    step, possible = _steps(readings, name)
    if not (~np.isnan(step) & ~((step >= 0) & (step <= possible))).any():
        return readings
    stay = ~_returns(readings, step)
    kept = readings_at(readings, stay)
    step, possible = _steps(kept, name)
    rise = np.where(step >= 0, step, np.nan if modulus is None else _rolled(step, modulus[stay]))
    told = rise <= possible
    return Readings(kept.sampling, np.cumsum(np.where(told, rise, 0.0)), np.append(~told[1:], True))


def readings_at(readings: Readings, kept: Flags) -> Readings:
    """Some of the readings."""
    if kept.all():
        return readings
    return Readings(Sampling(readings.sampling.rows.at(kept)), readings.x[kept])


def _steps(readings: Readings, name: str) -> tuple[Floats, Floats]:
    """What a counter rose by since the vehicle's reading before (NaN on its first), and what it can have risen by."""
    follows = np.append(np.zeros(min(1, len(readings.x)), bool), readings.sampling.same[:-1])
    step = np.where(follows, np.diff(readings.x, prepend=readings.x[:1]), np.nan)
    per_h = rules.MAX_RATE_PER_H.get(name, rules.DEFAULT_MAX_RATE_PER_H)
    return step, per_h * readings.sampling.since_h + rules.RATE_SLACK


def _returns(readings: Readings, step: Floats) -> Flags:
    """Single readings that leave, up or down, and return at least to where the counter was."""
    here, before = readings.x, readings.x - step
    after = np.where(readings.sampling.same, np.append(here[1:], np.nan), np.nan)
    return (after >= before) & ((here > after) | (here < before))


def _rolled(step: Floats, modulus: Floats) -> Floats:
    """What a fall by most of the counter's range, a roll-over, has counted; NaN for a smaller one, a reset."""
    return np.where(step < -0.5 * modulus, step + modulus, np.nan)


def bridged(name: str, readings: Readings, amount: str) -> Track:
    """A track of a value whose changes count over any gap up to `rules.REACH` that is not `lost`."""
    sampling, x = readings.sampling, readings.x
    covered = sampling.bridgeable if readings.lost is None else sampling.bridgeable & ~readings.lost

    def amounts(here: Floats, there: Floats, hours: Floats, km: Floats) -> dict[str, Floats]:
        return {amount: there - here}

    if readings.lost is None and sampling.unbroken:
        # Nothing to leave out: the value itself runs.
        sums = {amount: x, f"{name}_s": sampling.until_s, f"{name}_km": sampling.rows.km}
        return Track(name, sampling, x, covered, sums, amounts)
    return _track(name, sampling, x, covered, amounts)


def integrated(name: str, readings: Readings, amounts: Amounts, *, with_km: bool = False) -> Track:
    """A track of a rate per hour, integrated over intervals up to the day's longest step."""
    return _track(name, readings.sampling, readings.x, readings.sampling.short, amounts, with_km=with_km)


def held(name: str, readings: Readings, amounts: Amounts) -> Track:
    """A track of a value that holds until it is read again, for as long as rows are believed to be in contact."""
    covered = readings.sampling.gap_s <= rules.CONTACT_GAP_S
    return _track(name, readings.sampling, readings.x, covered, amounts)


def in_step(name: str, readings: Readings) -> Track:
    """A track of nothing but the time in intervals no longer than `x` seconds."""
    covered = readings.sampling.gap_s <= readings.x
    return _track(name, readings.sampling, readings.x, covered, lambda here, there, hours, km: {}, with_km=False)


def _track(
    name: str, sampling: Sampling, x: Floats, covered: Flags, amounts: Amounts, *, with_km: bool = True
) -> Track:
    there = np.append(x[1:], x[-1:])
    steps, skipped = amounts(x, there, sampling.gap_h, sampling.km), np.flatnonzero(~covered)
    for step in steps.values():
        step[skipped] = 0.0
    sums = {column: _sum_before(step) for column, step in steps.items()}
    # Steps that any rate may be integrated over are summed once for all signals of these rows.
    shared = covered is sampling.short
    sums[f"{name}_s"] = sampling.short_s if shared else _sum_before(np.where(covered, sampling.gap_s, 0.0))
    if with_km:
        sums[f"{name}_km"] = sampling.short_km if shared else _sum_before(np.where(covered, sampling.km, 0.0))
    return Track(name, sampling, x, covered, sums, amounts, with_km)


def _sum_before(steps: Floats) -> Floats:
    sums = np.zeros(len(steps))
    np.cumsum(steps[:-1], out=sums[1:])
    return sums
