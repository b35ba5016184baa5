"""The simulated fleet: its rows obey physics and its truth agrees with them."""

import datetime as dt
from collections import defaultdict
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from ingest.gateway.simulator import DEMO_FLEET, Phase, as_frames, simulate, truth, uploads
from ingest.gateway.simulator.calendar import OperatingDay, subtract, within
from ingest.gateway.simulator.charging import charging_power_kw
from ingest.gateway.simulator.fleet import Charger, Pack
from ingest.gateway.simulator.physics import Charge, long_standstill, run_battery, split_at_zero_kwh
from schemas.signals import SIGNALS, Kind

EXTRAS = {"gear", "door_open", "bow_door_open", "fifth_wheel_locked"}
KM_PER_NAUTICAL_MILE = 1.852
BEV = [
    "long-beach-drayage",
    "santiago-buses",
    "rotterdam-yard",
    "kochi-ferries",
    "shenzhen-delivery",
    "quebec-school-bus",
]


@pytest.fixture(scope="module")
def whole_truth():
    return truth()


@pytest.fixture(scope="module")
def first_days():
    """Two days of everything."""
    return list(simulate(days=2))


@pytest.fixture(scope="module")
def small_pilots():
    """All days of the two pilots with the fewest rows."""
    return list(simulate(pilots=["shenzhen-delivery", "quebec-school-bus"]))


def vehicle_days(truth, pilot):
    return truth.days.filter(pl.col("pilot") == pilot)


# --- parts, against numbers worked out by hand ----------------------------------------------------


def test_battery_under_constant_discharge():
    # 600 V x (0.92 + 0.15 x 0.5) = 597 V at rest; -59.7 kW at 0.1 ohm: I = (sqrt(597² - 4 x 0.1 x 59700) - 597) / 0.2.
    pack = Pack(100, 600, 0.1)
    trace = run_battery(pack, np.full(2, -59.7), Charge(50, 0), 1)
    current = (np.sqrt(597**2 - 23880) - 597) / 0.2
    assert trace.current_a[0] == pytest.approx(current, rel=1e-4)
    assert trace.voltage_v[0] * trace.current_a[0] == pytest.approx(-59_700)
    # The store loses more than the terminals give: the resistance keeps I²R.
    assert trace.store_kw[0] == pytest.approx(-59.7 - 0.1 * current**2 / 1000, rel=1e-4)


def test_split_at_zero_has_triangles_at_the_crossing():
    # From +30 to -10 kW in 4 s: crosses after 3 s. 45 kWs in, 5 kWs out; then -10 held for 4 s: 40 kWs out.
    into, out = split_at_zero_kwh(np.array([30.0, -10.0]), 4)
    assert into * 3600 == pytest.approx([45, 0])
    assert out * 3600 == pytest.approx([5, 40])


def test_charging_is_constant_then_tapers_and_stops():
    charger, pack = Charger("c", 50, 0.9), Pack(100, 400, 0.0001)
    power = charging_power_kw(charger, pack, 50, np.arange(0, 4 * 3600, 1.0))
    knee = int(38 / (50 * 0.985) * 3600)
    assert power[0] == power[knee - 1] == 50
    assert 0 < power[knee + 600] < power[knee + 300] < 50
    stored = 50 + power.sum() * 0.985 / 3600
    assert stored == pytest.approx(97, abs=0.05)
    assert power[-1] == 0
    assert not charging_power_kw(charger, pack, 96.6, np.arange(10.0)).any()


def test_long_standstills_count_whole():
    standing = np.array([1, 1, 0, 1, 1, 1, 1, 0, 1], dtype=bool)
    assert long_standstill(standing, 6, 2).astype(int).tolist() == [0, 0, 0, 1, 1, 1, 1, 0, 0]


