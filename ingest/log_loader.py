"""A decoded CAN log into the database, in the caller's transaction.

A raw log outranks rows for the same instant. Where several logs of a vehicle tell of the same minutes, those minutes
are decoded anew from the frames of all of them, so that a log cut anywhere and sent in any order gives the rows of the
whole.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import polars as pl
import psycopg

from ingest import store
from ingest.arrays import copy_in
from ingest.can.formats import read_log
from ingest.can.frames import Frames, concat
from ingest.can.setup import Setup
from ingest.can.whole import Counts, Reading, Whole, clock_us, frames_of, tell_all
from ingest.checks.rows import Checked
from ingest.classify import KEY, RowClass
from ingest.landing import Landing
from ingest.loader import (
    TELEMETRY,
    Upload,
    first_rejects,
    insert_upload,
    lock_vehicles,
    mark,
    ranges_of,
    runs_of,
    stored_rows,
    update_rows,
    with_new_signals,
)
from schemas.signals import SIGNALS, Kind
from schemas.wire import CanCounts, Receipt, RowCounts

CAN_LOG = "can-log"
NUMBER = "number"


@dataclass(frozen=True, slots=True)
class LogFacts:
    """How a log is kept and read: the columns of `upload_log`."""

    landing_key: str
    format: str
    channel: str | None
    start_at: dt.datetime | None
    time_zone: str | None
    signals_key: str | None
    definitions_sha256: str


@dataclass(frozen=True, slots=True)
class Shared:
    """What is needed to read the logs of a vehicle again."""

    landing: Landing
    limit_bytes: int
    setup: Setup
    zone: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A log that was loaded before."""

    landing_key: str
    format: str
    channel: str | None
    start_at: dt.datetime | None
    time_zone: str | None
    shift_s: float
    first_time: dt.datetime
    last_time: dt.datetime


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


def load(
    db: psycopg.Connection, upload: Upload, vehicle_id: int, name: str, checked: Checked, whole: Whole,
    facts: LogFacts, can: CanCounts, shared: Shared, late_after_s: int,
) -> Receipt:  # fmt: skip
    """Write what a log tells, its ledger entry and marks; returns the receipt. The caller commits.

    `checked.rows` are the log's usable rows; `whole` has its other signals.
    """
    lock_vehicles(db, pl.DataFrame({"vehicle_id": [vehicle_id]}, schema={"vehicle_id": pl.Int32}))
    rows = checked.rows.drop("row")
    written = Written.nothing()
    if rows.height:
        kept = _neighbours(db, vehicle_id, rows, shared.setup.bucket_us)
        rows, extras, units = _with_neighbours(rows, whole, kept, facts, vehicle_id, shared)
        own = checked.rows.select(KEY)
        period = dt.timedelta(microseconds=shared.setup.period_us)
        written = _write(db, vehicle_id, rows, extras, units, own, period)
    receipt = _receipt(upload, name, checked, written, can, late_after_s)
    ranges = ranges_of(written.classes)
    mark(db, ranges_of(written.touched) if written.touched.height else ranges)
    insert_upload(db, upload, CAN_LOG, receipt, ranges, checked.rejects)
    _insert_log(db, upload.id, vehicle_id, facts)
    return receipt


def _insert_log(db: psycopg.Connection, upload_id: uuid.UUID, vehicle_id: int, facts: LogFacts) -> None:
    db.execute(
        "INSERT INTO upload_log (upload_id, vehicle_id, landing_key, format, channel, start_at, time_zone, signals_key,"
        " definitions_sha256) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            upload_id, vehicle_id, facts.landing_key, facts.format, facts.channel, facts.start_at, facts.time_zone,
            facts.signals_key, facts.definitions_sha256,
        ],
    )  # fmt: skip


# --- minutes that several logs tell of ------------------------------------------------------------


def _neighbours(db: psycopg.Connection, vehicle_id: int, rows: pl.DataFrame, bucket_us: int) -> list[Kept]:
    """The vehicle's loaded logs that reach into the rows' minutes, or next to them."""
    margin = dt.timedelta(microseconds=2 * bucket_us)
    low, high = rows["time"].min(), rows["time"].max()
    found = db.execute(
        "SELECT l.landing_key, l.format, l.channel, l.start_at, l.time_zone, u.shift_s, v.first_time, v.last_time"
        " FROM upload_log l JOIN upload u ON u.id = l.upload_id JOIN upload_vehicle v ON v.upload_id = u.id"
        " WHERE l.vehicle_id = %s AND u.status = 'loaded' AND v.first_time <= %s AND v.last_time >= %s",
        [vehicle_id, high + margin, low - margin],  # type: ignore[operator]
    ).fetchall()
    return [Kept(*row) for row in found]


