"""MDF4 bus logging, by asammdf: every group that holds CAN data frames, merged in order of time."""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ingest.can.formats.log import Block, Clock, Fault, Header, Log
from ingest.can.frames import EXTENDED, MAX_BYTES, WORD_BYTES, Bytes, Frames, Ids, concat, pack
from schemas.errors import MalformedBodyError

RECORDS = 100_000
"""Records of one group that are read at once."""
LOCAL_TIME = 1
UNFINISHED = b"UnFinMF "
NO_BUS_LOG = "an MDF4 file without CAN frames: bus logging (CAN_DataFrame) is needed"


def recognises(head: bytes) -> bool:
    """Whether a file that begins like this is MDF 4, finished or not."""
    return head[:8] in (b"MDF     ", UNFINISHED) and head[8:9] == b"4"


def read(file: BinaryIO) -> Log:
    """Open a log.

    Raises:
        MalformedBodyError: it cannot be read, or holds no CAN frames.
    """
    head = file.read(64)
    file.seek(0)
    if not recognises(head):
        raise MalformedBodyError("not an MDF file of version 4")
    from asammdf import MDF  # it takes seconds to import, and few logs are MDF

    copy = _finishable(file, head)
    try:
        mdf: Any = MDF(file if isinstance(copy, nullcontext) else copy)  # type: ignore[arg-type]
        header = _header(mdf)
        groups = [_Group(mdf, n) for n, group in enumerate(mdf.groups) if _holds(group, "CAN_DataFrame")]
        remote = sum(_records(group) for group in mdf.groups if _holds(group, "CAN_RemoteFrame"))
        error = sum(_records(group) for group in mdf.groups if _holds(group, "CAN_ErrorFrame"))
    except Exception as error_:  # a library meets hostile bytes: whatever it raises, the file is at fault
        raise MalformedBodyError(f"the MDF4 file cannot be read: {error_}") from None
    if not groups and not remote and not error:
        raise MalformedBodyError(NO_BUS_LOG)
    return Log(header, _merged(groups, remote, error, copy))


def _finishable(file: BinaryIO, head: bytes) -> AbstractContextManager[object]:
    """A copy of an unfinished file, which asammdf finishes in place; nothing for a finished one."""
    if not head.startswith(UNFINISHED):
        return nullcontext()
    copy = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the log is read)
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    return copy


def _header(mdf: Any) -> Header:  # noqa: ANN401
    nanoseconds = int(mdf.header.abs_time)
    if int(mdf.header.time_flags) & LOCAL_TIME:
        start = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=nanoseconds // 1000)  # noqa: DTZ001
        return Header(Clock.LOCAL, start)
    return Header(Clock.UTC)


def _holds(group: Any, name: str) -> bool:  # noqa: ANN401  (asammdf's group)
    return any(channel.name == name for channel in group.channels)


def _records(group: Any) -> int:  # noqa: ANN401
    return int(group.channel_group.cycles_nr)


@dataclass(slots=True)
class _Group:
    """A channel group, read piece by piece."""

    mdf: Any
    number: int
    at: int = 0
    buffer: Frames = field(default_factory=Frames)
    ended: bool = False

    def fill(self) -> None:
        while not self.ended and not len(self.buffer):
            self.buffer = self._next()

    def _next(self) -> Frames:
        times = self._column("Timestamp", master=True)
        if not len(times):
            self.ended = True
            return Frames()
        names = {channel.name for channel in self.mdf.groups[self.number].channels}
        base = 0 if int(self.mdf.header.time_flags) & LOCAL_TIME else round(int(self.mdf.header.abs_time) / 1000)
        ids = self._column("ID").astype(np.uint32)
        extended = self._column("IDE") if "CAN_DataFrame.IDE" in names else np.zeros(len(ids))
        number = self._column("BusChannel") if "CAN_DataFrame.BusChannel" in names else np.zeros(len(ids))
        size = self._column("DataLength" if "CAN_DataFrame.DataLength" in names else "DLC")
        word, long_at, long_data, length = _payload(self._column("DataBytes"), size)
        buses, channel = np.unique(number.astype(np.int64) & 0xFF, return_inverse=True)
        frames = Frames(
            np.round(times * 1e6).astype(np.int64) + base, _ids(ids, extended), channel.astype(np.uint8), length, word,
            long_at, long_data, tuple(str(bus) for bus in buses.tolist()),
        )  # fmt: skip
        self.at += len(times)
        return frames.sorted()

    def _column(self, name: str, *, master: bool = False) -> NDArray[Any]:
        if master:
            return np.asarray(self.mdf.get_master(self.number, record_offset=self.at, record_count=RECORDS))
        found = self.mdf.get(
            f"CAN_DataFrame.{name}", group=self.number, record_offset=self.at, record_count=RECORDS, samples_only=True
        )
        return np.asarray(found[0])


def _ids(ids: Ids, extended: NDArray[Any]) -> Ids:
    bare = ids & np.uint32(0x1FFFFFFF)
    return np.where((extended.astype(np.int64) != 0) | (ids >= EXTENDED), bare | EXTENDED, bare)


def _payload(data: NDArray[Any], size: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.int64], Bytes, Bytes]:
    if data.dtype.kind == "V":
        data = data.view(np.uint8).reshape(len(data), -1)
    width = WORD_BYTES if data.shape[1] <= WORD_BYTES else MAX_BYTES
    rows = np.zeros((len(data), width), np.uint8)
    rows[:, : min(width, data.shape[1])] = data[:, :width]
    length = np.minimum(size.astype(np.int64), min(width, data.shape[1])).astype(np.uint8)
    return *pack(rows, length), length


def _merged(groups: list[_Group], remote: int, error: int, file: AbstractContextManager[object]) -> Iterator[Block]:
    """Frames of all groups, in order of time as far as each group is."""
    with file:
        yield from _pieces(groups, remote, error)


def _pieces(groups: list[_Group], remote: int, error: int) -> Iterator[Block]:
    faults: list[Fault] = []
    while True:
        for group in groups:
            try:
                group.fill()
            except Exception as error_:  # as above: a broken group ends, the others go on
                group.ended = True
                faults.append(Fault(group.at, None, f"group {group.number} cannot be read further: {error_}"))
        active = [group for group in groups if len(group.buffer)]
        if not active:
            break
        until = min(int(group.buffer.time_us[-1]) for group in active)
        parts = []
        for group in active:
            split = int(np.searchsorted(group.buffer.time_us, until, side="right"))
            parts.append(group.buffer.between(0, split))
            group.buffer = group.buffer.between(split, len(group.buffer))
        yield Block(concat(parts).sorted())
    yield Block(Frames(), len(faults), tuple(faults), remote, error)
