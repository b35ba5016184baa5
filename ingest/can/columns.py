"""A whole log as columns: times and values of every signal that is defined."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingest.can.decode import decode, physical
from ingest.can.definitions import Definitions, Group
from ingest.can.formats.log import Log
from ingest.can.frames import Frames, Times, concat, payloads
from ingest.can.messages import signal_name

Values = NDArray[np.float64]
BATCH_FRAMES = 200_000
"""Blocks are put together to about so many frames: fewer and longer columns cost less."""


@dataclass(slots=True)
class _Parts:
    """One group's columns, block by block."""

    group: Group
    times: list[Times] = field(default_factory=list)
    values: dict[str, list[Values]] = field(default_factory=dict)


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
        part.times.append(data.time_us)
        for signal in group.message.signals:
            part.values.setdefault(signal.name, []).append(physical(raw[signal.name], signal))


def _joined(parts: dict[tuple[str, str, int, int | None], _Parts]) -> dict[str, tuple[Times, Values]]:
    found: dict[str, tuple[Times, Values]] = {}
    for part in parts.values():
        group, times = part.group, np.concatenate(part.times)
        for signal, values in part.values.items():
            name = signal_name(group.channel, group.message.name, signal, group.source)
            found[name] = (times, np.concatenate(values))
            values.clear()
    return found
