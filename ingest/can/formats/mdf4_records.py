"""Records of MDF4 bus logging as frames."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ingest.can.formats.log import FAULTS_KEPT, Block, Fault
from ingest.can.formats.mdf4_blocks import Channel, Conversion, Group, Source, conversion
from ingest.can.formats.mdf4_fields import Column, Number, Rows, number
from ingest.can.frames import EXTENDED, MAX_BYTES, WORD_BYTES, Bytes, Frames, Ids, Times, Words

MOST_RECORD_BYTES = 2**16
MOST_BUSES = 255
MOST_RELATIVE_US = 2.0**53
ID_BITS, NO_ID_BITS = np.uint64(0x1FFFFFFF), ~np.uint64(0x9FFFFFFF)
MOST_STANDARD_ID = 0x7FF
LENGTHS = np.array([*range(9), 12, 16, 20, 24, 32, 48, 64], np.int64)
"""Bytes of data by the length code of CAN FD."""
_NAME = re.compile(r"^CAN_(Data|Remote|Error)Frame(?:_\d+)?(?:\.(\w+))?$")
_BUS = re.compile(r"CAN\D{0,3}(\d+)", re.IGNORECASE)
_KEPT = np.array([(1 << 8 * n) - 1 for n in range(WORD_BYTES + 1)], np.uint64)

Mask = NDArray[np.bool_]
Offsets = NDArray[np.int64]


class Payloads(Protocol):
    """Data kept outside of the records."""

    def keys(self, raw: Column, first: int) -> Offsets:
        """What to fetch for records from number `first` on, given the values of their channel."""

    def fetch(self, keys: Offsets) -> tuple[Bytes, Offsets, Mask]:
        """Rows of 64 bytes, lengths, and whether there is data under a key."""


@dataclass(slots=True)
class Faults:
    """Counts records that are no frames and keeps the first of them."""

    rejected: int = 0
    kept: list[Fault] = field(default_factory=list)
    total_kept: int = 0

    def add(self, row: int, value: str | None, reason: str, count: int = 1) -> None:
        """`count` records or blocks; the first of them is told."""
        self.rejected += count
        if self.total_kept < FAULTS_KEPT:
            self.kept.append(Fault(row, value, reason))
            self.total_kept += 1

    def block(self, frames: Frames, remote: int = 0, error: int = 0) -> Block:
        """A block with what was counted since the last one."""
        block = Block(frames, self.rejected, tuple(self.kept), remote, error)
        self.rejected, self.kept = 0, []
        return block


@dataclass(slots=True)
class Buses:
    """Numbers of buses as channels, in the order in which they are met."""

    names: list[str] = field(default_factory=list)

    def number(self, name: str) -> int | None:
        """Index of a name; None once there are too many."""
        if name not in self.names:
            if len(self.names) >= MOST_BUSES:
                return None
            self.names.append(name)
        return self.names.index(name)


@dataclass(frozen=True, slots=True)
class Plan:
    """How frames are read from a group's records. Data is in the record (`at`, `width`) or outside (`outside`)."""

    name: str
    size: int
    time: Number
    start_us: int
    can_id: Number
    extended: Number | None
    bus: Number | None
    bus_name: str
    length: Number | None
    code: Number | None
    has_fd: bool
    at: int
    width: int
    outside: Number | None
    outside_at: int


def purpose(group: Group) -> str | None:
    """What the records of a group are: "Data", "Remote" or "Error" frames, None for anything else."""
    found = (_NAME.match(name) for name in group.channels)
    return next((match[1] for match in found if match), None)


