"""Vector BLF: objects in compressed containers, read by whole buffers."""

from __future__ import annotations

import datetime as dt
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ingest.can.formats.log import BLOCK_BYTES, FAULTS_KEPT, Block, Clock, Fault, Header, Log
from ingest.can.frames import Bytes, Frames, Indices, concat, pack
from schemas.errors import MalformedBodyError

MAGIC, OBJECT = b"LOGG", b"LOBJ"
MOST_CONTAINER_BYTES = 64 * 2**20
FILE_HEADER = struct.Struct("<4sLBBBBBBBBQQLL8H8H")
BASE = struct.Struct("<4sHHLL")
CONTAINER_TYPE, PLAIN, DEFLATED = 10, 0, 2
CONTAINER = struct.Struct("<H6xL4x")
TEN_MICROSECONDS = 1
REMOTE_FLAG, FD_REMOTE_FLAG = 0x80, 0x10
ERROR_TYPES = (2, 73, 104)

_HEAD = [("magic", "S4"), ("header", "<u2"), ("version", "<u2"), ("size", "<u4"), ("type", "<u4"), ("flags", "<u4"),
         ("client", "<u2"), ("object_version", "<u2"), ("time", "<u8")]  # fmt: skip
_CLASSIC = [("channel", "<u2"), ("can_flags", "u1"), ("length", "u1"), ("id", "<u4"), ("data", "u1", (8,))]
_FD = [("channel", "<u2"), ("can_flags", "u1"), ("dlc", "u1"), ("id", "<u4"), ("frame_length", "<u4"),
       ("bits", "u1"), ("fd_flags", "u1"), ("length", "u1"), ("pad", "u1", (5,)), ("data", "u1", (64,))]  # fmt: skip
_FD64 = [("channel", "u1"), ("dlc", "u1"), ("length", "u1"), ("tx", "u1"), ("id", "<u4"), ("frame_length", "<u4"),
         ("fd_flags", "<u4"), ("pad", "u1", (20,)), ("data", "u1", (64,))]  # fmt: skip
LAYOUTS = {1: np.dtype(_CLASSIC), 86: np.dtype(_CLASSIC), 100: np.dtype(_FD), 101: np.dtype(_FD64)}
"""The body of each object type that is a frame."""
HEAD = np.dtype(_HEAD)


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
    file.seek(max(fields[1], FILE_HEADER.size))
    start = _date(fields[14:22])
    return Log(Header(Clock.LOCAL if start else Clock.RELATIVE, start), _Reader().blocks(file))


def _date(parts: tuple[int, ...]) -> dt.datetime | None:
    year, month, _, day, hour, minute, second, milli = parts
    try:
        found = dt.datetime(year, month, day, hour, minute, second, milli * 1000)  # noqa: DTZ001  (has no zone)
    except ValueError:
        return None
    return found if year > 1970 else None


