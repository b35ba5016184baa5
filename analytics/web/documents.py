"""Pages that explain: what each figure means, and how the API is called. Drawn from the registry and from OpenAPI."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from analytics.metrics import METRICS
from analytics.web.render import page

router = APIRouter(include_in_schema=False)


@router.get("/definitions", response_class=HTMLResponse)
def definitions(request: Request) -> HTMLResponse:
    """Every figure that is shown: meaning, definition, inputs, how it totals, source."""
    return page(request, "definitions.html", {"metrics": [metric for metric in METRICS.values() if metric.shown]})


@router.get("/docs", response_class=HTMLResponse)
def api(request: Request) -> HTMLResponse:
    """The API, call by call, without scripts."""
    schema = request.app.openapi()
    calls = [
        (path, method.upper(), call) for path, methods in schema["paths"].items() for method, call in methods.items()
    ]
    return page(request, "docs.html", {"calls": calls, "models": schema["components"]["schemas"]})
