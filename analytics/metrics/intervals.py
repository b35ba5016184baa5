"""Intervals of time, by whatever they belong to."""

from __future__ import annotations

import polars as pl


def merged(intervals: pl.DataFrame, key: str = "vehicle_id") -> pl.DataFrame:
    """The union of each key's intervals `starts_at` to `ends_at`, without overlap, in order."""
    if intervals.is_empty():
        return intervals.select(key, "starts_at", "ends_at")
    ordered = intervals.lazy().select(key, "starts_at", "ends_at").filter(pl.col("ends_at") > pl.col("starts_at"))
    ordered = ordered.sort(key, "starts_at")
    so_far = pl.col("ends_at").cum_max().shift(1).over(key)
    apart = (pl.col("starts_at") > so_far).fill_null(True)
    return (
        ordered.with_columns(island=apart.cum_sum())
        .group_by(key, "island")
        .agg(pl.col("starts_at").min(), pl.col("ends_at").max())
        .drop("island")
        .sort(key, "starts_at")
        .collect()
    )
