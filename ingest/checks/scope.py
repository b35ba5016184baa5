"""What a gateway key may write: its vehicles by every name they go by, and since when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import polars as pl

from schemas.frames import UTC_TIME

NAME_SCHEMA: dict[str, pl.DataType] = {"address": pl.String(), "vehicle_id": pl.Int32()}
SPAN_SCHEMA: dict[str, pl.DataType] = {"vehicle_id": pl.Int32(), "low": UTC_TIME, "high": UTC_TIME}
ALWAYS_US = 2**63 - 1
"""Later than any time: microseconds since 1970."""


class Span(NamedTuple):
    """When rows of a vehicle are let in that has no gap: microseconds since 1970, `high_us` not included."""

    vehicle_id: int
    low_us: int
    high_us: int


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

    @cached_property
    def hulls(self) -> pl.DataFrame:
        """Per vehicle the first `low` and the last `high`."""
        last = pl.when(pl.col("high").is_null().any()).then(None).otherwise(pl.col("high").max())
        return self.spans.group_by("vehicle_id").agg(pl.col("low").min(), last.alias("high"))

    @cached_property
    def gaps(self) -> pl.DataFrame:
        """Times between the spans of a vehicle: vehicle_id, low, high."""
        after = pl.col("low").shift(-1).over("vehicle_id")
        gaps = self.spans.sort("vehicle_id", "low").select("vehicle_id", low="high", high=after)
        return gaps.filter(pl.col("low") < pl.col("high"))

    @cached_property
    def own_names(self) -> pl.DataFrame:
        """`names`, each after its gateway."""
        before = pl.lit(f"{self.gateway_id}{Joint.BETWEEN}")
        return self.names.with_columns(address=before + pl.col("address"))

    @cached_property
    def alone(self) -> Joint:
        """The scope as if there were several."""
        return Joint(self.own_names, self.hulls, self.gaps)

    @cached_property
    def known(self) -> pl.DataFrame:
        """`names` with their `hulls`."""
        return self.names.join(self.hulls, on="vehicle_id", how="left")

    @cached_property
    def whole(self) -> dict[str, Span]:
        """By address the vehicles of one span, or of several without a gap between them."""
        found = self.known.drop_nulls("low").join(self.gaps, on="vehicle_id", how="anti")
        spans = found.select("address", "vehicle_id", pl.col("low", "high").cast(pl.Int64))
        return {
            address: Span(vehicle_id, low_us, ALWAYS_US if high_us is None else high_us)
            for address, vehicle_id, low_us, high_us in spans.iter_rows()
        }


@dataclass(frozen=True)
class Joint:
    """Several gateways and their vehicles: `names` have the gateway before the address, BETWEEN between them."""

    BETWEEN: ClassVar[str] = "\x1f"
    names: pl.DataFrame
    hulls: pl.DataFrame
    gaps: pl.DataFrame

    @cached_property
    def known(self) -> pl.DataFrame:
        """`names` with their `hulls`."""
        return self.names.join(self.hulls, on="vehicle_id", how="left")


def joint(scopes: Mapping[int, Scope]) -> Joint | None:
    """The scopes as one; None where two gateways write for one vehicle at different times."""
    if len(scopes) == 1:
        (scope,) = scopes.values()
        return scope.alone
    names = pl.concat([scope.own_names for scope in scopes.values()])
    hulls = pl.concat([scope.hulls for scope in scopes.values()]).unique(maintain_order=True)
    if hulls["vehicle_id"].n_unique() < hulls.height:
        return None
    return Joint(names, hulls, pl.concat([scope.gaps for scope in scopes.values()]).unique(maintain_order=True))
