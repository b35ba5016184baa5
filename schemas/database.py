"""Engines and migrations.

Addresses are libpq URLs (`postgresql://user:password@host:port/name`); SQLAlchemy gets them with the psycopg driver.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import sqlalchemy as sa

from schemas import roles
from schemas.errors import BeachheadError, UnavailableError

if TYPE_CHECKING:
    from alembic.config import Config

TRYING_S = 1.0
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


def is_out_of_room(error: UnavailableError) -> bool:
    """Whether no connection could be had, or the server's disk is full: that is no upload's fault, and will pass."""
    # What goes wrong within a transaction comes from the driver itself.
    return isinstance(error.__cause__, sa.exc.DBAPIError | sa.exc.TimeoutError | psycopg.errors.DiskFull)


@contextmanager
def psycopg_transaction(engine: sa.Engine) -> Iterator[psycopg.Connection]:
    """A transaction on the engine's driver, that commits at the end."""
    with _connected(engine) as connection, connection.begin():
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)  # noqa: S101  (engine() names this driver)
        yield driver


def _connected(engine: sa.Engine) -> sa.Connection:
    """A connection of the pool: also where the server lets in fewer than the pool would have, one of those."""
    began, tries = time.monotonic(), engine.pool.size() if isinstance(engine.pool, sa.QueuePool) else 1
    while True:
        tries -= 1
        try:
            return engine.connect()
        except sa.exc.OperationalError:
            # The place in the pool whose connection ended goes to the back of the queue; the next may have one.
            if tries <= 0 or time.monotonic() - began > TRYING_S:
                raise


# --- migrations: Alembic is imported where it is wanted, since every process starts with this module ---


def migrate(url: str, revision: str = "head") -> None:
    """Bring the database at `url` (its owner's address) up to `revision`, and give each role its rights."""
    from alembic import command

    command.upgrade(_config(url), revision)
    with psycopg.connect(url) as owner:
        roles.grant(owner)


def downgrade(url: str, revision: str = "base") -> None:
    """Take the database at `url` back to `revision`."""
    from alembic import command

    command.downgrade(_config(url), revision)


def check(url: str) -> None:
    """Compare a migrated database with the models.

    Raises:
        BeachheadError: they differ; the message lists the differences.
    """
    from alembic import command
    from alembic.util.exc import CommandError

    try:
        command.check(_config(url))
    except CommandError as error:
        raise BeachheadError(f"models and migrations differ: {error}") from None


def _config(url: str) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = sqlalchemy_url(url)
    return config
