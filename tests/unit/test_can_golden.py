"""Small captures of every format beside what is in them."""

from __future__ import annotations

import csv
import datetime as dt
import io
from dataclasses import dataclass, replace
from pathlib import Path

import cantools
import numpy as np
import pytest

from ingest.can.dbc import read_dbc
from ingest.can.decode import decode, physical
from ingest.can.definitions import Bound, Definitions
from ingest.can.formats import FORMATS, read_log, recognise
from ingest.can.formats.log import Clock
from ingest.can.frames import EXTENDED, Frames, concat, payloads
from tests.can_logs import bus, truck, write, write_binary
from tests.golden.can import make

HERE = Path(make.__file__).parent
START = dt.datetime(2026, 1, 6, 8)  # noqa: DTZ001 - as headers without a zone say it
T0_US = 1_767_686_400_000_000


@dataclass(frozen=True)
class Golden:
    """A file, which capture it holds, its clock, the fineness of its times and how it names channels."""

    file: str
    format: str
    capture: str
    clock: Clock
    tick_us: int = 1
    channels: tuple[str, ...] = ("1", "2")
    remote: bool = True
    error: bool = True


GOLDEN = (
    Golden("candump.log", "candump", "mixed", Clock.UTC, channels=("can0", "can1")),
    Golden("candump_console.log", "candump", "mixed", Clock.UTC, channels=("can0", "can1")),
    Golden("candump_deltas.log", "candump", "classic", Clock.RELATIVE, 1, ("can0", "can1"), False, False),
    Golden("hex_absolute.asc", "asc", "mixed", Clock.LOCAL),
    Golden("decimal_relative.asc", "asc", "mixed", Clock.LOCAL),
    Golden("v1_1.trc", "trc", "classic", Clock.LOCAL, 100, ("",)),
    Golden("v1_3.trc", "trc", "classic", Clock.LOCAL, 100),
    Golden("v2_0.trc", "trc", "mixed", Clock.LOCAL, 1, ("",)),
    Golden("v2_1.trc", "trc", "mixed", Clock.LOCAL),
    Golden("gvret.csv", "gvret", "classic", Clock.RELATIVE, 1, ("0", "1"), False, False),
    Golden("crtd.txt", "crtd", "classic", Clock.UTC, 1, ("1", "2"), False, False),
    Golden("busmaster_hex.log", "busmaster", "classic", Clock.LOCAL, 100, error=False),
    Golden("busmaster_decimal.log", "busmaster", "classic", Clock.LOCAL, 100, error=False),
    Golden("all.blf", "blf", "mixed", Clock.LOCAL, 1),
    Golden("plain.mf4", "mdf4", "classic", Clock.UTC, remote=False, error=False),
    Golden("compressed.mf4", "mdf4", "classic", Clock.UTC, remote=False, error=False),
)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.file)
def test_a_capture_is_read_event_by_event(golden: Golden) -> None:
    data = (HERE / golden.file).read_bytes()
    assert recognise(data) == golden.format
    log = read_log(io.BytesIO(data), golden.format)
    blocks = list(log.blocks)
    frames = concat([block.frames for block in blocks])
    wanted = [row for row in _expected(golden.capture) if len(golden.channels) == 2 or row["channel"] == "0"]
    data_rows = [row for row in wanted if row["kind"] == "data"]
    assert (log.header.clock, log.header.start) == (golden.clock, START if golden.clock is Clock.LOCAL else None)
    assert sum(block.rejected for block in blocks) == 0
    assert sum(block.remote for block in blocks) == golden.remote * _count(wanted, "remote")
    assert sum(block.error for block in blocks) == golden.error * _count(wanted, "error")
    assert _ids(frames) == [(int(row["id"], 16), row["extended"] == "1") for row in data_rows]
    assert [data.hex() for data in _payloads(frames)] == [row["data"] for row in data_rows]
    assert [frames.channels[n] for n in frames.channel] == [_channel(golden, row) for row in data_rows]
    base_us = 0 if golden.clock is Clock.UTC else T0_US
    late_us = np.array([int(row["time_us"]) for row in data_rows]) - frames.time_us - base_us
    assert late_us.min() >= 0
    assert late_us.max() < golden.tick_us


def _expected(capture: str) -> list[dict[str, str]]:
    with (HERE / f"{capture}.csv").open() as file:
        return list(csv.DictReader(file))


def _count(rows: list[dict[str, str]], kind: str) -> int:
    return sum(row["kind"] == kind for row in rows)


def _channel(golden: Golden, row: dict[str, str]) -> str:
    return golden.channels[int(row["channel"])]


def _ids(frames: Frames) -> list[tuple[int, bool]]:
    return [(id_ & 0x1FFFFFFF, bool(id_ & int(EXTENDED))) for id_ in frames.can_id.tolist()]


