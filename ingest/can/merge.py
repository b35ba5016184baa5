"""Streams of frames, each roughly in order of time, as one; and frames in no order, put in order on disk.

Memory is bounded by what the streams hold of the same bucket, whatever their length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ingest.can.frames import Frames, concat
from ingest.can.windows import LateFramesError

NEVER = np.iinfo(np.int64).max
RUN_FRAMES = 1_000_000
SLICE_FRAMES = 20_000
COLUMNS = ("time_us", "can_id", "channel", "length", "word", "long_at", "long_data")


@dataclass(slots=True)
class _Stream:
    """One stream: what it gave and nobody took; before `until` nothing more comes."""

    blocks: Iterator[Frames]
    bucket_us: int
    until: int = np.iinfo(np.int64).min
    pending: Frames = field(default_factory=Frames)

    def read(self, taken_until: int) -> None:
        block = next(self.blocks, None)
        if block is None:
            self.until = NEVER
        elif len(block):
            if int(block.time_us.min()) < taken_until:
                raise LateFramesError
            self.pending = concat([self.pending, block])
            newest = int(block.time_us.max())
            self.until = max(self.until, (newest // self.bucket_us - 1) * self.bucket_us)

    def take(self, until: int) -> Frames:
        before = self.pending.time_us < until
        if before.all():
            taken, self.pending = self.pending, Frames()
            return taken
        taken = self.pending.take(np.flatnonzero(before))
        self.pending = self.pending.take(np.flatnonzero(~before))
        return taken


def merged(streams: Sequence[Iterable[Frames]], bucket_us: int) -> Iterator[Frames]:
    """The frames of several streams, in order of time; a frame that several of them hold counts once.

    Each stream may be out of order by a bucket. A single stream is passed on as it is.

    Raises:
        LateFramesError: one of them goes back further.
    """
    if len(streams) == 1:
        yield from streams[0]
        return
    yield from map(_once, _together(streams, bucket_us))


def _together(streams: Sequence[Iterable[Frames]], bucket_us: int) -> Iterator[list[Frames]]:
    """The parts of all streams for one stretch of time after the other."""
    waiting = [_Stream(iter(stream), bucket_us) for stream in streams]
    taken_until: int = np.iinfo(np.int64).min
    while waiting and taken_until < NEVER:
        slowest = min(waiting, key=lambda stream: stream.until)
        slowest.read(taken_until)
        until = min(stream.until for stream in waiting)
        if until > taken_until:
            parts = [stream.take(until) for stream in waiting]
            taken_until = until
            if any(map(len, parts)):
                yield parts


def _once(parts: list[Frames]) -> Frames:
    """Frames of several logs in order of time; of one that several of them hold, the first log's copies stay."""
    together = concat(parts)
    if sum(1 for part in parts if len(part)) < 2:
        return together.sorted()
    log = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    order = np.lexsort((log, together.word, together.can_id, together.channel, together.time_us))
    same = np.ones(len(order), bool)
    for column in (together.time_us, together.channel, together.can_id, together.word, together.length):
        same[1:] &= column[order][1:] == column[order][:-1]
    same[0] = False
    first_log = log[order][np.flatnonzero(~same)][np.cumsum(~same) - 1]
    return together.take(np.sort(order[log[order] == first_log])).sorted()


def in_order(blocks: Iterable[Frames], folder: Path) -> Iterator[Frames]:
    """All frames in order of time, those of one time as they came. Writes as much to `folder` as it reads."""
    runs = [_Run.written(frames, folder / f"run-{n}") for n, frames in enumerate(_gathered(blocks))]
    for parts in _together([run.slices() for run in runs], 1):
        yield concat(parts).sorted()


def _gathered(blocks: Iterable[Frames]) -> Iterator[Frames]:
    pending: list[Frames] = []
    size = 0
    for block in blocks:
        pending.append(block)
        size += len(block)
        if size >= RUN_FRAMES:
            yield concat(pending).sorted()
            pending, size = [], 0
    if size:
        yield concat(pending).sorted()


@dataclass(frozen=True, slots=True)
class _Run:
    """Frames in order of time in a file, slice by slice."""

    path: Path
    channels: tuple[str, ...]
    count: int

    @classmethod
    def written(cls, frames: Frames, path: Path) -> _Run:
        with path.open("wb") as file:
            starts = range(0, len(frames), SLICE_FRAMES)
            for first in starts:
                _write(frames.between(first, first + SLICE_FRAMES), file)
        return cls(path, frames.channels, len(starts))

    def slices(self) -> Iterator[Frames]:
        with self.path.open("rb") as file:
            for _ in range(self.count):
                columns = {name: np.load(file, allow_pickle=False) for name in COLUMNS}
                yield Frames(**columns, channels=self.channels)
        self.path.unlink()


def _write(frames: Frames, file: BinaryIO) -> None:
    for name in COLUMNS:
        np.save(file, getattr(frames, name), allow_pickle=False)
