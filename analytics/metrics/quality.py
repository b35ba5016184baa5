"""Readings that cannot be true: found, counted, and left out before anything is computed from them.

Whole columns are looked at, one signal at a time; what a signal may be is in `plausible`. A signal without a fault
costs one look at its extremes and one at its steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from analytics.metrics import rules
from analytics.metrics.arrays import Flags, Floats, Whole
from analytics.metrics.fill import US_PER_S
from analytics.metrics.plausible import (
    HDOP_MAX,
    KEPT,
    PLAUSIBLE,
    SPIKE_STEP,
    STUCK_SPEED_KMH,
    Plausible,
    Reason,
)  # fmt: skip
from analytics.metrics.positions import apart_km, at_most_km
from analytics.metrics.samples import COUNTERS, LASTING, PLACE
from analytics.metrics.tracks import RollOver

SCHEMA: dict[str, pl.DataType] = {
    "vehicle_id": pl.Int32(), "day": pl.Date(), "signal": pl.String(), "reason": pl.String(), "samples": pl.Int64(),
    "left_out": pl.Boolean(),
}  # fmt: skip
ROW = "time"
"""Stands for the signal where a whole row is flagged."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Rows on which a signal, or `ROW`, is flagged for a reason."""

    signal: str
    reason: Reason
    rows: Whole


