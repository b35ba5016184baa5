"""Trips, whole, under the operating day on which they start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from analytics.metrics import rules
from analytics.metrics.arrays import floats, nullable
from analytics.metrics.fill import Said
from analytics.metrics.inputs import Inputs
from analytics.metrics.running import ODOMETER, POWER, SOC, SPEED
from analytics.metrics.samples import WORKING_CATEGORIES
from analytics.metrics.stretches import Stretches, stretches

OUT, INTO = "energy_discharged_kwh", "energy_regenerated_kwh"
_SUMMED = (
    "distance_km", "speed_km", "drawn_kwh", "returned_kwh", OUT, INTO,
    *(f"{signal}_s" for signal in (ODOMETER, SPEED, POWER, SOC, OUT, INTO)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trip:
    """A trip among the stretches; NaN where something is not known."""

    number: int
    distance_km: float
    energy_used_kwh: float
    soc_start_pct: float
    soc_end_pct: float


def trips(segments: pl.DataFrame, inputs: Inputs) -> pl.DataFrame:
    """Find trips in judged `segments`: from key-on to key-off; without a key signal, from movement to standstill.

    Key-on spells less than `rules.TRIP_BREAK_S` apart are one trip. Without a key, a standstill of
    `rules.TRIP_STOP_S` or a silence ends it. Trips under a minute or 100 m are left
    out, the latter only where vehicles do not also work standing.
    """
    rides = _rides(segments)
    found = _found(rides, segments, inputs.vehicles)
    number = np.array([trip.number for trip in found], np.int64)
    starts = pl.DataFrame([segments[name] for name in ("vehicle_id", "starts_at", "day")])[rides.first[number]]
    ends_at = segments[rides.last[number], "ends_at"]
    known = ("distance_km", "energy_used_kwh", "soc_start_pct", "soc_end_pct")
    return pl.DataFrame(
        [
            starts["vehicle_id"], starts["starts_at"], ends_at, starts["day"],
            *(nullable(name, np.array([getattr(trip, name) for trip in found], np.float64)) for name in known),
        ]
    )  # fmt: skip


def _rides(segments: pl.DataFrame) -> Stretches:
    """With a key, from key-on to key-off; without, while it moves or works. A silence or the cable ends it."""
    breaks = segments["silent"].to_numpy() | segments["plugged"].to_numpy()
    keyed = Said.read(segments["key"]).told
    inside = ~breaks & np.where(keyed, segments["runs"].to_numpy(), segments["active"].to_numpy())
    return stretches(segments, inside, breaks, np.where(keyed, rules.TRIP_BREAK_S, rules.TRIP_STOP_S))


def _found(rides: Stretches, segments: pl.DataFrame, vehicles: pl.DataFrame) -> list[Trip]:
    """The rides that start in a computed day and are long enough."""
    sums = rides.sums({name: floats(segments[name]) for name in _SUMMED})
    starts, ends = floats(segments["soc_start_pct"])[rides.first], floats(segments["soc_end_pct"])[rides.last]
    vehicle, in_day = segments["vehicle_id"].to_numpy()[rides.first], ~np.isnan(floats(segments["day"])[rides.first])
    battery = dict(zip(vehicles["vehicle_id"].to_list(), floats(vehicles["usable_battery_kwh"]).tolist(), strict=True))
    categories = zip(vehicles["vehicle_id"].to_list(), vehicles["category"].to_list(), strict=True)
    working = {vehicle_id for vehicle_id, category in categories if category in WORKING_CATEGORIES}
    found = []
    for number in np.flatnonzero(in_day & (rides.s >= rules.TRIP_MIN_S)).tolist():
        trip = _trip(number, sums[number], float(starts[number]), float(ends[number]), battery[int(vehicle[number])])
        too_near = trip.distance_km < rules.TRIP_MIN_KM  # never where it is not known
        if not too_near or int(vehicle[number]) in working:
            found.append(trip)
    return found


def _trip(number: int, sums: Mapping[str, float], soc_start: float, soc_end: float, battery_kwh: float) -> Trip:
    if not _covers(sums, SOC):
        soc_start = soc_end = np.nan
    by_soc = (soc_start - soc_end) / 100 * battery_kwh
    return Trip(number, _distance_km(sums), _energy_kwh(sums, by_soc), soc_start, soc_end)


def _covers(sums: Mapping[str, float], signal: str, pct: float = rules.HEADLINE_COVERAGE_PCT) -> bool:
    return sums[f"{signal}_s"] >= pct / 100 * sums["s"]


def _distance_km(sums: Mapping[str, float]) -> float:
    """By odometer; where that is stuck or covers too little, by speed."""
    by_odometer, by_speed = sums["distance_km"], sums["speed_km"]
    stuck = by_speed > rules.STUCK_MIN_KM and by_odometer < rules.STUCK_SHARE * by_speed
    if _covers(sums, ODOMETER) and not stuck:
        return by_odometer
    return by_speed if _covers(sums, SPEED, rules.SCALING_COVERAGE_PCT) else np.nan


def _energy_kwh(sums: Mapping[str, float], by_soc: float) -> float:
    """By counters, by power, by state of charge: the first that covers the trip."""
    if _covers(sums, OUT) and _covers(sums, INTO):
        return sums[OUT] - sums[INTO]
    return sums["drawn_kwh"] - sums["returned_kwh"] if _covers(sums, POWER) else by_soc
