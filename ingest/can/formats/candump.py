"""candump of can-utils: log files, and what it prints on a console.

`(1436509052.249713) can0 18FEF100#FFFFFFFFFFFFFFFF` is the usual line and is read by whole columns. Every other form
(CAN FD, remote frames, console output) goes through a regular expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import BinaryIO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest.can.formats.log import Block, Clock, Header, Log
from ingest.can.formats.matching import (
    Channels,
    block_of,
    frames_of,
    ids_of,
    matched,
    microseconds,
    reject_rest,
)
from ingest.can.formats.text import (
    SPACE,
    U8,
    Lines,
    Offsets,
    Rejects,
    are_digits,
    are_hex,
    decimal_value,
    hex_bytes,
    hex_value,
    last_digits,
    lines_of,
    load8,
)
from ingest.can.frames import EXTENDED, WORD_BYTES, Frames, concat
from schemas.errors import MalformedBodyError

ABSOLUTE_FROM_US = 100_000_000 * 1_000_000
"""Times below are no date since the epoch that a vehicle could have seen: the clock counts from somewhere else."""
DELTAS_FALL = 0.1
ERROR_FLAG = 0x20000000
OPEN, CLOSE, DOT, HASH = (ord(character) for character in "().#")
FRACTION_DIGITS = 6
MOST_SHAPES = 8

_TIME = r"^\s*\((?P<time>\d{1,12}(?:\.\d{1,9})?)\)\s+"
_FILE = (
    _TIME + r"(?P<channel>\S{1,15})\s+(?P<id>[0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})#(?:(?P<fd>#)[0-9A-Fa-f])?"
    r"(?P<data>R[0-9A-Fa-f]?|[0-9A-Fa-f.]*)(?:_[0-9A-Fa-f])?(?:\s+[RT])?\s*$"
)
_CONSOLE = (
    _TIME + r"(?P<channel>\S{1,15})\s+(?:[RT]X\s+)?(?:[-B]\s*[-E]\s+)?(?P<id>[0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})\s+"
    r"\[(?P<length>\d{1,2})\](?P<data>(?:\s+[0-9A-Fa-f]{2})*|\s+remote request|.*ERRORFRAME.*)(?:\s+'.*)?\s*$"
)
_LIKE = re.compile(rb"^\s*\(\d+(?:\.\d+)?\)\s+\S+\s+(?:[0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})(?:#|\s+\[\d+\])", re.MULTILINE)
_LIKE_WITHOUT_TIME = re.compile(rb"^\s*\S+\s+(?:[0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})(?:#|\s+\[\d+\])", re.MULTILINE)


def recognises(head: bytes) -> bool:
    """Whether a file that begins like this is one of candump's."""
    return bool(_LIKE.search(head) or _LIKE_WITHOUT_TIME.search(head))


def read(file: BinaryIO) -> Log:
    """Open a log.

    Raises:
        MalformedBodyError: its lines carry no time.
    """
    reader = _Reader()
    blocks = reader.blocks(file)
    seen: list[Block] = []
    for block in blocks:
        seen.append(block)
        if len(block.frames):
            break
    first = next((block.frames.time_us for block in seen if len(block.frames)), None)
    if first is None:
        _refuse_without_time(seen)
        return Log(Header(Clock.RELATIVE), iter(seen))
    if int(first[0]) >= ABSOLUTE_FROM_US:
        return Log(Header(Clock.UTC), chain(seen, blocks))
    falling = float(np.mean(first[1:] < first[:-1])) if len(first) > 1 else 0.0
    whole = chain(seen, blocks)
    return Log(Header(Clock.RELATIVE), _summed(whole) if falling > DELTAS_FALL else whole)


def _refuse_without_time(seen: list[Block]) -> None:
    faults = [fault for block in seen for fault in block.faults]
    if any(fault.value and _LIKE_WITHOUT_TIME.match(fault.value.encode()) for fault in faults):
        raise MalformedBodyError("the lines carry no time: log with `candump -l`, or print it with `candump -t a`")


def _summed(blocks: Iterator[Block]) -> Iterator[Block]:
    """Times since the line before, added up."""
    now = 0
    for block in blocks:
        times = now + np.cumsum(block.frames.time_us)
        now = int(times[-1]) if len(times) else now
        yield replace(block, frames=replace(block.frames, time_us=times))


