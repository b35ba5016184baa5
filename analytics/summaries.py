"""Answers for people: figures of a period, composed by the metrics' own rules from stored days."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict

import polars as pl

from analytics.metrics import METRICS, Metric, Total, totals
from analytics.metrics.emissions import factors_used, headline_slug
from analytics.views import Period, Pilot, PilotDay, Reader, Vehicle
from schemas.wire import (
    ChargeSessionRow,
    DayLineage,
    DayRow,
    FactorUsed,
    FaultRow,
    FigureValue,
    PilotRow,
    StateSpellRow,
    Summary,
    TripRow,
    VehicleRow,
)  # fmt: skip

SHOWN = {slug: metric for slug, metric in METRICS.items() if metric.shown}
MOST_DAYS_OF_IDS = 7  # gateways may send thousands of uploads a day
NOT_COMPUTED = "nothing has been computed for this period"
NOT_MEASURED = "not measured"
NOT_PLANNED = "no service was planned"
_VALUES = ("value", "low", "high", "coverage_pct", "method", "note")


def pilot_row(pilot: Pilot) -> PilotRow:
    """A pilot in the list of all."""
    return PilotRow(
        id=pilot.slug, name=pilot.name, region=pilot.region, grid=pilot.grid, segment=pilot.segment,
        time_zone=pilot.time_zone, starts_on=pilot.starts_on, first_day=pilot.first_day, last_day=pilot.last_day,
        data_until=pilot.data_until, vehicles=pilot.vehicles, targets=pilot.targets,
    )  # fmt: skip


def period_totals(reader: Reader, pilot: Pilot, period: Period) -> pl.DataFrame:
    """A pilot's figures over a period in long form, components included, to be folded further."""
    return totals(reader.pilot_figures(pilot, period), by=["pilot_id"])


def summary(reader: Reader, pilot: Pilot, period: Period) -> Summary:
    """A pilot's figures over a period."""
    days, figures = reader.pilot_days(pilot, period), period_totals(reader, pilot, period)
    return summary_of(pilot, period, days, figures, reader.factors())


def summary_of(
    pilot: Pilot, period: Period, days: Sequence[PilotDay], figures: pl.DataFrame, factors: pl.DataFrame
) -> Summary:
    """A pilot's summary from its days and their totals; `factors` are all that a figure may name."""
    metrics = figure_values(figures)
    versions = sorted({day.code_version for day in days})
    return Summary(
        pilot=pilot.slug,
        name=pilot.name,
        from_=period.first,
        to=period.last,
        data_until=max((day.data_until for day in days if day.data_until), default=None),
        metrics=metrics,
        headline_co2e=headline_slug({slug: figure.value for slug, figure in metrics.items()}),
        factors=factor_rows(days, factors),
        vehicles=pilot.vehicles,
        reference_vehicles=pilot.reference_vehicles,
        days=len(days),
        code_version=", ".join(versions),
        input_rows=sum(day.input_rows for day in days),
        input_hash=hashlib.sha256("".join(f"{day.day} {day.input_hash}\n" for day in days).encode()).hexdigest(),
    )


def figure_values(figures: pl.DataFrame) -> dict[str, FigureValue]:
    """Every metric that is shown, in the registry's order, out of a frame with one row per metric."""
    found = {row["metric"]: row for row in figures.iter_rows(named=True)}
    return {slug: _figure(found.get(slug), metric.unit, _reason(metric, found)) for slug, metric in SHOWN.items()}


def factor_rows(days: Iterable[PilotDay], factors: pl.DataFrame) -> list[FactorUsed]:
    """The emission factors that the days were computed with, out of all of them."""
    ids = sorted({factor for day in days for factor in day.factors})
    rows = factors_used(pl.DataFrame({"factor_id": ids}, schema={"factor_id": pl.String}), factors)
    return [FactorUsed(**row) for row in rows.iter_rows(named=True)]


def pilot_days(reader: Reader, pilot: Pilot, period: Period) -> list[DayRow]:
    """A pilot's days."""
    figures = _by(reader.pilot_figures(pilot, period), "day")
    uploads = reader.day_uploads(pilot, period)
    listed = (period.last - period.first).days < MOST_DAYS_OF_IDS
    return [
        DayRow(
            day=day.day, data_until=day.data_until, vehicles=day.vehicles, metrics=figures.get(day.day, _nothing()),
            lineage=_lineage(day, uploads.get(day.day, []), listed=listed),
        )
        for day in reader.pilot_days(pilot, period)
    ]  # fmt: skip


