"""GVRET CSV, as SavvyCAN writes it: microseconds since power-up, or of the epoch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import BinaryIO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest.can.formats.columns import (
    Words,
    channel_numbers,
    decimal,
    hexadecimal,
    ids_of,
    payloads_of,
    starts_with,
    words_of,
)
from ingest.can.formats.columns import frames_of as frames_of_rows
from ingest.can.formats.log import Block, Clock, Header, Log
from ingest.can.formats.matching import (
    NOT_A_FRAME,
    Channels,
    block_of,
    frames_of,
    in_order,
    matched,
    microseconds,
    some_text_of,
)
from ingest.can.formats.text import U8, WORD, Lines, Offsets, Rejects, lines_of, load8
from ingest.can.frames import MAX_BYTES, Frames, Times

EPOCH_FROM_US = 100_000_000_000_000
MOST_CHANNEL, MOST_TIME_DIGITS = 255, 18
_HEADER = re.compile(rb"^(?:\xef\xbb\xbf)?[ \t]*Time Stamp,[ \t]*ID,[ \t]*Extended,", re.MULTILINE)
_LINE = (
    r"^\s*(?P<time>\d{1,18}(?:\.\d{1,9})?),(?P<id>[0-9A-Fa-f]{1,8}),(?P<extended>true|false|True|False|TRUE|FALSE|1|0),"
    r"(?:(?:Rx|Tx|RX|TX|rx|tx),)?(?P<channel>\d{1,3}),(?P<length>\d{1,2})(?P<data>(?:,[0-9A-Fa-f]{0,2})*)\s*$"
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def recognises(head: bytes) -> bool:
    """Whether a file that begins like this has GVRET's heading."""
    return bool(_HEADER.search(head))


def read(file: BinaryIO) -> Log:
    """Open a log."""
    blocks = _blocks(file)
    seen: list[Block] = []
    for block in blocks:
        seen.append(block)
        if len(block.frames):
            break
    first = next((int(block.frames.time_us[0]) for block in seen if len(block.frames)), 0)
    return Log(Header(Clock.UTC if first >= EPOCH_FROM_US else Clock.RELATIVE), chain(seen, blocks))


def _blocks(file: BinaryIO) -> Iterator[Block]:
    channels, rejects = Channels(), Rejects()
    for lines in lines_of(file):
        yield _block(lines, channels, rejects)


def _block(lines: Lines, channels: Channels, rejects: Rejects) -> Block:
    words = words_of(replace(lines, text=_BLANKS[lines.text]))
    fits, frames = _usual(words, channels)
    parts = [(fits, frames)]
    rest = np.setdiff1d(np.flatnonzero(words.count > 0), fits, assume_unique=True)
    if len(rest):
        # Only what begins like a line of digits ever sees a regular expression.
        begin = words.take(rest).column(0)[0]
        digit = (lines.text[begin] - np.uint8(ord("0"))) < 10
        odd, others = rest[digit], rest[~digit]
        used, more = _unusual(lines, odd, channels)
        parts.append((odd[used], more))
        written = load8(lines.text, words.take(others).column(0)[0])
        heading = starts_with(written, b"time") | starts_with(written, _BYTE_ORDER_MARK)
        rejects.add(lines, np.sort(np.concatenate([odd[~used], others[~heading]])), NOT_A_FRAME)
    return block_of(in_order(parts, channels), rejects)


def _blanks() -> U8:
    """Commas as the only blanks: what stands between two of them is a word."""
    table = np.arange(256, dtype=np.uint8)
    table[ord(" ")] = table[ord("\t")] = ord("?")
    table[ord(",")] = ord(" ")
    return table


_BLANKS = _blanks()


