"""MDF4 bus logs, judged by asammdf, python-can, a naive walk and files built by hand."""

import datetime as dt
import io
import os
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.can.columns import columns
from ingest.can.dbc import read_dbc
from ingest.can.definitions import Bound, Definitions
from ingest.can.formats import mdf4, mdf4_data, mdf4_unsorted
from ingest.can.formats.log import Block, Clock
from ingest.can.formats.mdf4 import read, recognises
from ingest.can.formats.mdf4_data import Piece
from ingest.can.frames import concat
from schemas.errors import MalformedBodyError
from tests import campaign
from tests.can_logs.mdf4_file import (
    CLASSIC_BYTES,
    LINEAR,
    MLSD,
    TABLE,
    File,
    classic,
    one_bus,
    outside_frames,
    outside_record,
    record,
    seconds,
    some_frames,
    unsorted_file,
    vlsd_channel,
)

TRUCK = Path(os.environ.get("BEACHHEAD_SAMPLE_DATA", "../shared/data")) / "truck-j1939-mf4" / "truck-402s.mf4"
START_S = 1_700_000_000
START_US = START_S * 1_000_000


def whole(data, header=None):
    """All of a file in one block, and its header."""
    log = read(io.BytesIO(data))
    blocks = list(log.blocks)
    return Block(
        concat([block.frames for block in blocks]),
        sum(block.rejected for block in blocks),
        tuple(fault for block in blocks for fault in block.faults),
        sum(block.remote for block in blocks),
        sum(block.error for block in blocks),
    ), log.header


def rows(frames, since=START_US):
    """(microseconds, channel, id, data) of each frame, ids with bit 31."""
    long = {int(at): bytes(data) for at, data in zip(frames.long_at, frames.long_data, strict=True)}
    words = [int(word).to_bytes(8, "little") for word in frames.word]
    return [
        (int(at) - since, frames.channels[int(bus)], int(can_id), long.get(n, words[n])[: int(length)])
        for n, (at, bus, can_id, length) in enumerate(
            zip(frames.time_us, frames.channel, frames.can_id, frames.length, strict=True)
        )
    ]


def read_rows(data):
    return rows(whole(data)[0].frames)


def expected(frames, bus="1"):
    return [(round(t * 1e6), bus, can_id | 1 << 31, data) for t, can_id, data in frames]


# ---- judged by asammdf and python-can


def by_asammdf(path):
    """(microseconds, bus, id with bit 31, data) of all frames, in order of time."""
    from asammdf import MDF

    found = []
    with MDF(path) as mdf:
        base = mdf.header.abs_time // 1000
        for n, group in enumerate(mdf.groups):
            if not any(channel.name == "CAN_DataFrame" for channel in group.channels) or not len(mdf.get_master(n)):
                continue
            column = {
                name: mdf.get(f"CAN_DataFrame.{name}", group=n).samples
                for name in ("ID", "IDE", "BusChannel", "DataLength", "DataBytes")
            }
            times = np.rint(mdf.get_master(n) * 1e6).astype(np.int64) + base
            for at, can_id, ide, bus, size, data in zip(times, *column.values(), strict=True):
                bare = int(can_id) | (1 << 31 if int(ide) else 0)
                found.append((int(at), str(int(bus)), bare, bytes(data[: int(size)])))
    return sorted(found)


@pytest.mark.skipif(not TRUCK.exists(), reason=f"no recording at {TRUCK}")
def test_a_real_unfinished_truck_log_as_asammdf_reads_it(tmp_path):
    copy = tmp_path / "truck.mf4"  # asammdf finishes files in place
    copy.write_bytes(TRUCK.read_bytes())
    block, header = whole(TRUCK.read_bytes())
    assert (len(block.frames), block.rejected, header.clock) == (150_411, 0, Clock.UTC)
    assert sorted(rows(block.frames, 0)) == by_asammdf(copy)


