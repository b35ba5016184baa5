"""J1939 transport protocol: messages of more than eight bytes, joined from their packets.

A session begins with an announcement (broadcast, or request to send) and is told apart by channel, source and
destination. Silences of up to MOST_GAP_US are allowed, in all MOST_SESSION_US. A broadcast's packets must come in
order, each once. Packets sent to one receiver may come again or out of order, as the receiver asks for them (clear to
send), but a packet that comes again must be the same. Else the message is lost. It is also lost when its sender begins
another one to the same address first, when one of both aborts it, and when the receiver acknowledges more than the log
holds.

What happens in a stretch of time thus depends on the MOST_SESSION_US before it, and on nothing earlier.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ingest.can.frames import EXTENDED, WORD_BYTES, Bytes, Frames, Ids, Indices
from ingest.can.j1939 import PDU2
from ingest.can.sessions import NEVER, PACKET_BYTES, Announced, Events, Joined, Limits, Loss, Settled, settle

__all__ = ["LIMITS", "MOST_GAP_US", "MOST_SESSION_US", "Joined", "Loss", "join"]

GROUP_MASK = np.uint32(0x83FF0000)
CONTROL, TRANSFER = np.uint32(0x80EC0000), np.uint32(0x80EB0000)
REQUEST, CLEAR, ACKNOWLEDGE, BROADCAST, ABORT = 0x10, 0x11, 0x13, 0x20, 0xFF
LEAST_BYTES, MOST_BYTES = 9, 1785
MOST_GAP_US = 1_250_000
MOST_SESSION_US = 50_000_000
LIMITS = Limits(MOST_GAP_US, MOST_SESSION_US)
PRIORITY = 6


def join(frames: Frames) -> Joined:
    """The messages of frames that are in order of time."""
    group = frames.can_id & GROUP_MASK
    control = group == CONTROL
    at = np.flatnonzero(
        (control & (frames.length == WORD_BYTES)) | ((group == TRANSFER) & (frames.length <= WORD_BYTES))
    )
    if not len(at):
        return Joined()
    return _join(frames, *_by_session_key(frames, at, control))


def _by_session_key(
    frames: Frames, at: Indices, control: NDArray[np.bool_]
) -> tuple[Indices, Indices, NDArray[np.uint8]]:
    """Positions of protocol frames by key, in order of time within each; keys; kinds (0: a packet).

    A key is channel, sender's and receiver's address. What a receiver says stands under its sender's key; an abort
    under both, since either side may abort.
    """
    kind = np.where(control[at], (frames.word[at] & np.uint64(0xFF)).astype(np.uint8), np.uint8(0))
    known = ~control[at] | np.isin(kind, (REQUEST, CLEAR, ACKNOWLEDGE, BROADCAST, ABORT))
    at, kind = at[known], kind[known]
    ids = frames.can_id[at].astype(np.int64)
    source, destination = ids & 0xFF, ids >> 8 & 0xFF
    channel = frames.channel[at].astype(np.int64) << 16
    sent, answered = channel | source << 8 | destination, channel | destination << 8 | source
    key = np.where((kind == CLEAR) | (kind == ACKNOWLEDGE), answered, sent)
    aborts = np.flatnonzero(kind == ABORT)
    at, kind = np.concatenate((at, at[aborts])), np.concatenate((kind, kind[aborts]))
    key = np.concatenate((key, answered[aborts]))
    order = np.lexsort((at, key))
    return at[order], key[order], kind[order]


def _join(frames: Frames, at: Indices, key: Indices, kind: Bytes) -> Joined:
    begins = (kind == REQUEST) | (kind == BROADCAST)
    start = np.flatnonzero(begins)
    session = np.cumsum(begins) - 1
    belongs = (session >= 0) & (key == key[start[np.maximum(session, 0)]]) if len(start) else np.zeros(len(at), bool)
    homeless = frames.time_us[at[(kind == 0) & ~belongs]]
    if not len(start):
        return Joined(orphans_us=np.sort(homeless))
    words = frames.word[at[start]]
    size = (words >> np.uint64(8) & np.uint64(0xFFFF)).astype(np.int64)
    announced = _announced(frames, at, key, kind, start, size)
    belongs &= (kind != ABORT) | (frames.word[at] >> np.uint64(40) == (words >> np.uint64(40))[session])
    inside = np.flatnonzero(belongs)
    events = _events(frames, at[inside], kind[inside], session[inside], announced, size)
    settled = settle(events, announced, LIMITS)
    orphans = np.sort(np.concatenate((homeless, events.time_us[settled.orphan])))
    return _whole(events, announced, settled, size, _ids(frames.can_id[at[start]], words),
                  frames.channel[at[start]], orphans)  # fmt: skip


def _announced(frames: Frames, at: Indices, key: Indices, kind: Bytes, start: Indices, size: Indices) -> Announced:
    began = frames.time_us[at[start]]
    again = np.append(began[1:], NEVER)
    again[:-1][key[start[1:]] != key[start[:-1]]] = NEVER
    packets = (frames.word[at[start]] >> np.uint64(24) & np.uint64(0xFF)).astype(np.int64)
    sound = (size >= LEAST_BYTES) & (size <= MOST_BYTES) & (packets == -(-size // PACKET_BYTES))
    return Announced(began, again, packets, sound, kind[start] == BROADCAST)


def _events(frames: Frames, at: Indices, kind: Bytes, session: Indices, announced: Announced, size: Indices) -> Events:
    word = frames.word[at]
    number = (word & np.uint64(0xFF)).astype(np.int64)
    # A packet must hold what it owes: seven bytes, or in the last one what is left.
    owed = np.minimum(size[session] - (number - 1) * PACKET_BYTES, PACKET_BYTES)
    number[(number == 0) | (frames.length[at] < 1 + owed)] = -1
    number[kind != 0] = 0
    ends = np.zeros(len(at), np.int8)
    ends[kind == ABORT] = Loss.ABORTED
    ends[(kind == ACKNOWLEDGE) & ~announced.ordered[session]] = Loss.UNSEEN
    return Events(session, frames.time_us[at], number, word >> np.uint64(8), ends)


def _whole(
    events: Events, announced: Announced, settled: Settled, size: Indices, ids: Ids, channel: Bytes, orphans: Indices
) -> Joined:
    good = settled.last >= 0
    whole = np.flatnonzero(good)
    ended = events.time_us[settled.last[whole]]
    whole = whole[np.argsort(ended, kind="stable")]
    packets = announced.packets[whole]
    first = np.zeros(len(good), np.int64)
    first[whole] = np.cumsum(packets) - packets
    used = np.flatnonzero(settled.used)
    blob = np.zeros((int(packets.sum()), PACKET_BYTES), np.uint8)
    content = events.content[used].astype("<u8").view(np.uint8).reshape(-1, WORD_BYTES)
    blob[first[events.session[used]] + events.number[used] - 1] = content[:, :PACKET_BYTES]
    bad = np.flatnonzero(~good)
    bad = bad[np.lexsort((settled.failed_us[bad], announced.began_us[bad]))]
    return Joined(
        time_us=events.time_us[settled.last[whole]],
        began_us=announced.began_us[whole],
        can_id=ids[whole],
        channel=channel[whole],
        length=size[whole],
        offset=first[whole] * PACKET_BYTES,
        blob=blob.reshape(-1),
        lost_us=announced.began_us[bad],
        failed_us=settled.failed_us[bad],
        reason=settled.reason[bad],
        orphans_us=orphans,
    )


def _ids(announced: Ids, words: NDArray[np.uint64]) -> Ids:
    """The id that the message would have as one frame: the announced group, its source and, for PDU1, destination."""
    group = (words >> np.uint64(40) & np.uint64(0x3FFFF)).astype(np.uint32)
    to_one = (group >> np.uint32(8) & np.uint32(0xFF)) < PDU2
    destination = announced >> np.uint32(8) & np.uint32(0xFF)
    group = np.where(to_one, (group & np.uint32(0x3FF00)) | destination, group)
    return EXTENDED | np.uint32(PRIORITY << 26) | (group << np.uint32(8)) | (announced & np.uint32(0xFF))
