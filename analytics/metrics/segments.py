"""From rows to segments: stretches in which nothing about the vehicle's state changes.

A few thousand segments carry everything the day figures and trips need: durations, energies, distances and what each
source of a figure covered. A segment never reaches over a day cut.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from analytics.metrics import rules
from analytics.metrics.arrays import Flags, Floats, Whole, floats, nullable, of_vehicles, times
from analytics.metrics.charging_hours import cut_at_hours
from analytics.metrics.fill import US_PER_S, Memory, following
from analytics.metrics.running import RISES, running
from analytics.metrics.samples import PLACE
from analytics.metrics.tracks import RollOver

FLAGS = ("key", "moving", "works", "plugged", "charges", "red_lamp", "cable_told", "plugs_in")
"""States of a row that hold until the next. `plugs_in`: the cable is in on the next row, and power may flow already."""


def segments(
    rows: pl.DataFrame,
    cuts: pl.DataFrame,
    vehicles: pl.DataFrame,
    roll_over: RollOver,
    hours: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Cut prepared `rows` into segments, in order of vehicle and time; at `hours` (vehicle_id, time) as well.

    Columns: `vehicle_id`, `starts_at`, `ends_at`, `s` (duration), `day` (null in the padding), `silent`, the `FLAGS`,
    `silence_s`, `unheard_s` (time since the last row), `PLACE` (where the vehicle last said it was),
    `soc_start_pct`, `soc_end_pct`, and the sums of `running.running` as amounts. A null amount means that the vehicle
    has no value of the signal at all.
    """
    rows = cut_at_hours(rows.hstack(_gaps(rows, vehicles)), hours)
    at = _starts(rows)
    sums = running(rows, at, roll_over)
    us, vehicle = rows["us"].to_numpy()[at], rows["vehicle_id"].to_numpy()[at]
    begin = np.flatnonzero((vehicle[1:] == vehicle[:-1]) & (us[1:] > us[:-1]))
    kept = pl.DataFrame([rows[name].alias(as_name) for name, as_name in _KEPT.items()])[at[begin]]
    more = [
        times("ends_at", us[begin + 1]),
        pl.Series("s", (us[begin + 1] - us[begin]) / US_PER_S),
        _day(kept.drop_in_place("cut"), cuts),
    ]
    return pl.DataFrame([*kept.get_columns(), *_amounts(sums, begin), *more])


_KEPT = {
    "vehicle_id": "vehicle_id", "time": "starts_at", "cut": "cut",
    **{name: name for name in ("silent", *FLAGS, "silence_s", "unheard_s")}, **{f"last_{name}": name for name in PLACE},
}  # fmt: skip
"""Columns of rows that hold for the segment that starts there, and their names in segments."""
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


def _day(cut: pl.Series, cuts: pl.DataFrame) -> pl.Series:
    """The day that starts at the `cut` of each segment; they are numbered as `cuts` are."""
    last, starting = floats(cut), floats(cuts["day"])
    inside = ~np.isnan(last)
    day = np.full(len(last), np.nan)
    day[inside] = starting[last[inside].astype(np.int64)]
    return nullable("day", day, pl.Date)


def _gaps(rows: pl.DataFrame, vehicles: pl.DataFrame) -> list[pl.Series]:
    """Silences, by the time between the real rows around an interval; shorter ones count where no key is known.

    `contact_s` is the longest time between rows that still proves contact.
    """
    slowest_s = of_vehicles(vehicles, "sample_period_s", rows["vehicle_id"].to_numpy()) * rules.GAP_FACTOR
    patience_s = np.where(np.isnan(floats(rows["key"])), rules.TRIP_BREAK_S, rules.CONTACT_GAP_S)
    silent = ~(floats(rows["silence_s"]) <= np.maximum(slowest_s, patience_s))
    plugged: Flags = rows["plugged"].to_numpy()
    joins = following(plugged) & Memory.of(rows).has_next & ~silent & ~rows["moving"].to_numpy()
    return [
        pl.Series("silent", silent),
        pl.Series("plugs_in", joins),
        pl.Series("contact_s", np.maximum(slowest_s, rules.CONTACT_STEP_S)),
    ]


def _starts(rows: pl.DataFrame) -> Whole:
    """Rows at which a segment starts: another state, cut, vehicle or hour, each interval without rows, the last row."""
    starts = rows["silent"].to_numpy() | rows["hour"].to_numpy() | ~Memory.of(rows).has_next
    states = rows.select("vehicle_id", "cut", "silent", *FLAGS)
    unknown = [name for name in states.columns if states[name].null_count()]
    for state in states.with_columns(pl.col(unknown).cast(pl.Int32).fill_null(-1)):
        here = state.to_numpy()
        starts[1:] |= here[1:] != here[:-1]
    starts[:1] = True
    return np.flatnonzero(starts)
