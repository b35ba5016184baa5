"""What people may ask for: periods, spans of time, widths of bins. Text in, typed values out."""

from __future__ import annotations

import datetime as dt
import re
from zoneinfo import ZoneInfo

from analytics.views import Period, Pilot, Span
from schemas.errors import BeachheadError

_WIDTH = re.compile(r"([1-9]\d{0,5})\s*(s|min|h|d)")
_UNIT_S = {"s": 1, "min": 60, "h": 3600, "d": 86400}


class BadQuestionError(BeachheadError):
    """A question that cannot be answered as it was put."""


def period_of(pilot: Pilot, first: dt.date | None, last: dt.date | None) -> Period:
    """The operating days asked for; without bounds, all that are computed; before any is, the pilot's first day.

    Raises:
        BadQuestionError: the period ends before it starts.
    """
    start = first or pilot.first_day or pilot.starts_on
    end = last or pilot.last_day or start
    if first and not last:
        end = max(end, first)
    if last and not first:
        start = min(start, last)
    if end < start:
        raise BadQuestionError(f"the period ends ({end}) before it starts ({start})")
    return Period(start, end)


def newest_day(pilot: Pilot) -> Period:
    """The newest operating day that is computed; before any is, the pilot's first."""
    day = pilot.last_day or pilot.starts_on
    return Period(day, day)


def day_start(pilot: Pilot, day: dt.date) -> dt.datetime:
    """The instant (UTC) at which a pilot's operating day starts."""
    zone = ZoneInfo(pilot.time_zone or "UTC")
    return dt.datetime.combine(day, pilot.day_starts_at or dt.time(), zone).astimezone(dt.UTC)


def span_of(pilot: Pilot, period: Period) -> Span:
    """The time from the start of a period's first day to the end of its last."""
    return Span(day_start(pilot, period.first), day_start(pilot, period.last + dt.timedelta(days=1)))


def instant_of(text: str | None, name: str) -> dt.datetime | None:
    """An RFC 3339 time with its offset.

    Raises:
        BadQuestionError: it is something else.
    """
    if text is None:
        return None
    try:
        instant = dt.datetime.fromisoformat(text.strip().replace(" ", "+"))  # an unescaped + arrives as a space
    except ValueError:
        raise BadQuestionError(f"{name}={text}: not a time such as 2026-01-05T00:00:00Z") from None
    if instant.tzinfo is None:
        raise BadQuestionError(f"{name}={text}: a time needs its offset, for example {text}Z")
    return instant.astimezone(dt.UTC)


def width_of(text: str | None) -> dt.timedelta | None:
    """The width of a bin: a number and s, min, h or d.

    Raises:
        BadQuestionError: it is something else.
    """
    if text is None:
        return None
    match = _WIDTH.fullmatch(text.strip())
    if match is None:
        raise BadQuestionError(f"every={text}: not a width such as 10s, 5min, 1h or 1d")
    return dt.timedelta(seconds=int(match[1]) * _UNIT_S[match[2]])
