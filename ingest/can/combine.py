"""Several sources of a canonical signal as one: by the rule that `setup.RULES` states for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ingest.can.grid import Floats, Grid, Runs, held
from ingest.can.j1939_table import source_rank
from ingest.can.setup import HOLD_US, RULES, Rule, Setup
from schemas.signals import SIGNALS, Aggregate, Kind

WATTS_PER_KW = 1000
POWER, VOLTAGE, CURRENT = "battery_power_kw", "battery_voltage_v", "battery_current_a"


@dataclass(frozen=True, slots=True)
class Series:
    """Values that one source sent for a canonical signal, in its unit. `rank`: 0 is the preferred candidate."""

    name: str
    rank: int
    channel: str
    source: int | None
    time_us: NDArray[np.int64]
    values: Floats

    @property
    def key(self) -> tuple[str, int, str, int]:
        """What one source's series have in common, in the order of preference."""
        return self.name, self.rank, self.channel, source_rank(self.source)


def combined(series: Sequence[Series], setup: Setup, own: Grid) -> tuple[dict[str, Floats], dict[str, int]]:
    """One value per canonical signal and bin of `own`; and how many own values were out of limits, by signal.

    `series` may begin a bucket before `own`: a value stands for HOLD_US where other parts of its sum are heard.
    """
    whole = Grid(own.low_us - setup.bucket_us, own.period_us, own.bins + setup.bucket_us // own.period_us)
    out_of_limits: dict[str, int] = {}
    sources = _by_source([_within_limits(one, own.low_us, out_of_limits) for one in series])
    if not any(key[0] == POWER for key in sources):
        sources |= _by_source(_powers(sources))
    grids: dict[str, list[tuple[int, Floats]]] = {}
    for key in sorted(sources):
        one = sources[key]
        grids.setdefault(one.name, []).append((one.rank, Runs.of(one.time_us, whole).binned(one.values, _how(one))))
    skipped = whole.bins - own.bins
    found = {name: _combine(name, parts, setup)[skipped:] for name, parts in grids.items()}
    return {name: values for name, values in found.items() if not np.isnan(values).all()}, out_of_limits


def _how(series: Series) -> Aggregate:
    return SIGNALS[series.name].aggregate


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


def _by_source(series: Sequence[Series]) -> dict[tuple[str, int, str, int], Series]:
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


def _powers(sources: dict[tuple[str, int, str, int], Series]) -> list[Series]:
    """Battery power of every pack: voltage times current at the time of each current, before anything is averaged."""
    voltages = [one for one in sources.values() if one.name == VOLTAGE]
    powers = []
    for current in sources.values():
        if current.name == CURRENT and voltages:
            same = [v for v in voltages if (v.channel, v.source) == (current.channel, current.source)]
            voltage = _as_of(current.time_us, (same or voltages)[0])
            powers.append(replace(current, name=POWER, values=current.values * voltage / WATTS_PER_KW))
    return powers


def _as_of(time_us: NDArray[np.int64], series: Series) -> Floats:
    """The series' last value at each time, if it is not older than HOLD_US."""
    known = ~np.isnan(series.values)
    times, values = series.time_us[known], series.values[known]
    if not len(times):
        return np.full(len(time_us), np.nan)
    at = np.searchsorted(times, time_us, side="right") - 1
    fresh = (at >= 0) & (time_us - times[at] <= HOLD_US)
    return np.where(fresh, values[at], np.nan)


def _combine(name: str, parts: list[tuple[int, Floats]], setup: Setup) -> Floats:
    rule = RULES.get(name, Rule.PRIORITY)
    if rule is Rule.PRIORITY:
        return _first([values for _, values in parts])
    mapped = any(canonical.name == name for canonical in setup.maps)
    groups: dict[int, list[Floats]] = {}
    for rank, values in parts:
        groups.setdefault(0 if mapped else rank, []).append(values)
    most = HOLD_US // setup.period_us
    return _first([_together(rule, values, most) for _, values in sorted(groups.items())])


def _first(parts: list[Floats]) -> Floats:
    found = parts[0]
    for part in parts[1:]:
        found = np.where(np.isnan(found), part, found)
    return found


def _together(rule: Rule, parts: list[Floats], most: int) -> Floats:
    if len(parts) == 1:
        return parts[0]
    heard = ~np.isnan(np.stack(parts)).all(axis=0)
    standing = np.stack([held(part, most) for part in parts])
    missing = np.isnan(standing)
    counts = (~missing).sum(axis=0)
    if rule is Rule.MAXIMUM:
        value = np.where(missing, -np.inf, standing).max(axis=0)
    else:
        value = np.where(missing, 0.0, standing).sum(axis=0)
        if rule is not Rule.SUM:
            value = value / np.maximum(counts, 1)
    return np.where(heard & (counts > 0), value, np.nan)
