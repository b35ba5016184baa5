"""Raw CAN logs as uploads. What a file is, its content decides: `.csv` may be a log, and `.log` rows."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path

import zstandard

from ingest.can.formats import HEAD_BYTES, recognise
from ingest.gateway.bodies import Upload
from ingest.gateway.parts import LargeLog
from schemas.errors import UnknownFormatError

CAN_LOGS = "/v1/can-logs"
OCTETS = "application/octet-stream"
WHOLE_BYTES = 32 * 2**20
GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def is_log(file: Path) -> bool:
    """Whether a file is a raw CAN log, as it lies or inside gzip or zstd."""
    try:
        recognise(_head(file))
    except UnknownFormatError:
        return False
    return True


def _head(file: Path) -> bytes:
    with file.open("rb") as stored:
        magic = stored.read(len(ZSTD_MAGIC))
        stored.seek(0)
        try:
            if magic.startswith(GZIP_MAGIC):
                return gzip.GzipFile(fileobj=stored).read(HEAD_BYTES)
            if magic == ZSTD_MAGIC:
                return zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True).read(HEAD_BYTES)
        except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError):
            return b""
        return stored.read(HEAD_BYTES)


def log_upload(file: Path, query: Mapping[str, str]) -> Upload | LargeLog:
    """A log as it lies, in one piece if it is small. `query` says what it is (vehicle, channel, start, tz)."""
    if file.stat().st_size > WHOLE_BYTES:
        return LargeLog(file, file.name, query)
    return Upload(file.read_bytes(), OCTETS, None, 0, file.name, query, path=CAN_LOGS)