@pytest.mark.skipif(not TRUCK.exists(), reason=f"no recording at {TRUCK}")
def test_a_real_truck_s_values_as_asammdf_decodes_them(tmp_path):
    import asammdf

    copy, dbc = tmp_path / "truck.mf4", TRUCK.with_name("j1939-demo.dbc")
    copy.write_bytes(TRUCK.read_bytes())
    defined = Definitions([Bound(None, read_dbc(dbc.read_bytes(), "demo").messages)])
    ours = columns(read(io.BytesIO(TRUCK.read_bytes())), defined)
    with asammdf.MDF(copy) as mdf, mdf.extract_bus_logging({"CAN": [(dbc, 0)]}) as theirs:
        start_us = round(mdf.start_time.timestamp() * 1e6)
        signals = [theirs.get(group=n, index=1) for n in range(len(theirs.groups))]
    assert {signal.name for signal in signals} == {"EngineSpeed", "WheelBasedVehicleSpeed"}
    for signal in signals:
        ((time_us, values),) = (found for name, found in ours.items() if f".{signal.name}@00" in name)
        where = np.searchsorted(time_us, start_us + np.rint(signal.timestamps * 1e6).astype(np.int64))
        assert np.abs(time_us[where] - start_us - signal.timestamps * 1e6).max() <= 1
        assert len(signal.samples) > 3900
        assert np.array_equal(values[where], signal.samples)


def messages(start):
    import can

    found = []
    for n in range(300):
        at = start + n * 0.0137
        found.append(
            can.Message(timestamp=at, arbitration_id=n, is_extended_id=False, channel=n % 3, data=bytes(range(n % 9)))
        )
        size = (12, 16, 20, 24, 32, 48, 64, 3)[n % 8]
        found.append(
            can.Message(timestamp=at, arbitration_id=n, channel=1, is_fd=True, data=bytes(range(n % 7, n % 7 + size)))
        )
        if n % 10 == 0:
            found.append(can.Message(timestamp=at, arbitration_id=n, is_remote_frame=True, channel=1, dlc=3))
        if n % 15 == 0:
            found.append(can.Message(timestamp=at, is_error_frame=True, channel=1))
    return found


def write_by_python_can(path, compression):
    from can.io.mf4 import MF4Writer

    written = messages(time.time() + 5)
    writer = MF4Writer(path, compression_level=compression)
    for message in written:
        writer(message)
    writer.stop()
    return written


def from_messages(written):
    frames = [message for message in written if not (message.is_remote_frame or message.is_error_frame)]
    return [
        (str(message.channel), message.arbitration_id | message.is_extended_id << 31, bytes(message.data))
        for message in frames
    ], [message.timestamp for message in frames]


@pytest.mark.parametrize("compression", [0, 1, 2])
def test_what_python_can_writes(tmp_path, compression):
    path = tmp_path / "log.mf4"
    written = write_by_python_can(path, compression)
    block, header = whole(path.read_bytes())
    want, times = from_messages(written)
    assert [row[1:] for row in rows(block.frames)] == want
    assert (block.rejected, block.remote, block.error) == (0, 30, 20)
    assert header.clock is Clock.LOCAL
    start = header.start.timestamp()
    assert np.abs(np.array(times) - start - block.frames.time_us / 1e6).max() < 2e-6


def test_an_unfinished_file_is_read_to_its_end(tmp_path):
    frames = some_frames(1000)
    # the data group comes before the data, as a logger writes it
    file = File()
    group = file.group(classic(file, bus=1), CLASSIC_BYTES, cycles=0)
    data_group = file.data_group(group, 0)
    data = file.block(b"DT", (), b"".join(record(*frame) for frame in frames) + b"half a record", length=24)
    file.link(data_group, 2, data)
    body = file.finish(data_group, unfinished=5)
    assert read_rows(body) == expected(frames)
    (tmp_path / "log.mf4").write_bytes(body[:-13])
    assert by_asammdf(tmp_path / "log.mf4") == [(at + START_US, *rest) for at, *rest in expected(frames)]
    finished = b"MDF     " + body[8:60] + bytes(4) + body[64:]
    assert read_rows(finished) == []


