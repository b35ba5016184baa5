"""A column as sent, whatever its type, as numbers, booleans and texts."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ingest.decoders.decoded import MIXED

SHOWN_CHARACTERS = 200
_NOT_MEASURED = ("", "nan", "null")
_TRUE, _FALSE = ("true", "1"), ("false", "0")


@dataclass(frozen=True)
class Values:
    """One column in parts of equal length; at most one part of a row is not null. All null: not measured.

    NaN, empty text and the words nan and null are not measured. `nested` holds whatever is no number, boolean or text.
    """

    number: pl.Series | None = None
    boolean: pl.Series | None = None
    text: pl.Series | None = None
    nested: pl.Series | None = None


def values_of(column: pl.Series) -> Values:
    """Take a column apart."""
    dtype = column.dtype
    if dtype == pl.Null:
        return Values()
    if dtype.is_numeric():
        return Values(number=column.cast(pl.Float64, strict=False).fill_nan(None))
    if dtype == pl.Boolean:
        return Values(boolean=column)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return Values(text=_measured(column.cast(pl.String)))
    if dtype == MIXED:
        part = column.struct.field
        return Values(part("number").fill_nan(None), part("boolean"), _measured(part("text")), part("nested"))
    return Values(nested=shown(column))


def nothing(dtype: pl.DataType, length: int) -> pl.Series:
    """A column of nulls."""
    return pl.Series([None], dtype=dtype).new_from_index(0, length)


def _measured(text: pl.Series) -> pl.Series:
    stripped = text.str.strip_chars()
    return stripped.set(stripped.str.to_lowercase().is_in(_NOT_MEASURED), None)


def shown(column: pl.Series) -> pl.Series:
    """The values as text for people: short."""
    if column.dtype == MIXED:
        parts = column.struct.unnest().select(pl.all().cast(pl.String))
        text = parts.select(pl.coalesce(pl.all())).to_series()
    elif column.dtype == pl.Binary:
        text = pl.Series(column.name, ["(binary)"] * column.len()).set(column.is_null(), None)
    elif column.dtype.is_nested():
        text = column.map_elements(_shown_nested, return_dtype=pl.String)  # values that never load
    else:
        text = column.cast(pl.String, strict=False)
    if column.dtype.is_float() or column.dtype == MIXED:
        text = text.str.strip_suffix(".0")
    return text.str.slice(0, SHOWN_CHARACTERS)


def _shown_nested(value: object) -> str:
    return str(value.to_list() if isinstance(value, pl.Series) else value)[:SHOWN_CHARACTERS]


def numbers_in(text: pl.Series) -> pl.Series:
    """Numbers written as text; null where there is none."""
    return text.cast(pl.Float64, strict=False)


def booleans_in(text: pl.Series) -> pl.Series:
    """Booleans written as text: true, false, 1, 0; null where there is none."""
    lower = text.str.to_lowercase()
    frame = lower.to_frame("text").select(
        pl.when(pl.col("text").is_in(_TRUE)).then(True).when(pl.col("text").is_in(_FALSE)).then(False)
    )
    return frame.to_series()
