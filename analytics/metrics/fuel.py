"""Liquid fuel, hydrogen and natural gas used: counters, else the integral of a rate, else what left the tanks."""

from __future__ import annotations

from typing import Any

from analytics.metrics import sources
from analytics.metrics.metric import Metric, Total
from analytics.metrics.rows import (
    ESTIMATED,
    Day,
    Figure,
    Figures,
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
_PUBLISHED = {"fuel_used_l": f"; counter: {sources.FUEL_COUNTER}; rate: {sources.FUEL_RATE}"}
_WORDS = {"counter": "counter", "rate": "integral of the rate", "tank": "fall of the mass in the tanks"}


def _sum(slug: str, name: str, meaning: str) -> Metric:
    words = [_WORDS["counter"], *(_WORDS[source] for source in SOURCES[slug])]
    unit = "kg" if slug.endswith("_kg") else "L"
    inputs = (slug, *SOURCES[slug].values())
    own = sources.OWN_ORDER if len(words) > 1 else f"{sources.OWN}: change of the counter"
    source = own + _PUBLISHED.get(slug, "")
    return Metric(slug, name, unit, meaning, "; else ".join(words), inputs, 1, Total.SUM, "fuel", source)


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


_AMOUNTS = {fuel: amounts(fuel) for fuel in SOURCES}
_SHORT = {"counter": "counter", "rate": "from rate", "tank": "from mass in the tanks"}


def with_fuel(day: Day) -> dict[str, Any]:
    """Each fuel's amount by its ladder, as `<fuel>_value`, `_pct_used`, `_method`, `_note`, `_low` and `_high`."""
    return {f"{fuel}_{name}": part for fuel in SOURCES for name, part in _amount(day, fuel).items()}


def _amount(day: Day, fuel: str) -> dict[str, Any]:
    by = _source(day, fuel)
    value, pct = (None, None) if by is None else (day[column] for column in _AMOUNTS[fuel][by])
    low, high = scaled_bounds(value, pct)
    return {
        "value": scaled(value, pct), "pct_used": pct, "low": low, "high": high,
        "method": ESTIMATED if by == "tank" else scaling_method(pct),
        "note": None if by is None else notes(_SHORT[by], scaling_note(pct)),
    }  # fmt: skip


def _source(day: Day, fuel: str) -> str | None:
    """A counter, rate or tank that covers enough, else whatever tells."""
    known = {source: pct for source, (value, pct) in _AMOUNTS[fuel].items() if day[value] is not None}
    enough = [source for source, pct in known.items() if scalable(day[pct])]
    return next(iter([*enough, *known]), None)


def figures(day: Day) -> Figures:
    """Figures of a day that has passed `with_fuel`."""
    return {
        fuel: Figure(
            day[f"{fuel}_value"], day[f"{fuel}_pct_used"], day["on_h"], day[f"{fuel}_method"], day[f"{fuel}_note"],
            day[f"{fuel}_low"], day[f"{fuel}_high"],
        )
        for fuel in SOURCES
    }  # fmt: skip
