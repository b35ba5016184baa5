"""Trips, whole, under the operating day on which they start."""

from __future__ import annotations

from functools import cache

import polars as pl

from analytics.metrics import rules
from analytics.metrics.inputs import Inputs
from analytics.metrics.running import ODOMETER, POWER, SOC, SPEED
from analytics.metrics.samples import WORKING_CATEGORIES
from analytics.metrics.stretches import stretches


def trips(segments: pl.DataFrame, inputs: Inputs) -> pl.DataFrame:
    """Find trips in judged `segments`: from key-on to key-off; without a key signal, from movement to standstill.

    Key-on spells less than `rules.TRIP_BREAK_S` apart are one trip. Without a key, a standstill of
    `rules.TRIP_STOP_S` or a silence ends it. Trips under a minute or 100 m are left
    out, the latter only where vehicles do not also work standing.
    """
    found = stretches(segments, **_rides()).group_by("vehicle_id", "stretch", maintain_order=True).agg(*_amounts())
    facts = inputs.vehicles.select("vehicle_id", "usable_battery_kwh", "category")
    found = found.join(facts.lazy(), on="vehicle_id", how="left", maintain_order="left")
    found = found.filter(pl.col("day").is_not_null()).with_columns(
        distance_km=_distance(), energy_used_kwh=_energy(), **_charge()
    )
    far_enough = (pl.col("distance_km") >= rules.TRIP_MIN_KM) | pl.col("category").is_in(WORKING_CATEGORIES)
    long_enough = pl.col("s") >= rules.TRIP_MIN_S
    return (
        found.filter(long_enough & far_enough.fill_null(True))
        .select(
            "vehicle_id",
            "starts_at",
            "ends_at",
            "day",
            "distance_km",
            "energy_used_kwh",
            "soc_start_pct",
            "soc_end_pct",
        )
        .collect()
    )


@cache
def _rides() -> dict[str, pl.Expr]:
    """With a key, from key-on to key-off; without, while it moves or works. A silence or the cable ends it."""
    breaks = pl.col("silent") | pl.col("plugged")
    keyed = pl.col("key").is_not_null()
    return {
        "inside": ~breaks & pl.when(keyed).then("runs").otherwise("active"),
        "breaks": breaks,
        "pause_s": pl.when(keyed).then(rules.TRIP_BREAK_S).otherwise(rules.TRIP_STOP_S),
    }


@cache
def _amounts() -> list[pl.Expr]:
    sums = (
        "s",
        "distance_km",
        "speed_km",
        "drawn_kwh",
        "returned_kwh",
        "energy_discharged_kwh",
        "energy_regenerated_kwh",
    )
    covered = (ODOMETER, SPEED, POWER, SOC, "energy_discharged_kwh", "energy_regenerated_kwh")
    return [
        pl.col("day").first(),
        pl.col("starts_at").first(),
        pl.col("ends_at").last(),
        pl.col(*sums).sum(),
        *(pl.col(f"{name}_s").sum() for name in covered),
        pl.col("soc_start_pct").first(),
        pl.col("soc_end_pct").last(),
    ]


def _covers(name: str, pct: float = rules.HEADLINE_COVERAGE_PCT) -> pl.Expr:
    return pl.col(f"{name}_s") >= pct / 100 * pl.col("s")


@cache
def _distance() -> pl.Expr:
    stuck = (pl.col("speed_km") > rules.STUCK_MIN_KM) & (pl.col("distance_km") < rules.STUCK_SHARE * pl.col("speed_km"))
    by_odometer = _covers(ODOMETER) & ~stuck.fill_null(False)
    by_speed = _covers(SPEED, rules.SCALING_COVERAGE_PCT)
    return pl.when(by_odometer).then("distance_km").when(by_speed).then("speed_km")


@cache
def _energy() -> pl.Expr:
    counted = _covers("energy_discharged_kwh") & _covers("energy_regenerated_kwh")
    return (
        pl.when(counted)
        .then(pl.col("energy_discharged_kwh") - pl.col("energy_regenerated_kwh"))
        .when(_covers(POWER))
        .then(pl.col("drawn_kwh") - pl.col("returned_kwh"))
        .when(_covers(SOC))
        .then((pl.col("soc_start_pct") - pl.col("soc_end_pct")) / 100 * pl.col("usable_battery_kwh"))
    )


@cache
def _charge() -> dict[str, pl.Expr]:
    return {name: pl.when(_covers(SOC)).then(name) for name in ("soc_start_pct", "soc_end_pct")}
