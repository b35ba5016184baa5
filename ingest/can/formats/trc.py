"""PEAK TRC, versions 1.0 to 2.1."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import polars as pl

from ingest.can.formats.log import BLOCK_BYTES, Block, Clock, Header, Log
from ingest.can.formats.matching import Channels, block_of, frames_of, ids_of, matched, reject_rest, text_of
from ingest.can.formats.text import Lines, Rejects, lines_of
from ingest.can.frames import MAX_BYTES

DAY_ZERO = dt.datetime(1899, 12, 30)  # noqa: DTZ001  (days are counted in the recorder's own time)
STANDARD_DIGITS = 4
FD_LENGTHS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64)
_VERSION = re.compile(rb"^;\$FILEVERSION=(\d\.\d)", re.MULTILINE)
_START = re.compile(rb"^;\$STARTTIME=(\d{1,6}(?:\.\d+)?)", re.MULTILINE)
_COLUMNS = re.compile(rb"^;\$COLUMNS=([A-Za-z,]+)", re.MULTILINE)
_OLD = re.compile(rb"^;#{8,}", re.MULTILINE)
_NUMBER = r"^\s*(?P<number>\d+)\)?\s+"
_DATA = r"(?P<data>(?:\s+[0-9A-Fa-f]{2})*|\s+RTR)\s*$"
_FORMS = {
    "1.0": _NUMBER + r"(?P<time>\d+(?:\.\d+)?)\s+(?P<id>[0-9A-Fa-f]{4,8})\s+(?P<length>\d)" + _DATA,
    "1.1": _NUMBER + r"(?P<time>\d+(?:\.\d+)?)\s+(?P<type>\S+)\s+(?P<id>[0-9A-Fa-f]{4,8})\s+(?P<length>\d)" + _DATA,
    "1.2": _NUMBER + r"(?P<time>\d+(?:\.\d+)?)\s+(?P<channel>\d+)\s+(?P<type>\S+)\s+(?P<id>[0-9A-Fa-f]{4,8})\s+"
    r"(?P<length>\d+)" + _DATA,
    "1.3": _NUMBER + r"(?P<time>\d+(?:\.\d+)?)\s+(?P<channel>\d+)\s+(?P<type>\S+)\s+(?P<id>[0-9A-Fa-f]{4,8})\s+-?\s*"
    r"(?P<length>\d+)" + _DATA,
}  # fmt: skip
_PARTS = {
    "N": r"(?P<number>\d+)", "O": r"(?P<time>\d+(?:\.\d+)?)", "T": r"(?P<type>[A-Z]{2})",
    "B": r"(?P<channel>\d+|-)", "I": r"(?P<id>[0-9A-Fa-f]{4,8})", "d": r"\S+", "R": r"-?",
    "l": r"(?P<length>\d+)", "L": r"(?P<code>\d+)",
}  # fmt: skip
_IGNORED = r"^\s*;|^\s*\d+\)?\s+\d+(?:\.\d+)?\s+(?:\d+\s+)?(?:Warng|Error|ST|EC|ER|EV|BI\b)"
_ERRORS = r"^\s*\d+\)?\s+\d+(?:\.\d+)?\s+(?:\d+\s+)?(?:Error|ER)\b"


def recognises(head: bytes) -> bool:
    """Whether a file that begins like this has the heading of TRC."""
    return bool(_VERSION.search(head) or _OLD.search(head))


def read(file: BinaryIO) -> Log:
    """Open a log."""
    head = file.read(64 * 2**10)
    file.seek(0)
    versioned, started, columns = _VERSION.search(head), _START.search(head), _COLUMNS.search(head)
    version = versioned[1].decode() if versioned else "1.0"
    start = _date(float(started[1])) if started else None
    form = _FORMS.get(version) or _form((columns[1] if columns else b"N,O,T,I,d,l,D").decode())
    return Log(Header(Clock.LOCAL if start else Clock.RELATIVE, start), _Reader(form).blocks(file))


def _date(days: float) -> dt.datetime | None:
    try:
        return DAY_ZERO + dt.timedelta(microseconds=round(days * 86_400_000_000))
    except OverflowError:
        return None


def _form(columns: str) -> str:
    """The lines of a file that lists its columns; data comes last."""
    parts = [_PARTS[letter] for letter in columns.split(",") if letter in _PARTS]
    return r"^\s*" + r"\s+".join(parts).replace(r"\s+-?\s+", r"\s+(?:-\s+)?") + _DATA


@dataclass(slots=True)
class _Reader:
    form: str
    channels: Channels = field(default_factory=Channels)
    rejects: Rejects = field(default_factory=Rejects)

    def blocks(self, file: BinaryIO) -> Iterator[Block]:
        for lines in lines_of(file, BLOCK_BYTES // 2):
            yield self._block(lines)

    def _block(self, lines: Lines) -> Block:
        text = text_of(lines)
        found = matched(text, self.form)
        kind = pl.col("type") if "type" in found.columns else pl.lit("Rx")
        remote = found.filter((kind == "RR") | pl.col("data").str.contains("RTR"))
        other = found.filter(kind.is_in(["ST", "EC", "ER", "EV", "BI"]))
        data = found.join(remote, on="n", how="anti").join(other, on="n", how="anti").with_columns(
            _milliseconds(pl.col("time")).alias("time"),
            _length(found).alias("length"),
            pl.col("data").str.replace_all(r"\s+", ""),
            (pl.col("id").str.len_bytes() > STANDARD_DIGITS).alias("extended"),
            pl.col("id").str.to_integer(base=16, dtype=pl.UInt32, strict=False),
            channel=pl.col("channel").str.replace("-", "", literal=True) if "channel" in found.columns else pl.lit(""),
        )  # fmt: skip
        whole = (pl.col("data").str.len_bytes() >= 2 * pl.col("length")) & (pl.col("length") <= MAX_BYTES)
        data = data.filter(whole & pl.col("time").is_not_null())
        reject_rest(lines, text, pl.concat([data["n"], remote["n"], other["n"]]), _IGNORED, self.rejects)
        frames = frames_of(
            data["time"].to_numpy(), ids_of(data["id"], data["extended"]), self.channels.number(data["channel"]),
            data["data"], data["length"], self.channels.names,
        )  # fmt: skip
        return block_of(frames, self.rejects, remote.height, int(text.str.contains(_ERRORS).sum()))


def _length(found: pl.DataFrame) -> pl.Expr:
    if "length" in found.columns:
        return pl.col("length").cast(pl.UInt32, strict=False)
    code = pl.col("code").cast(pl.UInt32, strict=False).clip(upper_bound=len(FD_LENGTHS) - 1)
    return code.replace_strict(dict(enumerate(FD_LENGTHS)), default=None, return_dtype=pl.UInt32)


def _milliseconds(time: pl.Expr) -> pl.Expr:
    """Text of milliseconds with a fraction, as microseconds, rounded half up."""
    whole = time.str.extract(r"^(\d+)", 1).cast(pl.Int64, strict=False)
    fraction = time.str.extract(r"\.(\d+)", 1).fill_null("0").str.slice(0, 4).str.pad_end(4, "0")
    return whole * 1000 + (fraction.cast(pl.Int64, strict=False) + 5) // 10