def test_an_open_list_goes_on_behind_its_last_block():
    frames = some_frames(90)
    parts = [b"".join(record(*frame) for frame in frames[n : n + 30]) for n in (0, 30, 60)]
    file = File()
    group = file.group(classic(file, bus=1), CLASSIC_BYTES, cycles=0)
    data_group = file.data_group(group, 0)
    data_list = file.listed(0, 0, 0)
    first = file.block(b"DT", (), parts[0])
    file.zipped(parts[1], 1, CLASSIC_BYTES)
    file.block(b"DT", (), parts[2], length=24)
    file.link(data_list, 1, first)
    file.link(data_group, 2, data_list)
    assert read_rows(file.finish(data_group, unfinished=0x15)) == expected(frames)
    assert len(read_rows(file.finish(data_group, unfinished=0x05))) == 30


# ---- where values stand


LENGTHS = [value for code in range(10) for value in (code, code if code < 9 else 12)]


def test_big_endian_bit_fields_and_integer_times():
    file = File()
    channels = file.channels(
        {"name": "t", "byte": 0, "bits": 48, "kind": 2, "sync": 1, "cc": file.conversion(LINEAR, 0.5, 1e-6)},
        {"name": "CAN_DataFrame", "byte": 6, "bits": 120, "data_type": 10},
        {"name": "CAN_DataFrame.ID", "byte": 6, "bit": 3, "bits": 29, "data_type": 1},  # 32 bits, the upper ones
        {"name": "CAN_DataFrame.IDE", "byte": 9, "bit": 0, "bits": 1},
        {"name": "CAN_DataFrame.BusChannel", "byte": 10, "bit": 5, "bits": 3},
        {"name": "CAN_DataFrame.DataLength", "byte": 10, "bit": 0, "bits": 4, "cc": file.conversion(TABLE, *LENGTHS)},
        {"name": "CAN_DataFrame.DataBytes", "byte": 11, "bits": 96, "data_type": 10},
    )  # fmt: skip
    records = b""
    for n, size in enumerate((0, 1, 7, 8, 9)):
        can_id = (0x18FEF100 + n) << 3 | 1
        records += (
            (1000 * n).to_bytes(6, "little") + can_id.to_bytes(4, "big") + bytes([n << 5 | size]) + bytes(range(12))
        )
    data = file.block(b"DT", (), records)
    group = file.group(channels, 23, cycles=5)
    found = read_rows(file.finish(file.data_group(group, data)))
    sizes = (0, 1, 7, 8, 12)
    assert found == [(500_000 + 1000 * n, str(n), 0x98FEF100 + n, bytes(range(size))) for n, size in enumerate(sizes)]


def test_bit_31_of_the_id_says_extended_without_an_ide_channel():
    file = File()
    channels = file.channels(
        seconds(),
        {"name": "CAN_DataFrame.ID", "byte": 8, "bits": 32},
        {"name": "CAN_DataFrame.DLC", "byte": 12, "bits": 4},
        {"name": "CAN_DataFrame.DataBytes", "byte": 14, "bits": 64, "data_type": 10},
    )
    ids = (0x123, 0x80000123, 0x98FEF100, 0x18FEF100, 0x60000123, 0x7FF)
    data = file.block(
        b"DT", (), b"".join(struct.pack("<dIBB8s", n, can_id, 15, 0, bytes(range(8))) for n, can_id in enumerate(ids))
    )
    group = file.group(channels, 22, cycles=6, name="CAN 3 (chassis)")
    block, _ = whole(file.finish(file.data_group(group, data)))
    assert [row[2] for row in rows(block.frames)] == [0x123, 0x80000123, 0x98FEF100, 0x98FEF100, 0x7FF]
    assert {row[1] for row in rows(block.frames)} == {"3"}
    assert {row[3] for row in rows(block.frames)} == {bytes(range(8))}
    assert [(fault.row, fault.reason) for fault in block.faults] == [(5, "an id that is none")]


