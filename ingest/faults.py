"""Trouble codes in the tables: sightings as logs tell them, and the episodes that are joined from them."""

from __future__ import annotations

import polars as pl
import psycopg

from ingest.arrays import Times, copy_in
from ingest.can.dm1 import CLEAR_GAP_US, SIGHTING_SCHEMA, episodes
from ingest.can.spans import Spans
from schemas.frames import UTC_TIME

_RENAMED = {"first_us": "time", "last_us": "last_seen_at", "cleared_us": "cleared_at"}
_COLUMNS = [_RENAMED.get(name, name) for name in SIGHTING_SCHEMA]
_SELECTED = ", ".join(f'"{name}"' for name in _COLUMNS)

_DELETE_SIGHTINGS = """
DELETE FROM fault_sighting f USING unnest(%(lows)s, %(highs)s) AS span(low, high)
WHERE f.vehicle_id = %(vehicle)s AND f.time >= span.low AND f.time < span.high
  AND f.time >= %(first)s AND f.time < %(last)s
"""
# An episode may reach over the edge of a stretch, and its neighbours over the edge of that.
_REACH = """
SELECT least(min(time), %(low)s), greatest(max(greatest(last_seen_at, cleared_at)), %(high)s) FROM fault_event
WHERE vehicle_id = %(vehicle)s AND time <= %(high)s AND greatest(last_seen_at, cleared_at) >= %(low)s
"""


def replace_sightings(db: psycopg.Connection, vehicle_id: int, buckets: Spans, sightings: pl.DataFrame) -> None:
    """Let these be what is told of trouble codes in these buckets."""
    if not buckets:
        return
    lows, highs = (pl.Series(edge, dtype=pl.Int64).cast(UTC_TIME) for edge in zip(*buckets, strict=True))
    db.execute(
        _DELETE_SIGHTINGS,
        {"vehicle": vehicle_id, "lows": Times.of(lows), "highs": Times.of(highs), "first": lows[0], "last": highs[-1]},
    )
    if sightings.height:
        copy_in(db, "fault_sighting", _as_stored(sightings, vehicle_id))


def _as_stored(frame: pl.DataFrame, vehicle_id: int) -> pl.DataFrame:
    # A clearing alone stands at its own time.
    told = frame.with_columns(first_us=pl.coalesce("first_us", "cleared_us"))
    return told.select(
        pl.lit(vehicle_id, pl.Int32).alias("vehicle_id"),
        *(pl.col(old).cast(UTC_TIME).alias(new) for old, new in _RENAMED.items()),
        *(pl.col(name) for name in _COLUMNS if name in SIGHTING_SCHEMA),
    )


def join_episodes(db: psycopg.Connection, vehicle_id: int, spans: Spans) -> None:
    """Join the sightings in and around these stretches of time into episodes anew."""
    if not spans or not _any(db, vehicle_id, spans[0][0], spans[-1][1]):
        return
    for low_us, high_us in spans:
        edges = pl.Series([low_us - CLEAR_GAP_US, high_us + CLEAR_GAP_US], dtype=pl.Int64).cast(UTC_TIME)
        low, high = edges[0], edges[1]
        while True:
            span = {"vehicle": vehicle_id, "low": low, "high": high}
            ((first, last),) = db.execute(_REACH, span).fetchall()
            if (first, last) == (low, high):
                break
            low, high = first, last
        found = db.execute(
            f"SELECT {_SELECTED} FROM fault_sighting"  # noqa: S608  (names of ours)
            " WHERE vehicle_id = %(vehicle)s AND time BETWEEN %(low)s AND %(high)s",
            span,
        ).fetchall()
        db.execute("DELETE FROM fault_event WHERE vehicle_id = %(vehicle)s AND time BETWEEN %(low)s AND %(high)s", span)
        joined = episodes(_as_sightings(found))
        if joined.height:
            copy_in(db, "fault_event", _as_stored(joined, vehicle_id))


def _any(db: psycopg.Connection, vehicle_id: int, low_us: int, high_us: int) -> bool:
    """Whether there is or was anything to join; most vehicles have no faults most of the time."""
    edges = pl.Series([low_us - CLEAR_GAP_US, high_us + CLEAR_GAP_US], dtype=pl.Int64).cast(UTC_TIME)
    between = {"vehicle": vehicle_id, "low": edges[0], "high": edges[1]}
    (found,) = db.execute(
        "SELECT EXISTS (SELECT FROM fault_sighting WHERE vehicle_id = %(vehicle)s"
        " AND time BETWEEN %(low)s AND %(high)s) OR EXISTS (SELECT FROM fault_event WHERE vehicle_id = %(vehicle)s"
        " AND time <= %(high)s AND greatest(last_seen_at, cleared_at) >= %(low)s)",
        between,
    ).fetchall()
    return bool(found[0])


def _as_sightings(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    schema = {name: UTC_TIME if name in _RENAMED.values() else SIGHTING_SCHEMA[name] for name in _COLUMNS}
    frame = pl.DataFrame(rows, schema, orient="row")
    alone = pl.col("last_seen_at").is_null()
    frame = frame.with_columns(time=pl.when(~alone).then(pl.col("time")))
    return frame.select(
        pl.col(_RENAMED[name]).cast(pl.Int64).alias(name) if name in _RENAMED else pl.col(name)
        for name in SIGHTING_SCHEMA
    )
