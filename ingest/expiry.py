"""Bytes of uploads that are older than they are to be kept: they go, and the ledger says so.

What is stored stays, and so does the ledger: the same upload is a duplicate as before. What needed the bytes (an upload
taken back or put right beside them, logs decoded anew) is refused from then on.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import sqlalchemy as sa

from ingest import log_loader
from ingest.landing import Landing, landing_of
from ingest.waiting import Waiting
from schemas import database
from schemas.settings import Settings

AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Expired:
    """What one step took away."""

    uploads: int
    files: int


@dataclass(frozen=True, slots=True)
class Expiry:
    """Takes away what is old, a few uploads in a transaction. Several may be at it at once, and be killed."""

    engine: sa.Engine
    landing: Landing
    waiting: Waiting

    @classmethod
    def of(cls, engine: sa.Engine, settings: Settings) -> Expiry:
        """On a database, and the landing store of the settings."""
        landing = landing_of(settings)
        return cls(engine, landing, Waiting(landing.objects, settings.max_waiting_bytes))

    def expire(self, before: dt.datetime) -> Iterator[Expired]:
        """Take away the bytes of uploads that came before; yields what each transaction did, as it is committed."""
        while True:
            with database.psycopg_transaction(self.engine) as db:
                done = self._some(db, before)
            if not done.uploads:
                return
            yield done

    def _some(self, db: psycopg.Connection, before: dt.datetime) -> Expired:
        ids = [id_ for (id_,) in db.execute(_OLD, [before, AT_ONCE]).fetchall()]
        if not ids:
            return Expired(0, 0)
        db.execute("DELETE FROM upload_body WHERE upload_id = ANY(%s)", [ids])
        db.execute("UPDATE upload SET expired_at = now() WHERE id = ANY(%s)", [ids])
        # Files go before the commit: a transaction that fails leaves files that are gone to be found gone next time,
        # and never files that nobody knows of.
        keys = [*self._raw_keys(db, ids), *_signal_keys(db, ids)]
        for key in keys:
            self.landing.forget(key)
        return Expired(len(ids), len(keys))

    def _raw_keys(self, db: psycopg.Connection, ids: list[uuid.UUID]) -> Iterator[str]:
        """The files of these logs that no younger upload has, and none that waits; held until the commit."""
        found = db.execute("SELECT DISTINCT landing_key FROM upload_log WHERE upload_id = ANY(%s) ORDER BY 1", [ids])
        for (key,) in found.fetchall():
            log_loader.hold_landed(db, key)
            if not db.execute(_STILL_NEEDED, [key]).rowcount and not self.waiting.has(key.rpartition("/")[2]):
                yield key


def _signal_keys(db: psycopg.Connection, ids: list[uuid.UUID]) -> list[str]:
    keys = db.execute(
        "SELECT signals_key FROM upload_log WHERE upload_id = ANY(%s) AND signals_key IS NOT NULL", [ids]
    ).fetchall()
    db.execute("UPDATE upload_log SET signals_key = NULL WHERE upload_id = ANY(%s)", [ids])
    return [key for (key,) in keys]


# Those that a correction is at work on are passed over, until the next time.
_OLD = """
SELECT id FROM upload WHERE received_at < %s AND expired_at IS NULL
ORDER BY received_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
_STILL_NEEDED = """
SELECT FROM upload_log l JOIN upload u ON u.id = l.upload_id
WHERE l.landing_key = %s AND u.expired_at IS NULL LIMIT 1
"""
