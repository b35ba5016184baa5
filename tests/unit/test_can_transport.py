"""Transport sessions, by hand and beside a machine that looks at one frame after the other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.can.frames import EXTENDED, Frames
from ingest.can.transport import MOST_GAP_US, Joined, join

Row = tuple[int, int, bytes]


def frames(rows: list[Row]) -> Frames:
    return Frames(
        np.array([t for t, _, _ in rows], np.int64),
        np.array([id_ for _, id_, _ in rows], np.uint32) | EXTENDED,
        np.zeros(len(rows), np.uint8),
        np.full(len(rows), 8, np.uint8),
        np.array([int.from_bytes(data, "little") for _, _, data in rows], np.uint64),
    )


def session(t: int, pgn: int, source: int, data: bytes, gap: int = 50_000) -> list[Row]:
    packets = -(-len(data) // 7)
    announce = bytes([0x20, len(data) & 0xFF, len(data) >> 8, packets, 0xFF]) + pgn.to_bytes(3, "little")
    rows = [(t, 0x18ECFF00 | source, announce)]
    for n in range(packets):
        piece = data[7 * n : 7 * n + 7].ljust(7, b"\xff")
        rows.append((t + (n + 1) * gap, 0x18EBFF00 | source, bytes([n + 1]) + piece))
    return rows


def told(joined: Joined) -> list[tuple[int, int, bytes]]:
    return [
        (int(t), int(id_), bytes(row[:size]))
        for t, id_, size, row in zip(joined.time_us, joined.can_id, joined.length, joined.data, strict=True)
    ]


def test_a_broadcast_is_joined_with_its_group_and_source() -> None:
    data = bytes(range(1, 21))
    assert told(join(frames(session(0, 65226, 0x21, data)))) == [(150_000, 0x98FECA21, data)]


def test_sessions_of_two_sources_interleave() -> None:
    one, two = session(0, 65226, 0x00, bytes(range(10))), session(10_000, 65226, 0x03, bytes(range(50, 65)))
    joined = join(frames(sorted(one + two)))
    assert told(joined) == [(100_000, 0x98FECA00, bytes(range(10))), (160_000, 0x98FECA03, bytes(range(50, 65)))]
    assert len(joined.lost_us) == 0


def test_what_is_not_whole_is_lost_and_counted() -> None:
    data = bytes(range(21))
    missing = [row for n, row in enumerate(session(0, 65226, 1, data)) if n != 2]
    late = session(0, 65226, 2, data, gap=MOST_GAP_US + 1)
    swapped = session(0, 65226, 3, data)
    swapped[1], swapped[2] = (swapped[1][0], *swapped[2][1:]), (swapped[2][0], *swapped[1][1:])
    begun_anew = session(0, 65226, 4, data)[:2] + session(200_000, 65226, 4, data)
    aborted = [*session(0, 65226, 5, data)[:2], (60_000, 0x18ECFF05, b"\xff\x02" + b"\xff" * 6)]
    for rows, losses in ((missing, 1), (late, 1), (swapped, 1), (begun_anew, 1), (aborted, 1)):
        assert len(join(frames(rows)).lost_us) == losses
    assert told(join(frames(begun_anew))) == [(350_000, 0x98FECA04, data)]


def test_packets_without_an_announcement_are_left_alone() -> None:
    joined = join(frames(session(0, 65226, 1, bytes(range(21)))[1:]))
    assert (told(joined), len(joined.lost_us)) == ([], 0)


def naive(rows: list[Row]) -> list[tuple[int, int, bytes]]:
    """One frame after the other."""
    found, open_ = [], {}
    for t, id_, data in rows:
        key = id_ & 0xFFFF
        if id_ >> 16 & 0xFF == 0xEC:
            if data[0] in (0x10, 0x20):
                open_[key] = [t, data, []]
        elif key in open_:
            _, announce, parts = open_[key]
            parts.append((t, data))
            if len(parts) == announce[3]:
                times = [open_[key][0], *(at for at, _ in parts)]
                gaps = [b - a for a, b in pairwise(times)]
                if [piece[0] for _, piece in parts] == list(range(1, len(parts) + 1)) and max(gaps) <= MOST_GAP_US:
                    whole = b"".join(piece[1:] for _, piece in parts)[: announce[1] | announce[2] << 8]
                    found.append((t, 0x98FECA00 | id_ & 0xFF, whole))
                open_[key] = [t, announce, []]
                del open_[key]
    return sorted(found)


@given(st.data())
def test_random_sessions_with_losses(data: st.DataObject) -> None:
    rows: list[Row] = []
    for source in range(data.draw(st.integers(1, 4))):
        t = data.draw(st.integers(0, 1000)) * 10 + source
        for _ in range(data.draw(st.integers(1, 3))):
            body = data.draw(st.binary(min_size=9, max_size=40))
            sent = session(t, 65226, source, body)
            lost = data.draw(st.none() | st.integers(1, len(sent) - 1))
            rows += [row for n, row in enumerate(sent) if n != lost]
            t += 500_000
    rows.sort()
    assert sorted(told(join(frames(rows)))) == naive(rows)
