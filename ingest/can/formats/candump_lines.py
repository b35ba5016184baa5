"""Lines of candump by regular expression: remote and error frames, dates, binary and swapped data."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest.can.formats.matching import Channels, frames_of, ids_of, matched, microseconds, some_text_of
from ingest.can.formats.text import Lines, Offsets
from ingest.can.frames import Frames

EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001  (local dates have no zone)

_TIME = r"^\s*\((?P<time>\d{1,12}(?:\.\d{1,9})?|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{1,9})\)\s+(?P<channel>\S{1,15})\s+"
_ID = r"(?P<id>[0-7][0-9A-Fa-f]{2}|[0-9A-Fa-f]{8})"
_FILE = (
    _TIME + _ID + r"#(?:(?P<fd>#)[0-9A-Fa-f])?"
    r"(?P<data>[Rr][0-9A-Fa-f]?|(?:[0-9A-Fa-f]{2}\.?)*)(?:_[0-9A-Fa-f])?(?:\s+[RT])?\s*$"
)
_CONSOLE = (
    _TIME + r"(?:[RT]X\s+[-B]\s+[-E]\s+)?" + _ID + r"\s+(?:\[(?P<length>\d{1,2})\]|\{[0-9A-F]\})"
    r"(?P<data>(?:\s+[0-9A-Fa-f]{2})*|(?:\s+[01]{8})+|\s+[0-9A-Fa-f]{2}(?:`[0-9A-Fa-f]{2})+|\s+remote request|"
    r".*ERRORFRAME.*)(?:\s+'.*)?\s*$"
)
_PARTS = ("n", "time", "channel", "id", "data")


@dataclass(frozen=True, slots=True)
class Irregular:
    """Frames and the lines they stand in; `used` says which of the lines were understood, frames or not."""

    parts: list[tuple[Offsets, Frames]]
    remote: int
    error: int
    used: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))


def irregular(lines: Lines, at: Offsets, channels: Channels, *, dated: bool) -> Irregular:
    """The frames of these lines. Times are dates (since EPOCH, in a zone nobody told) if `dated`, else seconds."""
    text = some_text_of(lines, at)
    found = _found(text)
    found = found.filter(pl.col("time").is_not_null() & (pl.col("dated") == dated))
    is_error = found["data"].str.contains("ERROR") | ((found["raw_id"] & 0x20000000) != 0)
    is_remote = found["data"].str.contains(r"^[Rr]|remote") & ~is_error
    data = found.filter(~is_remote & ~is_error)
    data = _with_hex(data)
    used = np.zeros(len(at), np.bool_)
    used[data["n"].to_numpy()] = True
    used[found.filter(is_remote | is_error)["n"].to_numpy()] = True
    names = channels.number(data["channel"])
    frames = frames_of(
        data["time"].to_numpy(), ids_of(data["raw_id"], data["id"].str.len_bytes() == 8), names, data["data"],
        data["data"].str.len_bytes() // 2, channels.names,
    )  # fmt: skip
    return Irregular([(at[data["n"].to_numpy()], frames)], int(is_remote.sum()), int(is_error.sum()), used)


def _found(text: pl.Series) -> pl.DataFrame:
    file, console = matched(text, _FILE), matched(text, _CONSOLE)
    found = pl.concat(
        [
            file.select(*_PARTS, "fd", length=pl.lit(None, pl.String)),
            console.select(*_PARTS, "length", fd=pl.lit(None, pl.String)).select(*_PARTS, "fd", "length"),
        ]
    ).sort("n")
    time = pl.col("time")
    date = time.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False).dt.epoch("us")
    dated = time.str.contains("-", literal=True)
    found = found.with_columns(
        pl.col("id").str.to_integer(base=16, dtype=pl.UInt32, strict=False).alias("raw_id"),
        dated.alias("dated"),
        pl.when(dated).then(date).otherwise(microseconds(time)).alias("time"),
    )
    return found.filter((pl.col("raw_id") & 0x40000000) == 0)


def _with_hex(data: pl.DataFrame) -> pl.DataFrame:
    """Data as pairs of hex digits in the order of the bytes; lines of a wrong length are left out."""
    written = pl.col("data").str.strip_chars()
    swapped = written.str.split("`").list.reverse().list.join("")
    binary = written.str.contains(r"^[01]{8}(?:\s|$)")
    plain = written.str.replace_all(r"[^0-9A-Fa-f]", "")
    data = data.with_columns(
        pl.when(written.str.contains("`", literal=True)).then(swapped).otherwise(plain).alias("data"),
        binary.alias("binary") & pl.col("length").is_not_null(),
    )
    if data["binary"].any():
        hexed = [
            f"{int(bits, 2):0{len(bits) // 4}x}" if is_binary else bits
            for bits, is_binary in zip(data["data"], data["binary"], strict=True)
        ]
        data = data.with_columns(pl.Series("data", hexed, dtype=pl.String))
    size, told = pl.col("data").str.len_bytes(), pl.col("length").cast(pl.UInt32)
    most = pl.when(pl.col("fd").is_null() & told.is_null()).then(16).otherwise(128)
    return data.filter((size % 2 == 0) & (size <= most) & (told.is_null() | (told * 2 == size)))
