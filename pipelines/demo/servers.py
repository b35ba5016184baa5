"""The receiver and the read side as processes beside us."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from pipelines import processes
from schemas.errors import LocalServerError
from schemas.local.cluster import HOST, free_port, is_free

START_TIMEOUT_S = 60
STANDARD_PORTS = {"ingest": 8000, "analytics": 8001}


@dataclass(frozen=True)
class Running:
    """The addresses of both servers."""

    ingest: str
    analytics: str


@contextmanager
def both_servers(home: Path, environment: Mapping[str, str]) -> Iterator[Running]:
    """Start both servers, on their standard ports where these are free, and end them afterwards."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        addresses = {name: _start(name, home, environment, started) for name in STANDARD_PORTS}
        for (name, address), process in zip(addresses.items(), started, strict=True):
            _wait_until_ready(name, address, process, home)
        yield Running(**addresses)
    finally:
        processes.end(started, f"BEACHHEAD_DEMO={home}")


def _start(name: str, home: Path, environment: Mapping[str, str], started: list[subprocess.Popen[bytes]]) -> str:
    port = _port(name)
    command = [str(Path(sys.executable).with_name("beachhead")), "serve", name, "--host", HOST, "--port", str(port)]
    marked = {**environment, "BEACHHEAD_DEMO": str(home)}
    started.append(processes.start(command, marked, _log(name, home)))
    return f"http://{HOST}:{port}"


def _port(name: str) -> int:
    standard = STANDARD_PORTS[name]
    if is_free(standard):
        return standard
    other = free_port()
    sys.stderr.write(
        f"Port {standard} is taken: {name} listens on {other} instead; free {standard} to have it there.\n"
    )
    return other


def _wait_until_ready(name: str, address: str, process: subprocess.Popen[bytes], home: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if _is_ready(address):
            return
        time.sleep(0.1)
    raise LocalServerError(f"The {name} server did not start; its log is {_log(name, home)}.")


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _log(name: str, home: Path) -> Path:
    return home / f"demo-{name}.log"
