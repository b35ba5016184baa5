"""One PostgreSQL cluster in a folder of ours: made, started, stopped."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import LocalServerError
from schemas.local.programs import Programs, as_server, require_startable

HOST = "127.0.0.1"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60

# Sized for two cores and a few gigabytes of memory; every value is a default that a managed server would set itself.
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # loopback alone: a socket's path is limited to 107 bytes, a checkout's is not
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    "max_connections": "100",
    "max_worker_processes": "24",
    "timescaledb.max_background_workers": "12",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "min_wal_size": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
    "log_checkpoints": "off",
}
# Tests may lose their data with the machine's power; nobody else may.
UNSAFE_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Cluster:
    """The cluster's folder: `data`, `server.log`."""

    folder: Path

    @property
    def data(self) -> Path:
        """Return PostgreSQL's data folder."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """Return the server's log."""
        return self.folder / "server.log"

    def exists(self) -> bool:
        """Tell whether the data folder was made to its end."""
        return (self.data / "PG_VERSION").exists()

    def create(self, programs: Programs, password: str) -> None:
        """Make the data folder; superuser `postgres` has the password, every connection must prove one."""
        require_startable()
        partial = self.folder / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Built-in collation: the same order of text on every libc. Older servers have only the libc's.
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        if programs.major < 17:
            locale = ["--locale=C.UTF-8"]
        with tempfile.NamedTemporaryFile("w", dir=self.folder) as password_file:
            password_file.write(password)
            password_file.flush()
            command = as_server(
                programs.path("initdb"), "--pgdata", str(partial), "--username=postgres", "--auth=scram-sha-256",
                f"--pwfile={password_file.name}", "--encoding=UTF8", "--no-instructions", *locale,
            )  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, env=_environment())
        if done.returncode:
            raise LocalServerError(f"The local database could not be made: {_last_line(done.stderr)}")
        partial.rename(self.data)

    def start(self, programs: Programs, port: int, *, fsync: bool) -> int:
        """Start the server on the port, or on another free one if it is taken; return the port it answers on."""
        require_startable()
        self._check_version(programs)
        self._forget_stale_pid()
        for _ in range(3):
            if port == 0 or not is_free(port):
                port = free_port()
            self._configure(port, fsync=fsync)
            if self._launch(programs):
                return port
            if "Address already in use" not in self._log_tail():
                break
        raise LocalServerError(
            f"The local database did not start; the reason is in {self.log}: {_last_line(self._log_tail())}"
        )

    def stop(self) -> None:
        """Stop the server cleanly, by force if it does not end within a minute."""
        for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            pid = self.pid()
            if pid is None:
                return
            _send(pid, how)
            if _wait_until_gone(pid, STOP_TIMEOUT_S):
                return
        raise LocalServerError(f"The local database in {self.data} does not stop.")

    def pid(self) -> int | None:
        """Return the running server's process id. A file left by a server that was killed does not count."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        return pid if _serves(pid, self.data) else None

    def _check_version(self, programs: Programs) -> None:
        version = (self.data / "PG_VERSION").read_text().strip()
        if version != str(programs.major):
            raise LocalServerError(
                f"The data in {self.data} is of PostgreSQL {version}, the server found here is {programs.major}: "
                f"install version {version}, or delete {self.folder} to begin anew."
            )

    def _forget_stale_pid(self) -> None:
        # PostgreSQL would refuse to start if another process had been given the dead server's number.
        if self.pid() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _configure(self, port: int, *, fsync: bool) -> None:
        chosen = {**SETTINGS, "port": str(port), **({} if fsync else UNSAFE_SETTINGS)}
        lines = [f"{name} = '{value}'" for name, value in chosen.items()]
        (self.data / "postgresql.conf").write_text("\n".join(lines) + "\n")

    def _launch(self, programs: Programs) -> bool:
        self.log.unlink(missing_ok=True)
        command = as_server(
            programs.path("pg_ctl"), "start", "--wait", "--silent", f"--timeout={START_TIMEOUT_S}",
            "--pgdata", str(self.data), "--log", str(self.log),
        )  # fmt: skip
        # Another process may still hold the memory of a server that was killed: its children end by themselves.
        for _ in range(20):
            if _succeeds_quietly(command):
                return True
            if "shared memory block" not in self._log_tail():
                return False
            time.sleep(0.25)
        return False

    def _log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Tell whether a port of the loopback address could be listened on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _succeeds_quietly(command: Sequence[str]) -> bool:
    # The server inherits what we give here and keeps it: pipes of ours would never close.
    nothing = subprocess.DEVNULL
    return subprocess.run(command, env=_environment(), stdin=nothing, stdout=nothing, stderr=nothing).returncode == 0


def _environment() -> dict[str, str]:
    """Return our environment without PostgreSQL's own variables, which would lead its programs elsewhere."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("PG")}, "LC_ALL": "C"}


def _serves(pid: int, data: Path) -> bool:
    """Tell whether the process lives and is a server of this data folder (it works inside it)."""
    if not _is_alive(pid):
        return False
    if not Path("/proc/self").exists():
        return True
    try:
        return Path(f"/proc/{pid}/cwd").resolve(strict=True) == data.resolve()
    except OSError:
        return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, IndexError):
        return Path("/proc/self").exists() is False


def _send(pid: int, how: signal.Signals) -> None:
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return


def _wait_until_gone(pid: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not _is_alive(pid):
            return True
        time.sleep(0.05)
    return False


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
