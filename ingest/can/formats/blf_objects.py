"""Objects of Vector BLF: found in a stretch of unpacked bytes and turned into frames, whole columns at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.can.formats.log import FAULTS_KEPT, Fault
from ingest.can.frames import MAX_BYTES, WORD_BYTES, Bytes, Frames, Ids, Indices, Times, Words

OBJECT = b"LOBJ"
BASE_BYTES = 16
"""Signature, size of the header, its version, size of the object, type: the same in every object."""
MOST_PADDING = 7
"""Objects are padded by nothing, to four bytes or by size % 4, by type and writer: the next signature tells."""
BEYOND = bytes(128)
"""Stands behind the bytes that are parsed, so that reading whole words never leaves the buffer."""
MOST_OBJECT_BYTES = 16 * 2**20
MOST_FRAME_BYTES = 4096
NO_FRAME, CLASSIC, FD, FD64, ERROR = range(5)
_GROUPS = {1: CLASSIC, 86: CLASSIC, 100: FD, 101: FD64, 2: ERROR, 3: ERROR, 73: ERROR, 104: ERROR}
GROUP = np.array([_GROUPS.get(kind, NO_FRAME) for kind in range(256)], np.uint8)
"""What an object is by its type. Overload frames (3) count as errors."""
LAST_HEADER_VERSION = 3
HEADER_BYTES = 32
TEN_MICROSECONDS, NANOSECONDS = 1, 2
CENTURY_US = 36_525 * 86_400 * 1_000_000
ID_BITS = np.uint32(0x9FFF_FFFF)
MOST_CHANNELS = 255
_FAR = np.int64(2**62)
_BEFORE_DATA = np.array([0, 8, 20, 40, 0])  # how much of the body stands before the data, by group

_SIGNATURE = int.from_bytes(OBJECT, "little")
_WORD_MASK = np.array([(1 << 8 * n) - 1 for n in range(WORD_BYTES + 1)], np.uint64)
_LONG_MASK = _WORD_MASK[np.clip(np.arange(MAX_BYTES + 1)[:, None] - np.arange(0, MAX_BYTES, WORD_BYTES), 0, WORD_BYTES)]

Flags = NDArray[np.bool_]


@dataclass(slots=True)
class Channels:
    """Numbers of channels as small indices, in the order in which they are met; those beyond the 255th share one."""

    names: list[str] = field(default_factory=list)
    table: Bytes = field(default_factory=lambda: np.full(2**16, MOST_CHANNELS, np.uint8))

    def indices(self, numbers: Indices) -> Bytes:
        """The index of each number."""
        seen = np.flatnonzero(np.bincount(numbers, minlength=2**16))
        for number in seen[self.table[seen] == MOST_CHANNELS].tolist():
            self.table[number] = min(len(self.names), MOST_CHANNELS - 1)
            if len(self.names) < MOST_CHANNELS:
                self.names.append(str(number))
        found: Bytes = self.table[numbers]
        return found


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a stretch of bytes held.

    `objects`: how many objects were passed. `used`: bytes that are done with; the rest begins the next stretch.
    `lost`: the next stretch may begin with the rest of something that could not be read.
    """

    frames: Frames
    rejected: int
    faults: tuple[Fault, ...]
    remote: int
    error: int
    objects: int
    used: int
    lost: bool


@dataclass(frozen=True, slots=True)
class _Objects:
    """Objects: where they begin and end, what they are, and which of the stretch they are, from 0."""

    at: Indices
    end: Indices
    group: Bytes
    place: Indices

    def only(self, chosen: Flags) -> _Objects:
        if chosen.all():
            return self
        return _Objects(self.at[chosen], self.end[chosen], self.group[chosen], self.place[chosen])


