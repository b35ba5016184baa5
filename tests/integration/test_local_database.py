"""The tests' own databases, each fresh, each with the rights of its roles."""

import psycopg
import pytest


def test_every_database_begins_without_another_tests_rows(database, new_database):
    with database.connect() as owner:
        owner.execute("CREATE TABLE left_behind (x int)")
    with new_database() as other, other.connect() as owner:
        assert owner.execute("SELECT to_regclass('left_behind')").fetchone() == (None,)


def test_server_has_timescaledb_and_utc(database):
    with database.connect() as owner:
        timezone, version = owner.execute(
            "SELECT current_setting('timezone'), (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb')"
        ).fetchone()
    assert timezone == "UTC"
    assert version is not None


@pytest.mark.parametrize(
    "role", ["beachhead", "beachhead_ingest", "beachhead_jobs", "beachhead_web", "beachhead_reader"]
)
def test_roles_connect_and_none_is_superuser(database, role):
    with database.connect(role) as connection:
        row = connection.execute("SELECT current_user, usesuper FROM pg_user WHERE usename = current_user").fetchone()
    assert row == (role, False)


def test_the_schedulers_role_stays_out(database):
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(database.url("airflow"))
