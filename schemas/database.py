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
GONE = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction)
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
    """Turn a lost or refused connection, and a database that takes no writes now, into `UnavailableError`."""
    try:
        yield
    except (sa.exc.TimeoutError, sa.exc.DBAPIError, *GONE) as error:
        if isinstance(error, sa.exc.DBAPIError) and not isinstance(error.orig, GONE):
            raise
        what = "takes no writes now" if _is_read_only(error) else "cannot be reached now"
        raise UnavailableError(f"the database {what}") from error


def require_writes(db: psycopg.Connection) -> None:
    """Return if the database takes writes; a standby does not, nor one that was set to be read only.

    Raises:
        psycopg.errors.ReadOnlySqlTransaction: it takes none.
    """
    if db.execute("SHOW transaction_read_only").fetchone() != ("off",):
        raise psycopg.errors.ReadOnlySqlTransaction("the database takes no writes now")


def takes_no_writes(error: UnavailableError) -> bool:
    """Whether the database is there to be read."""
    return error.__cause__ is not None and _is_read_only(error.__cause__)


def _is_read_only(error: BaseException) -> bool:
    driver = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    return isinstance(driver, psycopg.errors.ReadOnlySqlTransaction)


def is_out_of_room(error: UnavailableError) -> bool:
    """Whether there is no connection, no room or no writing for anybody: that is no upload's fault, and will pass."""
    # What goes wrong within a transaction comes from the driver itself.
    ours = isinstance(error.__cause__, sa.exc.DBAPIError | sa.exc.TimeoutError | psycopg.errors.DiskFull)
    return ours or takes_no_writes(error)


@contextmanager
def psycopg_transaction(engine: sa.Engine) -> Iterator[psycopg.Connection]:
    """A transaction on the engine's driver, that commits at the end."""
    with _connected(engine) as connection, connection.begin():
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)  # noqa: S101  (engine() names this driver)
        try:
            yield driver
        except psycopg.errors.ReadOnlySqlTransaction:
            connection.invalidate()  # a session may stay read only when the database is not any more, or is elsewhere
            raise


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
