"""A told CAN log into the database, in the caller's transaction.

A raw log outranks rows for the same instant. Where several logs of a vehicle tell of the same minutes, those minutes
are told anew by the frames of all of them, so that a log cut anywhere and sent in any order gives the rows of the
whole.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

import polars as pl
import psycopg
from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

from ingest import faults, store
from ingest.arrays import Times, copy_in
from ingest.can.setup import Setup
from ingest.can.spans import Spans, few, joined, on_grid, overlap, reaching
from ingest.can.spool import Piece, Spool
from ingest.can.whole import EPOCH, MICROSECOND, Counts, Reading
from ingest.checks.logs import Passed
from ingest.classify import KEY, RowClass
from ingest.loader import (
    REPLACED,
    TELEMETRY,
    insert_upload,
    lock_vehicles,
    mark,
    runs_of,
    stored_rows,
    update_rows,
    with_new_signals,
)
from ingest.log_files import Alone, KeptLog, Shelf, tell_together
from ingest.receipts import Upload, first_rejects, why_failed
from schemas.errors import ExpiredError
from schemas.frames import REJECT_SCHEMA, UTC_TIME
from schemas.signals import SIGNALS, Kind
from schemas.wire import CanCounts, Receipt, RowCounts, UnknownId

CAN_LOG = "can-log"
NUMBER = "number"
TOP_UNKNOWN = 10
NO_ROWS = pl.DataFrame(schema={"time": UTC_TIME})


@dataclass(frozen=True, slots=True)
class ToldLog:
    """One vehicle's log, told and not yet stored. `signals`: the file of every value, where there is one."""

    vehicle_id: int
    vehicle: str
    log: KeptLog
    spool: Spool
    passed: Passed
    can: CanCounts
    signals: Path | None

    @property
    def is_out_of_time(self) -> bool:
        """Whether it has rows and none may be stored: its clock is wrong."""
        return 0 < self.passed.received == self.passed.rejected


# --- the ledger -----------------------------------------------------------------------------------


def is_landed(db: psycopg.Connection, key: str) -> bool:
    """Whether an upload has the file."""
    return bool(db.execute("SELECT FROM upload_log WHERE landing_key = %s LIMIT 1", [key]).rowcount)


def zone_of(db: psycopg.Connection, vehicle_id: int) -> str:
    """The time zone that a vehicle's pilot lives by now; UTC for a vehicle without one."""
    row = db.execute(
        "SELECT c.time_zone FROM assignment a JOIN pilot_calendar c USING (pilot_id) WHERE a.vehicle_id = %s"
        " ORDER BY a.starts_on DESC, c.valid_from DESC LIMIT 1",
        [vehicle_id],
    ).fetchone()
    return str(row[0]) if row else "UTC"


def hold_landed(db: psycopg.Connection, key: str) -> None:
    """Until the transaction ends, nobody else decides whether the file of this key is needed."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], signed=True)
    db.execute("SELECT pg_advisory_xact_lock(%s)", [number])


def columns_of(log: KeptLog, signals_key: str | None, setup: Setup) -> dict[str, object]:
    """A log's columns of `upload_log`."""
    return {
        "landing_key": log.landing_key, "format": log.format, "channel": log.reading.channel,
        "start_at": log.reading.start, "time_zone": log.reading.zone, "signals_key": signals_key,
        "definitions_sha256": setup.sha256, "spans": as_multirange(few(log.buckets)),
    }  # fmt: skip


def _insert_log(db: psycopg.Connection, upload_id: uuid.UUID, vehicle_id: int, columns: dict[str, object]) -> None:
    db.execute(
        "INSERT INTO upload_log (upload_id, vehicle_id, landing_key, format, channel, start_at, time_zone, signals_key,"
        " definitions_sha256, spans) VALUES (%(upload_id)s, %(vehicle_id)s, %(landing_key)s, %(format)s, %(channel)s,"
        " %(start_at)s, %(time_zone)s, %(signals_key)s, %(definitions_sha256)s, %(spans)s)",
        {"upload_id": upload_id, "vehicle_id": vehicle_id, **columns},
    )


