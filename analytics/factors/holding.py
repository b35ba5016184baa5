"""Which factors hold on vehicle-days, as plain values to do arithmetic with.

What decides is `Facts`, none of which is an amount of the day. So a case is resolved once, by `pairing`, and kept.
Where the grid has hourly factors, the hours of a day's energy decide too: such days are resolved one by one.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from analytics.factors.memo import Memo
from analytics.factors.pairing import NO_HOURS, ByTheHour, pairs


class Fuel(NamedTuple):
    """A fuel that a vehicle burned itself, and what it is counted in: L or kg."""

    name: str
    amount: str


class Facts(NamedTuple):
    """What decides which factors hold, besides the day."""

    pilot_id: int
    region: str
    grid: str | None
    line_loss: float | None
    category: str
    draws: bool  # whether electricity is drawn, or may be
    baseline_fuel: str | None
    amount: str | None  # in which the baseline's fuel is counted: L or kg
    burned: frozenset[Fuel]


class Range(NamedTuple):
    """A factor, and the factors by those other sources that make a figure lowest and highest."""

    value: float
    low: float
    high: float


VALUE, LOW, HIGH = range(3)
"""The positions in a `Range`."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The factors on both sides at one boundary, with their ids and what they are in words."""

    gases: str
    kg_per_amount: Range  # of the baseline's fuel
    kg_per_km: Range  # CH4 and N2O beside it, with `low` and `high` of the same sources as `kg_per_amount`
    kg_per_kwh: Range  # AC at the charger, line losses in it
    own: Mapping[Fuel, Range]  # kg per amount
    factor_ids: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Biogenic:
    """Biogenic CO2 of what the vehicle burned itself, kg per amount."""

    own: Mapping[Fuel, float]
    factor_ids: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Held:
    """What holds in one case: by metric a pair, or the reasons why there is none, besides what is not declared."""

    pairs: Mapping[str, Pair]
    reasons: Mapping[str, tuple[str, ...]]
    biogenic: Biogenic | None


class Case(NamedTuple):
    """A vehicle-day and the facts that decide its factors."""

    vehicle_id: int
    day: dt.date
    facts: Facts


def holding(cases: Sequence[Case], table: pl.DataFrame, hourly: ByTheHour = NO_HOURS) -> list[Held]:
    """What holds for each case, in order; `table` follows `Factors`."""
    grids = set(hourly.tables.heads["grid"])
    with_hours = [case for case in cases if case.facts.grid in grids]
    by_hour = _resolved(with_hours, table, hourly) if with_hours else {}
    annual = iter(_KEPT.answers([(case.day, case.facts) for case in cases if case.facts.grid not in grids], table))
    return [by_hour[case] if case.facts.grid in grids else next(annual) for case in cases]


def _of_facts(asked: Sequence[tuple[dt.date, Facts]], table: pl.DataFrame) -> Mapping[tuple[dt.date, Facts], Held]:
    """Each is asked as if it were a vehicle of its own."""
    cases = [Case(number, day, facts) for number, (day, facts) in enumerate(asked)]
    found = _resolved(cases, table, NO_HOURS)
    return {(case.day, case.facts): found[case] for case in cases}


_KEPT: Memo[Facts, Held] = Memo(_of_facts)

_CASES = {
    "vehicle_id": pl.Int32, "day": pl.Date, "pilot_id": pl.Int32, "region": pl.String, "grid": pl.String,
    "line_loss": pl.Float64, "category": pl.String, "draws": pl.Boolean, "baseline_fuel": pl.String,
    "amount": pl.String,
}  # fmt: skip
_BURNS = {
    "vehicle_id": pl.Int32, "day": pl.Date, "pilot_id": pl.Int32, "region": pl.String, "category": pl.String,
    "fuel": pl.String, "amount": pl.String,
}  # fmt: skip


def _resolved(cases: Sequence[Case], table: pl.DataFrame, hourly: ByTheHour) -> dict[Case, Held]:
    asked = [(case.vehicle_id, case.day, *case.facts[:-1]) for case in cases]
    burns = [
        (case.vehicle_id, case.day, case.facts.pilot_id, case.facts.region, case.facts.category, *fuel)
        for case in cases
        for fuel in sorted(case.facts.burned)
    ]
    found = pairs(
        pl.DataFrame(asked, _CASES, orient="row"), pl.DataFrame(burns, _BURNS, orient="row"), table, hourly
    )  # fmt: skip
    by_case: defaultdict[tuple[int, dt.date], list[dict[str, Any]]] = defaultdict(list)
    for row in found.factors.iter_rows(named=True):
        by_case[row["vehicle_id"], row["day"]].append(row)
    biogenic = {(row["vehicle_id"], row["day"]): _biogenic(row) for row in found.biogenic.iter_rows(named=True)}
    return {
        case: _held(by_case[case.vehicle_id, case.day], biogenic.get((case.vehicle_id, case.day))) for case in cases
    }


def _held(rows: list[dict[str, Any]], biogenic: Biogenic | None) -> Held:
    return Held(
        {row["metric"]: _pair(row) for row in rows if row["complete"]},
        {row["metric"]: tuple(filter(None, [row["pair_reason"]])) for row in rows if not row["complete"]},
        biogenic,
    )


def _pair(row: dict[str, Any]) -> Pair:
    return Pair(
        gases=row["gases"],
        kg_per_amount=Range(row["kg_per_amount"], row["kg_per_amount_low"], row["kg_per_amount_high"]),
        kg_per_km=Range(row["trace_kg_per_km"] or 0.0, row["trace_low"] or 0.0, row["trace_high"] or 0.0),
        kg_per_kwh=Range(row["kg_per_kwh"], row["kg_per_kwh_low"], row["kg_per_kwh_high"]),
        own={_fuel(own): Range(own["kg"], own["low"], own["high"]) for own in row["own"] or ()},
        factor_ids=tuple(row["factor_ids"]),
        note=row["pair_note"],
    )


def _biogenic(row: dict[str, Any]) -> Biogenic:
    own: defaultdict[Fuel, float] = defaultdict(float)
    for burned in row["biogenic"]:
        own[_fuel(burned)] += burned["kg"]
    return Biogenic(dict(own), tuple(row["biogenic_ids"]), row["biogenic_words"])


def _fuel(burned: dict[str, Any]) -> Fuel:
    return Fuel(burned["fuel"], burned["amount"])
