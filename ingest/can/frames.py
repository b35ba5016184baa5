"""CAN frames as columns.

Frames are kept as NumPy arrays of one length. Remote and error frames carry no data and are never among them; readers
count them. The first eight bytes of a frame are one unsigned 64-bit number, byte 0 lowest and zeros beyond the frame's
length, so that signals of classic CAN are cut out of whole columns by shifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

EXTENDED = np.uint32(1 << 31)
"""Set in `can_id` for 29-bit ids, as in DBC files."""
MAX_BYTES = 64
WORD_BYTES = 8

Times = NDArray[np.int64]
Ids = NDArray[np.uint32]
Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Frames:
    """Data frames in the order of the log.

    `time_us`: microseconds, what of is said by the log's clock. `can_id`: with EXTENDED for 29-bit ids. `channel`:
    index into `channels`. `length`: bytes of data, 0 to 64. `word`: the first eight bytes. `long_at`: ascending
    positions of frames with more than eight bytes (CAN FD), `long_data`: their bytes, one row of 64 each, zero-padded.
    """

    time_us: Times = field(default_factory=lambda: np.empty(0, np.int64))
    can_id: Ids = field(default_factory=lambda: np.empty(0, np.uint32))
    channel: Bytes = field(default_factory=lambda: np.empty(0, np.uint8))
    length: Bytes = field(default_factory=lambda: np.empty(0, np.uint8))
    word: Words = field(default_factory=lambda: np.empty(0, np.uint64))
    long_at: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    long_data: Bytes = field(default_factory=lambda: np.empty((0, MAX_BYTES), np.uint8))
    channels: tuple[str, ...] = ("",)

    def __len__(self) -> int:
        return len(self.time_us)

    def take(self, at: Indices) -> Frames:
        """The frames at these positions, in this order."""
        long_at, long_data = self.long_at, self.long_data
        if len(long_at):
            place = np.full(len(self), -1, np.int64)
            place[long_at] = np.arange(len(long_at))
            found = place[at]
            long_at = np.flatnonzero(found >= 0)
            long_data = self.long_data[found[long_at]]
        return replace(
            self,
            time_us=self.time_us[at],
            can_id=self.can_id[at],
            channel=self.channel[at],
            length=self.length[at],
            word=self.word[at],
            long_at=long_at,
            long_data=long_data,
        )

    def between(self, first: int, last: int) -> Frames:
        """The frames from position `first` until before `last`; shares memory."""
        low, high = np.searchsorted(self.long_at, (first, last))
        return replace(
            self,
            time_us=self.time_us[first:last],
            can_id=self.can_id[first:last],
            channel=self.channel[first:last],
            length=self.length[first:last],
            word=self.word[first:last],
            long_at=self.long_at[low:high] - first,
            long_data=self.long_data[low:high],
        )

    def sorted(self) -> Frames:
        """In order of time; frames of one time stay in the log's order."""
        if len(self) < 2 or bool(np.all(self.time_us[1:] >= self.time_us[:-1])):
            return self
        return self.take(np.argsort(self.time_us, kind="stable"))

    def shifted(self, by_us: int) -> Frames:
        """All times moved."""
        return replace(self, time_us=self.time_us + np.int64(by_us)) if by_us else self


def concat(parts: Sequence[Frames]) -> Frames:
    """All frames, one part after the other; channels of one name become one."""
    parts = [part for part in parts if len(part)]
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Frames()
    channels = tuple(dict.fromkeys(name for part in parts for name in part.channels))
    starts = np.cumsum([0, *(len(part) for part in parts)])
    return Frames(
        time_us=np.concatenate([part.time_us for part in parts]),
        can_id=np.concatenate([part.can_id for part in parts]),
        channel=np.concatenate([_renumbered(part, channels) for part in parts]),
        length=np.concatenate([part.length for part in parts]),
        word=np.concatenate([part.word for part in parts]),
        long_at=np.concatenate([part.long_at + start for part, start in zip(parts, starts[:-1], strict=True)]),
        long_data=np.concatenate([part.long_data for part in parts]),
        channels=channels,
    )


def _renumbered(part: Frames, channels: tuple[str, ...]) -> Bytes:
    if part.channels == channels[: len(part.channels)]:
        return part.channel
    table = np.array([channels.index(name) for name in part.channels], np.uint8)
    return table[part.channel]


def pack(data: Bytes, length: Bytes) -> tuple[Words, Indices, Bytes]:
    """`word`, `long_at`, `long_data` of payloads in rows of at least eight and at most 64 bytes.

    Bytes beyond a frame's `length` may hold anything.
    """
    width = data.shape[1]
    clean = np.where(np.arange(width) < length[:, None], data, np.uint8(0))
    word = np.ascontiguousarray(clean[:, :WORD_BYTES]).view("<u8").reshape(-1).astype(np.uint64, copy=False)
    long_at = np.flatnonzero(length > WORD_BYTES)
    long_data = np.zeros((len(long_at), MAX_BYTES), np.uint8)
    long_data[:, :width] = clean[long_at]
    return word, long_at, long_data


@dataclass(frozen=True, slots=True)
class Payloads:
    """What is decoded by one message definition: data of one id, in order of time.

    `time_us`, `can_id` and `length` as in Frames (`length` may exceed 64 for joined transport messages). Either `word`
    holds all data (nothing is longer than eight bytes), or `data` does, one zero-padded row each.
    """

    time_us: Times
    can_id: Ids
    length: NDArray[np.int64]
    word: Words | None
    data: Bytes | None

    def __len__(self) -> int:
        return len(self.time_us)


def payloads(frames: Frames, at: Indices) -> Payloads:
    """The payloads of the frames at these positions."""
    length = frames.length[at].astype(np.int64)
    if not len(frames.long_at) or not len(at) or int(length.max()) <= WORD_BYTES:
        return Payloads(frames.time_us[at], frames.can_id[at], length, frames.word[at], None)
    chosen = frames.take(at)
    data = np.zeros((len(at), MAX_BYTES), np.uint8)
    data[:, :WORD_BYTES] = chosen.word.astype("<u8").view(np.uint8).reshape(-1, WORD_BYTES)
    data[chosen.long_at] = chosen.long_data
    return Payloads(chosen.time_us, chosen.can_id, length, None, data)
