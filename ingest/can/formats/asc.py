"""Vector ASC, the text log of CANalyzer and CANoe.

`   0.002367 1  18FEF100x       Rx   d 8 FF 01 02 03 04 05 06 07`: seconds since the measurement began, channel, id (`x`
for 29 bits), direction, data or remote, length, data; more may follow. CAN FD has lines of its own. A header tells the
base of ids and data, whether times count from the event before, and the wall-clock time of the start.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ingest.can.formats.asc_header import Head, block_start, head_of, recognises
from ingest.can.formats.columns import (
    Flags,
    Words,
    channel_numbers,
    decimal,
    decimal_point,
    frames_of,
    hexadecimal,
    ids_of,
    payloads_of,
    reject,
    starts_with,
    words_of,
)
from ingest.can.formats.log import Block, Clock, Header, Log
from ingest.can.formats.matching import NOT_A_FRAME, Channels, block_of
from ingest.can.formats.text import Lines, Offsets, Rejects, lines_of, load8
from ingest.can.frames import MAX_BYTES, WORD_BYTES, Frames, Times, concat

__all__ = ["read", "recognises"]

SECOND_PLACES = 6
MOST_TRIGGERS = 1000
"""Trigger blocks looked at in one block of lines; more are no log."""
EXTENDED_MARK = ord("x")
REMOTE_FLAG = 0x10

_Reasons = NDArray[np.uint8]
_BAD_TIME, _CUT, _BAD_CHANNEL, _BAD_ID, _BAD_LENGTH, _SHORT, _BAD_DATA = range(1, 8)
_REASONS = (
    "",
    NOT_A_FRAME,
    "a frame that is cut off",
    "the channel is no number from 0 to 255",
    "the id is no number of at most 29 bits",
    "the length is no number of bytes that a frame can have",
    "fewer bytes of data than the length says",
    "data that are no bytes",
)
_HEADER_WORDS = (b"date ", b"base ", b"internal", b"no ", b"begin ", b"end ", b"//", b"version", b"previous", b"next ")
_ID, _WAY, _KIND, _LENGTH, _DATA = 2, 3, 4, 5, 6
_FD_CHANNEL, _FD_WAY, _FD_ID, _FD_NAME = 2, 3, 4, 5


def read(file: BinaryIO) -> Log:
    """Open a log. Nothing is refused as a whole: lines that are no events are rejected one by one."""
    blocks = lines_of(file)
    first = next(blocks, None)
    if first is None:
        return Log(Header(Clock.RELATIVE), iter(()))
    head = head_of(first)
    header = Header(Clock.LOCAL, head.start) if head.start else Header(Clock.RELATIVE)
    return Log(header, _Reader(head).blocks(chain((first,), blocks)))


@dataclass(slots=True)
class _Reader:
    head: Head
    channels: Channels = field(default_factory=Channels)
    rejects: Rejects = field(default_factory=Rejects)
    now_us: int = 0
    offset_us: int = 0

    def blocks(self, blocks: Iterator[Lines]) -> Iterator[Block]:
        for lines in blocks:
            yield self._block(lines)

    def _block(self, lines: Lines) -> Block:
        words = words_of(lines)
        time_us, timed = decimal_point(lines.text, *words.column(0), SECOND_PLACES)
        timed &= words.count > 0
        time_us = self._clock(lines, words, time_us, timed)
        why = np.zeros(len(lines), np.uint8)
        if not timed.all():
            why[~timed & (words.count > 0) & ~_is_header(words)] = _BAD_TIME
        kinds = _kinds(words, timed, self.head.base)
        why[kinds.cut] = _CUT
        classic, fd = np.flatnonzero(kinds.data), np.flatnonzero(kinds.fd)
        parts = [_Part(classic, words.take(classic), time_us[classic], self.head.base)]
        parts[0].classic_columns()
        remote = int(kinds.remote.sum())
        if len(fd):
            parts.append(_Part(fd, words.take(fd), time_us[fd], self.head.base))
            remote += parts[1].fd_columns()
        frames = _joined(parts, why, self.channels)
        reject(lines, why, _REASONS, self.rejects)
        return block_of(frames, self.rejects, remote, int(kinds.error.sum()))

    def _clock(self, lines: Lines, words: Words, time_us: Times, timed: Flags) -> Times:
        """Times since the start: added up where they count from the event before, and across trigger blocks."""
        events = np.where(timed, time_us, 0)
        if self.head.relative:
            summed: Times = self.now_us + np.cumsum(events)
            self.now_us = int(summed[-1]) if len(summed) else self.now_us
            return summed
        at = np.flatnonzero(timed)
        offset = np.full(len(events), self.offset_us, np.int64)
        for begin in _triggers(words, timed):
            n = int(np.searchsorted(at, begin))
            before = int(events[at[n - 1]]) if n else self.now_us
            start = block_start(lines.line(begin))
            if n < len(at) and start and self.head.start and int(events[at[n]]) < before:
                self.offset_us = (start - self.head.start) // dt.timedelta(microseconds=1)
                offset[begin:] = self.offset_us
        self.now_us = int(events[at[-1]]) if len(at) else self.now_us
        return events + offset


def _triggers(words: Words, timed: Flags) -> list[int]:
    untimed = np.flatnonzero(~timed & (words.count > 1))
    if not len(untimed):
        return []
    begins = starts_with(load8(words.text, words.take(untimed).column(0)[0]), b"begin ")
    found: list[int] = untimed[begins][:MOST_TRIGGERS].tolist()
    return found


def _is_header(words: Words) -> Flags:
    first = load8(words.text, words.column(0)[0])
    found = np.zeros(len(first), np.bool_)
    for word in _HEADER_WORDS:
        found |= starts_with(first, word)
    return found


@dataclass(frozen=True, slots=True)
class _Kinds:
    """What each line is; lines that are none of these are other events."""

    data: Flags
    remote: Flags
    error: Flags
    fd: Flags
    cut: Flags


def _kinds(words: Words, timed: Flags, base: int) -> _Kinds:
    text = words.text
    second, second_end = words.column(1)
    fd = timed & starts_with(load8(text, second), b"canfd") & (second_end - second == len("canfd"))
    fd &= words.count > 1
    numbered = timed & (text[second] - np.uint8(ord("0")) < 10) & (words.count > 1)
    kind, kind_end = words.column(_KIND)
    letter = text[kind] | np.uint8(0x20)
    frame = numbered & _is_way(words, _WAY) & (kind_end - kind == 1) & (words.count > _KIND)
    data, remote = frame & (letter == ord("d")), frame & (letter == ord("r"))
    error, cut = np.zeros_like(fd), np.zeros_like(fd)
    rest = np.flatnonzero(numbered & ~data & ~remote)
    if len(rest):
        others = words.take(rest)
        error[rest] = _is_error(others, _ID)
        _, id_like, _ = _ids(others, _ID, base)
        cut[rest] = (id_like & ~error[rest]) | (others.count == _ID)
    at = np.flatnonzero(fd)
    if len(at):
        wrong = _is_error(words.take(at), _FD_ID)
        error[at], fd[at] = wrong, ~wrong
    return _Kinds(data, remote, error, fd, cut)


def _is_error(words: Words, column: int) -> Flags:
    error = starts_with(load8(words.text, words.column(column)[0]), b"errorfra")
    error &= words.count > column
    return error


def _is_way(words: Words, column: int) -> Flags:
    """Whether a word is Rx, Tx or TxRq."""
    at, end = words.column(column)
    word, size = load8(words.text, at), end - at
    received, sent = starts_with(word, b"rx"), starts_with(word, b"tx")
    way: Flags = ((received | sent) & (size == 2)) | (starts_with(word, b"txrq") & (size == 4))
    return way


@dataclass(slots=True)
class _Part:
    """Data frames of one kind of line. `at`: their lines; `why`: what is wrong with them, zero for nothing."""

    at: Offsets
    words: Words
    time_us: Times
    base: int
    why: _Reasons = field(init=False)
    can_id: NDArray[np.uint32] = field(init=False)
    channel: Times = field(init=False)
    length: Offsets = field(init=False)
    rows: NDArray[np.uint64] = field(init=False)

    def classic_columns(self) -> None:
        """Read `t channel id way d length data...`."""
        code, sized = _number(self.words, _LENGTH, self.base)
        self.length = np.minimum(code, WORD_BYTES)
        self._fill(1, _ID, _DATA, sized & (code < 16) & (self.words.count > _LENGTH))

    def fd_columns(self) -> int:
        """Read `t CANFD channel way id [name] brs esi code length data...`; how many are remote frames."""
        name, name_end = self.words.column(_FD_NAME)
        bit = self.words.text[name]
        named = ((bit != ord("0")) & (bit != ord("1"))) | (name_end - name != 1)
        column = _FD_NAME + 2 + named.astype(np.int64)
        code, coded = _number(self.words, column, 16)
        length, sized = decimal(self.words.text, *self.words.column(column + 1))
        sized &= coded & (self.words.count > column + 1) & _is_way(self.words, _FD_WAY)
        remote = sized & (length == 0) & ((code > 0) | self._remote_flag(column + 4))
        keep = np.flatnonzero(~remote)
        self.at, self.words, self.time_us = self.at[keep], self.words.take(keep), self.time_us[keep]
        self.length = length[keep]
        self._fill(_FD_CHANNEL, _FD_ID, column[keep] + 2, sized[keep] & (self.length <= MAX_BYTES))
        return int(remote.sum())

    def _remote_flag(self, column: Offsets) -> Flags:
        flags, there = hexadecimal(self.words.text, *self.words.column(column))
        there &= (self.words.count > column) & ((flags & REMOTE_FLAG) != 0)
        return there

    def _fill(self, channel: int, id_: int, data: int | Offsets, sized: Flags) -> None:
        words, why = self.words, np.zeros(len(self.at), np.uint8)
        why[words.count < data + self.length] = _SHORT
        why[~sized] = _BAD_LENGTH
        self.can_id, fits = _told_ids(words, id_, self.base)
        why[~fits] = _BAD_ID
        self.channel, fits = decimal(words.text, *words.column(channel))
        why[~fits | (self.channel > 255)] = _BAD_CHANNEL
        why[words.count <= id_] = _CUT
        self.length = np.where(why == 0, self.length, 0)
        self.rows, fits = payloads_of(words, data, self.length, self.base)
        why[~fits & (why == 0)] = _BAD_DATA
        self.why = why

    def frames(self, kept: Offsets, channels: Channels) -> Frames:
        """The frames at these positions."""
        numbers = channel_numbers(channels, self.channel[kept])
        return frames_of(self.time_us[kept], self.can_id[kept], numbers, self.length[kept], self.rows[kept], channels)


def _joined(parts: list[_Part], why: _Reasons, channels: Channels) -> Frames:
    """The frames of all parts in the order of their lines."""
    done: list[Frames] = []
    places: list[Offsets] = []
    for part in parts:
        why[part.at] = part.why
        kept = np.flatnonzero(part.why == 0)
        if len(kept):
            done.append(part.frames(kept, channels))
            places.append(part.at[kept])
    if len(done) < 2:
        return done[0] if done else Frames()
    return concat(done).take(np.argsort(np.concatenate(places), kind="stable"))


def _number(words: Words, column: int | Offsets, base: int) -> tuple[Times, Flags]:
    at, end = words.column(column)
    return decimal(words.text, at, end) if base == 10 else hexadecimal(words.text, at, end)


def _ids(words: Words, column: int, base: int) -> tuple[NDArray[np.uint32], Flags, Flags]:
    """Ids in the log's base, which of them are numbers, and which are ids."""
    at, end = words.column(column)
    extended = (words.text[end - 1] | np.uint8(0x20)) == EXTENDED_MARK
    end = end - extended
    value, written = decimal(words.text, at, end) if base == 10 else hexadecimal(words.text, at, end)
    can_id, fits = ids_of(value, extended)
    return can_id, written, written & fits


def _told_ids(words: Words, column: int, base: int) -> tuple[NDArray[np.uint32], Flags]:
    """Ids of frames. `ID = 217056256x` at the end of a line is decimal and counts more: the word may be a name."""
    can_id, _, fits = _ids(words, column, base)
    equals, equals_end = words.column(words.count - 2)
    told = (words.text[equals] == ord("=")) & (equals_end - equals == 1) & (words.count > column + 4)
    name, name_end = words.column(words.count - 3)
    told &= (words.text[name] == ord("I")) & (words.text[name + 1] == ord("D")) & (name_end - name == 2)
    if told.any():
        at = np.flatnonzero(told)
        some = words.take(at)
        last = Words(some.text, some.start, some.end, some.first + some.count - 1, some.count)
        ids, _, right = _ids(last, 0, 10)
        can_id[at] = np.where(right, ids, can_id[at])
        fits[at] |= right
    return can_id, fits
