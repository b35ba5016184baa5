"""One upload from bytes to receipt: decompress, decode, check, load in one transaction."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

import polars as pl
import psycopg
import sqlalchemy as sa
import structlog

from ingest import loader, store
from ingest.auth import Caller, Keys
from ingest.checks.extras import KIND_SCHEMA
from ingest.checks.rows import Checked, Clock, Query, check, extra_names
from ingest.checks.scope import Scope
from ingest.decoders import decode, media_type
from ingest.decoders.decoded import Decoded, Limits
from ingest.decoders.encodings import decompress
from ingest.landing import landing_of
from ingest.receipts import Upload, rejected_rows, why_failed
from ingest.waiting import Ticket, Waiting
from schemas import database, logs
from schemas.errors import NotAllowedError, NothingUsableError, UnavailableError
from schemas.settings import Settings
from schemas.wire import Receipt

KNOWN_SIGNALS = 100_000
log = structlog.get_logger()


@dataclass(frozen=True)
class Incoming:
    """An upload as it came over the wire; `body` may be compressed by `encoding`."""

    body: bytes
    content_type: str
    encoding: str
    query: Query
    idempotency_key: str | None = None


class Receiver:
    """Takes uploads in. Safe to use from several threads at once."""

    def __init__(self, engine: sa.Engine, settings: Settings) -> None:
        self._engine = engine
        self.settings = settings
        self.limits = Limits(settings.max_body_bytes, settings.max_rows, settings.max_fields)
        self.keys = Keys(self.transaction, settings.key_cache_s)
        self.landing = landing_of(settings)
        self.waiting = Waiting(self.landing.objects, settings.max_waiting_bytes)
        # The kind of an extra signal never changes, so what was once read stays true.
        self.known_signals = pl.DataFrame(schema=store.SIGNAL_SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection]:
        """A transaction that commits at the end.

        Raises:
            UnavailableError: the database is gone.
        """
        with database.unavailable_when_gone(), database.psycopg_transaction(self._engine) as driver:
            yield driver

    def receive(self, caller: Caller, incoming: Incoming) -> Receipt:
        """Take one upload in. When this returns, everything in the receipt is durable.

        While the database is away, and while others wait for it, the upload waits in the landing store (`queued`).

        Raises:
            UnusableUploadError: and its kinds: the body cannot be read, is too large, or holds no usable row.
            NotAllowedError: every row is of a vehicle that the key does not cover.
            IdempotencyError: the idempotency key came before with other bytes.
            UnknownKeyError: the key was revoked since it was verified.
            UnavailableError: neither the database nor the landing store can be written; nothing was kept.
        """
        body = decompress(incoming.body, incoming.encoding, self.limits.body_bytes)
        upload = self.upload_of(caller, incoming, body)
        structlog.contextvars.bind_contextvars(upload_id=str(upload.id))
        decoded = decode(upload.content_type, body, self.limits)
        if self.waiting.is_empty():
            try:
                return self.load(caller, upload, decoded, incoming.query, body)
            except UnavailableError as error:
                log.warning("database away", reason=logs.told(error.__cause__ or error))
        checked = self._check(decoded, caller, incoming.query, self._clock(upload))[1]
        if not checked.is_out_of_time:
            _refuse_unusable(checked)
        ticket = Ticket.of(upload, loader.TELEMETRY, caller.prefix)
        self.waiting.add(ticket, body)
        return ticket.receipt()

    def upload_of(
        self, caller: Caller, incoming: Incoming, body: bytes, received_at: dt.datetime | None = None
    ) -> Upload:
        """A new upload of this body, uncompressed; received now, if it is not said when."""
        return Upload(
            id=uuid.uuid4(),
            gateway_id=caller.scope.gateway_id,
            sha256=hashlib.sha256(body).digest(),
            query=_normalised(incoming.query),
            content_type=media_type(incoming.content_type),
            size_bytes=len(body),
            received_at=received_at or dt.datetime.now(dt.UTC),
            idempotency_key=incoming.idempotency_key,
        )

    def load(self, caller: Caller, upload: Upload, decoded: Decoded, query: Query, body: bytes) -> Receipt:
        """Load an upload in one transaction; raises as `receive` does."""
        clock = self._clock(upload)
        scope, checked = self._check(decoded, caller, query, clock)
        with self.transaction() as db:
            self.keys.require_good(db, caller, upload.received_at)
            receipt = loader.repeated(db, upload)
            if receipt is not None:
                return receipt.model_copy(update={"server_time": upload.received_at})
            if checked.is_out_of_time:
                receipt = loader.keep_failed(db, upload, checked, body)
            else:
                _refuse_unusable(checked)
                receipt = self._load(db, upload, decoded, checked, scope, query, clock, body)
        if receipt.status == "failed":
            raise NothingUsableError(why_failed(receipt), rejected_rows(checked.rejects))
        return receipt

    def load_waiting(self, caller: Caller, ticket: Ticket) -> Receipt:
        """Load an upload that waited; raises as `receive` does."""
        body, upload = self.waiting.body(ticket), ticket.upload()
        given = dict(parse_qsl(ticket.query))
        query = Query(given.get("vehicle"), given.get("tz"))
        return self.load(caller, upload, decode(upload.content_type, body, self.limits), query, body)

    def _clock(self, upload: Upload) -> Clock:
        return Clock(upload.received_at, self.settings.max_future_s)

    def _load(
        self, db: psycopg.Connection, upload: Upload, decoded: Decoded, checked: Checked, scope: Scope, query: Query,
        clock: Clock, body: bytes,
    ) -> Receipt:  # fmt: skip
        vehicle_ids = loader.lock_vehicles(db, checked.rows)
        signals = self._signals_of(db, vehicle_ids, decoded)
        checked = loader.with_fixed_kinds(decoded, checked, scope, query, clock, signals)
        loaded = loader.load(db, upload, checked, signals, self.settings.late_after_s, scope.vehicle_names, body)
        self.learn(loaded.signals)
        return loaded.receipt

    def _check(self, decoded: Decoded, caller: Caller, query: Query, clock: Clock) -> tuple[Scope, Checked]:
        """Check with what is known of vehicles and extra signals; a vehicle not known may just be new."""
        kinds = self.known_signals.select(*KIND_SCHEMA)
        checked = check(decoded, caller.scope, query, clock, kinds)
        if checked.foreign and (newer := self.keys.refreshed(caller)) is not caller:
            caller = newer
            checked = check(decoded, caller.scope, query, clock, kinds)
        return caller.scope, checked

    def _signals_of(self, db: psycopg.Connection, vehicle_ids: list[int], decoded: Decoded) -> pl.DataFrame:
        names = extra_names(decoded)
        return store.extra_signals(db, vehicle_ids, names) if names else pl.DataFrame(schema=store.SIGNAL_SCHEMA)

    def learn(self, signals: pl.DataFrame) -> None:
        """Remember the kinds of extra signals."""
        if signals.height:
            known = pl.concat([self.known_signals, signals]).unique(["vehicle_id", "name"], keep="last")
            self.known_signals = known.tail(KNOWN_SIGNALS)


def _normalised(query: Query) -> str:
    """The query parameters that change meaning, in one order."""
    given = {"tz": query.tz, "vehicle": query.vehicle}
    return urlencode({name: value for name, value in given.items() if value is not None})


def _refuse_unusable(checked: Checked) -> None:
    if checked.rows.height:
        return
    rejects = rejected_rows(checked.rejects)
    if checked.received and checked.foreign == checked.received:
        raise NotAllowedError("no row is of a vehicle that this key covers", rejects)
    if not checked.received:
        raise NothingUsableError("the upload holds no row")
    raise NothingUsableError(f"none of the {checked.received} rows can be used", rejects)
