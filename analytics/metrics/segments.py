"""From rows to segments: stretches in which nothing about the vehicle's state changes.

A few thousand segments carry everything the day figures and trips need: durations, energies, distances and what each
source of a figure covered. A segment never reaches over a day cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from analytics.metrics import rules
from analytics.metrics.arrays import Flags, Floats, Whole, floats, nullable, times
from analytics.metrics.charging_hours import cut_at_hours
from analytics.metrics.fill import US_PER_S, Said, following
from analytics.metrics.running import RISES, running
from analytics.metrics.samples import States
from analytics.metrics.tracks import RollOver

FLAGS = ("key", "moving", "works", "plugged", "charges", "red_lamp", "cable_told", "plugs_in")
"""States of a row that hold until the next. `plugs_in`: the cable is in on the next row, and power may flow already."""


def segments(
    states: States,
    cuts: pl.DataFrame,
    vehicles: pl.DataFrame,
    roll_over: RollOver,
    hours: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Cut rows whose states are known into segments, in order of vehicle and time; at `hours` as well.

    Columns: `vehicle_id`, `starts_at`, `ends_at`, `s` (duration), `day` (null in the padding), `silent`, the `FLAGS`,
    `silence_s`, `unheard_s` (time since the last row), `PLACE` (where the vehicle last said it was),
    `soc_start_pct`, `soc_end_pct`, and the sums of `running.running` as amounts. A null amount means that the vehicle
    has no value of the signal at all. `hours` has vehicle_id and time.
    """
    states, contact_s = _with_gaps(states, vehicles)
    at_hours = np.zeros(states.samples.height, bool)
    if hours is not None:
        states, source, at_hours = cut_at_hours(states, hours)
        contact_s = contact_s[source]
    samples, rows = states.samples, states.samples.rows
    marks = _starts(states, at_hours)
    sums = running(samples, states.flags["stands"], contact_s, marks, roll_over)
    us, vehicle_id = rows.us[marks], samples.vehicle_id[marks]
    begin = np.flatnonzero((vehicle_id[1:] == vehicle_id[:-1]) & (us[1:] > us[:-1]))
    return pl.DataFrame(
        [
            pl.Series("vehicle_id", vehicle_id[begin]),
            times("starts_at", us[begin]),
            *_held(states, marks[begin]),
            *_amounts(sums, begin),
            times("ends_at", us[begin + 1]),
            pl.Series("s", (us[begin + 1] - us[begin]) / US_PER_S),
            _day(rows.cut[marks[begin]], cuts),
        ]
    )


def _held(states: States, at: Whole) -> Iterator[pl.Series]:
    """What is said on the rows at which segments start holds for all of them."""
    for name in ("silent", *FLAGS):
        if name in states.flags:
            yield pl.Series(name, states.flags[name][at])
    for name, said in states.said.items():
        yield Said(said.value[at], said.told[at]).series(name.removeprefix("last_"))


_AT_MARK = (*RISES.values(), "soc_start_pct")


def _amounts(sums: Mapping[str, Floats | None], begin: Whole) -> list[pl.Series]:
    """From the mark numbered `begin` to the next one: the differences of `sums`, null where nothing is known."""
    table = np.full((len(sums) + 1, len(begin)), np.nan)
    for row, (name, values) in zip(table, sums.items(), strict=False):
        if values is not None:
            row[:] = values[begin] if name in _AT_MARK else values[begin + 1] - values[begin]
    if (level := sums["soc_start_pct"]) is not None:
        table[-1] = level[begin + 1]
    # One column that is cut up: making a column takes longer than filling it.
    whole = pl.Series(table.ravel(), nan_to_null=True)
    names = (*sums, "soc_end_pct")
    return [whole.slice(number * len(begin), len(begin)).alias(name) for number, name in enumerate(names)]


def _day(cut: Whole, cuts: pl.DataFrame) -> pl.Series:
    """The day that starts at each cut; they are numbered as `cuts` are."""
    starting = np.append(floats(cuts["day"]), np.nan)  # the last is of those before the first cut
    return nullable("day", starting[cut], pl.Date)


def _with_gaps(states: States, vehicles: pl.DataFrame) -> tuple[States, Floats]:
    """Silences, by the time between the real rows around an interval; shorter ones count where no key is known.

    Added are the flags `silent` and `plugs_in`. Besides, the longest time between rows that still proves contact.
    """
    memory, silence_s = states.samples.memory, states.said["silence_s"]
    periods_s = dict(vehicles[["vehicle_id", "sample_period_s"]].iter_rows())
    slowest_s = states.samples.of_vehicles(periods_s) * rules.GAP_FACTOR
    patience_s = np.where(states.said["key"].told, rules.CONTACT_GAP_S, rules.TRIP_BREAK_S)
    silent = ~(silence_s.told & (silence_s.value <= np.maximum(slowest_s, patience_s)))
    joins = following(states.flags["plugged"]) & memory.has_next & ~silent & ~states.flags["moving"]
    known = replace(states, flags={**states.flags, "silent": silent, "plugs_in": joins})
    return known, np.maximum(slowest_s, rules.CONTACT_STEP_S)


def _starts(states: States, at_hours: Flags) -> Whole:
    """Rows at which a segment starts: another state, cut, vehicle or hour, each interval without rows, the last row."""
    samples, flags, said = states.samples, states.flags, states.said
    starts = flags["silent"] | at_hours | ~samples.memory.has_next
    told = (part for name in FLAGS if name in said for part in (said[name].known(), said[name].told))
    known = (flags[name] for name in ("silent", *FLAGS) if name in flags)
    for state in (samples.vehicle_id, samples.rows.cut, *known, *told):
        starts[1:] |= state[1:] != state[:-1]
    starts[:1] = True
    return np.flatnonzero(starts)
