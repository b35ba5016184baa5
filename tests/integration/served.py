"""A receiver as processes of its own, which tests kill and start again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
from receiver_kit import World

from schemas.local.cluster import free_port

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAM = (
    "import sys; from ingest.server import serve; from schemas.settings import settings;"
    " serve(settings(), host='127.0.0.1', port=int(sys.argv[1]))"
)
OWN_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]


class Served:
    """A receiver as processes of its own, which can be killed and started again on the same port."""

    def __init__(self, world: World, landing: Path, disk_bytes: int | None = None) -> None:
        self.port, self.key = free_port(), world.keys["one"]
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=60,
            trust_env=False,
        )
        self.environment = os.environ | {
            "BEACHHEAD_INGEST_URL": world.url, "BEACHHEAD_LANDING_URL": f"file://{landing}",
            "PYTHONPATH": str(CHECKOUT),
        }  # fmt: skip
        self.command = [sys.executable, "-c", PROGRAM, str(self.port)]
        if disk_bytes is not None:
            script = f'mount -t tmpfs -o size={disk_bytes} none {landing} && exec "$@"'
            self.command = [*OWN_MOUNTS, "sh", "-c", script, "sh", *self.command]
        self.landing = landing
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def seen(self) -> Path:
        """The landing folder as it is from outside: the receiver may have it on a disk of its own."""
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/root{self.landing}")

    def start(self, output: IO[bytes] | int = subprocess.DEVNULL) -> None:
        self.process = subprocess.Popen(
            self.command, env=self.environment, stdout=output, stderr=output, start_new_session=True, cwd=CHECKOUT
        )
        self.wait()

    def wait(self) -> None:
        """Return when it answers."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                self.client.get("/healthz")
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
        raise TimeoutError("the receiver did not answer")

    def kill_worker(self) -> None:
        """The process that serves, and not the one that watches over it."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        newest = max(map(int, children))
        os.kill(newest, signal.SIGKILL)
        until = time.monotonic() + 60
        while Path(f"/proc/{newest}/stat").exists() and time.monotonic() < until:
            time.sleep(0.02)

    def end(self) -> None:
        """As an operator does: what is under way is finished."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)
        self.process = None

    def kill(self) -> None:
        """As a power cut does: at once, with its workers."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
        self.process = None

    @contextmanager
    def begun(
        self, target: str, method: str, body: bytes, length: int | None, patience_s: float = 0.2
    ) -> Iterator[socket.socket]:
        """A request whose body stays behind what was promised; chunked without a length."""
        how = f"Content-Length: {length}" if length is not None else "Transfer-Encoding: chunked"
        sent = body if length is not None else f"{len(body):x}\r\n".encode() + body + b"\r\n"
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n{how}\r\n\r\n"
            connection.sendall(head.encode() + sent)
            time.sleep(patience_s)
            yield connection
