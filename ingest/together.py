"""Small uploads read, checked and written as one, each with an outcome of its own."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import psycopg
import structlog
import zstandard
from numpy.typing import NDArray

from ingest import loader, store
from ingest.arrays import Integers, Times, copy_in
from ingest.auth import Caller
from ingest.can.whole import EPOCH, MICROSECOND
from ingest.checks.extras import KIND_SCHEMA
from ingest.checks.plain import Sender
from ingest.checks.rows import FOREIGN, Checked, Clock, Query, check, check_plain, extra_names, in_rows
from ingest.checks.scope import Joint, joint
from ingest.checks.times import micros
from ingest.classify import Outcome, RowClass
from ingest.decoders.decoded import Decoded
from ingest.decoders.ndjson import fast_frame
from ingest.loader import TELEMETRY
from ingest.receipts import REJECTS_IN_RECEIPT, Upload, as_duplicate
from ingest.receiver import Receiver
from schemas import logs
from schemas.errors import BeachheadError, BodyTooLargeError
from schemas.frames import UTC_TIME
from schemas.wire import Receipt, Reject, RowCounts

NDJSON = "application/x-ndjson"
SMALL_BYTES = 256 * 2**10
MOST_UPLOADS, MOST_BYTES = 256, 8 * 2**20
log = structlog.get_logger()


Lock = Callable[[psycopg.Connection, pl.DataFrame], list[int]]
"""Locks the vehicles of rows, and tells which."""


class ApartError(BeachheadError):
    """These uploads cannot be read or written as one."""


@dataclass(frozen=True, slots=True)
class Member:
    """One upload of a group; `vehicle` is that of rows that name none, `lines` how many rows it has."""

    caller: Caller
    upload: Upload
    vehicle: str | None
    body: bytes
    lines: int


def lines_of(body: bytes) -> int | None:
    """How many rows a small body of objects, a line each, has; None where there is anything else about it."""
    if len(body) > SMALL_BYTES or body[:1] != b"{":
        return None
    end = len(body) - 1 if body.endswith(b"\n") else len(body)
    if body[end - 1 : end] != b"}" or b"\r" in body:
        return None
    # Looking at all bytes at once takes a fraction of what looking for one line end after the other does.
    ends = np.flatnonzero(np.frombuffer(body, np.uint8, end) == ord("\n"))
    return None if (np.diff(ends) == 1).any() else len(ends) + 1


def load_together(group: Sequence[Member], receiver: Receiver, *, wholly: bool = False) -> dict[int, Receipt]:
    """Load what can be loaded together; returns the receipts by place in the group. The others have to go alone.

    An upload that came before is told again what it was told. One of a vehicle that others write for, and not just for
    a moment, has to go alone, so that nobody else waits for them.

    With `wholly` all of them are loaded, or none is.

    Raises:
        ApartError: this group cannot be read or written as one.
        UnavailableError: the database is away; nothing was loaded.
    """
    read = _Read.of(group, receiver)
    plain = read.plain()
    if wholly and not plain.all():
        raise ApartError
    if not plain.any():
        return {}
    try:
        if wholly:
            return _load(read, plain, receiver, loader.lock_vehicles, wholly=True)
        try:
            return _load(read, plain, receiver, loader.lock_vehicles_soon)
        except _BusyError:
            return _load(read, plain, receiver, loader.lock_free_vehicles)
    except (psycopg.errors.IntegrityError, psycopg.errors.DataError) as error:
        log.warning("group apart", reason=logs.told(error))
        raise ApartError from error


class _BusyError(BeachheadError):
    """Others write for a vehicle, and not just for a moment."""


def _load(
    read: _Read, plain: NDArray[np.bool_], receiver: Receiver, lock: Lock, *, wholly: bool = False
) -> dict[int, Receipt]:
    """Load the plain ones of a group in one transaction, but for those with a vehicle that `lock` did not get."""
    group = read.group
    with receiver.transaction() as db:
        # Whose key was revoked meanwhile goes alone, and is told so.
        good = receiver.keys.are_good(db, [(member.caller, member.upload.received_at) for member in group])
        fresh, known = _fresh(db, group, plain & good)
        if wholly and not fresh.all():
            raise ApartError
        read = read.only(fresh)
        try:
            held = lock(db, read.checked.rows)
        except psycopg.errors.LockNotAvailable:
            raise _BusyError from None
        read = read.only(read.of_vehicles(held))
        return known | (_Written.of(db, read, held, receiver).receipts() if read.checked.rows.height else {})


# --- read as one ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Read:
    """A group's rows, numbered through: upload n has those up to `ends[n]`, from the end of the one before on."""

    group: Sequence[Member]
    ends: NDArray[np.int64]
    decoded: Decoded
    checked: Checked

    @classmethod
    def of(cls, group: Sequence[Member], receiver: Receiver) -> _Read:
        counts = np.array([member.lines for member in group])
        body = b"\n".join(member.body.rstrip(b"\n") for member in group)
        try:
            frame = fast_frame(body, int(counts.sum()), receiver.limits)
        except BodyTooLargeError:  # the group may be, and none of them
            raise ApartError from None
        if frame is None or frame.height != counts.sum():
            raise ApartError
        decoded = Decoded.whole(frame)
        came = np.repeat(micros(_came(group)), counts)
        clock = Clock(pl.Series(came).cast(UTC_TIME), receiver.settings.max_future_s)
        kinds = receiver.known_signals.select(*KIND_SCHEMA)
        senders = [Sender(member.caller.scope, member.vehicle, member.lines) for member in group]
        checked = check_plain(decoded, senders, clock, kinds) or _check(decoded, group, counts, clock, kinds)
        return cls(group, np.cumsum(counts), decoded, checked)

    def upload_of(self, rows: pl.Series) -> NDArray[np.int64]:
        """The place in the group of the upload that each row belongs to."""
        return np.searchsorted(self.ends, rows.to_numpy(), side="left")

    def plain(self) -> NDArray[np.bool_]:
        """Which uploads have something to load, and no row of a vehicle that is not known to be their gateway's."""
        usable = np.bincount(self.upload_of(self.checked.rows["row"]), minlength=len(self.group)) > 0
        if not self.checked.foreign:
            return usable
        foreign = self.checked.rejects.filter(pl.col("reason") == FOREIGN)["row"]
        usable[self.upload_of(foreign)] = False
        return usable

    def of_vehicles(self, vehicle_ids: list[int]) -> NDArray[np.bool_]:
        """Which uploads have no row of another vehicle."""
        rows = self.checked.rows
        wanted = np.ones(len(self.group), np.bool_)
        wanted[self.upload_of(rows["row"])[~np.isin(rows["vehicle_id"].to_numpy(), vehicle_ids)]] = False
        return wanted

    def only(self, wanted: NDArray[np.bool_]) -> _Read:
        """The same without the rows of other uploads."""
        if wanted.all():
            return self

        def kept(frame: pl.DataFrame) -> pl.DataFrame:
            return frame.filter(pl.Series(wanted[self.upload_of(frame["row"])]))

        checked = Checked(
            kept(self.checked.rows), kept(self.checked.extras), kept(self.checked.rejects), self.checked.received,
            self.checked.foreign,
        )  # fmt: skip
        return replace(self, checked=checked)