@dataclass(slots=True)
class _Reader:
    rejected: int = 0
    faults: list[Fault] = field(default_factory=list)
    remote: int = 0
    error: int = 0
    container: int = 0

    def blocks(self, file: BinaryIO) -> Iterator[Block]:
        buffer = b""
        for piece in self._containers(file):
            buffer += piece
            if len(buffer) >= BLOCK_BYTES:
                frames, used = self._frames(buffer)
                buffer = buffer[used:]
                yield self._block(frames)
        frames, used = self._frames(buffer)
        if len(buffer) - used >= BASE.size and OBJECT in buffer[used:]:
            self._reject("the last object is cut")
        yield self._block(frames)

    def _block(self, frames: Frames) -> Block:
        block = Block(frames, self.rejected, tuple(self.faults), self.remote, self.error)
        self.rejected, self.faults, self.remote, self.error = 0, [], 0, 0
        return block

    def _reject(self, reason: str) -> None:
        self.rejected += 1
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(Fault(self.container, None, reason))

    def _containers(self, file: BinaryIO) -> Iterator[bytes]:
        """The content of the containers, and objects that stand outside of any."""
        while len(head := file.read(BASE.size)) == BASE.size:
            magic, _, _, size, kind = BASE.unpack(head)
            self.container += 1
            if magic != OBJECT:
                if not self._resynchronise(file, head):
                    return
                continue
            if size < BASE.size or size > 2 * MOST_CONTAINER_BYTES:
                self._reject("its size cannot be")
                continue
            body = file.read(size - BASE.size)
            if len(body) < size - BASE.size:
                self._reject("the file ends within it")
            if kind == CONTAINER_TYPE:
                yield self._unpacked(body)
            else:
                yield head + body
            file.seek(size % 4, 1)

    def _resynchronise(self, file: BinaryIO, head: bytes) -> bool:
        """Go to the next object; false where there is none."""
        self._reject("no object begins here")
        carried = head[1:]
        while piece := file.read(2**20):
            at = (carried + piece).find(OBJECT)
            if at >= 0:
                file.seek(at - len(carried) - len(piece), 1)
                return True
            carried = piece[-3:]
        return False

    def _unpacked(self, body: bytes) -> bytes:
        if len(body) < CONTAINER.size:
            return b""
        method, size = CONTAINER.unpack_from(body)
        data = body[CONTAINER.size :]
        if method == PLAIN:
            return data
        if method != DEFLATED:
            self._reject(f"compression {method} is not known")
            return b""
        unpacker = zlib.decompressobj()
        try:
            return unpacker.decompress(data, min(size, MOST_CONTAINER_BYTES) or 1)
        except zlib.error as error:
            self._reject(f"cannot be unpacked: {error}")
            return b""

    def _frames(self, buffer: bytes) -> tuple[Frames, int]:
        """The frames of the whole objects in a buffer, and how much of it they take."""
        at, types, used = _objects(buffer)
        raw = np.frombuffer(buffer, np.uint8)
        self.error += int(np.isin(types, ERROR_TYPES).sum())
        parts, places = [], []
        for kind, layout in LAYOUTS.items():
            chosen = at[types == kind]
            if len(chosen):
                frames, kept = self._of_type(raw, chosen, kind, layout)
                parts.append(frames)
                places.append(kept)
        if not parts:
            return Frames(), used
        order = np.argsort(np.concatenate(places), kind="stable")
        return concat(parts).take(order), used

    def _of_type(self, raw: Bytes, at: Indices, kind: int, layout: np.dtype[np.void]) -> tuple[Frames, Indices]:
        heads = _gather(raw, at, HEAD)
        body_at = at + np.maximum(heads["header"].astype(np.int64), HEAD.itemsize)
        bodies = _gather(raw, body_at, layout)
        is_remote = _is_remote(bodies, kind)
        self.remote += int(is_remote.sum())
        kept = np.flatnonzero(~is_remote)
        heads, bodies, at = heads[kept], bodies[kept], at[kept]
        room = np.maximum(heads["size"].astype(np.int64) - (body_at[kept] - at) - _data_at(layout), 0)
        length = np.minimum(np.minimum(bodies["length"], bodies["data"].shape[1]), room).astype(np.uint8)
        word, long_at, long_data = pack(bodies["data"], length)
        tens = heads["flags"] == TEN_MICROSECONDS
        ticks = heads["time"].astype(np.int64)
        time_us = np.where(tens, ticks * 10, (ticks + 500) // 1000)
        ids = bodies["id"] & np.uint32(0x9FFFFFFF)
        numbers = np.minimum(bodies["channel"], 255).astype(np.uint8)
        channels, channel = np.unique(numbers, return_inverse=True)
        names = tuple(str(n) for n in channels.tolist())
        frames = Frames(time_us, ids, channel.astype(np.uint8), length, word, long_at, long_data, names or ("",))
        return frames, at


def _data_at(layout: np.dtype[np.void]) -> int:
    assert layout.fields is not None  # noqa: S101  (every layout here has fields)
    return layout.fields["data"][1]


def _is_remote(bodies: NDArray[np.void], kind: int) -> NDArray[np.bool_]:
    if kind == 101:
        flagged: NDArray[np.bool_] = (bodies["fd_flags"] & np.uint32(FD_REMOTE_FLAG)) != 0
    else:
        flagged = (bodies["can_flags"] & np.uint8(REMOTE_FLAG)) != 0
    return flagged


def _gather(raw: Bytes, at: Indices, layout: np.dtype[np.void]) -> NDArray[np.void]:
    """A record at each position; bytes beyond the buffer are zeros."""
    padded = np.concatenate([raw, np.zeros(layout.itemsize, np.uint8)]) if len(raw) < int(at.max()) + layout.itemsize \
        else raw  # fmt: skip
    windows = np.lib.stride_tricks.sliding_window_view(padded, layout.itemsize)
    return windows[np.minimum(at, len(windows) - 1)].view(layout).reshape(-1)


def _objects(buffer: bytes) -> tuple[Indices, NDArray[np.uint32], int]:
    """Where whole objects begin, their types, and where the last one ends.

    Each signature is a candidate; an object is one that the object before it leads to. Where the chain breaks, it goes
    on at the next candidate.
    """
    raw = np.frombuffer(buffer, np.uint8)
    found = np.flatnonzero(_starts(raw))
    found = found[found + HEAD.itemsize <= len(raw)]
    if not len(found):
        return found, np.empty(0, np.uint32), max(0, len(raw) - 3) if OBJECT not in buffer else buffer.index(OBJECT)
    heads = _gather(raw, found, HEAD)
    size = heads["size"].astype(np.int64)
    follows = found + size + size % 4
    chained = np.ones(len(found), bool)
    # A signature within the data of another object is none: it begins before its predecessor has ended.
    if len(found) > 1 and not (follows[:-1] == found[1:]).all():
        chained = _chain(found, found + size)
    whole = chained & (found + size <= len(raw)) & (size >= HEAD.itemsize)
    ends = (found + size)[whole]
    cut = found[chained & (found + size > len(raw)) & (size < 2 * MOST_CONTAINER_BYTES)]
    used = int(cut[0]) if len(cut) else max(int(ends.max()) if len(ends) else 0, len(raw) - 3)
    return found[whole], heads["type"][whole], min(used, len(raw))


def _starts(raw: Bytes) -> NDArray[np.bool_]:
    if len(raw) < len(OBJECT):
        return np.zeros(0, bool)
    last = len(raw) - 3
    found = raw[:last] == OBJECT[0]
    for n in range(1, 4):
        found = found & (raw[n : last + n] == OBJECT[n])
    return np.asarray(found)


def _chain(found: Indices, ends: Indices) -> NDArray[np.bool_]:
    """Which candidates begin at or after the end of the one before them that counts."""
    kept = np.zeros(len(found), bool)
    until = -1
    for n, (begin, end) in enumerate(zip(found.tolist(), ends.tolist(), strict=True)):
        if begin >= until:
            kept[n] = True
            until = max(end, begin + HEAD.itemsize)
    return kept
