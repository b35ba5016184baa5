"""A real TimescaleDB for the tests, and a fresh migrated database for whoever asks.

In this order: `BEACHHEAD_TEST_DATABASE_URL` (a superuser's address on a server of no other use); a
container, when a Docker engine answers and has the image; else a local server in the checkout's ignored folder, begun
by the first test session that needs it and ended by the last.
"""

from __future__ import annotations

import fcntl
import gc
import hashlib
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from hypothesis import settings as hypothesis_settings
from psycopg import sql

from schemas.local.cluster import SETTINGS, UNSAFE_SETTINGS
from schemas.local.compose import IMAGE, is_available
from schemas.local.progress import PlainLines
from schemas.local.provision import ROLES, SCHEDULER, close_to_strangers, provision
from schemas.local.server import LocalServer
from tests import campaign

CHECKOUT = Path(__file__).resolve().parent.parent
CACHE = CHECKOUT / ".beachhead"
CONTAINER_SETTINGS = {name: value for name, value in SETTINGS.items() if value and name != "listen_addresses"}
GIVEN = "BEACHHEAD_TEST_DATABASE_URL"
TEMPLATE_PREFIX = "template_of_tests_"

# The same examples in every run: a run tells something about the change, not about luck or a busy machine.
hypothesis_settings.register_profile("short", derandomize=True, deadline=None, database=None)
# Other examples in every run, and those of one run again with its seed.
hypothesis_settings.register_profile("long", max_examples=2_000, deadline=None, database=None, print_blob=True)
hypothesis_settings.load_profile(campaign.size("short", "long"))


def pytest_collection_finish() -> None:
    """What is imported by now stays: it need not be looked through for garbage while tests run, nor at the end."""
    gc.collect()
    gc.freeze()


def pytest_report_header() -> list[str]:
    """Say where the database comes from, and what the full form of campaigns draws from."""
    database = "given" if GIVEN in os.environ else "a container" if _has_container() else "local"
    return [f"database: {database}", *([f"full campaigns, seed {campaign.SEED}"] if campaign.FULL else [])]


@dataclass(frozen=True)
class TestServer:
    """A server on which tests may make databases and roles."""

    __test__ = False
    admin_url: str

    def password(self, role: str) -> str:
        """The role's password: the same for every session that shares the server."""
        return hashlib.sha256(f"{role} {self.admin_url}".encode()).hexdigest()

    def url(self, role: str, database: str) -> str:
        """The role's address of a database."""
        parts = urlsplit(self.admin_url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit(("postgresql", f"{role}:{self.password(role)}@{host}", f"/{database}", parts.query, ""))

    def admin(self) -> psycopg.Connection:
        """A superuser's connection, every statement its own transaction."""
        return psycopg.connect(self.admin_url, autocommit=True)


@dataclass(frozen=True)
class TestDatabase:
    """A migrated database of one test's (or module's) own."""

    __test__ = False
    server: TestServer
    name: str

    def url(self, role: str = "beachhead") -> str:
        """The role's address; the owner's by default."""
        return self.server.url(role, self.name)

    def connect(self, role: str = "beachhead") -> psycopg.Connection:
        """A connection of the role's."""
        return psycopg.connect(self.url(role))


@pytest.fixture(scope="session")
def server() -> Iterator[TestServer]:
    """The tests' TimescaleDB with all roles."""
    with _some_server() as admin_url:
        server = TestServer(admin_url)
        with server.admin() as admin, _one_at_a_time(admin):
            provision(admin_url, {role: server.password(role) for role in (*ROLES, SCHEDULER)})
        yield server


@pytest.fixture(scope="session")
def template(server: TestServer) -> str:
    """The name of a migrated, empty database that others are copied from."""
    from schemas import database

    name = TEMPLATE_PREFIX + _fingerprint()
    with server.admin() as admin, _one_at_a_time(admin):
        if not _exists(admin, name):
            _drop_old_templates(admin)
            partial = f"partial_{uuid.uuid4().hex}"
            _create(admin, partial, "template0")
            database.migrate(server.url("beachhead", partial))
            # Nobody may connect any more: TimescaleDB's workers would get in the way of copying.
            _execute(admin, "ALTER DATABASE {} ALLOW_CONNECTIONS false", partial)
            admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [partial])
            admin.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(partial), sql.Identifier(name))
            )
    return name


