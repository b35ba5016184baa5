"""Energy: the ladder, state of charge, charging, grid, idle and auxiliary."""

import polars as pl
import pytest
from metrics_case import DAY, DAY_S, HOUR, Day, day_rows, inputs, one_day, telemetry

from analytics.metrics import compute, totals

TIMES = list(range(0, 3601, 10))
N = len(TIMES)
MOVING = {"speed_kmh": [36.0] * N, "ignition_on": [True] * N}


def test_t05_state_of_charge() -> None:
    rows = telemetry([0, 1800, 3600], battery_soc_pct=[80, 50, 17.5], ignition_on=[True] * 3)
    day = one_day(rows, vehicles=({"usable_battery_kwh": 440.0, "sample_period_s": 1800.0},))
    assert day["energy_used_kwh"] == pytest.approx(275.0)
    assert day.part("energy_used_kwh", "method") == "estimated"
    assert day.part("energy_used_kwh", "note") == "SOC x 440.0 kWh"


def test_state_of_charge_without_a_capacity_says_nothing() -> None:
    day = one_day(telemetry(TIMES, battery_soc_pct=[80.0] * N, **MOVING), vehicles=({"usable_battery_kwh": None},))
    assert day["energy_used_kwh"] is None


def test_counters_outrank_power_which_outranks_state_of_charge() -> None:
    power = {"battery_power_kw": [-36.0] * N}
    charge = {"battery_soc_pct": [90 - t / 120 for t in TIMES]}
    counters = {"energy_discharged_kwh": [t / 90 for t in TIMES], "energy_regenerated_kwh": [t / 900 for t in TIMES]}
    by_soc = one_day(telemetry(TIMES, **MOVING, **charge))
    by_power = one_day(telemetry(TIMES, **MOVING, **charge, **power))
    by_counter = one_day(telemetry(TIMES, **MOVING, **charge, **power, **counters))
    assert by_soc["energy_used_kwh"] == pytest.approx(30)
    assert by_power["energy_used_kwh"] == pytest.approx(36)
    assert by_counter["energy_used_kwh"] == pytest.approx(36)
    assert by_counter["energy_discharged_kwh"] == pytest.approx(40)
    assert by_counter["energy_regenerated_kwh"] == pytest.approx(4)
    assert [d.part("energy_used_kwh", "note") for d in (by_power, by_counter)] == ["power integral", "counter"]
    assert by_counter["energy_used_by_soc_kwh"] == pytest.approx(30)
    assert by_counter["energy_used_by_power_kwh"] == pytest.approx(36)
    assert by_counter["energy_used_by_counter_kwh"] == pytest.approx(36)


def test_below_95_pct_state_of_charge_outranks_power_if_much_was_used() -> None:
    power = [-36.0 if t <= 3240 else None for t in TIMES]
    odometer = [t / 100 for t in TIMES]

    def day(lost: float) -> Day:
        charge = [90 - lost * t / 3600 for t in TIMES]
        return one_day(telemetry(TIMES, **MOVING, odometer_km=odometer, battery_power_kw=power, battery_soc_pct=charge))

    assert day(30)["energy_used_kwh"] == pytest.approx(30)
    small = day(5)
    assert small["energy_used_kwh"] == pytest.approx(36)  # 32.4 kWh over 90 % of the distance, scaled
    assert small.part("energy_used_kwh", "method") == "estimated"
    assert small.part("energy_used_kwh", "coverage_pct") == pytest.approx(90)


def _two_drives(soc: list[float], plugged: bool | None = None) -> Day:
    """Ten minutes of driving, an hour of silence, ten minutes of driving."""
    times = [*range(0, 601, 10), *range(4200, 4801, 10)]
    charge = [soc[0] + (soc[1] - soc[0]) * t / 600 for t in range(0, 601, 10)]
    charge += [soc[2] + (soc[3] - soc[2]) * t / 600 for t in range(0, 601, 10)]
    signals = {"speed_kmh": [36.0] * 122, "battery_soc_pct": charge}
    if plugged is not None:
        signals["plugged_in"] = [None] * 60 + [plugged] + [None] * 61  # type: ignore[list-item]
        signals["speed_kmh"][60] = 0.0
    return one_day(telemetry(times, **signals))


