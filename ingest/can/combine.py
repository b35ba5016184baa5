"""Several sources of a canonical signal as one: by the rule that `setup.RULES` states for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ingest.can.grid import Floats, Grid, Runs, held
from ingest.can.j1939_table import source_rank
from ingest.can.setup import CAPACITY_HOLD_US, HOLD_US, RULES, Rule, Setup
from schemas.signals import SIGNALS, Aggregate, Kind

WATTS_PER_KW = 1000
POWER, VOLTAGE, CURRENT = "battery_power_kw", "battery_voltage_v", "battery_current_a"

DERIVED = 1_000
"""Added to the rank of what is computed from other signals: whatever is told itself is preferred."""


@dataclass(frozen=True, slots=True)
class Series:
    """Values that one source sent for a canonical signal, in its unit. `rank`: 0 is the preferred candidate."""

    name: str
    rank: int
    channel: str
    message: str
    source: int | None
    time_us: NDArray[np.int64]
    values: Floats

    @property
    def key(self) -> tuple[str, int, str, int]:
        """What one source's series have in common, in the order of preference."""
        return self.name, self.rank, self.channel, source_rank(self.source)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one source says of a signal, on the grid, and the capacity of its pack; NaN where it is not known."""

    rank: int
    values: Floats
    capacity: Floats


def combined(
    series: Sequence[Series], capacities: Sequence[Series], setup: Setup, own: Grid
) -> tuple[dict[str, Floats], dict[str, int]]:
    """One value per canonical signal and bin of `own`; and how many own values were out of limits, by signal.

    Series may begin a bucket before `own`: a value stands for HOLD_US where other parts of its sum are heard.
    `capacities` of packs are the weights of what the same sources say.
    """
    whole = Grid(own.low_us - setup.bucket_us, own.period_us, own.bins + setup.bucket_us // own.period_us)
    out_of_limits: dict[str, int] = {}
    sources = _by_source([_within_limits(one, own.low_us, out_of_limits) for one in series])
    sources |= _by_source(_powers([sources[key] for key in sorted(sources)]))
    nothing = np.full(whole.bins, np.nan)
    known = {(one.channel, one.source): _standing(one, whole) for one in _by_source(capacities).values()}
    grids: dict[str, list[_Part]] = {}
    for key in sorted(sources):
        one = sources[key]
        values = Runs.of(one.time_us, whole).binned(one.values, SIGNALS[one.name].aggregate)
        grids.setdefault(one.name, []).append(_Part(one.rank, values, known.get((one.channel, one.source), nothing)))
    skipped = whole.bins - own.bins
    found = {name: _combine(name, parts, setup)[skipped:] for name, parts in grids.items()}
    return {name: values for name, values in found.items() if not np.isnan(values).all()}, out_of_limits


def _standing(capacity: Series, grid: Grid) -> Floats:
    """The last capacity at each bin; none that is not above nought."""
    values = np.where(capacity.values > 0, capacity.values, np.nan)
    return held(Runs.of(capacity.time_us, grid).binned(values, Aggregate.LAST), CAPACITY_HOLD_US // grid.period_us)


def _within_limits(series: Series, from_us: int, out_of_limits: dict[str, int]) -> Series:
    """Values that cannot be true are taken out, and counted from `from_us` on."""
    signal = SIGNALS[series.name]
    wrong = (series.values < signal.low) | (series.values > signal.high)
    if signal.kind is Kind.BOOLEAN:
        wrong |= (series.values != 0) & (series.values != 1) & ~np.isnan(series.values)
    if not wrong.any():
        return series
    count = int((wrong & (series.time_us >= from_us)).sum())
    if count:
        out_of_limits[series.name] = out_of_limits.get(series.name, 0) + count
    return replace(series, values=np.where(wrong, np.nan, series.values))


def _by_source(series: Iterable[Series]) -> dict[tuple[str, int, str, int], Series]:
    """Parts of one source's series, one after the other in order of time."""
    parts: dict[tuple[str, int, str, int], list[Series]] = {}
    for one in series:
        parts.setdefault(one.key, []).append(one)
    return {key: _joined(found) for key, found in parts.items()}


