"""Vector BLF: objects built by hand, python-can's writer and reader, a naive parser, and damage."""

# ruff: noqa: DTZ001 - the start of a log has no zone

import datetime as dt
import io
import itertools
import random
import struct
import time
import tracemalloc

import can
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.can.formats import blf, blf_objects
from ingest.can.formats.log import Clock
from ingest.can.frames import EXTENDED, concat
from schemas.errors import MalformedBodyError
from tests.can_logs.blf_file import (
    CLASSIC,
    CLASSIC2,
    FD,
    FD64,
    NO_START,
    T0,
    classic,
    container,
    fd,
    fd64,
    heading,
    log_of,
    obj,
)

# --- reading --------------------------------------------------------------------------------------


def load(data):
    log = blf.read(io.BytesIO(data))
    blocks = list(log.blocks)
    return log.header, concat([block.frames for block in blocks]), blocks


def rows(frames):
    assert (np.diff(frames.long_at) > 0).all()
    assert frames.long_at.tolist() == np.flatnonzero(frames.length > 8).tolist()
    words = frames.word.astype("<u8").view(np.uint8).reshape(-1, 8)
    found = []
    for n, length in enumerate(frames.length.tolist()):
        data = words[n].tobytes()
        if length > 8:
            whole = frames.long_data[int(np.searchsorted(frames.long_at, n))].tobytes()
            assert whole[:8] == data
            data = whole
        assert not any(data[length:])
        id_ = int(frames.can_id[n])
        channel = frames.channels[frames.channel[n]]
        found.append((int(frames.time_us[n]), id_ & 0x1FFFFFFF, bool(id_ & EXTENDED), channel, data[:length]))
    return found


def read_rows(data):
    return rows(load(data)[1])


def counts(blocks):
    return tuple(sum(getattr(block, name) for block in blocks) for name in ("rejected", "remote", "error"))


def reasons(blocks):
    return [(fault.row, fault.reason) for block in blocks for fault in block.faults]


# --- python-can -----------------------------------------------------------------------------------


def sent(count=500):
    dice = random.Random(3)
    for n in range(count):
        is_fd = dice.random() < 0.4
        is_remote = not is_fd and dice.random() < 0.1
        data = b"" if is_remote else dice.randbytes(dice.choice([8, 12, 20, 48, 64] if is_fd else range(9)))
        is_extended = dice.random() < 0.5
        yield can.Message(
            timestamp=T0 + n * 0.0012345,
            arbitration_id=dice.randrange(0x20000000 if is_extended else 0x800),
            is_extended_id=is_extended,
            is_remote_frame=is_remote,
            is_error_frame=dice.random() < 0.05,
            is_fd=is_fd,
            bitrate_switch=is_fd and dice.random() < 0.5,
            error_state_indicator=is_fd and dice.random() < 0.1,
            is_rx=dice.random() < 0.8,
            channel=dice.randrange(4),
            data=data,
            dlc=len(data),
        )


def written(messages, **options):
    file = io.BytesIO()
    writer = can.io.BLFWriter(file, **options)
    for message in messages:
        writer.on_message_received(message)
    file.close, close = (lambda: None), file.close
    writer.stop()
    body = file.getvalue()
    close()
    return body


def as_rows(messages):
    return [
        (round((m.timestamp - T0) * 1e6), m.arbitration_id, m.is_extended_id, str(m.channel + 1), bytes(m.data))
        for m in messages
        if not m.is_error_frame and not m.is_remote_frame
    ]


def same(found, expected):
    assert [row[1:] for row in found] == [row[1:] for row in expected]
    assert [row[0] for row in found] == pytest.approx([row[0] for row in expected], abs=1, rel=0)


@pytest.mark.parametrize("options", [{}, {"compression_level": 0}, {"compression_level": 9}], ids=str)
@pytest.mark.parametrize("size", [131072, 4096, 300, 128])
def test_what_python_can_writes(options, size):
    messages = list(sent())
    data = written(messages, max_container_size=size, **options)
    header, frames, blocks = load(data)
    assert header.clock is Clock.LOCAL
    assert header.start == dt.datetime(2026, 1, 5, 10, 0, 0, 123_000)
    same(rows(frames), as_rows(messages))
    remote = sum(m.is_remote_frame and not m.is_error_frame for m in messages)
    assert counts(blocks) == (0, remote, sum(m.is_error_frame for m in messages))


