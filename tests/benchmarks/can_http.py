"""A raw log over HTTP to durable rows: how long the vehicle's gateway waits, and how much memory the receiver takes.

Default settings: ten canonical signals, the others on the sample period's grid, every value in a Parquet file.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import time
from pathlib import Path

import psycopg

from ingest.can.dbc import read_dbc
from ingest.can.frames import Frames
from ingest.can.specs import Canonical
from pipelines import dbc_files
from schemas import database
from tests.benchmarks.receiver import database_of, peak_mb, receiver
from tests.benchmarks.result import Result
from tests.can_logs import truck, write_binary

FRAMES = 2_000_000
REPEATED = 11
"""So often the same bus, one stretch of time after the other, makes a log of a gigabyte."""
ROUNDS = 3
PATH = "/v1/can-logs?vehicle=truck-0"
CANONICAL = (
    Canonical("speed_kmh", "CCVS1", "WheelSpeed"),
    Canonical("odometer_km", "VDHR", "Distance", 1e-3),
    Canonical("battery_soc_pct", "HVESSD2", "Charge"),
    Canonical("battery_voltage_v", "HVESSD1", "Voltage"),
    Canonical("battery_current_a", "HVESSD1", "Current"),
    Canonical("engine_speed_rpm", "EEC1", "Speed"),
    Canonical("engine_torque_pct", "EEC1", "Torque"),
    Canonical("ambient_temperature_c", "AMB", "Ambient"),
    Canonical("parking_brake_on", "CCVS1", "ParkingBrake"),
    Canonical("cabin_temperature_c", "AMB", "Cab"),
)


def run() -> list[Result]:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder, database_of(Path(folder)) as (owner_url, ingest_url, key):
        _define(owner_url)
        frames = truck.frames(FRAMES)
        usual, large = Path(folder, "usual.log"), Path(folder, "large.log")
        _write(frames, usual, 1)
        _write(frames, large, REPEATED)
        rounds = [_measure(usual, FRAMES, owner_url, ingest_url, key, Path(folder, f"l{n}")) for n in range(ROUNDS)]
        seconds, peak, note = sorted(rounds)[ROUNDS // 2]
        long_s, long_peak, long_note = _measure(
            large, FRAMES * REPEATED, owner_url, ingest_url, key, Path(folder, "large")
        )
        return [
            Result("can.http_candump_s", seconds, "s", peak_mb=peak, note=note),
            Result("can.http_candump_1gb_s", long_s, "s", peak_mb=long_peak, note=long_note),
        ]


def _define(owner_url: str) -> None:
    content = truck.dbc().encode()
    engine = database.engine(owner_url)
    with engine.begin() as connection:
        dbc_id = dbc_files.add(connection, read_dbc(content, "truck.dbc"), content)
        dbc_files.bind(connection, dbc_id, 1, None, None)
        for canonical in CANONICAL:
            dbc_files.set_map(connection, dbc_id, None, canonical.name, [canonical])
    engine.dispose()


def _write(frames: Frames, path: Path, times: int) -> None:
    span_us = int(frames.time_us[-1] - frames.time_us[0]) + 1000
    with path.open("wb") as file:
        for n in range(times):
            write_binary.candump_fast(frames.shifted(n * span_us), file)


def _measure(
    log: Path, frames: int, owner_url: str, ingest_url: str, key: str, landing: Path
) -> tuple[float, float, str]:
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("TRUNCATE telemetry, signal_sample, extra_signal, stale_mark, fault_event, fault_sighting,"
                      " upload, upload_vehicle, upload_body, upload_log, upload_reject")  # fmt: skip
    with receiver(ingest_url, landing_url=f"file://{landing}") as (port, pid):
        began = time.perf_counter()
        receipt = _post(port, key, log)
        seconds = time.perf_counter() - began
        peak = peak_mb(pid)
    with psycopg.connect(owner_url) as owner:
        ((rows,),) = owner.execute("SELECT count(*) FROM telemetry").fetchall()
        ((samples,),) = owner.execute("SELECT count(*) FROM signal_sample").fetchall()
    if (receipt["can"]["frames_decoded"], receipt["rows"]["accepted"]) != (frames, rows):
        raise RuntimeError(f"{rows} rows are stored, the receipt tells {receipt}")
    size_mb, kept_mb = log.stat().st_size / 1e6, _size_mb(landing / "signals")
    note = (
        f"{frames} frames, {size_mb:.0f} MB: {rows} rows, {samples} samples of other signals, {kept_mb:.0f} MB Parquet"
    )
    return seconds, peak, note


def _post(port: int, key: str, log: Path) -> dict:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    with log.open("rb") as file:
        headers = {"Authorization": f"Bearer {key}", "Content-Length": str(log.stat().st_size)}
        connection.request("POST", PATH, file, headers)
        answer = connection.getresponse()
        text = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(text.decode())
    return json.loads(text)


def _size_mb(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
