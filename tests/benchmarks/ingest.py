"""How fast rows come in over HTTP, beside raw binary COPY of the same rows into the same hypertable, and InfluxDB.

Bodies are ready before the clock starts. Each of four clients posts its own vehicle's rows, one after the other; one
server process takes them in. COPY writes ready bytes over one connection and commits after each 10,000 rows; InfluxDB
gets the same values as line protocol from as many clients.

Beside new rows: rows that are stored already, cut into other uploads so that none is known by its bytes; and other
signals for instants that are stored.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import http.client
import io
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import psycopg

from ingest.arrays import encode
from schemas.signals import SIGNALS, Kind
from tests.benchmarks import influxdb
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
BESIDE_INFLUXDB = ("parquet", "ndjson")
TYPES = {
    "parquet": "application/vnd.apache.parquet",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
}


def run() -> list[Result]:
    """Measure every format, a replay, a merge, and the peer database."""
    with tempfile.TemporaryDirectory() as folder, database_of(Path(folder)) as (owner_url, ingest_url, key):
        frames = [[rows_of(client, post) for post in range(POSTS)] for client in range(CLIENTS)]
        server = Server(owner_url, ingest_url, key)
        rounds: dict[str, list[Result]] = {}
        for _ in range(ROUNDS):
            peer = _copy_rate(owner_url, frames)
            for kind in TYPES:
                rounds.setdefault(kind, []).append(_new_rows(kind, frames, server, peer))
            rounds.setdefault("replay", []).append(_replay(frames, server, peer))
            rounds.setdefault("merge", []).append(_merge(frames, server, peer))
            rate = _influxdb_rate(frames) if influxdb.is_installed() else None
            for kind in BESIDE_INFLUXDB:
                name = f"{kind}_vs_influxdb"
                rounds.setdefault(name, []).append(_beside_influxdb(name, rounds[kind][-1].value, rate))
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


@dataclass(frozen=True)
class Server:
    """The database's addresses, and a gateway's key."""

    owner_url: str
    ingest_url: str
    key: str

    @contextmanager
    def warm(self, kind: str) -> Iterator[tuple[int, int]]:
        """A receiver with no rows stored, but for those of a first request: it pays for what is made once."""
        empty(self.owner_url)
        with receiver(self.ingest_url) as (port, pid):
            post(port, self.key, TYPES[kind], [body_of(kind, rows_of(0, POSTS))])
            yield port, pid

    def took_s(self, port: int, kind: str, bodies: list[list[bytes]]) -> tuple[float, str]:
        """How long the clients' posts take, and what can be told of how long one did."""
        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as threads:
            waits = list(threads.map(lambda posts: post(port, self.key, TYPES[kind], posts), bodies))
        took_s = time.perf_counter() - began
        p50_ms, p99_ms = np.percentile(np.concatenate(waits), [50, 99]) * 1e3
        return took_s, f"p50 {p50_ms:.0f} ms, p99 {p99_ms:.0f} ms"


def _bodies(kind: str, frames: list[list[pl.DataFrame]]) -> list[list[bytes]]:
    return [[body_of(kind, rows) for rows in posts] for posts in frames]


def _result(name: str, took_s: float, peer: float, peak: float, note: str) -> Result:
    rate = CLIENTS * POSTS * ROWS / took_s
    return Result(
        f"ingest.{name}_vs_copy", rate, "rows/s", "binary COPY, one connection", peer, rate / peer, peak, note
    )


def _new_rows(kind: str, frames: list[list[pl.DataFrame]], server: Server, peer: float) -> Result:
    bodies = _bodies(kind, frames)
    with server.warm(kind) as (port, pid):
        took_s, waits = server.took_s(port, kind, bodies)
        peak = peak_mb(pid)
    expect_rows(server.owner_url, CLIENTS * POSTS * ROWS + ROWS)
    size = f"{ROWS} rows a post, {len(SENT)} signals, {CLIENTS} clients, {len(bodies[0][0]) / 1e6:.1f} MB a post"
    return _result(kind, took_s, peer, peak, f"{size}; {waits}")


