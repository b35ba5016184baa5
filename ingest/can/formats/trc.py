"""PEAK TRC, versions 1.0 to 2.1.

`     1)      1059.9  Rx         0300  8    00 00 00 00 04 00 00 00`: columns between blanks, which of them is said by
the version (1.x) or by the line `;$COLUMNS=` (2.x). Offsets are milliseconds since the start, and the start is a
wall-clock time of the computer that recorded, in days since 30 December 1899.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ingest.can.formats.columns import (
    FD_LENGTHS,
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
from ingest.can.frames import MAX_BYTES, WORD_BYTES, Frames
from schemas.errors import MalformedBodyError

EPOCH = dt.datetime(1899, 12, 30)  # noqa: DTZ001 - a wall-clock time without a zone
COMMENT = ord(";")
HEADER_BYTES = 64 * 2**10
MS_PLACES = 3

# Blanks are spelled out: `\s` runs on over line ends, from every empty line to the last one.
_VERSION = re.compile(rb"^[ \t]*;[ \t]*\$FILEVERSION[ \t]*=[ \t]*([\d.]+)", re.MULTILINE | re.IGNORECASE)
_START = re.compile(
    rb"^[ \t]*;[ \t]*\$STARTTIME[ \t]*=[ \t]*(\d{1,6}(?:[.,]\d{1,30})?)[ \t\r]*$", re.MULTILINE | re.IGNORECASE
)
_COLUMNS = re.compile(
    rb"^[ \t]*;[ \t]*\$COLUMNS[ \t]*=[ \t]*([A-Za-z](?:[ \t]*,[ \t]*[A-Za-z])*)", re.MULTILINE | re.IGNORECASE
)
_OLD_RULE = re.compile(rb"^[ \t]*;#{20,}[ \t\r]*$", re.MULTILINE)
_OLD_LINE = re.compile(
    rb"^[ \t]*\d+\)[ \t]+\d+(?:\.\d+)?[ \t]+(?:[RT]x[ \t]+)?[0-9A-Fa-f]{4,8}[ \t]+\d(?:\s|$)", re.MULTILINE
)

_LAYOUTS = {
    "1.0": "NOILD",
    "1.1": "NOTILD",
    "1.2": "NOBTILD",
    "1.3": "NOBTIRLD",
    "2.0": "NOTIdlD",
    "2.1": "NOTBIdRlD",
}
_BAD_TIME, _BAD_KIND, _BAD_BUS, _BAD_ID, _BAD_LENGTH, _SHORT, _BAD_DATA = range(1, 8)
_REASONS = (
    "",
    NOT_A_FRAME,
    "the type of the message is not known",
    "the bus is no number from 0 to 255",
    "the id is not hexadecimal or has more than 29 bits",
    "the length is no number of bytes that a frame can have",
    "fewer bytes of data than the length says",
    "data that are no bytes",
)


def recognises(head: bytes) -> bool:
    """Whether a file that begins like this is a PEAK trace."""
    return bool(_VERSION.search(head) or (_OLD_RULE.search(head) and _OLD_LINE.search(head)))


def read(file: BinaryIO) -> Log:
    """Open a log.

    Raises:
        MalformedBodyError: it is of a version that is not known, or its columns lack what makes a frame.
    """
    blocks = lines_of(file)
    first = next(blocks, None)
    if first is None:
        return Log(Header(Clock.RELATIVE), iter(()))
    head = first.text[:HEADER_BYTES].tobytes()
    reader = _Reader(_layout(head))
    return Log(_header(head), (reader.block(lines) for lines in chain((first,), blocks)))


def _header(head: bytes) -> Header:
    found = _START.search(head)
    if not found:
        return Header(Clock.RELATIVE)
    try:
        days = Decimal(found[1].decode().replace(",", "."))
        start = EPOCH + dt.timedelta(microseconds=int((days * 86_400_000_000).to_integral_value()))
    except (InvalidOperation, OverflowError):
        return Header(Clock.RELATIVE)
    return Header(Clock.LOCAL, start) if days >= 1 else Header(Clock.RELATIVE)


def _layout(head: bytes) -> _Layout:
    found = _VERSION.search(head)
    version = found[1].decode() if found else "1.0"
    letters = _LAYOUTS.get(version)
    if letters is None:
        raise MalformedBodyError(f"TRC version {version} is not one of {', '.join(_LAYOUTS)}")
    told = _COLUMNS.search(head)
    if version >= "2" and told:
        letters = re.sub(r"[\s,]", "", told[1].decode())
    place = {letter: letters.index(letter) for letter in letters}
    needed = "OID" if version < "2" else "OTID"
    if not all(letter in place for letter in needed) or not ("l" in place or "L" in place):
        raise MalformedBodyError("$COLUMNS names no offset, type, id, length or data")
    return _Layout(version, place)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which word of a line is what, by PEAK's letters."""

    version: str
    place: dict[str, int]

    @property
    def old(self) -> bool:
        return self.version < "2"


@dataclass(frozen=True, slots=True)
class _Kinds:
    """What each line is. `known` is false for lines of a type that is not known."""

    data: Flags
    fd: Flags
    remote: Flags
    error: Flags
    known: Flags


