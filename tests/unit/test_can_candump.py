"""candump: hand-written lines, python-can's reader, a parser of single lines, and damage."""

# ruff: noqa: E501, DTZ001 - lines of logs are long, local dates have no zone

import datetime as dt
import io
import os
import random
import re
import time
from pathlib import Path

import can
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.can.formats import candump, recognise
from ingest.can.formats.log import Clock
from ingest.can.frames import EXTENDED, concat
from schemas.errors import MalformedBodyError

DATA = Path(os.environ.get("BEACHHEAD_SAMPLE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def _read(text):
    log = candump.read(io.BytesIO(text if isinstance(text, bytes) else text.encode()))
    blocks = list(log.blocks)
    return log.header, concat([block.frames for block in blocks]), blocks


def _data(frames, n, long):
    if frames.length[n] <= 8:
        assert int(frames.word[n]) >> (8 * int(frames.length[n])) == 0 or frames.length[n] == 8
        return int(frames.word[n]).to_bytes(8, "little")[: frames.length[n]]
    row = frames.long_data[long[n]]
    assert row[:8].tobytes() == int(frames.word[n]).to_bytes(8, "little")
    assert not row[frames.length[n] :].any()
    return row[: frames.length[n]].tobytes()


def _rows(frames):
    long = {n: place for place, n in enumerate(frames.long_at.tolist())}
    return [
        (
            int(frames.time_us[n]),
            int(frames.can_id[n]) & 0x1FFFFFFF,
            bool(frames.can_id[n] & EXTENDED),
            frames.channels[frames.channel[n]],
            _data(frames, n, long).hex(),
        )
        for n in range(len(frames))
    ]


def _counts(blocks):
    return tuple(sum(getattr(block, name) for block in blocks) for name in ("rejected", "remote", "error"))


def test_the_file_form_in_all_its_shapes():
    text = (
        "(1436509052.249713) can0 18FEF100#FFFFFFFFFFFFFFF0\n"
        "(1436509052.249714) vcan_gateway_01 123#00\r\n"
        "(1436509052.249715) can0 123#R8\n"
        "(1436509052.249715) can0 123#R\n"
        "(1436509052.249716) can0 18FEF100##1112233445566778899AABBCCDDEEFF00\n"
        "(1436509052.249717) can0 7ff#\n"
        "\n"
        "# a note\n"
        "(1436509052.249718) can0 123#1122334455667788_E\n"
        "(1436509052.249719) can0 123#112233 R\n"
        "(1436509052.249720) can0 123#112233 T\n"
        "(1436509052.2497215) can0 0000001a#A1.b2.C3\n"
        "(1436509052.249722499) can0 123#01\n"
        "(1436509052) can0 123##0\n"
        "(1436509053.000001) can0 20000004#0000000000000000\n"
        "(1436509053.000002) can0 123##3" + "5a" * 64
    )
    header, frames, blocks = _read(text)
    at = 1436509052_000000
    assert header.clock is Clock.UTC
    assert _rows(frames) == [
        (at + 249713, 0x18FEF100, True, "can0", "fffffffffffffff0"),
        (at + 249714, 0x123, False, "vcan_gateway_01", "00"),
        (at + 249716, 0x18FEF100, True, "can0", "112233445566778899aabbccddeeff00"),
        (at + 249717, 0x7FF, False, "can0", ""),
        (at + 249718, 0x123, False, "can0", "1122334455667788"),
        (at + 249719, 0x123, False, "can0", "112233"),
        (at + 249720, 0x123, False, "can0", "112233"),
        (at + 249722, 0x1A, True, "can0", "a1b2c3"),
        (at + 249722, 0x123, False, "can0", "01"),
        (at, 0x123, False, "can0", ""),
        (at + 1000002, 0x123, False, "can0", "5a" * 64),
    ]
    assert (_counts(blocks), {b.faults for b in blocks}) == ((0, 2, 1), {()})


def test_the_console_form_in_all_its_shapes():
    text = (
        " (1451649600.000001)  can0  18FEF100   [8]  FF FE FD FC FB FA F9 F8\n"
        " (1451649600.000002)  can0       123   [3]  11 22 33               '.\"3'\n"
        " (1451649600.000003)  vcan1  123  [16]  00 01 02 03 04 05 06 07 08 09 0A 0B 0C 0D 0E 0F\n"
        " (1451649600.000004)  can0  123  [08]  00 01 02 03 04 05 06 07\n"
        " (1451649600.000005)  can0  123   [8]  remote request\n"
        " (1451649600.000006)  can0  20000088   [8]  00 00 00 02 00 00 00 00   ERRORFRAME\n"
        " (1451649600.000007)  can0  RX - -  123   [2]  AB CD\n"
        " (1451649600.000008)  can0  TX B E  18FEF100   [2]  AB CD   '..'\n"
        " (1451649600.000009)  can0  123   [0] \n"
        " (1451649600.000010)  can0  123   [2]  10100001 00000010\n"
        " (1451649600.000011)  can0  123   [3]  33`22`11\n"
        " (1451649600.000012)  can0  123   {E}  00 01 02 03 04 05 06 07\n"
    )
    header, frames, blocks = _read(text)
    at = 1451649600_000000
    assert header.clock is Clock.UTC
    assert _rows(frames) == [
        (at + 1, 0x18FEF100, True, "can0", "fffefdfcfbfaf9f8"),
        (at + 2, 0x123, False, "can0", "112233"),
        (at + 3, 0x123, False, "vcan1", bytes(range(16)).hex()),
        (at + 4, 0x123, False, "can0", bytes(range(8)).hex()),
        (at + 7, 0x123, False, "can0", "abcd"),
        (at + 8, 0x18FEF100, True, "can0", "abcd"),
        (at + 9, 0x123, False, "can0", ""),
        (at + 10, 0x123, False, "can0", "a102"),
        (at + 11, 0x123, False, "can0", "112233"),
        (at + 12, 0x123, False, "can0", bytes(range(8)).hex()),
    ]
    assert (_counts(blocks), [b.faults for b in blocks]) == ((0, 1, 1), [()])


def test_local_dates_start_the_log():
    header, frames, blocks = _read(
        " (2016-01-01 12:00:00.123456)  can0  123   [1]  11\n"
        " (2016-01-02 12:00:00.123457)  can0  18FEF100   [1]  12\n"
        " (1451649600.000001)  can0  123   [1]  13\n"
    )
    assert (header.clock, header.start) == (Clock.LOCAL, dt.datetime(2016, 1, 1, 12, 0, 0, 123456))
    assert _rows(frames) == [(0, 0x123, False, "can0", "11"), (86_400_000_001, 0x18FEF100, True, "can0", "12")]
    assert [(fault.row, fault.value) for fault in blocks[0].faults] == [
        (3, " (1451649600.000001)  can0  123   [1]  13")
    ]


def test_a_date_among_seconds_is_no_time():
    _, frames, blocks = _read("(1451649600.000001) can0 123#11\n (2016-01-01 12:00:00.123456)  can0  123   [1]  11\n")
    assert len(frames) == 1
    assert [fault.row for fault in blocks[0].faults] == [2]


def test_a_clock_from_zero_is_relative():
    header, frames, _ = _read("(000.000000) can0 123#11\n(000.000100) can0 123#12\n(099.000000) can0 123#12\n")
    assert header.clock is Clock.RELATIVE
    assert frames.time_us.tolist() == [0, 100, 99_000_000]


def test_deltas_are_summed_over_all_blocks(monkeypatch):
    monkeypatch.setattr(candump, "BLOCK_BYTES", 1000)
    steps = [0, *(100 + 900 * (n % 3) for n in range(499))]
    text = "".join(f" (000.{step:06d})  can0  123   [1]  {n % 256:02X}\n" for n, step in enumerate(steps))
    header, frames, blocks = _read(text)
    assert len(blocks) > 10
    assert header.clock is Clock.RELATIVE
    assert frames.time_us.tolist() == np.cumsum(steps).tolist()


@pytest.mark.parametrize("text", ["  can0  123   [1]  11\n" * 3, "  can0  RX - -  18FEF100   [2]  11 22\n"])
def test_lines_without_times_say_what_is_needed(text):
    assert recognise(text.encode()) == "candump"
    with pytest.raises(MalformedBodyError, match="candump -l"):
        _read(text)


@pytest.mark.parametrize("line", [
    "(1436509052.249713) can0 123#1",
    "(1436509052.249713) can0 123#0G",
    "(1436509052.249713) can0 800#00",
    "(1436509052.249713) can0 58FEF100#00",
    "(1436509052.249713) can0 18FEF1#00",
    "(1436509052.249713) can0 123#112233445566778899",
    "(1436509052.249713) can0 123##G00",
    "(1436509052.249713) can0 123##1" + "00" * 65,
    "(14365a9052.249713) can0 18FEF100#FFFFFFFFFFFFFFFF",
    "(1436509052.2497x3) can0 18FEF100#FFFFFFFFFFFFFFFF",
    "(1436509052,249713) can0 18FEF100#FFFFFFFFFFFFFFFF",
    "(1436509052.249713] can0 18FEF100#FFFFFFFFFFFFFFFF",
    "(1436509052.249713) can0_18FEF100#FFFFFFFFFFFFFFFF",
    "(1436509052.249713) can0 18FEF100#FFFFFFFFFFFFFFF\xe9",
    "(1436509052.249713) can0 18FEF100 FFFFFFFFFFFFFFFF",
    "(9999999999999999.249713) can0 18FEF100#00",
    " (1436509052.249713)  can0  123   [2]  11",
    " (1436509052.249713)  can0  123   [1]  11 22",
    " (1436509052.249713)  can0  123   [65]  " + "00 " * 65,
    " (1436509052.249713)  can0  RX x -  123   [1]  11",
    "garbage",
    "(",
    "()",
    "() can0 123#00",
    "(1436509052.249713)",
    "(1436509052.249713) can0",
])  # fmt: skip
def test_a_wrong_line_is_one_reject_and_harms_no_other(line):
    good = "(1436509052.249713) can0 18FEF100#FFFFFFFFFFFFFFFF\n"
    for place in (0, 2):
        lines = [good] * 4
        lines.insert(place, line + "\n")
        _, frames, blocks = _read("".join(lines))
        assert len(frames) == 4
        (fault,) = [fault for block in blocks for fault in block.faults]
        assert (fault.row, fault.value) == (place + 1, line[:200])
        assert _counts(blocks) == (1, 0, 0)


ID = st.one_of(st.tuples(st.just(False), st.integers(0, 0x7FF)), st.tuples(st.just(True), st.integers(0, 0x1FFFFFFF)))
FRAME = st.tuples(
    st.integers(0, 4_000_000_000_000_000), st.sampled_from(["can0", "can1", "vcan12345678901", "x"]), ID,
    st.one_of(st.binary(max_size=8), st.sampled_from([bytes(range(size)) for size in (12, 16, 20, 24, 32, 48, 64)])),
    st.sampled_from(["file", "fd", "console", "ascii"]),
)  # fmt: skip


def _line(frame):
    us, channel, (extended, can_id), data, form = frame
    stamp = f"({us // 10**6:010d}.{us % 10**6:06d})"
    name = f"{can_id:08X}" if extended else f"{can_id:03X}"
    if form in ("file", "fd"):
        fd = "#5" if form == "fd" or len(data) > 8 else ""
        return f"{stamp} {channel} {name}#{fd}{data.hex().upper()}"
    text = "   '....'" if form == "ascii" else ""
    return f" {stamp}  {channel}  {name:>8}   [{len(data)}]  {data.hex(' ').upper()}{text}"


@given(st.lists(FRAME, max_size=40), st.sampled_from(["\n", "\r\n"]))
def test_any_mixture_of_forms_is_read_line_by_line(sent, ending):
    # An absolute time first, so that the clock is no question.
    sent = [(1_436_509_052_000_000, "can0", (False, 1), b"", "file"), *sent]
    _, frames, blocks = _read(ending.join(_line(frame) for frame in sent))
    assert _counts(blocks) == (0, 0, 0)
    assert _rows(frames) == [
        (us, can_id, extended, channel, data.hex()) for us, channel, (extended, can_id), data, _ in sent
    ]


def _generated(count, seed=3):
    dice = random.Random(seed)
    lines = []
    for n in range(count):
        us = 1_436_509_052_249_713 + n * 517
        name = dice.choice(["18FEF100", "0CF00400", "123", "7FF"])
        data = dice.randbytes(dice.choice([8, 8, 8, 8, 0, 1, 5])).hex().upper()
        mark = dice.choice(["#", "#", "#", "#", "#", "##1"])
        lines.append(f"({us // 10**6}.{us % 10**6:06d}) can{dice.randrange(3)} {name}{mark}{data}\n")
    return "".join(lines)


def test_python_can_reads_the_same(tmp_path):
    path = tmp_path / "generated.log"
    path.write_text(_generated(4000))
    with can.CanutilsLogReader(str(path)) as reader:
        judged = [
            (round(m.timestamp * 1e6), m.arbitration_id, m.is_extended_id, m.channel, m.data.hex()) for m in reader
        ]
    _, frames, blocks = _read(path.read_bytes())
    assert _rows(frames) == judged
    assert _counts(blocks) == (0, 0, 0)


def test_blocks_of_any_size_give_the_same(monkeypatch):
    text = _generated(600)
    _, whole, _ = _read(text)
    for size in (64, 777, 5000):
        monkeypatch.setattr(candump, "BLOCK_BYTES", size)
        assert _rows(_read(text)[1]) == _rows(whole)


def test_a_real_capture_beside_python_can():
    path = DATA / "savvycan-formats" / "candump.log"
    if not path.exists():
        pytest.skip("savvycan-formats/candump.log is not in BEACHHEAD_SAMPLE_DATA")
    with can.CanutilsLogReader(str(path)) as reader:
        judged = [
            (round(m.timestamp * 1e6), m.arbitration_id, m.is_extended_id, m.channel, m.data.hex()) for m in reader
        ]
    header, frames, blocks = _read(path.read_bytes())
    assert header.clock is Clock.RELATIVE
    assert _rows(frames) == judged
    assert _counts(blocks) == (0, 0, 0)


def test_more_channels_than_numbers():
    text = "".join(f"(1436509052.249713) c{n:04d} 123#00\n" for n in range(1000))
    _, frames, blocks = _read(text)
    assert (len(frames), len(frames.channels), _counts(blocks)) == (1000, 255, (0, 0, 0))


@pytest.mark.parametrize("garbage", [
    b"\n" * 2**20, b"a\n" * 2**19, b"\0" * 2**20, b"(" * 2**20, b"(1.0) " * 2**17, b"(\n" * 2**19,
    b"(1436509052.249713) can0 18FEF100#GG\n" * 2**14, b" " * 2**20, b"(1.0) can0 123 [8]" + b" 00" * 2**18,
])  # fmt: skip
def test_garbage_is_quick(garbage):
    began = time.process_time()
    candump.recognises(garbage[: 2**16])
    _, frames, _ = _read(garbage)
    assert len(frames) == 0
    assert time.process_time() - began < 3


@given(st.binary(max_size=300))
def test_no_bytes_do_harm(data):
    _, frames, _ = _read(b"(1436509052.249713) can0 123#00\n" + data)
    assert len(frames) >= 1


def test_mutated_logs_lose_only_what_is_broken():
    text = _generated(200).encode()
    dice = random.Random(11)
    whole = set(_rows(_read(text)[1]))
    for _ in range(150):
        broken = bytearray(text)
        for _ in range(4):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        _, frames, blocks = _read(bytes(broken))
        # A changed line may still be one; the lines nobody touched are all there.
        assert len(whole & set(_rows(frames))) >= 200 - 8
        lines = [line for line in re.split(rb"\n", bytes(broken)) if any(byte > 32 for byte in line)]
        assert len(frames) + sum(_counts(blocks)) in range(len(lines) - 4, len(lines) + 1)


@pytest.mark.parametrize("head", [
    b"date Fri Jan 5 10:00:00.123 am 2026\nbase hex  timestamps absolute\n   0.002367 1  123             Rx   d 2 FF 01\n",
    b";$FILEVERSION=1.1\n     1)      1059.9  Rx         0300  7  00 00 00 00 04 00 00\n",
    b"166.064000 R11 0000021A FE 36 12 FE 69 05 07 AD\n",
    b"time,latitude,longitude\n2026-01-01T00:00:00Z,1.0,2.0\n",
    b"LOGG\x90\0\0\0", b"MDF     4.11    ", b"",
])  # fmt: skip
def test_other_files_are_not_taken(head):
    assert not candump.recognises(head)
