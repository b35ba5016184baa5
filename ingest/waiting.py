"""Uploads that were accepted while the database was away: durable in the landing store until they are loaded.

An upload waits as two files, its bytes and a ticket that says what they are; it waits from the moment on at which the
ticket is there. Names begin with the time of arrival, so that names in order are uploads in order.
"""

from __future__ import annotations

import datetime as dt
import math
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import zstandard
from pydantic import BaseModel

from ingest.objects import Objects
from ingest.receipts import Upload
from schemas.errors import LandingAwayError, StorageFullError, UnavailableError
from schemas.wire import Receipt, RowCounts

WAITING, TICKET, BODY = "waiting", ".json", ".zst"
LEVEL = 1
SETTLED_S = 3600
PROBE_BYTES = 2**16
"""A full disk still takes a file of nothing."""
AWAY_TIMES = 5
"""So many times as long is it taken for granted that the store is away."""
BYTES_S, FULL_S = 10.0, 1.0
"""For so long a sum of all that waits is good; and one that is too much."""
BYTES_TIMES = 10
"""So many times as long as it took to sum up is it good, at least."""
BUSY_S = 0.1
"""For so long something is held to wait that did: uploads go behind it, and that is right also where it is gone."""
KNOWN_NAMES = 100_000


class Ticket(BaseModel, frozen=True):
    """What a waiting upload is, and by which key it came."""

    upload_id: uuid.UUID
    gateway_id: int
    key_prefix: str
    kind: str
    sha256: str
    query: str
    content_type: str
    size_bytes: int
    received_at: dt.datetime
    idempotency_key: str | None

    @property
    def name(self) -> str:
        """Its files' name; names sort as uploads arrived."""
        us = (self.received_at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
        return f"{us:018d}-{self.upload_id}"

    @classmethod
    def of(cls, upload: Upload, kind: str, key_prefix: str) -> Ticket:
        """The ticket of an upload."""
        return cls(
            upload_id=upload.id, gateway_id=upload.gateway_id, key_prefix=key_prefix, kind=kind,
            sha256=upload.sha256.hex(), query=upload.query, content_type=upload.content_type,
            size_bytes=upload.size_bytes, received_at=upload.received_at, idempotency_key=upload.idempotency_key,
        )  # fmt: skip

    def upload(self) -> Upload:
        """The upload."""
        return Upload(
            self.upload_id, self.gateway_id, bytes.fromhex(self.sha256), self.query, self.content_type,
            self.size_bytes, self.received_at, self.idempotency_key,
        )  # fmt: skip

    def receipt(self) -> Receipt:
        """What its gateway is told meanwhile."""
        return Receipt(
            upload_id=self.upload_id, sha256=self.sha256, status="queued", received_at=self.received_at,
            server_time=dt.datetime.now(dt.UTC), rows=RowCounts(),
        )  # fmt: skip


class Glance:
    """Whether anything waits, and how many bytes, asked of the store as seldom as it wants.

    What this receiver itself adds or takes away is known at once; what others do, when the store is asked again.
    """

    def __init__(self, objects: Objects, most_bytes: int) -> None:
        self._objects, self._most_bytes = objects, most_bytes
        self._asking, self._summing = threading.Lock(), threading.Lock()
        self._empty: bool | None = None
        self._bytes: int | None = None
        self._changes = 0
        self._empty_until_s = self._bytes_until_s = -math.inf

    def is_empty(self) -> bool:
        """Whether nothing waits. A store that is away must not keep rows from the database: then nothing does."""
        if self._empty is not None and (time.monotonic() < self._empty_until_s or self._asking.locked()):
            return self._empty
        with self._asking:
            changes = self._changes
            try:
                empty = self._ask()
                trusted_s = self._objects.trusted_s or (0.0 if empty else BUSY_S)
            except UnavailableError:
                empty, trusted_s = True, self._objects.trusted_s * AWAY_TIMES
            if changes == self._changes and trusted_s:
                self._empty, self._empty_until_s = empty, time.monotonic() + trusted_s
            return empty

    def _ask(self) -> bool:
        return not any(map(_is_ticket, self._objects.keys(WAITING)))

    def bytes_waiting(self) -> int:
        """The size of everything that waits, as far as is known; raises where the store is away.

        Where that is too much, the store is asked first: others may have taken some away.
        """
        if self._bytes is None or self._is_too_much_as_it_was:
            with self._summing:
                if self._bytes is None or self._is_too_much_as_it_was:
                    self._sum_up()
        elif time.monotonic() >= self._bytes_until_s and self._summing.acquire(blocking=False):
            # Whoever asks does not wait for it: with many files it takes seconds.
            threading.Thread(target=self._sum_up_again, name="bytes-waiting", daemon=True).start()
        return self._bytes or 0

    @property
    def _is_too_much_as_it_was(self) -> bool:
        return (self._bytes or 0) > self._most_bytes and time.monotonic() >= self._bytes_until_s

    def _sum_up_again(self) -> None:
        try:
            self._sum_up()
        except UnavailableError:
            self._bytes_until_s = time.monotonic() + FULL_S
        finally:
            self._summing.release()

    def _sum_up(self) -> None:
        began = time.monotonic()
        self._bytes = sum(entry.size_bytes for entry in self._objects.under(WAITING))
        now = time.monotonic()
        good_s = BYTES_S if self._bytes <= self._most_bytes else FULL_S
        self._bytes_until_s = now + max(good_s, BYTES_TIMES * (now - began))

    def added(self, size_bytes: int) -> None:
        """An upload was made to wait by this receiver."""
        self._changes += 1
        self._bytes = (self._bytes or 0) + size_bytes
        if self._bytes > self._most_bytes:
            self._bytes_until_s = -math.inf
        if self._objects.trusted_s:
            self._empty, self._empty_until_s = False, time.monotonic() + self._objects.trusted_s

    def taken(self) -> None:
        """An upload was taken away by this receiver: the store is to be asked again whether others wait."""
        self._changes += 1
        self._empty_until_s = -math.inf


class Waiting:
    """The waiting uploads of a landing store; several receivers may share it."""

    def __init__(self, objects: Objects, most_bytes: int) -> None:
        self.objects, self.most_bytes = objects, most_bytes
        self._glance = Glance(objects, most_bytes)
        self._names: dict[uuid.UUID, str] = {}

    def add(self, ticket: Ticket, body: bytes | None) -> None:
        """Make an upload wait; it is durable when this returns. `body` is None where the bytes are kept already.

        Raises:
            StorageFullError: the store, or what may wait, is full; nothing of the upload is kept.
            LandingAwayError: the landing store cannot be written.
        """
        packed = None if body is None else zstandard.ZstdCompressor(level=LEVEL).compress(body)
        told = ticket.model_dump_json().encode()
        with _both_away():
            self._refuse_too_much()
            if packed is not None:
                self.objects.put(_key(ticket, BODY), packed)
            try:
                self.objects.put(_key(ticket, TICKET), told)
            except UnavailableError:
                # Bytes that nobody is told of would fill a full store for good, one attempt after the other.
                with suppress(UnavailableError):
                    self.objects.delete(_key(ticket, TICKET), *([] if packed is None else [_key(ticket, BODY)]))
                raise
        self._glance.added(len(packed or b"") + len(told))
        self._remember(ticket)

    def check(self) -> None:
        """Return if an upload could be made to wait; raises as `add` does."""
        with _both_away():
            self._refuse_too_much()
            key = f"{WAITING}/.check-{uuid.uuid4().hex}"
            self.objects.put(key, bytes(PROBE_BYTES))
            self.objects.delete(key)

    def _refuse_too_much(self) -> None:
        if self._glance.bytes_waiting() > self.most_bytes:
            raise StorageFullError("too many uploads wait for the database; nothing of this one was kept")

    def is_empty(self) -> bool:
        """Whether nothing waits, as far as is known."""
        return self._glance.is_empty()

    def tickets(self) -> Iterator[Ticket]:
        """What waits, in the order of arrival. One that was loaded meanwhile is left out."""
        for entry in self.objects.under(WAITING):
            ticket = self._read(entry.key) if _is_ticket(entry.key) else None
            if ticket is not None:
                yield ticket

    def find(self, upload_id: uuid.UUID, gateway_id: int) -> Ticket | None:
        """A gateway's waiting upload."""
        key = self._names.get(upload_id)
        if key is None:  # another receiver took it in, or this one before it was started anew
            key = next((key for key in self._keys() if key.endswith(f"-{upload_id}{TICKET}")), None)
        ticket = self._read(key) if key else None
        return ticket if ticket is not None and ticket.gateway_id == gateway_id else None

    def has(self, sha256: str) -> bool:
        """Whether an upload of these bytes waits."""
        return any(ticket.sha256 == sha256 for ticket in self.tickets())

    def body(self, ticket: Ticket) -> bytes:
        """The bytes of an upload of rows."""
        data = self.objects.read(_key(ticket, BODY))
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=max(1, ticket.size_bytes))

    def done(self, ticket: Ticket) -> None:
        """Forget an upload that is in the ledger."""
        try:
            self.objects.delete(_key(ticket, TICKET), _key(ticket, BODY))
        finally:
            self._names.pop(ticket.upload_id, None)
            self._glance.taken()

    def bytes_waiting(self) -> int:
        """The size of everything that waits, as far as is known."""
        return self._glance.bytes_waiting()

    def count(self) -> int:
        """How many uploads wait."""
        return sum(1 for _ in self._keys())

    def sweep(self) -> None:
        """Take away what a killed receiver left: bytes without a ticket were never acknowledged."""
        with suppress(UnavailableError):  # it is done again at the next start
            entries = list(self.objects.under(WAITING))
            ticketed = {entry.key.removesuffix(TICKET) for entry in entries if _is_ticket(entry.key)}
            for entry in entries:
                orphaned = not _is_ticket(entry.key) and entry.key.removesuffix(BODY) not in ticketed
                # Another receiver may be about to write the ticket.
                if orphaned and time.time() - entry.changed_s > SETTLED_S:
                    self.objects.delete(entry.key)

    def _keys(self) -> Iterator[str]:
        """Tickets in any order."""
        return filter(_is_ticket, self.objects.keys(WAITING))

    def _remember(self, ticket: Ticket) -> None:
        """Where a receipt that is asked for is found without a look at all of them."""
        if len(self._names) >= KNOWN_NAMES:
            self._names.clear()  # others may have loaded them; what still waits is found all the same
        self._names[ticket.upload_id] = _key(ticket, TICKET)

    def _read(self, key: str) -> Ticket | None:
        try:
            return Ticket.model_validate_json(self.objects.read(key))
        except FileNotFoundError:
            return None


def _key(ticket: Ticket, ending: str) -> str:
    return f"{WAITING}/{ticket.name}{ending}"


def _is_ticket(key: str) -> bool:
    return key.endswith(TICKET) and not key.startswith(f"{WAITING}/.")


@contextmanager
def _both_away() -> Iterator[None]:
    try:
        yield
    except LandingAwayError as error:
        raise LandingAwayError(f"neither the database nor the landing store can be written: {error}") from error
