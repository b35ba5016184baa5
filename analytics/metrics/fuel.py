"""Liquid fuel, hydrogen and natural gas used: counters, else the integral of a rate."""

from __future__ import annotations

import polars as pl

from analytics.metrics.metric import Metric, Total
from analytics.metrics.rows import Figure, notes, scaled, scaling_method, scaling_note

_COUNTER_ONLY = ""
SOURCES = {
    "fuel_used_l": "fuel_rate_l_h",
    "heater_fuel_used_l": _COUNTER_ONLY,
    "genset_fuel_used_l": _COUNTER_ONLY,
    "hydrogen_used_kg": "hydrogen_rate_kg_h",
    "cng_used_kg": "cng_rate_kg_h",
}
"""Each fuel's counter and, where there is one, its rate."""


def _sum(slug: str, name: str, meaning: str) -> Metric:
    inputs = (slug, SOURCES[slug]) if SOURCES[slug] else (slug,)
    definition = "counter; else integral of the rate" if SOURCES[slug] else "counter"
    unit = "kg" if slug.endswith("_kg") else "L"
    return Metric(slug, name, unit, meaning, definition, inputs, 1, Total.SUM, "fuel")


METRICS = (
    _sum("fuel_used_l", "Fuel used", "Liquid fuel burnt by the engine."),
    _sum("heater_fuel_used_l", "Heater fuel used", "Liquid fuel burnt by a heater."),
    _sum("genset_fuel_used_l", "Generator fuel used", "Liquid fuel burnt by a generator on board."),
    _sum("hydrogen_used_kg", "Hydrogen used", "Hydrogen used."),
    _sum("cng_used_kg", "Natural gas used", "Natural gas used."),
)


def figures() -> dict[str, Figure]:
    """Figures of a wide day table of `day_sums` that has passed `with_distance`."""
    return {counter: _figure(counter, rate) for counter, rate in SOURCES.items()}


def _figure(counter: str, rate: str) -> Figure:
    if not rate:
        return Figure(pl.col(counter), pl.lit(100.0), pl.col("on_h"), note=_words(pl.col(counter), pl.lit("counter")))
    counted = pl.col(counter).is_not_null()
    coverage = pl.when(counted).then(100.0).otherwise(f"{rate}_pct")
    value = pl.when(counted).then(counter).otherwise(scaled(pl.col(f"{rate}_sum"), coverage))
    source = pl.when(counted).then(pl.lit("counter")).otherwise(pl.lit("from rate"))
    note = _words(value, notes(source, scaling_note(coverage)))
    return Figure(value, coverage, pl.col("on_h"), scaling_method(coverage), note)


def _words(value: pl.Expr, note: pl.Expr) -> pl.Expr:
    return pl.when(value.is_not_null()).then(note)
