"""A whole log, told window by window: its rows, other signals, counts; memory bounded by its rows."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from ingest.can.formats.log import FAULTS_KEPT, Block, Clock, Fault, Log
from ingest.can.frames import Frames, concat
from ingest.can.setup import Setup
from ingest.can.signals import SAMPLE_SCHEMA, Samples, Told, tell
from ingest.can.windows import LateFramesError, Windows
from schemas.errors import NothingUsableError
from schemas.frames import UTC_TIME

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)
MOST_UNORDERED = 6_000_000


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
    unknown: Counter[tuple[str, int]] = field(default_factory=Counter)
    out_of_limits: Counter[str] = field(default_factory=Counter)
    signals: set[str] = field(default_factory=set)

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
        self.unknown.update(told.unknown)
        self.out_of_limits.update(told.out_of_limits)
        self.signals.update(sample.name for sample in told.samples)


@dataclass(slots=True)
class Whole:
    """`rows`: time and canonical signals; `extras` by SAMPLE_SCHEMA; `units` of the extras by name."""

    rows: pl.DataFrame
    extras: pl.DataFrame
    units: dict[str, str]


def clock_us(log: Log, reading: Reading) -> tuple[int, str]:
    """What is added to the log's times to make them UTC microseconds, and the clock in words.

    Raises:
        NothingUsableError: its clock is relative and nobody says when it began.
    """
    shift = round(reading.shift_s * 1_000_000)
    if log.header.clock is Clock.UTC:
        return shift, "absolute"
    if log.header.clock is Clock.LOCAL and log.header.start is not None:
        begun = log.header.start.replace(tzinfo=ZoneInfo(reading.zone))
        return shift + (begun - EPOCH) // MICROSECOND, f"start {log.header.start.isoformat()} in {reading.zone}"
    if reading.start is None:
        raise NothingUsableError(
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


def tell_all(
    open_frames: Callable[[], Iterable[Frames]], setup: Setup, counts: Counts,
    keep: Callable[[list[Samples]], None] | None = None,
) -> Whole:  # fmt: skip
    """Tell all windows of frames; `keep` is given every sample.

    A log that goes back in time by more than a bucket is put in order first, as far as memory allows; what does not fit
    is dropped and counted.
    """
    windows = Windows(setup.bucket_us)
    try:
        whole = _tell(windows, open_frames(), setup, counts, keep)
    except LateFramesError:
        counts.__init__()  # type: ignore[misc]
        whole = _tell(windows := Windows(setup.bucket_us), _in_order(open_frames(), counts), setup, counts, keep)
    counts.dropped += windows.dropped
    return whole


def _in_order(blocks: Iterable[Frames], counts: Counts) -> Iterator[Frames]:
    parts, size = [], 0
    for block in blocks:
        room = MOST_UNORDERED - size
        if len(block) > room:
            counts.dropped += len(block) - room
            block = block.between(0, room)
        parts.append(block)
        size += len(block)
    yield concat(parts).sorted()


def _tell(
    windows: Windows, blocks: Iterable[Frames], setup: Setup, counts: Counts,
    keep: Callable[[list[Samples]], None] | None,
) -> Whole:  # fmt: skip
    rows: list[pl.DataFrame] = [pl.DataFrame(schema={"time": UTC_TIME})]
    extras: list[pl.DataFrame] = [pl.DataFrame(schema=SAMPLE_SCHEMA)]
    units: dict[str, str] = {}
    for window in windows.cut(blocks):
        told = tell(window, setup)
        counts.add(told)
        rows.append(told.rows)
        extras.append(told.extras)
        units.update(told.units)
        if keep is not None:
            keep(told.samples)
    return Whole(pl.concat(rows, how="diagonal"), pl.concat(extras), units)
