"""The ledger of uploads, read and changed when rows are built anew from what was kept."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass

import polars as pl
import psycopg
import zstandard
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from ingest import log_loader
from ingest.arrays import Times
from ingest.can.spans import Spans, inside
from ingest.can.whole import Reading
from ingest.checks.scales import Scale
from ingest.loader import SET_ASIDE, write_rejects, write_vehicles
from ingest.log_loader import as_multirange, as_spans, us_of
from schemas.errors import NotFoundError
from schemas.frames import REJECT_SCHEMA, UTC_TIME
from schemas.wire import Receipt


@dataclass(frozen=True, slots=True)
class KeptUpload:
    """An upload as the ledger has it; its bytes are kept."""

    id: uuid.UUID
    seq: int
    gateway_id: int
    kind: str
    sha256: bytes
    query: str
    content_type: str
    size_bytes: int
    status: str
    received_at: dt.datetime
    idempotency_key: str | None
    shift_s: float
    expired_at: dt.datetime | None
    scales: dict[str, dict[str, float]]

    def units(self) -> dict[str, Scale]:
        """By what its fields are put right."""
        return {name: Scale(**scale) for name, scale in self.scales.items()}


@dataclass(frozen=True, slots=True)
class KeptLogRow:
    """What the ledger says of a raw log beside that. `zone` is None in old entries: the vehicle's."""

    vehicle_id: int
    landing_key: str
    format: str
    channel: str | None
    start_at: dt.datetime | None
    zone: str | None
    signals_key: str | None
    spans: Spans

    def reading(self, zone: str, shift_s: float) -> Reading:
        """How its clock and channels are read."""
        return Reading(self.zone or zone, self.start_at, self.channel, shift_s)


_COLUMNS = (
    "u.id, u.seq, u.gateway_id, u.kind, u.sha256, u.query, u.content_type, u.size_bytes, u.status, u.received_at,"
    " u.idempotency_key, u.shift_s, u.expired_at, u.scales"
)


def kept_upload(db: psycopg.Connection, upload_id: uuid.UUID) -> KeptUpload:
    """One upload; nobody else changes it until the transaction ends.

    Raises:
        NotFoundError: there is none.
    """
    found = (
        db.cursor(row_factory=class_row(KeptUpload))
        .execute(f"SELECT {_COLUMNS} FROM upload u WHERE u.id = %s FOR UPDATE", [upload_id])  # noqa: S608
        .fetchone()
    )
    if found is None:
        raise NotFoundError(f"no upload {upload_id}")
    return found


def require_bytes(uploads: Iterable[KeptUpload]) -> None:
    """Return if the bytes of all of them are kept.

    Raises:
        ExpiredError: they are not; it names the first.
    """
    gone = [one for one in uploads if one.expired_at is not None]
    if gone:
        others = f" (nor are those of {len(gone) - 1} others)" if len(gone) > 1 else ""
        raise log_loader.expired(gone[0].id, gone[0].expired_at, others)


def kept_log(db: psycopg.Connection, upload_id: uuid.UUID) -> KeptLogRow:
    """A raw log's entry.

    Raises:
        NotFoundError: there is none: the upload only repeated another, or could not be read.
    """
    found = db.execute(
        "SELECT vehicle_id, landing_key, format, channel, start_at, time_zone AS zone, signals_key, spans"
        " FROM upload_log WHERE upload_id = %s",
        [upload_id],
    ).fetchall()
    if not found:
        raise NotFoundError(f"upload {upload_id} holds no log of its own")
    ((vehicle_id, key, format_, channel, start_at, zone, signals_key, spans),) = found
    return KeptLogRow(vehicle_id, key, format_, channel, start_at, zone, signals_key, as_spans(spans))


def kept_body(db: psycopg.Connection, upload: KeptUpload) -> bytes:
    """The bytes of an upload of rows, as they were sent, uncompressed.

    Raises:
        NotFoundError: they are not kept any more.
    """
    row = db.execute("SELECT body_zstd FROM upload_body WHERE upload_id = %s", [upload.id]).fetchone()
    if row is None:
        raise NotFoundError(f"the bytes of upload {upload.id} are not kept any more: its rows cannot be built anew")
    return zstandard.ZstdDecompressor().decompress(row[0], max_output_size=max(1, upload.size_bytes))


def spans_of(db: psycopg.Connection, upload: KeptUpload) -> dict[int, Spans]:
    """Per vehicle the time of an upload's rows (and of a log's frames), as the ledger has it."""
    rows = db.execute(
        "SELECT vehicle_id, first_time, last_time FROM upload_vehicle WHERE upload_id = %s", [upload.id]
    ).fetchall()
    found = {vehicle: [(us_of(first), us_of(last) + 1)] for vehicle, first, last in rows}
    if upload.kind == "can-log":
        log = kept_log(db, upload.id)
        found[log.vehicle_id] = [*found.get(log.vehicle_id, []), *log.spans]
    return found


