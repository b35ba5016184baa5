"""Charger uptime: the NEVI formula, exclusions, young ports."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from analytics.metrics.chargers import NEVI, SINCE_START, charger_uptime, nevi_uptime_pct

UNTIL = dt.datetime(2026, 4, 1, 8, tzinfo=dt.UTC)
OLD = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
TIME = pl.Datetime("us", "UTC")


def _uptime(
    *outages: tuple[float, float | None, bool], since: dt.datetime = OLD, until: dt.datetime = UNTIL
) -> dict[str, object]:
    """Outages as (hours before `until` at which they start, how many hours they last, whether they are excluded)."""
    rows = [
        {"charger_id": 1, "starts_at": until - dt.timedelta(hours=before),
         "ends_at": None if hours is None else until - dt.timedelta(hours=before - hours), "excluded": excluded}
        for before, hours, excluded in outages
    ]  # fmt: skip
    schema = {"charger_id": pl.Int64, "starts_at": TIME, "ends_at": TIME, "excluded": pl.Boolean}
    chargers = pl.DataFrame({"charger_id": [1], "since": [since]}, schema={"charger_id": pl.Int64, "since": TIME})
    return charger_uptime(pl.DataFrame(rows, schema=schema), chargers, until).row(0, named=True)


def test_t14_nevi_uptime() -> None:
    # (525,600 - (1,200 - 480)) / 525,600 = 524,880 / 525,600 = 99.863 %
    assert nevi_uptime_pct(1200, 480) == pytest.approx(99.863, abs=0.001)
    found = _uptime((500, 12, False), (300, 8, True))  # 20 h = 1,200 min, of which 8 h = 480 min excluded
    assert found["figure"] == NEVI
    assert (found["outage_min"], found["excluded_min"]) == (1200, 480)
    assert found["uptime_pct"] == pytest.approx(nevi_uptime_pct(1200, 480))


def test_the_requirement_allows_262_8_hours() -> None:
    assert _uptime((1000, 262.8, False))["uptime_pct"] == pytest.approx(97)


def test_minutes_are_counted_once_and_only_within_the_twelve_months() -> None:
    # 10 h from 30 h before the end and 10 h from 25 h before it cover 15 h.
    assert _uptime((30, 10, False), (25, 10, False))["outage_min"] == pytest.approx(15 * 60)
    # One that began before the twelve months and ends 1 h into them; one that ended before them.
    year_h = 365 * 24
    assert _uptime((year_h + 5, 6, False), (year_h + 50, 2, False))["outage_min"] == pytest.approx(60)
    assert _uptime((2, None, False))["outage_min"] == pytest.approx(120)  # it lasts


def test_what_an_outage_that_counts_covers_too_is_not_excluded() -> None:
    found = _uptime((30, 10, True), (25, 3, False))
    assert (found["outage_min"], found["excluded_min"]) == (600, 420)
    assert found["uptime_pct"] == pytest.approx(nevi_uptime_pct(600, 420))


def test_a_leap_year_keeps_the_constant_of_the_rule() -> None:
    until = dt.datetime(2024, 12, 1, tzinfo=dt.UTC)
    all_year = _uptime((366 * 24, 366 * 24, False), until=until)
    assert all_year["outage_min"] == 527_040
    assert all_year["uptime_pct"] == pytest.approx((525_600 - 527_040) / 525_600 * 100)


def test_a_young_port_has_another_figure() -> None:
    # 100 days old, 24 h down, of which 12 h excluded: 1 - 12 / 2,400.
    since = UNTIL - dt.timedelta(days=100)
    found = _uptime((48, 12, False), (30, 12, True), since=since)
    assert found["figure"] == SINCE_START
    assert found["uptime_pct"] == pytest.approx(100 * (1 - 12 / 2400))
    assert found["from_time"] == since


def test_a_year_to_the_day_is_old_enough() -> None:
    assert _uptime(since=dt.datetime(2025, 4, 1, 8, tzinfo=dt.UTC))["figure"] == NEVI
    assert _uptime(since=dt.datetime(2025, 4, 1, 8, 1, tzinfo=dt.UTC))["figure"] == SINCE_START
    leap = dt.datetime(2024, 2, 29, tzinfo=dt.UTC)
    assert _uptime(since=dt.datetime(2023, 2, 28, tzinfo=dt.UTC), until=leap)["figure"] == NEVI


def test_a_port_that_did_not_serve_yet_has_none() -> None:
    assert _uptime(since=UNTIL + dt.timedelta(days=1))["uptime_pct"] is None
