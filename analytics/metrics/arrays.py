"""Names of the arrays that the metrics compute with, and the way from columns to arrays and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.frames import UTC_TIME

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
Flags = NDArray[np.bool_]
Numbers = TypeVar("Numbers", Floats, Whole, Flags)


def floats(column: pl.Series) -> Floats:
    """A column of numbers, flags or days as numbers; NaN where it is null."""
    return column.cast(pl.Float64).to_numpy()


def microseconds(column: pl.Series) -> Whole:
    """A column of times without nulls, in microseconds since 1970."""
    return column.cast(pl.Int64).to_numpy()


def nullable(name: str, values: Floats, type_: pl.DataType | type[pl.DataType] = pl.Float64) -> pl.Series:
    """A column of `type_`, null where `values` are NaN: times in microseconds, days numbered, both from 1970."""
    column = pl.Series(name, values, pl.Float64, nan_to_null=True)
    return column if type_ == pl.Float64 else column.cast(pl.Int64).cast(type_)


def times(name: str, us: Whole) -> pl.Series:
    """A column of times, given in microseconds since 1970."""
    return pl.Series(name, us, pl.Int64).cast(UTC_TIME)


def words(name: str, numbers: Whole, among: Sequence[str | None]) -> pl.Series:
    """A column of words, by their numbers in `among`."""
    return pl.Series(name, np.array(among, object)[numbers].tolist(), pl.String)


def numbers(column: pl.Series, among: Sequence[str | None]) -> Whole:
    """The other way: the number of each word in `among`."""
    number = {word: n for n, word in enumerate(among)}
    return np.array([number[word] for word in column.to_list()], np.int64)


def of_vehicles(vehicles: pl.DataFrame, fact: str, vehicle_id: Whole) -> Floats:
    """What is declared of each of `vehicle_id`, all of which are among `vehicles`; NaN where nothing is."""
    ids = vehicles["vehicle_id"].to_numpy()
    order = np.argsort(ids)
    return floats(vehicles[fact])[order[np.searchsorted(ids, vehicle_id, sorter=order)]]


def median(values: Floats) -> float:
    """The median of some values, none of them NaN: for few of them a fifth of the time of numpy's own."""
    low, high = (len(values) - 1) // 2, len(values) // 2
    parted = np.partition(values, (low, high))
    return float(parted[low] + parted[high]) / 2
