"""Engines and migrations.

Addresses are libpq URLs (`postgresql://user:password@host:port/name`); SQLAlchemy gets them with the psycopg driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError

from schemas import roles
from schemas.errors import BeachheadError, UnavailableError

MIGRATIONS = Path(__file__).parent / "migrations"


def sqlalchemy_url(url: str) -> str:
    """The same address, naming the psycopg driver."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def engine(url: str, *, pool_size: int = 5, application: str = "beachhead") -> sa.Engine:
    """An engine that checks a pooled connection before use and never waits long for a new one."""
    return sa.create_engine(
        sqlalchemy_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5, "application_name": application},
    )


@contextmanager
def unavailable_when_gone() -> Iterator[None]:
    """Turn a lost or refused connection into `UnavailableError`."""
    try:
        yield
    except (
        sa.exc.OperationalError,
        sa.exc.InterfaceError,
        sa.exc.TimeoutError,
        psycopg.OperationalError,
        psycopg.InterfaceError,
    ) as error:
        raise UnavailableError("the database cannot be reached now") from error


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = sqlalchemy_url(url)
    return config


def migrate(url: str, revision: str = "head") -> None:
    """Bring the database at `url` (its owner's address) up to `revision`, and give each role its rights."""
    command.upgrade(_config(url), revision)
    with psycopg.connect(url) as owner:
        roles.grant(owner)


def downgrade(url: str, revision: str = "base") -> None:
    """Take the database at `url` back to `revision`."""
    command.downgrade(_config(url), revision)


def check(url: str) -> None:
    """Compare a migrated database with the models.

    Raises:
        BeachheadError: they differ; the message lists the differences.
    """
    try:
        command.check(_config(url))
    except CommandError as error:
        raise BeachheadError(f"models and migrations differ: {error}") from None
