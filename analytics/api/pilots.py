"""Pilots, their figures over a period, their days and vehicles."""

from __future__ import annotations

import datetime as dt

from fastapi import APIRouter

from analytics import evidence, summaries
from analytics.api.asking import Asking, FirstDay, LastDay
from analytics.chargers import charger_rows, outage_rows
from analytics.periods import period_rows
from analytics.programme import programme_summary, results, segment_rows
from analytics.questions import period_of
from schemas.wire import (
    ChargerRow,
    ChargeSessionRow,
    DayRow,
    FaultRow,
    OutageRow,
    PeriodRow,
    PilotRow,
    ProgrammeSummary,
    SegmentRow,
    StateSpellRow,
    Summary,
    TripRow,
    VehicleDayDetail,
    VehicleRow,
)  # fmt: skip

router = APIRouter(prefix="/v1", tags=["pilots"])


@router.get("/pilots")
def pilots(reader: Asking) -> list[PilotRow]:
    """All pilots, by name."""
    return [summaries.pilot_row(pilot) for pilot in reader.pilots()]


@router.get("/programme/summary")
def programme(reader: Asking) -> ProgrammeSummary:
    """Totals over all pilots, each over all its days."""
    return programme_summary(results(reader))


@router.get("/segments")
def segments(reader: Asking) -> list[SegmentRow]:
    """Totals over the pilots of each segment, each over all its days. Boundaries of CO2e avoided are never added."""
    return segment_rows(results(reader))


@router.get("/pilots/{slug}/summary")
def summary(slug: str, reader: Asking, first: FirstDay = None, last: LastDay = None) -> Summary:
    """A pilot's figures over a period. Reference vehicles are left out."""
    pilot = reader.pilot(slug)
    return summaries.summary(reader, pilot, period_of(pilot, first, last))


@router.get("/pilots/{slug}/days")
def days(slug: str, reader: Asking, first: FirstDay = None, last: LastDay = None) -> list[DayRow]:
    """A pilot's operating days."""
    pilot = reader.pilot(slug)
    return summaries.pilot_days(reader, pilot, period_of(pilot, first, last))


@router.get("/pilots/{slug}/vehicles")
def vehicles(slug: str, reader: Asking, first: FirstDay = None, last: LastDay = None) -> list[VehicleRow]:
    """A pilot's vehicles, each with its figures over the period."""
    pilot = reader.pilot(slug)
    return summaries.vehicle_rows(reader, pilot, period_of(pilot, first, last))


@router.get("/pilots/{slug}/periods")
def periods(slug: str, reader: Asking) -> list[PeriodRow]:
    """A pilot's closed months, the newest first, with every revision and what it changed."""
    return period_rows(reader, reader.pilot(slug))


@router.get("/pilots/{slug}/chargers")
def chargers(slug: str, reader: Asking, first: FirstDay = None, last: LastDay = None) -> list[ChargerRow]:
    """The chargers of a pilot's sites that records tell of, with their uptime."""
    pilot = reader.pilot(slug)
    return charger_rows(reader, pilot, period_of(pilot, first, last))


@router.get("/pilots/{slug}/outages")
def outages(slug: str, reader: Asking, first: FirstDay = None, last: LastDay = None) -> list[OutageRow]:
    """Outages of the chargers of a pilot's sites, by record, the newest first."""
    pilot = reader.pilot(slug)
    return outage_rows(reader, pilot, period_of(pilot, first, last))


@router.get("/vehicles/{pilot}/{name}/days")
def vehicle_days(pilot: str, name: str, reader: Asking, first: FirstDay = None, last: LastDay = None) -> list[DayRow]:
    """A vehicle's operating days in a pilot."""
    found = reader.pilot(pilot)
    return summaries.vehicle_days(reader, found, reader.vehicle(found, name), period_of(found, first, last))


@router.get("/vehicles/{pilot}/{name}/days/{day}")
def vehicle_day(pilot: str, name: str, day: dt.date, reader: Asking) -> VehicleDayDetail:
    """A vehicle's operating day: figures by every method, how they agree, what was set aside, and the lineage."""
    found = reader.pilot(pilot)
    return evidence.vehicle_day(reader, found, reader.vehicle(found, name), day)


@router.get("/vehicles/{pilot}/{name}/trips")
def trips(pilot: str, name: str, reader: Asking, first: FirstDay = None, last: LastDay = None) -> list[TripRow]:
    """A vehicle's trips that start on the days asked for."""
    found = reader.pilot(pilot)
    return summaries.trips(reader, reader.vehicle(found, name), period_of(found, first, last))


@router.get("/vehicles/{pilot}/{name}/charge-sessions")
def charge_sessions(
    pilot: str, name: str, reader: Asking, first: FirstDay = None, last: LastDay = None
) -> list[ChargeSessionRow]:
    """A vehicle's charging sessions that start on the days asked for."""
    found = reader.pilot(pilot)
    return summaries.charge_sessions(reader, reader.vehicle(found, name), period_of(found, first, last))


@router.get("/vehicles/{pilot}/{name}/states")
def states(pilot: str, name: str, reader: Asking, first: FirstDay = None, last: LastDay = None) -> list[StateSpellRow]:
    """What a vehicle was doing on the days asked for, without gap or overlap."""
    found = reader.pilot(pilot)
    return summaries.state_spells(reader, reader.vehicle(found, name), period_of(found, first, last))


@router.get("/vehicles/{pilot}/{name}/faults")
def faults(pilot: str, name: str, reader: Asking, first: FirstDay = None, last: LastDay = None) -> list[FaultRow]:
    """A vehicle's trouble codes that were active on the days asked for."""
    found = reader.pilot(pilot)
    return summaries.faults(reader, reader.vehicle(found, name), period_of(found, first, last))
