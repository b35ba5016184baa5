"""Blocks of frames, cut into windows of whole buckets.

What a bucket's rows say depends on its own frames and those of the bucket before: transport messages and held values
reach no further back. So windows of any size, cut anywhere between buckets, give the same rows, and memory is bounded
by the largest bucket. For the same reason a long silence may be told as one of a single bucket: a log with thousands of
silences, or with a clock that jumps by years, is told in few windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ingest.can.frames import Frames, Times, concat

WINDOW_FRAMES = 300_000
MAX_BUCKET_FRAMES = 3_000_000
MOST_BUCKETS = 360


@dataclass(frozen=True, slots=True)
class Silences:
    """Where a window's clock left out silence: from `since_us` on, its times are `left_out_us` behind."""

    since_us: Times
    left_out_us: Times

    def real(self, times_us: Times) -> Times:
        """Times of the window as they are in truth."""
        at = np.searchsorted(self.since_us, times_us, side="right") - 1
        found: Times = times_us + np.where(at >= 0, self.left_out_us[np.maximum(at, 0)], 0)
        return found


@dataclass(frozen=True, slots=True)
class Window:
    """Frames in order of time; `own` (low, high) is what is to be told, earlier frames are the bucket before.

    `silent_us`: how long nothing was logged after it, as far as is known. Sessions that were going on are lost by then.
    Times are the log's, unless `silences` were left out; `spans` is its own time as it is in truth.
    """

    frames: Frames
    own: tuple[int, int]
    silent_us: int = 0
    silences: Silences | None = None
    spans: tuple[tuple[int, int], ...] = ()

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
        known = np.unique(ordered.time_us // self.bucket_us)
        buckets = known[(known >= first // self.bucket_us) & (known < until // self.bucket_us)]
        for piece in _pieces(buckets):
            after = piece[-1] + 1
            edges = (piece[0] - 1) * self.bucket_us, after * self.bucket_us
            begin, end = np.searchsorted(ordered.time_us, edges)
            silent_us = 0 if after > known[-1] or after in known else self.bucket_us
            yield self._window(ordered.between(int(begin), int(end)), piece, silent_us)

    def _window(self, frames: Frames, buckets: Times, silent_us: int) -> Window:
        """A window of these buckets, each gap between them made one bucket long."""
        bucket_us = self.bucket_us
        low, high = int(buckets[0]) * bucket_us, int(buckets[-1] + 1) * bucket_us
        if high - low == len(buckets) * bucket_us:
            return Window(frames, (low, high), silent_us, spans=((low, high),))
        places = buckets[0] + _places(buckets)
        left_out_us = (buckets - places) * bucket_us
        at = np.searchsorted(buckets, frames.time_us // bucket_us)
        frames = replace(frames, time_us=frames.time_us - left_out_us[at])
        begins = np.flatnonzero(np.append(True, np.diff(buckets) > 1))
        ends = np.append(begins[1:], len(buckets)) - 1
        spans = zip((buckets[begins] * bucket_us).tolist(), ((buckets[ends] + 1) * bucket_us).tolist(), strict=True)
        silences = Silences(places * bucket_us, left_out_us)
        return Window(frames, (low, int(places[-1] + 1) * bucket_us), silent_us, silences, tuple(spans))

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


def _places(buckets: Times) -> Times:
    """Ascending buckets numbered from 0, each gap one bucket long."""
    found: Times = np.concatenate(([0], np.cumsum(np.minimum(np.diff(buckets), 2))))
    return found


def _pieces(buckets: Times) -> Iterator[Times]:
    """Ascending buckets, so many at once as a window holds."""
    if len(buckets):
        yield from np.split(buckets, np.flatnonzero(np.diff(_places(buckets) // MOST_BUCKETS)) + 1)
