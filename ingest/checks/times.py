"""The time of each row: RFC 3339 with an offset, or an epoch number; without a zone only where one was declared."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest.checks.values import nothing, shown, values_of
from schemas.errors import MalformedBodyError
from schemas.frames import UTC_TIME

MISSING = "time is missing"
NOT_A_TIME = "not a time: use RFC 3339 with an offset, or an epoch number"
NO_ZONE = "time without a zone: send an offset or use ?tz="
_ZULU, _RFC3339 = "%Y-%m-%dT%H:%M:%SZ", "%+"
_LOCAL = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f")
_SECONDS_BELOW, _MILLIS_BELOW, _MICROS_BELOW = 1e11, 1e14, 1e17


@dataclass(frozen=True)
class Times:
    """`time`: UTC, null where unusable; `reason`: why, null where usable (None: all are)."""

    time: pl.Series
    reason: pl.Series | None = None


def micros(time: pl.Series) -> NDArray[np.int64]:
    """UTC times without nulls as microseconds since 1970."""
    return time.cast(pl.Int64).to_numpy()


def read_times(column: pl.Series, zone: str | None) -> Times:
    """Read a column of times.

    Epoch numbers count by size: below 1e11 seconds (fractions allowed), below 1e14 milliseconds, below 1e17
    microseconds, else nanoseconds, rounded to microseconds. Local times that a clock change makes ambiguous or skips
    are unusable.

    Raises:
        MalformedBodyError: `zone` is no IANA time zone.
    """
    _check_zone(zone)
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        return _with_reasons(column, *_localise(column.dt.cast_time_unit("us"), zone))
    if isinstance(dtype, pl.Datetime):
        return _with_reasons(column, column.dt.convert_time_zone("UTC").dt.cast_time_unit("us"))
    if dtype.is_integer():
        return _with_reasons(column, _from_integer(column))
    if dtype == pl.String and not (time := _parse(column, _ZULU, "UTC")).null_count():
        return Times(time)  # nearly always
    values = values_of(column)
    number = values.number if values.number is not None else nothing(pl.Float64(), column.len())
    text = values.text if values.text is not None else nothing(pl.String(), column.len())
    from_text, local_reason = _from_text(text, zone)
    time = from_epoch(number).zip_with(number.is_not_null(), from_text)
    return _with_reasons(column, time, local_reason)


def _check_zone(zone: str | None) -> None:
    try:
        if zone is not None:
            ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise MalformedBodyError(f"?tz={zone} is not an IANA time zone, such as Africa/Casablanca") from None


def _with_reasons(column: pl.Series, time: pl.Series, local_reason: pl.Series | None = None) -> Times:
    """Say why a time is null: a local time's own reason, nothing sent, or nothing readable."""
    if not time.null_count():
        return Times(time)
    sent = shown(column)
    frame = pl.DataFrame({
        "time": time,
        "sent": sent,
        "local": local_reason if local_reason is not None else nothing(pl.String(), column.len()),
    })  # fmt: skip
    empty = pl.col("sent").is_null() | pl.col("sent").str.strip_chars().str.to_lowercase().is_in(["", "nan", "null"])
    reason = pl.when(pl.col("time").is_null()).then(
        pl.coalesce("local", pl.when(empty).then(pl.lit(MISSING)).otherwise(pl.lit(NOT_A_TIME)))
    )
    return Times(time, frame.select(reason).to_series())


def from_epoch(number: pl.Series) -> pl.Series:
    """Epoch numbers (Float64) as UTC times with microseconds; null where they are beyond all bounds."""
    size = pl.col("n").abs()
    us = (
        pl.when(size < _SECONDS_BELOW).then(pl.col("n") * 1e6)
        .when(size < _MILLIS_BELOW).then(pl.col("n") * 1e3)
        .when(size < _MICROS_BELOW).then(pl.col("n"))
        .otherwise(pl.col("n") / 1e3)
    )  # fmt: skip
    return number.to_frame("n").select(us.round().cast(pl.Int64, strict=False).cast(UTC_TIME)).to_series()


def _from_integer(number: pl.Series) -> pl.Series:
    """Epoch integers, without the rounding that large nanoseconds suffer as floats."""
    whole = number.cast(pl.Int64, strict=False)
    if _are_seconds(whole):
        return (whole * 1_000_000).cast(UTC_TIME)  # nearly always
    size = pl.col("n").abs()
    us = (
        pl.when(size < _SECONDS_BELOW).then(pl.col("n") * 1_000_000)
        .when(size < _MILLIS_BELOW).then(pl.col("n") * 1_000)
        .when(size < _MICROS_BELOW).then(pl.col("n"))
        .otherwise((pl.col("n") + 500) // 1_000)
    )  # fmt: skip
    return whole.to_frame("n").select(us.cast(UTC_TIME)).to_series()


def _are_seconds(whole: pl.Series) -> bool:
    if whole.null_count():
        return False
    n = whole.to_numpy()
    return bool(((n > -_SECONDS_BELOW) & (n < _SECONDS_BELOW)).all())


def _from_text(text: pl.Series, zone: str | None) -> tuple[pl.Series, pl.Series | None]:
    """Times in text, tried from the commonest form to the rarest; with the reasons of local times."""
    time = _parse(text, _ZULU, "UTC")
    if time.null_count() == text.null_count():
        return time, None
    time = time.zip_with(time.is_not_null(), _parse(text, _RFC3339, "UTC"))
    if time.null_count() == text.null_count():
        return time, None
    time = time.zip_with(time.is_not_null(), from_epoch(text.cast(pl.Float64, strict=False)))
    local = _parse(text, _LOCAL[0], None)
    local = local.zip_with(local.is_not_null(), _parse(text, _LOCAL[1], None))
    localised, reason = _localise(local, zone)
    return time.zip_with(time.is_not_null(), localised), reason


def _parse(text: pl.Series, form: str, zone: str | None) -> pl.Series:
    return text.str.to_datetime(form, time_unit="us", time_zone=zone, strict=False)


def _localise(local: pl.Series, zone: str | None) -> tuple[pl.Series, pl.Series]:
    """Local times in UTC, null where there is no telling, and why."""
    frame = local.to_frame("local")
    if zone is None:
        reason = pl.when(pl.col("local").is_not_null()).then(pl.lit(NO_ZONE))
        return nothing(UTC_TIME, local.len()), frame.select(reason).to_series()
    frame = frame.with_columns(
        exact=pl.col("local").dt.replace_time_zone(zone, ambiguous="null", non_existent="null"),
        earliest=pl.col("local").dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null"),
    )
    skipped = pl.lit(f"local time does not exist in {zone}: the clock was put forward")
    twice = pl.lit(f"local time is ambiguous in {zone}: the clock was put back")
    reason = pl.when(pl.col("local").is_not_null() & pl.col("exact").is_null()).then(
        pl.when(pl.col("earliest").is_null()).then(skipped).otherwise(twice)
    )
    return frame["exact"].dt.convert_time_zone("UTC"), frame.select(reason).to_series()
