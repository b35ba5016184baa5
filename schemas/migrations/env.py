"""How Alembic runs here: online only, in one transaction, one migrator at a time, giving up early on locked tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from schemas.tables import Base

ADVISORY_LOCK = 7_250_517_031
LOCK_TIMEOUT = "5s"
STATEMENT_TIMEOUT = "10min"


def run() -> None:
    """Run the migrations that the command asked for."""
    engine = sa.create_engine(context.config.attributes["url"], poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(sa.text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'"))
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_server_default=False,
        )
        context.run_migrations()
    engine.dispose()


run()
