"""Availability by planned vehicle-days, and roadcalls."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import polars as pl

from analytics.metrics import sources, states
from analytics.metrics.inputs import Inputs, Policy
from analytics.metrics.metric import Given, Metric, Total
from analytics.metrics.rows import KEYS, Figure, Figures, Key

_FITNESS = (
    "down_h", "planned_maintenance_h", "unknown_h", Given.PLANNED_SERVICE, Given.MAINTENANCE, Given.OPERATOR,
)  # fmt: skip
_AVAILABILITY = "(planned - unavailable - unknown) / (planned - unknown); low counts unknown as down, high as up"


def _days(slug: str, name: str, meaning: str, inputs: tuple[str, ...] = _FITNESS) -> Metric:
    return Metric(
        slug, name, "vehicle-days", meaning, "counted by planned vehicle-day", inputs, 0, Total.SUM, "availability",
        sources.AVAILABILITY, shown=False,
    )  # fmt: skip


def _share(slug: str, name: str, meaning: str, available: str) -> Metric:
    return Metric(
        slug, name, "%", meaning, _AVAILABILITY, (available, "planned_days", "unknown_days"), 1, Total.AVAILABILITY,
        "availability", sources.AVAILABILITY, numerator=available, denominator="planned_days",
    )  # fmt: skip


METRICS = (
    _days(
        "planned_days", "Planned vehicle-days", "Vehicle-days on which service was planned.", (Given.PLANNED_SERVICE,)
    ),
    _days("available_days", "Available vehicle-days", "Planned days on which the vehicle was fit for its service."),
    _days("unknown_days", "Unknown vehicle-days", "Planned days with no evidence."),
    _days(
        "available_excl_planned_maintenance_days", "Available vehicle-days, planned maintenance aside",
        "Planned days on which nothing but planned maintenance kept the vehicle from service.",
    ),
    *(
        _days(f"unavailable_{cause}_days", f"Unavailable vehicle-days: {cause.replace('_', ' ')}",
              f"Planned days lost mostly to: {cause.replace('_', ' ')}.")
        for cause in states.CAUSES
    ),
    _share(
        "availability_pct", "Availability",
        "Share of planned vehicle-days on which the vehicle was available, with bounds for unknown days.",
        "available_days",
    ),
    _share(
        "availability_excl_planned_maintenance_pct", "Availability, planned maintenance aside",
        "Availability that does not count planned maintenance against the vehicle.",
        "available_excl_planned_maintenance_days",
    ),
    *(
        Metric(f"{system}roadcalls", f"{words} roadcalls", "1", f"{words} roadcalls.", "records", (Given.ROADCALLS,), 0,
               Total.SUM, "roadcalls", f"{sources.OWN}: a count of records", shown=False)
        for system, words in (("", "All"), ("propulsion_", "Propulsion"), ("storage_", "Energy storage"))
    ),
    *(
        Metric(f"km_between_{system}roadcalls", f"Distance between {words}roadcalls", "km",
               f"Distance driven for each {words}roadcall; without any, a bound that it exceeds.",
               "distance / roadcalls; exact 95 % Poisson interval; without roadcalls > distance / 3.0",
               ("distance_km", f"{system}roadcalls"), 0, Total.ROADCALL_DISTANCE, "roadcalls", sources.ROADCALLS,
               numerator="distance_km", denominator=f"{system}roadcalls")
        for system, words in (("", ""), ("propulsion_", "propulsion "), ("storage_", "energy storage "))
    ),
)  # fmt: skip


class _Piece(NamedTuple):
    """A piece of the timeline of a planned day."""

    starts_at: dt.datetime
    s: float
    state: str
    cause: str | None
    service: bool
    planned_at: dt.datetime


def availability_figures(timeline: pl.DataFrame, inputs: Inputs) -> list[tuple[Key, Figures]]:
    """Judge each planned vehicle-day: 1 or 0 in `available_days`, `unknown_days` and the other components.

    Not available: down at the planned pull-out and not recovered within the grace, or down for longer than the limit
    in planned service. Unknown: nothing is known of the whole planned service.
    """
    pieces = zip(*(timeline[name].to_list() for name in (*KEYS, *_Piece._fields)), strict=True)
    planned = (piece for piece in pieces if piece[-1] is not None)
    days = groupby(planned, key=lambda row: (row[0], row[1]))
    return [(key, _judged([_Piece(*row[2:]) for row in rows], inputs.policy)) for key, rows in days]


def _judged(pieces: list[_Piece], policy: Policy) -> Figures:
    """The components of one planned day."""
    pull_out = _at_pull_out(pieces, dt.timedelta(minutes=policy.pull_out_grace_min))
    limit_s = policy.down_limit_min * 60
    lost = _is_lost(pieces, pull_out, limit_s, states.CAUSES)
    unplanned = _is_lost(
        pieces, pull_out, limit_s, [cause for cause in states.CAUSES if cause != "planned_maintenance"]
    )
    heard_s = sum(piece.s for piece in pieces if piece.service and piece.state != states.UNKNOWN)
    unknown = heard_s == 0 and not lost
    worst = _worst_cause(pieces, pull_out)
    values = {
        "planned_days": True,
        "available_days": not lost and not unknown,
        "unknown_days": unknown,
        "available_excl_planned_maintenance_days": not unplanned and not unknown,
        **{f"unavailable_{cause}_days": lost and worst == cause for cause in states.CAUSES},
    }
    return {slug: Figure(float(value), 0.0 if unknown else 100.0, 1.0) for slug, value in values.items()}


def _at_pull_out(pieces: list[_Piece], grace: dt.timedelta) -> list[bool]:
    """Pieces that begin within the grace; back at the very end of it is back within it."""
    return [piece.planned_at <= piece.starts_at <= piece.planned_at + grace for piece in pieces]


def _is_lost(pieces: list[_Piece], at_pull_out: list[bool], limit_s: float, causes: Sequence[str]) -> bool:
    """Down for one of the causes from the pull-out through the grace, or for too long in planned service."""
    down = [piece.cause in causes for piece in pieces]
    late = any(at_pull_out) and all(is_down for is_down, asked in zip(down, at_pull_out, strict=True) if asked)
    down_s = sum(piece.s for piece, is_down in zip(pieces, down, strict=True) if is_down and piece.service)
    return late or down_s > limit_s


def _worst_cause(pieces: list[_Piece], at_pull_out: list[bool]) -> str:
    """The cause that took the most of planned service and of the pull-out; the first of several."""
    seconds = dict.fromkeys(states.CAUSES, 0.0)
    for piece, asked in zip(pieces, at_pull_out, strict=True):
        if piece.cause in seconds and (piece.service or asked):
            seconds[piece.cause] += piece.s
    return max(seconds, key=lambda cause: seconds[cause])


def roadcall_figures(inputs: Inputs) -> list[tuple[Key, Figures]]:
    """Roadcalls of each vehicle and day, zero included."""
    roadcalls, days = inputs.roadcalls, inputs.days
    calls = list(zip(roadcalls["vehicle_id"], roadcalls["time"], roadcalls["system"], strict=True))
    bounds = zip(*(days[name].to_list() for name in (*KEYS, "starts_at", "ends_at")), strict=True)
    return [
        (
            (vehicle_id, day),
            _roadcalls([system for id_, at, system in calls if id_ == vehicle_id and start <= at < end]),
        )
        for vehicle_id, day, start, end in bounds
    ]


def _roadcalls(systems: list[str]) -> Figures:
    counts = {"roadcalls": len(systems), **{f"{system}_roadcalls": systems.count(system) for system in SYSTEMS}}
    return {slug: Figure(float(count)) for slug, count in counts.items()}


SYSTEMS = ("propulsion", "storage")