def _came(group: Sequence[Member]) -> pl.Series:
    """When each upload did."""
    return pl.Series([member.upload.received_at for member in group], dtype=UTC_TIME)


def _check(
    decoded: Decoded, group: Sequence[Member], counts: NDArray[np.int64], clock: Clock, kinds: pl.DataFrame
) -> Checked:
    """Check rows of which something must be said."""
    scope = joint({member.caller.scope.gateway_id: member.caller.scope for member in group})
    if scope is None:
        raise ApartError
    addressed = replace(decoded, frame=decoded.frame.with_columns(vehicle=_addresses(decoded.frame, group, counts)))
    return check(addressed, scope, Query(), clock, kinds)


def _addresses(frame: pl.DataFrame, group: Sequence[Member], counts: NDArray[np.int64]) -> pl.Series:
    """How each row names its vehicle, after its gateway: one name may mean different vehicles to two gateways."""
    gateways = pl.Series([str(member.caller.scope.gateway_id) for member in group]).gather(
        np.repeat(np.arange(len(group)), counts)
    )
    if "vehicle" in frame.columns and frame.schema["vehicle"] not in (pl.String, pl.Null, pl.Int64):
        raise ApartError
    named = frame["vehicle"].cast(pl.String).str.strip_chars() if "vehicle" in frame.columns else None
    given = [member.vehicle for member in group]
    default = pl.Series(given, dtype=pl.String).gather(np.repeat(np.arange(len(group)), counts))
    address = default if named is None else named.set(named == "", None).fill_null(default)
    return pl.select(pl.concat_str(gateways, pl.lit(Joint.BETWEEN), address)).to_series()


