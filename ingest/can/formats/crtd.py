"""CRTD, the log of Open Vehicles: `166.064000 R11 0000021A FE 36 12`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ingest.can.formats.columns import Words, decimal_point, frames_of, hexadecimal, ids_of, payloads_of, words_of
from ingest.can.formats.log import Block, Clock, Header, Log
from ingest.can.formats.matching import NOT_A_FRAME, Channels, block_of
from ingest.can.formats.text import Lines, Offsets, Rejects, lines_of
from ingest.can.frames import MAX_BYTES, Bytes, Frames

ABSOLUTE_FROM_US = 100_000_000_000_000
COMMENT = ord("#")
_LIKE = re.compile(
    rb"^\d{1,12}\.\d{1,9} "
    rb"(?:\d?[RT](?:11|29) [0-9A-Fa-f]{3,8}(?: [0-9A-Fa-f]{2})*[ \r]*$|\d?C(?:XX|EV|BC|ST|ER|VR|LM) )",
    re.MULTILINE,
)


def recognises(head: bytes) -> bool:
    """Whether a file that begins like this has lines of the form."""
    return bool(_LIKE.search(head))


def read(file: BinaryIO) -> Log:
    """Open a log."""
    blocks = _blocks(file)
    seen: list[Block] = []
    for block in blocks:
        seen.append(block)
        if len(block.frames):
            break
    first = next((int(block.frames.time_us[0]) for block in seen if len(block.frames)), 0)
    return Log(Header(Clock.UTC if first >= ABSOLUTE_FROM_US else Clock.RELATIVE), chain(seen, blocks))


def _blocks(file: BinaryIO) -> Iterator[Block]:
    channels, rejects = Channels(), Rejects()
    for lines in lines_of(file):
        yield _block(lines, channels, rejects)


def _block(lines: Lines, channels: Channels, rejects: Rejects) -> Block:
    words = words_of(lines)
    at, frames = _frames(words, channels)
    other = words.count > 0
    other[at] = False
    rejects.add(lines, np.flatnonzero(other & ~_told(words)), NOT_A_FRAME)
    return block_of(frames, rejects)


def _told(words: Words) -> NDArray[np.bool_]:
    """Lines of comments, events and counters: their type begins with C."""
    at, end = words.column(1)
    size = end - at
    kind = (size >= 3) & (size <= 4) & (words.text[end - 3] == ord("C")) & (words.count >= 2)
    told: NDArray[np.bool_] = kind | (words.text[words.column(0)[0]] == COMMENT)
    return told


def _frames(words: Words, channels: Channels) -> tuple[Offsets, Frames]:
    """The data frames, and the lines they stand in."""
    kept = np.flatnonzero((words.count >= 3) & (words.count <= 3 + MAX_BYTES))
    words = words.take(kept)
    text = words.text
    at, end = words.column(1)
    size = end - at
    bus = text[at] - np.uint8(ord("0"))
    tens, ones = text[end - 2], text[end - 1]
    standard, extended = (tens == ord("1")) & (ones == ord("1")), (tens == ord("2")) & (ones == ord("9"))
    fits = np.isin(text[end - 3], (ord("R"), ord("T"))) & (standard | extended)
    fits &= (size == 3) | ((size == 4) & (bus < 10))
    time_us, timed = decimal_point(text, *words.column(0), 6)
    value, right = hexadecimal(text, *words.column(2))
    can_id, known = ids_of(value, extended)
    fits &= timed & right & known
    length = np.where(fits, words.count - 3, 0)
    rows, whole = payloads_of(words, 3, length)
    good = np.flatnonzero(fits & whole)
    number = _buses(bus[good], size[good] == 4, channels)
    return kept[good], frames_of(time_us[good], can_id[good], number, length[good], rows[good], channels)


def _buses(bus: Bytes, told: NDArray[np.bool_], channels: Channels) -> Bytes:
    """The channels' numbers; lines that tell no bus are of the channel without a name."""
    bus = np.where(told, bus, np.uint8(10))
    table = np.zeros(11, np.uint8)
    for n in np.flatnonzero(np.bincount(bus, minlength=11)).tolist():
        table[n] = channels.one(str(n) if n < 10 else "")
    return table[bus]
