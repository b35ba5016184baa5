"""PEAK TRC: hand-written traces of each version, python-can's writer and reader, and damage."""

# ruff: noqa: DTZ001 - the times have no zone

import datetime as dt
import io
from pathlib import Path

import can
import numpy as np
import pytest
from can.io.trc import TRCFileVersion
from hypothesis import given
from hypothesis import strategies as st

from ingest.can.formats import trc
from ingest.can.formats.log import Clock
from ingest.can.frames import EXTENDED, concat
from schemas.errors import MalformedBodyError


def _read(text):
    log = trc.read(io.BytesIO(text if isinstance(text, bytes) else text.encode()))
    blocks = list(log.blocks)
    return log.header, concat([block.frames for block in blocks]), blocks


def _rows(frames):
    data = [int(word).to_bytes(8, "little") for word in frames.word]
    for at, row in zip(frames.long_at, frames.long_data, strict=True):
        data[at] = row.tobytes()
    return [
        (int(time), int(id_) & 0x1FFFFFFF, bool(id_ & EXTENDED), frames.channels[channel], row[:size])
        for time, id_, channel, size, row in zip(
            frames.time_us, frames.can_id, frames.channel, frames.length, data, strict=True
        )
    ]


def _counts(blocks):
    return tuple(sum(getattr(block, name) for block in blocks) for name in ("rejected", "remote", "error"))


START = ";$STARTTIME=43008.920986006946\n"
V10 = """;##########################################################################
;   C:\\TraceFile.trc
;   Start time: 11.09.2002 16:00:20.682
;----+- ---+--- ----+--- + -+ -- -- ...
     1)    1841      0001 8 00 00 00 00 00 00 00 A0
     2)    1842      0008 4 ERROR 00 19 08 08
     3)    1843  FFFFFFFF 4 00 00 00 04 ------BUSLIGHT
     4)    1844      0100 3 RTR
     5)    1845  18FEF100 2 01 0B
"""
V11 = (
    ";$FILEVERSION=1.1\n"
    + START
    + """;---+--   ----+----  --+--  ----+---  +  -+ -- -- -- -- -- -- --
     1)      1059.9  Rx         0300  8    00 00 00 00 04 00 00 A0
     2)      1283.2  Tx     18FEF100  7    01 02 03 04 05 06 0B
     3)      1841.2  Warng  FFFFFFFF  4    00 00 00 08  BUSHEAVY
     4)      1842.2  Error      0008  4    00 19 08 08
     5)      1844.2  Rx         0100  3    RTR
     6)      1845.2  Rx         0101  0
"""
)
V13 = (
    ";$FILEVERSION=1.3\n"
    + START
    + """     1)      1059.900 1  Rx        0300 -  8    00 00 00 00 04 00 00 A0
     2)      1283.231 2  Rx    18FEF100 -  7    01 02 03 04 05 06 0B
     3)      1841.2   1  Warng FFFFFFFF -  4    00 00 00 08  BUSHEAVY
     4)      1842.2   1  Error     0008 -  4    00 19 08 08
     5)      1844.2   1  Rx        0100 -  3    RTR
     6)      1844.3   1  Event  User-defined
"""
)
V20 = (
    ";$FILEVERSION=2.0\n"
    + START
    + ";$COLUMNS=N,O,T,I,d,l,D\n"
    + """      1      1059.900 DT     0300 Rx 7  00 00 00 00 04 00 A0
      2      1283.231 DT 18FEF100 Rx 8  00 00 00 00 04 00 00 A0
      3      1298.945 FB     0400 Rx 12 00 01 02 03 04 05 06 07 08 09 0A 0B
      4      1323.201 ST          Rx    00 00 00 08
      5      1334.222 RR     0100 Rx 3
      6      1334.416 ER          Rx    04 00 02 00 00
      7      1335.000 EC          Rx    02 02
      8      1336.000 EV User-defined event
      9      1337.000 FE     0401 Tx 0
"""
)
V21 = (
    ";$FILEVERSION=2.1\n"
    + START
    + ";$COLUMNS=N,O,T,B,I,d,R,L,D\n"
    + """      1      1059.900 DT 1      0300 Rx -  7    00 00 00 00 04 00 A0
      2      1298.945 BI 2      0400 Rx -  9    00 01 02 03 04 05 06 07 08 09 0A 0B
      3      1323.201 ST 1         - Rx -  4    00 00 00 08
      4      1334.222 RR 1      0100 Rx -  3
      5      1334.416 ER 1         - Rx -  5    04 00 02 00 00
      6      1335.000 FD 1  18FEF100 Rx -  1    7F
"""
)


