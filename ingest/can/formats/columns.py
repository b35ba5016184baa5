"""Text whose columns stand between blanks: words of lines, and numbers and payloads out of them, all lines at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest.can.formats.matching import Channels
from ingest.can.formats.text import (
    SPACE,
    U8,
    U64,
    WORD,
    Lines,
    Offsets,
    Rejects,
    are_digits,
    are_hex,
    decimal_value,
    hex_value,
    last_digits,
    load8,
)
from ingest.can.frames import EXTENDED, MAX_BYTES, WORD_BYTES, Bytes, Frames, Ids, Times

Flags = NDArray[np.bool_]
DOT = ord(".")
MOST_PLACES = 9
MOST_DIGITS = 12
"""Digits before the point; more than that, times a million, would not fit 63 bits."""
STANDARD_IDS = 0x7FF
EXTENDED_IDS = 0x1FFFFFFF
FD_LENGTHS = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64], np.int64)
"""Bytes of data by data length code."""


@dataclass(frozen=True, slots=True)
class Words:
    """Runs of bytes that are no blanks: word n is text[start[n]:end[n]].

    Line k has `count[k]` words, the first of them is number `first[k]`.
    """

    text: U8
    start: Offsets
    end: Offsets
    first: Offsets
    count: Offsets

    def take(self, at: Offsets) -> Words:
        """The words of these lines."""
        return Words(self.text, self.start, self.end, self.first[at], self.count[at])

    def column(self, n: int | Offsets) -> tuple[Offsets, Offsets]:
        """Where the n-th word of each line begins and ends; anything for lines that have none."""
        at = np.minimum(self.first + n, len(self.start) - 1)
        return self.start[at], self.end[at]


def words_of(lines: Lines) -> Words:
    """The words of lines that follow one another in their text."""
    inside = lines.text > SPACE
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    if inside[0]:
        edges = np.concatenate([np.zeros(1, np.int64), edges])
    start, end = edges[0::2], edges[1::2]
    first = np.searchsorted(start, lines.start)
    count = np.diff(first, append=len(start))
    if not len(start):
        start = end = np.zeros(1, np.int64)
    return Words(lines.text, start, end, first, count)


def decimal_point(text: U8, at: Offsets, end: Offsets, places: int) -> tuple[Times, Flags]:
    """Decimal numbers times ten to the power of `places`, rounded half up, and which of them are such numbers."""
    value, fits = np.zeros(len(at), np.int64), np.zeros(len(at), np.bool_)
    left = np.arange(len(at))
    for digits in _places(text, at, end):
        here = end[left] - 1 - digits
        pointed = (here > at[left]) & (text[here] == DOT)
        if pointed.all():
            value[left], fits[left] = _pointed(text, at[left], here, digits, places)
            return value, fits
        chosen = left[pointed]
        value[chosen], fits[chosen] = _pointed(text, at[chosen], here[pointed], digits, places)
        left = left[~pointed]
    whole, fits[left] = decimal(text, at[left], end[left])
    value[left] = whole * 10**places
    return value, fits


def _places(text: U8, at: Offsets, end: Offsets) -> list[int]:
    """How many digits may stand behind the point; those of the first number first."""
    usual = 6
    if len(at):
        word = text[at[0] : min(end[0], at[0] + 32)].tobytes()
        usual = len(word) - 1 - word.rfind(b".")
    return sorted(range(1, MOST_PLACES + 1), key=lambda digits: digits != usual)


def _pointed(text: U8, at: Offsets, point: Offsets, digits: int, places: int) -> tuple[Times, Flags]:
    whole, fits = decimal(text, at, point)
    written = load8(text, point + 1)
    fits &= are_digits(last_digits(written, min(digits, WORD)))
    if digits > WORD:
        fits &= (text[point + MOST_PLACES] - np.uint8(ord("0"))) < 10
    kept = min(digits, places + 1)
    fraction = decimal_value(last_digits(written, kept)).view(np.int64)
    fraction = (fraction + 5) // 10 if kept > places else fraction * 10 ** (places - kept)
    return whole * 10**places + fraction, fits


def decimal(text: U8, at: Offsets, end: Offsets) -> tuple[Times, Flags]:
    """Whole decimal numbers of at most twelve digits, and which of them are such numbers."""
    size = end - at
    low = last_digits(load8(text, np.maximum(at, end - WORD)), np.clip(size, 0, WORD))
    value, fits = decimal_value(low).view(np.int64), are_digits(low) & (size > 0) & (size <= MOST_DIGITS)
    if len(size) and int(size.max()) > WORD:
        high = last_digits(load8(text, at), np.clip(size - WORD, 0, WORD))
        value = value + decimal_value(high).view(np.int64) * 10**WORD
        fits &= are_digits(high)
    return np.where(fits, value, 0), fits


def hexadecimal(text: U8, at: Offsets, end: Offsets) -> tuple[Times, Flags]:
    """Hexadecimal numbers of at most eight digits, and which of them are such numbers."""
    size = end - at
    written = last_digits(load8(text, at), np.clip(size, 0, WORD))
    fits = are_hex(written) & (size > 0) & (size <= WORD)
    return hex_value(written).view(np.int64), fits


def ids_of(value: Times, extended: Flags) -> tuple[Ids, Flags]:
    """Ids of numbers, and which of them are ids. What does not fit 11 bits has 29, whatever its line says."""
    extended = extended | (value > STANDARD_IDS)
    ids = (value & EXTENDED_IDS).astype(np.uint32)
    return np.where(extended, ids | EXTENDED, ids), value <= EXTENDED_IDS


def starts_with(words: U64, prefix: bytes) -> Flags:
    """Whether the bytes (first one lowest) begin with a lower-case prefix of up to eight, in whatever case."""
    mask = np.uint64((1 << 8 * len(prefix)) - 1)
    fold = np.uint64(0x2020202020202020)
    same: Flags = ((words | fold) & mask) == ((np.uint64(int.from_bytes(prefix, "little")) | fold) & mask)
    return same


def payloads_of(words: Words, column: int | Offsets, length: Offsets, base: int = 16) -> tuple[U64, Flags]:
    """The data whose first byte is the word `column` of each line; the lines have so many words.

    Returns rows of eight bytes for each number (one number a row while nothing is longer than eight bytes, else
    eight), zeros beyond the length, and which rows are right.
    """
    width = 1 if not len(length) or int(length.max()) <= WORD_BYTES else MAX_BYTES // WORD_BYTES
    rows = np.zeros((len(length), width), np.uint64)
    if base == 10:
        return rows, _one_by_one(words, column, length, base, rows, np.arange(len(length)))
    at, _ = words.column(column)
    _, end = words.column(column + np.maximum(length, 1) - 1)
    fits = (end - at == 3 * length - 1) | (length == 0)
    for n in range(width):
        rows[:, n], right = _eight(words.text, at + 3 * WORD_BYTES * n, np.clip(length - WORD_BYTES * n, 0, WORD_BYTES))
        fits &= right
    if not fits.all():
        odd = np.flatnonzero(~fits)
        first = column if isinstance(column, int) else column[odd]
        fits[odd] = _one_by_one(words.take(odd), first, length[odd], base, rows, odd)
    return rows, fits


def _kept(size: int, group: int) -> int:
    """The bytes of three written pairs (of which one begins at each third byte) that belong to the data."""
    return sum(0xFFFF << 24 * n for n in range(3) if group + n < size)


_GROUPS = (0, 3, 5)
_KEEP = np.array([[_kept(size, group) for size in range(WORD_BYTES + 1)] for group in _GROUPS], np.uint64)
_FILL = ~_KEEP & np.uint64(0x3030303030303030)
_LETTERS = np.uint64(0x0101010101010101)
_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)


def _eight(text: U8, at: Offsets, size: Offsets) -> tuple[U64, Flags]:
    """Up to eight bytes written as `00 11 22 ...`, three of them in each of three loads that overlap."""
    word, fits = np.zeros(len(at), np.uint64), np.ones(len(at), np.bool_)
    pick: Offsets | int = WORD_BYTES if bool((size == WORD_BYTES).all()) else size
    last = len(text) - WORD
    for keep, fill, group in zip(_KEEP, _FILL, _GROUPS, strict=True):
        written = (load8(text, np.minimum(at + 3 * group, last)) & keep[pick]) | fill[pick]
        fits &= are_hex(written)
        nibbles = (written & _NIBBLES) + ((written >> np.uint64(6)) & _LETTERS) * np.uint64(9)
        pairs = (nibbles << np.uint64(4)) | (nibbles >> np.uint64(8))
        three = pairs & np.uint64(0xFF)
        three |= (pairs >> np.uint64(16)) & np.uint64(0xFF00)
        three |= (pairs >> np.uint64(32)) & np.uint64(0xFF0000)
        word |= three << np.uint64(8 * group)
    return word, fits


def _digits() -> Bytes:
    table = np.full(256, 255, np.uint8)
    for value, character in enumerate("0123456789abcdef"):
        table[ord(character)] = table[ord(character.upper())] = value
    return table


_DIGITS = _digits()


def _one_by_one(words: Words, column: int | Offsets, length: Offsets, base: int, rows: U64, to: Offsets) -> Flags:
    """Bytes as words of any width, into `rows[to]`; which of the lines are right."""
    line = np.repeat(np.arange(len(length)), length)
    place = np.arange(len(line)) - np.repeat(np.cumsum(length) - length, length)
    word = np.minimum((words.first + column)[line] + place, len(words.start) - 1)
    at, size = words.start[word], words.end[word] - words.start[word]
    value, right = np.zeros(len(at), np.int64), (size >= 1) & (size <= (2 if base == 16 else 3))
    for n in range(3):
        digit = _DIGITS[words.text[np.minimum(at + n, len(words.text) - 1)]].astype(np.int64)
        there = size > n
        value = np.where(there, value * base + digit, value)
        right &= ~there | (digit < base)
    right &= value < 256
    rows.view(np.uint8)[to[line], place] = np.where(right, value, 0)
    whole: Flags = np.bincount(line[~right], minlength=len(length)) == 0
    return whole


def frames_of(time_us: Times, can_id: Ids, channel: Bytes, length: Offsets, rows: U64, channels: Channels) -> Frames:
    """Frames of columns; `rows` as payloads_of returns them."""
    long_at = np.flatnonzero(length > WORD_BYTES)
    long_data = np.zeros((len(long_at), MAX_BYTES), np.uint8)
    if len(long_at):
        long_data[:] = rows[long_at].view(np.uint8)
    names = tuple(channels.names) or ("",)
    sizes = length.astype(np.uint8)
    return Frames(time_us, can_id, channel, sizes, np.ascontiguousarray(rows[:, 0]), long_at, long_data, names)


def channel_numbers(channels: Channels, value: Times) -> Bytes:
    """Channels that are numbers from 0 to 255 in the log, as numbers of names."""
    table = np.zeros(256, np.uint8)
    present = np.flatnonzero(np.bincount(value, minlength=256))
    table[present] = channels.number(pl.Series([str(n) for n in present.tolist()], dtype=pl.String))
    return table[value]


def reject(lines: Lines, why: NDArray[np.uint8], reasons: tuple[str, ...], rejects: Rejects) -> None:
    """Count the lines whose `why` is not zero: it is the reason's number."""
    at = np.flatnonzero(why)
    told = at[: rejects.room].tolist()
    for n in told:
        rejects.add(lines, (n,), reasons[why[n]])
    rejects.count += len(at) - len(told)