def test_what_python_can_reads():
    data = written(sent())
    same(read_rows(data), as_rows(can.io.BLFReader(io.BytesIO(data))))


# --- by hand --------------------------------------------------------------------------------------


def test_a_file_byte_for_byte():
    record = bytes.fromhex(
        "4c4f424a 2000 0100 30000000 01000000"  # LOBJ, header 32, version 1, size 48, CAN_MESSAGE
        "02000000 0000 0000 40e2010000000000"  # nanoseconds; 123456
        "0200 00 03 00f1fe98 aabbcc0000000000"  # channel 2, 3 bytes, 18FEF100 extended
    )
    assert read_rows(heading() + container(record, method=0)) == [(123, 0x18FEF100, True, "2", b"\xaa\xbb\xcc")]


def test_the_start_is_a_wall_clock_time():
    header, frames, _ = load(heading())
    assert (header.clock, header.start) == (Clock.LOCAL, dt.datetime(2026, 1, 5, 10, 0, 0, 123_000))
    assert len(frames) == 0


@pytest.mark.parametrize("start", [NO_START, (2026, 13, 0, 1, 0, 0, 0, 0), (1601, 1, 1, 1, 0, 0, 0, 0), (65535,) * 8])
def test_a_start_that_is_none_makes_times_relative(start):
    header, frames, _ = load(log_of(classic(ticks=5_000_000), start=start))
    assert (header.clock, header.start) == (Clock.RELATIVE, None)
    assert frames.time_us.tolist() == [5000]


@pytest.mark.parametrize(
    ("unit", "ticks", "expected_us"),
    [(2, 1_499, 1), (2, 1_500, 2), (1, 7, 70), (2, 3_600_000_000_000, 3_600_000_000), (1, 360_000_000, 3_600_000_000)],
)
def test_units_of_time(unit, ticks, expected_us):
    assert read_rows(log_of(classic(unit=unit, ticks=ticks), classic()))[0][0] == expected_us


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("build", [classic, fd, fd64])
def test_versions_of_the_header(build, version):
    data = b"\1\2\3\4\5\6\7"
    found = read_rows(log_of(*(build(data=data, version=version, ticks=n * 1000) for n in range(3))))
    assert found == [(n, 0x123, False, "1", data) for n in range(3)]


def test_can_message_2():
    found = read_rows(log_of(classic(0x8CFE0000, kind=CLASSIC2, channel=3), classic(0x7FF, b"", kind=CLASSIC2)))
    assert found == [(0, 0xCFE0000, True, "3", b"\1\2\3\4\5\6\7\x08"), (0, 0x7FF, False, "1", b"")]


@pytest.mark.parametrize("count", [0, 1, 8, 12, 63, 64])
def test_can_fd_message_64_of_any_length(count):
    data = bytes(range(1, count + 1))
    objects = [fd64(0x80000001, data), fd64(2, data, extra=b"\xee" * 40), classic(3)]
    assert [row[-1] for row in read_rows(log_of(*objects))] == [data, data, b"\1\2\3\4\5\6\7\x08"]


def test_can_fd_message_64_with_fewer_bytes_than_it_says_is_filled_with_zeros():
    body = log_of(fd64(1, b"\7" * 48, valid=64), fd64(1, b"\7" * 48, valid=64, extra=b"\xee" * 32))
    assert [row[-1] for row in read_rows(body)] == [b"\7" * 48 + bytes(16)] * 2
    same(read_rows(body), as_rows(can.io.BLFReader(io.BytesIO(body))))


def test_a_length_code_above_eight_is_eight_bytes():
    assert read_rows(log_of(classic(data=b"\xff" * 8, dlc=15)))[0][-1] == b"\xff" * 8


def test_bytes_beyond_the_length_are_zeros():
    raw = struct.pack("<HBBL8s", 1, 0, 3, 5, b"\xff" * 8)
    assert read_rows(log_of(obj(CLASSIC, raw)))[0][-1] == b"\xff" * 3


@pytest.mark.parametrize("build", [classic, fd, fd64])
def test_remote_frames_are_counted(build):
    flags = 0x1010 if build is fd64 else 0x80
    _, frames, blocks = load(log_of(build(1), build(2, flags=flags), build(3, data=b"", flags=flags), build(4)))
    assert [row[1] for row in rows(frames)] == [1, 4]
    assert counts(blocks) == (0, 2, 0)


