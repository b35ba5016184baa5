"""The timeline of each computed day: every instant in exactly one state.

Segments, maintenance records and planned service are laid over each other; the first that matches wins: planned
maintenance, down by record, down by a red stop lamp (lit, or asked for by a trouble code that has not cleared) at a
standstill in planned service, then the segment's own state.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from analytics.metrics import rules, states
from analytics.metrics.arrays import Flags, Floats, Whole, floats, microseconds, nullable, numbers, times, words
from analytics.metrics.fill import US_PER_S
from analytics.metrics.inputs import Inputs
from analytics.metrics.intervals import Line, Spans
from schemas.frames import UTC_TIME

STANDING = (states.IDLE, states.PARKED, states.PLUGGED_IDLE, states.CHARGING)
_CAUSES = (*states.CAUSES, None)
_CAUSE = {cause: number for number, cause in enumerate(_CAUSES)}
_US = dt.timedelta(microseconds=1)


def timeline(segments: pl.DataFrame, inputs: Inputs) -> pl.DataFrame:
    """Pieces of the computed days in order, without gap or overlap.

    Columns: `vehicle_id`, `day`, `starts_at`, `ends_at`, `s`, `state`, `cause` (of being down), `service` (planned),
    `planned_at` (the day's planned pull-out, null without), `unobserved` (busy during a silence).
    """
    bounds = _bounds(inputs.days)
    line = Line.over(*bounds)
    layers, pull_outs, seen = _layers(inputs, line), _pull_outs(inputs.planned), line.laid(*_bounds(segments))
    late = _late(pull_outs, dt.timedelta(minutes=inputs.policy.pull_out_grace_min), line)
    starts, ends, day = _pieces(line.laid(*bounds), layers, np.concatenate([seen.starts, late]))
    over = {name: layer.around(starts)[1] for name, layer in layers.items()}
    segment, told = seen.around(starts)
    red_lamp, unobserved = (told & segments[name].to_numpy()[segment] for name in ("red_lamp", "unobserved"))
    own = np.where(told, numbers(segments["state"], states.STATES)[segment], states.NUMBER_OF[states.UNKNOWN])
    cause = _cause(own, red_lamp, over)
    return pl.DataFrame(
        [
            pl.Series("vehicle_id", bounds[0][day]),
            nullable("day", floats(inputs.days["day"])[day], pl.Date),
            times("starts_at", line.us(starts)),
            times("ends_at", line.us(ends)),
            pl.Series("s", (ends - starts) / US_PER_S),
            words("state", _overlaid(own, cause), states.STATES),
            words("cause", cause, _CAUSES),
            pl.Series("service", over["service"]),
            nullable("planned_at", _planned_us(pull_outs, inputs.days)[day], UTC_TIME),
            pl.Series("unobserved", unobserved),
        ]
    )


def spells(timeline: pl.DataFrame) -> pl.DataFrame:
    """The timeline with neighbours of one day, state, cause and evidence joined: what is stored and shown."""
    same = (
        timeline["vehicle_id"].to_numpy(), floats(timeline["day"]), numbers(timeline["state"], states.STATES),
        numbers(timeline["cause"], _CAUSES), timeline["unobserved"].to_numpy(),
    )  # fmt: skip
    begins = np.any([np.append(True, values[1:] != values[:-1]) for values in same], axis=0)[: timeline.height]
    first, last = np.flatnonzero(begins), np.flatnonzero(np.append(begins[1:], True)[: timeline.height])
    kept = timeline[["vehicle_id", "starts_at", "day", "state", "cause", "unobserved"]][first]
    return kept.insert_column(2, timeline[last, "ends_at"])


def _bounds(intervals: pl.DataFrame) -> tuple[Whole, Whole, Whole]:
    """Vehicle, start and end of each interval, in microseconds."""
    vehicle = intervals["vehicle_id"].to_numpy()
    return vehicle, microseconds(intervals["starts_at"]), microseconds(intervals["ends_at"])


def _pieces(days: Spans, layers: dict[str, Spans], changes: Whole) -> tuple[Whole, Whole, Whole]:
    """The days, cut at every instant at which anything changes: start, end and the day's number."""
    order = np.argsort(days.starts)
    days = Spans(days.starts[order], days.ends[order])
    edges = [side for spans in (days, *layers.values()) for side in (spans.starts, spans.ends)]
    instants = np.unique(np.concatenate([changes, *edges]))
    day, inside = days.around(instants)
    piece = np.flatnonzero(inside)
    return instants[piece], instants[piece + 1], order[day[piece]]


def _layers(inputs: Inputs, line: Line) -> dict[str, Spans]:
    """What is laid over the segments: planned service, records by cause, and trouble codes that light the red lamp."""
    records, planned = inputs.maintenance, inputs.maintenance["planned"].to_numpy()
    vehicle, starts = records["vehicle_id"].to_numpy(), microseconds(records["starts_at"])
    ends = _known_or(records["ends_at"], microseconds(inputs.days["ends_at"]).max())
    supply = np.array([cause in states.SUPPLY_CAUSES for cause in records["cause"].to_list()], bool)
    kinds = {"planned_maintenance": planned, "supply": ~planned & supply, "vehicle": ~planned & ~supply}
    return {
        "service": line.spans(*_bounds(inputs.planned)),
        **{name: line.spans(vehicle[kind], starts[kind], ends[kind]) for name, kind in kinds.items()},
        "stop_fault": line.spans(*_stop_faults(inputs.faults)),
    }


def _stop_faults(faults: pl.DataFrame) -> tuple[Whole, Whole, Whole]:
    """Trouble codes that light the red lamp.

    A code is forgotten when nothing has been heard of it, or of its clearing, for as long as silences are bridged.
    """
    lights = faults["red_stop_lamp"].to_numpy()
    forgotten = microseconds(faults["last_seen_at"]) + rules.REACH // _US
    ends = _known_or(faults["cleared_at"], forgotten)
    return faults["vehicle_id"].to_numpy()[lights], microseconds(faults["starts_at"])[lights], ends[lights]


def _known_or(times: pl.Series, other: Whole) -> Whole:
    known = floats(times)
    return np.where(np.isnan(known), other, known).astype(np.int64)


def _pull_outs(planned: pl.DataFrame) -> dict[tuple[int, dt.date], int]:
    """When each vehicle is first planned on each day, in microseconds."""
    first: dict[tuple[int, dt.date], int] = {}
    starts_us = microseconds(planned["starts_at"]).tolist()
    for vehicle, day, us in zip(planned["vehicle_id"].to_list(), planned["day"].to_list(), starts_us, strict=True):
        first[vehicle, day] = min(us, first.get((vehicle, day), us))
    return first


def _late(pull_outs: dict[tuple[int, dt.date], int], grace: dt.timedelta, line: Line) -> Whole:
    """When each pull-out becomes late."""
    vehicle = np.array([vehicle for vehicle, _ in pull_outs], np.int64)
    late_us = np.array(list(pull_outs.values()), np.int64) + grace // _US
    mine = line.has(vehicle)
    return line.at(vehicle[mine], late_us[mine])


def _planned_us(pull_outs: dict[tuple[int, dt.date], int], days: pl.DataFrame) -> Floats:
    """The pull-out of each day; NaN where none is planned."""
    keys = zip(days["vehicle_id"].to_list(), days["day"].to_list(), strict=True)
    return np.array([pull_outs.get(key, np.nan) for key in keys], np.float64)


def _cause(state: Whole, red_lamp: Flags, over: dict[str, Flags]) -> Whole:
    """Why the vehicle is down or in planned maintenance: its number among `_CAUSES`, None where it is neither."""
    stops = (
        (red_lamp | over["stop_fault"])
        & over["service"]
        & np.isin(state, [states.NUMBER_OF[name] for name in STANDING])
    )
    return np.select(
        [over["planned_maintenance"], over["vehicle"] | stops, over["supply"]],
        [_CAUSE[states.PLANNED_MAINTENANCE], _CAUSE["vehicle"], _CAUSE["supply"]],
        _CAUSE[None],
    )


def _overlaid(state: Whole, cause: Whole) -> Whole:
    down = np.where(cause == _CAUSE[None], state, states.NUMBER_OF[states.DOWN])
    return np.where(cause == _CAUSE[states.PLANNED_MAINTENANCE], states.NUMBER_OF[states.PLANNED_MAINTENANCE], down)
