"""What a vehicle was doing: the state of every segment, and the timeline of the computed days."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from analytics.metrics import rules
from analytics.metrics.arrays import Flags, Floats, Whole, floats, microseconds, of_vehicles, words
from analytics.metrics.fill import US_PER_S, Said

IN_SERVICE, CHARGING, PLUGGED_IDLE, IDLE, PARKED = "in_service", "charging", "plugged_idle", "idle", "parked"
DOWN, PLANNED_MAINTENANCE, UNKNOWN = "down", "planned_maintenance", "unknown"
STATES = (IN_SERVICE, CHARGING, PLUGGED_IDLE, IDLE, PARKED, DOWN, PLANNED_MAINTENANCE, UNKNOWN)
AT_REST = (PARKED, PLUGGED_IDLE)
"""Fit for service and not wanted; at the plug or not. Hours parked are both."""

SUPPLY_CAUSES = ("charger", "supply")
CAUSES = ("vehicle", "supply", "planned_maintenance")

NUMBER_OF = {state: number for number, state in enumerate(STATES)}


def judged(segments: pl.DataFrame, vehicles: pl.DataFrame) -> pl.DataFrame:
    """Give each segment its `state`, and say what its changes in state of charge mean.

    Adds `active` (moving or working), `runs` (key on, or between movements where there is no key), `state`, `gains`
    (what the battery gains here is charging, not regeneration), `unobserved` (busy during a silence) and `may_run` (a
    silence of which nothing is known but that the key was on, or it moved, when it began and when it ended;
    shorter than a night).
    """
    told = Told.of(segments)
    told = _without_short_charges(told, Spells.of(told))
    spells = Spells.of(told)
    sleeps = of_vehicles(vehicles, "sleeps_at_key_off", told.vehicle_id) == 1
    runs = _runs(told, spells)
    state = _states(told, spells, sleeps, runs)
    flags = {
        "plugged": told.plugged, "charges": told.charges, "plugs_in": told.plugs_in, "sleeps_at_key_off": sleeps,
        "active": told.active, "gains": _gains(told, spells), "runs": runs & ~told.silent,
        "unobserved": told.silent & np.isin(state, [NUMBER_OF[IN_SERVICE], NUMBER_OF[CHARGING]]),
        "may_run": told.silent & (state == NUMBER_OF[UNKNOWN]) & spells.on_at_both_ends
        & (told.silence_s <= rules.MAY_RUN.total_seconds()),
    }  # fmt: skip
    return segments.with_columns(
        *(pl.Series(name, flag) for name, flag in flags.items()), words("state", state, STATES)
    )


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of each segment, in order of vehicle and time. `on`: the key is, or it moves."""

    vehicle_id: Whole
    us: Whole
    s: Floats
    silent: Flags
    moving: Flags
    active: Flags
    plugged: Flags
    charges: Flags
    plugs_in: Flags
    cable_told: Flags
    key: Said
    on: Said
    silence_s: Floats
    unheard_s: Floats
    odometer_rise_km: Floats
    soc_rise_pts: Floats
    soc_pts: Floats

    @classmethod
    def of(cls, segments: pl.DataFrame) -> Told:
        """Read what `segments` tell."""
        told: dict[str, Any] = {name: segments[name].to_numpy() for name in _FLAGS}
        told |= {name: floats(segments[name]) for name in _NUMBERS}
        us = microseconds(segments["ends_at"]) - microseconds(segments["starts_at"])
        key, moving = Said.read(segments["key"]), told["moving"]
        return cls(
            vehicle_id=segments["vehicle_id"].to_numpy(), us=us, key=key, on=Said(moving, moving).otherwise(key),
            active=moving | Said.read(segments["works"]).known(), **told,
        )  # fmt: skip


_FLAGS = ("silent", "moving", "plugged", "charges", "plugs_in", "cable_told")
_NUMBERS = ("s", "silence_s", "unheard_s", "odometer_rise_km", "soc_rise_pts", "soc_pts")


