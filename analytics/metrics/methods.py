"""Each figure by every method the data allow, and how the methods agree.

The headline takes one method; the others stay beside it. Two that should tell the same are compared as a ratio with an
accepted band. A ratio outside its band is a finding to show: nothing is averaged or put right by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from analytics.metrics import dispensed, fuel, rules
from analytics.metrics.dispensed import CHECK_OF
from analytics.metrics.energy import by_capacity
from analytics.metrics.metering import RECORD, RECORD_PCT
from analytics.metrics.rows import Day, Key, first
from analytics.metrics.running import POSITION, POWER, SOC, SPEED
from schemas.frames import Agreements, MethodValues, framed

Told = tuple[str, str | None]
"""What a method's amount and its coverage are called among what is known of a day; None: whole."""
_DISCHARGED, _REGENERATED = ("energy_discharged_kwh", "energy_regenerated_kwh")

METHODS: Mapping[str, Mapping[str, Told]] = MappingProxyType(
    {
        "distance_km": {
            "odometer": ("odometer_km", None),
            "speed": ("speed_km", f"{SPEED}_pct"),
            "position": ("position_km", f"{POSITION}_pct"),
        },
        "energy_used_kwh": {
            "counter": ("used_by_counter", f"{_DISCHARGED}_pct"),
            "power": ("used_by_power", f"{POWER}_pct"),
            "state of charge": ("used_by_soc", f"{SOC}_pct"),
        },
        _DISCHARGED: {"counter": (_DISCHARGED, f"{_DISCHARGED}_pct"), "power": ("drawn_kwh", f"{POWER}_pct")},
        _REGENERATED: {"counter": (_REGENERATED, f"{_REGENERATED}_pct"), "power": ("returned_kwh", f"{POWER}_pct")},
        "energy_charged_kwh": {
            "counter": ("energy_charged_kwh", None),
            "power": ("returned_plugged_kwh", None),
            "state of charge": ("charged_by_soc", None),
            "charger's counter": ("charger_output_energy_kwh", None),
            "charger's power": ("charger_output_power_kw_sum", None),
        },
        "grid_energy_kwh": {
            "meter": ("grid_energy_kwh", None),
            "power": ("grid_power_kw_sum", None),
            "metered sessions": (RECORD, RECORD_PCT),
            "charger's efficiency": ("grid_by_efficiency", None),
        },
        "auxiliary_energy_kwh": {"power": ("auxiliary_power_kw_sum", "auxiliary_power_kw_pct")},
        **{slug: fuel.amounts(slug) for slug in fuel.SOURCES},
    }
)
"""What tells of each figure: by figure and method, the best first."""


Read = Callable[[Day], float | None]


@dataclass(frozen=True, slots=True)
class Check:
    """Two tellings of one quantity, and the ratio within which they agree.

    `top` and `bottom` read what is known of a day; a day counts where the `covered` coverages are 95 % or more and the
    bottom is at least `least`. `low` and `high` are accepted, not typical. `days` is
    over how many days it is judged. What comes from records reads no day: see `dispensed`.
    """

    slug: str
    name: str
    top: Read | None
    bottom: Read | None
    low: float
    high: float
    least: float
    unit: str
    covered: tuple[str, ...] = ()
    days: int = 1


def _the_first(*names: str) -> Read:
    return lambda day: first(*(day[name] for name in names))


def _pair(slug: str, name: str, top: str, bottom: str, *more: float, unit: str, covered: tuple[str, ...]) -> Check:
    low, high, least = more
    return Check(slug, name, _the_first(top), _the_first(bottom), low, high, least, unit, covered)


def _recorded(day: Day) -> float | None:
    pct = day[RECORD_PCT]
    return day[RECORD] if pct is not None and pct >= rules.HEADLINE_COVERAGE_PCT else None


def _metered(day: Day) -> float | None:
    return first(day["grid_energy_kwh"], day["grid_power_kw_sum"], _recorded(day))


_SEEN_CHARGED = _the_first("energy_charged_kwh", "returned_plugged_kwh")