def test_spans():
    assert subtract([(0, 10), (20, 30)], [(5, 22), (29, 40)]) == [(0, 5), (22, 29)]
    assert within(np.array([0.0, 5, 9, 10]), [(5, 10), (0, 1)]).tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/Los_Angeles", dt.date(2025, 11, 1), 25),
        ("America/Toronto", dt.date(2025, 11, 1), 25),
        ("Europe/Amsterdam", dt.date(2025, 10, 25), 25),
        ("Europe/Amsterdam", dt.date(2025, 10, 26), 24),
        ("America/Los_Angeles", dt.date(2026, 3, 7), 23),
        ("Asia/Kolkata", dt.date(2025, 10, 26), 24),
    ],
)
def test_operating_days_have_their_length(zone, day, hours):
    operating = OperatingDay(day, ZoneInfo(zone))
    assert operating.seconds == hours * 3600
    assert operating.starts_at.astimezone(ZoneInfo(zone)).hour == operating.ends_at.astimezone(ZoneInfo(zone)).hour == 3


# --- the programme's figures ----------------------------------------------------------------------

BANDS = {
    "long-beach-drayage": ("truck-0", "distance_km", 1, (1.3, 1.5)),
    "santiago-buses": ("bus-0", "distance_km", 1, (1.05, 1.25)),
    "rotterdam-yard": ("yard-0", "key_on_h", 1, (9, 13)),
    "kochi-ferries": ("ferry-0", "distance_km", KM_PER_NAUTICAL_MILE, (8, 10)),
    "shenzhen-delivery": ("van-0", "distance_km", 1, (0.35, 0.42)),
    "quebec-school-bus": ("school-bus-0", "distance_km", 1, (0.9, 1.1)),
}
DAILY = {
    "long-beach-drayage": ("distance_km", 200), "santiago-buses": ("distance_km", 190),
    "rotterdam-yard": ("key_on_h", 12),
    "kochi-ferries": ("distance_km", 48 * KM_PER_NAUTICAL_MILE), "shenzhen-delivery": ("distance_km", 140),
    "quebec-school-bus": ("distance_km", 100),
}  # fmt: skip
AVAILABLE = {
    "long-beach-drayage": (80, 88), "santiago-buses": (92, 96), "rotterdam-yard": (85, 92), "kochi-ferries": (88, 94),
    "shenzhen-delivery": (94, 96), "quebec-school-bus": (90, 90),
}  # fmt: skip


@pytest.mark.parametrize("pilot", BANDS)
def test_energy_is_in_its_band(whole_truth, pilot):
    prefix, activity, per, (low, high) = BANDS[pilot]
    days = vehicle_days(whole_truth, pilot).filter(pl.col("vehicle").str.starts_with(prefix))
    assert low <= days["energy_used_kwh"].sum() / days[activity].sum() * per <= high


@pytest.mark.parametrize("pilot", DAILY)
def test_a_full_day_is_as_long_as_planned(whole_truth, pilot):
    activity, amount = DAILY[pilot]
    worked = vehicle_days(whole_truth, pilot).filter(pl.col("planned") & pl.col("available"))
    assert worked[activity].median() == pytest.approx(amount, rel=0.03)


@pytest.mark.parametrize("pilot", AVAILABLE)
def test_availability_is_in_its_band(whole_truth, pilot):
    planned = vehicle_days(whole_truth, pilot).filter(pl.col("planned"))
    low, high = AVAILABLE[pilot]
    assert low <= 100 * planned["available"].mean() <= high
    electric = planned.filter(pl.col("energy_used_kwh").is_not_null())
    assert low <= 100 * electric["available"].mean() <= high


def test_causes_of_lost_days(whole_truth):
    lost = whole_truth.days.filter(~pl.col("available")).group_by("cause").len().rows()
    assert dict(lost) == {"vehicle": 9, "charger": 2, "supply": 1, "planned maintenance": 2}


def test_fuels(whole_truth):
    days = whole_truth.days
    heater = days.filter(pl.col("vehicle").eq("school-bus-01") & pl.col("available"))["heater_fuel_used_l"]
    assert heater.is_between(4, 8).all()
    diesel = days.filter(pl.col("vehicle") == "truck-diesel-01")
    assert diesel["fuel_used_l"].sum() / diesel["distance_km"].sum() * 100 == pytest.approx(39.9, abs=2)
    assert days.filter(pl.col("pilot") == "kochi-ferries")["genset_fuel_used_l"].sum() > 0


# --- truth is consistent --------------------------------------------------------------------------


