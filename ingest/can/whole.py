"""A whole log, told window by window; memory is bounded by a window."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np

from ingest.can.formats.log import FAULTS_KEPT, Block, Clock, Fault, Log
from ingest.can.frames import Frames
from ingest.can.merge import in_order, merged
from ingest.can.setup import Setup
from ingest.can.signals import Told, tell
from ingest.can.windows import LateFramesError, Windows
from schemas.errors import UnknownClockError

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)
MOST_UNKNOWN_IDS = 100_000
"""A log of noise has millions; the rarest are forgotten."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the clock and channels of a log are read.

    `start` is when a relative clock began; `zone` reads wall-clock times; `channel` names the log's only bus, whatever
    the log calls it; `shift_s` is added to every time.
    """

    zone: str
    start: dt.datetime | None = None
    channel: str | None = None
    shift_s: float = 0.0


@dataclass(slots=True)
class Counts:
    """What was in a log."""

    frames: int = 0
    decoded: int = 0
    remote: int = 0
    error: int = 0
    rejected: int = 0
    dropped: int = 0
    losses: int = 0
    faults: list[Fault] = field(default_factory=list)
    unknown_frames: int = 0
    unknown: Counter[tuple[str, int]] = field(default_factory=Counter)
    out_of_limits: Counter[str] = field(default_factory=Counter)
    signals: set[str] = field(default_factory=set)

    def clear(self) -> None:
        """Start again from nothing."""
        self.__init__()  # type: ignore[misc]

    def add_block(self, block: Block) -> None:
        """Count what a block holds beside its data frames."""
        self.rejected += block.rejected
        self.remote += block.remote
        self.error += block.error
        self.faults += block.faults[: FAULTS_KEPT - len(self.faults)]

    def add(self, told: Told) -> None:
        """Count what a window told."""
        self.frames += told.frames
        self.decoded += told.decoded
        self.losses += told.losses
        self.unknown_frames += sum(told.unknown.values())
        self.unknown.update(told.unknown)
        if len(self.unknown) > MOST_UNKNOWN_IDS:
            self.unknown = Counter(dict(self.unknown.most_common(MOST_UNKNOWN_IDS // 2)))
        self.out_of_limits.update(told.out_of_limits)
        self.signals.update(sample.name for sample in told.samples)


def clock_us(log: Log, reading: Reading) -> tuple[int, str]:
    """What is added to the log's times to make them UTC microseconds, and the clock in words.

    Raises:
        UnknownClockError: its clock is relative and nobody says when it began.
    """
    shift = round(reading.shift_s * 1_000_000)
    if log.header.clock is Clock.UTC:
        return shift, "absolute"
    if log.header.clock is Clock.LOCAL and log.header.start is not None:
        begun = log.header.start.replace(tzinfo=ZoneInfo(reading.zone))
        return shift + (begun - EPOCH) // MICROSECOND, f"start {log.header.start.isoformat()} in {reading.zone}"
    if reading.start is None:
        raise UnknownClockError(
            "the log counts time from an unknown moment: say when it began, for example start=2026-01-06T08:00:00Z"
        )
    return shift + (reading.start - EPOCH) // MICROSECOND, f"relative, started {reading.start.isoformat()}"


def frames_of(log: Log, offset_us: int, reading: Reading, counts: Counts | None = None) -> Iterator[Frames]:
    """The log's frames with UTC times."""
    for block in log.blocks:
        if counts is not None:
            counts.add_block(block)
        frames = block.frames.shifted(offset_us)
        if reading.channel is not None and len(frames):
            frames = replace(frames, channel=np.zeros(len(frames), np.uint8), channels=(reading.channel,))
        yield frames


class Sink(Protocol):
    """Takes what windows tell."""

    def add(self, spans: tuple[tuple[int, int], ...], told: Told) -> None:
        """The next window: its own stretches of time, and what it tells of them."""

    def clear(self) -> None:
        """Everything is told again from the start."""


def tell_all(
    open_streams: Callable[[], Sequence[Iterable[Frames]]], setup: Setup, counts: Counts, sink: Sink, folder: Path
) -> None:
    """Tell all windows of one log, or of several together, to `sink`; count them.

    A log that goes back in time by more than a bucket is put in order in `folder` first, and then told again.
    """
    try:
        _tell(merged(open_streams(), setup.bucket_us), setup, counts, sink)
    except LateFramesError:
        counts.clear()
        sink.clear()
        with TemporaryDirectory(dir=folder) as own:
            streams = [in_order(stream, _made(Path(own, str(n)))) for n, stream in enumerate(open_streams())]
            _tell(merged(streams, setup.bucket_us), setup, counts, sink)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _tell(blocks: Iterable[Frames], setup: Setup, counts: Counts, sink: Sink) -> None:
    windows = Windows(setup.bucket_us)
    for window in windows.cut(blocks):
        told = tell(window, setup)
        counts.add(told)
        sink.add(window.spans, told)
    counts.dropped += windows.dropped
