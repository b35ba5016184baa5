"""What the segments of each vehicle-day add up to, and how much of the day each signal covered."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analytics.metrics import rules, states
from analytics.metrics.arrays import Flags, Floats, Whole, floats
from analytics.metrics.plug import LOADS, past_pack_kwh
from analytics.metrics.rows import Day, Key
from analytics.metrics.running import AMOUNTS, ODOMETER, PAYLOAD, POSITION, POWER, SOC, SPEED, TANK
from analytics.metrics.samples import COUNTERS, RATES

BY_DISTANCE = (POWER, SOC, TANK, PAYLOAD, *(name for name in COUNTERS if name != ODOMETER))
"""Signals whose coverage is told by distance where there is any; that of the others by time."""
TIMED = (POWER, SPEED, SOC, TANK, PAYLOAD, POSITION, *COUNTERS, *RATES)
_SECONDS, _KM = [f"{name}_s" for name in TIMED], [f"{name}_km" for name in (*BY_DISTANCE, POSITION)]
_SUMMED = ["s", *dict.fromkeys(c for columns in AMOUNTS.values() for c in columns), *_SECONDS, *_KM]


class DaySegments:
    """The segments of the computed days in arrays, and their sums by vehicle-day."""

    def __init__(self, segments: pl.DataFrame) -> None:
        """Take judged segments, in order of vehicle and time."""
        self.rows = segments.filter(pl.col("day").is_not_null()) if segments["day"].null_count() else segments
        self.starts = _starts(self.rows)
        self._values = np.nan_to_num(self.rows[_SUMMED].to_numpy(), copy=True, nan=0.0)

    @cached_property
    def keys(self) -> list[Key]:
        """Vehicle and day of each group, in order."""
        return list(self.rows[["vehicle_id", "day"]][self.starts].iter_rows())

    def flag(self, name: str) -> Flags:
        """A flag of each segment; where it is not known, it is down."""
        flags: Flags = floats(self.rows[name]) == 1
        return flags

    def told(self, name: str) -> Flags:
        """Whether a column is known of each segment."""
        return ~np.isnan(floats(self.rows[name]))

    @cached_property
    def _state(self) -> NDArray[Any]:
        return np.array(self.rows["state"].to_list(), object)

    def is_state(self, state: str) -> Flags:
        """Segments in a state."""
        return np.asarray(self._state == state, bool)

    def numbers(self, name: str) -> Floats:
        """A column of each segment, NaN where it is not known."""
        return floats(self.rows[name])

    def sums(self, where: Flags | None = None) -> Floats:
        """Sums of all columns over the segments `where`: a row for each vehicle-day."""
        if not len(self.starts):
            return np.zeros((0, len(_SUMMED)))
        values = self._values if where is None else self._values * where[:, None]
        summed: Floats = np.add.reduceat(values, self.starts, axis=0)
        return summed

    def total(self, values: Floats, where: Flags | None = None) -> Floats:
        """Sums of values of one's own; NaN counts nothing."""
        if not len(self.starts):
            return np.zeros(0)
        told = ~np.isnan(values) if where is None else where & ~np.isnan(values)
        summed: Floats = np.add.reduceat(np.where(told, values, 0.0), self.starts)
        return summed

    def ever(self, flags: Flags) -> Flags:
        """Whether a flag is up in any segment of the vehicle-day."""
        return np.logical_or.reduceat(flags, self.starts) if len(self.starts) else np.zeros(0, bool)


def _starts(rows: pl.DataFrame) -> Whole:
    """Where another vehicle or day begins."""
    if rows.is_empty():
        return np.zeros(0, np.int64)
    vehicle, day = rows["vehicle_id"].to_numpy(), rows["day"].cast(pl.Int32).to_numpy()
    return np.flatnonzero(np.append(True, (vehicle[1:] != vehicle[:-1]) | (day[1:] != day[:-1])))


