"""Data of an MDF4 file as one stream of bytes, whatever blocks it is in; compressed ones within a budget."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingest.can.formats.log import FAULTS_KEPT
from ingest.can.formats.mdf4_blocks import HEAD_BYTES, Block, Source

CHUNK_BYTES = 2 * 2**20
ZIP_HEAD_BYTES = HEAD_BYTES + 24
MOST_TURNED_BYTES, LEAST_TURNED_BYTES, ALL_TURNED_BYTES = 32 * 2**20, 8 * 2**20, 256 * 2**20
"""Of one transposed block, which must be in memory as a whole; writers make blocks of 4 MB. Of those of all streams."""
BUDGET_BYTES, BUDGET_FACTOR = 64 * 2**20, 100
"""All compressed blocks together may grow to this many bytes, and to this multiple of the file."""
MOST_BLOCKS = 2**20
LAST_LIST_IS_OPEN = 0x10
PLAIN = (b"DT", b"DV", b"SD", b"RD")

U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes of a stream that are lost, None for an unknown number."""

    size: int | None

    def and_then(self, other: Gap | None) -> Gap:
        """Both, one after the other."""
        if other is None:
            return self
        return Gap(None if self.size is None or other.size is None else self.size + other.size)


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive bytes of a stream, and what is missing before them."""

    data: U8
    gap: Gap | None = None


@dataclass(slots=True)
class Storage:
    """Reads streams of one file, of which `streams` are read by turns.

    `unfinished`: flags of an unfinished file. `open_at`: the block that it ends in; `open_until` its end. `lost_count`
    blocks could not be read, or not to their end; `lost` has the first of them, by address and reason.
    """

    source: Source
    unfinished: int | None = None
    open_at: int = 0
    open_until: int = 0
    streams: int = 1
    left: int = field(init=False)
    lost_count: int = 0
    lost: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.left = BUDGET_BYTES + BUDGET_FACTOR * self.source.size

    def find_open(self, streams: list[int]) -> None:
        """In an unfinished file the last data block reaches to the next block, or to the end of the file.

        It is trusted if another block stands where it says that it ends.
        """
        if self.unfinished is None:
            return
        self.open_at = max((at for stream in streams for at in self._addresses(stream)), default=0)
        head = self.source.head(self.open_at)
        told = self.open_at + -(-head[1] // 8) * 8 if head and head[1] > HEAD_BYTES else 0
        if self.source.head(told):
            self.open_at = 0
        self.open_until = min((at for at in self.source.met if at > self.open_at), default=self.source.size)

    def pieces(self, at: int, chunk: int = CHUNK_BYTES) -> Iterator[Piece]:
        """The stream that begins in the block at an address, in pieces of up to `chunk` bytes."""
        gap: Gap | None = None
        for address in self._addresses(at):
            for data in self._block(address, chunk):
                if isinstance(data, Gap):
                    gap = data.and_then(gap)
                elif len(data):
                    yield Piece(data, gap)
                    gap = None

    def _lose(self, at: int, reason: str, size: int | None = None) -> Gap:
        self.lost_count += 1
        if len(self.lost) < FAULTS_KEPT:
            self.lost.append((at, reason))
        return Gap(size)

    def length(self, at: int) -> int:
        """Bytes of a stream, as its blocks tell, without reading them."""
        return sum(self._length(address) for address in self._addresses(at))

    def _addresses(self, at: int) -> Iterator[int]:
        """Data blocks of a stream, each once."""
        head = self.source.head(at)
        if head and head[0] == b"HL":
            block = self.source.block(at, b"HL")
            at = block.link(0) if block else 0
            head = self.source.head(at)
        if head and head[0] in (b"DL", b"LD"):
            yield from self._listed(at)
        elif at:
            yield at

    def _listed(self, at: int) -> Iterator[int]:
        lists: set[int] = set()
        seen: set[int] = set()
        last: Block | None = None
        while at not in lists and (block := self.source.block(at, b"DL", b"LD")) is not None:
            lists.add(at)
            for address in _members(block):
                if address and address not in seen and len(seen) < MOST_BLOCKS:
                    seen.add(address)
                    yield address
            last, at = block, block.link(0)
        if last is not None and (self.unfinished or 0) & LAST_LIST_IS_OPEN:
            yield from self._following(max([last.address, *seen]), seen)

    def _following(self, at: int, seen: set[int]) -> Iterator[int]:
        """Data blocks right behind the last one, which the list does not know yet."""
        while head := self.source.head(at):
            at += max(-(-head[1] // 8) * 8, HEAD_BYTES)
            head = self.source.head(at)
            if not head or head[0] not in (*PLAIN, b"DZ") or at in seen:
                return
            yield at

    def _length(self, at: int) -> int:
        head = self.source.head(at)
        if head and head[0] == b"DZ":
            return int.from_bytes(self.source.read(at + HEAD_BYTES + 8, 8), "little")
        return max(0, self._end(at, head[1]) - at - HEAD_BYTES) if head and head[0] in PLAIN else 0

    def _end(self, at: int, length: int) -> int:
        return self.open_until if at == self.open_at else min(at + length, self.source.size)

    def _block(self, at: int, chunk: int) -> Iterator[U8 | Gap]:
        head = self.source.head(at)
        if head and head[0] == b"DZ":
            yield from self._zipped(at, chunk)
        elif head and head[0] in PLAIN:
            yield from self._plain(at + HEAD_BYTES, self._end(at, head[1]), chunk)
            if at != self.open_at and at + head[1] > self.source.size:
                yield self._lose(at, "the file ends within a data block")
        else:
            yield self._lose(at, "no data block where one should be")

    def _plain(self, at: int, end: int, chunk: int) -> Iterator[U8]:
        while at < end and (data := self.source.read(at, min(chunk, end - at))):
            yield np.frombuffer(data, np.uint8)
            at += len(data)

    def _zipped(self, at: int, chunk: int) -> Iterator[U8 | Gap]:
        head = self.source.read(at + HEAD_BYTES, ZIP_HEAD_BYTES - HEAD_BYTES).ljust(24, b"\0")
        kind, columns = head[2], int.from_bytes(head[4:8], "little")
        size, zipped = int.from_bytes(head[8:16], "little"), int.from_bytes(head[16:24], "little")
        most = min(MOST_TURNED_BYTES, max(LEAST_TURNED_BYTES, ALL_TURNED_BYTES // self.streams))
        if kind not in (0, 1):
            yield self._lose(at, f"compression {kind} is not read", size)
        elif size > (most if kind else self.left):
            yield self._lose(at, f"a compressed block says that it holds {size} bytes")
        elif kind == 0:
            yield from self._inflated(at, size, zipped, chunk)
        else:
            yield from self._turned(at, size, zipped, columns, chunk)

    def _turned(self, at: int, size: int, zipped: int, columns: int, chunk: int) -> Iterator[U8 | Gap]:
        """Columns of bytes as records again; bytes beyond the last whole record stay."""
        parts: list[U8] = []
        for part in self._inflated(at, size, zipped, chunk):
            if isinstance(part, Gap):
                yield Gap(size)
                return
            parts.append(part)
        flat = np.concatenate(parts) if parts else np.empty(0, np.uint8)
        parts.clear()
        whole = len(flat) // columns * columns if columns else 0
        if whole:
            flat[:whole] = np.ascontiguousarray(flat[:whole].reshape(columns, -1).T).reshape(-1)
        for first in range(0, size, chunk):
            yield flat[first : first + chunk]

    def _inflated(self, at: int, size: int, zipped: int, chunk: int) -> Iterator[U8 | Gap]:
        inflate, place = zlib.decompressobj(), at + ZIP_HEAD_BYTES
        end = min(place + zipped, self.source.size)
        rest, missing = b"", size
        while missing > 0 and not inflate.eof and self.left > 0:
            if not rest:
                rest = self.source.read(place, min(chunk, end - place))
                place += len(rest)
            ended = not rest
            try:
                data = inflate.decompress(rest, min(chunk, missing))
            except zlib.error:
                break
            if ended and not data:
                break
            rest = inflate.unconsumed_tail
            missing, self.left = missing - len(data), self.left - len(data)
            yield np.frombuffer(data, np.uint8)
        if missing:
            yield self._lose(at, "a compressed block is damaged", missing)


def _members(block: Block) -> tuple[int, ...]:
    """Links to data in a list; a list of columns (LD) may have links to invalidation bits after them."""
    if block.kind == b"LD":
        return block.links[1 : 1 + block.unpack("<II")[1]]
    return block.links[1:]
