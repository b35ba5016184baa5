"""Trips: by key, by speed, whole under the day they start."""

from datetime import timedelta

import polars as pl
import pytest
from metrics_case import DAY, DAY_S, HOUR, Day, at, day_rows, inputs, one_day, telemetry

from analytics.metrics import compute

SECOND = ({"sample_period_s": 1.0},)


def _speed_only(*spells: tuple[int, int, float], every: int = 1, **signals: object) -> pl.DataFrame:
    """Spells of (start, end, km/h), each a stretch of rows; nothing in between."""
    times = [t for a, b, _ in spells for t in range(a, b + 1, every)]
    speeds = [v for a, b, v in spells for _ in range(a, b + 1, every)]
    return telemetry(times, speed_kmh=speeds, **signals)  # type: ignore[arg-type]


def test_two_recordings_on_one_day_are_two_trips() -> None:
    day = one_day(_speed_only((0, 600, 36), (745, 1345, 18)), vehicles=SECOND)
    assert day.trips["distance_km"].to_list() == pytest.approx([6.0, 3.0])
    assert day.trips["starts_at"].to_list() == [at(0), at(745)]
    assert day.trips["ends_at"].to_list() == [at(600), at(1345)]


def test_a_hole_of_two_minutes_does_not_end_a_trip() -> None:
    assert one_day(_speed_only((0, 600, 36), (720, 1320, 36)), vehicles=SECOND).trips.height == 1


@pytest.mark.parametrize(("stop", "trips"), [(298, 1), (301, 2)])
def test_without_a_key_a_standstill_of_five_minutes_ends_a_trip(stop: int, trips: int) -> None:
    rows = _speed_only((0, 600, 36), (601, 600 + stop, 0), (601 + stop, 1200 + stop, 36))
    assert one_day(rows, vehicles=SECOND).trips.height == trips


def test_short_trips_are_left_out() -> None:
    assert one_day(_speed_only((0, 58, 36), (59, 500, 0)), vehicles=SECOND).trips.is_empty()
    assert one_day(_speed_only((0, 100, 3), (101, 500, 0)), vehicles=SECOND).trips.is_empty()


def _keyed(off_s: int, **more: object) -> Day:
    times = list(range(0, 3600, 10))
    keys = [not 1800 <= t < 1800 + off_s for t in times]
    rows = telemetry(times, ignition_on=keys, speed_kmh=[36.0 if k else 0.0 for k in keys], **more)  # type: ignore[arg-type]
    return one_day(rows)


def test_trips_run_from_key_on_to_key_off() -> None:
    assert _keyed(110).trips.height == 1
    day = _keyed(600)
    assert day.trips["starts_at"].to_list() == [at(0), at(2400)]
    assert day.trips["ends_at"].to_list() == [at(1800), at(3590)]


def test_trip_energy_and_charge() -> None:
    day = _keyed(600, battery_power_kw=[-36.0] * 360, battery_soc_pct=[90 - n / 10 for n in range(360)])
    assert day.trips["energy_used_kwh"].to_list() == pytest.approx([18.0, 11.9])
    assert day.trips["soc_start_pct"].to_list() == pytest.approx([90, 66])
    assert day.trips["soc_end_pct"].to_list() == pytest.approx([72, 54.1])


def test_trip_energy_by_charge_and_by_counter() -> None:
    by_charge = _keyed(0, battery_soc_pct=[90 - n / 10 for n in range(360)])
    assert by_charge.trips["energy_used_kwh"].to_list() == pytest.approx([35.9])
    by_counter = _keyed(
        0, battery_soc_pct=[90.0] * 360, energy_discharged_kwh=[n / 5 for n in range(360)],
        energy_regenerated_kwh=[n / 50 for n in range(360)],
    )  # fmt: skip
    assert by_counter.trips["energy_used_kwh"].to_list() == pytest.approx([359 * 0.18])


def test_a_trip_over_the_cut_is_listed_whole_under_the_day_it_starts() -> None:
    rows = _speed_only((DAY_S - HOUR, DAY_S + HOUR, 36), every=10)
    both = compute(inputs(rows, days=day_rows(2)))
    assert Day(both).trips["distance_km"].to_list() == pytest.approx([72])
    assert Day(both, day=DAY + timedelta(days=1)).trips.is_empty()
    for listed, trips in ((day_rows(2)[:1], 1), (day_rows(2)[1:], 0)):
        assert compute(inputs(rows, days=listed)).trips.height == trips


def test_equipment_works_without_distance() -> None:
    rows = telemetry(range(0, 1000, 10), ignition_on=[True] * 100, speed_kmh=[0.0] * 100)
    assert one_day(rows, vehicles=({"category": "equipment"},)).trips.height == 1
    assert one_day(rows).trips.is_empty()


def test_plugging_in_ends_a_trip() -> None:
    times = list(range(0, 3600, 10))
    rows = telemetry(
        times, ignition_on=[True] * 360, plugged_in=[t >= 1800 for t in times],
        speed_kmh=[36.0 if t < 1700 else 0.0 for t in times],
    )  # fmt: skip
    trips = one_day(rows).trips
    assert trips.height == 1
    assert trips["ends_at"].item() <= at(1800)
