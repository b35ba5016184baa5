"""Loads the uploads that waited for the database, in the order in which they arrived, one receiver at a time."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from urllib.parse import parse_qsl

import psycopg
import structlog

from ingest import loader, log_loader, store
from ingest.auth import Caller
from ingest.checks.scope import Scope
from ingest.log_receiver import LogReceiver
from ingest.receiver import Receiver
from ingest.together import NDJSON, SMALL_BYTES, ApartError, Member, lines_of, load_together
from ingest.waiting import Ticket, Waiting
from schemas import database
from schemas.errors import BeachheadError, LandingAwayError, StorageFullError, UnavailableError, UnknownKeyError
from schemas.wire import Receipt

PERIOD_S = 1.0
DRAIN_LOCK = 7_251_002
AT_ONCE = 200
"""For so many uploads one transaction holds the lock."""
MOST_TOGETHER = 64
MOST_TRIES = 30
UNEXPECTED = "an unexpected error; the receiver's log names it by this upload's id"
log = structlog.get_logger()


class Drain(threading.Thread):
    """Runs until it is stopped; looks for waiting uploads once a second. `told` hears of each that is loaded."""

    def __init__(self, receiver: Receiver, logs: LogReceiver, told: Callable[[str, Receipt], None]) -> None:
        super().__init__(name="drain", daemon=True)
        self._receiver, self._logs, self._told = receiver, logs, told
        self._ended = threading.Event()
        self._tries: Counter[uuid.UUID] = Counter()
        self._listed: Iterator[Ticket] = iter(())

    @property
    def _waiting(self) -> Waiting:
        return self._receiver.waiting

    def run(self) -> None:
        """Load what waits, whenever the database is there."""
        more = False
        while not self._ended.wait(0 if more else PERIOD_S):
            more = False
            try:
                more = self.drain()
            except UnavailableError:
                continue
            except Exception:
                log.exception("drain")

    def stop(self) -> None:
        """End after the upload under way."""
        self._ended.set()
        self.join()

    def drain(self) -> bool:
        """Load what waits, unless another receiver is at it; returns whether there may be more by now.

        Raises:
            UnavailableError: the database is away; what is not loaded waits on.
        """
        if self._waiting.is_empty():
            return False
        done = 0
        with self._receiver.transaction() as held:
            # The lock ends with this connection: a receiver that is killed leaves none behind.
            if not held.execute("SELECT pg_try_advisory_xact_lock(%s)", [DRAIN_LOCK]).fetchall()[0][0]:
                return False
            database.require_writes(held)
            try:
                for batch in _batches(self._next()):
                    if self._ended.is_set():
                        return False
                    self._load_batch(batch)
                    done += len(batch)
            except BaseException:
                self._listed = iter(())  # those that were not loaded come first again
                raise
        return done > 0  # meanwhile others have come

    def _next(self) -> list[Ticket]:
        """What comes next in the order of arrival. What waits is listed once, however much it is, and then worked off.

        What comes meanwhile is in the next list; what another receiver loaded meanwhile is left out.
        """
        found = list(islice(self._listed, AT_ONCE))
        if not found:
            self._listed = self._waiting.tickets()
            found = list(islice(self._listed, AT_ONCE))
        return found

    def _load_batch(self, batch: Sequence[Ticket]) -> None:
        """Load uploads in their order: together if all of them can be, else in halves, else one by one."""
        if len(batch) == 1:
            self._load(batch[0])
            self._waiting.done(batch[0])
            return
        try:
            receipts = load_together(self._members(batch), self._receiver, wholly=True)
        except (LandingAwayError, StorageFullError):
            raise
        except (BeachheadError, FileNotFoundError):  # whose fault it is shows when they go alone
            with self._receiver.transaction() as db:
                database.require_writes(db)  # or nobody's: the database is away
            half = len(batch) // 2
            self._load_batch(batch[:half])
            self._load_batch(batch[half:])
            return
        for place, ticket in enumerate(batch):
            self._loaded_now(ticket, receipts[place])
            self._waiting.done(ticket)

    def _members(self, batch: Sequence[Ticket]) -> list[Member]:
        """The uploads of a batch.

        Raises:
            ApartError: one of them is not for a batch, or in the ledger already.
            UnknownKeyError: as `_authorised` does.
        """
        members = []
        scopes: dict[int, Scope] = {}
        with self._receiver.transaction() as db:
            if any(store.is_in_ledger(db, ticket.upload_id) for ticket in batch):
                raise ApartError
            for ticket in batch:
                caller, body = self._authorised_by(db, ticket, scopes), self._waiting.body(ticket)
                lines = lines_of(body)
                if lines is None:
                    raise ApartError
                vehicle = dict(parse_qsl(ticket.query)).get("vehicle")
                members.append(Member(caller, ticket.upload(), vehicle, body, lines))
        return members

    def _load(self, ticket: Ticket) -> None:
        with self._receiver.transaction() as db:
            if store.is_in_ledger(db, ticket.upload_id):
                return
        try:
            receipt = self._loaded(ticket)
        except (LandingAwayError, StorageFullError):
            raise
        except UnavailableError as error:
            if database.is_out_of_room(error):
                raise
            self._tries[ticket.upload_id] += 1
            if self._tries[ticket.upload_id] < MOST_TRIES:
                raise
            # Where the database can be written after all, the fault is this upload's: it must not hold up the others.
            self._fail(ticket, "the database refused it again and again")
        except BeachheadError as error:
            self._fail(ticket, str(error))
        except Exception:
            log.exception("waiting upload", upload_id=str(ticket.upload_id))
            self._fail(ticket, UNEXPECTED)
        else:
            if receipt.status == "duplicate":
                self._enter(ticket, receipt.model_copy(update={"upload_id": ticket.upload_id}), None)
            self._loaded_now(ticket, receipt)

    def _loaded_now(self, ticket: Ticket, receipt: Receipt) -> None:
        self._told(ticket.kind, receipt)
        log.info("waiting upload", upload_id=str(ticket.upload_id), status=receipt.status)

    def _loaded(self, ticket: Ticket) -> Receipt:
        caller = self._authorised(ticket)
        if ticket.kind == loader.TELEMETRY:
            return self._receiver.load_waiting(caller, ticket)
        return self._logs.load_waiting(caller, ticket)

    def _authorised(self, ticket: Ticket) -> Caller:
        with self._receiver.transaction() as db:
            return self._authorised_by(db, ticket, {})

    @staticmethod
    def _authorised_by(db: psycopg.Connection, ticket: Ticket, scopes: dict[int, Scope]) -> Caller:
        """The caller by what its key may write now; a key that only came to its end since the upload is good.

        Raises:
            UnknownKeyError: the key was revoked, or its gateway ended, since the upload came.
        """
        key = store.find_key(db, ticket.key_prefix, ticket.received_at)
        if key is None or key.gateway_id != ticket.gateway_id:
            raise UnknownKeyError("its gateway key was revoked before it could be loaded")
        if key.gateway_id not in scopes:
            scopes[key.gateway_id] = store.scope(db, key.gateway_id)
        return Caller(ticket.key_prefix, key.secret_sha256, scopes[key.gateway_id], 0.0)

    def _fail(self, ticket: Ticket, reason: str) -> None:
        log.warning("waiting upload failed", upload_id=str(ticket.upload_id))  # its receipt has the reason
        self._enter(ticket, ticket.receipt().model_copy(update={"status": "failed", "warnings": [reason]}), reason)

    def _enter(self, ticket: Ticket, receipt: Receipt, reason: str | None) -> None:
        """Write an upload that brought no row into the ledger, its bytes with it, so that its receipt is found."""
        with self._receiver.transaction() as db:
            if store.is_in_ledger(db, ticket.upload_id):
                return
            body = self._waiting.body(ticket) if ticket.kind == loader.TELEMETRY else None
            loader.enter_without_rows(db, ticket.upload(), ticket.kind, receipt, reason, body)
            if ticket.kind == log_loader.CAN_LOG:
                log_loader.enter_unread(db, ticket.upload(), self._logs.landing.raw_key(ticket.sha256))


def _batches(tickets: Iterable[Ticket]) -> Iterator[list[Ticket]]:
    """Tickets in their order; those of small uploads of rows that follow each other are one batch."""
    batch: list[Ticket] = []
    for ticket in tickets:
        if batch and not (_is_small(ticket) and _is_small(batch[-1]) and len(batch) < MOST_TOGETHER):
            yield batch
            batch = []
        batch.append(ticket)
    if batch:
        yield batch


def _is_small(ticket: Ticket) -> bool:
    return (
        ticket.kind == loader.TELEMETRY
        and ticket.content_type == NDJSON
        and ticket.size_bytes <= SMALL_BYTES
        and ticket.idempotency_key is None
        and "tz=" not in ticket.query
    )