def _usual(words: Words, channels: Channels) -> tuple[Offsets, Frames]:
    """Lines of microseconds whose cells are all filled, as far as the length tells."""
    kept = np.flatnonzero(words.count >= 5)
    words = words.take(kept)
    text = words.text
    time_us, timed = _micros(text, *words.column(0))
    value, fits = hexadecimal(text, *words.column(1))
    extended, told = _extended(text, *words.column(2))
    at, end = words.column(3)
    direction = (end - at == 2) & ((text[at + 1] | 0x20) == ord("x"))
    column = 3 + direction.astype(np.int64)
    channel, numbered = decimal(text, *words.column(column))
    length, sized = decimal(text, *words.column(column + 1))
    enough = words.count >= column + 2 + length
    fits &= timed & told & numbered & sized & enough & (channel <= MOST_CHANNEL) & (length <= MAX_BYTES)
    can_id, known = ids_of(value, extended)
    fits &= known & _filled(words, column + 1 + length, end)
    length = np.where(fits, length, 0)
    rows, right = payloads_of(words, column + 2, length)
    good = np.flatnonzero(fits & right)
    numbers = channel_numbers(channels, channel[good])
    return kept[good], frames_of_rows(time_us[good], can_id[good], numbers, length[good], rows[good], channels)


def _filled(words: Words, last: Offsets, after: Offsets) -> NDArray[np.bool_]:
    """Whether no cell from the one that ends at `after` to the word `last` is empty: one comma between two words."""
    end = words.column(last)[1]
    commas = np.concatenate(([0], np.cumsum(words.text <= ord(" "))))
    between = commas[np.maximum(end, after)] - commas[after]
    filled: NDArray[np.bool_] = between == last - 3
    return filled


def _extended(text: U8, at: Offsets, end: Offsets) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    written, size = load8(text, at), end - at
    true, false = starts_with(written, b"true") & (size == 4), starts_with(written, b"false") & (size == 5)
    one, zero = (text[at] == ord("1")) & (size == 1), (text[at] == ord("0")) & (size == 1)
    return true | one, true | false | one | zero


def _micros(text: U8, at: Offsets, end: Offsets) -> tuple[Times, NDArray[np.bool_]]:
    """Whole numbers of up to 18 digits: microseconds of the epoch have 16."""
    split = np.maximum(at, end - WORD)
    low, fits = decimal(text, split, end)
    long = split > at
    if not long.any():
        return low, fits
    high, whole = decimal(text, at, split)
    return high * 10**WORD + low, fits & (whole | ~long) & (end - at <= MOST_TIME_DIGITS)


def _unusual(lines: Lines, at: Offsets, channels: Channels) -> tuple[NDArray[np.bool_], Frames]:
    """Which of these lines are frames: times with a fraction are seconds, bytes may have one digit."""
    if not len(at):
        return np.zeros(0, np.bool_), Frames()
    text = some_text_of(lines, at)
    time, size = pl.col("time"), pl.col("length").cast(pl.UInt32)
    micros = pl.when(time.str.contains(".", literal=True)).then(microseconds(time)).otherwise(
        time.cast(pl.Int64, strict=False)
    )  # fmt: skip
    cells = pl.col("data").str.strip_prefix(",").str.split(",").list.head(size)
    found = matched(text, _LINE).with_columns(
        micros.alias("time"),
        pl.col("id").str.to_integer(base=16, dtype=pl.UInt32, strict=False),
        pl.col("extended").str.to_lowercase().is_in(["true", "1"]),
        size.alias("length"),
        cells.list.eval(pl.element().str.zfill(2)).list.join("").alias("data"),
        (size == 0).or_(cells.list.eval(pl.element().str.len_bytes() > 0).list.all()).alias("filled"),
    )
    whole = (pl.col("data").str.len_bytes() >= size * 2) & (pl.col("length") <= MAX_BYTES)
    known = (pl.col("id") < 1 << 29) & (pl.col("channel").cast(pl.UInt32) <= MOST_CHANNEL)
    found = found.filter(whole & known & pl.col("time").is_not_null() & pl.col("filled"))
    can_id, _ = ids_of(found["id"].to_numpy().astype(np.int64), found["extended"].to_numpy())
    frames = frames_of(
        found["time"].to_numpy(), can_id,
        channels.number(found["channel"].str.to_integer().cast(pl.String)), found["data"], found["length"],
        channels.names,
    )  # fmt: skip
    used = np.zeros(len(at), np.bool_)
    used[found["n"].to_numpy()] = True
    return used, frames
