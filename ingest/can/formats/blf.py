"""Vector BLF: objects in compressed containers, read by whole buffers.

Times count from the heading's start, the wall clock of the recording computer. In faults, the row is the number of a
damaged object, or of a damaged container where the reason says so.
"""

from __future__ import annotations

import datetime as dt
import struct
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from ingest.can.formats.blf_objects import (
    BEYOND,
    GROUP,
    MOST_FRAME_BYTES,
    MOST_PADDING,
    NO_FRAME,
    OBJECT,
    Channels,
    parse,
)
from ingest.can.formats.log import BLOCK_BYTES, FAULTS_KEPT, Block, Clock, Fault, Header, Log
from schemas.errors import MalformedBodyError

MAGIC = b"LOGG"
FILE_HEADER = struct.Struct("<4sLBBBBBBBBQQLL8H8H")
USUAL_HEADER_BYTES, MOST_HEADER_BYTES = 144, 2**16
FIRST_YEAR = 1990
BASE = struct.Struct("<4sHHLL")
CONTAINER = struct.Struct("<H6xL4x")
CONTAINER_KIND, PLAIN, DEFLATED = 10, 0, 2
MOST_CONTAINER_BYTES = 64 * 2**20
INPUT_BYTES = 2**17
CUT = "it is cut"
FIRST_SEARCH_BYTES, MOST_SEARCH_BYTES = 2**12, 2**20


def recognises(head: bytes) -> bool:
    """Whether a file that begins like this is BLF."""
    return head.startswith(MAGIC)


def read(file: BinaryIO) -> Log:
    """Open a log.

    Raises:
        MalformedBodyError: its heading is cut or no heading of BLF.
    """
    head = file.read(FILE_HEADER.size)
    if len(head) < FILE_HEADER.size or not head.startswith(MAGIC):
        raise MalformedBodyError("not a BLF file: its heading is missing or cut")
    fields = FILE_HEADER.unpack(head)
    size = fields[1] if FILE_HEADER.size <= fields[1] <= MOST_HEADER_BYTES else USUAL_HEADER_BYTES
    start = _date(fields[14:22])
    return Log(Header(Clock.LOCAL if start else Clock.RELATIVE, start), _Reader(file, size).blocks())


def _date(parts: tuple[int, ...]) -> dt.datetime | None:
    year, month, _, day, hour, minute, second, milli = parts
    try:
        found = dt.datetime(year, month, day, hour, minute, second, milli * 1000)  # noqa: DTZ001  (has no zone)
    except ValueError:
        return None
    return found if year >= FIRST_YEAR else None


@dataclass(frozen=True, slots=True)
class _Content:
    """What a container held, how much of the file it took, and what was wrong with it."""

    data: bytes
    size: int
    wrong: str | None = None


