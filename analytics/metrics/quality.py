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
from analytics.metrics.readings import Fixes, Samples, Sampling
from analytics.metrics.samples import COUNTERS, LASTING, PLACE
from analytics.metrics.tracks import RollOver

SCHEMA: dict[str, pl.DataType] = {
    "vehicle_id": pl.Int32(), "day": pl.Date(), "signal": pl.String(), "reason": pl.String(), "samples": pl.Int64(),
    "left_out": pl.Boolean(),
}  # fmt: skip
ROW = "time"
"""Stands for the signal where a whole row is flagged."""
NO_ROWS: Whole = np.array([], np.int64)


@dataclass(frozen=True, slots=True)
class Fault:
    """Rows on which a signal, or `ROW`, is flagged for a reason."""

    signal: str
    reason: Reason
    rows: Whole


def examined(
    samples: Samples, vehicles: pl.DataFrame, cuts: pl.DataFrame, roll_over: RollOver
) -> tuple[Samples, pl.DataFrame]:
    """Samples without the readings that cannot be true, and what was found: `SCHEMA`, of the days alone."""
    look = _Look(samples, vehicles, roll_over)
    faults = [fault for fault in look.faults() if len(fault.rows)]
    return look.cleaned(faults), _counted(faults, samples, cuts)


class _Look:
    """The signals, as they are after what was found so far."""

    def __init__(self, samples: Samples, vehicles: pl.DataFrame, roll_over: RollOver) -> None:
        self.samples, self.vehicles, self.roll_over = samples, vehicles, roll_over
        self.signals = dict(samples.signals)
        self.names = [name for name in PLAUSIBLE if name in samples.signals]

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

    def cleaned(self, faults: list[Fault]) -> Samples:
        """The samples without what was left out. A row of another time keeps no signal at all."""
        astray = [fault.rows for fault in faults if fault.signal == ROW]
        if astray:
            flagged = _flagged(np.concatenate(astray), self.samples.height)
            for name, signal in self.signals.items():
                if name in self.names or name in LASTING:
                    self.signals[name] = signal.kept(~flagged[signal.told.at])
        told = {name: signal for name, signal in self.signals.items() if len(signal.x)}
        return self.samples.with_signals(told)

    def _without(self, name: str, faults: Iterator[Fault]) -> Iterator[Fault]:
        for fault in faults:
            if len(fault.rows) and fault.reason not in KEPT:
                self._lose(name, fault.rows)
            yield fault

    def _beyond(self, name: str) -> Iterator[Fault]:
        """Values out of limits, and unlikely ones."""
        at, x = self._readings(name)
        least = x.min()
        if np.isnan(least):
            self._lose(name, at[np.isnan(x)])  # no number, no reading
            at, x = self._readings(name)
            if not len(x):
                return
            least = x.min()
        known, most = PLAUSIBLE[name], x.max()
        high = self._high(known, at) if known.high_for and most > min(known.high_for.values()) else known.high
        low, likely_high = known.likely
        if known.low <= least and not np.any(most > high) and low <= least and most <= likely_high:
            return
        bad = (x < known.low) | (x > high)
        if bad.any():
            yield Fault(name, Reason.LIMIT, at[bad])
        odd = ((x < low) | (x > likely_high)) & ~bad
        yield Fault(name, Reason.UNLIKELY, at[odd])

    def _high(self, known: Plausible, at: Whole) -> float | Floats:
        """The limit on each of these rows, or the one that all vehicles share."""
        facts = zip(self.vehicles["vehicle_id"], self.vehicles["category"], strict=True)
        limits = {id_: known.high_for.get(category, known.high) for id_, category in facts}
        shared = set(limits.values())
        return shared.pop() if len(shared) == 1 else self.samples.of_vehicles(limits)[at]

    def _spikes(self, name: str, per_s: float) -> Iterator[Fault]:
        """Single readings that leave and return faster than the quantity can change."""
        at, x = self._readings(name)
        step, at_once = np.diff(x), SPIKE_STEP.get(name, 0.0)
        if len(step) == 0 or max(-step.min(), step.max()) <= at_once:
            return
        sampling = self._sampling(name)
        leaps = np.flatnonzero((step > at_once) | (step < -at_once))
        limit = np.maximum(per_s * sampling.gap_s[leaps], at_once)
        fast = (np.abs(step[leaps]) > limit) & sampling.same[leaps]
        leaps, limit = leaps[fast], limit[fast]
        there, back = leaps[:-1], leaps[1:]
        returns = (back == there + 1) & (np.sign(step[there]) != np.sign(step[back]))
        there, limit = there[returns], np.maximum(limit[:-1], limit[1:])[returns]
        returned = np.abs(x[there + 2] - x[there]) <= limit
        yield Fault(name, Reason.SPIKE, at[there[returned] + 1])

    def _stuck(self, name: str, longest_s: float) -> Iterator[Fault]:
        """Stretches without any change while the speed changes; zero is no fault where an engine may drive alone."""
        if "speed_kmh" not in self.names or not len(self.signals[name].x):
            return
        (at, x), sampling = self._readings(name), self._sampling(name)
        starts, ends = _runs((x[1:] == x[:-1]) & sampling.same[:-1])
        long = (sampling.rows.us[ends] - sampling.rows.us[starts]) / US_PER_S > longest_s
        starts, ends = starts[long], ends[long]
        stuck = self._drives_on(x[starts], at[starts]) & self._varies(at[starts], at[ends])
        spells = zip(starts[stuck].tolist(), ends[stuck].tolist(), strict=True)
        yield Fault(name, Reason.STUCK, np.concatenate([NO_ROWS, *(at[start : end + 1] for start, end in spells)]))

    def _varies(self, first: Whole, last: Whole) -> Flags:
        """The speed changes between two rows. The pairs are in order, and do not overlap."""
        at, speed_kmh = self._readings("speed_kmh")
        low, high = np.searchsorted(at, first), np.searchsorted(at, last, side="right")
        varies = high > low
        bounds = np.stack([low[varies], high[varies]], axis=1).ravel()
        if len(bounds):
            bounds = bounds[: -1 if bounds[-1] == len(at) else None]
            most, least = (extreme.reduceat(speed_kmh, bounds)[::2] for extreme in (np.maximum, np.minimum))
            varies[varies] = most - least >= STUCK_SPEED_KMH
        return varies

    def _drives_on(self, value: Floats, row: Whole) -> Flags:
        """The vehicle cannot drive without this signal being other than zero, or it is other than zero."""
        battery_only = self.vehicles.filter(pl.col("powertrain") == "bev")["vehicle_id"].to_numpy()
        drives: Flags = (value != 0) | np.isin(self.samples.vehicle_id[row], battery_only)
        return drives

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
        falls = x[1:] < x[:-1]
        if not falls.any():
            return NO_ROWS
        same, us = self._sampling(name).same[:-1], self._sampling(name).rows.us
        if not (falls & same).any():
            return NO_ROWS
        behind, ahead, rolling = [], [], self.roll_over.get(name, {})
        for first, last in _vehicles(same):
            if self.samples.vehicle_id[at[first]].item() in rolling:
                continue  # what falls there may have started again
            part, when = x[first:last], us[first:last]
            behind.append(first + _below(part, when, name))
            ahead.append(last - 1 - _below(-part[::-1], -when[::-1], name))
        low, high = np.concatenate([NO_ROWS, *behind]), np.concatenate([NO_ROWS, *ahead])
        # Where two series take turns each strays from the other: those are astray without whom there is order.
        astray: Whole = min((low, high), key=lambda rows: (_falls(np.delete(x, rows)), len(rows)))
        return at[np.sort(astray)]

    def _positions(self) -> Iterator[Fault]:
        if not all(name in self.names for name in PLACE):
            return
        yield from self._lost(Reason.NO_FIX, self._nowhere())
        if "gnss_hdop" in self.names:
            at, hdop = self._readings("gnss_hdop")
            yield from self._lost(Reason.IMPRECISE, at[hdop > HDOP_MAX])
        fixes = Fixes.of(*(self.signals[name] for name in PLACE))
        if len(fixes.told.at) > 2:
            yield from self._lost(Reason.JUMP, self._jumps(fixes))

    def _nowhere(self) -> Whole:
        """Rows with both coordinates exactly zero."""
        north, east = (signal.told.at[signal.x == 0] for signal in (self.signals[name] for name in PLACE))
        rows: Whole = np.intersect1d(north, east, assume_unique=True)
        return rows

    def _jumps(self, fixes: Fixes) -> Whole:
        """Single fixes that are too far from both neighbours, which are close to each other."""
        sampling = self.samples.sampling(fixes.told)
        reach_km = rules.GNSS_MAX_KMH / 3600 * (np.diff(sampling.rows.us) / US_PER_S) + rules.GNSS_NOISE_KM
        may_be = np.flatnonzero(at_most_km(fixes.latitude_deg, fixes.longitude_deg) > reach_km)
        may_be = may_be[sampling.same[may_be]]  # hardly any
        far = np.zeros(len(reach_km), bool)
        far[may_be] = _apart_km(fixes, may_be, may_be + 1) > reach_km[may_be]
        alone = np.flatnonzero(far[:-1] & far[1:]) + 1
        together = _apart_km(fixes, alone - 1, alone + 1)
        return fixes.told.at[alone[together <= reach_km[alone - 1] + reach_km[alone]]]

    def _lost(self, reason: Reason, rows: Whole) -> Iterator[Fault]:
        """Fixes to leave out: both coordinates go, and are counted once."""
        if len(rows):
            for name in PLACE:
                self._lose(name, rows)
                yield Fault(name, reason, rows)

    def _lose(self, name: str, rows: Whole) -> None:
        signal, flagged = self.signals[name], _flagged(rows, self.samples.height)
        self.signals[name] = signal.kept(~flagged[signal.told.at])

    def _readings(self, name: str) -> tuple[Whole, Floats]:
        """The rows on which the signal is known, and its values there."""
        signal = self.signals[name]
        return signal.told.at, signal.x

    def _sampling(self, name: str) -> Sampling:
        return self.samples.sampling(self.signals[name].told)


