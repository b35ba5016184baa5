"""Auxiliary energy where no signal of it exists: what the battery gives at a standstill, over the hours with key on.

The median of the mean power of each standstill, neither charging nor working, times key-on hours. It is an estimate:
loads while driving may differ.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from analytics.metrics import rules
from analytics.metrics.arrays import Flags, Floats
from analytics.metrics.energy import activity
from analytics.metrics.rows import ESTIMATED, Day, Figure, Figures, Key
from analytics.metrics.running import POWER
from analytics.metrics.sums import DaySegments

WORKING_AT_REST = ("equipment", "vessel")
"""Categories that may work at a standstill: without a signal of their work nothing is estimated."""
WORDS = "median power of standstills x key-on hours"
SLUG = "auxiliary_energy_kwh"


def auxiliary_estimates(days: Iterable[tuple[Key, Day]], segments: DaySegments) -> list[tuple[Key, Figures]]:
    """Figures of auxiliary energy on days without its signal."""
    untold = {key: day for key, day in days if _is_asked(day)}
    if not untold:
        return []
    rests, silent, busy = _rests(segments), ~segments.told("works"), segments.flag("works")
    kwh, watched_s = segments.numbers("drawn_kwh") - segments.numbers("returned_kwh"), segments.numbers(f"{POWER}_s")
    bounds = np.append(segments.starts, len(rests))
    found = []
    for n, key in enumerate(segments.keys):
        if key not in untold:
            continue
        here, day = slice(bounds[n], bounds[n + 1]), untold[key]
        # Where nothing tells of work, these may work all the same.
        may_work = busy[here] | silent[here] if day["category"] in WORKING_AT_REST else busy[here]
        idle = rests[here] & ~may_work
        load_kw = _median_kw(kwh[here][idle], watched_s[here][idle])
        if load_kw is not None:
            day_kwh = max(load_kw, 0.0) * day["on_h"]
            found.append((key, {SLUG: Figure(day_kwh, day[f"{POWER}_pct"], activity(day), ESTIMATED, WORDS)}))
    return found


def _is_asked(day: Day) -> bool:
    return day["auxiliary_power_kw_sum"] is None and day["drawn_kwh"] is not None and bool(day["on_h"])


def _rests(segments: DaySegments) -> Flags:
    """Key on, standing, nothing plugged in, power watched."""
    moves_or_charges = segments.flag("moving") | segments.flag("plugged") | segments.flag("gains")
    return segments.flag("key") & ~moves_or_charges & (segments.numbers(f"{POWER}_s") > 0)


def _median_kw(kwh: Floats, watched_s: Floats) -> float | None:
    """The median of standstills' mean power (kW), each by its time; None where too little was watched."""
    if watched_s.sum() < rules.STANDSTILL_MIN_S:
        return None
    mean_kw = kwh / watched_s * 3600
    order = np.argsort(mean_kw, kind="stable")
    so_far = np.cumsum(watched_s[order])
    return float(mean_kw[order][np.argmax(so_far >= watched_s.sum() / 2)])
