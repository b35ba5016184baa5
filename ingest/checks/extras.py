"""Signals outside the catalogue: numbers, booleans and short texts, each of one kind per vehicle and name."""

from __future__ import annotations

import polars as pl

from ingest.checks.values import booleans_in, nothing, numbers_in, values_of
from schemas.frames import EXTRA_SCHEMA, NO_EXTRAS, NO_REJECTS, REJECT_SCHEMA

MAX_CHARACTERS = 64
NO_TEXT = "holds a NUL character or broken Unicode"
KIND_SCHEMA: dict[str, pl.DataType] = {"vehicle_id": pl.Int32(), "name": pl.String(), "kind": pl.String()}
_NAME = r"^[^\x00-\x1f\x7f]{1,64}$"
_PARTS = {"number": pl.Float64(), "boolean": pl.Boolean(), "text": pl.String(), "nested": pl.String()}


def read_extras(
    frame: pl.DataFrame, keys: pl.DataFrame, kinds: pl.DataFrame, *, typed: bool
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read the extra columns of `frame`, whose rows are named by `keys` (row, vehicle_id, time).

    `kinds` (vehicle_id, name, kind) are those already fixed. Where none is, the first value of the vehicle decides;
    in a format without types (`typed` false), a column whose every value is a number or a boolean is one.

    Returns:
        Values by EXTRA_SCHEMA, and rejected fields by REJECT_SCHEMA.
    """
    parts = [_long(frame[name], keys) for name in frame.columns]
    empty = pl.DataFrame(schema={**{k: EXTRA_SCHEMA[k] for k in ("row", "vehicle_id", "time", "name")}, **_PARTS})
    sent = pl.concat([empty, *parts])
    if not sent.height:
        return NO_EXTRAS, NO_REJECTS
    sent = sent.with_columns(as_number=numbers_in(sent["text"]), as_boolean=booleans_in(sent["text"]))
    sent = sent.join(kinds, on=["vehicle_id", "name"], how="left", maintain_order="left")
    sent = sent.with_columns(kind=pl.coalesce("kind", _first_kind(typed=typed)))
    sent = sent.with_columns(
        value=pl.when(pl.col("kind") == "number").then(pl.coalesce("number", "as_number"))
        .when(pl.col("kind") == "boolean").then(pl.coalesce("boolean", "as_boolean").cast(pl.Float64)),
    )  # fmt: skip
    sent = sent.with_columns(reason=_reason())
    good = sent.filter(pl.col("reason").is_null()).with_columns(
        number="value", text=pl.when(pl.col("kind") == "text").then(pl.col("text"))
    )
    return good.select(*EXTRA_SCHEMA), _rejects(sent.filter(pl.col("reason").is_not_null()))


def _long(column: pl.Series, keys: pl.DataFrame) -> pl.DataFrame:
    """The measured values of one column, one row each."""
    values = values_of(column)
    parts = {name: getattr(values, name) for name in _PARTS}
    filled = [
        nothing(dtype, column.len()).alias(name) if parts[name] is None else parts[name].alias(name)
        for name, dtype in _PARTS.items()
    ]
    named = keys.select("row", "vehicle_id", "time", name=pl.lit(column.name))
    return named.hstack(filled).filter(pl.any_horizontal(pl.col(*_PARTS).is_not_null()))


def _first_kind(*, typed: bool) -> pl.Expr:
    """The kind of a signal not seen before; null where no value can tell."""
    group = ["vehicle_id", "name"]
    own = (
        pl.when(pl.col("number").is_not_null()).then(pl.lit("number"))
        .when(pl.col("boolean").is_not_null()).then(pl.lit("boolean"))
        .when(pl.col("text").is_not_null()).then(pl.lit("text"))
    )  # fmt: skip
    if typed:
        return own.drop_nulls().first().over(group)
    return (
        pl.when(pl.col("as_number").is_not_null().all().over(group)).then(pl.lit("number"))
        .when(pl.col("as_boolean").is_not_null().all().over(group)).then(pl.lit("boolean"))
        .otherwise(pl.lit("text"))
    )  # fmt: skip


def _reason() -> pl.Expr:
    is_text = pl.col("kind") == "text"
    return (
        pl.when(~pl.col("name").str.contains(_NAME)).then(pl.lit("its name is empty, too long or not printable"))
        .when(pl.col("nested").is_not_null()).then(pl.lit("neither a number, a boolean nor text"))
        .when(is_text & pl.col("text").is_null()).then(pl.lit("changes type: it is text"))
        .when(is_text & (pl.col("text").str.len_chars() > MAX_CHARACTERS))
        .then(pl.lit(f"longer than {MAX_CHARACTERS} characters"))
        .when(is_text & pl.col("text").str.contains("\x00", literal=True)).then(pl.lit(NO_TEXT))
        .when(~is_text & pl.col("value").is_null()).then(pl.format("changes type: it is a {}", "kind"))
        .when(pl.col("value").is_infinite()).then(pl.lit("infinite"))
    )  # fmt: skip


def _rejects(rejected: pl.DataFrame) -> pl.DataFrame:
    number = pl.col("number").cast(pl.String).str.strip_suffix(".0")
    value = pl.coalesce(number, pl.col("boolean", "text", "nested").cast(pl.String)).str.slice(0, 200)
    field = pl.col("name").str.slice(0, 200)
    return rejected.select("row", "vehicle_id", "time", field=field, value=value, reason="reason").select(
        pl.col(name).cast(dtype) for name, dtype in REJECT_SCHEMA.items()
    )