def uploads_within(db: psycopg.Connection, where: Mapping[int, Spans]) -> list[KeptUpload]:
    """The loaded uploads that hold rows or frames within these spans of these vehicles, in the order of acceptance."""
    ids: set[uuid.UUID] = set()
    for vehicle_id, spans in where.items():
        given = {"vehicle": vehicle_id, "spans": as_multirange(spans)}
        ids |= {id_ for (id_,) in db.execute(_ROWS_WITHIN, given)} | {id_ for (id_,) in db.execute(_LOGS_WITHIN, given)}
    return (
        db.cursor(row_factory=class_row(KeptUpload))
        .execute(
            f"SELECT {_COLUMNS} FROM upload u WHERE u.id = ANY(%s) AND u.status = 'loaded' ORDER BY u.seq",  # noqa: S608
            [list(ids)],
        )
        .fetchall()
    )


def loaded_twin(db: psycopg.Connection, upload: KeptUpload) -> uuid.UUID | None:
    """Another upload of the same bytes, that is loaded."""
    row = db.execute(
        "SELECT id FROM upload WHERE gateway_id = %s AND kind = %s AND sha256 = %s AND query = %s AND status = 'loaded'"
        " AND id <> %s",
        [upload.gateway_id, upload.kind, upload.sha256, upload.query, upload.id],
    ).fetchone()
    return row[0] if row else None


def logs_decoded_otherwise(db: psycopg.Connection, vehicle_id: int, definitions_sha256: str | None) -> list[uuid.UUID]:
    """The vehicle's loaded logs that were decoded by other definitions than these, in the order of their times."""
    rows = db.execute(
        "SELECT u.id FROM upload u JOIN upload_log l ON l.upload_id = u.id WHERE l.vehicle_id = %s"
        " AND u.status = 'loaded' AND l.definitions_sha256 IS DISTINCT FROM %s ORDER BY lower(l.spans), u.seq",
        [vehicle_id, definitions_sha256],
    ).fetchall()
    return [id_ for (id_,) in rows]


_ROWS_WITHIN = """
SELECT v.upload_id FROM upload_vehicle v JOIN upload u ON u.id = v.upload_id
WHERE v.vehicle_id = %(vehicle)s AND u.kind = 'telemetry'
  AND v.first_time <= upper(%(spans)s::tstzmultirange) AND v.last_time >= lower(%(spans)s::tstzmultirange)
  AND tstzrange(v.first_time, v.last_time, '[]') && %(spans)s::tstzmultirange
"""
_LOGS_WITHIN = "SELECT upload_id FROM upload_log WHERE vehicle_id = %(vehicle)s AND spans && %(spans)s::tstzmultirange"


# --- changes --------------------------------------------------------------------------------------


def set_status(db: psycopg.Connection, upload_id: uuid.UUID, status: str, reason: str | None) -> None:
    """Say what an upload is now, in its receipt too."""
    db.execute(
        "UPDATE upload SET status = %(status)s, reason = %(reason)s,"
        " receipt = jsonb_set(receipt, '{status}', to_jsonb(%(status)s::text)) WHERE id = %(id)s",
        {"id": upload_id, "status": status, "reason": reason},
    )


def set_shift(db: psycopg.Connection, upload_id: uuid.UUID, shift_s: float) -> None:
    """Say what is added to every time of an upload."""
    db.execute("UPDATE upload SET shift_s = %s WHERE id = %s", [shift_s, upload_id])


def set_scales(db: psycopg.Connection, upload_id: uuid.UUID, scales: Mapping[str, Scale]) -> None:
    """Say by what the fields of an upload are put right."""
    told = {name: asdict(scale) for name, scale in scales.items()}
    db.execute("UPDATE upload SET scales = %s WHERE id = %s", [Jsonb(told), upload_id])


_LOADED_ANEW = """
UPDATE upload SET status = 'loaded', reason = NULL, loaded_at = clock_timestamp(), first_time = %(first_time)s,
    last_time = %(last_time)s, rows_received = %(received)s, rows_accepted = %(accepted)s, rows_merged = %(merged)s,
    rows_duplicate = %(duplicate)s, rows_conflicting = %(conflicting)s, rows_rejected = %(rejected)s,
    rows_late = %(late)s, fields_rejected = %(fields_rejected)s, receipt = %(receipt)s
WHERE id = %(id)s
"""