def test_charge_lost_between_two_recordings_counts_in_the_day() -> None:
    assert _two_drives([80, 70, 68, 60])["energy_used_kwh"] == pytest.approx(20)


def test_charge_gained_between_two_recordings_is_charging() -> None:
    day = _two_drives([80, 70, 95, 85])
    assert day["energy_used_kwh"] == pytest.approx(20)
    assert day["energy_charged_kwh"] == pytest.approx(25)
    assert day.part("energy_charged_kwh", "method") == "estimated"
    assert day["grid_energy_kwh"] == pytest.approx(25 / 0.9)
    assert day.part("grid_energy_kwh", "note") == "charged / 0.9 (default)"


def test_charge_lost_while_plugged_in_and_asleep_is_not_used() -> None:
    assert _two_drives([80, 70, 68, 60], plugged=True)["energy_used_kwh"] == pytest.approx(18)


def _charging(**more: object) -> dict[str, list[object]]:
    """Half an hour of driving at -36 kW, half an hour at the plug with +72 kW."""
    half = [t <= 1800 for t in TIMES]
    signals: dict[str, list[object]] = {
        "speed_kmh": [36.0 if drive else 0.0 for drive in half],
        "ignition_on": list(half),
        "battery_power_kw": [-36.0 if drive else 72.0 for drive in half],
    }
    return signals | {name: list(values) for name, values in more.items()}  # type: ignore[call-overload]


def test_power_at_the_plug_is_charging_and_power_while_driving_is_not() -> None:
    day = one_day(telemetry(TIMES, **_charging(plugged_in=[t > 1800 for t in TIMES])))
    assert day["energy_used_kwh"] == pytest.approx(18, abs=0.1)
    assert day["energy_charged_kwh"] == pytest.approx(1790 * 72 / 3600)  # the step from driving is not charging
    assert day.part("energy_charged_kwh", "method") == "measured"
    assert day["charging_h"] == pytest.approx(1790 / 3600)


def test_without_a_plug_signal_power_into_a_standing_pack_is_charging() -> None:
    day = one_day(telemetry(TIMES, **_charging()))
    assert day["energy_charged_kwh"] == pytest.approx(36, rel=0.01)
    assert day["energy_used_kwh"] == pytest.approx(18, rel=0.01)
    assert day["energy_regenerated_kwh"] == pytest.approx(0, abs=0.1)


def test_a_moment_of_power_at_a_stop_is_regeneration() -> None:
    signals = _charging()
    signals["battery_power_kw"] = [20.0 if t == 1810 else -36.0 for t in TIMES]
    day = one_day(telemetry(TIMES, **signals))
    assert not day["energy_charged_kwh"]
    assert day["energy_regenerated_kwh"] > 0.01  # type: ignore[operator]


def test_charging_that_nothing_could_see_is_missing_and_not_zero() -> None:
    """Power is known on the road only, and no state of charge tells of the night: nobody knows what was charged."""
    day = one_day(telemetry(TIMES, battery_power_kw=[-36.0] * N, **MOVING))
    for slug in ("energy_charged_kwh", "grid_energy_kwh"):
        assert day[slug] is None
        assert day.part(slug, "note") == "charging was not observed"


def test_a_day_on_which_power_was_watched_and_nothing_charged_is_zero() -> None:
    """An hour of driving and 22 hours of standing watched, of 23."""
    times = list(range(0, 23 * HOUR, 60))
    drives = [t < HOUR for t in times]
    speed, power = ([full if d else 0.0 for d in drives] for full in (36.0, -36.0))
    day = one_day(telemetry(times, ignition_on=drives, speed_kmh=speed, battery_power_kw=power))
    assert day["energy_charged_kwh"] == 0
    assert day.part("energy_charged_kwh", "note") == "power integral"
    assert day.part("energy_charged_kwh", "method") == "measured"
    assert day.part("energy_charged_kwh", "coverage_pct") == pytest.approx(100 * 22 / 23, abs=0.3)


