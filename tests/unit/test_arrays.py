"""Columns become PostgreSQL's binary COPY, the same bytes that an encoder of others makes row by row."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pgpq
import polars as pl
import pytest

from ingest.arrays import PART_BYTES, encode
from schemas.frames import UTC_TIME

RANDOM = np.random.default_rng(7)


def frame(height: int) -> pl.DataFrame:
    """Every type with a fixed size; times on both sides of PostgreSQL's year 2000."""
    epoch, us = dt.datetime(2000, 1, 1, tzinfo=dt.UTC), RANDOM.integers(-(2**50), 2**50, height).tolist()
    return pl.DataFrame(
        {
            "vehicle_id": pl.Series(RANDOM.integers(-(2**31), 2**31, height), dtype=pl.Int32),
            "time": pl.Series([epoch + dt.timedelta(microseconds=n) for n in us], dtype=UTC_TIME),
            "number": pl.Series(RANDOM.normal(size=height), dtype=pl.Float64),
            "count": pl.Series(RANDOM.integers(-(2**63), 2**63 - 1, height), dtype=pl.Int64),
            "small": pl.Series(RANDOM.integers(-(2**15), 2**15, height), dtype=pl.Int16),
            "flag": pl.Series(RANDOM.random(height) > 0.5, dtype=pl.Boolean),
        }
    )


def row_by_row(rows: pl.DataFrame) -> bytes:
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    encoder = pgpq.ArrowToPostgresBinaryEncoder(table.schema)
    return b"".join([encoder.write_header(), *map(encoder.write_batch, table.to_batches()), encoder.finish()])


A_PART = PART_BYTES // (2 + 6 * 4 + 4 + 8 + 8 + 8 + 2 + 1)


@pytest.mark.parametrize("height", [0, 1, A_PART - 1, A_PART, A_PART + 1, 3 * A_PART])
def test_full_columns(height: int) -> None:
    rows = frame(height)
    parts = list(encode(rows))
    assert b"".join(parts) == row_by_row(rows)
    assert max(map(len, parts)) <= PART_BYTES


@pytest.mark.parametrize("name", ["time", "number", "count", "flag"])
def test_a_column_with_gaps(name: str) -> None:
    gaps = pl.Series(RANDOM.random(500) > 0.5)
    rows = frame(500).with_columns(pl.when(gaps).then(pl.col(name)).alias(name))
    assert b"".join(encode(rows)) == row_by_row(rows)


def test_words_among_numbers() -> None:
    rows = frame(3).with_columns(word=pl.Series(["", "Zürich", "x" * 300]))
    assert b"".join(encode(rows)) == row_by_row(rows)
