"""Distance driven."""

from __future__ import annotations

import polars as pl

from analytics.metrics import rules
from analytics.metrics.metric import Metric, Total
from analytics.metrics.rows import MEASURED, Figure, notes, scaled, scaling_method, scaling_note
from analytics.metrics.running import SPEED

METRICS = (
    Metric(
        slug="distance_km",
        name="Distance",
        unit="km",
        meaning="Distance driven in the day, whole, also where nothing was recorded in between.",
        definition="odometer change; without an odometer, the trapezoid of speed",
        inputs=("odometer_km", "speed_kmh"),
        decimals=1,
        total=Total.SUM,
        anchor="distance",
    ),
)


def with_distance(wide: pl.DataFrame) -> pl.DataFrame:
    """Add `distance_km` by the ladder, with `distance_pct` (coverage), `distance_method` and `distance_note`."""
    stuck = (pl.col("speed_km") > rules.STUCK_MIN_KM) & (pl.col("odometer_km") < rules.STUCK_SHARE * pl.col("speed_km"))
    by_odometer = pl.col("odometer_km").is_not_null() & ~stuck.fill_null(False)
    coverage = pl.when(~by_odometer & pl.col("speed_km").is_not_null()).then(f"{SPEED}_pct").otherwise(100.0)
    return wide.with_columns(by_odometer=by_odometer, distance_pct=coverage).with_columns(
        distance_km=pl.when("by_odometer")
        .then("odometer_km")
        .otherwise(scaled(pl.col("speed_km"), pl.col("distance_pct"))),
        distance_method=pl.when("by_odometer").then(pl.lit(MEASURED)).otherwise(scaling_method(pl.col("distance_pct"))),
        distance_note=_note(),
    )


def _note() -> pl.Expr:
    from_speed = notes(pl.lit("from speed"), scaling_note(pl.col("distance_pct")))
    return (
        pl.when("by_odometer")
        .then(pl.lit("odometer"))
        .when(pl.col("speed_km").is_not_null())
        .then(from_speed)
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
        )
    }
