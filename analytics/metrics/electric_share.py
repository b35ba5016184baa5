"""How much of its way a hybrid drove with its engine off: measured, never assumed.

The engine runs where its speed is above zero or fuel flows. The way is the trapezoid of vehicle speed between rows; an
interval counts as its first row says.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from analytics.metrics import rules, sources
from analytics.metrics.arrays import Floats, Whole
from analytics.metrics.fill import Said
from analytics.metrics.metric import Given, Metric, Total
from analytics.metrics.readings import Samples
from analytics.metrics.rows import Figure, Figures, Key

HYBRIDS = ("phev", "hev")
ENGINE = ("engine_speed_rpm", "fuel_rate_l_h")
ELECTRIC, TOLD = "electric_distance_km", "engine_told_distance_km"


def _distance(slug: str, name: str, meaning: str) -> Metric:
    inputs = ("speed_kmh", *ENGINE, Given.VEHICLE)
    return Metric(
        slug, name, "km", meaning, "integral of speed", inputs, 1, Total.SUM, "near-zero", sources.SPEED_INTEGRAL,
        shown=False,
    )  # fmt: skip


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
        sources.MEASURED_SHARE,
        numerator=ELECTRIC,
        denominator=TOLD,
        scale=100.0,
    ),
)


def share_figures(samples: Samples, cuts: pl.DataFrame, vehicles: pl.DataFrame) -> list[tuple[Key, Figures]]:
    """Figures of hybrids; vehicles that never tell of their engine have none."""
    facts = vehicles[["vehicle_id", "powertrain"]].iter_rows()
    hybrids = {vehicle_id for vehicle_id, powertrain in facts if powertrain in HYBRIDS}
    says = [samples.said(name) for name in ENGINE if name in samples.signals]
    if not hybrids or not says or "speed_kmh" not in samples.signals:
        return []
    runs = Said(says[0].value > 0, says[0].told)
    for other in says[1:]:
        runs = runs.otherwise(Said(other.value > 0, other.told))
    at, km = _steps(samples)
    told, off, cut = runs.told[at], runs.told[at] & ~runs.value[at], samples.rows.cut[at]
    found = []
    for number, vehicle_id, day in cuts.select("cut", "vehicle_id", "day").drop_nulls().iter_rows():
        mine = cut == number
        if vehicle_id in hybrids and (mine & told).any():
            parts = (mine, mine & told, mine & off)
            found.append(((vehicle_id, day), _figures(*(km[part].sum().item() for part in parts))))
    return found


def _steps(samples: Samples) -> tuple[Whole, Floats]:
    """The rows with a speed, and the way from each to the next; none over gaps, nor from a vehicle's last."""
    signal = samples.signals["speed_kmh"]
    sampling = samples.sampling(signal.told)
    near, there = sampling.gap_s <= rules.GAP_CEILING_S, np.append(signal.x[1:], 0.0)
    return signal.told.at, np.where(near, (signal.x + there) / 2 * sampling.gap_h, 0.0)


def _figures(all_km: float, told_km: float, electric_km: float) -> Figures:
    coverage_pct = 100 * told_km / all_km if all_km > 0 else 100.0
    return {ELECTRIC: Figure(electric_km, coverage_pct, all_km), TOLD: Figure(told_km, coverage_pct, all_km)}