def plan(source: Source, group: Group, start_ns: int, size: int) -> Plan | str:
    """How to read a group of data frames of `size` bytes a record, or why it cannot be."""
    parts = {match[2]: group.channels[name] for name in group.channels if (match := _NAME.match(name)) and match[2]}

    def numeric(channel: Channel | None) -> Number | None:
        return number(channel, conversion(source, channel.conversion_at) if channel else Conversion(), size)

    time, can_id, data = numeric(group.master), numeric(parts.get("ID")), parts.get("DataBytes")
    if size > MOST_RECORD_BYTES:
        return f"a record of {size} bytes is no CAN frame's"
    if time is None:
        return "its records carry no time"
    if can_id is None or data is None:
        return "its records carry no id or no data bytes"
    is_outside = data.kind == 1
    width = min(data.bits // 8, MAX_BYTES, max(0, size - data.byte_offset))
    outside = number(replace(data, data_type=0), Conversion(), size) if is_outside else None
    if (is_outside and outside is None) or data.bit_offset or (not is_outside and data.byte_offset > size):
        return "its data bytes do not stand within the record"
    bus = numeric(parts.get("BusChannel"))
    return Plan(
        group.acquisition or "CAN_DataFrame", size, time, start_ns // 1000, can_id, numeric(parts.get("IDE")), bus,
        _bus_name(group), numeric(parts.get("DataLength")), numeric(parts.get("DLC")), "EDL" in parts,
        data.byte_offset, width, outside, data.data_at,
    )  # fmt: skip


def _bus_name(group: Group) -> str:
    names = [name for name in (group.acquisition, *group.source_names) if name]
    found = (_BUS.search(name) for name in names)
    return next((match[1] for match in found if match), names[-1] if names else "")


@dataclass(slots=True)
class Records:
    """Frames out of records."""

    faults: Faults
    buses: Buses

    def frames(self, rows: Rows, plan: Plan, outside: Payloads | None = None) -> tuple[Frames, Mask | None]:
        """The frames, and which of the records they are (None for all of them)."""
        with np.errstate(all="ignore"):  # what overflows is no time
            time_us, fits = _times(rows, plan)
        problems = [("a time that is none", fits)]
        can_id, fits = _ids(rows, plan)
        problems.append(("an id that is none", fits))
        channel, fits = self._channels(rows, plan)
        problems.append(("a bus beyond the 255th", fits))
        if plan.outside and outside is not None:
            data, length, fits = outside.fetch(outside.keys(plan.outside.raw(rows), rows.first))
            told = _told(rows, plan, MAX_BYTES)
            length = length if told is None else np.minimum(length, told)
            problems.append(("its data is not where it should be", fits))
        else:
            told = _told(rows, plan, plan.width)
            length = np.full(rows.count, plan.width, np.int64) if told is None else told
            data = rows.bytes_at(plan.at, max(plan.width, WORD_BYTES))
        fits = (length >= 0) & (length <= MAX_BYTES) if told is not None else None
        problems.append(("more than 64 bytes of data", fits))
        length = np.clip(length, 0, MAX_BYTES if plan.outside else plan.width)
        frames = Frames(time_us, can_id, channel, length.astype(np.uint8), *_payload(data, length), self._names())
        kept = self._kept(problems, rows, plan)
        return (frames, None) if kept is None else (frames.take(np.flatnonzero(kept)), kept)

    def _names(self) -> tuple[str, ...]:
        return tuple(self.buses.names) or ("",)

    def _channels(self, rows: Rows, plan: Plan) -> tuple[Bytes, Mask | None]:
        constant = plan.bus.constant if plan.bus else None
        if plan.bus is None or constant is not None:
            found = self.buses.number(plan.bus_name if constant is None else _named(constant))
            return np.full(rows.count, found or 0, np.uint8), None if found is not None else np.zeros(rows.count, bool)
        values: Any = plan.bus(rows)
        if rows.count and bool((values == values[0]).all()):
            distinct, which = values[:1], np.zeros(rows.count, np.int64)
        else:
            distinct, which = np.unique(values, return_inverse=True)
        numbers = np.array([_or(self.buses.number(_named(value)), -1) for value in distinct[:4096].tolist()], np.int64)
        numbers = np.append(numbers, np.full(max(0, len(distinct) - 4096), -1))
        channel = numbers[which]
        return channel.astype(np.uint8), channel >= 0 if bool((numbers < 0).any()) else None

    def _kept(self, problems: list[tuple[str, Mask | None]], rows: Rows, plan: Plan) -> Mask | None:
        kept: Mask | None = None
        for reason, fits in problems:
            if fits is None or bool(fits.all()):
                continue
            bad = ~fits if kept is None else kept & ~fits
            kept = fits if kept is None else kept & fits
            if bad.any():
                self.faults.add(rows.first + int(bad.argmax()) + 1, plan.name, reason, int(bad.sum()))
        return kept


def _or(value: int | None, other: int) -> int:
    return other if value is None else value


def _named(value: float) -> str:
    return str(int(value)) if np.isfinite(value) and float(value).is_integer() else str(value)


def _times(rows: Rows, plan: Plan) -> tuple[Times, Mask | None]:
    """Microseconds, rounded; the header's start is added in whole ones."""
    raw: Any = plan.time.raw(rows)
    microseconds: Any
    line = plan.time.conversion.linear()
    if line is None:
        microseconds = plan.time.conversion(raw.astype(np.float64)) * 1e6
    elif raw.dtype.kind == "f":
        microseconds = (raw if line == (1.0, 0.0) else raw * line[0] + line[1]) * 1e6
    else:
        microseconds = raw * (line[0] * 1e6)
        microseconds = microseconds + line[1] * 1e6 if line[1] else microseconds
    fits = None
    if not (rows.count == 0 or -MOST_RELATIVE_US < microseconds.min() <= microseconds.max() < MOST_RELATIVE_US):
        fits = np.abs(microseconds) < MOST_RELATIVE_US
        microseconds = np.where(fits, microseconds, 0.0)
    return np.rint(microseconds).astype(np.int64) + np.int64(plan.start_us), fits


def _ids(rows: Rows, plan: Plan) -> tuple[Ids, Mask | None]:
    raw: Any = plan.can_id(rows)
    fits = None
    if raw.dtype.kind != "u":
        fits = (raw >= 0) & (raw <= 0xFFFFFFFF)
        raw = np.where(fits, raw, 0).astype(np.uint64)
    top = int(raw.max()) if rows.count else 0
    if top >= 1 << 29:
        whole = (raw & NO_ID_BITS) == 0
        fits = whole if fits is None else fits & whole
    bare = (raw & ID_BITS).astype(np.uint32)
    if plan.extended and plan.extended.constant:
        return bare | EXTENDED, fits
    if top <= MOST_STANDARD_ID and (plan.extended is None or plan.extended.constant == 0):
        return bare, fits
    extended = (bare > MOST_STANDARD_ID) | (raw >= np.uint64(EXTENDED))
    if plan.extended and plan.extended.constant is None:
        extended |= plan.extended(rows) != 0
    return bare | (extended.astype(np.uint32) << np.uint32(31)), fits


def _told(rows: Rows, plan: Plan, width: int) -> Offsets | None:
    """Lengths as the records tell: the number of bytes, or the code for it. A shorter field cuts it."""
    if plan.length is not None:
        told = plan.length(rows)
        told = (
            told.astype(np.int64) if told.dtype.kind != "f" else np.nan_to_num(told, nan=-1.0, posinf=999).astype(int)
        )
        return np.where((told > width) & (told <= MAX_BYTES), width, told)
    if plan.code is None:
        return None
    code = np.clip(plan.code(rows).astype(np.float64), 0, 15).astype(np.int64)
    return np.minimum(LENGTHS[code] if plan.has_fd else np.minimum(code, WORD_BYTES), width)


def _payload(data: Bytes, length: Offsets) -> tuple[Words, Offsets, Bytes]:
    """`word`, `long_at`, `long_data` of rows that may hold anything beyond their length."""
    word = data[:, :WORD_BYTES].view("<u8")[:, 0].astype(np.uint64)
    if len(length) and int(length.min()) < WORD_BYTES:
        word &= _KEPT[np.minimum(length, WORD_BYTES)]
    long_at = np.flatnonzero(length > WORD_BYTES)
    long_data = np.zeros((len(long_at), MAX_BYTES), np.uint8)
    if len(long_at):
        long_data[:, : data.shape[1]] = data[long_at]
        long_data[np.arange(MAX_BYTES) >= length[long_at][:, None]] = 0
    return word, long_at, long_data
