"""Readings that cannot be true: flagged, counted by day and signal, and left out of what is computed."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_case import DAY, DAY_S, HOUR, Day, day_rows, inputs, telemetry

from analytics.metrics import SIGNALS as READ
from analytics.metrics import Results, compute, rules
from analytics.metrics.plausible import MEANINGS, NO_RATE, PLAUSIBLE, SPIKE_STEP, Reason
from analytics.metrics.samples import COUNTERS, PLACE
from schemas.signals import SIGNALS, Kind
from tests import campaign

TIMES = list(range(0, HOUR + 1, 10))
N = len(TIMES)
SPEED = [36.0 + 9 * (n % 3) for n in range(N)]  # it varies: 36, 45, 54 km/h


def _computed(times: list[int] = TIMES, days: int = 1, **signals: object) -> Results:
    facts = signals.pop("vehicle", {})
    return compute(inputs(telemetry(times, **signals), vehicles=(facts,), days=day_rows(days)))  # type: ignore[arg-type]


def _found(results: Results) -> list[tuple[str, str, int, bool]]:
    return list(results.set_aside.select("signal", "reason", "samples", "left_out").iter_rows())


def _with(values: list[float], **changes: float) -> list[float]:
    return [changes.get(f"at{n}", value) for n, value in enumerate(values)]


def test_every_number_that_is_read_has_limits_within_the_catalogue() -> None:
    numbers = {name for name in READ if SIGNALS[name].kind is Kind.FLOAT}
    assert PLAUSIBLE.keys() == numbers
    for name, known in PLAUSIBLE.items():
        assert SIGNALS[name].low <= known.low < known.high <= SIGNALS[name].high, name
        assert all(known.low < high <= known.high for high in known.high_for.values()), name
    assert MEANINGS.keys() == set(Reason)


def test_every_number_that_is_read_has_a_rate_or_a_reason_for_none() -> None:
    """A fastest change, for counters a greatest rise in an hour, or words; never two of them."""
    rated = {name for name, known in PLAUSIBLE.items() if known.per_s is not None}
    ways = [rated, set(COUNTERS), set(NO_RATE)]
    assert set.union(*ways) == PLAUSIBLE.keys()
    assert sum(len(way) for way in ways) == len(PLAUSIBLE)
    assert rated == SPIKE_STEP.keys()
    assert rules.MAX_RATE_PER_H.keys() <= set(COUNTERS)
    assert min(rules.DEFAULT_MAX_RATE_PER_H, *rules.MAX_RATE_PER_H.values()) > 0
    assert all(NO_RATE.values())


def test_a_value_out_of_limits_is_left_out() -> None:
    """2,900 kW for one reading: the line between its neighbours stands in."""
    power = [-35.0 - 2 * (n % 2) for n in range(N)]
    results = _computed(speed_kmh=SPEED, battery_power_kw=_with(power, at100=2900.0), ignition_on=[True] * N)
    assert _found(results) == [("battery_power_kw", "out of limits", 1, True)]
    assert Day(results)["energy_used_by_power_kwh"] == pytest.approx(36, abs=0.01)


@pytest.mark.parametrize("at", [range(100, 140), range(N)])
def test_what_is_no_number_was_not_read(at: range) -> None:
    power = [-35.0 - 2 * (n % 2) for n in range(N)]
    others: dict[str, object] = {"speed_kmh": SPEED, "ignition_on": [True] * N}
    told = [
        _computed(battery_power_kw=[nothing if n in at else kw for n, kw in enumerate(power)], **others)
        for nothing in (None, float("nan"))
    ]
    assert told[1].figures.equals(told[0].figures)
    assert _found(told[1]) == []


def test_limits_are_those_of_the_category() -> None:
    speed = [36.0] * 300 + [80.0] * (N - 300)
    assert _found(_computed(speed_kmh=speed)) == []
    (found,) = _found(_computed(speed_kmh=speed, vehicle={"category": "equipment"}))
    assert found == ("speed_kmh", "out of limits", N - 300, True)


def test_an_unlikely_value_is_counted_and_used() -> None:
    results = _computed(speed_kmh=[130.0] * N)
    assert _found(results) == [("speed_kmh", "unlikely", N, False)]
    assert Day(results)["distance_km"] == pytest.approx(130)


def test_a_spike_is_left_out_and_a_step_is_not() -> None:
    every_s = list(range(600))
    spike = _computed(every_s, battery_voltage_v=_with([650.0] * 600, at300=900.0), battery_current_a=[-100.0] * 600)
    assert _found(spike) == [("battery_voltage_v", "spike", 1, True)]
    assert Day(spike)["energy_used_by_power_kwh"] == pytest.approx(65 * 599 / 3600, rel=1e-3)
    step = _computed(every_s, battery_voltage_v=[650.0] * 300 + [900.0] * 300, battery_current_a=[-100.0] * 600)
    assert _found(step) == []


def test_a_spike_of_state_of_charge_is_no_charging() -> None:
    soc = _with([80.0] * N, at200=20.0)
    results = _computed(speed_kmh=[0.0] * N, ignition_on=[False] * N, battery_soc_pct=soc)
    assert _found(results) == [("battery_soc_pct", "spike", 1, True)]
    assert Day(results)["energy_used_by_soc_kwh"] == pytest.approx(0)
    assert not Day(results)["energy_charged_kwh"]


@pytest.mark.parametrize(("astray", "found"), [(0.0, True), (900.0, True), (24.0, False)])
def test_a_spike_of_the_mass_in_the_tanks_is_no_hydrogen_used(astray: float, found: bool) -> None:
    """A gauge that wakes up with the key tells 0 or 900 kg; one that shakes by 4 kg is believed."""
    mass = _with([30 - t / 1200 for t in TIMES], at180=astray)
    results = _computed(speed_kmh=SPEED, ignition_on=[n >= 180 for n in range(N)], hydrogen_mass_kg=mass)
    assert _found(results) == ([("hydrogen_mass_kg", "spike", 1, True)] if found else [])
    if found:
        assert Day(results)["hydrogen_used_kg"] == pytest.approx(3)


def test_refuelling_between_two_readings_is_no_spike() -> None:
    """40 kg within ten seconds: they stay."""
    mass = [(30 if n < 180 else 70) - t / 1200 for n, t in enumerate(TIMES)]
    results = _computed(speed_kmh=[0.0 if 179 <= n <= 181 else 36.0 for n in range(N)], hydrogen_mass_kg=mass)
    assert _found(results) == []
    assert Day(results)["hydrogen_used_kg"] == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("name", sorted(NO_RATE.keys() - set(PLACE)))
def test_a_value_that_steps_and_returns_is_kept_where_that_may_be(name: str) -> None:
    known = PLAUSIBLE[name]
    peak = 0.9 * min(known.high, known.likely[1])
    assert _found(_computed(list(range(600)), **{name: _with([1.0] * 600, at300=peak)})) == []


def test_a_stuck_sensor_is_left_out_while_the_speed_changes() -> None:
    """Power reads -36 kW for the first half hour whatever the speed; then it lives."""
    power = [-36.0 if t < 1800 else -20.0 - SPEED[n] for n, t in enumerate(TIMES)]
    results = _computed(speed_kmh=SPEED, ignition_on=[True] * N, battery_power_kw=power)
    assert _found(results) == [("battery_power_kw", "stuck", 180, True)]
    assert Day(results).part("energy_used_by_power_kwh", "coverage_pct") == pytest.approx(50)
    assert Day(results)["energy_per_hour_kwh"] is None


def test_a_value_that_stays_while_the_vehicle_stands_or_cruises_is_not_stuck() -> None:
    for speed in (0.0, 80.0):
        assert _found(_computed(speed_kmh=[speed] * N, battery_power_kw=[-36.0] * N)) == []


def test_no_battery_current_is_a_fault_of_an_electric_vehicle_and_none_of_a_hybrid() -> None:
    still = {"speed_kmh": SPEED, "battery_current_a": [0.0] * N, "battery_voltage_v": [650.0] * N}
    assert _found(_computed(**still)) == [("battery_current_a", "stuck", N, True)]
    assert _found(_computed(**still, vehicle={"powertrain": "phev"})) == []


def test_rows_of_another_time_are_left_out_whole() -> None:
    """Twenty rows of last week among today's: odometer and energy counter fall back and leap up again."""
    odometer = [1000 + t / 100 for t in TIMES]
    counter = [500 + t / 90 for t in TIMES]
    speed = [36.0] * N
    for n in range(100, 120):
        odometer[n], counter[n], speed[n] = 200 + n / 10, 100 + n / 9, 140.0
    results = _computed(
        odometer_km=odometer, energy_discharged_kwh=counter, energy_regenerated_kwh=[0.0] * N, speed_kmh=speed,
        ignition_on=[True] * N,
    )  # fmt: skip
    assert ("time", "clock fault", 20, True) in _found(results)
    assert Day(results)["distance_km"] == pytest.approx(36)
    assert Day(results)["energy_used_kwh"] == pytest.approx(40)


