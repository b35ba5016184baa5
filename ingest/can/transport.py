"""J1939 transport protocol: messages of more than eight bytes, joined from their packets.

A session begins with an announcement (broadcast or request to send) and is told apart by channel, source and
destination. Its packets must come complete and in order, at most MOST_GAP_US apart and within MOST_SESSION_US; else the
message is lost, and counted. Packets whose announcement came before the first frame are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingest.can.frames import EXTENDED, Bytes, Frames, Ids, Indices, Payloads, Times
from ingest.can.j1939 import PDU2

CONTROL, TRANSFER = 0xEC, 0xEB
BROADCAST, REQUEST, ABORT = 0x20, 0x10, 0xFF
PACKET_BYTES = 7
MOST_BYTES = 1785
MOST_GAP_US = 1_250_000
MOST_SESSION_US = 50_000_000
PRIORITY = 6


@dataclass(frozen=True, slots=True)
class Joined:
    """Whole messages in order of their last packet, a zero-padded row of `data` each; when the lost ones began."""

    time_us: Times = field(default_factory=lambda: np.empty(0, np.int64))
    can_id: Ids = field(default_factory=lambda: np.empty(0, np.uint32))
    channel: Bytes = field(default_factory=lambda: np.empty(0, np.uint8))
    length: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    data: Bytes = field(default_factory=lambda: np.empty((0, PACKET_BYTES), np.uint8))
    lost_us: Times = field(default_factory=lambda: np.empty(0, np.int64))

    def payloads(self, at: Indices) -> Payloads:
        """The messages at these positions."""
        width = max(8, int(self.length[at].max())) if len(at) else 8
        rows = np.zeros((len(at), width), np.uint8)
        rows[:, : min(width, self.data.shape[1])] = self.data[at][:, :width]
        return Payloads(self.time_us[at], self.can_id[at], self.length[at], None, rows)


def join(frames: Frames) -> Joined:
    """The messages of frames that are in order of time."""
    extended = (frames.can_id & EXTENDED) != 0
    format_ = (frames.can_id >> np.uint32(16)) & np.uint32(0xFF)
    at = np.flatnonzero(extended & ((format_ == CONTROL) | (format_ == TRANSFER)) & (frames.length == 8))
    if not len(at):
        return Joined()
    # Source, destination and channel tell sessions apart; within one, packets stay in order of time.
    key = (frames.channel[at].astype(np.int64) << 16) | (frames.can_id[at].astype(np.int64) & 0xFFFF)
    at = at[np.argsort(key, kind="stable")]
    key = np.sort(key, kind="stable")
    data = frames.word[at].astype("<u8").view(np.uint8).reshape(-1, 8)
    is_control = format_[at] == CONTROL
    begins = is_control & np.isin(data[:, 0], (BROADCAST, REQUEST))
    session = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    if not len(first):
        return Joined()
    belongs = (session >= 0) & (key == key[first[np.maximum(session, 0)]])
    return _whole(frames, at, data, session, first, belongs & ~is_control, belongs & is_control & (data[:, 0] == ABORT))


def _whole(
    frames: Frames, at: Indices, data: Bytes, session: Indices, first: Indices, packets: NDArray[np.bool_],
    aborts: NDArray[np.bool_],
) -> Joined:  # fmt: skip
    count = len(first)
    size = data[first, 1].astype(np.int64) | (data[first, 2].astype(np.int64) << 8)
    wanted = data[first, 3].astype(np.int64)
    packet = np.flatnonzero(packets)
    owner = session[packet]
    received = np.bincount(owner, minlength=count)
    start = np.cumsum(received) - received
    in_order = data[packet, 0] == np.arange(len(packet)) - start[owner] + 1
    time = frames.time_us[at]
    before = np.where(np.arange(len(packet)) == start[owner], time[first[owner]], time[np.roll(packet, 1)])
    sound = in_order & (time[packet] - before <= MOST_GAP_US) & (time[packet] - time[first[owner]] <= MOST_SESSION_US)
    good = (received == wanted) & (size > 8) & (size <= MOST_BYTES) & (wanted == -(-size // PACKET_BYTES))
    good &= np.bincount(owner, weights=~sound, minlength=count) == 0
    good &= np.bincount(session[aborts], minlength=count) == 0
    whole = np.flatnonzero(good)
    lost = np.sort(time[first[~good]])
    if not len(whole):
        return Joined(lost_us=lost)
    rows = np.zeros((len(whole), int(wanted[whole].max()), PACKET_BYTES), np.uint8)
    place = np.full(count, -1)
    place[whole] = np.arange(len(whole))
    kept = packet[good[owner]]
    kept_owner = session[kept]
    rows[place[kept_owner], data[kept, 0].astype(np.int64) - 1] = data[kept, 1:]
    table = rows.reshape(len(whole), -1)
    table[np.arange(table.shape[1]) >= size[whole][:, None]] = 0
    ended = time[packet[start[whole] + received[whole] - 1]]
    order = np.argsort(ended, kind="stable")
    ids = _ids(frames.can_id[at[first[whole]]], data[first[whole]])
    channel = frames.channel[at[first[whole]]]
    return Joined(ended[order], ids[order], channel[order], size[whole][order], table[order], lost)


def _ids(announced: Ids, control: Bytes) -> Ids:
    """The id that the message would have as one frame: the announced group, its source and, for PDU1, destination."""
    group = control[:, 5].astype(np.uint32) | (control[:, 6].astype(np.uint32) << np.uint32(8))
    group |= (control[:, 7].astype(np.uint32) & np.uint32(3)) << np.uint32(16)
    to_one = ((group >> np.uint32(8)) & np.uint32(0xFF)) < PDU2
    group = np.where(to_one, group | ((announced >> np.uint32(8)) & np.uint32(0xFF)), group)
    return EXTENDED | np.uint32(PRIORITY << 26) | (group << np.uint32(8)) | (announced & np.uint32(0xFF))