@dataclass(slots=True)
class _Reader:
    """A file, read up to `at`; what was unpacked and not yet parsed; and what was counted since the last block."""

    file: BinaryIO
    at: int
    size: int = 0
    containers: int = 0
    objects: int = 0
    pending: list[bytes] = field(default_factory=list)
    pending_bytes: int = 0
    seams: list[int] = field(default_factory=list)
    lost: bool = False
    rejected: int = 0
    faults: list[Fault] = field(default_factory=list)
    channels: Channels = field(default_factory=Channels)

    def blocks(self) -> Iterator[Block]:
        self.size = self.file.seek(0, 2)
        while (base := self._next_object()) is not None:
            for piece in self._pieces(*base):
                self._add(piece)
                if self.pending_bytes >= BLOCK_BYTES:
                    yield self._block(last=False)
        yield self._block(last=True)

    def _block(self, *, last: bool) -> Block:
        """Parse what is there; the beginning of an unfinished object stays."""
        data = b"".join([*self.pending, BEYOND])
        at_seam = bool(self.seams) and self.seams[-1] == self.pending_bytes
        found = parse(
            data,
            seams=self.seams,
            last=last or at_seam,
            lost=self.lost,
            row=self.objects + 1,
            channels=self.channels,
        )
        rest = data[found.used : self.pending_bytes]
        self.pending, self.pending_bytes, self.seams = [rest], len(rest), []
        self.lost = found.lost
        self.objects += found.objects
        faults = (*self.faults, *found.faults)[:FAULTS_KEPT]
        block = Block(found.frames, self.rejected + found.rejected, faults, found.remote, found.error)
        self.rejected, self.faults = 0, []
        return block

    def _add(self, piece: bytes) -> None:
        self.pending.append(piece)
        self.pending_bytes += len(piece)

    def _seam(self) -> None:
        """What follows does not go on with what was before."""
        if not self.pending_bytes:
            self.lost = True
        elif not self.seams or self.seams[-1] < self.pending_bytes:
            self.seams.append(self.pending_bytes)

    def _reject(self, reason: str) -> None:
        self.rejected += 1
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(Fault(self.containers, None, reason))

    def _read_at(self, at: int, size: int) -> bytes:
        self.file.seek(at)
        return self.file.read(max(0, min(size, self.size - at)))

    # --- containers -------------------------------------------------------------------------------

    def _next_object(self) -> tuple[int, int] | None:
        """Size and type of the next object of the file, at which the reader then stands; None at the end."""
        head = self._read_at(self.at, BASE.size + MOST_PADDING)
        padding = head.find(OBJECT)
        if not 0 <= padding <= MOST_PADDING:
            self.containers += 1
            if head.strip(b"\0") or len(head) > BASE.size:
                self._reject("container: none begins here")
            return self._resynchronised()
        return self._object_at(self.at + padding)

    def _object_at(self, at: int) -> tuple[int, int] | None:
        self.containers += 1
        head = self._read_at(at, BASE.size)
        if len(head) < BASE.size:
            self._reject("container: the file ends within its heading")
            return None
        self.at = at
        _, _, _, size, kind = BASE.unpack(head)
        return size, kind

    def _resynchronised(self) -> tuple[int, int] | None:
        self._seam()
        at, window = self.at, FIRST_SEARCH_BYTES
        while len(piece := self._read_at(at, window)) >= len(OBJECT):
            found = piece.find(OBJECT)
            if found >= 0:
                return self._object_at(at + found)
            at += len(piece) - len(OBJECT) + 1
            window = min(2 * window, MOST_SEARCH_BYTES)
        return None

    def _pieces(self, size: int, kind: int) -> Iterator[bytes]:
        """What the object at which the reader stands adds to the stream; goes to its end."""
        if kind == CONTAINER_KIND and size >= BASE.size + CONTAINER.size:
            return self._unpacked(size)
        if size >= BASE.size and kind != CONTAINER_KIND and self._ends_well(self.at + size):
            return self._outside(size, kind)
        self._reject("container: its size cannot be")
        self._seam()
        self.at += len(OBJECT)
        return iter(())

    def _outside(self, size: int, kind: int) -> Iterator[bytes]:
        """An object that stands in no container."""
        if GROUP[min(kind, len(GROUP) - 1)] != NO_FRAME and size <= MOST_FRAME_BYTES:
            self._seam()
            yield self._read_at(self.at, size)
            self._seam()
        self.at += size

    def _unpacked(self, size: int) -> Iterator[bytes]:
        end = self.at + size
        begin = self.at + BASE.size + CONTAINER.size
        heading = self._read_at(begin - CONTAINER.size, CONTAINER.size)
        method, holds = CONTAINER.unpack(heading) if len(heading) == CONTAINER.size else (DEFLATED, 0)
        ends_well = self._ends_well(end)
        if method == DEFLATED:
            content = self._inflated(begin, end, holds)
        elif method == PLAIN:
            content = yield from self._plain(begin, end if ends_well or not holds else min(end, begin + holds))
        else:
            content = _Content(b"", 0, f"compression {method} is not known")
        self.at = end if ends_well else begin + content.size
        for first in range(0, len(content.data), BLOCK_BYTES):
            yield content.data[first : first + BLOCK_BYTES]
        if content.wrong:
            self._reject(f"container: {content.wrong}")
            self._seam()

    def _plain(self, begin: int, end: int) -> Generator[bytes, None, _Content]:
        for at in range(begin, min(end, self.size), BLOCK_BYTES):
            yield self._read_at(at, min(BLOCK_BYTES, end - at))
        return _Content(b"", min(end, self.size) - begin, CUT if end > self.size else None)

    def _inflated(self, begin: int, end: int, holds: int) -> _Content:
        """Unpack, but no more than the container says it holds."""
        unpacker, parts, at = zlib.decompressobj(), [], begin
        left = min(holds or MOST_CONTAINER_BYTES, MOST_CONTAINER_BYTES)
        while at < min(end, self.size) and not unpacker.eof and left >= 0:
            packed = self._read_at(at, min(INPUT_BYTES, end - at))
            at += len(packed)
            try:
                parts.append(unpacker.decompress(packed, left + 1))
            except zlib.error as error:
                return _Content(b"", at - begin, f"it cannot be unpacked ({error})")
            left -= len(parts[-1])
        size = at - begin - len(unpacker.unused_data)
        if left < 0:
            return _Content(b"", size, "it holds more than it says")
        if unpacker.eof:
            return _Content(b"".join(parts), size)
        # No checksum vouches for it; only at the end of a file that was cut it is most likely sound.
        return _Content(b"".join(parts) if at == self.size else b"", size, CUT)

    def _ends_well(self, at: int) -> bool:
        """Whether an object begins here, or the file ends."""
        head = self._read_at(at, MOST_PADDING + len(OBJECT))
        return at == self.size or (at < self.size and (OBJECT in head or at + MOST_PADDING >= self.size))