def test_energy_balance_closes(whole_truth):
    days = whole_truth.days.drop_nulls("energy_used_kwh")
    stored = pl.col("stored_end_kwh") - pl.col("stored_start_kwh")
    flows = pl.col("energy_charged_kwh") - pl.col("energy_used_kwh") - pl.col("loss_kwh")
    # The last interval of a day is held, so the balance closes to one sample of power.
    assert days.select((stored - flows).abs().max()).item() < 0.2
    per_vehicle = days.group_by("vehicle").agg((stored - flows).sum().abs() / pl.col("energy_used_kwh").sum())
    assert per_vehicle["stored_end_kwh"].max() < 1e-3
    loss_share = days.select(pl.col("loss_kwh").sum() / pl.col("energy_used_kwh").sum()).item()
    assert 0.01 < loss_share < 0.06


def test_charging_from_the_grid_costs_more_than_it_brings(whole_truth):
    days = whole_truth.days.filter(pl.col("energy_charged_kwh") > 5)
    share = days["energy_charged_kwh"] / days["grid_energy_kwh"]
    assert share.is_between(0.80, 0.935).all()


def test_hours_add_up_to_the_day(whole_truth):
    states = ["planned_maintenance_h", "down_h", "charging_h", "plugged_idle_h", "in_service_h", "idle_h", "parked_h"]
    error = whole_truth.days.select((pl.sum_horizontal(states) - pl.col("day_h")).abs().max()).item()
    assert error < 1e-9
    assert set(whole_truth.days["day_h"].unique()) == {24.0, 25.0}
    long_days = whole_truth.days.filter(pl.col("day_h") == 25).select("pilot", "day").unique().sort("pilot").rows()
    assert long_days == [
        ("long-beach-drayage", dt.date(2025, 11, 1)),
        ("quebec-school-bus", dt.date(2025, 11, 1)),
        ("rotterdam-yard", dt.date(2025, 10, 25)),
    ]


def test_a_down_vehicle_does_not_move(whole_truth):
    gone = whole_truth.days.filter(pl.col("down_h") >= 22)
    assert gone.height == 2
    assert gone["distance_km"].sum() == 0


def test_trips_and_sessions_add_up_to_days(whole_truth):
    keys = ["vehicle", "day"]
    trips = whole_truth.trips.group_by(keys).agg(trip_km=pl.col("distance_km").sum())
    sessions = whole_truth.sessions.group_by(keys).agg(session_kwh=pl.col("energy_charged_kwh").sum())
    days = whole_truth.days.join(trips, on=keys, how="left").join(sessions, on=keys, how="left").fill_null(0)
    assert days.select((pl.col("trip_km") - pl.col("distance_km")).abs().max()).item() < 0.1
    assert days.select((pl.col("session_kwh") - pl.col("energy_charged_kwh")).abs().max()).item() < 0.1


# --- rows -----------------------------------------------------------------------------------------


def test_rows_hold_canonical_signals_within_limits(first_days):
    for log in first_days:
        columns = set(log.frame.columns) - {"vehicle", "time"}
        assert columns - EXTRAS <= set(SIGNALS)
        assert 10 <= len(columns) <= 24
        for name in columns - EXTRAS:
            spec, values = SIGNALS[name], log.frame[name]
            assert values.null_count() == 0, name
            if spec.kind is Kind.FLOAT and not values.is_empty():
                assert spec.low <= values.min() <= values.max() <= spec.high, name


def test_rows_are_in_order_and_on_their_day(first_days):
    for log in first_days:
        time = log.frame["time"]
        assert time.dtype == pl.Datetime("us", "UTC")
        assert (time.diff().drop_nulls() > dt.timedelta(0)).all()
        assert time.is_empty() or (time.min() >= log.day.starts_at and time.max() < log.day.ends_at)


