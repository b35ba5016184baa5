"""Keys, scopes, ledger and receipts: what the receiver reads and writes beside the rows themselves."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import polars as pl
import psycopg
import sqlalchemy as sa
from psycopg.rows import class_row, dict_row

from ingest.checks.extras import KIND_SCHEMA
from ingest.checks.scope import NAME_SCHEMA, SPAN_SCHEMA, Scope
from schemas.errors import NotFoundError
from schemas.tables import ApiKey, Gateway, Pilot
from schemas.wire import Reject

KEY_SCHEME = "bh"
SECRET_BYTES = 32

# --- gateway keys ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeyInfo:
    """A gateway key as lists show it."""

    prefix: str
    gateway: str
    pilot: str
    created_at: dt.datetime
    last_used_at: dt.datetime | None
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None


@dataclass(frozen=True)
class StoredKey:
    """What is kept of a live key."""

    gateway_id: int
    secret_sha256: bytes
    expires_at: dt.datetime | None


def create_key(connection: sa.Connection, gateway_id: int) -> str:
    """Make a key for a gateway and return it: `bh_<prefix>_<secret>`. It cannot be shown again."""
    prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(SECRET_BYTES)
    values = {"gateway_id": gateway_id, "prefix": prefix, "secret_sha256": hash_secret(secret)}
    connection.execute(sa.insert(ApiKey).values(**values))
    return f"{KEY_SCHEME}_{prefix}_{secret}"


def rotate_key(connection: sa.Connection, gateway_id: int, overlap: dt.timedelta) -> tuple[str, list[str]]:
    """Make a key for a gateway, and let its others end after `overlap`, or sooner where that was said before.

    Returns the new key and the prefixes of those that end.
    """
    live = sa.and_(ApiKey.revoked_at.is_(None), sa.func.coalesce(ApiKey.expires_at > sa.func.now(), sa.true()))
    ending = sa.update(ApiKey).where(ApiKey.gateway_id == gateway_id, live).returning(ApiKey.prefix)
    ends_at = sa.func.least(ApiKey.expires_at, sa.func.now() + overlap)
    prefixes = sorted(connection.scalars(ending.values(expires_at=ends_at)))
    return create_key(connection, gateway_id), prefixes


def hash_secret(secret: str) -> bytes:
    """What is stored of a secret. It has 256 random bits, so a plain hash cannot be turned back."""
    return hashlib.sha256(secret.encode()).digest()


def list_keys(connection: sa.Connection) -> list[KeyInfo]:
    """All keys, the oldest first."""
    columns = (
        ApiKey.prefix, Gateway.slug, Pilot.slug.label("pilot"), ApiKey.created_at, ApiKey.last_used_at,
        ApiKey.expires_at, ApiKey.revoked_at,
    )  # fmt: skip
    query = sa.select(*columns).join(Gateway, ApiKey.gateway_id == Gateway.id).join(Pilot, Gateway.pilot_id == Pilot.id)
    return [KeyInfo(*row) for row in connection.execute(query.order_by(ApiKey.created_at, ApiKey.id))]


def revoke_key(connection: sa.Connection, prefix: str) -> None:
    """End a key. From now on nothing loads under it; whatever else it may do ends within the receivers' cache's time.

    Raises:
        NotFoundError: no key has this prefix.
    """
    revoked = sa.func.coalesce(ApiKey.revoked_at, sa.func.now())
    found = connection.execute(sa.update(ApiKey).where(ApiKey.prefix == prefix).values(revoked_at=revoked))
    if not found.rowcount:
        raise NotFoundError(f"no key begins with {KEY_SCHEME}_{prefix}_")


_NOT_REVOKED: LiteralString = (
    "FROM api_key k JOIN gateway g ON g.id = k.gateway_id"
    " WHERE k.revoked_at IS NULL AND (g.ends_on IS NULL OR g.ends_on >= current_date)"
)


def find_key(db: psycopg.Connection, prefix: str, at: dt.datetime | None = None) -> StoredKey | None:
    """The live key of a prefix; a key ends with its gateway. With `at`, one that had not expired then."""
    return (
        db.cursor(row_factory=class_row(StoredKey))
        .execute(
            f"SELECT k.gateway_id, k.secret_sha256, k.expires_at {_NOT_REVOKED} AND k.prefix = %s"
            " AND (k.expires_at IS NULL OR k.expires_at > coalesce(%s, now()))",
            [prefix, at],
        )
        .fetchone()
    )


def ends_of_keys(db: psycopg.Connection, prefixes: Sequence[str]) -> dict[str, dt.datetime | None]:
    """When these keys end; those that were revoked, or whose gateway has ended, are left out."""
    query = f"SELECT k.prefix, k.expires_at {_NOT_REVOKED} AND k.prefix = ANY(%s)"
    return dict(db.execute(query, [list(prefixes)]).fetchall())


def touch_key(db: psycopg.Connection, prefix: str, period_s: float) -> None:
    """Record that a key is in use, if that was not done within `period_s`, here or by another receiver."""
    db.execute(
        "UPDATE api_key SET last_used_at = now() WHERE prefix = %s"
        " AND (last_used_at IS NULL OR last_used_at <= now() - make_interval(secs => %s))",
        [prefix, period_s],
    )


# --- what a gateway may write ---------------------------------------------------------------------

_COVERED: LiteralString = """
WITH covered AS (
    SELECT DISTINCT a.vehicle_id FROM gateway g JOIN assignment a ON a.pilot_id = g.pilot_id
    WHERE g.id = %(gateway)s AND g.whole_pilot
    UNION SELECT gv.vehicle_id FROM gateway_vehicle gv JOIN gateway g ON g.id = gv.gateway_id
    WHERE g.id = %(gateway)s AND NOT g.whole_pilot
    UNION SELECT unnest(%(also)s::int[])
)"""
_VEHICLES: LiteralString = " SELECT v.id, v.name FROM vehicle v JOIN covered c ON c.vehicle_id = v.id"
_ALIASES: LiteralString = " SELECT a.alias, a.vehicle_id FROM vehicle_alias a JOIN covered USING (vehicle_id)"
# A vehicle's first assignment reaches back to its pilot's baseline. A whole pilot's gateway writes for that pilot only.
# Days begin by the calendar that holds on them; before the first calendar entry the first one holds.
_SPANS: LiteralString = """
, dated AS (
    SELECT a.vehicle_id, a.pilot_id, a.ends_on + 1 AS after,
           CASE WHEN a.starts_on = min(a.starts_on) OVER (PARTITION BY a.vehicle_id)
                THEN least(a.starts_on, p.baseline_from) ELSE a.starts_on END AS first
    FROM covered JOIN assignment a USING (vehicle_id) JOIN pilot p ON p.id = a.pilot_id
)
SELECT d.vehicle_id, (d.first + f.day_starts_at) AT TIME ZONE f.time_zone AS low,
       (d.after + l.day_starts_at) AT TIME ZONE l.time_zone AS high
