"""Operating days of a pilot on the UTC axis, and spans of seconds within them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Spans = list[tuple[float, float]]
"""Half-open spans [start, end) in seconds from the start of an operating day."""

DAY_CUT_H = 3


@dataclass(frozen=True, slots=True)
class OperatingDay:
    """A local operating day from 03:00 to 03:00, named by the date on which it starts."""

    date: dt.date
    zone: ZoneInfo

    @property
    def starts_at(self) -> dt.datetime:
        """The first instant, in UTC."""
        return _local(self.date, DAY_CUT_H, self.zone)

    @property
    def ends_at(self) -> dt.datetime:
        """The first instant of the next day, in UTC."""
        return _local(self.date + dt.timedelta(days=1), DAY_CUT_H, self.zone)

    @property
    def seconds(self) -> float:
        """Length: 23, 24 or 25 hours."""
        return (self.ends_at - self.starts_at).total_seconds()

    def at(self, hour: float) -> float:
        """Seconds from the start to a local clock hour; hours of 24 and above are on the next date."""
        date, hour_of_date = self.date + dt.timedelta(days=int(hour // 24)), hour % 24
        return (_local(date, hour_of_date, self.zone) - self.starts_at).total_seconds()

    def clip(self, start: dt.datetime, end: dt.datetime) -> Spans:
        """The part of an interval that falls on this day."""
        first = max(0.0, (start - self.starts_at).total_seconds())
        last = min(self.seconds, (end - self.starts_at).total_seconds())
        return [(first, last)] if first < last else []


def _local(date: dt.date, hour: float, zone: ZoneInfo) -> dt.datetime:
    midnight = dt.datetime.combine(date, dt.time(), tzinfo=zone)
    return (midnight + dt.timedelta(hours=hour)).astimezone(dt.UTC)


def subtract(spans: Iterable[tuple[float, float]], holes: Spans) -> Spans:
    """What is left of spans once holes are cut out of them."""
    left = list(spans)
    for low, high in holes:
        left = [
            piece
            for start, end in left
            for piece in ((start, min(end, low)), (max(start, high), end))
            if piece[0] < piece[1]
        ]
    return sorted(set(left))


def within(t: Floats, spans: Spans) -> Flags:
    """True where t lies in one of the spans, which must not overlap."""
    if not spans:
        return np.zeros(t.shape, dtype=bool)
    edges = np.sort(np.asarray(spans, dtype=float), axis=0)
    inside: Flags = np.searchsorted(edges[:, 0], t, "right") > np.searchsorted(edges[:, 1], t, "right")
    return inside


def overlap_s(spans: Spans, others: Spans) -> float:
    """Seconds that two lists of spans share."""
    return sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in spans for b in others)
