"""Energy per distance and per hour: ratios of sums over the vehicle-days that are covered well enough."""

from __future__ import annotations

import polars as pl

from analytics.metrics import rules
from analytics.metrics.metric import Metric, Total
from analytics.metrics.rows import Figure, scalable

_MILES_PER_DGE = rules.KWH_PER_DGE / rules.KM_PER_MILE


def _part(slug: str, name: str, unit: str, of: str) -> Metric:
    meaning = f"{name}, of vehicle-days that enter the ratio."
    return Metric(
        slug, name, unit, meaning, f"{of} where coverage is 80 % or more", (of,), 1, Total.SUM, "coverage", shown=False
    )


METRICS = (
    _part("ratio_energy_per_km_kwh", "Energy in energy per distance", "kWh", "energy_used_kwh"),
    _part("ratio_distance_km", "Distance in energy per distance", "km", "distance_km"),
    _part("ratio_energy_per_hour_kwh", "Energy in energy per hour", "kWh", "energy_used_kwh"),
    _part("ratio_key_on_h", "Hours in energy per hour", "h", "key_on_h"),
    _part("ratio_dge_energy_kwh", "Energy in miles per diesel gallon equivalent", "kWh", "energy_used_kwh"),
    _part("ratio_dge_distance_km", "Distance in miles per diesel gallon equivalent", "km", "distance_km"),
    Metric(
        "energy_per_km_kwh", "Energy per distance", "kWh/km", "Battery energy (DC) used for each kilometre.",
        "energy used / distance", ("energy_used_kwh", "distance_km"), 2, Total.RATIO, "energy",
        numerator="ratio_energy_per_km_kwh", denominator="ratio_distance_km",
    ),
    Metric(
        "energy_per_hour_kwh", "Energy per key-on hour", "kWh/h", "Battery energy (DC) used for each key-on hour.",
        "energy used / key-on hours", ("energy_used_kwh", "key_on_h"), 1, Total.RATIO, "energy",
        numerator="ratio_energy_per_hour_kwh", denominator="ratio_key_on_h",
    ),
    Metric(
        "mpgdge", "Miles per diesel gallon equivalent", "mi/DGE",
        "Distance a battery-electric vehicle drives on the battery energy (DC) equal to a US gallon of diesel.",
        f"{rules.KWH_PER_DGE} kWh per gallon / (kWh per mile)", ("energy_used_kwh", "distance_km"), 1, Total.RATIO,
        "energy", numerator="ratio_dge_distance_km", denominator="ratio_dge_energy_kwh", scale=_MILES_PER_DGE,
    ),
)  # fmt: skip


def figures() -> dict[str, Figure]:
    """Components of the ratios from a wide day table with distance, energy and key-on hours."""
    energy, distance, hours = pl.col("energy_kwh"), pl.col("distance_km"), pl.col("key_on_h")
    by_km = energy.is_not_null() & (distance > 0) & scalable(pl.col("energy_pct")) & scalable(pl.col("distance_pct"))
    by_hour = energy.is_not_null() & (hours > 0) & scalable(pl.col("energy_pct")) & scalable(pl.col("key_on_pct"))
    electric = by_km & (pl.col("powertrain") == "bev")
    return {
        "ratio_energy_per_km_kwh": _energy(by_km, distance),
        "ratio_distance_km": _activity(by_km, "distance"),
        "ratio_energy_per_hour_kwh": _energy(by_hour, hours),
        "ratio_key_on_h": _activity(by_hour, "key_on"),
        "ratio_dge_energy_kwh": _energy(electric, distance),
        "ratio_dge_distance_km": _activity(electric, "distance"),
    }


def _energy(enters: pl.Expr, weight: pl.Expr) -> Figure:
    value, note = pl.when(enters).then("energy_kwh"), pl.when(enters).then("energy_note")
    return Figure(
        value, pl.when(enters).then("energy_pct"), pl.when(enters).then(weight), pl.col("energy_method"), note
    )


def _activity(enters: pl.Expr, name: str) -> Figure:
    column = {"distance": "distance_km", "key_on": "key_on_h"}[name]
    value = pl.when(enters).then(column)
    return Figure(value, pl.when(enters).then(f"{name}_pct"), value, pl.col(f"{name}_method"))