def test_dlc_alone_tells_long_frames_only_with_fd():
    for has_fd, sizes in ((True, [8, 12, 16, 64]), (False, [8, 8, 8, 8])):
        file = File()
        more = [{"name": "CAN_DataFrame.EDL", "byte": 12, "bit": 7, "bits": 1}] if has_fd else []
        channels = file.channels(
            seconds(), {"name": "CAN_DataFrame.ID", "byte": 8, "bits": 29}, *more,
            {"name": "CAN_DataFrame.DLC", "byte": 12, "bits": 4},
            {"name": "CAN_DataFrame.DataBytes", "byte": 13, "bits": 512, "data_type": 10},
        )  # fmt: skip
        payload = bytes(range(1, 65))
        data = file.block(
            b"DT", (), b"".join(struct.pack("<dIB", n, 1, code) + payload for n, code in enumerate((8, 9, 10, 15)))
        )
        group = file.group(channels, 77, cycles=4, source=file.source("CAN9"))
        found = read_rows(file.finish(file.data_group(group, data)))
        assert [row[3] for row in found] == [payload[:size] for size in sizes]
        assert found[0][1] == "9"


def test_mlsd_data_and_invalidation_bytes():
    frames = some_frames(50)
    file = File()
    data_channel = {"name": "CAN_DataFrame.DataBytes", "byte": 14, "bits": 64, "data_type": 10, "kind": MLSD}
    group = file.group(classic(file, bus=4, data=data_channel), CLASSIC_BYTES, cycles=50, invalidation=1)
    data = file.block(b"DT", (), b"".join(record(*frame) + b"\0" for frame in frames))
    assert read_rows(file.finish(file.data_group(group, data))) == expected(frames, "4")


@pytest.mark.parametrize("listed", [False, True])
def test_data_in_signal_data_blocks(listed, monkeypatch):
    monkeypatch.setattr(mdf4, "chunk_bytes", lambda streams: 30_000)
    frames = outside_frames(20_000)
    file, values, records = File(), bytearray(), []
    for frame in frames:
        records.append(outside_record(frame, len(values)))
        values += struct.pack("<I", len(frame[2])) + frame[2]
    if listed:
        cut = [values[n : n + 50_003] for n in range(0, len(values), 50_003)]
        signal = file.listed(*(file.zipped(bytes(part)) for part in cut))
    else:
        signal = file.block(b"SD", (), bytes(values))
    data = file.block(b"DT", (), b"".join(records))
    group = file.group(classic(file, bus=1, data=vlsd_channel(signal)), CLASSIC_BYTES, cycles=len(frames))
    assert read_rows(file.finish(file.data_group(group, data))) == expected(frames)


@pytest.mark.parametrize("id_bytes", [1, 2, 4, 8])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("block", [20_000, 2**21])
def test_mixed_records_of_many_groups(id_bytes, late, block, monkeypatch):
    monkeypatch.setattr(mdf4_unsorted, "BLOCK", block)
    body, want = unsorted_file(outside_frames(4000), id_bytes, late=late)
    block, _ = whole(body)
    assert rows(block.frames) == want
    assert (block.rejected, block.remote, block.error) == (0, 400, 800)


def test_asammdf_reads_the_same_mixed_records(tmp_path):
    body, want = unsorted_file(outside_frames(300), 1, unfinished=0x25)
    (tmp_path / "log.mf4").write_bytes(body)
    assert by_asammdf(tmp_path / "log.mf4") == sorted((at + START_US, *rest) for at, *rest in want)


@pytest.mark.parametrize("late", [False, True])
def test_values_without_offsets_are_taken_in_their_order(late, monkeypatch):
    monkeypatch.setattr(mdf4_unsorted, "BLOCK", 10_000)
    body, want = unsorted_file(outside_frames(3000), 1, unfinished=0x45, offsets=False, late=late)
    assert read_rows(body) == want


