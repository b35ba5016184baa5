"""The built-in table: J1939 parameters that matter to trucks, buses and high-voltage batteries, as bare facts.

Position, length, scale, offset and unit of each suspect parameter (SPN) in its parameter group. A log of a plain truck
or bus decodes by it without a DBC file. The sign of the battery's current (SPN 5920) is not settled between makers: it
is taken as positive into the battery, and a map turns it for a vehicle.
"""

from __future__ import annotations

from ingest.can.frames import EXTENDED
from ingest.can.specs import Canonical, MessageSpec, SignalSpec
from schemas.signals import Aggregate

BYTES = 8
STATE_BITS = 4


def _p(spn: int, start_bit: int, bits: int, scale: float, offset: float, unit: str) -> SignalSpec:
    aggregate = Aggregate.LAST if bits <= STATE_BITS or unit == "" else Aggregate.MEAN
    return SignalSpec(f"SPN{spn}", start_bit, bits, scale=scale, offset=offset, unit=unit, aggregate=aggregate, spn=spn)


def _group(pgn: int, name: str, *signals: SignalSpec) -> MessageSpec:
    return MessageSpec(name, int(EXTENDED) | 6 << 26 | pgn << 8 | 0xFE, BYTES, signals, by_pgn=True)


DM1 = _group(65226, "DM1",
             _p(987, 0, 2, 1, 0, ""),
             _p(624, 2, 2, 1, 0, ""),
             _p(623, 4, 2, 1, 0, ""),
             _p(1213, 6, 2, 1, 0, ""),)  # fmt: skip
"""Lamps. What follows them is read by `dm1`."""

MESSAGES: tuple[MessageSpec, ...] = (
    _group(61441, "EBC1",
           _p(521, 8, 8, 0.4, 0, "%"),),
    _group(61443, "EEC2",
           _p(91, 8, 8, 0.4, 0, "%"),
           _p(92, 16, 8, 1, 0, "%"),),
    _group(61444, "EEC1",
           _p(190, 24, 16, 0.125, 0, "1/min"),
           _p(512, 8, 8, 1, -125, "%"),
           _p(513, 16, 8, 1, -125, "%"),
           _p(899, 0, 4, 1, 0, ""),
           _p(2432, 56, 8, 1, -125, "%"),),
    _group(61445, "ETC2",
           _p(523, 24, 8, 1, -125, "1"),
           _p(524, 0, 8, 1, -125, "1"),),
    _group(61584, "HVESSD1",
           _p(5917, 0, 16, 0.05, 0, "kW"),
           _p(5918, 16, 16, 0.05, 0, "kW"),
           _p(5919, 32, 16, 0.05, 0, "V"),
           _p(5920, 48, 16, 0.05, -1600, "A"),),
    _group(61585, "HVESSD2",
           _p(5921, 0, 16, 0.0015625, 0, "%"),
           _p(5922, 16, 16, 0.001, 0, "V"),
           _p(5923, 32, 16, 0.001, 0, "V"),),
    _group(61586, "HVESSD3",
           _p(8075, 0, 16, 0.03125, -273, "°C"),
           _p(8076, 16, 16, 0.03125, -273, "°C"),
           _p(8077, 32, 16, 0.03125, -273, "°C"),),
    _group(61587, "HVESSD4",
           _p(8079, 0, 16, 0.01, 0, "Ah"),
           _p(8080, 16, 16, 0.01, 0, "Ah"),),
    _group(61588, "HVESSD5",
           _p(8082, 0, 16, 0.05, -1600, "A"),
           _p(8083, 16, 16, 0.05, -1600, "A"),
           _p(8084, 32, 16, 0.0015625, 0, "%"),
           _p(8085, 48, 16, 0.0015625, 0, "%"),),
    _group(61589, "HVESSD6",
           _p(8086, 0, 16, 0.05, 0, "V"),
           _p(8088, 32, 8, 1, -40, "°C"),
           _p(8089, 40, 8, 1, -40, "°C"),),
    _group(61590, "HVESSS1",
           _p(8091, 0, 2, 1, 0, ""),
           _p(8092, 2, 2, 1, 0, ""),
           _p(8093, 4, 4, 1, 0, ""),
           _p(8094, 8, 2, 1, 0, ""),
           _p(8207, 32, 2, 1, 0, ""),
           _p(8413, 40, 4, 1, 0, ""),
           _p(8414, 44, 4, 1, 0, ""),),
    _group(65110, "AT1T1I1",
           _p(1761, 0, 8, 0.4, 0, "%"),),
    _group(65132, "TCO1",
           _p(1624, 48, 16, 0.00390625, 0, "km/h"),),
    _group(65217, "VDHR",
           _p(917, 0, 32, 5, 0, "m"),
           _p(918, 32, 32, 5, 0, "m"),),
    _group(65248, "VD",
           _p(244, 0, 32, 0.125, 0, "km"),
           _p(245, 32, 32, 0.125, 0, "km"),),
    _group(65253, "HOURS",
           _p(247, 0, 32, 0.05, 0, "h"),),
    _group(65257, "LFC1",
           _p(182, 0, 32, 0.5, 0, "L"),
           _p(250, 32, 32, 0.5, 0, "L"),),
    _group(65262, "ET1",
           _p(110, 0, 8, 1, -40, "°C"),),
    _group(65265, "CCVS1",
           _p(70, 2, 2, 1, 0, ""),
           _p(84, 8, 16, 0.00390625, 0, "km/h"),
           _p(86, 40, 8, 1, 0, "km/h"),
           _p(595, 24, 2, 1, 0, ""),
           _p(597, 28, 2, 1, 0, ""),),
    _group(65266, "LFE1",
           _p(183, 0, 16, 0.05, 0, "L/h"),
           _p(184, 16, 16, 0.001953125, 0, "km/L"),
           _p(185, 32, 16, 0.001953125, 0, "km/L"),),
    _group(65267, "VP1",
           _p(584, 0, 32, 1e-07, -210, "°"),
           _p(585, 32, 32, 1e-07, -210, "°"),),
    _group(65269, "AMB",
           _p(79, 48, 16, 0.03125, -273, "°C"),
           _p(108, 0, 8, 0.5, 0, "kPa"),
           _p(170, 8, 16, 0.03125, -273, "°C"),
           _p(171, 24, 16, 0.03125, -273, "°C"),
           _p(172, 40, 8, 1, -40, "°C"),),
    _group(65271, "VEP1",
           _p(114, 0, 8, 1, -125, "A"),
           _p(115, 8, 8, 1, 0, "A"),
           _p(158, 48, 16, 0.05, 0, "V"),
           _p(167, 16, 16, 0.05, 0, "V"),
           _p(168, 32, 16, 0.05, 0, "V"),),
    _group(65276, "DD1",
           _p(38, 48, 8, 0.4, 0, "%"),
           _p(96, 8, 8, 0.4, 0, "%"),),
    DM1,
)  # fmt: skip
"""Groups by acronym; signals are named SPN and number."""

