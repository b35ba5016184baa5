"""How fast stored rows become stored results, beside the rate at which they can merely be read, and beside plain SQL.

All of a day is computed: every figure, trips, charging sessions, states. SQL computes what people first write by hand:
energy by trapezoid with gaps left out, distance and hours; it runs where the rows are and hands out a line a day, so it
is set beside our computing once the rows are in memory. All use the same rows.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import psycopg
from adbc_driver_postgresql import dbapi as adbc

from analytics import metrics
from ingest.arrays import copy_in
from pipelines.compute import compute_pilot
from tests.benchmarks import vehicle_day
from tests.benchmarks.receiver import server_of
from tests.benchmarks.result import Result

VEHICLES, DAYS = 2, 7
ROUNDS = 3
GOAL = 0.5
BY_HAND = """
WITH steps AS (
    SELECT vehicle_id, time, odometer_km, battery_power_kw AS here, ignition_on, charging,
        lead(battery_power_kw) OVER w AS there, lead(odometer_km) OVER w AS odometer_next_km,
        extract(epoch FROM lead(time) OVER w - time) / 3600 AS step_h
    FROM telemetry WINDOW w AS (PARTITION BY vehicle_id ORDER BY time)
)
SELECT vehicle_id, time_bucket('1 day', time, INTERVAL '11 hours') AS day,
    sum((here + there) / 2 * step_h) AS net_kwh,
    sum(greatest((here + there) / 2, 0) * step_h) FILTER (WHERE charging) AS charged_kwh,
    sum(greatest(odometer_next_km - odometer_km, 0)) AS distance_km,
    sum(step_h) FILTER (WHERE ignition_on) AS key_on_h, sum(step_h) FILTER (WHERE charging) AS charging_h
FROM steps WHERE step_h <= 5.0 / 3600 GROUP BY vehicle_id, day
"""


def run() -> list[Result]:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder, server_of(Path(folder)) as server:
        rows = fill(server.url())
        jobs_url = server.url("beachhead_jobs")
        read_s = _best(lambda: _read(jobs_url))
        hand_s = _best(lambda: _by_hand(jobs_url))
        ours_s = _best(lambda: _compute(server.url(), jobs_url))
    inputs = vehicle_day.inputs(vehicle_day.telemetry(VEHICLES, DAYS), VEHICLES, DAYS)
    memory_s = _best(lambda: metrics.compute(inputs))
    note = f"{VEHICLES * DAYS} vehicle-days, {rows:,} rows, best of {ROUNDS}"
    rate = rows / ours_s
    return [
        Result("metrics.store_vs_adbc_read", rate, "rows/s", "ADBC, read only", rows / read_s, read_s / ours_s,
               note=f"{note}; goal {GOAL}"),
        Result("metrics.vs_sql", rows / memory_s, "rows/s", "SQL, energy, distance and hours only", rows / hand_s,
               hand_s / memory_s, note=f"{note}; ours computes {len(metrics.METRICS)} figures from memory; from the"
               f" database to stored results {hand_s / ours_s:.2f} of SQL"),
    ]  # fmt: skip


def fill(owner_url: str) -> int:
    """A pilot of two trucks and a week of rows; how many."""
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("INSERT INTO pilot (id, slug, name, region, segment, starts_on)"
                      " VALUES (1, 'bench', 'Bench', 'US-CA', 'drayage', '2026-01-05')")  # fmt: skip
        owner.execute("INSERT INTO pilot_calendar VALUES (1, '2026-01-05', 'UTC', '11:00')")
        for n in range(1, VEHICLES + 1):
            owner.execute(
                "INSERT INTO vehicle (id, name, category, powertrain, usable_battery_kwh)"
                " VALUES (%s, %s, 'truck', 'bev', %s)",
                [n, f"truck-{n}", vehicle_day.CAPACITY_KWH],
            )
            owner.execute("INSERT INTO assignment (vehicle_id, pilot_id, starts_on) VALUES (%s, 1, '2026-01-05')", [n])
        rows = vehicle_day.telemetry(VEHICLES, DAYS)
        copy_in(owner, "telemetry", rows)
        owner.execute("VACUUM ANALYZE telemetry")
    return rows.height


def _best(task: Callable[[], object]) -> float:
    took_s = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        task()
        took_s.append(time.perf_counter() - began)
    return min(took_s)


def _read(url: str) -> None:
    columns = ", ".join(f'"{name}"' for name in ("vehicle_id", "time", *metrics.SIGNALS))
    with adbc.connect(url) as connection, connection.cursor() as cursor:
        for vehicle_id in range(1, VEHICLES + 1):
            cursor.execute(f"SELECT {columns} FROM telemetry WHERE vehicle_id = {vehicle_id} ORDER BY time")
            pl.from_arrow(cursor.fetch_arrow_table())


def _by_hand(url: str) -> None:
    with psycopg.connect(url) as jobs:
        found = jobs.execute(BY_HAND).fetchall()  # type: ignore[arg-type]
    if len(found) != VEHICLES * DAYS:
        raise RuntimeError(f"SQL found {len(found)} vehicle-days")


def _compute(owner_url: str, jobs_url: str) -> None:
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("TRUNCATE vehicle_day, pilot_day CASCADE")
    computed = compute_pilot(jobs_url, "bench")
    if computed.changed != VEHICLES * DAYS:
        raise RuntimeError(f"{computed.changed} vehicle-days computed")