FROM dated d JOIN gateway g ON g.id = %(gateway)s
CROSS JOIN LATERAL (SELECT * FROM pilot_calendar c WHERE c.pilot_id = d.pilot_id
    ORDER BY c.valid_from <= d.first DESC, abs(c.valid_from - d.first) LIMIT 1) f
CROSS JOIN LATERAL (SELECT * FROM pilot_calendar c WHERE c.pilot_id = d.pilot_id
    ORDER BY c.valid_from <= coalesce(d.after, d.first) DESC, abs(c.valid_from - coalesce(d.after, d.first)) LIMIT 1) l
WHERE (NOT g.whole_pilot OR d.pilot_id = g.pilot_id) AND (d.after IS NULL OR d.after > d.first)
ORDER BY 1, 2"""


def scope(db: psycopg.Connection, gateway_id: int, also: Sequence[int] = ()) -> Scope:
    """A gateway's vehicles, their addresses, and when rows of theirs are let in; with `also` as if it covered these."""
    gateway, pilot = db.execute(
        "SELECT g.slug, p.slug FROM gateway g JOIN pilot p ON p.id = g.pilot_id WHERE g.id = %s", [gateway_id]
    ).fetchall()[0]
    only = {"gateway": gateway_id, "also": list(also)}
    vehicles = db.execute(_COVERED + _VEHICLES, only).fetchall()
    aliases = db.execute(_COVERED + _ALIASES, only).fetchall()
    names = pl.DataFrame([(name, id_) for id_, name in vehicles], NAME_SCHEMA, orient="row")
    # A name that two vehicles share tells neither; an alias never hides a name.
    names = names.unique("address", keep="none")
    others = pl.DataFrame(aliases, NAME_SCHEMA, orient="row").join(names, on="address", how="anti")
    spans = pl.DataFrame(db.execute(_COVERED + _SPANS, only).fetchall(), SPAN_SCHEMA, orient="row")
    return Scope(gateway_id, gateway, pilot, dict(vehicles), pl.concat([names, others]), spans)