def as_multirange(spans: Spans) -> Multirange[dt.datetime]:
    """Spans as PostgreSQL has them."""
    return Multirange([Range(_time(low), _time(high), "[)") for low, high in spans])


def as_spans(ranges: Multirange[dt.datetime]) -> Spans:
    """Spans as they are here."""
    return [(us_of(one.lower), us_of(one.upper)) for one in ranges if one.lower and one.upper]


def _time(us: int) -> dt.datetime:
    return EPOCH + us * MICROSECOND


def us_of(time: dt.datetime) -> int:
    """Microseconds since 1970 UTC."""
    return (time - EPOCH) // MICROSECOND


def earlier_logs(
    db: psycopg.Connection, vehicle_id: int, buckets: Spans, bucket_us: int, before: int | None = None
) -> list[KeptLog]:
    """The vehicle's loaded logs that have a say in these buckets, in the order of acceptance.

    `before` is an upload's place in that order: only those that came before it.

    Raises:
        ExpiredError: the bytes of one are not kept any more.
    """
    near = few(reaching(buckets, before_us=bucket_us, after_us=bucket_us))
    zone = zone_of(db, vehicle_id)
    found = db.execute(
        "SELECT u.id, u.expired_at, l.landing_key, l.format, l.channel, l.start_at, l.time_zone, u.shift_s, l.spans"
        " FROM upload_log l JOIN upload u ON u.id = l.upload_id"
        " WHERE l.vehicle_id = %s AND u.status = 'loaded' AND l.spans && %s::tstzmultirange"
        " AND (%s::bigint IS NULL OR u.seq < %s) ORDER BY u.seq",
        [vehicle_id, as_multirange(near), before, before],
    ).fetchall()
    for id_, expired_at, *_ in found:
        if expired_at is not None:
            raise expired(id_, expired_at)
    return [
        KeptLog(key, format_, Reading(read_by or zone, start, channel, shift_s), on_grid(as_spans(spans), bucket_us))
        for _, _, key, format_, channel, start, read_by, shift_s, spans in found
    ]


def expired(upload_id: uuid.UUID, at: dt.datetime | None, others: str = "") -> ExpiredError:
    """What is said where the bytes of an upload would be needed."""
    since = f"{at:%Y-%m-%d}" if at is not None else "long ago"
    return ExpiredError(
        f"the bytes of upload {upload_id} are not kept any more, since {since}{others}: what is stored of its time"
        " cannot be built anew. Nothing was changed"
    )


# --- a new upload ---------------------------------------------------------------------------------


def load(db: psycopg.Connection, upload: Upload, told: ToldLog, shelf: Shelf, late_after_s: int) -> Receipt:
    """Write what a log tells, its ledger entry and marks; returns the receipt. The caller commits.

    A log of which no row may be stored is kept as failed.
    """
    lock_vehicles(db, pl.DataFrame({"vehicle_id": [told.vehicle_id]}, schema={"vehicle_id": pl.Int32}))
    if told.is_out_of_time:
        return _keep_failed(db, upload, told, shelf.setup)
    earlier = earlier_logs(db, told.vehicle_id, told.log.buckets, shelf.setup.bucket_us)
    late = upload.received_at - dt.timedelta(seconds=late_after_s)
    tally = write(db, told, shelf, earlier, late)
    receipt = receipt_of(upload, told, tally)
    ranges = tally.ranges(told.vehicle_id, told.log.buckets)
    mark(db, ranges)
    insert_upload(db, upload, CAN_LOG, receipt, ranges, all_rejects(told, tally))
    signals_key = keep_signals(told, upload.id, shelf)
    _insert_log(db, upload.id, told.vehicle_id, columns_of(told.log, signals_key, shelf.setup))
    return receipt