@settings(deadline=None, max_examples=campaign.size(60, 2000))
@given(
    st.lists(st.sampled_from([3, 17, 200]), max_size=300),
    st.randoms(use_true_random=False),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([300, 5000, 2**20]),
)
def test_record_starts_as_a_naive_walk_finds_them(kinds, random, id_bytes, piece):
    sizes = {3: 0, 17: 23, 200: -1}
    stream, starts = bytearray(), []
    for kind in kinds * 5:
        starts.append(len(stream))
        value = bytes(random.choices([3, 17, 200, 0], k=random.randint(0, 70)))
        body = (
            struct.pack("<I", len(value)) + value
            if sizes[kind] < 0
            else bytes(random.choices([3, 17, 200, 0], k=sizes[kind]))
        )
        stream += kind.to_bytes(id_bytes, "little") + body
    layout = mdf4_unsorted.Layout.of(id_bytes, sizes)
    flat = np.frombuffer(bytes(stream), np.uint8)
    pieces = (Piece(flat[n : n + piece]) for n in range(0, len(flat), piece))
    found, base = [], 0
    for chunk in mdf4_unsorted.chunks(pieces, layout):
        assert chunk.lost is None
        found += [base + int(at) for at in chunk.start]
        ends = layout.following(chunk.data, chunk.start[-1:])
        base += int(ends[0]) if len(ends) else 0
    assert found == starts


# ---- how data is stored


def in_pieces(body, sizes):
    cut = []
    for size in sizes:
        cut.append(body[:size])
        body = body[size:]
    return [*cut, body]


@pytest.mark.parametrize("kind", ["plain", "deflate", "transposed", "mixed"])
def test_lists_of_blocks_whose_ends_cut_records(kind):
    frames = some_frames(500)
    body = b"".join(record(*frame) for frame in frames)
    file = File()
    store = {
        "plain": lambda n, part: file.block(b"DT", (), part),
        "deflate": lambda n, part: file.zipped(part),
        "transposed": lambda n, part: file.zipped(part, 1, CLASSIC_BYTES),
    }
    store["mixed"] = lambda n, part: store[("plain", "deflate", "transposed")[n % 3]](n, part)
    blocks = [store[kind](n, part) for n, part in enumerate(in_pieces(body, (1, 2000, 2200, 21, 3001)))]
    second = file.listed(*blocks[3:])
    first = file.listed(*blocks[:3], following=second)
    header = file.block(b"HL", (first,), struct.pack("<HB5x", 0, 0))
    group = file.group(classic(file, bus=1), CLASSIC_BYTES, cycles=500)
    assert read_rows(file.finish(file.data_group(group, header))) == expected(frames)


def test_a_list_of_columns_with_invalidation_bits_apart():
    frames = some_frames(100)
    body = b"".join(record(*frame) for frame in frames)
    file = File()
    parts = [file.block(b"DV", (), part) for part in (body[:1100], body[1100:])]
    invalid = [file.block(b"DI", (), bytes(50)) for _ in parts]
    data = file.block(b"LD", (0, *parts, *invalid), struct.pack("<II", 0x80000000, 2))
    group = file.group(classic(file, bus=1), CLASSIC_BYTES, cycles=100, invalidation=1)
    assert read_rows(file.finish(file.data_group(group, data), version="4.20")) == expected(frames)


def test_only_as_many_records_as_the_group_says():
    frames = some_frames(10)
    file = File()
    data = file.block(b"DT", (), b"".join(record(*frame) for frame in frames))
    group = file.group(classic(file, bus=1), CLASSIC_BYTES, cycles=7)
    assert read_rows(file.finish(file.data_group(group, data))) == expected(frames[:7])


