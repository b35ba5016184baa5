"""Vector ASC."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import polars as pl

from ingest.can.formats.busmaster import _as_hex as as_hex
from ingest.can.formats.log import BLOCK_BYTES, Block, Clock, Header, Log
from ingest.can.formats.matching import (
    Channels,
    block_of,
    frames_of,
    ids_of,
    matched,
    microseconds,
    reject_rest,
    text_of,
)
from ingest.can.formats.text import Lines, Rejects, lines_of
from ingest.can.frames import MAX_BYTES, Times

_DATE = re.compile(
    rb"^date\s+\S+\s+(\S+)\s+(\d{1,2})\s+(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,6}))?\s*(am|pm|AM|PM)?\s+(\d{4})",
    re.MULTILINE,
)
_BASE = re.compile(rb"^\s*base\s+(hex|dec)\s+timestamps\s+(absolute|relative)", re.MULTILINE)
_MONTH_NAMES = "jan feb mar,mär,mrz apr may,mai jun jul aug sep oct,okt nov dec,dez"
_MONTHS = {name: n for n, names in enumerate(_MONTH_NAMES.split(), start=1) for name in names.split(",")}
_TIME = r"^\s*(?P<time>\d{1,10}\.\d{1,9})\s+"
_CLASSIC = (
    _TIME + r"(?P<channel>\d{1,3})\s+(?P<id>[0-9A-Fa-f]{1,10})(?P<extended>x?)\s+(?:Rx|Tx|TxRq)\s+"
    r"(?P<kind>[dr])(?:\s+(?P<length>[0-9A-Fa-f]{1,2}))?(?P<data>(?:\s+[0-9A-Fa-f]{1,3}\b)*)(?:\s+[^0-9A-Fa-f\s].*)?\s*$"
)
_FD = (
    _TIME + r"CANFD\s+(?P<channel>\d{1,3})\s+(?:Rx|Tx|TxRq)\s+(?P<id>[0-9A-Fa-f]{1,10})(?P<extended>x?)\s+"
    r"(?:[^\s\d]\S*\s+)?[01]\s+[01]\s+[0-9A-Fa-f]{1,2}\s+(?P<length>\d{1,2})(?P<rest>(?:\s+[0-9A-Fa-f]+\b)*).*$"
)
_ERROR = r"^\s*\d+\.\d+\s+(?:CANFD\s+)?\d+\s+(?:Rx\s+|Tx\s+)?ErrorFrame"
_IGNORED = (
    r"(?i)^\s*(?:date |base |no internal|internal |begin |end |//|\d+\.\d+\s+(?:start of|\d+\s+statistic|"
    r"(?:canfd\s+)?\d+\s+(?:rx\s+|tx\s+)?errorframe|can\s|log\s|sv:|\d+\s+j1939tp|wdt|trigger|\S+:))"
)


def recognises(head: bytes) -> bool:
    """Whether a file that begins like this has the heading of ASC."""
    return bool(_BASE.search(head))


def read(file: BinaryIO) -> Log:
    """Open a log."""
    head = file.read(64 * 2**10)
    file.seek(0)
    based = _BASE.search(head)
    start = _start(head)
    reader = _Reader(10 if based and based[1] == b"dec" else 16, deltas=bool(based and based[2] == b"relative"))
    return Log(Header(Clock.LOCAL if start else Clock.RELATIVE, start), reader.blocks(file))


def _start(head: bytes) -> dt.datetime | None:
    found = _DATE.search(head)
    if not found:
        return None
    month, day, hour, minute, second, fraction, half, year = found.groups()
    number = _MONTHS.get(month.decode("cp1252", "replace").lower()[:3])
    if number is None:
        return None
    hours = int(hour) % 12 + (12 if half.lower() == b"pm" else 0) if half else int(hour)
    micro = int((fraction or b"0").decode().ljust(6, "0"))
    try:
        return dt.datetime(int(year), number, int(day), hours, int(minute), int(second), micro)  # noqa: DTZ001
    except ValueError:
        return None


@dataclass(slots=True)
class _Reader:
    base: int
    deltas: bool
    channels: Channels = field(default_factory=Channels)
    rejects: Rejects = field(default_factory=Rejects)
    _now_us: int = 0

    def blocks(self, file: BinaryIO) -> Iterator[Block]:
        for lines in lines_of(file, BLOCK_BYTES // 2):
            yield self._block(lines)

    def _block(self, lines: Lines) -> Block:
        text = text_of(lines)
        time_us = self._times(text)
        classic, fd = matched(text, _CLASSIC), matched(text, _FD)
        found = pl.concat([self._classic(classic.filter(kind="d")), self._fd(fd)]).sort("n")
        whole = (pl.col("data").str.len_bytes() >= 2 * pl.col("length")) & (pl.col("length") <= MAX_BYTES)
        found = found.filter(whole & pl.col("id").is_not_null())
        remote = classic["n"].filter(classic["kind"] == "r")
        reject_rest(lines, text, pl.concat([found["n"], remote]), _IGNORED, self.rejects)
        frames = frames_of(
            time_us[found["n"].to_numpy()], ids_of(found["id"], found["extended"] == "x"),
            self.channels.number(found["channel"]), found["data"], found["length"], self.channels.names,
        )  # fmt: skip
        errors = int(text.str.contains(_ERROR).sum())
        return block_of(frames, self.rejects, len(remote), errors)

    def _times(self, text: pl.Series) -> Times:
        """Microseconds since the start of measurement, of every line that has a time."""
        found = pl.DataFrame({"t": text.str.extract(r"^\s*(\d{1,10}\.\d{1,9})\s", 1)}).select(microseconds(pl.col("t")))
        times = found.to_series().fill_null(0).to_numpy()
        if not self.deltas:
            return times
        times = self._now_us + np.cumsum(times)
        self._now_us = int(times[-1]) if len(times) else self._now_us
        return times

    def _classic(self, found: pl.DataFrame) -> pl.DataFrame:
        size = found["length"].str.to_integer(base=self.base, dtype=pl.UInt32, strict=False).fill_null(99)
        size = size.clip(upper_bound=99)
        long_code = pl.when(pl.col("length").is_between(9, 15)).then(8).otherwise(pl.col("length"))
        return found.with_columns(
            self._ids(found), length=size, data=as_hex(found["data"].str.strip_chars(), self.base)
        ).select("n", "channel", "id", "extended", long_code.cast(pl.UInt32).alias("length"), "data")

    def _fd(self, found: pl.DataFrame) -> pl.DataFrame:
        """After the data come columns of another kind: only the first `length` numbers are data."""
        size = found["length"].cast(pl.UInt32)
        numbers = pl.DataFrame({"rest": found["rest"].str.strip_chars(), "length": size}).select(
            pl.col("rest").str.replace_all(r"\s+", " ").str.split(" ").list.head(pl.col("length")).list.join(" ")
        )
        data = as_hex(numbers["rest"], self.base)
        return found.with_columns(self._ids(found), length=size, data=data).select(
            "n", "channel", "id", "extended", "length", "data"
        )

    def _ids(self, found: pl.DataFrame) -> pl.Series:
        return found["id"].str.to_integer(base=self.base, dtype=pl.UInt32, strict=False)