def enter_unread(db: psycopg.Connection, upload: Upload, landing_key: str) -> None:
    """Write into the ledger how a log is kept that could not be read; what it is of is in its query."""
    given = dict(parse_qsl(upload.query))
    # Names are a pilot's own: only the gateway's vehicles are meant.
    found = store.scope(db, upload.gateway_id).names.filter(address=given["vehicle"])["vehicle_id"]
    if found.is_empty():
        return
    vehicle_id = int(found[0])
    start = dt.datetime.fromisoformat(given["start"]) if "start" in given else None
    reading = Reading(given.get("tz") or zone_of(db, vehicle_id), start, given.get("channel"))
    log = KeptLog(landing_key, given.get("format", ""), reading, [])
    _insert_log(db, upload.id, vehicle_id, {**columns_of(log, None, Setup()), "definitions_sha256": ""})


def all_rejects(told: ToldLog, tally: Tally) -> pl.DataFrame:
    """Rows that were not let in, and values that the log took the place of."""
    return pl.concat([told.passed.rejects, tally.rejects]).sort("row", "time", maintain_order=True)


def keep_signals(told: ToldLog, upload_id: uuid.UUID, shelf: Shelf) -> str | None:
    """Make the file of every value durable; its key."""
    return shelf.landing.keep_signals(told.signals, str(upload_id)) if told.signals is not None else None


def _keep_failed(db: psycopg.Connection, upload: Upload, told: ToldLog, setup: Setup) -> Receipt:
    receipt = receipt_of(upload, told, Tally()).model_copy(update={"status": "failed"})
    known = store.failed_upload(db, upload.gateway_id, CAN_LOG, upload.sha256, upload.query)
    if known is not None:
        return receipt.model_copy(update={"upload_id": known})
    ranges = Tally().ranges(told.vehicle_id, [])
    insert_upload(db, upload, CAN_LOG, receipt, ranges, told.passed.rejects, why_failed(receipt))
    _insert_log(db, upload.id, told.vehicle_id, columns_of(told.log, None, setup))
    return receipt


# --- into the tables ------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """What became of a log's own rows, and what else changed."""

    counts: dict[int, int] = field(default_factory=dict)
    late: int = 0
    replaced: int = 0
    extras: set[str] = field(default_factory=set)
    first: dt.datetime | None = None
    last: dt.datetime | None = None
    changed: list[tuple[dt.datetime, dt.datetime]] = field(default_factory=list)
    sighted: Spans = field(default_factory=list)
    displaced: list[pl.DataFrame] = field(default_factory=list)

    @property
    def rejects(self) -> pl.DataFrame:
        """The values that the log took the place of, by REJECT_SCHEMA."""
        return pl.concat([pl.DataFrame(schema=REJECT_SCHEMA), *self.displaced])

    @property
    def rows(self) -> int:
        """The log's rows that were usable."""
        return sum(self.counts.values())

    def add_own(self, classes: pl.DataFrame, late: dt.datetime) -> None:
        """Count own rows: time, row_class, replaces."""
        if not classes.height:
            return
        for row_class, count in classes["row_class"].value_counts().iter_rows():
            self.counts[row_class] = self.counts.get(row_class, 0) + count
        self.late += int((classes["time"] < late).sum())
        self.replaced += int(classes["replaces"].sum())
        low, high = classes["time"].min(), classes["time"].max()
        assert isinstance(low, dt.datetime)  # noqa: S101  (its type is UTC_TIME)
        assert isinstance(high, dt.datetime)  # noqa: S101
        self.first, self.last = min(self.first or low, low), max(self.last or high, high)

    def add_changed(self, times: pl.Series) -> None:
        """Note which stored rows changed."""
        if len(times):
            self.changed.append((times.min(), times.max()))  # type: ignore[arg-type]

    def ranges(self, vehicle_id: int, buckets: Spans) -> pl.DataFrame:
        """As `loader.ranges_of`. A log without rows stands where its frames are."""
        span = pl.DataFrame([(vehicle_id, self.first, self.last, self.rows)], _RANGE, orient="row")
        if self.first is None and buckets:
            span = pl.DataFrame([(vehicle_id, _time(buckets[0][0]), _time(buckets[-1][1]), 0)], _RANGE, orient="row")
        changed_low, changed_high = (
            (min(low for low, _ in self.changed), max(high for _, high in self.changed)) if self.changed
            else (None, None)
        )  # fmt: skip
        time = UTC_TIME
        return span.drop_nulls("low").with_columns(
            pl.lit(changed_low, time).alias("changed_low"), pl.lit(changed_high, time).alias("changed_high")
        )


