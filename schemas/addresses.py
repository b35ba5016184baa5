"""Where the database is, for each role: a setting where one is given, else the local server's own."""

from __future__ import annotations

from enum import StrEnum

from pydantic import SecretStr

from schemas.local.server import open_server
from schemas.settings import Settings, settings


class Role(StrEnum):
    """The database roles, by what they may do (`schemas.roles`)."""

    OWNER = "beachhead"
    INGEST = "beachhead_ingest"
    JOBS = "beachhead_jobs"
    WEB = "beachhead_web"
    READER = "beachhead_reader"


def role_url(role: Role, given: Settings | None = None) -> str:
    """The libpq URL of a role.

    Raises:
        LocalServerError: nothing is set and the local server was never started.
    """
    chosen = given or settings()
    by_role: dict[Role, SecretStr | None] = {
        Role.OWNER: chosen.database_url,
        Role.INGEST: chosen.ingest_url,
        Role.JOBS: chosen.jobs_url,
        Role.WEB: chosen.web_url,
        Role.READER: chosen.reader_url,
    }
    url = by_role[role]
    if url is not None:
        return url.get_secret_value()
    owner = chosen.database_url.get_secret_value() if chosen.database_url else None
    return open_server(chosen.home, owner).url(role)
