"""One raw CAN log from a landed file to a receipt: recognise, decode, load in one transaction."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from ingest import loader, log_loader
from ingest.auth import Caller
from ingest.can.formats import HEAD_BYTES, recognise
from ingest.can.formats.log import Fault
from ingest.can.setup import Setup
from ingest.can.spans import on_grid, overlap
from ingest.can.whole import Reading
from ingest.checks.logs import Gate, passed
from ingest.checks.rows import Clock
from ingest.definitions import setup_of
from ingest.landing import sha256_of, unpacked
from ingest.log_files import KeptLog, Shelf, tell_alone
from ingest.log_loader import CAN_LOG, ToldLog, can_counts
from ingest.receipts import Upload, rejected_rows, why_failed
from ingest.receiver import Receiver
from ingest.waiting import Ticket
from schemas import logs
from schemas.errors import (
    ExpiredError,
    LandingAwayError,
    MalformedBodyError,
    NotAllowedError,
    NothingUsableError,
    RejectedRow,
    StorageFullError,
    UnavailableError,
    UnknownKeyError,
    UnusableUploadError,
)
from schemas.wire import Receipt

OCTETS = "application/octet-stream"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LogQuery:
    """The query parameters of a log."""

    vehicle: str
    channel: str | None = None
    start: dt.datetime | None = None
    tz: str | None = None
    format: str | None = None

    def normalised(self) -> str:
        """What changes the log's meaning, in one order."""
        start = self.start.astimezone(dt.UTC).isoformat() if self.start else None
        given = {
            "channel": self.channel, "format": self.format, "start": start, "tz": self.tz, "vehicle": self.vehicle,
        }  # fmt: skip
        return urlencode({name: value for name, value in given.items() if value is not None})

    @classmethod
    def of(cls, normalised: str) -> LogQuery:
        """The query that was normalised."""
        given = dict(parse_qsl(normalised))
        start = dt.datetime.fromisoformat(given["start"]) if "start" in given else None
        return cls(given["vehicle"], given.get("channel"), start, given.get("tz"), given.get("format"))


@dataclass(frozen=True, slots=True)
class Vehicle:
    """The vehicle a log is of."""

    id: int
    name: str
    setup: Setup
    zone: str