_RANGE: dict[str, pl.DataType] = {
    "vehicle_id": pl.Int32(), "low": UTC_TIME, "high": UTC_TIME, "rows": pl.Int32(),
}  # fmt: skip


def write(db: psycopg.Connection, told: ToldLog, shelf: Shelf, earlier: list[KeptLog], late: dt.datetime) -> Tally:
    """Store what a log tells, the minutes that it shares with earlier ones told together. Its vehicle is locked.

    `late`: rows before this time are counted as late.
    """
    # Few rows are looked for in large chunks; the estimates for joins with arrays would read whole chunks.
    db.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
    tally, writer = Tally(), _Writer(db, told.vehicle_id, shelf.setup.period_us)
    shared = _shared(told.log, earlier, shelf.setup.bucket_us)
    own_times = [pl.Series("time", [], UTC_TIME)]
    for piece in told.spool.pieces():
        usable = piece.within(told.passed.usable)
        own = writer.write(usable.within(shared, outside=True), tally)
        tally.add_own(own, late)
        own_times.append(usable.within(shared).rows["time"])
    if shared:
        others = [one for one in earlier if _reach(one, shelf.setup.bucket_us, shared)]
        before = _told_before(db, told.vehicle_id, others, shared, shelf)
        mine = pl.concat(own_times).to_frame()
        with shelf.folder() as folder:
            for piece in tell_together([told.log, *others], shared, shelf, folder).pieces():
                together = writer.write(piece.within(shared).within(told.passed.usable), tally, before)
                tally.add_own(together.join(mine, on="time", how="semi", maintain_order="left"), late)
    faults.join_episodes(db, told.vehicle_id, few(joined(tally.sighted)))
    return tally


def _told_before(
    db: psycopg.Connection, vehicle_id: int, others: list[KeptLog], spans: Spans, shelf: Shelf
) -> pl.DataFrame | None:
    """What the other logs told of these spans: time, signals. None where everything stored is from logs."""
    has_rows = db.execute(
        "SELECT FROM upload_vehicle v JOIN upload u ON u.id = v.upload_id WHERE v.vehicle_id = %s"
        " AND u.kind = 'telemetry' AND u.status = 'loaded' AND v.first_time < %s AND v.last_time >= %s LIMIT 1",
        [vehicle_id, _time(spans[-1][1]), _time(spans[0][0])],
    ).rowcount
    if not has_rows:
        return None
    with shelf.folder() as folder:
        rows = [piece.within(spans).rows for piece in tell_together(others, spans, shelf, folder).pieces()]
    return pl.concat([NO_ROWS, *rows], how="diagonal")


def _shared(log: KeptLog, others: list[KeptLog], bucket_us: int) -> Spans:
    """The buckets that a log and others have a say in: those of their frames, and the ones after."""
    own = reaching(log.buckets, after_us=bucket_us)
    return reaching([span for one in others for span in overlap(own, reaching(one.buckets, after_us=bucket_us))])


def _reach(log: KeptLog, bucket_us: int, spans: Spans) -> Spans:
    return overlap(reaching(log.buckets, after_us=bucket_us), spans)


