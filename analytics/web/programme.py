"""The programme's page."""

from __future__ import annotations

from dataclasses import dataclass

from analytics.programme import PilotResult
from analytics.views import Period, Pilot
from analytics.web import present
from analytics.web.present import Edge, Shown, Source
from schemas.wire import BoundaryTotal, ProgrammeSummary

API = "/v1/programme/summary"
COLUMNS = ("Distance", "Energy used", "Efficiency", "Availability", "CO₂e avoided")


@dataclass(frozen=True, slots=True)
class PilotLine:
    """A pilot in the list: its leading figures under `COLUMNS`, and where they come from. `co2e` is the last."""

    pilot: Pilot
    source: Source
    days: int
    figures: list[tuple[str, Shown]]
    co2e: Shown
    boundary: str | None
    factors: str


@dataclass(frozen=True, slots=True)
class BoundaryShown:
    """CO2e avoided at one boundary and the pilots behind it."""

    boundary: str
    slug: str
    text: str
    pilots: list[Pilot]


def source(summary: ProgrammeSummary) -> Source:
    """Where the programme's totals come from."""
    if summary.from_ is None or summary.to is None:
        return Source(API, present.UNKNOWN, present.UNKNOWN)
    period = Period(summary.from_, summary.to)
    return Source(API, present.span(period), present.instant(summary.data_until, None))


def boundary(total: BoundaryTotal, found: list[PilotResult]) -> BoundaryShown:
    """A boundary's total with its pilots."""
    return BoundaryShown(
        boundary=present.CO2E_BOUNDARIES[total.metric],
        slug=total.metric,
        text=present.number(total.value, 0),
        pilots=[one.pilot for one in found if one.pilot.slug in total.pilots],
    )


def line(found: PilotResult) -> PilotLine:
    """A pilot's line."""
    pilot, summary = found.pilot, found.summary
    co2e = summary.headline_co2e
    slugs = ("distance_km", "energy_used_kwh", present.efficiency(pilot), "availability_pct", co2e or present.NO_CO2E)
    figures = [present.shown(slug, summary.metrics[slug], Edge.of(pilot)) for slug in slugs]
    return PilotLine(
        pilot=pilot,
        source=present.pilot_source(pilot, found.period, summary),
        days=summary.days,
        figures=list(zip(COLUMNS, figures, strict=True)),
        co2e=figures[-1],
        boundary=present.CO2E_BOUNDARIES[co2e] if co2e else None,
        factors=present.editions(summary),
    )
