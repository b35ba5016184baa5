"""A small bus with everything that makes decoding hard, event by event."""

from __future__ import annotations

import math
import random
import struct
from dataclasses import dataclass
from enum import Enum

from ingest.can.frames import EXTENDED, Frames
from tests.can_logs.truck import T0_US

EXTENDED_ID = int(EXTENDED)
LONG_BYTES = (12, 16, 20, 24, 32, 48, 64)
STEP_US = 1_204
JITTER_US = 600
PACKS = (0xF3, 0xF4)
FAULT_EVERY_S = 6  # a fault is there for the first half of each stretch
CODES = ((190, 2, 1, True), (5919, 16, 3, True), (520_192, 31, 126, False))  # SPN, FMI, occurrences, comes and goes

DBC = """VERSION ""

NS_ :

BS_:

BU_: Vector__XXX

BO_ 256 Whole: 8 Vector__XXX
 SG_ Little : 3|13@1+ (0.25,-100) [0|0] "A" Vector__XXX
 SG_ LittleSigned : 16|11@1- (0.1,0) [0|0] "V" Vector__XXX
 SG_ Big : 39|12@0+ (0.5,10) [0|0] "km/h" Vector__XXX
 SG_ BigSigned : 51|12@0- (0.01,-1) [0|0] "" Vector__XXX

BO_ 257 Floats: 8 Vector__XXX
 SG_ LittleFloat : 0|32@1- (1,0) [0|0] "V" Vector__XXX
 SG_ BigFloat : 39|32@0- (2.5,1) [0|0] "A" Vector__XXX

BO_ 258 Double: 8 Vector__XXX
 SG_ LittleDouble : 0|64@1- (1,0) [0|0] "kWh" Vector__XXX

BO_ 259 Wide: 8 Vector__XXX
 SG_ All64 : 7|64@0+ (1,0) [0|0] "" Vector__XXX

BO_ 260 WideSigned: 8 Vector__XXX
 SG_ AllSigned64 : 0|64@1- (1,0) [0|0] "" Vector__XXX

BO_ 261 Nested: 8 Vector__XXX
 SG_ Page M : 0|4@1+ (1,0) [0|0] "" Vector__XXX
 SG_ Cell m0M : 4|4@1+ (1,0) [0|0] "" Vector__XXX
 SG_ Heat m1 : 8|8@1- (0.5,0) [0|0] "C" Vector__XXX
 SG_ Even m0 : 8|16@1+ (0.001,0) [0|0] "V" Vector__XXX
 SG_ Odd m1 : 31|16@0- (0.001,0) [0|0] "V" Vector__XXX
 SG_ Always : 56|8@1+ (1,0) [0|0] "" Vector__XXX

BO_ 2566848766 LongFrame: 64 Vector__XXX
 SG_ First : 0|16@1+ (0.1,0) [0|0] "V" Vector__XXX
 SG_ Across : 60|12@1- (1,0) [0|0] "" Vector__XXX
 SG_ BigAcross : 79|24@0+ (0.001,0) [0|0] "" Vector__XXX
 SG_ Last : 504|8@1+ (1,0) [0|0] "" Vector__XXX

SIG_VALTYPE_ 257 LittleFloat : 1;
SIG_VALTYPE_ 257 BigFloat : 1;
SIG_VALTYPE_ 258 LittleDouble : 2;
SG_MUL_VAL_ 261 Cell Page 0-0;
SG_MUL_VAL_ 261 Heat Page 1-1;
SG_MUL_VAL_ 261 Even Cell 0-0, 2-2;
SG_MUL_VAL_ 261 Odd Cell 1-1, 3-3;
"""
LONG_ID = 2566848766
PLAIN_IDS = (256, 257, 258, 259, 260, 261)


class Kind(Enum):
    DATA = "data"
    REMOTE = "remote"
    ERROR = "error"


@dataclass(frozen=True)
class Event:
    """One thing on the bus. `can_id` has EXTENDED for 29-bit ids; `channel` counts from 0."""

    time_us: int
    channel: int
    can_id: int
    data: bytes
    fd: bool = False
    kind: Kind = Kind.DATA

    @property
    def bare_id(self):
        return self.can_id & ~EXTENDED_ID

    @property
    def extended(self):
        return bool(self.can_id & EXTENDED_ID)


def of_frames(frames: Frames) -> list[Event]:
    """Classic frames as events."""
    columns = zip(frames.time_us.tolist(), frames.channel.tolist(), frames.can_id.tolist(), frames.length.tolist(),
                  frames.word.tolist(), strict=True)  # fmt: skip
    return [Event(t, channel, id_, word.to_bytes(8, "little")[:length]) for t, channel, id_, length, word in columns]


