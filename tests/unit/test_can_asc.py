"""Vector ASC: hand-written logs, python-can's writer and reader, and damage."""

# ruff: noqa: E501, DTZ001, DTZ006 - lines of logs are long, their times have no zone

import datetime as dt
import io
from pathlib import Path

import can
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.can.formats import asc
from ingest.can.formats.asc_header import date_of
from ingest.can.formats.log import Clock
from ingest.can.formats.text import lines_of
from ingest.can.frames import EXTENDED, concat

HEAD = "date Fri Jan 5 10:00:00.123 am 2026\nbase hex  timestamps absolute\ninternal events logged\n// version 9.0.0\n"


def _read(text):
    log = asc.read(io.BytesIO(text if isinstance(text, bytes) else text.encode()))
    blocks = list(log.blocks)
    return log.header, concat([block.frames for block in blocks]), blocks


def _data(frames, n):
    if frames.length[n] <= 8:
        return int(frames.word[n]).to_bytes(8, "little")[: frames.length[n]]
    place = int(np.flatnonzero(frames.long_at == n)[0])
    assert frames.long_data[place, :8].tobytes() == int(frames.word[n]).to_bytes(8, "little")
    return frames.long_data[place, : frames.length[n]].tobytes()


def _rows(frames):
    return [
        (
            int(frames.time_us[n]),
            int(frames.can_id[n]) & 0x1FFFFFFF,
            bool(frames.can_id[n] & EXTENDED),
            frames.channels[frames.channel[n]],
            _data(frames, n),
        )
        for n in range(len(frames))
    ]


def _counts(blocks):
    return tuple(sum(getattr(block, name) for block in blocks) for name in ("rejected", "remote", "error"))


def test_a_log_as_canalyzer_writes_it():
    text = HEAD + (
        "Begin Triggerblock Fri Jan 5 10:00:00.123 am 2026\n"
        "   0.000000 Start of measurement\n"
        "   0.002367 1  18FEF100x       Rx   d 8 FF 01 02 03 04 05 06 A7  Length = 270000 BitCount = 139 ID = 419361024x\n"
        "   0.003000 CAN 1 Status:chip status error active\n"
        "   1.003000 2  1ab             Tx   d 2 0A B0\n"
        "   1.500000 1  Statistic: D 0 R 0 XD 0 XR 0 E 0 O 0 B 0.00%\n"
        "   2.000000 1  7DF             TxRq r 8 Length = 0 BitCount = 47 ID = 2015\n"
        "   2.500000 1  ErrorFrame\tECC: 10100010\n"
        "  12.000001 1  100             Rx   d 0\n"
        "   3.000000 1  123             Rx   d f 1 2 3 4 5 6 7 8\n"
        "   4.000000 J1939TP FEE3p 6 0 0 - Rx d 23 A0 0F A6 60 3B D1\n"
        "   5.000000 log trigger event\n"
        "End TriggerBlock\n"
    )
    header, frames, blocks = _read(text)
    assert header.clock is Clock.LOCAL
    assert header.start == dt.datetime(2026, 1, 5, 10, 0, 0, 123000)
    assert _rows(frames) == [
        (2367, 0x18FEF100, True, "1", bytes.fromhex("FF010203040506A7")),
        (1003000, 0x1AB, False, "2", b"\x0a\xb0"),
        (12000001, 0x100, False, "1", b""),
        (3000000, 0x123, False, "1", bytes(range(1, 9))),
    ]
    assert (_counts(blocks), [b.faults for b in blocks]) == ((0, 1, 1), [()])