@dataclass(slots=True)
class _Reader:
    channels: Channels = field(default_factory=Channels)
    rejects: Rejects = field(default_factory=Rejects)

    def blocks(self, file: BinaryIO) -> Iterator[Block]:
        for lines in lines_of(file):
            yield self._block(lines)

    def _block(self, lines: Lines) -> Block:
        parts: list[tuple[NDArray[np.int64], Frames]] = []
        rest = np.flatnonzero(lines.end > lines.start)
        for _ in range(MOST_SHAPES):
            shape = _shape(lines, int(rest[0])) if len(rest) else None
            if shape is None:
                break
            at, frames = self._usual(lines, rest, shape)
            if not len(at):
                break
            parts.append((at, frames))
            rest = np.setdiff1d(rest, at, assume_unique=True) if len(at) < len(rest) else rest[:0]
        remote = error = 0
        if len(rest):
            at, frames, remote, error = self._unusual(lines, rest)
            parts.append((at, frames))
        frames = _in_order(parts)
        if any(len(part) for _, part in parts):
            errors = (frames.can_id & np.uint32(ERROR_FLAG)) != 0
            if errors.any() and not (frames.can_id & EXTENDED)[errors].all():
                errors &= (frames.can_id & EXTENDED) != 0
            if errors.any():
                error += int(errors.sum())
                frames = frames.take(np.flatnonzero(~errors))
        return block_of(replace(frames, channels=tuple(self.channels.names) or ("",)), self.rejects, remote, error)

    def _usual(self, lines: Lines, rest: Offsets, shape: _Shape) -> tuple[Offsets, Frames]:
        """Lines of one shape: classic data frames with six digits of a second."""
        text, start, end = lines.text, lines.start[rest], lines.end[rest]
        id_at = start + shape.id_at
        short = text[np.minimum(id_at + 3, len(text) - 1)] == HASH
        data_at = np.where(short, id_at + 4, id_at + 9)
        digits = end - data_at
        fits = (digits >= 0) & (digits <= 16) & (digits & 1 == 0)
        limit = len(text) - 2 * WORD_BYTES
        start, id_at, data_at = (np.minimum(at, limit) for at in (start, id_at, data_at))
        fits &= (text[start] == OPEN) & (text[start + shape.dot] == DOT) & (text[data_at - 1] == HASH)
        fits &= (text[start + shape.dot + FRACTION_DIGITS + 1] == CLOSE) & (text[id_at - 1] == SPACE)
        fits &= load8(text, start + shape.channel_at) & shape.channel_mask == shape.channel_word
        can_id, id_fits = _ids(text, id_at, short)
        time_us, time_fits = _times(text, start, shape.dot)
        word, data_fits = _words(text, data_at, digits)
        fits &= id_fits & time_fits & data_fits
        if not fits.all():
            kept = np.flatnonzero(fits)
            rest, digits = rest[kept], digits[kept]
            time_us, can_id, word = time_us[kept], can_id[kept], word[kept]
        number = self.channels.number(pl.Series([shape.channel]))[0]
        channel = np.full(len(rest), number, np.uint8)
        return rest, Frames(time_us, can_id, channel, (digits >> 1).astype(np.uint8), word)

    def _unusual(self, lines: Lines, rest: Offsets) -> tuple[Offsets, Frames, int, int]:
        """Lines of any other form."""
        text = pl.Series("line", [lines.line(n).decode("utf-8", "replace") for n in rest.tolist()], dtype=pl.String)
        file, console = matched(text, _FILE), matched(text, _CONSOLE)
        found = pl.concat(
            [
                file.select("n", "time", "channel", "id", "data", length=pl.lit(None, pl.String), fd="fd"),
                console.select("n", "time", "channel", "id", "data", "length", fd=pl.lit(None, pl.String)),
            ]
        ).sort("n")
        is_remote = found["data"].str.contains(r"^R|remote")
        is_error = found["data"].str.contains("ERROR")
        data = found.filter(~is_remote & ~is_error).with_columns(
            pl.col("data").str.replace_all(r"[^0-9A-Fa-f]", ""), microseconds(pl.col("time")).alias("time")
        )
        size, told = pl.col("data").str.len_bytes(), pl.col("length").cast(pl.UInt32)
        most = pl.when(pl.col("fd").is_null() & told.is_null()).then(16).otherwise(128)
        whole = (size % 2 == 0) & (size <= most) & (told.is_null() | (told * 2 == size))
        data = data.filter(whole & pl.col("time").is_not_null())
        used = pl.concat([data["n"], found.filter(is_remote | is_error)["n"]])
        self._reject(lines, rest, text, used)
        names = self.channels.number(data["channel"])
        id_ = data["id"].str.to_integer(base=16, dtype=pl.UInt32)
        frames = frames_of(
            data["time"].to_numpy(), ids_of(id_, data["id"].str.len_bytes() == 8), names, data["data"],
            data["data"].str.len_bytes() // 2, self.channels.names,
        )  # fmt: skip
        return rest[data["n"].to_numpy()], frames, int(is_remote.sum()), int(is_error.sum())

    def _reject(self, lines: Lines, rest: Offsets, text: pl.Series, used: pl.Series) -> None:
        chosen = Lines(lines.text, lines.start[rest], lines.end[rest], 0)
        rows = lines.first_row + rest
        before = len(self.rejects.faults)
        reject_rest(chosen, text, used, r"^\s*$", self.rejects)
        for n in range(before, len(self.rejects.faults)):
            fault = self.rejects.faults[n]
            self.rejects.faults[n] = replace(fault, row=int(rows[fault.row]))


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where the parts of a usual line stand: the dot of its time, its channel's name, its id."""

    dot: int
    channel: str
    channel_at: int
    channel_word: np.uint64
    channel_mask: np.uint64
    id_at: int


