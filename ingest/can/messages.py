"""What frames say: single ones, and messages joined from several, decoded by their definitions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ingest.can import isotp, transport
from ingest.can.decode import Column, decode, last_byte, physical
from ingest.can.definitions import Definitions, Group, Grouped
from ingest.can.frames import EXTENDED, WORD_BYTES, Frames, Indices, Payloads, Times, payloads
from ingest.can.grid import Floats
from ingest.can.j1939 import not_available, pgn_of, pgn_of_id
from ingest.can.sessions import Joined
from ingest.can.specs import MessageSpec, SignalSpec
from ingest.can.windows import Window

Wanted = Mapping[str, Collection[str]]
"""Names of signals to be decoded, by their message."""


def signal_name(channel: str, message: str, signal: str, source: int | None) -> str:
    """What a decoded signal is called: `can0/EEC1.SPN190@00`; channel and source address where there are any."""
    prefix = f"{channel}/" if channel else ""
    suffix = "" if source is None else f"@{source:02X}"
    return f"{prefix}{message}.{signal}{suffix}"


@dataclass(frozen=True, slots=True)
class Decoded:
    """Values of one message from one source, in order of time; NaN where a frame lacks the signal."""

    channel: str
    message: MessageSpec
    source: int | None
    time_us: Times
    signals: list[tuple[SignalSpec, Floats]]

    @property
    def key(self) -> tuple[str, str, int, int]:
        """The same for all parts of what one source says by one message."""
        return self.channel, self.message.name, self.message.can_id, -1 if self.source is None else self.source

    def name(self, signal: SignalSpec) -> str:
        """What the signal is called."""
        return signal_name(self.channel, self.message.name, signal.name, self.source)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a window holds.

    `own`: the messages of its own time; `before`: what is wanted of earlier ones. `single`: those of both that came in
    one frame. `earlier` and `now`: their frames; `transported`: J1939 messages of several frames; `losses` in its own
    time.
    """

    own: list[Decoded]
    before: list[Decoded]
    single: list[Decoded]
    earlier: ByMessage
    now: ByMessage
    transported: Joined
    losses: int

    def of_pgn(self, pgn: int, most_sent_us: int) -> Iterator[tuple[tuple[str, int], Payloads]]:
        """What each (channel, source) sent of a group, whoever defines it: first single frames, then joined messages.

        Joined messages that were at most `most_sent_us` on their way.
        """
        for part in (self.earlier, self.now):
            for group in part.grouped.groups:
                if group.message.can_id & EXTENDED and pgn_of_id(group.message.can_id) == pgn:
                    source = group.message.can_id & 0xFF if group.source is None else group.source
                    yield (group.channel, source), payloads(part.frames, group.at)
        sent = self.transported
        inside = (pgn_of(sent.can_id) == pgn) & (sent.time_us - sent.began_us <= most_sent_us)
        for channel, can_id, every in _by_id(sent, np.flatnonzero(inside), self.now.frames.channels):
            for like in sent.by_width(every):
                yield (channel, can_id & 0xFF), sent.payloads(like)


@dataclass(frozen=True, slots=True)
class ByMessage:
    """Frames by their definition. `direct` are decoded one by one, those of a (channel, can_id) `by_isotp` joined."""

    frames: Frames
    grouped: Grouped
    direct: list[Group]
    by_isotp: set[tuple[str, int]]

    @classmethod
    def of(cls, frames: Frames, definitions: Definitions) -> ByMessage:
        """Sort frames by their definition."""
        grouped = definitions.groups(frames)
        direct, by_isotp = [], set()
        for group in grouped.groups:
            if not comes_by_isotp(group.message):
                direct.append(group)
                continue
            whole = frames.length[group.at] > WORD_BYTES
            if whole.any():
                direct.append(replace(group, at=group.at[whole]))
            if not whole.all():
                by_isotp.add((group.channel, group.message.can_id))
        return cls(frames, grouped, direct, by_isotp)

    def decoded(self, wanted: Wanted | None = None) -> list[Decoded]:
        """The frames that are decoded one by one; all signals, or those `wanted`."""
        found = []
        for group in self.direct:
            if specs := _specs(group.message, wanted):
                data = payloads(self.frames, group.at)
                found.append(_decoded(group.channel, group.message, group.source, data, specs))
        return found


