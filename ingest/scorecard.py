"""How a gateway does, from the ledger: what came, late, rejected or in conflict, and whether its clock is right."""

from __future__ import annotations

import datetime as dt
from typing import LiteralString

import psycopg
from psycopg.rows import class_row, dict_row

from ingest.checks.scope import Scope
from ingest.loader import TELEMETRY
from ingest.receiver import Receiver
from schemas.errors import NotFoundError
from schemas.wire import GatewayClock, GatewayPeriod, GatewayScore, RejectReason

SHORT_DAYS, LONG_DAYS = 7, 30
CLOCK_LIMIT_S = 600
STEADY_S = 60
RECENT_UPLOADS = 100
LATEST_UPLOADS, FEWEST_LATE = 20, 5
REASONS = 10
COUNTED = ("received", "accepted", "merged", "duplicate", "conflicting", "rejected", "late")

# A repeated upload is no second one; one that was taken back never was.
_PERIODS: LiteralString = """
SELECT days, count(u.id) FILTER (WHERE u.status = 'loaded') AS uploads,
       count(u.id) FILTER (WHERE u.status = 'failed') AS uploads_failed,
       coalesce(sum(rows_received), 0)::bigint AS received, coalesce(sum(rows_accepted), 0)::bigint AS accepted,
       coalesce(sum(rows_merged), 0)::bigint AS merged, coalesce(sum(rows_duplicate), 0)::bigint AS duplicate,
       coalesce(sum(rows_conflicting), 0)::bigint AS conflicting, coalesce(sum(rows_rejected), 0)::bigint AS rejected,
       coalesce(sum(rows_late), 0)::bigint AS late
FROM unnest(%(periods)s::int[]) AS days
LEFT JOIN upload u ON u.gateway_id = %(gateway)s AND u.received_at > %(now)s - make_interval(days => days)
    AND u.received_at <= %(now)s AND u.status IN ('loaded', 'failed')
GROUP BY days ORDER BY days"""

# An upload that is on time ends with the row that was measured last: how long ago by its clock, it was by ours.
_CLOCK: LiteralString = """
WITH recent AS (
    SELECT extract(epoch FROM received_at - last_time)::float AS behind_s FROM upload
    WHERE gateway_id = %(gateway)s AND kind = %(kind)s AND status = 'loaded' AND last_time IS NOT NULL
      AND rows_late = 0 AND shift_s = 0
      AND received_at > %(now)s - make_interval(days => %(short)s) AND received_at <= %(now)s
    ORDER BY received_at DESC LIMIT %(recent)s
)
SELECT count(*) AS uploads, percentile_cont(0.5) WITHIN GROUP (ORDER BY behind_s) AS offset_s,
       percentile_cont(0.75) WITHIN GROUP (ORDER BY behind_s)
       - percentile_cont(0.25) WITHIN GROUP (ORDER BY behind_s) AS spread_s
FROM recent"""

# Where the latest uploads are all late, either they waited or the clock is slow by more than what counts as late.
_ALL_LATE: LiteralString = """
WITH latest AS (
    SELECT rows_late, first_time, last_time, extract(epoch FROM received_at - last_time)::float AS behind_s,
           extract(epoch FROM received_at - %(now)s)::float AS came_s FROM upload
    WHERE gateway_id = %(gateway)s AND kind = %(kind)s AND status = 'loaded' AND last_time IS NOT NULL AND shift_s = 0
      AND received_at > %(now)s - make_interval(days => %(short)s) AND received_at <= %(now)s
    ORDER BY received_at DESC LIMIT %(latest)s
)
SELECT count(*) AS uploads, percentile_cont(0.5) WITHIN GROUP (ORDER BY behind_s) AS offset_s,
       percentile_cont(0.75) WITHIN GROUP (ORDER BY behind_s)
       - percentile_cont(0.25) WITHIN GROUP (ORDER BY behind_s) AS spread_s,
       max(came_s) - min(came_s) AS passed_s, extract(epoch FROM max(last_time) - min(first_time))::float AS told_s,
       coalesce(regr_slope(behind_s, came_s), 0) * (max(came_s) - min(came_s)) AS drift_s
FROM latest HAVING count(*) >= %(fewest)s AND bool_and(rows_late > 0)"""

_FAULTY: LiteralString = """
WITH faulty AS (
    SELECT id, received_at FROM upload
    WHERE gateway_id = %(gateway)s AND status IN ('loaded', 'failed')
      AND received_at > %(now)s - make_interval(days => %(days)s) AND received_at <= %(now)s
      AND (rows_rejected > 0 OR fields_rejected > 0 OR rows_conflicting > 0)
    ORDER BY received_at DESC LIMIT %(recent)s
)"""
_REASONS: LiteralString = """
SELECT r.reason, r.field, count(*) AS count, max(f.received_at) AS last_at
FROM faulty f JOIN upload_reject r ON r.upload_id = f.id
GROUP BY r.reason, r.field ORDER BY last_at DESC, count DESC, reason, field LIMIT %(reasons)s"""
# A vehicle that reports before its pilot starts has a clock that is right.
_OUT_OF_TIME: LiteralString = """
SELECT count(*) FILTER (WHERE r.reason LIKE '%% in the future'),
       count(*) FILTER (WHERE r.reason LIKE 'before the vehicle''s start%%'
                        AND r.time < f.received_at - make_interval(secs => %(limit)s))
FROM faulty f JOIN upload_reject r ON r.upload_id = f.id"""


