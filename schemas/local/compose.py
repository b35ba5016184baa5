"""TimescaleDB from the official image, where Debian's packages cannot serve but Docker does."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import LocalServerError

IMAGE = os.environ.get("BEACHHEAD_TIMESCALEDB_IMAGE", "timescale/timescaledb:2.19.3-pg17")
COMPOSE_FILE = Path(__file__).with_name("compose.yml")


@dataclass(frozen=True)
class Compose:
    """The service `timescaledb` of compose.yml, as a project named after the folder."""

    folder: Path

    def start(self, port: int, password: str) -> None:
        """Start the service and wait until it is healthy."""
        self._run(port, password, "up", "--detach", "--wait", "timescaledb")

    def stop(self, port: int, password: str) -> None:
        """Stop the service. Its data stays in its volume."""
        self._run(port, password, "down")

    def is_running(self, port: int, password: str) -> bool:
        """Tell whether the service's container runs."""
        return bool(self._run(port, password, "ps", "--status=running", "--quiet", "timescaledb").strip())

    def _run(self, port: int, password: str, *arguments: str) -> str:
        done = subprocess.run(
            ["docker", "compose", "--file", str(COMPOSE_FILE), "--project-name", self._project(), *arguments],
            capture_output=True, text=True, stdin=subprocess.DEVNULL,
            env={**os.environ, "BEACHHEAD_POSTGRES_PASSWORD": password, "BEACHHEAD_POSTGRES_PORT": str(port)},
        )  # fmt: skip
        if done.returncode:
            raise LocalServerError(f"Docker could not run TimescaleDB: {done.stderr.strip()}")
        return done.stdout

    def _project(self) -> str:
        return "beachhead-" + hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:8]


def is_available() -> bool:
    """Tell whether a Docker engine with compose answers."""
    if shutil.which("docker") is None:
        return False
    commands = (["docker", "info"], ["docker", "compose", "version"])
    return all(subprocess.run(command, capture_output=True).returncode == 0 for command in commands)