def _lineage(day: PilotDay, uploads: list[uuid.UUID], *, listed: bool) -> DayLineage:
    return DayLineage(
        code_version=day.code_version, factors=day.factors, input_rows=day.input_rows, input_hash=day.input_hash,
        computed_at=day.computed_at, uploads=len(uploads), upload_ids=uploads if listed else None,
    )  # fmt: skip


def vehicle_days(reader: Reader, pilot: Pilot, vehicle: Vehicle, period: Period) -> list[DayRow]:
    """A vehicle's days in a pilot."""
    figures = _by(reader.vehicle_figures(pilot, period, vehicle), "day")
    return [
        DayRow(
            day=day.day, starts_at=day.starts_at, ends_at=day.ends_at, data_until=day.data_until,
            metrics=figures.get(day.day, _nothing()),
        )
        for day in reader.vehicle_days(vehicle, period)
    ]  # fmt: skip


def vehicle_rows(reader: Reader, pilot: Pilot, period: Period) -> list[VehicleRow]:
    """A pilot's vehicles, each with its figures over the period."""
    figures = _by(totals(reader.vehicle_figures(pilot, period), by=["vehicle_id"]), "vehicle_id")
    return [_vehicle_row(vehicle, figures.get(vehicle.id, _nothing())) for vehicle in reader.vehicles(pilot)]


def vehicle_row(reader: Reader, pilot: Pilot, vehicle: Vehicle, period: Period) -> VehicleRow:
    """One vehicle with its figures over the period."""
    figures = totals(reader.vehicle_figures(pilot, period, vehicle), by=["vehicle_id"])
    return _vehicle_row(vehicle, figure_values(figures))


def trips(reader: Reader, vehicle: Vehicle, period: Period) -> list[TripRow]:
    """A vehicle's trips."""
    return [TripRow(**asdict(trip)) for trip in reader.trips(vehicle, period)]


def charge_sessions(reader: Reader, vehicle: Vehicle, period: Period) -> list[ChargeSessionRow]:
    """A vehicle's charging sessions."""
    return [ChargeSessionRow.model_validate(asdict(session)) for session in reader.charge_sessions(vehicle, period)]


def state_spells(reader: Reader, vehicle: Vehicle, period: Period) -> list[StateSpellRow]:
    """What a vehicle was doing."""
    return [StateSpellRow.model_validate(asdict(spell)) for spell in reader.state_spells(vehicle, period)]


def faults(reader: Reader, vehicle: Vehicle, period: Period) -> list[FaultRow]:
    """A vehicle's trouble codes."""
    return [FaultRow(**asdict(fault)) for fault in reader.faults(vehicle, period)]


def _vehicle_row(vehicle: Vehicle, metrics: dict[str, FigureValue]) -> VehicleRow:
    return VehicleRow(
        id=vehicle.name, category=vehicle.category, powertrain=vehicle.powertrain, make=vehicle.make,
        model=vehicle.model, model_year=vehicle.model_year, usable_battery_kwh=vehicle.usable_battery_kwh,
        site=vehicle.site, reference=vehicle.reference, metrics=metrics,
    )  # fmt: skip


def _by(figures: pl.DataFrame, key: str) -> dict[object, dict[str, FigureValue]]:
    groups = figures.partition_by(key, as_dict=True)
    return {name: figure_values(group) for (name,), group in groups.items()}


def _reason(metric: Metric, found: Collection[str]) -> str:
    """Why a metric has no row among those found."""
    if not found:
        return NOT_COMPUTED
    return NOT_PLANNED if metric.total is Total.AVAILABILITY else NOT_MEASURED


def _figure(row: dict[str, object] | None, unit: str, reason: str) -> FigureValue:
    if row is None:
        return FigureValue(value=None, unit=unit, coverage_pct=None, method=None, note=reason)
    return FigureValue.model_validate({"unit": unit} | {name: row[name] for name in _VALUES})


def _nothing() -> dict[str, FigureValue]:
    return {slug: _figure(None, metric.unit, NOT_COMPUTED) for slug, metric in SHOWN.items()}
