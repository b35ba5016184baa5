"""How fast rows come in over HTTP, beside raw binary COPY of the same rows into the same hypertable.

Bodies are ready before the clock starts. Each of four clients posts its own vehicle's rows, one after the other; one
server process takes them in. The peer writes ready bytes over one connection and commits after each 10,000 rows.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import http.client
import io
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import psycopg

from ingest.arrays import encode
from schemas.signals import SIGNALS, Kind
from tests.benchmarks.receiver import database_of, peak_mb, receiver
from tests.benchmarks.result import Result

ROWS = 10_000
CLIENTS = 4
POSTS = 12  # of each client
ROUNDS = 3  # each with its own COPY beside it
T0 = dt.datetime(2026, 1, 6, tzinfo=dt.UTC)
SENT = (
    "speed_kmh", "odometer_km", "latitude_deg", "longitude_deg", "altitude_m", "heading_deg", "battery_soc_pct",
    "battery_voltage_v", "battery_current_a", "battery_power_kw", "battery_temperature_c", "energy_charged_kwh",
    "energy_discharged_kwh", "energy_regenerated_kwh", "motor_power_kw", "auxiliary_power_kw", "ambient_temperature_c",
    "ignition_on", "charging", "plugged_in",
)  # fmt: skip
TYPES = {
    "parquet": "application/vnd.apache.parquet",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
}


def run() -> list[Result]:
    """Measure every format."""
    with tempfile.TemporaryDirectory() as folder, database_of(Path(folder)) as (owner_url, ingest_url, key):
        frames = [[rows_of(client, post) for post in range(POSTS)] for client in range(CLIENTS)]
        rounds: dict[str, list[Result]] = {kind: [] for kind in TYPES}
        for _ in range(ROUNDS):
            peer = _copy_rate(owner_url, frames)
            for kind, results in rounds.items():
                results.append(_measure(kind, frames, owner_url, ingest_url, key, peer))
        return [_median(results) for results in rounds.values()]


def _median(results: list[Result]) -> Result:
    """The round with the median ratio; the note tells the others'."""
    ranked = sorted(results, key=lambda result: result.ratio or 0)
    ratios = ", ".join(f"{result.ratio:.2f}" for result in ranked)
    middle = ranked[len(ranked) // 2]
    return dataclasses.replace(middle, note=f"{middle.note}; ratios of {len(ranked)} rounds {ratios}")


def rows_of(client: int, post: int) -> pl.DataFrame:
    """10,000 seconds of one vehicle: 17 numbers with three decimals and 3 booleans a row."""
    random = np.random.default_rng(client * 1000 + post)
    start = T0 + dt.timedelta(seconds=post * ROWS)
    times = pl.datetime_range(start, start + dt.timedelta(seconds=ROWS - 1), "1s", time_unit="us", eager=True)
    columns = {name: _values(name, random) for name in SENT}
    return pl.DataFrame({"time": times, "vehicle": [f"truck-{client}"] * ROWS, **columns})


def _values(name: str, random: np.random.Generator) -> pl.Series:
    signal = SIGNALS[name]
    if signal.kind is Kind.BOOLEAN:
        return pl.Series(random.random(ROWS) > 0.5)
    return pl.Series(np.round(random.random(ROWS) * min(signal.high, 90), 3))


def body_of(kind: str, rows: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    if kind == "parquet":
        rows.write_parquet(out)
        return out.getvalue()
    text = rows.with_columns(pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    if kind == "csv":
        text.write_csv(out)
    else:
        text.write_ndjson(out)
    return out.getvalue()


def _measure(
    kind: str, frames: list[list[pl.DataFrame]], owner_url: str, ingest_url: str, key: str, peer: float
) -> Result:
    bodies = [[body_of(kind, rows) for rows in posts] for posts in frames]
    empty(owner_url)
    with receiver(ingest_url) as (port, pid):
        post(port, key, TYPES[kind], [body_of(kind, rows_of(0, POSTS))])  # the first request pays for what is made once
        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as threads:
            list(threads.map(lambda posts: post(port, key, TYPES[kind], posts), bodies))
        took_s = time.perf_counter() - began
        peak = peak_mb(pid)
    expect_rows(owner_url, CLIENTS * POSTS * ROWS + ROWS)
    rate = CLIENTS * POSTS * ROWS / took_s
    note = f"{ROWS} rows a post, {len(SENT)} signals, {CLIENTS} clients, {len(bodies[0][0]) / 1e6:.1f} MB a post"
    return Result(
        f"ingest.{kind}_vs_copy", rate, "rows/s", "binary COPY, one connection", peer, rate / peer, peak, note
    )


def post(port: int, key: str, content_type: str, bodies: list[bytes]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": content_type}
    for body in bodies:
        connection.request("POST", "/v1/telemetry", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(text.decode())
    connection.close()


def _copy_rate(owner_url: str, frames: list[list[pl.DataFrame]]) -> float:
    """Rows per second of binary COPY, bytes ready, a commit after each batch."""
    columns = ["vehicle_id", "time", *SENT]
    ready = [
        encode(rows.select(pl.lit(client + 1, pl.Int32).alias("vehicle_id"), "time", *SENT))
        for client, posts in enumerate(frames)
        for rows in posts
    ]
    empty(owner_url)
    statement = f"COPY telemetry ({', '.join(columns)}) FROM STDIN (FORMAT binary)"
    with psycopg.connect(owner_url) as connection:
        began = time.perf_counter()
        for data in ready:
            with connection.cursor().copy(statement) as copy:
                copy.write(data)
            connection.commit()
        return len(ready) * ROWS / (time.perf_counter() - began)


def empty(owner_url: str) -> None:
    """The same start for each: no rows, no chunks, everything flushed."""
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("TRUNCATE telemetry, stale_mark, upload, upload_vehicle, upload_body, upload_log, upload_reject")


def expect_rows(owner_url: str, wanted: int) -> None:
    with psycopg.connect(owner_url) as owner:
        (found,) = owner.execute("SELECT count(*) FROM telemetry").fetchall()[0]
    if found != wanted:
        raise RuntimeError(f"{found} rows are stored, {wanted} were sent")
