"""Closed months of a pilot: their figures as they were kept, and what each revision changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from analytics.metrics import METRICS
from analytics.summaries import SHOWN
from analytics.views import ClosedMonth, Period, Pilot, Reader
from schemas.errors import NotFoundError
from schemas.wire import Change, FigureValue, PeriodRow

SAME = 1e-9  # figures that differ by less, relatively, are the same
COMPARED = ("value", "low", "high", "coverage_pct", "method")
KEPT = (*COMPARED, "note")


def period_rows(reader: Reader, pilot: Pilot) -> list[PeriodRow]:
    """Every closed month of a pilot with every revision, the newest first."""
    rows: list[PeriodRow] = []
    before: ClosedMonth | None = None
    for closed in reader.closed_months(pilot):
        earlier = before if before is not None and before.month == closed.month else None
        rows.append(_row(closed, earlier))
        before = closed
    return rows[::-1]


def month_rows(reader: Reader, pilot: Pilot, month: dt.date) -> list[PeriodRow]:
    """The revisions of one month, the newest first; none where it is not closed."""
    return [row for row in period_rows(reader, pilot) if row.month == f"{month:%Y-%m}"]


def month_of(text: str) -> dt.date:
    """The first day of a month such as 2026-01.

    Raises:
        NotFoundError: it is something else.
    """
    try:
        return dt.datetime.strptime(text, "%Y-%m").replace(tzinfo=dt.UTC).date()
    except ValueError:
        raise NotFoundError(f"{text!r} is not a month such as 2026-01") from None


def days_of(month: dt.date) -> Period:
    """The operating days of a month."""
    after = (month.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
    return Period(month, after - dt.timedelta(days=1))


def touching(rows: Iterable[PeriodRow], period: Period) -> list[PeriodRow]:
    """The newest revisions of the months that share a day with the period, in order."""
    newest = {row.month: row for row in sorted(rows, key=lambda row: row.revision)}
    return [row for _, row in sorted(newest.items()) if row.from_ <= period.last and row.to >= period.first]


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The slugs of stored figures that differ in value, bounds, coverage or method."""
    return [slug for slug in sorted(old.keys() | new.keys()) if _differ(old.get(slug, {}), new.get(slug, {}))]


def _differ(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return any(_unlike(old.get(name), new.get(name)) for name in COMPARED)


def _unlike(old: object, new: object) -> bool:
    if isinstance(old, int | float) and isinstance(new, int | float):
        return abs(old - new) > SAME * max(abs(old), abs(new), 1e-6)
    return old != new


def _row(closed: ClosedMonth, before: ClosedMonth | None) -> PeriodRow:
    days = days_of(closed.month)
    return PeriodRow(
        month=f"{closed.month:%Y-%m}", from_=days.first, to=days.last, revision=closed.revision,
        closed_at=closed.closed_at, closed_by=closed.closed_by, note=closed.note, days=closed.days,
        vehicles=closed.vehicles, data_until=closed.data_until, code_version=closed.code_version,
        factors=closed.factors, factors_sha256=closed.factors_sha256, input_rows=closed.input_rows,
        input_hash=closed.input_hash,
        metrics={slug: _figure(closed.figures.get(slug), metric.unit) for slug, metric in SHOWN.items()},
        changed=[] if before is None else _changed(before, closed),
    )  # fmt: skip


def _changed(before: ClosedMonth, closed: ClosedMonth) -> list[Change]:
    """What a revision says otherwise than the one before it, of figures that are shown."""
    return [
        Change(
            metric=slug, name=METRICS[slug].name, unit=METRICS[slug].unit,
            before=before.figures.get(slug, {}).get("value"), after=closed.figures.get(slug, {}).get("value"),
        )
        for slug in changes(before.figures, closed.figures)
        if slug in SHOWN
    ]  # fmt: skip


def _figure(stored: Mapping[str, Any] | None, unit: str) -> FigureValue:
    told = {name: (stored or {}).get(name) for name in KEPT}
    note = told["note"] if stored else "not known when the month was closed"
    return FigureValue.model_validate(told | {"unit": unit, "note": note})
