"""Figures as people read them: numbers with units, bounds, other units beside, and where each comes from.

Units other than the house's appear here and nowhere further in.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from urllib.parse import quote, urlencode

from analytics.metrics import METRICS
from analytics.metrics.rows import NOTE_SEPARATOR
from analytics.summaries import NOT_MEASURED
from analytics.views import Period, Pilot
from schemas.units import from_house
from schemas.wire import FigureValue, Summary

LOW_COVERAGE_PCT = 80.0
UNKNOWN = "unknown"
CO2E_BOUNDARIES: Mapping[str, str] = MappingProxyType(
    {
        "co2e_avoided_well_to_wheel_kg": "well-to-wheel",
        "co2e_avoided_tailpipe_vs_generation_kg": "tailpipe against generation",
        "co2e_avoided_conservative_kg": "conservative: a lower bound",
    }
)
NO_CO2E = "co2e_avoided_conservative_kg"
"""The figure whose note tells why no boundary has a value: it asks for the least."""
DASH = "\N{EN DASH}"


class Edge(Enum):
    """Units shown beside the house's: none, those of the United States, or those at sea."""

    HOUSE = None
    US = "mi"
    SEA = "nmi"

    @classmethod
    def of(cls, pilot: Pilot) -> Edge:
        """The units that a pilot's people think in."""
        if pilot.categories == ["vessel"]:
            return cls.SEA
        return cls.US if pilot.region.split("-")[0] == "US" else cls.HOUSE


@dataclass(frozen=True, slots=True)
class Source:
    """Where a page's figures come from: an API address, the period, and the newest sample behind them."""

    api: str
    period: str
    data_until: str

    @property
    def cutoff(self) -> str:
        """The same moment without the name of its zone, where that is said elsewhere on the page."""
        return self.data_until.split(" (")[0]


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure ready to be printed. `text` is `unknown` where there is no value; `note` then says why.

    `side` says whether an energy is told at the battery (DC) or at the charger's input (AC).
    """

    slug: str
    name: str
    text: str
    unit: str
    beside: str | None
    bounds: str | None
    coverage: str
    method: str
    note: str | None
    known: bool
    doubtful: bool
    side: str | None

    @property
    def absent(self) -> bool:
        """Nothing that it rests on was ever sent: it is named, but takes no line of a table."""
        return not self.known and self.note == NOT_MEASURED


def shown(slug: str, figure: FigureValue, edge: Edge = Edge.HOUSE) -> Shown:
    """A figure of the metric `slug` as a page prints it."""
    metric = METRICS[slug]
    known = figure.value is not None or _exceeds(figure)
    coverage = figure.coverage_pct
    return Shown(
        slug=slug,
        name=metric.name,
        text=_text(figure, metric.decimals),
        unit=figure.unit if known else "",
        beside=_beside(slug, figure.value, edge),
        bounds=_bounds(figure, metric.decimals),
        coverage=f"coverage {number(coverage, 0)} %" if coverage is not None else "coverage unknown",
        method=figure.method or ("bound" if known else "not measured"),
        note=figure.note,
        known=known,
        doubtful=known and coverage is not None and coverage < LOW_COVERAGE_PCT,
        side=metric.side,
    )


def number(value: float, decimals: int) -> str:
    """A number with thousands apart and a true minus sign; zero has no sign, thousands have no decimals."""
    text = f"{value:,.{0 if abs(value) >= 1000 else decimals}f}"
    if text.startswith("-") and not text.strip("-0.,"):
        text = text[1:]
    return text.replace("-", "\N{MINUS SIGN}")


def span(period: Period) -> str:
    """A period in words."""
    first, last = period.first, period.last
    end = f"{last.day} {last:%b %Y}"
    if first == last:
        return end
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}{DASH}{end}"
    return (
        f"{first.day} {first:%b %Y} {DASH} {end}" if first.year != last.year else f"{first.day} {first:%b} {DASH} {end}"
    )


def instant(moment: dt.datetime | None, zone: str | None) -> str:
    """A moment in the pilot's zone, with the zone's name; `unknown` for none."""
    if moment is None:
        return UNKNOWN
    local = moment.astimezone(zoneinfo.ZoneInfo(zone) if zone else dt.UTC)
    return f"{local.day} {local:%b %Y, %H:%M} ({zone or 'UTC'})"


def editions(summary: Summary) -> str:
    """The emission factors behind the leading CO2e figure, by name and edition: those that its own note names."""
    figure = summary.metrics.get(summary.headline_co2e or "")
    parts = (figure.note or "").split(NOTE_SEPARATOR) if figure else []
    named = {word for part in parts if not part.startswith("range by") for word in re.split(r"[\s(),]+", part)}
    return "; ".join(f"{factor.name} ({factor.edition})" for factor in summary.factors if factor.id in named)


def efficiency(pilot: Pilot) -> str:
    """The slug of the efficiency that suits the pilot's vehicles: equipment works by the hour."""
    return "energy_per_hour_kwh" if pilot.categories == ["equipment"] else "energy_per_km_kwh"


def clock(moment: dt.datetime, zone: str | None) -> str:
    """A time of day in the pilot's zone."""
    return f"{moment.astimezone(zoneinfo.ZoneInfo(zone) if zone else dt.UTC):%H:%M}"


def pilot_source(pilot: Pilot, period: Period, summary: Summary) -> Source:
    """Where a pilot's figures of a period come from."""
    return Source(summary_api(pilot, period), span(period), instant(summary.data_until, pilot.time_zone))


def summary_api(pilot: Pilot, period: Period) -> str:
    """The API call that yields a pilot's summary."""
    return f"/v1/pilots/{quote(pilot.slug)}/summary?{query(period)}"


def query(period: Period) -> str:
    """A period as query parameters."""
    return urlencode({"from": period.first.isoformat(), "to": period.last.isoformat()})


def _exceeds(figure: FigureValue) -> bool:
    """Only a bound is known, and the value lies above it: no roadcall, so the distance between them is more."""
    return figure.value is None and figure.low is not None and figure.high is None


def _text(figure: FigureValue, decimals: int) -> str:
    if figure.value is not None:
        return number(figure.value, decimals)
    return f"> {number(figure.low, decimals)}" if figure.low is not None and _exceeds(figure) else UNKNOWN


def _bounds(figure: FigureValue, decimals: int) -> str | None:
    if figure.low is None or figure.high is None:
        return None
    low, high = number(figure.low, decimals), number(figure.high, decimals)
    return f"{low} to {high} {figure.unit}" if low != high else None


def _beside(slug: str, value: float | None, edge: Edge) -> str | None:
    """Distance and consumption in the pilot's own units, beside the house's."""
    if value is None or edge.value is None:
        return None
    if slug == "distance_km":
        return f"{number(from_house(value, edge.value), 0)} {edge.value}"
    if slug == "energy_per_km_kwh":
        return f"{number(value / from_house(1.0, edge.value), 2)} kWh/{edge.value}"
    return None
