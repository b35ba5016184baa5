"""A TimescaleDB of the checkout's own: starts, stops, keeps its data, and says what to do when it cannot."""

import os
import signal
import socket
import stat
import time
from pathlib import Path

import psycopg
import pytest

from schemas.errors import LocalServerError
from schemas.local import packages, programs
from schemas.local.progress import PlainLines
from schemas.local.server import GivenServer, LocalServer, open_server, running_server

CACHE = Path(__file__).resolve().parents[2] / ".beachhead"


def _folder(parent: Path) -> Path:
    """A folder that shares the checkout's unpacked packages, where a server comes from them."""
    parent.mkdir(exist_ok=True)
    if programs._installed() is None:
        packages.unpack(CACHE, PlainLines())
        packages.unpacked_folder(parent).symlink_to(packages.unpacked_folder(CACHE))
    return parent


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    local = LocalServer(_folder(tmp_path_factory.mktemp("shared")))
    local.up()
    yield local
    local.down()


@pytest.fixture
def local(shared):
    """The module's server, running, whatever a test before did to it."""
    shared.up()
    return shared


def _write(local, value):
    with psycopg.connect(local.url()) as owner:
        owner.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        owner.execute("INSERT INTO kept VALUES (%s)", [value])


def _values(local):
    with psycopg.connect(local.url()) as owner:
        return {value for (value,) in owner.execute("SELECT value FROM kept")}


def test_data_survives_and_a_warm_start_is_quick(local):
    _write(local, 1)
    pid = local.status().pid
    local.down()
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()
    assert not local.status().running
    begun = time.monotonic()
    local.up()
    assert time.monotonic() - begun < 3
    assert 1 in _values(local)


def test_up_twice_is_up_once(local):
    assert local.up() == local.status()


def test_committed_rows_outlive_a_killed_server(local):
    _write(local, 2)
    os.kill(local.status().pid, signal.SIGKILL)
    while local.status().running:
        time.sleep(0.01)
    local.up()
    assert 2 in _values(local)


def test_a_pid_file_that_names_another_process_does_not_count(local):
    _write(local, 3)
    local.down()
    (local.home / "data" / "postmaster.pid").write_text(f"{os.getppid()}\n{local.home}/data\n")
    assert not local.status().running
    local.up()
    assert 3 in _values(local)


def test_a_taken_port_is_left_to_its_owner(local):
    _write(local, 4)
    taken = local.status().port
    local.down()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", taken))
        other.listen()
        assert local.up().port != taken
    assert 4 in _values(local)


def test_two_checkouts_at_once(local, tmp_path):
    with running_server(_folder(tmp_path / "other"), fsync=False) as other:
        assert other.status().port != local.status().port
        assert other.url() != local.url()
        assert local.status().running
    assert not other.status().running


def test_running_server_leaves_a_server_that_ran_before(local):
    with running_server(local.folder):
        pass
    assert local.status().running


def test_it_is_durable_keeps_utc_and_calls_nobody(local):
    names = ("fsync", "synchronous_commit", "timezone", "timescaledb.telemetry_level", "jit", "listen_addresses")
    with psycopg.connect(local.url("postgres", "postgres")) as admin:
        values = [admin.execute("SELECT current_setting(%s)", [name]).fetchone()[0] for name in names]
    assert values == ["on", "on", "UTC", "off", "off", "127.0.0.1"]


def test_the_owner_is_no_superuser_and_may_create_the_extension(local):
    with psycopg.connect(local.url()) as owner:
        owner.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        assert owner.execute("SELECT usesuper FROM pg_user WHERE usename = current_user").fetchone() == (False,)


def test_a_password_is_needed_and_only_its_owner_may_read_it(local):
    memory = local.home / "server.json"
    assert stat.S_IMODE(memory.stat().st_mode) == 0o600
    right = local.url()
    wrong = right.replace(right.split(":")[2].split("@")[0], "guessed")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_the_scheduler_and_the_pipeline_keep_out_of_each_others_databases(local):
    with psycopg.connect(local.url("airflow", "airflow")) as scheduler:
        scheduler.execute("CREATE TABLE IF NOT EXISTS own (x int)")
    for role, database in (("airflow", "beachhead"), ("beachhead", "airflow"), ("beachhead_reader", "airflow")):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(local.url(role, database))


def test_an_unknown_role_is_named(local):
    with pytest.raises(LocalServerError, match=r"no role nobody; there are .*beachhead_reader"):
        local.url("nobody")


def test_data_of_another_version_is_not_touched(local):
    local.down()
    version = local.home / "data" / "PG_VERSION"
    kept = version.read_text()
    version.write_text("9\n")
    try:
        with pytest.raises(
            LocalServerError, match=r"is of PostgreSQL 9, the server found here is \d+: install version 9"
        ):
            local.up()
    finally:
        version.write_text(kept)


def test_without_a_database_the_url_says_what_to_run(tmp_path):
    with pytest.raises(LocalServerError, match="run `beachhead db up`"):
        open_server(tmp_path).url()
    assert not open_server(tmp_path).status().running
    open_server(tmp_path).down()


def test_a_given_server_is_used_as_it_is(local, tmp_path):
    given = open_server(tmp_path, local.url())
    assert isinstance(given, GivenServer)
    assert given.up().origin == "given"
    assert given.up().running
    given.down()
    assert local.status().running
    assert given.url() == local.url()
    with pytest.raises(LocalServerError, match="set BEACHHEAD_READER_URL"):
        given.url("beachhead_reader")


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user needs no user namespace")
def test_denied_user_namespaces_are_said_in_one_sentence(local, tmp_path, monkeypatch):
    local.down()
    denied = tmp_path / "unshare"
    denied.write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    denied.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    programs._may_unshare.cache_clear()
    try:
        with pytest.raises(LocalServerError, match="user namespaces are denied here: run this as an ordinary user"):
            local.up()
    finally:
        programs._may_unshare.cache_clear()


def test_no_apt_is_said_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalServerError, match=r"has no apt.*Install Docker, or set BEACHHEAD_DATABASE_URL"):
        packages.unpack(tmp_path / "cache")
    assert not packages.unpacked_folder(tmp_path / "cache").exists()


@pytest.mark.skipif(not packages.KEYRING.exists(), reason="only Debian's apt reads Debian's packages")
def test_no_network_is_said_in_one_sentence(tmp_path, monkeypatch):
    nobody = "http://127.0.0.1:9"
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, nobody)
    with pytest.raises(LocalServerError, match=r"mirror does not answer.*check the network"):
        packages.unpack(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["packages.lock"]