def test_can_fd():
    data = " ".join(f"{n:02x}" for n in range(64))
    text = HEAD + (
        f"   0.100000 CANFD   1 Rx        123                                   1 0 f 64 {data}   130000  130  303000 0 0\n"
        "   0.200000 CANFD  12 Tx   18FEF100x  Engine_Data                      0 0 8  8 00 01 02 03 04 05 06 07 1 2 200040\n"
        "   0.300000 CANFD   1 Rx        7FF   0 0 9 12 00 01 02 03 04 05 06 07 08 09 0a 0b\n"
        "   0.400000 CANFD   1 Rx        100   0 0 0  0     0    0     1000\n"
        "   0.500000 CANFD   1 Rx        100   0 0 8  0     0    0     1010\n"
        "   0.600000 CANFD   1 Rx  ErrorFrame  Not Acknowledge error, dominant error flag fffe c7 31ca Arb. 556 44 0 0\n"
        "   0.700000 1  101             Rx   d 1 0C\n"
        "   0.800000 CANFD   1 Rx        100   0 0 0  0     0    0     10 0\n"
    )
    _, frames, blocks = _read(text)
    assert _rows(frames) == [
        (100000, 0x123, False, "1", bytes(range(64))),
        (200000, 0x18FEF100, True, "12", bytes(range(8))),
        (300000, 0x7FF, False, "1", bytes(range(12))),
        (400000, 0x100, False, "1", b""),
        (700000, 0x101, False, "1", b"\x0c"),
    ]
    assert _counts(blocks) == (0, 2, 1)


def test_decimal_base():
    text = "base dec  timestamps absolute\n0.5 1 419361024x Rx d 8 255 1 0 10 200 9 8 7\n0.6 1 2015 Rx d 1 16\n"
    header, frames, _ = _read(text)
    assert header.clock is Clock.RELATIVE
    assert _rows(frames) == [
        (500000, 419361024, True, "1", bytes([255, 1, 0, 10, 200, 9, 8, 7])),
        (600000, 2015, False, "1", b"\x10"),
    ]


def test_relative_times_count_from_the_event_before():
    text = "base hex timestamps relative\n0.5 1 100 Rx d 0\n0.25 log trigger event\n0.1 1 100 Rx d 0\n"
    assert _read(text)[1].time_us.tolist() == [500000, 850000]


def test_relative_times_across_blocks(monkeypatch):
    text = "base hex timestamps relative\n" + "0.5 1 100 Rx d 0\n" * 1000
    monkeypatch.setattr(asc, "lines_of", lambda file: lines_of(file, 1000))
    assert _read(text)[1].time_us.tolist() == [500000 * n for n in range(1, 1001)]


def test_symbolic_names_are_told_by_the_id_behind():
    text = HEAD + "0.1 1 EngineData Rx d 1 07 Length = 1 BitCount = 2 ID = 419361024x\n0.2 1 Abc Rx d 1 07 ID = 256\n"
    text += "0.3 1 EngineData Rx d 1 07\n"
    _, frames, blocks = _read(text)
    assert frames.can_id.tolist() == [419361024 | 1 << 31, 256]
    assert [(fault.row, fault.reason) for block in blocks for fault in block.faults] == [
        (7, "the id is no number of at most 29 bits")
    ]


@pytest.mark.parametrize(
    ("written", "micros"),
    [("1.5", 1_500_000), ("0.123456789", 123457), ("0.1234564", 123456), ("0.1234565", 123457), ("0.00235", 2350),
     ("123456789.000001", 123456789000001), ("1436509052.249713", 1436509052249713), ("3", 3_000_000)],
)  # fmt: skip
def test_times_to_the_microsecond(written, micros):
    assert _read(f"{HEAD}{written} 1 100 Rx d 0\n")[1].time_us.tolist() == [micros]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fri Jan 5 10:00:00.123 am 2026", dt.datetime(2026, 1, 5, 10, 0, 0, 123000)),
        ("Fri Jan 5 12:00:00 am 2026", dt.datetime(2026, 1, 5, 0, 0)),
        ("Fri Jan 05 12:30:00 pm 2026", dt.datetime(2026, 1, 5, 12, 30)),
        ("Fri Jan 5 22:00:00.5 2026", dt.datetime(2026, 1, 5, 22, 0, 0, 500000)),
        ("Mo Mär 2 22:00:00 2026", dt.datetime(2026, 3, 2, 22)),
        ("Sa Okt 31 01:02:03.004 PM 2026", dt.datetime(2026, 10, 31, 13, 2, 3, 4000)),
        ("Di Dez 1 01:02:03 2026", dt.datetime(2026, 12, 1, 1, 2, 3)),
        ("Fr Mai 1 01:02:03 2026", dt.datetime(2026, 5, 1, 1, 2, 3)),
        ("Tue Jun 31 01:02:03 2026", None),
        ("Tue Jun 3 25:02:03 2026", None),
        ("nonsense", None),
    ],
)
def test_dates(text, expected):
    assert date_of(text.encode()) == expected
    assert date_of(text.encode("latin-1")) == expected


