"""The timeline: every instant of a day in one state, with its cause, from signals, lamps, trouble codes and records."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_case import DAY_S, HOUR, Day, at, day_rows, inputs, telemetry

from analytics.metrics import Results, compute
from analytics.metrics.states import STATES
from schemas.frames import FaultEpisodes
from tests import campaign

TIMES = list(range(0, DAY_S + 1, 60))
SERVICE = [(6 * HOUR, 18 * HOUR)]
Episode = tuple[float, float, float | None]


def _within(*spells: tuple[float, float]) -> list[bool]:
    return [any(a * HOUR <= t < b * HOUR for a, b in spells) for t in TIMES]


def _computed(*faults: Episode, red: bool = True, **more: object) -> Results:
    """A day with a row a minute: key on 07-10, moving 08-09, plugged in 12-20, charging 13-15 and 17-18."""
    moving = _within((8, 9))
    charging = _within((13, 15), (17, 18))
    rows = telemetry(
        TIMES, ignition_on=_within((7, 10)), speed_kmh=[36.0 if m else 0.0 for m in moving],
        plugged_in=_within((12, 20)), charging=charging, battery_power_kw=[30.0 if c else 0.0 for c in charging],
    )  # fmt: skip
    episodes = [
        {"vehicle_id": 1, "starts_at": at(a * HOUR), "last_seen_at": at(b * HOUR),
         "cleared_at": None if c is None else at(c * HOUR), "red_stop_lamp": red}
        for a, b, c in faults
    ]  # fmt: skip
    frame = pl.DataFrame(episodes, schema=FaultEpisodes.create_empty().schema)
    case = inputs(rows, vehicles=({"sample_period_s": 60.0},), planned=SERVICE, **more)  # type: ignore[arg-type]
    return compute(dataclasses.replace(case, faults=FaultEpisodes.validate(frame)))


def _told(results: Results) -> list[tuple[float, float, str, str | None]]:
    start = results.state_spells["starts_at"][0]
    return [
        ((row["starts_at"] - start) / timedelta(hours=1), (row["ends_at"] - start) / timedelta(hours=1), row["state"],
         row["cause"])
        for row in results.state_spells.iter_rows(named=True)
    ]  # fmt: skip


def test_a_day_from_cut_to_cut() -> None:
    results = _computed(maintenance=[(21 * HOUR, 22 * HOUR, True, "other"), (22 * HOUR, None, False, "charger")])
    assert _told(results) == [
        (0, 7, "parked", None), (7, 8, "idle", None), (8, 9, "in_service", None), (9, 10, "idle", None),
        (10, 12, "parked", None), (12, 13, "plugged_idle", None), (13, 15, "charging", None),
        (15, 17, "plugged_idle", None), (17, 18, "charging", None), (18, 20, "plugged_idle", None),
        (20, 21, "parked", None), (21, 22, "planned_maintenance", "planned_maintenance"), (22, 24, "down", "supply"),
    ]  # fmt: skip


def test_hours_parked_hold_those_at_the_plug() -> None:
    day = Day(_computed())
    assert day["plugged_idle_h"] == pytest.approx(1 + 2 + 2)
    assert day["parked_h"] == pytest.approx(7 + 2 + 4 + 5)
    assert sum(day.hours().values()) == pytest.approx(24)


def test_a_trouble_code_that_lights_the_red_lamp_keeps_a_standing_vehicle_from_service() -> None:
    # Active from 07:30 to 11:00: down while it stands in planned service, but not while it moves.
    results = _computed((7.5, 10.9, 11))
    down = [spell for spell in _told(results) if spell[2] == "down"]
    assert down == [(7.5, 8, "down", "vehicle"), (9, 11, "down", "vehicle")]
    day = Day(results)
    assert day["down_h"] == pytest.approx(2.5)
    assert day["availability_pct"] == 0
    assert day["unavailable_vehicle_days"] == 1


def test_a_code_before_service_and_one_without_the_red_lamp_leave_the_day_available() -> None:
    assert Day(_computed((1, 2, 3)))["down_h"] == 0
    assert Day(_computed((7.5, 10.9, 11), red=False))["down_h"] == 0
    assert Day(_computed((7.5, 10.9, 11), red=False))["availability_pct"] == 100


def test_key_off_does_not_end_a_code_that_nobody_saw_to_clear() -> None:
    assert Day(_computed((9.5, 10, None)))["down_h"] == pytest.approx(18 - 9.5)  # to the end of planned service
    # Last reported 100 h before the day, and nothing since: forgotten after 96 h.
    assert Day(_computed((-101, -100, None)))["down_h"] == 0
    assert Day(_computed((-101, -89, None)))["down_h"] == pytest.approx(1)  # 96 h later it is 07:00


def test_what_silences_hide_is_said() -> None:
    rows = telemetry(
        [*range(0, 7201, 60), *range(4 * HOUR, DAY_S + 1, 60)], odometer_km=[0.0] * 121 + [80.0] * (20 * 60 + 1),
        ignition_on=[False] * (121 + 20 * 60 + 1),
    )  # fmt: skip
    spells = compute(inputs(rows, vehicles=({"sample_period_s": 60.0},))).state_spells
    hidden = spells.filter("unobserved")
    assert hidden["state"].to_list() == ["in_service"]
    assert (hidden["starts_at"].item(), hidden["ends_at"].item()) == (at(2 * HOUR), at(4 * HOUR))


SPELL = st.tuples(st.floats(0, 23), st.floats(0.05, 6))


@settings(max_examples=campaign.size(12, 300))
@given(st.lists(SPELL, max_size=3), st.lists(SPELL, max_size=3), st.lists(SPELL, max_size=2), st.booleans())
def test_spells_leave_no_gap_and_no_overlap_and_hold_the_hours(
    moving: list[tuple[float, float]], plugged: list[tuple[float, float]], down: list[tuple[float, float]], red: bool
) -> None:
    moves = _within(*((a, a + b) for a, b in moving))
    rows = telemetry(
        TIMES, speed_kmh=[36.0 if m else 0.0 for m in moves], ignition_on=moves,
        plugged_in=_within(*((a, a + b) for a, b in plugged)), battery_soc_pct=[50.0 + (t % 7200) / 720 for t in TIMES],
        red_stop_lamp=[red] * len(TIMES),
    )  # fmt: skip
    records = [(a * HOUR, (a + b) * HOUR, n % 2 == 0, "vehicle") for n, (a, b) in enumerate(down)]
    case = inputs(
        rows, vehicles=({"sample_period_s": 60.0},), planned=SERVICE, maintenance=records, days=day_rows(2),
    )  # fmt: skip
    results = compute(case)
    spells = results.state_spells
    assert spells["starts_at"].to_list()[1:] == spells["ends_at"].to_list()[:-1]
    assert (spells["starts_at"][0], spells["ends_at"][-1]) == (at(0), at(2 * DAY_S))
    assert set(spells["state"]) <= set(STATES)
    same = ("day", "state", "cause", "unobserved")
    assert spells.select(pl.any_horizontal(pl.col(c).ne_missing(pl.col(c).shift(1)) for c in same).all()).item()
    hours = spells.group_by("day", "state").agg(
        s=(pl.col("ends_at") - pl.col("starts_at")).sum().dt.total_microseconds()
    )
    for row in hours.filter(pl.col("state") != "parked").iter_rows(named=True):
        assert Day(results, day=row["day"])[f"{row['state']}_h"] == pytest.approx(row["s"] / 3.6e9)


def test_a_silence_at_the_end_of_one_vehicle_knows_nothing_of_the_next_one() -> None:
    """It gains in the silence, with no sign of charging on either side; the next vehicle starts charging."""
    still = telemetry([0, 60, 23 * HOUR, 25 * HOUR], battery_soc_pct=[50, 50, 50, 60], odometer_km=[9.0] * 4)
    charges = telemetry([-60, 0, 60], 2, plugged_in=[True] * 3, charging=[True] * 3, battery_soc_pct=[50.0] * 3)
    both = pl.concat([still, charges], how="diagonal_relaxed")
    vehicles = ({}, {"vehicle_id": 2})
    alone, beside = (
        Day(compute(inputs(rows, vehicles=vehicles[:count], days=day_rows(1, range(1, count + 1))))).hours()
        for rows, count in ((still, 1), (both, 2))
    )
    assert beside == alone == {"parked": 24.0}
