"""What the scheduler calls: small functions of plain values, with the database taken from the settings."""

from __future__ import annotations

import dataclasses

from pipelines import store
from pipelines.compute import compute_pilot
from schemas.addresses import Role, role_url
from schemas.database import engine


def stale_pilots() -> list[str]:
    """The pilots that have something to compute, by slug."""
    database = engine(role_url(Role.JOBS), application="beachhead jobs")
    try:
        with database.connect() as connection:
            return store.stale_pilots(connection)
    finally:
        database.dispose()


def recompute(pilot: str) -> dict[str, str | int]:
    """Bring one pilot's results up to date; tell what changed."""
    return dataclasses.asdict(compute_pilot(role_url(Role.JOBS), pilot))