def _replay(frames: list[list[pl.DataFrame]], server: Server, peer: float) -> Result:
    """The same rows again, cut half a post later."""
    everything = [pl.concat([*posts, *posts[:1]]) for posts in frames]
    halves = [[rows.slice(n * ROWS + ROWS // 2, ROWS) for n in range(POSTS)] for rows in everything]
    with server.warm("parquet") as (port, pid):
        server.took_s(port, "parquet", _bodies("parquet", frames))
        took_s, waits = server.took_s(port, "parquet", _bodies("parquet", halves))
        peak = peak_mb(pid)
    expect_rows(server.owner_url, CLIENTS * POSTS * ROWS + ROWS)
    return _result("replay", took_s, peer, peak, f"every row is stored already, Parquet; {waits}")


def _merge(frames: list[list[pl.DataFrame]], server: Server, peer: float) -> Result:
    """Half of the signals first, then the other half for the same instants."""
    first, second = SENT[::2], SENT[1::2]
    wanted = CLIENTS * POSTS * ROWS
    with server.warm("parquet") as (port, pid):
        server.took_s(port, "parquet", _halves(frames, first))
        expect_rows(server.owner_url, wanted, f"{first[0]} IS NOT NULL AND {second[0]} IS NULL")
        took_s, waits = server.took_s(port, "parquet", _halves(frames, second))
        peak = peak_mb(pid)
    expect_rows(server.owner_url, wanted + ROWS, f"{first[0]} IS NOT NULL AND {second[0]} IS NOT NULL")
    return _result("merge", took_s, peer, peak, f"{len(second)} other signals for stored instants, Parquet; {waits}")


def _halves(frames: list[list[pl.DataFrame]], names: Sequence[str]) -> list[list[bytes]]:
    return _bodies("parquet", [[rows.select("time", "vehicle", *names) for rows in posts] for posts in frames])


def _influxdb_rate(frames: list[list[pl.DataFrame]]) -> float:
    """Rows per second that the peer takes in: line protocol, ready before the clock starts."""
    bodies = [[influxdb.line_protocol(rows) for rows in posts] for posts in frames]
    with tempfile.TemporaryDirectory() as folder, influxdb.influxdb(Path(folder)) as influx:
        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as threads:
            list(threads.map(influx.write, bodies))
        rate = CLIENTS * POSTS * ROWS / (time.perf_counter() - began)
        stored = influx.rows()
    if stored != CLIENTS * POSTS * ROWS:
        raise RuntimeError(f"{stored} rows are stored by the peer")
    return rate


def _beside_influxdb(name: str, ours: float | None, rate: float | None) -> Result:
    if rate is None:
        return Result(f"ingest.{name}", None, "rows/s", note=influxdb.NOTE)
    note = f"{ROWS} rows a post, {len(SENT)} signals, {CLIENTS} clients; beside line protocol"
    return Result(f"ingest.{name}", ours, "rows/s", "InfluxDB 1.6", rate, (ours or 0) / rate, note=note)


def post(port: int, key: str, content_type: str, bodies: list[bytes]) -> list[float]:
    """Post one body after the other; returns how long each took, in seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": content_type}
    waits = []
    for body in bodies:
        began = time.perf_counter()
        connection.request("POST", "/v1/telemetry", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(text.decode())
        waits.append(time.perf_counter() - began)
    connection.close()
    return waits


def _copy_rate(owner_url: str, frames: list[list[pl.DataFrame]]) -> float:
    """Rows per second of binary COPY, bytes ready, a commit after each batch."""
    columns = ["vehicle_id", "time", *SENT]
    ready = [
        b"".join(encode(rows.select(pl.lit(client + 1, pl.Int32).alias("vehicle_id"), "time", *SENT)))
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


def expect_rows(owner_url: str, wanted: int, where: str = "true") -> None:
    with psycopg.connect(owner_url) as owner:
        (found,) = owner.execute(f"SELECT count(*) FROM telemetry WHERE {where}").fetchall()[0]
    if found != wanted:
        raise RuntimeError(f"{found} rows are stored, {wanted} were sent")