def test_buses_in_groups_of_their_own_come_in_order_of_time(monkeypatch):
    """A busy bus and a slow one: file order would be a whole drive apart."""
    monkeypatch.setattr(mdf4, "chunk_bytes", lambda streams: 50_000)
    file, chain, want = File(), 0, []
    for bus, count, step in ((1, 20_000, 0.001), (2, 24, 0.8)):
        frames = some_frames(count, bus, step)
        data = file.block(b"DT", (), b"".join(record(*frame) for frame in frames))
        group = file.group(classic(file, bus=bus), CLASSIC_BYTES, cycles=count)
        chain = file.data_group(group, data, following=chain)
        want += expected(frames, str(bus))
    log = read(io.BytesIO(file.finish(chain)))
    blocks = [block.frames for block in log.blocks if len(block.frames)]
    assert len(blocks) > 1
    times = np.concatenate([block.time_us for block in blocks])
    assert (np.diff(times) >= 0).all()
    assert sorted(rows(concat(blocks))) == sorted(want)


def test_a_bus_that_was_written_late_is_put_in_its_place(monkeypatch):
    """Each bus of a logger has a buffer of its own; frames of one time come 20 frames late."""
    monkeypatch.setattr(mdf4_unsorted, "BLOCK", 3000)
    monkeypatch.setattr(mdf4, "chunk_bytes", lambda streams: 3000)
    frames = some_frames(2000)
    file = File()
    chain = file.group(classic(file, bus=1), CLASSIC_BYTES, record_id=1)
    chain = file.group(classic(file, bus=2), CLASSIC_BYTES, record_id=2, following=chain)
    order = sorted(range(2000), key=lambda n: n + 41 * (n % 2))
    stream = b"".join(bytes([1 + n % 2]) + record(*frames[n]) for n in order)
    data_group = file.data_group(chain, file.block(b"DT", (), stream), id_bytes=1)
    found = read_rows(file.finish(data_group))
    assert found == [(at, str(1 + n % 2), can_id, data) for n, (at, _, can_id, data) in enumerate(expected(frames))]


def test_remote_and_error_groups_of_their_own_are_counted():
    file, chain = File(), 0
    for prefix, count in (
        ("CAN_RemoteFrame", 5),
        ("CAN_ErrorFrame", 3),
        ("CAN_OverloadFrame", 2),
        ("CAN_DataFrame", 4),
    ):
        data = file.block(b"DT", (), b"".join(record(*frame) for frame in some_frames(count)))
        chain = file.data_group(
            file.group(classic(file, bus=1, prefix=prefix), CLASSIC_BYTES, cycles=count), data, following=chain
        )
    block, _ = whole(file.finish(chain))
    assert (len(block.frames), block.remote, block.error, block.rejected) == (4, 5, 3, 0)


# ---- clocks


def test_the_start_is_utc_or_a_wall_clock_or_unknown():
    frames = [(0.25, 1, b"a"), (0.4999996, 2, b"b")]
    block, header = whole(one_bus(frames, start_ns=1_700_000_000_123_456_789))
    assert header.clock is Clock.UTC
    assert block.frames.time_us.tolist() == [1_700_000_000_373_456, 1_700_000_000_623_456]
    block, header = whole(one_bus(frames, start_ns=1_700_000_000_123_456_789, local=True))
    assert (header.clock, header.start) == (Clock.LOCAL, dt.datetime.fromisoformat("2023-11-14T22:13:20.123456"))
    assert block.frames.time_us.tolist() == [250_000, 500_000]
    assert whole(one_bus(frames, start_ns=0))[1].clock is Clock.RELATIVE
    block, header = whole(one_bus([(1.7e9, 1, b"a")], start_ns=0))
    assert (header.clock, block.frames.time_us.tolist()) == (Clock.UTC, [START_US])


# ---- what is no frame


def test_records_that_are_no_frames_are_counted_with_row_and_reason():
    good = (1.0, 0x18FEF100, b"12345678")
    bad_size = struct.pack("<dIBB8s", 2.0, 1, 8, 65, b"12345678")
    body = record(*good) + record(float("nan"), 1, b"") + record(float("inf"), 1, b"") + bad_size + record(*good)
    file = File()
    group = file.group(classic(file, bus=1), CLASSIC_BYTES, cycles=5, name="CAN1")
    block, _ = whole(file.finish(file.data_group(group, file.block(b"DT", (), body))))
    assert rows(block.frames) == expected([good, good])
    assert block.rejected == 3
    assert [(fault.row, fault.value, fault.reason) for fault in block.faults] == [
        (2, "CAN1", "a time that is none"),
        (4, "CAN1", "more than 64 bytes of data"),
    ]


