"""Apache Parquet."""

from __future__ import annotations

import io

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.decoders.decoded import Decoded, Limits
from schemas.errors import BodyTooLargeError, MalformedBodyError


def decode_parquet(body: bytes, limits: Limits) -> Decoded:
    """Decode a Parquet file. Its own size figures are checked before anything is decompressed.

    Raises:
        MalformedBodyError: not a Parquet file.
        BodyTooLargeError: more rows, fields or uncompressed bytes than the limits.
    """
    try:
        meta = pq.ParquetFile(io.BytesIO(body)).metadata
    except (pa.ArrowException, OSError) as error:
        raise MalformedBodyError(f"the body is not a Parquet file: {error}") from None
    size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
    if meta.num_rows > limits.rows or meta.num_columns > limits.fields or size > limits.body_bytes:
        raise BodyTooLargeError(
            f"{meta.num_rows} rows, {meta.num_columns} fields, {size} bytes after decompression; "
            f"the limits are {limits.rows}, {limits.fields}, {limits.body_bytes}"
        )
    try:
        return Decoded.whole(pl.read_parquet(body, n_rows=limits.rows + 1))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise MalformedBodyError(f"the Parquet file cannot be read: {error}") from None
