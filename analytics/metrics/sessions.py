"""Charging sessions, whole, under the operating day on which they start."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from analytics.metrics import rules, states
from analytics.metrics.arrays import Flags, Floats, Whole, floats, median
from analytics.metrics.inputs import Inputs
from analytics.metrics.plug import past_pack_kwh
from analytics.metrics.rows import ESTIMATED, MEASURED, MIXED, NOTE_SEPARATOR
from analytics.metrics.running import POWER, SOC
from analytics.metrics.samples import PLACE
from analytics.metrics.stretches import Stretches, stretches

COUNTER = "energy_charged_kwh"
_METERS = {"grid_energy_kwh": "grid_energy_kwh", "grid_power_kw": "grid_power_kw_sum"}
_OUTPUTS = {
    "charger_output_energy_kwh": "charger_output_energy_kwh", "charger_output_power_kw": "charger_output_power_kw_sum",
}  # fmt: skip
"""Signals that tell of the charger's input and output, and what they add up to."""
_SUMMED = (
    COUNTER, *_METERS.values(), *_OUTPUTS.values(), *(f"{signal}_s" for signal in (SOC, COUNTER, *_METERS, *_OUTPUTS)),
)  # fmt: skip
KM_PER_DEGREE = 111.195  # of a great circle on a sphere of 6371 km
SOME, NEARLY_ALL = 0.005, 0.995

Sums = Mapping[str, float]
"""What the segments of a session add up to, by name; `flows_s` is the time in which energy flowed."""
Facts = Mapping[str, Any]
"""What is declared of its vehicle."""
_COLUMNS: Mapping[str, pl.DataType] = MappingProxyType(
    {
        "kind": pl.String(), "place": pl.String(), "charging_h": pl.Float64(), COUNTER: pl.Float64(),
        "energy_method": pl.String(), "grid_energy_kwh": pl.Float64(), "grid_method": pl.String(),
        "power_kw": pl.Float64(), "soc_start_pct": pl.Float64(), "soc_end_pct": pl.Float64(), "note": pl.String(),
    }
)  # fmt: skip


def charge_sessions(segments: pl.DataFrame, inputs: Inputs) -> pl.DataFrame:
    """Find charging sessions in judged `segments`: from plugged in to unplugged, pauses in charging included.

    Without a signal of the cable, power into the battery or a rise in its charge at a standstill is a session. What
    was charged in a silence is told by the counter, or by state of charge, and is estimated.
    """
    found = _connected(segments)
    begun = _begun(found, segments)
    sessions = _sessions(found, begun >= 0, segments, inputs.vehicles)
    number = np.array(list(sessions), np.int64)
    starts = pl.DataFrame([segments[name] for name in ("vehicle_id", "starts_at", "day")])[begun[number]]
    ends_at = segments[found.last[number], "ends_at"]
    told = [pl.Series(name, [each[name] for each in sessions.values()], type_) for name, type_ in _COLUMNS.items()]
    return pl.DataFrame([starts["vehicle_id"], starts["starts_at"], ends_at, starts["day"], *told])


def _sessions(
    found: Stretches, in_day: Flags, segments: pl.DataFrame, vehicles: pl.DataFrame
) -> dict[int, dict[str, Any]]:
    """The figures of those stretches, by number, that start in a computed day and are long and large enough."""
    vehicle = segments["vehicle_id"].to_numpy()[found.first].tolist()
    facts = {row["vehicle_id"]: row for row in vehicles.iter_rows(named=True)}
    start_pct, end_pct = segments[found.first, "soc_start_pct"].to_list(), segments[found.last, "soc_end_pct"].to_list()
    fixes = [floats(segments[name]) for name in PLACE]
    sessions = {}
    for number, sums in enumerate(found.sums(_amounts(segments))):
        if in_day[number] and sums["s"] >= rules.SESSION_MIN_S and sums["flows_s"] > 0:
            of_vehicle, within = facts[vehicle[number]], slice(found.first[number], found.last[number] + 1)
            place = _place([_median(values[within]) for values in fixes], of_vehicle)
            session = _session(sums, of_vehicle, place, (start_pct[number], end_pct[number]))
            if session[COUNTER] is None or session[COUNTER] >= rules.SESSION_MIN_KWH:
                sessions[number] = session
    return sessions


