"""Which signals of a DBC file look like canonical ones: proposed from names and units, for a person to confirm."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ingest.can.specs import Canonical, MessageSpec, SignalSpec
from schemas.signals import SIGNALS, Kind
from schemas.units import UNITS

SPELLINGS = {
    "kph": "km/h", "kmh": "km/h", "kmph": "km/h", "km/hr": "km/h", "mi/h": "mph", "c": "°C", "degc": "°C",
    "deg c": "°C", "celsius": "°C", "degrees c": "°C", "f": "°F", "degf": "°F", "volts": "V", "volt": "V", "amps": "A",
    "amp": "A",
    "l": "L", "litre": "L", "liter": "L", "hr": "h", "hours": "h", "hour": "h", "pct": "%", "percent": "%",
    "kwh": "kWh", "wh": "Wh", "kw": "kW", "w": "W", "v": "V", "a": "A", "rpm": "1/min", "deg": "°", "bar": "bar",
}  # fmt: skip
"""Units as DBC files spell them."""

_WORDS: dict[str, tuple[str, str | None]] = {
    "speed_kmh": (
        r"(vehicle|veh|wheel\W*based|road).*(speed|spd)|^(speed|vehspd)$",
        r"limit|set|target|cruise|fan|motor",
    ),
    "odometer_km": (r"odo|total.*(distance|mileage)", r"trip"),
    "battery_soc_pct": (r"\bsoc\b|state.*of.*charge", r"disp|min|max|target|cell|limit"),
    "displayed_soc_pct": (r"(disp|dash).*soc|soc.*(disp|dash)", None),
    "battery_soh_pct": (r"\bsoh\b|state.*of.*health", None),
    "battery_voltage_v": (
        r"(batt?(ery)?|pack|hv|bms|traction|dc\W*bus).*volt|^v ?(batt?|pack)",
        r"cell|min|max|aux|12|24|limit|lv",
    ),
    "battery_current_a": (
        r"(batt?(ery)?|pack|hv|bms|traction).*(curr|amp)|^i ?(batt?|pack)",
        r"max|min|limit|allow|aux|12|24|lv|avail",
    ),
    "battery_power_kw": (r"(batt?(ery)?|pack|hv|bms).*power", r"max|min|limit|allow|avail"),
    "battery_temperature_c": (r"(batt?(ery)?|pack|bms|cell).*temp", r"min|inlet|coolant|heater"),
    "ambient_temperature_c": (r"(ambient|outside|exterior).*temp", None),
    "cabin_temperature_c": (r"(cabin|interior|in\W*car).*temp", r"set|target"),
    "engine_speed_rpm": (r"engine.*(speed|rpm)", r"target|req|idle"),
    "fuel_level_pct": (r"fuel.*level", None),
    "fuel_rate_l_h": (r"fuel.*rate", None),
    "energy_charged_kwh": (r"(total|acc|cum).*charge.*energy|energy.*charged", r"dis"),
    "energy_discharged_kwh": (r"(total|acc|cum).*discharge.*energy|energy.*discharged", None),
    "ignition_on": (r"ignition|key\W*on", None),
    "charging": (r"^(is)?charging$|charg.*active", None),
    "plugged_in": (r"plug|cable.*connect|charger.*connect", None),
}


_STARTER = re.compile(r"\b(12 ?v|24 ?v|twelve|lv|low volt|aux)")
"""Messages of the other battery."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A canonical signal and the decoded signal it may be; `unit` is the DBC's."""

    canonical: Canonical
    unit: str


def propose(messages: tuple[MessageSpec, ...]) -> list[Proposal]:
    """At most one proposal for each canonical signal, the first that fits in the order of the file."""
    found: dict[str, Proposal] = {}
    for message in messages:
        for signal in message.signals:
            for proposal in _fitting(message, signal):
                found.setdefault(proposal.canonical.name, proposal)
    return [found[name] for name in SIGNALS if name in found]


def _fitting(message: MessageSpec, signal: SignalSpec) -> Iterator[Proposal]:
    name = _words(signal.name)
    if _STARTER.search(_words(message.name)):
        return
    for canonical, (words, unless) in _WORDS.items():
        if not re.search(words, name) or (unless and re.search(unless, name)):
            continue
        scaled = factor_of(signal.unit, canonical)
        if scaled is not None:
            yield Proposal(Canonical(canonical, message.name, signal.name, *scaled), signal.unit)


def _words(name: str) -> str:
    return re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)).lower()


def factor_of(unit: str, canonical: str) -> tuple[float, float] | None:
    """Factor and offset from a unit of a DBC file to a canonical signal's; None where they measure different things."""
    wanted = SIGNALS[canonical]
    if wanted.kind is Kind.BOOLEAN:
        return (1.0, 0.0) if unit.strip() == "" else None
    spelled = SPELLINGS.get(unit.strip().lower(), unit.strip())
    if spelled == wanted.unit:
        return 1.0, 0.0
    here, there = UNITS.get(spelled), UNITS.get(wanted.unit)
    if here is None or there is None or here.quantity != there.quantity:
        return None
    return here.scale / there.scale, (here.offset - there.offset) / there.scale
