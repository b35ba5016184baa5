"""Energy and fuel per distance, hour and transport work: ratios of sums over the days that are covered well enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from analytics.metrics import rules, sources
from analytics.metrics.metric import AC, DC, Given, Metric, Total
from analytics.metrics.rows import (
    MEASURED,
    Day,
    Figure,
    Figures,
    scalable,
    scaled,
    scaled_bounds,
    scaling_method,
    scaling_note,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of a ratio: what value, coverage, method and note are called among what is known of a day."""

    metric: str
    unit: str
    word: str
    value: str
    pct: str | None = None
    method: str | None = None
    note: str | None = None
    low: str | None = None
    high: str | None = None


def _fuel(slug: str, word: str) -> _Side:
    unit = "kg" if slug.endswith("_kg") else "L"
    return _Side(slug, unit, word, f"{slug}_value", f"{slug}_pct_used", f"{slug}_method", f"{slug}_note",
                 f"{slug}_low", f"{slug}_high")  # fmt: skip


ENERGY = _Side("energy_used_kwh", "kWh", "Energy", "energy_kwh", "energy_pct", "energy_method", "energy_note",
               "energy_low", "energy_high")  # fmt: skip
GRID = _Side("grid_energy_kwh", "kWh", "Grid energy", "grid_kwh", "grid_pct", "grid_method", "grid_note", "grid_low",
             "grid_high")  # fmt: skip
DISTANCE = _Side("distance_km", "km", "Distance", "distance_km", "distance_pct", "distance_method")
KEY_ON = _Side("key_on_h", "h", "Hours", "key_on_h", "key_on_pct", "key_on_method")
WORKING = _Side("working_h", "h", "Working hours", "working_h")
WORK = _Side("transport_work_tkm", "t·km", "Transport work", "work_tkm", "payload_kg_pct", "work_method")
HYDROGEN = _fuel("hydrogen_used_kg", "Hydrogen")
GAS = _fuel("cng_used_kg", "Natural gas")
FUEL = _fuel("fuel_used_l", "Liquid fuel")


@dataclass(frozen=True, slots=True)
class _Pair:
    """The two sums of a ratio, of days that have both: their slugs, sides, and the vehicles that enter.

    `idle` lets days enter on which the activity is known to be none: what was bought on a day of rest counts.
    """

    top_slug: str
    bottom_slug: str
    top: _Side
    bottom: _Side
    words: str
    only: Callable[[Day], bool] | None = None
    idle: bool = False


def _vessel(day: Day) -> bool:
    return bool(day["category"] == "vessel")


def _electric(day: Day) -> bool:
    return bool(day["powertrain"] == "bev")


PER_KM = _Pair("ratio_energy_per_km_kwh", "ratio_distance_km", ENERGY, DISTANCE, "energy per distance")
PER_HOUR = _Pair("ratio_energy_per_hour_kwh", "ratio_key_on_h", ENERGY, KEY_ON, "energy per hour")
PER_WORKING_HOUR = _Pair(
    "ratio_working_energy_kwh", "ratio_working_h", ENERGY, WORKING, "energy per working hour"
)  # fmt: skip
DGE = _Pair(
    "ratio_dge_energy_kwh", "ratio_dge_distance_km", ENERGY, DISTANCE, "miles per diesel gallon equivalent", _electric
)
AT_SEA = _Pair(
    "ratio_sea_energy_kwh", "ratio_sea_distance_km", ENERGY, DISTANCE, "energy per nautical mile", _vessel
)  # fmt: skip
PER_WORK = _Pair("ratio_transport_energy_kwh", "ratio_transport_work_tkm", ENERGY, WORK, "energy per transport work")
BOUGHT = _Pair(
    "ratio_grid_energy_kwh", "ratio_grid_distance_km", GRID, DISTANCE, "grid energy per distance", idle=True
)  # fmt: skip
PER_KM_H2 = _Pair("ratio_hydrogen_kg", "ratio_hydrogen_distance_km", HYDROGEN, DISTANCE, "hydrogen per distance")
PER_KM_CNG = _Pair("ratio_cng_kg", "ratio_cng_distance_km", GAS, DISTANCE, "natural gas per distance")
PER_KM_FUEL = _Pair("ratio_fuel_l", "ratio_fuel_distance_km", FUEL, DISTANCE, "liquid fuel per distance")
PAIRS = (
    PER_KM, PER_HOUR, PER_WORKING_HOUR, DGE, AT_SEA, PER_WORK, BOUGHT, PER_KM_H2, PER_KM_CNG, PER_KM_FUEL,
)  # fmt: skip


