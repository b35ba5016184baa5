"""Uploads: bytes with what the receiver must know about them, and frames written as such bytes."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl
import zstandard

CSV, NDJSON, JSON = "text/csv", "application/x-ndjson", "application/json"
PARQUET, ARROW_STREAM = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"
TELEMETRY = "/v1/telemetry"
RFC_3339_MILLIS = "%Y-%m-%dT%H:%M:%S%.3fZ"
ZSTD_LEVEL, GZIP_LEVEL = 3, 6


@dataclass(frozen=True, slots=True)
class Upload:
    """One body to post to `path` of the receiver.

    `encoding` is the Content-Encoding (gzip, zstd) or null. `query` becomes the query string (vehicle, tz). `rows` is
    for progress only. `label` names the upload to people; `gateway` is the sender, where several share a client.
    """

    body: bytes
    content_type: str
    encoding: str | None
    rows: int
    label: str
    query: Mapping[str, str] = field(default_factory=dict)
    gateway: str | None = None
    path: str = TELEMETRY


def zstd(body: bytes) -> bytes:
    """Compress; the frame tells its decompressed size."""
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(body)


def parquet(frame: pl.DataFrame, label: str, gateway: str | None = None) -> Upload:
    """A frame as Parquet; the columns inside are compressed with zstd already."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=ZSTD_LEVEL, statistics=False)
    return Upload(buffer.getvalue(), PARQUET, None, frame.height, label, gateway=gateway)


def arrow_stream(frame: pl.DataFrame, label: str, gateway: str | None = None) -> Upload:
    """A frame as an Arrow stream, compressed with zstd as a whole."""
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, compat_level=pl.CompatLevel.oldest())
    return Upload(zstd(buffer.getvalue()), ARROW_STREAM, "zstd", frame.height, label, gateway=gateway)


def ndjson_gzip(frame: pl.DataFrame, label: str, gateway: str | None = None) -> Upload:
    """A frame as one JSON object a line, gzip. The archive's own time is left out: equal rows give equal bytes."""
    body = _with_text_time(frame).write_ndjson().encode()
    return Upload(gzip.compress(body, GZIP_LEVEL, mtime=0), NDJSON, "gzip", frame.height, label, gateway=gateway)


def csv_zstd(frame: pl.DataFrame, label: str, gateway: str | None = None) -> Upload:
    """A frame as CSV with a header, compressed with zstd; null is an empty field."""
    body = _with_text_time(frame).write_csv().encode()
    return Upload(zstd(body), CSV, "zstd", frame.height, label, gateway=gateway)


def _with_text_time(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("time").dt.strftime(RFC_3339_MILLIS))
