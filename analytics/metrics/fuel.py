"""Liquid fuel, hydrogen and natural gas used: counters, else the integral of a rate, else what left the tanks."""

from __future__ import annotations

import polars as pl

from analytics.metrics.metric import Metric, Total
from analytics.metrics.rows import (
    ESTIMATED,
    Figure,
    notes,
    scalable,
    scaled,
    scaled_bounds,
    scaling_method,
    scaling_note,
)  # fmt: skip

SOURCES: dict[str, dict[str, str]] = {
    "fuel_used_l": {"rate": "fuel_rate_l_h"},
    "heater_fuel_used_l": {},
    "genset_fuel_used_l": {},
    "hydrogen_used_kg": {"rate": "hydrogen_rate_kg_h", "tank": "hydrogen_mass_kg"},
    "cng_used_kg": {"rate": "cng_rate_kg_h"},
}
"""What tells of each fuel besides its counter."""
_WORDS = {"counter": "counter", "rate": "integral of the rate", "tank": "fall of the mass in the tanks"}


def _sum(slug: str, name: str, meaning: str) -> Metric:
    words = [_WORDS["counter"], *(_WORDS[source] for source in SOURCES[slug])]
    unit = "kg" if slug.endswith("_kg") else "L"
    inputs = (slug, *SOURCES[slug].values())
    return Metric(slug, name, unit, meaning, "; else ".join(words), inputs, 1, Total.SUM, "fuel")


METRICS = (
    _sum("fuel_used_l", "Fuel used", "Liquid fuel burnt by the engine."),
    _sum("heater_fuel_used_l", "Heater fuel used", "Liquid fuel burnt by a heater."),
    _sum("genset_fuel_used_l", "Generator fuel used", "Liquid fuel burnt by a generator on board."),
    _sum("hydrogen_used_kg", "Hydrogen used", "Hydrogen used."),
    _sum("cng_used_kg", "Natural gas used", "Natural gas used."),
)


def amounts(fuel: str) -> dict[str, tuple[str, str]]:
    """Columns of what each source tells of a fuel, and of its coverage."""
    columns = {"rate": (f"{SOURCES[fuel].get('rate')}_sum", f"{SOURCES[fuel].get('rate')}_pct"),
               "tank": ("tank_used_kg", "hydrogen_mass_kg_pct")}  # fmt: skip
    return {"counter": (fuel, f"{fuel}_pct")} | {source: columns[source] for source in SOURCES[fuel]}


def with_fuel(wide: pl.LazyFrame) -> pl.LazyFrame:
    """Add each fuel's amount by its ladder, as `<fuel>_value`, `_pct_used`, `_method`, `_note`, `_low` and `_high`."""
    wide = wide.with_columns(_source(fuel).alias(f"{fuel}_by") for fuel in SOURCES)
    wide = wide.with_columns(column for fuel in SOURCES for column in _seen(fuel))
    return wide.with_columns(column.alias(name) for fuel in SOURCES for name, column in _amount(fuel).items())


def _source(fuel: str) -> pl.Expr:
    """A counter or a rate that covers enough, then the tank, then whatever tells most."""
    told = amounts(fuel)
    known = {source: pl.col(value).is_not_null() for source, (value, _) in told.items()}
    enough = {source: known[source] & scalable(pl.col(pct)) for source, (_, pct) in told.items()}
    return pl.coalesce(pl.when(holds).then(pl.lit(name)) for steps in (enough, known) for name, holds in steps.items())


def _seen(fuel: str) -> list[pl.Expr]:
    """What the chosen source tells, and how much it covers."""
    by, told = pl.col(f"{fuel}_by"), amounts(fuel)
    parts = {"seen": 0, "pct_used": 1}
    return [
        pl.coalesce(pl.when(by == source).then(columns[n]) for source, columns in told.items()).alias(f"{fuel}_{part}")
        for part, n in parts.items()
    ]


def _amount(fuel: str) -> dict[str, pl.Expr]:
    by, value, pct = (pl.col(f"{fuel}_{part}") for part in ("by", "seen", "pct_used"))
    low, high = scaled_bounds(value, pct)
    words = by.replace_strict(_SHORT, return_dtype=pl.String)
    return {
        f"{fuel}_value": scaled(value, pct),
        f"{fuel}_method": pl.when(by == "tank").then(pl.lit(ESTIMATED)).otherwise(scaling_method(pct)),
        f"{fuel}_note": pl.when(value.is_not_null()).then(notes(words, scaling_note(pct))),
        f"{fuel}_low": low,
        f"{fuel}_high": high,
    }


_SHORT = {"counter": "counter", "rate": "from rate", "tank": "from mass in the tanks"}


def figures() -> dict[str, Figure]:
    """Figures of a wide day table that has passed `with_fuel`."""
    return {
        fuel: Figure(
            pl.col(f"{fuel}_value"), pl.col(f"{fuel}_pct_used"), pl.col("on_h"), pl.col(f"{fuel}_method"),
            pl.col(f"{fuel}_note"), pl.col(f"{fuel}_low"), pl.col(f"{fuel}_high"),
        )
        for fuel in SOURCES
    }  # fmt: skip
