"""Charging sessions: from plugged in to unplugged, seen or not, at the depot and elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl
import pytest
from metrics_case import DAY, DAY_S, HOUR, at, day_rows, inputs, telemetry

from analytics.metrics import compute

MINUTE = ({"sample_period_s": 60.0},)
DEPOT = {"site_latitude_deg": 33.77, "site_longitude_deg": -118.22}


def _sessions(rows: pl.DataFrame, vehicle: dict[str, object] | None = None, **options: object) -> list[dict]:
    facts = {"sample_period_s": 60.0} | (vehicle or {})
    results = compute(inputs(rows, vehicles=(facts,), **options))  # type: ignore[arg-type]
    return list(results.charge_sessions.iter_rows(named=True))


def _night(power: Sequence[float], start_s: int = 6 * HOUR, **more: object) -> pl.DataFrame:
    """A row a minute: an hour parked, plugged in for as long as `power` (kW) lasts, an hour parked."""
    before, after = [0.0] * 60, [0.0] * 61
    plugged = [False] * 60 + [True] * len(power) + [False] * 61
    times = [start_s + 60 * n for n in range(len(plugged))]
    signals = {
        "battery_power_kw": [*before, *power, *after], "plugged_in": plugged, "ignition_on": [False] * len(plugged),
        "speed_kmh": [0.0] * len(plugged),
    }  # fmt: skip
    return telemetry(times, **(signals | more))  # type: ignore[arg-type]


def test_pause_and_resume_is_one_session_until_unplugged() -> None:
    # 2 h at 50 kW, 3 h of pause, 1 h at 50 kW. Each block of n rows a minute apart, with straight flanks to and from
    # zero, holds n x 50/60 kWh: 120 x 50/60 + 60 x 50/60 = 150 kWh. Power stays above 0.5 kW for whole minutes from
    # the block's first row to the row after its last: 120 + 60 minutes.
    (session,) = _sessions(_night([50.0] * 120 + [0.0] * 180 + [50.0] * 60))
    assert (session["starts_at"], session["ends_at"]) == (at(7 * HOUR), at(13 * HOUR))
    assert session["energy_charged_kwh"] == pytest.approx(150)
    assert session["charging_h"] == pytest.approx(3)
    assert session["power_kw"] == pytest.approx(50)
    assert (session["energy_method"], session["note"]) == ("measured", "power integral")
    assert session["grid_energy_kwh"] == pytest.approx(150 / 0.9)
    assert session["grid_method"] == "estimated"


def test_unplugging_ends_a_session_and_a_loose_cable_does_not() -> None:
    for out_min, sessions in ((5, 1), (11, 2)):
        rows = _night([50.0] * 60 + [0.0] * out_min + [50.0] * 60)
        out = pl.int_range(pl.len()).is_between(120, 119 + out_min)
        assert len(_sessions(rows.with_columns(plugged_in=pl.col("plugged_in") & ~out))) == sessions


def test_driving_to_another_plug_makes_two_sessions() -> None:
    rows = _night([50.0] * 60 + [0.0] * 4 + [50.0] * 60)
    away = pl.int_range(pl.len()).is_between(120, 123)
    moved = rows.with_columns(
        plugged_in=pl.col("plugged_in") & ~away, speed_kmh=pl.when(away).then(18.0).otherwise(0.0)
    )
    assert len(_sessions(moved)) == 2


def test_without_a_signal_of_the_cable_current_at_a_standstill_is_a_session() -> None:
    rows = _night([50.0] * 60 + [0.0] * 30 + [50.0] * 60).drop("plugged_in")
    (session,) = _sessions(rows)
    assert session["energy_charged_kwh"] == pytest.approx(100)
    assert (session["starts_at"], session["ends_at"]) == (at(7 * HOUR), at(7 * HOUR + 150 * 60))
    apart = _night([50.0] * 60 + [0.0] * 61 + [50.0] * 60).drop("plugged_in")
    assert len(_sessions(apart)) == 2


def test_braking_is_no_session() -> None:
    rows = _night([50.0] * 60).drop("plugged_in").with_columns(speed_kmh=pl.lit(40.0), ignition_on=pl.lit(True))
    assert _sessions(rows) == []


def test_a_cable_that_was_only_tried_is_no_session() -> None:
    assert _sessions(_night([0.0] * 120)) == []
    assert _sessions(_night([1.0, 1.0])) == []


def _asleep(**more: Sequence[object]) -> pl.DataFrame:
    """Parked at 20 %, silent from 01:00 to 09:00 of the day, then parked at 80 %."""
    times = [*range(0, HOUR + 1, 60), *range(9 * HOUR, 10 * HOUR + 1, 60)]
    half = len(times) // 2
    signals: dict[str, Sequence[object]] = {
        "battery_soc_pct": [20.0] * half + [80.0] * half, "ignition_on": [False] * 2 * half,
        "speed_kmh": [0.0] * 2 * half, "odometer_km": [100.0] * 2 * half,
    }  # fmt: skip
    return telemetry(times, **(signals | dict(more)))


def test_charging_while_the_gateway_slept_is_told_by_state_of_charge_and_estimated() -> None:
    (session,) = _sessions(_asleep())
    assert session["energy_charged_kwh"] == pytest.approx(60)  # 60 points of 100 kWh
    assert session["energy_method"] == "estimated"
    assert session["note"] == "SOC x 100.0 kWh; charged unobserved"
    assert (session["starts_at"], session["ends_at"]) == (at(HOUR), at(9 * HOUR))
    assert (session["soc_start_pct"], session["soc_end_pct"]) == (20, 80)


def test_charging_while_the_gateway_slept_is_told_by_the_counter_and_estimated() -> None:
    half = 61
    (session,) = _sessions(_asleep(energy_charged_kwh=[1000.0] * half + [1058.5] * half))
    assert session["energy_charged_kwh"] == pytest.approx(58.5)
    assert session["energy_method"] == "estimated"
    assert session["note"] == "counter; charged unobserved"


def test_a_sleep_at_the_plug_belongs_to_its_session() -> None:
    half = 61
    plugged = [False] * 30 + [True] * (half - 30) + [True] * 20 + [False] * (half - 20)
    (session,) = _sessions(_asleep(plugged_in=plugged))
    assert (session["starts_at"], session["ends_at"]) == (at(30 * 60), at(9 * HOUR + 20 * 60))
    assert session["energy_charged_kwh"] == pytest.approx(60)


def test_partly_observed_charging_is_mixed() -> None:
    # Seen: 30 minutes at 20 kW up to the silence, 10 kWh. Unseen: 60 points of 100 kWh.
    half = 61
    plugged = [False] * 31 + [True] * (half - 31) + [False] * half
    power = [0.0] * 31 + [20.0] * (half - 31) + [0.0] * half
    (session,) = _sessions(_asleep(plugged_in=plugged, battery_power_kw=power))
    assert session["energy_method"] == "mixed"
    assert session["energy_charged_kwh"] == pytest.approx(60 + 10, abs=0.4)


def test_without_any_measure_of_energy_it_is_unknown_and_not_zero() -> None:
    rows = _night([0.0] * 60).drop("battery_power_kw").with_columns(charging=pl.col("plugged_in"))
    (session,) = _sessions(rows)
    assert session["energy_charged_kwh"] is None
    assert session["grid_energy_kwh"] is None
    assert session["energy_method"] is None
    assert session["charging_h"] == pytest.approx(1)
    assert session["note"] == "no counter, power or state of charge"


def test_a_meter_gives_the_grid_energy() -> None:
    count = 60 + 120 + 61
    reading = [500.0] * 60 + [500 + n for n in range(120)] + [620.0] * 61
    (session,) = _sessions(_night([54.0] * 120, grid_energy_kwh=reading))
    assert len(reading) == count
    assert session["grid_energy_kwh"] == pytest.approx(120)
    assert session["grid_method"] == "measured"


def test_what_is_used_at_the_plug_is_part_of_what_the_session_bought() -> None:
    # 2 h at 50 kW into the pack, 6 kW of heating for the session's three hours: 120 x 50/60 = 100 kWh and 18 kWh.
    rows = _night([50.0] * 120 + [0.0] * 60, auxiliary_power_kw=[6.0] * (60 + 180 + 61))
    (session,) = _sessions(rows, {"charger_efficiency": 0.9})
    assert session["energy_charged_kwh"] == pytest.approx(100)
    assert session["grid_energy_kwh"] == pytest.approx(118 / 0.9)
    figures = compute(inputs(rows, vehicles=({"sample_period_s": 60.0, "charger_efficiency": 0.9},))).figures
    assert figures.filter(metric="grid_energy_kwh")["value"].item() == pytest.approx(session["grid_energy_kwh"])


def test_the_chargers_output_tells_what_the_session_used() -> None:
    # The charger gave 130 kWh, of which 100 reached the pack.
    output = [500.0] * 60 + [500 + 130 * n / 120 for n in range(120)] + [630.0] * 61
    (session,) = _sessions(_night([50.0] * 120, charger_output_energy_kwh=output), {"charger_efficiency": 0.9})
    assert session["energy_charged_kwh"] == pytest.approx(100)
    assert session["grid_energy_kwh"] == pytest.approx(130 / 0.9)


@pytest.mark.parametrize(
    ("minutes", "power_kw", "latitude_deg", "kind", "place"),
    [
        (300, 20.0, 33.77, "overnight", "depot"),  # 5 h at the depot
        (300, 90.0, 33.77, "overnight", "depot"),  # a rest, however strong the charger
        (180, 20.0, 33.77, "opportunity", "depot"),  # 3 h at the depot
        (30, 55.0, 33.77, "fast", "depot"),  # 55 kW fills more than half of 100 kWh an hour
        (30, 45.0, 33.77, "opportunity", "depot"),
        (30, 55.0, 34.5, "fast", "away"),
        (300, 20.0, 34.5, "opportunity", "away"),  # 5 h, but not at the depot
        (30, 45.0, 34.5, "opportunity", "away"),
        (300, 20.0, 33.7785, "overnight", "depot"),  # 0.0085 degrees north: 0.95 km
        (300, 20.0, 33.7795, "opportunity", "away"),  # 0.0095 degrees north: 1.06 km
        (300, 20.0, None, "overnight", None),
    ],
)
def test_kinds_by_place_and_power(
    minutes: int, power_kw: float, latitude_deg: float | None, kind: str, place: str | None
) -> None:
    rows = _night([power_kw] * minutes).with_columns(
        latitude_deg=pl.lit(latitude_deg, pl.Float64), longitude_deg=pl.lit(-118.22)
    )
    (session,) = _sessions(rows, DEPOT)
    assert (session["kind"], session["place"]) == (kind, place)


def test_half_of_a_large_battery_an_hour_takes_more_power_at_the_depot() -> None:
    rows = _night([150.0] * 60).with_columns(latitude_deg=pl.lit(33.77), longitude_deg=pl.lit(-118.22))
    (session,) = _sessions(rows, DEPOT | {"usable_battery_kwh": 400.0})  # 150 kW is less than 0.5 x 400
    assert session["kind"] == "opportunity"


def test_places_over_the_date_line_are_near() -> None:
    rows = _night([20.0] * 300).with_columns(latitude_deg=pl.lit(-16.5), longitude_deg=pl.lit(-179.999))
    (session,) = _sessions(rows, {"site_latitude_deg": -16.5, "site_longitude_deg": 179.999})
    assert session["place"] == "depot"


def test_a_session_over_the_cut_is_whole_under_the_day_it_starts_and_its_energy_is_split() -> None:
    # From one hour before the cut to two hours after it: 181 rows a minute apart at 50 kW hold 181 x 50/60 kWh.
    rows = _night([50.0] * 181, start_s=DAY_S - 2 * HOUR)
    both = compute(inputs(rows, vehicles=MINUTE, days=day_rows(2)))
    (session,) = both.charge_sessions.iter_rows(named=True)
    assert session["day"] == DAY
    assert session["energy_charged_kwh"] == pytest.approx(181 * 50 / 60)
    days = both.figures.filter(metric="energy_charged_kwh").sort("day")["value"].to_list()
    # Before the cut: 60 rows and the flank that leads to the first of them, half a row; after it, 121 less half.
    assert days == pytest.approx([60.5 * 50 / 60, 120.5 * 50 / 60])
    for day, sessions in ((day_rows(2)[:1], 1), (day_rows(2)[1:], 0)):
        assert compute(inputs(rows, vehicles=MINUTE, days=day)).charge_sessions.height == sessions


def test_sessions_add_up_to_the_energy_charged() -> None:
    rows = _night([50.0] * 60 + [0.0] * 90 + [22.0] * 200)
    results = compute(inputs(rows, vehicles=MINUTE))
    total = results.figures.filter(metric="energy_charged_kwh")["value"].item()
    assert results.charge_sessions["energy_charged_kwh"].sum() == pytest.approx(total)


def test_sessions_of_several_vehicles_do_not_touch() -> None:
    one = _night([50.0] * 60)
    rows = pl.concat([one, one.with_columns(vehicle_id=pl.lit(2, pl.Int32))])
    results = compute(
        inputs(rows, vehicles=({"sample_period_s": 60.0}, {"sample_period_s": 60.0, "vehicle_id": 2}),
               days=day_rows(1, vehicles=(1, 2)))
    )  # fmt: skip
    assert results.charge_sessions["vehicle_id"].to_list() == [1, 2]
    assert results.charge_sessions["starts_at"].to_list() == [at(7 * HOUR)] * 2


def test_row_order_does_not_matter() -> None:
    rows = _night([50.0] * 60 + [0.0] * 90 + [22.0] * 200)
    shuffled = rows.sample(fraction=1, shuffle=True, seed=1)
    first, second = (compute(inputs(r, vehicles=MINUTE)).charge_sessions for r in (rows, shuffled))
    assert first.equals(second)
    assert first["ends_at"].item() - first["starts_at"].item() == timedelta(minutes=350)
