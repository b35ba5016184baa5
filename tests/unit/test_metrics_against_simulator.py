"""The metrics held to what truly happened in the simulated fleet."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from simulated_case import inputs_of, numbered, one_percent_of

from analytics.metrics import PADDING, Results, compute
from ingest.gateway.simulator import DEMO_FLEET, Truth, VehicleLog, as_frames, simulate
from ingest.gateway.simulator.calendar import OperatingDay

DAYS = 5
VEHICLES = numbered(DEMO_FLEET)
PERIOD_H = {name: spec.sample_period_s / 3600 for name, (_, _, spec) in VEHICLES.items()}


def _computed(logs: list[VehicleLog], dates: Sequence[dt.date]) -> Results:
    return compute(inputs_of(logs, VEHICLES, dates, DEMO_FLEET.incidents.downtimes))


@pytest.fixture(scope="module")
def run() -> tuple[Results, Truth]:
    logs = list(simulate(days=DAYS))
    pieces = as_frames(piece for log in logs for piece in log.truth)
    return _computed(logs, DEMO_FLEET.dates[:DAYS]), pieces


def _beside(run: tuple[Results, Truth], slug: str, column: str) -> pl.DataFrame:
    """Figure and truth of each vehicle-day that has both, as `figure` and `truth`."""
    results, pieces = run
    ids = pl.DataFrame({"vehicle": list(VEHICLES), "vehicle_id": [n for n, _, _ in VEHICLES.values()]})
    figures = results.figures.filter(metric=slug).select("vehicle_id", "day", "method", "note", figure="value")
    truth = pieces.days.select("vehicle", "day", "day_h", truth=pl.col(column).cast(pl.Float64)).drop_nulls("truth")
    return truth.join(ids.cast({"vehicle_id": pl.Int32}), on="vehicle").join(
        figures, on=["vehicle_id", "day"], how="left"
    )


ENERGIES = (
    "distance_km", "energy_used_kwh", "energy_discharged_kwh", "energy_regenerated_kwh", "energy_charged_kwh",
    "grid_energy_kwh", "idle_energy_kwh", "fuel_used_l", "heater_fuel_used_l", "genset_fuel_used_l",
)  # fmt: skip


@pytest.mark.parametrize("slug", ENERGIES)
def test_amounts_within_one_percent(run: tuple[Results, Truth], slug: str) -> None:
    """What never happened is not invented, but may be left untold."""
    beside = _beside(run, slug, slug)
    off = (pl.col("figure") - pl.col("truth")).abs() > one_percent_of(pl.col("truth"))
    wrong = beside.filter(off.fill_null(pl.col("truth") != 0))
    assert beside["truth"].max() > 1  # type: ignore[operator]
    assert wrong.is_empty(), wrong


@pytest.mark.parametrize(
    "slug",
    ["key_on_h", "working_h", "in_service_h", "charging_h", "idle_h", "down_h", "planned_maintenance_h"],
)
def test_hours_exact_to_a_sample(run: tuple[Results, Truth], slug: str) -> None:
    beside = _beside(run, slug, slug).with_columns(sample_h=pl.col("vehicle").replace_strict(PERIOD_H))
    wrong = beside.filter(((pl.col("figure") - pl.col("truth")).abs() > pl.col("sample_h") + 1e-9).fill_null(True))
    assert wrong.is_empty(), wrong


def test_hours_at_the_plug_are_exact_up_to_the_last_row(run: tuple[Results, Truth]) -> None:
    """All but the last day: what follows its last row is not known yet."""
    beside = _beside(run, "plugged_idle_h", "plugged_idle_h").filter(pl.col("day") < pl.col("day").max())
    beside = beside.with_columns(sample_h=pl.col("vehicle").replace_strict(PERIOD_H))
    wrong = beside.filter(((pl.col("figure") - pl.col("truth")).abs() > pl.col("sample_h") + 1e-9).fill_null(True))
    assert beside.filter(pl.col("truth") > 1).height > 20
    assert wrong.is_empty(), wrong


def test_hours_of_every_day_add_up(run: tuple[Results, Truth]) -> None:
    results, pieces = run
    states = ("in_service", "charging", "idle", "parked", "down", "planned_maintenance", "unknown")
    sums = results.figures.filter(pl.col("metric").is_in([f"{state}_h" for state in states]))
    hours = sums.group_by("vehicle_id", "day").agg(pl.col("value").sum())
    assert hours["value"].to_list() == pytest.approx([24.0] * pieces.days.height)


def test_availability_is_what_it_was(run: tuple[Results, Truth]) -> None:
    beside = _beside(run, "availability_pct", "available")
    assert beside.filter(pl.col("figure") != 100 * pl.col("truth")).is_empty()
    assert 0 < beside["truth"].mean() < 1  # type: ignore[operator]


def test_trips_are_the_ones_driven(run: tuple[Results, Truth]) -> None:
    results, pieces = run
    ids = pl.DataFrame({"vehicle": list(VEHICLES), "vehicle_id": [n for n, _, _ in VEHICLES.values()]})
    driven = pieces.trips.join(ids.cast({"vehicle_id": pl.Int32}), on="vehicle")
    road = driven.filter(~pl.col("vehicle").str.contains("yard|ferry")).sort("vehicle_id", "starts_at")
    found = results.trips.join(road.select("vehicle_id").unique(), on="vehicle_id").sort("vehicle_id", "starts_at")
    assert found.height == road.height
    assert found["distance_km"].to_list() == pytest.approx(road["distance_km"].to_list(), rel=0.01)
    electric = road["energy_used_kwh"].is_not_null()
    used, truth = (trips.filter(electric)["energy_used_kwh"].to_list() for trips in (found, road))
    assert used == pytest.approx(truth, rel=0.01)  # the least is 23 kWh: counters tell far more than 1 % of it


def test_charging_sessions_are_the_ones_that_were(run: tuple[Results, Truth]) -> None:
    """Every session holds its stretches of charging (cut at the day, and at pauses) and their energy, to 1 %."""
    results, pieces = run
    ids = pl.DataFrame({"vehicle": list(VEHICLES), "vehicle_id": [n for n, _, _ in VEHICLES.values()]})
    stretches = pieces.sessions.join(ids.cast({"vehicle_id": pl.Int32}), on="vehicle")
    found = results.charge_sessions.with_row_index("session")
    held = stretches.join_asof(
        found.sort("vehicle_id", "starts_at").select("vehicle_id", "session", "ends_at", at="starts_at"),
        left_on="starts_at", right_on="at", by="vehicle_id", check_sortedness=False, suffix="_of_session",
    )  # fmt: skip
    minute = dt.timedelta(minutes=1)
    lost = held.filter((pl.col("ends_at") > pl.col("ends_at_of_session") + minute).fill_null(True))
    assert lost.is_empty(), lost
    truth = held.group_by("session").agg(truth=pl.col("energy_charged_kwh").sum())
    beside = found.join(truth, on="session", how="left").filter(pl.col("energy_charged_kwh") > 5)
    wrong = beside.filter(
        ((pl.col("energy_charged_kwh") - pl.col("truth")).abs() > 0.01 * pl.col("truth")).fill_null(True)
    )
    assert beside.height > 20
    assert wrong.is_empty(), wrong


def _padded(rows: pl.DataFrame, start: dt.datetime, end: dt.datetime) -> pl.DataFrame:
    """One vehicle's rows of a day with the padding that `PADDING` asks for."""
    before = rows.filter(pl.col("time") < start, pl.col("time") >= start - PADDING.reach).sort("time")
    after = rows.filter(pl.col("time") >= end, pl.col("time") < end + PADDING.reach).sort("time")
    return pl.concat(
        [
            before.filter(
                (pl.col("time") >= start - PADDING.before)
                | (pl.int_range(pl.len()) >= pl.len().cast(pl.Int64) - PADDING.rows)
            ),
            rows.filter(pl.col("time") >= start, pl.col("time") < end),
            after.filter((pl.col("time") < end + PADDING.after) | (pl.int_range(pl.len()) < PADDING.rows)),
        ]
    )


