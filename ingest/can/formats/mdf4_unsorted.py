"""Records of several groups in one stream, each after its group's id: where they begin, without a walk in Python.

A chunk is cut into segments. Where the first record of each may begin is found by following a few records from every
byte at its start: what has not broken off then is the true ones and, rarely, a false trail. All trails of all
segments are then walked in parallel and linked from the first one on. Where that fails the chunk is walked in a slower,
sure way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.can.formats.mdf4_data import Piece
from ingest.can.formats.mdf4_fields import PAD, U8, padded
from ingest.can.formats.mdf4_outside import LENGTH_BYTES, lengths_at

BLOCK = 2**20
"""Bytes that are walked at once."""
SEGMENT = 2048
MOST_ENTRIES = 256
GUESSED_RECORDS = 12
MOST_TRAILS = 8
MOST_STEPS = 2 * SEGMENT
STRIDE_BITS = 5
MOST_RECORD_BYTES = 16 * 2**20
TOO_LONG = MOST_RECORD_BYTES + 1

Starts = NDArray[np.int64]
Kinds = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Layout:
    """Record ids of `id_bytes` bytes, ascending, and bytes of a record, its id included.

    `table`: index of each possible id for short ones. `steps` has TOO_LONG at its end, for unknown ids; `counted`: the
    groups whose records tell their length, if there `are_counted` ones.
    """

    id_bytes: int
    ids: NDArray[np.uint64]
    table: Kinds
    steps: Starts
    counted: NDArray[np.bool_]
    are_counted: bool

    @classmethod
    def of(cls, id_bytes: int, sizes: Mapping[int, int]) -> Layout:
        """From the sizes by record id; a negative one for records that tell their length."""
        ids = np.array(sorted(sizes), np.uint64)
        size = np.array([sizes[n] for n in ids.tolist()], np.int64)
        table = np.full(1 << 8 * id_bytes if id_bytes <= 2 else 0, -1, np.int16)
        short = np.flatnonzero(ids < len(table))
        table[ids[short].astype(np.int64)] = short
        steps = np.append(np.minimum(size, MOST_RECORD_BYTES) + id_bytes, TOO_LONG)
        return cls(id_bytes, ids, table, steps, np.append(size < 0, False), bool((size < 0).any()))

    @property
    def head_bytes(self) -> int:
        """What must be there to know how long a record is."""
        return self.id_bytes + LENGTH_BYTES * self.are_counted

    def kinds(self, data: U8, at: Starts) -> Kinds:
        """Index of the record id at each position, -1 for an unknown one."""
        loaded = np.ndarray((len(data) - PAD,), f"<u{self.id_bytes}", data, 0, (1,))
        loaded = np.take(loaded, at, mode="clip")
        if len(self.table):
            known: Kinds = self.table[loaded]
            return known
        place = np.minimum(np.searchsorted(self.ids, loaded), len(self.ids) - 1)
        return np.where(self.ids[place] == loaded, place, -1).astype(np.int16)

    def lengths(self, data: U8, at: Starts) -> Starts:
        """Bytes of the record at each position, id and length included; TOO_LONG where none can be."""
        kinds = self.kinds(data, at)
        steps = self.steps[kinds]
        where = np.flatnonzero(self.counted[kinds]) if self.are_counted else kinds[:0]
        if len(where):
            place = np.minimum(at[where] + self.id_bytes, len(data) - PAD - 1)
            steps[where] = np.minimum(lengths_at(data, place) + self.id_bytes + LENGTH_BYTES, TOO_LONG)
        return steps

    def following(self, data: U8, at: Starts) -> Starts:
        """Where the records after these begin; the end of the data for records that do not end in it."""
        end = len(data) - PAD
        after: Starts = np.minimum(at + self.lengths(data, at), end)
        return after


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole records. `start`: where each one's id stands in `data`; `kind`: index of its id in the layout."""

    data: U8
    start: Starts
    kind: Kinds
    first: int
    lost: str | None = None


def chunks(pieces: Iterator[Piece], layout: Layout) -> Iterator[Chunk]:
    """All records, chunk by chunk. An unknown id ends what can be read before the next gap.

    Behind a gap a record is expected to begin: writers fill blocks with whole records.
    """
    rest, first, dead = np.empty(0, np.uint8), 0, False
    for piece in pieces:
        if piece.gap:
            rest, dead = rest[:0], False
        if dead:
            continue
        for at in range(0, len(piece.data), BLOCK):
            data = padded(rest, piece.data[at : at + BLOCK])
            start, kind, end, lost = _walk(data, layout)
            yield Chunk(data, start, kind, first, lost)
            first += len(start)
            rest = data[end:-PAD]
            if dead := lost is not None:
                rest = rest[:0]
                break


