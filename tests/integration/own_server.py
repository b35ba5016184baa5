"""A database server of a test's own, which it may stop, kill and starve; also one whose data lie on a small disk."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from receiver_kit import World, make_world
from served import CHECKOUT, OWN_MOUNTS

from schemas import database as schemas_database
from schemas.local.cluster import Cluster
from schemas.local.provision import ROLES, SCHEDULER, close_to_strangers, provision
from schemas.local.server import LocalServer
from tests.conftest import CACHE, TestDatabase, TestServer

NAME = "own"
SMALL_BYTES = 512 * 2**20
KEEPER = """
import os, sys
from pathlib import Path
from schemas.local.server import LocalServer
local, ballast = LocalServer(Path(sys.argv[1]), sys.argv[2]), Path(sys.argv[3]) / "ballast"
for line in sys.stdin:
    what = line.strip()
    if what == "up":
        local.up()
    if what == "down":
        local.down()
    if what == "fill":
        descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        size_bytes = 2**20
        while size_bytes >= 4096:
            try:
                os.write(descriptor, bytes(size_bytes))
            except OSError:
                size_bytes //= 2
        os.close(descriptor)
    if what == "free":
        ballast.unlink(missing_ok=True)
    print("done", flush=True)
"""


class OwnServer:
    """A server that runs with all its guards, so that what it has committed outlives it."""

    def __init__(self, small_disk: Path | None = None) -> None:
        self.name = f"own-{secrets.token_hex(4)}"
        self.local = LocalServer(CACHE, self.name)
        self.small_disk = small_disk
        self._keeper: subprocess.Popen[str] | None = None
        if small_disk is not None:
            small_disk.mkdir()
            script = f'mount -t tmpfs -o size={SMALL_BYTES},mode=777 none {small_disk} && exec "$@"'
            keeper = [sys.executable, "-c", KEEPER, str(CACHE), self.name, str(small_disk)]
            self._keeper = subprocess.Popen(
                [*OWN_MOUNTS, "sh", "-c", script, "sh", *keeper], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                text=True, cwd=CHECKOUT, env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
            )  # fmt: skip

    def tell(self, what: str) -> None:
        """Let it be done where the small disk is."""
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write(f"{what}\n")
        self._keeper.stdin.flush()
        assert self._keeper.stdout.readline().strip() == "done", what

    def up(self) -> None:
        if self._keeper is not None:
            self.tell("up")
        else:
            self.local.up()

    def down(self) -> None:
        if self._keeper is not None:
            self.tell("down")
        else:
            self.local.down()

    def kill(self) -> None:
        """As a power cut does: the server and all its children at once."""
        pid = Cluster(self.local.home).pid()
        assert pid is not None
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *map(int, children)):
            try:
                os.kill(one, signal.SIGKILL)
            except ProcessLookupError:
                continue
        until = time.monotonic() + 30
        while Cluster(self.local.home).pid() is not None:
            assert time.monotonic() < until, "it does not die"
            time.sleep(0.02)

    def made(self) -> tuple[TestDatabase, World]:
        """A migrated database with the tests' small world; on the small disk where there is one."""
        server = TestServer(self.local.url("postgres", "postgres"))
        provision(server.admin_url, {role: server.password(role) for role in (*ROLES, SCHEDULER)})
        database = TestDatabase(server, NAME)
        with server.admin() as admin:
            where = ""
            if self.small_disk is not None:
                admin.execute(f"CREATE TABLESPACE small LOCATION '{self.small_disk}'")
                where = "TABLESPACE small"
            admin.execute(f"CREATE DATABASE {NAME} OWNER beachhead TEMPLATE template0 {where}")
            close_to_strangers(admin, NAME, ROLES[1:])
        schemas_database.migrate(database.url())
        return database, make_world(database)

    def gone(self) -> None:
        """End it, and take away everything it had."""
        try:
            self.down()
        finally:
            if self._keeper is not None:
                self._keeper.stdin.close()  # type: ignore[union-attr]
                self._keeper.wait(60)
                self._keeper.stdout.close()  # type: ignore[union-attr]
            shutil.rmtree(self.local.home, ignore_errors=True)
            (CACHE / f"{self.name}.lock").unlink(missing_ok=True)


@contextmanager
def own_server(small_disk: Path | None = None) -> Iterator[tuple[OwnServer, TestDatabase, World]]:
    """A running server of the test's own with a migrated database, and its small world."""
    if small_disk is not None and subprocess.run([*OWN_MOUNTS, "true"], capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    CACHE.mkdir(exist_ok=True)
    own = OwnServer(small_disk)
    try:
        own.up()
        if own.local.status().origin not in ("installed", "unpacked"):
            pytest.skip("the server runs in a container: its processes are not this test's to kill")
        yield own, *own.made()
    finally:
        own.gone()


def answers(database: TestDatabase) -> bool:
    """Whether the server lets anybody in."""
    try:
        psycopg.connect(database.url(), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True
