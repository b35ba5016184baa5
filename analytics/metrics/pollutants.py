"""NOx and PM2.5 avoided, for screening: by certification standard and the work of the displaced engine.

    avoided = work x standard of the displaced engine - work of the own engine x its standard - heater fuel x factor

Work at the engine's shaft is declared: per km, per key-on hour, or per litre that the baseline vehicle burns. A gas
engine or a hybrid's does the same work; a plug-in hybrid's engine, or a generator on board, its share of the fuel.
Standards are limits of certification: engines in use emit more at low speed and when cold, so these are no claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from analytics.factors.limits import ENGINE, HEATER, Limit, Limits, Source, limits
from analytics.factors.standards import standard_of
from analytics.metrics import sources
from analytics.metrics.avoiding import Avoided, Found, bounds, in_frames, known, told_fuels, unknown
from analytics.metrics.metric import Given, Metric, Total
from analytics.metrics.rows import ESTIMATED
from analytics.metrics.vehicle_days import LIQUID_FUELS, NO_BASELINES, VehicleDay, day_inputs
from schemas.units import WORK_RATES

NOX, PM = "nox_avoided_screening_g", "pm25_avoided_screening_g"
POLLUTANTS = {NOX: "nox", PM: "pm"}
WHOLE_WORK = ("cng", "lng", "hev")
"""Powertrains whose own engine does all the work."""
NOX_ONLY = ("cng", "lng")
GRAMS_PER_KG = 1000.0
ACTIVITY_NAMES = {"km": "distance_km", "h": "key_on_h", "L": "fuel of the baseline"}


def _metric(slug: str, name: str, meaning: str) -> Metric:
    inputs = (
        "distance_km", "key_on_h", *LIQUID_FUELS, Given.VEHICLE, Given.BASELINE, Given.ENGINES, Given.FACTORS,
    )  # fmt: skip
    return Metric(
        slug, name, "g", meaning, "work x standard - own engine and heater", inputs, 0, Total.SUM, "nox-and-pm",
        sources.LIMITS,
    )  # fmt: skip


METRICS = (
    _metric(NOX, "NOx avoided (screening)", "NOx by the displaced engine's standard, less the vehicle's own."),
    _metric(PM, "PM2.5 avoided (screening)", "Exhaust PM by the displaced engine's standard, less the vehicle's own."),
)


def screened(
    vehicles: pl.DataFrame,
    days: pl.DataFrame,
    day_figures: pl.DataFrame,
    table: pl.DataFrame,
    baselines: pl.DataFrame = NO_BASELINES,
) -> Avoided:
    """NOx and PM2.5 avoided (g) of each vehicle and day, two rows each; the arguments are those of `avoided`."""
    return screened_on(day_inputs(vehicles, days, day_figures, baselines), table)


def screened_on(days: Sequence[VehicleDay], table: pl.DataFrame) -> Avoided:
    """What `screened` gives, from `day_inputs`."""
    works = [_work(day) for day in days]
    asked = [(work.day.day, source) for work in works for source in work.sources().values()]
    found = iter(limits(asked, table))
    known_limits = [{side: next(found) for side in work.sources()} for work in works]
    return in_frames(
        _screened(work, holds, slug, gas)
        for work, holds in zip(works, known_limits, strict=True)
        for slug, gas in POLLUTANTS.items()
    )


BASE, OWN, HEATED = "base", "own", "heated"
"""Whose limit or factor is looked up: the displaced engine's, the vehicle's own engine's, and its heater's."""


@dataclass(frozen=True, slots=True)
class Work:
    """What the engines of a day did: the displaced one, and the vehicle's own (kWh at the shaft)."""

    day: VehicleDay
    standard: str | None
    work_kwh: float | None
    own_work_kwh: float | None

    @property
    def engine_runs(self) -> bool:
        """Whether the vehicle's own engine did work, as far as that is known; where it does all, it may have."""
        if self.own_work_kwh is None:
            return self.day.vehicle.powertrain in WHOLE_WORK
        return self.own_work_kwh > 0

    @property
    def heater_l(self) -> float:
        """Fuel of the heater, as far as it is known."""
        return self.day.used("heater_fuel_used_l")

    def sources(self) -> dict[str, Source]:
        """What emits, by side."""
        vehicle = self.day.vehicle
        named = {
            BASE: (ENGINE, self.standard),
            OWN: (ENGINE, vehicle.own_standard),
            HEATED: (HEATER, "diesel" if self.heater_l > 0 else None),
        }
        return {
            side: Source(kind, name, vehicle.pilot_id, vehicle.region)
            for side, (kind, name) in named.items()
            if name is not None
        }


def _work(day: VehicleDay) -> Work:
    vehicle = day.vehicle
    standard = standard_of(vehicle.baseline_standard, vehicle.region, vehicle.category, vehicle.baseline_model_year)
    work_kwh = _work_kwh(day)
    return Work(day, standard, work_kwh, _own_work_kwh(day, work_kwh))