def _fresh(
    db: psycopg.Connection, group: Sequence[Member], plain: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], dict[int, Receipt]]:
    """Hold the identities of these uploads until the transaction ends; which are new, and what the others were told.

    One that comes twice in the group is new once; the other one has to go alone.
    """
    places: list[int] = np.flatnonzero(plain).tolist()
    uploads = [group[place].upload for place in places]
    identities = [(one.gateway_id, one.sha256, one.query) for one in uploads]
    loader.hold_identities(db, uploads, TELEMETRY)
    stored = store.same_uploads(db, identities, TELEMETRY)
    fresh, known, seen = np.zeros(len(group), bool), {}, set()
    for place, identity, upload in zip(places, identities, uploads, strict=True):
        if identity in stored:
            receipt = as_duplicate(Receipt.model_validate(stored[identity]))
            known[place] = receipt.model_copy(update={"server_time": upload.received_at})
        elif identity not in seen:
            fresh[place] = True
            seen.add(identity)
    return fresh, known


# --- written as one -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Written:
    """What became of a group's rows, and the fields and rows that did not load."""

    db: psycopg.Connection
    read: _Read
    outcome: Outcome
    rejects: pl.DataFrame
    late_after_s: int

    @classmethod
    def of(cls, db: psycopg.Connection, read: _Read, vehicles: list[int], receiver: Receiver) -> _Written:
        """Write the rows; `vehicles` are those that this transaction has locked."""
        checked = read.checked
        names = extra_names(read.decoded)
        signals = store.extra_signals(db, vehicles, names) if names else pl.DataFrame(schema=store.SIGNAL_SCHEMA)
        if loader.has_other_kinds(checked, signals):
            raise ApartError
        outcome, signals = loader.write_rows(db, checked, signals)
        receiver.learn(signals)
        rejects = in_rows([checked.rejects, outcome.conflicts])
        return cls(db, read, outcome, rejects, receiver.settings.late_after_s)

    def receipts(self) -> dict[int, Receipt]:
        """Write marks, ledger, bodies and rejects; returns each upload's receipt by its place in the group."""
        classes = self.outcome.classes
        place = self.read.upload_of(classes["row"])
        ranges = loader.ranges_of(classes, place)
        loader.mark(self.db, ranges)
        receipts = dict(self._made(classes, place, ranges))
        self._enter(receipts, ranges)
        self._write_rejects(receipts)
        return receipts

    def _enter(self, receipts: Mapping[int, Receipt], ranges: pl.DataFrame) -> None:
        """Write the ledger, each upload's vehicles and its body, in one statement."""
        group, packer = self.read.group, zstandard.ZstdCompressor(compression_params=loader.BODY_PACKING)
        entries = [_entry(group[place].upload, receipt) for place, receipt in receipts.items()]
        self.db.execute(
            _ENTER,
            {
                "entries": "[" + ",".join(entries) + "]",
                "of": [receipts[place].upload_id for place in ranges["place"].to_list()],
                "vehicles": Integers(ranges["vehicle_id"].to_numpy()),
                "low": Times.of(ranges["low"]),
                "high": Times.of(ranges["high"]),
                "rows": Integers(ranges["rows"].to_numpy()),
                "ids": [receipt.upload_id for receipt in receipts.values()],
                "bodies": [packer.compress(group[place].body) for place in receipts],
            },
        )

    def _made(
        self, classes: pl.DataFrame, place: NDArray[np.int64], ranges: pl.DataFrame
    ) -> Iterator[tuple[int, Receipt]]:
        group, offsets = self.read.group, np.concatenate(([0], self.read.ends))
        rejects = self._rejects_by_upload()
        # A scope may have been read anew between two uploads of a gateway: what one knows holds for both.
        scopes = {id(member.caller.scope): member.caller.scope for member in group}
        names = {id_: name for scope in scopes.values() for id_, name in scope.vehicle_names.items()}
        vehicles: dict[int, list[str]] = {}
        for at, vehicle_id in zip(ranges["place"].to_list(), ranges["vehicle_id"].to_list(), strict=True):
            vehicles.setdefault(at, []).append(names[vehicle_id])
        extras = self._extras_by_upload()
        for at, first, last, late, counts in self._counted(classes, place):
            upload, own = group[at].upload, rejects.get(at, [])
            received = int(offsets[at + 1] - offsets[at])
            yield at, Receipt(
                upload_id=upload.id,
                sha256=upload.sha256.hex(),
                status="loaded",
                received_at=upload.received_at,
                server_time=upload.received_at,
                rows=RowCounts(received=received, accepted=counts[0], merged=counts[1], duplicate=counts[2],
                               conflicting=counts[3], rejected=received - sum(counts), late=late),
                fields_rejected=len(own) - (received - sum(counts)),
                first_time=first,
                last_time=last,
                vehicles=sorted(vehicles[at]),
                extra_signals=extras.get(at, []),
                rejects=own[: REJECTS_IN_RECEIPT],
                rejects_url=f"/v1/uploads/{upload.id}/rejects" if own else None,
            )  # fmt: skip

    def _counted(
        self, classes: pl.DataFrame, place: NDArray[np.int64]
    ) -> Iterator[tuple[int, dt.datetime, dt.datetime, int, list[int]]]:
        """Per upload with usable rows: its place, first and last time, late rows, and rows of each class."""
        uploads, us, row_class = len(self.read.group), micros(classes["time"]), classes["row_class"].to_numpy()
        is_late = us < micros(_came(self.read.group))[place] - dt.timedelta(seconds=self.late_after_s) // MICROSECOND
        late = np.bincount(place[is_late], minlength=uploads)
        counts = np.bincount(place * len(RowClass) + row_class, minlength=uploads * len(RowClass))
        first, last = np.full(uploads, np.iinfo(np.int64).max), np.full(uploads, np.iinfo(np.int64).min)
        np.minimum.at(first, place, us)
        np.maximum.at(last, place, us)
        told = zip(first.tolist(), last.tolist(), late.tolist(), counts.reshape(uploads, -1).tolist(), strict=True)
        for at, (first_us, last_us, of_late, of_classes) in enumerate(told):
            if sum(of_classes):
                yield at, EPOCH + first_us * MICROSECOND, EPOCH + last_us * MICROSECOND, of_late, of_classes

    def _rejects_by_upload(self) -> dict[int, list[Reject]]:
        found: dict[int, list[Reject]] = {}
        if not self.rejects.height:
            return found
        offsets = np.concatenate(([0], self.read.ends))
        places = self.read.upload_of(self.rejects["row"]).tolist()
        for place, row in zip(places, self.rejects.iter_rows(named=True), strict=True):
            value = _shown(row["field"], row["value"])
            number = row["row"] - int(offsets[place])
            found.setdefault(place, []).append(
                Reject(row=number, field=row["field"], value=value, reason=row["reason"])
            )
        return found

    def _extras_by_upload(self) -> dict[int, list[str]]:
        extras = self.read.checked.extras
        found: dict[int, set[str]] = {}
        if not extras.height:
            return {}
        for place, name in zip(self.read.upload_of(extras["row"]).tolist(), extras["name"], strict=True):
            found.setdefault(place, set()).add(name)
        return {place: sorted(names) for place, names in found.items()}

    def _write_rejects(self, receipts: Mapping[int, Receipt]) -> None:
        rejects = loader.not_set_aside(self.db, self.rejects)
        if not rejects.height:
            return
        ids = pl.DataFrame({"place": list(receipts), "upload_id": [r.upload_id.bytes for r in receipts.values()]})
        offsets = np.concatenate(([0], self.read.ends))
        places = self.read.upload_of(rejects["row"])
        numbered = rejects.with_columns(
            place=pl.Series(places), row=(pl.col("row").cast(pl.Int64) - pl.Series(offsets[places])).cast(pl.Int32)
        )
        numbered = numbered.join(ids, on="place", maintain_order="left").with_columns(
            n=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("place"),
            value=pl.when(pl.col("field") == "vehicle").then(pl.col("value").str.split(Joint.BETWEEN).list.last())
            .otherwise("value"),
        )  # fmt: skip
        copy_in(self.db, "upload_reject", numbered.select("upload_id", "n", "row", "vehicle_id", "time", "field",
                                                          "value", "reason"))  # fmt: skip


