"""Stored rows built anew from kept uploads, in the order in which these were accepted.

What is stored of a vehicle within a stretch of time is a function of the loaded uploads that touch it, of the vehicle's
definitions, and of nothing else. So after a change (a definition, an upload taken back, a clock put right) the stretch
is emptied and every upload loaded again, by the same code that loaded it first.

Receipts of the uploads that changed are told anew; those of others stay what their gateways were told.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import BinaryIO
from urllib.parse import parse_qsl

import numpy as np
import polars as pl
import psycopg

from ingest import faults, ledger, loader, log_loader, store
from ingest.can.formats import HEAD_BYTES, read_log, recognise
from ingest.can.setup import Setup
from ingest.can.spans import Spans, joined, on_grid, overlap, reaching
from ingest.can.whole import EPOCH, MICROSECOND, Counts, Reading, clock_us, frames_of
from ingest.checks.extras import KIND_SCHEMA
from ingest.checks.logs import Gate, Passed, passed
from ingest.checks.rows import Checked, Clock, Query, check, extra_names
from ingest.checks.scales import scaled
from ingest.checks.scope import SPAN_SCHEMA, Scope
from ingest.decoders import decode
from ingest.decoders.decoded import Decoded, Limits
from ingest.definitions import setup_of
from ingest.landing import Landing
from ingest.ledger import KeptLogRow, KeptUpload
from ingest.log_files import KeptLog, Shelf, tell_alone, tell_together
from ingest.log_loader import CAN_LOG, ToldLog, can_counts
from ingest.receipts import Upload, receipt_of
from schemas.errors import NothingUsableError
from schemas.settings import Settings
from schemas.wire import CanCounts

Where = dict[int, Spans]
"""Stretches of time, by vehicle."""
FOREVER_US = (dt.datetime(9999, 1, 1, tzinfo=dt.UTC) - EPOCH) // MICROSECOND
NO_LIMIT = 2**40
"""Uploads that were let in are let in again, whatever the limits are by now."""


@dataclass(slots=True)
class Rebuild:
    """One rebuild, in the caller's transaction. `obsolete`: files that nobody needs once it is committed."""

    db: psycopg.Connection
    landing: Landing
    settings: Settings
    obsolete: list[str] = field(default_factory=list)
    _setups: dict[int, Setup] = field(default_factory=dict)

    # --- where ------------------------------------------------------------------------------------

    def reach(self, upload: KeptUpload) -> Where:
        """When an upload's rows and frames are, read from its bytes with its present shift."""
        if upload.kind == CAN_LOG:
            log = ledger.kept_log(self.db, upload.id)
            shelf = self._shelf(log.vehicle_id)
            with shelf.landing.opened(log.landing_key, shelf.limit_bytes) as plain:
                buckets = _buckets(plain, _format(log, plain), self._reading(log, upload), shelf.setup.bucket_us)
            return {log.vehicle_id: overlap(buckets, self._gate(upload, log.vehicle_id).usable())}
        rows = self._checked(upload)[1].rows
        ranges = rows.group_by("vehicle_id").agg(low=pl.col("time").min(), high=pl.col("time").max())
        return {id_: [(log_loader.us_of(low), log_loader.us_of(high) + 1)] for id_, low, high in ranges.iter_rows()}

    def run(self, where: Where, anew: Collection[uuid.UUID], cause: str) -> None:
        """Build anew what is stored in these stretches; `anew` are the uploads that changed, all of them within it.

        Raises:
            ExpiredError: the bytes of an upload that has a say in them are not kept any more.
        """
        where = {vehicle: self._whole_buckets(vehicle, spans) for vehicle, spans in sorted(where.items()) if spans}
        loader.lock_vehicles(self.db, pl.DataFrame({"vehicle_id": list(where)}, schema={"vehicle_id": pl.Int32}))
        uploads = ledger.uploads_within(self.db, where)
        uploads += [ledger.kept_upload(self.db, id_) for id_ in set(anew) - {one.id for one in uploads}]
        ledger.require_bytes(one for one in uploads if one.status == "loaded")
        ledger.delete_rows(self.db, where)
        ledger.drop_conflicts(self.db, [one.id for one in uploads], where)
        for upload in sorted(uploads, key=lambda one: one.seq):
            if upload.status == "loaded":
                again = self._log if upload.kind == CAN_LOG else self._rows
                again(upload, where, anew=upload.id in anew)
        for vehicle_id, spans in where.items():
            faults.join_episodes(self.db, vehicle_id, spans)
        ledger.drop_empty_signals(self.db, list(where))
        loader.mark(self.db, _stale(where), cause)

    def _whole_buckets(self, vehicle_id: int, spans: Spans) -> Spans:
        """What these stretches have a say in: their buckets, and the ones after."""
        bucket_us = self._setup(vehicle_id).bucket_us
        return reaching(on_grid(joined(spans), bucket_us), after_us=bucket_us)

    # --- rows -------------------------------------------------------------------------------------

    def _rows(self, upload: KeptUpload, where: Where, *, anew: bool) -> None:
        decoded, checked, scope = self._checked(upload)
        if not anew:
            rows, extras = ledger.within(checked.rows, where), ledger.within(checked.extras, where)
            checked = replace(checked, rows=rows, extras=extras)
        if not checked.rows.height:
            if anew:
                raise NothingUsableError(_nothing_left(upload, checked.rejects))
            return
        signals = self._signals(checked, decoded)
        outcome, _ = loader.write_rows(self.db, checked, signals)
        if not anew:
            ledger.add_conflicts(self.db, upload.id, outcome.conflicts)
            return
        rejects = pl.concat([checked.rejects, outcome.conflicts]).sort("row", maintain_order=True)
        receipt = receipt_of(
            _as_sent(upload), checked, outcome, rejects, self.settings.late_after_s, scope.vehicle_names
        )
        ledger.loaded_anew(self.db, receipt, loader.ranges_of(outcome.classes), rejects)

    def _checked(self, upload: KeptUpload) -> tuple[Decoded, Checked, Scope]:
        body = ledger.kept_body(self.db, upload)
        decoded = scaled(decode(upload.content_type, body, Limits(NO_LIMIT, NO_LIMIT, NO_LIMIT)), upload.units())
        scope = self._scope(upload)
        given = dict(parse_qsl(upload.query))
        query = Query(given.get("vehicle"), given.get("tz"), upload.shift_s)
        names = extra_names(decoded)
        kinds = store.extra_signals(self.db, list(scope.vehicle_names), names) if names else None
        known = kinds.select(*KIND_SCHEMA) if kinds is not None else None
        return decoded, check(decoded, scope, query, self._clock(upload), known), scope

    def _signals(self, checked: Checked, decoded: Decoded) -> pl.DataFrame:
        names = extra_names(decoded)
        if not names:
            return pl.DataFrame(schema=store.SIGNAL_SCHEMA)
        return store.extra_signals(self.db, checked.rows["vehicle_id"].unique().to_list(), names)

    # --- logs -------------------------------------------------------------------------------------

    def _log(self, upload: KeptUpload, where: Where, *, anew: bool) -> None:
        log = ledger.kept_log(self.db, upload.id)
        if anew:
            self._whole_log(upload, log)
        elif spans := overlap(where.get(log.vehicle_id, []), on_grid(log.spans, self._setup(log.vehicle_id).bucket_us)):
            self._part_of_log(upload, log, spans)

    def _part_of_log(self, upload: KeptUpload, log: KeptLogRow, spans: Spans) -> None:
        shelf = self._shelf(log.vehicle_id)
        kept = KeptLog(log.landing_key, log.format, self._reading(log, upload), spans)
        nothing = CanCounts(format=log.format, clock="", frames_read=0, frames_decoded=0, lines_rejected=0)
        usable = overlap(self._gate(upload, log.vehicle_id).usable(), spans)
        with shelf.folder() as folder:
            spool = tell_together([kept], spans, shelf, folder)
            part = Passed(usable, 0, 0, pl.DataFrame())
            tally = self._write(upload, ToldLog(log.vehicle_id, "", kept, spool, part, nothing, None), shelf)
        ledger.add_conflicts(self.db, upload.id, tally.rejects)

    def _whole_log(self, upload: KeptUpload, log: KeptLogRow) -> None:
        shelf, gate, reading = (
            self._shelf(log.vehicle_id),
            self._gate(upload, log.vehicle_id),
            self._reading(log, upload),
        )
        with shelf.folder() as folder, shelf.landing.opened(log.landing_key, shelf.limit_bytes) as plain:
            format_ = _format(log, plain)
            alone = tell_alone(plain, format_, reading, shelf.setup, folder)
            held = passed(alone.spool, gate)
            buckets = on_grid(overlap(alone.spool.buckets(), held.usable), shelf.setup.bucket_us)
            kept = KeptLog(log.landing_key, format_, reading, buckets)
            told = ToldLog(
                log.vehicle_id, gate.vehicle, kept, alone.spool, held, can_counts(format_, alone), alone.signals
            )
            if told.is_out_of_time:
                raise NothingUsableError(_nothing_left(upload, held.rejects))
            tally = self._write(upload, told, shelf)
            receipt = log_loader.receipt_of(_as_sent(upload), told, tally)
            rejects = log_loader.all_rejects(told, tally)
            ledger.loaded_anew(self.db, receipt, tally.ranges(log.vehicle_id, buckets), rejects)
            signals_key = log_loader.keep_signals(told, upload.id, shelf)
            ledger.update_log(self.db, upload.id, log_loader.columns_of(kept, signals_key, shelf.setup))
        if log.signals_key is not None:
            self.obsolete.append(log.signals_key)

    def _write(self, upload: KeptUpload, told: ToldLog, shelf: Shelf) -> log_loader.Tally:
        buckets, bucket_us = told.log.buckets, shelf.setup.bucket_us
        earlier = log_loader.earlier_logs(self.db, told.vehicle_id, buckets, bucket_us, before=upload.seq)
        late = upload.received_at - dt.timedelta(seconds=self.settings.late_after_s)
        return log_loader.write(self.db, told, shelf, earlier, late)

    # --- as it was when it came --------------------------------------------------------------------

    def _setup(self, vehicle_id: int) -> Setup:
        if vehicle_id not in self._setups:
            self._setups[vehicle_id] = setup_of(self.db, vehicle_id)
        return self._setups[vehicle_id]

    def _shelf(self, vehicle_id: int) -> Shelf:
        return Shelf(self.landing, NO_LIMIT, self._setup(vehicle_id))

    def _reading(self, log: KeptLogRow, upload: KeptUpload) -> Reading:
        return log.reading(log_loader.zone_of(self.db, log.vehicle_id), upload.shift_s)

    def _clock(self, upload: KeptUpload) -> Clock:
        return Clock(upload.received_at, self.settings.max_future_s)

    def _gate(self, upload: KeptUpload, vehicle_id: int) -> Gate:
        scope = self._scope(upload, vehicle_id)
        return Gate(scope, vehicle_id, scope.vehicle_names[vehicle_id], self._clock(upload))

    def _scope(self, upload: KeptUpload, *vehicles: int) -> Scope:
        """What the gateway may write, and what it could write when the upload came: bindings may have ended since."""
        then = ledger.spans_of(self.db, upload)
        scope = store.scope(self.db, upload.gateway_id, sorted({*then, *vehicles}))
        if upload.shift_s:
            return scope
        now = _by_vehicle(scope.spans)
        both = {id_: joined([*now.get(id_, []), *then.get(id_, [])]) for id_ in now.keys() | then.keys()}
        return replace(scope, spans=_as_frame(both))