def _work_kwh(day: VehicleDay) -> float | None:
    """Work of the displaced engine at the shaft."""
    rate = WORK_RATES.get(day.vehicle.work_unit or "")
    if rate is None or day.vehicle.work_rate is None:
        return None
    activity = {"km": day.value("distance_km"), "h": day.value("key_on_h"), "L": day.baseline_l}[rate.activity]
    return None if activity is None else day.vehicle.work_rate * rate.scale * activity


def _own_work_kwh(day: VehicleDay, work_kwh: float | None) -> float | None:
    """Work of the vehicle's own engine: all of it, or as much as its share of the baseline's fuel.

    A share of no fuel, or of fuel that is counted in kg, is not known.
    """
    engine_l, baseline_l = day.used("fuel_used_l") + day.used("genset_fuel_used_l"), day.baseline_l
    if day.vehicle.powertrain in WHOLE_WORK:
        return work_kwh
    if engine_l <= 0:
        return 0.0
    return work_kwh * (engine_l / baseline_l) if work_kwh is not None and baseline_l else None


def _screened(work: Work, holds: dict[str, Limits], slug: str, gas: str) -> Found:
    day = work.day
    by_side = {side: limit[gas] for side, limit in holds.items() if gas in limit}
    base, heater = by_side.get(BASE), by_side.get(HEATED)
    own = by_side.get(OWN) if work.engine_runs else None
    impossible, missing = _undeclared(work, slug, base, own, heater), _unmeasured(work)
    if base is None or impossible or missing:
        return Found(unknown(day, slug, impossible, missing))
    used = [limit for limit in (base, own, heater) if limit is not None]
    value, *ends = (_avoided_g(each, base, own, heater) for each in (work, *map(_work, day.ends)))
    words = _words(work, base, own, heater)
    row = known(day, slug, value, [day.activity, *told_fuels(day)], words, *bounds(value, *ends))
    method = None if value is None else ESTIMATED
    return Found(row._replace(method=method), tuple(limit.factor_id for limit in used))


def _avoided_g(work: Work, base: Limit, own: Limit | None, heater: Limit | None) -> float | None:
    own_work_kwh = work.own_work_kwh if work.engine_runs else 0.0
    if work.work_kwh is None or own_work_kwh is None:
        return None
    own_kg = own_work_kwh * own.kg if own else 0.0
    heater_kg = work.heater_l * heater.kg if heater else 0.0
    return (work.work_kwh * base.kg - own_kg - heater_kg) * GRAMS_PER_KG


def _undeclared(work: Work, slug: str, base: Limit | None, own: Limit | None, heater: Limit | None) -> list[str]:
    """Why the figure cannot be known whatever is measured: what is not declared, or has no limit."""
    name, vehicle = "NOx" if slug == NOX else "PM", work.day.vehicle
    nox_only = slug == PM and vehicle.powertrain in NOX_ONLY
    runs = work.engine_runs and not nox_only
    reasons = [
        (vehicle.baseline_fuel is None, "no baseline is declared"),
        (nox_only, "a near-zero claim covers NOx only"),
        (
            work.standard is None,
            "neither the displaced engine's standard nor, on US roads, its model year is declared",
        ),
        (
            vehicle.work_rate is None,
            "the displaced engine's work is not declared, and none was seen in a source",
        ),
        (work.standard is not None and base is None, f"no {name} limit of {work.standard} is known"),
        (runs and vehicle.own_standard is None, "the standard of the vehicle's own engine is not declared"),
        (
            runs and vehicle.own_standard is not None and own is None,
            f"no {name} limit of {vehicle.own_standard} is known",
        ),
        (work.heater_l > 0 and heater is None, f"no {name} factor of a heater is known"),
    ]
    return [words for holds, words in reasons if holds]


def _unmeasured(work: Work) -> list[str]:
    day, missing = work.day, []
    rate = WORK_RATES.get(day.vehicle.work_unit or "")
    if work.work_kwh is None and rate is not None and day.vehicle.work_rate is not None:
        missing.append(f"{ACTIVITY_NAMES[rate.activity]} of the day is not known")
    if (
        day.vehicle.powertrain == "phev"
        and day.value("fuel_used_l") is None
        and day.value("genset_fuel_used_l") is None
    ):
        missing.append("neither fuel_used_l nor genset_fuel_used_l of the day is known")
    if work.work_kwh is not None and work.own_work_kwh is None:
        missing.append("the share of the work that the vehicle's engine did is not known")
    return missing


def _words(work: Work, base: Limit, own: Limit | None, heater: Limit | None) -> list[str | None]:
    vehicle = work.day.vehicle
    declared = None not in (vehicle.work_rate, vehicle.work_unit, vehicle.work_source)
    return [
        "screening",
        f"displaced engine by {base.factor_id}",
        base.note,
        f"work {vehicle.work_rate} {vehicle.work_unit} ({vehicle.work_source})" if declared else None,
        f"own engine by {own.factor_id} subtracted" if own else None,
        f"heater by {heater.factor_id} subtracted" if heater else None,
    ]
