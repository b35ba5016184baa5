"""Programs we start beside us and end again with everything they started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

PATIENCE_S = 10.0


def start(command: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that a Ctrl-C on our terminal reaches us alone."""
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end(leaders: Sequence[subprocess.Popen[bytes]], marker: str) -> None:
    """End the programs and whatever lives in their sessions or carries `marker` in its environment.

    First asked (SIGTERM), then ended (SIGKILL).
    """
    sessions = {leader.pid for leader in leaders}
    for leader in leaders:
        if leader.poll() is None:
            leader.terminate()
    _wait(leaders, PATIENCE_S)
    for how in (signal.SIGTERM, signal.SIGKILL):
        remaining = list(members(sessions, marker))
        _signal(remaining, how)
        _wait_until_gone(sessions, marker, PATIENCE_S if remaining else 0)
    for leader in leaders:
        leader.wait()


def members(sessions: Iterable[int], marker: str) -> Iterator[int]:
    """Give the living processes of the sessions, and those that were started with `NAME=value` in their environment."""
    wanted = set(sessions)
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if pid != os.getpid() and (_session(entry) in wanted or _carries(entry, marker)):
            yield pid


def _session(entry: Path) -> int | None:
    """Return the session of a living process. Its name may hold anything, so it is cut off first."""
    try:
        fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[3])


def _carries(entry: Path, marker: str) -> bool:
    try:
        return marker.encode() in (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _signal(pids: Iterable[int], how: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            continue


def _wait(leaders: Sequence[subprocess.Popen[bytes]], patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and any(leader.poll() is None for leader in leaders):
        time.sleep(0.05)


def _wait_until_gone(sessions: set[int], marker: str, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and any(members(sessions, marker)):
        time.sleep(0.05)