def _payloads(frames: Frames) -> list[bytes]:
    whole = dict(zip(frames.long_at.tolist(), frames.long_data, strict=True))
    return [
        bytes(whole[n][:length]) if n in whole else int(word).to_bytes(8, "little")[:length]
        for n, (length, word) in enumerate(zip(frames.length.tolist(), frames.word.tolist(), strict=True))
    ]


def test_every_format_has_a_capture() -> None:
    assert {golden.format for golden in GOLDEN} == set(FORMATS)


def test_the_captures_hold_what_makes_reading_hard() -> None:
    for capture in ("classic", "mixed"):
        rows = _expected(capture)
        assert len(rows) >= 300
        assert min(_count(rows, kind) for kind in ("remote", "error")) >= 2
        assert {row["extended"] for row in rows} == {row["channel"] for row in rows} == {"0", "1"}
    assert len({len(row["data"]) for row in _expected("mixed") if row["fd"] == "1"}) >= 6


@pytest.mark.parametrize("name", sorted(make.texts()))
def test_the_generator_writes_the_files_beside_it(name: str) -> None:
    assert (HERE / name).read_bytes() == make.texts()[name].encode()


# --- the buses ------------------------------------------------------------------------------------


def test_the_truck_has_20_messages_and_99_signals_at_830_frames_a_second() -> None:
    database = cantools.database.load_string(truck.dbc(), "dbc")
    assert (len(database.messages), sum(len(message.signals) for message in database.messages)) == (20, 99)
    frames = truck.frames(8_300)
    assert (frames.time_us[-1] - frames.time_us[0]) / 1e6 == pytest.approx(10, abs=0.01)
    assert bool(np.all(np.diff(frames.time_us) >= 0))
    assert set(frames.can_id.tolist()) == {message.can_id for message in truck.messages()}


def test_the_truck_moves_smoothly() -> None:
    """Each signal as cantools decodes it stays, from one frame to the next, within a fifth of its range."""
    database = cantools.database.load_string(truck.dbc(), "dbc")
    frames = truck.frames(5_000, seed=3)
    for message in truck.messages():
        layout = database.get_message_by_frame_id(message.can_id & ~truck.EXTENDED_ID)
        data = frames.word[frames.can_id == message.can_id].astype("<u8").tolist()
        rows = [layout.decode(word.to_bytes(8, "little"), scaling=False, decode_choices=False) for word in data]
        for signal in message.signals:
            values = np.array([row[signal.name] for row in rows], np.float64)
            if message.rate >= 10 and signal.bits > 4:
                assert np.abs(np.diff(values)).max() < 0.2 * 2**signal.bits, f"{message.name}.{signal.name}"


def test_whole_columns_of_candump_are_the_lines_written_one_by_one() -> None:
    frames = truck.frames(2_000)
    classic = write_binary.frames_of(make.one_bus(make.classic()))
    for part in (frames, classic):
        out = io.BytesIO()
        write_binary.candump_fast(_named(part), out)
        assert out.getvalue().decode() == write.candump(bus.of_frames(part))


def _named(frames: Frames) -> Frames:
    return replace(frames, channels=("can0",))


@pytest.mark.parametrize("name", ["truck", "rich"])
def test_physical_values_are_those_of_cantools_bit_for_bit(name: str) -> None:
    text = truck.dbc() if name == "truck" else bus.DBC
    frames = truck.frames(3_000) if name == "truck" else _rich_frames()
    database = cantools.database.load_string(text, "dbc")
    definitions = Definitions([Bound(None, read_dbc(text.encode(), name).messages)])
    compared = refused = 0
    for group in definitions.groups(frames).groups:
        layout = database.get_message_by_name(group.message.name)
        columns = decode(payloads(frames, group.at), group.message)
        values = {s.name: physical(columns[s.name], s) for s in group.message.signals}
        data = _payloads(frames.take(group.at))
        for row, body in enumerate(data):
            try:
                wanted = layout.decode(body, decode_choices=False, allow_truncated=True)
            except cantools.database.DecodeError:  # a page that nobody defines
                refused += 1
                continue
            for signal, column in values.items():
                value = wanted.get(signal)
                assert _same(column[row], value), (group.message.name, signal, body.hex(), value, column[row])
                compared += value is not None
    assert compared > 3_000
    assert refused < compared / 10


def _same(ours: float, theirs: float | None) -> bool:
    if theirs is None or theirs != theirs:
        return bool(np.isnan(ours))
    return ours == float(theirs)


def _rich_frames() -> Frames:
    data = write.candump(bus.rich(4_000, seed=9)).encode()
    return concat([block.frames for block in read_log(io.BytesIO(data), "candump").blocks])
