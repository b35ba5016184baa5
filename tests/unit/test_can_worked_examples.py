"""Worked examples of CAN values, lamps and joined messages: T15 to T22, each with its arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from ingest.can.dbc import read_dbc
from ingest.can.decode import decode, physical
from ingest.can.dm1 import LAMPS, Reports, read
from ingest.can.frames import EXTENDED, Frames, Payloads
from ingest.can.j1939 import not_available
from ingest.can.j1939_table import MESSAGES
from ingest.can.transport import join

GB_CURRENT = """VERSION ""

BU_: A

BO_ 2566845951 Pack: 8 A
 SG_ Current : 0|16@1+ (0.1,-1000) [-1000|1000] "A" A
"""
DM1_ID = int(EXTENDED) | 0x18FECA00


def one(data: str) -> Payloads:
    word = np.array([int.from_bytes(bytes.fromhex(data), "little")], np.uint64)
    return Payloads(np.zeros(1, np.int64), np.array([DM1_ID], np.uint32), np.array([8], np.int64), word, None)


def gb_current_a(data: str) -> float:
    (message,) = read_dbc(GB_CURRENT.encode(), "pack.dbc").messages
    return float(physical(decode(one(data), message)["Current"], message.signals[0])[0])


def j1939(message: str, signal: str, data: str) -> float:
    spec = next(spec for spec in MESSAGES if spec.name == message)
    of = next(one_of for one_of in spec.signals if one_of.name == signal)
    return float(physical(decode(one(data), spec)[signal], of)[0])


def lamps(reports: Reports) -> dict[str, bool]:
    return {name: value == 1 for name, value in zip(LAMPS, reports.lamps[0].tolist(), strict=True)}


def codes(reports: Reports) -> list[tuple[int, int, int]]:
    return list(zip(reports.spn.tolist(), reports.fmi.tolist(), reports.occurrence.tolist(), strict=True))


def test_t15_current_with_an_offset() -> None:
    assert gb_current_a("E82BFFFFFFFFFFFF") == pytest.approx(124.0)  # 0x2BE8 = 11240; 11240 x 0.1 - 1000


def test_t16_all_bits_set_is_no_value() -> None:
    missing = not_available(np.array([0xFFFF, 11240], np.uint64), 16)
    assert missing is not None
    assert missing.tolist() == [True, False]


def test_t17_wheel_based_speed() -> None:
    assert j1939("CCVS1", "SPN84", "FF204EFFFFFFFFFF") == 78.125  # 0x4E20 = 20000; 20000 / 256


def test_t18_engine_speed() -> None:
    assert j1939("EEC1", "SPN190", "FFFFFF6813FFFFFF") == 621.0  # 0x1368 = 4968; 4968 x 0.125


def test_t19_one_trouble_code() -> None:
    reports = read(one("44FF6E000003FFFF"))  # 0x44: malfunction 01, red 00, amber 01, protect 00
    assert lamps(reports) == {
        "malfunction_lamp": True, "red_stop_lamp": False, "amber_warning_lamp": True, "protect_lamp": False,
    }  # fmt: skip
    assert codes(reports) == [(110, 0, 3)]


def test_t20_no_trouble_code() -> None:
    reports = read(one("00FF00000000FFFF"))
    assert codes(reports) == []
    assert not any(lamps(reports).values())


def test_t21_a_large_number() -> None:
    reports = read(one("04FFF8FAEC7EFFFF"))  # 0xF8 | 0xFA << 8 | (0xEC & 0xE0) << 11 = 523000; 0xEC & 0x1F = 12
    assert codes(reports) == [(523_000, 12, 126)]
    assert lamps(reports)["amber_warning_lamp"]


def test_t22_three_codes_in_two_packets() -> None:
    """Announced as 0x000E = 14 bytes in 2 packets of group 0x00FECA = 65226: lamps, then three times four bytes."""
    data = bytes.fromhex("04FF6E00000164000302F8FAEC03")
    rows = [
        (0, 0x1CECFF00, bytes.fromhex("200E0002FFCAFE00")),
        (50_000, 0x1CEBFF00, b"\x01" + data[:7]),
        (100_000, 0x1CEBFF00, b"\x02" + data[7:]),
    ]
    joined = join(
        Frames(
            np.array([t for t, _, _ in rows], np.int64),
            np.array([id_ for _, id_, _ in rows], np.uint32) | EXTENDED,
            np.zeros(3, np.uint8),
            np.full(3, 8, np.uint8),
            np.array([int.from_bytes(payload, "little") for _, _, payload in rows], np.uint64),
            channels=("can0",),
        )
    )
    assert len(joined) == 1
    assert joined.data(0) == data
    table = np.frombuffer(data, np.uint8).reshape(1, -1)
    whole = Payloads(np.zeros(1, np.int64), np.array([DM1_ID], np.uint32), np.array([14], np.int64), None, table)
    assert codes(read(whole)) == [(110, 0, 1), (100, 3, 2), (523_000, 12, 3)]
