"""What a silence may have hidden is not taken for seen, where no counter tells of it."""

import pytest
from metrics_case import HOUR, Day, one_day, telemetry

STEP_S = 10


def drive(hole_s: int, hours: float = 4, **change: object) -> Day:
    """Hours with the key on at 36 km/h and 36 kW, without a row in the middle for `hole_s`."""
    end_s = int(hours * HOUR)
    first, last = (end_s - hole_s) // 2, (end_s + hole_s) // 2
    times = [t for t in range(0, end_s + 1, STEP_S) if not first < t < last]
    n = len(times)
    rows = telemetry(times, ignition_on=[True] * n, speed_kmh=[36.0] * n, battery_power_kw=[-36.0] * n)
    return one_day(rows, **change)


@pytest.mark.parametrize("hole_s", [280, 320, 1200, 2800])
def test_a_hole_of_any_length_in_a_drive_lowers_coverage(hole_s: int) -> None:
    day, pct = drive(hole_s), 100 * (1 - hole_s / (4 * HOUR))
    for slug in ("distance_km", "energy_used_kwh"):
        assert day.part(slug, "coverage_pct") == pytest.approx(pct, abs=0.01)
        assert day[slug] == pytest.approx(144, rel=1e-3), "scaled to full activity"
        assert day.part(slug, "method") == "estimated"


def test_half_of_a_drive_is_not_the_whole_of_it() -> None:
    day = drive(2 * HOUR)
    assert day["distance_km"] == pytest.approx(72)
    assert day.part("distance_km", "coverage_pct") == pytest.approx(50)
    assert "left out of ratios" in str(day.part("distance_km", "note"))
    assert day.part("key_on_h", "coverage_pct") == pytest.approx(50)
    assert day.hours()["unknown"] == pytest.approx(22)


def test_a_night_between_two_drives_is_no_drive() -> None:
    """A gateway that never says that the key is off: nothing tells that it drove all night."""
    drives = [*range(0, 2 * HOUR + 1, STEP_S), *range(14 * HOUR, 16 * HOUR + 1, STEP_S)]
    n = len(drives)
    day = one_day(telemetry(drives, ignition_on=[True] * n, speed_kmh=[36.0] * n))
    assert day["distance_km"] == pytest.approx(144)
    assert day.part("distance_km", "coverage_pct") == 100


def test_a_silence_after_the_key_is_off_lowers_nothing() -> None:
    times = [*range(0, HOUR + 1, STEP_S), *range(3 * HOUR, 4 * HOUR + 1, STEP_S)]
    on = [t not in (HOUR, 4 * HOUR) for t in times]
    speed_kmh = [36.0 * flag for flag in on]
    day = one_day(telemetry(times, ignition_on=on, speed_kmh=speed_kmh))
    assert day.part("distance_km", "coverage_pct") == 100


def test_a_counter_that_bridges_the_silence_covers_it() -> None:
    times = [*range(0, HOUR + 1, STEP_S), *range(2 * HOUR, 3 * HOUR + 1, STEP_S)]
    n = len(times)
    used = {"energy_discharged_kwh": [t / 100 for t in times], "energy_regenerated_kwh": [0.0] * n}
    day = one_day(telemetry(times, ignition_on=[True] * n, **used))
    assert day["energy_used_kwh"] == pytest.approx(108)
    assert day.part("energy_used_kwh", "coverage_pct") == 100