def loaded_anew(db: psycopg.Connection, receipt: Receipt, ranges: pl.DataFrame, rejects: pl.DataFrame) -> None:
    """Let an upload's entry say what came of it this time."""
    given = {
        "id": receipt.upload_id, "first_time": receipt.first_time, "last_time": receipt.last_time,
        **receipt.rows.model_dump(), "fields_rejected": receipt.fields_rejected,
        "receipt": Jsonb(receipt.model_dump(mode="json")),
    }  # fmt: skip
    db.execute(_LOADED_ANEW, given)
    db.execute("DELETE FROM upload_vehicle WHERE upload_id = %s", [receipt.upload_id])
    write_vehicles(db, receipt.upload_id, ranges)
    _rewrite_rejects(db, receipt.upload_id, rejects)


def update_log(db: psycopg.Connection, upload_id: uuid.UUID, columns: Mapping[str, object]) -> None:
    """Let a log's entry say how it was read this time."""
    db.execute(
        "UPDATE upload_log SET format = %(format)s, time_zone = %(time_zone)s, signals_key = %(signals_key)s,"
        " definitions_sha256 = %(definitions_sha256)s, spans = %(spans)s WHERE upload_id = %(upload_id)s",
        {"upload_id": upload_id, **columns},
    )


# --- the quarantine -------------------------------------------------------------------------------


def drop_conflicts(db: psycopg.Connection, uploads: Collection[uuid.UUID], where: Mapping[int, Spans]) -> None:
    """Forget the values that were set aside for those of these uploads, or theirs for others, within these spans."""
    for vehicle_id, spans in where.items():
        db.execute(
            "DELETE FROM upload_reject WHERE upload_id = ANY(%s) AND vehicle_id = %s AND reason = ANY(%s)"
            " AND time <@ %s::tstzmultirange",
            [list(uploads), vehicle_id, SET_ASIDE, as_multirange(spans)],
        )


def add_conflicts(db: psycopg.Connection, upload_id: uuid.UUID, conflicts: pl.DataFrame) -> None:
    """Put values that were not stored, or not any more, among an upload's rejects, in the order of rows and times."""
    if not conflicts.height:
        return
    found = db.execute(
        'SELECT "row", vehicle_id, time, field, value, reason FROM upload_reject WHERE upload_id = %s ORDER BY n',
        [upload_id],
    ).fetchall()
    before = pl.DataFrame(found, REJECT_SCHEMA, orient="row")
    _rewrite_rejects(db, upload_id, pl.concat([before, conflicts]).sort("row", "time", maintain_order=True))


def _rewrite_rejects(db: psycopg.Connection, upload_id: uuid.UUID, rejects: pl.DataFrame) -> None:
    db.execute("DELETE FROM upload_reject WHERE upload_id = %s", [upload_id])
    if rejects.height:
        write_rejects(db, upload_id, rejects)


# --- rows -----------------------------------------------------------------------------------------

_DELETE_WITHIN = """
DELETE FROM {table} t USING unnest(%(lows)s, %(highs)s) AS span(low, high)
WHERE t.vehicle_id = %(vehicle)s AND t.time >= span.low AND t.time < span.high
  AND t.time >= %(first)s AND t.time < %(last)s
"""


def delete_rows(db: psycopg.Connection, where: Mapping[int, Spans]) -> None:
    """Delete what is stored of these vehicles within these spans."""
    for vehicle_id, spans in where.items():
        lows, highs = (pl.Series(edge, dtype=pl.Int64).cast(UTC_TIME) for edge in zip(*spans, strict=True))
        given = {
            "vehicle": vehicle_id, "lows": Times.of(lows), "highs": Times.of(highs), "first": lows[0],
            "last": highs[-1],
        }  # fmt: skip
        for table in ("telemetry", "signal_sample", "fault_sighting"):
            db.execute(_DELETE_WITHIN.format(table=table), given)


def drop_empty_signals(db: psycopg.Connection, vehicle_ids: Collection[int]) -> None:
    """Forget extra signals of which nothing is stored."""
    db.execute(
        "DELETE FROM extra_signal e WHERE vehicle_id = ANY(%s) AND NOT EXISTS"
        " (SELECT FROM signal_sample s WHERE s.vehicle_id = e.vehicle_id AND s.signal_id = e.id)",
        [list(vehicle_ids)],
    )


def within(frame: pl.DataFrame, where: Mapping[int, Spans]) -> pl.DataFrame:
    """The rows (vehicle_id, time, …) that lie in the spans of their vehicles."""
    if not frame.height:
        return frame
    times, vehicles = frame["time"].cast(pl.Int64).to_numpy(), frame["vehicle_id"].to_numpy()
    kept = pl.Series([False]).new_from_index(0, frame.height)
    for vehicle_id, spans in where.items():
        kept |= pl.Series((vehicles == vehicle_id) & inside(times, spans))
    return frame.filter(kept)
