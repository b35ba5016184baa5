"""Files as uploads: sent as they are where they are small, cut into bounded uploads where they are not.

A cut changes no row: text is cut between records (quoted line breaks included) and keeps its header, Parquet and Arrow
are sliced. `.gz` and `.zst` around any of them are taken off or passed on as Content-Encoding.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import polars as pl
import zstandard
from polars.exceptions import PolarsError

from ingest.gateway.bodies import ARROW_STREAM, CSV, JSON, NDJSON, PARQUET, Upload, arrow_stream, parquet, zstd
from ingest.gateway.column_map import ColumnMap, map_columns
from schemas.errors import MalformedBodyError, UnknownFormatError
from schemas.wire import Reject

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_ROWS = 50_000
MAX_TEXT_BYTES = 32 * 1024 * 1024
CONTENT_TYPES: Mapping[str, str] = {
    ".csv": CSV, ".ndjson": NDJSON, ".jsonl": NDJSON, ".json": JSON, ".parquet": PARQUET, ".arrow": ARROW_STREAM,
    ".arrows": ARROW_STREAM,
}  # fmt: skip
ENCODINGS: Mapping[str, str] = {".gz": "gzip", ".zst": "zstd"}
READ_BYTES = 2**14
ARROW_FILE_MAGIC = b"ARROW1"


class _Zstd(io.RawIOBase):
    """Frames decompressed one after another. A file that ends within a frame raises EOFError, as gzip's does."""

    def __init__(self, stored: BinaryIO) -> None:
        self._stored = stored
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._left, self._plain = b"", memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        into = memoryview(buffer)
        while not self._plain and self._more():
            pass
        size = min(len(into), len(self._plain))
        into[:size] = self._plain[:size]
        self._plain = self._plain[size:]
        return size

    def _more(self) -> bool:
        """Decompress the next piece; false at the end."""
        piece = self._left or self._stored.read(READ_BYTES)
        if not piece:
            if self._frame is not None:
                raise EOFError("the archive is cut short")
            return False
        self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
        self._plain = memoryview(self._frame.decompress(piece))
        self._left = self._frame.unused_data if self._frame.eof else b""
        self._frame = None if self._frame.eof else self._frame
        return True

    def close(self) -> None:
        self._stored.close()
        super().close()


@dataclass(frozen=True, slots=True)
class Source:
    """A file to push. `query` goes with each of its uploads (vehicle, tz)."""

    path: Path
    content_type: str
    encoding: str | None
    query: Mapping[str, str]

    def stored(self) -> bytes:
        """The bytes as they lie on disk."""
        return self.path.read_bytes()

    def plain(self) -> io.BufferedIOBase:
        """The bytes without .gz or .zst around them, as a stream."""
        if self.encoding == "gzip":
            return gzip.open(self.path, "rb")
        if self.encoding == "zstd":
            return io.BufferedReader(_Zstd(self.path.open("rb")))
        return self.path.open("rb")

    def label(self, part: int | None) -> str:
        """The file's name, with the number of the part where there are several."""
        return self.path.name if part is None else f"{self.path.name} part {part}"

    def upload(self, body: bytes, encoding: str | None, rows: int, part: int | None) -> Upload:
        """An upload of this file."""
        return Upload(body, self.content_type, encoding, rows, self.label(part), self.query)

    def whole(self, rows: int) -> Upload:
        """The file as it is, compressed on the way if it is not yet."""
        body = self.stored()
        if self.encoding is not None or self.content_type == PARQUET:
            return self.upload(body, self.encoding, rows, None)
        return self.upload(zstd(body), "zstd", rows, None)


@dataclass(slots=True)
class FileUploads:
    """The uploads of one file, made as they are taken. `rejects` are rows and fields that a column map set aside."""

    uploads: Iterator[Upload]
    rejects: list[Reject] = field(default_factory=list)


def file_uploads(
    path: Path, *, vehicle: str | None = None, columns: ColumnMap | None = None, tz: str | None = None,
    max_rows: int = MAX_ROWS,
) -> FileUploads:  # fmt: skip
    """Turn a file into uploads of at most `max_rows` rows.

    Raises:
        UnknownFormatError: the name ends in nothing known.
        MalformedBodyError: the file is not what its name says.
    """
    source = _source(path, vehicle, tz)
    if columns is not None:
        if source.content_type != CSV:
            raise UnknownFormatError(f"{path.name}: a column map is for CSV files.")
        with _readable(path), source.plain() as stream:
            mapped = map_columns(stream.read(), columns)
        pieces = enumerate(mapped.frame.iter_slices(max_rows), start=1)
        return FileUploads((parquet(piece, source.label(n)) for n, piece in pieces if piece.height), mapped.rejects)
    return FileUploads(_cut(source, max_rows))


