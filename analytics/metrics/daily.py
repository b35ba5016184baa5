"""The way from inputs to results, in one pass over the telemetry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import dataframely as dy
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
from analytics.metrics.rows import KEYS, Day, Key, listed
from analytics.metrics.rows import Figures as DayFigures
from analytics.metrics.samples import day_cuts, ordered, prepare
from analytics.metrics.segments import segments
from analytics.metrics.sessions import charge_sessions
from analytics.metrics.standstill import auxiliary_estimates
from analytics.metrics.states import judged
from analytics.metrics.sums import DaySegments, day_sums
from analytics.metrics.timeline import spells, timeline
from analytics.metrics.totals import formed
from analytics.metrics.trips import trips
from schemas.frames import (
    Agreements,
    ChargeSessions,
    FactorIds,
    Figures,
    MethodValues,
    SetAside,
    StateSpells,
    Trips,
    schema_of,
)


def compute(inputs: Inputs) -> Results:
    """Figures of every vehicle and day in `inputs.days`, and the trips and charging sessions that start in them.

    Pure: neither clock nor database. The order of telemetry rows does not matter. Results are held to their contracts
    where they are stored.
    """
    if inputs.days.is_empty():
        return Results.empty()
    vehicles = _vehicles_of(inputs)
    cuts = day_cuts(inputs.days)
    believed, set_aside = quality.examined(ordered(inputs.telemetry, vehicles, cuts), vehicles, cuts, inputs.roll_over)
    stretches = judged(
        segments(prepare(believed, vehicles), cuts, vehicles, inputs.roll_over, _hours(inputs)), vehicles
    )
    states, of_days = timeline(stretches, inputs), DaySegments(stretches)
    days = _days(of_days, stretches, inputs)
    measured = _measured(days, of_days, states, inputs)
    own = listed(measured)
    by_the_hour = _by_the_hour(stretches, inputs, own)
    known = emissions.day_inputs(inputs.vehicles, inputs.days, own, inputs.baselines)
    avoided = emissions.avoided_on(known, inputs.factors, by_the_hour)
    screened = pollutants.screened_on(known, inputs.factors)
    ids = pl.concat([avoided.factor_ids, screened.factor_ids])
    more = [
        *filled_figures(by_the_hour.drawn, inputs.vehicles, by_the_hour.tables),
        *share_figures(believed, cuts, vehicles),
    ]
    counted = (found.figures[own.columns] for found in (avoided, screened))
    figures = pl.concat([own, listed(more), *counted, _formed([*measured, *more])])
    return Results(
        figures=_typed(Figures, figures.sort(*KEYS, "metric")),
        trips=_typed(Trips, trips(stretches, inputs)),
        charge_sessions=_typed(ChargeSessions, _sessions(stretches, inputs)),
        state_spells=_typed(StateSpells, spells(states)),
        factor_ids=_typed(FactorIds, ids.unique().sort(*KEYS, "factor_id")),
        methods=_typed(MethodValues, methods.method_values(days)),
        agreements=_typed(Agreements, methods.agreements(days)),
        set_aside=_typed(SetAside, set_aside),
    )


Contract = TypeVar("Contract", bound=dy.Schema)


def _typed(contract: type[Contract], frame: pl.DataFrame) -> dy.DataFrame[Contract]:
    """The frame with the contract's columns and types; most have them, and looking is cheaper than casting."""
    return cast("dy.DataFrame[Contract]", frame) if frame.schema == schema_of(contract) else contract.cast(frame)


def _vehicles_of(inputs: Inputs) -> pl.DataFrame:
    """The vehicles of the days: mostly all of them."""
    wanted = set(inputs.days["vehicle_id"].to_list())
    if wanted.issuperset(inputs.vehicles["vehicle_id"].to_list()):
        return inputs.vehicles
    return inputs.vehicles.filter(pl.col("vehicle_id").is_in(wanted))


def _hourly_vehicles(inputs: Inputs) -> pl.DataFrame:
    """The vehicles whose grid has hourly factors."""
    if inputs.hourly.heads.is_empty():
        return inputs.vehicles.clear()
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


def _days(segments: DaySegments, stretches: pl.DataFrame, inputs: Inputs) -> list[tuple[Key, Day]]:
    """All that figures and methods are read from, of each vehicle and day."""
    records = metering.records_of_days(stretches, inputs)
    return [
        (key, _known(day, records.get(key, {}))) for key, day in day_sums(segments, inputs.days, inputs.vehicles)
    ]  # fmt: skip


def _known(sums: Day, records: Mapping[str, Any]) -> Day:
    """One day's sums, and what each step makes of them and of the steps before it."""
    day = dict(sums)
    for step in (distance.with_distance, energy.with_energy, hours.with_key_on):
        day |= step(day)
    day |= metering.with_records(day, records)
    for step in (fuel.with_fuel, intensity.with_work, methods.with_methods):
        day |= step(day)
    return day


_FAMILIES = (distance.figures, energy.figures, fuel.figures, hours.figures, intensity.figures)


def _measured(
    days: list[tuple[Key, Day]], segments: DaySegments, states: pl.DataFrame, inputs: Inputs
) -> list[tuple[Key, DayFigures]]:
    """The figures that telemetry and records give."""
    return [
        *((key, figures(day)) for key, day in days for figures in _FAMILIES),
        *auxiliary_estimates(days, segments),
        *dispensed.dispensed_figures(inputs.fillings, inputs.days),
        *hours.state_figures(states),
        *hours.contact_figures(segments),
        *uptime.availability_figures(states, inputs),
        *uptime.roadcall_figures(inputs),
    ]


def _formed(measured: list[tuple[Key, DayFigures]]) -> pl.DataFrame:
    """Ratios, availability and distance between roadcalls of single vehicle-days."""
    of_days: dict[Key, DayFigures] = {}
    for key, figures in measured:
        of_days.setdefault(key, {}).update(figure for figure in figures.items() if figure[1].says_something)
    return listed(((key, formed(figures)) for key, figures in of_days.items()), every=True)
