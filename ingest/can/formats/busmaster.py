"""BUSMASTER logs: a heading with the date, then lines in time of day, since the start, or since the line before."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import polars as pl

from ingest.can.formats.log import BLOCK_BYTES, Block, Clock, Header, Log
from ingest.can.formats.matching import Channels, block_of, frames_of, ids_of, matched, reject_rest, text_of
from ingest.can.formats.text import Lines, Rejects, lines_of
from ingest.can.frames import MAX_BYTES, Times

DAY_US = 86_400_000_000
_STARTED = re.compile(rb"\*\*\*START DATE AND TIME (\d+):(\d+):(\d+) (\d+):(\d+):(\d+):(\d+)\*\*\*")
_LINE = (
    r"^\s*(?P<h>\d{1,5}):(?P<m>\d{1,2}):(?P<s>\d{1,2}):(?P<tick>\d{1,4})\s+(?:Rx|Tx)\s+(?P<channel>\d{1,3})\s+"
    r"(?:0x)?(?P<id>[0-9A-Fa-f]{1,10})\s+(?P<kind>s|x|sr|xr)\s+(?P<length>\d{1,2})(?P<data>(?:\s+[0-9A-Fa-f]{1,3})*)\s*$"
)
_IGNORED = r"^\s*\*\*\*"


def recognises(head: bytes) -> bool:
    """Whether a file that begins like this has BUSMASTER's heading."""
    return b"***BUSMASTER" in head


def read(file: BinaryIO) -> Log:
    """Open a log."""
    head = file.read(64 * 2**10)
    file.seek(0)
    found = _STARTED.search(head)
    start = _date([int(part) for part in found.groups()]) if found else None
    reader = _Reader(base=16 if b"***DEC***" not in head else 10, mode=_mode(head), start=start)
    return Log(Header(Clock.LOCAL if start else Clock.RELATIVE, start), reader.blocks(file))


def _date(parts: list[int]) -> dt.datetime | None:
    day, month, year, hour, minute, second, milli = parts
    try:
        return dt.datetime(year, month, day, hour, minute, second, milli * 1000)  # noqa: DTZ001  (has no zone)
    except ValueError:
        return None


def _mode(head: bytes) -> str:
    modes = {b"***ABSOLUTE MODE***": "absolute", b"***RELATIVE MODE***": "relative"}
    return next((mode for mark, mode in modes.items() if mark in head), "system")


@dataclass(slots=True)
class _Reader:
    base: int
    mode: str
    start: dt.datetime | None
    channels: Channels = field(default_factory=Channels)
    rejects: Rejects = field(default_factory=Rejects)
    _last_us: int = 0
    _days: int = 0

    def blocks(self, file: BinaryIO) -> Iterator[Block]:
        for lines in lines_of(file, BLOCK_BYTES // 2):
            yield self._block(lines)

    def _block(self, lines: Lines) -> Block:
        text = text_of(lines)
        seconds = (pl.col("h").cast(pl.Int64) * 60 + pl.col("m").cast(pl.Int64)) * 60 + pl.col("s").cast(pl.Int64)
        found = matched(text, _LINE).with_columns(
            (seconds * 1_000_000 + _tick_us()).alias("time"),
            pl.col("id").str.to_integer(base=self.base, dtype=pl.UInt32, strict=False),
            pl.col("length").cast(pl.UInt32),
            pl.col("data").str.strip_chars().alias("data"),
        )
        found = found.filter(pl.col("id").is_not_null())
        time_us = self._times(found["time"].to_numpy())
        data = found.with_columns(time=time_us).filter(~pl.col("kind").str.ends_with("r"))
        data = data.with_columns(_as_hex(data["data"], self.base))
        data = data.filter((pl.col("data").str.len_bytes() >= 2 * pl.col("length")) & (pl.col("length") <= MAX_BYTES))
        remote = found["kind"].str.ends_with("r")
        reject_rest(lines, text, pl.concat([data["n"], found["n"].filter(remote)]), _IGNORED, self.rejects)
        frames = frames_of(
            data["time"].to_numpy(), ids_of(data["id"], data["kind"] == "x"), self.channels.number(data["channel"]),
            data["data"], data["length"], self.channels.names,
        )  # fmt: skip
        return block_of(frames, self.rejects, remote=int(remote.sum()))

    def _times(self, times: Times) -> Times:
        """Microseconds since the start."""
        if not len(times) or self.mode == "absolute":
            return times
        if self.mode == "relative":
            times = self._last_us + np.cumsum(times)
            self._last_us = int(times[-1])
            return times
        # Time of day: midnight is where it falls by more than half a day.
        before = np.concatenate(([self._last_us or times[0]], times[:-1]))
        days = self._days + np.cumsum(times < before - DAY_US // 2)
        self._last_us, self._days = int(times[-1]), int(days[-1])
        began = self.start
        of_day = 0 if began is None else (((began.hour * 60 + began.minute) * 60 + began.second) * 1_000_000
                                         + began.microsecond)  # fmt: skip
        since: Times = times + days * DAY_US - of_day
        return since


def _tick_us() -> pl.Expr:
    """Four digits count 100 microseconds; fewer are whole milliseconds, as other writers of the format have them."""
    tick = pl.col("tick").cast(pl.Int64)
    return pl.when(pl.col("tick").str.len_bytes() == 4).then(tick * 100).otherwise(tick * 1000)


def _as_hex(data: pl.Series, base: int) -> pl.Series:
    """Bytes as pairs of hex digits without separators."""
    if base == 16:
        padded = data.str.replace_all(r"\b([0-9A-Fa-f])\b", "0$1")
        return padded.str.replace_all(r"\s+", "").alias("data")
    numbers = data.str.split(" ").list.eval(pl.element().filter(pl.element() != "").cast(pl.UInt16, strict=False))
    fits = numbers.list.max().fill_null(0) <= 0xFF
    texts = ["".join(f"{n or 0:02x}" for n in row) if fit else "" for row, fit in zip(numbers, fits, strict=True)]
    return pl.Series("data", texts, dtype=pl.String)
