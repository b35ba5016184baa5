"""Canonical signals: cast to the catalogue's type and hold to its limits."""

from __future__ import annotations

import math
from typing import cast

import polars as pl

from ingest.checks.values import Values, booleans_in, nothing, numbers_in, values_of
from schemas.frames import POLARS_TYPE
from schemas.signals import SIGNALS, Kind, Signal


def all_fine(frame: pl.DataFrame) -> set[str]:
    """Canonical columns that have the catalogue's type and no value to complain of: at the cost of three sums."""
    return {name for name in frame.columns if name in SIGNALS and _is_as_wanted(frame[name], SIGNALS[name])}


def _is_as_wanted(column: pl.Series, signal: Signal) -> bool:
    if column.dtype != POLARS_TYPE[signal.kind] or signal.kind is Kind.INTEGER:
        return False
    if signal.kind is Kind.BOOLEAN:
        return True
    low, high = cast(float | None, column.min()), cast(float | None, column.max())
    if low is None or high is None or not (signal.low <= low and high <= signal.high):
        return False
    return not math.isnan(column.sum())  # minimum and maximum pass NaN over


def read_signal(column: pl.Series, signal: Signal) -> tuple[pl.Series, pl.Series | None]:
    """The usable values of a column in the catalogue's type, and why the others are not (None: all are)."""
    if signal.kind is Kind.BOOLEAN:
        clean, reason = _read_booleans(column)
    else:
        clean, reason = _read_numbers(column, signal)
    return clean.cast(POLARS_TYPE[signal.kind]).alias(column.name), reason


def _read_numbers(column: pl.Series, signal: Signal) -> tuple[pl.Series, pl.Series | None]:
    values = values_of(column)
    number = values.number
    if values.text is not None:
        written = numbers_in(values.text)
        number = written if number is None else number.zip_with(number.is_not_null(), written)
        number = number.fill_nan(None)
    if number is None:
        number = nothing(pl.Float64(), column.len())
    if _is_fine(number, values, signal):
        return number, None
    reasons = _frame(values, number).select(
        pl.when(pl.col("nested").is_not_null()).then(pl.lit("nested or not a number"))
        .when(pl.col("number").is_null() & pl.any_horizontal(pl.col("boolean", "text").is_not_null()))
        .then(pl.lit("not a number"))
        .when(pl.col("number").is_infinite()).then(pl.lit("infinite"))
        .when(pl.col("number") > signal.high).then(pl.lit(f"above {signal.high:.10g}"))
        .when(pl.col("number") < signal.low).then(pl.lit(f"below {signal.low:.10g}"))
        .when(_is_broken(signal)).then(pl.lit("not a whole number"))
    ).to_series()  # fmt: skip
    return number.set(reasons.is_not_null(), None), reasons


def _is_fine(number: pl.Series, values: Values, signal: Signal) -> bool:
    """Whether there is nothing to complain of: the common case, at the cost of a minimum and a maximum."""
    if values.boolean is not None or values.nested is not None:
        return False
    if values.text is not None and values.number is not None:
        return False
    if values.text is not None and number.null_count() != values.text.null_count():
        return False
    low, high = number.min(), number.max()
    within = low is None or (low >= signal.low and high <= signal.high)  # type: ignore[operator]
    whole = signal.kind is not Kind.INTEGER or number.equals(number.round())
    return bool(within and whole)


def _is_broken(signal: Signal) -> pl.Expr:
    return (pl.col("number") != pl.col("number").round()) if signal.kind is Kind.INTEGER else pl.lit(False)


def _frame(values: Values, number: pl.Series) -> pl.DataFrame:
    def part(series: pl.Series | None, dtype: pl.DataType) -> pl.Series:
        return series if series is not None else nothing(dtype, number.len())

    return pl.DataFrame({
        "number": number,
        "boolean": part(values.boolean, pl.Boolean()),
        "text": part(values.text, pl.String()),
        "nested": part(values.nested, pl.String()),
    })  # fmt: skip


def _read_booleans(column: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    values = values_of(column)
    if values.boolean is not None and column.dtype == pl.Boolean:
        return values.boolean, None
    none = nothing(pl.Float64(), column.len())
    frame = _frame(values, values.number if values.number is not None else none)
    frame = frame.with_columns(written=booleans_in(frame["text"])).with_columns(
        clean=pl.coalesce(
            "boolean",
            "written",
            pl.when(pl.col("number").is_in([0.0, 1.0])).then(pl.col("number") == 1),
        )
    )
    sent = pl.any_horizontal(pl.col("number", "boolean", "text", "nested").is_not_null())
    unreadable = pl.when(sent & pl.col("clean").is_null()).then(pl.lit("not true or false"))
    reasons = frame.select(unreadable).to_series()
    return frame["clean"], reasons if reasons.null_count() < reasons.len() else None
