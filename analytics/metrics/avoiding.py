"""Rows of figures of what a vehicle-day avoided: known ones, and those of which it is said why they are not known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from analytics.metrics.rows import MEASURED, MIXED, NOTE_SEPARATOR
from analytics.metrics.vehicle_days import OWN_FUELS, Told, VehicleDay
from schemas.frames import FactorIds, Figures, framed


@dataclass(frozen=True, slots=True)
class Avoided:
    """Figures, and the factors behind them: rows of `Figures` and `FactorIds`."""

    figures: pl.DataFrame
    factor_ids: pl.DataFrame


class Row(NamedTuple):
    """One figure, with the columns of `Figures`."""

    vehicle_id: int
    day: dt.date
    metric: str
    value: float | None
    low: float | None
    high: float | None
    coverage_pct: float | None
    weight: float | None
    method: str | None
    note: str | None


class Found(NamedTuple):
    """A figure, and the ids of the factors behind it."""

    row: Row
    factor_ids: tuple[str, ...] = ()


def known(
    day: VehicleDay,
    slug: str,
    value: float | None,
    inputs: Iterable[Told],
    words: Iterable[str | None],
    low: float | None = None,
    high: float | None = None,
) -> Row:
    """A figure with the weakest coverage of its inputs, measured only if all of them are, and told in `words`."""
    inputs = tuple(inputs)
    coverages = [told.coverage_pct for told in inputs if told.coverage_pct is not None]
    return Row(
        day.vehicle.vehicle_id, day.day, slug, value, low, high, min(coverages, default=None), day.activity.weight,
        _method({told.method for told in inputs if told.method is not None}),
        NOTE_SEPARATOR.join(part for part in words if part is not None),
    )  # fmt: skip


def unknown(day: VehicleDay, slug: str, impossible: Sequence[str], missing: Sequence[str]) -> Row:
    """A figure that nothing can give, for want of a declaration or a factor; or one whose measurement is missing.

    The first kind has no coverage, the second a coverage of 0. Both have the weight of the day: totals of days and
    vehicles of which some are known cover so much less.
    """
    coverage_pct, note = None if impossible else 0.0, NOTE_SEPARATOR.join(impossible or missing)
    return Row(day.vehicle.vehicle_id, day.day, slug, None, None, None, coverage_pct, day.activity.weight, None, note)


def bounds(value: float | None, *ends: float | None) -> tuple[float | None, float | None]:
    """Between which values a figure lies that has these at the ends of its inputs; None where all say the same."""
    told = [end for end in (value, *ends) if end is not None]
    if value is None or min(told) == max(told):
        return None, None
    return min(told), max(told)


def _method(methods: set[str]) -> str:
    if len(methods) > 1:
        return MIXED
    return next(iter(methods), MEASURED)


def told_fuels(day: VehicleDay, slugs: Sequence[str] = OWN_FUELS) -> list[Told]:
    """Fuels that count as inputs of a figure where they are known."""
    return [day.figure(slug) for slug in slugs if day.value(slug) is not None]


def in_frames(found: Iterable[Found]) -> Avoided:
    """The figures in order, and the factors behind those that are known."""
    found = list(found)
    rows = sorted((one.row for one in found), key=lambda row: row[:3])
    ids = {
        (one.row.vehicle_id, one.row.day, factor_id)
        for one in found
        if one.row.value is not None
        for factor_id in one.factor_ids
    }
    return Avoided(
        figures=framed(rows, Figures),
        factor_ids=framed(sorted(ids), FactorIds),
    )