def rich(n: int, seed: int = 2, *, fd: bool = True) -> list[Event]:
    """At least `n` events on two channels: plain, multiplexed, float and J1939 messages, packs, transport, oddities."""
    dice = random.Random(seed)
    found: list[Event] = []
    for step in range(n):
        if len(found) >= n:
            break
        found += _step(dice, step, len(found), fd=fd)
    return found


def _step(dice, step, number, *, fd):
    time_us = T0_US + number * STEP_US + number * 7_919 % JITTER_US
    if step % 40 == 7:
        return _diagnostics(time_us)
    if step % 61 == 13:
        return [Event(time_us, 0, 0x1A5, bytes(dice.randrange(9)), kind=Kind.REMOTE)]
    if step % 61 == 14:
        return [Event(time_us, 0, 0, bytes(8), kind=Kind.ERROR)]
    if fd and step % 9 == 4:
        return [_long(dice, time_us, step)]
    if step % 3 == 1:
        return [_j1939(step, time_us)]
    return [_plain(dice, step, time_us)]


def _plain(dice, step, time_us):
    id_ = PLAIN_IDS[step % len(PLAIN_IDS)]
    length = dice.randrange(8) if step % 17 == 0 else 8
    if id_ == 257:
        data = struct.pack("<f", math.sin(step / 50) * 400) + struct.pack(">f", step * 0.1)
    elif id_ == 258:
        data = struct.pack("<d", step * 1.1e-3)
    elif id_ == 261:
        data = bytes([dice.randrange(3) | dice.randrange(5) << 4]) + dice.randbytes(7)
    else:
        data = dice.randbytes(8)
    return Event(time_us, step % 2, id_, data[:length])


def _long(dice, time_us, step):
    if step % 2:
        return Event(time_us, 1, LONG_ID, dice.randbytes(dice.choice(LONG_BYTES)), fd=True)
    return Event(time_us, 1, 0x300 + step % 5, dice.randbytes(dice.choice((0, 3, 8, *LONG_BYTES))), fd=True)


def _id(pgn, source, priority=6):
    return EXTENDED_ID | priority << 26 | pgn << 8 | source


def _j1939(step, time_us):
    """HVESSD1 and HVESSD2 of two packs, EEC1, CCVS1, VDHR."""
    pack = PACKS[step // 3 % 2]
    volts, amps = 650 + 20 * math.sin(step / 90) + pack % 2, 80 * math.sin(step / 30)
    words = (0, 0, round(volts / 0.05), round((amps + 1600) / 0.05))
    return (
        Event(time_us, 0, _id(0xF090, pack), struct.pack("<4H", *words)),
        Event(time_us, 0, _id(0xF091, pack), struct.pack("<4H", 32_000 - step % 100, 3700, 3650, 0xFFFF)),
        Event(time_us, 0, _id(0xF004, 0, 3), bytes([0xF0, 125, 130 + step % 9]) + struct.pack("<H", 9600 + step)
              + bytes([0xFF] * 3)),
        Event(time_us, 0, _id(0xFEF1, 0), b"\xf3" + struct.pack("<H", 256 * 60 + step) + b"\xff" * 5),
        Event(time_us, 0, _id(0xFEC1, 0x17), struct.pack("<2I", 20_000_000 + step, 1000 + step)),
    )[step // 3 % 5]  # fmt: skip


def _diagnostics(time_us):
    """DM1: one code or none in a frame, several by broadcast announcement and packets."""
    on = (time_us - T0_US) // 1_000_000 % FAULT_EVERY_S < FAULT_EVERY_S // 2
    lamps = bytes([0x04, 0xFF])
    codes = [code(spn, fmi, count) for spn, fmi, count, comes in CODES if on or not comes]
    if len(codes) < 2:
        return [Event(time_us, 0, _id(0xFECA, 0), lamps + codes[0] + b"\xff\xff")]
    body = lamps + b"".join(codes)
    packets = [body[n : n + 7].ljust(7, b"\xff") for n in range(0, len(body), 7)]
    control = struct.pack("<BHBB3s", 0x20, len(body), len(packets), 0xFF, (0xFECA).to_bytes(3, "little"))
    whole = [(0xECFF, control), *((0xEBFF, bytes([n]) + packet) for n, packet in enumerate(packets, 1))]
    return [Event(time_us + n * STEP_US, 0, _id(pgn, 0, 7), data) for n, (pgn, data) in enumerate(whole)]


def code(spn: int, fmi: int, count: int) -> bytes:
    """A trouble code as DM1 carries it."""
    return bytes([spn & 0xFF, spn >> 8 & 0xFF, (spn >> 16) << 5 | fmi, count])
