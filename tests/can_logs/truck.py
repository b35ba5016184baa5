"""The bus of a truck: 20 messages with 99 signals, about 830 frames a second, made by whole columns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import numpy as np

from ingest.can.frames import EXTENDED, Frames

T0_US = 1_767_686_400_000_000  # 2026-01-06T08:00:00Z
SECOND_US = 1_000_000
FRAMES_PER_S = 830
EXTENDED_ID = int(EXTENDED)

# Name, id, frames per second, then signals as `name start|bits@order sign (scale,offset) unit`.
MESSAGES = (
    ("EEC1", 0x0CF00400, 100, "TorqueMode 0|4@1+ (1,0) -; Demand 8|8@1+ (1,-125) %; Torque 16|8@1+ (1,-125) %;"
     "Speed 24|16@1+ (0.125,0) rpm; Source 40|8@1+ (1,0) -; Starter 48|4@1+ (1,0) -; Wanted 56|8@1+ (1,-125) %"),
    ("HVESSD1", 0x18F090F3, 100, "Discharge 0|16@1+ (0.05,0) kW; Charge 16|16@1+ (0.05,0) kW;"
     "Voltage 32|16@1+ (0.05,0) V; Current 48|16@1+ (0.05,-1600) A"),
    ("EBC2", 0x18FEBF0B, 100, "FrontAxle 0|16@1+ (0.00390625,0) km/h; FrontLeft 16|8@1+ (0.0625,-7.8125) km/h;"
     "FrontRight 24|8@1+ (0.0625,-7.8125) km/h; RearLeft 32|8@1+ (0.0625,-7.8125) km/h;"
     "RearRight 40|8@1+ (0.0625,-7.8125) km/h"),
    ("ETC1", 0x0CF00203, 50, "Driveline 0|2@1+ (1,0) -; Lockup 2|2@1+ (1,0) -; Shift 4|2@1+ (1,0) -;"
     "OutputShaft 8|16@1+ (0.125,0) rpm; InputShaft 40|16@1+ (0.125,0) rpm"),
    ("EEC2", 0x0CF00300, 50, "IdleSwitch 0|2@1+ (1,0) -; Kickdown 2|2@1+ (1,0) -; Accelerator 8|8@1+ (0.4,0) %;"
     "Load 16|8@1+ (1,0) %; Remote 24|8@1+ (0.4,0) %"),
    ("CCVS1", 0x18FEF100, 50, "TwoSpeed 0|2@1+ (1,0) -; ParkingBrake 2|2@1+ (1,0) -; WheelSpeed 8|16@1+ (0.00390625,0)"
     " km/h; Brake 28|2@1+ (1,0) -; Clutch 30|2@1+ (1,0) -; Takeoff 48|5@1+ (1,0) -"),
    ("HVESSD2", 0x18F091F3, 20, "Charge 0|16@1+ (0.0015625,0) %; HighCell 16|16@1+ (0.001,0) V;"
     "LowCell 32|16@1+ (0.001,0) V; HighCellAt 48|8@1+ (1,0) -; LowCellAt 56|4@1+ (1,0) -"),
    ("ET1", 0x18FEEE00, 20, "Coolant 0|8@1+ (1,-40) C; Fuel 8|8@1+ (1,-40) C; Oil 16|16@1+ (0.03125,-273) C;"
     "Turbo 32|16@1+ (0.03125,-273) C; Intercooler 48|8@1+ (1,-40) C"),
    ("AMB", 0x18FEF500, 4, "Barometer 0|8@1+ (0.5,0) kPa; Cab 8|16@1+ (0.03125,-273) C;"
     "Ambient 24|16@1+ (0.03125,-273) C; Inlet 40|8@1+ (1,-40) C; Road 48|16@1+ (0.03125,-273) C"),
    ("VDHR", 0x18FEC117, 1, "Distance 0|32@1+ (5,0) m; Trip 32|32@1+ (5,0) m"),
    ("MotorState", 0x118, 100, "Torque 7|12@0- (0.5,0) Nm; Speed 19|16@0- (0.25,0) rpm; Heat 35|8@0+ (1,-40) C;"
     "Mode 43|4@0+ (1,0) -; Count 59|4@0+ (1,0) -"),
    ("InverterState", 0x11A, 50, "Link 7|16@0+ (0.1,0) V; Phase 23|16@0- (0.1,0) A; Heat 39|8@0- (1,0) C;"
     "Duty 47|10@0+ (0.1,0) %; Mode 53|6@0+ (1,0) -"),
    ("Steering", 0x1E5, 50, "Angle 0|16@1- (0.1,0) deg; Rate 16|12@1- (0.5,0) deg/s; Torque 28|10@1- (0.05,0) Nm;"
     "Status 38|2@1+ (1,0) -; Count 40|8@1+ (1,0) -"),
    ("Pedals", 0x1F0, 50, "Accelerator 0|10@1+ (0.1,0) %; Brake 10|10@1+ (0.1,0) %; Switches 20|4@1+ (1,0) -;"
     "Pressure 24|16@1+ (0.01,0) bar; Age 40|7@1+ (1,0) ms"),
    ("Charger", 0x2B0, 20, "Volt 7|16@0+ (0.1,0) V; Ampere 23|16@0- (0.1,0) A; Pilot 39|8@0+ (0.5,0) %;"
     "Energy 47|12@0+ (0.05,0) kWh; State 51|4@0+ (1,0) -"),
    ("CellsLow", 0x3C1, 20, "Cell1 0|12@1+ (0.001,1) V; Cell2 12|12@1+ (0.001,1) V; Cell3 24|12@1+ (0.001,1) V;"
     "Cell4 36|12@1+ (0.001,1) V; Cell5 48|12@1+ (0.001,1) V"),
    ("CellsHigh", 0x3C2, 20, "Cell6 7|12@0+ (0.001,1) V; Cell7 11|12@0+ (0.001,1) V; Cell8 31|12@0+ (0.001,1) V;"
     "Cell9 35|12@0+ (0.001,1) V; Cell10 55|12@0+ (0.001,1) V"),
    ("Heater", 0x410, 10, "Power 0|14@1+ (1,0) W; Inlet 16|9@1- (0.5,10) C; Outlet 25|9@1- (0.5,10) C;"
     "Pump 34|7@1+ (1,0) %; Valve 41|7@1+ (1,0) %"),
    ("Compressor", 0x411, 10, "Speed 7|14@0+ (1,0) rpm; Power 23|13@0+ (1,0) W; High 39|10@0+ (0.05,0) bar;"
     "Low 45|10@0+ (0.02,0) bar; Heat 51|9@0- (0.5,0) C"),
    ("Doors", 0x4A0, 5, "Locks 0|8@1+ (1,0) -; Open 8|6@1+ (1,0) -; Lamps 14|9@1+ (1,0) -; Wipers 23|3@1+ (1,0) -;"
     "Clock 26|38@1+ (0.1,0) s"),
)  # fmt: skip
_SIGNAL = re.compile(r"(\w+) (\d+)\|(\d+)@([01])([+-]) \(([^,]+),([^)]+)\) ([^\s;]+)")


@dataclass(frozen=True)
class Signal:
    name: str
    start: int
    bits: int
    big_endian: bool
    signed: bool
    scale: str
    offset: str
    unit: str

    @property
    def shift(self):
        """How far left the signal is in the word (little endian), or in the byte-swapped word (big endian)."""
        if not self.big_endian:
            return self.start
        return 64 - (self.start // 8 * 8 + 7 - self.start % 8) - self.bits


@dataclass(frozen=True)
class Message:
    name: str
    can_id: int
    rate: int
    signals: tuple[Signal, ...]


@cache
def messages() -> tuple[Message, ...]:
    return tuple(
        Message(name, id_ | (EXTENDED_ID if id_ > 0x7FF else 0), rate, tuple(_signals(text)))
        for name, id_, rate, text in MESSAGES
    )


def _signals(text):
    for name, start, bits, order, sign, scale, offset, unit in _SIGNAL.findall(text):
        yield Signal(name, int(start), int(bits), order == "0", sign == "-", scale, offset, unit.replace("-", ""))


def dbc() -> str:
    """The bus as a DBC file. The messages with 29-bit ids are said to be J1939."""
    lines = ['VERSION ""', "", "NS_ :", "", "BS_:", "", "BU_: Vector__XXX", ""]
    for message in messages():
        lines.append(f"BO_ {message.can_id} {message.name}: 8 Vector__XXX")
        for s in message.signals:
            layout = f"{s.start}|{s.bits}@{0 if s.big_endian else 1}{'-' if s.signed else '+'}"
            lines.append(f' SG_ {s.name} : {layout} ({s.scale},{s.offset}) [0|0] "{s.unit}" Vector__XXX')
        lines.append("")
    lines.append('BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";')
    lines.append('BA_DEF_DEF_ "VFrameFormat" "StandardCAN";')
    lines += [f'BA_ "VFrameFormat" BO_ {m.can_id} 3;' for m in messages() if m.can_id & EXTENDED_ID]
    return "\n".join(lines) + "\n"


def frames(n: int, seed: int = 1, channel: str = "can0") -> Frames:
    """The first `n` frames of the bus, in order of time."""
    dice = np.random.default_rng(seed)
    seconds = -(-n // FRAMES_PER_S)
    phase, kind = _second()
    time_us = (np.arange(seconds)[:, None] * SECOND_US + phase).reshape(-1)[:n]
    time_us = T0_US + np.sort(time_us + dice.integers(0, 400, n))
    kind = np.tile(kind, seconds)[:n]
    word, can_id = np.zeros(n, np.uint64), np.zeros(n, np.uint32)
    for number, message in enumerate(messages()):
        at = np.flatnonzero(kind == number)
        can_id[at] = message.can_id
        word[at] = _words(message, (time_us[at] - T0_US) / SECOND_US, dice)
    return Frames(
        time_us=time_us, can_id=can_id, channel=np.zeros(n, np.uint8), length=np.full(n, 8, np.uint8), word=word,
        channels=(channel,),
    )  # fmt: skip


def _second():
    """Times and messages of one second of the bus."""
    each = [(np.arange(m.rate) * SECOND_US // m.rate + 397 * n, np.full(m.rate, n)) for n, m in enumerate(messages())]
    phase, kind = (np.concatenate(part) for part in zip(*each, strict=True))
    order = np.argsort(phase, kind="stable")
    return phase[order], kind[order].astype(np.uint8)


def _words(message: Message, seconds, dice):
    little, big = np.zeros(len(seconds), np.uint64), np.zeros(len(seconds), np.uint64)
    for signal in message.signals:
        mask = np.uint64((1 << signal.bits) - 1)
        bits = (_raw(signal, seconds, dice).astype(np.uint64) & mask) << np.uint64(signal.shift)
        if signal.big_endian:
            big |= bits
        else:
            little |= bits
    return little | big.byteswap()


def _raw(signal: Signal, seconds, dice):
    """A slow wave with a little noise, inside what the signal can hold and below the codes for not available."""
    highest = (1 << (signal.bits - signal.signed)) - 1
    swing, middle = (0.8 * highest, 0.0) if signal.signed else (0.4 * highest, 0.45 * highest)
    period_s, turn = dice.uniform(7, 90), dice.uniform(0, 6.28)
    wave = middle + swing * np.sin(seconds * (6.28 / period_s) + turn)
    return np.rint(wave + dice.normal(0, 0.002 * highest, len(seconds))).astype(np.int64)