def _by_vehicle(frame: pl.DataFrame) -> Where:
    spans = frame.select(
        "vehicle_id", pl.col("low").cast(pl.Int64), pl.col("high").cast(pl.Int64).fill_null(FOREVER_US)
    )
    found: Where = {}
    for vehicle_id, low, high in spans.iter_rows():
        found.setdefault(vehicle_id, []).append((low, high))
    return found


def _as_frame(where: Where) -> pl.DataFrame:
    rows = [(id_, low, None if high >= FOREVER_US else high) for id_, spans in where.items() for low, high in spans]
    frame = pl.DataFrame(rows, {"vehicle_id": pl.Int32, "low": pl.Int64, "high": pl.Int64}, orient="row")
    return frame.cast(SPAN_SCHEMA)  # type: ignore[arg-type]


def _format(log: KeptLogRow, plain: BinaryIO) -> str:
    """The log's format; one that failed before it was looked at is recognised now."""
    plain.seek(0)
    return log.format or recognise(plain.read(HEAD_BYTES))


def _buckets(plain: BinaryIO, format_: str, reading: Reading, bucket_us: int) -> Spans:
    """The buckets in which a log has frames."""
    log = read_log(plain, format_)
    offset_us, _ = clock_us(log, reading)
    found = np.empty(0, np.int64)
    for frames in frames_of(log, offset_us, reading, Counts()):
        found = np.union1d(found, frames.time_us // bucket_us)
    if not len(found):
        return []
    first = np.flatnonzero(np.append(True, np.diff(found) > 1))
    last = np.append(first[1:], len(found)) - 1
    ends = zip(found[first].tolist(), found[last].tolist(), strict=True)
    return [(low * bucket_us, (high + 1) * bucket_us) for low, high in ends]


def _stale(where: Where) -> pl.DataFrame:
    rows = [(id_, low, high - 1) for id_, spans in where.items() for low, high in spans]
    frame = pl.DataFrame(rows, {"vehicle_id": pl.Int32, "low": pl.Int64, "high": pl.Int64}, orient="row")
    times = frame.cast(SPAN_SCHEMA)  # type: ignore[arg-type]
    return times.select("vehicle_id", changed_low="low", changed_high="high")


def _as_sent(upload: KeptUpload) -> Upload:
    return Upload(
        upload.id, upload.gateway_id, upload.sha256, upload.query, upload.content_type, upload.size_bytes,
        upload.received_at, upload.idempotency_key,
    )  # fmt: skip


def _nothing_left(upload: KeptUpload, rejects: pl.DataFrame) -> str:
    reason = rejects["reason"][0] if rejects.height else "it holds no row"
    shift = f" with a shift of {upload.shift_s:g} s" if upload.shift_s else ""
    return f"none of the rows of upload {upload.id}{shift} can be used: {reason}. Nothing was changed"
