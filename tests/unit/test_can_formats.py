"""Readers of CAN logs beside independent ones, on real captures, and on broken bytes."""

from __future__ import annotations

import io
import os
import random
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import can
import numpy as np
import pytest

from ingest.can.formats import FORMATS, HEAD_BYTES, read_log, recognise
from ingest.can.formats.log import FAULTS_KEPT, Clock, Header
from ingest.can.frames import EXTENDED, Frames, concat
from schemas.errors import MalformedBodyError, UnknownFormatError
from tests.can_logs import fuzz_samples

DATA = Path(os.environ.get("BEACHHEAD_SAMPLE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
FUZZED = 150
LIMIT_S = 5
T0 = 1_436_509_052.25


@dataclass
class Read:
    name: str
    header: Header
    frames: Frames
    rejected: int
    remote: int
    error: int


def load(data: bytes, name: str | None = None) -> Read:
    name = name or recognise(data)
    log = read_log(io.BytesIO(data), name)
    blocks = list(log.blocks)
    counts = (sum(getattr(block, part) for block in blocks) for part in ("rejected", "remote", "error"))
    return Read(name, log.header, concat([block.frames for block in blocks]), *counts)


def payloads(frames: Frames) -> list[bytes]:
    whole = dict(zip(frames.long_at.tolist(), frames.long_data, strict=True))
    return [
        bytes(whole[n][:length]) if n in whole else int(word).to_bytes(8, "little")[:length]
        for n, (length, word) in enumerate(zip(frames.length.tolist(), frames.word.tolist(), strict=True))
    ]


def ids(frames: Frames) -> list[tuple[int, bool]]:
    return [(id_ & 0x1FFFFFFF, bool(id_ & int(EXTENDED))) for id_ in frames.can_id.tolist()]


def messages(*, fd: bool = True, special: bool = True) -> list[can.Message]:
    dice = random.Random(7)
    found = []
    for n in range(600):
        is_fd, extended = fd and n % 7 == 0, bool(n % 2)
        size = dice.choice([12, 16, 32, 64]) if is_fd else dice.randrange(9)
        found.append(
            can.Message(
                timestamp=T0 + n * 0.001237,
                arbitration_id=dice.randrange(0x1FFFFFFF if extended else 0x7FF),
                is_extended_id=extended,
                is_fd=is_fd,
                bitrate_switch=is_fd,
                channel=1 + n % 2,
                data=dice.randbytes(size),
            )
        )
    if special:
        remote = {"arbitration_id": 5, "is_extended_id": False, "is_remote_frame": True, "dlc": 3}
        found.insert(50, can.Message(timestamp=found[49].timestamp, channel=1, **remote))
        found.insert(60, can.Message(timestamp=found[59].timestamp, channel=1, is_error_frame=True))
    return found


WRITERS: dict[str, tuple[Any, dict[str, Any], bool]] = {
    "asc": (can.io.ASCWriter, {}, True),
    "blf": (can.io.BLFWriter, {}, True),
    "trc": (can.io.TRCWriter, {}, False),
    "candump": (can.io.CanutilsLogWriter, {}, True),
}


def written(name: str, folder: Path) -> tuple[bytes, list[can.Message]]:
    """A log by python-can, and the data frames in it."""
    writer_class, options, everything = WRITERS[name]
    path = folder / f"written.{name}"
    writer = writer_class(str(path), **options)
    sent = messages(fd=everything, special=everything)
    for message in sent:
        writer.on_message_received(message)
    writer.stop()
    return path.read_bytes(), [m for m in sent if not m.is_remote_frame and not m.is_error_frame]


@pytest.mark.parametrize("name", list(WRITERS))
def test_what_python_can_writes_is_read_frame_by_frame(name: str, tmp_path: Path) -> None:
    data, sent = written(name, tmp_path)
    read = load(data)
    assert read.name == name
    assert read.rejected == 0
    assert ids(read.frames) == [(m.arbitration_id, m.is_extended_id) for m in sent]
    assert payloads(read.frames) == [bytes(m.data) for m in sent]
    since = (read.frames.time_us - read.frames.time_us[0]).tolist()
    assert since == pytest.approx([(m.timestamp - sent[0].timestamp) * 1e6 for m in sent], abs=1)
    if WRITERS[name][2]:
        assert (read.remote, read.error) == (1, 1)
    assert len(set(read.frames.channel.tolist())) == 2


def test_mdf4_as_python_can_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "written.mf4"
    sent = messages(fd=False, special=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the writer's own
        writer = can.io.MF4Writer(str(path))
        for message in sent:
            writer.on_message_received(message)
        writer.stop()
    read = load(path.read_bytes())
    assert read.name == "mdf4"
    assert ids(read.frames) == [(m.arbitration_id, m.is_extended_id) for m in sent]
    assert payloads(read.frames) == [bytes(m.data) for m in sent]
    since = (read.frames.time_us - read.frames.time_us[0]).tolist()
    assert since == pytest.approx([(m.timestamp - sent[0].timestamp) * 1e6 for m in sent], abs=2)


MIXED = b"""(1436509052.249713) can0 18FEF100#FFFFFFFFFFFFFFF0
(1436509052.249714) vcan1 123#00
(1436509052.249714) can0 123#R8
(1436509052.249715) can0 18FEF100##1112233445566778899AABBCCDDEEFF00
 (1436509052.249716)  can0  123   [3]  11 22 33
garbage
(1436509052.24971) can0 123#1
(1436509052.249717) can0 20000004#0000000000000000

(1436509052.249718) can0 7FF#
(1436509052.249719) can0 123#0102_E
(1436509052.249720) can0 123#112233 R
"""


def test_every_form_of_a_candump_line() -> None:
    read = load(MIXED)
    assert ids(read.frames) == [
        (0x18FEF100, True), (0x123, False), (0x18FEF100, True), (0x123, False), (0x7FF, False), (0x123, False),
        (0x123, False),
    ]  # fmt: skip
    assert [p.hex() for p in payloads(read.frames)] == [
        "fffffffffffffff0", "00", "112233445566778899aabbccddeeff00", "112233", "", "0102", "112233",
    ]  # fmt: skip
    assert [read.frames.channels[n] for n in read.frames.channel[:2]] == ["can0", "vcan1"]
    assert (read.rejected, read.remote, read.error) == (2, 1, 1)
    assert read.frames.time_us[0] == 1_436_509_052_249_713


def test_candump_deltas_are_added_up() -> None:
    lines = [f" ({0.001 * (n % 3):010.6f})  can0  123   [1]  {n:02X}\n" for n in range(20)]
    read = load("".join(lines).encode())
    assert read.header.clock is Clock.RELATIVE
    assert read.frames.time_us.tolist() == np.cumsum([1000 * (n % 3) for n in range(20)]).tolist()


def test_candump_without_times_says_what_to_do() -> None:
    with pytest.raises(MalformedBodyError, match="candump -l"):
        load(b"  can0  123   [1]  11\n" * 3)


def test_asc_in_decimal_and_relative() -> None:
    body = b"""date Mon Jan 5 10:00:00.500 pm 2026
base dec  timestamps relative
Begin Triggerblock
   0.100000 1  256             Rx   d 3 1 20 255
   0.200000 1  419361024x      Tx   d 1 16
"""
    read = load(body)
    assert read.header.start is not None
    assert read.header.start.isoformat() == "2026-01-05T22:00:00.500000"
    assert ids(read.frames) == [(256, False), (419361024, True)]
    assert payloads(read.frames) == [bytes([1, 20, 255]), bytes([16])]
    assert read.frames.time_us.tolist() == [100_000, 300_000]


def test_busmaster_over_midnight() -> None:
    body = b"""***BUSMASTER Ver 2.4.0***
***START DATE AND TIME 5:1:2026 23:59:59:0***
***DEC***
***SYSTEM MODE***
23:59:59:5000 Rx 1 256 s 2 1 255
00:00:00:5000 Rx 1 419361024 x 1 7
"""
    read = load(body)
    assert read.frames.time_us.tolist() == [500_000, 1_500_000]
    assert payloads(read.frames) == [b"\x01\xff", b"\x07"]
    assert ids(read.frames) == [(256, False), (419361024, True)]


# --- real captures --------------------------------------------------------------------------------


def recording(path: str) -> bytes:
    file = DATA / path
    if not file.exists():
        pytest.skip(f"{path} is not in BEACHHEAD_SAMPLE_DATA")
    return file.read_bytes()


def test_one_capture_in_four_containers() -> None:
    names = ("candump.log", "GVRET_Log.csv", "CRTD_Log.txt", "BusMasterLog.log")
    reads = [load(recording(f"savvycan-formats/{name}")) for name in names]
    assert [read.name for read in reads] == ["candump", "gvret", "crtd", "busmaster"]
    for read in reads:
        assert len(read.frames) == 12_974
        assert read.rejected == 0
        assert ids(read.frames) == ids(reads[0].frames)
        assert payloads(read.frames) == payloads(reads[0].frames)


def test_a_real_unfinished_mdf4_of_two_buses() -> None:
    data = recording("truck-j1939-mf4/truck-402s.mf4")
    read = load(data)
    assert len(read.frames) == 150_411
    channels = [read.frames.channels[n] for n in read.frames.channel.tolist()]
    assert sorted({name: channels.count(name) for name in set(channels)}.values()) == [11_275, 139_136]
    assert bool(np.all(np.diff(read.frames.time_us) >= 0))


# --- broken bytes ---------------------------------------------------------------------------------

SAMPLES = {
    "gvret": b"Time Stamp,ID,Extended,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
    + b"".join(b"%d,0000021A,false,0,8,FE,36,12,FE,69,05,07,AD,\n" % (166_064_000 + n) for n in range(40)),
    "crtd": b"".join(b"166.%06d R11 0000021A FE 36 12 FE 69 05 07 AD\n" % n for n in range(40)),
    "busmaster": b"***BUSMASTER Ver 2.4.0***\n***START DATE AND TIME 5:1:2026 10:0:0:0***\n"
    + b"***HEX***\n***SYSTEM MODE***\n"
    + b"".join(b"10:00:0%d:5000 Rx 1 0x21A s 8 FE 36 12 FE 69 05 07 AD\n" % (n % 10) for n in range(40)),
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("samples")
    return SAMPLES | {name: written(name, folder)[0] for name in WRITERS}


def mutations(data: bytes, seed: int) -> Iterator[bytes]:
    dice = random.Random(seed)
    for _ in range(FUZZED):
        broken = bytearray(data)
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(broken) or 1)
            kind = dice.randrange(5)
            if kind == 0 and broken:
                broken[at] ^= 1 << dice.randrange(8)
            elif kind == 1:
                del broken[at : at + dice.randrange(1, 400)]
            elif kind == 2:
                broken[at:at] = dice.randbytes(dice.randrange(1, 40))
            elif kind == 3:
                broken[at:at] = broken[at : at + 200]
            else:
                broken[at : at + 4] = dice.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"9999", b"\n\r\n-"])
        yield bytes(broken)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "mdf4"])
