"""Blocks of an MDF4 file: what groups and channels there are. Hostile links end a list, they never raise."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

HEAD_BYTES = 24
FIRST_BLOCK = 64
AT_ONCE = 256
"""Read for a block in one go; almost every block of metadata fits."""
MOST_META_BYTES = 2**20
MOST_NAME_BYTES = 1024
MOST_GROUPS = 2**16
MOST_CHANNELS = 100_000
VLSD_GROUP = 1
REMOTE_MASTER = 8

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Block:
    """`length` as the block says it, which may be a lie; `data` is cut at MOST_META_BYTES and at the file's end."""

    kind: bytes
    address: int
    length: int
    links: tuple[int, ...]
    data: bytes

    def link(self, n: int) -> int:
        """Address of the nth link, 0 for none."""
        return self.links[n] if n < len(self.links) else 0

    def unpack(self, layout: str) -> tuple[int, ...]:
        """The data's first numbers; what is missing is zero."""
        size = struct.calcsize(layout)
        return struct.unpack(layout, self.data[:size].ljust(size, b"\0"))


@dataclass(slots=True)
class Source:
    """The file, and the addresses of the blocks met so far. No block is listed twice."""

    file: BinaryIO
    size: int
    met: set[int] = field(default_factory=set)

    def read(self, at: int, count: int) -> bytes:
        """Up to `count` bytes; fewer at the end of the file."""
        if not 0 <= at < self.size:
            return b""
        self.file.seek(at)
        return self.file.read(min(count, self.size - at))

    def head(self, at: int) -> tuple[bytes, int] | None:
        """Kind and length of the block at an address; None where there is none."""
        raw = self.read(at, HEAD_BYTES) if at >= FIRST_BLOCK else b""
        if len(raw) < HEAD_BYTES or raw[:2] != b"##":
            return None
        return raw[2:4], int.from_bytes(raw[8:16], "little")

    def block(self, at: int, *kinds: bytes) -> Block | None:
        """The block of metadata at an address; None where there is none of these kinds."""
        raw = self.read(at, AT_ONCE) if at >= FIRST_BLOCK else b""
        if len(raw) < HEAD_BYTES or raw[:2] != b"##" or raw[2:4] not in kinds:
            return None
        length, count = struct.unpack_from("<QQ", raw, 8)
        if min(length, MOST_META_BYTES) > len(raw):
            raw = self.read(at, min(length, MOST_META_BYTES))
        whole = raw[: max(length, HEAD_BYTES)]
        count = min(count, (len(whole) - HEAD_BYTES) // 8)
        links = struct.unpack_from(f"<{count}Q", whole, HEAD_BYTES)
        return Block(raw[2:4], at, length, links, whole[HEAD_BYTES + 8 * count :])

    def chain(self, at: int, kind: bytes, most: int) -> Iterator[Block]:
        """Blocks that link to the next one first."""
        for _ in range(most):
            block = None if at in self.met else self.block(at, kind)
            if block is None:
                return
            self.met.add(at)
            yield block
            at = block.link(0)

    def text(self, at: int) -> str:
        """A text block's text; empty where there is none."""
        block = self.block(at, b"TX", b"MD")
        return block.data[:MOST_NAME_BYTES].split(b"\0")[0].decode("utf-8", "replace") if block else ""


@dataclass(frozen=True, slots=True)
class Conversion:
    """From raw to physical values, for the kinds that numbers have; others leave them raw."""

    kind: int = 0
    values: tuple[float, ...] = ()

    @property
    def is_constant(self) -> bool:
        """Whether it gives one value whatever the raw one is."""
        return self.kind == 1 and len(self.values) > 1 and self.values[1] == 0

    def linear(self) -> tuple[float, float] | None:
        """Factor and offset; None where it is no straight line."""
        if self.kind == 1 and len(self.values) > 1:
            return self.values[1], self.values[0]
        return (1.0, 0.0) if self.kind == 0 else None

    def __call__(self, raw: Values) -> Values:
        """Whole columns."""
        given = np.array(self.values, np.float64)
        with np.errstate(all="ignore"):
            match self.kind:
                case 1 if len(given) >= 2:
                    scaled: Values = raw * given[1] + given[0]
                    return scaled
                case 2 if len(given) >= 6:
                    above = (given[0] * raw + given[1]) * raw + given[2]
                    below = (given[3] * raw + given[4]) * raw + given[5]
                    quotient: Values = above / below
                    return quotient
                case 4 | 5 if len(given) >= 2:
                    return _looked_up(raw, given[: len(given) // 2 * 2].reshape(-1, 2), smooth=self.kind == 4)
                case 6 if len(given) >= 4:
                    return _in_ranges(raw, given)
        return raw


def _looked_up(raw: Values, pairs: Values, *, smooth: bool) -> Values:
    keys, values = pairs[np.argsort(pairs[:, 0], kind="stable")].T
    if smooth:
        between: Values = np.interp(raw, keys, values)
        return between
    middle = (keys[1:] + keys[:-1]) / 2
    nearest: Values = values[np.searchsorted(middle, raw)]
    return nearest


def _in_ranges(raw: Values, given: Values) -> Values:
    rows = given[: len(given) // 3 * 3].reshape(-1, 3)
    rest = given[-1] if len(given) % 3 else np.nan
    found = np.full(len(raw), rest)
    for low, high, value in rows[::-1].tolist():
        found[(raw >= low) & (raw <= high)] = value
    return found


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel: where its raw value stands in a record, and what it means."""

    name: str
    kind: int
    sync: int
    data_type: int
    bit_offset: int
    byte_offset: int
    bits: int
    conversion_at: int
    data_at: int
    has_array: bool = False


@dataclass(frozen=True)
class Group:
    """A channel group; records of `size` bytes after the record id (or of any length: `is_vlsd`)."""

    address: int
    record_id: int
    cycles: int
    flags: int
    data_bytes: int
    invalidation_bytes: int
    acquisition: str
    source_names: tuple[str, ...]
    channels: dict[str, Channel]
    master: Channel | None

    @property
    def is_vlsd(self) -> bool:
        """Whether it holds the values of another group's channel."""
        return bool(self.flags & VLSD_GROUP)

    @cached_property
    def size(self) -> int:
        """Bytes of a record."""
        return self.data_bytes + self.invalidation_bytes


@dataclass(frozen=True, slots=True)
class DataGroup:
    """Groups whose records stand in one stream, each after an id of `id_bytes` bytes."""

    id_bytes: int
    data_at: int
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """When the times count from, in ns since the epoch, or on a wall clock without a zone."""

    nanoseconds: int
    is_local: bool


def start_and_groups(source: Source) -> tuple[Start, tuple[DataGroup, ...]] | None:
    """What the header says; None without a header."""
    header = source.block(FIRST_BLOCK, b"HD")
    if header is None:
        return None
    nanoseconds, _, _, flags = header.unpack("<QhhB")
    channels_left = [MOST_CHANNELS]
    groups = tuple(
        DataGroup(block.unpack("<B")[0], block.link(2), tuple(_groups(source, block.link(1), channels_left)))
        for block in source.chain(header.link(0), b"DG", MOST_GROUPS)
    )
    return Start(nanoseconds, bool(flags & 1)), groups


def _groups(source: Source, at: int, channels_left: list[int]) -> Iterator[Group]:
    for block in source.chain(at, b"CG", MOST_GROUPS):
        record_id, cycles, flags, _, _, data_bytes, invalidation_bytes = block.unpack("<QQHHIII")
        channels = list(_channels(source, block.link(1), channels_left))
        origin = source.block(block.link(3), b"SI")
        names = tuple(source.text(origin.link(n)) for n in (0, 1)) if origin else ()
        master = next((channel for channel in channels if channel.kind in (2, 3) and channel.sync == 1), None)
        yield Group(
            block.address, record_id, cycles, flags, data_bytes, invalidation_bytes, source.text(block.link(2)), names,
            {channel.name: channel for channel in reversed(channels)}, master,
        )  # fmt: skip


def _channels(source: Source, at: int, left: list[int]) -> Iterator[Channel]:
    """Channels of a group, each before the parts it is composed of."""
    waiting = [(at, "")]
    while waiting:
        at, parent = waiting.pop()
        for block in source.chain(at, b"CN", left[0]):
            left[0] -= 1
            name = source.text(block.link(2))
            if parent and "." not in name:
                name = f"{parent}.{name}"
            parts = source.head(block.link(1))
            if parts and parts[0] == b"CN":
                waiting.append((block.link(1), name))
            kind, sync, data_type, bit_offset, byte_offset, bits = block.unpack("<BBBBII")
            yield Channel(
                name, kind, sync, data_type, bit_offset, byte_offset, bits, block.link(4), block.link(5),
                bool(parts and parts[0] == b"CA"),
            )  # fmt: skip


def conversion(source: Source, at: int) -> Conversion:
    """A channel's conversion; none is the identity."""
    block = source.block(at, b"CC")
    if block is None:
        return Conversion()
    kind, _, _, _, count, _, _ = block.unpack("<BBHHHQQ")
    values = np.frombuffer(block.data[24 : 24 + 8 * count].ljust(0), "<u1")
    return Conversion(kind, tuple(values[: len(values) // 8 * 8].view("<f8").tolist()))
