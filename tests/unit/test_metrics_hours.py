"""Hours by state: priorities, silences, lamps, days of 23 and 25 hours."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from metrics_case import DAY, DAY_S, HOUR, Day, day_rows, inputs, one_day, telemetry

from analytics.metrics import compute

TIMES = list(range(0, DAY_S + 1, 60))
N = len(TIMES)
MINUTE = ({"sample_period_s": 60.0},)


def _signals(**spells: list[tuple[float, float]]) -> dict[str, list[object]]:
    """Flags that hold within the given hours, on minute rows through the day."""
    return {name: [any(a * HOUR <= t < b * HOUR for a, b in spans) for t in TIMES] for name, spans in spells.items()}


def _day(moving: list[tuple[float, float]] = (), lamp: list[tuple[float, float]] = (), **more: object) -> Day:  # type: ignore[assignment]
    options = {k: more.pop(k) for k in ("planned", "maintenance") if k in more}
    flags = _signals(moving=list(moving), red_stop_lamp=list(lamp), **more)  # type: ignore[arg-type]
    flags["speed_kmh"] = [36.0 if moves else 0.0 for moves in flags.pop("moving")]
    return one_day(telemetry(TIMES, **flags), vehicles=MINUTE, **options)


def test_states_by_priority_add_up_to_the_day() -> None:
    day = _day(
        moving=[(2, 6)],
        ignition_on=[(1, 8)],
        plugged_in=[(10, 20)],
        charging=[(11, 15)],
        maintenance=[(21 * HOUR, 22 * HOUR, True, "inspection"), (21.5 * HOUR, 23 * HOUR, False, "vehicle")],
    )
    assert day.hours() == pytest.approx(
        {"idle": 3, "in_service": 4, "charging": 4, "parked": 11, "planned_maintenance": 1, "down": 1}
    )
    assert day["key_on_h"] == pytest.approx(7)
    assert day.part("parked_h", "coverage_pct") == pytest.approx(100)


def test_stops_of_a_minute_are_service_and_longer_ones_are_idle() -> None:
    times = list(range(0, 1000, 10))
    speed = [0.0 if 300 <= t < 360 or 600 <= t < 670 else 36.0 for t in times]
    day = one_day(telemetry(times, speed_kmh=speed, ignition_on=[True] * 100))
    assert day["idle_h"] == pytest.approx(70 / 3600)
    assert day["in_service_h"] == pytest.approx((990 - 70) / 3600)


def test_working_counts_as_service_for_equipment_only() -> None:
    times = list(range(0, 3601, 10))
    rows = telemetry(
        times,
        ignition_on=[True] * 361,
        speed_kmh=[0.0] * 361,
        motor_power_kw=[15.0 if t < 1800 else 0.5 for t in times],
    )
    tractor, truck = one_day(rows, vehicles=({"category": "equipment"},)), one_day(rows)
    assert (tractor["working_h"], tractor["in_service_h"]) == (pytest.approx(0.5), pytest.approx(0.5))
    assert (truck["working_h"], truck["idle_h"]) == (None, pytest.approx(1.0))


def test_power_take_off_is_work() -> None:
    times = list(range(0, 3601, 10))
    rows = telemetry(times, ignition_on=[True] * 361, pto_on=[t < 900 for t in times])
    assert one_day(rows, vehicles=({"category": "equipment"},))["working_h"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"odometer_km": 100.0, "battery_soc_pct": 79.0}, {"parked": 8}),
        ({"odometer_km": 100.0}, {"parked": 8}),
        ({"battery_soc_pct": 78.0}, {"parked": 8}),
        ({"odometer_km": 130.0, "battery_soc_pct": 60.0}, {"in_service": 8}),
        ({"battery_soc_pct": 60.0}, {"in_service": 8}),
        ({"odometer_km": 100.0, "battery_soc_pct": 95.0}, {"parked": 8}),
        ({"odometer_km": 100.0, "battery_soc_pct": 95.0, "charging": True}, {"charging": 8}),
        ({}, {"unknown": 8}),
    ],
)
def test_a_silent_night_is_judged_by_its_far_sides(after: dict[str, object], expected: dict[str, float]) -> None:
    """Key-off rows each minute to 08:00 h and from 16:00 h, silent in between."""
    before = {"odometer_km": 100.0, "battery_soc_pct": 80.0, "charging": False}
    times = [t for t in TIMES if t <= 8 * HOUR or t >= 16 * HOUR]
    signals = {name: [before[name] if t <= 8 * HOUR else value for t in times] for name, value in after.items()}
    day = one_day(telemetry(times, ignition_on=[False] * len(times), **signals), vehicles=MINUTE)
    hours = day.hours()
    outside = 16 if "charging" not in after else 8
    if "charging" in after:
        expected = {"charging": expected["charging"] + 8}
    hours["parked"] = hours.get("parked", 0) - outside
    assert {state: value for state, value in hours.items() if value} == pytest.approx(expected)


def test_a_gateway_that_sleeps_at_key_off_does_not_make_nights_unknown() -> None:
    times = [t for t in TIMES if t <= 8 * HOUR or t >= 16 * HOUR]
    rows = telemetry(times, ignition_on=[t < 7 * HOUR or t >= 16 * HOUR for t in times], speed_kmh=[36.0] * len(times))
    rows = rows.with_columns(speed_kmh=pl.when("ignition_on").then("speed_kmh").otherwise(0.0))
    sleeper = one_day(rows, vehicles=({"sample_period_s": 60.0, "sleeps_at_key_off": True},))
    assert sleeper.hours() == pytest.approx({"in_service": 15, "parked": 9})
    assert one_day(rows, vehicles=MINUTE).hours() == pytest.approx({"in_service": 15, "parked": 1, "unknown": 8})


def test_a_sleeping_gateway_not_heard_since_is_parked_for_a_day() -> None:
    rows = telemetry([0, 60], ignition_on=[True, False])
    results = compute(inputs(rows, vehicles=({"sample_period_s": 60.0, "sleeps_at_key_off": True},), days=day_rows(3)))
    assert Day(results)["parked_h"] == pytest.approx(24 - 60 / 3600)
    assert Day(results, day=DAY + timedelta(days=2)).hours() == {"unknown": 24.0}


def test_a_vehicle_silent_for_a_week_is_unknown() -> None:
    rows = telemetry([0, 7 * DAY_S], odometer_km=[100, 100], battery_soc_pct=[80, 80])
    results = compute(inputs(rows, days=day_rows(7), planned=[(30 * HOUR, 38 * HOUR)]))
    for n in range(7):
        assert Day(results, day=DAY + timedelta(days=n)).hours() == {"unknown": 24.0}
    second = Day(results, day=DAY + timedelta(days=1))
    assert second["availability_pct"] is None
    assert (second.part("availability_pct", "low"), second.part("availability_pct", "high")) == (0, 100)


def test_plugged_in_carries_through_silence_and_ends_with_movement() -> None:
    times = list(range(0, 7201, 60))
    plugged = [True, *[None] * 120]
    speed = [36.0 if t >= 3600 else 0.0 for t in times]
    rows = telemetry(
        times, plugged_in=plugged, charging=[True, *[None] * 120], speed_kmh=speed, ignition_on=[None] * 121
    )
    day = one_day(rows, vehicles=MINUTE)
    assert day["charging_h"] == pytest.approx(1)
    assert day["in_service_h"] == pytest.approx(1)


def test_a_red_lamp_makes_down_only_standing_and_only_in_planned_service() -> None:
    day = _day(moving=[(6, 8)], ignition_on=[(6, 10)], lamp=[(7, 24)], planned=[(6 * HOUR, 12 * HOUR)])
    assert day["down_h"] == pytest.approx(4)  # 08 to 12; it drove on with the lamp lit until 08
    assert day["in_service_h"] == pytest.approx(2)
    assert _day(ignition_on=[(6, 10)], lamp=[(0, 24)])["down_h"] == 0


def test_an_open_work_order_lasts() -> None:
    day = _day(maintenance=[(6 * HOUR, None, False, "vehicle")])
    assert day.hours() == pytest.approx({"parked": 6, "down": 18})


def test_overlapping_records_count_once() -> None:
    day = _day(maintenance=[(0, 4 * HOUR, False, "vehicle"), (2 * HOUR, 5 * HOUR, False, "charger")])
    assert day["down_h"] == pytest.approx(5)


@pytest.mark.parametrize(("start", "hours"), [(date(2026, 3, 7), 23), (date(2026, 10, 31), 25), (date(2026, 3, 8), 24)])
def test_days_of_23_and_25_hours(start: date, hours: int) -> None:
    zone = ZoneInfo("America/Los_Angeles")
    bounds = [
        datetime(d.year, d.month, d.day, 3, tzinfo=zone).astimezone(UTC) for d in (start, start + timedelta(days=1))
    ]
    day = {"vehicle_id": 1, "day": start, "pilot_id": 1, "starts_at": bounds[0], "ends_at": bounds[1]}
    stamps = pl.datetime_range(bounds[0] - timedelta(hours=2), bounds[1] + timedelta(hours=2), "60s", eager=True)
    rows = pl.DataFrame({"time": stamps}).with_columns(
        vehicle_id=pl.lit(1, pl.Int32), speed_kmh=pl.lit(36.0), ignition_on=pl.lit(True)
    )
    figures = Day(compute(inputs(rows, vehicles=MINUTE, days=[day])), day=start)
    assert figures.hours() == pytest.approx({"in_service": hours})
    assert figures["distance_km"] == pytest.approx(36 * hours)
    assert figures["key_on_h"] == pytest.approx(hours)


def test_hour_meter_counts_where_nothing_was_heard() -> None:
    times = list(range(0, 3601, 60))
    seen = telemetry(times, ignition_on=[True] * 61, operating_hours_h=[100 + t / 3600 for t in times])
    later = telemetry([3 * HOUR], ignition_on=[False], operating_hours_h=[103.0])
    day = one_day(pl.concat([seen, later]), vehicles=MINUTE)
    assert day["key_on_h"] == pytest.approx(3)
    assert day.part("key_on_h", "note") == "hour meter"
    assert one_day(seen, vehicles=MINUTE)["key_on_h"] == pytest.approx(1)


def test_key_on_hours_cover_no_silence_in_which_the_vehicle_was_driven() -> None:
    """An hour of 40 km seen, 10 or 80 km in a silence of an hour: four fifths seen is scaled, a third is not."""
    for unseen, hours, coverage in ((10, 1.25, 80), (80, 1.0, 100 / 3)):
        times = [*range(0, HOUR + 1, 60), 2 * HOUR]
        counts = [*(t / 90 for t in times[:-1]), 40 + unseen]
        counters = {"odometer_km": counts, "energy_discharged_kwh": counts, "energy_regenerated_kwh": [0.0] * 62}
        rows = telemetry(times, ignition_on=[*[True] * 60, False, False], **counters)
        day = one_day(rows, vehicles=MINUTE)
        assert day.part("key_on_h", "coverage_pct") == pytest.approx(coverage)
        assert day["key_on_h"] == pytest.approx(hours)
        assert (day["energy_per_hour_kwh"] is None) == (coverage < 80)


def test_a_heartbeat_a_minute_beside_rows_a_second_is_contact() -> None:
    """Ten minutes of rows each second, then a heartbeat a minute until an hour is full, then an hour of nothing."""
    times = [*range(600), *range(600, HOUR + 1, 60), 2 * HOUR]
    day = one_day(telemetry(times, ignition_on=[t < 600 for t in times]), vehicles=({"sample_period_s": 1.0},))
    assert day["connectivity_pct"] == pytest.approx(100 / 24)
    assert day.part("connectivity_pct", "coverage_pct") == 100


def test_connectivity_by_the_declared_policy() -> None:
    """Key on for 10 h, of which rows come in 8; silent otherwise."""
    times = [t for t in TIMES if t < 4 * HOUR or 6 * HOUR <= t < 10 * HOUR]
    odometer = [t / 100 for t in times]
    rows = telemetry(times, ignition_on=[t != times[-1] for t in times], odometer_km=odometer)
    sleeper = one_day(rows, vehicles=({"sample_period_s": 60.0, "sleeps_at_key_off": True},))
    assert sleeper["connectivity_pct"] == pytest.approx(100 * 8 / 10, rel=0.01)
    assert one_day(rows, vehicles=MINUTE)["connectivity_pct"] == pytest.approx(100 * 8 / 24, rel=0.01)
