"""Roles, their passwords and the databases of a local server. Rights on tables come later, with the migrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql

from schemas.errors import LocalServerError

SUPERUSER = "postgres"
OWNER = "beachhead"
SCHEDULER = "airflow"
ROLES = (OWNER, "beachhead_ingest", "beachhead_jobs", "beachhead_web", "beachhead_reader")
DATABASES = {"beachhead": OWNER, "airflow": SCHEDULER}


def provision(superuser_url: str, passwords: Mapping[str, str]) -> None:
    """Make what is missing and set every password. Running it again changes nothing.

    No role is a superuser: TimescaleDB is a trusted extension, so a database's owner may create it.
    """
    try:
        with psycopg.connect(superuser_url, autocommit=True, connect_timeout=10) as connection:
            for role in (*ROLES, SCHEDULER):
                _make_role(connection, role, passwords[role])
            for database, owner in DATABASES.items():
                _make_database(connection, database, owner)
    except psycopg.Error as error:
        raise LocalServerError(f"The local database's roles could not be made: {error}") from error


def _make_role(connection: psycopg.Connection, role: str, password: str) -> None:
    exists = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount
    verb = "ALTER" if exists else "CREATE"
    statement = sql.SQL(verb + " ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
    connection.execute(statement)


def _make_database(connection: psycopg.Connection, database: str, owner: str) -> None:
    name, owner_name = sql.Identifier(database), sql.Identifier(owner)
    if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [database]).rowcount:
        statement = "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'"
        connection.execute(sql.SQL(statement).format(name, owner_name))
    close_to_strangers(connection, database, ROLES[1:] if owner == OWNER else ())


def close_to_strangers(connection: psycopg.Connection, database: str, guests: Sequence[str]) -> None:
    """Let only the database's owner and the named roles connect to it."""
    name = sql.Identifier(database)
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    for guest in guests:
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, sql.Identifier(guest)))
