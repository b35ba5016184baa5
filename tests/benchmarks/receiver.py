"""A receiver and its database for benchmarks: processes of their own, durable, nothing shared with other tests."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from ingest import store
from schemas import database
from schemas.local.cluster import free_port
from schemas.local.progress import PlainLines
from schemas.local.server import LocalServer

VEHICLES = 64
START_LIMIT_S = 60


@contextmanager
def database_of(folder: Path) -> Iterator[tuple[str, str, str]]:
    """A durable server of the benchmark's own: the owner's URL, the receiver's, and a gateway key."""
    with server_of(folder) as server:
        yield server.url(), server.url("beachhead_ingest"), _register(server.url())


@contextmanager
def server_of(folder: Path) -> Iterator[LocalServer]:
    """A durable server of the benchmark's own, with empty tables."""
    cache = Path(".beachhead")
    for unpacked in cache.glob("timescaledb-*"):
        (folder / unpacked.name).symlink_to(unpacked.resolve())
    server = LocalServer(folder)
    server.up(PlainLines())
    try:
        database.migrate(server.url())
        yield server
    finally:
        server.down()


def _register(owner_url: str) -> str:
    engine = database.engine(owner_url)
    with engine.begin() as connection:
        run = connection.exec_driver_sql
        run("INSERT INTO pilot (id, slug, name, region, segment, starts_on)"
            " VALUES (1, 'bench', 'Bench', 'US-CA', 'drayage', '2026-01-01')")  # fmt: skip
        run("INSERT INTO pilot_calendar VALUES (1, '2026-01-01', 'UTC', '00:00')")
        run("INSERT INTO gateway (id, pilot_id, slug, whole_pilot) VALUES (1, 1, 'gw', true)")
        for n in range(VEHICLES):
            vehicle = {"id": n + 1, "name": f"truck-{n}"}
            connection.execute(
                sa.text("INSERT INTO vehicle (id, name, category, powertrain) VALUES (:id, :name, 'truck', 'bev')"),
                vehicle,
            )
            connection.execute(
                sa.text("INSERT INTO assignment (vehicle_id, pilot_id, starts_on) VALUES (:id, 1, '2026-01-01')"),
                vehicle,
            )
        key = store.create_key(connection, 1)
    engine.dispose()
    return key


@contextmanager
def receiver(ingest_url: str, *, workers: int = 1, **settings: str) -> Iterator[tuple[int, int]]:
    """A receiver; its port, and the id of its process, or the largest of several.

    `settings`: further variables, without their prefix.
    """
    port = free_port()
    program = "import sys; from ingest.server import serve; from schemas.settings import settings; " \
        "serve(settings(), host='127.0.0.1', port=int(sys.argv[1]), workers=int(sys.argv[2]))"  # fmt: skip
    settings = {"gateway_requests_per_s": "0", "gateway_bytes_per_s": "0", "metrics_address": ""} | settings
    given = {f"BEACHHEAD_{name.upper()}": value for name, value in settings.items()}
    environment = os.environ | {"BEACHHEAD_INGEST_URL": ingest_url} | given
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(port), str(workers)], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(lambda: _is_ready(port), process)
        yield port, _worker(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(is_done: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_LIMIT_S
    while not is_done():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError("the receiver did not start")
        time.sleep(0.05)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _worker(pid: int) -> int:
    """The process that serves: granian's child."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return max(map(int, children), key=lambda child: peak_mb(child)) if children else pid


def peak_mb(pid: int) -> float:
    """The most memory that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