def test_rows_agree_with_truth(first_days):
    for log in first_days:
        frame, figures = log.frame, log.truth[0]
        step_h = frame["time"].diff().dt.total_microseconds() / 3.6e9
        near = step_h <= 60 / 3600
        speed = (frame["speed_kmh"] + frame["speed_kmh"].shift(1)) / 2
        assert (speed * step_h).filter(near).sum() == pytest.approx(figures.distance_km, rel=1e-3, abs=0.01)
        key_h = step_h.filter(frame["ignition_on"].shift(1) & near).sum()
        assert key_h == pytest.approx(figures.key_on_h, abs=log.vehicle.sample_period_s / 3600)
        if figures.energy_used_kwh is None:
            continue
        power = power_kw(frame)
        mean = (power + power.shift(1)) / 2 * step_h
        plugged = frame["plugged_in"].shift(1)
        assert -mean.filter(near & ~plugged).sum() == pytest.approx(figures.energy_used_kwh, rel=2e-3, abs=0.05)
        assert mean.filter(near & plugged).sum() == pytest.approx(figures.energy_charged_kwh, rel=2e-3, abs=0.1)


def power_kw(frame):
    if "battery_power_kw" in frame.columns:
        return frame["battery_power_kw"]
    return frame["battery_voltage_v"] * frame["battery_current_a"] / 1000


def test_voltage_times_current_is_power(first_days):
    frame = next(log.frame for log in first_days if log.vehicle.name == "truck-01")
    error = frame["battery_voltage_v"] * frame["battery_current_a"] / 1000 - frame["battery_power_kw"]
    assert error.abs().max() < 0.1


def test_charge_follows_energy_and_losses(first_days):
    frame = next(log.frame for log in first_days if log.vehicle.name == "bus-01")
    out = frame["energy_discharged_kwh"] - frame["energy_regenerated_kwh"]
    on_road = frame["ignition_on"]
    used = out.filter(on_road)[-1] - out.filter(on_road)[0]
    soc = frame["battery_soc_pct"].filter(on_road)
    drop_kwh = (soc[0] - soc[-1]) / 100 * 275
    assert 1.003 < drop_kwh / used < 1.03  # the resistance takes its share


def test_sleeping_gateways_are_silent_and_others_are_not(first_days):
    for pilot in DEMO_FLEET.pilots:
        for vehicle in pilot.vehicles:
            time = pl.concat([log.frame["time"] for log in first_days if log.vehicle.name == vehicle.name])
            if vehicle.sleeps_at_key_off:
                assert time.diff().max() > dt.timedelta(hours=3)
            else:
                assert time.diff().max() == dt.timedelta(minutes=10)


def test_a_sleeping_gateway_gives_a_daily_sign_of_life(small_pilots):
    weekend = [log for log in small_pilots if log.vehicle.name == "school-bus-01" and log.day.date.weekday() >= 5]
    assert [log.frame.height for log in weekend] == [1, 1, 1, 1]
    assert all(log.frame["time"].dt.convert_time_zone("America/Toronto").dt.hour().item() == 12 for log in weekend)


def test_charging_runs_over_the_cut():
    logs = [log for log in simulate(days=2, pilots=["santiago-buses"]) if log.vehicle.name == "bus-01"]
    assert logs[0].frame["charging"][-1]
    assert logs[1].frame["charging"][0]
    soc = [logs[0].frame["battery_soc_pct"][-1], logs[1].frame["battery_soc_pct"][0]]
    assert soc[1] == pytest.approx(soc[0], abs=0.1)


def test_counters_only_grow_but_for_the_reset(small_pilots):
    falls = defaultdict(list)
    frames = defaultdict(list)
    for log in small_pilots:
        frames[log.vehicle.name].append(log.frame)
    for vehicle, parts in frames.items():
        frame = pl.concat(parts)
        for name in (n for n in frame.columns if n in SIGNALS and SIGNALS[n].counter):
            for at, reading in frame.select("time", name).filter(pl.col(name).diff() < 0).iter_rows():
                falls[vehicle, name].append((at, reading))
    assert list(falls) == [("van-01", "odometer_km")]
    [(at, reading)] = falls["van-01", "odometer_km"]
    assert at == dt.datetime(2025, 10, 30, 3, 20, tzinfo=dt.UTC)
    assert reading == 0


def test_whole_percent_and_ten_seconds(small_pilots):
    frame = next(log.frame for log in small_pilots if log.vehicle.name == "van-01")
    assert (frame["battery_soc_pct"] % 1 == 0).all()
    assert frame["time"].diff().median() == dt.timedelta(seconds=10)


