"""A CAN log's rows: which may be stored by their time, and why the rest may not. Their values were checked before."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from ingest.can.spans import MAX_US, MIN_US, Spans, joined, overlap
from ingest.can.spool import Spool
from ingest.checks.rows import Clock, Query, check
from ingest.checks.scope import Scope
from ingest.decoders.decoded import Decoded
from schemas.frames import REJECT_SCHEMA, ROW_NUMBER

REJECTS_KEPT = 1000
"""A log with a wrong clock is wrong in every row: the first ones tell."""
MICROSECOND = dt.timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Gate:
    """When a vehicle's rows are let in. `before`: they are let in there too, whatever the scope says by now."""

    scope: Scope
    vehicle_id: int
    vehicle: str
    clock: Clock
    before: tuple[Spans, ...] = ()

    def usable(self) -> Spans:
        """The times of rows that are let in."""
        spans = self.scope.spans.filter(vehicle_id=self.vehicle_id).select(
            pl.col("low").cast(pl.Int64).fill_null(MIN_US), pl.col("high").cast(pl.Int64).fill_null(MAX_US)
        )
        latest = self.clock.now + dt.timedelta(seconds=self.clock.max_future_s) + MICROSECOND
        until = pl.Series([latest]).cast(pl.Int64)[0]
        allowed = joined([*spans.iter_rows(), *(span for spans in self.before for span in spans)])
        return overlap(allowed, [(MIN_US, until)])

    def rejects(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Why rows (row, time) are not let in, by REJECT_SCHEMA."""
        frame = rows.select("time", vehicle=pl.lit(self.vehicle))
        return check(Decoded(frame, rows["row"]), self.scope, Query(self.vehicle), self.clock).rejects


@dataclass(frozen=True, slots=True)
class Passed:
    """When a log's rows are usable; how many it has; the first of those that are not, by REJECT_SCHEMA."""

    usable: Spans
    received: int
    rejected: int
    rejects: pl.DataFrame


def passed(spool: Spool, gate: Gate) -> Passed:
    """Hold what a log tells to the gate."""
    usable = gate.usable()
    received = rejected = 0
    rejects = pl.DataFrame(schema=REJECT_SCHEMA)
    for piece in spool.pieces():
        numbered = piece.rows.select("time", row=pl.int_range(received + 1, received + 1 + pl.len(), dtype=ROW_NUMBER))
        good = piece.within(usable).rows
        received += piece.rows.height
        if good.height < piece.rows.height:
            rejected += piece.rows.height - good.height
            outside = numbered.join(good, on="time", how="anti", maintain_order="left")
            rejects = pl.concat([rejects, gate.rejects(outside.head(REJECTS_KEPT - rejects.height))])
    return Passed(usable, received, rejected, rejects)