def _connected(segments: pl.DataFrame) -> Stretches:
    """The cable is in, or the battery gains; driving ends it, a cable that stays out, and the last row heard."""
    silent, in_service = segments["silent"].to_numpy(), (segments["state"] == states.IN_SERVICE).to_numpy()
    heard = ~silent | ~np.isnan(floats(segments["silence_s"]))
    inside = (segments["plugged"].to_numpy() | segments["gains"].to_numpy()) & heard
    drives = (segments["active"].to_numpy() & ~inside) | (silent & in_service)
    out_s = np.where(segments["cable_told"].to_numpy(), rules.SESSION_BREAK_S, rules.SESSION_PAUSE_S)
    return stretches(segments, inside, drives, out_s)


def _begun(found: Stretches, segments: pl.DataFrame) -> Whole:
    """The segment with which each session starts; -1 where it starts in no computed day.

    Power may flow in the interval before the row that tells of the cable; the session starts with that row.
    """
    plugs_in = segments["plugs_in"].to_numpy()
    tells = segments["plugged"].to_numpy() | ~plugs_in | segments["silent"].to_numpy()
    telling = np.append(np.flatnonzero(tells), segments.height)
    begun = telling[np.searchsorted(telling, found.first)]
    in_day = np.append(~np.isnan(floats(segments["day"])), False)
    return np.where((begun <= found.last) & in_day[begun], begun, -1)


def _amounts(segments: pl.DataFrame) -> dict[str, Floats]:
    """What each segment adds to its session."""
    gains, silent, at_plug = (segments[name].to_numpy() for name in ("gains", "silent", "plugged"))
    s, power_s = floats(segments["s"]), np.nan_to_num(floats(segments[f"{POWER}_s"]))
    charging = (segments["state"] == states.CHARGING).to_numpy()
    flows = charging | (gains & (silent | ~(at_plug | segments["plugs_in"].to_numpy())))
    missed = 1 - np.clip(power_s / s, 0, 1)
    return {
        **{name: floats(segments[name]) for name in _SUMMED},
        "flows_s": np.where(flows, s, 0.0),
        "watched_s": np.where(flows, power_s, 0.0),
        "seen_kwh": np.where(gains, floats(segments["returned_kwh"]), 0.0),
        "missed_pts": np.where(gains, np.maximum(floats(segments["soc_pts"]), 0) * missed, 0.0),
        "hidden_kwh": np.where(silent, floats(segments[COUNTER]), 0.0),
        "past_pack_kwh": past_pack_kwh(segments)[0],
    }