def _cut(source: Source, max_rows: int) -> Iterator[Upload]:
    with _readable(source.path):
        yield from _CUTTERS[source.content_type](source, max_rows)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say of a file that is cut short, or not what its name says, that it is malformed."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError, RecursionError) as error:
        raise MalformedBodyError(f"{path.name}: cannot be read as its name says: {error}") from None


def _source(path: Path, vehicle: str | None, tz: str | None) -> Source:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    encoding = ENCODINGS.get(suffixes.pop()) if suffixes and suffixes[-1] in ENCODINGS else None
    content_type = CONTENT_TYPES.get(suffixes[-1]) if suffixes else None
    if content_type is None:
        known = ", ".join(CONTENT_TYPES)
        raise UnknownFormatError(
            f"{path.name}: the name must end in one of {known}, with or without .gz or .zst,"
            " or the content be a raw CAN log."
        )
    query = {name: value for name, value in (("vehicle", vehicle), ("tz", tz)) if value is not None}
    return Source(path, content_type, encoding, query)


def _cut_csv(source: Source, max_rows: int) -> Iterator[Upload]:
    with source.plain() as stream:
        records = _records(stream)
        header = next(records, b"")
        yield from _cut_text(source, records, header, max_rows)


def _cut_ndjson(source: Source, max_rows: int) -> Iterator[Upload]:
    with source.plain() as stream:
        yield from _cut_text(source, (line for line in stream if line.strip()), b"", max_rows)


def _cut_text(source: Source, records: Iterator[bytes], header: bytes, max_rows: int) -> Iterator[Upload]:
    groups = _groups(records, max_rows)
    first, second = next(groups, None), next(groups, None)
    if first is None or second is None:
        yield source.whole(len(first or ()))
        return
    for part, group in enumerate(chain((first, second), groups), start=1):
        yield source.upload(zstd(header + b"".join(group)), "zstd", len(group), part)


def _records(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """CSV records: lines, joined while a quote is open."""
    record = b""
    for line in stream:
        record += line
        if record.count(b'"') % 2 == 0:
            yield record
            record = b""
    if record:
        yield record


def _groups(records: Iterator[bytes], max_rows: int) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size = 0
    for record in records:
        group.append(record)
        size += len(record)
        if len(group) == max_rows or size >= MAX_TEXT_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _cut_json(source: Source, max_rows: int) -> Iterator[Upload]:
    with source.plain() as stream:
        try:
            read = json.load(stream)
        except ValueError as error:
            raise MalformedBodyError(f"{source.path.name}: is not JSON: {error}") from None
    rows = read.get("rows") if isinstance(read, dict) else read
    if not isinstance(rows, list):
        raise MalformedBodyError(f"{source.path.name}: must be an array of rows, or an object with rows in it.")
    if len(rows) <= max_rows:
        yield source.whole(len(rows))
        return
    for part, start in enumerate(range(0, len(rows), max_rows), start=1):
        piece = rows[start : start + max_rows]
        yield source.upload(zstd(json.dumps(piece).encode()), "zstd", len(piece), part)


def _cut_parquet(source: Source, max_rows: int) -> Iterator[Upload]:
    yield from _cut_frame(source, _frame(source, pl.read_parquet), parquet, max_rows)


def _cut_arrow(source: Source, max_rows: int) -> Iterator[Upload]:
    with source.plain() as stream:
        is_file = stream.read(len(ARROW_FILE_MAGIC)) == ARROW_FILE_MAGIC
    if not is_file:
        yield from _cut_frame(source, _frame(source, pl.read_ipc_stream), arrow_stream, max_rows)
        return
    for part, piece in enumerate(_frame(source, pl.read_ipc).iter_slices(max_rows), start=1):
        yield _with_query(arrow_stream(piece, source.label(part)), source)


def _frame(source: Source, read: Callable[[io.BytesIO], pl.DataFrame]) -> pl.DataFrame:
    with source.plain() as stream:
        body = io.BytesIO(stream.read())
    try:
        return read(body)
    except PolarsError as error:
        raise MalformedBodyError(f"{source.path.name}: cannot be read as its name says: {error}") from None


def _cut_frame(
    source: Source, frame: pl.DataFrame, write: Callable[[pl.DataFrame, str], Upload], max_rows: int
) -> Iterator[Upload]:
    if frame.height <= max_rows:
        yield source.whole(frame.height)
        return
    for part, piece in enumerate(frame.iter_slices(max_rows), start=1):
        yield _with_query(write(piece, source.label(part)), source)


def _with_query(upload: Upload, source: Source) -> Upload:
    return Upload(upload.body, upload.content_type, upload.encoding, upload.rows, upload.label, source.query)


_CUTTERS: Mapping[str, Callable[[Source, int], Iterator[Upload]]] = {
    CSV: _cut_csv,
    NDJSON: _cut_ndjson,
    JSON: _cut_json,
    PARQUET: _cut_parquet,
    ARROW_STREAM: _cut_arrow,
}
