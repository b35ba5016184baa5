"""The timeline of each computed day: every instant in exactly one state.

Segments, maintenance records and planned service are laid over each other; the first that matches wins: planned
maintenance, down by record, down by a red stop lamp (lit, or asked for by a trouble code that has not cleared) at a
standstill in planned service, then the segment's own state.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache

import polars as pl

from analytics.metrics import rules, states
from analytics.metrics.fill import US_PER_S
from analytics.metrics.inputs import Inputs
from analytics.metrics.intervals import merged

LAYERS = ("service", "planned_maintenance", "supply", "vehicle", "stop_fault")
"""Intervals laid over the segments: planned service, records by cause, and trouble codes that light the red lamp."""
STANDING = (states.IDLE, states.PARKED, states.PLUGGED_IDLE, states.CHARGING)


def timeline(segments: pl.DataFrame, inputs: Inputs) -> pl.DataFrame:
    """Pieces of the computed days in order, without gap or overlap.

    Columns: `vehicle_id`, `day`, `starts_at`, `ends_at`, `s`, `state`, `cause` (of being down), `service` (planned),
    `planned_at` (the day's planned pull-out, null without), `unobserved` (busy during a silence).
    """
    days = inputs.days.select("vehicle_id", "day", "starts_at", "ends_at")
    layers = {name: merged(frame) for name, frame in _layers(inputs).items()}
    grace = timedelta(minutes=inputs.policy.pull_out_grace_min)
    pull_outs = inputs.planned.group_by("vehicle_id", "day").agg(planned_at=pl.col("starts_at").min())
    instants = [
        segments.select("vehicle_id", time="starts_at"),
        *(_edges(frame) for frame in (days, *layers.values()) if frame.height),
        pull_outs.select("vehicle_id", time=pl.col("planned_at") + grace),
    ]
    carried = ["state", "red_lamp", "unobserved"]
    pieces = _pieces(pl.concat(instants).lazy(), days)
    pieces = _laid(pieces, segments.select("vehicle_id", "starts_at", "ends_at", *carried), carried)
    for name, frame in layers.items():
        if frame.is_empty():
            pieces = pieces.with_columns(pl.lit(False).alias(name))
        else:
            pieces = _laid(pieces, frame.with_columns(pl.lit(True).alias(name)), [name])
    pieces = pieces.with_columns(
        pl.col(*LAYERS, "red_lamp", "unobserved").fill_null(False), pl.col("state").fill_null(states.UNKNOWN)
    )
    return (
        pieces.with_columns(cause=_cause())
        .with_columns(state=_overlaid())
        .join(pull_outs.lazy(), on=["vehicle_id", "day"], how="left", maintain_order="left")
        .select(
            "vehicle_id", "day", "starts_at", "ends_at", "s", "state", "cause", "service", "planned_at", "unobserved"
        )
        .collect()
    )


def spells(timeline: pl.DataFrame) -> pl.DataFrame:
    """The timeline with neighbours of one day, state, cause and evidence joined: what is stored and shown."""
    same = ("vehicle_id", "day", "state", "cause", "unobserved")
    begins = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in same)
    joined = timeline.group_by(begins.cum_sum().alias("spell"), maintain_order=True).agg(
        pl.col(*same, "starts_at").first(), pl.col("ends_at").last()
    )
    return joined.drop("spell")


def _layers(inputs: Inputs) -> dict[str, pl.DataFrame]:
    until = inputs.days["ends_at"].max()
    records = inputs.maintenance.with_columns(ends_at=pl.col("ends_at").fill_null(until))
    # A code is forgotten when nothing has been heard of it, or of its clearing, for as long as silences are bridged.
    forgotten = pl.col("last_seen_at") + rules.REACH
    faults = inputs.faults.filter("red_stop_lamp").with_columns(ends_at=pl.coalesce("cleared_at", forgotten))
    supply = pl.col("cause").is_in(states.SUPPLY_CAUSES)
    return {
        "service": inputs.planned,
        "planned_maintenance": records.filter("planned"),
        "supply": records.filter(~pl.col("planned") & supply),
        "vehicle": records.filter(~pl.col("planned") & ~supply),
        "stop_fault": faults,
    }


def _edges(intervals: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([intervals.select("vehicle_id", time=c) for c in ("starts_at", "ends_at")])


def _pieces(instants: pl.LazyFrame, days: pl.DataFrame) -> pl.LazyFrame:
    """The days, cut at every instant at which anything changes."""
    times = instants.unique().sort("vehicle_id", "time")
    pieces = times.select("vehicle_id", starts_at="time", ends_at=pl.col("time").shift(-1).over("vehicle_id"))
    pieces = pieces.filter(pl.col("ends_at").is_not_null())
    pieces = _laid(pieces, days, ["day"]).filter(pl.col("day").is_not_null())
    return pieces.with_columns(s=(pl.col("ends_at") - pl.col("starts_at")).dt.total_microseconds() / US_PER_S)


def _laid(pieces: pl.LazyFrame, layer: pl.DataFrame, columns: list[str]) -> pl.LazyFrame:
    """Give each piece the `columns` of the layer's interval it lies in; intervals do not overlap."""
    laid = layer.lazy().select("vehicle_id", "starts_at", *columns, layer_ends_at="ends_at")
    laid = laid.sort("vehicle_id", "starts_at")
    found = pieces.join_asof(laid, on="starts_at", by="vehicle_id", check_sortedness=False)
    inside = pl.col("layer_ends_at") > pl.col("starts_at")
    return found.with_columns(pl.when(inside).then(pl.col(c)).alias(c) for c in columns).drop("layer_ends_at")


@cache
def _cause() -> pl.Expr:
    """Why the vehicle is down or in planned maintenance; null where it is neither."""
    standing = pl.col("state").is_in(STANDING)
    lamp = (pl.col("red_lamp") | pl.col("stop_fault")) & standing & pl.col("service")
    return (
        pl.when("planned_maintenance")
        .then(pl.lit(states.PLANNED_MAINTENANCE))
        .when(pl.col("vehicle") | lamp)
        .then(pl.lit("vehicle"))
        .when("supply")
        .then(pl.lit("supply"))
    )


@cache
def _overlaid() -> pl.Expr:
    return (
        pl.when(pl.col("cause") == states.PLANNED_MAINTENANCE)
        .then(pl.lit(states.PLANNED_MAINTENANCE))
        .when(pl.col("cause").is_not_null())
        .then(pl.lit(states.DOWN))
        .otherwise("state")
    )