def _with_neighbours(
    rows: pl.DataFrame, whole: Whole, kept: list[Kept], facts: LogFacts, vehicle_id: int, shared: Shared
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, str]]:
    """Rows and extras, with the minutes that others tell of too decoded from all frames together."""
    extras = whole.extras
    bucket_us = shared.setup.bucket_us
    low, high = _bounds(rows["time"].min(), rows["time"].max(), bucket_us)  # type: ignore[arg-type]
    own = Kept(facts.landing_key, facts.format, facts.channel, facts.start_at, facts.time_zone, 0.0,
               rows["time"].min(), rows["time"].max())  # type: ignore[arg-type]  # fmt: skip
    spans = [_bounds(one.first_time, one.last_time, bucket_us) for one in kept]
    shares = [(max(low, a), min(high, b)) for a, b in spans if max(low, a) < min(high, b)]
    units = dict(whole.units)
    for first, last in _joined(shares):
        logs = [own, *(one for one, (a, b) in zip(kept, spans, strict=True) if a < last and b > first)]
        together = _tell_together(logs, first, last, shared)
        units |= together.units
        inside = pl.col("time").is_between(_time(first), _time(last), closed="left")
        extras = pl.concat([extras.filter(~inside), together.extras.filter(inside)])
        rows_here = together.rows.filter(inside).with_columns(vehicle_id=pl.lit(vehicle_id, pl.Int32))
        rows = pl.concat([rows.filter(~inside), rows_here], how="diagonal")
    return rows, extras, units


