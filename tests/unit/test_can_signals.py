"""Windows told: by hand, and in any grouping of buckets into windows."""

from __future__ import annotations

import numpy as np
import polars as pl

from ingest.can import dm1
from ingest.can.frames import EXTENDED, MAX_BYTES, Frames, pack
from ingest.can.setup import Setup
from ingest.can.signals import Told, tell
from ingest.can.windows import Window

Row = tuple[int, int, bytes]
SECOND = 1_000_000
BUCKET = 60 * SECOND
J1939 = int(EXTENDED) | 6 << 26
DM1 = J1939 | 0xFECA00


def frames(rows: list[Row]) -> Frames:
    """Frames of one bus; stable in order of time."""
    rows = sorted(rows, key=lambda row: row[0])
    length = np.array([len(data) for _, _, data in rows], np.uint8)
    table = np.zeros((len(rows), MAX_BYTES), np.uint8)
    for n, (_, _, data) in enumerate(rows):
        table[n, : len(data)] = list(data)
    return Frames(
        np.array([t for t, _, _ in rows], np.int64),
        np.array([id_ for _, id_, _ in rows], np.uint32),
        np.zeros(len(rows), np.uint8),
        length,
        *pack(table, length),
        channels=("can0",),
    )


def window(rows: list[Row], low: int, high: int, bucket: int = BUCKET) -> Window:
    """Own time from `low` until `high` (microseconds), and the bucket before."""
    whole = frames(rows)
    first, last = np.searchsorted(whole.time_us, (low - bucket, high))
    return Window(whole.between(int(first), int(last)), (low, high))


def told(rows: list[Row], low: int = 0, high: int = BUCKET, setup: Setup | None = None) -> Told:
    return tell(window(rows, low, high), setup or Setup())


def trouble(*codes: tuple[int, int], lamps: int = 0) -> bytes:
    """A DM1 message: lamps, then SPN and FMI of each code, once each."""
    body = bytes([lamps, 0xFF])
    for spn, fmi in codes or ((0, 0),):
        body += bytes([spn & 0xFF, spn >> 8 & 0xFF, spn >> 16 << 5 | fmi, int((spn, fmi) != (0, 0))])
    return body if len(body) > 6 else body + b"\xff\xff"


def broadcast(t: int, source: int, body: bytes, pgn: int = dm1.PGN, gap: int = 50_000) -> list[Row]:
    """A message announced to all, and its packets."""
    packets = [body[n : n + 7].ljust(7, b"\xff") for n in range(0, len(body), 7)]
    control = bytes([0x20, *len(body).to_bytes(2, "little"), len(packets), 0xFF, *pgn.to_bytes(3, "little")])
    sent = [(0xECFF, control), *((0xEBFF, bytes([n]) + packet) for n, packet in enumerate(packets, 1))]
    return [(t + n * gap, J1939 | group << 8 | source, data) for n, (group, data) in enumerate(sent)]


def test_trouble_codes_of_single_and_joined_messages_are_one_story() -> None:
    """Source 3: one code alone, then two together, then none. Source 5 has another code at its end."""
    rows = [(1 * SECOND, DM1 | 3, trouble((100, 3))), *broadcast(2 * SECOND, 3, trouble((100, 3), (200, 4))),
            (3 * SECOND, DM1 | 3, trouble()), (4 * SECOND, DM1 | 5, trouble((7, 1), lamps=0x40))]  # fmt: skip
    found = told(rows).sightings
    assert found.schema == dm1.SIGHTING_SCHEMA
    assert found.select("channel", "source", "spn", "fmi", "first_us", "last_us", "cleared_us").rows() == [
        ("can0", 3, 100, 3, SECOND, 2_100_000, 3 * SECOND),
        ("can0", 3, 200, 4, 2_100_000, 2_100_000, 3 * SECOND),
        ("can0", 5, 7, 1, 4 * SECOND, 4 * SECOND, None),
    ]
    assert found["malfunction_lamp"].to_list() == [False, False, True]


def test_a_code_of_the_bucket_before_is_cleared_in_this_one() -> None:
    rows = [(59 * SECOND, DM1 | 3, trouble((100, 3))), (60 * SECOND, DM1 | 3, trouble())]
    before, after = told(rows).sightings, told(rows, BUCKET, 2 * BUCKET).sightings
    assert after.select("first_us", "cleared_us").rows() == [(None, BUCKET)]
    assert dm1.episodes(pl.concat([before, after])).select("first_us", "cleared_us").rows() == [(59 * SECOND, BUCKET)]


def test_a_message_too_long_on_its_way_is_left_out() -> None:
    body = trouble(*((n, 1) for n in range(1, 65)))
    assert len(told(broadcast(0, 3, body, gap=SECOND), high=BUCKET).sightings) == 0
    assert len(told(broadcast(0, 3, body, gap=SECOND // 2), high=BUCKET).sightings) == 64
