"""How sure a figure is: what scaling may add, how coarse state of charge is, what a charger may lose."""

import polars as pl
import pytest
from metrics_case import day_rows, inputs, one_day, telemetry

from analytics.metrics import compute, totals

TIMES = list(range(0, 3601, 10))
N = len(TIMES)
DRIVING = {"speed_kmh": [36.0] * N, "ignition_on": [True] * N, "odometer_km": [t / 100 for t in TIMES]}


def test_a_figure_seen_whole_has_no_bounds() -> None:
    day = one_day(telemetry(TIMES, **DRIVING, battery_power_kw=[-36.0] * N))
    assert (day.part("energy_used_kwh", "low"), day.part("energy_used_kwh", "high")) == (None, None)


def test_a_scaled_figure_lies_between_what_was_seen_and_twice_what_scaling_adds() -> None:
    """32.4 kWh seen on 90 % of the distance: 36 kWh; the missing tenth took between nothing and 7.2 kWh."""
    power = [-36.0 if t <= 3240 else None for t in TIMES]
    day = one_day(telemetry(TIMES, **DRIVING, battery_power_kw=power))
    assert day["energy_used_kwh"] == pytest.approx(36)
    assert day.part("energy_used_kwh", "low") == pytest.approx(32.4)
    assert day.part("energy_used_kwh", "high") == pytest.approx(39.6)
    assert day.part("energy_per_km_kwh", "low") == pytest.approx(32.4 / 36)
    assert day.part("energy_per_km_kwh", "high") == pytest.approx(39.6 / 36)
    # More energy is fewer miles per gallon.
    assert day.part("mpgdge", "low") == pytest.approx(37.64 / (39.6 / (36 / 1.609344)))


def test_state_of_charge_is_told_in_points() -> None:
    """Two readings in whole points: 1.96 x sqrt(2) x 1 / sqrt(12) = 0.80 points of 100 kWh."""
    day = one_day(telemetry(TIMES, **DRIVING, battery_soc_pct=[90 - t / 120 for t in TIMES]))
    assert day["energy_used_kwh"] == pytest.approx(30)
    assert day.part("energy_used_kwh", "low") == pytest.approx(29.2)
    assert day.part("energy_used_kwh", "high") == pytest.approx(30.8)


@pytest.mark.parametrize(
    ("efficiency", "low", "high"),
    [(None, 36 / 0.98, 36 / 0.80), (0.9, None, None)],  # nobody declared it: any charger; declared: as declared
)
def test_grid_energy_of_a_charger_of_unknown_efficiency(
    efficiency: float | None, low: float | None, high: float | None
) -> None:
    rows = telemetry(
        TIMES, speed_kmh=[0.0] * N, plugged_in=[True] * N, energy_charged_kwh=[t / 100 for t in TIMES]
    )  # fmt: skip
    day = one_day(rows, vehicles=({"charger_efficiency": efficiency},))
    assert day["grid_energy_kwh"] == pytest.approx(36 / 0.9)
    assert day.part("grid_energy_kwh", "low") == (None if low is None else pytest.approx(low))
    assert day.part("grid_energy_kwh", "high") == (None if high is None else pytest.approx(high))


def test_a_metered_grid_has_no_bounds() -> None:
    rows = telemetry(TIMES, speed_kmh=[0.0] * N, plugged_in=[True] * N, grid_energy_kwh=[t / 90 for t in TIMES])
    assert one_day(rows).part("grid_energy_kwh", "low") is None


def test_bounds_of_days_add_up() -> None:
    power = [-36.0 if t <= 3240 else None for t in TIMES]
    seen = telemetry(TIMES, **DRIVING, battery_power_kw=power)
    other = telemetry([t + 86_400 for t in TIMES], **DRIVING, battery_power_kw=[-36.0] * N)
    figures = compute(inputs(pl.concat([seen, other]), days=day_rows(2))).figures
    total = totals(figures, []).row(by_predicate=pl.col("metric") == "energy_used_kwh", named=True)
    assert total["value"] == pytest.approx(72)
    assert (total["low"], total["high"]) == (pytest.approx(32.4 + 36), pytest.approx(39.6 + 36))