def _time(us: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(us // 1_000_000, dt.UTC) + dt.timedelta(microseconds=us % 1_000_000)


def _us(time: dt.datetime) -> int:
    return (time - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def _bounds(first: dt.datetime, last: dt.datetime, bucket_us: int) -> tuple[int, int]:
    """The buckets that a log has a say in: those of its frames, and the one after."""
    return _us(first) // bucket_us * bucket_us, (_us(last) // bucket_us + 2) * bucket_us


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans that touch or overlap as one."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


def _tell_together(logs: list[Kept], first: int, last: int, shared: Shared) -> Whole:
    logs = sorted(logs, key=lambda one: (one.first_time, one.last_time, one.landing_key))
    with ExitStack() as stack:
        parts = [_frames_between(stack, one, first - shared.setup.bucket_us, last, shared) for one in logs]

        def frames() -> Iterator[Frames]:
            yield _once([concat(list(part)) for part in parts])

        return tell_all(frames, shared.setup, Counts())


def _frames_between(stack: ExitStack, log: Kept, low: int, high: int, shared: Shared) -> Iterator[Frames]:
    file = stack.enter_context(shared.landing.opened(log.landing_key, shared.limit_bytes))
    reading = Reading(log.time_zone or shared.zone, log.start_at, log.channel, log.shift_s)
    opened = read_log(file, log.format)
    offset, _ = clock_us(opened, reading)
    for frames in frames_of(opened, offset, reading):
        inside = (frames.time_us >= low) & (frames.time_us < high)
        if inside.any():
            yield frames if inside.all() else frames.take(np.flatnonzero(inside))


def _once(parts: list[Frames]) -> Frames:
    """The frames of several logs in order of time; a frame that several of them hold counts once."""
    together = concat(parts)
    if len(parts) > 1 and len(together):
        log = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        order = np.lexsort((np.arange(len(together)), log, together.word, together.can_id, together.channel,
                            together.time_us))  # fmt: skip
        same = np.ones(len(order), bool)
        for column in (together.time_us, together.channel, together.can_id, together.word, together.length):
            same[1:] &= column[order][1:] == column[order][:-1]
        same[0] = False
        begins = np.flatnonzero(~same)
        group = np.cumsum(~same) - 1
        first_log = log[order][begins][group]
        kept = np.sort(order[log[order] == first_log])
        together = together.take(kept)
    return together.sorted()


# --- into the tables ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the log's own rows (`classes`), and all rows that changed (`touched`), neighbours' included."""

    classes: pl.DataFrame
    touched: pl.DataFrame
    replaced: int
    extras: list[str]

    @classmethod
    def nothing(cls) -> Written:
        """A log without rows."""
        empty = pl.DataFrame(schema={"row": pl.UInt32, "vehicle_id": pl.Int32, "time": pl.Datetime("us", "UTC"),
                                     "row_class": pl.Int8, "changes": pl.Boolean})  # fmt: skip
        return cls(empty, empty, 0, [])


def _write(
    db: psycopg.Connection, vehicle_id: int, rows: pl.DataFrame, extras: pl.DataFrame, units: dict[str, str],
    own: pl.DataFrame, period: dt.timedelta,
) -> Written:  # fmt: skip
    rows = rows.select("vehicle_id", "time", *(name for name in SIGNALS if name in rows.columns)).sort("time")
    names = rows.columns[2:]
    db.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
    stored = stored_rows(db, runs_of(rows), names)
    compared = _compared(rows, stored, names)
    inserts = compared.filter(~pl.col("is stored")).select(rows.columns)
    changed = compared.filter(pl.col("is stored") & pl.col("changes"))
    if inserts.height:
        copy_in(db, TELEMETRY, inserts)
    if changed.height:
        update_rows(db, changed.select(rows.columns), outranking=True)
    _write_extras(db, vehicle_id, extras, units, rows, period)
    touched = compared.select("row", *KEY, "row_class", "changes")
    classes = touched.join(own, on=KEY, how="semi", maintain_order="left")
    replaced = compared.join(own, on=KEY, how="semi").filter("replaces").height
    return Written(classes, touched.filter("changes"), replaced, extras["name"].unique().sort().to_list())


def _compared(rows: pl.DataFrame, stored: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Each row with what it is beside the stored one: whether it changes it, and whether it replaces a value."""
    held = stored.select(*KEY, pl.lit(True).alias("is stored"), *(pl.col(n).alias(f"held {n}") for n in names))
    joined = rows.join(held, on=KEY, how="left", maintain_order="left")
    joined = joined.with_columns(
        pl.col("is stored").fill_null(False), row=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32)
    )
    sent = [pl.col(n).is_not_null() & pl.col(n).ne_missing(pl.col(f"held {n}")) for n in names]
    other = [_differs(n) for n in names]
    is_new = ~pl.col("is stored")
    joined = joined.with_columns(
        changes=is_new | pl.any_horizontal(False, *sent), replaces=~is_new & pl.any_horizontal(False, *other)
    )
    row_class = (
        pl.when(is_new).then(RowClass.ACCEPTED.value).when("changes").then(RowClass.MERGED.value)
        .otherwise(RowClass.DUPLICATE.value)
    )  # fmt: skip
    return joined.with_columns(row_class=row_class.cast(pl.Int8))


def _differs(name: str) -> pl.Expr:
    sent, held, signal = pl.col(name), pl.col(f"held {name}"), SIGNALS[name]
    other = sent != held if signal.kind is Kind.BOOLEAN else (sent - held).abs() > signal.resolution
    return other.fill_null(False)


def _write_extras(
    db: psycopg.Connection,
    vehicle_id: int,
    extras: pl.DataFrame,
    units: dict[str, str],
    rows: pl.DataFrame,
    period: dt.timedelta,
) -> None:
    if not units:
        return
    names = sorted(units)
    known = store.extra_signals(db, [vehicle_id], names)
    wanted = pl.DataFrame({"name": names}).with_columns(vehicle_id=pl.lit(vehicle_id, pl.Int32), kind=pl.lit(NUMBER))
    signals = with_new_signals(db, wanted, known).filter(pl.col("kind") == NUMBER)
    store.set_units(db, vehicle_id, units)
    low, high = rows["time"].min(), rows["time"].max()
    db.execute(
        "DELETE FROM signal_sample WHERE vehicle_id = %s AND signal_id = ANY(%s) AND time >= %s AND time < %s",
        [vehicle_id, signals["signal_id"].to_list(), low, high + period],  # type: ignore[operator]
    )
    values = extras.join(signals, on="name").filter(pl.col("time") >= low)
    values = values.unique(["signal_id", "time"], keep="last", maintain_order=True)
    copy_in(db, "signal_sample", values.select(pl.lit(vehicle_id, pl.Int32).alias("vehicle_id"), "signal_id", "time",
                                               "number"))  # fmt: skip


# --- receipt --------------------------------------------------------------------------------------


def _receipt(
    upload: Upload, name: str, checked: Checked, written: Written, can: CanCounts, late_after_s: int
) -> Receipt:
    classes = written.classes
    counts = dict(classes["row_class"].value_counts().iter_rows())
    late = upload.received_at - dt.timedelta(seconds=late_after_s)
    return Receipt(
        upload_id=upload.id,
        sha256=upload.sha256.hex(),
        status="loaded",
        received_at=upload.received_at,
        server_time=upload.received_at,
        rows=RowCounts(
            received=checked.received,
            accepted=counts.get(RowClass.ACCEPTED, 0),
            merged=counts.get(RowClass.MERGED, 0),
            duplicate=counts.get(RowClass.DUPLICATE, 0),
            rejected=checked.rejected,
            late=int((classes["time"] < late).sum()),
            replaced=written.replaced,
        ),
        fields_rejected=sum(can.out_of_limits.values()),
        can=can,
        first_time=classes["time"].min(),
        last_time=classes["time"].max(),
        vehicles=[name],
        extra_signals=written.extras,
        warnings=_warnings(checked, can),
        rejects=first_rejects(checked.rejects),
        rejects_url=f"/v1/uploads/{upload.id}/rejects" if checked.rejects.height else None,
    )


def _warnings(checked: Checked, can: CanCounts) -> list[str]:
    found = []
    if can.frames_read and not can.frames_decoded:
        found.append("no frame has a definition: the log is kept, and decodes when a DBC file is added for it")
    if can.frames_dropped:
        found.append(f"{can.frames_dropped} frames were left out: more than one minute may hold, or far out of order")
    if can.frames_decoded and not checked.received:
        found.append("no frame tells of a sample period")
    return found
