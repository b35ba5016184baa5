"""Operating days and planned service, by hand-computed cases."""

import datetime as dt
import itertools

import pytest

from pipelines.calendar import Calendar, CalendarRule, PlanRule, ServiceDayRule, Span

LOS_ANGELES = CalendarRule(dt.date(2025, 1, 1), "America/Los_Angeles", dt.time(3))
WEEK = (1, 2, 3, 4, 5)


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("day", "hours"),
    [(dt.date(2026, 3, 6), 24), (dt.date(2026, 3, 7), 23), (dt.date(2026, 10, 31), 25), (dt.date(2026, 11, 1), 24)],
)
def test_days_around_clock_changes_in_los_angeles(day: dt.date, hours: int) -> None:
    (one,) = Calendar([LOS_ANGELES]).days(day, day)
    assert (one.ends_at - one.starts_at) == dt.timedelta(hours=hours)


def test_days_meet_without_gap_or_overlap_over_a_year() -> None:
    days = list(Calendar([LOS_ANGELES]).days(dt.date(2026, 1, 1), dt.date(2026, 12, 31)))
    assert len(days) == 365
    assert all(a.ends_at == b.starts_at for a, b in itertools.pairwise(days))


def test_a_cut_that_the_clocks_skip_still_cuts_once() -> None:
    calendar = Calendar([CalendarRule(dt.date(2026, 1, 1), "America/Los_Angeles", dt.time(2, 30))])
    first, second = calendar.days(dt.date(2026, 3, 7), dt.date(2026, 3, 8))
    assert first.ends_at == second.starts_at == utc(2026, 3, 8, 10, 30)


def test_an_instant_before_the_cut_belongs_to_the_day_before() -> None:
    calendar = Calendar([LOS_ANGELES])
    assert calendar.day_of(utc(2026, 1, 10, 10, 59)) == dt.date(2026, 1, 9)
    assert calendar.day_of(utc(2026, 1, 10, 11, 0)) == dt.date(2026, 1, 10)


def test_a_new_calendar_rule_holds_from_its_date_and_the_days_still_meet() -> None:
    later = CalendarRule(dt.date(2026, 6, 2), "America/Los_Angeles", dt.time(4))
    one, two = Calendar([later, LOS_ANGELES]).days(dt.date(2026, 6, 1), dt.date(2026, 6, 2))
    assert one.ends_at - one.starts_at == dt.timedelta(hours=25)
    assert one.ends_at == two.starts_at


def plan(start: str, end: str, **more: object) -> PlanRule:
    values = {"vehicle_id": None, "valid_from": dt.date(2026, 1, 1), "weekdays": WEEK} | more
    return PlanRule(starts_at=dt.time.fromisoformat(start), ends_at=dt.time.fromisoformat(end), **values)  # type: ignore[arg-type]


def test_planned_service_on_weekdays_only_and_not_on_holidays() -> None:
    calendar = Calendar([LOS_ANGELES], [plan("06:00", "18:00", holidays=(dt.date(2026, 1, 6),))])
    assert calendar.planned(1, dt.date(2026, 1, 5)) == Span(utc(2026, 1, 5, 14), utc(2026, 1, 6, 2))
    assert calendar.planned(1, dt.date(2026, 1, 6)) is None
    assert calendar.planned(1, dt.date(2026, 1, 10)) is None


def test_service_over_midnight_and_service_before_the_cut() -> None:
    night = Calendar([LOS_ANGELES], [plan("22:00", "06:00")])
    assert night.planned(1, dt.date(2026, 1, 5)) == Span(utc(2026, 1, 6, 6), utc(2026, 1, 6, 14))
    early = Calendar([LOS_ANGELES], [plan("01:00", "02:00")])
    interval = early.planned(1, dt.date(2026, 1, 5))
    assert interval == Span(utc(2026, 1, 6, 9), utc(2026, 1, 6, 10))
    assert early.day_of(interval.starts_at) == dt.date(2026, 1, 5)


def test_a_record_outranks_the_vehicles_plan_and_that_the_pilots() -> None:
    day = dt.date(2026, 1, 5)
    calendar = Calendar(
        [LOS_ANGELES],
        [plan("06:00", "18:00"), plan("08:00", "10:00", vehicle_id=2)],
        [ServiceDayRule(3, day, None, None), ServiceDayRule(4, day, dt.time(9), dt.time(10))],
    )
    hours = {v: calendar.planned(v, day) for v in (1, 2, 3, 4)}
    assert hours[1] == Span(utc(2026, 1, 5, 14), utc(2026, 1, 6, 2))
    assert hours[2] == Span(utc(2026, 1, 5, 16), utc(2026, 1, 5, 18))
    assert hours[3] is None
    assert hours[4] == Span(utc(2026, 1, 5, 17), utc(2026, 1, 5, 18))


def test_a_newer_plan_holds_from_its_date() -> None:
    calendar = Calendar([LOS_ANGELES], [plan("06:00", "18:00"), plan("07:00", "18:00", valid_from=dt.date(2026, 1, 6))])
    assert calendar.planned(1, dt.date(2026, 1, 5)).starts_at == utc(2026, 1, 5, 14)
    assert calendar.planned(1, dt.date(2026, 1, 6)).starts_at == utc(2026, 1, 6, 15)
