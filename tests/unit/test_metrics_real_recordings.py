"""Ten real recordings of an electric quadricycle: speed and state of charge, no key, no odometer, no power."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from metrics_case import TRUCK, inputs

from analytics.metrics import Results, compute

FOLDER = Path(os.environ.get("BEACHHEAD_SAMPLE_DATA", "../shared/data")) / "twizy-ev"
ZONE = ZoneInfo("Africa/Casablanca")
KM = {
    "04_22_2021_1": 14.15, "04_22_2021_2": 15.48, "04_26_2021_1": 14.34, "04_26_2021_2": 15.65,
    "05_25_2021_04": 32.99, "05_25_2021_1": 13.83, "05_25_2021_2": 15.56, "05_25_2021_3": 14.20,
    "05_31_2021": 15.70, "06_07_2021": 19.72,
}  # fmt: skip
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no recordings in {FOLDER}")


def _recording(name: str) -> pl.DataFrame:
    local = pl.concat_str("Date", "Time", separator=" ").str.to_datetime("%m/%d/%Y %H:%M:%S", time_unit="us")
    return pl.read_csv(FOLDER / f"T3_{name}.csv").select(
        vehicle_id=pl.lit(1, pl.Int32),
        time=local.dt.replace_time_zone("Africa/Casablanca").dt.convert_time_zone("UTC"),
        speed_kmh="Speed",
        battery_soc_pct="Soc",
    )


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC)


@pytest.fixture(scope="module")
def results() -> Results:
    rows = pl.concat([_recording(name) for name in KM])
    first = date(2021, 4, 21)
    days = [first + timedelta(days=n) for n in range(50)]
    listed = [
        {
            "vehicle_id": 1,
            "day": d,
            "pilot_id": 1,
            "starts_at": _midnight(d),
            "ends_at": _midnight(d + timedelta(days=1)),
        }
        for d in days
    ]
    twizy = {**TRUCK, "name": "twizy-1", "category": "car", "usable_battery_kwh": 6.1, "sample_period_s": 1.0}
    return compute(inputs(rows, vehicles=(twizy,), days=listed))  # type: ignore[arg-type]


def test_each_recording_is_a_trip_of_its_length(results: Results) -> None:
    trips = results.trips.sort("starts_at")
    starts = {name: _recording(name)["time"].min() for name in KM}
    in_order = [KM[name] for name in sorted(KM, key=lambda name: starts[name])]  # type: ignore[arg-type,return-value]
    assert trips["distance_km"].to_list() == pytest.approx(in_order, abs=0.02)


def test_distance_of_the_days(results: Results) -> None:
    figures = results.figures.filter(pl.col("value").is_not_null(), metric="distance_km").sort("day")
    by_day = dict(figures.select("day", "value").iter_rows())
    assert by_day[date(2021, 4, 22)] == pytest.approx(14.15 + 15.48, abs=0.01)
    assert by_day[date(2021, 5, 25)] == pytest.approx(32.99 + 13.83 + 15.56 + 14.20, abs=0.02)
    assert len(by_day) == 5


def _value(results: Results, slug: str, day: date) -> float:
    return results.figures.filter(metric=slug, day=day)["value"].item()


def test_charge_lost_while_parked_between_recordings_counts_in_the_day(results: Results) -> None:
    assert _value(results, "energy_used_kwh", date(2021, 4, 26)) == pytest.approx(3.159, abs=0.001)
    note = results.figures.filter(metric="energy_used_kwh", day=date(2021, 4, 26))["note"].item()
    assert note == "SOC x 6.1 kWh"


def test_charge_gained_between_recordings_is_charging(results: Results) -> None:
    """On 25 May it went from 32.40 to 61.74, from 34.18 to 62.54 and from 38.48 to 62.58 % between recordings."""
    gained = (61.74 - 32.40) + (62.54 - 34.18) + (62.58 - 38.48)
    assert _value(results, "energy_charged_kwh", date(2021, 5, 25)) == pytest.approx(gained * 0.061, abs=0.001)
    used = 56.20 + gained - 13.40
    assert _value(results, "energy_used_kwh", date(2021, 5, 25)) == pytest.approx(used * 0.061, abs=0.001)


def test_trip_energy_of_a_recording(results: Results) -> None:
    first = results.trips.filter(pl.col("day") == date(2021, 4, 26)).sort("starts_at").row(0, named=True)
    assert first["energy_used_kwh"] == pytest.approx((96.12 - 71.66) * 0.061, abs=0.01)
