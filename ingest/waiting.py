"""Uploads that were accepted while the database was away: durable in the landing store until they are loaded.

An upload waits as two files, its bytes and a ticket that says what they are; it waits from the moment on at which the
ticket is there. Names begin with the time of arrival, so that names in order are uploads in order.
"""

from __future__ import annotations

import datetime as dt
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import zstandard
from pydantic import BaseModel

from ingest.disk import unavailable_when_full
from ingest.loader import Upload
from schemas.errors import StorageFullError, UnavailableError
from schemas.wire import Receipt, RowCounts

WAITING, TICKET, BODY = "waiting", ".json", ".zst"
LEVEL = 1
SETTLED_S = 3600


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


@dataclass(frozen=True, slots=True)
class Waiting:
    """The waiting uploads of a landing folder; several receivers may share it."""

    folder: Path
    most_bytes: int

    def add(self, ticket: Ticket, body: bytes | None) -> None:
        """Make an upload wait; it is durable when this returns. `body` is None where the bytes are kept already.

        Raises:
            StorageFullError: the disk, or what may wait, is full; nothing of the upload is kept.
            UnavailableError: the landing store cannot be written.
        """
        with _told_as_ours():
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.bytes_waiting() > self.most_bytes:
                raise StorageFullError("too many uploads wait for the database; nothing of this one was kept")
            if body is not None:
                self._write(ticket.name + BODY, zstandard.ZstdCompressor(level=LEVEL).compress(body))
            self._write(ticket.name + TICKET, ticket.model_dump_json().encode())

    def check(self) -> None:
        """Return if an upload could be made to wait; raises as `add` does."""
        with _told_as_ours():
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.bytes_waiting() > self.most_bytes:
                raise StorageFullError("too many uploads wait for the database")
            name = f".check-{uuid.uuid4().hex}"
            self._write(name, b"")
            (self.folder / name).unlink()

    def _write(self, name: str, data: bytes) -> None:
        partial = self.folder / f".{name}.{os.getpid()}"
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(self.folder / name)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        _sync(self.folder)

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return next(self._names(), None) is None

    def tickets(self) -> Iterator[Ticket]:
        """What waits, in the order of arrival. One that was loaded meanwhile is left out."""
        for name in sorted(self._names()):
            ticket = self._read(name)
            if ticket is not None:
                yield ticket

    def find(self, upload_id: uuid.UUID, gateway_id: int) -> Ticket | None:
        """A gateway's waiting upload."""
        name = next((name for name in self._names() if name.endswith(f"-{upload_id}{TICKET}")), None)
        ticket = self._read(name) if name else None
        return ticket if ticket is not None and ticket.gateway_id == gateway_id else None

    def has(self, sha256: str) -> bool:
        """Whether an upload of these bytes waits."""
        return any(ticket.sha256 == sha256 for ticket in self.tickets())

    def body(self, ticket: Ticket) -> bytes:
        """The bytes of an upload of rows."""
        data = (self.folder / (ticket.name + BODY)).read_bytes()
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=max(1, ticket.size_bytes))

    def done(self, ticket: Ticket) -> None:
        """Forget an upload that is in the ledger."""
        for ending in (TICKET, BODY):
            (self.folder / (ticket.name + ending)).unlink(missing_ok=True)

    def bytes_waiting(self) -> int:
        """The size of everything that waits."""
        return sum(entry.stat().st_size for entry in self._entries())

    def count(self) -> int:
        """How many uploads wait."""
        return sum(1 for _ in self._names())

    def sweep(self) -> None:
        """Take away what a killed receiver left: bytes without a ticket were never acknowledged."""
        for entry in self._entries():
            path = Path(entry.path)
            orphaned = entry.name.startswith(".") or not path.with_suffix(TICKET).exists()
            # Another receiver may be about to write the ticket.
            if orphaned and time.time() - entry.stat().st_mtime > SETTLED_S:
                path.unlink(missing_ok=True)

    def _names(self) -> Iterator[str]:
        return (entry.name for entry in self._entries() if entry.name.endswith(TICKET) and entry.name[0] != ".")

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.folder) as entries:
                return list(entries)
        except OSError:
            return []  # nothing waits yet; or the folder cannot be read, which must not keep rows from the database

    def _read(self, name: str) -> Ticket | None:
        try:
            return Ticket.model_validate_json((self.folder / name).read_bytes())
        except FileNotFoundError:
            return None


@contextmanager
def _told_as_ours() -> Iterator[None]:
    try:
        with unavailable_when_full():
            yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnavailableError(f"neither the database nor the landing store can be written: {reason}") from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
