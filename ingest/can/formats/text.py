"""Lines of text logs as columns: where they begin and end, and numbers out of their bytes without a Python loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ingest.can.formats.log import FAULTS_KEPT, Fault

TEXT_BLOCK_BYTES = 2 * 2**20
"""A block stays in the processor's caches."""
MOST_LINE_BYTES = 64 * 2**10
PAD = 64
"""Bytes beyond the last line, so that loads of eight bytes stay inside."""
SHOWN_CHARACTERS = 200
NEWLINE, RETURN, SPACE = 10, 13, 32

Offsets = NDArray[np.int64]
U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of a block. `text` has PAD zero bytes after its last line; line n is text[start[n]:end[n]].

    `first_row` is the number of the first line in the file, from 1.
    """

    text: U8
    start: Offsets
    end: Offsets
    first_row: int

    def __len__(self) -> int:
        return len(self.start)

    def line(self, n: int) -> bytes:
        """One line."""
        return self.text[self.start[n] : self.end[n]].tobytes()


def lines_of(file: BinaryIO, block_bytes: int = TEXT_BLOCK_BYTES) -> Iterator[Lines]:
    """The lines of a file, block by block; line ends (LF or CRLF) are taken off.

    A line is cut at MOST_LINE_BYTES; what follows in it is dropped, so that memory is bounded whatever the bytes are.
    """
    rest, row, dropping = b"", 1, False
    while block := file.read(block_bytes):
        if dropping:
            after = block.find(b"\n") + 1
            if not after:
                continue
            block, dropping = block[after:], False
        data = rest + block if rest else block
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        if len(rest) > MOST_LINE_BYTES:
            data = data[: end + MOST_LINE_BYTES] + b"\n"
            rest, end, dropping = b"", len(data), True
        if end:
            lines = _split(data, end, row)
            row += len(lines)
            yield lines
    if rest:
        yield _split(rest + b"\n", len(rest) + 1, row)


def _split(data: bytes, size: int, row: int) -> Lines:
    """The lines in the first `size` bytes, of which the last ends there."""
    text = np.empty(size + PAD, np.uint8)
    text[:size] = np.frombuffer(data, np.uint8, size)
    text[size:] = 0
    end = np.flatnonzero(text[:size] == NEWLINE)
    start = np.empty_like(end)
    start[0], start[1:] = 0, end[:-1] + 1
    if b"\r" in data:
        end = end - ((end > start) & (text[end - 1] == RETURN))
    if size > MOST_LINE_BYTES:
        end = np.minimum(end, start + MOST_LINE_BYTES)
    return Lines(text, start, end, row)


def records(text: U8, at: Offsets) -> U64:
    """The PAD bytes from each position on, as a column of eight words (the first byte of a word lowest)."""
    windows = np.lib.stride_tricks.as_strided(
        text[:PAD].view(f"V{PAD}"), shape=(len(text) - PAD + 1,), strides=(1,), writeable=False
    )
    rows = windows[at].view(np.uint64).reshape(len(at), PAD // WORD)
    # One copy makes each word's column contiguous, which every later step is faster by.
    return np.ascontiguousarray(rows.T)


def cut(columns: U64, offset: int) -> U64:
    """The eight bytes at this offset of each of the `records`; zeros beyond their end."""
    n, shift = divmod(offset, WORD)
    if not shift:
        whole: U64 = columns[n]
        return whole
    word: U64 = columns[n] >> np.uint64(8 * shift)
    if n + 1 < len(columns):
        word |= columns[n + 1] << np.uint64(64 - 8 * shift)
    return word


def load8(text: U8, at: Offsets) -> U64:
    """Eight bytes from each position on, the first one lowest."""
    windows = np.lib.stride_tricks.as_strided(
        text[:WORD].view(np.uint64), shape=(len(text) - WORD + 1,), strides=(1,), writeable=False
    )
    return windows[at]


WORD = 8
_ONES = np.uint64(0x0101010101010101)


def _each(byte: int) -> np.uint64:
    return np.uint64(byte) * _ONES


def hex_value(words: U64) -> U64:
    """Eight hex digits (the first in the lowest byte) as the number they write. Other bytes give anything."""
    letter = (words >> np.uint64(6)) & _ONES
    nibbles = (words & _each(0x0F)) + letter * np.uint64(9)
    pairs = ((nibbles << np.uint64(4)) | (nibbles >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    fours = ((pairs << np.uint64(8)) | (pairs >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    return ((fours << np.uint64(16)) | (fours >> np.uint64(32))) & np.uint64(0xFFFFFFFF)


def hex_bytes(words: U64) -> U64:
    """Eight hex digits as four bytes, the first pair in the lowest byte."""
    letter = (words >> np.uint64(6)) & _ONES
    nibbles = (words & _each(0x0F)) + letter * np.uint64(9)
    pairs = ((nibbles << np.uint64(4)) | (nibbles >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    fours = (pairs | (pairs >> np.uint64(8))) & np.uint64(0x0000FFFF0000FFFF)
    return (fours | (fours >> np.uint64(16))) & np.uint64(0xFFFFFFFF)


def not_hex(words: U64) -> U64:
    """Not zero where one of the eight bytes is no hex digit."""
    low7 = words & _each(0x7F)
    folded = low7 | _each(0x20)
    digit = (low7 + _each(0x80 - 0x30)) & ~(low7 + _each(0x80 - 0x3A))
    letter = (folded + _each(0x80 - 0x61)) & ~(folded + _each(0x80 - 0x67)) & (low7 << np.uint64(1))
    wrong: U64 = (~(digit | letter) | words) & _each(0x80)
    return wrong


def are_hex(words: U64) -> NDArray[np.bool_]:
    """Whether all eight bytes are hex digits."""
    same: NDArray[np.bool_] = np.equal(not_hex(words), 0)
    return same


def not_digits(words: U64) -> U64:
    """Not zero where one of the eight bytes is no decimal digit."""
    # A carry into the next byte comes only from a byte that is none, and that one tells already.
    values = words ^ _each(0x30)
    wrong: U64 = ((values + _each(0x80 - 10)) | values) & _each(0x80)
    return wrong


def are_digits(words: U64) -> NDArray[np.bool_]:
    """Whether all eight bytes are decimal digits."""
    same: NDArray[np.bool_] = np.equal(not_digits(words), 0)
    return same


def decimal_value(words: U64) -> U64:
    """Eight decimal digits (the first in the lowest byte) as the number they write."""
    digits = words & _each(0x0F)
    pairs = (digits * np.uint64(10) + (digits >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    fours = (pairs * np.uint64(100) + (pairs >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    return (fours * np.uint64(10_000) + (fours >> np.uint64(32))) & np.uint64(0xFFFFFFFF)


def last_digits(words: U64, count: int | Offsets, zero: int = 0x30) -> U64:
    """The first `count` of eight bytes as the last ones of a word whose rest is zeros: "12" becomes "00000012"."""
    shift = (WORD - np.asarray(count)).astype(np.uint64) * np.uint64(8)
    moved = words << np.minimum(shift, np.uint64(63))
    moved = np.where(shift >= 64, np.uint64(0), moved)
    filling = np.where(shift >= 64, ~np.uint64(0), (np.uint64(1) << np.minimum(shift, np.uint64(63))) - np.uint64(1))
    filled: U64 = moved | (_each(zero) & filling)
    return filled


@dataclass(slots=True)
class Rejects:
    """Counts what could not be read and keeps the first of it."""

    count: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def room(self) -> int:
        """How many more are told."""
        return FAULTS_KEPT - len(self.faults)

    def add(self, lines: Lines, at: Sequence[int] | Offsets, reason: str) -> None:
        """These lines, for this reason."""
        self.count += len(at)
        for n in at[: self.room]:
            text = lines.line(n)[:SHOWN_CHARACTERS].decode("utf-8", "replace").replace("\x00", "")
            self.faults.append(Fault(lines.first_row + int(n), text, reason))

    def take(self) -> tuple[int, tuple[Fault, ...]]:
        """What was counted since the last time."""
        taken = self.count, tuple(self.faults)
        self.count, self.faults = 0, []
        return taken
