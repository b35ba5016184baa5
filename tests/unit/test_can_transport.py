"""Transport sessions, by hand and beside a machine that looks at one frame after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.can.frames import EXTENDED, Frames
from ingest.can.transport import MOST_GAP_US, MOST_SESSION_US, Joined, Loss, join

Row = tuple[int, int, bytes]
DM1 = 65226


def frames(rows: list[Row], channels: list[int] | None = None) -> Frames:
    return Frames(
        np.array([t for t, _, _ in rows], np.int64),
        np.array([id_ for _, id_, _ in rows], np.uint32) | EXTENDED,
        np.array(channels or [0] * len(rows), np.uint8),
        np.array([len(data) for _, _, data in rows], np.uint8),
        np.array([int.from_bytes(data, "little") for _, _, data in rows], np.uint64),
        channels=("can0", "can1"),
    )


def control(t: int, kind: int, source: int, destination: int, rest: bytes, pgn: int = DM1) -> Row:
    return t, 0x1CEC0000 | destination << 8 | source, bytes([kind]) + rest + pgn.to_bytes(3, "little")


def packet(t: int, source: int, destination: int, number: int, data: bytes) -> Row:
    piece = data[7 * (number - 1) : 7 * number].ljust(7, b"\xff")
    return t, 0x1CEB0000 | destination << 8 | source, bytes([number]) + piece


def session(t: int, pgn: int, source: int, data: bytes, gap: int = 50_000) -> list[Row]:
    count = -(-len(data) // 7)
    announce = control(t, 0x20, source, 0xFF, len(data).to_bytes(2, "little") + bytes([count, 0xFF]), pgn)
    return [announce, *(packet(t + n * gap, source, 0xFF, n, data) for n in range(1, count + 1))]


def request(t: int, source: int, destination: int, data: bytes, pgn: int = DM1) -> Row:
    rest = len(data).to_bytes(2, "little") + bytes([-(-len(data) // 7), 0xFF])
    return control(t, 0x10, source, destination, rest, pgn)


def told(joined: Joined) -> list[tuple[int, int, bytes]]:
    return [(int(joined.time_us[n]), int(joined.can_id[n]), joined.data(n)) for n in range(len(joined))]


def lost(joined: Joined) -> list[tuple[int, int, Loss]]:
    columns = (joined.lost_us.tolist(), joined.failed_us.tolist(), joined.reason.tolist())
    return [(began, failed, Loss(reason)) for began, failed, reason in zip(*columns, strict=True)]


def test_a_broadcast_is_joined_with_its_group_and_source() -> None:
    data = bytes(range(1, 21))
    joined = join(frames(session(0, DM1, 0x21, data)))
    assert told(joined) == [(150_000, 0x98FECA21, data)]
    assert (joined.began_us.tolist(), len(joined.lost_us), len(joined.orphans_us)) == ([0], 0, 0)


def test_a_group_with_a_destination_keeps_it() -> None:
    data = bytes(range(9))
    rows = [request(0, 3, 0x17, data, pgn=0xD300), packet(1, 3, 0x17, 1, data), packet(2, 3, 0x17, 2, data)]
    assert told(join(frames(rows))) == [(2, 0x98D31703, data)]


def test_sessions_interleave() -> None:
    one, two = session(0, DM1, 0x00, bytes(range(10))), session(10_000, DM1, 0x03, bytes(range(50, 65)))
    joined = join(frames(sorted(one + two)))
    assert told(joined) == [(100_000, 0x98FECA00, bytes(range(10))), (160_000, 0x98FECA03, bytes(range(50, 65)))]
    assert len(joined.lost_us) == 0


def test_a_broadcast_and_one_to_an_address_interleave() -> None:
    data, other = bytes(range(14)), bytes(range(100, 114))
    rows = [*session(0, DM1, 7, data), request(1, 7, 9, other), packet(2, 7, 9, 1, other), packet(3, 7, 9, 2, other)]
    assert [body for _, _, body in told(join(frames(sorted(rows))))] == [other, data]


def test_two_buses_are_two_worlds() -> None:
    one, two = session(0, DM1, 1, bytes(range(10))), session(0, DM1, 1, bytes(range(20, 30)))
    rows = [row for pair in zip(one, two, strict=True) for row in pair]
    joined = join(frames(rows, [0, 1] * len(one)))
    assert [body for _, _, body in told(joined)] == [bytes(range(10)), bytes(range(20, 30))]
    assert joined.channel.tolist() == [0, 1]


def test_the_longest_message() -> None:
    data = bytes(n % 251 for n in range(1785))
    joined = join(frames(session(0, DM1, 1, data)))
    assert [body for _, _, body in told(joined)] == [data]


BODY = bytes(range(21))


def _swapped() -> list[Row]:
    rows = session(0, DM1, 1, BODY)
    return [rows[0], (*rows[1][:2], rows[2][2]), (*rows[2][:2], rows[1][2]), rows[3]]


WHOLE = session(0, DM1, 1, BODY)
CASES = {
    "missing": ([*WHOLE[:2], WHOLE[3]], 150_000, Loss.SEQUENCE),
    "swapped": (_swapped(), 50_000, Loss.SEQUENCE),
    "twice": ([*WHOLE[:2], WHOLE[1], *WHOLE[2:]], 50_000, Loss.SEQUENCE),
    "cut": (WHOLE[:3], 100_000 + MOST_GAP_US, Loss.LATE),
    "slow": (session(0, DM1, 1, BODY, gap=MOST_GAP_US + 1), MOST_GAP_US, Loss.LATE),
    "short": ([*WHOLE[:2], (100_000, WHOLE[2][1], WHOLE[2][2][:7]), WHOLE[3]], 100_000, Loss.SEQUENCE),
    "aborted": ([*WHOLE[:2], control(60_000, 0xFF, 1, 0xFF, b"\x01\xff\xff\xff")], 60_000, Loss.ABORTED),
    "long in all": (session(0, DM1, 1, bytes(400), gap=1_200_000), MOST_SESSION_US, Loss.LATE),
    "too small": (session(0, DM1, 1, bytes(8)), 0, Loss.SIZE),
    "too large": ([control(0, 0x20, 1, 0xFF, b"\xff\xff\xff\xff")], 0, Loss.SIZE),
    "odd count": ([control(0, 0x20, 1, 0xFF, b"\x15\x00\x04\xff"), *WHOLE[1:]], 0, Loss.SIZE),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_whole_is_lost_for_a_reason(name: str) -> None:
    rows, failed, reason = CASES[name]
    joined = join(frames(rows))
    assert told(joined) == []
    assert lost(joined) == [(0, failed, reason)]


def test_the_longest_silence_is_allowed() -> None:
    assert len(join(frames(session(0, DM1, 1, BODY, gap=MOST_GAP_US)))) == 1


def test_another_announcement_ends_the_first() -> None:
    joined = join(frames(session(0, DM1, 4, BODY)[:2] + session(200_000, DM1, 4, BODY)))
    assert told(joined) == [(350_000, 0x98FECA04, BODY)]
    assert lost(joined) == [(0, 200_000, Loss.BEGUN_ANEW)]


def test_an_abort_of_another_group_changes_nothing() -> None:
    other = control(60_000, 0xFF, 1, 0xFF, b"\x01\xff\xff\xff", pgn=0xFEE5)
    assert len(join(frames(sorted([*WHOLE, other])))) == 1


@pytest.mark.parametrize(("source", "destination"), [(5, 9), (9, 5)])
def test_either_side_aborts(source: int, destination: int) -> None:
    abort = control(2, 0xFF, source, destination, b"\x03\xff\xff\xff")
    rows = [request(0, 5, 9, BODY), packet(1, 5, 9, 1, BODY), abort, packet(3, 5, 9, 2, BODY), packet(4, 5, 9, 3, BODY)]
    assert lost(join(frames(rows))) == [(0, 2, Loss.ABORTED)]


def _clear(t: int, count: int, following: int) -> Row:
    return control(t, 0x11, 9, 5, bytes([count, following, 0xFF, 0xFF]))


def test_packets_are_sent_again_as_the_receiver_asks() -> None:
    rows = [
        request(0, 5, 9, BODY), _clear(1, 3, 1),
        packet(2, 5, 9, 1, BODY), packet(3, 5, 9, 3, BODY),  # the second is not heard
        _clear(4, 2, 2),
        packet(5, 5, 9, 2, BODY), packet(6, 5, 9, 3, BODY),
        control(7, 0x13, 9, 5, bytes([21, 0, 3, 0xFF])),
    ]  # fmt: skip
    joined = join(frames(rows))
    assert told(joined) == [(5, 0x98FECA05, BODY)]
    assert (len(joined.lost_us), len(joined.orphans_us)) == (0, 0)


def test_a_packet_that_comes_again_must_be_the_same() -> None:
    other = bytes(50) + BODY
    rows = [request(0, 5, 9, BODY), packet(1, 5, 9, 1, BODY), packet(2, 5, 9, 1, other), packet(3, 5, 9, 2, BODY),
            packet(4, 5, 9, 3, BODY)]  # fmt: skip
    assert lost(join(frames(rows))) == [(0, 2, Loss.SEQUENCE)]


def test_a_receiver_may_hold_the_line() -> None:
    rows = [request(0, 5, 9, BODY), *(_clear(n * 500_000, 0, 255) for n in range(1, 9)), _clear(4_200_000, 3, 1)]
    rows += [packet(4_200_000 + n, 5, 9, n, BODY) for n in (1, 2, 3)]
    assert len(join(frames(rows))) == 1


def test_acknowledged_but_not_all_heard() -> None:
    rows = [request(0, 5, 9, BODY), packet(1, 5, 9, 1, BODY), packet(2, 5, 9, 3, BODY),
            control(3, 0x13, 9, 5, bytes([21, 0, 3, 0xFF]))]  # fmt: skip
    assert lost(join(frames(rows))) == [(0, 3, Loss.UNSEEN)]


def test_packets_without_a_session_are_orphans() -> None:
    joined = join(frames(WHOLE[1:]))
    assert (told(joined), len(joined.lost_us), joined.orphans_us.tolist()) == ([], 0, [50_000, 100_000, 150_000])
    after = join(frames([*WHOLE, packet(200_000, 1, 0xFF, 1, BODY)]))
    assert (len(after), after.orphans_us.tolist()) == (1, [200_000])


def test_a_short_last_packet_is_enough() -> None:
    data = bytes(range(16))
    rows = session(0, DM1, 1, data)
    rows[-1] = (*rows[-1][:2], rows[-1][2][:3])
    assert [body for _, _, body in told(join(frames(rows)))] == [data]


def test_payloads_are_padded_and_may_be_cut() -> None:
    joined = join(frames(sorted(session(0, DM1, 1, bytes(range(1, 10))) + session(5, DM1, 2, bytes(range(1, 31))))))
    both = joined.payloads(np.array([0, 1]))
    assert both.data is not None
    assert (both.data.shape, both.length.tolist()) == ((2, 30), [9, 30])
    assert both.data[0].tolist() == [*range(1, 10), *[0] * 21]
    cut = joined.payloads(np.array([1, 0]), most_bytes=8)
    assert cut.data is not None
    assert cut.data.tolist() == [list(range(1, 9))] * 2
    assert [at.tolist() for at in joined.by_width(np.array([0, 1]))] == [[0], [1]]
    assert len(joined.payloads(np.empty(0, np.int64))) == 0


class Machine:
    """One frame after the other: what a receiver of everything would do."""

    def __init__(self) -> None:
        self.open: dict[tuple[int, int], dict] = {}
        self.found: list[tuple[int, int, bytes]] = []
        self.lost: list[tuple[int, int, Loss]] = []
        self.orphans: list[int] = []
        self.dead: dict[tuple[int, int], int] = {}

    def fail(self, key, at: int, reason: Loss) -> None:
        began = self.open.pop(key)["began"]
        self.lost.append((began, at, reason))
        self.dead[key] = began

    def expire(self, now: int) -> None:
        for key, one in list(self.open.items()):
            deadline = min(one["heard"] + MOST_GAP_US, one["began"] + MOST_SESSION_US)
            if now > deadline:
                self.fail(key, deadline, Loss.LATE)

    def take(self, t: int, id_: int, data: bytes) -> None:
        self.expire(t)
        source, destination = id_ & 0xFF, id_ >> 8 & 0xFF
        if id_ >> 16 & 0xFF == 0xEB:
            self.packet(t, (source, destination), data)
        elif data[0] in (0x10, 0x20):
            self.begin(t, (source, destination), data)
        elif data[0] in (0x11, 0x13) and (destination, source) in self.open:
            one = self.open[destination, source]
            one["heard"] = t
            if data[0] == 0x13 and not one["ordered"]:
                self.fail((destination, source), t, Loss.UNSEEN)
        elif data[0] == 0xFF:
            for key in {(source, destination), (destination, source)}:
                if key in self.open and self.open[key]["pgn"] == data[5:]:
                    self.fail(key, t, Loss.ABORTED)

    def begin(self, t: int, key, data: bytes) -> None:
        if key in self.open:
            self.fail(key, t, Loss.BEGUN_ANEW)
        self.dead.pop(key, None)
        size, count = data[1] | data[2] << 8, data[3]
        self.open[key] = {"began": t, "heard": t, "size": size, "count": count, "pgn": data[5:], "parts": {},
                          "ordered": data[0] == 0x20}  # fmt: skip
        if not 9 <= size <= 1785 or count != -(-size // 7):
            self.fail(key, t, Loss.SIZE)

    def packet(self, t: int, key, data: bytes) -> None:
        one = self.open.get(key)
        if one is None:
            if key not in self.dead or t - self.dead[key] > MOST_SESSION_US:
                self.orphans.append(t)
            return
        number = data[0]
        wrong = not 1 <= number <= one["count"]
        wrong |= one["ordered"] and number != len(one["parts"]) + 1
        wrong |= one["parts"].get(number, data[1:]) != data[1:]
        if wrong:
            self.fail(key, t, Loss.SEQUENCE)
            return
        one["heard"] = t
        one["parts"][number] = data[1:]
        if len(one["parts"]) == one["count"]:
            whole = b"".join(one["parts"][n + 1] for n in range(one["count"]))[: one["size"]]
            self.found.append((t, 0x98FECA00 | key[0], whole))
            del self.open[key]


@st.composite
def traffic(draw) -> list[Row]:
    """Sessions of both kinds, with packets lost, doubled, moved; late; clears, aborts, acknowledgements between."""
    rows: list[Row] = []
    for _ in range(draw(st.integers(1, 6))):
        t, source = draw(st.integers(0, 40)) * 100_000, draw(st.integers(1, 2))
        destination = draw(st.sampled_from([0xFF, 3 - source]))
        body = draw(st.binary(min_size=7, max_size=30))
        count = -(-len(body) // 7)
        begin = session(t, DM1, source, body)[0] if destination == 0xFF else request(t, source, destination, body)
        numbers = draw(st.permutations(range(1, count + 1)) if draw(st.booleans()) else st.just(range(1, count + 1)))
        sent = [begin, *(packet(t + n, source, destination, number, body) for n, number in enumerate(numbers, 1))]
        lost_at = draw(st.none() | st.integers(0, count))
        again = draw(st.none() | st.integers(1, count))
        gap = draw(st.sampled_from([1, 100_000, MOST_GAP_US, MOST_GAP_US + 1]))
        sent = [(t + n * gap, *row[1:]) for n, row in enumerate(sent) if n != lost_at]
        if again is not None:
            sent.append((sent[-1][0] + gap, *packet(0, source, destination, again, body)[1:]))
        if draw(st.booleans()):
            kind = draw(st.sampled_from([0x11, 0x13, 0xFF]))
            sent.append(control(t + draw(st.integers(0, 5)) * gap, kind, destination & 3, source, b"\x01\xff\xff\xff"))
        rows += sent
    return sorted(rows, key=lambda row: row[0])


def naive(rows: list[Row]) -> Machine:
    machine = Machine()
    for row in rows:
        machine.take(*row)
    machine.expire(2**62)
    return machine


@given(traffic())
def test_random_traffic_as_a_machine_hears_it(rows: list[Row]) -> None:
    joined, machine = join(frames(rows)), naive(rows)
    assert sorted(told(joined)) == sorted(machine.found)
    assert sorted(lost(joined)) == sorted(machine.lost)


@given(traffic(), st.integers(0, 90))
def test_sixty_seconds_of_history_are_enough(rows: list[Row], after_s: int) -> None:
    later = [(t + after_s * 1_000_000, *rest) for t, *rest in rows]
    whole = join(frames(sorted(rows + later, key=lambda row: row[0])))
    low = 60_000_000
    kept = [row for row in sorted(rows + later, key=lambda row: row[0]) if row[0] >= low - 60_000_000 + 1_000_000]
    part = join(frames(kept))
    low += 1_000_000
    assert [one for one in told(whole) if one[0] >= low] == [one for one in told(part) if one[0] >= low]
    assert [one for one in lost(whole) if one[1] >= low] == [one for one in lost(part) if one[1] >= low]
    assert [t for t in whole.orphans_us if t >= low] == [t for t in part.orphans_us if t >= low]


@given(st.lists(st.tuples(st.sampled_from([0x1CECFF01, 0x1CEBFF01, 0x1CEC0201, 0x1CEC0102, 0x1CEB0201]),
                          st.binary(max_size=8)), max_size=30))  # fmt: skip
def test_whatever_the_bytes_are(sent: list[tuple[int, bytes]]) -> None:
    joined = join(frames([(n * 1000, id_, data) for n, (id_, data) in enumerate(sent)]))
    assert int(joined.length.sum()) <= 8 * len(sent)
    assert all(len(joined.data(n)) == size for n, size in enumerate(joined.length.tolist()))
