"""The pages: programme, pilot, vehicle; and the charts in them."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from analytics import evidence, summaries
from analytics.api.asking import Asking, FirstDay, LastDay
from analytics.chargers import charger_rows, outage_rows
from analytics.charts import Width
from analytics.metrics import METRICS, Metric, rules
from analytics.periods import days_of, month_of, month_rows, period_rows, touching
from analytics.programme import programme_summary, results
from analytics.questions import period_of, span_of
from analytics.views import Period, Pilot, Reader
from analytics.web import present, programme
from analytics.web.plots import PLOTS, drawn_by
from analytics.web.present import Edge, Shown, Source
from analytics.web.render import page
from analytics.web.strips import LOOKS, strips
from schemas.errors import NotFoundError
from schemas.wire import DayRow, Summary

router = APIRouter(include_in_schema=False)

REMEMBERED_DRAWINGS = 512
VEHICLE_COLUMNS = (
    "distance_km", "energy_used_kwh", "availability_pct", "key_on_h", "fuel_displaced_l",
)  # fmt: skip
REFERENCE_COLUMNS = ("distance_km", "key_on_h", "fuel_used_l", "availability_pct")
DAY_COLUMNS = (
    "distance_km", "energy_used_kwh", "energy_charged_kwh", "availability_pct", "in_service_h", "connectivity_pct",
)  # fmt: skip
VEHICLE_DAY_COLUMNS = ("distance_km", "energy_used_kwh", "energy_charged_kwh", "key_on_h", "in_service_h", "down_h")


@router.get("/", response_class=HTMLResponse)
def programme_page(request: Request, reader: Asking) -> HTMLResponse:
    """All pilots."""
    found = results(reader)
    summary = programme_summary(found)
    context = {
        "summary": summary,
        "source": programme.source(summary),
        "totals": all_shown(summary.metrics, Edge.HOUSE),
        "boundaries": [programme.boundary(total, found) for total in summary.co2e_avoided],
        "lines": [programme.line(one) for one in found],
    }
    return page(request, "programme.html", context)


@router.get("/pilots/{slug}", response_class=HTMLResponse)
def pilot_page(
    request: Request, slug: str, reader: Asking, first: FirstDay = None, last: LastDay = None
) -> HTMLResponse:
    """A pilot over a period."""
    pilot = reader.pilot(slug)
    period = period_of(pilot, first, last)
    summary = summaries.summary(reader, pilot, period)
    days = summaries.pilot_days(reader, pilot, period)
    context = _common(pilot, period) | {
        "source": present.pilot_source(pilot, period, summary),
        "summary": summary,
        "headline": headline(pilot, summary),
        "boundary": boundary(summary),
        "kwh_per_dge": rules.KWH_PER_DGE,
        "mpgdge": present.shown("mpgdge", summary.metrics["mpgdge"]) if Edge.of(pilot) is Edge.US else None,
        "factors": present.editions(summary),
        "figures": all_shown(summary.metrics, Edge.of(pilot)),
        "plots": [(plot, plot.describe(days, pilot.targets)) for plot in PLOTS.values()] if days else [],
        "days": days_shown(days, DAY_COLUMNS, Edge.of(pilot)),
        "day_columns": _columns(DAY_COLUMNS),
        "boundaries": tuple(present.CO2E_BOUNDARIES),
        "chargers": charger_rows(reader, pilot, period),
        "outages": outage_rows(reader, pilot, period),
        "periods": touching(period_rows(reader, pilot), period),
    }
    return page(request, "pilot.html", context | _vehicle_tables(reader, pilot, period))


@router.get("/pilots/{slug}/reports/{month}", response_class=HTMLResponse)
def report_page(request: Request, slug: str, month: str, reader: Asking) -> HTMLResponse:
    """A pilot's month: as it was closed, with what was restated since; else as it is now."""
    pilot, first = reader.pilot(slug), month_of(month)
    period, rows = days_of(first), month_rows(reader, pilot, first)
    newest = rows[0] if rows else None
    summary = summaries.summary(reader, pilot, period)
    source = present.pilot_source(pilot, period, summary)
    if newest is not None:
        until = present.instant(newest.data_until, pilot.time_zone)
        source = Source(f"/v1/pilots/{quote(pilot.slug)}/periods", source.period, until)
    context = _common(pilot, period) | {
        "month": f"{first:%B %Y}",
        "newest": newest,
        "periods": rows,
        "source": source,
        "figures": all_shown(newest.metrics if newest else summary.metrics, Edge.of(pilot)),
    }
    return page(request, "report.html", context)


@router.get("/pilots/{slug}/charts/{name}.svg")
def chart(
    request: Request,
    slug: str,
    name: str,
    reader: Asking,
    first: FirstDay = None,
    last: LastDay = None,
    width: Annotated[Literal["wide", "narrow"], Query()] = "wide",
) -> Response:
    """A chart of a pilot's page."""
    if name not in PLOTS:
        raise NotFoundError(f"there is no chart {name!r}")
    pilot = reader.pilot(slug)
    period = period_of(pilot, first, last)
    version = f'"{reader.version(pilot, period)}-{drawn_by(pilot.targets)}"'
    if request.headers.get("if-none-match") == version:
        return Response(status_code=304, headers={"ETag": version})
    svg = _drawing(reader, slug, period, name, Width[width.upper()], version)
    return Response(svg, media_type="image/svg+xml", headers={"Cache-Control": "no-cache", "ETag": version})


@lru_cache(REMEMBERED_DRAWINGS)
def _drawing(reader: Reader, slug: str, period: Period, name: str, width: Width, version: str) -> str:
    """A chart, drawn once for each `version` of the data."""
    pilot = reader.pilot(slug)
    return PLOTS[name].draw(summaries.pilot_days(reader, pilot, period), pilot.targets, width)