def _apart_km(fixes: Fixes, one: Whole, other: Whole) -> Floats:
    latitude, longitude = fixes.latitude_deg, fixes.longitude_deg
    return apart_km(latitude[one], longitude[one], latitude[other], longitude[other])


def _runs(flags: Flags) -> tuple[Whole, Whole]:
    """Where stretches of raised flags begin, and where each has ended."""
    padded = np.zeros(len(flags) + 2, bool)
    padded[1:-1] = flags
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return edges[::2], edges[1::2]


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
        return NO_ROWS
    starts, ends = _runs(under)
    after = np.minimum(ends, len(x) - 1)
    hours = np.abs(us[after] - us[ends - 1]) / US_PER_S / 3600
    per_h = rules.MAX_RATE_PER_H.get(name, rules.DEFAULT_MAX_RATE_PER_H)
    leaps = (x[after] - x[ends - 1] > per_h * hours + rules.COUNTER_JITTER) | (ends - starts == 1)
    runs = [np.arange(s, e) for s, e in zip(starts[leaps], ends[leaps], strict=True)]
    return np.concatenate(runs) if runs else NO_ROWS


def _falls(x: Floats) -> int:
    return int((np.diff(x) < -rules.COUNTER_JITTER).sum())


def _flagged(rows: Whole, height: int) -> Flags:
    flags = np.zeros(height, bool)
    flags[rows] = True
    return flags


def _counted(faults: list[Fault], samples: Samples, cuts: pl.DataFrame) -> pl.DataFrame:
    """Faults by vehicle, day, signal and reason; those of the padding are other days' concern."""
    if not faults:
        return pl.DataFrame(schema=SCHEMA)
    parts = [
        pl.DataFrame({"cut": samples.rows.cut[fault.rows]}, schema={"cut": pl.Int32}).with_columns(
            signal=pl.lit(fault.signal), reason=pl.lit(fault.reason.value), left_out=pl.lit(fault.reason not in KEPT)
        )
        for fault in faults
    ]
    days = cuts.filter(pl.col("day").is_not_null()).select("cut", "vehicle_id", "day")
    counts = pl.concat(parts).join(days, on="cut").group_by("vehicle_id", "day", "signal", "reason", "left_out")
    found = counts.agg(samples=pl.len().cast(pl.Int64)).select(*SCHEMA)
    return found.sort("vehicle_id", "day", "signal", "reason")
