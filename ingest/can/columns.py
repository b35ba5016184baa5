"""A whole log as columns: times and values of every signal that is defined."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.can.decode import decode, physical
from ingest.can.definitions import Definitions, Group
from ingest.can.formats.log import Log
from ingest.can.frames import Frames, Times, concat, payloads
from ingest.can.messages import signal_name

Values = NDArray[np.float64]
GROWTH = 1.25
BATCH_FRAMES = 200_000
"""Blocks are put together to about so many frames: fewer and longer columns cost less."""


@dataclass(slots=True)
class _Growing:
    """An array that is filled piece by piece, so that all pieces are never in memory a second time."""

    array: NDArray[Any]
    count: int = 0

    def room(self, more: int) -> NDArray[Any]:
        """Where the next `more` elements go; to be filled before anything else is asked for."""
        first, self.count = self.count, self.count + more
        if self.count > len(self.array):
            # No reference to the array outlives a piece, and the system moves its pages, not their bytes.
            self.array.resize(max(self.count, int(self.count * GROWTH)), refcheck=False)
        return self.array[first : self.count]

    def whole(self) -> NDArray[Any]:
        """All elements."""
        self.array.resize(self.count, refcheck=False)
        return self.array


def _times() -> _Growing:
    return _Growing(np.empty(0, np.int64))


def _values() -> _Growing:
    return _Growing(np.empty(0, np.float64))


@dataclass(slots=True)
class _Parts:
    """One group's columns as far as they are read."""

    group: Group
    times: _Growing = field(default_factory=_times)
    values: defaultdict[str, _Growing] = field(default_factory=lambda: defaultdict(_values))


def columns(log: Log, definitions: Definitions) -> dict[str, tuple[Times, Values]]:
    """Every signal of a log by its name (`can0/EEC1.Speed@00`): microseconds as the log counts them, and values.

    Values are raw x scale + offset in the signal's unit, in file order, before any rule about codes for not available;
    NaN where a frame is too short or shows another page of a multiplexed message. Signals of one message share the
    array of times. Messages of several frames (transport protocols) are not joined. Takes the log's blocks.
    """
    parts: dict[tuple[str, str, int, int | None], _Parts] = {}
    waiting: list[Frames] = []
    for block in log.blocks:
        waiting.append(block.frames)
        if sum(map(len, waiting)) >= BATCH_FRAMES:
            _add(concat(waiting), definitions, parts)
            waiting = []
    _add(concat(waiting), definitions, parts)
    return _joined(parts)


def _add(
    frames: Frames, definitions: Definitions, parts: dict[tuple[str, str, int, int | None], _Parts]
) -> None:  # fmt: skip
    for group in definitions.groups(frames).groups:
        key = (group.channel, group.message.name, group.message.can_id, group.source)
        part = parts.setdefault(key, _Parts(group))
        data = payloads(frames, group.at)
        raw = decode(data, group.message)
        part.times.room(len(data))[:] = data.time_us
        for signal in group.message.signals:
            physical(raw[signal.name], signal, part.values[signal.name].room(len(data)))


def _joined(parts: dict[tuple[str, str, int, int | None], _Parts]) -> dict[str, tuple[Times, Values]]:
    found: dict[str, tuple[Times, Values]] = {}
    for part in parts.values():
        group, times = part.group, part.times.whole()
        for signal, values in part.values.items():
            found[signal_name(group.channel, group.message.name, signal, group.source)] = (times, values.whole())
    return found
