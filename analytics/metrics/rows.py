"""From wide day tables to figures in long form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Figure:
    """How one metric's figure is read from a wide day table; `None` is null."""

    value: pl.Expr
    coverage_pct: pl.Expr | None = None
    weight: pl.Expr | None = None
    method: pl.Expr | None = None
    note: pl.Expr | None = None
    low: pl.Expr | None = None
    high: pl.Expr | None = None

    def parts(self, slug: str) -> pl.Expr:
        """The figure's columns from `metric` on, as a struct."""
        known = self.value.is_not_null()
        method = pl.lit(MEASURED) if self.method is None else self.method
        parts = {
            "metric": pl.lit(slug),
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "coverage_pct": None if self.coverage_pct is None else self.coverage_pct.clip(0, 100),
            "weight": self.weight,
            "method": pl.when(known).then(method),
            "note": self.note,
        }
        nothing = pl.lit(None)
        return pl.struct(
            (nothing if part is None else part).cast(COLUMNS[name]).alias(name) for name, part in parts.items()
        )


def listed(figures: Mapping[str, Figure]) -> pl.Expr:
    """The figures of every metric as one list."""
    return pl.concat_list(figure.parts(slug) for slug, figure in figures.items())


def long_form(wide: pl.DataFrame, figures: Mapping[str, Figure] | pl.Expr) -> pl.DataFrame:
    """Figures of every metric in `figures`, or of a list of them, from one wide table of vehicles and days.

    A figure has a row where it has a value, or a note that says why not.
    """
    figure = figures if isinstance(figures, pl.Expr) else listed(figures)
    long = wide.lazy().select(*KEYS, figure=figure).explode("figure").unnest("figure").select(*COLUMNS)
    return long.filter(pl.col("value").is_not_null() | pl.col("note").is_not_null()).collect()


def notes(*parts: pl.Expr) -> pl.Expr:
    """Join the notes that are not null; null if none is."""
    joined = pl.concat_str(*(part.cast(pl.String) for part in parts), separator=NOTE_SEPARATOR, ignore_nulls=True)
    return pl.when(joined != "").then(joined)


def full(coverage: pl.Expr) -> pl.Expr:
    """Covered well enough to be taken as it is."""
    return (coverage >= rules.FULL_COVERAGE_PCT).fill_null(True)


def scalable(coverage: pl.Expr) -> pl.Expr:
    """Covered well enough to be scaled to full activity, and to enter ratios."""
    return (coverage >= rules.SCALING_COVERAGE_PCT).fill_null(True)


def scaled(value: pl.Expr, coverage: pl.Expr) -> pl.Expr:
    """`value` scaled to full activity where that is allowed, else as it is."""
    return pl.when(~full(coverage) & scalable(coverage)).then(value * 100 / coverage).otherwise(value)


def scaled_bounds(value: pl.Expr, coverage: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Between which values a `scaled` figure lies: nothing more than was seen, or twice what scaling adds.

    Null where nothing was scaled.
    """
    whole = scaled(value, coverage)
    ends = (value, 2 * whole - value)
    extrapolated = ~full(coverage) & scalable(coverage)
    low, high = pl.min_horizontal(*ends), pl.max_horizontal(*ends)
    return pl.when(extrapolated).then(low), pl.when(extrapolated).then(high)


def scaling_method(coverage: pl.Expr) -> pl.Expr:
    """Estimated where `scaled` scales, else measured."""
    return pl.when(~full(coverage) & scalable(coverage)).then(pl.lit(ESTIMATED)).otherwise(pl.lit(MEASURED))


def scaling_note(coverage: pl.Expr) -> pl.Expr:
    """What was done about missing coverage; null where nothing is missing."""
    low = pl.lit(f"coverage below {rules.SCALING_COVERAGE_PCT:.0f} %, left out of ratios")
    return pl.when(~scalable(coverage)).then(low).when(~full(coverage)).then(pl.lit("scaled to full activity"))
