"""Fields that came in a wrong unit, put right before anything else is looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from ingest.checks.rows import TIME, VEHICLE
from ingest.checks.values import numbers_in
from ingest.decoders.decoded import MIXED, Decoded
from schemas.errors import CorrectionError
from schemas.signals import SIGNALS


@dataclass(frozen=True, slots=True)
class Scale:
    """A value is sent × factor + offset."""

    factor: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and math.isfinite(self.offset)) or not self.factor:
            raise CorrectionError("a factor must be a number other than 0, and an offset a number")

    @property
    def is_nothing(self) -> bool:
        """Whether values stay as they were sent."""
        return self.factor == 1 and not self.offset

    def of(self, number: pl.Expr) -> pl.Expr:
        """The numbers put right."""
        scaled = number.cast(pl.Float64) * self.factor
        return scaled + self.offset if self.offset else scaled


def scaled(decoded: Decoded, scales: Mapping[str, Scale]) -> Decoded:
    """The rows with these fields put right, in numbers and in text that is a number; what is none stays as it is.

    Raises:
        CorrectionError: no row has such a field.
    """
    sent = [name for name in decoded.frame.columns if name not in (TIME, VEHICLE)]
    unknown = [name for name in scales if name not in sent]
    if unknown:
        raise CorrectionError(f"{unknown[0]} is no field of this upload; it has {', '.join(sent) or 'none'}")
    right = {name: _column(decoded.frame[name], scale, decoded) for name, scale in scales.items()}
    return replace(decoded, frame=decoded.frame.with_columns(**right))


def _column(column: pl.Series, scale: Scale, decoded: Decoded) -> pl.Series:
    # Text in quotes is text where a format tells it from numbers, but for signals that are always numbers.
    reads_text = column.name in SIGNALS or not decoded.typed
    if column.dtype.is_numeric():
        return pl.select(scale.of(pl.lit(column))).to_series()
    if column.dtype == MIXED:
        parts = column.struct.unnest().with_columns(number=scale.of(pl.col("number")))
        text = _text(parts["text"], scale) if reads_text else parts["text"]
        return parts.with_columns(text=text).to_struct()
    if column.dtype in (pl.String, pl.Categorical, pl.Enum) and reads_text:
        return _text(column.cast(pl.String), scale)
    return column


def _text(text: pl.Series, scale: Scale) -> pl.Series:
    """Numbers in text, put right, as text: the shortest that reads as the same number."""
    read = pl.DataFrame({"text": text, "number": numbers_in(text.str.strip_chars())})
    right = pl.when(pl.col("number").is_finite()).then(scale.of(pl.col("number")).cast(pl.String)).otherwise("text")
    return read.select(right).to_series()
