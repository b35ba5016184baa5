"""Where the demonstration lives: databases of its own on the checkout's own server, never one that a setting names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg import sql

from schemas.addresses import Role
from schemas.local.progress import Reporter
from schemas.local.provision import ROLES, SCHEDULER, close_to_strangers
from schemas.local.server import running_server


class Addresses(Protocol):
    """A server that knows its roles' addresses."""

    def url(self, role: str, database: str) -> str:
        """The address of a database for a role."""
        ...


@dataclass(frozen=True)
class Place:
    """The demonstration's folder and databases."""

    home: Path
    server: Addresses
    database: str = "demo"
    scheduler_database: str = "demo_airflow"

    def url(self, role: Role) -> str:
        """A role's address of the demonstration's database."""
        return self.server.url(role, self.database)

    @property
    def scheduler_url(self) -> str:
        """The address of Airflow's own database."""
        return self.server.url(SCHEDULER, self.scheduler_database)

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings of the demonstration's processes: nothing of the user's own database gets through."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BEACHHEAD_")}
        return kept | {
            "BEACHHEAD_HOME": str(self.home),
            "BEACHHEAD_DATABASE_URL": self.url(Role.OWNER),
            "BEACHHEAD_INGEST_URL": self.url(Role.INGEST),
            "BEACHHEAD_JOBS_URL": self.url(Role.JOBS),
            "BEACHHEAD_READER_URL": self.url(Role.READER),
            "BEACHHEAD_WEB_URL": self.url(Role.WEB),
        }


@contextmanager
def open_place(home: Path, report: Reporter) -> Iterator[Place]:
    """A running server with the demonstration's databases on it. A server that ran before goes on running after."""
    with running_server(home, report) as server:
        place = Place(home.resolve(), server)
        with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as superuser:
            make_databases(superuser, place)
        yield place


def make_databases(superuser: psycopg.Connection, place: Place) -> None:
    """Make the place's databases where they are missing."""
    _make(superuser, place.database, Role.OWNER, ROLES[1:])
    _make(superuser, place.scheduler_database, SCHEDULER, ())


def _make(superuser: psycopg.Connection, database: str, owner: str, guests: tuple[str, ...]) -> None:
    if superuser.execute("SELECT FROM pg_database WHERE datname = %s", [database]).rowcount == 0:
        statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0")
        superuser.execute(statement.format(sql.Identifier(database), sql.Identifier(owner)))
    close_to_strangers(superuser, database, guests)