def _shown(field: str | None, value: str | None) -> str | None:
    return value.rpartition(Joint.BETWEEN)[2] if field == "vehicle" and value else value


_ENTER = """
WITH entered AS (INSERT INTO upload (id, gateway_id, kind, sha256, query, content_type, size_bytes, status,
    received_at, loaded_at, first_time, last_time, rows_received, rows_accepted, rows_merged, rows_duplicate,
    rows_conflicting, rows_rejected, rows_late, fields_rejected, receipt)
SELECT id, gateway_id, 'telemetry', decode(sha256, 'hex'), query, content_type, size_bytes, 'loaded', received_at,
    clock_timestamp(), (receipt->>'first_time')::timestamptz, (receipt->>'last_time')::timestamptz,
    (receipt->'rows'->>'received')::int, (receipt->'rows'->>'accepted')::int, (receipt->'rows'->>'merged')::int,
    (receipt->'rows'->>'duplicate')::int, (receipt->'rows'->>'conflicting')::int, (receipt->'rows'->>'rejected')::int,
    (receipt->'rows'->>'late')::int, (receipt->>'fields_rejected')::int, receipt
FROM jsonb_to_recordset(%(entries)s::jsonb) AS told(id uuid, gateway_id int, sha256 text, query text, content_type text,
    size_bytes bigint, received_at timestamptz, receipt jsonb)
), of_vehicles AS (INSERT INTO upload_vehicle (upload_id, vehicle_id, first_time, last_time, rows)
    SELECT * FROM unnest(%(of)b::uuid[], %(vehicles)s, %(low)s, %(high)s, %(rows)s)
)
INSERT INTO upload_body (upload_id, body_zstd) SELECT * FROM unnest(%(ids)b::uuid[], %(bodies)b::bytea[])
"""


def _entry(upload: Upload, receipt: Receipt) -> str:
    told = {
        "id": str(upload.id), "gateway_id": upload.gateway_id, "sha256": upload.sha256.hex(), "query": upload.query,
        "content_type": upload.content_type, "size_bytes": upload.size_bytes,
        "received_at": upload.received_at.isoformat(),
    }  # fmt: skip
    return f'{json.dumps(told)[:-1]}, "receipt": {receipt.model_dump_json()}}}'
