"""What signals can be: limits that nature and machines keep, the fastest change, how long a value may stay the same.

The signal catalogue holds wider limits, which decide what the receiver lets in at all. These here decide what the
metrics believe, and how it is named and counted where they do not (`quality`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from analytics.metrics.samples import PLACE
from analytics.metrics.samples import SIGNALS as READ
from schemas.signals import SIGNALS, Kind


class Reason(StrEnum):
    """Why a reading is flagged. Those of `KEPT` are counted and used, the others are left out of everything."""

    LIMIT = "out of limits"
    SPIKE = "spike"
    STUCK = "stuck"
    BACKWARDS = "counter out of order"
    CLOCK = "clock fault"
    NO_FIX = "no fix"
    IMPRECISE = "imprecise fix"
    JUMP = "position jump"
    UNLIKELY = "unlikely"


KEPT = frozenset({Reason.UNLIKELY})
MEANINGS: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.LIMIT: "A value that cannot be true.",
        Reason.SPIKE: "A single reading that leaves faster than the quantity can change, and returns.",
        Reason.STUCK: "The same value for longer than it can last while the speed changes.",
        Reason.BACKWARDS: "Readings of a counter that fall back, or run ahead, and return.",
        Reason.CLOCK: "Rows on which two counters or more are out of order: they are of another time.",
        Reason.NO_FIX: "A position of exactly zero and zero.",
        Reason.IMPRECISE: "A fix whose satellites stand too close together to tell.",
        Reason.JUMP: "A single fix farther away than a vehicle can go, and back.",
        Reason.UNLIKELY: "A value outside what such vehicles do; it is used.",
    }
)


@dataclass(frozen=True, slots=True)
class Plausible:
    """What is believed of a signal, in its own unit.

    Outside `low` and `high` a reading is out of limits; `high_for` sets other upper limits for categories. `per_s` is
    the fastest change in a second, `stuck_s` the longest time without any while the speed changes. Outside `likely` a
    reading is only flagged.
    """

    low: float
    high: float
    high_for: Mapping[str, float] = field(default_factory=dict)
    per_s: float | None = None
    stuck_s: float | None = None
    likely: tuple[float, float] = (-math.inf, math.inf)


_STUCK_S = 600.0
_TIGHTER: Mapping[str, dict[str, object]] = MappingProxyType(
    {
        # 4 m/s2 is beyond the brakes of any truck; yard tractors and forklifts are limited far below 60 km/h.
        "speed_kmh": {"high": 150.0, "high_for": {"equipment": 60.0}, "per_s": 14.4 * 2, "likely": (0.0, 120.0)},
        "battery_voltage_v": {"high": 1250.0, "per_s": 50.0},
        "battery_current_a": {"low": -2000.0, "high": 2000.0, "stuck_s": _STUCK_S},
        "battery_power_kw": {"low": -2500.0, "high": 2500.0, "stuck_s": _STUCK_S},
        "motor_power_kw": {"stuck_s": _STUCK_S},
        # 5 points a minute is five times the fastest charger; a whole point may come at once.
        "battery_soc_pct": {"per_s": 5 / 60},
        # Three times the fastest filling of a truck; nothing takes hydrogen out of the tanks as fast.
        "hydrogen_mass_kg": {"per_s": 1.0},
        "grid_power_kw": {"low": -1500.0, "high": 3750.0},
        "gnss_hdop": {"likely": (0.0, 10.0)},
    }
)
"""Where the metrics believe less than the catalogue. None of it is published as a standard: each is chosen so that no
true value of the vehicles of a programme is lost."""

NO_RATE: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("battery_current_a", "battery_power_kw", "motor_power_kw", "shaft_power_kw"),
            "a drive goes to full power and back between two readings",
        ),
        **dict.fromkeys(
            ("auxiliary_power_kw", "hotel_power_kw", "grid_power_kw", "charger_output_power_kw"),
            "a load or a charger is switched on and off between two readings",
        ),
        **dict.fromkeys(
            ("fuel_rate_l_h", "hydrogen_rate_kg_h", "cng_rate_kg_h"),
            "a valve opens and closes between two readings",
        ),
        "engine_speed_rpm": "an engine starts and stalls between two readings; only whether it runs is read",
        "payload_kg": "a load is picked up and set down between two readings",
        **dict.fromkeys(PLACE, "coordinates are judged together: a jump is farther than a vehicle can go"),
        "gnss_hdop": "satellites come into sight and leave it at once",
    }
)
"""Why a signal has no fastest change: a rate would take true values for spikes. Counters are not in it: theirs is the
greatest rise in an hour (`rules.MAX_RATE_PER_H`, `rules.DEFAULT_MAX_RATE_PER_H`)."""


def _plausible(name: str) -> Plausible:
    signal = SIGNALS[name]
    return Plausible(**{"low": signal.low, "high": signal.high} | dict(_TIGHTER.get(name, {})))  # type: ignore[arg-type]


PLAUSIBLE: Mapping[str, Plausible] = MappingProxyType(
    {name: _plausible(name) for name in READ if SIGNALS[name].kind is Kind.FLOAT}
)
"""What is believed of every number that the metrics read."""

SPIKE_STEP = MappingProxyType(
    {"battery_soc_pct": 1.5, "speed_kmh": 5.0, "battery_voltage_v": 10.0, "hydrogen_mass_kg": 5.0}
)
"""A change that may come at once, whatever the rate: resolution and noise of the signal. Tanks of more than a tonne are
gauged to 5 kg in steps of 0.4 %."""
HDOP_MAX = 10.0
STUCK_SPEED_KMH = 5.0
"""The speed changes when it spans at least so much."""
