"""Lines by regular expression, whole columns at a time: for text formats whose lines vary.

The expressions run in linear time, so no line can hold the reader up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from ingest.can.formats.log import Block
from ingest.can.formats.text import WORD, Lines, Offsets, Rejects, hex_bytes
from ingest.can.frames import EXTENDED, MAX_BYTES, Bytes, Frames, Ids, Times, concat, pack

NOT_A_FRAME = "not a line of this format"
MOST_CHANNELS = 255
MOST_TEXT_BYTES = 1024


@dataclass(slots=True)
class Channels:
    """Names of channels as numbers, in the order in which they are met."""

    names: list[str] = field(default_factory=list)

    def one(self, name: str) -> int:
        """The number of a name; names beyond the 255th share a number."""
        if name not in self.names and len(self.names) < MOST_CHANNELS:
            self.names.append(name)
        return self.names.index(name) if name in self.names else len(self.names) - 1

    def number(self, names: pl.Series) -> Bytes:
        """The number of each name; names beyond the 255th share a number."""
        for name in names.unique(maintain_order=True).to_list():
            if name not in self.names and len(self.names) < MOST_CHANNELS:
                self.names.append(name)
        table = {name: n for n, name in enumerate(self.names)}
        numbers = names.replace_strict(table, default=len(table) - 1, return_dtype=pl.UInt8)
        return numbers.to_numpy()


def some_text_of(lines: Lines, at: Offsets) -> pl.Series:
    """Some of the lines as text, each cut at MOST_TEXT_BYTES."""
    ends = np.minimum(lines.end[at], lines.start[at] + MOST_TEXT_BYTES)
    cut = [lines.text[start:end] for start, end in zip(lines.start[at].tolist(), ends.tolist(), strict=True)]
    return pl.Series("line", [line.tobytes().decode("utf-8", "replace") for line in cut], dtype=pl.String)


def in_order(parts: list[tuple[Offsets, Frames]], channels: Channels) -> Frames:
    """The frames of several parts in the order of their lines; their channels have one numbering."""
    names = tuple(channels.names) or ("",)
    parts = [(at, replace(frames, channels=names)) for at, frames in parts if len(frames)]
    if not parts:
        return Frames(channels=names)
    if len(parts) == 1:
        return parts[0][1]
    order = np.argsort(np.concatenate([at for at, _ in parts]), kind="stable")
    return concat([frames for _, frames in parts]).take(order)


def matched(lines: pl.Series, pattern: str) -> pl.DataFrame:
    """The named groups of each line that matches, with `n`, its position."""
    groups = lines.str.extract_groups(pattern).struct.unnest()
    kept = groups.with_row_index("n").filter(lines.str.contains(pattern))
    return kept.with_columns(pl.col("n").cast(pl.Int64))


def payload(data: pl.Series, length: pl.Series) -> tuple[Bytes, Bytes]:
    """Hex digits without separators, as `length` bytes in zero-padded rows. Digits beyond are left out."""
    sizes = length.to_numpy().astype(np.uint8)
    width = WORD if not len(sizes) or int(sizes.max()) <= WORD else MAX_BYTES
    digits = pl.DataFrame({"data": data, "digits": length.cast(pl.UInt32) * 2}).select(
        pl.col("data").str.slice(0, pl.col("digits")).str.pad_end(2 * width, "0")
    )
    text = np.frombuffer("".join(digits["data"].to_list()).encode(), np.uint64)
    halves = hex_bytes(text).astype(np.uint32)
    return halves.view(np.uint8).reshape(len(sizes), width), sizes


def ids_of(id_: pl.Series, extended: pl.Series) -> Ids:
    """Ids, with EXTENDED where they have 29 bits."""
    ids = id_.to_numpy().astype(np.uint32)
    return np.where(extended.to_numpy(), ids | EXTENDED, ids)


def frames_of(
    time_us: Times, can_id: Ids, channel: Bytes, data: pl.Series, length: pl.Series, names: list[str]
) -> Frames:
    """Frames of columns."""
    rows, sizes = payload(data, length)
    word, long_at, long_data = pack(rows, sizes)
    return Frames(time_us, can_id, channel, sizes, word, long_at, long_data, tuple(names) or ("",))


def block_of(frames: Frames, rejects: Rejects, remote: int = 0, error: int = 0) -> Block:
    """A block, with the rejects since the last one."""
    count, faults = rejects.take()
    return Block(frames, count, faults, remote, error)


def microseconds(seconds: pl.Expr) -> pl.Expr:
    """Text of seconds with or without a fraction, as microseconds (rounded half up), without going through floats."""
    whole = seconds.str.extract(r"^(\d+)", 1).cast(pl.Int64, strict=False)
    fraction = seconds.str.extract(r"\.(\d+)", 1).fill_null("0").str.slice(0, 7).str.pad_end(7, "0")
    tenths = fraction.cast(pl.Int64, strict=False)
    return whole * 1_000_000 + (tenths + 5) // 10