@dataclass(slots=True)
class _Reader:
    layout: _Layout
    channels: Channels = field(default_factory=Channels)
    rejects: Rejects = field(default_factory=Rejects)

    def block(self, lines: Lines) -> Block:
        words = words_of(lines)
        comment = lines.text[words.column(0)[0]] == COMMENT
        at = np.flatnonzero((words.count > 0) & ~comment)
        words = words.take(at)
        why = np.zeros(len(at), np.uint8)
        place = self.layout.place
        time_us, timed = decimal_point(lines.text, *words.column(place["O"]), MS_PLACES)
        kinds = _kinds(words, self.layout)
        why[~kinds.known] = _BAD_KIND
        why[~timed | (words.count <= max(place["O"], place.get("T", place["I"])))] = _BAD_TIME
        good = why == 0
        chosen = np.flatnonzero(kinds.data & good)
        frames = self._frames(words.take(chosen), time_us[chosen], kinds.fd[chosen], chosen, why)
        everywhere = np.zeros(len(lines), np.uint8)
        everywhere[at] = why
        reject(lines, everywhere, _REASONS, self.rejects)
        return block_of(frames, self.rejects, int((kinds.remote & good).sum()), int((kinds.error & good).sum()))

    def _frames(
        self, words: Words, time_us: NDArray[np.int64], fd: Flags, chosen: Offsets, why: NDArray[np.uint8]
    ) -> Frames:
        text, place = words.text, self.layout.place
        reasons = np.zeros(len(chosen), np.uint8)
        length, sized = self._lengths(words, fd)
        reasons[length + place["D"] > words.count] = _SHORT
        reasons[~sized] = _BAD_LENGTH
        at, end = words.column(place["I"])
        value, written = hexadecimal(text, at, end)
        can_id, fits = ids_of(value, end - at > 4)
        reasons[~(written & fits)] = _BAD_ID
        bus = np.zeros(len(chosen), np.int64)
        if "B" in place:
            bus, numbered = decimal(text, *words.column(place["B"]))
            reasons[~(numbered & (bus < 256))] = _BAD_BUS
        length = np.where(reasons == 0, length, 0)
        rows, right = payloads_of(words, place["D"], length)
        reasons[~right & (reasons == 0)] = _BAD_DATA
        why[chosen] = reasons
        kept = np.flatnonzero(reasons == 0)
        if len(kept) < len(chosen):
            time_us, can_id, bus = time_us[kept], can_id[kept], bus[kept]
            length, rows = length[kept], rows[kept]
        return frames_of(time_us, can_id, self._channels(bus), length, rows, self.channels)

    def _lengths(self, words: Words, fd: Flags) -> tuple[Offsets, Flags]:
        """Bytes of data, from their number or from a data length code."""
        place = self.layout.place
        value, fits = decimal(words.text, *words.column(place["l" if "l" in place else "L"]))
        if "l" in place or self.layout.old:
            return value, fits & (value <= np.where(fd, MAX_BYTES, WORD_BYTES))
        length = FD_LENGTHS[np.minimum(value, len(FD_LENGTHS) - 1)]
        return np.where(fd, length, np.minimum(length, WORD_BYTES)), fits & (value < len(FD_LENGTHS))

    def _channels(self, bus: NDArray[np.int64]) -> NDArray[np.uint8]:
        if "B" in self.layout.place:
            return channel_numbers(self.channels, bus)
        if not self.channels.names:
            self.channels.names.append("")
        return np.zeros(len(bus), np.uint8)


def _kinds(words: Words, layout: _Layout) -> _Kinds:
    if layout.version == "1.0":
        return _kinds_without_type(words, layout)
    at, end = words.column(layout.place["T"])
    types, size = load8(words.text, at), end - at

    def one_of(*names: bytes) -> Flags:
        found = np.zeros(len(at), np.bool_)
        for name in names:
            found |= starts_with(types, name) & (size == len(name))
        return found

    if layout.old:
        frame, error, event = one_of(b"rx", b"tx"), one_of(b"error"), one_of(b"warng", b"event")
        remote = frame & _word_is(words, layout.place["D"], b"rtr")
        return _Kinds(frame & ~remote, np.zeros(len(at), np.bool_), remote, error, frame | error | event)
    plain, fd = one_of(b"dt"), one_of(b"fd", b"fb", b"fe", b"bi")
    remote, error, event = one_of(b"rr"), one_of(b"er"), one_of(b"st", b"ec", b"ev")
    return _Kinds(plain | fd, fd, remote, error, plain | fd | remote | error | event)


def _kinds_without_type(words: Words, layout: _Layout) -> _Kinds:
    """Version 1.0: the data tell remote and error frames, the id tells warnings."""
    remote = _word_is(words, layout.place["D"], b"rtr")
    error = _word_is(words, layout.place["D"], b"error")
    event = _word_is(words, layout.place["I"], b"ffffffff")
    every = np.ones(len(remote), np.bool_)
    return _Kinds(~remote & ~error & ~event, ~every, remote, error, every)


def _word_is(words: Words, column: int, name: bytes) -> Flags:
    at, end = words.column(column)
    same = starts_with(load8(words.text, at), name)
    same &= (end - at == len(name)) & (words.count > column)
    return same