def test_rows_of_another_time_taking_turns_with_the_true_ones() -> None:
    """Every second row of ten minutes is of last week."""
    astray = set(range(101, 161, 2))
    odometer = [(200 if n in astray else 1000) + t / 100 for n, t in enumerate(TIMES)]
    counter = [(100 if n in astray else 500) + t / 90 for n, t in enumerate(TIMES)]
    results = _computed(odometer_km=odometer, energy_discharged_kwh=counter, ignition_on=[True] * N)
    assert _found(results) == [("time", "clock fault", 30, True)]
    assert Day(results)["distance_km"] == pytest.approx(36)


def test_one_counter_out_of_order_loses_its_own_readings_alone() -> None:
    """An odometer that reads zero for ten rows after a start."""
    odometer = [0.0 if 100 <= n < 110 else 1000 + t / 100 for n, t in enumerate(TIMES)]
    results = _computed(odometer_km=odometer, speed_kmh=[36.0] * N, ignition_on=[True] * N)
    assert _found(results) == [("odometer_km", "counter out of order", 10, True)]
    assert Day(results)["distance_km"] == pytest.approx(36)


def test_a_counter_that_starts_anew_is_not_out_of_order() -> None:
    results = _computed(odometer_km=[(1000 if t < 1800 else -18) + t / 100 for t in TIMES], speed_kmh=[36.0] * N)
    assert _found(results) == []
    assert Day(results)["distance_km"] == pytest.approx(36, abs=0.11)  # but for the step in which it started anew