def vehicle_details(db: psycopg.Connection, vehicle_ids: Sequence[int]) -> list[tuple[str, float, dict[str, str]]]:
    """Name, sample period in seconds and aliases by kind of each vehicle."""
    return db.execute(
        "SELECT v.name, v.sample_period_s,"
        " coalesce(jsonb_object_agg(a.kind, a.alias) FILTER (WHERE a.alias IS NOT NULL), '{}')"
        " FROM vehicle v LEFT JOIN vehicle_alias a ON a.vehicle_id = v.id WHERE v.id = ANY(%s)"
        " GROUP BY v.id ORDER BY v.name",
        [list(vehicle_ids)],
    ).fetchall()


# --- extra signals --------------------------------------------------------------------------------

SIGNAL_SCHEMA = {**KIND_SCHEMA, "signal_id": pl.Int32()}


def extra_signals(db: psycopg.Connection, vehicle_ids: Sequence[int], names: Sequence[str]) -> pl.DataFrame:
    """The extra signals of these vehicles that have one of these names: vehicle_id, name, kind, signal_id.

    A name with NUL is none that is stored, and PostgreSQL does not even take it to look for it.
    """
    found = db.execute(
        "SELECT vehicle_id, name, kind, id FROM extra_signal WHERE vehicle_id = ANY(%s) AND name = ANY(%s)",
        [list(vehicle_ids), [name for name in names if "\0" not in name]],
    ).fetchall()
    return pl.DataFrame(found, SIGNAL_SCHEMA, orient="row")


def create_extra_signals(db: psycopg.Connection, signals: pl.DataFrame) -> pl.DataFrame:
    """Add extra signals (vehicle_id, name, kind) that do not exist; the caller holds their vehicles' locks."""
    made = db.execute(
        "INSERT INTO extra_signal (vehicle_id, name, kind) SELECT * FROM unnest(%s::int[], %s::text[], %s::text[])"
        " RETURNING vehicle_id, name, kind, id",
        [signals[name].to_list() for name in KIND_SCHEMA],
    ).fetchall()
    return pl.DataFrame(made, SIGNAL_SCHEMA, orient="row")


def set_units(db: psycopg.Connection, vehicle_id: int, units: dict[str, str]) -> None:
    """Tell the units of a vehicle's extra signals, where they have one and it changed."""
    db.execute(
        "UPDATE extra_signal e SET unit = u.unit FROM unnest(%s::text[], %s::text[]) AS u(name, unit)"
        " WHERE e.vehicle_id = %s AND e.name = u.name AND u.unit <> '' AND e.unit IS DISTINCT FROM u.unit",
        [list(units), list(units.values()), vehicle_id],
    )


# --- receipts -------------------------------------------------------------------------------------

Stored = dict[str, Any]
"""A receipt as stored."""


def same_upload(db: psycopg.Connection, gateway_id: int, kind: str, sha256: bytes, query: str) -> Stored | None:
    """The receipt of the same upload, if it has loaded; one that was taken back since stays taken back."""
    row = db.execute(
        "SELECT receipt FROM upload WHERE gateway_id = %s AND kind = %s AND sha256 = %s AND query = %s"
        " AND status IN ('loaded', 'void') ORDER BY status LIMIT 1",
        [gateway_id, kind, sha256, query],
    ).fetchone()
    return row[0] if row else None


Identity = tuple[int, bytes, str]
"""What makes an upload the same: gateway, sha256 and query."""


def same_uploads(db: psycopg.Connection, identities: Sequence[Identity], kind: str) -> dict[Identity, Stored]:
    """The receipts of those of these uploads that have loaded before, or were taken back since."""
    gateways, hashes = list({gateway for gateway, _, _ in identities}), [sha256 for _, sha256, _ in identities]
    found = db.cursor(binary=True).execute(
        "SELECT gateway_id, sha256, query, receipt FROM upload WHERE gateway_id = ANY(%s::int[])"
        " AND sha256 = ANY(%s::bytea[]) AND kind = %s AND status IN ('loaded', 'void') ORDER BY status DESC",
        [gateways, hashes, kind],
    )
    receipts = {(gateway, bytes(sha256), query): receipt for gateway, sha256, query, receipt in found}
    return {identity: receipts[identity] for identity in identities if identity in receipts}


