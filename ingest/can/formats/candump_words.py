"""Lines of candump word by word: file form of any length and CAN FD, and console form."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest.can.formats.columns import Words, decimal, decimal_point, frames_of, hexadecimal, payloads_of
from ingest.can.formats.matching import Channels
from ingest.can.formats.text import U8, U64, WORD, Offsets, are_hex, hex_bytes, last_digits, load8
from ingest.can.frames import EXTENDED, MAX_BYTES, WORD_BYTES, Bytes, Frames, Ids

Flags = NDArray[np.bool_]
OPEN, CLOSE, HASH, UNDERSCORE, QUOTE = (ord(character) for character in "()#_'")
BRACKET, UNBRACKET = ord("["), ord("]")
MOST_NAME_BYTES = 15
MOST_ROUNDS = 32
_DIRECTIONS = np.array([ord(letter) for letter in "RT"], np.uint8)


def by_words(words: Words, channels: Channels) -> tuple[Flags, list[tuple[Offsets, Frames]]]:
    """Which lines are data frames in one of the forms, and where they and what frames they are."""
    done = np.zeros(len(words.count), np.bool_)
    parts: list[tuple[Offsets, Frames]] = []
    begin, end = words.column(0)
    timed = (words.count >= 3) & (words.text[begin] == OPEN) & (words.text[end - 1] == CLOSE) & (end - begin > 2)
    for form in (_file, _console):
        at = np.flatnonzero(timed & ~done)
        if len(at):
            fits, frames = form(words.take(at), channels)
            parts.append((at[fits], frames))
            done[at[fits]] = True
    return done, [(at, frames) for at, frames in parts if len(at)]


def _time(words: Words) -> tuple[NDArray[np.int64], Flags]:
    begin, end = words.column(0)
    return decimal_point(words.text, begin + 1, end - 1, 6)


def _file(words: Words, channels: Channels) -> tuple[Offsets, Frames]:
    """`ID#DATA` and `ID##FDATA`, with a raw data length and a direction perhaps behind."""
    text = words.text
    at, end = words.column(2)
    short, long = text[at + 3] == HASH, text[at + 8] == HASH
    one_more = words.column(3)
    said = (words.count == 4) & (one_more[1] - one_more[0] == 1) & np.isin(text[one_more[0]], _DIRECTIONS)
    kept = np.flatnonzero((short | long) & (end - at > np.where(short, 3, 8)) & ((words.count == 3) | said))
    words, at, end, short = words.take(kept), at[kept], end[kept], short[kept]
    hash_at = at + np.where(short, 3, 8)
    fd = (text[hash_at + 1] == HASH) & (hash_at + 2 < end)
    suffixed = ~fd & (end - hash_at > 2) & (text[end - 2] == UNDERSCORE)
    flag = np.where(suffixed, end - 1, hash_at + 2)
    fits = ~(fd | suffixed) | are_hex(last_digits(load8(text, flag), 1))
    digits = end - 2 * suffixed - (hash_at + 1 + 2 * fd)
    fits &= (digits >= 0) & (digits & 1 == 0) & (digits <= 2 * np.where(fd, MAX_BYTES, WORD_BYTES))
    digits = np.where(fits, digits, 0)
    rows, right = _pairs(text, hash_at + 1 + 2 * fd, digits >> 1)
    can_id, known = _ids(text, at, hash_at)
    time_us, timed = _time(words)
    good = np.flatnonzero(fits & right & known & timed)
    channel = _numbers(words.take(good), channels)
    frames = frames_of(time_us[good], can_id[good], channel, digits[good] >> 1, rows[good], channels)
    return kept[good], frames


def _console(words: Words, channels: Channels) -> tuple[Offsets, Frames]:
    """`ID  [8]  00 11 ...`, with direction and flags perhaps before the id and text in quotes behind."""
    text = words.text
    at, end = words.column(2)
    flagged = (end - at == 2) & (words.count > 6) & np.isin(text[at], _DIRECTIONS) & (text[at + 1] == ord("X"))
    column = 2 + 3 * flagged.astype(np.int64)
    at, end = words.column(column)
    begin, finish = words.column(column + 1)
    bracketed = (text[begin] == BRACKET) & (text[finish - 1] == UNBRACKET) & (words.count > column + 1)
    length, fits = decimal(text, begin + 1, finish - 1)
    after = words.count - column - 2 - length
    fits &= bracketed & np.isin(end - at, (3, 8)) & (length <= MAX_BYTES) & (after >= 0)
    fits &= (after == 0) | (text[words.column(column + 2 + length)[0]] == QUOTE)
    kept = np.flatnonzero(fits & _flags_right(words, flagged))
    words, at, end, column, length = words.take(kept), at[kept], end[kept], column[kept], length[kept]
    rows, right = payloads_of(words, column + 2, length)
    can_id, known = _ids(text, at, end)
    time_us, timed = _time(words)
    good = np.flatnonzero(right & known & timed)
    channel = _numbers(words.take(good), channels)
    return kept[good], frames_of(time_us[good], can_id[good], channel, length[good], rows[good], channels)


def _flags_right(words: Words, flagged: Flags) -> Flags:
    routed, own = words.text[words.column(3)[0]], words.text[words.column(4)[0]]
    return ~flagged | (np.isin(routed, (ord("-"), ord("B"))) & np.isin(own, (ord("-"), ord("E"))))


def _ids(text: U8, at: Offsets, end: Offsets) -> tuple[Ids, Flags]:
    value, fits = hexadecimal(text, at, end)
    extended = end - at == WORD
    fits &= np.where(extended, value & (1 << 30) == 0, value < 1 << 11)
    ids = value.astype(np.uint32)
    return np.where(extended, ids | EXTENDED, ids), fits


def _pairs(text: U8, at: Offsets, size: Offsets) -> tuple[U64, Flags]:
    """Pairs of hex digits without blanks, in rows as `frames_of` takes them; which of them are right."""
    width = 1 if not len(size) or int(size.max()) <= WORD_BYTES else MAX_BYTES // WORD_BYTES
    rows, fits = np.zeros((len(size), width), np.uint64), np.ones(len(size), np.bool_)
    last = len(text) - WORD
    for n in range(2 * width):
        left = np.clip(2 * size - WORD * n, 0, WORD)
        here = np.flatnonzero(left)
        if not len(here):
            break
        written = load8(text, np.minimum(at[here] + WORD * n, last))
        filled = (written & _KEEP[left[here]]) | _FILL[left[here]]
        fits[here] &= are_hex(filled)
        rows[here, n // 2] |= hex_bytes(filled) << np.uint64(32 * (n % 2))
    return rows, fits


_KEEP = np.array([(1 << 8 * count) - 1 for count in range(WORD + 1)], np.uint64)
_FILL = ~_KEEP & np.uint64(0x3030303030303030)


def _numbers(words: Words, channels: Channels) -> Bytes:
    """The numbers of the lines' channels."""
    at, end = words.column(1)
    size = np.minimum(end - at, MOST_NAME_BYTES + 1)
    low = load8(words.text, at) & _KEEP[np.minimum(size, WORD)]
    high = load8(words.text, at + WORD) & _KEEP[np.clip(size - WORD, 0, WORD)]
    numbers, left = np.zeros(len(at), np.uint8), np.arange(len(at))
    for _ in range(MOST_ROUNDS):
        if not len(left):
            return numbers
        same = (low[left] == low[left[0]]) & (high[left] == high[left[0]])
        numbers[left[same]] = channels.one(_name(words.text, at[left[0]], end[left[0]]))
        left = left[~same]
    names = [_name(words.text, at[n], end[n]) for n in left.tolist()]
    numbers[left] = channels.number(pl.Series(names, dtype=pl.String))
    return numbers


def _name(text: U8, at: np.int64, end: np.int64) -> str:
    return text[at : min(end, at + MOST_NAME_BYTES)].tobytes().decode("utf-8", "replace")
