"""Stretches of segments that belong together though there are pauses in them: trips, charging sessions."""

from __future__ import annotations

from functools import cache

import polars as pl


def stretches(segments: pl.DataFrame, inside: pl.Expr, breaks: pl.Expr, pause_s: pl.Expr) -> pl.LazyFrame:
    """Number the segments of each stretch in `stretch`, pauses inside it included; segments outside are dropped.

    A stretch is made of segments that are `inside`. It ends at a segment that `breaks`, at another vehicle, and at a
    pause of `pause_s` (s) or more. `segments` are in order of vehicle and time.
    """
    marked = segments.lazy().with_columns(inside=inside, breaks=breaks.cum_sum(), pause_s=pause_s)
    parts = marked.filter("inside").with_columns(stretch=_begins().cum_sum(), stretch_ends_at=pl.col("ends_at"))
    spans = parts.group_by("vehicle_id", "stretch", maintain_order=True).agg(
        pl.col("starts_at").min(), pl.col("stretch_ends_at").max()
    )
    within = marked.join_asof(
        spans.sort("vehicle_id", "starts_at"), on="starts_at", by="vehicle_id", check_sortedness=False
    )
    return within.filter(pl.col("ends_at") <= pl.col("stretch_ends_at"))


@cache
def _begins() -> pl.Expr:
    """A segment starts a stretch after another vehicle, a break, or too long a pause."""
    pause_s = (pl.col("starts_at") - pl.col("ends_at").shift(1)).dt.total_microseconds() / 1e6
    other = pl.col("vehicle_id").ne_missing(pl.col("vehicle_id").shift(1))
    return other | (pl.col("breaks") != pl.col("breaks").shift(1)) | (pause_s >= pl.col("pause_s"))
