"""candump of can-utils: log files, and what it prints on a console.

`(1436509052.249713) can0 18FEF100#FFFFFFFFFFFFFFFF` is the usual line: lines of one shape are read at places known
beforehand. Lines of other shapes (CAN FD, console output, short data) are read word by word, still by whole columns;
what is left (remote frames, dates, binary data) goes through a regular expression.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ingest.can.formats.candump_lines import EPOCH, Irregular, irregular
from ingest.can.formats.candump_words import by_words
from ingest.can.formats.columns import words_of
from ingest.can.formats.log import Block, Clock, Header, Log
from ingest.can.formats.matching import NOT_A_FRAME, Channels, block_of, in_order
from ingest.can.formats.text import (
    U64,
    WORD,
    Lines,
    Offsets,
    Rejects,
    cut,
    decimal_value,
    hex_bytes,
    hex_value,
    last_digits,
    lines_of,
    not_digits,
    not_hex,
    records,
)
from ingest.can.frames import EXTENDED, Frames
from schemas.errors import MalformedBodyError

ABSOLUTE_FROM_US = 100_000_000 * 1_000_000
"""Times below are no date since the epoch that a vehicle could have seen: the clock counts from somewhere else."""
DELTAS_FALL = 0.1
ERROR_FLAG = np.uint32(0x20000000)
BLOCK_BYTES = 2**20
"""Smaller than for other formats: the columns of a block stay in the processor's second cache."""
MOST_SHAPES = 8
OPEN, HASH = ord("("), ord("#")
COMMENT = HASH

_LIKE = re.compile(
    rb"^[ \t]*\((?:\d{1,12}(?:\.\d{1,9})?|(?P<date>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{1,9}))\)[ \t]+\S{1,15}[ \t]+"
    rb"(?:[RT]X[ \t]+[-B][ \t]+[-E][ \t]+)?(?:[0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})(?:#|[ \t]+[\[{][0-9A-F]{1,2}[\]}])",
    re.MULTILINE,
)
_LIKE_WITHOUT_TIME = re.compile(
    rb"^[ \t]*[^\s()#]{1,15}[ \t]+(?:[RT]X[ \t]+[-B][ \t]+[-E][ \t]+)?"
    rb"(?:(?:[0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})[ \t]+\[\d{1,2}\](?:$|[ \t\r]))",
    re.MULTILINE,
)


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
        _refuse_without_time(block)
    first = next((block.frames.time_us for block in seen if len(block.frames)), None)
    if first is None:
        return Log(Header(Clock.RELATIVE), iter(seen))
    whole = chain(seen, blocks)
    if reader.dated:
        start = int(first[0])
        header = Header(Clock.LOCAL, EPOCH + dt.timedelta(microseconds=start))
        return Log(header, (replace(block, frames=block.frames.shifted(-start)) for block in whole))
    if int(first[0]) >= ABSOLUTE_FROM_US:
        return Log(Header(Clock.UTC), whole)
    falling = float(np.mean(first[1:] < first[:-1])) if len(first) > 1 else 0.0
    return Log(Header(Clock.RELATIVE), _summed(whole) if falling > DELTAS_FALL else whole)


def _refuse_without_time(block: Block) -> None:
    if any(fault.value and _LIKE_WITHOUT_TIME.match(fault.value.encode()) for fault in block.faults):
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
    """`dated`: whether the log's times are local dates; not known before its first frame."""

    channels: Channels = field(default_factory=Channels)
    rejects: Rejects = field(default_factory=Rejects)
    dated: bool | None = None

    def blocks(self, file: BinaryIO) -> Iterator[Block]:
        for lines in lines_of(file, BLOCK_BYTES):
            yield self._block(lines)

    def _block(self, lines: Lines) -> Block:
        if self.dated is None and (first := _LIKE.search(lines.text.tobytes())):
            self.dated = first["date"] is not None
        parts: list[tuple[Offsets, Frames]] = []
        rest = np.flatnonzero(lines.end > lines.start)
        for _ in range(MOST_SHAPES if not self.dated else 0):
            shape = _shape(lines.line(int(rest[0]))) if len(rest) else None
            if shape is None:
                break
            # One look at each line spares all work on lines of other shapes.
            alike = lines.text[lines.start[rest] + (shape.data_at - 1)] == HASH
            at = rest if alike.all() else rest[alike]
            fits, frames = self._usual(lines, at, shape)
            if not len(frames):
                break
            parts.append((at[fits], frames))
            alike[alike] = fits
            rest = rest[~alike]
        remote = error = 0
        if len(rest):
            found = self._unusual(lines, rest)
            parts, remote, error = [*parts, *found.parts], found.remote, found.error
        frames = in_order(parts, self.channels)
        errors = (frames.can_id & ERROR_FLAG) != 0
        if errors.any():
            error += int(errors.sum())
            frames = frames.take(np.flatnonzero(~errors))
        return block_of(frames, self.rejects, remote, error)

    def _usual(self, lines: Lines, rest: Offsets, shape: _Shape) -> tuple[NDArray[np.bool_], Frames]:
        """Which of the lines are of this shape (classic data frames with six digits of a second), and their frames."""
        columns = records(lines.text, lines.start[rest])
        digits = lines.end[rest] - lines.start[rest] - shape.data_at
        time_us, wrong = _times(columns, shape.dot)
        can_id, bad_id = _ids(columns, shape)
        word, bad_data = _words(columns, shape.data_at, digits)
        wrong |= bad_id | bad_data | shape.wrong_name(columns)
        fits = (wrong == 0) & (digits >= 0) & (digits <= 2 * WORD) & (digits & 1 == 0)
        if not fits.all():
            time_us, can_id, word, digits = time_us[fits], can_id[fits], word[fits], digits[fits]
        number = self.channels.one(shape.channel) if len(word) else 0
        channel = np.full(len(word), number, np.uint8)
        return fits, Frames(time_us, can_id, channel, (digits >> 1).astype(np.uint8), word)

    def _unusual(self, lines: Lines, rest: Offsets) -> Irregular:
        """Lines of any other form."""
        words = words_of(lines).take(rest)
        parts: list[tuple[Offsets, Frames]] = []
        remote = error = 0
        there = words.count > 0
        if not self.dated:
            done, parts = by_words(words, self.channels)
            parts = [(rest[at], frames) for at, frames in parts]
            there &= ~done
        begins = lines.text[words.column(0)[0]]
        # Only what begins like a time may be a frame; other lines never see a regular expression.
        may = there & (begins == OPEN) & (words.count >= 3)
        if may.any():
            found = irregular(lines, rest[may], self.channels, dated=bool(self.dated))
            parts, remote, error = [*parts, *found.parts], found.remote, found.error
            may[may] = found.used
        self.rejects.add(lines, rest[there & ~may & (begins != COMMENT)], NOT_A_FRAME)
        return Irregular(parts, remote, error)


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where the parts of a usual line stand: the dot of its time, its channel's name, its id, its data."""

    dot: int
    channel: str
    name: tuple[tuple[int, np.uint64, np.uint64], ...]
    id_at: int
    data_at: int

    def wrong_name(self, columns: U64) -> U64:
        """Not zero where another channel's name, or no blanks around it, stand in its place."""
        wrong: U64 = np.zeros_like(columns[0])
        for offset, word, mask in self.name:
            wrong |= (cut(columns, offset) ^ word) & mask
        return wrong