@dataclass(frozen=True, slots=True)
class Spells:
    """The stretches of one behaviour, over cuts and lamps; each silent interval stands alone.

    Of each segment: the number of its spell, the length of that and what it gains in state of charge (percentage
    points), whether the vehicle moves or works both before and after it, and whether the key is on, or it moves, on the
    rows at which it starts and ends.
    """

    number: Whole
    starts: Whole
    s: Floats
    pts: Floats
    between: Flags
    on_at_both_ends: Flags

    @classmethod
    def of(cls, told: Told) -> Spells:
        """Number the spells of all vehicles."""
        # A silent segment that no cut separates from the one before it starts a silence of its own.
        begins = told.silent & (told.unheard_s == 0)
        on = np.where(told.on.told, told.on.value, -1)
        for state in (told.vehicle_id, told.silent, on, told.active, told.plugged):
            begins[1:] |= state[1:] != state[:-1]
        begins[:1] = True
        starts, number = np.flatnonzero(begins), np.cumsum(begins) - 1
        length_us = np.add.reduceat(told.us, starts)
        pts = np.add.reduceat(np.nan_to_num(told.soc_pts), starts)
        vehicle, drives, on = told.vehicle_id[starts], (told.active & ~told.silent)[starts], told.on.known()[starts]
        joined = vehicle[1:] == vehicle[:-1]
        after, before = np.append(False, drives[:-1] & joined), np.append(drives[1:] & joined, False)
        on_at_both_ends = on & np.append(on[1:] & joined, False)
        length_s = length_us[number] / US_PER_S
        return cls(number, starts, length_s, pts[number], (after & before)[number], on_at_both_ends[number])

    def any(self, flags: Flags) -> Flags:
        """True in the whole of each spell in which a flag is up."""
        return np.logical_or.reduceat(flags, self.starts)[self.number]


def _next(flags: Flags, told: Told) -> Flags:
    """The flags of each segment's next one of the same vehicle; false on its last."""
    follows = told.vehicle_id[1:] == told.vehicle_id[:-1]
    return np.append(flags[1:] & follows, False)


def _without_short_charges(told: Told, spells: Spells) -> Told:
    """Without a signal of the cable, a moment of power into a standing pack is the end of braking, not charging."""
    brief = ~told.cable_told & told.plugged & (spells.s < rules.IDLE_AFTER_S)
    plugged, charges, plugs_in = told.plugged & ~brief, told.charges & ~brief, told.plugs_in & ~_next(brief, told)
    return replace(told, plugged=plugged, charges=charges, plugs_in=plugs_in)


def _runs(told: Told, spells: Spells) -> Flags:
    """Key on; where the key is unknown, a standstill between two movements that is too short to end a trip."""
    return np.where(told.on.told, told.on.value, spells.between & (spells.s < rules.TRIP_STOP_S))


def _states(told: Told, spells: Spells, sleeps: Flags, runs: Flags) -> Whole:
    """The number of each segment's state among `STATES`. What is not known is NaN, and compares false."""
    waits = np.where(spells.s <= rules.IDLE_AFTER_S, NUMBER_OF[IN_SERVICE], NUMBER_OF[IDLE])
    state = np.select(
        [told.silent, told.charges & ~told.moving, told.plugged, told.active, runs],
        [
            _silent_states(told, spells, sleeps),
            NUMBER_OF[CHARGING],
            NUMBER_OF[PLUGGED_IDLE],
            NUMBER_OF[IN_SERVICE],
            waits,
        ],
        NUMBER_OF[PARKED],
    )
    return np.where((state == NUMBER_OF[PARKED]) & told.plugged, NUMBER_OF[PLUGGED_IDLE], state)


def _silent_states(told: Told, spells: Spells, sleeps: Flags) -> Whole:
    """A silence by its far sides: moved, charged, parked, or unknown where nothing tells."""
    standing = rules.STANDING_LOSS_PTS + rules.STANDING_LOSS_PTS_PER_H * (told.silence_s / 3600)
    distance, rise = told.odometer_rise_km, told.soc_rise_pts
    moved = (distance > rules.MOVED_KM) | (rise < -standing)
    charged = (rise >= rules.CHARGE_GAIN_PTS) & spells.any(told.charges | _next(told.charges, told))
    asleep = sleeps & told.key.told & ~told.key.known()
    recent = told.unheard_s + told.s <= rules.OPEN_SILENCE.total_seconds()
    tells = ~np.isnan(distance) | ~np.isnan(rise) | asleep
    open_state = np.where(asleep & recent, NUMBER_OF[PARKED], NUMBER_OF[UNKNOWN])
    return np.select(
        [np.isnan(told.silence_s), told.silence_s > rules.REACH.total_seconds(), moved, charged, tells],
        [open_state, NUMBER_OF[UNKNOWN], NUMBER_OF[IN_SERVICE], NUMBER_OF[CHARGING], NUMBER_OF[PARKED]],
        NUMBER_OF[UNKNOWN],
    )


def _gains(told: Told, spells: Spells) -> Flags:
    """Where a rise in state of charge is charging: plugged in, across a silence, or over a long standstill."""
    across = told.soc_rise_pts >= rules.CHARGE_GAIN_PTS
    still = ~told.active & (spells.pts > rules.CHARGE_GAIN_PTS) & (spells.s >= rules.IDLE_AFTER_S)
    return np.where(told.silent, across, told.plugged | told.plugs_in | still)