@dataclass(frozen=True, slots=True)
class _Writer:
    db: psycopg.Connection
    vehicle_id: int
    period_us: int

    def write(self, piece: Piece, tally: Tally, before: pl.DataFrame | None = NO_ROWS) -> pl.DataFrame:
        """Store a piece; returns its rows: time, row_class, changes, replaces.

        `before` (time, signals) is what is stored from other logs; None: all that is stored is.
        """
        compared, names = self._write_rows(piece.rows)
        displaced = _displaced(compared, names, before)
        tally.displaced.append(displaced)
        classes = compared.select(
            "time", "row_class", "changes", replaces=pl.col("time").is_in(displaced["time"].implode())
        )
        tally.add_changed(classes["time"].filter(classes["changes"]))
        if piece.units and piece.rows.height:
            tally.extras.update(piece.extras["name"].unique())
            self._write_extras(piece)
        faults.replace_sightings(self.db, self.vehicle_id, piece.buckets, piece.sightings)
        tally.sighted += piece.buckets
        return classes

    def _write_rows(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
        """Write rows; returns them beside what was stored, and the names of their signals."""
        vehicle = pl.lit(self.vehicle_id, pl.Int32).alias("vehicle_id")
        rows = rows.select(vehicle, "time", *(name for name in SIGNALS if name in rows.columns)).sort("time")
        names = rows.columns[2:]
        compared = _compared(rows, stored_rows(self.db, runs_of(rows), names), names)
        inserts = compared.filter(~pl.col("is stored")).select(rows.columns)
        changed = compared.filter(pl.col("is stored") & pl.col("changes"))
        if inserts.height:
            copy_in(self.db, TELEMETRY, inserts)
        if changed.height:
            update_rows(self.db, changed.select(rows.columns), outranking=True)
        return compared, names

    def _write_extras(self, piece: Piece) -> None:
        names = sorted(piece.units)
        known = store.extra_signals(self.db, [self.vehicle_id], names)
        wanted = pl.DataFrame({"name": names}).with_columns(
            vehicle_id=pl.lit(self.vehicle_id, pl.Int32), kind=pl.lit(NUMBER)
        )
        signals = with_new_signals(self.db, wanted, known).filter(pl.col("kind") == NUMBER)
        store.set_units(self.db, self.vehicle_id, piece.units)
        runs = runs_of(piece.rows.with_columns(vehicle_id=pl.lit(self.vehicle_id, pl.Int32)))
        high = runs["high"] + dt.timedelta(microseconds=self.period_us)
        self.db.execute(
            _DELETE_EXTRAS,
            {
                "vehicle": self.vehicle_id, "signals": signals["signal_id"].to_list(), "lows": Times.of(runs["low"]),
                "highs": Times.of(high), "first": runs["low"].min(), "last": high.max(),
            },
        )  # fmt: skip
        values = piece.extras.join(signals, on="name").unique(["signal_id", "time"], keep="last", maintain_order=True)
        vehicle = pl.lit(self.vehicle_id, pl.Int32).alias("vehicle_id")
        copy_in(self.db, "signal_sample", values.select(vehicle, "signal_id", "time", "number"))


_DELETE_EXTRAS = """
DELETE FROM signal_sample s USING unnest(%(lows)s, %(highs)s) AS run(low, high)
WHERE s.vehicle_id = %(vehicle)s AND s.signal_id = ANY(%(signals)s) AND s.time >= run.low AND s.time < run.high
  AND s.time >= %(first)s AND s.time < %(last)s
"""


def _compared(rows: pl.DataFrame, stored: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Each row with what is stored (`held …`), what it is beside that, and whether it changes it."""
    held = stored.select(*KEY, pl.lit(True).alias("is stored"), *(pl.col(n).alias(f"held {n}") for n in names))
    joined = rows.join(held, on=KEY, how="left", maintain_order="left")
    joined = joined.with_columns(pl.col("is stored").fill_null(False))
    sent = [pl.col(n).is_not_null() & pl.col(n).ne_missing(pl.col(f"held {n}")) for n in names]
    is_new = ~pl.col("is stored")
    joined = joined.with_columns(changes=is_new | pl.any_horizontal(False, *sent))
    row_class = (
        pl.when(is_new).then(RowClass.ACCEPTED.value).when("changes").then(RowClass.MERGED.value)
        .otherwise(RowClass.DUPLICATE.value)
    )  # fmt: skip
    return joined.with_columns(row_class=row_class.cast(pl.Int8))


def _displaced(compared: pl.DataFrame, names: list[str], before: pl.DataFrame | None) -> pl.DataFrame:
    """The values of uploaded rows that the log's took the place of, by REJECT_SCHEMA."""
    if before is None or not compared["is stored"].any():
        return pl.DataFrame(schema=REJECT_SCHEMA)
    if before.height:
        renamed = before.rename({name: f"before {name}" for name in before.columns if name != "time"})
        compared = compared.join(renamed, on="time", how="left", maintain_order="left")
    parts = [pl.DataFrame(schema=REJECT_SCHEMA)]
    for name in names:
        found = compared.filter(_displaces(name, known=f"before {name}" in compared.columns))
        value = pl.col(f"held {name}").cast(pl.String).str.strip_suffix(".0")
        row = pl.lit(0, REJECT_SCHEMA["row"]).alias("row")
        parts.append(found.select(row, *KEY, field=pl.lit(name), value=value, reason=pl.lit(REPLACED)))
    return pl.concat(parts).sort("time", maintain_order=True)


def _displaces(name: str, *, known: bool) -> pl.Expr:
    sent, held, signal = pl.col(name), pl.col(f"held {name}"), SIGNALS[name]
    other = sent != held if signal.kind is Kind.BOOLEAN else (sent - held).abs() > signal.resolution
    is_theirs = held.ne_missing(pl.col(f"before {name}")) if known else pl.lit(True)
    return other.fill_null(False) & is_theirs


# --- receipt --------------------------------------------------------------------------------------


def receipt_of(upload: Upload, told: ToldLog, tally: Tally) -> Receipt:
    """What the gateway is told of a log that was stored."""
    return Receipt(
        upload_id=upload.id,
        sha256=upload.sha256.hex(),
        status="loaded",
        received_at=upload.received_at,
        server_time=upload.received_at,
        rows=RowCounts(
            received=told.passed.received,
            accepted=tally.counts.get(RowClass.ACCEPTED, 0),
            merged=tally.counts.get(RowClass.MERGED, 0),
            duplicate=tally.counts.get(RowClass.DUPLICATE, 0),
            rejected=told.passed.received - tally.rows,
            late=tally.late,
            replaced=tally.replaced,
        ),
        fields_rejected=sum(told.can.out_of_limits.values()),
        can=told.can,
        first_time=tally.first,
        last_time=tally.last,
        vehicles=[told.vehicle],
        extra_signals=sorted(tally.extras),
        warnings=_warnings(told.passed.received, told.can),
        rejects=first_rejects(told.passed.rejects),
        rejects_url=f"/v1/uploads/{upload.id}/rejects" if told.passed.rejects.height else None,
    )


def _warnings(received: int, can: CanCounts) -> list[str]:
    found = []
    if can.frames_read and not can.frames_decoded:
        found.append(
            "no frame has a definition: the log is kept; add a DBC file for it, then `beachhead redecode` tells it anew"
        )
    if can.frames_dropped:
        found.append(f"{can.frames_dropped} frames were left out: more than one minute may hold")
    if can.frames_decoded and not received:
        found.append("no frame tells of a sample period")
    return found


def can_counts(format_: str, alone: Alone) -> CanCounts:
    """What was in a log, for its receipt."""
    counts: Counts = alone.counts
    return CanCounts(
        format=format_,
        clock=alone.clock,
        frames_read=counts.frames,
        frames_decoded=counts.decoded,
        lines_rejected=counts.rejected,
        remote_frames=counts.remote,
        error_frames=counts.error,
        frames_dropped=counts.dropped,
        unknown_ids=[_unknown(*id_, frames) for id_, frames in counts.unknown.most_common(TOP_UNKNOWN)],
        unknown_frames=counts.unknown_frames,
        signals=sorted(counts.signals),
        out_of_limits=dict(counts.out_of_limits),
        transport_losses=counts.losses,
    )


def _unknown(channel: str, can_id: int, frames: int) -> UnknownId:
    shown = f"{can_id & 0x1FFFFFFF:08X}" if can_id >> 31 else f"{can_id:03X}"
    return UnknownId(channel=channel, id=shown, frames=frames)