def test_an_unknown_record_id_ends_its_stream():
    body, want = unsorted_file(outside_frames(300), 1)
    at = body.rindex(b"\x08", 0, len(body) - 3000)
    for at in range(len(body) - 3000, len(body) - 2900):
        changed = bytearray(body)
        changed[at] = 0xEE
        block, _ = whole(bytes(changed))
        assert len(block.frames) + block.rejected > 200
        if block.faults and block.faults[-1].reason == "an unknown record id":
            assert rows(block.frames) == want[: len(block.frames)]
            return
    pytest.fail("no record id was hit")


@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_block_costs_no_other(cut):
    frames = some_frames(90)
    parts = [b"".join(record(*frame) for frame in frames[n : n + 30]) for n in (0, 30, 60)]
    for kind in (0, 1):
        file = File()
        if cut:
            parts = in_pieces(b"".join(parts), (30 * CLASSIC_BYTES + 5, 30 * CLASSIC_BYTES + 9))
        blocks = [file.zipped(part, kind, CLASSIC_BYTES) for part in parts]
        file.data[blocks[1] + 60 : blocks[1] + 90] = bytes(30)
        group = file.group(classic(file, bus=1), CLASSIC_BYTES, cycles=90)
        block, _ = whole(file.finish(file.data_group(group, file.listed(*blocks))))
        found = rows(block.frames)
        assert found[:30] == expected(frames[:30])
        assert found[-29:] == expected(frames[61:])
        assert block.faults[-1].reason == "a compressed block is damaged"
        assert block.faults[-1].row == blocks[1]


def test_a_group_that_cannot_be_read_is_told():
    file = File()
    channels = file.channels(
        {"name": "CAN_DataFrame.ID", "byte": 8, "bits": 29}, {"name": "CAN_DataFrame.DataBytes", "byte": 14, "bits": 64}
    )
    data = file.block(b"DT", (), bytes(CLASSIC_BYTES * 6))
    group = file.group(channels, CLASSIC_BYTES, cycles=6, name="CAN1")
    block, _ = whole(file.finish(file.data_group(group, data)))
    assert (block.rejected, block.faults[0].value, block.faults[0].reason) == (6, "CAN1", "its records carry no time")


# ---- what is no bus log


def test_what_is_no_bus_log_is_refused_with_a_reason():
    file = File()
    group = file.group(file.channels(seconds(), {"name": "speed", "byte": 8, "bits": 16}), 10, cycles=1)
    measured = file.finish(file.data_group(group, file.block(b"DT", (), bytes(10))))
    for body, reason in (
        (measured, "bus logging"),
        (File().finish(0), "bus logging"),
        (b"MDF     3.30    " + bytes(500), "MDF version 3.30 is not read"),
        (b"MDF     4.10    ", "no header"),
        (b"", "not an MDF file"),
        (b"a text", "not an MDF file"),
    ):
        with pytest.raises(MalformedBodyError, match=reason):
            read(io.BytesIO(body))


def test_recognised_by_mark_and_version():
    assert recognises(b"MDF     4.10    ")
    assert recognises(b"UnFinMF 4.11    ")
    assert not recognises(b"MDF     3.30    ")
    assert not recognises(b"")


# ---- hostile files


def consumed(body):
    """Reads all there is; nothing but MalformedBodyError may come of it."""
    try:
        return whole(body)[0]
    except MalformedBodyError:
        return None