CANONICAL: tuple[Canonical, ...] = (
    Canonical("speed_kmh", "CCVS1", "SPN84"),  # by wheels
    Canonical("speed_kmh", "TCO1", "SPN1624"),  # by the tachograph
    Canonical("odometer_km", "VDHR", "SPN917", 1e-3),  # in steps of 5 m
    Canonical("odometer_km", "VD", "SPN245"),
    Canonical("latitude_deg", "VP1", "SPN584"),
    Canonical("longitude_deg", "VP1", "SPN585"),
    Canonical("parking_brake_on", "CCVS1", "SPN70"),
    Canonical("engine_hours_h", "HOURS", "SPN247"),
    Canonical("battery_soc_pct", "HVESSD2", "SPN5921"),
    Canonical("battery_voltage_v", "HVESSD1", "SPN5919"),
    Canonical("battery_current_a", "HVESSD1", "SPN5920"),
    Canonical("battery_temperature_c", "HVESSD3", "SPN8075"),
    Canonical("fuel_used_l", "LFC1", "SPN250"),
    Canonical("fuel_rate_l_h", "LFE1", "SPN183"),
    Canonical("fuel_level_pct", "DD1", "SPN96"),
    Canonical("engine_speed_rpm", "EEC1", "SPN190"),
    Canonical("engine_torque_pct", "EEC1", "SPN513"),
    Canonical("def_level_pct", "AT1T1I1", "SPN1761"),
    Canonical("ambient_temperature_c", "AMB", "SPN171"),
    Canonical("cabin_temperature_c", "AMB", "SPN170"),
    Canonical("red_stop_lamp", "DM1", "SPN623"),
    Canonical("amber_warning_lamp", "DM1", "SPN624"),
    Canonical("protect_lamp", "DM1", "SPN987"),
    Canonical("malfunction_lamp", "DM1", "SPN1213"),
)
"""Which parameter is which canonical signal, the preferred first."""

PACK_CAPACITY = ("HVESSD4", "SPN8080")
"""Ampere-hours of a pack, by source: the weight of its state of charge."""

SOURCE_PRIORITY = (
    0x00,  # engine 1
    0x03,  # transmission 1
    0x0B,  # brakes
    0x17,  # instrument cluster
    0x21,  # body controller
    0x31,  # cab controller
    0x27,  # management computer
    0xEF,  # electric drive
    0xF3,  # battery pack monitor 1
)
"""Where one source of a signal must be chosen: these first, in this order, then by ascending address."""


def source_rank(source: int | None) -> int:
    """The place of a source in the order of preference; the lowest comes first."""
    if source is None:
        return -1
    return SOURCE_PRIORITY.index(source) if source in SOURCE_PRIORITY else len(SOURCE_PRIORITY) + source