def test_version_1_0():
    header, frames, blocks = _read(V10)
    assert header.clock is Clock.RELATIVE
    assert _rows(frames) == [
        (1841000, 1, False, "", bytes.fromhex("00000000000000A0")),
        (1845000, 0x18FEF100, True, "", b"\x01\x0b"),
    ]
    assert _counts(blocks) == (0, 1, 1)


def test_version_1_1():
    header, frames, blocks = _read(V11)
    assert header.clock is Clock.LOCAL
    assert header.start == dt.datetime(2017, 9, 30, 22, 6, 13, 191000)
    assert _rows(frames) == [
        (1059900, 0x300, False, "", bytes.fromhex("00000000040000A0")),
        (1283200, 0x18FEF100, True, "", bytes.fromhex("0102030405060B")),
        (1845200, 0x101, False, "", b""),
    ]
    assert _counts(blocks) == (0, 1, 1)


@pytest.mark.parametrize(("version", "reserved"), [("1.2", ""), ("1.3", "-")])
def test_versions_1_2_and_1_3(version, reserved):
    _, frames, blocks = _read(V13.replace("=1.3", f"={version}").replace(" -  ", f" {reserved}  "))
    assert _rows(frames) == [
        (1059900, 0x300, False, "1", bytes.fromhex("00000000040000A0")),
        (1283231, 0x18FEF100, True, "2", bytes.fromhex("0102030405060B")),
    ]
    assert _counts(blocks) == (0, 1, 1)


def test_version_2_0():
    _, frames, blocks = _read(V20)
    assert _rows(frames) == [
        (1059900, 0x300, False, "", bytes.fromhex("000000000400A0")),
        (1283231, 0x18FEF100, True, "", bytes.fromhex("00000000040000A0")),
        (1298945, 0x400, False, "", bytes(range(12))),
        (1337000, 0x401, False, "", b""),
    ]
    assert _counts(blocks) == (0, 1, 1)


def test_version_2_1():
    _, frames, blocks = _read(V21)
    assert _rows(frames) == [
        (1059900, 0x300, False, "1", bytes.fromhex("000000000400A0")),
        (1298945, 0x400, False, "2", bytes(range(12))),
        (1335000, 0x18FEF100, True, "1", b"\x7f"),
    ]
    assert _counts(blocks) == (0, 1, 1)


def test_columns_in_another_order():
    text = f";$FILEVERSION=2.1\n{START};$COLUMNS=O,T,I,B,l,D\n1.5 DT 0300 3 2 01 02\n"
    assert _rows(_read(text)[1]) == [(1500, 0x300, False, "3", b"\x01\x02")]


@pytest.mark.parametrize("text", [";$FILEVERSION=9.9\n", ";$FILEVERSION=2.1\n;$COLUMNS=N,O\n"])
def test_refused_as_a_whole(text):
    with pytest.raises(MalformedBodyError):
        _read(text)


def test_a_start_of_zero_is_none():
    assert _read(";$FILEVERSION=1.1\n;$STARTTIME=0\n")[0].clock is Clock.RELATIVE
    assert _read(";$FILEVERSION=1.1\n;$STARTTIME=43008,5\n")[0].start == dt.datetime(2017, 9, 30, 12)
    assert _read(b"")[0].clock is Clock.RELATIVE


def test_damage_is_counted_and_told():
    text = V11 + (
        "garbage\n"
        "\n"
        "     7)      1846.2  Rx         0101  3    00 01\n"
        "     8)      1846.x  Rx         0101  1    00\n"
        "     9)      1846.2  Qx         0101  1    00\n"
        "    10)      1846.2  Rx         010G  1    00\n"
        "    11)      1846.2  Rx         0101  9    00 01 02 03 04 05 06 07 08\n"
        "    12)      1846.2  Rx         0101  2    00 0G\n"
        "    13)      1846.2  Rx         0101  2    00   1\r\n"
        "    14)      1846.2"
    )
    _, frames, blocks = _read(text)
    assert _rows(frames)[-1] == (1846200, 0x101, False, "", b"\x00\x01")
    assert len(frames) == 4
    assert [(fault.row, fault.reason) for block in blocks for fault in block.faults] == [
        (10, "not a line of this format"),
        (12, "fewer bytes of data than the length says"),
        (13, "not a line of this format"),
        (14, "the type of the message is not known"),
        (15, "the id is not hexadecimal or has more than 29 bits"),
        (16, "the length is no number of bytes that a frame can have"),
        (17, "data that are no bytes"),
        (19, "not a line of this format"),
    ]