def test_a_journey_in_a_silence_that_ends_with_more_charge_is_not_covered_by_state_of_charge() -> None:
    """20 km and 10 points seen; 80 km and charging unseen: what those took cannot be told from a rise of 15."""
    times = [*range(0, 1801, 10), *range(20_000, 21_801, 10)]
    half = [t <= 1800 for t in times]
    start = [t if first else t - 20_000 for t, first in zip(times, half, strict=True)]
    day = one_day(
        telemetry(
            times, speed_kmh=[20.0] * len(times), ignition_on=[True] * len(times),
            odometer_km=[s / 180 + (0 if first else 90) for s, first in zip(start, half, strict=True)],
            battery_soc_pct=[(80 if first else 90) - s / 360 for s, first in zip(start, half, strict=True)],
        )
    )  # fmt: skip
    assert day["distance_km"] == pytest.approx(100)
    assert day.part("energy_used_kwh", "coverage_pct") == pytest.approx(20)
    assert day["energy_per_km_kwh"] is None


def test_charging_that_power_does_not_see_comes_from_state_of_charge() -> None:
    """Power is known for the first 20 of 30 minutes at the plug; the pack gains 36 points of 100 kWh evenly."""
    charge = [80 - 20 * t / 1800 if t <= 1800 else 60 + 36 * (t - 1800) / 1800 for t in TIMES]
    signals = _charging(plugged_in=[t > 1800 for t in TIMES], battery_soc_pct=charge)
    signals["battery_power_kw"] = [
        p if t <= 3000 else None for t, p in zip(TIMES, signals["battery_power_kw"], strict=True)
    ]
    day = one_day(telemetry(TIMES, **signals))
    assert day["energy_charged_kwh"] == pytest.approx(36, rel=0.01)
    assert day.part("energy_charged_kwh", "method") == "mixed"
    assert day.part("energy_charged_kwh", "note") == "power integral; SOC x 100.0 kWh"


def test_charging_counter_and_grid_meter_outrank_power() -> None:
    counters = {"energy_charged_kwh": [t / 100 for t in TIMES], "grid_energy_kwh": [t / 90 for t in TIMES]}
    day = one_day(telemetry(TIMES, **_charging(plugged_in=[t > 1800 for t in TIMES], **counters)))
    assert day["energy_charged_kwh"] == pytest.approx(36)
    assert day["grid_energy_kwh"] == pytest.approx(40)
    assert day.part("grid_energy_kwh", "note") == "metered"


def test_grid_power_and_declared_efficiency() -> None:
    plugged = {"plugged_in": [t > 1800 for t in TIMES]}
    metered = one_day(
        telemetry(TIMES, **_charging(**plugged, grid_power_kw=[0.0 if t <= 1800 else 80.0 for t in TIMES]))
    )
    declared = one_day(telemetry(TIMES, **_charging(**plugged)), vehicles=({"charger_efficiency": 0.8},))
    assert metered["grid_energy_kwh"] == pytest.approx(80 * 1795 / 3600)
    assert declared["grid_energy_kwh"] == pytest.approx(declared["energy_charged_kwh"] / 0.8)  # type: ignore[operator]
    assert declared.part("grid_energy_kwh", "note") == "charged / 0.8"


def test_auxiliary_and_idle_energy() -> None:
    """Half an hour of driving, half an hour of standing with key on at -4 kW, of which 3 kW are auxiliary."""
    drives = [t < 1800 for t in TIMES]
    rows = telemetry(
        TIMES,
        ignition_on=[True] * N,
        speed_kmh=[36.0 if d else 0.0 for d in drives],
        battery_power_kw=[-36.0 if d else -4.0 for d in drives],
        auxiliary_power_kw=[3.0] * N,
    )
    day = one_day(rows)
    assert day["auxiliary_energy_kwh"] == pytest.approx(3)
    assert day["idle_energy_kwh"] == pytest.approx(2)
    assert day["idle_h"] == pytest.approx(0.5)


def test_energy_per_km_per_hour_and_miles_per_gallon_equivalent() -> None:
    rows = telemetry(TIMES, **MOVING, battery_power_kw=[-45.0] * N, odometer_km=[t / 100 for t in TIMES])
    day = one_day(rows)
    assert day["energy_per_km_kwh"] == pytest.approx(45 / 36)
    assert day["energy_per_hour_kwh"] == pytest.approx(45)
    assert day["mpgdge"] == pytest.approx(37.64 / (45 / (36 / 1.609344)))