def test_trigger_blocks():
    on = HEAD + "Begin Triggerblock Fri Jan 5 10:00:05 am 2026\n5.0 1 1 Rx d 0\nEnd TriggerBlock\n"
    on += "Begin Triggerblock Fri Jan 5 10:01:00 am 2026\n60.0 1 1 Rx d 0\nEnd TriggerBlock\n"
    header, frames, _ = _read(on)
    assert header.start == dt.datetime(2026, 1, 5, 10, 0, 0, 123000)
    assert frames.time_us.tolist() == [5_000_000, 60_000_000]
    again = "date Fri Jan 5 10:00:00.000 am 2026\nbase hex  timestamps absolute\n"
    again += "Begin Triggerblock Fri Jan 5 10:00:30 am 2026\n0.0 1 1 Rx d 0\n0.5 1 1 Rx d 0\nEnd TriggerBlock\n"
    again += "Begin Triggerblock Fri Jan 5 10:01:30 am 2026\n0.0 1 1 Rx d 0\n0.5 1 1 Rx d 0\nEnd TriggerBlock\n"
    header, frames, _ = _read(again)
    assert header.start == dt.datetime(2026, 1, 5, 10, 0, 30)
    assert frames.time_us.tolist() == [0, 500_000, 60_000_000, 60_500_000]


def test_damage_is_counted_and_told():
    text = HEAD + (
        "0.1 1 100 Rx d 2 01 02\n"
        "garbage here\n"
        "\n"
        "0.2 1 100 Rx d 3 01 02\n"
        "0.3 1 100 Rx d 2 01 0G\n"
        "0.4 1 100\n"
        "0.5 1 3FFFFFFFx Rx d 1 00\n"
        "0.6 1 100 Rx d 99 00\n"
        "0.7 1 100 Rx d 2   1  2\r\n"
        "0.8 999 100 Rx d 1 00\n"
        "0.9 CANFD 1 Rx 100 0 0 8 8 01 02\n"
        "1.0 CANFD 1 Rx\n"
        "1.1 1 100 Rx d"
    )
    _, frames, blocks = _read(text)
    assert [row[4] for row in _rows(frames)] == [b"\x01\x02", b"\x01\x02"]
    faults = [(fault.row, fault.reason) for block in blocks for fault in block.faults]
    assert faults == [
        (6, "not a line of this format"),
        (8, "fewer bytes of data than the length says"),
        (9, "data that are no bytes"),
        (10, "a frame that is cut off"),
        (11, "the id is no number of at most 29 bits"),
        (12, "the length is no number of bytes that a frame can have"),
        (14, "the channel is no number from 0 to 255"),
        (15, "fewer bytes of data than the length says"),
        (16, "a frame that is cut off"),
        (17, "the length is no number of bytes that a frame can have"),
    ]


def _messages(draw_id, count=40):
    rng = np.random.default_rng(draw_id)
    messages, time = [], 1_700_000_000.0
    for n in range(count):
        time += int(rng.integers(0, 5_000_000)) / 1e6
        extended = bool(rng.integers(2))
        fd = n % 5 == 0
        size = int(rng.choice([0, 1, 8, 12, 48, 64])) if fd else int(rng.integers(0, 9))
        remote = n % 7 == 3 and not fd
        messages.append(
            can.Message(
                timestamp=round(time, 6),
                arbitration_id=int(rng.integers(1 << 29)) if extended else int(rng.integers(1 << 11)),
                is_extended_id=extended,
                is_fd=fd,
                is_remote_frame=remote,
                is_error_frame=n % 11 == 6 and not fd and not remote,
                is_rx=bool(rng.integers(2)),
                channel=int(rng.integers(4)),
                dlc=size,
                data=b"" if remote else rng.bytes(size),
            )
        )
    return messages


