"""A Docker engine for the acceptance suite: one that answers already, or one of our own, ended afterwards.

One of our own needs root and Debian's packages `docker.io` and, where images cannot be had, `debootstrap`. Its data,
its socket and the plugins for compose and builds lie in one folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import LocalServerError
from schemas.local import packages

START_S = 60
PLUGINS = ("docker-compose", "docker-buildx")
BRIDGE = "docker0"
BUILDER = {"DOCKER_BUILDKIT": "1"}  # an older command asks for the old builder by itself


class NoEngineError(Exception):
    """There is no engine, and none can be started; the message says why."""


@dataclass(frozen=True)
class Engine:
    """How an engine is reached: variables for whatever speaks to it."""

    environment: Mapping[str, str]

    @property
    def socket(self) -> str:
        """Where an engine of this machine listens."""
        return self.environment.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")

    def docker(self, *arguments: str, timeout_s: float = 600, stdin: str | None = None) -> str:
        """Run the docker command; its output.

        Raises:
            RuntimeError: it failed; the message is what it said.
        """
        done = subprocess.run(
            ["docker", *arguments], env=dict(self.environment), capture_output=True, text=True, timeout=timeout_s,
            input=stdin if stdin is not None else "",
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(arguments[:6])}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout


@contextmanager
def some_engine(folder: Path, *, may_start: bool) -> Iterator[Engine]:
    """An engine that answers already, with compose; else, where we may, one of our own in the folder.

    Raises:
        NoEngineError: there is neither.
    """
    given = Engine(os.environ | BUILDER)
    if shutil.which("docker") and _answers(given) and _has_plugins(given):
        yield given
    elif may_start:
        with _own_engine(folder) as own:
            yield own
    else:
        raise NoEngineError("no Docker engine answers; `make test-stack` starts one where root may")


@contextmanager
def _own_engine(folder: Path) -> Iterator[Engine]:
    _require()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _add_plugins(folder)
    # Sockets' paths are limited to 107 bytes, a checkout's is not.
    runtime = Path(tempfile.mkdtemp(prefix="engine-", dir="/tmp"))
    given = {"DOCKER_HOST": f"unix://{runtime}/docker.sock", "DOCKER_CONFIG": f"{folder}/config"}
    engine = Engine(os.environ | BUILDER | given)
    had_bridge = Path(f"/sys/class/net/{BRIDGE}").exists()
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            ["dockerd", f"--data-root={folder}/data", f"--exec-root={runtime}/exec", f"--pidfile={runtime}/pid",
             f"--host=unix://{runtime}/docker.sock"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        _wait(engine, process, folder)
        yield engine
    finally:
        _end(process)
        _clean(folder, runtime, had_bridge)


def _require() -> None:
    if os.geteuid() != 0:
        raise NoEngineError("no Docker engine answers, and only root can start one")
    if shutil.which("dockerd") is None or shutil.which("docker") is None:
        raise NoEngineError("no Docker engine answers, and none is installed (on Debian: docker.io, debootstrap)")


def _add_plugins(folder: Path) -> None:
    """Compose and buildx, where the machine's own docker has none: Debian 12's are too old."""
    plugins = folder / "config" / "cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    if _has_plugins(Engine({**os.environ, "DOCKER_CONFIG": str(folder / "config")})):
        return
    try:
        root = packages.unpack_others(folder / "plugins", PLUGINS)
    except LocalServerError as error:
        raise NoEngineError(f"docker's compose and buildx cannot be had: {error}") from None
    for name in PLUGINS:
        found = next(root.glob(f"usr/lib*/docker/cli-plugins/{name}"))
        shutil.copy2(found, plugins / name)


def _has_plugins(engine: Engine) -> bool:
    return all(_succeeds(engine, name, "version") for name in ("compose", "buildx"))


def _answers(engine: Engine) -> bool:
    return _succeeds(engine, "info")


def _succeeds(engine: Engine, *arguments: str) -> bool:
    return not subprocess.run(["docker", *arguments], env=dict(engine.environment), capture_output=True).returncode


def _wait(engine: Engine, process: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        if _answers(engine):
            return
        time.sleep(0.2)
    said = (folder / "engine.log").read_text(errors="replace").strip().splitlines()
    raise NoEngineError(f"the Docker engine does not start here: {said[-1] if said else 'it said nothing'}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and its containers with it; then end it."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _clean(folder: Path, runtime: Path, had_bridge: bool) -> None:
    """Take away what would only fill the disk. The plugins stay for the next time."""
    if not had_bridge:
        subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True)
    for left in (folder / "data", runtime):
        shutil.rmtree(left, ignore_errors=True)
