"""The pages of data quality: all pilots, and the signals of one vehicle."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from analytics.api.asking import Asking, FirstDay, LastDay
from analytics.data_quality import pilot_quality, signal_quality
from analytics.questions import newest_day, period_of, span_of
from analytics.web import present
from analytics.web.present import Source
from analytics.web.render import page

router = APIRouter(include_in_schema=False)


@router.get("/data-quality", response_class=HTMLResponse)
def data_quality_page(request: Request, reader: Asking, first: FirstDay = None, last: LastDay = None) -> HTMLResponse:
    """Of every pilot: coverage, what was refused or set aside, how methods agree."""
    rows = []
    for pilot in reader.pilots():
        period = period_of(pilot, first, last)
        row = pilot_quality(reader, pilot, period)
        until = present.instant(row.data_until, pilot.time_zone)
        rows.append((row, Source(f"/v1/data-quality?{present.query(period)}", present.span(period), until)))
    return page(request, "data_quality.html", {"pilots": rows, "first": first, "last": last})


@router.get("/pilots/{slug}/vehicles/{name}/signals", response_class=HTMLResponse)
def signals_page(
    request: Request, slug: str, name: str, reader: Asking, first: FirstDay = None, last: LastDay = None
) -> HTMLResponse:
    """Every canonical signal of a vehicle; without a period, of the newest day."""
    pilot = reader.pilot(slug)
    vehicle = reader.vehicle(pilot, name)
    period = period_of(pilot, first, last) if first or last else newest_day(pilot)
    rows = signal_quality(reader, vehicle, period, span_of(pilot, period))
    api = f"/v1/vehicles/{quote(slug)}/{quote(name, safe='')}/signals?{present.query(period)}"
    context = {
        "pilot": pilot,
        "vehicle": vehicle,
        "source": Source(api, present.span(period), present.instant(pilot.data_until, pilot.time_zone)),
        "told": [row for row in rows if row.samples or row.refused],
        "untold": [row.signal for row in rows if not row.samples and not row.refused],
    }
    return page(request, "signals.html", context)