_USUAL = re.compile(rb"^\((\d{1,12})\.\d{6}\) (\S{1,8}) [0-9A-Fa-f]{3,8}#")


def _shape(lines: Lines, n: int) -> _Shape | None:
    found = _USUAL.match(lines.line(n))
    if not found:
        return None
    name, at = found[2], found.start(2)
    size = len(name)
    mask = np.uint64((1 << 8 * size) - 1)
    word = np.uint64(int.from_bytes(name, "little"))
    try:
        channel = name.decode("ascii")
    except UnicodeDecodeError:
        return None
    return _Shape(1 + len(found[1]), channel, at, word, mask, at + size + 1)


def _ids(text: U8, at: Offsets, short: NDArray[np.bool_]) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    words = load8(text, at)
    if short.any():
        words = np.where(short, last_digits(words, 3), words)
    ids = hex_value(words).astype(np.uint32)
    return np.where(short, ids, ids | EXTENDED), are_hex(words)


def _times(text: U8, start: Offsets, dot: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    count = dot - 1
    low = load8(text, start + max(1, dot - WORD_BYTES))
    low = last_digits(low, min(count, WORD_BYTES))
    fraction = last_digits(load8(text, start + dot + 1), FRACTION_DIGITS)
    seconds, fits = decimal_value(low), are_digits(low) & are_digits(fraction)
    if count > WORD_BYTES:
        high = last_digits(load8(text, start + 1), count - WORD_BYTES)
        seconds = seconds + decimal_value(high) * np.uint64(10**WORD_BYTES)
        fits &= are_digits(high)
    return (seconds * np.uint64(1_000_000) + decimal_value(fraction)).view(np.int64), fits


def _words(text: U8, at: Offsets, digits: Offsets) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    low, high = load8(text, at), load8(text, at + WORD_BYTES)
    if not (digits == 2 * WORD_BYTES).all():
        low, high = _zeros_beyond(low, digits), _zeros_beyond(high, digits - WORD_BYTES)
    return hex_bytes(low) | (hex_bytes(high) << np.uint64(32)), are_hex(low) & are_hex(high)


def _zeros_beyond(words: NDArray[np.uint64], count: Offsets) -> NDArray[np.uint64]:
    """Digits beyond the first `count` as "0"."""
    kept = np.clip(count, 0, WORD_BYTES).astype(np.uint64) * np.uint64(8)
    mask = np.where(kept >= 64, ~np.uint64(0), (np.uint64(1) << np.minimum(kept, np.uint64(63))) - np.uint64(1))
    return (words & mask) | (np.uint64(0x3030303030303030) & ~mask)


def _in_order(parts: list[tuple[Offsets, Frames]]) -> Frames:
    if len(parts) == 1:
        return parts[0][1]
    if not parts:
        return Frames()
    order = np.argsort(np.concatenate([at for at, _ in parts]), kind="stable")
    return _concat_same_channels([frames for _, frames in parts]).take(order)


def _concat_same_channels(parts: list[Frames]) -> Frames:
    """Their channel numbers are one numbering already."""
    names = max((part.channels for part in parts), key=len)
    return concat([replace(part, channels=names) for part in parts])