def test_the_dice_are_reproducible_and_a_subset_is_the_full_run(first_days):
    subset = list(simulate(days=1, pilots=["kochi-ferries", "shenzhen-delivery"]))
    assert len(subset) == 4
    for log in subset:
        same = next(o for o in first_days if (o.vehicle.name, o.day.date) == (log.vehicle.name, log.day.date))
        assert log.frame.equals(same.frame)
    other = next(simulate(days=1, pilots=["kochi-ferries"], seed=8))
    assert not other.frame.equals(subset[0].frame)


def test_full_size_is_three_million_rows(whole_truth):
    """Awake time over the sample period, without making the rows."""
    period = pl.col("vehicle").replace_strict(
        {v.name: v.sample_period_s for p in DEMO_FLEET.pilots for v in p.vehicles}, return_dtype=pl.Float64
    )
    whole_days = truth_rows = whole_truth.days.select(
        ((pl.col("key_on_h") + pl.col("charging_h")) * 3600 / period).sum()
    ).item()
    ferry_charging = (
        whole_truth.days.filter(pl.col("pilot") == "kochi-ferries").select(pl.col("charging_h").sum()).item()
    )
    assert whole_days - ferry_charging * 1200 > 3_000_000  # ferries charge with the key on
    assert truth_rows < 3_600_000


# --- uploads --------------------------------------------------------------------------------------


def test_uploads_hold_every_row_once_and_what_goes_wrong():
    logs = list(simulate(days=5, pilots=["rotterdam-yard", "santiago-buses"]))
    sent = list(uploads(logs))
    order = [upload.phase for upload in sent]
    assert order.index(Phase.LATE) == len(order) - 1
    assert order.count(Phase.WRONG_CLOCK) == 1
    frames = [(u.phase, pl.read_parquet(u.upload.body)) for u in sent]
    right = pl.concat([f.select("vehicle", "time") for phase, f in frames if phase in (Phase.FIRST, Phase.LATE)])
    wrong = next(f for phase, f in frames if phase is Phase.WRONG_CLOCK)
    bad, good = wrong.filter(pl.col("time").dt.year() == 1970), wrong.filter(pl.col("time").dt.year() == 2025)
    assert bad.height == 1200  # forty minutes at two seconds
    everything = pl.concat([right, good.select("vehicle", "time")]).sort("vehicle", "time")
    expected = pl.concat([log.frame.select("vehicle", "time") for log in logs]).sort("vehicle", "time")
    assert everything.equals(expected)
    late = next(f for phase, f in frames if phase is Phase.LATE)
    assert late["vehicle"].unique().to_list() == ["bus-03"]
    assert late["time"].min() >= dt.datetime(2025, 10, 23, 16, tzinfo=dt.UTC)


def test_one_upload_is_repeated_byte_for_byte():
    sent = list(uploads(simulate(days=2, pilots=["long-beach-drayage"])))
    repeat = sent[-1]
    assert repeat.phase is Phase.REPEAT
    first = next(u for u in sent if (u.vehicle, u.day) == (repeat.vehicle, repeat.day))
    assert first.phase is Phase.FIRST
    assert first.upload.body == repeat.upload.body


def test_formats_and_gateways():
    sent = list(uploads(simulate(days=1, pilots=BEV)))
    kinds = {(u.pilot, u.upload.content_type, u.upload.encoding) for u in sent}
    assert ("shenzhen-delivery", "text/csv", "zstd") in kinds
    assert ("quebec-school-bus", "application/x-ndjson", "gzip") in kinds
    assert ("long-beach-drayage", "application/vnd.apache.parquet", None) in kinds
    assert {u.upload.gateway for u in sent if u.pilot == "shenzhen-delivery"} == {"szx-cloud"}
    assert max(u.upload.rows for u in sent) <= 25_000


def test_truth_frames_of_no_logs_have_their_columns():
    empty = as_frames([])
    assert "energy_used_kwh" in empty.days.columns
    assert empty.trips.height == empty.sessions.height == 0
