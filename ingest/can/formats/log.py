"""What a reader of a log format returns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ingest.can.frames import Frames

BLOCK_BYTES = 2 * 2**20
"""How much of a file is read at once: large enough for whole-column work, small enough for bounded memory."""
FAULTS_KEPT = 100


class Clock(StrEnum):
    """What the times of a log count from."""

    UTC = "utc"  # the epoch
    LOCAL = "local"  # `Header.start`, a wall-clock time without a zone
    RELATIVE = "relative"  # nobody knows: the uploader must say


@dataclass(frozen=True, slots=True)
class Header:
    """`start` is set for Clock.LOCAL alone; it has no zone."""

    clock: Clock
    start: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A line, record or container that could not be read. `row` counts lines or records from 1."""

    row: int
    value: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of a log: data frames in file order, and what else was there.

    `rejected` counts lines or records that could not be read, `faults` tells the first of them. `remote`, `error`:
    frames without data.
    """

    frames: Frames
    rejected: int = 0
    faults: tuple[Fault, ...] = ()
    remote: int = 0
    error: int = 0


@dataclass(frozen=True, slots=True)
class Log:
    """A log opened for reading. `blocks` is taken once; each block needs memory in the order of BLOCK_BYTES."""

    header: Header
    blocks: Iterator[Block]
