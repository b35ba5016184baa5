"""Binary logs: BLF by python-can, MDF4 by asammdf; candump lines by whole columns."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import can
import numpy as np

from ingest.can.frames import EXTENDED, Frames
from tests.can_logs.bus import Event, Kind
from tests.can_logs.truck import SECOND_US, T0_US
from tests.can_logs.write import START

BLOCK = 100_000
DIGITS = np.frombuffer(b"0123456789ABCDEF", np.uint8)
CAN_SOURCE = (2, 2)  # asammdf's numbers: a bus, of the kind CAN


def blf(events: Iterable[Event]) -> bytes:
    """Compressed containers, all objects that python-can writes."""
    return _by_python_can(can.io.BLFWriter, events)


def _by_python_can(writer_class, events):
    class Kept(io.BytesIO):
        def close(self):
            """What was written is asked for afterwards."""

    kept = Kept()
    writer = writer_class(kept)
    for event in events:
        writer.on_message_received(message(event))
    writer.stop()
    return kept.getvalue()


def message(event: Event) -> can.Message:
    return can.Message(
        timestamp=event.time_us / SECOND_US,
        arbitration_id=event.bare_id,
        is_extended_id=event.extended,
        is_remote_frame=event.kind is Kind.REMOTE,
        is_error_frame=event.kind is Kind.ERROR,
        is_fd=event.fd,
        bitrate_switch=event.fd,
        channel=event.channel,
        dlc=len(event.data),
        data=None if event.kind is Kind.REMOTE else event.data,
    )


def frames_of(events: Iterable[Event]) -> Frames:
    """The classic data frames among events, as columns."""
    data = [event for event in events if event.kind is Kind.DATA and not event.fd]
    return Frames(
        time_us=np.array([e.time_us for e in data], np.int64),
        can_id=np.array([e.can_id for e in data], np.uint32),
        channel=np.array([e.channel for e in data], np.uint8),
        length=np.array([len(e.data) for e in data], np.uint8),
        word=np.array([int.from_bytes(e.data, "little") for e in data], np.uint64),
        channels=("0", "1"),
    )


def mdf4(frames: Frames, path: Path, *, compressed: bool = True) -> None:
    """Classic frames in one sorted group of bus logging, a file of version 4.10."""
    from asammdf import MDF, Signal, Source

    dtype = np.dtype(
        [
            ("CAN_DataFrame.BusChannel", "<u1"),
            ("CAN_DataFrame.ID", "<u4"),
            ("CAN_DataFrame.IDE", "<u1"),
            ("CAN_DataFrame.DLC", "<u1"),
            ("CAN_DataFrame.DataLength", "<u1"),
            ("CAN_DataFrame.DataBytes", "(8,)u1"),
        ]
    )
    rows = np.zeros(len(frames), dtype)
    rows["CAN_DataFrame.BusChannel"] = frames.channel + 1
    rows["CAN_DataFrame.ID"] = frames.can_id & ~EXTENDED
    rows["CAN_DataFrame.IDE"] = frames.can_id >> np.uint32(31)
    rows["CAN_DataFrame.DLC"] = rows["CAN_DataFrame.DataLength"] = frames.length
    rows["CAN_DataFrame.DataBytes"] = frames.word.astype("<u8").view(np.uint8).reshape(-1, 8)
    source_type, bus_type = CAN_SOURCE
    source = Source(name="CAN", path="CAN", comment="", source_type=source_type, bus_type=bus_type)
    seconds = (frames.time_us - T0_US) / SECOND_US
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        with MDF(version="4.10") as mdf:
            mdf.start_time = START
            signal = Signal(rows, seconds, name="CAN_DataFrame", source=source)
            mdf.append([signal], acq_source=source, common_timebase=True)
            mdf.save(path, overwrite=True, compression=2 if compressed else 0)


# --- candump by whole columns ---------------------------------------------------------------------


def candump_fast(frames: Frames, file: BinaryIO) -> None:
    """Classic frames of one channel as `(1436509052.249713) can0 18FEF100#FF...` lines; millions in seconds."""
    for first in range(0, len(frames), BLOCK):
        file.write(_candump_block(frames.between(first, first + BLOCK)))


def _candump_block(frames: Frames) -> bytes:
    extended = (frames.can_id & EXTENDED) != 0
    channel = np.frombuffer(f") {frames.channels[0]} ".encode(), np.uint8)
    id_digits = np.where(extended, 8, 3)
    size = 1 + 17 + len(channel) + id_digits + 1 + 2 * frames.length.astype(np.int64) + 1
    start = np.cumsum(size) - size
    out = np.empty(int(size.sum()), np.uint8)
    for digits in (3, 8):
        for length in range(9):
            at = np.flatnonzero((id_digits == digits) & (frames.length == length))
            if len(at):
                lines = _lines(frames, at, digits, length, channel)
                out[start[at][:, None] + np.arange(lines.shape[1])] = lines
    return out.tobytes()


def _lines(frames, at, digits, length, channel):
    seconds, micros = np.divmod(frames.time_us[at], SECOND_US)
    id_ = (frames.can_id[at] & ~EXTENDED).astype(np.int64)
    data = frames.word[at].astype("<u8").view(np.uint8).reshape(-1, 8)[:, :length]
    pairs = np.stack((DIGITS[data >> 4], DIGITS[data & 15]), axis=2).reshape(len(at), 2 * length)

    def same(text):
        return np.broadcast_to(np.frombuffer(text, np.uint8), (len(at), len(text)))

    parts = [same(b"("), _digits(seconds, 10, 10), same(b"."), _digits(micros, 6, 10), same(channel.tobytes()),
             _digits(id_, digits, 16), same(b"#"), pairs, same(b"\n")]  # fmt: skip
    return np.concatenate(parts, axis=1)


def _digits(numbers, count, base):
    powers = base ** np.arange(count - 1, -1, -1, dtype=np.int64)
    return DIGITS[numbers[:, None] // powers % base]


# --- BLF by whole columns -------------------------------------------------------------------------

BLF_OBJECT = np.dtype(
    [
        ("mark", "S4"), ("header_size", "<u2"), ("header_version", "<u2"), ("size", "<u4"), ("kind", "<u4"),
        ("flags", "<u4"), ("client", "<u2"), ("version", "<u2"), ("time_ns", "<u8"),
        ("channel", "<u2"), ("message_flags", "u1"), ("length", "u1"), ("id", "<u4"), ("data", "<u8"),
    ]
)  # fmt: skip
BLF_OBJECTS = 2_730  # in a container of 128 KiB
CAN_MESSAGE, CONTAINER = 1, 10
NANOSECONDS, DEFLATE = 2, 2


def blf_fast(frames: Frames, file: BinaryIO) -> None:
    """Classic frames in compressed containers; millions in seconds."""
    rows = np.zeros(len(frames), BLF_OBJECT)
    rows["mark"], rows["header_size"], rows["header_version"] = b"LOBJ", 32, 1
    rows["size"], rows["kind"], rows["flags"] = BLF_OBJECT.itemsize, CAN_MESSAGE, NANOSECONDS
    rows["time_ns"] = (frames.time_us - T0_US) * 1_000
    rows["channel"], rows["length"], rows["data"] = frames.channel + 1, frames.length, frames.word
    rows["id"] = frames.can_id
    containers = [_container(rows[n : n + BLF_OBJECTS].tobytes()) for n in range(0, len(rows), BLF_OBJECTS)]
    size = 144 + sum(map(len, containers))
    date = (START.year, START.month, START.isoweekday() % 7, START.day, START.hour, START.minute, START.second, 0)
    head = struct.pack("<4sL8BQQLL8H8H72x", b"LOGG", 144, *(2, 2, 2, 0, 5, 0, 0, 0), size, 144 + rows.nbytes,
                       len(rows), 0, *date, *date)  # fmt: skip
    file.write(head + b"".join(containers))


def _container(data: bytes) -> bytes:
    packed = zlib.compress(data, 1)
    size = 32 + len(packed)
    head = struct.pack("<4sHHLLH6xL4x", b"LOBJ", 16, 1, size, CONTAINER, DEFLATE, len(data))
    return head + packed + bytes(size % 4)