def test_fixes_at_zero_far_off_and_imprecise() -> None:
    north = [33.7 + t / 360_000 for t in TIMES]
    latitude = _with(north, at50=0.0, at60=34.7)
    longitude = _with([-118.0] * N, at50=0.0)
    hdop = _with([1.0] * N, at70=25.0)
    results = _computed(latitude_deg=latitude, longitude_deg=longitude, gnss_hdop=hdop)
    assert _found(results) == [
        ("gnss_hdop", "unlikely", 1, False),
        *((name, reason, 1, True) for name in ("latitude_deg", "longitude_deg")
          for reason in ("imprecise fix", "no fix", "position jump")),
    ]  # fmt: skip
    assert Day(results)["distance_km"] == pytest.approx(1.11195, rel=1e-3)


def test_faults_are_counted_on_the_day_on_which_they_are() -> None:
    times = [t + DAY_S - 1800 for t in TIMES]
    power = _with([-36.0 - n % 2 for n in range(N)], at100=2900.0, at300=2900.0, at310=2900.0)
    results = _computed(times, 2, speed_kmh=SPEED, battery_power_kw=power)
    assert results.set_aside.select("day", "samples").rows() == [(DAY, 1), (DAY.replace(day=6), 2)]


FLAWS = st.dictionaries(st.integers(1, N - 2), st.sampled_from([-2900.0, 2900.0, None]), max_size=40)


@settings(max_examples=campaign.size(12, 300))
@given(FLAWS)
def test_what_cannot_be_true_changes_nothing_but_coverage(flaws: dict[int, float | None]) -> None:
    """Values out of limits do to a figure what missing values do, wherever they are."""
    power = [-36.0 - n % 5 for n in range(N)]
    bad = [flaws.get(n, value) for n, value in enumerate(power)]
    missing = [None if n in flaws else value for n, value in enumerate(power)]
    one, other = (_computed(speed_kmh=SPEED, battery_power_kw=column).figures for column in (bad, missing))
    assert one.equals(other)


def test_rows_in_any_order_have_the_same_faults() -> None:
    rows = telemetry(TIMES, speed_kmh=SPEED, battery_power_kw=_with([-36.0] * N, at100=2900.0))
    shuffled = pl.concat([rows, rows.head(50)]).sample(fraction=1.0, shuffle=True, seed=3)
    one, other = (compute(inputs(frame)).set_aside for frame in (rows, shuffled))
    assert one.equals(other)
