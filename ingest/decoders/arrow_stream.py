"""Apache Arrow IPC stream."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from ingest.decoders.decoded import Decoded, Limits
from schemas.errors import BodyTooLargeError, MalformedBodyError

# Numbers of fields in the tables of a message, by Arrow's Message.fbs.
_HEADER = 2
_TO_BATCH = {"record batch": (_HEADER,), "dictionary": (_HEADER, 1)}
_BUFFERS, _COMPRESSION = 2, 3


def decode_arrow_stream(body: bytes, limits: Limits) -> Decoded:
    """Decode an Arrow stream. What its buffers say of their own size is checked before any is decompressed.

    Raises:
        MalformedBodyError: not an Arrow stream.
        BodyTooLargeError: more rows, fields or uncompressed bytes than the limits.
    """
    try:
        _check_buffers(body, limits)
        batches, schema = _read(body, limits)
        table = pl.from_arrow(pa.Table.from_batches(batches, schema))
    except (pa.ArrowException, OSError, struct.error) as error:
        raise MalformedBodyError(f"the body is not an Arrow stream: {error}") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise MalformedBodyError(f"the Arrow stream holds types that are not read: {error}") from None
    if not isinstance(table, pl.DataFrame):
        raise MalformedBodyError("the Arrow stream holds no table")
    return Decoded.whole(table)


def _check_buffers(body: bytes, limits: Limits) -> None:
    size = 0
    for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(body)):
        if message.type in _TO_BATCH:
            size += sum(_buffer_sizes(message))
        if size > limits.body_bytes:
            raise _too_large(limits)


def _buffer_sizes(message: pa.ipc.Message) -> Iterator[int]:
    """A compressed buffer begins with its size before that, or with -1 where it is as it was."""
    batch = _Table.root(message.metadata.to_pybytes())
    for field in _TO_BATCH[message.type]:
        batch = batch.child(field)
    compressed = batch.place(_COMPRESSION) is not None
    for offset, length in batch.pairs(_BUFFERS):
        told = struct.unpack_from("<q", message.body, offset)[0] if compressed and length else -1
        yield told if told >= 0 else length


@dataclass(frozen=True)
class _Table:
    """A table of a flatbuffer: what is needed to find the buffers of a batch without reading them."""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, *struct.unpack_from("<I", data))

    def place(self, field: int) -> int | None:
        """Where a field's value is; None without it."""
        fields = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        (size,) = struct.unpack_from("<H", self.data, fields)
        at = 4 + 2 * field
        offset = struct.unpack_from("<H", self.data, fields + at)[0] if at < size else 0
        return self.at + offset if offset else None

    def child(self, field: int) -> _Table:
        place = self.place(field)
        if place is None:
            raise pa.ArrowInvalid("a message lacks its batch")
        return _Table(self.data, place + struct.unpack_from("<I", self.data, place)[0])

    def pairs(self, field: int) -> Iterator[tuple[int, int]]:
        """The pairs of numbers that a field lists."""
        if self.place(field) is None:
            return iter(())
        start = self.child(field).at
        (count,) = struct.unpack_from("<I", self.data, start)
        return struct.iter_unpack("<qq", self.data[start + 4 : start + 4 + 16 * count])


def _read(body: bytes, limits: Limits) -> tuple[list[pa.RecordBatch], pa.Schema]:
    batches, rows = [], 0
    with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
        if len(reader.schema) > limits.fields:
            raise limits.too_many_fields()
        for batch in reader:
            batch.validate(full=True)
            rows += batch.num_rows
            if rows > limits.rows:
                raise _too_large(limits)
            batches.append(batch)
        return batches, reader.schema


def _too_large(limits: Limits) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"more than {limits.rows} rows or {limits.body_bytes} bytes after decompression in one upload"
    )
