"""Operating days and planned service: local rules become UTC intervals. Pure, but for the zone database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from zoneinfo import ZoneInfo

ONE_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class CalendarRule:
    """From `valid_from` on, days start at `day_starts_at` in `time_zone`."""

    valid_from: dt.date
    time_zone: str
    day_starts_at: dt.time


@dataclass(frozen=True)
class OperatingDay:
    """A local operating day and its UTC bounds: 23, 24 or 25 hours."""

    day: dt.date
    starts_at: dt.datetime
    ends_at: dt.datetime


@dataclass(frozen=True)
class PlanRule:
    """Weekly planned service from `valid_from` on; for one vehicle, or all of the pilot where `vehicle_id` is null."""

    vehicle_id: int | None
    valid_from: dt.date
    weekdays: tuple[int, ...]
    starts_at: dt.time
    ends_at: dt.time
    holidays: tuple[dt.date, ...] = ()


@dataclass(frozen=True)
class ServiceDayRule:
    """Planned service of one vehicle on one date; null times say none is planned."""

    vehicle_id: int
    day: dt.date
    starts_at: dt.time | None
    ends_at: dt.time | None


@dataclass(frozen=True)
class Span:
    """Time in UTC, from a start up to an end."""

    starts_at: dt.datetime
    ends_at: dt.datetime

    def shared(self, other: Span) -> Span | None:
        """What both have in common, an instant at the least."""
        starts_at, ends_at = max(self.starts_at, other.starts_at), min(self.ends_at, other.ends_at)
        return Span(starts_at, ends_at) if starts_at <= ends_at else None


class Calendar:
    """A pilot's days and planned service, by its dated rules."""

    def __init__(
        self, rules: Sequence[CalendarRule], plans: Sequence[PlanRule] = (), records: Sequence[ServiceDayRule] = ()
    ) -> None:
        self._rules = sorted(rules, key=lambda rule: rule.valid_from)
        self._plans = sorted(plans, key=lambda plan: (plan.vehicle_id is not None, plan.valid_from))
        self._records = {(record.vehicle_id, record.day): record for record in records}

    def days(self, first: dt.date, last: dt.date) -> Iterator[OperatingDay]:
        """The operating days from `first` to `last`, both included."""
        for offset in range((last - first).days + 1):
            day = first + offset * ONE_DAY
            yield OperatingDay(day, self._cut(day), self._cut(day + ONE_DAY))

    def span(self, first: dt.date, last: dt.date | None) -> Span:
        """The time of the days from `first` to `last`; without end where `last` is null."""
        if last is None:
            return Span(self._cut(first), dt.datetime.max.replace(tzinfo=dt.UTC))
        return Span(self._cut(first), self._cut(last + ONE_DAY) - dt.timedelta(microseconds=1))

    def day_of(self, instant: dt.datetime) -> dt.date:
        """The operating day that holds an instant."""
        guess = instant.astimezone(ZoneInfo(self._rule(instant.date()).time_zone)).date()
        return guess if self._cut(guess) <= instant else guess - ONE_DAY

    def planned(self, vehicle_id: int, day: dt.date) -> Span | None:
        """Planned service of a vehicle on an operating day: that date's record, else its plan, else the pilot's."""
        record = self._records.get((vehicle_id, day))
        if record is not None:
            return self._interval(day, record.starts_at, record.ends_at)
        plan = self._plan(vehicle_id, day)
        if plan is None or day.isoweekday() not in plan.weekdays or day in plan.holidays:
            return None
        return self._interval(day, plan.starts_at, plan.ends_at)

    def _rule(self, day: dt.date) -> CalendarRule:
        """The newest rule not later than the day; the first one also holds before its date."""
        return next((rule for rule in reversed(self._rules) if rule.valid_from <= day), self._rules[0])

    def _cut(self, day: dt.date) -> dt.datetime:
        rule = self._rule(day)
        return _utc(day, rule.day_starts_at, rule.time_zone)

    def _plan(self, vehicle_id: int, day: dt.date) -> PlanRule | None:
        """A vehicle's own plan outranks the pilot's; among equals the newest not later than the day holds."""
        fitting = (
            plan for plan in reversed(self._plans)
            if plan.vehicle_id in (None, vehicle_id) and plan.valid_from <= day
        )  # fmt: skip
        return next(fitting, None)

    def _interval(self, day: dt.date, starts_at: dt.time | None, ends_at: dt.time | None) -> Span | None:
        """Hours before the day's cut are those of the next morning; hours that end early reach over midnight."""
        if starts_at is None or ends_at is None:
            return None
        rule = self._rule(day)
        start_date = day + ONE_DAY if starts_at < rule.day_starts_at else day
        end_date = start_date + ONE_DAY if ends_at <= starts_at else start_date
        return Span(_utc(start_date, starts_at, rule.time_zone), _utc(end_date, ends_at, rule.time_zone))


@cache
def _utc(day: dt.date, clock: dt.time, time_zone: str) -> dt.datetime:
    """A local wall time as UTC; one that the clocks skip counts on with the offset before the change."""
    return dt.datetime.combine(day, clock, ZoneInfo(time_zone)).astimezone(dt.UTC)