@router.get("/pilots/{slug}/vehicles/{name}", response_class=HTMLResponse)
def vehicle_page(
    request: Request, slug: str, name: str, reader: Asking, first: FirstDay = None, last: LastDay = None
) -> HTMLResponse:
    """A vehicle's figures, timeline, days, trips, charging sessions and faults."""
    pilot = reader.pilot(slug)
    vehicle, period = reader.vehicle(pilot, name), period_of(pilot, first, last)
    row = summaries.vehicle_row(reader, pilot, vehicle, period)
    days = summaries.vehicle_days(reader, pilot, vehicle, period)
    behind = reader.evidence(vehicle, period)
    until = max((day.data_until for day in days if day.data_until), default=None)
    api = f"/v1/vehicles/{quote(pilot.slug)}/{quote(name, safe='')}"
    context = _common(pilot, period) | {
        "vehicle": vehicle,
        "source": Source(
            f"/v1/pilots/{quote(pilot.slug)}/vehicles?{present.query(period)}",
            present.span(period),
            present.instant(until, pilot.time_zone),
        ),
        "api": api,
        "figures": all_shown(row.metrics, Edge.of(pilot)),
        "days": days_shown(days, VEHICLE_DAY_COLUMNS, Edge.of(pilot)),
        "day_columns": _columns(VEHICLE_DAY_COLUMNS),
        "trips": summaries.trips(reader, vehicle, period),
        "agreements": [*evidence.agreements(behind), *evidence.dispensed(row.metrics, len(days))],
        "set_aside": [*evidence.set_aside(behind), *evidence.refused(reader, [vehicle], span_of(pilot, period))],
        "disagreeing": {day.day for day in behind if any(not entry["agrees"] for entry in day.agreements)},
        "charge_sessions": summaries.charge_sessions(reader, vehicle, period),
        "strips": strips(summaries.state_spells(reader, vehicle, period), pilot.time_zone),
        "looks": list(LOOKS.values()),
        "faults": summaries.faults(reader, vehicle, period),
    }
    return page(request, "vehicle.html", context)


@router.get("/pilots/{slug}/vehicles/{name}/days/{day}", response_class=HTMLResponse)
def vehicle_day_page(request: Request, slug: str, name: str, day: dt.date, reader: Asking) -> HTMLResponse:
    """A vehicle's day: figures by every method, how they agree, what was set aside, what it was computed from."""
    pilot = reader.pilot(slug)
    vehicle, period = reader.vehicle(pilot, name), Period(day, day)
    detail = evidence.vehicle_day(reader, pilot, vehicle, day)
    moments = {"starts_at": detail.starts_at, "ends_at": detail.ends_at, "computed_at": detail.lineage.computed_at}
    context = _common(pilot, period) | {
        "vehicle": vehicle,
        "detail": detail,
        "source": Source(
            f"/v1/vehicles/{quote(pilot.slug)}/{quote(name, safe='')}/days/{day}",
            present.span(period),
            present.instant(detail.data_until, pilot.time_zone),
        ),
        "figures": all_shown(detail.metrics, Edge.of(pilot)),
        "names": {slug: metric.name for slug, metric in METRICS.items()},
        **{name: present.instant(moment, pilot.time_zone) for name, moment in moments.items()},
    }
    return page(request, "vehicle_day.html", context)


def headline(pilot: Pilot, summary: Summary) -> list[Shown]:
    """The figures that lead a pilot's page, for the kind of vehicles it has."""
    slugs = (
        "key_on_h" if pilot.categories == ["equipment"] else "distance_km",
        "energy_used_kwh",
        present.efficiency(pilot),
        "availability_pct",
        summary.headline_co2e or present.NO_CO2E,
        "fuel_displaced_l",
        "energy_charged_kwh",
        "connectivity_pct",
    )
    return [present.shown(slug, summary.metrics[slug], Edge.of(pilot)) for slug in slugs]


def boundary(summary: Summary) -> str | None:
    """The boundary of the leading CO2e figure, in words."""
    return present.CO2E_BOUNDARIES[summary.headline_co2e] if summary.headline_co2e else None


def all_shown(metrics: dict[str, Any], edge: Edge) -> list[Shown]:
    """Every figure."""
    return [present.shown(slug, figure, edge) for slug, figure in metrics.items()]


def days_shown(days: list[DayRow], slugs: tuple[str, ...], edge: Edge) -> list[tuple[DayRow, list[Shown]]]:
    """Days with the figures of the columns asked for, the newest first."""
    return [(day, [present.shown(slug, day.metrics[slug], edge) for slug in slugs]) for day in reversed(days)]


def _vehicle_tables(reader: Reader, pilot: Pilot, period: Period) -> dict[str, Any]:
    rows = summaries.vehicle_rows(reader, pilot, period)
    edge = Edge.of(pilot)
    columns = (*VEHICLE_COLUMNS[:2], present.efficiency(pilot), *VEHICLE_COLUMNS[2:])

    def table(reference: bool, slugs: tuple[str, ...]) -> list[tuple[Any, list[Shown]]]:
        chosen = [row for row in rows if row.reference is reference]
        return [(row, [present.shown(slug, row.metrics[slug], edge) for slug in slugs]) for row in chosen]

    return {
        "vehicles": table(False, columns),
        "vehicle_columns": _columns(columns),
        "references": table(True, REFERENCE_COLUMNS),
        "reference_columns": _columns(REFERENCE_COLUMNS),
    }


def _columns(slugs: tuple[str, ...]) -> list[Metric]:
    return [METRICS[slug] for slug in slugs]


def _common(pilot: Pilot, period: Period) -> dict[str, Any]:
    return {"pilot": pilot, "period": period, "query": present.query(period)}
