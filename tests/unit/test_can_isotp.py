"""Diagnostic responses of several frames, by hand and beside a machine that looks at one frame after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.can.frames import EXTENDED, MAX_BYTES, Frames, pack
from ingest.can.isotp import MOST_GAP_US, MOST_SESSION_US, join
from ingest.can.sessions import Joined, Loss

Row = tuple[int, int, bytes]
ID = 0x7EC
WANTED = [("can0", ID), ("can0", int(EXTENDED) | 0x18DAF110)]


def frames(rows: list[Row], channel: int = 0) -> Frames:
    length = np.array([len(data) for _, _, data in rows], np.uint8)
    table = np.zeros((len(rows), MAX_BYTES), np.uint8)
    for n, (_, _, data) in enumerate(rows):
        table[n, : len(data)] = list(data)
    return Frames(
        np.array([t for t, _, _ in rows], np.int64),
        np.array([id_ for _, id_, _ in rows], np.uint32),
        np.full(len(rows), channel, np.uint8),
        length,
        *pack(table, length),
        channels=("can0", "can1"),
    )


def response(t: int, data: bytes, id_: int = ID, gap: int = 10_000) -> list[Row]:
    """A response as its sender cuts it up."""
    size = len(data)
    if size <= 7:
        return [(t, id_, (bytes([size]) + data).ljust(8, b"\xaa"))]
    rows = [(t, id_, bytes([0x10 | size >> 8, size & 0xFF]) + data[:6])]
    for n, begin in enumerate(range(6, size, 7), 1):
        rows.append((t + n * gap, id_, (bytes([0x20 | n % 16]) + data[begin : begin + 7]).ljust(8, b"\xaa")))
    return rows


def told(joined: Joined) -> list[tuple[int, int, bytes]]:
    return [(int(joined.time_us[n]), int(joined.can_id[n]), joined.data(n)) for n in range(len(joined))]


def lost(joined: Joined) -> list[tuple[int, int, Loss]]:
    columns = (joined.lost_us.tolist(), joined.failed_us.tolist(), joined.reason.tolist())
    return [(began, failed, Loss(reason)) for began, failed, reason in zip(*columns, strict=True)]


def test_a_response_by_hand() -> None:
    """Ten bytes: service 0x62, identifier 0x0101, seven of data."""
    rows = [
        (0, ID, bytes.fromhex("100A620101AABBCC")),
        (1, 0x7E4, bytes.fromhex("3000000000000000")),
        (2, ID, bytes.fromhex("21DDEEFF11000000")),
    ]
    joined = join(frames(rows), WANTED)
    assert told(joined) == [(2, ID, bytes.fromhex("0A620101AABBCCDDEEFF11"))]
    assert (joined.length.tolist(), joined.began_us.tolist(), len(joined.lost_us)) == ([11], [0], 0)


def test_a_response_in_one_frame_stands_as_it_is() -> None:
    raw = bytes.fromhex("0462010155AAAAAA")
    assert told(join(frames([(5, ID, raw)]), WANTED)) == [(5, ID, raw)]
    short = raw[:5]
    assert told(join(frames([(5, ID, short)]), WANTED)) == [(5, ID, short)]


def test_the_service_is_the_same_byte_either_way() -> None:
    one, several = bytes([0x62, 1, 2]), bytes([0x62, 1, 2, *range(20)])
    joined = join(frames([*response(0, one), *response(1000, several)]), WANTED)
    assert [joined.data(n)[1:4] for n in range(2)] == [one, one]


def test_the_longest_response_counts_beyond_fifteen() -> None:
    data = bytes(n % 251 for n in range(4095))
    joined = join(frames(response(0, data, gap=10)), WANTED)
    assert [body for _, _, body in told(joined)] == [bytes([4095 & 0xFF]) + data]


def test_ids_and_channels_are_told_apart() -> None:
    other = int(EXTENDED) | 0x18DAF110
    one, two = response(0, bytes(range(20))), response(1, bytes(range(30, 50)), other)
    joined = join(frames(sorted(one + two)), WANTED)
    assert [(id_, body[1:]) for _, id_, body in told(joined)] == [(ID, bytes(range(20))), (other, bytes(range(30, 50)))]
    assert len(join(frames(one, channel=1), WANTED)) == 0
    assert len(join(frames(one), [])) == 0
    assert len(join(frames([]), WANTED)) == 0


def test_flow_control_of_the_same_id_is_passed_over() -> None:
    rows = response(0, bytes(20))
    rows.insert(1, (5, ID, b"\x30" + bytes(7)))
    assert len(join(frames(rows), WANTED)) == 1


WHOLE = response(0, bytes(range(20)))
CASES = {
    "missing": ([WHOLE[0], WHOLE[2]], 20_000, Loss.SEQUENCE),
    "twice": ([*WHOLE[:2], WHOLE[1], WHOLE[2]], 10_000, Loss.SEQUENCE),
    "cut": (WHOLE[:2], 10_000 + MOST_GAP_US, Loss.LATE),
    "slow": (response(0, bytes(20), gap=MOST_GAP_US + 1), MOST_GAP_US, Loss.LATE),
    "long in all": (response(0, bytes(100), gap=900_000), MOST_SESSION_US, Loss.LATE),
    "short": ([WHOLE[0], (1, ID, WHOLE[1][2][:7]), WHOLE[2]], 1, Loss.SEQUENCE),
    "four gigabytes": ([(0, ID, bytes.fromhex("1000FFFFFFFF6201")), *WHOLE[1:]], 0, Loss.SIZE),
    "nothing": ([(0, ID, bytes(8))], 0, Loss.SIZE),
    "first of one": ([(0, ID, bytes.fromhex("1007620101AABBCC"))], 0, Loss.SIZE),
    "shorter than it says": ([(0, ID, bytes.fromhex("07620101"))], 0, Loss.SIZE),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_whole_is_lost_for_a_reason(name: str) -> None:
    rows, failed, reason = CASES[name]
    joined = join(frames(rows), WANTED)
    assert told(joined) == []
    assert lost(joined) == [(0, failed, reason)]


@pytest.mark.parametrize("following", [bytes(range(30)), b"\x62\x01"])
def test_another_response_ends_the_first(following: bytes) -> None:
    joined = join(frames([*WHOLE[:2], *response(15_000, following)]), WANTED)
    assert lost(joined) == [(0, 15_000, Loss.BEGUN_ANEW)]
    assert len(joined) == 1


def test_frames_without_a_beginning_are_orphans() -> None:
    assert join(frames(WHOLE[1:]), WANTED).orphans_us.tolist() == [10_000, 20_000]
    assert join(frames([*response(0, b"\x62"), *WHOLE[1:]]), WANTED).orphans_us.tolist() == [10_000, 20_000]


def test_longer_frames_are_not_touched() -> None:
    joined = join(frames([(0, ID, bytes([0x10, 0x20, *range(62)]))]), WANTED)
    assert (len(joined), len(joined.lost_us), len(joined.orphans_us)) == (0, 0, 0)


class Machine:
    def __init__(self) -> None:
        self.open: dict | None = None
        self.found: list[tuple[int, int, bytes]] = []
        self.lost: list[tuple[int, int, Loss]] = []

    def fail(self, at: int, reason: Loss) -> None:
        assert self.open is not None
        self.lost.append((self.open["began"], at, reason))
        self.open = None

    def take(self, t: int, id_: int, data: bytes) -> None:
        if self.open:
            deadline = min(self.open["heard"] + MOST_GAP_US, self.open["began"] + MOST_SESSION_US)
            if t > deadline:
                self.fail(deadline, Loss.LATE)
        kind = data[0] >> 4
        if kind in (0, 1) and self.open:
            self.fail(t, Loss.BEGUN_ANEW)
        if kind == 0:
            if 0 < data[0] < len(data):
                self.found.append((t, id_, data))
            else:
                self.lost.append((t, t, Loss.SIZE))
        elif kind == 1:
            size = (data[0] & 15) << 8 | (data[1] if len(data) > 1 else 0)
            self.open = {"began": t, "heard": t, "size": size, "data": data[1:], "next": 1}
            if size < 8 or len(data) < 8:
                self.fail(t, Loss.SIZE)
        elif kind == 2 and self.open:
            self.further(t, id_, data)

    def further(self, t: int, id_: int, data: bytes) -> None:
        one = self.open
        assert one is not None
        owed = min(7, one["size"] + 1 - len(one["data"]))
        if data[0] & 15 != one["next"] % 16 or len(data) - 1 < owed:
            self.fail(t, Loss.SEQUENCE)
            return
        one["data"] += data[1 : 1 + owed]
        one["next"] += 1
        one["heard"] = t
        if len(one["data"]) == one["size"] + 1:
            self.found.append((t, id_, one["data"]))
            self.open = None


@st.composite
def traffic(draw) -> list[Row]:
    rows: list[Row] = []
    t = 0
    for _ in range(draw(st.integers(1, 5))):
        sent = response(
            t, draw(st.binary(min_size=0, max_size=150)), gap=draw(st.sampled_from([1, 300_000, 1_000_001]))
        )
        fault = draw(st.sampled_from(["none", "lost", "doubled", "noise", "cut short"]))
        at = draw(st.integers(0, len(sent) - 1))
        if fault == "lost":
            del sent[at]
        elif fault == "doubled":
            sent.insert(at, sent[at])
        elif fault == "noise":
            sent.insert(at, (sent[at][0], ID, draw(st.binary(min_size=1, max_size=8))))
        elif fault == "cut short":
            sent = sent[:at]
        rows += sent
        t = (rows[-1][0] if rows else 0) + draw(st.sampled_from([0, 10, 1_000_000, 20_000_000]))
    return rows


@given(traffic())
def test_random_traffic_as_a_machine_hears_it(rows: list[Row]) -> None:
    machine = Machine()
    for row in rows:
        machine.take(*row)
    machine.take(2**60, ID, b"\x30")
    joined = join(frames(rows), WANTED)
    assert told(joined) == machine.found
    assert lost(joined) == sorted(machine.lost, key=lambda one: one[:2])
