"""GVRET CSV, as SavvyCAN writes it: microseconds since power-up, or of the epoch."""

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

EPOCH_FROM_US = 100_000_000_000_000
_HEADER = re.compile(rb"^[ \t]*Time Stamp,ID,Extended,", re.MULTILINE)
_LINE = (
    r"^(?P<time>\d{1,18}(?:\.\d{1,9})?),(?P<id>[0-9A-Fa-f]{1,8}),(?P<extended>true|false|True|False|1|0),"
    r"(?:(?:Rx|Tx|RX|TX),)?(?P<channel>\d{1,3}),(?P<length>\d{1,2})(?P<data>(?:,[0-9A-Fa-f]{0,2})*)\s*$"
)
_IGNORED = r"^\s*Time Stamp,"


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
    for lines in lines_of(file, BLOCK_BYTES // 2):
        text = text_of(lines)
        time = pl.col("time")
        found = matched(text, _LINE).with_columns(
            pl.when(time.str.contains(".", literal=True)).then(microseconds(time))
            .otherwise(time.cast(pl.Int64, strict=False)).alias("time"),
            pl.col("id").str.to_integer(base=16, dtype=pl.UInt32, strict=False),
            pl.col("extended").str.to_lowercase().is_in(["true", "1"]),
            pl.col("length").cast(pl.UInt32),
            pl.col("data").str.replace_all(",", "", literal=True),
        )  # fmt: skip
        whole = (pl.col("data").str.len_bytes() >= pl.col("length") * 2) & (pl.col("length") <= MAX_BYTES)
        found = found.filter(whole & pl.col("time").is_not_null())
        reject_rest(lines, text, found["n"], _IGNORED, rejects)
        frames = frames_of(
            found["time"].to_numpy(), ids_of(found["id"], found["extended"]), channels.number(found["channel"]),
            found["data"], found["length"], channels.names,
        )  # fmt: skip
        yield block_of(frames, rejects)
