"""The programme: all pilots over all their days, and what may be added over them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from analytics import summaries
from analytics.metrics import totals
from analytics.metrics.emissions import programme_totals
from analytics.questions import period_of
from analytics.views import Period, Pilot, Reader
from schemas.wire import BoundaryTotal, ProgrammeSummary, SegmentRow, Summary

ADDABLE = ("distance_km", "energy_used_kwh", "energy_charged_kwh", "availability_pct", "fuel_displaced_l")
"""Figures that mean something over pilots of any kind. CO2e avoided is added within each boundary only."""


OF_SEGMENT = (
    "distance_km", "key_on_h", "energy_used_kwh", "energy_per_km_kwh", "energy_per_hour_kwh", "grid_energy_kwh",
    "hydrogen_used_kg", "cng_used_kg", "fuel_used_l", "availability_pct", "km_between_roadcalls", "fuel_displaced_l",
)  # fmt: skip
"""Figures that are compared between segments: pilots of one do the same kind of work."""


@dataclass(frozen=True, slots=True)
class PilotResult:
    """A pilot over all its days: its summary, and its totals in long form with components."""

    pilot: Pilot
    period: Period
    summary: Summary
    totals: pl.DataFrame


def results(reader: Reader) -> list[PilotResult]:
    """Every pilot's result, by name."""
    factors = reader.factors()
    return [_result(reader, pilot, factors) for pilot in reader.pilots()]


def programme_summary(found: list[PilotResult], slugs: tuple[str, ...] = ADDABLE) -> ProgrammeSummary:
    """Totals over pilots, of the figures asked for: totals of totals are totals."""
    with_days = [one for one in found if one.summary.days]
    figures = totals(pl.concat([one.totals for one in found]), by=[]) if found else pl.DataFrame({"metric": []})
    values = summaries.figure_values(figures)
    return ProgrammeSummary(
        from_=min((one.period.first for one in with_days), default=None),
        to=max((one.period.last for one in with_days), default=None),
        data_until=max((one.summary.data_until for one in with_days if one.summary.data_until), default=None),
        pilots=len(found),
        vehicles=sum(one.pilot.vehicles for one in found),
        metrics={slug: values[slug] for slug in slugs},
        co2e_avoided=_boundaries(found),
    )


def segment_rows(found: list[PilotResult]) -> list[SegmentRow]:
    """Totals over the pilots of each segment, by name."""
    names = sorted({one.pilot.segment for one in found})
    members = {name: [one for one in found if one.pilot.segment == name] for name in names}
    return [
        SegmentRow(
            segment=name, pilots=[one.pilot.slug for one in group], totals=programme_summary(group, OF_SEGMENT)
        )
        for name, group in members.items()
    ]  # fmt: skip


def _result(reader: Reader, pilot: Pilot, factors: pl.DataFrame) -> PilotResult:
    period = period_of(pilot, None, None)
    figures = summaries.period_totals(reader, pilot, period)
    days = reader.pilot_days(pilot, period)
    return PilotResult(pilot, period, summaries.summary_of(pilot, period, days, figures, factors), figures)


def _boundaries(found: list[PilotResult]) -> list[BoundaryTotal]:
    slugs = {one.pilot.id: one.pilot.slug for one in found}
    leading = [(one.pilot.id, one.summary.headline_co2e, one.summary.metrics) for one in found]
    headlines = pl.DataFrame(
        [(pilot_id, slug, metrics[slug].value) for pilot_id, slug, metrics in leading if slug],
        schema={"pilot_id": pl.Int32, "metric": pl.String, "value": pl.Float64},
        orient="row",
    )
    return [
        BoundaryTotal(
            metric=row["metric"], value=row["value"], unit="kg", pilots=[slugs[pilot_id] for pilot_id in row["pilots"]]
        )
        for row in programme_totals(headlines).iter_rows(named=True)
    ]