@pytest.fixture
def database(server: TestServer, template: str) -> Iterator[TestDatabase]:
    """A fresh migrated database for one test."""
    with _copy(server, template) as copy:
        yield copy


@pytest.fixture
def new_database(server: TestServer, template: str) -> Callable[[], AbstractContextManager[TestDatabase]]:
    """What makes further fresh databases within one test; each call is a context manager."""
    return lambda: _copy(server, template)


@pytest.fixture(scope="module")
def module_database(server: TestServer, template: str) -> Iterator[TestDatabase]:
    """A fresh migrated database for all tests of a module."""
    with _copy(server, template) as copy:
        yield copy


@pytest.fixture
def empty_database(server: TestServer) -> Iterator[TestDatabase]:
    """A database without any table, for tests of the migrations themselves."""
    with _copy(server, "template0") as copy:
        yield copy


@contextmanager
def _copy(server: TestServer, template: str) -> Iterator[TestDatabase]:
    name = f"test_{uuid.uuid4().hex}"
    with server.admin() as admin:
        _create(admin, name, template)
        try:
            yield TestDatabase(server, name)
        finally:
            _execute(admin, "DROP DATABASE {} WITH (FORCE)", name)


def _create(admin: psycopg.Connection, name: str, template: str) -> None:
    _execute(admin, "CREATE DATABASE {} OWNER beachhead TEMPLATE {} STRATEGY file_copy", name, template)
    close_to_strangers(admin, name, ROLES[1:])


def _execute(admin: psycopg.Connection, statement: str, *names: str) -> None:
    admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _exists(admin: psycopg.Connection, name: str) -> bool:
    return bool(admin.execute("SELECT FROM pg_database WHERE datname = %s", [name]).rowcount)


def _drop_old_templates(admin: psycopg.Connection) -> None:
    """Drop templates of other migrations and databases that a killed session left."""
    left = admin.execute(
        "SELECT datname FROM pg_database d WHERE (starts_with(datname, %s) OR datname LIKE 'partial\\_%%')"
        " AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)",
        [TEMPLATE_PREFIX],
    ).fetchall()
    for (name,) in left:
        _execute(admin, "DROP DATABASE {} WITH (FORCE)", name)


@contextmanager
def _one_at_a_time(admin: psycopg.Connection) -> Iterator[None]:
    """Keep other test processes on the same server out."""
    admin.execute("SELECT pg_advisory_lock(20260105)")
    try:
        yield
    finally:
        admin.execute("SELECT pg_advisory_unlock(20260105)")


def _fingerprint() -> str:
    """A hash of everything that decides what a migrated database looks like."""
    schemas = CHECKOUT / "schemas"
    files = [*sorted((schemas / "migrations").rglob("*.py")), *sorted(schemas.glob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


@contextmanager
def _some_server() -> Iterator[str]:
    given = os.environ.get(GIVEN)
    if given:
        yield given
    elif _has_container():
        with _container() as admin_url:
            yield admin_url
    else:
        with _local_server() as admin_url:
            yield admin_url


@contextmanager
def _local_server() -> Iterator[str]:
    """The checkout's test server; whoever leaves last stops it."""
    local = LocalServer(CACHE, "test-postgres")
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "test-postgres.users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        local.up(PlainLines(), fsync=False)
        try:
            yield local.url("postgres", "postgres")
        finally:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # others still use it
            else:
                local.down()


def _has_container() -> bool:
    return is_available() and _has_image()


def _has_image() -> bool:
    return subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True).returncode == 0


@contextmanager
def _container() -> Iterator[str]:
    from testcontainers.community.postgres import PostgresContainer
    from testcontainers.core.config import testcontainers_config

    testcontainers_config.ryuk_disabled = True  # it is an image of its own, and may not be here
    options = " ".join(f"-c {name}={value}" for name, value in (CONTAINER_SETTINGS | UNSAFE_SETTINGS).items())
    container = PostgresContainer(IMAGE, username="postgres", password=uuid.uuid4().hex, dbname="postgres", driver=None)
    container.with_env(
        "POSTGRES_INITDB_ARGS", "--encoding=UTF8 --locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C"
    )
    with container.with_command(f"postgres {options}") as running:
        yield running.get_connection_url()
