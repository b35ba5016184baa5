"""Templates into pages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analytics.web import present

TEMPLATES = Path(__file__).parent / "templates"


def page(
    request: Request, template: str, context: Mapping[str, Any], *, status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:  # fmt: skip
    """A template's page. Everything a template prints is escaped."""
    html = _environment().get_template(template).render(path=request.url.path, **context)
    return HTMLResponse(html, status, {"Cache-Control": "no-cache"} | dict(headers or {}))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "day": _day,
        "clock": present.clock,
        "moment": _moment,
        "count": _count,
        "number": present.number,
    }
    return environment


def _day(day: dt.date) -> str:
    return f"{day:%a} {day.day} {day:%b %Y}"


def _moment(moment: dt.datetime, zone: str | None) -> str:
    """A moment in the pilot's zone, where the zone is told nearby."""
    return present.instant(moment, zone).split(" (")[0]


def _count(n: int, thing: str) -> str:
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"