def examined(
    rows: pl.DataFrame, vehicles: pl.DataFrame, cuts: pl.DataFrame, roll_over: RollOver
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ordered rows without the readings that cannot be true, and what was found: `SCHEMA`, of the days alone.

    `rows` have `row`, `first_row`, `us` and `cut` (null before the first) beside the signals.
    """
    frame = _Frame(rows, vehicles, roll_over)
    faults = [fault for fault in frame.faults() if len(fault.rows)]
    return frame.cleaned(faults), _counted(faults, rows, cuts)


class _Frame:
    """The rows as arrays."""

    def __init__(self, rows: pl.DataFrame, vehicles: pl.DataFrame, roll_over: RollOver) -> None:
        self.rows, self.vehicles, self.roll_over = rows, vehicles, roll_over
        self.us = rows["us"].to_numpy()
        self.first_row = rows["first_row"].to_numpy()
        self.names = [name for name in PLAUSIBLE if name in rows.columns and rows[name].null_count() < rows.height]
        self.real_at = np.flatnonzero(rows["real"].to_numpy())
        self.changed: dict[str, Floats] = {}
        self.read: dict[str, tuple[Whole, Floats]] = {}
        self.extremes = _extremes(rows, self.names)

    def faults(self) -> Iterator[Fault]:
        """Everything that is flagged. Later looks do not see what earlier ones found."""
        for name in self.names:
            yield from self._without(name, self._beyond(name))
        for name in self.names:
            known = PLAUSIBLE[name]
            if known.per_s is not None:
                yield from self._without(name, self._spikes(name, known.per_s))
            if known.stuck_s is not None:
                yield from self._without(name, self._stuck(name, known.stuck_s))
        yield from self._out_of_order()
        yield from self._positions()

    def cleaned(self, faults: list[Fault]) -> pl.DataFrame:
        """The rows without what was left out. A row of another time keeps no signal at all."""
        rows = self.rows.with_columns(pl.Series(name, x, nan_to_null=True) for name, x in self.changed.items())
        astray = [fault.rows for fault in faults if fault.signal == ROW]
        if astray:
            kept = pl.Series("kept", ~_flagged(np.concatenate(astray), rows.height))
            signals = [name for name in rows.columns if name in self.names or name in LASTING]
            rows = rows.with_columns(kept).with_columns(pl.when("kept").then(pl.col(*signals))).drop("kept")
        return rows

    def _without(self, name: str, faults: Iterator[Fault]) -> Iterator[Fault]:
        for fault in faults:
            if len(fault.rows) and fault.reason not in KEPT:
                self._lose(name, fault.rows)
            yield fault

    def _beyond(self, name: str) -> Iterator[Fault]:
        """Values out of limits, and unlikely ones."""
        known, (least, most) = PLAUSIBLE[name], self.extremes[name]
        high: float | Floats = known.high
        if known.high_for and most > min(known.high_for.values()):
            high = self._by_category(known)
        low, likely_high = known.likely
        if known.low <= least and not np.any(most > high) and low <= least and most <= likely_high:
            return
        x = self._values(name)
        if least < known.low or np.any(most > high):
            bad = (x < known.low) | (x > high)
            yield Fault(name, Reason.LIMIT, np.flatnonzero(bad))
        if least < low or most > likely_high:
            odd = ((x < low) | (x > likely_high)) & ~np.isnan(x)
            yield Fault(name, Reason.UNLIKELY, np.flatnonzero(odd & (x >= known.low) & (x <= known.high)))

    def _by_category(self, known: Plausible) -> Floats:
        highs = self.vehicles["category"].replace_strict(
            dict(known.high_for), default=known.high, return_dtype=pl.Float64
        )
        by_vehicle = dict(zip(self.vehicles["vehicle_id"], highs, strict=True))
        return self.rows["vehicle_id"].replace_strict(by_vehicle, return_dtype=pl.Float64).to_numpy()

    def _spikes(self, name: str, per_s: float) -> Iterator[Fault]:
        """Single readings that leave and return faster than the quantity can change."""
        at, x = self._readings(name)
        step, at_once = np.diff(x), SPIKE_STEP.get(name, 0.0)
        if len(step) == 0 or max(-step.min(), step.max()) <= at_once:
            return
        same, gap_s = self.first_row[at[1:]] == self.first_row[at[:-1]], np.diff(self.us[at]) / US_PER_S
        limit = np.maximum(per_s * gap_s, at_once)
        fast = (np.abs(step) > limit) & same
        if not fast.any():
            return
        there_and_back = fast[:-1] & fast[1:] & (np.sign(step[:-1]) != np.sign(step[1:]))
        back = np.abs(x[2:] - x[:-2]) <= np.maximum(limit[:-1], limit[1:])
        yield Fault(name, Reason.SPIKE, at[1:-1][there_and_back & back])

    def _stuck(self, name: str, longest_s: float) -> Iterator[Fault]:
        """Stretches without any change while the speed changes; zero is no fault where an engine may drive alone."""
        if "speed_kmh" not in self.names:
            return
        at, x = self._readings(name)
        changes = np.flatnonzero((x[1:] != x[:-1]) | (self.first_row[at[1:]] != self.first_row[at[:-1]]))
        starts, ends = np.append(0, changes + 1), np.append(changes, len(x) - 1)
        long = (self.us[at[ends]] - self.us[at[starts]]) / US_PER_S > longest_s
        speed, none = self._values("speed_kmh"), np.array([], np.int64)
        spells = [at[first : last + 1] for first, last in zip(starts[long], ends[long], strict=True)]
        found = [rows for rows in spells if _varies(speed[rows[0] : rows[-1] + 1]) and self._drives_on(name, rows[0])]
        yield Fault(name, Reason.STUCK, np.concatenate([none, *found]))

    def _drives_on(self, name: str, row: int) -> bool:
        """The vehicle cannot drive without this signal being other than zero, or it is other than zero."""
        own = self.vehicles.filter(pl.col("vehicle_id") == self.rows["vehicle_id"][int(row)])
        return bool(self._values(name)[row] != 0 or own["powertrain"].item() == "bev")

    def _out_of_order(self) -> Iterator[Fault]:
        """Counters that fall back or run ahead and return; rows on which two do are of another time."""
        found = {name: self._strays(name) for name in COUNTERS if name in self.names}
        strays = [rows for rows in found.values() if len(rows)]
        if not strays:
            return
        rows, witnesses = np.unique(np.concatenate(strays), return_counts=True)
        astray = rows[witnesses > 1]
        yield Fault(ROW, Reason.CLOCK, astray)
        for name, own in found.items():
            yield from self._without(name, iter([Fault(name, Reason.BACKWARDS, np.setdiff1d(own, astray))]))

    def _strays(self, name: str) -> Whole:
        """Rows of a counter's excursions: down and back in one leap, or up in one leap and back down."""
        at, x = self._readings(name)
        falls = np.flatnonzero(x[1:] < x[:-1])
        same = self.first_row[at[1:]] == self.first_row[at[:-1]] if len(falls) else falls.astype(bool)
        if not same[falls].any():
            return np.array([], np.int64)
        behind, ahead, rolling = [], [], self.roll_over.get(name, {})
        for first, last in _vehicles(same):
            if self.rows["vehicle_id"][int(at[first])] in rolling:
                continue  # what falls there may have started again
            part, when = x[first:last], self.us[at[first:last]]
            behind.append(first + _below(part, when, name))
            ahead.append(last - 1 - _below(-part[::-1], -when[::-1], name))
        none = np.array([], np.int64)
        low, high = np.concatenate([none, *behind]), np.concatenate([none, *ahead])
        # Where two series take turns each strays from the other: those are astray without whom there is order.
        astray: Whole = min((low, high), key=lambda rows: (_falls(np.delete(x, rows)), len(rows)))
        return at[np.sort(astray)]

    def _positions(self) -> Iterator[Fault]:
        if not all(name in self.names for name in PLACE):
            return
        latitude, longitude = (self._values(name) for name in PLACE)
        yield from self._lost(Reason.NO_FIX, np.flatnonzero((latitude == 0) & (longitude == 0)))
        if "gnss_hdop" in self.names:
            yield from self._lost(Reason.IMPRECISE, np.flatnonzero(self._values("gnss_hdop") > HDOP_MAX))
        latitude, longitude = (self._values(name) for name in PLACE)
        at = np.flatnonzero(~np.isnan(latitude) & ~np.isnan(longitude))
        if len(at) > 2:
            yield from self._lost(Reason.JUMP, self._jumps(at, latitude[at], longitude[at]))

    def _jumps(self, at: Whole, latitude: Floats, longitude: Floats) -> Whole:
        """Single fixes that are too far from both neighbours, which are close to each other."""
        reach_km = rules.GNSS_MAX_KMH * np.diff(self.us[at]) / US_PER_S / 3600 + rules.GNSS_NOISE_KM
        if (at_most_km(latitude, longitude) <= reach_km).all():
            return np.array([], np.int64)
        far = apart_km(latitude, longitude) > reach_km
        far &= self.first_row[at[1:]] == self.first_row[at[:-1]]
        alone = np.flatnonzero(far[:-1] & far[1:]) + 1
        around = [np.stack([c[alone - 1], c[alone + 1]]) for c in (latitude, longitude)]
        together = np.array([apart_km(a, b)[0] for a, b in zip(around[0].T, around[1].T, strict=True)])
        return at[alone[together <= reach_km[alone - 1] + reach_km[alone]]] if len(alone) else alone

    def _lost(self, reason: Reason, rows: Whole) -> Iterator[Fault]:
        """Fixes to leave out: both coordinates go, and are counted once."""
        if len(rows):
            for name in PLACE:
                self._lose(name, rows)
                yield Fault(name, reason, rows)

    def _values(self, name: str) -> Floats:
        """The signal on every row, NaN where it is not known or was found wrong."""
        if name in self.changed:
            return self.changed[name]
        return self.rows[name].cast(pl.Float64).to_numpy(writable=False)

    def _lose(self, name: str, rows: Whole) -> None:
        if name not in self.changed:
            self.changed[name] = self._values(name).copy()
        self.changed[name][rows] = np.nan
        self.read.pop(name, None)

    def _readings(self, name: str) -> tuple[Whole, Floats]:
        """The rows on which the signal is known, and its values there."""
        if name not in self.read:
            self.read[name] = self._read(name)
        return self.read[name]

    def _read(self, name: str) -> tuple[Whole, Floats]:
        column = self.rows[name]
        if name not in self.changed and column.null_count() == self.rows.height - len(self.real_at):
            # Read on every row but the cuts, which have no readings.
            return self.real_at, column.cast(pl.Float64).drop_nulls().to_numpy()
        x = self._values(name)
        at = np.flatnonzero(~np.isnan(x))
        return at, x[at]


def _varies(speed_kmh: Floats) -> bool:
    """The speed changes."""
    known = speed_kmh[~np.isnan(speed_kmh)]
    return len(known) > 0 and float(np.ptp(known)) >= STUCK_SPEED_KMH


def _extremes(rows: pl.DataFrame, names: list[str]) -> dict[str, tuple[float, float]]:
    """The least and the most of each signal."""
    bounds = [pl.struct(least=pl.col(name).min(), most=pl.col(name).max()).alias(name) for name in names]
    found = rows.lazy().select(bounds).collect().row(0, named=True) if names else {}
    return {name: (both["least"], both["most"]) for name, both in found.items()}


def _vehicles(same: Flags) -> list[tuple[int, int]]:
    """Bounds of each vehicle's readings, from where the next reading is of the same one."""
    edges = np.flatnonzero(~same) + 1
    return list(zip([0, *edges.tolist()], [*edges.tolist(), len(same) + 1], strict=True))


def _below(x: Floats, us: Whole, name: str) -> Whole:
    """Readings under what was reached before them, if what comes next leaps back up to it.

    A counter that starts anew comes back slowly, or not at all, and is none of these; a single reading that returns is.
    """
    reached = np.maximum.accumulate(x)
    later = np.append(np.maximum.accumulate(x[::-1])[::-1][1:], -np.inf)
    under = (x < reached - rules.COUNTER_JITTER) & (later >= reached)
    if not under.any():
        return np.array([], np.int64)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], under, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    after = np.minimum(ends, len(x) - 1)
    hours = np.abs(us[after] - us[ends - 1]) / US_PER_S / 3600
    per_h = rules.MAX_RATE_PER_H.get(name, rules.DEFAULT_MAX_RATE_PER_H)
    leaps = (x[after] - x[ends - 1] > per_h * hours + rules.COUNTER_JITTER) | (ends - starts == 1)
    runs = [np.arange(s, e) for s, e in zip(starts[leaps], ends[leaps], strict=True)]
    return np.concatenate(runs) if runs else np.array([], np.int64)


def _falls(x: Floats) -> int:
    return int((np.diff(x) < -rules.COUNTER_JITTER).sum())


def _flagged(rows: Whole, height: int) -> Flags:
    flags = np.zeros(height, bool)
    flags[rows] = True
    return flags


def _counted(faults: list[Fault], rows: pl.DataFrame, cuts: pl.DataFrame) -> pl.DataFrame:
    """Faults by vehicle, day, signal and reason; those of the padding are other days' concern."""
    if not faults:
        return pl.DataFrame(schema=SCHEMA)
    cut = rows["cut"]
    parts = [
        pl.DataFrame({"cut": cut.gather(fault.rows)}).with_columns(
            signal=pl.lit(fault.signal), reason=pl.lit(fault.reason.value), left_out=pl.lit(fault.reason not in KEPT)
        )
        for fault in faults
    ]
    days = cuts.filter(pl.col("day").is_not_null()).select("cut", "vehicle_id", "day")
    counts = pl.concat(parts).join(days, on="cut").group_by("vehicle_id", "day", "signal", "reason", "left_out")
    found = counts.agg(samples=pl.len().cast(pl.Int64)).select(*SCHEMA)
    return found.sort("vehicle_id", "day", "signal", "reason")
