"""BUSMASTER logs: a heading with the date, then lines in time of day, since the start, or since the line before.

Several sessions may follow each other in one file, each with its own heading; times count from the first one's start.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ingest.can.formats.columns import (
    Words,
    channel_numbers,
    decimal,
    frames_of,
    hexadecimal,
    ids_of,
    payloads_of,
    words_of,
)
from ingest.can.formats.log import Block, Clock, Header, Log
from ingest.can.formats.matching import NOT_A_FRAME, Channels, block_of, in_order
from ingest.can.formats.text import U8, Lines, Offsets, Rejects, lines_of, load8
from ingest.can.frames import MAX_BYTES, Frames, Times

DAY_US = 86_400_000_000
MOST_CHANNEL = 255
MOST_HEADINGS = 200
"""In one block; lines of a heading beyond that change nothing."""
Flags = NDArray[np.bool_]
_HEADING = re.compile(rb"^(?:\xef\xbb\xbf)?[ \t]*\*\*\*(?:BUSMASTER|\[START LOGGING SESSION\])", re.MULTILINE)
_STARTED = re.compile(rb"\*\*\*START DATE AND TIME (\d+):(\d+):(\d+) (\d+):(\d+):(\d+)(?::(\d+))?\s*\*\*\*")
_MODES = {b"***SYSTEM MODE***": "system", b"***ABSOLUTE MODE***": "absolute", b"***RELATIVE MODE***": "relative"}
_BASES = {b"***HEX***": 16, b"***DEC***": 10}
_TELLING = np.array([int.from_bytes(b"***" + mark) for mark in (b"STA", b"SYS", b"ABS", b"REL", b"HEX", b"DEC")])
_STARS = int.from_bytes(b"***")


def recognises(head: bytes) -> bool:
    """Whether a file that begins like this has BUSMASTER's heading."""
    return bool(_HEADING.search(head))


def read(file: BinaryIO) -> Log:
    """Open a log."""
    head = file.read(64 * 2**10)
    file.seek(0)
    found = _STARTED.search(head)
    start = _date(found) if found else None
    reader = _Reader(start)
    return Log(Header(Clock.LOCAL if start else Clock.RELATIVE, start), reader.blocks(file))


def _date(found: re.Match[bytes]) -> dt.datetime | None:
    try:
        day, month, year, hour, minute, second, milli = (int(part or 0) for part in found.groups())
        return dt.datetime(year, month, day, hour, minute, second, milli * 1000)  # noqa: DTZ001  (has no zone)
    except (ValueError, OverflowError):
        return None


