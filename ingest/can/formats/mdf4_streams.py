"""Frames of an MDF4 file's data groups, each read on its own, and their merge in order of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ingest.can.formats.log import Block
from ingest.can.formats.mdf4_blocks import DataGroup, Group, Source, Start
from ingest.can.formats.mdf4_data import CHUNK_BYTES, Storage
from ingest.can.formats.mdf4_fields import PAD, U8, Rows, padded
from ingest.can.formats.mdf4_outside import Apart, SignalData
from ingest.can.formats.mdf4_records import Buses, Faults, Payloads, Plan, Records, plan, purpose
from ingest.can.formats.mdf4_unsorted import Chunk, Layout, Starts, chunks, gathered
from ingest.can.frames import Frames, concat

OFFSETS_ARE_MISSING = 0x40
REMOTE_MASTER = 8
ID_BYTES = (1, 2, 4, 8)


@dataclass(slots=True)
class Opened:
    """A file's source, storage and header, and the buses met so far."""

    source: Source
    storage: Storage
    start: Start
    buses: Buses = field(default_factory=Buses)

    @property
    def start_ns(self) -> int:
        """What is added to the times: nothing where the start is a wall clock's."""
        return 0 if self.start.is_local else self.start.nanoseconds

    def blocks(self, data_group: DataGroup, chunk: int) -> Iterator[Block]:
        """The frames of one data group."""
        if data_group.id_bytes == 0:
            return _Sorted(self, Faults()).blocks(data_group, chunk)
        return _settled(_Unsorted(self, Faults(), data_group).blocks(chunk))

    def plan(self, group: Group, size: int) -> Plan | str:
        """How to read a group of data frames, or why it cannot be."""
        if group.flags & REMOTE_MASTER:
            return "its times stand in another group"
        return plan(self.source, group, self.start_ns, size)