def _walk(data: U8, layout: Layout) -> tuple[Starts, Kinds, int, str | None]:
    """Starts and kinds of the whole records, where the last one ends, and why it does not go on."""
    used = len(data) - PAD
    start = _guided(data, layout)
    start = _surely(data, layout) if start is None else start
    kinds = layout.kinds(data, start)
    if not len(start):
        return start, kinds, 0, None
    last = int(start[-1])
    length = int(layout.lengths(data, start[-1:])[0])
    known = last + layout.head_bytes <= used or (kinds[-1] >= 0 and not layout.counted[kinds[-1]])
    if known and last + length <= used:
        return start, kinds, used, None
    unknown = last + layout.id_bytes <= used and int(kinds[-1]) < 0
    lost = "an unknown record id" if unknown else "a record that is too long" if known and length >= TOO_LONG else None
    return start[:-1], kinds[:-1], last, lost


def _guided(data: U8, layout: Layout) -> Starts | None:
    """All positions that records begin at, or None where the trails do not link."""
    used = len(data) - PAD
    segment, at = _trails(data, layout, used)
    borders = np.zeros(int(segment[-1]) + 2, np.int64) if len(segment) else np.zeros(1, np.int64)
    np.maximum.at(borders, segment, at)
    borders[-1] = used
    borders = np.maximum.accumulate(borders)
    begun = _walked(data, layout, at, borders[segment])
    walked = _walked(data, layout, begun[-1], borders[segment + 1]) if begun else None
    if not begun or not walked:
        return None
    chosen = _linked(segment, begun[-1], walked[-1], used)
    if chosen is None:
        return None
    trails = np.array([step[chosen] for step in walked], np.int64).T
    return trails[trails < borders[segment[chosen] + 1][:, None]]


def _trails(data: U8, layout: Layout, used: int) -> tuple[Starts, Starts]:
    """Segments and positions of trails; the first begins with the data and is certain."""
    wide = min(int(layout.steps[:-1].max(initial=1, where=~layout.counted[:-1])), MOST_ENTRIES)
    lead = GUESSED_RECORDS * wide
    apart = max(SEGMENT, 2 * lead)
    start = np.arange(SEGMENT, max(used - apart, SEGMENT), apart)[:, None]
    at = start + np.arange(wide)
    for _ in range(GUESSED_RECORDS):
        at = layout.following(data, at.reshape(-1)).reshape(at.shape)
    at.sort(axis=1)
    new = at < start + apart
    new[:, 1:] &= at[:, 1:] != at[:, :-1]
    new &= np.cumsum(new, axis=1) <= MOST_TRAILS
    segment, _ = np.nonzero(new)
    return np.append(0, np.unique(segment, return_inverse=True)[1] + 1), np.append(0, at[new])


def _walked(data: U8, layout: Layout, at: Starts, until: Starts) -> list[Starts]:
    """The trails' positions step by step, the last ones all at or beyond `until`; nothing if that takes too long."""
    steps = [at]
    behind = np.flatnonzero(at < until)
    while len(behind):
        if len(steps) > MOST_STEPS:
            return []
        at = at.copy()
        at[behind] = layout.following(data, at[behind])
        steps.append(at)
        behind = behind[at[behind] < until[behind]]
    return steps


def _linked(segment: Starts, begin: Starts, end: Starts, used: int) -> Starts | None:
    """The true trail of each segment, from the first on: it begins where the one before ends."""
    of, ends = segment.tolist(), end.tolist()
    starts = {key: trail for trail, key in enumerate(zip(of, begin.tolist(), strict=True))}
    chosen, trail = [0], 0
    while ends[trail] < used:
        found = starts.get((of[trail] + 1, ends[trail]))
        if found is None:
            return None
        trail = found
        chosen.append(trail)
    return np.array(chosen, np.int64)


def _surely(data: U8, layout: Layout) -> Starts:
    """The same for any data.

    Where a record would end is worked out for every byte, as if one began there; then many records are jumped at once,
    and those between the jumps follow in parallel.
    """
    used = len(data) - PAD
    following = layout.following(data, np.arange(used + 1)).astype(np.int32)
    far = following
    for _ in range(STRIDE_BITS):
        far = far[far]
    anchors, at = [], 0
    while at < used:
        anchors.append(at)
        at = int(far[at])
    steps = np.full((1 << STRIDE_BITS, len(anchors)), used, np.int32)
    steps[0] = anchors
    for n in range(1, 1 << STRIDE_BITS):
        steps[n] = following[steps[n - 1]]
    reached = steps.T.reshape(-1).astype(np.int64)
    return reached[reached < used]


def gathered(chunk: Chunk, at: Starts, size: int) -> U8:
    """`size` bytes from each position on, one after the other, padded."""
    whole = np.empty(len(at) * size + PAD, np.uint8)
    if len(at) and size:
        windows = np.ndarray((len(chunk.data) - size + 1,), f"V{size}", chunk.data, 0, (1,))
        np.ndarray((len(at),), f"V{size}", whole)[:] = windows[at]
    whole[len(at) * size :] = 0
    return whole
