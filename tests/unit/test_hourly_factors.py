"""Hourly grid factors, matched to the UTC hours of charging."""

import datetime as dt
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hourly_case import DIRECT, GRID, tables
from hypothesis import example, given, settings
from hypothesis import strategies as st
from metrics_case import DAY, DAY_S, HOUR, T0, Day, at, inputs, telemetry
from polars.testing import assert_frame_equal

from analytics.factors.hourly import matched
from analytics.metrics import Inputs, Results, compute
from analytics.metrics.charging_hours import day_hours
from analytics.metrics.emissions import CONSERVATIVE, TAILPIPE_VS_GENERATION
from analytics.metrics.metering import in_hours
from schemas.frames import UTC_TIME, MeterSessions
from tests import campaign

EVERY = 60
PLUGGED = {"usable_battery_kwh": 100.0, "sample_period_s": float(EVERY), "grid": GRID, "baseline_fuel": "diesel",
           "baseline_rate": 40.0, "baseline_unit": "L/100km", "baseline_source": "declared"}  # fmt: skip


def utc(hour: float, day: int = 5) -> dt.datetime:
    return dt.datetime(2026, 1, day, tzinfo=dt.UTC) + dt.timedelta(hours=hour)


def drawn(*rows: tuple[dt.datetime | None, float]) -> pl.DataFrame:
    schema = {"vehicle_id": pl.Int32, "day": pl.Date, "grid": pl.String, "hour": UTC_TIME, "kwh": pl.Float64}
    return pl.DataFrame([(1, DAY, GRID, hour, kwh) for hour, kwh in rows], schema=schema, orient="row")


CASE = pl.DataFrame(
    {"vehicle_id": [1], "day": [DAY], "grid": [GRID]}, schema_overrides={"vehicle_id": pl.Int32, "day": pl.Date}
)


# --- the factor of a day


def test_every_hour_of_energy_takes_the_factor_of_its_hour() -> None:
    hours = tables({utc(1): 300.0, utc(2): 200.0, utc(3): 100.0})
    row = matched(CASE, drawn((utc(1), 15), (utc(2), 30), (utc(3), 15)), hours).row(0, named=True)
    # 4,500 + 6,000 + 1,500 g = 12 kg over 60 kWh
    assert row["kg_per_kwh"] * 60 == pytest.approx(12.0, abs=1e-12)
    assert (row["filled_kwh"], row["drawn_kwh"], row["hourly_reason"]) == (0.0, 60.0, None)


def test_a_missing_hour_takes_the_mean_of_its_month_and_hour() -> None:
    known = {utc(1): 300.0, utc(2, day=9): 100.0, utc(2, day=20): 500.0, utc(3): 900.0}
    other_month = {dt.datetime(2026, 2, 3, 2, tzinfo=dt.UTC): 7.0}
    row = matched(CASE, drawn((utc(1), 10), (utc(2), 30)), tables(known | other_month)).row(0, named=True)
    # 02:00 is missing on the 5th: (100 + 500) / 2 = 300 g/kWh; (10 x 300 + 30 x 300) / 40
    assert row["kg_per_kwh"] == pytest.approx(0.3)
    assert row["filled_kwh"] == 30.0


def test_without_any_such_hour_there_is_no_factor() -> None:
    row = matched(CASE, drawn((utc(1), 10), (utc(2), 30)), tables({utc(1): 300.0})).row(0, named=True)
    assert row["kg_per_kwh"] is None
    assert row["hourly_reason"] == (
        "own:port has no factor for 1 of 2 hours of charging, nor for that hour on other days of the month"
    )


def test_energy_at_an_unknown_hour_has_no_factor() -> None:
    row = matched(CASE, drawn((None, 10)), tables({utc(1): 300.0})).row(0, named=True)
    assert (row["kg_per_kwh"], row["hourly_reason"]) == (
        None, "it is not known in which hours the energy was drawn",
    )  # fmt: skip