def is_in_ledger(db: psycopg.Connection, upload_id: uuid.UUID) -> bool:
    """Whether the ledger has an upload."""
    return bool(db.execute("SELECT FROM upload WHERE id = %s", [upload_id]).rowcount)


def failed_upload(db: psycopg.Connection, gateway_id: int, kind: str, sha256: bytes, query: str) -> uuid.UUID | None:
    """The id of the same upload that was kept as failed."""
    row = db.execute(
        "SELECT id FROM upload WHERE gateway_id = %s AND kind = %s AND sha256 = %s AND query = %s AND status = 'failed'"
        " ORDER BY seq LIMIT 1",
        [gateway_id, kind, sha256, query],
    ).fetchone()
    return row[0] if row else None


# Where the key's first upload was a duplicate, the receipt is that of the upload which it repeated.
_KEYED: LiteralString = """
SELECT k.sha256, CASE k.status WHEN 'duplicate' THEN first.receipt ELSE k.receipt END
FROM upload k LEFT JOIN upload first ON k.status = 'duplicate' AND first.gateway_id = k.gateway_id
    AND first.kind = k.kind AND first.sha256 = k.sha256 AND first.query = k.query AND first.status IN ('loaded', 'void')
WHERE k.gateway_id = %s AND k.idempotency_key = %s AND k.status IN ('loaded', 'void', 'duplicate')
ORDER BY k.status = 'duplicate', k.status, first.status LIMIT 1"""


def keyed_upload(db: psycopg.Connection, gateway_id: int, idempotency_key: str) -> tuple[bytes, Stored | None] | None:
    """The sha256 and receipt of the upload that came with an idempotency key, if it or the one it repeated loaded."""
    return db.execute(_KEYED, [gateway_id, idempotency_key]).fetchone()


def stored_receipt(db: psycopg.Connection, gateway_id: int, upload_id: uuid.UUID) -> Stored:
    """The receipt of one of the gateway's uploads.

    Raises:
        NotFoundError: the gateway made no such upload.
    """
    row = db.execute("SELECT receipt FROM upload WHERE id = %s AND gateway_id = %s", [upload_id, gateway_id]).fetchone()
    if row is None:
        raise NotFoundError(f"no upload {upload_id} of this gateway")
    receipt: Stored = row[0]
    return receipt


@dataclass(frozen=True)
class ReceiptsWanted:
    """Which receipts: received at or after `since`, with rows of `vehicle_id`, after number `after`."""

    since: dt.datetime | None
    vehicle_id: int | None
    after: int
    limit: int


def stored_receipts(db: psycopg.Connection, gateway_id: int, wanted: ReceiptsWanted) -> list[tuple[int, Stored]]:
    """Receipts of a gateway with their numbers, in the order of acceptance."""
    return db.execute(
        "SELECT seq, receipt FROM upload u WHERE gateway_id = %(gateway)s AND seq > %(after)s"
        " AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)"
        " AND (%(vehicle)s::int IS NULL OR EXISTS"
        "      (SELECT FROM upload_vehicle v WHERE v.upload_id = u.id AND v.vehicle_id = %(vehicle)s))"
        " ORDER BY seq LIMIT %(limit)s",
        {
            "gateway": gateway_id,
            "after": wanted.after,
            "since": wanted.since,
            "vehicle": wanted.vehicle_id,
            "limit": wanted.limit,
        },
    ).fetchall()


def stored_rejects(
    db: psycopg.Connection, gateway_id: int, upload_id: uuid.UUID, after: int, limit: int
) -> list[tuple[int, Reject]]:
    """Rejects of one of the gateway's uploads with their numbers, in order.

    Raises:
        NotFoundError: the gateway made no such upload.
    """
    stored_receipt(db, gateway_id, upload_id)
    rows = db.cursor(row_factory=dict_row).execute(
        'SELECT n, "row", field, value, reason FROM upload_reject WHERE upload_id = %s AND n > %s ORDER BY n LIMIT %s',
        [upload_id, after, limit],
    )
    return [(row.pop("n"), Reject(**row)) for row in rows]


# --- jobs -----------------------------------------------------------------------------------------


def results_behind_s(db: psycopg.Connection) -> float:
    """Age of the oldest mark that no job has taken away yet, in seconds; 0 where there is none."""
    row = db.execute(
        "SELECT extract(epoch FROM now() - marked_at)::float FROM stale_mark ORDER BY id LIMIT 1"
    ).fetchone()
    return max(0.0, row[0]) if row else 0.0