_PART = f"{sources.OWN}: the days that enter a ratio"


def _parts(pair: _Pair) -> tuple[Metric, ...]:
    return tuple(
        Metric(
            slug, f"{side.word} in {pair.words}", side.unit,
            f"{side.word} in {pair.words}, of vehicle-days that enter the ratio.",
            f"{side.metric} where coverage is 80 % or more",
            (side.metric, *((Given.VEHICLE,) if pair.only else ())), 1, Total.SUM, "coverage", _PART, shown=False,
        )
        for slug, side in ((pair.top_slug, pair.top), (pair.bottom_slug, pair.bottom))
    )  # fmt: skip


def _ratio(
    slug: str, name: str, unit: str, meaning: str, definition: str, decimals: int, pair: _Pair, *, scale: float = 1.0,
    side: str | None = None, printed: str | None = None, source: str = sources.OWN_RATIO, anchor: str = "energy",
    inverse: bool = False,
) -> Metric:  # fmt: skip
    top, bottom = (pair.bottom_slug, pair.top_slug) if inverse else (pair.top_slug, pair.bottom_slug)
    return Metric(
        slug, name, unit, meaning, definition, (pair.top.metric, pair.bottom.metric), decimals, Total.RATIO, anchor,
        source, numerator=top, denominator=bottom, scale=scale, side=side, printed=printed,
    )  # fmt: skip


METRICS = (
    Metric(
        "transport_work_tkm", "Transport work", "t·km", "Load carried, times the distance it was carried.",
        "sum of payload x distance, payload held for up to five minutes", ("payload_kg", "odometer_km"), 0, Total.SUM,
        "energy", f"{sources.OWN}: load times distance",
    ),
    *(part for pair in PAIRS for part in _parts(pair)),
    _ratio("energy_per_km_kwh", "Energy per distance", "kWh/km", "Battery energy (DC) used for each kilometre.",
           "energy used / distance", 2, PER_KM, side=DC, source=sources.BUSES),
    _ratio("energy_per_100km_kwh", "Energy per 100 km", "kWh/100 km", "Battery energy (DC) used for 100 kilometres.",
           "100 x energy used / distance", 1, PER_KM, scale=100.0, side=DC, source=sources.BUSES),
    _ratio("energy_per_mi_kwh", "Energy per mile", "kWh/mi", "Battery energy (DC) used for each mile.",
           "1.609344 x energy used / distance", 2, PER_KM, scale=rules.KM_PER_MILE, side=DC, source=sources.BUSES),
    _ratio("energy_per_hour_kwh", "Energy per key-on hour", "kWh/h", "Battery energy (DC) used for each key-on hour.",
           "energy used / key-on hours", 1, PER_HOUR, side=DC),
    _ratio("energy_per_working_hour_kwh", "Energy per working hour", "kWh/h",
           "Battery energy (DC) used, idling too, for each hour in which equipment or a vessel worked.",
           "energy used / working hours", 1, PER_WORKING_HOUR, side=DC),
    _ratio("energy_per_nmi_kwh", "Energy per nautical mile", "kWh/nmi",
           "Battery energy (DC) a vessel used for each nautical mile over ground.",
           "1.852 x energy used / distance", 1, AT_SEA, scale=rules.KM_PER_NAUTICAL_MILE, side=DC),
    _ratio("energy_per_tonne_km_kwh", "Energy per transport work", "kWh/(t·km)",
           "Battery energy (DC) used for each tonne carried a kilometre, empty runs included.",
           "energy used / transport work, where payload is known", 3, PER_WORK, side=DC),
    _ratio("grid_energy_per_km_kwh", "Grid energy per distance", "kWh/km",
           "Energy bought (AC at the charger's input) for each kilometre driven in the period.",
           "grid energy / distance", 2, BOUGHT, side=AC),
    _ratio("mpgdge", "Miles per diesel gallon equivalent", "mi/DGE",
           "Distance a battery-electric vehicle drives on the battery energy (DC) equal to a US gallon of diesel.",
           f"{rules.KWH_PER_DGE} kWh per gallon / (kWh per mile)", 1, DGE, side=DC, inverse=True,
           scale=rules.KWH_PER_DGE / rules.KM_PER_MILE, printed=f"{rules.KWH_PER_DGE} kWh per gallon, DC",
           source=sources.DIESEL_ENERGY),
    _ratio("mpgdge_hydrogen", "Miles per diesel gallon equivalent, hydrogen", "mi/DGE",
           "Distance a vehicle drives on the hydrogen equal in energy to a US gallon of diesel.",
           f"{rules.KG_H2_PER_DGE} kg per gallon x miles per kg", 1, PER_KM_H2, inverse=True, anchor="fuel",
           scale=rules.KG_H2_PER_DGE / rules.KM_PER_MILE, printed=f"{rules.KG_H2_PER_DGE} kg of hydrogen per gallon",
           source=sources.HYDROGEN_ENERGY),
    _ratio("mpgdge_cng", "Miles per diesel gallon equivalent, natural gas", "mi/DGE",
           "Distance a vehicle drives on the natural gas equal in energy to a US gallon of diesel.",
           f"{rules.KG_CNG_PER_DGE:.3f} kg per gallon x miles per kg", 1, PER_KM_CNG, inverse=True, anchor="fuel",
           scale=rules.KG_CNG_PER_DGE / rules.KM_PER_MILE,
           printed=f"{rules.KG_CNG_PER_DGE:.3f} kg of natural gas per gallon",
           source=sources.GAS_ENERGY),
    _ratio("hydrogen_per_100km_kg", "Hydrogen per 100 km", "kg/100 km", "Hydrogen used for 100 kilometres.",
           "100 x hydrogen used / distance", 2, PER_KM_H2, scale=100.0, anchor="fuel"),
    _ratio("cng_per_100km_kg", "Natural gas per 100 km", "kg/100 km", "Natural gas used for 100 kilometres.",
           "100 x natural gas used / distance", 2, PER_KM_CNG, scale=100.0, anchor="fuel"),
    _ratio("fuel_per_100km_l", "Fuel per 100 km", "L/100 km", "Liquid fuel the engine burnt for 100 kilometres.",
           "100 x fuel used / distance", 1, PER_KM_FUEL, scale=100.0, anchor="fuel"),
)  # fmt: skip


