"""A vehicle's days as strips: what it was doing, from cut to cut."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from analytics.charts import STATES
from analytics.web import present
from schemas.wire import StateSpellRow

SHOWN_DAYS = 31
"""Strips on a page; the API has them all."""
STRIP_WIDTH = 1000

LOOKS: dict[str, tuple[str, str]] = {
    **{slug.removesuffix("_h"): look for slug, look in STATES.items()},
    "parked": ("Parked, available", STATES["parked_h"][1]),
    "plugged_idle": ("Plugged in, idle", "#f0d6a8"),
}
"""Label and colour of every state of a timeline."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a strip: where it starts and how wide it is, of `STRIP_WIDTH`, its colour, and what it says."""

    x: float
    width: float
    colour: str
    words: str


@dataclass(frozen=True, slots=True)
class Strip:
    """A day: its pieces in order, and in words how long it was in each state."""

    day: dt.date
    pieces: list[Piece]
    words: str


def strips(spells: Sequence[StateSpellRow], zone: str | None) -> list[Strip]:
    """The days of a vehicle's spells (in order of time), the newest first."""
    days = [(day, list(pieces)) for day, pieces in groupby(spells, key=lambda spell: spell.day)]
    return [_strip(day, pieces, zone) for day, pieces in reversed(days[-SHOWN_DAYS:])]


def _strip(day: dt.date, spells: list[StateSpellRow], zone: str | None) -> Strip:
    start, whole = spells[0].starts_at, spells[-1].ends_at - spells[0].starts_at
    pieces = [
        Piece(
            round(STRIP_WIDTH * ((spell.starts_at - start) / whole), 2),
            round(STRIP_WIDTH * ((spell.ends_at - spell.starts_at) / whole), 2),
            LOOKS[spell.state][1],
            _words(spell, zone),
        )
        for spell in spells
    ]
    return Strip(day, pieces, _hours(spells))


def _words(spell: StateSpellRow, zone: str | None) -> str:
    told = [f"{LOOKS[spell.state][0]}, {present.clock(spell.starts_at, zone)} to {present.clock(spell.ends_at, zone)}"]
    if spell.state == "down" and spell.cause:
        told.append(f"cause: {spell.cause}")
    if spell.unobserved:
        told.append("unobserved")
    return " · ".join(told)


def _hours(spells: list[StateSpellRow]) -> str:
    hours = {
        state: sum(((s.ends_at - s.starts_at).total_seconds() for s in spells if s.state == state), 0.0) / 3600
        for state in LOOKS
    }
    return ", ".join(f"{LOOKS[state][0].lower()} {present.number(h, 1)} h" for state, h in hours.items() if h > 0)