@pytest.mark.parametrize("name", ["truck-01", "bus-01", "van-01", "yard-01"])
def test_a_day_with_its_padding_gives_what_the_whole_gives(run: tuple[Results, Truth], name: str) -> None:
    number, pilot, _ = VEHICLES[name]
    logs = [log for log in simulate(days=DAYS, pilots=[pilot.id]) if log.vehicle.name == name]
    date = DEMO_FLEET.dates[2]
    day = OperatingDay(date, pilot.zone)
    downtimes = [down for down in DEMO_FLEET.incidents.downtimes if down.vehicle == name]
    whole = inputs_of(logs, {name: VEHICLES[name]}, [date], downtimes)
    alone = compute(dataclasses.replace(whole, telemetry=_padded(whole.telemetry, day.starts_at, day.ends_at)))
    mine = {"vehicle_id": number, "day": date}
    key = ["metric"]
    assert_frame_equal(alone.figures.sort(key), run[0].figures.filter(**mine).sort(key), rel_tol=1e-6, abs_tol=1e-6)
    assert_frame_equal(alone.trips, run[0].trips.filter(**mine), rel_tol=1e-6)
    assert_frame_equal(alone.charge_sessions, run[0].charge_sessions.filter(**mine), rel_tol=1e-6, abs_tol=1e-6)
