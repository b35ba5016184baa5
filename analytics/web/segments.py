"""The page of segments: pilots that do the same kind of work, together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from analytics.api.asking import Asking
from analytics.programme import PilotResult, results, segment_rows
from analytics.views import Pilot
from analytics.web import present, programme
from analytics.web.present import Edge, Shown, Source
from analytics.web.programme import BoundaryShown
from analytics.web.render import page
from schemas.wire import SegmentRow

router = APIRouter(include_in_schema=False)
API = "/v1/segments"


@dataclass(frozen=True, slots=True)
class SegmentShown:
    """A segment ready to be printed."""

    name: str
    pilots: list[Pilot]
    vehicles: int
    source: Source
    figures: list[Shown]
    boundaries: list[BoundaryShown]


@router.get("/segments", response_class=HTMLResponse)
def segments_page(request: Request, reader: Asking) -> HTMLResponse:
    """Every segment with its pilots and their totals."""
    found = results(reader)
    return page(request, "segments.html", {"segments": [_shown(row, found) for row in segment_rows(found)]})


def _shown(row: SegmentRow, found: list[PilotResult]) -> SegmentShown:
    return SegmentShown(
        name=row.segment.replace("-", " "),
        pilots=[one.pilot for one in found if one.pilot.slug in row.pilots],
        vehicles=row.totals.vehicles,
        source=replace(programme.source(row.totals), api=API),
        figures=[present.shown(slug, figure, Edge.HOUSE) for slug, figure in row.totals.metrics.items()],
        boundaries=[programme.boundary(total, found) for total in row.totals.co2e_avoided],
    )
