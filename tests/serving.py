"""The read side as its own process, on a free port."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from schemas.local.cluster import free_port

CHECKOUT = Path(__file__).resolve().parent.parent
START_LIMIT_S = 60
PROGRAM = "import sys; from analytics.server import serve; from schemas.settings import settings;" \
    " serve(settings(), port=int(sys.argv[1]))"  # fmt: skip


@contextmanager
def read_side(reader_url: str) -> Iterator[str]:
    """The address of a read side that reads `reader_url`."""
    port = free_port()
    environment = os.environ | {"BEACHHEAD_READER_URL": reader_url, "PYTHONPATH": str(CHECKOUT)}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(port)], env=environment, stdout=subprocess.DEVNULL, cwd=CHECKOUT
    )
    try:
        _wait(process, f"http://127.0.0.1:{port}/healthz")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _wait(process: subprocess.Popen[bytes], address: str) -> None:
    until = time.monotonic() + START_LIMIT_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the read side ended with {process.returncode}")
        try:
            if httpx.get(address).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError("the read side did not answer")