@pytest.mark.parametrize(("kwh_per_mile", "mpgdge"), [(2.17, 17.35), (2.36, 15.95)])
def test_t01_t02_published_pairs(kwh_per_mile: float, mpgdge: float) -> None:
    """One hour at 1.609344 km/h x 20: 20 miles."""
    rows = telemetry(
        TIMES,
        ignition_on=[True] * N,
        odometer_km=[t / 3600 * 20 * 1.609344 for t in TIMES],
        battery_power_kw=[-20 * kwh_per_mile] * N,
    )
    assert one_day(rows)["mpgdge"] == pytest.approx(mpgdge, abs=0.01)


def test_a_negative_figure_is_shown() -> None:
    day = one_day(telemetry(TIMES, **MOVING, battery_power_kw=[5.0] * N))
    assert day["energy_used_kwh"] == pytest.approx(-5)


def test_silent_night_loss_is_split_at_the_cut() -> None:
    """Ten points lost from 22:00 UTC (11 h into the day) to 24 h later: 13 h of them in the first day."""
    rows = telemetry([11 * HOUR, 35 * HOUR], battery_soc_pct=[80, 70], odometer_km=[5, 5])
    results = compute(inputs(rows, days=day_rows(2)))
    assert Day(results)["energy_used_kwh"] == pytest.approx(10 * 13 / 24)
    assert Day(results, day=DAY.replace(day=6))["energy_used_kwh"] == pytest.approx(10 * 11 / 24)


def test_transport_work_holds_the_load_for_five_minutes() -> None:
    """20 t for the first half hour, unloaded to nothing in the second; read once a minute."""
    load = [(20_000.0 if t < 1800 else 0.0) if t % 60 == 0 else None for t in TIMES]
    day = one_day(telemetry(TIMES, **MOVING, odometer_km=[t / 100 for t in TIMES], payload_kg=load))
    assert day["transport_work_tkm"] == pytest.approx(20 * 18)
    assert day.part("transport_work_tkm", "coverage_pct") == pytest.approx(100)


def test_transport_work_of_a_load_known_for_a_part_is_shown_and_left_out_of_ratios() -> None:
    load = [10_000.0 if t <= 1800 else None for t in TIMES]
    power = {"battery_power_kw": [-36.0] * N}
    day = one_day(telemetry(TIMES, **MOVING, odometer_km=[t / 100 for t in TIMES], payload_kg=load, **power))
    assert day["transport_work_tkm"] == pytest.approx(10 * 18)
    assert day.part("transport_work_tkm", "coverage_pct") == pytest.approx(50)
    assert day["energy_per_tonne_km_kwh"] is None


def test_grid_energy_of_a_day_of_rest_counts_in_the_ratio_of_the_period() -> None:
    """Day one: 36 km and nothing bought. Day two: parked, 40 kWh bought. Together 40 / 36 kWh/km; neither day alone."""
    drives = telemetry(TIMES, **MOVING, odometer_km=[t / 100 for t in TIMES], grid_energy_kwh=[0.0] * N)
    later = [t + DAY_S for t in TIMES]
    rests = telemetry(
        later, ignition_on=[False] * N, speed_kmh=[0.0] * N, odometer_km=[36.0] * N, plugged_in=[True] * N,
        grid_energy_kwh=[t / 90 for t in TIMES],
    )  # fmt: skip
    results = compute(inputs(pl.concat([drives, rests], how="diagonal"), days=day_rows(2)))
    total = totals(results.figures, []).row(by_predicate=pl.col("metric") == "grid_energy_per_km_kwh", named=True)
    assert total["value"] == pytest.approx(40 / 36)
    assert Day(results, day=DAY.replace(day=6))["grid_energy_per_km_kwh"] is None


def test_hydrogen_by_mass_in_the_tanks_leaves_refuelling_out() -> None:
    """From 30 to 24 kg on the road, filled up to 32 kg while standing, then 3 kg more."""
    fill = [30 - 6 * t / 1200 if t <= 1200 else 24 + 8 * (t - 1200) / 1200 if t <= 2400 else 32 - 3 * (t - 2400) / 1200
            for t in TIMES]  # fmt: skip
    drives = [t <= 1200 or t > 2400 for t in TIMES]
    day = one_day(telemetry(TIMES, ignition_on=drives, speed_kmh=[36.0 if d else 0.0 for d in drives],
                            odometer_km=[t / 100 for t in TIMES], hydrogen_mass_kg=fill))  # fmt: skip
    assert day["hydrogen_used_kg"] == pytest.approx(9, abs=0.1)
    assert day.part("hydrogen_used_kg", "method") == "estimated"
    assert day.part("hydrogen_used_kg", "note") == "from mass in the tanks"


