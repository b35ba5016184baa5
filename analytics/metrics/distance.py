"""Distance driven."""

from __future__ import annotations

from functools import cache

import polars as pl

from analytics.metrics import rules
from analytics.metrics.metric import Metric, Total
from analytics.metrics.rows import Figure, notes, scaled, scaled_bounds, scaling_method, scaling_note
from analytics.metrics.running import POSITION, SPEED

METRICS = (
    Metric(
        slug="distance_km",
        name="Distance",
        unit="km",
        meaning="Distance driven in the day, whole, also where nothing was recorded in between.",
        definition="odometer change; without an odometer, the trapezoid of speed; without both, satellite fixes",
        inputs=("odometer_km", "speed_kmh", "latitude_deg", "longitude_deg"),
        decimals=1,
        total=Total.SUM,
        anchor="distance",
    ),
)


def with_distance(wide: pl.LazyFrame) -> pl.LazyFrame:
    """Add `distance_km` by the ladder, with coverage, method, note and bounds; `distance_by` names the source."""
    stuck = (pl.col("speed_km") > rules.STUCK_MIN_KM) & (pl.col("odometer_km") < rules.STUCK_SHARE * pl.col("speed_km"))
    source = (
        pl.when(pl.col("odometer_km").is_not_null() & ~stuck.fill_null(False))
        .then(pl.lit("odometer"))
        .when(pl.col("speed_km").is_not_null())
        .then(pl.lit("speed"))
        .when(pl.col("position_km").is_not_null())
        .then(pl.lit("position"))
    )
    wide = wide.with_columns(distance_by=source)
    by = pl.col("distance_by")
    seen = pl.coalesce(pl.when(by == name).then(f"{name}_km") for name in SOURCES)
    pct = pl.coalesce(*(pl.when(by == name).then(f"{signal}_pct") for name, signal in SOURCES.items() if signal), 100.0)
    wide = wide.with_columns(distance_seen_km=seen, distance_pct=pct)
    seen, pct = pl.col("distance_seen_km"), pl.col("distance_pct")
    low, high = scaled_bounds(seen, pct)
    return wide.with_columns(
        distance_km=scaled(seen, pct),
        distance_low=low,
        distance_high=high,
        distance_method=scaling_method(pct),
        distance_note=notes(_words(), scaling_note(pct)),
    )


SOURCES = {"odometer": None, "speed": SPEED, "position": POSITION}
"""The ladder, and the signal whose coverage counts; the odometer's own change is whole."""


@cache
def _words() -> pl.Expr:
    by = pl.col("distance_by")
    return (
        pl.when(by == "odometer")
        .then(pl.lit("odometer"))
        .when(by == "speed")
        .then(pl.lit("from speed"))
        .when(by == "position")
        .then(pl.lit("from satellite fixes"))
        .otherwise(pl.lit("no odometer or speed"))
    )


def figures() -> dict[str, Figure]:
    """Figures of a wide day table that has passed `with_distance`."""
    return {
        "distance_km": Figure(
            pl.col("distance_km"),
            coverage_pct=pl.when(pl.col("distance_km").is_not_null()).then("distance_pct"),
            weight=pl.col("distance_km"),
            method=pl.col("distance_method"),
            note=pl.col("distance_note"),
            low=pl.col("distance_low"),
            high=pl.col("distance_high"),
        )
    }
