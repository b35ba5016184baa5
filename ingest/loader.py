"""Checked rows into the database, exactly once, in the caller's transaction.

Locks come in one order, so that no two loads wait for each other: the upload's identity, then its vehicles by id.
Under a vehicle's lock nobody else writes its rows or its extra signals; what is read then is what is true.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import psycopg
import zstandard
from numpy.typing import NDArray
from psycopg import sql
from psycopg.types.json import Jsonb

from ingest import store
from ingest.arrays import Floats, Integers, Times, copy_in
from ingest.checks.extras import KIND_SCHEMA
from ingest.checks.rows import Checked, Clock, Query, check, in_rows
from ingest.checks.scope import Scope
from ingest.checks.times import micros
from ingest.classify import DIFFERS, EXTRA_KEY, Outcome, classify
from ingest.decoders.decoded import Decoded
from ingest.receipts import Upload, as_duplicate, first_rejects, receipt_of, why_failed
from schemas.errors import IdempotencyError
from schemas.frames import NO_EXTRAS, NO_REJECTS, REJECT_SCHEMA, TELEMETRY_SCHEMA, UTC_TIME
from schemas.signals import SIGNALS, Kind
from schemas.wire import Receipt, RowCounts

TELEMETRY = "telemetry"
CAUSE = "upload"
VEHICLE_LOCKS = 7_251_001
SOON = "200ms"
BODY_PACKING = zstandard.ZstdCompressionParameters.from_level(1, hash_log=11)
"""How bodies are kept: this smaller table packs rows of text a fifth faster than level 1, and no larger."""
REPLACED = "a raw log took its place"
SET_ASIDE = [DIFFERS, REPLACED]
"""Why a good value is in the quarantine."""
_VALUE = ["vehicle_id", "time", "field", "value"]
RUN_GAP = dt.timedelta(seconds=10)


def repeated(db: psycopg.Connection, upload: Upload, kind: str = TELEMETRY) -> Receipt | None:
    """The first receipt of this upload with status `duplicate`, if it has loaded before.

    Holds the upload's identity until the transaction ends, so that of two at once one waits and then is a duplicate.

    Raises:
        IdempotencyError: its idempotency key came before with other bytes.
    """
    hold_identities(db, [upload], kind)
    if (named := _receipt_by_key(db, upload)) is not None:
        return as_duplicate(Receipt.model_validate(named))
    stored = store.same_upload(db, upload.gateway_id, kind, upload.sha256, upload.query)
    if stored is None:
        return None
    receipt = as_duplicate(Receipt.model_validate(stored))
    if upload.idempotency_key:  # from now on this key means these bytes
        enter_without_rows(db, upload, kind, receipt.model_copy(update={"upload_id": upload.id}), None, None)
    return receipt


def hold_identities(db: psycopg.Connection, uploads: Sequence[Upload], kind: str) -> None:
    """Until the transaction ends, nobody else takes in the same uploads."""
    identities = {f"{one.gateway_id} {kind} {one.sha256.hex()} {one.query}" for one in uploads}
    identities |= {f"{one.gateway_id} key {one.idempotency_key}" for one in uploads if one.idempotency_key is not None}
    numbers = sorted(map(_lock_number, identities))
    db.execute("SELECT pg_advisory_xact_lock(n) FROM unnest(%s::bigint[]) AS n", [numbers])


def _lock_number(identity: str) -> int:
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], signed=True)


def _receipt_by_key(db: psycopg.Connection, upload: Upload) -> store.Stored | None:
    found = store.keyed_upload(db, upload.gateway_id, upload.idempotency_key) if upload.idempotency_key else None
    if found and found[0] != upload.sha256:
        raise IdempotencyError("this Idempotency-Key came before with other bytes")
    return found[1] if found else None


def lock_vehicles(db: psycopg.Connection, rows: pl.DataFrame) -> list[int]:
    """Take the locks of the rows' vehicles until the transaction ends; returns the vehicles' ids."""
    vehicle_ids = _vehicle_ids(rows)
    db.execute("SELECT pg_advisory_xact_lock(%s, v) FROM unnest(%s::int[]) AS v", [VEHICLE_LOCKS, vehicle_ids])
    return vehicle_ids


def lock_vehicles_soon(db: psycopg.Connection, rows: pl.DataFrame) -> list[int]:
    """As `lock_vehicles`, but waits no longer than SOON for any of them.

    Raises:
        psycopg.errors.LockNotAvailable: others hold one for longer. The transaction can only be rolled back.
    """
    vehicle_ids = _vehicle_ids(rows)
    # The bound holds for this statement: what else the transaction may have to wait for takes the time it takes.
    db.execute(
        "WITH bound AS MATERIALIZED ("
        "SELECT current_setting('lock_timeout') AS before, set_config('lock_timeout', %s, true)"
        "), locked AS MATERIALIZED (SELECT before, pg_advisory_xact_lock(%s, v) FROM bound, unnest(%s::int[]) AS v)"
        " SELECT set_config('lock_timeout', min(before), true) FROM locked",
        [SOON, VEHICLE_LOCKS, vehicle_ids],
    )
    return vehicle_ids


def lock_free_vehicles(db: psycopg.Connection, rows: pl.DataFrame) -> list[int]:
    """As `lock_vehicles`, without those whose locks others hold: it waits for nobody."""
    held = db.execute(
        "SELECT v FROM unnest(%s::int[]) AS v WHERE pg_try_advisory_xact_lock(%s, v)",
        [_vehicle_ids(rows), VEHICLE_LOCKS],
    )
    return [vehicle_id for (vehicle_id,) in held]


def _vehicle_ids(rows: pl.DataFrame) -> list[int]:
    """Sorted: locks come in one order."""
    vehicle_ids: list[int] = np.unique(rows["vehicle_id"].to_numpy()).tolist()
    return vehicle_ids


@dataclass(frozen=True)
class Loaded:
    """What a load did: the receipt, and the extra signals it found or made."""

    receipt: Receipt
    signals: pl.DataFrame


def load(
    db: psycopg.Connection, upload: Upload, checked: Checked, signals: pl.DataFrame, late_after_s: int,
    vehicle_names: dict[int, str], body: bytes,
) -> Loaded:  # fmt: skip
    """Write rows, extras, marks, ledger, kept body and rejects. The caller holds the vehicles' locks and commits.

    `signals` (vehicle_id, name, kind, signal_id) are the extra signals that exist.
    """
    outcome, signals = write_rows(db, checked, signals)
    ranges = ranges_of(outcome.classes)
    mark(db, ranges)
    rejects = in_rows([checked.rejects, outcome.conflicts])
    receipt = receipt_of(upload, checked, outcome, rejects, late_after_s, vehicle_names)
    insert_upload(db, upload, TELEMETRY, receipt, ranges, rejects)
    _keep_body(db, upload.id, body)
    return Loaded(receipt, signals)


def write_rows(
    db: psycopg.Connection, checked: Checked, signals: pl.DataFrame
) -> tuple[Outcome, pl.DataFrame]:  # fmt: skip
    """Write rows and extras beside what is stored; returns what became of them, and the extra signals that exist."""
    signals = with_new_signals(db, checked.extras, signals)
    extras = _with_ids(checked.extras, signals)
    outcome = classify(checked.rows, extras, *_stored(db, checked.rows, extras))
    if outcome.inserts.height:
        copy_in(db, TELEMETRY, outcome.inserts)
    if outcome.updates.height:
        update_rows(db, outcome.updates)
    if outcome.extras.height:
        copy_in(db, "signal_sample", outcome.extras)
    return outcome, signals


def _with_ids(extras: pl.DataFrame, signals: pl.DataFrame) -> pl.DataFrame:
    if not extras.height:
        return _NO_EXTRAS
    return extras.join(signals.drop("kind"), on=["vehicle_id", "name"], maintain_order="left")


_NO_EXTRAS = NO_EXTRAS.with_columns(signal_id=pl.lit(None, store.SIGNAL_SCHEMA["signal_id"]))


def with_fixed_kinds(
    decoded: Decoded, checked: Checked, scope: Scope, query: Query, clock: Clock, signals: pl.DataFrame
) -> Checked:
    """The rows checked again, if one of the extra signals that exist is of another kind than was assumed."""
    if not has_other_kinds(checked, signals):
        return checked
    return check(decoded, scope, query, clock, signals.select(*KIND_SCHEMA))


def has_other_kinds(checked: Checked, signals: pl.DataFrame) -> bool:
    """Whether one of the extra signals that exist is of another kind than was assumed."""
    if not checked.extras.height or not signals.height:
        return False
    assumed = checked.extras.join(signals, on=["vehicle_id", "name"])
    return not assumed.filter(pl.col("kind") != pl.col("kind_right")).is_empty()


def keep_failed(db: psycopg.Connection, upload: Upload, checked: Checked, body: bytes) -> Receipt:
    """Keep an upload whose every row has an impossible time: its clock may be put right. The caller commits."""
    known = store.failed_upload(db, upload.gateway_id, TELEMETRY, upload.sha256, upload.query)
    receipt = Receipt(
        upload_id=known or upload.id,
        sha256=upload.sha256.hex(),
        status="failed",
        received_at=upload.received_at,
        server_time=upload.received_at,
        rows=RowCounts(received=checked.received, rejected=checked.received),
        rejects=first_rejects(checked.rejects),
        rejects_url=f"/v1/uploads/{known or upload.id}/rejects",
    )
    if known is None:
        nothing = ranges_of(checked.rows.with_columns(changes=pl.lit(False)))
        insert_upload(db, upload, TELEMETRY, receipt, nothing, checked.rejects, why_failed(receipt))
        _keep_body(db, upload.id, body)
    return receipt


def enter_without_rows(
    db: psycopg.Connection, upload: Upload, kind: str, receipt: Receipt, reason: str | None, body: bytes | None
) -> None:
    """Write an upload that brought no row into the ledger, with its bytes where these are not kept elsewhere."""
    nothing = ranges_of(pl.DataFrame(schema={"vehicle_id": pl.Int32, "time": UTC_TIME, "changes": pl.Boolean}))
    insert_upload(db, upload, kind, receipt, nothing, NO_REJECTS, reason)
    if body is not None:
        _keep_body(db, upload.id, body)


def with_new_signals(db: psycopg.Connection, extras: pl.DataFrame, signals: pl.DataFrame) -> pl.DataFrame:
    """The extra signals that exist, and those that `extras` (vehicle_id, name, kind) bring, which are made."""
    if not extras.height:
        return signals
    seen = extras.select(*KIND_SCHEMA).unique(maintain_order=True)
    new = seen.join(signals, on=["vehicle_id", "name"], how="anti", maintain_order="left")
    return pl.concat([signals, store.create_extra_signals(db, new)]) if new.height else signals


# --- what is stored already -----------------------------------------------------------------------


def _stored(db: psycopg.Connection, rows: pl.DataFrame, extras: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The stored rows, and stored extras, in the neighbourhood of the upload's."""
    names = rows.columns[3:]
    runs = runs_of(rows)
    # Few rows are looked for in large chunks; the estimates for joins with arrays would read whole chunks.
    db.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
    stored = stored_rows(db, runs, names)
    if not stored.height or not extras.height:
        return stored, pl.DataFrame(schema={name: extras.schema[name] for name in (*EXTRA_KEY, "number", "text")})
    return stored, _stored_extras(db, runs, extras)


