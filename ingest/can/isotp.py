"""ISO-TP (ISO 15765-2): diagnostic responses of more than eight bytes on classic CAN, joined from their frames.

The upper half of byte 0 says what a frame is: 0 a whole message, 1 the first of several, 2 a further one, 3 flow
control (which belongs to the other direction, and is passed over). Further frames must come in order, each once, at
most MOST_GAP_US apart and within MOST_SESSION_US. Normal addressing only. Frames of more than eight bytes are another
protocol's. First frames with a 32-bit length (of CAN FD) are counted as lost.

A joined message begins with byte 1 of its first frame, the low byte of the length; the service is byte 1, as it is in
byte 1 of a whole message in one frame, which is taken as it stands. Public DBC files for UDS are laid out like this.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from ingest.can.frames import WORD_BYTES, Bytes, Frames, Indices, Words
from ingest.can.sessions import NEVER, PACKET_BYTES, Announced, Events, Joined, Limits, Settled, settle

SINGLE, FIRST, FURTHER = 0, 1, 2
IN_FIRST = 6
"""Data bytes in a first frame, beside two of length."""
LEAST_BYTES = 8
MOST_GAP_US = 1_000_000
MOST_SESSION_US = 10_000_000
LIMITS = Limits(MOST_GAP_US, MOST_SESSION_US)
NUMBERS = 16


def join(frames: Frames, ids: Collection[tuple[str, int]]) -> Joined:
    """The messages of these (channel, can_id), of frames that are in order of time."""
    at, key = _wanted(frames, ids)
    order = np.lexsort((at, key))
    at, key = at[order], key[order]
    kind = (frames.word[at] >> np.uint64(4) & np.uint64(0xF)).astype(np.int64)
    known = kind <= FURTHER
    at, key, kind = at[known], key[known], kind[known]
    start = np.flatnonzero(kind != FURTHER)
    session = np.cumsum(kind != FURTHER) - 1
    belongs = (session >= 0) & (key == key[start[np.maximum(session, 0)]]) if len(start) else np.zeros(len(at), bool)
    homeless = frames.time_us[at[~belongs]]
    if not len(start):
        return Joined(orphans_us=np.sort(homeless))
    announced, size = _announced(frames, at, key, kind, start)
    inside = np.flatnonzero(belongs)
    events = _events(frames, at[inside], kind[inside], session[inside], announced, size)
    settled = settle(events, announced, LIMITS)
    alone = announced.sound & (kind[start] == SINGLE)
    orphan = settled.orphan | ((events.number != 0) & alone[events.session])
    orphans = np.sort(np.concatenate((homeless, events.time_us[orphan])))
    return _whole(frames, at[start], alone, size, events, announced, settled, orphans)


def _wanted(frames: Frames, ids: Collection[tuple[str, int]]) -> tuple[Indices, Indices]:
    """Positions of the classic frames of these ids, and a number for each id."""
    parts, keys = [], []
    codes = {name: code for code, name in enumerate(frames.channels)}
    for number, (channel, can_id) in enumerate(sorted(set(ids))):
        if channel in codes:
            same = (frames.can_id == np.uint32(can_id)) & (frames.channel == codes[channel])
            parts.append(np.flatnonzero(same & (frames.length > 0) & (frames.length <= WORD_BYTES)))
            keys.append(np.full(len(parts[-1]), number))
    nothing = np.empty(0, np.int64)
    return np.concatenate([nothing, *parts]), np.concatenate([nothing, *keys])


def _announced(frames: Frames, at: Indices, key: Indices, kind: Indices, start: Indices) -> tuple[Announced, Indices]:
    """The sessions, and the lengths that their messages have once joined."""
    word, length, alone = frames.word[at[start]], frames.length[at[start]].astype(np.int64), kind[start] == SINGLE
    low = (word & np.uint64(0xF)).astype(np.int64)
    told = low << 8 | (word >> np.uint64(8) & np.uint64(0xFF)).astype(np.int64)
    fits = (told >= LEAST_BYTES) & (length == WORD_BYTES)
    sound = np.where(alone, (low > 0) & (length > low), fits)
    packets = np.where(alone, 0, -(-(told - IN_FIRST) // PACKET_BYTES))
    size = np.where(alone, length, 1 + told)
    began = frames.time_us[at[start]]
    again = np.append(began[1:], NEVER)
    again[:-1][key[start[1:]] != key[start[:-1]]] = NEVER
    return Announced(began, again, packets, sound, np.ones(len(start), bool)), size


def _events(
    frames: Frames, at: Indices, kind: Indices, session: Indices, announced: Announced, size: Indices
) -> Events:
    word = frames.word[at]
    further = kind == FURTHER
    first = np.flatnonzero(~further)
    ordinal = np.arange(len(at)) - first[np.cumsum(~further) - 1]
    owed = np.minimum(size[session] - ordinal * PACKET_BYTES, PACKET_BYTES)
    numbered = (word & np.uint64(NUMBERS - 1)).astype(np.int64) == ordinal % NUMBERS
    number = np.where(numbered & (frames.length[at] >= 1 + owed), ordinal, -1)
    return Events(session, frames.time_us[at], np.where(further, number, 0), word >> np.uint64(8),
                  np.zeros(len(at), np.int8))  # fmt: skip


def _whole(
    frames: Frames, start: Indices, alone: NDArray[np.bool_], size: Indices,
    events: Events, announced: Announced, settled: Settled, orphans: Indices,
) -> Joined:  # fmt: skip
    good = alone | (settled.last >= 0)
    whole = np.flatnonzero(good)
    ended = np.where(alone, announced.began_us, events.time_us[settled.last])
    whole = whole[np.argsort(ended[whole], kind="stable")]
    rows = -(-size[whole] // PACKET_BYTES)
    place = np.zeros(len(good), np.int64)
    place[whole] = np.cumsum(rows) - rows
    blob = np.zeros((int(rows.sum()), PACKET_BYTES), np.uint8)
    single = whole[alone[whole]]
    blob[place[single]] = _first_seven(frames.word[start[single]])
    longer = single[size[single] > PACKET_BYTES]
    blob[place[longer] + 1, 0] = (frames.word[start[longer]] >> np.uint64(56)).astype(np.uint8)
    several = whole[~alone[whole]]
    blob[place[several]] = _first_seven(frames.word[start[several]] >> np.uint64(8))
    used = np.flatnonzero(settled.used)
    blob[place[events.session[used]] + events.number[used]] = _first_seven(events.content[used])
    bad = np.flatnonzero(~good)
    bad = bad[np.lexsort((settled.failed_us[bad], announced.began_us[bad]))]
    return Joined(
        time_us=ended[whole],
        began_us=announced.began_us[whole],
        can_id=frames.can_id[start[whole]],
        channel=frames.channel[start[whole]],
        length=size[whole],
        offset=place[whole] * PACKET_BYTES,
        blob=blob.reshape(-1),
        lost_us=announced.began_us[bad],
        failed_us=settled.failed_us[bad],
        reason=settled.reason[bad],
        orphans_us=orphans,
    )


def _first_seven(words: Words) -> Bytes:
    return words.astype("<u8").view(np.uint8).reshape(-1, WORD_BYTES)[:, :PACKET_BYTES]
