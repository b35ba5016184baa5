"""From rows to segments: stretches in which nothing about the vehicle's state changes.

A few thousand segments carry everything the day figures and trips need: durations, energies, distances and what each
source of a figure covered. A segment never reaches over a day cut.
"""

from __future__ import annotations

from functools import cache

import polars as pl

from analytics.metrics import rules
from analytics.metrics.charging_hours import cut_at_hours
from analytics.metrics.fill import LAST, ROW, US_PER_S, next_of
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
    rows = cut_at_hours(rows.with_columns(_gaps(vehicles)), hours)
    marks = rows.lazy().with_row_index("at").filter(_starts())
    place = (pl.col(f"last_{name}").alias(name) for name in PLACE)
    kept = marks.select("at", "vehicle_id", "time", "cut", "silent", *FLAGS, "silence_s", "unheard_s", *place).collect()
    sums = running(rows, kept["at"], roll_over)
    amounts = [c for c in sums.columns if c not in (*RISES.values(), "soc_start_pct")]
    marked = pl.concat([kept.drop("at"), sums], how="horizontal")
    return (
        marked.with_columns(
            (pl.col(*amounts).shift(-1) - pl.col(*amounts)),
            ends_at=pl.col("time").shift(-1),
            soc_end_pct=pl.col("soc_start_pct").shift(-1),
            last=(pl.col("vehicle_id") != pl.col("vehicle_id").shift(-1)).fill_null(True),
        )
        .filter(~pl.col("last"))
        .rename({"time": "starts_at"})
        .with_columns(s=(pl.col("ends_at") - pl.col("starts_at")).dt.total_microseconds() / US_PER_S)
        .filter(pl.col("s") > 0)
        .join(cuts.select("cut", "day"), on="cut", how="left", maintain_order="left")
        .drop("last", "cut")
    )


def _gaps(vehicles: pl.DataFrame) -> list[pl.Expr]:
    """Silences, by the time between the real rows around an interval; shorter ones count where no key is known.

    `contact_s` is the longest time between rows that still proves contact.
    """
    slowest = pl.col("vehicle_id").replace_strict(
        vehicles["vehicle_id"], vehicles["sample_period_s"] * rules.GAP_FACTOR, return_dtype=pl.Float64
    )
    step = pl.max_horizontal(slowest, rules.CONTACT_STEP_S)
    patience = pl.when(pl.col("key").is_null()).then(rules.TRIP_BREAK_S).otherwise(rules.CONTACT_GAP_S)
    silent = (pl.col("silence_s") > pl.max_horizontal(slowest, patience)).fill_null(True)
    joins = next_of(pl.col("plugged")) & ~silent & ~pl.col("moving")
    return [silent.alias("silent"), joins.alias("plugs_in"), step.alias("contact_s")]


@cache
def _starts() -> pl.Expr:
    """Rows at which a segment starts: another state, cut, vehicle or hour, each interval without rows, the last row."""
    watched = ("vehicle_id", "cut", "silent", *FLAGS)
    changes = [pl.col(name).ne_missing(pl.col(name).shift(1)) for name in watched]
    return pl.any_horizontal(*changes) | pl.col("silent") | pl.col("hour") | (ROW == LAST)
