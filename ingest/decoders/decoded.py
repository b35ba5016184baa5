"""What a decoder returns."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import polars as pl

from schemas.errors import BodyTooLargeError
from schemas.frames import NO_REJECTS, REJECT_SCHEMA, ROW_NUMBER

MIXED = pl.Struct({"number": pl.Float64, "boolean": pl.Boolean, "text": pl.String, "nested": pl.String})
"""The type of a JSON column whose values are of several types; at most one part of a value is not null."""


MEMORY_FACTOR = 4
"""How many times as much as the largest body values may take in memory: by default 67 numbers in 500,000 rows each."""
MOST_ROW_BYTES = 2**20
"""Longer than any row that measures something; what reads JSON makes up to thirty times as much of it at once."""


@dataclass(frozen=True)
class Limits:
    """What one upload may hold, after decompression."""

    body_bytes: int
    rows: int
    fields: int

    @property
    def memory_bytes(self) -> int:
        """What its values may take in memory: missing ones take as much as others, and few bytes can say many."""
        return MEMORY_FACTOR * self.body_bytes

    def check(self, rows: int, types: Collection[pl.DataType]) -> None:
        """Refuse rows of these types before they are read.

        Raises:
            BodyTooLargeError: more rows, fields or bytes in memory than the limits.
        """
        if rows > self.rows:
            raise self.too_many_rows()
        if len(types) > self.fields:
            raise self.too_many_fields()
        self.check_memory(rows * sum(map(_value_bytes, types)))

    def check_memory(self, size: int) -> None:
        """Refuse values of this size, in bytes.

        Raises:
            BodyTooLargeError: it is more than the limit.
        """
        if size > self.memory_bytes:
            raise BodyTooLargeError(f"the values take {size} bytes in memory; the limit is {self.memory_bytes}")

    def has_long_line(self, body: bytes) -> bool:
        """Whether a line is longer than a row may be: each step goes on to the last line's end within reach."""
        start = 0
        while len(body) - start > self.row_bytes:
            end = body.rfind(b"\n", start, start + self.row_bytes + 1)
            if end < 0:
                return True
            start = end + 1
        return False

    @property
    def row_bytes(self) -> int:
        """How long a row of text may be: what is read again from what was stored may be as long as it is."""
        return max(MOST_ROW_BYTES, self.body_bytes // 64)

    def too_long_row(self) -> BodyTooLargeError:
        """A row is longer than it may be."""
        return BodyTooLargeError(f"a row of more than {self.row_bytes} bytes")

    def too_many_rows(self) -> BodyTooLargeError:
        """There are more rows than there may be."""
        return BodyTooLargeError(f"more than {self.rows} rows in one upload")

    def too_many_fields(self) -> BodyTooLargeError:
        """There are more fields than there may be."""
        return BodyTooLargeError(f"more than {self.fields} different fields in one upload")


def _value_bytes(dtype: pl.DataType) -> int:
    """A value's bytes in a column; those of a long text, or within a list, are at most the body's own."""
    return 8 if dtype.is_numeric() or dtype.is_temporal() or dtype in (pl.Boolean, pl.Null) else 16


@dataclass(frozen=True)
class Decoded:
    """A body's rows.

    `frame` has the columns as sent. `row` (UInt32) numbers its rows by their position in the upload, from 1: data rows
    of a CSV without its header, lines without blank ones, elements of an array. `rejects` are rows that could not be
    read. `typed` says whether the format tells numbers from text.
    """

    frame: pl.DataFrame
    row: pl.Series
    rejects: pl.DataFrame = field(default_factory=lambda: NO_REJECTS)
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