def _joined(parts: list[Series]) -> Series:
    if len(parts) == 1:
        return parts[0]
    times = np.concatenate([part.time_us for part in parts])
    values = np.concatenate([part.values for part in parts])
    order = np.argsort(times, kind="stable")
    return replace(parts[0], time_us=times[order], values=values[order])


def _powers(sources: Sequence[Series]) -> Iterator[Series]:
    """Battery power of every pack: voltage times current at the time of each current, before anything is averaged.

    The voltage is the pack's own, or else that of the first which tells one.
    """
    voltages = [one for one in sources if one.name == VOLTAGE]
    for current in (one for one in sources if one.name == CURRENT and voltages):
        nearest = sorted(voltages, key=partial(_distance, current))
        voltage = np.full(len(current.time_us), np.nan)
        for one in nearest:
            if not len(missing := np.flatnonzero(np.isnan(voltage))):
                break
            voltage[missing] = _as_of(current.time_us[missing], one)
        power = current.values * voltage / WATTS_PER_KW
        yield replace(current, name=POWER, rank=current.rank + DERIVED, values=power)


def _distance(one: Series, other: Series) -> tuple[bool, bool]:
    return (one.channel, one.source) != (other.channel, other.source), one.message != other.message


def _as_of(time_us: NDArray[np.int64], series: Series) -> Floats:
    """The series' last value at each time, if it is not older than HOLD_US."""
    known = ~np.isnan(series.values)
    times, values = series.time_us[known], series.values[known]
    if not len(times):
        return np.full(len(time_us), np.nan)
    at = np.searchsorted(times, time_us, side="right") - 1
    fresh = (at >= 0) & (time_us - times[at] <= HOLD_US)
    return np.where(fresh, values[at], np.nan)


def _combine(name: str, parts: list[_Part], setup: Setup) -> Floats:
    rule = RULES.get(name, Rule.PRIORITY)
    if rule is Rule.PRIORITY:
        return _first([part.values for part in parts])
    groups: dict[int, list[_Part]] = {}
    for part in parts:
        groups.setdefault(_group(name, part.rank, setup), []).append(part)
    most = HOLD_US // setup.period_us
    return _first([_together(rule, found, most) for _, found in sorted(groups.items())])


def _group(name: str, rank: int, setup: Setup) -> int:
    """Parts of one group are put together, of several groups the first counts: mapped signals are all of one."""
    if rank >= DERIVED:
        return DERIVED if CURRENT in setup.mapped else rank
    return 0 if name in setup.mapped else rank


def _first(parts: list[Floats]) -> Floats:
    found = parts[0]
    for part in parts[1:]:
        found = np.where(np.isnan(found), part, found)
    return found


def _together(rule: Rule, parts: list[_Part], most: int) -> Floats:
    if len(parts) == 1:
        return parts[0].values
    heard = ~np.isnan(np.stack([part.values for part in parts])).all(axis=0)
    standing = np.stack([held(part.values, most) for part in parts])
    there = ~np.isnan(standing)
    if rule is Rule.MAXIMUM:
        value = np.where(there, standing, -np.inf).max(axis=0)
    elif rule is Rule.SUM:
        value = np.where(there, standing, 0.0).sum(axis=0)
    else:
        weights = _weights(rule, parts, there)
        total = weights.sum(axis=0)
        value = np.where(there, standing * weights, 0.0).sum(axis=0) / np.where(total > 0, total, 1.0)
    return np.where(heard, value, np.nan)


def _weights(rule: Rule, parts: list[_Part], there: NDArray[np.bool_]) -> Floats:
    """The weight of each part in each bin: 0 if it is not there; 1, or its share of the largest capacity."""
    ones = there.astype(np.float64)
    if rule is not Rule.WEIGHTED:
        return ones
    capacities = np.where(there, np.stack([part.capacity for part in parts]), 0.0)
    # The largest weighs 1 exactly: so a pack alone says what it said.
    shares = capacities / np.where(there.any(axis=0), capacities.max(axis=0), 1.0)
    return np.where(np.isnan(capacities).any(axis=0), ones, shares)