@pytest.mark.parametrize("seed", range(5))
def test_what_python_can_writes(tmp_path: Path, seed):
    messages = _messages(seed)
    path = tmp_path / "log.asc"
    with can.ASCWriter(path) as writer:
        for message in messages:
            writer.on_message_received(message)
    text = path.read_bytes()
    assert asc.recognises(text[:65536])
    header, frames, blocks = _read(text)
    data = [m for m in messages if not m.is_remote_frame and not m.is_error_frame]
    first = round(messages[0].timestamp * 1e6)
    assert _rows(frames) == [
        (round(m.timestamp * 1e6) - first, m.arbitration_id, m.is_extended_id, str(m.channel + 1), bytes(m.data))
        for m in data
    ]
    remote, error = sum(m.is_remote_frame for m in messages), sum(m.is_error_frame for m in messages)
    assert _counts(blocks) == (0, remote - sum(m.is_remote_frame and m.is_error_frame for m in messages), error)
    assert header.clock is Clock.LOCAL
    told = dt.datetime.fromtimestamp(messages[0].timestamp)
    assert abs(header.start - told) <= dt.timedelta(seconds=1)
    judged = [m for m in can.ASCReader(path) if not m.is_error_frame and not m.is_remote_frame]
    judged_ids = [(m.arbitration_id, bytes(m.data)) for m in judged]
    assert [(row[1], row[4]) for row in _rows(frames) if row[4]] == [pair for pair in judged_ids if pair[1]]


_WORD = st.sampled_from(
    ["0.1", "1", "2", "CANFD", "Rx", "Tx", "d", "r", "8", "64", "FF", "x", "123x", "", "ErrorFrame", "=", "ID", "0"]
)


@given(st.lists(st.lists(_WORD, max_size=14), max_size=12), st.booleans())
def test_any_words_are_read_or_counted(lines, decimal):
    text = f"base {'dec' if decimal else 'hex'} timestamps absolute\n" + "\n".join(" ".join(line) for line in lines)
    _, frames, blocks = _read(text)
    assert len(frames) + sum(_counts(blocks)) <= len(lines)
    assert all(len(_data(frames, n)) == frames.length[n] for n in range(len(frames)))


@given(st.binary(max_size=400))
def test_any_bytes(content):
    _read(content)
    _read(HEAD.encode() + content)


@given(st.integers(0, 10**6), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=5))
def test_mutated_logs(seed, changes):
    lines = [f"{n / 7:.6f} 1  {n:x}x  Rx   d 8 00 01 02 03 04 05 06 {n:02X}\n" for n in range(30)]
    text = bytearray((HEAD + "".join(lines)).encode())
    for at, byte in changes:
        text[at % len(text)] = byte
    _, frames, blocks = _read(bytes(text))
    assert len(frames) >= 30 - 3 * len(changes) - (25 if changes and min(at for at, _ in changes) < 120 else 0)
    assert sum(_counts(blocks)) <= 3 * len(changes) + 30 * bool(changes)


@pytest.mark.parametrize(
    "text",
    [
        b"(1436509052.249713) can0 18FEF100#FFFFFFFFFFFFFFFF\n",
        b"166.064000 R11 0000021A FE 36 00\n",
        b"Time Stamp,ID,Extended,Bus,LEN,D1\n1,2,false,0,1,FF\n",
        b"***BUSMASTER Ver 2.4.0***\n22:17:28:9280 Rx 1 0x21A s 8 FE 36 00 00 00 00 00 00\n",
        b";$FILEVERSION=1.1\n     1)      1059.9  Rx         0300  1    00\n",
        b"date,speed_kmh\n2026-01-05T10:00:00Z,1.0\n",
        b"",
    ],
)
def test_other_formats_are_not_taken(text):
    assert not asc.recognises(text)


def test_recognised():
    assert asc.recognises(HEAD.encode())
    assert asc.recognises(b"\n   0.002367 1  18FEF100x       Rx   d 8 FF 01 02 03 04 05 06 A7\n")
    assert asc.recognises(b"   0.1 CANFD   1 Rx 123 1 0 1 1 00\n")