@pytest.mark.parametrize("kind", [2, 3, 73, 104])
def test_errors_and_overloads_are_counted(kind):
    _, frames, blocks = load(log_of(classic(1), obj(kind, bytes(32)), classic(2)))
    assert len(frames) == 2
    assert counts(blocks) == (0, 0, 1)


@pytest.mark.parametrize("kind", [0, 4, 6, 11, 31, 48, 65, 71, 72, 90, 92, 96, 113, 115, 120, 131, 255, 257, 2**32 - 1])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 100])
def test_everything_else_is_skipped(kind, length):
    found = load(log_of(classic(1), obj(kind, b"x" * length), classic(2), obj(kind, b"x" * length)))
    assert [row[1] for row in rows(found[1])] == [1, 2]
    assert counts(found[2]) == (0, 0, 0)


@pytest.mark.parametrize("pad", range(8))
@pytest.mark.parametrize("length", [100, 101, 102, 103])
def test_padding_is_what_the_next_signature_tells(length, pad):
    text = obj(65, b"x" * length, pad=pad)
    _, frames, blocks = load(log_of(text, classic(1), text, text, fd(2), classic(3), text))
    assert [row[1] for row in rows(frames)] == [1, 2, 3]
    assert counts(blocks) == (0, 0, 0)


@pytest.mark.parametrize("before", range(5))
def test_a_signature_within_data_is_none(before):
    inner = bytes(before) + classic(0x666)
    data = inner[:64].ljust(64, b"\0")
    _, frames, blocks = load(log_of(classic(1), obj(65, inner), fd(2, data), fd64(3, data), classic(4, b"LOBJLOBJ")))
    assert [row[1] for row in rows(frames)] == [1, 2, 3, 4]
    assert [row[-1] for row in rows(frames)[1:]] == [data, data, b"LOBJLOBJ"]
    assert counts(blocks) == (0, 0, 0)