def runs_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Stretches of time that the rows fill: vehicle_id, low, high. A lone row is a stretch of its own."""
    vehicle_id, time = rows["vehicle_id"].to_numpy(), micros(rows["time"])
    order = np.lexsort((time, vehicle_id))
    vehicle_id, time = vehicle_id[order], time[order]
    gap_us = RUN_GAP // dt.timedelta(microseconds=1)
    begins = np.flatnonzero((np.diff(vehicle_id) != 0) | (np.diff(time) > gap_us)) + 1
    first, last = np.r_[0, begins][: len(time)], np.r_[begins, len(time)][: len(time)] - 1
    instants = {name: pl.Series(time[places]).cast(UTC_TIME) for name, places in (("low", first), ("high", last))}
    return pl.DataFrame({"vehicle_id": vehicle_id[first], **instants})


_RUNS = sql.SQL(
    "FROM unnest(%s, %s, %s) AS run(vehicle_id, low, high) JOIN {table} t"
    " ON t.vehicle_id = run.vehicle_id AND t.time BETWEEN run.low AND run.high"
    " WHERE t.time BETWEEN %s AND %s"
)


def _run_parameters(runs: pl.DataFrame) -> list[object]:
    low, high = runs["low"], runs["high"]
    return [Integers(runs["vehicle_id"].to_numpy()), Times.of(low), Times.of(high), low.min(), high.max()]


def _column(expression: sql.Composable) -> sql.Composed:
    return sql.SQL("array_send(array_agg({}))").format(expression)


def _as_float(name: str) -> sql.Composed:
    cast = "::int::float8" if SIGNALS[name].kind is Kind.BOOLEAN else "::float8"
    return sql.SQL("coalesce({}" + cast + ", 'NaN')").format(sql.Identifier("t", name))


def stored_rows(db: psycopg.Connection, runs: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The stored rows within the runs: vehicle_id, time and these signals."""
    parameters = _run_parameters(runs)
    table = _RUNS.format(table=sql.Identifier(TELEMETRY))
    if not db.execute(sql.SQL("SELECT EXISTS (SELECT {})").format(table), parameters).fetchall()[0][0]:
        return pl.DataFrame(
            schema={"vehicle_id": pl.Int32, "time": UTC_TIME, **{n: TELEMETRY_SCHEMA[n] for n in names}}
        )
    columns = [sql.Identifier("t", "vehicle_id"), sql.Identifier("t", "time"), *map(_as_float, names)]
    query = sql.SQL("SELECT {} ").format(sql.SQL(", ").join(map(_column, columns)))
    query += table
    vehicle_id, time, *values = db.cursor(binary=True).execute(query, parameters).fetchall()[0]
    series = [
        pl.Series("vehicle_id", Integers.load(vehicle_id), dtype=pl.Int32),
        Times.series("time", time),
        *(_signal_series(name, data) for name, data in zip(names, values, strict=True)),
    ]
    return pl.DataFrame(series)


