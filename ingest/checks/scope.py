"""What a gateway key may write: its vehicles by every name they go by, and since when."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from schemas.frames import UTC_TIME

NAME_SCHEMA: dict[str, pl.DataType] = {"address": pl.String(), "vehicle_id": pl.Int32()}
SPAN_SCHEMA: dict[str, pl.DataType] = {"vehicle_id": pl.Int32(), "low": UTC_TIME, "high": UTC_TIME}


@dataclass(frozen=True)
class Scope:
    """A gateway and its vehicles.

    `names`: address (name or alias, unique), vehicle_id. `spans`: vehicle_id, low, high: when rows are let in, from
    `low` until before `high` (null: open); spans of one vehicle do not overlap.
    """

    gateway_id: int
    gateway: str
    pilot: str
    vehicle_names: dict[int, str]
    names: pl.DataFrame
    spans: pl.DataFrame

    @property
    def hulls(self) -> pl.DataFrame:
        """Per vehicle the first `low` and the last `high`."""
        last = pl.when(pl.col("high").is_null().any()).then(None).otherwise(pl.col("high").max())
        return self.spans.group_by("vehicle_id").agg(pl.col("low").min(), last.alias("high"))

    @property
    def gaps(self) -> pl.DataFrame:
        """Times between the spans of a vehicle: vehicle_id, low, high."""
        after = pl.col("low").shift(-1).over("vehicle_id")
        gaps = self.spans.sort("vehicle_id", "low").select("vehicle_id", low="high", high=after)
        return gaps.filter(pl.col("low") < pl.col("high"))