_USUAL = re.compile(rb"\((\d{1,12})\.\d{6}\)( [!-~]{1,15} )([0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})#[0-9A-Fa-f]*(?: [RT])?$")


def _shape(line: bytes) -> _Shape | None:
    found = _USUAL.match(line)
    if not found:
        return None
    name = []
    for offset in range(0, len(found[2]), WORD):
        piece = found[2][offset : offset + WORD]
        mask = (1 << 8 * len(piece)) - 1
        name.append((found.start(2) + offset, np.uint64(int.from_bytes(piece, "little")), np.uint64(mask)))
    channel = found[2].strip().decode("ascii")
    return _Shape(1 + len(found[1]), channel, tuple(name), found.start(3), found.end(3) + 1)


_POINT, _AROUND = np.uint64(ord(".") | ord(")") << 56), np.uint64(0xFF000000000000FF)
_TWO_ZEROS = np.uint64(0x3030)


def _times(columns: U64, dot: int) -> tuple[NDArray[np.int64], U64]:
    """Times of `(seconds.micros)`, and where they are none: not zero."""
    point = cut(columns, dot)
    fraction = ((point >> np.uint64(8)) << np.uint64(16)) | _TWO_ZEROS
    wrong = ((point ^ _POINT) & _AROUND) | ((columns[0] ^ np.uint64(OPEN)) & np.uint64(0xFF))
    count = dot - 1
    low = cut(columns, dot - WORD) if count >= WORD else last_digits(cut(columns, 1), count)
    wrong |= not_digits(low) | not_digits(fraction)
    seconds = decimal_value(low)
    if count > WORD:
        high = last_digits(cut(columns, 1), count - WORD)
        wrong |= not_digits(high)
        seconds += decimal_value(high) * np.uint64(10**WORD)
    return (seconds * np.uint64(1_000_000) + decimal_value(fraction)).view(np.int64), wrong


def _ids(columns: U64, shape: _Shape) -> tuple[NDArray[np.uint32], U64]:
    """Ids, and where none stands between a blank and a "#": not zero."""
    written = cut(columns, shape.id_at)
    wrong = (cut(columns, shape.data_at - 1) ^ np.uint64(HASH)) & np.uint64(0xFF)
    if shape.data_at - shape.id_at < WORD:
        written = last_digits(written, 3)
        value = hex_value(written)
        # 11 bits are the most.
        return value.astype(np.uint32), wrong | not_hex(written) | (value >> np.uint64(11))
    value = hex_value(written)
    return value.astype(np.uint32) | EXTENDED, wrong | not_hex(written) | (value & np.uint64(1 << 30))


def _words(columns: U64, at: int, digits: Offsets) -> tuple[U64, U64]:
    """The data of up to sixteen hex digits, and where there are others: not zero."""
    low, high = cut(columns, at), cut(columns, at + WORD)
    if not (digits == 2 * WORD).all():
        low, high = _zeros_beyond(low, digits), _zeros_beyond(high, digits - WORD)
    return hex_bytes(low) | (hex_bytes(high) << np.uint64(32)), not_hex(low) | not_hex(high)


_KEEP = np.array([(1 << 8 * count) - 1 for count in range(WORD + 1)], np.uint64)
_FILL = ~_KEEP & np.uint64(0x3030303030303030)


def _zeros_beyond(words: U64, count: Offsets) -> U64:
    """Digits beyond the first `count` as "0"."""
    kept = np.clip(count, 0, WORD)
    filled: U64 = (words & _KEEP[kept]) | _FILL[kept]
    return filled
