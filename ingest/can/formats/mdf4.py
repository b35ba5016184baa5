"""ASAM MDF 4 bus logging: CAN data frames of all groups, sorted or not, compressed or not, finished or not."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import BinaryIO

from ingest.can.formats.log import Block, Clock, Header, Log
from ingest.can.formats.mdf4_blocks import DataGroup, Source, Start, start_and_groups
from ingest.can.formats.mdf4_data import Storage
from ingest.can.formats.mdf4_records import Faults, purpose
from ingest.can.formats.mdf4_streams import Opened, chunk_bytes, merged
from ingest.can.frames import Frames
from schemas.errors import MalformedBodyError

MARK, UNFINISHED = b"MDF     ", b"UnFinMF "
ID_BYTES = 64
MOST_STREAMS = 32
"""That are merged at once."""
ABSOLUTE_FROM_US = 100_000_000 * 1_000_000
"""A file without a start may still have times since the epoch; below this they are none."""
NO_BUS_LOG = "an MDF4 file without CAN frames: bus logging (CAN_DataFrame) is needed"


def recognises(head: bytes) -> bool:
    """Whether a file that begins like this is MDF 4, finished or not."""
    return head[:8] in (MARK, UNFINISHED) and head[8:9] == b"4"


def read(file: BinaryIO) -> Log:
    """Open a log.

    Raises:
        MalformedBodyError: not MDF 4, or without CAN frames.
    """
    source = Source(file, file.seek(0, os.SEEK_END))
    head = source.read(0, ID_BYTES)
    _refuse_other_versions(head)
    found = start_and_groups(source)
    if found is None:
        raise MalformedBodyError("the MDF4 file has no header block")
    start, groups = found
    groups = tuple(data_group for data_group in groups if any(map(purpose, data_group.groups)))
    if not groups:
        raise MalformedBodyError(NO_BUS_LOG)
    flags = int.from_bytes(head[60:62], "little") if head.startswith(UNFINISHED) else None
    storage = Storage(source, flags)
    storage.find_open([data_group.data_at for data_group in found[1]])
    return _log(Opened(source, storage, start), groups)


def _refuse_other_versions(head: bytes) -> None:
    if head[:8] not in (MARK, UNFINISHED):
        raise MalformedBodyError("not an MDF file: it does not begin with MDF or UnFinMF")
    if head[8:9] != b"4":
        version = head[8:16].decode("ascii", "replace").strip(" \0")
        raise MalformedBodyError(f"MDF version {version} is not read: save the log as MDF 4")


def _log(opened: Opened, groups: Sequence[DataGroup]) -> Log:
    blocks = _blocks(opened, groups)
    start = opened.start
    if start.is_local and start.nanoseconds:
        return Log(Header(Clock.LOCAL, _wall_clock(start)), blocks)
    if start.nanoseconds:
        return Log(Header(Clock.UTC), blocks)
    seen: list[Block] = []
    for block in blocks:
        seen.append(block)
        if len(block.frames):
            break
    is_absolute = bool(seen) and len(seen[-1].frames) > 0 and int(seen[-1].frames.time_us[0]) >= ABSOLUTE_FROM_US
    return Log(Header(Clock.UTC if is_absolute else Clock.RELATIVE), chain(seen, blocks))


def _wall_clock(start: Start) -> dt.datetime:
    return dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=start.nanoseconds // 1000)  # noqa: DTZ001


def _blocks(opened: Opened, groups: Sequence[DataGroup]) -> Iterator[Block]:
    """All groups in order of time. What no block could be read from is told at the end."""
    opened.storage.streams = min(len(groups), MOST_STREAMS)
    chunk = chunk_bytes(opened.storage.streams)
    for first in range(0, len(groups), MOST_STREAMS):
        streams = [opened.blocks(data_group, chunk) for data_group in groups[first : first + MOST_STREAMS]]
        for block in merged(streams):
            yield _named(block, opened)
    faults = Faults()
    for address, reason in opened.storage.lost:
        faults.add(address, "block at this address", reason)
    if faults.rejected:
        faults.rejected = opened.storage.lost_count
        yield faults.block(Frames())


def _named(block: Block, opened: Opened) -> Block:
    """With all names of buses met so far: their numbers are one numbering."""
    return replace(block, frames=replace(block.frames, channels=tuple(opened.buses.names) or ("",)))
