"""Each figure by every method, and how they agree."""

import pytest
from metrics_case import inputs, telemetry
from test_metrics_energy import MOVING, TIMES, N, _charging

from analytics.metrics import METRICS, Results, compute
from analytics.metrics.methods import CHECKS, METHODS


def _results(vehicle: dict[str, object] | None = None, /, **signals: object) -> Results:
    return compute(inputs(telemetry(TIMES, **signals), vehicles=(vehicle or {},)))  # type: ignore[arg-type]


def _told(results: Results, metric: str) -> dict[str, float]:
    rows = results.methods.filter(metric=metric)
    return dict(rows.select("method", "value").iter_rows())


def _ratio(results: Results, check: str) -> tuple[float, bool] | None:
    rows = results.agreements.filter(check=check)
    return None if rows.is_empty() else (rows["numerator"].item() / rows["denominator"].item(), rows["agrees"].item())


def test_methods_are_of_metrics_and_bands_are_bands() -> None:
    assert METHODS.keys() <= METRICS.keys()
    assert all(check.low < 1.001 and check.low < check.high for check in CHECKS.values())


def test_energy_used_by_all_three_methods_and_a_flag_where_they_disagree() -> None:
    """The counter tells 36 kWh, power 36, state of charge 30 of 100 kWh; later power reads 10 % less."""
    signals = {
        **MOVING, "battery_soc_pct": [90 - t / 120 for t in TIMES],
        "energy_discharged_kwh": [t / 90 for t in TIMES], "energy_regenerated_kwh": [t / 900 for t in TIMES],
    }  # fmt: skip
    agreeing = _results(**signals, battery_power_kw=[-36.0] * N)
    assert _told(agreeing, "energy_used_kwh") == pytest.approx({"counter": 36, "power": 36, "state of charge": 30})
    assert _ratio(agreeing, "power_over_counter") == (pytest.approx(1), True)
    assert _ratio(_results(**signals, battery_power_kw=[-32.4] * N), "power_over_counter") == (
        pytest.approx(0.9),
        False,
    )


def test_charged_energy_by_five_methods() -> None:
    """Half an hour at +72 kW: 36 kWh by the vehicle; 34 by state of charge, 37 and 37 at the connector."""
    at_plug = [max(0, t - 1800) / 1800 for t in TIMES]
    results = _results(
        **_charging(
            plugged_in=[t > 1800 for t in TIMES], energy_charged_kwh=[36 * s for s in at_plug],
            battery_soc_pct=[40 + 34 * s for s in at_plug], charger_output_energy_kwh=[37 * s for s in at_plug],
            charger_output_power_kw=[74.0 if t > 1800 else 0.0 for t in TIMES],
        )
    )  # fmt: skip
    assert _told(results, "energy_charged_kwh") == pytest.approx(
        {"counter": 36, "power": 36, "state of charge": 34, "charger's counter": 37, "charger's power": 37}, rel=0.01
    )
    assert _ratio(results, "soc_over_charged") == (pytest.approx(34 / 36, rel=0.01), True)
    assert _ratio(results, "charged_over_charger") == (pytest.approx(36 / 37, rel=0.01), True)


def test_charged_over_bought_is_checked_where_the_grid_is_metered() -> None:
    """36 kWh in of 50 bought: 0.72, which no charger in order loses."""
    plugged = {"plugged_in": [t > 1800 for t in TIMES]}
    metered = _results(**_charging(**plugged, grid_energy_kwh=[50 * max(0, t - 1800) / 1800 for t in TIMES]))
    assert _ratio(metered, "charged_over_grid") == (pytest.approx(0.72, rel=0.01), False)
    assert _ratio(_results(**_charging(**plugged)), "charged_over_grid") is None


def test_used_over_charged_is_set_right_by_the_change_in_state_of_charge() -> None:
    """18 kWh used, 36 charged, and the day ends 17 points of 100 kWh higher: 18 / (36 - 17) = 0.947."""
    soc = [60 - 18.5 * t / 1800 if t <= 1800 else 41.5 + 35.5 * (t - 1800) / 1800 for t in TIMES]
    results = _results(**_charging(plugged_in=[t > 1800 for t in TIMES], battery_soc_pct=soc))
    ratio = _ratio(results, "used_over_charged")
    assert ratio is not None
    assert ratio[0] == pytest.approx(18 / (36 - 17), rel=0.01)
    assert ratio[1]


def test_distance_by_odometer_speed_and_fixes() -> None:
    """36 km by odometer, 34 by speed; the fixes run 0.3 degrees of latitude, 33.36 km."""
    results = _results(
        ignition_on=[True] * N, odometer_km=[t / 100 for t in TIMES], speed_kmh=[34.0] * N,
        latitude_deg=[33 + 0.3 * t / 3600 for t in TIMES], longitude_deg=[-118.0] * N,
    )  # fmt: skip
    told = _told(results, "distance_km")
    assert told == pytest.approx({"odometer": 36, "speed": 34, "position": 33.3585}, rel=1e-4)
    assert _ratio(results, "odometer_over_speed") == (pytest.approx(36 / 34), False)
    assert _ratio(results, "odometer_over_position") == (pytest.approx(36 / 33.3585, rel=1e-4), True)


def test_fuels_by_counter_rate_and_tank() -> None:
    results = _results(
        ignition_on=[True] * N, speed_kmh=[40.0] * N, hydrogen_used_kg=[t / 1200 for t in TIMES],
        hydrogen_rate_kg_h=[2.8] * N, hydrogen_mass_kg=[30 - t / 1200 for t in TIMES],
    )  # fmt: skip
    assert _told(results, "hydrogen_used_kg") == pytest.approx({"counter": 3, "rate": 2.8, "tank": 3})
    assert _ratio(results, "hydrogen_rate_over_counter") == (pytest.approx(2.8 / 3), False)


def test_a_method_that_saw_too_little_is_told_and_not_compared() -> None:
    power = [-36.0 if t <= 1800 else None for t in TIMES]
    results = _results(**MOVING, battery_power_kw=power, energy_discharged_kwh=[t / 100 for t in TIMES],
                       energy_regenerated_kwh=[0.0] * N, odometer_km=[t / 100 for t in TIMES])  # fmt: skip
    assert _told(results, "energy_used_kwh") == pytest.approx({"counter": 36, "power": 18})
    assert _ratio(results, "power_over_counter") is None


def test_a_day_without_rows_has_nothing_to_compare() -> None:
    results = compute(inputs(telemetry([])))
    assert results.methods.is_empty()
    assert results.agreements.is_empty()
    assert results.set_aside.is_empty()
