"""What a decoder returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from schemas.frames import REJECT_SCHEMA, ROW_NUMBER

MIXED = pl.Struct({"number": pl.Float64, "boolean": pl.Boolean, "text": pl.String, "nested": pl.String})
"""The type of a JSON column whose values are of several types; at most one part of a value is not null."""


@dataclass(frozen=True)
class Limits:
    """What one upload may hold, after decompression."""

    body_bytes: int
    rows: int
    fields: int


@dataclass(frozen=True)
class Decoded:
    """A body's rows.

    `frame` has the columns as sent. `row` (UInt32) numbers its rows by their position in the upload, from 1: data rows
    of a CSV without its header, lines without blank ones, elements of an array. `rejects` are rows that could not be
    read. `typed` says whether the format tells numbers from text.
    """

    frame: pl.DataFrame
    row: pl.Series
    rejects: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REJECT_SCHEMA))
    typed: bool = True

    @property
    def received(self) -> int:
        """Rows in the upload."""
        return self.frame.height + self.rejects.height

    @classmethod
    def whole(cls, frame: pl.DataFrame, *, typed: bool = True) -> Decoded:
        """A body of which every row could be read."""
        return cls(frame, pl.int_range(1, frame.height + 1, dtype=ROW_NUMBER, eager=True).alias("row"), typed=typed)

    @classmethod
    def partly(
        cls, frame: pl.DataFrame, rows: list[int], faults: list[tuple[int, str, str]], *, typed: bool = True
    ) -> Decoded:
        """A body with unreadable rows. `rows`: numbers of the readable ones; `faults`: row, value, reason."""
        columns = {
            "row": [row for row, _, _ in faults],
            "value": [value for _, value, _ in faults],
            "reason": [reason for _, _, reason in faults],
        }
        rejects = pl.DataFrame(columns, schema_overrides=REJECT_SCHEMA).select(
            pl.col(name) if name in columns else pl.lit(None, dtype).alias(name)
            for name, dtype in REJECT_SCHEMA.items()
        )
        return cls(frame, pl.Series("row", rows, dtype=ROW_NUMBER), rejects, typed)
