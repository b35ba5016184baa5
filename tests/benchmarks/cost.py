"""What work costs, in seconds of processor time and bytes: figures that hold also while the machine does other work.

A million rows in large and in small posts, and a vehicle-day of 86,400 rows and 30 signals, from the database to stored
results.
"""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import psycopg

from pipelines.compute import compute_pilot
from tests.benchmarks import metrics_store
from tests.benchmarks.ingest import CLIENTS, ROWS, TYPES, body_of, empty, expect_rows, post, rows_of
from tests.benchmarks.receiver import database_of, receiver, server_of
from tests.benchmarks.result import Result

POSTS, SMALL_ROWS, SMALL_POSTS = 6, 60, 600  # of each client
THREADS = 16
TICKS = os.sysconf("SC_CLK_TCK")


def run() -> list[Result]:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder, database_of(Path(folder)) as (owner_url, ingest_url, key):
        server_pid = int((Path(folder) / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        large = [[body_of("ndjson", rows_of(client, n)) for n in range(POSTS)] for client in range(CLIENTS)]
        results = [_rows("large", large, POSTS * ROWS, owner_url, ingest_url, key, server_pid)]
        small = [_small_bodies(client) for client in range(THREADS)]
        results.append(_rows("small", small, SMALL_POSTS * SMALL_ROWS, owner_url, ingest_url, key, server_pid))
    return [*results, _vehicle_day()]


def _rows(
    size: str, bodies: list[list[bytes]], rows_each: int, owner_url: str, ingest_url: str, key: str, server_pid: int
) -> Result:
    empty(owner_url)
    with receiver(ingest_url) as (port, pid):
        before, began = (cpu_s(pid), cpu_s(server_pid)), time.perf_counter()
        with ThreadPoolExecutor(len(bodies)) as threads:
            list(threads.map(lambda own: post(port, key, TYPES["ndjson"], own), bodies))
        took_s = time.perf_counter() - began
        used = (cpu_s(pid) - before[0], cpu_s(server_pid) - before[1])
    rows = rows_each * len(bodies)
    expect_rows(owner_url, rows)
    with psycopg.connect(owner_url) as owner:
        ((stored, kept),) = owner.execute(
            "SELECT hypertable_size('telemetry'), pg_total_relation_size('upload_body')"
        ).fetchall()
    note = f"{rows:,} rows of 20 signals as NDJSON, {rows // sum(map(len, bodies))} a post, in" \
        f" {took_s:.0f} s; receiver {used[0] / rows * 1e6:.1f} s, database {used[1] / rows * 1e6:.1f} s;" \
        f" {stored / rows:.0f} bytes a row, kept bodies {kept / rows:.0f}; load {os.getloadavg()[0]:.0f}"  # fmt: skip
    return Result(f"cost.million_rows_{size}", sum(used) / rows * 1e6, "CPU s", note=note)


def _vehicle_day() -> Result:
    with tempfile.TemporaryDirectory() as folder, server_of(Path(folder)) as server:
        rows = metrics_store.fill(server.url())
        pid = server.status().pid or 0
        compute_pilot(server.url("beachhead_jobs"), "bench")  # what is made once is made
        with psycopg.connect(server.url(), autocommit=True) as owner:
            owner.execute("TRUNCATE vehicle_day, pilot_day CASCADE")
        before = (time.process_time(), cpu_s(pid))
        computed = compute_pilot(server.url("beachhead_jobs"), "bench")
        used = (time.process_time() - before[0], cpu_s(pid) - before[1])
    days = computed.changed
    note = f"{days} vehicle-days, {rows:,} rows; job {used[0] / days:.2f} s, database {used[1] / days:.2f} s;" \
        f" load {os.getloadavg()[0]:.0f}"  # fmt: skip
    return Result("cost.vehicle_day", sum(used) / days, "CPU s", note=note)


def cpu_s(pid: int) -> float:
    """Processor time of a process, and of all that it started, also of what has ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(int, fields[11:15])) / TICKS + sum(cpu_s(int(child)) for child in children)


def _small_bodies(client: int) -> list[bytes]:
    """Posts of a minute of one vehicle each."""
    rows = pl.concat(rows_of(CLIENTS + client, n) for n in range(-(-SMALL_POSTS * SMALL_ROWS // ROWS)))
    return [body_of("ndjson", rows.slice(n * SMALL_ROWS, SMALL_ROWS)) for n in range(SMALL_POSTS)]