def day_sums(segments: DaySegments, days: pl.DataFrame, vehicles: pl.DataFrame) -> list[tuple[Key, Day]]:
    """Each vehicle-day of `days`, in their order, with its sums and the vehicle's master data.

    Amounts that a signal does not cover at all are None, as is everything of a day without segments. `_h` and `_s` are
    times, `_pct` coverages.
    """
    summed = dict(zip(segments.keys, _sums(segments), strict=True))
    facts = {row["vehicle_id"]: row for row in vehicles.iter_rows(named=True)}
    found: list[tuple[Key, Day]] = []
    for vehicle_id, day, starts_at, ends_at in days[["vehicle_id", "day", "starts_at", "ends_at"]].iter_rows():
        key = (vehicle_id, day)
        known = facts[vehicle_id] | summed.get(key, _NOTHING)
        known["day_h"] = (ends_at - starts_at).total_seconds() / 3600
        found.append((key, known | _coverages(known)))
    return found


def _sums(segments: DaySegments) -> Iterator[dict[str, Any]]:
    """What every vehicle-day with segments adds up to."""
    runs, works, gains, silent = (segments.flag(name) for name in ("runs", "works", "gains", "silent"))
    plugged, idle = segments.flag("plugged"), segments.is_state(states.IDLE)
    # Silences in which the vehicle was in service unobserved.
    hidden, may_run = silent & segments.is_state(states.IN_SERVICE), segments.flag("may_run")
    draws = ~gains & ~(silent & plugged)
    rise = segments.numbers("soc_rise_pts")
    # Silences in which the vehicle drove and charged: the change in state of charge does not tell what it used.
    untold = hidden & (rise >= 0)
    unknown = segments.is_state(states.UNKNOWN) | segments.flag("unobserved")
    past, loads_told = past_pack_kwh(segments.rows)
    told = {
        "working_told": segments.ever(segments.told("works")),
        "has_key": segments.ever(segments.told("key")),
        "observed": segments.ever(~unknown),
        "loads_told": segments.ever(loads_told),
    }
    more = {
        "soc_gained_pts": segments.total(_gained_pts(segments), gains),
        "tank_used_kg": -segments.total(segments.numbers("tank_kg"), segments.numbers("tank_kg") <= rules.REFUELLED_KG),
        "past_pack_kwh": segments.total(past),
    }
    parts = {
        "all": None, "runs": runs, "working": runs & works, "hidden": hidden, "busy": runs | hidden | may_run,
        "draws": draws, "gains": gains, "idle": idle, "told": ~untold, "unplugged": ~plugged,
    }  # fmt: skip
    sums = {name: segments.sums(where).tolist() for name, where in parts.items()}
    for n in range(len(segments.starts)):
        yield _named(
            {name: dict(zip(_SUMMED, rows[n], strict=True)) for name, rows in sums.items()},
            {name: bool(flags[n]) for name, flags in told.items()} | {name: float(x[n]) for name, x in more.items()},
        )


def _gained_pts(segments: DaySegments) -> Floats:
    """State of charge that rose where power saw nothing."""
    watched = np.nan_to_num(segments.numbers(f"{POWER}_s")) / segments.numbers("s")
    gained: Floats = np.maximum(segments.numbers("soc_pts"), 0) * (1 - np.clip(watched, 0, 1))
    return gained


Sums = dict[str, dict[str, float]]


