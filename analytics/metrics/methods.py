"""Each figure by every method the data allow, and how the methods agree.

The headline takes one method; the others stay beside it. Two that should tell the same are compared as a ratio with an
accepted band. A ratio outside its band is a finding to show: nothing is averaged or put right by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import polars as pl

from analytics.metrics import dispensed, fuel, rules
from analytics.metrics.dispensed import CHECK_OF
from analytics.metrics.metering import RECORD, RECORD_PCT
from analytics.metrics.rows import KEYS
from analytics.metrics.running import POSITION, POWER, SOC, SPEED

Told = tuple[str, str | None]
"""A column of the wide day table, and one of its coverage; None: whole."""
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


@dataclass(frozen=True, slots=True)
class Check:
    """Two tellings of one quantity, and the ratio within which they agree.

    `top` and `bottom` are columns or expressions over the wide day table; a day counts where the `covered` coverages
    are 95 % or more and the bottom is at least `least`. `low` and `high` are accepted, not typical. `days` is
    over how many days it is judged. What comes from records has no columns: see `dispensed`.
    """

    slug: str
    name: str
    top: pl.Expr | None
    bottom: pl.Expr | None
    low: float
    high: float
    least: float
    unit: str
    covered: tuple[str, ...] = ()
    days: int = 1


def _pair(slug: str, name: str, top: str, bottom: str, *more: float, unit: str, covered: tuple[str, ...]) -> Check:
    low, high, least = more
    return Check(slug, name, pl.col(top), pl.col(bottom), low, high, least, unit, covered)


_RECORDED = pl.when(pl.col(RECORD_PCT) >= rules.HEADLINE_COVERAGE_PCT).then(RECORD)
_METERED = pl.coalesce("grid_energy_kwh", "grid_power_kw_sum", _RECORDED)
_SEEN_CHARGED = pl.coalesce("energy_charged_kwh", "returned_plugged_kwh")
_SEEN_USED = pl.coalesce("used_by_counter", "used_by_power")
_NET_SOC_KWH = pl.col("soc_net_pts") / 100 * pl.col("usable_battery_kwh")

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        check.slug: check
        for check in (
            Check("charged_over_grid", "Energy charged (DC) / grid energy (AC)", _SEEN_CHARGED, _METERED, 0.80, 0.98,
                  rules.CHECK_MIN_KWH, "kWh"),
            Check("recorded_over_metered", "Grid energy: metered sessions / vehicle's meter", _RECORDED,
                  pl.coalesce("grid_energy_kwh", "grid_power_kw_sum"), 0.95, 1.05, rules.CHECK_MIN_KWH, "kWh"),
            # A day that ends with less charge than it began with used more than it was given.
            Check("used_over_charged", "Energy used / energy charged, set right by the change in state of charge",
                  _SEEN_USED, _SEEN_CHARGED - _NET_SOC_KWH, 0.87, 1.00, rules.CHECK_MIN_KWH, "kWh",
                  (f"{SOC}_pct",)),
            _pair("power_over_counter", "Energy used: power integral / counter", "used_by_power", "used_by_counter",
                  0.95, 1.05, rules.CHECK_MIN_KWH, unit="kWh", covered=(f"{POWER}_pct", f"{_DISCHARGED}_pct")),
            Check("soc_over_charged", "Energy charged: state of charge / counter or power", pl.col("charged_by_soc"),
                  _SEEN_CHARGED, 0.90, 1.10, rules.CHECK_MIN_KWH, "kWh"),
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


def with_methods(wide: pl.LazyFrame) -> pl.LazyFrame:
    """Add to a wide day table with all figures what single methods tell and no figure needs."""
    efficiency = pl.col("charger_efficiency").fill_null(rules.DEFAULT_CHARGER_EFFICIENCY)
    return wide.with_columns(
        charged_by_soc=pl.col("soc_charged_pts") / 100 * pl.col("usable_battery_kwh"),
        grid_by_efficiency=pl.col("charged_kwh") / efficiency,
        charged_seen=_SEEN_CHARGED,
        charger_output=pl.coalesce("charger_output_energy_kwh", "charger_output_power_kw_sum"),
    )


def method_values(wide: pl.DataFrame) -> pl.DataFrame:
    """Rows of `MethodValues` from a table that has passed `with_methods`."""
    return _listed(wide, _told()).filter(pl.col("value").is_not_null())


def agreements(wide: pl.DataFrame) -> pl.DataFrame:
    """Rows of `Agreements` from a table that has passed `with_methods`."""
    return _listed(wide, _compared()).filter(pl.col("numerator").is_not_null())


@cache
def _told() -> pl.Expr:
    told = [
        pl.struct(
            metric=pl.lit(metric), method=pl.lit(method), value=pl.col(value).cast(pl.Float64),
            coverage_pct=(pl.lit(100.0) if pct is None else pl.col(pct)).cast(pl.Float64),
        )
        for metric, methods in METHODS.items()
        for method, (value, pct) in methods.items()
    ]  # fmt: skip
    return pl.concat_list(told)


@cache
def _compared() -> pl.Expr:
    compared = [
        pl.struct(
            check=pl.lit(check.slug),
            numerator=pl.when(_comparable(check, top, bottom)).then(top).cast(pl.Float64),
            denominator=bottom.cast(pl.Float64),
            agrees=(top / bottom).is_between(check.low, check.high),
        )
        for check in CHECKS.values()
        if (top := check.top) is not None and (bottom := check.bottom) is not None
    ]  # fmt: skip
    return pl.concat_list(compared)


def _comparable(check: Check, top: pl.Expr, bottom: pl.Expr) -> pl.Expr:
    covered = [pl.col(pct) >= rules.HEADLINE_COVERAGE_PCT for pct in check.covered]
    return pl.all_horizontal(top.is_not_null(), bottom >= check.least, *covered)


def _listed(wide: pl.DataFrame, parts: pl.Expr) -> pl.DataFrame:
    return wide.lazy().select(*KEYS, part=parts).explode("part").unnest("part").collect()
