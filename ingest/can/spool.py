"""What a log tells, piece by piece on disk: memory is bounded by a piece, whatever the log's length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from ingest.can.dm1 import SIGHTING_SCHEMA
from ingest.can.signals import SAMPLE_SCHEMA, Told
from ingest.can.spans import Spans, inside, joined, overlap, without
from schemas.frames import UTC_TIME

PIECE_ROWS, PIECE_WINDOWS = 200_000, 500
"""Rows of all kinds in a piece, and windows, of which a log with long silences has many."""
ROW_SCHEMA: dict[str, pl.DataType] = {"time": UTC_TIME}


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole buckets of a log, in order of time.

    `rows`: time and canonical signals. `extras` by SAMPLE_SCHEMA, `sightings` by SIGHTING_SCHEMA. `units` of all other
    signals that were decoded, by name.
    """

    rows: pl.DataFrame
    extras: pl.DataFrame
    sightings: pl.DataFrame
    units: dict[str, str]
    buckets: Spans

    def within(self, spans: Spans, *, outside: bool = False) -> Piece:
        """What lies in these spans of whole buckets; or what does not."""

        def kept(frame: pl.DataFrame, time: pl.Expr) -> pl.DataFrame:
            mask = inside(frame.select(time.cast(pl.Int64)).to_series().to_numpy(), spans)
            return frame.filter(pl.Series(~mask if outside else mask))

        return replace(
            self,
            rows=kept(self.rows, pl.col("time")),
            extras=kept(self.extras, pl.col("time")),
            sightings=kept(self.sightings, pl.coalesce("first_us", "cleared_us")),
            buckets=without(self.buckets, spans) if outside else overlap(self.buckets, spans),
        )

    @property
    def size(self) -> int:
        """Rows of all kinds."""
        return self.rows.height + self.extras.height + self.sightings.height


@dataclass(slots=True)
class Spool:
    """Told windows in a folder of its own."""

    folder: Path
    _waiting: list[Piece] = field(default_factory=list)
    _size: int = 0
    _written: list[tuple[dict[str, str], Spans]] = field(default_factory=list)

    def add(self, spans: tuple[tuple[int, int], ...], told: Told) -> None:
        """Keep what a window told of its own buckets; windows come in order of time."""
        self._waiting.append(Piece(told.rows, told.extras, told.sightings, told.units, list(spans)))
        self._size += self._waiting[-1].size
        if self._size >= PIECE_ROWS or len(self._waiting) >= PIECE_WINDOWS:
            self._write()

    def clear(self) -> None:
        """Forget everything: the log is told again."""
        self._waiting, self._size, self._written = [], 0, []

    def buckets(self) -> Spans:
        """All buckets in which something was logged."""
        waiting = [span for piece in self._waiting for span in piece.buckets]
        return joined([*waiting, *(span for _, buckets in self._written for span in buckets)])

    def pieces(self) -> Iterator[Piece]:
        """Everything, in order of time."""
        self._write()
        for n, (units, buckets) in enumerate(self._written):
            rows, extras, sightings = (pl.read_ipc(path) for path in self._paths(n))
            yield Piece(rows, extras, sightings, units, buckets)

    def _write(self) -> None:
        if not self._waiting:
            return
        parts, self._waiting, self._size = self._waiting, [], 0
        rows = pl.concat([pl.DataFrame(schema=ROW_SCHEMA), *(part.rows for part in parts)], how="diagonal")
        extras = pl.concat([pl.DataFrame(schema=SAMPLE_SCHEMA), *(part.extras for part in parts)])
        sightings = pl.concat([pl.DataFrame(schema=SIGHTING_SCHEMA), *(part.sightings for part in parts)])
        for frame, path in zip((rows, extras, sightings), self._paths(len(self._written)), strict=True):
            frame.write_ipc(path, compression="lz4")
        units = {name: unit for part in parts for name, unit in part.units.items()}
        self._written.append((units, joined(span for part in parts for span in part.buckets)))

    def _paths(self, n: int) -> list[Path]:
        return [self.folder / f"{what}-{n}.arrow" for what in ("rows", "extras", "sightings")]