class LogReceiver:
    """Takes raw logs in. Safe to use from several threads at once."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.landing = receiver.landing

    def receive(self, caller: Caller, file: IO[bytes], query: LogQuery, idempotency_key: str | None) -> Receipt:
        """Take in a log that was written to the landing store. What the receipt tells is committed.

        Raises:
            UnusableUploadError: and its kinds: nothing in it can be used. It is kept only if its clock alone is wrong.
            NotAllowedError: the key does not cover the vehicle.
            UnknownKeyError: the key was revoked since it was verified.
            UnavailableError: neither the database nor the landing store can be written; nothing was kept.
        """
        limit = self.receiver.settings.max_log_bytes
        with unpacked(file, self.landing.on_its_way, limit) as plain:  # type: ignore[arg-type]
            sha256, size = sha256_of(plain)
            upload = Upload(
                uuid.uuid4(), caller.scope.gateway_id, bytes.fromhex(sha256), query.normalised(), OCTETS, size,
                dt.datetime.now(dt.UTC), idempotency_key,
            )  # fmt: skip
            structlog.contextvars.bind_contextvars(upload_id=str(upload.id))
            if self.receiver.waiting.is_empty():
                try:
                    return self._load(caller, file, plain, query, upload)
                except (LandingAwayError, StorageFullError):
                    raise
                except UnavailableError as error:
                    log.warning("database away", reason=logs.told(error.__cause__ or error))
            return self._wait(caller, file, plain, query, upload)

    def load_waiting(self, caller: Caller, ticket: Ticket) -> Receipt:
        """Load a log that waited; raises as `receive` does."""
        upload, limit = ticket.upload(), self.receiver.settings.max_log_bytes
        key = self.landing.raw_key(ticket.sha256)
        with self.landing.as_sent(key) as file, unpacked(file, self.landing.on_its_way, limit) as plain:
            return self._load(caller, file, plain, LogQuery.of(ticket.query), upload)

    def _wait(
        self, caller: Caller, file: IO[bytes], plain: BinaryIO, query: LogQuery, upload: Upload
    ) -> Receipt:  # fmt: skip
        """Let a log wait for the database, if by what is known without one it can be used."""
        if caller.scope.names.filter(address=query.vehicle).is_empty():
            raise NotAllowedError(f"{query.vehicle} is not known as a vehicle of this key")
        plain.seek(0)
        _ = query.format or recognise(plain.read(HEAD_BYTES))
        self.landing.keep(file, upload.sha256.hex())
        ticket = Ticket.of(upload, CAN_LOG, caller.prefix)
        self.receiver.waiting.add(ticket, None)
        # Before there was a ticket, the file may have been taken away as one that no upload needs.
        self.landing.keep(file, upload.sha256.hex())
        return ticket.receipt()

    def _load(
        self, caller: Caller, file: IO[bytes], plain: BinaryIO, query: LogQuery, upload: Upload
    ) -> Receipt:  # fmt: skip
        caller, vehicle = self._vehicle(caller, query)
        with self.receiver.transaction() as db:
            self.receiver.keys.require_good(db, caller, upload.received_at)
            known = loader.repeated(db, upload, CAN_LOG)
        if known is not None:
            return known.model_copy(update={"server_time": upload.received_at})
        key = self.landing.keep(file, upload.sha256.hex())
        with self._forgotten_unless_kept(key), self._shelf(vehicle).folder() as folder:
            told = self._told(caller, plain, vehicle, query, upload, folder)
            with self.receiver.transaction() as db:
                self.receiver.keys.require_good(db, caller, upload.received_at)
                receipt = loader.repeated(db, upload, CAN_LOG)
                if receipt is not None:
                    return receipt.model_copy(update={"server_time": upload.received_at})
                log_loader.hold_landed(db, key)
                self.landing.keep(file, upload.sha256.hex())
                receipt = log_loader.load(db, upload, told, self._shelf(vehicle), self.receiver.settings.late_after_s)
            if receipt.status == "failed":
                raise NothingUsableError(why_failed(receipt), rejected_rows(told.passed.rejects))
            return receipt

    def _told(
        self, caller: Caller, plain: BinaryIO, vehicle: Vehicle, query: LogQuery, upload: Upload, folder: Path
    ) -> ToldLog:
        plain.seek(0)
        format_ = query.format or recognise(plain.read(HEAD_BYTES))
        reading = Reading(vehicle.zone, query.start, query.channel)
        alone = tell_alone(plain, format_, reading, vehicle.setup, folder)
        if not alone.counts.frames:
            raise NothingUsableError("the log holds no data frame", _rejected(alone.counts.faults))
        clock = Clock(upload.received_at, self.receiver.settings.max_future_s)
        held = passed(alone.spool, Gate(caller.scope, vehicle.id, vehicle.name, clock))
        buckets = on_grid(overlap(alone.spool.buckets(), held.usable), vehicle.setup.bucket_us)
        kept = KeptLog(self.landing.raw_key(upload.sha256.hex()), format_, reading, buckets)
        return ToldLog(vehicle.id, vehicle.name, kept, alone.spool, held, can_counts(format_, alone), alone.signals)

    def _shelf(self, vehicle: Vehicle) -> Shelf:
        return Shelf(self.landing, self.receiver.settings.max_log_bytes, vehicle.setup)

    @contextmanager
    def _forgotten_unless_kept(self, key: str) -> Iterator[None]:
        """What is refused leaves no file, unless an upload in the ledger has the same bytes."""
        try:
            yield
        except (UnusableUploadError, NotAllowedError, ExpiredError, UnknownKeyError):
            with self.receiver.transaction() as db:
                log_loader.hold_landed(db, key)
                if not log_loader.is_landed(db, key) and not self.receiver.waiting.has(key.rpartition("/")[2]):
                    self.landing.forget(key)
            raise

    def _vehicle(self, caller: Caller, query: LogQuery) -> tuple[Caller, Vehicle]:
        found = caller.scope.names.filter(address=query.vehicle)["vehicle_id"]
        if found.is_empty():
            caller = self.receiver.keys.refreshed(caller)
            found = caller.scope.names.filter(address=query.vehicle)["vehicle_id"]
        if found.is_empty():
            raise NotAllowedError(f"{query.vehicle} is not a vehicle of this key")
        vehicle_id = int(found[0])
        with self.receiver.transaction() as db:
            setup, zone = setup_of(db, vehicle_id), query.tz or log_loader.zone_of(db, vehicle_id)
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise MalformedBodyError(f"tz={zone}: is not the name of a time zone") from None
        return caller, Vehicle(vehicle_id, caller.scope.vehicle_names[vehicle_id], setup, zone)


def _rejected(faults: list[Fault]) -> list[RejectedRow]:
    return [RejectedRow(fault.row, None, fault.value, fault.reason) for fault in faults]
