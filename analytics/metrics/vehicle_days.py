"""One vehicle's day, as figures of what it avoided start from it: what is declared, and what the day's figures tell."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import polars as pl

from analytics.factors.holding import HIGH, LOW, Facts, Fuel
from analytics.factors.pairing import FUEL_KEYS
from schemas.frames import Baselines
from schemas.units import FUEL_RATES, FuelRate, fuel_per_activity

LIQUID_FUELS = ("fuel_used_l", "heater_fuel_used_l", "genset_fuel_used_l")
OWN_FUELS = (*LIQUID_FUELS, "cng_used_kg", "hydrogen_used_kg")
INPUTS = ("distance_km", "key_on_h", "grid_energy_kwh", *OWN_FUELS)
NO_BASELINES = Baselines.create_empty()
PLUGGED_POWERTRAINS = ("bev", "phev")
REFERENCE_POWERTRAIN = "diesel"
FUEL_OF_POWERTRAIN = {"phev": "diesel", "hev": "diesel", "cng": "cng", "lng": "lng", "fcev": "hydrogen"}
"""What a vehicle burns unless it declares something else, such as rng."""
ACTIVITIES = {"km": "distance_km", "h": "key_on_h"}


class Told(NamedTuple):
    """A figure of the day, as far as others start from it."""

    value: float | None
    coverage_pct: float | None
    weight: float | None
    method: str | None
    low: float | None = None
    high: float | None = None

    def at(self, end: int) -> Told:
        """The figure as if it were at one end of its range, where it has one."""
        value = {LOW: self.low, HIGH: self.high}[end]
        return self if value is None else self._replace(value=value)


UNTOLD = Told(None, None, None, None)


class Declared(NamedTuple):
    """What is declared of a vehicle: columns of `Vehicles`."""

    vehicle_id: int
    pilot_id: int
    category: str
    powertrain: str
    line_loss: float | None
    region: str
    grid: str | None
    own_fuel: str | None
    baseline_fuel: str | None
    baseline_rate: float | None
    baseline_unit: str | None
    baseline_source: str | None
    baseline_standard: str | None
    baseline_model_year: int | None
    work_rate: float | None
    work_unit: str | None
    work_source: str | None
    own_standard: str | None


class Baseline(NamedTuple):
    """The fuel rate of the displaced vehicle on one day: declared, or measured or of a class (`Baselines`)."""

    rate: float | None
    unit: str | None
    method: str | None = None
    words: str | None = None
    reason: str | None = None  # why there is no rate


@dataclass(frozen=True, slots=True)
class VehicleDay:
    """What is known of one vehicle on one day. Fuel of the baseline counts in L or kg, as its rate does."""

    vehicle: Declared
    day: dt.date
    told: Mapping[str, Told]
    baseline: Baseline

    @property
    def ends(self) -> tuple[VehicleDay, VehicleDay]:
        """The day with all its figures at the end where least was avoided, and where most was."""
        if all(told.low is None and told.high is None for told in self.told.values()):
            return self, self
        return self.at(LOW, HIGH), self.at(HIGH, LOW)

    def at(self, activity: int, spent: int) -> VehicleDay:
        """The day with its activity at one end of its range, and with energy and fuel spent at an end of theirs."""
        ends = {slug: activity if slug in ACTIVITIES.values() else spent for slug in self.told}
        return replace(self, told={slug: told.at(ends[slug]) for slug, told in self.told.items()})

    def figure(self, slug: str) -> Told:
        """The day's figure of a metric of `INPUTS`."""
        return self.told.get(slug, UNTOLD)

    def value(self, slug: str) -> float | None:
        """The value of that figure; None where it is not known."""
        return self.figure(slug).value

    def used(self, slug: str) -> float:
        """How much of a fuel was used, as far as it is known."""
        return self.value(slug) or 0.0

    @property
    def baseline_rate(self) -> FuelRate | None:
        """How the unit of the baseline reads."""
        return None if self.baseline.unit is None else FUEL_RATES[self.baseline.unit]

    @property
    def amount(self) -> str | None:
        """In what the baseline's fuel is counted: L or kg."""
        rate = self.baseline_rate
        return None if rate is None else rate.amount

    @property
    def activity_slug(self) -> str:
        """The figure that is the activity, by the unit of the baseline."""
        rate = self.baseline_rate
        return ACTIVITIES["h" if rate is None else rate.activity]

    @property
    def activity(self) -> Told:
        """The day's activity: km, or key-on hours."""
        return self.figure(self.activity_slug)

    @property
    def baseline_amount(self) -> float | None:
        """Fuel that the displaced vehicle would have burned."""
        rate, unit, activity = self.baseline.rate, self.baseline.unit, self.activity.value
        if rate is None or unit is None or activity is None:
            return None
        return fuel_per_activity(rate, unit) * activity

    @property
    def baseline_l(self) -> float | None:
        """The same in litres; None where it is counted in kg."""
        return self.baseline_amount if self.amount == "L" else None

    @property
    def draws(self) -> bool:
        """Whether electricity is drawn, or may be."""
        return self.vehicle.powertrain in PLUGGED_POWERTRAINS or self.used("grid_energy_kwh") > 0

    @property
    def own_fuel(self) -> str | None:
        """What the vehicle's engine burns."""
        return self.vehicle.own_fuel or FUEL_OF_POWERTRAIN.get(self.vehicle.powertrain)

    def burned(self) -> dict[Fuel, float]:
        """What the vehicle burned itself, by fuel: heaters and generators burn diesel."""
        engine = self.own_fuel or "diesel"
        engine = FUEL_KEYS.get(engine, engine)
        fuel_of = {"fuel_used_l": engine, "cng_used_kg": engine, "hydrogen_used_kg": "hydrogen"}
        burned: defaultdict[Fuel, float] = defaultdict(float)
        for slug in OWN_FUELS:
            if self.used(slug) > 0:
                burned[Fuel(fuel_of.get(slug, "diesel"), "L" if slug.endswith("_l") else "kg")] += self.used(slug)
        return dict(burned)

    def facts(self) -> Facts:
        """What decides which factors hold."""
        vehicle = self.vehicle
        return Facts(
            vehicle.pilot_id, vehicle.region, vehicle.grid, vehicle.line_loss, vehicle.category, self.draws,
            vehicle.baseline_fuel, self.amount, frozenset(self.burned()),
        )  # fmt: skip