def hear(window: Window, definitions: Definitions, wanted: Wanted) -> Heard:
    """Decode a window: all of its own time, and the signals `wanted` of the bucket before."""
    frames, split, (low, high) = window.frames, window.split, window.own
    earlier = ByMessage.of(frames.between(0, split), definitions)
    now = ByMessage.of(frames.between(split, len(frames)), definitions)
    transported = transport.join(frames)
    diagnostic = isotp.join(frames, earlier.by_isotp | now.by_isotp)
    before, own = earlier.decoded(wanted), now.decoded()
    single = [*before, *own]
    for messages in (transported, diagnostic):
        read = partial(joined, messages, frames.channels, definitions, by_isotp=messages is diagnostic)
        before += read(messages.time_us < low, wanted)
        own += read(messages.time_us >= low, None)
    failed_us = np.concatenate((transported.failed_us, diagnostic.failed_us))
    losses = int(((failed_us >= low) & (failed_us < high + window.silent_us)).sum())
    return Heard(together(own), together(before), single, earlier, now, transported, losses)


def comes_by_isotp(message: MessageSpec) -> bool:
    """Whether frames of at most eight bytes are parts of this message."""
    return not message.by_pgn and message.bytes > WORD_BYTES


def joined(
    messages: Joined, channels: tuple[str, ...], definitions: Definitions, inside: NDArray[np.bool_],
    wanted: Wanted | None, *, by_isotp: bool,
) -> Iterator[Decoded]:  # fmt: skip
    """The messages that lie `inside`, decoded; all signals, or those `wanted`."""
    for name, can_id, at in _by_id(messages, np.flatnonzero(inside), channels):
        message = definitions.match(name, can_id)
        if message is not None and (specs := _specs(message, wanted)):
            data = messages.payloads(at, most_bytes=2 + max(map(last_byte, message.signals)))
            if by_isotp and begins_with_service(message):
                data = _without_first_byte(data)
            source = can_id & 0xFF if message.by_pgn else None
            yield _decoded(name, message, source, data, specs)


def _by_id(messages: Joined, at: Indices, channels: tuple[str, ...]) -> Iterator[tuple[str, int, Indices]]:
    """Channel, id and positions of each distinct pair among the messages at these positions."""
    key = messages.channel[at].astype(np.int64) << 32 | messages.can_id[at]
    order = np.argsort(key, kind="stable")
    ids, starts = np.unique(key[order], return_index=True)
    for one, mine in zip(ids.tolist(), np.split(at[order], starts[1:]), strict=False):
        yield channels[one >> 32], one & 0xFFFFFFFF, mine


def _specs(message: MessageSpec, wanted: Wanted | None) -> list[SignalSpec]:
    if wanted is None:
        return list(message.signals)
    names = wanted.get(message.name, ())
    return [signal for signal in message.signals if signal.name in names]


def begins_with_service(message: MessageSpec) -> bool:
    """Whether the layout of an ISO-TP message begins with the service, not with the length before it.

    Public DBC files for UDS are laid out in both ways. What chooses the page of a diagnostic message is its service,
    never its length.
    """
    pages = {signal.selector.name for signal in message.signals if signal.selector is not None}
    return any(s.name in pages and s.selector is None and last_byte(s) == 0 for s in message.signals)


def _without_first_byte(data: Payloads) -> Payloads:
    assert data.data is not None  # noqa: S101  (joined messages are rows of bytes)
    return replace(data, length=data.length - 1, data=data.data[:, 1:])


def _decoded(
    channel: str, message: MessageSpec, source: int | None, data: Payloads, specs: list[SignalSpec]
) -> Decoded:  # fmt: skip
    columns = decode(data, message)
    signals = [(signal, _values(columns[signal.name], signal, by_pgn=message.by_pgn)) for signal in specs]
    return Decoded(channel, message, source, data.time_us, signals)


def _values(column: Column, signal: SignalSpec, *, by_pgn: bool) -> Floats:
    if by_pgn and not signal.floating and not signal.signed:
        missing = not_available(column.raw, signal.bits)  # type: ignore[arg-type]
        if missing is not None:
            present = ~missing if column.present is None else column.present & ~missing
            column = replace(column, present=present)
    return physical(column, signal)


def together(parts: Iterable[Decoded]) -> list[Decoded]:
    """One for each message and source: what came in single frames and what was joined, in order of time."""
    ordered = sorted(parts, key=lambda part: part.key)
    return [_one(list(found)) for _, found in groupby(ordered, key=lambda part: part.key)]


def _one(parts: list[Decoded]) -> Decoded:
    if len(parts) == 1:
        return parts[0]
    time_us = np.concatenate([part.time_us for part in parts])
    order = np.argsort(time_us, kind="stable")
    columns = zip(*(part.signals for part in parts), strict=True)
    signals = [(column[0][0], np.concatenate([values for _, values in column])[order]) for column in columns]
    return replace(parts[0], time_us=time_us[order], signals=signals)
