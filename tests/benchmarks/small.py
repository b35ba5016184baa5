"""Small posts from many connections: 60 rows each, from 64 connections of the load generator wrk, beside InfluxDB.

Both servers are under the same load for WARM_S before the clock starts: files grow, plans and types become known.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.benchmarks import influxdb
from tests.benchmarks.receiver import VEHICLES, database_of, peak_mb, receiver
from tests.benchmarks.result import Result

SCRIPT = Path(__file__).with_name("small.lua")
ROWS, CONNECTIONS, THREADS, WARM_S, SECONDS = 60, 64, 2, 10, 15
ROUNDS = 3
PROCESSES = 2  # of the receiver: one for each core
SINCE = (1_767_686_400, 1_770_278_400)
"""When the rows of the warm-up begin, and those that count: seconds since 1970."""
NAME = "ingest.small_vs_influxdb"


@dataclass(frozen=True, order=True)
class Round:
    """What wrk saw."""

    rows_per_s: float
    p50_ms: float
    p99_ms: float
    peak_mb: float


def run() -> list[Result]:
    """Measure."""
    if shutil.which("wrk") is None:
        return [Result(NAME, None, "rows/s", note="wrk is not installed (Debian's package wrk)")]
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(_ours())
        if influxdb.is_installed():
            theirs.append(_theirs())
    one, note = sorted(ours)[ROUNDS // 2], f"{ROWS} rows a post, {CONNECTIONS} connections, {PROCESSES} processes"
    note += f"; p50 {one.p50_ms:.0f} ms, p99 {one.p99_ms:.0f} ms"
    if not theirs:
        return [Result(NAME, one.rows_per_s, "rows/s", peak_mb=one.peak_mb, note=f"{note}; {influxdb.NOTE}")]
    peer = sorted(theirs)[ROUNDS // 2]
    note += f"; the peer's p50 {peer.p50_ms:.0f} ms, p99 {peer.p99_ms:.0f} ms, {peer.peak_mb:.0f} MB"
    ratio = one.rows_per_s / peer.rows_per_s
    return [Result(NAME, one.rows_per_s, "rows/s", "InfluxDB 1.6", peer.rows_per_s, ratio, one.peak_mb, note)]


def _ours() -> Round:
    with tempfile.TemporaryDirectory() as folder, database_of(Path(folder)) as (owner_url, ingest_url, key):
        with receiver(ingest_url, workers=PROCESSES, landing_url=f"file://{folder}/landing") as (port, pid):
            told = _load(port, "ndjson", "/v1/telemetry", key)
            peak = peak_mb(pid)
        with psycopg.connect(owner_url) as owner:
            ((stored,),) = owner.execute("SELECT count(*) FROM telemetry").fetchall()
        return _round(told, stored, peak)


def _theirs() -> Round:
    with tempfile.TemporaryDirectory() as folder, influxdb.influxdb(Path(folder)) as influx:
        told = _load(influx.port, "line", "/write?db=bench", "none")
        return _round(told, influx.rows(), peak_mb(influx.pid))


def _load(port: int, kind: str, path: str, key: str) -> list[list[int]]:
    """Of the warm-up and of what counts: requests, microseconds, errors, p50 and p99 in microseconds."""
    return [
        _run(port, kind, path, key, seconds, since) for seconds, since in zip((WARM_S, SECONDS), SINCE, strict=True)
    ]


def _run(port: int, kind: str, path: str, key: str, seconds: int, since: int) -> list[int]:
    given = {"BENCH_KIND": kind, "BENCH_PATH": path, "BENCH_KEY": key, "BENCH_VEHICLES": str(VEHICLES // THREADS),
             "BENCH_SINCE": str(since)}  # fmt: skip
    program = ["wrk", f"-t{THREADS}", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT),
               f"http://127.0.0.1:{port}"]  # fmt: skip
    said = subprocess.run(program, env=os.environ | given, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [int(part) for part in said.partition("RESULT ")[2].split()]


def _round(told: list[list[int]], stored: int, peak: float) -> Round:
    requests, errors = (sum(run[at] for run in told) for at in (0, 2))
    # Requests under way at the end of a run are stored and not counted.
    if errors or not requests * ROWS <= stored <= (requests + len(told) * CONNECTIONS) * ROWS:
        raise RuntimeError(f"{requests} posts, {errors} errors, {stored} rows stored")
    requests, took_us, _, p50_us, p99_us = told[-1]
    return Round(requests * ROWS / took_us * 1e6, p50_us / 1e3, p99_us / 1e3, peak)
