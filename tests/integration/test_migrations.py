"""Migrations: up on an empty database, equal to the models, and back down."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import psycopg
import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from schemas import database
from schemas.database import sqlalchemy_url
from schemas.roles import GRANTS
from tests.conftest import TestDatabase


def test_upgrade_agrees_with_the_models_and_can_be_taken_back(empty_database: TestDatabase) -> None:
    url = empty_database.url()
    database.migrate(url)
    database.check(url)
    database.downgrade(url)
    with psycopg.connect(url) as owner:
        left = owner.execute("SELECT tablename FROM pg_tables WHERE schemaname IN ('public', 'reading')").fetchall()
    assert left == [("alembic_version",)]
    database.migrate(url)
    database.check(url)


def test_telemetry_and_samples_are_hypertables_by_vehicle_and_time(database: TestDatabase) -> None:
    with database.connect() as owner:
        names = owner.execute("SELECT hypertable_name FROM timescaledb_information.hypertables ORDER BY 1").fetchall()
        key = owner.execute(
            "SELECT a.attname FROM pg_index i"
            " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)"
            " WHERE i.indrelid = 'telemetry'::regclass AND i.indisprimary ORDER BY array_position(i.indkey, a.attnum)"
        ).fetchall()
    assert names == [("fault_event",), ("fault_sighting",), ("signal_sample",), ("telemetry",)]
    assert key == [("vehicle_id",), ("time",)]


@pytest.mark.parametrize("role", ["beachhead_ingest", "beachhead_jobs", "beachhead_web", "beachhead_reader"])
def test_a_role_can_do_no_more_than_it_was_granted(database: TestDatabase, role: str) -> None:
    with database.connect() as owner:
        rows = owner.execute(
            "SELECT t.tablename, p FROM pg_tables t,"
            " unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) p"
            " WHERE t.schemaname = 'public' AND has_table_privilege(%s, 'public.' || t.tablename, p)",
            [role],
        ).fetchall()
    granted = {(table, privilege) for privilege, names in GRANTS.get(role, {}).items() for table in names}
    assert set(rows) == {(table, privilege) for table, privilege in granted if "(" not in privilege}


def test_the_reader_sees_views_and_no_chunk(database: TestDatabase) -> None:
    with database.connect() as owner:
        owner.execute("INSERT INTO telemetry (vehicle_id, time, speed_kmh) VALUES (1, now(), 5)")
    with database.connect("beachhead_reader") as reader:
        assert reader.execute("SELECT speed_kmh FROM reading.telemetry").fetchall() == [(5.0,)]
        chunks = reader.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relname LIKE '\\_hyper%chunk'"
        ).fetchall()
    assert chunks
    for table in ["public.telemetry", "public.api_key", *(name for (name,) in chunks)]:
        with database.connect("beachhead_reader") as reader, pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(f"SELECT * FROM {table}")


COLUMNSTORE = importlib.import_module("schemas.migrations.versions.0023_columnstore")


@contextmanager
def migrating(database: TestDatabase) -> Iterator[sa.Connection]:
    """A connection on which the functions of a migration may be called."""
    engine = sa.create_engine(sqlalchemy_url(database.url()))
    with engine.connect() as connection, Operations.context(MigrationContext.configure(connection)):
        yield connection
    engine.dispose()


def license_of(connection: sa.Connection) -> str:
    return str(connection.scalar(sa.text("SELECT current_setting('timescaledb.license')")))


def test_the_columnstore_is_on_where_the_community_edition_is_and_only_there(database: TestDatabase) -> None:
    asked = "SELECT hypertable_name FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression' ORDER BY 1"
    with migrating(database) as connection:
        is_community = license_of(connection) == "timescale"
        assert COLUMNSTORE.is_community() is is_community
        on = list(connection.scalars(sa.text(asked)))
    assert on == (["signal_sample", "telemetry"] if is_community else [])


def test_behind_the_guard_the_server_refuses_for_its_licence_alone(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(COLUMNSTORE, "is_community", lambda: True)
    with migrating(database) as connection:
        if license_of(connection) == "timescale":
            pytest.skip("this server has the Community edition: the test before tells")
        with pytest.raises(sa.exc.NotSupportedError, match='not supported under the current "apache" license'):
            COLUMNSTORE.upgrade()


def test_what_the_columnstore_is_told_and_how_it_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(COLUMNSTORE, "is_community", lambda: True)
    monkeypatch.setattr(COLUMNSTORE, "op", SimpleNamespace(execute=said.append))
    COLUMNSTORE.upgrade()
    assert sum("timescaledb.compress_segmentby" in statement for statement in said) == 2
    assert sum("add_compression_policy" in statement for statement in said) == 2
    said.clear()
    COLUMNSTORE.downgrade()
    order = ["remove_compression_policy", "decompress_chunk", "timescaledb.compress = false"] * 2
    assert [word for statement in said for word in order[:3] if word in statement] == order