def day_inputs(
    vehicles: pl.DataFrame, days: pl.DataFrame, day_figures: pl.DataFrame, baselines: pl.DataFrame = NO_BASELINES
) -> list[VehicleDay]:
    """What figures of what was avoided start from, one for each vehicle and day; diesel references are left out."""
    known = (Declared(*row) for row in vehicles[list(Declared._fields)].iter_rows())
    declared = {vehicle.vehicle_id: vehicle for vehicle in known if vehicle.powertrain != REFERENCE_POWERTRAIN}
    measured = {
        (vehicle_id, day): Baseline(*rest)
        for vehicle_id, day, *rest in baselines[["vehicle_id", "day", *Baseline._fields]].iter_rows()
    }
    told: defaultdict[tuple[int, dt.date], dict[str, Told]] = defaultdict(dict)
    for vehicle_id, day, slug, *rest in day_figures[["vehicle_id", "day", "metric", *Told._fields]].iter_rows():
        if slug in INPUTS:
            told[vehicle_id, day].setdefault(slug, Told(*rest))
    return [
        VehicleDay(declared[key[0]], key[1], told[key], _baseline(declared[key[0]], measured.get(key)))
        for key in days[["vehicle_id", "day"]].iter_rows()
        if key[0] in declared
    ]


def _baseline(vehicle: Declared, measured: Baseline | None) -> Baseline:
    if measured is None:
        return Baseline(vehicle.baseline_rate, vehicle.baseline_unit, words=_declared_words(vehicle))
    return measured._replace(
        rate=measured.rate if vehicle.baseline_rate is None else vehicle.baseline_rate,
        unit=measured.unit if vehicle.baseline_unit is None else vehicle.baseline_unit,
    )


def _declared_words(vehicle: Declared) -> str:
    source = "" if vehicle.baseline_source is None else f" ({vehicle.baseline_source})"
    return f"baseline {vehicle.baseline_rate} {vehicle.baseline_unit} of {vehicle.baseline_fuel}{source}"
