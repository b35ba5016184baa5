"""How much of its way a hybrid drove with its engine off: measured, never assumed.

The engine runs where its speed is above zero or fuel flows. The way is the trapezoid of vehicle speed between rows; an
interval counts as its first row says.
"""

from __future__ import annotations

import polars as pl

from analytics.metrics import rules
from analytics.metrics.metric import Metric, Total
from analytics.metrics.rows import Figure, Figures, Key

HYBRIDS = ("phev", "hev")
ENGINE = ("engine_speed_rpm", "fuel_rate_l_h")
ELECTRIC, TOLD = "electric_distance_km", "engine_told_distance_km"
US_PER_H = 3.6e9


def _distance(slug: str, name: str, meaning: str) -> Metric:
    inputs = ("speed_kmh", *ENGINE)
    return Metric(slug, name, "km", meaning, "integral of speed", inputs, 1, Total.SUM, "near-zero", shown=False)


METRICS = (
    _distance(ELECTRIC, "Distance with the engine off", "Distance a hybrid drove with its engine off."),
    _distance(TOLD, "Distance with the engine known", "Distance on which a hybrid told whether its engine ran."),
    Metric(
        "electric_distance_share_pct",
        "Electric share of the distance",
        "%",
        "Share of a hybrid's distance driven with the engine off, as measured.",
        "distance with the engine off / distance on which it is known",
        (ELECTRIC, TOLD),
        1,
        Total.RATIO,
        "near-zero",
        numerator=ELECTRIC,
        denominator=TOLD,
        scale=100.0,
    ),
)


def share_figures(rows: pl.DataFrame, cuts: pl.DataFrame, vehicles: pl.DataFrame) -> list[tuple[Key, Figures]]:
    """Figures of hybrids from `ordered` rows; vehicles that never tell of their engine have none."""
    hybrids = vehicles.filter(pl.col("powertrain").is_in(HYBRIDS))["vehicle_id"]
    says = [name for name in ENGINE if name in rows.columns]
    if hybrids.is_empty() or not says or "speed_kmh" not in rows.columns:
        return []
    runs = pl.coalesce(pl.col(name) > 0 for name in says)
    read = rows.filter(pl.col("vehicle_id").is_in(hybrids.implode()) & pl.col("speed_kmh").is_not_null())
    same = pl.col("vehicle_id") == pl.col("vehicle_id").shift(-1)
    hours = (pl.col("time").shift(-1) - pl.col("time")).dt.total_microseconds() / US_PER_H
    km = (pl.col("speed_kmh") + pl.col("speed_kmh").shift(-1)) / 2 * hours
    steps = read.select(
        "vehicle_id", "cut", runs=runs, km=pl.when(same & (hours * 3600 <= rules.GAP_CEILING_S)).then(km)
    )
    days = cuts.select("cut", "day").drop_nulls()
    wide = steps.join(days, on="cut").group_by("vehicle_id", "day").agg(
        all_km=pl.col("km").sum(),
        told_km=pl.col("km").filter(pl.col("runs").is_not_null()).sum(),
        electric_km=pl.col("km").filter(~pl.col("runs")).sum(),
        told=pl.col("runs").is_not_null().any(),
    )  # fmt: skip
    told = wide.filter("told").select("vehicle_id", "day", "all_km", "told_km", "electric_km")
    return [((vehicle_id, day), _figures(*km)) for vehicle_id, day, *km in told.iter_rows()]


def _figures(all_km: float, told_km: float, electric_km: float) -> Figures:
    coverage_pct = 100 * told_km / all_km if all_km > 0 else 100.0
    return {ELECTRIC: Figure(electric_km, coverage_pct, all_km), TOLD: Figure(told_km, coverage_pct, all_km)}