def test_a_day_without_energy_emits_nothing() -> None:
    assert matched(CASE, drawn(), tables({})).row(0, named=True)["kg_per_kwh"] == 0.0


@given(st.lists(st.floats(0.001, 500), min_size=1, max_size=24), st.floats(1, 900))
def test_one_factor_in_every_hour_is_the_factor_of_the_day(kwh: list[float], value: float) -> None:
    hours = tables({utc(hour): value for hour in range(24)})
    rows = [(utc(hour), energy) for hour, energy in enumerate(kwh)]
    found = matched(CASE, drawn(*rows), hours)["kg_per_kwh"].item()
    assert found == pytest.approx(value / 1000, rel=1e-12)


# --- the hours of a day's energy


def charging(minutes: range, kw: float = 30.0) -> pl.DataFrame:
    """A day at one row a minute, plugged in and charging at `kw` in these minutes after the cut, at 11:00 UTC."""
    times = [minute * EVERY for minute in range(24 * 60 + 1)]
    on = [minute in minutes for minute in range(len(times))]
    return telemetry(
        times,
        speed_kmh=[0.0] * len(times), odometer_km=[100.0] * len(times), ignition_on=[False] * len(times),
        plugged_in=[True] * len(times), battery_power_kw=[kw if flows else 0.0 for flows in on],
    )  # fmt: skip


