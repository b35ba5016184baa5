"""The only converter. Inside, the house units are used (km, h, kWh, kW, L, kg, °C); others are met at the edges.

Every unit of a quantity is `value x scale + offset` in the house unit of that quantity. Sources: definitions of the
international mile, pound and US gallon, and of the kWh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import polars as pl

KM_PER_MILE = 1.609344
KM_PER_NAUTICAL_MILE = 1.852
LITRES_PER_US_GALLON = 3.785411784
KG_PER_POUND = 0.45359237
MJ_PER_KWH = 3.6

Number = TypeVar("Number", float, pl.Expr)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of a quantity, as a scale and an offset to the house unit (the one with scale 1 and offset 0)."""

    quantity: str
    scale: float
    offset: float = 0.0


UNITS: Mapping[str, Unit] = MappingProxyType(
    {
        "km": Unit("distance", 1.0),
        "m": Unit("distance", 1e-3),
        "mi": Unit("distance", KM_PER_MILE),
        "nmi": Unit("distance", KM_PER_NAUTICAL_MILE),
        "ft": Unit("distance", 0.3048e-3),
        "km/h": Unit("speed", 1.0),
        "m/s": Unit("speed", 3.6),
        "mph": Unit("speed", KM_PER_MILE),
        "kn": Unit("speed", KM_PER_NAUTICAL_MILE),
        "h": Unit("time", 1.0),
        "min": Unit("time", 1 / 60),
        "s": Unit("time", 1 / 3600),
        "kWh": Unit("energy", 1.0),
        "Wh": Unit("energy", 1e-3),
        "MWh": Unit("energy", 1e3),
        "MJ": Unit("energy", 1 / MJ_PER_KWH),
        "kW": Unit("power", 1.0),
        "W": Unit("power", 1e-3),
        "hp": Unit("power", 0.745699872),
        "V": Unit("voltage", 1.0),
        "mV": Unit("voltage", 1e-3),
        "A": Unit("current", 1.0),
        "mA": Unit("current", 1e-3),
        "bar": Unit("pressure", 1.0),
        "kPa": Unit("pressure", 1e-2),
        "psi": Unit("pressure", 0.0689475729),
        "L": Unit("volume", 1.0),
        "US gal": Unit("volume", LITRES_PER_US_GALLON),
        "kg": Unit("mass", 1.0),
        "g": Unit("mass", 1e-3),
        "t": Unit("mass", 1e3),
        "lb": Unit("mass", KG_PER_POUND),
        "°C": Unit("temperature", 1.0),
        "°F": Unit("temperature", 5 / 9, -160 / 9),
        # emission factors
        "kg/kWh": Unit("emissions per energy", 1.0),
        "g/kWh": Unit("emissions per energy", 1e-3),
        "t/MWh": Unit("emissions per energy", 1.0),
        "lb/MWh": Unit("emissions per energy", KG_PER_POUND / 1e3),
        "g/MJ": Unit("emissions per energy", MJ_PER_KWH / 1e3),
        "kg/L": Unit("emissions per volume", 1.0),
        "kg/US gal": Unit("emissions per volume", 1 / LITRES_PER_US_GALLON),
        "lb/US gal": Unit("emissions per volume", KG_PER_POUND / LITRES_PER_US_GALLON),
        "g/US gal": Unit("emissions per volume", 1e-3 / LITRES_PER_US_GALLON),
        "kg/kg": Unit("emissions per mass", 1.0),
        "kg/t": Unit("emissions per mass", 1e-3),
        "kg/km": Unit("emissions per distance", 1.0),
        "kg/mi": Unit("emissions per distance", 1 / KM_PER_MILE),
        "g/mi": Unit("emissions per distance", 1e-3 / KM_PER_MILE),
        "g/hp-h": Unit("emissions per energy", 1e-3 / 0.745699872),
        "lb/1000 US gal": Unit("emissions per volume", KG_PER_POUND / 1e3 / LITRES_PER_US_GALLON),
        "g/L": Unit("emissions per volume", 1e-3),
        "share": Unit("share", 1.0),
        "percent": Unit("share", 1e-2),
    }
)


def house_unit(quantity: str) -> str:
    """The unit in which a quantity is kept inside."""
    return next(name for name, unit in UNITS.items() if unit == Unit(quantity, 1.0))


def to_house(value: Number, unit: str) -> Number:
    """A value or column of `unit` in the house unit of its quantity. KeyError for a unit nobody knows."""
    known = UNITS[unit]
    return value * known.scale + known.offset


def from_house(value: Number, unit: str) -> Number:
    """A value or column of the house unit in `unit`: the inverse of `to_house`."""
    known = UNITS[unit]
    return (value - known.offset) / known.scale


@dataclass(frozen=True, slots=True)
class FuelRate:
    """How a unit of fuel use reads: an amount per activity, or (mpg) activity per amount.

    `scale` turns it into `amount` (L or kg) per `activity` (km or h); a reciprocal unit is inverted first.
    """

    amount: str
    activity: str
    scale: float
    reciprocal: bool = False


FUEL_RATES: Mapping[str, FuelRate] = MappingProxyType(
    {
        "L/100km": FuelRate("L", "km", 1e-2),
        "L/h": FuelRate("L", "h", 1.0),
        "mpg": FuelRate("L", "km", LITRES_PER_US_GALLON / KM_PER_MILE, reciprocal=True),
        "gal/h": FuelRate("L", "h", LITRES_PER_US_GALLON),
        "kg/100km": FuelRate("kg", "km", 1e-2),
        "kg/h": FuelRate("kg", "h", 1.0),
    }
)


def fuel_per_activity(rate: Number, unit: str) -> Number:
    """A fuel rate as amount (L or kg) per activity (km or h). KeyError for a unit that is not in `FUEL_RATES`."""
    known = FUEL_RATES[unit]
    return rate**-1 * known.scale if known.reciprocal else rate * known.scale


@dataclass(frozen=True, slots=True)
class WorkRate:
    """How a unit of engine work reads: `scale` turns it into kWh at the shaft per `activity` (km, h, or L of fuel)."""

    activity: str
    scale: float


KW_PER_HP = 0.745699872
WORK_RATES: Mapping[str, WorkRate] = MappingProxyType(
    {
        "kWh/km": WorkRate("km", 1.0),
        "hp-h/mi": WorkRate("km", KW_PER_HP / KM_PER_MILE),
        "kWh/h": WorkRate("h", 1.0),
        "kWh/L": WorkRate("L", 1.0),
        "hp-h/gal": WorkRate("L", KW_PER_HP / LITRES_PER_US_GALLON),
    }
)