def _signal_series(name: str, data: bytes | None) -> pl.Series:
    return pl.Series(name, Floats.load(data)).fill_nan(None).cast(TELEMETRY_SCHEMA[name])


def _stored_extras(db: psycopg.Connection, runs: pl.DataFrame, extras: pl.DataFrame) -> pl.DataFrame:
    query = sql.SQL("SELECT t.vehicle_id, t.signal_id, t.time, t.number, t.text {} AND t.signal_id = ANY(%s)").format(
        _RUNS.format(table=sql.Identifier("signal_sample"))
    )
    signal_ids = extras["signal_id"].unique().to_list()
    found = db.cursor(binary=True).execute(query, [*_run_parameters(runs), signal_ids]).fetchall()
    schema = {name: extras.schema[name] for name in (*EXTRA_KEY, "number", "text")}
    return pl.DataFrame(found, {**schema, "time": UTC_TIME}, orient="row")


# --- changes --------------------------------------------------------------------------------------


def update_rows(db: psycopg.Connection, updates: pl.DataFrame, *, outranking: bool = False) -> None:
    """Fill in signals that stored rows lack. A stored value stays, but for what outranks it: a raw log."""
    names = updates.columns[2:]
    assignments = sql.SQL(", ").join(
        sql.SQL("{0} = coalesce({1}, {2})").format(sql.Identifier(name), *_in_rank(name, outranking=outranking))
        for name in names
    )
    aliases = sql.SQL(", ").join(map(sql.Identifier, updates.columns))
    arrays = sql.SQL(", ").join(sql.Placeholder() for _ in updates.columns)
    statement = sql.SQL(
        "UPDATE telemetry t SET {} FROM unnest({}) AS m({})"
        " WHERE t.vehicle_id = m.vehicle_id AND t.time = m.time AND t.time BETWEEN %s AND %s"
    ).format(assignments, arrays, aliases)
    values = [Floats(updates[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()) for name in names]
    keys = [Integers(updates["vehicle_id"].to_numpy()), Times.of(updates["time"])]
    db.execute(statement, [*keys, *values, updates["time"].min(), updates["time"].max()])


def _in_rank(name: str, *, outranking: bool) -> tuple[sql.Composable, sql.Composable]:
    held, sent = sql.Identifier("t", name), _from_float(name)
    return (sent, held) if outranking else (held, sent)


def _from_float(name: str) -> sql.Composed:
    value = sql.SQL("nullif({}, 'NaN')").format(sql.Identifier("m", name))
    cast = {Kind.FLOAT: "{}", Kind.INTEGER: "{}::bigint", Kind.BOOLEAN: "{}::int::boolean"}[SIGNALS[name].kind]
    return sql.SQL(cast).format(value)


def ranges_of(classes: pl.DataFrame, place: NDArray[np.int64] | None = None) -> pl.DataFrame:
    """Per vehicle (and place, where places of the rows are given): vehicle_id, low, high, rows, and what changed.

    `low`, `high`: from when to when its rows are; `changed_low`, `changed_high`: the same of those that changed
    something (null: none did).
    """
    vehicle_id, us = classes["vehicle_id"].to_numpy(), micros(classes["time"])
    where = place if place is not None else np.zeros(len(us), np.int64)
    changes = classes["changes"].to_numpy()
    if not _is_in_order(where, vehicle_id):
        order = np.lexsort((vehicle_id, where))
        where, vehicle_id, us, changes = where[order], vehicle_id[order], us[order], changes[order]
    begins = np.flatnonzero((np.diff(where) != 0) | (np.diff(vehicle_id) != 0)) + 1
    first = np.r_[0, begins][: len(us)]
    low, high = _bounds(us, np.ones(len(us), np.bool_), first)
    changed_low, changed_high = _bounds(us, changes, first)
    columns = {
        "vehicle_id": vehicle_id[first],
        "low": low,
        "high": high,
        "rows": np.diff(np.r_[first, len(us)]).astype(np.int32),
        "changed_low": changed_low,
        "changed_high": changed_high,
    }
    return pl.DataFrame(columns if place is None else {"place": where[first], **columns})


def _is_in_order(where: NDArray[np.int64], vehicle_id: NDArray[np.int32]) -> bool:
    later = np.diff(where)
    return bool(((later > 0) | ((later == 0) & (np.diff(vehicle_id) >= 0))).all())


def _bounds(us: NDArray[np.int64], counts: NDArray[np.bool_], first: NDArray[np.int64]) -> list[pl.Series]:
    """The first and the last instant that counts of each stretch, null where none does; `first`: where they begin."""
    none = np.iinfo(np.int64)
    if not len(first):
        return [pl.Series([], dtype=UTC_TIME)] * 2
    found = [
        (np.minimum.reduceat(np.where(counts, us, none.max), first), none.max),
        (np.maximum.reduceat(np.where(counts, us, none.min), first), none.min),
    ]
    return [pl.Series(instants).set(pl.Series(instants == nothing), None).cast(UTC_TIME) for instants, nothing in found]


def mark(db: psycopg.Connection, ranges: pl.DataFrame, cause: str = CAUSE) -> None:
    """Tell the jobs which range of which vehicle changed, and why."""
    changed = ranges.filter(pl.col("changed_low").is_not_null()) if ranges["changed_low"].null_count() else ranges
    if changed.height:
        db.execute(
            "INSERT INTO stale_mark (vehicle_id, from_time, to_time, cause) SELECT v, low, high, %s"
            " FROM unnest(%s, %s, %s) AS changed(v, low, high)",
            [
                cause,
                Integers(changed["vehicle_id"].to_numpy()),
                Times.of(changed["changed_low"]),
                Times.of(changed["changed_high"]),
            ],
        )


# --- ledger -------------------------------------------------------------------------------------


_INSERT_UPLOAD = """
INSERT INTO upload (id, gateway_id, kind, sha256, query, content_type, size_bytes, status, reason, received_at,
    loaded_at, idempotency_key, first_time, last_time, rows_received, rows_accepted, rows_merged, rows_duplicate,
    rows_conflicting, rows_rejected, rows_late, fields_rejected, receipt)
VALUES (%(id)s, %(gateway_id)s, %(kind)s, %(sha256)b, %(query)s, %(content_type)s, %(size_bytes)s, %(status)s,
    %(reason)s, %(received_at)s, CASE %(status)s::text WHEN 'loaded' THEN clock_timestamp() END, %(idempotency_key)s,
    %(first_time)s, %(last_time)s, %(received)s, %(accepted)s, %(merged)s, %(duplicate)s, %(conflicting)s,
    %(rejected)s, %(late)s, %(fields_rejected)s, %(receipt)s)
"""


def insert_upload(
    db: psycopg.Connection, upload: Upload, kind: str, receipt: Receipt, ranges: pl.DataFrame, rejects: pl.DataFrame,
    reason: str | None = None,
) -> None:  # fmt: skip
    """Write an upload into the ledger, with its vehicles' ranges and its rejects; `reason` says why it failed."""
    db.execute(
        _INSERT_UPLOAD,
        {
            "id": upload.id,
            "gateway_id": upload.gateway_id,
            "kind": kind,
            "sha256": upload.sha256,
            "query": upload.query,
            "content_type": upload.content_type,
            "size_bytes": upload.size_bytes,
            "status": receipt.status,
            "reason": reason,
            "received_at": upload.received_at,
            "idempotency_key": upload.idempotency_key,
            "first_time": receipt.first_time,
            "last_time": receipt.last_time,
            **receipt.rows.model_dump(),
            "fields_rejected": receipt.fields_rejected,
            "receipt": Jsonb(receipt.model_dump(mode="json")),
        },
    )
    write_vehicles(db, upload.id, ranges)
    if rejects.height:
        write_rejects(db, upload.id, rejects)


def _keep_body(db: psycopg.Connection, upload_id: uuid.UUID, body: bytes) -> None:
    compressed = zstandard.ZstdCompressor(compression_params=BODY_PACKING).compress(body)
    db.execute("INSERT INTO upload_body (upload_id, body_zstd) VALUES (%s, %b)", [upload_id, compressed])


def write_vehicles(db: psycopg.Connection, upload_id: uuid.UUID, ranges: pl.DataFrame) -> None:
    """Write which vehicles an upload holds rows of."""
    db.execute(
        "INSERT INTO upload_vehicle (upload_id, vehicle_id, first_time, last_time, rows)"
        " SELECT %s, v.* FROM unnest(%s, %s, %s, %s) AS v",
        [
            upload_id,
            Integers(ranges["vehicle_id"].to_numpy()),
            Times.of(ranges["low"]),
            Times.of(ranges["high"]),
            Integers(ranges["rows"].to_numpy()),
        ],
    )


def not_set_aside(db: psycopg.Connection, rejects: pl.DataFrame) -> pl.DataFrame:
    """Rejects without those values of stored instants that were set aside before."""
    if not rejects.height:
        return rejects
    values = rejects.filter(pl.col("reason").is_in(SET_ASIDE))
    if not values.height:
        return rejects
    found = db.execute(
        "SELECT DISTINCT r.vehicle_id, r.time, r.field, r.value FROM unnest(%s, %s, %s::text[]) AS v(id, time, field)"
        " JOIN upload_reject r ON r.vehicle_id = v.id AND r.time = v.time AND r.field = v.field"
        " WHERE r.reason = ANY(%s)",
        [Integers(values["vehicle_id"].to_numpy()), Times.of(values["time"]), values["field"].to_list(), SET_ASIDE],
    ).fetchall()
    known = pl.DataFrame(found, {name: REJECT_SCHEMA[name] for name in _VALUE}, orient="row")
    is_value, is_first = pl.col("reason").is_in(SET_ASIDE), pl.struct(_VALUE).is_first_distinct()
    marked = rejects.join(known.with_columns(known=True), on=_VALUE, how="left", maintain_order="left")
    return marked.filter(~is_value | (pl.col("known").is_null() & is_first.over(is_value))).drop("known")


def write_rejects(db: psycopg.Connection, upload_id: uuid.UUID, rejects: pl.DataFrame) -> None:
    """Write an upload's quarantine. A value that another upload's has already is not set aside again."""
    rejects = not_set_aside(db, rejects)
    # COPY takes a uuid as its sixteen bytes.
    numbered = rejects.select(
        pl.lit(upload_id.bytes).alias("upload_id"),
        pl.int_range(1, pl.len() + 1, dtype=pl.Int32).alias("n"),
        pl.col("row").cast(pl.Int32),
        "vehicle_id",
        "time",
        "field",
        "value",
        "reason",
    )
    copy_in(db, "upload_reject", numbered)
