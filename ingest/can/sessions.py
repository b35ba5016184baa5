"""Sessions of a transport protocol: an announcement, then packets of seven bytes.

What J1939 transport and ISO-TP have in common: which sessions came whole, which were lost, when and why; and the bytes
of the whole ones. All sessions of a stretch of log are settled at once, column by column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ingest.can.frames import Bytes, Ids, Indices, Payloads, Times, Words

PACKET_BYTES = 7
NEVER = np.iinfo(np.int64).max


class Loss(IntEnum):
    """Why a message was lost."""

    NONE = 0
    SIZE = 1  # the announced size cannot be, or does not fit the number of packets
    SEQUENCE = 2  # a packet is missing, came twice or too early, or is too short
    LATE = 3  # too long a silence, or too long in all
    BEGUN_ANEW = 4  # its sender began another message first
    ABORTED = 5  # one side gave up
    UNSEEN = 6  # the receiver acknowledged all, the log holds less


@dataclass(frozen=True, slots=True)
class Joined:
    """Whole messages in order of their last packet, and what was lost.

    Per message: `time_us` of its last packet, `began_us` of its announcement, `can_id` as if it were one frame, code of
    its `channel`, `length` in bytes, and where in `blob` they begin (`offset`, a whole number of packets).

    Per lost message: `lost_us` when it began, `failed_us` when the loss was certain, `reason` by Loss. A stretch of
    time tells of the losses whose `failed_us` lies in it. A session that is still going on at the end of the frames is
    among them, with the time at which it will be late. `orphans_us`: packets of no known session.
    """

    time_us: Times = field(default_factory=lambda: np.empty(0, np.int64))
    began_us: Times = field(default_factory=lambda: np.empty(0, np.int64))
    can_id: Ids = field(default_factory=lambda: np.empty(0, np.uint32))
    channel: Bytes = field(default_factory=lambda: np.empty(0, np.uint8))
    length: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    offset: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    blob: Bytes = field(default_factory=lambda: np.empty(0, np.uint8))
    lost_us: Times = field(default_factory=lambda: np.empty(0, np.int64))
    failed_us: Times = field(default_factory=lambda: np.empty(0, np.int64))
    reason: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, np.int8))
    orphans_us: Times = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.time_us)

    def data(self, message: int) -> bytes:
        """The bytes of one message."""
        begin = int(self.offset[message])
        return self.blob[begin : begin + int(self.length[message])].tobytes()

    def payloads(self, at: Indices, most_bytes: int | None = None) -> Payloads:
        """The messages at these positions, zero-padded to the longest of them.

        `most_bytes`: no more than these first bytes of each are needed, so that one long message among many short ones
        does not cost memory; `by_width` is the other way.
        """
        length = self.length[at]
        longest = int(length.max()) if len(at) else 0
        width = max(8, longest if most_bytes is None else min(longest, most_bytes))
        across = -(-width // PACKET_BYTES)
        packets = np.minimum(-(-length // PACKET_BYTES), across)
        row = np.repeat(np.arange(len(at)), packets)
        place = np.arange(len(row)) - np.repeat(np.cumsum(packets) - packets, packets)
        table = np.zeros((len(at), across, PACKET_BYTES), np.uint8)
        table[row, place] = self.blob.reshape(-1, PACKET_BYTES)[self.offset[at][row] // PACKET_BYTES + place]
        data = np.ascontiguousarray(table.reshape(len(at), across * PACKET_BYTES)[:, :width])
        data[np.arange(width) >= length[:, None]] = 0
        return Payloads(self.time_us[at], self.can_id[at], length, None, data)

    def by_width(self, at: Indices) -> Iterator[Indices]:
        """Positions in groups of like length: padding at most doubles the memory of a group."""
        packets = -(-self.length[at] // PACKET_BYTES)
        classes = np.ceil(np.log2(np.maximum(packets, 1))).astype(np.int64)
        for one in np.unique(classes):
            yield at[classes == one]


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest silence within a session, and the longest session."""

    gap_us: int
    session_us: int


