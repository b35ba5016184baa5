"""Apache Parquet."""

from __future__ import annotations

import io
from collections.abc import Iterable

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.decoders.decoded import Decoded, Limits
from schemas.errors import BodyTooLargeError, MalformedBodyError

_VALUE_BYTES = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 16}
"""What a value takes in memory; those of texts are beside it, and share what the file says once."""


def decode_parquet(body: bytes, limits: Limits) -> Decoded:
    """Decode a Parquet file. Its own size figures are checked before anything is decompressed.

    Raises:
        MalformedBodyError: not a Parquet file.
        BodyTooLargeError: more rows, fields, uncompressed bytes or bytes in memory than the limits.
    """
    try:
        file = pq.ParquetFile(io.BytesIO(body))
        _check(file, limits)
    except (pa.ArrowException, OSError) as error:
        raise MalformedBodyError(f"the body is not a Parquet file: {error}") from None
    try:
        return Decoded.whole(pl.read_parquet(body, n_rows=limits.rows + 1))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise MalformedBodyError(f"the Parquet file cannot be read: {error}") from None


def _check(file: pq.ParquetFile, limits: Limits) -> None:
    meta = file.metadata
    size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
    if meta.num_rows > limits.rows or meta.num_columns > limits.fields or size > limits.body_bytes:
        raise BodyTooLargeError(
            f"{meta.num_rows} rows, {meta.num_columns} fields, {size} bytes after decompression; "
            f"the limits are {limits.rows}, {limits.fields}, {limits.body_bytes}"
        )
    limits.check_memory(sum(_bytes_in_memory(meta, n) for n in range(meta.num_columns)))
    chunks = [meta.row_group(i).column(n) for i in range(meta.num_row_groups) for n in range(meta.num_columns)]
    shortened = {chunk.path_in_schema for chunk in chunks if "DELTA_BYTE_ARRAY" in chunk.encodings}
    if shortened:
        _check_texts(file.iter_batches(max(1, limits.memory_bytes // max(size, 1)), columns=list(shortened)), limits)


def _bytes_in_memory(meta: pq.FileMetaData, n: int) -> int:
    """Of all values of a column, also those that repeat and take next to nothing in the file."""
    values = sum(meta.row_group(i).column(n).num_values for i in range(meta.num_row_groups))
    column = meta.schema.column(n)
    return int(values * _VALUE_BYTES.get(column.physical_type, max(16, column.length)))


def _check_texts(batches: Iterable[pa.RecordBatch], limits: Limits) -> None:
    """Refuse texts that take too much where each says only how it differs from the one before.

    None is longer than the file: read so many at a time as take no more than all values may.
    """
    size = 0
    for batch in batches:
        size += batch.nbytes
        limits.check_memory(size)
