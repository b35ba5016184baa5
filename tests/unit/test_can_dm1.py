"""Lamps and trouble codes, by hand; runs and episodes in any bucketing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.can.dm1 import (
    CLEAR_GAP_US,
    LAMPS,
    PGN,
    RUN_GAP_US,
    SIGHTING_SCHEMA,
    Reports,
    episodes,
    merged,
    read,
    sightings,
)
from ingest.can.frames import EXTENDED, Frames, Payloads, pack
from ingest.can.frames import payloads as frames_payloads
from ingest.can.j1939 import pgn_of
from ingest.can.transport import join

SECOND = 1_000_000
BUCKET = 60 * SECOND
ID = int(EXTENDED) | 0x18FECA00
TRUCK = Path(os.environ.get("BEACHHEAD_SAMPLE_DATA", "../shared/data")) / "truck-j1939-mf4" / "truck-402s.mf4"
TRUCK_CODES: list = []
TRUCK_MESSAGES = (0, 0, 0)
OFF = {"malfunction_lamp": 0, "red_stop_lamp": 0, "amber_warning_lamp": 0, "protect_lamp": 0}


def payloads(messages: list[tuple[int, bytes]]) -> Payloads:
    length = np.array([len(data) for _, data in messages], np.int64)
    table = np.zeros((len(messages), max(8, int(length.max(initial=0)))), np.uint8)
    for n, (_, data) in enumerate(messages):
        table[n, : len(data)] = list(data)
    time = np.array([t for t, _ in messages], np.int64)
    return Payloads(time, np.full(len(messages), ID, np.uint32), length, None, table)


def words(messages: list[tuple[int, bytes]]) -> Payloads:
    whole = payloads(messages)
    assert whole.data is not None
    return Payloads(whole.time_us, whole.can_id, whole.length, whole.data.view("<u8").reshape(-1), None)


def dm1(*codes: tuple[int, int], lamps: int = 0, count: int = 1) -> bytes:
    data = bytes([lamps, 0xFF])
    for spn, fmi in codes or ((0, 0),):
        data += bytes([spn & 0xFF, spn >> 8 & 0xFF, spn >> 16 << 5 | fmi, count if (spn, fmi) != (0, 0) else 0])
    return data if len(data) > 6 else data + b"\xff\xff"


def codes(reports: Reports) -> list[tuple[int, int, int, int, int]]:
    columns = (reports.message, reports.spn, reports.fmi, reports.occurrence, reports.method)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def lamps(reports: Reports, message: int) -> dict[str, int]:
    return dict(zip(LAMPS, reports.lamps[message].tolist(), strict=True))


@pytest.mark.parametrize("form", [payloads, words])
def test_a_message_by_hand(form) -> None:
    """0x44: malfunction 01, red 00, amber 01, protect 00. SPN 0x2BEEF = 0xEF | 0xBE << 8 | 2 << 16, FMI 5, 3 times."""
    reports = read(form([(7, bytes.fromhex("44FFEFBE4503FFFF"))]))
    assert codes(reports) == [(0, 0x2BEEF, 5, 3, 0)]
    assert lamps(reports, 0) == {**OFF, "malfunction_lamp": 1, "amber_warning_lamp": 1}
    assert (reports.time_us.tolist(), reports.active.tolist()) == ([7], [1])


@pytest.mark.parametrize(
    ("first", "lamp"),
    [(0x01, "protect_lamp"), (0x04, "amber_warning_lamp"), (0x10, "red_stop_lamp"), (0x40, "malfunction_lamp")],
)
def test_each_lamp_has_its_bits(first: int, lamp: str) -> None:
    assert lamps(read(words([(0, bytes([first]) + bytes(7))])), 0) == {**OFF, lamp: 1}
    assert lamps(read(words([(0, bytes([first * 2]) + bytes(7))])), 0) == {**OFF, lamp: -1}
    assert lamps(read(words([(0, bytes([first * 3]) + bytes(7))])), 0) == {**OFF, lamp: -1}


def test_the_count_may_be_untold_and_the_layout_an_older_one() -> None:
    reports = read(words([(0, bytes.fromhex("00FF640003FFFFFF")), (1, bytes.fromhex("00FF6400037FFFFF"))]))
    assert codes(reports) == [(0, 100, 3, -1, 1), (1, 100, 3, -1, 0)]


@pytest.mark.parametrize("none", ["00FF00000000FFFF", "00FFFFFFFFFFFFFF", "FFFFFFFFFFFFFFFF", "00FF00000005FFFF"])
def test_no_fault(none: str) -> None:
    reports = read(words([(0, bytes.fromhex(none))]))
    assert (len(reports), reports.active.tolist(), codes(reports)) == (1, [0], [])


def test_joined_messages_tell_several_codes_each_once() -> None:
    reports = read(payloads([(0, dm1((100, 3), (520_000, 31), (100, 3), (0, 0))), (5, dm1((7, 1)))]))
    assert codes(reports) == [(0, 100, 3, 1, 0), (0, 520_000, 31, 1, 0), (1, 7, 1, 1, 0)]
    assert reports.active.tolist() == [2, 1]


def test_messages_without_a_code_are_left_out() -> None:
    assert len(read(payloads([(0, b"\x00\xff"), (1, b""), (2, dm1()[:5])]))) == 0
    assert len(read(payloads([(0, dm1()[:6])]))) == 1


def test_of_two_at_one_time_the_last_counts() -> None:
    reports = read(payloads([(0, dm1((1, 1))), (0, dm1((2, 2)))]))
    assert codes(reports) == [(0, 2, 2, 1, 0)]


def test_single_frames_and_joined_messages_are_one_story() -> None:
    single = read(words([(0, dm1((1, 1))), (2, dm1((1, 1)))]))
    joined = read(payloads([(1, dm1((1, 1), (2, 2))), (2, dm1((3, 3), (2, 2)))]))
    both = merged([single, Reports(), joined])
    assert both.time_us.tolist() == [0, 1, 2]
    assert [one[:3] for one in codes(both)] == [(0, 1, 1), (1, 1, 1), (1, 2, 2), (2, 3, 3), (2, 2, 2)]
    assert both.active.tolist() == [1, 2, 2]


def tell(messages: list[tuple[float, bytes]], low_s: int = 0, high_s: int = 600, bucket: int = BUCKET) -> pl.DataFrame:
    reports = read(payloads([(round(t * SECOND), data) for t, data in messages]))
    return sightings({("can0", 3): reports}, (low_s * SECOND, high_s * SECOND), bucket)


def seconds(frame: pl.DataFrame) -> list[tuple]:
    times = [pl.col(name) / SECOND for name in ("first_us", "last_us", "cleared_us")]
    return frame.select("spn", "fmi", *times).rows()


A, B = (100, 3), (200, 4)


def test_a_run_and_its_clearing() -> None:
    found = tell([(1, dm1(A, B, lamps=0x04)), (2, dm1(A, lamps=0xC0, count=9)), (3, dm1())])
    assert seconds(found) == [(100, 3, 1, 2, 3), (200, 4, 1, 1, 2)]
    assert found.schema == SIGHTING_SCHEMA
    assert found.select("channel", "source", "occurrence_count", *LAMPS).rows() == [
        ("can0", 3, 9, False, False, True, False),  # the malfunction lamp: off, then unknown
        ("can0", 3, 1, False, False, True, False),
    ]


def test_a_lamp_that_is_never_told_is_unknown() -> None:
    assert tell([(1, dm1(A, lamps=0xFF))]).select(*LAMPS).row(0) == (None,) * 4


def test_silence_ends_a_run_without_clearing_it() -> None:
    assert seconds(tell([(0, dm1(A)), (10, dm1(A)), (20.5, dm1(A))])) == [
        (100, 3, 0, 10, None),
        (100, 3, 20.5, 20.5, None),
    ]
    assert RUN_GAP_US == 10 * SECOND


def test_runs_are_cut_at_buckets_and_clearings_told_where_they_are() -> None:
    found = tell([(58, dm1(A)), (59, dm1(A)), (61, dm1(A)), (119, dm1(A)), (120, dm1())])
    assert seconds(found) == [(100, 3, 58, 59, None), (100, 3, 61, 61, None), (100, 3, 119, 119, None),
                              (100, 3, None, None, 120)]  # fmt: skip
    assert seconds(episodes(found)) == [(100, 3, 58, 61, None), (100, 3, 119, 119, 120)]


def test_what_lies_outside_is_not_told() -> None:
    messages = [(59, dm1(A)), (60, dm1()), (61, dm1(B)), (120, dm1(B))]
    assert seconds(tell(messages, 60, 120)) == [(200, 4, 61, 61, None), (100, 3, None, None, 60)]


def test_a_clearing_after_a_long_silence_is_unknown() -> None:
    limit = CLEAR_GAP_US / SECOND
    assert seconds(tell([(0, dm1(A)), (limit, dm1())])) == [(100, 3, 0, 0, limit)]
    assert seconds(tell([(0, dm1(A)), (limit + 0.5, dm1())])) == [(100, 3, 0, 0, None)]


def test_nothing_reported_is_an_empty_frame() -> None:
    assert tell([(0, dm1())]).is_empty()
    assert sightings({}, (0, BUCKET), BUCKET).schema == SIGHTING_SCHEMA
    assert episodes(sightings({}, (0, BUCKET), BUCKET)).schema == SIGHTING_SCHEMA


def test_episodes_go_on_over_buckets_until_cleared() -> None:
    messages = [(t, dm1(A, count=min(t, 126))) for t in range(150)] + [(150, dm1(B)), (151, dm1(A))]
    found = episodes(tell(messages))
    assert seconds(found) == [(100, 3, 0, 149, 150), (100, 3, 151, 151, None), (200, 4, 150, 150, 151)]
    assert found["occurrence_count"].to_list() == [126, 1, 1]


def naive(messages: list[tuple[int, frozenset]]) -> list[tuple]:
    """One message after the other: [spn, fmi, first, last, cleared]."""
    told, open_, before = [], {}, None
    for t, active in messages:
        for code in sorted(open_):
            if code not in active:
                if t - before <= CLEAR_GAP_US:
                    open_[code][4] = t
                told.append(tuple(open_.pop(code)))
            elif t - before > RUN_GAP_US:
                told.append(tuple(open_.pop(code)))
        for code in active:
            open_.setdefault(code, [*code, t, t, None])[3] = t
        before = t
    return sorted(told + [tuple(one) for one in open_.values()])


stories = st.lists(
    st.tuples(
        st.sampled_from(
            [1, SECOND, 5 * SECOND, RUN_GAP_US, RUN_GAP_US + 1, CLEAR_GAP_US, CLEAR_GAP_US + 1, 2 * BUCKET]
        ),
        st.frozensets(st.sampled_from([A, B, (300, 5)])),
    ),
    min_size=1,
    max_size=25,
)


@given(stories, st.sampled_from([30, 45, 60, 120]), st.randoms(use_true_random=False))
def test_episodes_do_not_depend_on_buckets_or_order(story, bucket_s: int, random) -> None:
    time, messages = 0, []
    for step, active in story:
        time += step
        messages.append((time, active))
    bucket = bucket_s * SECOND
    reports = read(payloads([(t, dm1(*sorted(active))) for t, active in messages]))
    high = (time // bucket + 1) * bucket
    whole = sightings({("", 0): reports}, (0, high), bucket)
    pieces = []
    for low in range(0, high, bucket):
        # Only the bucket before is at hand.
        seen = [(t, active) for t, active in messages if low - bucket <= t < low + bucket]
        part = read(payloads([(t, dm1(*sorted(active))) for t, active in seen]))
        pieces.append(sightings({("", 0): part}, (low, low + bucket), bucket))
    random.shuffle(pieces)
    apart = pl.concat(pieces)
    assert apart.sort(pl.all()).equals(whole.sort(pl.all()))
    found = episodes(apart)
    assert sorted(found.select("spn", "fmi", "first_us", "last_us", "cleared_us").rows()) == naive(messages)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20))
def test_whatever_the_bytes_are(bodies: list[bytes]) -> None:
    reports = read(payloads([(n * SECOND, body) for n, body in enumerate(bodies)]))
    told = sightings({("", 0): reports}, (0, BUCKET), BUCKET)
    assert episodes(told).height <= len(reports.message)
    assert set(reports.active) <= set(range(10))


@pytest.fixture(scope="module")
def truck(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    """The frames of its J1939 bus, as asammdf reads them."""
    if not TRUCK.is_file():
        pytest.skip(f"no recording at {TRUCK}")
    from asammdf import MDF

    copy = tmp_path_factory.mktemp("truck") / TRUCK.name
    copy.write_bytes(TRUCK.read_bytes())  # asammdf finishes files in place
    with MDF(copy) as file:
        group = max(range(len(file.groups)), key=lambda n: file.groups[n].channel_group.cycles_nr)
        columns = [file.get(f"CAN_DataFrame.{name}", group=group).samples for name in ("ID", "DataLength", "DataBytes")]
        time = np.rint(file.get_master(group) * SECOND).astype(np.int64)
    length = columns[1].astype(np.uint8)
    can_id = columns[0].astype(np.uint32) | EXTENDED
    return Frames(time, can_id, np.zeros(len(time), np.uint8), length, *pack(columns[2].astype(np.uint8), length))


def test_a_real_truck(truck: Frames) -> None:
    """Its DM1 frames, read one by one beside."""
    at = np.flatnonzero(pgn_of(truck.can_id) == PGN)
    assert len(at) == 10
    found = {}
    for source in np.unique(truck.can_id[at] & 0xFF).tolist():
        mine = at[(truck.can_id[at] & 0xFF) == source]
        found["", source] = reports = read(frames_payloads(truck, mine))
        bodies = [int(word).to_bytes(8, "little") for word in truck.word[mine]]
        listed = [(b[2] | b[3] << 8 | b[4] >> 5 << 16, b[4] & 31) for b in bodies]
        expected = [code for code in listed if code not in ((0, 0), (0x7FFFF, 31))]
        assert list(zip(reports.spn.tolist(), reports.fmi.tolist(), strict=True)) == expected
        assert reports.lamps[:, 2].tolist() == [{0: 0, 1: 1}.get(b[0] >> 2 & 3, -1) for b in bodies]
    high = (int(truck.time_us[-1]) // BUCKET + 1) * BUCKET
    assert episodes(sightings(found, (0, high), BUCKET)).select("source", "spn", "fmi").rows() == TRUCK_CODES


def test_the_truck_s_transport(truck: Frames) -> None:
    joined = join(truck)
    assert (len(joined), len(joined.lost_us), len(joined.orphans_us)) == TRUCK_MESSAGES