def _median(values: Floats) -> float:
    """The median of what is known; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return median(known) if len(known) else math.nan


def _session(sums: Sums, facts: Facts, place: str | None, soc_pct: tuple[float | None, float | None]) -> dict[str, Any]:
    """The figures of one session."""
    battery_kwh, charging_h = facts["usable_battery_kwh"], sums["flows_s"] / 3600
    charged = _charged(sums, battery_kwh)
    power_kw = None if charged.kwh is None else charged.kwh / charging_h
    grid_kwh, grid_method = _grid(sums, charged.kwh, facts["charger_efficiency"])
    start_pct, end_pct = soc_pct if _covers(sums, SOC) else (None, None)
    return {
        "kind": _kind(sums["s"], place, power_kw, battery_kwh), "place": place, "charging_h": charging_h,
        COUNTER: charged.kwh, "energy_method": charged.method(), "grid_energy_kwh": grid_kwh,
        "grid_method": grid_method, "power_kw": power_kw, "soc_start_pct": start_pct, "soc_end_pct": end_pct,
        "note": charged.note(battery_kwh),
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Charged:
    """The energy of a session (None: not known), what of it nobody watched, and whether the counter tells it."""

    kwh: float | None
    hidden_kwh: float = 0.0
    counted: bool = False

    @property
    def hidden_share(self) -> float:
        """How much of it nobody watched."""
        return self.hidden_kwh / self.kwh if self.kwh is not None and self.kwh > 0 else 0.0

    def method(self) -> str | None:
        """How the energy is known."""
        if self.kwh is None:
            return None
        if self.hidden_share > NEARLY_ALL:
            return ESTIMATED
        return MIXED if self.hidden_share > SOME else MEASURED

    def note(self, battery_kwh: float | None) -> str:
        """What tells it, and that nobody watched."""
        if self.kwh is None:
            return "no counter, power or state of charge"
        unseen = self.hidden_share > SOME
        words = ["counter"] if self.counted else []
        if not self.counted and self.hidden_share <= NEARLY_ALL:
            words.append("power integral")
        if not self.counted and unseen:
            words.append(f"SOC x {battery_kwh} kWh")
        if unseen:
            words.append("charged unobserved")
        return NOTE_SEPARATOR.join(words)


def _charged(sums: Sums, battery_kwh: float | None) -> Charged:
    """By the ladder of the day's: the counter, else power where it was watched, state of charge where it was not."""
    if _covers(sums, COUNTER):
        return Charged(sums[COUNTER], sums["hidden_kwh"], counted=True)
    watched = sums["watched_s"] >= rules.SCALING_COVERAGE_PCT / 100 * sums["flows_s"] and sums["watched_s"] > 0
    has_soc = sums[f"{SOC}_s"] > 0 and battery_kwh is not None
    if not watched and not has_soc:
        return Charged(None)
    by_soc_kwh = sums["missed_pts"] / 100 * (battery_kwh or 0.0) if has_soc else 0.0
    return Charged(sums["seen_kwh"] + by_soc_kwh, by_soc_kwh)


def _covers(sums: Sums, signal: str) -> bool:
    return sums[f"{signal}_s"] >= rules.HEADLINE_COVERAGE_PCT / 100 * sums["s"]


def _first_covered(sums: Sums, amounts: Mapping[str, str]) -> float | None:
    return next((sums[amount] for signal, amount in amounts.items() if _covers(sums, signal)), None)


def _grid(sums: Sums, charged_kwh: float | None, efficiency: float | None) -> tuple[float | None, str | None]:
    """AC at the charger's input: metered; else what was charged and used at the plug, by the charger's efficiency."""
    metered = _first_covered(sums, _METERS)
    if metered is not None:
        return metered, MEASURED
    if charged_kwh is None:
        return None, None
    output = _first_covered(sums, _OUTPUTS)
    past_kwh = sums["past_pack_kwh"] if output is None else max(output - charged_kwh, 0.0)
    return (charged_kwh + past_kwh) / (efficiency or rules.DEFAULT_CHARGER_EFFICIENCY), ESTIMATED


def _place(position: Sequence[float], facts: Facts) -> str | None:
    """At the depot or away; None where the vehicle or its site has no position."""
    latitude, longitude = position
    site_latitude, site_longitude = facts["site_latitude_deg"], facts["site_longitude_deg"]
    if site_latitude is None or site_longitude is None or math.isnan(latitude) or math.isnan(longitude):
        return None
    north_km = (latitude - site_latitude) * KM_PER_DEGREE
    across = (longitude - site_longitude + 180) % 360 - 180
    east_km = across * math.cos(math.radians(site_latitude)) * KM_PER_DEGREE
    return "depot" if math.hypot(north_km, east_km) <= rules.DEPOT_KM else "away"


def _kind(s: float, place: str | None, power_kw: float | None, battery_kwh: float | None) -> str:
    """By place and power: a long rest at the depot, fast charging, or a top-up between duties."""
    away = place == "away"
    if not away and s >= rules.OVERNIGHT_H * 3600:
        return "overnight"
    if power_kw is None or not _reaches(power_kw, rules.FAST_KW):
        return "opportunity"
    filling = battery_kwh is not None and _reaches(power_kw, rules.FAST_C * battery_kwh)
    return "fast" if away or filling else "opportunity"


def _reaches(value: float, limit: float) -> bool:
    """At least the limit, whichever way sums were rounded."""
    return value >= limit or math.isclose(value, limit, rel_tol=1e-9)
