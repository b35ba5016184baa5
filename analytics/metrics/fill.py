"""Values between samples, on rows sorted by vehicle and time.

Rows carry `row` (position), `first_row` and `last_row` (those of their vehicle) and `us` (time in microseconds). Fills
run over the whole column and are then limited to the vehicle, which is many times faster than a window per vehicle.
An *interval* is a row and the next one of its vehicle; what is said of it is stored on its first row.
"""

from __future__ import annotations

import polars as pl

ROW, FIRST, LAST, US = pl.col("row"), pl.col("first_row"), pl.col("last_row"), pl.col("us")
HAS_NEXT = ROW < LAST
US_PER_S = 1e6


def indexed(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Add `row`, `first_row`, `last_row` and `us` to rows sorted by vehicle and time."""
    vehicle = pl.col("vehicle_id")
    row = pl.int_range(pl.len(), dtype=pl.Int64)
    starts = vehicle.ne_missing(vehicle.shift(1))
    ends = vehicle.ne_missing(vehicle.shift(-1))
    return rows.with_columns(
        row=row,
        first_row=pl.when(starts).then(row).forward_fill(),
        last_row=pl.when(ends).then(row).backward_fill(),
        us=pl.col("time").dt.epoch("us"),
    )


def known_before(value: pl.Expr) -> pl.Expr:
    """True where the vehicle has a value on this row or an earlier one."""
    return (pl.when(value.is_not_null()).then(ROW).forward_fill() >= FIRST).fill_null(False)


def known_after(value: pl.Expr) -> pl.Expr:
    """True where the vehicle has a value on this row or a later one."""
    return (pl.when(value.is_not_null()).then(ROW).backward_fill() <= LAST).fill_null(False)


def carried(value: pl.Expr) -> pl.Expr:
    """The vehicle's last value up to this row."""
    return pl.when(known_before(value)).then(value.forward_fill())


def carried_for(value: pl.Expr, seconds: float) -> pl.Expr:
    """The vehicle's last value up to this row, if it is at most `seconds` old."""
    age = US - pl.when(value.is_not_null()).then(US).forward_fill()
    return pl.when(known_before(value) & (age <= seconds * US_PER_S)).then(value.forward_fill())


def next_of(flag: pl.Expr) -> pl.Expr:
    """A flag on the vehicle's next row; false on its last."""
    return (flag.shift(-1) & HAS_NEXT).fill_null(False)
