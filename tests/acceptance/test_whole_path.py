"""The whole path on real parts: HTTP, TimescaleDB, Airflow and the read side, held to known truth."""

import datetime as dt
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import sqlalchemy as sa

from ingest.gateway.simulator.simulate import truth
from pipelines.airflow import AirflowProcess
from pipelines.demo.place import Place, make_databases
from pipelines.demo.pushing import FleetPush
from pipelines.demo.run import DAG, gateway_keys, prepare
from pipelines.demo.servers import Running, both_servers
from schemas import tables
from schemas.addresses import Role
from schemas.database import engine
from schemas.local.progress import silent
from tests.conftest import TestServer

PILOTS = ("santiago-buses", "shenzhen-delivery")
DAYS = 2
SAMPLES = Path(os.environ.get("BEACHHEAD_SAMPLE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
BEACHHEAD = Path(sys.executable).with_name("beachhead")

TWIZY = """\
pilots:
- id: rabat-quadricycle
  name: Rabat quadricycle
  region: MA
  segment: passenger-car
  time_zone: Africa/Casablanca
  starts_on: 2021-04-01
  vehicles:
  - {id: twizy-1, category: car, powertrain: bev, usable_battery_kwh: 6.1, sample_period_s: 1,
     baseline: {fuel: diesel, rate: 6, unit: L/100km, source: "declared for this test"}}
  gateways: [{id: gw-twizy, vehicles: [twizy-1]}]
"""
COLUMNS = """\
time: {columns: [Date, Time], format: "%m/%d/%Y %H:%M:%S", tz: Africa/Casablanca}
vehicle: twizy-1
signals:
  battery_soc_pct: {column: Soc}
  speed_kmh: {column: Speed, unit: km/h}
  latitude_deg: {column: LAT}
  longitude_deg: {column: LON}
  altitude_m: {column: ALT}
  ambient_temperature_c: {column: Temperature}
keep_others: true
"""
DISTANCES_KM = {
    "04_22_2021_1": 14.15, "04_22_2021_2": 15.48, "04_26_2021_1": 14.34, "04_26_2021_2": 15.65,
    "05_25_2021_04": 32.99, "05_25_2021_1": 13.83, "05_25_2021_2": 15.56, "05_25_2021_3": 14.20,
    "05_31_2021": 15.70, "06_07_2021": 19.72,
}  # fmt: skip


@dataclass
class Stack:
    """Everything that runs: database, both servers, Airflow."""

    place: Place
    running: Running
    airflow: AirflowProcess

    def compute(self) -> None:
        self.airflow.run_dag(DAG)

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.running.analytics}{path}", timeout=60).raise_for_status().json()

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(BEACHHEAD), *arguments], env=dict(self.place.environment), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stored(self) -> dict[str, Any]:
        """Everything computed, and how many rows there are of each table that uploads fill."""
        owner = engine(self.place.url(Role.OWNER))
        with owner.connect() as connection:
            results = {
                table.__tablename__: [tuple(row) for row in connection.execute(sa.select(table.__table__))]
                for table in (tables.VehicleDay, tables.PilotDay, tables.Trip)
            }
            counts = {
                name: connection.execute(sa.text(f"SELECT count(*) FROM {name}")).scalar_one()
                for name in ("telemetry", "signal_sample", "upload", "stale_mark")
            }
        owner.dispose()
        return {name: sorted(rows, key=str) for name, rows in results.items()} | counts