@pytest.mark.parametrize("version", [TRCFileVersion.V1_0, TRCFileVersion.V2_1])
def test_what_python_can_writes(tmp_path: Path, version):
    rng = np.random.default_rng(7)
    path = tmp_path / "trace.trc"
    messages, time = [], 1_700_000_000.0
    for _ in range(300):
        time += int(rng.integers(0, 900)) / 1e3
        extended = bool(rng.integers(2))
        messages.append(
            can.Message(
                timestamp=round(time, 3),
                arbitration_id=int(rng.integers(1 << 16, 1 << 29)) if extended else int(rng.integers(1 << 11)),
                is_extended_id=extended,
                is_rx=bool(rng.integers(2)),
                channel=int(rng.integers(3)),
                data=rng.bytes(int(rng.integers(9))),
            )
        )
    with can.TRCWriter(path) as writer:
        writer.file_version = version
        for message in messages:
            writer.on_message_received(message)
    text = path.read_bytes()
    assert trc.recognises(text[:65536])
    header, frames, blocks = _read(text)
    bus = version is TRCFileVersion.V2_1
    first = round(messages[0].timestamp * 1000)
    assert _rows(frames) == [
        (
            (round(m.timestamp * 1000) - first) * 1000,
            m.arbitration_id,
            m.is_extended_id,
            str(m.channel + 1) if bus else "",
            bytes(m.data),
        )
        for m in messages
    ]
    assert _counts(blocks) == (0, 0, 0)
    assert header.clock is (Clock.LOCAL if bus else Clock.RELATIVE)
    if bus:
        told = dt.datetime.fromtimestamp(messages[0].timestamp, dt.UTC).replace(tzinfo=None)
        assert abs(header.start - told) < dt.timedelta(milliseconds=1)


@pytest.mark.parametrize("text", [V11, V13, V20, V21])
def test_python_can_reads_the_same_frames(tmp_path: Path, text):
    path = tmp_path / "trace.trc"
    path.write_text("".join(line for line in text.splitlines(True) if " ST " not in line and " E" not in line))
    judged = [m for m in can.TRCReader(path) if not m.is_remote_frame]
    _, frames, _ = _read(path.read_bytes())
    assert [(row[1], row[2], row[4]) for row in _rows(frames)] == [
        (m.arbitration_id, m.is_extended_id, bytes(m.data)) for m in judged
    ]
    assert frames.time_us.tolist() == [
        pytest.approx((m.timestamp - judged[0].timestamp) * 1e6 + int(frames.time_us[0]), abs=1) for m in judged
    ]


@given(st.sampled_from([V10, V11, V13, V20, V21]), st.binary(max_size=200))
def test_any_bytes(text, content):
    before = len(_read(text)[1])
    assert len(_read(text.encode() + b"\n" + content)[1]) >= before


_WORD = st.sampled_from(
    ["1)", "1.5", "DT", "FD", "Rx", "1", "8", "0300", "18FEF100", "-", "00", "FF", "RTR", ";", "ER"]
)


@given(st.sampled_from([V11, V13, V20, V21]), st.lists(st.lists(_WORD, max_size=16), max_size=8))
def test_any_words_are_read_or_counted(text, lines):
    header = "".join(line for line in text.splitlines(True) if line.startswith(";"))
    _, frames, blocks = _read(header + "\n".join(" ".join(line) for line in lines))
    assert len(frames) + sum(_counts(blocks)) <= len(lines)


@given(st.sampled_from([V10, V11, V13, V20, V21]), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255))))
def test_mutated_traces(text, changes):
    content = bytearray(text.encode())
    for at, byte in changes:
        content[at % len(content)] = byte
    try:
        _read(bytes(content))
    except MalformedBodyError:
        assert changes


@pytest.mark.parametrize(
    "text",
    [
        b"(1436509052.249713) can0 18FEF100#FFFFFFFFFFFFFFFF\n",
        b"166.064000 R11 0000021A FE 36 00\n",
        b"Time Stamp,ID,Extended,Bus,LEN,D1\n1,2,false,0,1,FF\n",
        b";##########################\n; comments of something else\n1,2,3\n",
        b"   0.002367 1  18FEF100x       Rx   d 8 FF 01 02 03 04 05 06 A7\n",
        b"",
    ],
)
def test_other_formats_are_not_taken(text):
    assert not trc.recognises(text)


@pytest.mark.parametrize("text", [V10, V11, V13, V20, V21])
def test_recognised(text):
    assert trc.recognises(text.encode())
