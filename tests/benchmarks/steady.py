"""Whether results keep up: a thousand vehicles post 60 rows each minute while the pipelines run.

One receiver takes the rows in, a real Airflow runs the project's DAG, one run after the other as its schedule does when
runs take long. A row's lag is the time from its own instant to the end of the computation that first holds it; every
vehicle's last row before a computation waits longest, so those are told. The day is HISTORY_H old when it begins.
"""

from __future__ import annotations

import datetime as dt
import http.client
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import psycopg
import sqlalchemy as sa

from ingest import store
from ingest.arrays import copy_in
from pipelines.airflow import AirflowProcess
from schemas import database
from tests.benchmarks import vehicle_day
from tests.benchmarks.receiver import receiver, server_of
from tests.benchmarks.result import Result

PILOTS, VEHICLES_EACH, ROWS, EVERY_S = 10, 100, 60, 60.0
HISTORY_H = 1
MINUTES = 8
SCHEDULE_S = 600.0  # of the DAG
MOST_S = 1200.0
DAG = "recompute"


class Computed(NamedTuple):
    """What results held at the end of a run: by vehicle, until when and since when."""

    data_until: dict[int, dt.datetime]
    computed_at: dict[int, dt.datetime]


def run() -> list[Result]:
    """Measure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server_of(folder) as server:
            began = dt.datetime.now(dt.UTC).replace(microsecond=0)
            keys = _register(server.url(), began)
            _fill(server.url(), began)
            variables = {"BEACHHEAD_JOBS_URL": server.url("beachhead_jobs")}
            airflow = AirflowProcess(folder, server.url("airflow", "airflow"), variables)
            airflow.migrate()
            with airflow, receiver(server.url("beachhead_ingest"), landing_url=f"file://{folder}/landing") as (port, _):
                airflow.run_dag(DAG)  # the history
                since = dt.datetime.now(dt.UTC).replace(microsecond=0)
                with _posting(port, keys, since) as posted:
                    runs_s, seen = _follow(airflow, server.url())
            backlog_s = _oldest_mark_s(server.url())
    return [_result(runs_s, seen, posted, backlog_s, since)]


def _result(
    runs_s: list[float], seen: list[Computed], posted: list[float], backlog_s: float, since: dt.datetime
) -> Result:
    lags_s = [
        (later.computed_at[id_] - until).total_seconds()
        for earlier, later in pairwise(seen)
        for id_, until in earlier.data_until.items()
        if until >= since
    ]
    p50_s, p99_s = np.percentile(lags_s, [50, 99])
    slowest_s = max(runs_s)
    scheduled_s = SCHEDULE_S + EVERY_S + slowest_s
    p99_ms = float(np.percentile(posted, 99)) * 1e3
    note = (
        f"{PILOTS * VEHICLES_EACH} vehicles, {len(posted)} posts of {ROWS} rows in {MINUTES} min, a day {HISTORY_H} h"
        f" old; p50 {p50_s:.0f} s, runs of {min(runs_s):.0f} to {slowest_s:.0f} s, oldest mark at the end"
        f" {backlog_s:.0f} s; on the schedule of 10 min at most {scheduled_s:.0f} s; posts p99 {p99_ms:.0f} ms"
    )
    return Result("steady.lag_s", float(p99_s), "s", "at most", MOST_S, MOST_S / scheduled_s, note=note)


# --- what is measured -----------------------------------------------------------------------------


def _follow(airflow: AirflowProcess, owner_url: str) -> tuple[list[float], list[Computed]]:
    """Run after run, for MINUTES."""
    until, runs_s, seen = time.monotonic() + MINUTES * 60, [], []
    while time.monotonic() < until or len(seen) < 3:
        runs_s.append(airflow.run_dag(DAG).duration_s)
        with psycopg.connect(owner_url) as owner:
            days = owner.execute(
                "SELECT DISTINCT ON (vehicle_id) vehicle_id, data_until, computed_at FROM vehicle_day"
                " ORDER BY vehicle_id, day DESC"
            ).fetchall()
        seen.append(Computed({id_: data for id_, data, _ in days}, {id_: done for id_, _, done in days}))
    return runs_s, seen


def _oldest_mark_s(owner_url: str) -> float:
    with psycopg.connect(owner_url) as owner:
        row = owner.execute("SELECT extract(epoch FROM now() - min(marked_at)) FROM stale_mark").fetchone()
    return float(row[0]) if row and row[0] is not None else 0.0


# --- what is sent ---------------------------------------------------------------------------------


@contextmanager
def _posting(port: int, keys: list[str], since: dt.datetime) -> Iterator[list[float]]:
    """Every vehicle of every gateway posts once a minute, evenly spread; the list is how long each post took (s)."""
    ended, took_s, faults = threading.Event(), list[float](), list[str]()
    threads = [
        threading.Thread(target=_gateway, args=(port, key, pilot, since, ended, took_s, faults))
        for pilot, key in enumerate(keys)
    ]
    for thread in threads:
        thread.start()
    try:
        yield took_s
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    if faults:
        raise RuntimeError(faults[0])


def _gateway(
    port: int, key: str, pilot: int, since: dt.datetime, ended: threading.Event, took_s: list[float], faults: list[str]
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    sent_until = [since] * VEHICLES_EACH
    step_s = EVERY_S / VEHICLES_EACH
    due, n = time.monotonic() + step_s * pilot / PILOTS, 0
    while not ended.wait(max(0.0, due - time.monotonic())):
        vehicle = n % VEHICLES_EACH
        first, last = sent_until[vehicle], dt.datetime.now(dt.UTC).replace(microsecond=0)
        sent_until[vehicle] = last
        due, n = due + step_s, n + 1
        body = _body(f"truck-{pilot * VEHICLES_EACH + vehicle + 1}", first, last)
        if not body:
            continue
        at = time.perf_counter()
        connection.request("POST", "/v1/telemetry", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        took_s.append(time.perf_counter() - at)
        if answer.status != 200:
            faults.append(text.decode())
            return


def _body(vehicle: str, first: dt.datetime, last: dt.datetime) -> bytes:
    """One row for each second from `first` until before `last`."""
    lines = []
    for n in range(int((last - first).total_seconds())):
        at, t = first + dt.timedelta(seconds=n), n % 60
        row = {
            "vehicle": vehicle, "time": at.isoformat(), "speed_kmh": 30 + t % 20, "battery_power_kw": -40.0 + t,
            "battery_soc_pct": 80 - t / 100, "battery_voltage_v": 650 + t / 10, "battery_current_a": -60.0 + t,
            "latitude_deg": 33.7 + t / 1e5, "longitude_deg": -118.2 + t / 1e5, "ignition_on": True,
            "plugged_in": False, "charging": False, "ambient_temperature_c": 21.5, "motor_power_kw": 39.0 - t / 9,
        }  # fmt: skip
        lines.append(json.dumps(row))
    return "\n".join(lines).encode()


# --- what is there before -------------------------------------------------------------------------


def _register(owner_url: str, began: dt.datetime) -> list[str]:
    """Pilots with vehicles and a gateway each, since the day before; the gateways' keys."""
    since = (began - dt.timedelta(days=1)).date()
    engine, keys = database.engine(owner_url), []
    with engine.begin() as connection:
        for pilot in range(1, PILOTS + 1):
            given = {"pilot": pilot, "since": since, "slug": f"bench-{pilot}"}
            for statement in (
                "INSERT INTO pilot (id, slug, name, region, segment, starts_on)"
                " VALUES (:pilot, :slug, :slug, 'US-CA', 'drayage', :since)",
                "INSERT INTO pilot_calendar VALUES (:pilot, :since, 'UTC', '00:00')",
                "INSERT INTO gateway (id, pilot_id, slug, whole_pilot) VALUES (:pilot, :pilot, 'gw', true)",
            ):
                connection.execute(sa.text(statement), given)
            for vehicle in range((pilot - 1) * VEHICLES_EACH + 1, pilot * VEHICLES_EACH + 1):
                own = given | {"vehicle": vehicle, "name": f"truck-{vehicle}"}
                for statement in (
                    "INSERT INTO vehicle (id, name, category, powertrain, usable_battery_kwh)"
                    " VALUES (:vehicle, :name, 'truck', 'bev', 400)",
                    "INSERT INTO assignment (vehicle_id, pilot_id, starts_on) VALUES (:vehicle, :pilot, :since)",
                ):
                    connection.execute(sa.text(statement), own)
            keys.append(store.create_key(connection, pilot))
    engine.dispose()
    return keys


def _fill(owner_url: str, began: dt.datetime) -> None:
    """HISTORY_H of rows of every vehicle, just before; taken from a day of driving."""
    seconds = HISTORY_H * 3600
    hour = vehicle_day.telemetry(1, 1).slice(5 * 3600, seconds)
    first, last = began - dt.timedelta(seconds=seconds), began - dt.timedelta(seconds=1)
    times = pl.datetime_range(first, last, "1s", time_unit="us", eager=True).alias("time")
    with psycopg.connect(owner_url, autocommit=True) as owner:
        for vehicle in range(1, PILOTS * VEHICLES_EACH + 1):
            rows = hour.with_columns(pl.lit(vehicle, pl.Int32).alias("vehicle_id"), times)
            copy_in(owner, "telemetry", rows)
        owner.execute(
            "INSERT INTO stale_mark (vehicle_id, from_time, to_time, cause)"
            " SELECT id, %s, %s, 'rows' FROM vehicle", [first, last],
        )  # fmt: skip
        owner.execute("VACUUM ANALYZE telemetry")