def placed(world: Inputs) -> tuple[Results, pl.DataFrame]:
    """Results, and the hours in which the whole computation placed each day's energy."""
    found: list[pl.DataFrame] = []

    def spy(*given: pl.DataFrame) -> pl.DataFrame:
        found.append(in_hours(*given))
        return found[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analytics.metrics.daily.metering.in_hours", spy)
        results = compute(world)
    return results, found[0]


def by_hour(rows: pl.DataFrame, **vehicle: Any) -> pl.DataFrame:
    """The hours of the first day's energy, by the whole computation."""
    results, hours = placed(replace(inputs(rows, vehicles=[PLUGGED | vehicle]), hourly=tables({})))
    assert hours["kwh"].sum() == pytest.approx(Day(results)["grid_energy_kwh"], rel=1e-9)
    return hours


def sixty_kwh_by(what: str) -> Inputs:
    """A parked vehicle that draws 60 kWh evenly from 01:30 to 03:30 UTC, as this tells it."""
    start, end = (_seconds(utc(hour, day=6)) for hour in (1.5, 3.5))
    times = [0, start, end, DAY_S]
    signals = {"odometer_km": [100.0] * 4, "ignition_on": [False] * 4, "plugged_in": [False, True, False, False]}
    counted = {} if what == "record" else {what: [500.0, 500.0, 560.0, 560.0]}
    world = inputs(telemetry(times, **signals, **counted), vehicles=[PLUGGED | {"charger_efficiency": 1.0}])
    record = [(1, 1, at(start), at(end), 60.0)] if what == "record" else []
    return replace(world, meters=pl.DataFrame(record, MeterSessions.create_empty().schema, orient="row"))


@pytest.mark.parametrize("what", ["grid_energy_kwh", "energy_charged_kwh", "record"])
def test_t26_sixty_kwh_over_three_hours(what: str) -> None:
    """Half an hour, an hour and half an hour of it, at 300, 200 and 100 g/kWh: 4,500 + 6,000 + 1,500 g."""
    factors = tables({utc(1, day=6): 300.0, utc(2, day=6): 200.0, utc(3, day=6): 100.0})
    results, hours = placed(replace(sixty_kwh_by(what), hourly=factors))
    assert hours["hour"].to_list() == [utc(1, day=6), utc(2, day=6), utc(3, day=6)]
    assert hours["kwh"].to_list() == pytest.approx([15, 30, 15], rel=1e-12)
    assert hours["kwh"].sum() == pytest.approx(60, rel=1e-12)
    day = Day(results)
    assert day["grid_energy_kwh"] == pytest.approx(60, rel=1e-12)
    assert day[TAILPIPE_VS_GENERATION] == pytest.approx(-12, rel=1e-12)  # nothing was driven


def test_energy_is_placed_by_the_charging_power() -> None:
    # 30 kW from 13:30 to 15:30 UTC, both ramps of a minute shared evenly: 15, 30 and 15 kWh at the battery
    found = by_hour(charging(range(150, 270)), charger_efficiency=0.8)
    assert found["hour"].to_list() == [utc(13), utc(14), utc(15)]
    # / 0.8 at the charger's input; a ramp of one minute at either end adds 30 kW x 0.5 min
    assert found["kwh"].to_list() == pytest.approx([15.25 / 0.8, 30 / 0.8, 14.75 / 0.8], rel=1e-3)


def test_a_meter_says_when_before_the_battery_does() -> None:
    rows = charging(range(150, 270))
    meter = pl.when(pl.col("time") >= at(200 * 60)).then(5.0).otherwise(0.0)  # all of it after 14:20 UTC
    metered = rows.with_columns(grid_power_kw=meter)
    found = by_hour(metered)
    assert found["hour"].min() == utc(14)
    assert found.filter(pl.col("hour") == utc(15))["kwh"].item() == pytest.approx(5.0)


def test_charging_in_a_silence_is_spread_over_it() -> None:
    ends = [0, 60, 3 * HOUR, 3 * HOUR + 60, 24 * HOUR]
    rows = telemetry(
        ends, odometer_km=[9.0] * 5, ignition_on=[False] * 5, plugged_in=[True] * 5, charging=[True] * 2 + [False] * 3,
        battery_soc_pct=[20.0, 20.0, 79.0, 79.0, 79.0],
    )  # fmt: skip
    found = by_hour(rows, charger_efficiency=1.0)
    # 59 points of 100 kWh over 179 minutes: 59, 60 and 60 minutes of them in each hour
    assert found["kwh"].to_list() == pytest.approx([59 * 59 / 179, 59 * 60 / 179, 59 * 60 / 179])


def test_hours_begin_in_utc_whatever_the_cut() -> None:
    start = dt.datetime(2026, 1, 4, 21, 30, tzinfo=dt.UTC)  # 03:00 in India
    days = pl.DataFrame({"vehicle_id": [1], "starts_at": [start], "ends_at": [start + dt.timedelta(hours=24)]})
    hours = day_hours(days)["time"]
    assert (len(hours), hours[0], hours[-1]) == (24, utc(22, day=4), utc(21))


@pytest.mark.parametrize("cable", [True, False])
def test_cutting_at_hours_changes_nothing_else(cable: bool) -> None:
    rows = charging(range(150, 400)).with_columns(
        speed_kmh=pl.when(pl.col("time") > at(500 * 60)).then(36.0).otherwise(0.0),
        battery_power_kw=pl.when(pl.col("time") > at(500 * 60)).then(-36.0).otherwise("battery_power_kw"),
        ignition_on=pl.col("time") > at(500 * 60),
    )
    given = inputs(rows if cable else rows.drop("plugged_in"), vehicles=[PLUGGED])
    with_hours = replace(given, hourly=tables({T0.replace(hour=hour): 300.0 for hour in range(24)}))
    emitted = pl.col("metric").str.starts_with("co2e") | pl.col("metric").str.starts_with("hourly")
    cut, whole = compute(with_hours), compute(given)
    assert_frame_equal(cut.figures.filter(~emitted), whole.figures.filter(~emitted), rel_tol=1e-9)
    assert_frame_equal(cut.trips, whole.trips, rel_tol=1e-9)
    assert_frame_equal(cut.charge_sessions, whole.charge_sessions, rel_tol=1e-9)


# --- whatever was charged when


@dataclass(frozen=True)
class Charging:
    """Two days in a zone, from 03:00 to 03:00, and what tells of sessions in them: first minute, minutes, kW each."""

    zone: str
    first_day: dt.date
    told_by: str
    phase_s: int
    sessions: tuple[tuple[int, int, float], ...]

    def days(self) -> list[dict[str, Any]]:
        dates = [self.first_day + dt.timedelta(days=n) for n in range(3)]
        cuts = [dt.datetime.combine(date, dt.time(3), ZoneInfo(self.zone)).astimezone(dt.UTC) for date in dates]
        return [
            {"vehicle_id": 1, "day": date, "pilot_id": 1, "starts_at": start, "ends_at": end}
            for date, (start, end) in zip(dates, pairwise(cuts), strict=False)
        ]

    def spans(self) -> list[tuple[int, int, float]]:
        """Start and end in seconds from T0, and kW."""
        first = _seconds(self.days()[0]["starts_at"]) + self.phase_s
        return [(first + EVERY * start, first + EVERY * (start + length), kw) for start, length, kw in self.sessions]

    def world(self) -> Inputs:
        """A row a minute, at the plug while charging, else parked."""
        days, spans = self.days(), self.spans()
        times = range(_seconds(days[0]["starts_at"]) + self.phase_s, _seconds(days[-1]["ends_at"]), EVERY)
        power = [sum(kw for a, b, kw in spans if a <= t < b) for t in times]
        counter = [sum(kw * max(0, min(t, b) - a) / HOUR for a, b, kw in spans) for t in times]
        flows = [kw > 0 for kw in power]
        signal, rows = self.told_by, []
        if self.told_by == "record":
            signal = "energy_charged_kwh"
            rows = [(n, 1, at(a), at(b), kw * (b - a) / HOUR) for n, (a, b, kw) in enumerate(spans)]
        told = telemetry(
            times, odometer_km=[9.0] * len(times), ignition_on=[False] * len(times), plugged_in=flows, charging=flows,
            **{signal: counter if signal.endswith("_kwh") else power},
        )  # fmt: skip
        meters = pl.DataFrame(rows, MeterSessions.create_empty().schema, orient="row")
        return replace(inputs(told, vehicles=[PLUGGED], days=days), hourly=tables({}), meters=meters)


def _seconds(time: Any) -> int:
    return int((time - T0).total_seconds())


ZONES = (
    ("America/Los_Angeles", dt.date(2026, 3, 7)),  # 23 hours
    ("America/Los_Angeles", dt.date(2026, 10, 31)),  # 25 hours
    ("Asia/Kolkata", dt.date(2026, 1, 5)),  # cut at half an hour
)
EXACT = {"grid_energy_kwh": 1.0, "record": 1.0, "energy_charged_kwh": 1 / 0.9}
"""What tells of energy to the second, and how much is bought for each kWh it tells."""
TOLD_BY = (*EXACT, "grid_power_kw", "battery_power_kw")


@st.composite
def chargings(draw: st.DrawFn) -> Charging:
    """One to three sessions of minutes to ten hours, at least an hour apart, so that none shares an hour."""
    sessions, minute = [], 0
    for _ in range(draw(st.integers(1, 3))):
        start, length = minute + draw(st.integers(60, 400)), draw(st.integers(5, 460))
        sessions.append((start, length, draw(st.floats(3.0, 300.0))))
        minute = start + length
    zone, first_day = draw(st.sampled_from(ZONES))
    return Charging(zone, first_day, draw(st.sampled_from(TOLD_BY)), draw(st.integers(0, EVERY - 1)), tuple(sessions))


@settings(max_examples=campaign.size(6, 200))
@given(chargings())
@example(Charging(*ZONES[0], "grid_energy_kwh", 0, ((15 * 60, 10 * 60, 7.0),)))  # from 18:00 over midnight, the change
@example(Charging(*ZONES[1], "energy_charged_kwh", 0, ((15 * 60, 11 * 60, 7.0),)))  # of clocks and the cut
@example(Charging(*ZONES[1], "record", 17, ((15 * 60, 11 * 60, 7.0),)))
@example(Charging(*ZONES[2], "battery_power_kw", 0, ((30, 60, 50.0), (23 * 60, 100, 50.0))))
def test_the_energy_of_hours_is_that_of_sessions_and_days(charging: Charging) -> None:
    results, hours = placed(charging.world())
    assert hours["kwh"].min() >= 0  # type: ignore[operator]
    for day in charging.days():
        bought = Day(results, day=day["day"])["grid_energy_kwh"]
        assert hours.filter(day=day["day"])["kwh"].sum() == pytest.approx(bought or 0.0, rel=1e-9)
    found = results.charge_sessions["grid_energy_kwh"].to_list()
    # Power rises over the step before a session's first row.
    before = EVERY if charging.told_by.endswith("_kw") else 0
    within = [
        hours.filter(pl.col("hour").is_between(at(start - before).replace(minute=0, second=0), at(end), closed="left"))
        for start, end, _ in charging.spans()
    ]
    assert [inside["kwh"].sum() for inside in within] == pytest.approx(found, rel=1e-9)
    assert sum(inside.height for inside in within) == hours.height, "energy in an hour outside of every session"
    if charging.told_by in EXACT:  # power also rises and falls in a step at either end
        true_kwh = [kw * (end - start) / HOUR * EXACT[charging.told_by] for start, end, kw in charging.spans()]
        assert found == pytest.approx(true_kwh, rel=1e-9)


# --- figures


def test_a_truck_that_charges_at_noon_beats_one_at_midnight() -> None:
    values = {utc(hour, day): 100.0 if 12 <= hour < 24 else 700.0 for day in (5, 6) for hour in range(24)}

    def avoided(minutes: range) -> tuple[float, dict[str, Any]]:
        rows = charging(minutes).with_columns(odometer_km=100.0 + (pl.col("time") > at(23 * HOUR)) * 50.0)
        results = compute(replace(inputs(rows, vehicles=[PLUGGED]), hourly=tables(values)))
        day = Day(results)
        value = day[TAILPIPE_VS_GENERATION]
        assert value is not None
        assert results.factor_ids["factor_id"].to_list() == ["epa-hub-co2/diesel", DIRECT]
        return value, day.rows[TAILPIPE_VS_GENERATION]

    noon, row = avoided(range(150, 270))  # 13:30 to 15:30 UTC
    night, _ = avoided(range(15 * 60, 17 * 60))  # 02:00 to 04:00 UTC
    # 60.0 kWh / 0.9 = 66.67 kWh (a ramp of a minute at both ends included): 600 g/kWh less at noon
    assert noon - night == pytest.approx(60 / 0.9 * 0.6, rel=1e-3)
    assert "own:port/generation_direct/co2/hourly (2026), matched to the UTC hours of charging" in row["note"]
    # Of a charger of unknown efficiency: 60 kWh at 0.80 and at 0.98.
    assert row["low"] == pytest.approx(row["value"] - 60 * 0.1 * (1 / 0.80 - 1 / 0.9), abs=0.01)
    assert row["high"] == pytest.approx(row["value"] + 60 * 0.1 * (1 / 0.9 - 1 / 0.98), abs=0.01)


def test_the_share_of_filled_hours_is_a_figure() -> None:
    rows = charging(range(120, 240))  # 13:00 to 15:00 UTC, half of it in each hour
    values = {utc(13): 300.0, utc(14, day=7): 300.0, utc(15): 300.0, utc(12): 300.0}
    day = Day(compute(replace(inputs(rows, vehicles=[PLUGGED]), hourly=tables(values))))
    assert day["hourly_filled_pct"] == pytest.approx(50.0, abs=0.5)


def test_days_outside_the_table_are_empty_and_never_annual() -> None:
    """The table describes California, where annual factors are known: they answer the other boundary only."""
    given = inputs(charging(range(150, 270)), vehicles=[PLUGGED])
    day = Day(compute(replace(given, hourly=tables({}, area="US-CAMX"))))
    row = day.rows[TAILPIPE_VS_GENERATION]
    assert (row["value"], row["note"].startswith("own:port has no factor for")) == (None, True)
    assert day[CONSERVATIVE] is not None
    assert "zone:US-CAL-CISO" in day.rows[CONSERVATIVE]["note"]
