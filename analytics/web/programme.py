"""The programme's page: all pilots, and what may be added over them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from analytics import summaries
from analytics.metrics import totals
from analytics.metrics.emissions import programme_totals
from analytics.questions import period_of
from analytics.views import Period, Pilot, Reader
from analytics.web import present
from analytics.web.present import Edge, Shown, Source
from schemas.wire import Summary

TOTALS = ("distance_km", "energy_used_kwh", "energy_charged_kwh", "availability_pct", "fuel_displaced_l")


@dataclass(frozen=True, slots=True)
class PilotLine:
    """A pilot in the list: its leading figures and where they come from."""

    pilot: Pilot
    source: Source
    days: int
    distance: Shown
    energy: Shown
    efficiency: Shown
    availability: Shown
    co2e: Shown
    boundary: str | None


@dataclass(frozen=True, slots=True)
class BoundaryTotal:
    """CO2e avoided at one boundary and the pilots behind it. Boundaries are never added."""

    boundary: str
    slug: str
    text: str
    pilots: list[Pilot]


@dataclass(frozen=True, slots=True)
class Programme:
    """What the programme's page shows."""

    pilots: list[PilotLine]
    totals: list[Shown]
    boundaries: list[BoundaryTotal]
    without_co2e: list[PilotLine]
    vehicles: int
    source: Source


def programme(reader: Reader) -> Programme:
    """All pilots, each over all its days, and their totals."""
    pilots = reader.pilots()
    found = [(pilot, *_summary(reader, pilot)) for pilot in pilots]
    lines = [_line(pilot, period, summary) for pilot, period, summary in found]
    return Programme(
        pilots=lines,
        totals=_totals(reader, [(pilot, period) for pilot, period, _ in found]),
        boundaries=_boundaries([(pilot, summary) for pilot, _, summary in found]),
        without_co2e=[line for line in lines if line.boundary is None],
        vehicles=sum(pilot.vehicles for pilot in pilots),
        source=_source(found),
    )


def _summary(reader: Reader, pilot: Pilot) -> tuple[Period, Summary]:
    period = period_of(pilot, None, None)
    return period, summaries.summary(reader, pilot, period)


def _line(pilot: Pilot, period: Period, summary: Summary) -> PilotLine:
    edge = Edge.of(pilot)
    co2e = summary.headline_co2e

    def shown(slug: str) -> Shown:
        return present.shown(slug, summary.metrics[slug], edge)

    return PilotLine(
        pilot=pilot,
        source=Source(
            present.summary_api(pilot, period),
            present.span(period),
            present.instant(summary.data_until, pilot.time_zone),
        ),
        days=summary.days,
        distance=shown("distance_km"),
        energy=shown("energy_used_kwh"),
        efficiency=shown(present.efficiency(pilot)),
        availability=shown("availability_pct"),
        co2e=shown(co2e or "co2e_avoided_conservative_kg"),
        boundary=present.CO2E_BOUNDARIES[co2e] if co2e else None,
    )


def _totals(reader: Reader, pilots: list[tuple[Pilot, Period]]) -> list[Shown]:
    """Figures that may be added over pilots of any kind."""
    figures = [reader.pilot_figures(pilot, period) for pilot, period in pilots]
    if not figures:
        return []
    values = summaries.figure_values(totals(pl.concat(figures), by=[]))
    return [present.shown(slug, values[slug]) for slug in TOTALS]


def _boundaries(found: list[tuple[Pilot, Summary]]) -> list[BoundaryTotal]:
    by_id = {pilot.id: pilot for pilot, _ in found}
    leading = [(pilot.id, summary.headline_co2e, summary) for pilot, summary in found if summary.headline_co2e]
    headlines = pl.DataFrame(
        [(pilot_id, slug, summary.metrics[slug].value) for pilot_id, slug, summary in leading],
        schema={"pilot_id": pl.Int32, "metric": pl.String, "value": pl.Float64},
        orient="row",
    )
    return [
        BoundaryTotal(
            boundary=present.CO2E_BOUNDARIES[row["metric"]],
            slug=row["metric"],
            text=present.number(row["value"], 0),
            pilots=[by_id[pilot_id] for pilot_id in row["pilots"]],
        )
        for row in programme_totals(headlines).iter_rows(named=True)
    ]


def _source(found: list[tuple[Pilot, Period, Summary]]) -> Source:
    with_data = [(period, summary) for _, period, summary in found if summary.days]
    if not with_data:
        return Source("/v1/pilots", present.UNKNOWN, present.UNKNOWN)
    period = Period(min(p.first for p, _ in with_data), max(p.last for p, _ in with_data))
    until = max((s.data_until for _, s in with_data if s.data_until), default=None)
    return Source("/v1/pilots", present.span(period), present.instant(until, None))
