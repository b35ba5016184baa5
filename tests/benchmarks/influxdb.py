"""InfluxDB as a peer: Debian's package `influxdb` (1.6), started for the benchmark, fed line protocol over HTTP."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from schemas.local.cluster import free_port

START_LIMIT_S = 30
NOTE = "influxd is not installed (Debian's package influxdb)"


@dataclass(frozen=True)
class Influx:
    """A server: its port and process."""

    port: int
    pid: int

    def rows(self) -> int:
        """How many rows are stored."""
        status, text = self.request("GET", "/query?db=bench&q=SELECT+count(speed_kmh)+FROM+telemetry")
        assert status == 200, text
        return int(text.rpartition(b",")[2].partition(b"]")[0])

    def write(self, bodies: list[bytes]) -> None:
        """Write lines, one body after the other over one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        for body in bodies:
            connection.request("POST", "/write?db=bench", body)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 204:
                raise RuntimeError(text.decode())
        connection.close()

    def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, path, body)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, text


def is_installed() -> bool:
    """Whether there is a peer."""
    return shutil.which("influxd") is not None


@contextmanager
def influxdb(folder: Path) -> Iterator[Influx]:
    """A durable server with an empty database `bench`: it syncs its log before it answers, as it does by default."""
    port, rpc = free_port(), free_port()
    settings = {
        "INFLUXDB_REPORTING_DISABLED": "true", "INFLUXDB_BIND_ADDRESS": f"127.0.0.1:{rpc}",
        "INFLUXDB_META_DIR": f"{folder}/meta", "INFLUXDB_DATA_DIR": f"{folder}/data",
        "INFLUXDB_DATA_WAL_DIR": f"{folder}/wal", "INFLUXDB_HTTP_BIND_ADDRESS": f"127.0.0.1:{port}",
        "INFLUXDB_HTTP_LOG_ENABLED": "false", "INFLUXDB_MONITOR_STORE_ENABLED": "false",
    }  # fmt: skip
    process = subprocess.Popen(["influxd"], env=os.environ | settings, stderr=subprocess.DEVNULL)
    influx = Influx(port, process.pid)
    try:
        until = time.monotonic() + START_LIMIT_S
        while not _answers(influx):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("influxd did not start")
            time.sleep(0.1)
        influx.request("POST", "/query?q=CREATE+DATABASE+bench")
        yield influx
    finally:
        process.terminate()
        process.wait(60)


def _answers(influx: Influx) -> bool:
    try:
        return influx.request("GET", "/ping")[0] == 204
    except OSError:
        return False


def line_protocol(rows: pl.DataFrame) -> bytes:
    """Rows (time, vehicle, signals) as lines."""
    values = [
        pl.format(f"{name}={{}}", pl.col(name).cast(pl.String))
        for name in rows.columns
        if name not in ("time", "vehicle")
    ]
    line = pl.format("telemetry,vehicle={} {} {}", "vehicle", pl.concat_str(values, separator=","),
                     pl.col("time").dt.epoch("ns"))  # fmt: skip
    return "\n".join(rows.select(line).to_series()).encode()