def test_a_vessel_without_odometer_and_speed_is_measured_by_its_fixes() -> None:
    """A degree of latitude is 6371.0088 km x pi / 180 = 111.195 km; a tenth of it in an hour."""
    rows = telemetry(TIMES, ignition_on=[True] * N, latitude_deg=[33 + t / 36_000 for t in TIMES],
                     longitude_deg=[-118.0] * N, battery_power_kw=[-60.0] * N)  # fmt: skip
    day = one_day(rows, vehicles=({"category": "vessel"},))
    assert day["distance_km"] == pytest.approx(11.1195, rel=1e-4)
    assert day.part("distance_km", "note") == "from satellite fixes"
    assert day["energy_per_nmi_kwh"] == pytest.approx(60 / (11.1195 / 1.852), rel=1e-4)


def test_fixes_that_drift_at_a_standstill_or_jump_add_no_distance() -> None:
    """It stands for half an hour with fixes wandering; on the way one fix is 1 degree off."""
    drift = [0.0001 * (t // 10 % 2) if t < 1800 else (t - 1800) / 36_000 for t in TIMES]
    drift[300] += 1
    rows = telemetry(TIMES, ignition_on=[True] * N, speed_kmh=[0.0 if t < 1800 else 22.239 for t in TIMES],
                     latitude_deg=drift, longitude_deg=[0.0] * N)  # fmt: skip
    day = one_day(rows)
    assert day["distance_km"] == pytest.approx(22.239 / 2, rel=0.01)  # by speed, which outranks fixes


def test_hotel_load_at_the_plug_is_not_the_battery() -> None:
    half = [t > 1800 for t in TIMES]
    rows = telemetry(TIMES, ignition_on=[True] * N, speed_kmh=[0.0 if h else 18.0 for h in half], plugged_in=half,
                     hotel_power_kw=[6.0] * N, battery_power_kw=[10.0 if h else -50.0 for h in half])  # fmt: skip
    day = one_day(rows, vehicles=({"category": "vessel"},))
    assert day["hotel_energy_kwh"] == pytest.approx(3, abs=0.02)


def at_the_plug(**more: list[object]) -> Day:
    """An hour at the plug: 30 kW into the pack for half of it, then none; 6 kW of heating all along."""
    times = list(range(0, HOUR + 1, 10))
    power = [30.0 if t < 1800 else 0.0 for t in times]
    rows = telemetry(
        times, ignition_on=[False] * len(times), plugged_in=[True] * len(times), charging=[p > 0 for p in power],
        battery_power_kw=power, auxiliary_power_kw=[6.0] * len(times), **more,
    )  # fmt: skip
    return one_day(rows, vehicles=({"charger_efficiency": 0.9},))


def test_what_is_used_at_the_plug_is_bought_too() -> None:
    day = at_the_plug()
    charged = day["energy_charged_kwh"]
    assert charged == pytest.approx(15.0, rel=0.01)
    assert day["grid_energy_kwh"] == pytest.approx((charged + 6.0) / 0.9, rel=1e-6)
    assert day.part("grid_energy_kwh", "method") == "estimated"
    assert "used at the plug" in str(day.part("grid_energy_kwh", "note"))


def test_the_chargers_output_tells_best_what_went_past_the_pack() -> None:
    times = range(0, HOUR + 1, 10)
    day = at_the_plug(charger_output_energy_kwh=[22.0 * t / HOUR for t in times])
    assert day["grid_energy_kwh"] == pytest.approx(22.0 / 0.9, rel=1e-6)


def test_a_battery_that_feeds_the_loads_buys_nothing_for_them() -> None:
    times = list(range(0, HOUR + 1, 10))
    rows = telemetry(
        times, ignition_on=[True] * len(times), plugged_in=[True] * len(times), battery_power_kw=[-6.0] * len(times),
        auxiliary_power_kw=[6.0] * len(times), energy_charged_kwh=[5.0] * len(times),
    )  # fmt: skip
    assert one_day(rows)["grid_energy_kwh"] == pytest.approx(0.0)
