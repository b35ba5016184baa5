"""From wide day tables to figures in long form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

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
    """How one metric's figure is read from a wide day table; `None` is null.

    There is none but where `only` holds. One that `scales` is given as seen: it is scaled to full activity as its
    coverage allows, and gets method, bounds and a further note from that.
    """

    value: pl.Expr
    coverage_pct: pl.Expr | None = None
    weight: pl.Expr | None = None
    method: pl.Expr | None = None
    note: pl.Expr | None = None
    low: pl.Expr | None = None
    high: pl.Expr | None = None
    only: pl.Expr | None = None
    scales: bool = False

    def parts(self) -> dict[str, pl.Expr]:
        """What is to be read of each vehicle and day, without what is null."""
        parts = {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "coverage_pct": self.coverage_pct,
            "weight": self.weight,
            "method": pl.lit(MEASURED) if self.method is None else self.method,
            "note": self.note,
            "holds": pl.lit(True) if self.only is None else self.only,
            "scales": pl.lit(self.scales),
        }
        return {name: part for name, part in parts.items() if part is not None}


PARTS = {name: type_ for name, type_ in COLUMNS.items() if name not in (*KEYS, "metric")}
_READ: dict[str, pl.DataType] = {**PARTS, "holds": pl.Boolean(), "scales": pl.Boolean()}


class Listing:
    """How figures are read from a wide day table. Worth keeping: it takes longer to make than to use.

    What is the same for all figures is computed below each other, once, and not figure by figure.
    """

    def __init__(self, figures: Mapping[str, Figure]) -> None:
        """Keep how each metric's figure is read."""
        self._slugs = pl.Series("metric", list(figures), dtype=pl.String)
        self._scales = any(figure.scales for figure in figures.values())
        self._computed: list[pl.Expr] = []
        parts = [figure.parts() for figure in figures.values()]
        self._sources = {name: [self._source(name, known.get(name)) for known in parts] for name in _READ}

    def _source(self, name: str, part: pl.Expr | None) -> str | pl.Series:
        """The column to read a part from: one that is there, or one to compute; or a value, the same for all."""
        if part is None:
            return pl.Series(name, [None], _READ[name])
        if part.meta.is_literal():
            return pl.select(part.cast(_READ[name]).alias(name)).to_series()
        if part.meta.is_column():
            return part.meta.output_name()
        self._computed.append(part.alias(f"{len(self._computed)}.{name}"))
        return self._computed[-1].meta.output_name()

    def of(self, wide: pl.DataFrame) -> pl.DataFrame:
        """The figures in long form: one figure of all vehicles and days after the other.

        A figure has a row where it has a value, or a note that says why not.
        """
        if wide.is_empty():
            return pl.DataFrame(schema=COLUMNS)
        read = wide.with_columns(self._computed)
        place = pl.int_range(len(self._slugs) * read.height, eager=True)
        below = [self._below(read, name) for name in _READ]
        keys = [read[key].gather(place % read.height) for key in KEYS]
        long = pl.DataFrame([*keys, self._slugs.gather(place // read.height), *below]).lazy().filter("holds")
        if self._scales:
            long = long.with_columns(**_by_coverage())
        return (
            long.with_columns(
                pl.col("coverage_pct").clip(0, 100), method=pl.when(pl.col("value").is_not_null()).then("method")
            )
            .filter(pl.col("value").is_not_null() | pl.col("note").is_not_null())
            .select(*COLUMNS)
            .collect()
        )

    def _below(self, read: pl.DataFrame, name: str) -> pl.Series:
        """One part of all figures, one under the other."""
        height, type_ = read.height, _READ[name]
        return pl.concat(
            read[source].cast(type_) if isinstance(source, str) else source.new_from_index(0, height)
            for source in self._sources[name]
        ).alias(name)


@cache
def _by_coverage() -> dict[str, pl.Expr]:
    """What scaling makes of the figures that ask for it."""
    value, coverage, scales = pl.col("value"), pl.col("coverage_pct"), pl.col("scales")
    low, high = scaled_bounds(value, coverage)
    note = pl.when(value.is_not_null()).then(notes(pl.col("note"), scaling_note(coverage)))
    scaling = {
        "value": scaled(value, coverage), "low": low, "high": high, "method": scaling_method(coverage), "note": note,
    }  # fmt: skip
    return {name: pl.when(scales).then(part).otherwise(name) for name, part in scaling.items()}


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