def with_work(day: Day) -> dict[str, Any]:
    """Transport work, scaled to the distance whose load is not known where that is allowed."""
    work, pct = day["transport_work_tkm"], day["payload_kg_pct"]
    low, high = scaled_bounds(work, pct)
    return {
        "work_tkm": scaled(work, pct), "work_method": scaling_method(pct), "work_low": low, "work_high": high,
        "work_note": scaling_note(pct) if work is not None else None,
    }  # fmt: skip


def figures(day: Day) -> Figures:
    """Transport work, and the components of the ratios, of a day with all their sides."""
    work = Figure(
        day["work_tkm"], day["payload_kg_pct"], day["distance_km"], day["work_method"], day["work_note"],
        day["work_low"], day["work_high"],
    )  # fmt: skip
    entering = [pair for pair in PAIRS if _enters(pair, day)]
    sides = {
        slug: _figure(side, day, day[pair.bottom.value])
        for pair in entering
        for slug, side in ((pair.top_slug, pair.top), (pair.bottom_slug, pair.bottom))
    }
    return {"transport_work_tkm": work, **sides}


def _enters(pair: _Pair, day: Day) -> bool:
    """The day has both sides, covered well enough, and was active."""
    top, bottom = day[pair.top.value], day[pair.bottom.value]
    if top is None or bottom is None or not (_covered(pair.top, day) and _covered(pair.bottom, day)):
        return False
    active = bottom >= 0 if pair.idle else bottom > 0
    return bool(active and (pair.only is None or pair.only(day)))


def _covered(side: _Side, day: Day) -> bool:
    return side.pct is None or scalable(day[side.pct])


def _figure(side: _Side, day: Day, weight: float) -> Figure:
    note, low, high = (None if name is None else day[name] for name in (side.note, side.low, side.high))
    return Figure(
        day[side.value], 100.0 if side.pct is None else day[side.pct], weight,
        MEASURED if side.method is None else day[side.method], note, low, high,
    )  # fmt: skip