@dataclass(frozen=True, slots=True)
class Announced:
    """Sessions, one a row. `next_us`: when another began under the same key, NEVER if none did.

    `packets` are still to come after the announcement. `ordered`: they must come in order, each once; else they may
    come in any order, and again with the same bytes.
    """

    began_us: Times
    next_us: Times
    packets: Indices
    sound: NDArray[np.bool_]
    ordered: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Events:
    """What happened in sessions: ascending by `session`, then in order of time, its announcement first.

    `number`: of a data packet from 1, 0 for other events, -1 for a packet that cannot be right. `content`: its bytes as
    one number. `ends`: why the session is over with this event, if it is not whole by then; NONE: it goes on.
    """

    session: Indices
    time_us: Times
    number: Indices
    content: Words
    ends: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Settled:
    """Per session: `last` is the event that made it whole, -1 if none did; else `failed_us` and `reason`.

    Per event: `used` packets make up the whole messages; `orphan` packets belong to no session that went on.
    """

    last: Indices
    failed_us: Times
    reason: NDArray[np.int8]
    used: NDArray[np.bool_]
    orphan: NDArray[np.bool_]


def settle(events: Events, announced: Announced, limits: Limits) -> Settled:
    """Which sessions came whole. Every session has its announcement among the events."""
    session, time = events.session, events.time_us
    first = np.flatnonzero(np.concatenate(([True], session[1:] != session[:-1])))
    new, wrong = _packets(events, announced, first)
    began = announced.began_us[session]
    before = np.concatenate((time[:1], time[:-1]))
    before[first] = began[first]
    deadline = np.minimum(before + limits.gap_us, began + limits.session_us)
    late = time > deadline
    heard = _counted(new, first, session)
    whole = _earliest(new & (heard == announced.packets[session]), first)
    unsound = np.zeros(len(time), bool)
    unsound[first] = ~announced.sound
    broken = _earliest(late | wrong | unsound | (events.ends != Loss.NONE), first)
    good = whole < broken
    last = np.where(good, whole, -1)
    until = last[session]
    position = np.arange(len(time))
    used = new & (position <= until)
    repeats = (events.number > 0) & ~new & ~wrong & ~announced.ordered[session]
    long_ago = time - began > limits.session_us
    orphan = (events.number != 0) & (((until >= 0) & (position > until) & ~repeats) | long_ago)
    failed, reason = _failures(events, announced, limits, first, broken, late, wrong)
    return Settled(last, failed, reason, used, orphan)


def _earliest(flag: NDArray[np.bool_], first: Indices) -> Indices:
    """The first flagged event of each session; beyond the last event where there is none."""
    return np.minimum.reduceat(np.where(flag, np.arange(len(flag)), len(flag)), first)


def _counted(flag: NDArray[np.bool_], first: Indices, session: Indices) -> Indices:
    """How many events of the same session are flagged so far."""
    count = np.cumsum(flag, dtype=np.int64)
    return count - (count[first] - flag[first])[session]


def _packets(events: Events, announced: Announced, first: Indices) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which events bring a packet that was not there yet, and which are packets that must not be."""
    packet = events.number != 0
    wrong = packet & ((events.number < 0) | (events.number > announced.packets[events.session]))
    ordered = announced.ordered[events.session]
    ordinal = _counted(packet, first, events.session)
    wrong |= packet & ordered & (events.number != ordinal)
    new = packet & ~wrong & ordered
    at = np.flatnonzero(packet & ~wrong & ~ordered)
    if len(at):
        key = events.session[at] << 16 | events.number[at]
        _, index, which = np.unique(key, return_index=True, return_inverse=True)
        original = at[index[which]]
        new[at] = original == at
        wrong[at] = events.content[at] != events.content[original]
    return new, wrong


def _failures(
    events: Events, announced: Announced, limits: Limits, first: Indices, broken: Indices, late: NDArray[np.bool_],
    wrong: NDArray[np.bool_],
) -> tuple[Times, NDArray[np.int8]]:  # fmt: skip
    """When each session was lost for certain, and why; of no meaning for whole ones."""
    count = len(events.time_us)
    at = np.minimum(broken, count - 1)
    cut = broken < count
    silent = ~cut | late[at]
    # The last event before the silence, or before the end of the frames.
    quiet_from = np.where(cut, at - 1, np.append(first[1:], count) - 1)
    quiet_from = np.maximum(quiet_from, first)
    deadline = np.minimum(events.time_us[quiet_from] + limits.gap_us, announced.began_us + limits.session_us)
    anew = ~cut & (announced.next_us <= deadline)
    failed = np.where(silent, np.where(anew, announced.next_us, deadline), events.time_us[at])
    why = np.where(wrong[at], np.int8(Loss.SEQUENCE), events.ends[at])
    why = np.where(silent, np.int8(Loss.LATE), why)
    why = np.where(anew, np.int8(Loss.BEGUN_ANEW), why)
    reason = np.where(announced.sound, why, np.int8(Loss.SIZE)).astype(np.int8)
    return np.where(announced.sound, failed, announced.began_us), reason
