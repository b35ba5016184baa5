"""What is new, what is known, what contradicts: checked rows against stored ones. Pure.

A key is a vehicle and an instant. The first value of a signal at a key stays: the stored one, else the first in the
upload. A later value within the catalogue's resolution is the same, any other contradicts and is quarantined.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import polars as pl

from ingest.checks.times import micros
from schemas.frames import NO_REJECTS
from schemas.signals import SIGNALS, Kind

KEY = ["vehicle_id", "time"]
EXTRA_KEY = ["vehicle_id", "signal_id", "time"]
DIFFERS = "stored value differs"
_STORED, _ADDS, _DIFFERS = "stored ", "adds ", "differs "
_ROUNDING = 1 + 1e-9


class RowClass(IntEnum):
    """What a usable row turned out to be."""

    ACCEPTED = 0
    MERGED = 1
    DUPLICATE = 2
    CONFLICTING = 3


@dataclass(frozen=True)
class Outcome:
    """What loading has to do.

    `inserts`: vehicle_id, time, signals, one row per key that is not stored. `updates`: the same for stored keys, only
    values to add. `extras`: vehicle_id, signal_id, time, number, text to insert. `classes`: row, vehicle_id, time,
    row_class (RowClass), changes (whether it adds anything). `conflicts` by REJECT_SCHEMA.
    """

    inserts: pl.DataFrame
    updates: pl.DataFrame
    extras: pl.DataFrame
    classes: pl.DataFrame
    conflicts: pl.DataFrame


def classify(rows: pl.DataFrame, extras: pl.DataFrame, stored: pl.DataFrame, stored_extras: pl.DataFrame) -> Outcome:
    """Tell what to do with checked rows.

    Args:
        rows: row, vehicle_id, time, canonical signals; in the order of the upload.
        extras: row, vehicle_id, time, name, signal_id, number, text.
        stored: vehicle_id, time and the same signals, of every key of `rows` that is stored (others do not matter).
        stored_extras: vehicle_id, signal_id, time, number, text, of the keys of `extras` that are stored.
    """
    signals = rows.columns[3:]
    touched = _touched(rows, stored)
    if touched is None:
        return _all_new(rows, extras)
    fresh = rows.filter(~touched)
    compared = _compare(rows.filter(touched), stored, signals)
    compared_extras = _compare_extras(extras, stored_extras)
    compared = _with_extras(compared, compared_extras)
    is_stored = pl.col("is stored")
    inserts = compared.filter(~is_stored).group_by(KEY, maintain_order=True).agg(_first(s) for s in signals)
    updates = compared.filter(is_stored & pl.any_horizontal(False, *(pl.col(_ADDS + s) for s in signals)))
    updates = updates.group_by(KEY, maintain_order=True).agg(
        pl.col(s).filter(pl.col(_ADDS + s)).first() for s in signals
    )
    return Outcome(
        inserts=pl.concat([fresh.drop("row"), inserts.select(fresh.columns[1:])]),
        updates=_without_empty_columns(updates),
        extras=compared_extras.filter("adds").select(*EXTRA_KEY, "number", "text"),
        classes=pl.concat([_classes_of_new(fresh), _classes(compared, signals)]),
        conflicts=_conflicts(compared, compared_extras, signals),
    )


def _touched(rows: pl.DataFrame, stored: pl.DataFrame) -> pl.Series | None:
    """Which rows share their key with a stored row or another row of the upload; None: none does."""
    if not stored.height and _in_order(rows):
        return None
    repeated = rows.select(pl.struct(KEY).is_duplicated()).to_series()
    if stored.height:
        known = rows.select(KEY).join(
            stored.select(*KEY, known=pl.lit(True)), on=KEY, how="left", maintain_order="left"
        )["known"]
        repeated = repeated | known.fill_null(False)
    return repeated if repeated.any() else None


def _in_order(rows: pl.DataFrame) -> bool:
    """Each row is later than the one before, or of a vehicle with a larger number: then none shares its key."""
    vehicle_id, time = rows["vehicle_id"].to_numpy(), micros(rows["time"])
    larger, same = vehicle_id[1:] > vehicle_id[:-1], vehicle_id[1:] == vehicle_id[:-1]
    return bool((larger | (same & (time[1:] > time[:-1]))).all())


def _all_new(rows: pl.DataFrame, extras: pl.DataFrame) -> Outcome:
    inserts = rows[rows.columns[1:]]
    return Outcome(
        inserts=inserts,
        updates=inserts[:0],
        extras=extras[[*EXTRA_KEY, "number", "text"]],
        classes=_classes_of_new(rows),
        conflicts=NO_REJECTS,
    )


def _first(signal: str) -> pl.Expr:
    return pl.col(signal).drop_nulls().first()


def _classes_of_new(rows: pl.DataFrame) -> pl.DataFrame:
    row_class = pl.Series("row_class", np.full(rows.height, RowClass.ACCEPTED, np.int8))
    changes = pl.Series("changes", np.ones(rows.height, np.bool_))
    return pl.DataFrame([rows["row"], rows["vehicle_id"], rows["time"], row_class, changes])


def _compare(touched: pl.DataFrame, stored: pl.DataFrame, signals: list[str]) -> pl.DataFrame:
    """Per row: `is stored`, `is first` of its key in the upload, and per signal whether it adds or differs."""
    renamed = stored.select(*KEY, pl.lit(True).alias("is stored"), *(pl.col(s).alias(_STORED + s) for s in signals))
    joined = touched.join(renamed, on=KEY, how="left", maintain_order="left").with_columns(
        pl.col("is stored").fill_null(False),
        pl.struct(KEY).is_first_distinct().alias("is first"),
    )
    several = not joined["is first"].all()
    added = joined.with_columns(_adds(s, several=several).alias(_ADDS + s) for s in signals)
    return added.with_columns(_differs(s, several=several).alias(_DIFFERS + s) for s in signals)


def _adds(signal: str, *, several: bool) -> pl.Expr:
    value = pl.col(signal)
    new = value.is_not_null() & pl.col(_STORED + signal).is_null()
    if not several:
        return new
    first_row = pl.col("row").filter(value.is_not_null()).first().over(KEY)
    return new & (pl.col("row") == first_row)


def _differs(signal: str, *, several: bool) -> pl.Expr:
    value, held = pl.col(signal), pl.col(_STORED + signal)
    if several:
        held = pl.coalesce(held, _first(signal).over(KEY))
    spec = SIGNALS[signal]
    other = value != held if spec.kind is Kind.BOOLEAN else (value - held).abs() > spec.resolution * _ROUNDING
    return other.fill_null(False) & ~pl.col(_ADDS + signal)


def _compare_extras(extras: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """Per value whether it adds to its key or differs from what is there."""
    held = stored.select(*EXTRA_KEY, pl.lit(True).alias("is stored"), held_number="number", held_text="text")
    joined = extras.join(held, on=EXTRA_KEY, how="left", maintain_order="left").with_columns(
        pl.col("is stored").fill_null(False), (pl.struct(EXTRA_KEY).is_first_distinct()).alias("is first")
    )
    first = {name: pl.col(name).first().over(EXTRA_KEY) for name in ("number", "text")}
    joined = joined.with_columns(
        held_number=pl.when("is stored").then(pl.col("held_number")).otherwise(first["number"]),
        held_text=pl.when("is stored").then(pl.col("held_text")).otherwise(first["text"]),
        adds=~pl.col("is stored") & pl.col("is first"),
    )
    same = pl.col("number").eq_missing(pl.col("held_number")) & pl.col("text").eq_missing(pl.col("held_text"))
    return joined.with_columns(differs=~same & ~pl.col("adds"))


def _with_extras(compared: pl.DataFrame, extras: pl.DataFrame) -> pl.DataFrame:
    per_row = extras.group_by("row").agg(
        pl.col("adds").any().alias("extra adds"), pl.col("differs").any().alias("extra differs")
    )
    return compared.join(per_row, on="row", how="left", maintain_order="left").with_columns(
        pl.col("extra adds", "extra differs").fill_null(False)
    )


def _classes(compared: pl.DataFrame, signals: list[str]) -> pl.DataFrame:
    adds = pl.any_horizontal("extra adds", *(_ADDS + s for s in signals))
    differs = pl.any_horizontal("extra differs", *(_DIFFERS + s for s in signals))
    opens = ~pl.col("is stored") & pl.col("is first")
    row_class = (
        pl.when(differs).then(RowClass.CONFLICTING.value)
        .when(opens).then(RowClass.ACCEPTED.value)
        .when(adds).then(RowClass.MERGED.value)
        .otherwise(RowClass.DUPLICATE.value)
    )  # fmt: skip
    return compared.select("row", *KEY, row_class=row_class.cast(pl.Int8), changes=adds | opens)


def _without_empty_columns(updates: pl.DataFrame) -> pl.DataFrame:
    kept = [name for name in updates.columns if name in KEY or updates[name].null_count() < updates.height]
    return updates.select(kept)


def _conflicts(compared: pl.DataFrame, extras: pl.DataFrame, signals: list[str]) -> pl.DataFrame:
    """The values that were not stored because another one is."""
    faults = [
        compared.filter(pl.col(_DIFFERS + s)).select("row", *KEY, field=pl.lit(s), value=pl.col(s).cast(pl.String))
        for s in signals
    ]
    text = pl.coalesce("text", pl.col("number").cast(pl.String))
    faults.append(extras.filter("differs").select("row", *KEY, field="name", value=text))
    return pl.concat(faults).select(
        "row", *KEY, "field", value=pl.col("value").str.strip_suffix(".0"), reason=pl.lit(DIFFERS)
    )
