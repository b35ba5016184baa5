"""One raw CAN log from a landed file to a receipt: recognise, decode, load in one transaction."""

from __future__ import annotations

import datetime as dt
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from ingest import loader, log_loader
from ingest.auth import Caller
from ingest.can.formats import HEAD_BYTES, read_log, recognise
from ingest.can.formats.log import Fault
from ingest.can.frames import Frames
from ingest.can.parquet import SignalFile
from ingest.can.setup import Setup
from ingest.can.whole import Counts, Reading, Whole, clock_us, frames_of, tell_all
from ingest.checks.rows import Checked, Clock, Query, check
from ingest.decoders.decoded import Decoded
from ingest.definitions import setup_of
from ingest.landing import Landing, sha256_of, unpacked
from ingest.loader import Upload
from ingest.log_loader import CAN_LOG, LogFacts
from ingest.receiver import Receiver
from schemas.errors import MalformedBodyError, NotAllowedError, NothingUsableError, RejectedRow, UnusableUploadError
from schemas.settings import landing_folder
from schemas.wire import CanCounts, Receipt, UnknownId

TOP_UNKNOWN = 10
OCTETS = "application/octet-stream"


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
        self.landing = Landing(landing_folder(receiver.settings))

    def receive(self, caller: Caller, file: IO[bytes], query: LogQuery, idempotency_key: str | None) -> Receipt:
        """Take in a log that was written to the landing store. What the receipt tells is committed.

        Raises:
            UnusableUploadError: and its kinds: nothing in it can be used; nothing is kept.
            NotAllowedError: the key does not cover the vehicle.
            UnavailableError: the database is gone.
        """
        limit, settings = self.receiver.settings.max_log_bytes, self.receiver.settings
        vehicle = self._vehicle(caller, query)
        with unpacked(file, self.landing.root / "incoming", limit) as plain:  # type: ignore[arg-type]
            sha256, size = sha256_of(plain)
            upload = Upload(
                uuid.uuid4(), caller.scope.gateway_id, bytes.fromhex(sha256), query.normalised(), OCTETS, size,
                dt.datetime.now(dt.UTC), idempotency_key,
            )  # fmt: skip
            known = self._known(upload)
            if known is not None:
                return known
            key = self.landing.keep(file, sha256)
            try:
                told = self._tell(plain, vehicle, query, upload)
                checked = self._check(told.whole, caller, vehicle, upload)
            except UnusableUploadError:
                self._forget(key, str(upload.id))
                raise
        facts = LogFacts(key, told.format, query.channel, query.start, query.tz, told.signals_key, vehicle.setup.sha256)
        with self.receiver.transaction() as db:
            receipt = loader.repeated(db, upload, CAN_LOG)
            if receipt is not None:
                return receipt.model_copy(update={"server_time": upload.received_at})
            shared = log_loader.Shared(self.landing, limit, vehicle.setup, vehicle.zone)
            return log_loader.load(
                db, upload, vehicle.id, vehicle.name, checked, told.whole, facts, told.counts, shared,
                settings.late_after_s,
            )  # fmt: skip

    def _known(self, upload: Upload) -> Receipt | None:
        with self.receiver.transaction() as db:
            known = loader.repeated(db, upload, CAN_LOG)
        return known.model_copy(update={"server_time": upload.received_at}) if known else None

    def _forget(self, key: str, upload: str) -> None:
        """Take an upload's files away again; the bytes stay where another upload has the same."""
        self.landing.forget(self.landing.signals_key(upload))
        with self.receiver.transaction() as db:
            if not log_loader.is_landed(db, key):
                self.landing.forget(key)

    def _vehicle(self, caller: Caller, query: LogQuery) -> Vehicle:
        scope = caller.scope
        found = scope.names.filter(address=query.vehicle)["vehicle_id"]
        if found.is_empty():
            scope = self.receiver.keys.refreshed(caller).scope
            found = scope.names.filter(address=query.vehicle)["vehicle_id"]
        if found.is_empty():
            raise NotAllowedError(f"{query.vehicle} is not a vehicle of this key")
        vehicle_id = int(found[0])
        with self.receiver.transaction() as db:
            setup, zone = setup_of(db, vehicle_id), query.tz or log_loader.zone_of(db, vehicle_id)
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise MalformedBodyError(f"tz={zone}: is not the name of a time zone") from None
        return Vehicle(vehicle_id, scope.vehicle_names[vehicle_id], setup, zone)

    def _tell(self, plain: BinaryIO, vehicle: Vehicle, query: LogQuery, upload: Upload) -> _Told:
        plain.seek(0)
        name = query.format or recognise(plain.read(HEAD_BYTES))
        reading = Reading(vehicle.zone, query.start, query.channel)
        counts = Counts()
        opened = [read_log(plain, name)]
        offset, clock = clock_us(opened[0], reading)

        def frames() -> Iterator[Frames]:
            # The first time the log that told the clock is read on; it is opened again only to put it in order.
            yield from frames_of(opened.pop() if opened else read_log(plain, name), offset, reading, counts)

        with self._signal_file() as (path, signals):
            whole = tell_all(frames, vehicle.setup, counts, signals.write)
            signals.close()
            if not counts.frames:
                raise NothingUsableError("the log holds no data frame", _rejected(counts.faults))
            key = self.landing.keep_signals(path, str(upload.id)) if whole.rows.height else None
        return _Told(name, whole, _can(name, clock, counts), key)

    @contextmanager
    def _signal_file(self) -> Iterator[tuple[Path, SignalFile]]:
        folder = self.landing.root / "incoming"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as own:
            path = Path(own) / uuid.uuid4().hex
            yield path, SignalFile(path)

    def _check(self, whole: Whole, caller: Caller, vehicle: Vehicle, upload: Upload) -> Checked:
        """Hold the rows to what a vehicle's rows must be: their time, and the catalogue's limits."""
        decoded = Decoded.whole(whole.rows.with_columns(vehicle=pl.lit(vehicle.name)))
        scope = caller.scope
        if vehicle.id not in scope.vehicle_names:
            scope = self.receiver.keys.refreshed(caller).scope
        clock = Clock(upload.received_at, self.receiver.settings.max_future_s)
        checked = check(decoded, scope, Query(vehicle.name), clock)
        if whole.rows.height and not checked.rows.height:
            reason = checked.rejects["reason"][0]
            raise NothingUsableError(f"none of the log's {whole.rows.height} rows can be used: {reason}")
        return checked


@dataclass(frozen=True, slots=True)
class _Told:
    format: str
    whole: Whole
    counts: CanCounts
    signals_key: str | None


def _rejected(faults: list[Fault]) -> list[RejectedRow]:
    return [RejectedRow(fault.row, None, fault.value, fault.reason) for fault in faults]


def _can(name: str, clock: str, counts: Counts) -> CanCounts:
    return CanCounts(
        format=name,
        clock=clock,
        frames_read=counts.frames,
        frames_decoded=counts.decoded,
        lines_rejected=counts.rejected,
        remote_frames=counts.remote,
        error_frames=counts.error,
        frames_dropped=counts.dropped,
        unknown_ids=[_unknown(*id_, frames) for id_, frames in counts.unknown.most_common(TOP_UNKNOWN)],
        unknown_frames=counts.unknown.total(),
        signals=sorted(counts.signals),
        out_of_limits=dict(counts.out_of_limits),
        transport_losses=counts.losses,
    )


def _unknown(channel: str, can_id: int, frames: int) -> UnknownId:
    shown = f"{can_id & 0x1FFFFFFF:08X}" if can_id >> 31 else f"{can_id:03X}"
    return UnknownId(channel=channel, id=shown, frames=frames)
