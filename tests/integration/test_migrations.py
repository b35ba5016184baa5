"""Migrations: up on an empty database, equal to the models, and back down."""

import psycopg
import pytest

from schemas import database
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