def test_links_in_circles_end():
    file = File()
    data = file.block(b"DT", (), record(1.0, 5, b"x"))
    data_list = file.listed(data, data, data)
    file.link(data_list, 0, data_list)
    channels = classic(file, bus=1)
    group = file.group(channels, CLASSIC_BYTES, cycles=100)
    data_group = file.data_group(group, data_list)
    for at, n, to in ((channels, 0, channels), (channels, 1, group), (group, 0, group), (data_group, 0, data_group)):
        file.link(at, n, to)
        consumed(file.finish(data_group))
    file.link(channels, 0, 0)
    assert read_rows(one_bus([(1.0, 5, b"x")])) == [(1_000_000, "1", 5 | 1 << 31, b"x")]


def test_lengths_that_lie_cost_no_memory():
    frames = some_frames(10)
    body = b"".join(record(*frame) for frame in frames)
    for size in (2**32 - 1, 2**63, 2**64 - 1):
        file = File()
        lying = [file.zipped(body, 0, 0, size=size), file.zipped(body, 1, CLASSIC_BYTES, size=size)]
        plain = file.block(b"DT", (), body, length=size)
        group = file.group(classic(file, bus=1), CLASSIC_BYTES, cycles=size)
        data = file.finish(file.data_group(group, file.listed(*lying, plain)))
        tracemalloc.start()
        block = consumed(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20e6
        assert block.rejected
        assert len(block.frames) >= 10


def test_a_record_size_that_lies_costs_no_memory():
    for size in (0, 1, 13, 2**16 + 1, 2**32 - 1):
        for id_bytes in (0, 1, 3, 8):
            file = File()
            data = file.block(b"DT", (), bytes(100_000))
            group = file.group(classic(file, bus=1), size, cycles=2**60)
            consumed(file.finish(file.data_group(group, data, id_bytes=id_bytes)))


def test_a_bomb_is_given_up(monkeypatch):
    monkeypatch.setattr(mdf4_data, "BUDGET_BYTES", 2**20)
    file = File()
    blocks = [file.zipped(bytes(5_000_000)) for _ in range(30)]
    group = file.group(classic(file, bus=1), CLASSIC_BYTES, cycles=2**40)
    body = file.finish(file.data_group(group, file.listed(*blocks)))
    assert len(body) < 200_000
    count = 0
    for block in read(io.BytesIO(body)).blocks:
        assert len(block.frames) < 200_000
        count += len(block.frames)
    assert block.faults[-1].reason.startswith("a compressed block")
    assert count < 4_500_000


VALID = {
    "sorted": lambda: one_bus(some_frames(40)),
    "mixed": lambda: unsorted_file(outside_frames(60), 1)[0],
    "unfinished": lambda: unsorted_file(outside_frames(60), 2, unfinished=0x65)[0],
    "zipped": lambda: _zipped_file(),
}


def _zipped_file():
    frames = outside_frames(60)
    file, values, records = File(), bytearray(), b""
    for frame in frames:
        records += outside_record(frame, len(values))
        values += struct.pack("<I", len(frame[2])) + frame[2]
    signal = file.listed(file.zipped(bytes(values[:500])), file.zipped(bytes(values[500:])))
    data = file.listed(file.zipped(records[:700], 1, CLASSIC_BYTES), file.zipped(records[700:]))
    group = file.group(classic(file, bus=1, data=vlsd_channel(signal)), CLASSIC_BYTES, cycles=60)
    return file.finish(file.data_group(group, data))


@pytest.mark.parametrize("name", VALID)
def test_a_file_cut_anywhere_gives_its_first_frames_or_is_refused(name):
    body = VALID[name]()
    full = rows(whole(body)[0].frames)
    assert len(full) >= 40
    for end in range(0, len(body), 53):
        block = consumed(body[:end])
        if block is not None and name != "zipped":
            assert set(rows(block.frames)) <= set(full)


@pytest.mark.parametrize("name", VALID)
def test_flipped_bytes_give_frames_or_a_refusal(name):
    body = VALID[name]()
    random = np.random.default_rng(11)
    for _ in range(150):
        changed = bytearray(body)
        for at in random.integers(0, len(body), int(random.integers(1, 6))).tolist():
            changed[at] = int(random.choice([0, 1, 255, changed[at] ^ (1 << int(random.integers(8)))]))
        consumed(bytes(changed))
