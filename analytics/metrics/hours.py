"""Hours by state, key-on and working hours, and contact with the gateway."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import polars as pl

from analytics.metrics import rules, sources, states
from analytics.metrics.metric import Given, Metric, Total
from analytics.metrics.rows import (
    ESTIMATED,
    MEASURED,
    MIXED,
    Day,
    Figure,
    Figures,
    Key,
    notes,
    scaled,
    scaling_method,
    scaling_note,
    within,
)  # fmt: skip
from analytics.metrics.sums import DaySegments

_MEANINGS = {
    states.IN_SERVICE: ("Hours in service", "Hours moving or working, with stops of up to a minute."),
    states.CHARGING: ("Hours charging", "Hours plugged in with energy flowing into the battery."),
    states.PLUGGED_IDLE: ("Hours plugged in without charging", "Hours parked at the plug without energy flowing."),
    states.IDLE: ("Hours idle", "Hours with key on, standing for more than a minute."),
    states.PARKED: ("Hours parked", "Hours with key off and fit for service, also at the plug without charging."),
    states.DOWN: ("Hours down", "Hours not fit for service, by record or by a red stop lamp at a standstill."),
    states.PLANNED_MAINTENANCE: ("Hours of planned maintenance", "Hours in maintenance that was planned."),
    states.UNKNOWN: ("Hours unknown", "Hours of which nothing is known."),
}
_STOPS = ("speed_kmh", "red_stop_lamp", Given.TROUBLE_CODES, Given.PLANNED_SERVICE, Given.MAINTENANCE)
_SEEN = (
    *_STOPS, "odometer_km", "ignition_on", "ready", "plugged_in", "charging", "battery_power_kw", "battery_voltage_v",
    "battery_current_a", "battery_soc_pct", "pto_on", "motor_power_kw", "shaft_power_kw", Given.ROWS, Given.GATEWAY,
    Given.VEHICLE,
)  # fmt: skip
_INPUTS: dict[str, tuple[str, ...]] = {states.DOWN: _STOPS, states.PLANNED_MAINTENANCE: (Given.MAINTENANCE,)}
"""What decides a state, where that is less than everything that is seen."""
_SOURCES = {states.DOWN: f"{sources.OWN_STATES}; red stop lamp: {sources.STOP_LAMP}"}


def _hours(
    slug: str, name: str, meaning: str, definition: str, source: str, *inputs: str, shown: bool = True
) -> Metric:
    return Metric(slug, name, "h", meaning, definition, inputs, 1, Total.SUM, "hours-by-state", source, shown=shown)


_CONTACT = f"{sources.OWN}: time in which rows came, over time in which they should"
METRICS = (
    _hours(
        "key_on_h", "Key-on hours", "Hours with the key on.",
        "time with key on; the hour meter where it counted more; without a key signal, time between movements",
        sources.OWN_ORDER, "ignition_on", "ready", "operating_hours_h", "speed_kmh", "odometer_km",
    ),
    _hours(
        "working_h", "Working hours", "Hours in which equipment or a vessel works: motor, shaft or power take-off.",
        f"key on and motor or shaft power above {rules.WORKING_KW:g} kW, or power take-off engaged",
        f"{sources.OWN}: time above a threshold",
        "ignition_on", "ready", "motor_power_kw", "shaft_power_kw", "pto_on", Given.VEHICLE,
    ),
    *(
        _hours(
            f"{state}_h", *_MEANINGS[state],
            f"time in the state {' or '.join(states.AT_REST) if state == states.PARKED else state}",
            _SOURCES.get(state, sources.OWN_STATES), *_INPUTS.get(state, _SEEN),
        )
        for state in states.STATES
    ),
    _hours(
        "connected_h", "Hours in contact", "Expected hours in which rows kept coming.",
        f"time between rows at most {rules.CONTACT_STEP_S:g} s or three sample periods apart",
        _CONTACT, Given.ROWS, Given.GATEWAY, shown=False,
    ),
    _hours(
        "expected_contact_h", "Hours contact was expected", "Hours in which rows should have come.",
        "the whole day; for gateways that sleep at key-off, without parked time", _CONTACT, "parked_h",
        Given.GATEWAY, shown=False,
    ),
    Metric(
        "connectivity_pct", "Connectivity", "%", "Share of the time in which rows should have come that they came.",
        "hours in contact / hours contact was expected, under the gateway's declared policy",
        ("connected_h", "expected_contact_h"), 1, Total.RATIO, "connectivity", sources.OWN_RATIO,
        numerator="connected_h", denominator="expected_contact_h", scale=100.0,
    ),
)  # fmt: skip


def state_figures(timeline: pl.DataFrame) -> list[tuple[Key, Figures]]:
    """Hours of each state for every vehicle and day of the timeline.

    Hours parked hold those at the plug without charging, which are also told alone: the others add up to the day.
    """
    pieces = timeline[["vehicle_id", "day", "state", "s", "unobserved"]].iter_rows()
    return [(key, _by_state(list(day))) for key, day in groupby(pieces, key=lambda piece: (piece[0], piece[1]))]


def _by_state(pieces: list[tuple[Any, ...]]) -> Figures:
    """Hours by state of one day, from its pieces: vehicle, day, state, seconds, and whether nobody saw it."""
    seconds, unseen = dict.fromkeys(states.STATES, 0.0), dict.fromkeys(states.STATES, 0.0)
    for _, _, state, s, unobserved in pieces:
        for name in (state, states.PARKED) if state == states.PLUGGED_IDLE else (state,):
            seconds[name] += s
            unseen[name] += s if unobserved else 0.0
    day_h = sum(piece[3] for piece in pieces) / 3600
    known_pct = (1 - seconds[states.UNKNOWN] / 3600 / day_h) * 100
    return {
        f"{state}_h": _state_figure(s / 3600, unseen[state] / 3600, known_pct, day_h) for state, s in seconds.items()
    }


def _state_figure(hours: float, unseen_h: float, known_pct: float, day_h: float) -> Figure:
    if unseen_h <= 0:
        return Figure(hours, known_pct, day_h)
    return Figure(hours, known_pct, day_h, ESTIMATED if unseen_h >= hours else MIXED, "partly unobserved")


def with_key_on(day: Day) -> dict[str, Any]:
    """`key_on_h` with coverage, method and note; None where nothing is known of the day."""
    meter_h, seen_h = day["operating_hours_h"], day["on_h"]
    pct = _key_on_pct(day) if meter_h is None else 100.0
    if meter_h is not None and seen_h is not None and meter_h > seen_h * 1.02 + rules.COVERAGE_MIN_H:
        told = (meter_h, MEASURED, "hour meter")
    elif day["observed"]:
        words = notes(None if day["has_key"] else "from speed", scaling_note(pct))
        told = (scaled(seen_h, pct), scaling_method(pct) if day["has_key"] else ESTIMATED, words)  # type: ignore[assignment]
    else:
        told = (None, MEASURED, None)  # type: ignore[assignment]
    return {"key_on_pct": pct, "key_on_h": told[0], "key_on_method": told[1], "key_on_note": told[2]}


def _key_on_pct(day: Day) -> float | None:
    """Without an hour meter: the share of the distance, else of the time, that no silence hid or may have hidden."""
    seen_h, busy_h, km = day["on_h"], day["busy_h"], day["true_km"]
    if km is not None and km >= rules.COVERAGE_MIN_KM:
        share = 1 - day["hidden_km"] / km
    elif busy_h:
        share = seen_h / busy_h
    else:
        share = 1.0
    return within(share * 100, 0.0, 100.0)


def figures(day: Day) -> Figures:
    """Figures of a day that has passed `with_key_on`."""
    key_on_h = day["key_on_h"]
    return {
        "key_on_h": Figure(key_on_h, day["key_on_pct"], key_on_h, day["key_on_method"], day["key_on_note"]),
        "working_h": Figure(day["working_h"], 100.0, key_on_h),
    }


def contact_figures(segments: DaySegments) -> list[tuple[Key, Figures]]:
    """Hours of contact, expected and had. A gateway that sleeps at key-off is expected while the key is on."""
    at_rest = segments.is_state(states.PARKED) | segments.is_state(states.PLUGGED_IDLE)
    expected = ~(segments.flag("sleeps_at_key_off") & at_rest & ~segments.flag("runs"))
    any_expected = segments.ever(expected)
    expected_h = segments.total(segments.numbers("s"), expected) / 3600
    connected_h = segments.total(segments.numbers("heard_s"), expected) / 3600
    return [
        (segments.keys[n], {
            "connected_h": Figure(connected_h[n].item(), 100.0, expected_h[n].item()),
            "expected_contact_h": Figure(expected_h[n].item(), 100.0, expected_h[n].item()),
        })
        for n in np.flatnonzero(any_expected)
    ]  # fmt: skip