def _named(sums: Sums, more: dict[str, Any]) -> dict[str, Any]:
    """The sums of one vehicle-day under the names by which figures know them."""
    every = sums["all"]

    def known(name: str, of: str, part: str = "all") -> float | None:
        """A sum, if the signal covers any time at all."""
        return sums[part][name] if every[f"{of}_s"] > 0 else None

    idles = sums["idle"][f"{POWER}_s"] > 0
    return {
        "on_h": sums["runs"]["s"] / 3600,
        "working_h": sums["working"]["s"] / 3600 if more["working_told"] else None,
        "standing_h": sums["idle"]["s"] / 3600,
        "hidden_km": sums["hidden"]["distance_km"],
        "busy_h": sums["busy"]["s"] / 3600,
        "has_key": more["has_key"],
        "observed": more["observed"],
        **{f"{name}_on_s": sums["busy"][f"{name}_s"] for name in TIMED},
        "drawn_kwh": known("drawn_kwh", POWER, "draws"),
        "returned_kwh": known("returned_kwh", POWER, "draws"),
        "returned_plugged_kwh": known("returned_kwh", POWER, "gains"),
        "soc_used_pts": -sums["draws"]["soc_pts"] if every[f"{SOC}_s"] > 0 else None,
        "soc_gained_pts": more["soc_gained_pts"] if every[f"{SOC}_s"] > 0 else None,
        "soc_charged_pts": known("soc_pts", SOC, "gains"),
        "soc_net_pts": known("soc_pts", SOC),
        "idle_kwh": sums["idle"]["drawn_kwh"] - sums["idle"]["returned_kwh"] if idles else None,
        "idle_power_s": sums["idle"][f"{POWER}_s"],
        "past_pack_kwh": more["past_pack_kwh"] if more["loads_told"] else None,
        "odometer_km": known("distance_km", ODOMETER),
        "speed_km": known("speed_km", SPEED),
        "position_km": known("position_km", POSITION),
        "true_km": every["distance_km"],
        **{name: known(name, name) for name in COUNTERS if name != ODOMETER},
        **{AMOUNTS[name][0]: known(AMOUNTS[name][0], name, "unplugged" if name in LOADS else "all") for name in RATES},
        "tank_used_kg": more["tank_used_kg"] if every[f"{TANK}_s"] > 0 else None,
        "transport_work_tkm": known("transport_work_tkm", PAYLOAD),
        **{f"{name}_km": every[f"{name}_km"] for name in (*BY_DISTANCE, POSITION)},
        f"{SOC}_km": sums["told"][f"{SOC}_km"],
        **{f"{name}_s": every[f"{name}_s"] for name in (POWER, SOC)},
    }


_NOTHING: dict[str, Any] = dict.fromkeys(
    _named(
        dict.fromkeys(
            ("all", "runs", "working", "hidden", "busy", "draws", "gains", "idle", "told", "unplugged"),
            dict.fromkeys(_SUMMED, 0.0),
        ),
        dict.fromkeys(
            ("working_told", "has_key", "observed", "loads_told", "soc_gained_pts", "tank_used_kg", "past_pack_kwh"),
            0.0,
        ),
    )
)
"""A day without a segment."""


def _coverages(day: Day) -> dict[str, float]:
    """Coverage of each signal: by distance where it can be told, else by time."""
    by_distance = {f"{name}_pct": coverage_pct(day, f"{name}_on_s", f"{name}_km") for name in BY_DISTANCE}
    return by_distance | {f"{name}_pct": coverage_pct(day, f"{name}_on_s") for name in (SPEED, POSITION, *RATES)}


def coverage_pct(day: Day, on_s: str, km: str | None = None) -> float:
    """Observed activity / true activity: by odometer, else by hour meter, else by key-on time; 100 without activity.

    A silence in which it was in service, or may have been for all that is known, counts as key-on time.
    """
    true_km, meter_h, busy_h = day["true_km"], day["operating_hours_h"], day["busy_h"]
    if km is not None and true_km is not None and true_km >= rules.COVERAGE_MIN_KM:
        share = day[km] / true_km
    elif meter_h is not None and meter_h >= rules.COVERAGE_MIN_H:
        share = day[on_s] / 3600 / meter_h
    elif busy_h:
        share = day[on_s] / 3600 / busy_h
    else:
        share = 1.0
    return float(min(max(share * 100, 0.0), 100.0))
