"""Record batches as streams of bytes, one batch in memory at a time."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

Batches = Iterator[pa.RecordBatch]
_RFC3339 = "%Y-%m-%dT%H:%M:%S%.6fZ"


@dataclass(frozen=True, slots=True)
class Format:
    """How batches are written: a media type, a file ending, and a function of (schema, batches) to pieces of bytes."""

    media_type: str
    ending: str
    write: Callable[[pa.Schema, Batches], Iterator[bytes]]


def _csv(schema: pa.Schema, batches: Batches) -> Iterator[bytes]:
    yield (",".join(schema.names) + "\n").encode()
    for batch in batches:
        yield _text(batch).write_csv(include_header=False).encode()


def _ndjson(_: pa.Schema, batches: Batches) -> Iterator[bytes]:
    for batch in batches:
        yield _text(batch).write_ndjson().encode()


def _json(schema: pa.Schema, batches: Batches) -> Iterator[bytes]:
    opening = b"["
    for piece in _ndjson(schema, batches):
        if piece:
            yield opening + piece.rstrip(b"\n").replace(b"\n", b",\n")
            opening = b",\n"
    yield b"[]\n" if opening == b"[" else b"]\n"


def _arrow(schema: pa.Schema, batches: Batches) -> Iterator[bytes]:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield _taken(sink)
    yield _taken(sink)


def _parquet(schema: pa.Schema, batches: Batches) -> Iterator[bytes]:
    sink = _Pieces()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield sink.taken()
    yield sink.taken()


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "json": Format("application/json", "json", _json),
        "ndjson": Format("application/x-ndjson", "ndjson", _ndjson),
        "csv": Format("text/csv; charset=utf-8", "csv", _csv),
        "parquet": Format("application/vnd.apache.parquet", "parquet", _parquet),
        "arrow": Format("application/vnd.apache.arrow.stream", "arrow", _arrow),
    }
)


class _Pieces(io.RawIOBase):
    """A sink for a writer that counts on its position growing, while what was written is taken away."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, piece: bytes, /) -> int:  # type: ignore[override]
        self._pieces.append(bytes(piece))
        self._position += len(piece)
        return len(piece)

    def taken(self) -> bytes:
        pieces, self._pieces = b"".join(self._pieces), []
        return pieces


def _taken(sink: io.BytesIO) -> bytes:
    piece = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return piece


def _text(batch: pa.RecordBatch) -> pl.DataFrame:
    frame = pl.DataFrame(batch)
    return frame.with_columns(pl.col("time").dt.strftime(_RFC3339))