@pytest.fixture(scope="module")
def stack(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    name = f"test_{uuid.uuid4().hex}"
    place = Place(tmp_path_factory.mktemp("whole-path"), server, name, f"{name}_airflow")
    with server.admin() as superuser:
        make_databases(superuser, place)
        try:
            prepare(place, silent)
            airflow = AirflowProcess(place.home, place.scheduler_url, place.environment)
            airflow.migrate()
            with both_servers(place.home, place.environment) as running, airflow:
                yield Stack(place, running, airflow)
        finally:
            for database in (place.database, place.scheduler_database):
                superuser.execute(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture(scope="module")
def computed(stack: Stack) -> Stack:
    """Two days of two pilots, pushed over HTTP and computed by Airflow."""
    push(stack)
    return stack


def push(stack: Stack) -> FleetPush:
    with gateway_keys(stack.place) as keys:
        fleet = FleetPush(stack.running.ingest, keys, DAYS, PILOTS)
        fleet.in_time(lambda _: None)
        fleet.late(lambda _: None)
    stack.compute()
    return fleet


@pytest.mark.parametrize("pilot", PILOTS)
def test_figures_agree_with_the_simulators_truth(computed: Stack, pilot: str) -> None:
    days = truth(days=DAYS, pilots=[pilot]).days
    known = {name: days[name].sum() for name in ("distance_km", "energy_used_kwh", "key_on_h")}
    summary = computed.get(f"/v1/pilots/{pilot}/summary")
    metrics = summary["metrics"]
    for name, tolerance in (("distance_km", 0.01), ("energy_used_kwh", 0.01), ("key_on_h", 0.005)):
        assert metrics[name]["value"] == pytest.approx(known[name], rel=tolerance), name
        assert metrics[name]["coverage_pct"] > 95
    assert metrics["energy_per_km_kwh"]["value"] == pytest.approx(
        metrics["energy_used_kwh"]["value"] / metrics["distance_km"]["value"], rel=1e-6
    )
    assert summary["headline_co2e"] is not None
    assert metrics[summary["headline_co2e"]]["value"] > 0
    assert summary["factors"]


def test_everything_a_second_time_changes_nothing(computed: Stack) -> None:
    before = computed.stored()
    fleet = push(computed)
    assert fleet.tally["repeated uploads"] == fleet.tally["uploads"] > 0
    assert computed.stored() == before
    assert before["stale_mark"] == 0


def test_a_summary_equals_the_sum_of_its_days(computed: Stack) -> None:
    summary = computed.get("/v1/pilots/santiago-buses/summary")
    days = computed.get("/v1/pilots/santiago-buses/days")
    assert sum(day["metrics"]["distance_km"]["value"] for day in days) == pytest.approx(
        summary["metrics"]["distance_km"]["value"], rel=1e-9
    )


@pytest.fixture(scope="module")
def twizy(stack: Stack) -> Stack:
    """Ten real recordings, pushed with a column map by the command and computed by Airflow."""
    recordings = SAMPLES / "twizy-ev"
    if not recordings.is_dir():
        pytest.skip(f"real recordings are not at {recordings}; set BEACHHEAD_SAMPLE_DATA")
    home = stack.place.home
    (home / "twizy.yaml").write_text(TWIZY)
    (home / "map.yaml").write_text(COLUMNS)
    printed = stack.command("pilot", "import", str(home / "twizy.yaml"))
    key = printed.split()[-1]
    files = [str(path) for path in sorted(recordings.glob("*.csv"))]
    pushed = json.loads(
        stack.command("push", *files, "--url", stack.running.ingest, "--key", key, "--columns", str(home / "map.yaml"),
                      "--json")
    )  # fmt: skip
    assert [row["status"] for row in pushed] == ["loaded"] * len(files) == ["loaded"] * 10
    stack.compute()
    return stack


def test_trips_of_real_recordings(twizy: Stack) -> None:
    """Each recording's distance, by the trapezoid of its speed, is the distance of the trips within it."""
    trips = twizy.get("/v1/vehicles/rabat-quadricycle/twizy-1/trips")
    for name, expected_km in DISTANCES_KM.items():
        start, end = recorded(SAMPLES / "twizy-ev" / f"T3_{name}.csv")
        within = [
            trip["distance_km"] for trip in trips
            if start <= dt.datetime.fromisoformat(trip["starts_at"]) <= end
        ]  # fmt: skip
        assert sum(within) == pytest.approx(expected_km, rel=0.01), name


def recorded(path: Path) -> tuple[dt.datetime, dt.datetime]:
    """First and last time of a recording, read without our own column map."""
    local = (pl.col("Date") + " " + pl.col("Time")).str.to_datetime("%m/%d/%Y %H:%M:%S")
    times = pl.read_csv(path).select(local.dt.replace_time_zone("Africa/Casablanca").dt.convert_time_zone("UTC"))
    first, last = times.to_series().min(), times.to_series().max()
    assert isinstance(first, dt.datetime)
    assert isinstance(last, dt.datetime)
    return first, last


def test_soc_lost_between_two_recordings_counts(twizy: Stack) -> None:
    days = {day["day"]: day for day in twizy.get("/v1/vehicles/rabat-quadricycle/twizy-1/days")}
    used = days["2021-04-26"]["metrics"]["energy_used_kwh"]
    assert used["value"] == pytest.approx(3.159, abs=0.0005)
    assert used["method"] == "estimated"
    assert "SOC" in used["note"]


def test_without_a_grid_factor_emissions_are_unknown_and_say_why(twizy: Stack) -> None:
    metrics = twizy.get("/v1/pilots/rabat-quadricycle/summary")["metrics"]
    for slug in ("co2e_avoided_tailpipe_vs_generation_kg", "co2e_avoided_well_to_wheel_kg",
                 "co2e_avoided_conservative_kg"):  # fmt: skip
        assert metrics[slug]["value"] is None
        assert metrics[slug]["note"]


def test_columns_without_a_signal_are_kept(twizy: Stack) -> None:
    owner = engine(twizy.place.url(Role.OWNER))
    with owner.connect() as connection:
        kinds = {
            row.name: row.kind
            for row in connection.execute(
                sa.select(tables.ExtraSignal.name, tables.ExtraSignal.kind)
                .join(tables.Vehicle, tables.Vehicle.id == tables.ExtraSignal.vehicle_id)
                .where(tables.Vehicle.name == "twizy-1")
            )
        }
    owner.dispose()
    assert kinds.get("Weather") == "text"
    assert kinds.get("Humidity") == "number"
