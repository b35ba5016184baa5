"""Apache Arrow IPC stream."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from ingest.decoders.decoded import Decoded, Limits
from schemas.errors import BodyTooLargeError, MalformedBodyError


def decode_arrow_stream(body: bytes, limits: Limits) -> Decoded:
    """Decode an Arrow stream, batch by batch, so that compressed buffers cannot grow past the limit unseen.

    Raises:
        MalformedBodyError: not an Arrow stream.
        BodyTooLargeError: more rows, fields or uncompressed bytes than the limits.
    """
    try:
        batches, schema = _read(body, limits)
        table = pl.from_arrow(pa.Table.from_batches(batches, schema))
    except (pa.ArrowException, OSError) as error:
        raise MalformedBodyError(f"the body is not an Arrow stream: {error}") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise MalformedBodyError(f"the Arrow stream holds types that are not read: {error}") from None
    if not isinstance(table, pl.DataFrame):
        raise MalformedBodyError("the Arrow stream holds no table")
    return Decoded.whole(table)


def _read(body: bytes, limits: Limits) -> tuple[list[pa.RecordBatch], pa.Schema]:
    batches, rows, size = [], 0, 0
    with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
        for batch in reader:
            batch.validate(full=True)
            rows += batch.num_rows
            size += batch.nbytes
            if rows > limits.rows or size > limits.body_bytes:
                raise BodyTooLargeError(
                    f"more than {limits.rows} rows or {limits.body_bytes} bytes after decompression in one upload"
                )
            batches.append(batch)
        return batches, reader.schema
