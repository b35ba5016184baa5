"""Blocks of frames, cut into windows of whole buckets.

What a bucket's rows say depends on its own frames and those of the bucket before: transport messages and held values
reach no further back. So windows of any size, cut anywhere between buckets, give the same rows, and memory is bounded
by the largest bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ingest.can.frames import Frames, Times, concat

WINDOW_FRAMES = 400_000
MAX_BUCKET_FRAMES = 3_000_000
MOST_BUCKETS = 360


@dataclass(frozen=True, slots=True)
class Window:
    """Frames in order of time; `own` (low, high) is what is to be told, earlier frames are the bucket before.

    `silent_us`: how long nothing was logged after it, as far as is known. Sessions that were going on are lost by then.
    """

    frames: Frames
    own: tuple[int, int]
    silent_us: int = 0

    @property
    def split(self) -> int:
        """The position of the first own frame."""
        return int(np.searchsorted(self.frames.time_us, self.own[0]))


class LateFramesError(Exception):
    """Frames came for a bucket that was told already: the log goes back in time by more than a bucket."""


@dataclass(slots=True)
class Windows:
    """Cuts frames into windows as they come. `dropped` counts frames beyond what one bucket may hold."""

    bucket_us: int
    dropped: int = 0
    _told_until: int | None = None

    def cut(self, blocks: Iterable[Frames]) -> Iterator[Window]:
        """The windows of frames that come roughly in order: at most one bucket out of it.

        Raises:
            LateFramesError: they do not.
        """
        pending = Frames()
        for block in blocks:
            self._refuse_late(block)
            pending = concat([pending, block])
            if len(pending) >= WINDOW_FRAMES:
                newest = int(pending.time_us.max())
                yield from self._take(pending, self._floor(newest) - self.bucket_us)
                pending = self._left(pending)
        if len(pending):
            yield from self._take(pending, self._floor(int(pending.time_us.max())) + self.bucket_us)

    def _floor(self, time_us: int) -> int:
        return time_us // self.bucket_us * self.bucket_us

    def _refuse_late(self, block: Frames) -> None:
        if self._told_until is not None and len(block) and int(block.time_us.min()) < self._told_until:
            raise LateFramesError

    def _take(self, pending: Frames, until: int) -> Iterator[Window]:
        ordered = pending.sorted()
        first = self._told_until if self._told_until is not None else self._floor(int(ordered.time_us[0]))
        if until <= first:
            return
        self._told_until = until
        for low, high, silent_us in self._stretches(ordered.time_us, first, until):
            begin, end = np.searchsorted(ordered.time_us, (low - self.bucket_us, high))
            yield Window(ordered.between(int(begin), int(end)), (low, high), silent_us)

    def _stretches(self, times_us: Times, first: int, until: int) -> Iterator[tuple[int, int, int]]:
        """Whole buckets between `first` and `until` that hold these times, and the known silence after them.

        They are cut where nothing was logged, and at most MOST_BUCKETS long: a clock that jumps by years makes no
        window of years.
        """
        known = np.unique(times_us // self.bucket_us)
        buckets = known[(known >= first // self.bucket_us) & (known < until // self.bucket_us)]
        if not len(buckets):
            return
        apart = np.concatenate(([True], np.diff(buckets) > 1))
        starts = buckets[np.flatnonzero(apart)][np.cumsum(apart) - 1]
        piece = (buckets - starts) // MOST_BUCKETS
        cut = apart | np.concatenate(([False], piece[1:] != piece[:-1]))
        firsts = np.flatnonzero(cut)
        ends = buckets[np.append(firsts[1:], len(buckets)) - 1] + 1
        silent_us = np.where(np.isin(ends, known) | (ends > known[-1]), 0, self.bucket_us)
        for low, high, silent in zip(buckets[firsts].tolist(), ends.tolist(), silent_us.tolist(), strict=True):
            yield low * self.bucket_us, high * self.bucket_us, silent

    def _left(self, pending: Frames) -> Frames:
        """What is not told yet, and the bucket before it."""
        if self._told_until is None:
            return self._within_limit(pending)
        return self._within_limit(pending.take(np.flatnonzero(pending.time_us >= self._told_until - self.bucket_us)))

    def _within_limit(self, pending: Frames) -> Frames:
        beyond = len(pending) - 2 * MAX_BUCKET_FRAMES
        if beyond <= 0:
            return pending
        self.dropped += beyond
        return pending.between(0, 2 * MAX_BUCKET_FRAMES)