@dataclass(frozen=True, slots=True)
class _Found:
    """The objects of a stretch; the rest is as in Stretch. `wrong`: reasons, and the objects they hold for."""

    whole: _Objects
    passed: int
    wrong: dict[str, Indices]
    used: int
    lost: bool


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Signatures, with what stands behind them. `plausible`: it could be an object."""

    at: Indices
    end: Indices
    group: Bytes
    plausible: Flags


@dataclass(frozen=True, slots=True)
class _Chain:
    """Which candidates are objects.

    `fits`: it ends before the next seam. `leads`: another one follows, or the end of the bytes. `alone`: it may be
    one, but garbage follows. `waits`: the rest is in the next stretch. `reached`: the chain passes it.
    """

    fits: Flags
    leads: Flags
    alone: Flags
    waits: Flags
    reached: Flags


@dataclass(frozen=True, slots=True)
class _Bodies:
    """Of each frame: where its data begin, and how many bytes are there."""

    channel: Indices
    can_id: Ids
    length: Indices
    remote: Flags
    data_at: Indices
    room: Indices

    def only(self, chosen: Flags) -> _Bodies:
        return _Bodies(*(column[chosen] for column in _columns(self)))


def parse(data: bytes, *, seams: Sequence[int], last: bool, lost: bool, row: int, channels: Channels) -> Stretch:
    """The frames in `data`, which ends with BEYOND.

    No object reaches over one of the `seams`, ascending offsets; `last`: nor over the end. `lost`: the bytes may
    begin with the rest of something that could not be read. `row` is the number of the first object.
    """
    size = len(data) - len(BEYOND)
    words = np.ndarray((len(data) - WORD_BYTES + 1,), "<u8", data, strides=(1,))
    found = _objects(data, words, size, seams, last=last, lost=lost)
    group = found.whole.group
    wrong = dict(found.wrong)
    frames, remote = _frames(words, found.whole.only((group != NO_FRAME) & (group != ERROR)), channels, wrong)
    return Stretch(
        frames=frames,
        rejected=sum(len(places) for places in wrong.values()),
        faults=tuple(_faults(wrong, row)),
        remote=remote,
        error=int(np.count_nonzero(group == ERROR)),
        objects=found.passed,
        used=found.used,
        lost=found.lost,
    )


def _faults(wrong: dict[str, Indices], row: int) -> Iterator[Fault]:
    first = [(place, why) for why, places in wrong.items() for place in places[:FAULTS_KEPT].tolist()]
    return (Fault(row + place, None, why) for place, why in islice(sorted(first), FAULTS_KEPT))


# --- where objects are ----------------------------------------------------------------------------


def _objects(data: bytes, words: Words, size: int, seams: Sequence[int], *, last: bool, lost: bool) -> _Found:
    """Whole objects: those that the chain of sizes leads to.

    A signature within the data of another object is none. Where the chain breaks, it goes on at the next signature.
    """
    found = _candidates(words, _aligned(data, size))
    if not _unbroken(found, size):
        found = _candidates(words, _everywhere(data, size))
    elif not last and not seams and found.at[0] <= MOST_PADDING:
        return _undamaged(found, size)
    if not len(found.at):
        return _nothing(data, size, last=last, lost=lost)
    chain = _walked(found, size, seams, last=last)
    return _sorted_out(data, size, found, chain, last=last, lost=lost)


def _aligned(data: bytes, size: int) -> Indices:
    """Signatures at a distance of whole words from the first: nearly always all there are."""
    first = max(data.find(OBJECT, 0, size), 0)
    count = max(size - first - BASE_BYTES + 4, 0) // 4
    return np.flatnonzero(np.frombuffer(data, "<u4", count, first) == _SIGNATURE) * 4 + first


def _everywhere(data: bytes, size: int) -> Indices:
    count = max(size - BASE_BYTES + 1, 0)
    return np.flatnonzero(np.ndarray((count,), "<u4", data, strides=(1,)) == _SIGNATURE)


def _candidates(words: Words, at: Indices) -> _Candidates:
    head = words[at + 4]
    size = (head >> np.uint64(32)).astype(np.int64)
    header = (head & np.uint64(0xFFFF)).astype(np.int64)
    group = GROUP[np.minimum(words[at + 12].astype(np.uint32), 255)]
    most = np.where(group == NO_FRAME, MOST_OBJECT_BYTES, MOST_FRAME_BYTES)
    return _Candidates(at, at + size, group, (header >= BASE_BYTES) & (header <= size) & (size <= most))


def _unbroken(found: _Candidates, size: int) -> bool:
    """Whether each object leads to the next, and the last one to the end of the bytes or beyond."""
    if not len(found.at) or int(found.end[-1]) <= size - BASE_BYTES - MOST_PADDING:
        return False
    return bool(found.plausible.all()) and _no_gaps(found)


def _no_gaps(found: _Candidates) -> bool:
    gaps = found.at[1:] - found.end[:-1]
    return not len(gaps) or (int(gaps.min()) >= 0 and int(gaps.max()) <= MOST_PADDING)


def _undamaged(found: _Candidates, size: int) -> _Found:
    """All of a stretch that is nothing but objects; the last one may go on in the next stretch."""
    whole = len(found.at) - int(found.end[-1] > size)
    objects = _Objects(found.at[:whole], found.end[:whole], found.group[:whole], np.arange(whole))
    return _Found(objects, whole, {}, int(found.at[-1] if whole < len(found.at) else found.end[-1]), lost=False)


def _nothing(data: bytes, size: int, *, last: bool, lost: bool) -> _Found:
    """No object begins here. The beginning of a signature may stand at the end."""
    none = np.empty(0, np.int64)
    used = size if last else max(0, size - BASE_BYTES + 1)
    garbage = not lost and bool(data[:used].strip(b"\0"))
    wrong = {"no object begins here": np.zeros(1, np.int64)} if garbage else {}
    return _Found(_Objects(none, none, np.empty(0, np.uint8), none), 0, wrong, used, lost or used > 0)


def _walked(found: _Candidates, size: int, seams: Sequence[int], *, last: bool) -> _Chain:
    after = np.arange(1, len(found.at) + 1)
    limits = np.array([*(seam for seam in seams if seam < size), size])
    limit = limits[np.searchsorted(limits, found.at, side="right")]
    following = after if _no_gaps(found) else np.searchsorted(found.at, found.end)
    gap = np.append(found.at, _FAR)[following] - found.end
    fits = found.plausible & (found.end <= limit)
    leads = fits & ((gap <= MOST_PADDING) | (limit - found.end < BASE_BYTES + MOST_PADDING))
    alone = fits & ~leads & (following == after)
    waits = found.plausible & (found.end > size) & (limit == size) & (not last)
    steps = np.where(waits, len(after), np.where(leads, following, after))
    return _Chain(fits, leads, alone, waits, _reached(steps))


def _reached(steps: Indices) -> Flags:
    """Which candidates the chain passes that starts at the first. Each step leads further on."""
    reached = np.ones(len(steps), bool)
    until = 0
    for n in np.flatnonzero(steps > np.arange(1, len(steps) + 1)).tolist():
        if n >= until:
            until = int(steps[n])
            reached[n + 1 : until] = False
    return reached


def _sorted_out(data: bytes, size: int, found: _Candidates, chain: _Chain, *, last: bool, lost: bool) -> _Found:
    place = np.cumsum(chain.reached) - 1
    good = chain.reached & (chain.leads | chain.alone)
    wrong = _wrong(found, chain, place, good)
    if found.at[0] > MOST_PADDING and not lost:
        wrong["no object begins before it"] = np.zeros(1, np.int64)
    final = int(np.flatnonzero(chain.reached)[-1])
    used, ended_lost = size, True
    if chain.waits[final]:
        used, ended_lost = int(found.at[final]), False
    elif chain.leads[final]:
        used, ended_lost = (size, True) if last else (int(found.end[final]), False)
        if last and data[int(found.end[final]) : size].strip(b"\0"):
            wrong["the log ends within it"] = place[final : final + 1] + 1
    elif not last:
        used = size - BASE_BYTES + 1
    whole = _Objects(found.at[good], found.end[good], found.group[good], place[good])
    return _Found(whole, int(place[-1]) + 1 - int(chain.waits[final]), wrong, used, ended_lost)


def _wrong(found: _Candidates, chain: _Chain, place: Indices, good: Flags) -> dict[str, Indices]:
    bad = chain.reached & ~good & ~chain.waits
    cut = found.plausible & ~chain.fits
    return {
        "it is cut, or its size is wrong": place[bad & cut],
        "its size cannot be": place[bad & ~cut],
        "no object begins after it": place[chain.reached & chain.alone],
    }


# --- frames ---------------------------------------------------------------------------------------


def _frames(words: Words, objects: _Objects, channels: Channels, wrong: dict[str, Indices]) -> tuple[Frames, int]:
    """The data frames, and how many remote ones there were; adds to `wrong`."""
    objects, time_us = _sound(words, objects, wrong)
    if not len(objects.at):
        return Frames(), 0
    bodies = _bodies(words, objects)
    # Vector's own library fills up what is missing in objects of this type with zeros.
    cut = (bodies.length > bodies.room) & (objects.group != FD64) & ~bodies.remote
    wrong["its data are cut"] = objects.place[cut]
    kept = ~(cut | bodies.remote)
    if not kept.all():
        bodies, time_us = bodies.only(kept), time_us[kept]
    word, long_at, long_data = _data(words, bodies)
    frames = Frames(
        time_us=time_us,
        can_id=bodies.can_id,
        channel=channels.indices(bodies.channel),
        length=bodies.length.astype(np.uint8),
        word=word,
        long_at=long_at,
        long_data=long_data,
        channels=tuple(channels.names) or ("",),
    )
    return frames, len(kept) - len(frames) - int(cut.sum())


def _sound(words: Words, objects: _Objects, wrong: dict[str, Indices]) -> tuple[_Objects, Times]:
    """Those with a header that is known, a body that is long enough, and a time that can be; their times."""
    head = words[objects.at + 4]
    header, version = _bits(head, 0, 16), _bits(head, 16, 16)
    known = (version >= 1) & (version <= LAST_HEADER_VERSION)
    enough = (header >= HEADER_BYTES) & (objects.at + header + _BEFORE_DATA[objects.group] <= objects.end)
    time_us, timely = _time_us(words, objects.at)
    sound = known & enough & timely
    if sound.all():
        return objects, time_us
    wrong["its header is of an unknown version"] = objects.place[~known]
    wrong["it is too short for a frame"] = objects.place[known & ~enough]
    wrong["its time cannot be"] = objects.place[known & enough & ~timely]
    return objects.only(sound), time_us[sound]


def _time_us(words: Words, at: Indices) -> tuple[Times, Flags]:
    """Microseconds since the start of the log, and whether they can be: less than a century."""
    ticks = words[at + 24]
    tens = (words[at + 16] & np.uint64(TEN_MICROSECONDS | NANOSECONDS)) == TEN_MICROSECONDS
    time_us = (ticks + np.uint64(500)) // np.uint64(1000)
    if tens.any():
        time_us = np.where(tens, np.minimum(ticks, np.uint64(CENTURY_US)) * np.uint64(10), time_us)
    return time_us.astype(np.int64), time_us < CENTURY_US


def _bits(word: Words, first: int, count: int) -> Indices:
    return (word >> np.uint64(first) & np.uint64((1 << count) - 1)).astype(np.int64)


def _bodies(words: Words, objects: _Objects) -> _Bodies:
    """The bodies of objects of several types, in the order of the objects."""
    groups = [group for group in _READERS if (objects.group == group).any()]
    if len(groups) == 1:
        return _READERS[groups[0]](words, objects)
    order = np.concatenate([np.flatnonzero(objects.group == group) for group in groups])
    parts = [_READERS[group](words, objects.only(objects.group == group)) for group in groups]
    return _Bodies(*(_in_order(order, columns) for columns in zip(*map(_columns, parts), strict=True)))


def _columns(bodies: _Bodies) -> tuple[NDArray[Any], ...]:
    return (bodies.channel, bodies.can_id, bodies.length, bodies.remote, bodies.data_at, bodies.room)


def _in_order(order: Indices, columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    joined = np.concatenate(columns)
    placed = np.empty_like(joined)
    placed[order] = joined
    return placed


def _classic(words: Words, objects: _Objects) -> _Bodies:
    body = objects.at + _bits(words[objects.at + 4], 0, 16)
    head = words[body]
    return _Bodies(
        channel=_bits(head, 0, 16),
        can_id=_id(head),
        length=np.minimum(_bits(head, 24, 8), WORD_BYTES),
        remote=_bits(head, 23, 1) != 0,
        data_at=body + _BEFORE_DATA[CLASSIC],
        room=objects.end - body - _BEFORE_DATA[CLASSIC],
    )


def _fd(words: Words, objects: _Objects) -> _Bodies:
    """Begins as a classic frame does; the number of its data bytes comes later."""
    begin = _classic(words, objects)
    length = np.minimum(_bits(words[begin.data_at], 48, 8), MAX_BYTES)
    more = _BEFORE_DATA[FD] - _BEFORE_DATA[CLASSIC]
    return replace(begin, length=length, data_at=begin.data_at + more, room=begin.room - more)


def _fd64(words: Words, objects: _Objects) -> _Bodies:
    """Its data may be fewer than it says, and more may follow them, from an offset that it tells."""
    body = objects.at + _bits(words[objects.at + 4], 0, 16)
    head, data_at = words[body], body + _BEFORE_DATA[FD64]
    more_at = objects.at + _bits(words[body + 32], 24, 8)
    data_end = np.where((more_at >= data_at) & (more_at <= objects.end), more_at, objects.end)
    return _Bodies(
        channel=_bits(head, 0, 8),
        can_id=_id(head),
        length=np.minimum(_bits(head, 16, 8), MAX_BYTES),
        remote=_bits(words[body + 8], 36, 1) != 0,
        data_at=data_at,
        room=data_end - data_at,
    )


_READERS: dict[int, Callable[[Words, _Objects], _Bodies]] = {CLASSIC: _classic, FD: _fd, FD64: _fd64}


def _id(head: Words) -> Ids:
    return (head >> np.uint64(32)).astype(np.uint32) & ID_BITS


def _data(words: Words, bodies: _Bodies) -> tuple[Words, Indices, Bytes]:
    """The first eight bytes of each frame; which frames are longer, and the bytes of these."""
    there = np.minimum(bodies.length, bodies.room)
    word = words[bodies.data_at] & _WORD_MASK[np.minimum(there, WORD_BYTES)]
    long_at = np.flatnonzero(bodies.length > WORD_BYTES)
    eights = bodies.data_at[long_at, None] + np.arange(0, MAX_BYTES, WORD_BYTES)
    long_data = (words[eights] & _LONG_MASK[there[long_at]]).astype("<u8", copy=False).view(np.uint8)
    return word, long_at, long_data.reshape(-1, MAX_BYTES)