def own_score(receiver: Receiver, scope: Scope, gateway: str) -> GatewayScore:
    """The scorecard of the gateway that asks.

    Raises:
        NotFoundError: it asks for another, whether there is one or not.
    """
    if gateway != scope.gateway:
        raise NotFoundError(f"{gateway} is not the gateway of this key, {scope.gateway} is")
    with receiver.transaction() as db:
        return score(db, scope.gateway_id, dt.datetime.now(dt.UTC))


def score(db: psycopg.Connection, gateway_id: int, now: dt.datetime) -> GatewayScore:
    """A gateway's scorecard as of `now`."""
    given = {
        "gateway": gateway_id, "now": now, "kind": TELEMETRY, "periods": [SHORT_DAYS, LONG_DAYS], "short": SHORT_DAYS,
        "recent": RECENT_UPLOADS, "reasons": REASONS, "latest": LATEST_UPLOADS, "fewest": FEWEST_LATE,
        "limit": CLOCK_LIMIT_S,
    }  # fmt: skip
    named = db.cursor(row_factory=dict_row).execute(
        "SELECT g.slug AS gateway, p.slug AS pilot,"
        " (SELECT max(last_used_at) FROM api_key k WHERE k.gateway_id = g.id) AS last_seen_at,"
        " (SELECT max(received_at) FROM upload u WHERE u.gateway_id = g.id) AS last_upload_at"
        " FROM gateway g JOIN pilot p ON p.id = g.pilot_id WHERE g.id = %s",
        [gateway_id],
    ).fetchall()[0]  # fmt: skip
    short, long = map(_period, db.cursor(row_factory=dict_row).execute(_PERIODS, given).fetchall())
    reasons = db.cursor(row_factory=class_row(RejectReason)).execute(_FAULTY + _REASONS, given | {"days": LONG_DAYS})
    # The key's last use is written now and then, an upload always.
    seen = [at for at in (named.pop("last_seen_at"), named["last_upload_at"]) if at is not None]
    return GatewayScore(
        **named, server_time=now, last_seen_at=max(seen, default=None), last_7_days=short, last_30_days=long,
        clock=_clock(db, given), last_rejects=reasons.fetchall(),
    )  # fmt: skip


def _period(row: dict[str, int]) -> GatewayPeriod:
    def share(name: str) -> float | None:
        return round(100 * row[name] / row["received"], 2) if row["received"] else None

    counts = {f"rows_{name}": row[name] for name in COUNTED}
    return GatewayPeriod(
        uploads=row["uploads"], uploads_failed=row["uploads_failed"], **counts,
        late_pct=share("late"), reject_pct=share("rejected"), conflict_pct=share("conflicting"),
    )  # fmt: skip


def _clock(db: psycopg.Connection, given: dict[str, object]) -> GatewayClock:
    row = _slow_clock(db, given) or db.cursor(row_factory=dict_row).execute(_CLOCK, given).fetchall()[0]
    in_future, before_start = db.execute(_FAULTY + _OUT_OF_TIME, given | {"days": SHORT_DAYS}).fetchall()[0]
    offset_s, spread_s = (None if row[name] is None else round(row[name], 1) for name in ("offset_s", "spread_s"))
    note = _note(offset_s, in_future, before_start)
    return GatewayClock(
        offset_s=offset_s, spread_s=spread_s, uploads=row["uploads"], rows_in_future=in_future,
        rows_before_start=before_start, is_off=note is not None, note=note,
    )  # fmt: skip


def _slow_clock(db: psycopg.Connection, given: dict[str, object]) -> dict[str, float] | None:
    """How late the latest uploads are, where all are late by about the same: what waited comes faster than it was made.

    So they tell of no more time than passed while they came, and do not catch up.
    """
    row = db.cursor(row_factory=dict_row).execute(_ALL_LATE, given).fetchone()
    if row is None or row["spread_s"] > STEADY_S:
        return None
    is_backlog = row["told_s"] > 1.5 * row["passed_s"] + STEADY_S or row["drift_s"] < -0.1 * row["passed_s"] - 2
    return None if is_backlog else row


def _note(offset_s: float | None, in_future: int, before_start: int) -> str | None:
    if in_future:
        return "rows were rejected because their time lies in the future: the clock is fast"
    if before_start:
        return (
            "rows were rejected because their time lies before the vehicle's start: the clock is slow or was reset,"
            " unless old rows were sent on purpose"
        )
    if offset_s is not None and offset_s < -CLOCK_LIMIT_S:
        return f"uploads end more than {CLOCK_LIMIT_S} s after they arrive: the clock is fast"
    if offset_s is not None and offset_s > CLOCK_LIMIT_S:
        return f"uploads end more than {CLOCK_LIMIT_S} s before they arrive: the clock is slow, or uploads wait long"
    return None
