"""Channels of MDF4 records as columns: where a value stands, how it is read, what it means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.can.formats.mdf4_blocks import Channel, Conversion

PAD = 128
"""Bytes behind the last record, so that wide loads stay inside."""
BIG_ENDIAN = (1, 3, 5)
SIGNED = (2, 3)
FLOATS = (4, 5)
VIRTUAL = (3, 6)

U8 = NDArray[np.uint8]
Column = NDArray[np.uint64] | NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rows:
    """`count` records of `size` bytes, one after the other, with PAD bytes behind; the first is number `first`."""

    data: U8
    count: int
    size: int
    first: int

    def view(self, dtype: str, offset: int) -> NDArray[np.generic]:
        """A value of every record, unaligned."""
        return np.ndarray((self.count,), dtype, self.data, offset, (self.size,))

    def bytes_at(self, offset: int, width: int) -> U8:
        """`width` bytes of every record."""
        return np.ndarray((self.count, width), np.uint8, self.data, offset, (self.size, 1))


def padded(*parts: U8) -> U8:
    """The parts as one, with PAD zeros behind."""
    whole = np.empty(sum(len(part) for part in parts) + PAD, np.uint8)
    at = 0
    for part in parts:
        whole[at : at + len(part)] = part
        at += len(part)
    whole[at:] = 0
    return whole


@dataclass(frozen=True, slots=True)
class Number:
    """A numeric channel. `constant` is its value where every record has the same."""

    channel: Channel
    conversion: Conversion
    constant: float | None

    def raw(self, rows: Rows) -> Column:
        """The value in the record."""
        channel = self.channel
        if channel.kind in VIRTUAL:
            return np.arange(rows.first, rows.first + rows.count, dtype=np.int64)
        width = _width(channel)
        item = next(size for size in (1, 2, 4, 8) if size >= width)
        order = ">" if channel.data_type in BIG_ENDIAN else "<"
        if channel.data_type in FLOATS:
            return rows.view(f"{order}f{item}", channel.byte_offset).astype(np.float64)
        return _bits(rows.view(f"{order}u{item}", channel.byte_offset), channel, 8 * item, 8 * width)

    def __call__(self, rows: Rows) -> Column:
        """What it means."""
        raw = self.raw(rows)
        if self.conversion.kind == 0 or self.conversion.linear() == (1.0, 0.0):
            return raw
        return self.conversion(raw.astype(np.float64))


def _bits(loaded: NDArray[np.generic], channel: Channel, item: int, width: int) -> Column:
    low = channel.bit_offset + (item - width if channel.data_type in BIG_ENDIAN else 0)
    value = loaded.astype(np.uint64)
    if low:
        value = value >> np.uint64(low)
    if channel.bits < item - low:
        value &= np.uint64((1 << channel.bits) - 1)
    if channel.data_type not in SIGNED:
        return value
    up = np.int64(64 - channel.bits)
    signed: NDArray[np.int64] = (value.view(np.int64) << up) >> up
    return signed


def _width(channel: Channel) -> int:
    return (channel.bit_offset + channel.bits + 7) // 8


def number(channel: Channel | None, conversion: Conversion, size: int) -> Number | None:
    """A channel as a number; None where it is none or does not stand within a record of `size` bytes."""
    if channel is None:
        return None
    if conversion.is_constant:
        return Number(channel, conversion, conversion.values[0])
    if channel.kind in VIRTUAL:
        return Number(channel, conversion, None) if channel.kind == 3 or conversion.kind else None
    fits = 0 < _width(channel) <= 8 and channel.byte_offset + _width(channel) <= size and channel.bit_offset < 8
    is_float = channel.data_type in FLOATS
    known = channel.data_type <= max(FLOATS) and (not is_float or (channel.bits in (32, 64) and not channel.bit_offset))
    return Number(channel, conversion, None) if fits and channel.bits and known else None
