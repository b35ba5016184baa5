"""A TimescaleDB for this checkout: `open_server(folder)`, then `up`, `down`, `status`, `url`.

Tried in this order: a server given by URL; an installed PostgreSQL with TimescaleDB; Debian's packages, unpacked into
the folder; Docker with the official image.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from schemas.errors import LocalServerError
from schemas.local import compose, packages, programs, provision
from schemas.local.cluster import HOST, Cluster, free_port
from schemas.local.compose import Compose
from schemas.local.progress import Reporter, silent

DOCKER = "docker"
GIVEN = "given"
UNPACKED = "unpacked"


@dataclass(frozen=True)
class Status:
    """What runs: `origin` is given, installed, unpacked or docker; the port is 0 for a given server."""

    running: bool
    origin: str
    folder: str
    port: int = 0
    pid: int | None = None


class Server(Protocol):
    """A database server: one of our own on this machine, or one that was given."""

    def up(self, report: Reporter = silent, *, fsync: bool = True) -> Status:
        """Start the server if it does not run."""
        ...

    def down(self) -> None:
        """Stop the server if it is ours and runs."""
        ...

    def status(self) -> Status:
        """Tell what runs."""
        ...

    def url(self, role: str = provision.OWNER, database: str = "beachhead") -> str:
        """Return `postgresql://role:password@host:port/database`."""
        ...


def open_server(folder: Path, given_url: str | None = None, *, name: str = "postgres") -> Server:
    """Return the server of a folder, or the given one. Nothing is started."""
    return GivenServer(given_url) if given_url else LocalServer(folder.resolve(), name)


@contextmanager
def running_server(
    folder: Path, report: Reporter = silent, *, name: str = "postgres", fsync: bool = True
) -> Iterator[Server]:
    """Give the folder's running server; stop it afterwards if it did not run before."""
    server = open_server(folder, name=name)
    was_running = server.status().running
    server.up(report, fsync=fsync)
    try:
        yield server
    finally:
        if not was_running:
            server.down()


@dataclass(frozen=True)
class GivenServer:
    """A TimescaleDB somebody else runs. It is never started, stopped or given roles by us."""

    given_url: str

    def up(self, report: Reporter = silent, *, fsync: bool = True) -> Status:
        """Leave the server as it is."""
        return self.status()

    def down(self) -> None:
        """Leave the server as it is."""

    def status(self) -> Status:
        """Tell whether the server answers."""
        import psycopg

        try:
            psycopg.connect(self.given_url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return Status(running=False, origin=GIVEN, folder="")
        return Status(running=True, origin=GIVEN, folder="")

    def url(self, role: str = provision.OWNER, database: str = "beachhead") -> str:
        """Return the given URL, which is the owner's.

        Raises `LocalServerError` for another role: its URL is a setting of its own.
        """
        if role != provision.OWNER:
            setting = f"BEACHHEAD_{role.removeprefix('beachhead_').upper()}_URL"
            raise LocalServerError(f"BEACHHEAD_DATABASE_URL is the owner's: set {setting} for the role {role}.")
        return self.given_url


@dataclass(frozen=True)
class _Memory:
    """What a server's folder remembers between runs, in a file only its owner may read."""

    origin: str = ""
    port: int = 0
    passwords: dict[str, str] = field(default_factory=dict)
    provisioned: bool = False

    @classmethod
    def read(cls, path: Path) -> _Memory:
        """Read the file; an absent one is an empty memory."""
        if not path.exists():
            return cls()
        content: dict[str, Any] = json.loads(path.read_text())
        return cls(**content)

    def write(self, path: Path) -> None:
        """Replace the file."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(self), file, indent=1)
        partial.replace(path)


@dataclass(frozen=True)
class LocalServer:
    """A server of our own. `folder` keeps the unpacked packages; `folder/name` everything of this server."""

    folder: Path
    name: str = "postgres"

    @property
    def home(self) -> Path:
        """Return the server's own folder: data, log, passwords."""
        return self.folder / self.name

    def up(self, report: Reporter = silent, *, fsync: bool = True) -> Status:
        """Start the server if it does not run; on first use find its programs, make data, roles and databases.

        Raises `LocalServerError` with one sentence that says what to do.
        """
        with packages.locked(self.folder / f"{self.name}.lock"):
            if not self.status().running:
                self._start(report, fsync=fsync)
            self._provision(report)
            return self.status()

    def down(self) -> None:
        """Stop the server if it runs; its data stays."""
        if not self.home.exists():
            return
        with packages.locked(self.folder / f"{self.name}.lock"):
            memory = self._memory()
            if memory.origin == DOCKER:
                Compose(self.home).stop(memory.port, memory.passwords[provision.SUPERUSER])
            else:
                Cluster(self.home).stop()

    def status(self) -> Status:
        """Tell whether the server runs, where it listens and where its programs came from."""
        memory = self._memory()
        if memory.origin == DOCKER:
            running = Compose(self.home).is_running(memory.port, memory.passwords[provision.SUPERUSER])
            return Status(running, DOCKER, str(self.home), memory.port)
        pid = Cluster(self.home).pid()
        return Status(pid is not None, memory.origin, str(self.home), memory.port, pid)

    def url(self, role: str = provision.OWNER, database: str = "beachhead") -> str:
        """Return the role's URL. The server need not run, but must have been made."""
        memory = self._memory()
        if role not in memory.passwords:
            known = ", ".join(sorted(memory.passwords))
            raise LocalServerError(
                f"There is no role {role}; there are {known}."
                if known
                else "There is no local database yet: run `beachhead db up`."
            )
        return f"postgresql://{role}:{memory.passwords[role]}@{HOST}:{memory.port}/{database}"

    def _start(self, report: Reporter, *, fsync: bool) -> None:
        memory = self._with_passwords()
        if memory.origin == DOCKER:
            self._start_docker(memory, report)
            return
        try:
            found = programs.find(self.folder, report)
        except LocalServerError:
            if Cluster(self.home).exists() or not compose.is_available():
                raise
            self._start_docker(memory, report)
            return
        self._start_cluster(found, memory, report, fsync=fsync)

    def _start_cluster(self, found: programs.Programs, memory: _Memory, report: Reporter, *, fsync: bool) -> None:
        cluster = Cluster(self.home)
        if not cluster.exists():
            report("making the local database")
            cluster.create(found, memory.passwords[provision.SUPERUSER])
        report("starting the local database")
        port = cluster.start(found, memory.port, fsync=fsync)
        self._remember(replace(memory, port=port, origin=found.origin))

    def _start_docker(self, memory: _Memory, report: Reporter) -> None:
        report("starting TimescaleDB in Docker")
        begun = replace(memory, port=memory.port or free_port(), origin=DOCKER)
        Compose(self.home).start(begun.port, begun.passwords[provision.SUPERUSER])
        self._remember(begun)

    def _provision(self, report: Reporter) -> None:
        memory = self._memory()
        if not memory.provisioned:
            report("making roles and databases")
            provision.provision(self.url(provision.SUPERUSER, "postgres"), memory.passwords)
            self._remember(replace(memory, provisioned=True))

    def _with_passwords(self) -> _Memory:
        memory = self._memory()
        if not memory.passwords:
            roles = (provision.SUPERUSER, *provision.ROLES, provision.SCHEDULER)
            memory = replace(memory, passwords={role: secrets.token_urlsafe(24) for role in roles})
            self._remember(memory)
        return memory

    def _memory(self) -> _Memory:
        return _Memory.read(self.home / "server.json")

    def _remember(self, memory: _Memory) -> None:
        memory.write(self.home / "server.json")