def test_objects_reach_over_containers():
    stream = b"".join((classic(n, ticks=n * 1000), fd64(n, bytes(n)), obj(65, b"text"))[n % 3] for n in range(60))
    expected = read_rows(heading() + container(stream))
    assert len(expected) == 40
    for size in (1, 3, 7, 31, 100, 1000):
        pieces = [container(stream[n : n + size], n // size % 2 * 2) for n in range(0, len(stream), size)]
        _, frames, blocks = load(heading() + b"".join(pieces))
        assert rows(frames) == expected
        assert counts(blocks) == (0, 0, 0)


def test_objects_outside_of_containers():
    body = heading() + obj(65, b"metadata") + classic(1) + container(classic(2)) + fd64(3) + obj(115, bytes(500))
    _, frames, blocks = load(body + container(classic(4)))
    assert [row[1] for row in rows(frames)] == [1, 2, 3, 4]
    assert counts(blocks) == (0, 0, 0)


@pytest.mark.parametrize("size", [72, 80, 144, 208])
def test_headings_of_any_size(size):
    assert len(read_rows(log_of(classic(), size=max(size, 72)))) == 1


def test_a_heading_with_a_wrong_size_is_passed():
    body = bytearray(log_of(classic()))
    body[4:8] = b"\xff\xff\xff\xff"
    assert len(read_rows(bytes(body))) == 1


def test_channels_keep_their_numbers():
    body = log_of(*(classic(n, channel=n) for n in (7, 0, 65535, 7)), fd64(5, channel=255))
    assert [row[3] for row in read_rows(body)] == ["7", "0", "65535", "7", "255"]


def test_more_channels_than_fit_share_the_last():
    body = log_of(*(classic(1, channel=n) for n in range(1, 1001)))
    names = [row[3] for row in read_rows(body)]
    assert names[:255] == [str(n) for n in range(1, 256)]
    assert set(names[255:]) == {"255"}


@pytest.mark.parametrize("size", [1, 1000, 5000])
def test_blocks_of_any_size_give_the_same(monkeypatch, size):
    data = written(sent(200), max_container_size=777)
    expected = rows(load(data)[1])
    monkeypatch.setattr(blf, "BLOCK_BYTES", size)
    _, frames, blocks = load(data)
    assert len(blocks) >= (10 if size < 4000 else 2)
    assert rows(frames) == expected
    assert counts(blocks)[0] == 0


# --- a naive parser -------------------------------------------------------------------------------


def naive(stream):
    """The frames of a sound stream of objects, one after the other."""
    at, found = stream.find(b"LOBJ"), []
    while at >= 0:
        header, _version, size, kind, unit, ticks = struct.unpack_from("<HHLLL4xQ", stream, at + 4)
        body = stream[at + header : at + size]
        at = stream.find(b"LOBJ", at + size)
        time_us = ticks * 10 if unit == 1 else (ticks + 500) // 1000
        if kind in (CLASSIC, CLASSIC2, FD):
            channel, flags, length, id_ = struct.unpack_from("<HBBL", body)
            remote = flags & 0x80
            data = body[20 : 20 + body[14]] if kind == FD else body[8 : 8 + min(length, 8)]
        elif kind == FD64:
            channel, length, id_, flags = struct.unpack_from("<BxBxL4xL", body)
            remote = flags & 0x10
            data = body[40 : 40 + length]
        else:
            continue
        if not remote:
            found.append((time_us, id_ & 0x1FFFFFFF, bool(id_ >> 31), str(channel), data))
    return found


payload = st.one_of(st.binary(max_size=64), st.just(b"LOBJ" * 3), st.just(classic(0x666)[:60]))
common = {
    "id_": st.sampled_from([0, 0x7FF, 0x9FFFFFFF, 0x98FEF100]),
    "channel": st.integers(0, 255),
    "ticks": st.integers(0, 10**14),
    "unit": st.sampled_from([1, 2]),
    "version": st.sampled_from([1, 2, 3]),
}
flagged = st.sampled_from([0, 1, 0x80, 0x20])
objects = st.one_of(
    st.builds(classic, data=st.binary(max_size=8), flags=flagged, kind=st.sampled_from([1, 86]), **common),
    st.builds(fd, data=payload, flags=flagged, **common),
    st.builds(fd64, data=payload, flags=st.sampled_from([0, 0x1000, 0x10]), **common),
    st.builds(obj, st.sampled_from([2, 65, 72, 96, 400]), payload, pad=st.integers(0, 7)),
)


@given(st.lists(objects, max_size=20), st.lists(st.integers(0, 3000), max_size=5), st.sampled_from([0, 2]))
def test_any_objects_in_any_containers(parts, cuts, method):
    stream = b"".join(parts)
    borders = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [container(stream[a:b], method) for a, b in itertools.pairwise(borders)]
    _, frames, blocks = load(heading() + b"".join(pieces))
    expected = naive(stream)
    assert rows(frames) == expected
    assert counts(blocks)[0] == 0


# --- damage ---------------------------------------------------------------------------------------


def several(method, count=30):
    stream = b"".join([*(classic(n, ticks=n * 1000) for n in range(count)), fd(99), fd64(100)])
    return heading() + b"".join(container(stream[n : n + 500], method) for n in range(0, len(stream), 500))


@pytest.mark.parametrize("body", [b"", b"LOGG", b"LOGG" + bytes(67), b"LOBJ" + bytes(200)])
def test_what_has_no_heading_is_refused(body):
    with pytest.raises(MalformedBodyError, match="heading"):
        blf.read(io.BytesIO(body))


@pytest.mark.parametrize("method", [0, 2])
def test_a_file_cut_anywhere_gives_what_was_before(method):
    body = several(method)
    whole, most = read_rows(body), 0
    assert len(whole) == 32
    for size in range(72, len(body)):
        _, frames, blocks = load(body[:size])
        found = rows(frames)
        assert found == whole[: len(found)]
        assert len(found) >= most
        assert counts(blocks)[0] <= 2
        most = len(found)
    assert most >= 31


def test_a_cut_within_an_object_is_told():
    body = heading() + container(classic(1) + classic(2), method=0)
    _, frames, blocks = load(body[:-10])
    assert len(frames) == 1
    assert reasons(blocks) == [(1, "container: it is cut"), (2, "it is cut, or its size is wrong")]


def test_an_unfinished_last_object_is_told():
    _, frames, blocks = load(heading() + container(classic(1) + classic(2)[:20]))
    assert len(frames) == 1
    assert reasons(blocks) == [(2, "it is cut, or its size is wrong")]
    _, frames, blocks = load(heading() + container(classic(1) + classic(2)[:6]))
    assert len(frames) == 1
    assert reasons(blocks) == [(2, "the log ends within it")]


def test_garbage_between_objects_is_passed():
    _, frames, blocks = load(log_of(classic(1), b"garbage" * 5, classic(2), classic(3)))
    assert [row[1] for row in rows(frames)] == [1, 2, 3]
    assert reasons(blocks) == [(1, "no object begins after it")]


def test_garbage_before_the_first_object_is_passed():
    _, frames, blocks = load(log_of(b"garbage" * 5, classic(2), classic(3)))
    assert [row[1] for row in rows(frames)] == [2, 3]
    assert reasons(blocks) == [(1, "no object begins before it")]


def test_garbage_alone_is_one_fault():
    _, frames, blocks = load(log_of(b"garbage" * 500))
    assert len(frames) == 0
    assert reasons(blocks) == [(1, "no object begins here")]


def test_garbage_between_containers_is_passed():
    body = heading() + container(classic(1)) + b"garbage" * 5000 + container(classic(2))
    _, frames, blocks = load(body)
    assert [row[1] for row in rows(frames)] == [1, 2]
    assert reasons(blocks) == [(2, "container: none begins here")]


@pytest.mark.parametrize("size", [0, 15, 20, 49, 4000, 2**20, 2**31, 2**32 - 1])
def test_an_object_with_a_wrong_size_is_the_only_one_lost(size):
    broken = classic(3, size=48)[:8] + struct.pack("<L", size) + classic(3)[12:]
    _, frames, blocks = load(log_of(classic(1), classic(2), broken, classic(4), classic(5)))
    assert [row[1] for row in rows(frames)] == [1, 2, 4, 5]
    assert [row for row, _ in reasons(blocks)] == [3]


@pytest.mark.parametrize("size", [0, 16, 31, 33, 60, 2000, 2**20, 2**31, 2**32 - 1])
@pytest.mark.parametrize("method", [0, 2])
def test_a_container_with_a_wrong_size_harms_no_other(size, method):
    stream = b"".join(classic(n) for n in range(10))
    broken = bytearray(container(stream, method))
    broken[8:12] = struct.pack("<L", size)
    body = heading() + container(stream, method) + bytes(broken) + container(stream, method) * 2
    _, frames, blocks = load(body)
    found = [row[1] for row in rows(frames)]
    assert found[:10] == list(range(10))
    assert found[-20:] == [*range(10)] * 2
    assert len(found) in range(30, 41)
    assert len(found) == 40 or counts(blocks)[0] > 0


def test_a_container_that_cannot_be_unpacked_is_dropped():
    stream = b"".join(classic(n) for n in range(100))
    broken = bytearray(container(stream[1000:2000]))
    broken[60] ^= 0xFF
    body = heading() + container(stream[:1000]) + bytes(broken) + container(stream[2000:])
    _, frames, blocks = load(body)
    # What began before it is cut, what began in it is lost.
    assert [row[1] for row in rows(frames)] == [*range(20), *range(42, 100)]
    assert counts(blocks)[0] == 2
    assert [row for row, _ in reasons(blocks)] == [2, 21]


def test_the_rests_of_two_objects_never_make_one():
    stream = b"".join(classic(n, bytes([n] * 8)) for n in range(9))
    broken = bytearray(container(stream[40:136]))  # two objects' worth: the rests would fit
    broken[-6] ^= 0xFF
    found = read_rows(heading() + container(stream[:40]) + bytes(broken) + container(stream[136:]))
    assert [(row[1], row[-1]) for row in found] == [(n, bytes([n] * 8)) for n in range(3, 9)]


def test_an_unknown_compression_is_told():
    unknown = container(classic(2), method=7)
    _, frames, blocks = load(heading() + container(classic(1)) + unknown + container(classic(3)))
    assert [row[1] for row in rows(frames)] == [1, 3]
    assert reasons(blocks) == [(2, "container: compression 7 is not known")]


def test_objects_that_cannot_be_frames_are_told():
    bad = [
        obj(CLASSIC, b"1234"),
        classic(header=20),
        classic(version=9),
        classic(ticks=2**63),
        classic(ticks=2**62, unit=1),
        obj(FD, struct.pack("<HBBLLBBB5x4s", 1, 0, 15, 5, 0, 0, 1, 64, b"abcd")),
        obj(FD64, bytes(39)),
        obj(CLASSIC, struct.pack("<HBBL4s", 1, 0, 8, 5, b"abcd")),
    ]
    _, frames, blocks = load(log_of(classic(1), *bad, classic(2)))
    assert [row[1] for row in rows(frames)] == [1, 2]
    assert counts(blocks) == (8, 0, 0)
    assert [row for row, _ in reasons(blocks)] == list(range(2, 10))
    whys = [why for _, why in reasons(blocks)]
    assert whys.count("it is too short for a frame") == 3
    assert whys.count("its time cannot be") == 2
    assert whys.count("its data are cut") == 2
    assert whys.count("its header is of an unknown version") == 1


def test_rows_count_on_over_blocks(monkeypatch):
    monkeypatch.setattr(blf, "BLOCK_BYTES", 2000)
    stream = [classic(n) for n in range(300)]
    stream[250] = classic(250, ticks=2**63)
    data = b"".join(stream)
    _, frames, blocks = load(heading() + b"".join(container(data[n : n + 700]) for n in range(0, len(data), 700)))
    assert len(frames) == 299
    assert reasons(blocks) == [(251, "its time cannot be")]


def test_faults_are_kept_in_part_and_counted_in_full():
    _, frames, blocks = load(log_of(*(classic(1, ticks=2**63) for _ in range(5000))))
    assert len(frames) == 0
    assert counts(blocks)[0] == 5000
    assert [row for row, _ in reasons(blocks)] == list(range(1, 101))


def test_a_container_cannot_hold_more_than_it_says():
    bomb = container(bytes(2**27), holds=4000)
    tracemalloc.start()
    _, frames, blocks = load(heading() + container(classic(1)) + bomb + container(classic(2)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [row[1] for row in rows(frames)] == [1, 2]
    assert "container: it holds more than it says" in [why for _, why in reasons(blocks)]
    assert peak < 16 * 2**20


def test_no_container_is_unpacked_without_end():
    bomb = container(bytes(2**27), holds=2**32 - 1)
    tracemalloc.start()
    _, frames, blocks = load(heading() + bomb + container(classic(2)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [row[1] for row in rows(frames)] == [2]
    assert counts(blocks)[0] >= 1
    assert peak < 3 * 2**26


def spoilt(body, seed, count):
    dice = random.Random(seed)
    for _ in range(count):
        broken = bytearray(body)
        for _ in range(dice.randrange(1, 5)):
            at = dice.randrange(72, len(broken))
            change = dice.randrange(4)
            if change == 0:
                broken[at] ^= 1 << dice.randrange(8)
            elif change == 1:
                del broken[at : at + dice.randrange(1, 300)]
            elif change == 2:
                broken[at:at] = dice.choice([dice.randbytes(20), b"LOBJ", broken[at : at + 100]])
            else:
                broken[at : at + 4] = dice.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"LOBJ", b"\xff\xff\xff\x7f"])
            if len(broken) < 80:
                break
        yield bytes(broken)


@pytest.mark.parametrize("method", [0, 2])
def test_spoilt_files_are_read_as_far_as_they_can_be(method):
    kept = []
    for broken in spoilt(several(method), seed=method, count=500):
        began = time.perf_counter()
        kept.append(len(read_rows(broken)))
        assert time.perf_counter() - began < 1
    assert max(kept) >= 32
    assert sum(kept) > 0.3 * 32 * len(kept)


def test_every_flipped_byte_of_a_plain_stream_costs_at_most_its_object():
    parts = [classic(n, ticks=n * 1000) for n in range(12)]
    stream = b"".join(parts)
    whole = naive(stream)
    for at in range(len(stream)):
        broken = bytearray(stream)
        broken[at] ^= 0xFF
        found = read_rows(heading() + container(bytes(broken)))
        assert len(set(found) & set(whole)) >= 11, at


@pytest.mark.parametrize("unit", [b"LOBJ", classic(1)[:16], obj(65, b"", size=0)[:20], b"LOBJ" + bytes(28)], ids=len)
def test_signatures_without_objects_take_no_time(unit):
    stream = unit * (2**22 // len(unit))
    began = time.perf_counter()
    _, frames, blocks = load(heading() + container(stream) + stream[: 2**19] + container(classic(5)))
    assert time.perf_counter() - began < 5
    assert [row[1] for row in rows(frames)][-1:] == [5]
    assert counts(blocks)[0] > 0


def test_an_object_may_be_larger_than_a_block(monkeypatch):
    monkeypatch.setattr(blf, "BLOCK_BYTES", 10_000)
    body = log_of(classic(1), obj(65, bytes(100_000)), classic(2))
    _, frames, blocks = load(body)
    assert [row[1] for row in rows(frames)] == [1, 2]
    assert counts(blocks)[0] == 0
    assert blf_objects.MOST_OBJECT_BYTES > 100_000
