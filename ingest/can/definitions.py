"""Which definition holds for which frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingest.can.frames import EXTENDED, Frames, Indices
from ingest.can.j1939 import pgn_of_id
from ingest.can.specs import MessageSpec

HASH_BITS = 16
MOST_CODES = 1 << HASH_BITS


@dataclass(frozen=True, slots=True)
class Bound:
    """Messages that hold on a channel; None: on every channel."""

    channel: str | None
    messages: tuple[MessageSpec, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Frames of one message from one source: `at` are their positions, ascending. `source` is None without PGN."""

    channel: str
    message: MessageSpec
    source: int | None
    at: Indices


@dataclass(frozen=True, slots=True)
class Grouped:
    """Frames by message; `unknown` counts frames that nobody defines, by (channel, can_id)."""

    groups: list[Group]
    unknown: dict[tuple[str, int], int]


@dataclass(slots=True)
class Definitions:
    """Definitions in order of precedence: the first that knows a frame holds."""

    bound: Sequence[Bound]
    _known: dict[tuple[str, int], MessageSpec | None] = field(default_factory=dict)
    _exact: list[dict[int, MessageSpec]] = field(default_factory=list)
    _by_pgn: list[dict[int, MessageSpec]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for bound in self.bound:
            self._exact.append({m.can_id: m for m in reversed(bound.messages) if not m.by_pgn})
            self._by_pgn.append({pgn_of_id(m.can_id): m for m in reversed(bound.messages) if m.by_pgn})

    def match(self, channel: str, can_id: int) -> MessageSpec | None:
        """The definition of a frame."""
        key = (channel, can_id)
        if key not in self._known:
            if len(self._known) > MOST_CODES:
                self._known.clear()
            self._known[key] = self._find(channel, can_id)
        return self._known[key]

    def _find(self, channel: str, can_id: int) -> MessageSpec | None:
        pgn = pgn_of_id(can_id) if can_id & int(EXTENDED) else None
        for bound, exact, by_pgn in zip(self.bound, self._exact, self._by_pgn, strict=True):
            if bound.channel not in (None, channel):
                continue
            found = exact.get(can_id) or (by_pgn.get(pgn) if pgn is not None else None)
            if found is not None:
                return found
        return None

    def groups(self, frames: Frames) -> Grouped:
        """Sort frames by their definition."""
        unknown: dict[tuple[str, int], int] = {}
        found: dict[tuple[str, str, int, int | None], tuple[MessageSpec, list[Indices]]] = {}
        for channel, can_id, at in _by_id(frames):
            message = self.match(channel, can_id)
            if message is None:
                unknown[channel, can_id] = unknown.get((channel, can_id), 0) + len(at)
                continue
            source = can_id & 0xFF if message.by_pgn else None
            found.setdefault((channel, message.name, message.can_id, source), (message, []))[1].append(at)
        groups = [Group(key[0], message, key[3], _merged(parts)) for key, (message, parts) in found.items()]
        return Grouped(groups, unknown)


def _merged(parts: list[Indices]) -> Indices:
    return parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))


def _by_id(frames: Frames) -> list[tuple[str, int, Indices]]:
    """Channel, id and positions of each distinct pair."""
    if not len(frames):
        return []
    codes = _codes(frames)
    order = np.argsort(codes, kind="stable")  # of 16-bit codes: a radix sort
    ordered = codes[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    runs = np.split(order, starts[1:])
    firsts = order[starts]
    channels, ids = frames.channel[firsts].tolist(), frames.can_id[firsts].tolist()
    return [(frames.channels[channel], id_, at) for channel, id_, at in zip(channels, ids, runs, strict=True)]


def _codes(frames: Frames) -> NDArray[np.uint16] | NDArray[np.int64]:
    """A number for each frame, the same for the same channel and id and for no other."""
    keys = frames.can_id
    if len(frames.channels) > 1:
        keys = keys ^ (frames.channel.astype(np.uint32) << np.uint32(24))
        exact = frames.can_id.astype(np.uint64) | (frames.channel.astype(np.uint64) << np.uint64(32))
    else:
        exact = keys
    hashed = ((keys * np.uint32(0x9E3779B1)) >> np.uint32(32 - HASH_BITS)).astype(np.uint16)
    table = np.zeros(MOST_CODES, exact.dtype)
    table[hashed] = exact
    if bool(np.all(table[hashed] == exact)):
        return hashed
    distinct, codes = np.unique(exact, return_inverse=True)
    return codes.astype(np.uint16) if len(distinct) <= MOST_CODES else codes
