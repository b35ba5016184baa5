"""From rows to segments: stretches in which nothing about the vehicle's state changes.

A few thousand segments carry everything the day figures and trips need: durations, energies, distances and what each
source of a figure covered. A segment never reaches over a day cut.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from analytics.metrics import rules
from analytics.metrics.arrays import Whole
from analytics.metrics.charging_hours import cut_at_hours
from analytics.metrics.fill import US_PER_S, Memory, Said, following
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
    rows = cut_at_hours(rows.with_columns(_gaps(rows, vehicles)), hours)
    at = _starts(rows)
    place = (pl.col(f"last_{name}").alias(name) for name in PLACE)
    kept = rows.select("vehicle_id", "time", "cut", "silent", *FLAGS, "silence_s", "unheard_s", *place)[at]
    sums = running(rows, at, roll_over)
    amounts = [c for c in sums.columns if c not in (*RISES.values(), "soc_start_pct")]
    marked = pl.concat([kept, sums], how="horizontal")
    return (
        marked.lazy()
        .with_columns(
            (pl.col(*amounts).shift(-1) - pl.col(*amounts)),
            ends_at=pl.col("time").shift(-1),
            soc_end_pct=pl.col("soc_start_pct").shift(-1),
            last=(pl.col("vehicle_id") != pl.col("vehicle_id").shift(-1)).fill_null(True),
        )
        .filter(~pl.col("last"))
        .rename({"time": "starts_at"})
        .with_columns(s=(pl.col("ends_at") - pl.col("starts_at")).dt.total_microseconds() / US_PER_S)
        .filter(pl.col("s") > 0)
        .join(cuts.lazy().select("cut", "day"), on="cut", how="left", maintain_order="left")
        .drop("last", "cut")
        .collect()
    )


def _gaps(rows: pl.DataFrame, vehicles: pl.DataFrame) -> list[pl.Series]:
    """Silences, by the time between the real rows around an interval; shorter ones count where no key is known.

    `contact_s` is the longest time between rows that still proves contact.
    """
    periods = vehicles.sort("vehicle_id")
    vehicle = np.searchsorted(periods["vehicle_id"].to_numpy(), rows["vehicle_id"].to_numpy())
    slowest_s = periods["sample_period_s"].to_numpy()[vehicle] * rules.GAP_FACTOR
    patience_s = np.where(rows["key"].is_null().to_numpy(), rules.TRIP_BREAK_S, rules.CONTACT_GAP_S)
    silence_s, plugged = Said.of(rows["silence_s"]), Said.of(rows["plugged"]).known()
    silent = ~(silence_s.told & (silence_s.value <= np.maximum(slowest_s, patience_s)))
    joins = following(plugged) & Memory.of(rows).has_next & ~silent & ~rows["moving"].to_numpy()
    return [
        pl.Series("silent", silent),
        pl.Series("plugs_in", joins),
        pl.Series("contact_s", np.maximum(slowest_s, rules.CONTACT_STEP_S)),
    ]


def _starts(rows: pl.DataFrame) -> Whole:
    """Rows at which a segment starts: another state, cut, vehicle or hour, each interval without rows, the last row."""
    starts = rows["silent"].to_numpy() | rows["hour"].to_numpy()
    for name in ("vehicle_id", "cut", "silent", *FLAGS):
        state = rows[name].cast(pl.Int32).fill_null(-1).to_numpy()
        starts |= np.append(True, state[1:] != state[:-1])
    return np.flatnonzero(starts | ~Memory.of(rows).has_next)
