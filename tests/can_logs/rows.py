"""Frames of single messages and sessions, a row (microseconds, id, bytes) each; and a DBC file that reads them."""

from __future__ import annotations

import numpy as np

from ingest.can import dm1
from ingest.can.frames import EXTENDED, MAX_BYTES, Frames, pack
from ingest.can.windows import Window

Row = tuple[int, int, bytes]
SECOND = 1_000_000
MINUTE = 60 * SECOND
J1939 = int(EXTENDED) | 6 << 26
DM1 = J1939 | 0xFECA00
VOLTS_AMPS, SOC, CAPACITY, SPEED = (J1939 | pgn << 8 for pgn in (0xF090, 0xF091, 0xF093, 0xFEF1))

# As public files lay out the answers of a battery and of a gateway to "read data by identifier" (service 0x62): the
# first after the length of the message, the second after nothing.
LENGTH_FIRST, SERVICE_FIRST = 0x7EC, 0x97FE007B
DBC = b"""VERSION ""

NS_ :

BS_:

BU_:

BO_ 2028 Battery: 62 Vector__XXX
 SG_ service M : 15|8@0+ (1,0) [0|0] "" Vector__XXX
 SG_ response m98M : 23|16@0+ (1,0) [0|0] "" Vector__XXX
 SG_ StateOfCharge m257 : 63|8@0+ (0.5,0) [0|100] "%" Vector__XXX
 SG_ Volts m257 : 119|16@0+ (0.1,0) [0|1000] "V" Vector__XXX
 SG_ Health m261 : 39|16@0+ (0.1,0) [0|100] "%" Vector__XXX

BO_ 2550005883 Gateway: 16 Vector__XXX
 SG_ S M : 7|8@0+ (1,0) [0|0] "" Vector__XXX
 SG_ R m98M : 15|16@0+ (1,0) [0|0] "" Vector__XXX
 SG_ Charge m652 : 31|8@0+ (0.4,0) [0|100] "%" Vector__XXX
 SG_ Total m7755 : 55|32@0+ (0.001,0) [0|0] "kWh" Vector__XXX

BO_ 768 Flexible: 16 Vector__XXX
 SG_ Near : 0|8@1+ (1,0) [0|0] "V" Vector__XXX
 SG_ Far : 120|8@1+ (1,0) [0|0] "A" Vector__XXX

BO_ 512 Drive: 8 Vector__XXX
 SG_ Power : 0|16@1- (0.1,0) [0|0] "kW" Vector__XXX
 SG_ Codes : 16|8@1+ (1,0) [0|0] "" Vector__XXX

BO_ 513 PackA: 8 Vector__XXX
 SG_ Current : 0|16@1- (0.1,0) [0|0] "A" Vector__XXX
 SG_ Voltage : 16|16@1+ (0.1,0) [0|0] "V" Vector__XXX

BO_ 514 PackB: 8 Vector__XXX
 SG_ Current : 0|16@1- (0.1,0) [0|0] "A" Vector__XXX
 SG_ Voltage : 16|16@1+ (0.1,0) [0|0] "V" Vector__XXX

SG_MUL_VAL_ 2028 response service 98-98;
SG_MUL_VAL_ 2028 StateOfCharge response 257-257;
SG_MUL_VAL_ 2028 Volts response 257-257;
SG_MUL_VAL_ 2028 Health response 261-261;
SG_MUL_VAL_ 2550005883 R S 98-98;
SG_MUL_VAL_ 2550005883 Charge R 652-652;
SG_MUL_VAL_ 2550005883 Total R 7755-7755;
"""
OWN_DM1 = b"""VERSION ""

NS_ :

BS_:

BU_:

BO_ 2566834942 Faults: 8 Vector__XXX
 SG_ Raw : 0|64@1+ (1,0) [0|0] "" Vector__XXX
"""


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


def window(rows: list[Row], low: int, high: int, bucket_us: int = MINUTE) -> Window:
    """Own time from `low` until `high` (microseconds), and the bucket before."""
    whole = frames(rows)
    first, last = np.searchsorted(whole.time_us, (low - bucket_us, high))
    return Window(whole.between(int(first), int(last)), (low, high))


def trouble(*codes: tuple[int, int], lamps: int = 0) -> bytes:
    """A DM1 message: lamps, then SPN and FMI of each code, once each."""
    body = bytes([lamps, 0xFF])
    for spn, fmi in codes or ((0, 0),):
        body += bytes([spn & 0xFF, spn >> 8 & 0xFF, spn >> 16 << 5 | fmi, int((spn, fmi) != (0, 0))])
    return body if len(body) > 6 else body + b"\xff\xff"


def broadcast(t: int, source: int, body: bytes, pgn: int = dm1.PGN, gap: int = 50_000) -> list[Row]:
    """A message announced to all, and its packets."""
    return session(t, 0x20, source, 0xFF, body, pgn, gap)


def session(t: int, kind: int, source: int, destination: int, body: bytes, pgn: int, gap: int) -> list[Row]:
    packets = [body[n : n + 7].ljust(7, b"\xff") for n in range(0, len(body), 7)]
    control = bytes([kind, *len(body).to_bytes(2, "little"), len(packets), 0xFF, *pgn.to_bytes(3, "little")])
    sent = [(0xEC00, control), *((0xEB00, bytes([n]) + packet) for n, packet in enumerate(packets, 1))]
    return [(t + n * gap, J1939 | (group | destination) << 8 | source, data) for n, (group, data) in enumerate(sent)]


def response(t: int, can_id: int, data: bytes, gap: int = 10_000) -> list[Row]:
    """A diagnostic response as its sender cuts it up."""
    size = len(data)
    if size <= 7:
        return [(t, can_id, (bytes([size]) + data).ljust(8, b"\xaa"))]
    rows = [(t, can_id, bytes([0x10 | size >> 8, size & 0xFF]) + data[:6])]
    for n, begin in enumerate(range(6, size, 7), 1):
        rows.append((t + n * gap, can_id, (bytes([0x20 | n % 16]) + data[begin : begin + 7]).ljust(8, b"\xaa")))
    return rows


def volts_amps(t: int, source: int, volts: float, amps: float) -> Row:
    words = (0, 0, round(volts / 0.05), round((amps + 1600) / 0.05))
    return t, VOLTS_AMPS | source, b"".join(word.to_bytes(2, "little") for word in words)


def soc(t: int, source: int, pct: float) -> Row:
    return t, SOC | source, round(pct * 640).to_bytes(2, "little") + b"\xff" * 6


def capacity(t: int, source: int, ah: float) -> Row:
    return t, CAPACITY | source, b"\xff\xff" + round(ah * 100).to_bytes(2, "little") + b"\xff" * 4
