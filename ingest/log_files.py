"""Logs of one vehicle, read from their files and told: one alone, or the minutes of several together."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ingest.can.formats import read_log
from ingest.can.frames import Frames
from ingest.can.parquet import SignalFile
from ingest.can.setup import Setup
from ingest.can.signals import Told
from ingest.can.spans import Spans, inside, reaching
from ingest.can.spool import Spool
from ingest.can.whole import Counts, Reading, clock_us, frames_of, tell_all
from ingest.landing import Landing


@dataclass(frozen=True, slots=True)
class KeptLog:
    """A log in the landing store, how its bytes are read, and the buckets in which it has usable frames."""

    landing_key: str
    format: str
    reading: Reading
    buckets: Spans


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where a vehicle's logs are found, and how its frames are read."""

    landing: Landing
    limit_bytes: int
    setup: Setup

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder for files on the way; it goes at the end."""
        with tempfile.TemporaryDirectory(dir=self.landing.on_its_way) as folder:
            yield Path(folder)


@dataclass(slots=True)
class Telling:
    """Takes what a log tells: into a spool and, where `signals` names a file, every value into that."""

    spool: Spool
    signals: Path | None = None
    _file: SignalFile | None = field(default=None, init=False)

    def add(self, spans: tuple[tuple[int, int], ...], told: Told) -> None:
        """The next window."""
        self.spool.add(spans, told)
        if self.signals is not None:
            self._file = self._file or SignalFile(self.signals)
            self._file.write(told.samples)

    def clear(self) -> None:
        """The log is told again from the start."""
        self.spool.clear()
        self.close()
        self._file = None

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.close()


@dataclass(frozen=True, slots=True)
class Alone:
    """A log told by itself. `signals` is the file of every value; None where nothing was decoded."""

    counts: Counts
    clock: str
    spool: Spool
    signals: Path | None


def tell_alone(plain: BinaryIO, format_: str, reading: Reading, setup: Setup, folder: Path) -> Alone:
    """Tell a whole log; what is told goes to `folder`.

    Raises:
        UnusableUploadError: and its kinds: it cannot be read, or its clock is not known.
    """
    counts = Counts()
    opened = [read_log(plain, format_)]
    offset_us, clock = clock_us(opened[0], reading)

    def streams() -> list[Iterable[Frames]]:
        # The log that told its clock is read on; it is opened again only to put it in order.
        log = opened.pop() if opened else read_log(plain, format_)
        return [frames_of(log, offset_us, reading, counts)]

    telling = Telling(Spool(folder), folder / "signals.parquet")
    tell_all(streams, setup, counts, telling, folder)
    telling.close()
    return Alone(counts, clock, telling.spool, telling.signals if counts.signals else None)


def tell_together(logs: Sequence[KeptLog], spans: Spans, shelf: Shelf, folder: Path) -> Spool:
    """Tell these spans of whole buckets by the frames of all these logs, in whatever order these are given."""
    wanted = reaching(spans, before_us=shelf.setup.bucket_us)
    telling = Telling(Spool(folder))
    with ExitStack() as stack:
        opened = [(log, stack.enter_context(shelf.landing.opened(log.landing_key, shelf.limit_bytes))) for log in logs]
        # Frames of one time stand in the order of their logs: the one that began first comes first.
        opened.sort(key=lambda one: (_begins_us(*one), one[0].landing_key))

        def streams() -> list[Iterable[Frames]]:
            return [_frames_within(log, file, wanted) for log, file in opened]

        tell_all(streams, shelf.setup, Counts(), telling, folder)
    return telling.spool


def _frames(log: KeptLog, file: BinaryIO) -> Iterator[Frames]:
    opened = read_log(file, log.format)
    offset_us, _ = clock_us(opened, log.reading)
    yield from frames_of(opened, offset_us, log.reading)


def _begins_us(log: KeptLog, file: BinaryIO) -> int:
    return next((int(frames.time_us[0]) for frames in _frames(log, file) if len(frames)), 0)


def _frames_within(log: KeptLog, file: BinaryIO, wanted: Spans) -> Iterator[Frames]:
    for frames in _frames(log, file):
        kept = inside(frames.time_us, wanted)
        if kept.any():
            yield frames if kept.all() else frames.take(np.flatnonzero(kept))
