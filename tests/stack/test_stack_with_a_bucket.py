"""Receivers whose landing store is a bucket, as those of several machines must have."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ingest.landing import landing_of
from ingest.objects import Objects
from schemas.settings import Settings
from tests.s3_server import S3Server
from tests.stack.stack import Stack, wait_until

AT_S, SPEEDS_KMH = 1_772_360_000, (40, 41, 42)


@pytest.fixture
def bucket(stack: Stack, keys: dict[str, str], tmp_path: Path) -> Iterator[Objects]:
    """An S3 server on the host, which the stack's receivers take for their landing store meanwhile."""
    (network,) = json.loads(stack.engine.docker("network", "inspect", f"{stack.project}_edge"))
    server = S3Server(tmp_path, secrets.token_hex(16), host=network["IPAM"]["Config"][0]["Gateway"])
    server.start()
    settings = server.settings("stack", tmp_path / "scratch")
    told = {f"BEACHHEAD_{name.upper()}": str(value) for name, value in settings.items() if name != "landing_scratch"}
    plain, stack.variables = stack.variables, {**stack.variables, **told}
    try:
        stack.up("--no-deps", "receiver")
        wait_until(lambda: _is_ready(stack), 60)  # the proxy looks for new receivers every few seconds
        yield landing_of(Settings(_env_file=None, **settings)).objects
    finally:
        stack.variables = plain
        stack.up("--no-deps", "receiver")
        server.kill()


def test_a_log_is_landed_in_the_bucket_and_loaded(stack: Stack, keys: dict[str, str], bucket: Objects) -> None:
    body = "".join(_line(AT_S + n, speed) for n, speed in enumerate(SPEEDS_KMH)).encode()
    headers = {"Authorization": f"Bearer {keys['lb-gw-01']}", "Content-Type": "application/octet-stream"}
    address = f"{stack.address('RECEIVER')}/v1/can-logs?vehicle=truck-01"
    receipt = httpx.post(address, content=body, headers=headers, timeout=60, trust_env=False).raise_for_status().json()
    (kept,) = bucket.under(f"raw/{receipt['sha256'][:2]}")
    assert receipt["sha256"] in kept.key
    assert bucket.read(kept.key) == body
    asked = f"SELECT speed_kmh FROM telemetry WHERE time >= to_timestamp({AT_S}) AND time < to_timestamp({AT_S + 60})"
    assert [float(speed) for speed in stack.sql(f"{asked} ORDER BY time")] == list(SPEEDS_KMH)
    stack.sql(f"DELETE FROM telemetry WHERE time >= to_timestamp({AT_S}) AND time < to_timestamp({AT_S + 60})")


def _is_ready(stack: Stack) -> bool:
    return httpx.get(f"{stack.address('RECEIVER')}/readyz", trust_env=False).is_success


def _line(at_s: int, speed_kmh: int) -> str:
    """Wheel-based speed of J1939 (CCVS1), as candump writes it."""
    data = b"\xff" + (speed_kmh * 256).to_bytes(2, "little") + b"\xff" * 5
    return f"({at_s}.000000) can0 18FEF100#{data.hex().upper()}\n"