def test_broken_bytes_are_counted_or_refused_never_worse(name: str, samples: dict[str, bytes]) -> None:
    for broken in mutations(samples[name], seed=5):
        began = time.perf_counter()
        try:
            read = load(broken, name)
        except (MalformedBodyError, UnknownFormatError):
            continue
        assert len(read.frames) <= len(broken)
        assert time.perf_counter() - began < LIMIT_S


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "mdf4"])
def test_a_cut_file_gives_the_frames_before_the_cut(name: str, samples: dict[str, bytes]) -> None:
    whole = load(samples[name], name)
    cut = load(samples[name][: len(samples[name]) * 2 // 3], name)
    assert 0 <= len(cut.frames) < len(whole.frames)
    kept = len(cut.frames) - 1
    assert payloads(cut.frames)[:kept] == payloads(whole.frames)[:kept]


@pytest.mark.parametrize(
    "unit",
    [b"\n", b" ", b" \n", b"\r", b";\n", b"1", b"1 \n", b"\n1)", b"(1", b"***", b"date 1 ", b";$COLUMNS=A,", b"1.1 "],
)
def test_no_beginning_takes_long(unit):
    """Whatever a file begins with, telling its format takes no time that grows faster than what is looked at."""
    began = time.process_time()
    with suppress(UnknownFormatError):
        recognise(unit * (HEAD_BYTES // len(unit)))
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("blf", "mdf4")])
def test_all_bad_lines_are_counted_and_the_first_are_told(name):
    sound = fuzz_samples.samples(name)[0]
    before = load(sound, name).rejected
    bad = load(sound + b"what is this\n" * 700, name)
    assert bad.rejected - before == 700
    faults = [fault for block in read_log(io.BytesIO(b"what is this\n" * 700 + sound), name).blocks
              for fault in block.faults]  # fmt: skip
    assert [fault.row for fault in faults[:FAULTS_KEPT]] == list(range(1, FAULTS_KEPT + 1))
    assert {fault.value for fault in faults[:FAULTS_KEPT]} == {"what is this"}
