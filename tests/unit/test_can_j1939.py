"""Identifiers, the rule for missing values, and the built-in table by hand-computed frames."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from ingest.can import dm1
from ingest.can.decode import decode, physical
from ingest.can.frames import EXTENDED, Payloads
from ingest.can.j1939 import destination_of, not_available, pgn_of, pgn_of_id, priority_of, source_of
from ingest.can.j1939_table import CANONICAL, DM1, MESSAGES, PACK_CAPACITY, SOURCE_PRIORITY, source_rank
from schemas.signals import SIGNALS

FACTS = Path(os.environ.get("BEACHHEAD_SAMPLE_DATA", "../shared/data")).parent / "design" / "j1939_facts.csv"
UNITS = {"rpm": "1/min", "gear value": "1", "l": "L", "l/h": "L/h", "deg": "°"}
"""Units as the facts spell them."""
BY_NAME = {message.name: message for message in MESSAGES}


@pytest.mark.parametrize(
    ("can_id", "priority", "pgn", "source", "destination"),
    [
        (0x8CF00400, 3, 61444, 0x00, 0xFF),  # EEC1
        (0x98FEF117, 6, 65265, 0x17, 0xFF),  # CCVS1
        (0x98EAFF21, 6, 59904, 0x21, 0xFF),  # a request to all: PDU1
        (0x98EA0021, 6, 59904, 0x21, 0x00),  # the same group, to the engine
        (0x99FEF117, 6, 130801, 0x17, 0xFF),  # data page 1
        (0x9CEFFF03, 7, 61184, 0x03, 0xFF),  # the last PDU1 format
    ],
)
def test_the_parts_of_an_id(can_id: int, priority: int, pgn: int, source: int, destination: int) -> None:
    ids = np.array([can_id], np.uint32)
    parts = (priority_of(ids), pgn_of(ids), source_of(ids), destination_of(ids))
    assert [part.tolist() for part in parts] == [[priority], [pgn], [source], [destination]]
    assert pgn_of_id(can_id) == pgn


def test_short_ids_have_no_group() -> None:
    assert pgn_of(np.array([0x7EC, 0x80000000 | 0x7EC], np.uint32)).tolist() == [-1, 0]


@pytest.mark.parametrize(
    ("bits", "missing", "there"),
    [
        (2, [2, 3], [0, 1]),
        (4, [14, 15], [0, 13]),
        (8, [254, 255], [0, 0xFA, 253]),
        (16, [0xFE00, 0xFEFF, 0xFF00, 0xFFFF], [0, 0xFAFF, 0xFDFF]),
        (24, [0xFE0000, 0xFFFFFF], [0, 0xFDFFFF]),
        (32, [0xFE000000, 0xFFFFFFFF], [0, 0xFDFFFFFF]),
        (5, [31], [30, 0]),
        (7, [127], [126]),
        (9, [511], [510]),
        (15, [0x7FFF], [0x7FFE]),
        (19, [0x7FFFF], [0x7FFFE]),
        (63, [2**63 - 1], [2**63 - 2]),
    ],
)
def test_one_rule_by_width(bits: int, missing: list[int], there: list[int]) -> None:
    for kind in (np.int64, np.uint64):
        found = not_available(np.array(missing + there, kind), bits)
        assert found is not None
        assert found.tolist() == [True] * len(missing) + [False] * len(there)
        assert not_available(np.array(there, kind), bits) is None


def test_sixty_four_bits_and_the_narrow_ones() -> None:
    found = not_available(np.array([2**64 - 1, 2**64 - 2], np.uint64), 64)
    assert found is not None
    assert found.tolist() == [True, False]
    for bits in (1, 3):
        assert not_available(np.array([0, 1, 2**bits - 1]), bits) is None


@pytest.mark.parametrize(
    ("message", "data", "signal", "value"),
    [
        ("CCVS1", "FF0050FFFFFFFFFF", "SPN84", 80.0),  # 0x5000 = 20480 x 1/256
        ("EEC1", "FFFFFF3448FFFFFF", "SPN190", 2310.5),  # 0x4834 = 18484 / 8
        ("TCO1", "FFFFFFFFFFFF0064", "SPN1624", 100.0),
        ("VDHR", "40420F00FFFFFFFF", "SPN917", 5_000_000.0),
        ("HVESSD1", "FFFFFFFF00371C7D", "SPN5919", 704.0),  # 0x3700 = 14080 x 0.05
        ("HVESSD1", "FFFFFFFF00371C7D", "SPN5920", 1.4),  # 0x7D1C = 32028 x 0.05 - 1600
        ("HVESSD2", "00B4FFFFFFFFFFFF", "SPN5921", 72.0),  # 0xB400 = 46080 / 640
        ("HVESSD3", "6025FFFFFFFFFFFF", "SPN8075", 26.0),  # 0x2560 = 9568 / 32 - 273
        ("HOURS", "204E0000FFFFFFFF", "SPN247", 1000.0),
        ("LFC1", "FFFFFFFFD0070000", "SPN250", 1000.0),
        ("LFE1", "6400FFFFFFFFFFFF", "SPN183", 5.0),
        ("AMB", "FFFFFF8024FFFFFF", "SPN171", 19.0),  # 0x2480 = 9344 / 32 - 273
        ("DD1", "FF7DFFFFFFFFFFFF", "SPN96", 50.0),
        ("VP1", "00943577FFFFFFFF", "SPN584", -10.0),  # 2 000 000 000 x 1e-7 - 210
        ("CCVS1", "F7FFFFFFFFFFFFFF", "SPN70", 1.0),
    ],
)
def test_the_table_by_hand(message: str, data: str, signal: str, value: float) -> None:
    word = np.array([int.from_bytes(bytes.fromhex(data), "little")], np.uint64)
    one = Payloads(np.zeros(1, np.int64), np.array([0], np.uint32), np.array([8], np.int64), word, None)
    spec = next(spec for spec in BY_NAME[message].signals if spec.name == signal)
    assert physical(decode(one, BY_NAME[message])[signal], spec)[0] == pytest.approx(value, abs=1e-9)


def test_the_table_holds_the_facts_and_nothing_else() -> None:
    if not FACTS.is_file():
        pytest.skip(f"no facts at {FACTS}")
    with FACTS.open(newline="", encoding="utf-8") as file:
        facts = {
            (int(row["pgn"]), row["acronym"], int(row["spn"])): (
                int(row["start_bit"]), int(row["length_bits"]), float(row["scale"]), float(row["offset"]),
                UNITS.get(row["unit"], row["unit"]), False, False,
            )
            for row in csv.DictReader(file)
        }  # fmt: skip
    table = {
        (pgn_of_id(message.can_id), message.name, s.spn):
            (s.start_bit, s.bits, float(s.scale), float(s.offset), s.unit, s.big_endian, s.signed)
        for message in MESSAGES for s in message.signals if message is not DM1
    }  # fmt: skip
    assert table == facts


def test_lamps_have_two_bits_each_in_the_first_byte() -> None:
    assert [(s.spn, s.start_bit, s.bits) for s in DM1.signals] == [(987, 0, 2), (624, 2, 2), (623, 4, 2), (1213, 6, 2)]
    assert pgn_of_id(DM1.can_id) == dm1.PGN == pgn_of_id(dm1.ID)
    places = {signal.name: signal.start_bit for signal in DM1.signals}
    lamps = {c.name: places[c.signal] for c in CANONICAL if c.message == DM1.name}
    assert lamps == dm1.LAMPS


def test_the_table_is_sound() -> None:
    assert len(BY_NAME) == len(MESSAGES) == len({pgn_of_id(message.can_id) for message in MESSAGES})
    for message in MESSAGES:
        assert message.by_pgn
        assert message.can_id & int(EXTENDED)
        bits = [bit for s in message.signals for bit in range(s.start_bit, s.start_bit + s.bits)]
        assert len(bits) == len(set(bits)), message.name
        assert max(bits) < 8 * message.bytes
        assert all(s.name == f"SPN{s.spn}" for s in message.signals)


def test_what_is_canonical_is_in_the_table_and_in_its_unit() -> None:
    specs = {(message.name, s.name): s for message in MESSAGES for s in message.signals}
    for canonical in CANONICAL:
        spec, signal = specs[canonical.message, canonical.signal], SIGNALS[canonical.name]
        unit = {1.0: spec.unit, 1e-3: {"m": "km"}.get(spec.unit)}[canonical.factor]
        assert unit == signal.unit, canonical
    assert [c.signal for c in CANONICAL if c.name == "speed_kmh"] == ["SPN84", "SPN1624"]
    assert [c.signal for c in CANONICAL if c.name == "odometer_km"] == ["SPN917", "SPN245"]
    assert PACK_CAPACITY in specs


def test_sources_in_the_order_of_preference() -> None:
    assert sorted([0x30, 0x21, 0x00, 0x02, 0x0B], key=source_rank) == [0x00, 0x0B, 0x21, 0x02, 0x30]
    assert len(set(SOURCE_PRIORITY)) == len(SOURCE_PRIORITY)
