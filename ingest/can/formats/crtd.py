"""CRTD, the log of Open Vehicles: `166.064000 R11 0000021A FE 36 12`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

import polars as pl

from ingest.can.formats.log import BLOCK_BYTES, Block, Clock, Header, Log
from ingest.can.formats.matching import (
    Channels,
    block_of,
    frames_of,
    ids_of,
    matched,
    microseconds,
    reject_rest,
    text_of,
)
from ingest.can.formats.text import Rejects, lines_of
from ingest.can.frames import MAX_BYTES

ABSOLUTE_FROM_US = 100_000_000_000_000
_LIKE = re.compile(rb"^\d+\.\d+ \d?(?:[RT](?:11|29) [0-9A-Fa-f]+|C[A-Z]{2} )", re.MULTILINE)
_LINE = (
    r"^(?P<time>\d{1,12}(?:\.\d{1,9})?) (?P<channel>\d?)[RT](?P<bits>11|29) (?P<id>[0-9A-Fa-f]{1,8})"
    r"(?P<data>(?: [0-9A-Fa-f]{2})*)\s*$"
)
_IGNORED = r"^\S+ \d?C[A-Z]{2}\b"


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
    for lines in lines_of(file, BLOCK_BYTES // 2):
        text = text_of(lines)
        found = matched(text, _LINE).with_columns(
            microseconds(pl.col("time")).alias("time"),
            pl.col("id").str.to_integer(base=16, dtype=pl.UInt32, strict=False),
            pl.col("bits") == "29",
            pl.col("data").str.replace_all(" ", "", literal=True),
        )
        found = found.filter(pl.col("data").str.len_bytes() <= 2 * MAX_BYTES)
        reject_rest(lines, text, found["n"], _IGNORED, rejects)
        frames = frames_of(
            found["time"].to_numpy(), ids_of(found["id"], found["bits"]), channels.number(found["channel"]),
            found["data"], found["data"].str.len_bytes() // 2, channels.names,
        )  # fmt: skip
        yield block_of(frames, rejects)