@dataclass(slots=True)
class _Reader:
    """`start`: of the first session. `_from_us`: the present session's start since then, `_of_day_us`: its time of day.

    `_last_us`: the last line's time, of day or (in relative mode) since the session's start.
    """

    start: dt.datetime | None
    base: int = 16
    mode: str = "system"
    channels: Channels = field(default_factory=Channels)
    rejects: Rejects = field(default_factory=Rejects)
    _from_us: int = 0
    _of_day_us: int = 0
    _last_us: int | None = None
    _days: int = 0

    def blocks(self, file: BinaryIO) -> Iterator[Block]:
        for lines in lines_of(file):
            yield self._block(lines)

    def _block(self, lines: Lines) -> Block:
        words = words_of(lines)
        head = _first_six(words)
        rest = np.flatnonzero((words.count > 0) & (head >> 24 != _STARS))
        telling = np.flatnonzero(np.isin(head, _TELLING) & (words.count > 0))[:MOST_HEADINGS]
        parts: list[tuple[Offsets, Frames]] = []
        remote, first = 0, 0
        for end in (*np.searchsorted(rest, telling).tolist(), len(rest)):
            if end > first:
                at, frames, more = self._lines(lines, words, rest[first:end])
                parts.append((at, frames))
                remote, first = remote + more, end
            if len(telling):
                self._heading(lines.line(int(telling[0])))
                telling = telling[1:]
        return block_of(in_order(parts, self.channels), self.rejects, remote=remote)

    def _heading(self, line: bytes) -> None:
        line = line.strip()
        self.base, self.mode = _BASES.get(line, self.base), _MODES.get(line, self.mode)
        found = _STARTED.match(line)
        start = _date(found) if found and self.start else None
        if start and self.start:
            self._from_us = (start - self.start) // dt.timedelta(microseconds=1)
            midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
            self._of_day_us = (start - midnight) // dt.timedelta(microseconds=1)
            self._last_us, self._days = None, 0

    def _lines(self, lines: Lines, words: Words, at: Offsets) -> tuple[Offsets, Frames, int]:
        """The frames of lines under one heading, where they stand, and the number of remote frames."""
        kept = at[words.count[at] >= 6]
        found, fits = self._columns(words.take(kept))
        words, good = words.take(kept), np.flatnonzero(fits)
        time_us = self._times(found.time_us[good])
        data = good[~found.remote[good]]
        data_us = time_us[~found.remote[good]]
        rows, right = payloads_of(words.take(data), 6, found.length[data], self.base)
        time_us, data, rows = data_us[right], data[right], rows[right]
        used = np.concatenate([kept[data], kept[good[found.remote[good]]]])
        self.rejects.add(lines, np.setdiff1d(at, used, assume_unique=True), NOT_A_FRAME)
        numbers = channel_numbers(self.channels, found.channel[data])
        frames = frames_of(time_us, found.can_id[data], numbers, found.length[data], rows, self.channels)
        return kept[data], frames, len(used) - len(data)

    def _columns(self, words: Words) -> tuple[_Columns, Flags]:
        """What stands before the data, and which lines are right as far as that."""
        text = words.text
        time_us, fits = _clock(text, *words.column(0))
        fits &= _is_direction(text, *words.column(1))
        channel, numbered = decimal(text, *words.column(2))
        at, end = words.column(3)
        at = at + 2 * ((text[at] == ord("0")) & ((text[at + 1] | 0x20) == ord("x")) & (end - at > 2))
        value, known = hexadecimal(text, at, end) if self.base == 16 else decimal(text, at, end)
        at, end = words.column(4)
        kind, size = text[at] | 0x20, end - at
        remote = (size == 2) & ((text[at + 1] | 0x20) == ord("r"))
        can_id, is_id = ids_of(value, kind == ord("x"))
        length, sized = decimal(text, *words.column(5))
        fits &= numbered & known & is_id & sized & (channel <= MOST_CHANNEL) & (length <= MAX_BYTES)
        fits &= np.isin(kind, (ord("s"), ord("x"))) & ((size == 1) | remote) & (remote | (words.count >= 6 + length))
        return _Columns(time_us, can_id, channel, length, remote), fits

    def _times(self, times: Times) -> Times:
        """Microseconds since the first session's start."""
        if not len(times) or self.mode == "absolute":
            return times + self._from_us
        if self.mode == "relative":
            times = (self._last_us or 0) + np.cumsum(times)
            self._last_us = int(times[-1])
            return times + self._from_us
        # Time of day: midnight is where it falls by more than half a day.
        last = self._last_us
        if last is None:
            last = self._of_day_us if self.start else int(times[0])
        before = np.concatenate(([last], times[:-1]))
        days = self._days + np.cumsum(times < before - DAY_US // 2)
        self._last_us, self._days = int(times[-1]), int(days[-1])
        since: Times = times + days * DAY_US - self._of_day_us + self._from_us
        return since


@dataclass(frozen=True, slots=True)
class _Columns:
    time_us: Times
    can_id: NDArray[np.uint32]
    channel: NDArray[np.int64]
    length: Offsets
    remote: Flags


def _first_six(words: Words) -> NDArray[np.int64]:
    """The first six bytes of each line as a number, the first one highest."""
    written = load8(words.text, words.column(0)[0])
    return (written.byteswap() >> np.uint64(16)).view(np.int64)


def _is_direction(text: U8, at: Offsets, end: Offsets) -> Flags:
    is_one: Flags = np.isin(text[at] | 0x20, (ord("r"), ord("t"))) & ((text[at + 1] | 0x20) == ord("x"))
    is_one &= end - at == 2
    return is_one


def _clock(text: U8, at: Offsets, end: Offsets) -> tuple[Times, Flags]:
    """Times written as hours:minutes:seconds:rest.

    Four digits behind the last colon count 100 microseconds; fewer are whole milliseconds, as other writers of the
    format have them.
    """
    begin, beyond = (int(at[0]), int(end[-1])) if len(at) else (0, 0)
    colons = np.flatnonzero(text[begin:beyond] == ord(":")) + begin
    colons = np.concatenate([colons, np.full(4, len(text))])
    first = np.searchsorted(colons, at)
    one, two, three = colons[first], colons[first + 1], colons[first + 2]
    fits = (three < end) & (colons[first + 3] >= end)
    one, two, three = (np.where(fits, colon, at) for colon in (one, two, three))
    values = []
    for first, last in ((at, one), (one + 1, two), (two + 1, three), (three + 1, end)):
        value, right = decimal(text, first, last)
        values.append(value)
        fits &= right & (last - first <= 5)
    hour, minute, second, tick = values
    fits &= (minute < 60) & (second < 60) & (end - three <= 5)
    micros = np.where(end - three == 5, tick * 100, tick * 1000)
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros, fits
