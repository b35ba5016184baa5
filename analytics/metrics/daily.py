"""The way from inputs to results, in one pass over the telemetry."""

from __future__ import annotations

from functools import cache

import polars as pl

from analytics.factors.pairing import NO_HOURS, ByTheHour
from analytics.metrics import (
    dispensed,
    distance,
    emissions,
    energy,
    fuel,
    hours,
    intensity,
    metering,
    methods,
    pollutants,
    quality,
    uptime,
)  # fmt: skip
from analytics.metrics.charging_hours import charging_hours, day_hours, filled_figures
from analytics.metrics.electric_share import share_figures
from analytics.metrics.inputs import Inputs, Results
from analytics.metrics.metric import Total
from analytics.metrics.registry import METRICS
from analytics.metrics.rows import KEYS, Listing
from analytics.metrics.samples import day_cuts, ordered, prepare
from analytics.metrics.segments import segments
from analytics.metrics.sessions import charge_sessions
from analytics.metrics.standstill import auxiliary_estimates
from analytics.metrics.states import judged
from analytics.metrics.sums import day_sums
from analytics.metrics.timeline import spells, timeline
from analytics.metrics.totals import totals
from analytics.metrics.trips import trips
from schemas.frames import Agreements, ChargeSessions, FactorIds, Figures, MethodValues, SetAside, StateSpells, Trips


def compute(inputs: Inputs) -> Results:
    """Figures of every vehicle and day in `inputs.days`, and the trips and charging sessions that start in them.

    Pure: neither clock nor database. The order of telemetry rows does not matter. Results are held to their contracts
    where they are stored.
    """
    if inputs.days.is_empty():
        return Results.empty()
    vehicles = inputs.vehicles.filter(pl.col("vehicle_id").is_in(inputs.days["vehicle_id"].implode()))
    cuts = day_cuts(inputs.days)
    believed, set_aside = quality.examined(ordered(inputs.telemetry, vehicles, cuts), vehicles, cuts, inputs.roll_over)
    rows = prepare(believed, vehicles)
    stretches = judged(segments(rows, cuts, vehicles, inputs.roll_over, _hours(inputs)), vehicles)
    states = timeline(stretches, inputs)
    wide = _wide(stretches, inputs)
    own = _measured(wide, stretches, states, inputs)
    by_the_hour = _by_the_hour(stretches, inputs, own)
    known = emissions.day_inputs(inputs.vehicles, inputs.days, own, inputs.baselines)
    avoided = emissions.avoided_on(known, inputs.factors, by_the_hour)
    screened = pollutants.screened_on(known, inputs.factors)
    ids = pl.concat([avoided.factor_ids, screened.factor_ids])
    filled = filled_figures(by_the_hour.drawn, inputs.vehicles, by_the_hour.tables)
    shares = share_figures(believed, cuts, vehicles)
    summed = pl.concat([own, shares, *(found.figures.select(own.columns) for found in (avoided, screened)), filled])
    figures = pl.concat([summed, _formed(summed)])
    return Results(
        figures=Figures.cast(figures.sort(*KEYS, "metric")),
        trips=Trips.cast(trips(stretches, inputs)),
        charge_sessions=ChargeSessions.cast(_sessions(stretches, inputs)),
        state_spells=StateSpells.cast(spells(states)),
        factor_ids=FactorIds.cast(ids.unique().sort(*KEYS, "factor_id")),
        methods=MethodValues.cast(methods.method_values(wide)),
        agreements=Agreements.cast(methods.agreements(wide)),
        set_aside=SetAside.cast(set_aside),
    )


def _hourly_vehicles(inputs: Inputs) -> pl.DataFrame:
    """The vehicles whose grid has hourly factors."""
    return inputs.vehicles.filter(pl.col("grid").is_in(inputs.hourly.heads["grid"].implode()))


def _hours(inputs: Inputs) -> pl.DataFrame | None:
    """UTC hours at which the days of vehicles with hourly factors are cut; None where there are none."""
    vehicles = _hourly_vehicles(inputs)
    return None if vehicles.is_empty() else day_hours(inputs.days.join(vehicles, on="vehicle_id", how="semi"))


def _by_the_hour(stretches: pl.DataFrame, inputs: Inputs, figures: pl.DataFrame) -> ByTheHour:
    vehicles = _hourly_vehicles(inputs)
    if vehicles.is_empty():
        return NO_HOURS
    drawn = metering.in_hours(charging_hours(stretches, vehicles, figures), inputs.meters, inputs.days)
    return ByTheHour(inputs.hourly, drawn)


def _sessions(stretches: pl.DataFrame, inputs: Inputs) -> pl.DataFrame:
    found = charge_sessions(stretches, inputs)
    return metering.sessions_with_records(found, inputs.meters, stretches, inputs.vehicles)


def _wide(stretches: pl.DataFrame, inputs: Inputs) -> pl.DataFrame:
    """One row for each vehicle and day with everything that figures and methods are read from."""
    wide = day_sums(stretches, inputs.days, inputs.vehicles)
    wide = hours.with_key_on(energy.with_energy(distance.with_distance(wide)))
    wide = metering.with_records(wide, stretches, inputs)
    return methods.with_methods(intensity.with_work(fuel.with_fuel(wide))).collect()


@cache
def _families() -> Listing:
    """The figures of one wide table, built once: they are the same for every day."""
    return Listing(distance.figures() | energy.figures() | fuel.figures() | hours.figures() | intensity.figures())


def _measured(wide: pl.DataFrame, stretches: pl.DataFrame, states: pl.DataFrame, inputs: Inputs) -> pl.DataFrame:
    """The figures that telemetry and records give, in long form."""
    seldom = (dispensed.dispensed_figures(inputs.fillings, inputs.days), auxiliary_estimates(wide, stretches))
    return pl.concat(
        [
            *(found for found in seldom if found is not None),
            _families().of(wide),
            hours.state_figures(states),
            hours.contact_figures(stretches),
            uptime.availability_figures(states, inputs),
            uptime.roadcall_figures(inputs),
        ]
    )


def _formed(figures: pl.DataFrame) -> pl.DataFrame:
    """Ratios, availability and distance between roadcalls of single vehicle-days."""
    formed = [slug for slug, metric in METRICS.items() if metric.total not in (Total.SUM, Total.NONE)]
    return totals(figures, KEYS).filter(pl.col("metric").is_in(formed)).select(figures.columns)