def _charged_less_gained(day: Day) -> float | None:
    """A day that ends with less charge than it began with used more than it was given."""
    charged, gained = _SEEN_CHARGED(day), by_capacity(day["soc_net_pts"], day)
    return None if charged is None or gained is None else charged - gained


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        check.slug: check
        for check in (
            Check("charged_over_grid", "Energy charged (DC) / grid energy (AC)", _SEEN_CHARGED, _metered, 0.80, 0.98,
                  rules.CHECK_MIN_KWH, "kWh"),
            Check("recorded_over_metered", "Grid energy: metered sessions / vehicle's meter", _recorded,
                  _the_first("grid_energy_kwh", "grid_power_kw_sum"), 0.95, 1.05, rules.CHECK_MIN_KWH, "kWh"),
            Check("used_over_charged", "Energy used / energy charged, set right by the change in state of charge",
                  _the_first("used_by_counter", "used_by_power"), _charged_less_gained, 0.87, 1.00,
                  rules.CHECK_MIN_KWH, "kWh", (f"{SOC}_pct",)),
            _pair("power_over_counter", "Energy used: power integral / counter", "used_by_power", "used_by_counter",
                  0.95, 1.05, rules.CHECK_MIN_KWH, unit="kWh", covered=(f"{POWER}_pct", f"{_DISCHARGED}_pct")),
            Check("soc_over_charged", "Energy charged: state of charge / counter or power",
                  _the_first("charged_by_soc"), _SEEN_CHARGED, 0.90, 1.10, rules.CHECK_MIN_KWH, "kWh"),
            _pair("charged_over_charger", "Energy charged: vehicle / charger's output", "charged_seen",
                  "charger_output", 0.95, 1.02, rules.CHECK_MIN_KWH, unit="kWh", covered=()),
            _pair("odometer_over_speed", "Distance: odometer / integral of speed", "odometer_km", "speed_km", 0.97,
                  1.03, rules.CHECK_MIN_KM, unit="km", covered=(f"{SPEED}_pct",)),
            _pair("odometer_over_position", "Distance: odometer / satellite fixes", "odometer_km", "position_km",
                  0.95, 1.08, rules.CHECK_MIN_KM, unit="km", covered=(f"{POSITION}_pct",)),
            *(
                _pair(f"{slug.rsplit('_', 2)[0]}_rate_over_counter", f"{name}: integral of the rate / counter",
                      f"{fuel.SOURCES[slug]['rate']}_sum", slug, 0.95, 1.05, rules.CHECK_MIN_FUEL,
                      unit=slug.rsplit("_", 1)[1].replace("l", "L"), covered=(f"{fuel.SOURCES[slug]['rate']}_pct",))
                for slug, name in (("fuel_used_l", "Fuel"), ("hydrogen_used_kg", "Hydrogen"),
                                   ("cng_used_kg", "Natural gas"))
            ),
            *(
                Check(CHECK_OF[metric.slug], f"{metric.name} / used", None, None, 0.90, 1.10, 0.0, metric.unit,
                      days=rules.JUDGED_DAYS)
                for metric in dispensed.METRICS
            ),
        )
    }
)  # fmt: skip
"""Comparisons by slug. Bands are chosen for this project; a charger's losses and a pack's own are inside them."""


def with_methods(day: Day) -> dict[str, float | None]:
    """What single methods tell and no figure needs, of a day with all figures."""
    efficiency, charged = day["charger_efficiency"] or rules.DEFAULT_CHARGER_EFFICIENCY, day["charged_kwh"]
    return {
        "charged_by_soc": by_capacity(day["soc_charged_pts"], day),
        "grid_by_efficiency": None if charged is None else charged / efficiency,
        "charged_seen": _SEEN_CHARGED(day),
        "charger_output": first(day["charger_output_energy_kwh"], day["charger_output_power_kw_sum"]),
    }


_TOLD = [(metric, method, *told) for metric, methods in METHODS.items() for method, told in methods.items()]


def method_values(days: Iterable[tuple[Key, Day]]) -> pl.DataFrame:
    """Rows of `MethodValues` of days that have passed `with_methods`."""
    rows = (
        (*key, metric, method, day[value], 100.0 if pct is None else day[pct])
        for key, day in days
        for metric, method, value, pct in _TOLD
        if day[value] is not None
    )
    return framed(rows, MethodValues)


def agreements(days: Iterable[tuple[Key, Day]]) -> pl.DataFrame:
    """Rows of `Agreements` of days that have passed `with_methods`."""
    rows = ((*key, *compared) for key, day in days for check in CHECKS.values() if (compared := _compared(check, day)))
    return framed(rows, Agreements)


def _compared(check: Check, day: Day) -> tuple[str, float, float, bool] | None:
    """Both tellings of a day that counts, and whether they agree."""
    if check.top is None or check.bottom is None:
        return None
    top, bottom = check.top(day), check.bottom(day)
    if top is None or bottom is None or bottom < check.least:
        return None
    if any(day[pct] is None or day[pct] < rules.HEADLINE_COVERAGE_PCT for pct in check.covered):
        return None
    return check.slug, top, bottom, check.low <= top / bottom <= check.high