@dataclass(slots=True)
class _Sorted:
    """One group, records back to back."""

    opened: Opened
    faults: Faults

    def blocks(self, data_group: DataGroup, chunk: int) -> Iterator[Block]:
        group = next((group for group in data_group.groups if purpose(group)), None)
        if group is None or not data_group.data_at:
            return
        size = group.data_bytes if self._in_columns(data_group.data_at) else group.size
        what, most = purpose(group), self._most(group)
        if what != "Data":
            count = min(most, self.opened.storage.length(data_group.data_at) // max(size, 1))
            yield Block(Frames(), remote=count * (what == "Remote"), error=count * (what == "Error"))
            return
        how = self.opened.plan(group, size)
        if isinstance(how, str):
            count = min(most, self.opened.storage.length(data_group.data_at) // max(size, 1))
            yield from _told(self.faults, group, how, count)
        else:
            yield from self._frames(how, data_group.data_at, most, chunk)

    def _in_columns(self, at: int) -> bool:
        head = self.opened.source.head(at)
        return bool(head and head[0] in (b"LD", b"DV"))

    def _most(self, group: Group) -> int:
        return group.cycles if self.opened.storage.unfinished is None else 2**63

    def _frames(self, how: Plan, at: int, most: int, chunk: int) -> Iterator[Block]:
        storage, records = self.opened.storage, Records(self.faults, self.opened.buses)
        outside = SignalData(storage.pieces(how.outside_at, chunk)) if how.outside else None
        rest, first = np.empty(0, np.uint8), 0
        place = 0
        for piece in storage.pieces(at, max(chunk // how.size, 1) * how.size):
            fresh = piece.data
            if piece.gap:
                place = 0 if piece.gap.size is None else place + piece.gap.size
                rest, fresh = rest[:0], fresh[-place % how.size :]
            place += len(piece.data)
            data = padded(rest, fresh)
            count = min((len(data) - PAD) // how.size, most - first)
            if count:
                frames, _ = records.frames(Rows(data, count, how.size, first), how, outside)
                yield self.faults.block(frames)
            first += count
            rest = data[count * how.size : -PAD]
            if first >= most:
                break


@dataclass(slots=True)
class _Member:
    """A group among others in one stream. `waiting`: records whose data has not come yet."""

    group: Group
    what: str | None
    how: Plan | None = None
    trouble: str = ""
    outside: Payloads | None = None
    waiting: U8 = field(default_factory=lambda: np.empty(0, np.uint8))
    read: int = 0


@dataclass(slots=True)
class _Unsorted:
    """Several groups, records mixed."""

    opened: Opened
    faults: Faults
    data_group: DataGroup
    members: list[_Member] = field(default_factory=list)
    apart: dict[int, Apart] = field(default_factory=dict)

    def blocks(self, chunk: int) -> Iterator[Block]:
        groups = {group.record_id: group for group in self.data_group.groups}
        if self.data_group.id_bytes not in ID_BYTES or not any(map(purpose, groups.values())):
            return
        layout = Layout.of(
            self.data_group.id_bytes, {n: -1 if group.is_vlsd else group.size for n, group in groups.items()}
        )
        self.members = [self._member(groups[n]) for n in layout.ids.tolist()]
        pieces = self.opened.storage.pieces(self.data_group.data_at, chunk)
        held: list[Block] = []
        for part in chunks(pieces, layout):
            held.append(self._block(part))
            if sum(len(block.frames) for block in held) * 20 >= chunk:
                yield _joined(held)
                held = []
        yield _joined([*held, self._end()])

    def _member(self, group: Group) -> _Member:
        what = purpose(group)
        how = self.opened.plan(group, group.size) if what == "Data" else None
        if isinstance(how, str):
            return _Member(group, what, trouble=how)
        return _Member(group, what, how, outside=self._outside(how) if how and how.outside else None)

    def _outside(self, how: Plan) -> Payloads:
        at = how.outside_at
        if not any(group.address == at and group.is_vlsd for group in self.data_group.groups):
            return SignalData(self.opened.storage.pieces(at))
        return self.apart.setdefault(at, Apart(bool((self.opened.storage.unfinished or 0) & OFFSETS_ARE_MISSING)))

    def _block(self, chunk: Chunk) -> Block:
        counts = np.bincount(chunk.kind, minlength=len(self.members)).tolist()
        remote = error = 0
        for kind, member in enumerate(self.members):
            values = self.apart.get(member.group.address)
            if values is not None:
                values.add(chunk.data, chunk.start[chunk.kind == kind] + self.data_group.id_bytes)
            remote += counts[kind] if member.what == "Remote" else 0
            error += counts[kind] if member.what == "Error" else 0
            if member.trouble and counts[kind]:
                self.faults.add(member.read + 1, member.group.acquisition, member.trouble, counts[kind])
        parts = [
            self._frames(chunk, member, member.how, chunk.start[chunk.kind == kind])
            for kind, member in enumerate(self.members)
            if member.how and (counts[kind] or len(member.waiting))
        ]
        if chunk.lost:
            self.faults.add(chunk.first + len(chunk.start) + 1, None, chunk.lost)
        return self.faults.block(_in_order(parts), remote, error)

    def _frames(self, chunk: Chunk, member: _Member, how: Plan, at: Starts) -> tuple[Starts, Frames]:
        data, place = gathered(chunk, at + self.data_group.id_bytes, how.size), at
        old = len(member.waiting) // how.size
        if old:
            data = padded(member.waiting, data[:-PAD])
            place = np.concatenate([np.full(old, -1), at])
        data, place = self._complete(member, how, data, place, old)
        rows = Rows(data, len(place), how.size, member.read)
        member.read += len(place)
        frames, kept = Records(self.faults, self.opened.buses).frames(rows, how, member.outside)
        return place if kept is None else place[kept], frames

    def _complete(self, member: _Member, how: Plan, data: U8, place: Starts, old: int) -> tuple[U8, Starts]:
        """Records whose data has not come wait for the next chunk, once."""
        if how.outside is None or not isinstance(member.outside, Apart):
            return data, place
        rows = Rows(data, len(place), how.size, member.read)
        keys = member.outside.keys(how.outside.raw(rows), rows.first)
        late = keys >= member.outside.next_key
        late[:old] = False
        records = rows.bytes_at(0, how.size)
        member.waiting = records[late].reshape(-1)
        return padded(records[~late].reshape(-1)), place[~late]

    def _end(self) -> Block:
        """Records whose data never came."""
        for member in self.members:
            if member.how and len(member.waiting):
                count = len(member.waiting) // member.how.size
                self.faults.add(member.read + 1, member.how.name, "its data is not where it should be", count)
        return self.faults.block(Frames())


def _told(faults: Faults, group: Group, reason: str, count: int) -> Iterator[Block]:
    if count:
        faults.add(1, group.acquisition, reason, count)
        yield faults.block(Frames())


def _in_order(parts: Sequence[tuple[Starts, Frames]]) -> Frames:
    """The frames in the order of their records."""
    parts = [part for part in parts if len(part[1])]
    if len(parts) == 1:
        return parts[0][1]
    if not parts:
        return Frames()
    place = np.concatenate([place for place, _ in parts])
    return concat([frames for _, frames in parts]).take(np.argsort(place, kind="stable"))


def _settled(blocks: Iterator[Block]) -> Iterator[Block]:
    """In order of time: loggers write each bus as its buffer fills. Frames later than by a whole block stay late."""
    held = Frames()
    for block in blocks:
        frames = block.frames.sorted()
        if len(held) and len(frames) and frames.time_us[0] < held.time_us[-1]:
            both = concat([held, frames]).sorted()
            count = int(np.searchsorted(both.time_us, held.time_us[-1], side="right"))
            passed, held = both.between(0, count), both.between(count, len(both))
        else:
            passed, held = (held, frames) if len(frames) else (Frames(), held)
        yield replace(block, frames=passed)
    yield Block(held)


def _joined(blocks: Sequence[Block]) -> Block:
    return Block(
        concat([block.frames for block in blocks]),
        sum(block.rejected for block in blocks),
        tuple(fault for block in blocks for fault in block.faults),
        sum(block.remote for block in blocks),
        sum(block.error for block in blocks),
    )


@dataclass(slots=True)
class _Lane:
    """A stream in the merge: frames read and not yet passed on, with the latest time up to each of them."""

    blocks: Iterator[Block]
    frames: Frames = field(default_factory=Frames)
    latest: Starts = field(default_factory=lambda: np.empty(0, np.int64))

    def fill(self) -> Iterator[Block]:
        """Read until there are frames; gives what else was there."""
        while not len(self.frames):
            block = next(self.blocks, None)
            if block is None:
                return
            self.frames, self.latest = block.frames, np.maximum.accumulate(block.frames.time_us)
            if block.rejected or block.remote or block.error:
                yield Block(Frames(), block.rejected, block.faults, block.remote, block.error)

    def until(self, time_us: int) -> Frames:
        """The frames up to a time, which are passed on."""
        count = int(np.searchsorted(self.latest, time_us, side="right"))
        passed = self.frames.between(0, count)
        self.frames, self.latest = self.frames.between(count, len(self.frames)), self.latest[count:]
        return passed


def merged(streams: Sequence[Iterator[Block]]) -> Iterator[Block]:
    """All streams in order of time; one alone stays in its own order."""
    if len(streams) == 1:
        yield from streams[0]
        return
    lanes = [_Lane(stream) for stream in streams]
    while True:
        others = [block for lane in lanes for block in lane.fill()]
        lanes = [lane for lane in lanes if len(lane.frames)]
        limit = min((int(lane.latest[-1]) for lane in lanes), default=0)
        frames = concat([lane.until(limit) for lane in lanes]).sorted()
        if others or len(frames):
            yield _joined([Block(frames), *others])
        if not lanes:
            return


def chunk_bytes(streams: int) -> int:
    """Smaller pieces where many streams are open at once."""
    return max(CHUNK_BYTES // max(1, streams // 4), CHUNK_BYTES // 16)
