"""Figures of single vehicle-days, and what is said of one whose signals covered only a part of the day.

A day is read by plain functions: None is "not known", and what is computed from it is not known either.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import polars as pl

from analytics.metrics import rules

MEASURED, ESTIMATED, MIXED = "measured", "estimated", "mixed"
NOTE_SEPARATOR = "; "
KEYS = ("vehicle_id", "day")

COLUMNS: dict[str, pl.DataType] = {
    "vehicle_id": pl.Int32(), "day": pl.Date(), "metric": pl.String(), "value": pl.Float64(), "low": pl.Float64(),
    "high": pl.Float64(), "coverage_pct": pl.Float64(), "weight": pl.Float64(), "method": pl.String(),
    "note": pl.String(),
}  # fmt: skip

Day = Mapping[str, Any]
"""All that is known of one vehicle and day, by name: sums of its segments, coverages, master data."""
Key = tuple[int, dt.date]
"""Vehicle and day."""


class Figure(NamedTuple):
    """One metric of one vehicle-day. Without a value there is only a note that says why."""

    value: float | None
    coverage_pct: float | None = None
    weight: float | None = None
    method: str | None = MEASURED
    note: str | None = None
    low: float | None = None
    high: float | None = None

    @property
    def says_something(self) -> bool:
        """Whether it is worth a row."""
        return self.value is not None or self.note is not None


Figures = dict[str, Figure]
"""Figures of one vehicle-day by slug."""


def listed(days: Iterable[tuple[Key, Figures]], *, every: bool = False) -> pl.DataFrame:
    """Figures in long form (`COLUMNS`): of those that say something, or of `every` one."""
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    add = [columns[name].append for name in COLUMNS]
    for (vehicle_id, day), figures in days:
        for slug, figure in figures.items():
            value, coverage_pct, weight, method, note, low, high = figure
            if value is None and note is None and not every:
                continue
            row = (
                vehicle_id, day, slug, value, low, high, within(coverage_pct, 0.0, 100.0), weight,
                method if value is not None else None, note,
            )  # fmt: skip
            for put, part in zip(add, row, strict=True):
                put(part)
    return pl.DataFrame(columns, schema=COLUMNS)


def within(value: float | None, least: float, most: float) -> float | None:
    """The value, or the bound that it passes."""
    return None if value is None else min(max(value, least), most)


def first(*values: float | None) -> float | None:
    """The first that is known."""
    return next((value for value in values if value is not None), None)


def notes(*parts: str | None) -> str | None:
    """Join the notes that are there; None if none is."""
    return NOTE_SEPARATOR.join(part for part in parts if part) or None


def full(coverage_pct: float | None) -> bool:
    """Covered well enough to be taken as it is."""
    return coverage_pct is None or coverage_pct >= rules.FULL_COVERAGE_PCT


def scalable(coverage_pct: float | None) -> bool:
    """Covered well enough to be scaled to full activity, and to enter ratios."""
    return coverage_pct is None or coverage_pct >= rules.SCALING_COVERAGE_PCT


def extrapolated(coverage_pct: float | None) -> bool:
    """Covered in part, and well enough to be scaled."""
    return not full(coverage_pct) and scalable(coverage_pct)


def scaled(value: float | None, coverage_pct: float | None) -> float | None:
    """`value` scaled to full activity where that is allowed, else as it is."""
    if value is None or coverage_pct is None or not extrapolated(coverage_pct):
        return value
    return value * 100 / coverage_pct


def scaled_bounds(value: float | None, coverage_pct: float | None) -> tuple[float | None, float | None]:
    """Between which values a `scaled` figure lies: nothing more than was seen, or twice what scaling adds.

    None where nothing was scaled.
    """
    whole = scaled(value, coverage_pct)
    if value is None or whole is None or not extrapolated(coverage_pct):
        return None, None
    most = 2 * whole - value
    return min(value, most), max(value, most)


def scaling_method(coverage_pct: float | None) -> str:
    """Estimated where `scaled` scales, else measured."""
    return ESTIMATED if extrapolated(coverage_pct) else MEASURED


def scaling_note(coverage_pct: float | None) -> str | None:
    """What was done about missing coverage; None where nothing is missing."""
    if not scalable(coverage_pct):
        return f"coverage below {rules.SCALING_COVERAGE_PCT:.0f} %, left out of ratios"
    return None if full(coverage_pct) else "scaled to full activity"


def scaled_figure(
    value: float | None, coverage_pct: float | None, weight: float | None, note: str | None = None
) -> Figure:
    """What was seen as a figure: scaled to full activity as its coverage allows, and said so."""
    low, high = scaled_bounds(value, coverage_pct)
    words = notes(note, scaling_note(coverage_pct)) if value is not None else None
    return Figure(scaled(value, coverage_pct), coverage_pct, weight, scaling_method(coverage_pct), words, low, high)
