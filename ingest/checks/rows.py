"""Rows: vehicle, time, signals, extras; what is usable, and why the rest is not."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import cast

import polars as pl

from ingest.checks.extras import KIND_SCHEMA, read_extras
from ingest.checks.scope import Joint, Scope
from ingest.checks.signals import all_fine, read_signal
from ingest.checks.times import read_times
from ingest.checks.values import shown
from ingest.decoders.decoded import Decoded
from schemas.frames import REJECT_SCHEMA
from schemas.signals import SIGNALS

TIME, VEHICLE = "time", "vehicle"
FOREIGN = "not a vehicle of this key"
NO_VEHICLE = "vehicle is missing"
NOTHING_LEFT = "no field of the row could be used"


@dataclass(frozen=True)
class Query:
    """The query parameters that change what a body means; `shift_s` is added to every time."""

    vehicle: str | None = None
    tz: str | None = None
    shift_s: float = 0.0


@dataclass(frozen=True)
class Clock:
    """When the upload came, or that of each row did, and how far ahead of that a row's time may be."""

    now: dt.datetime | pl.Series
    max_future_s: int

    @property
    def latest(self) -> dt.datetime | pl.Series:
        """The latest time that a row may have."""
        return self.now + dt.timedelta(seconds=self.max_future_s)


@dataclass(frozen=True)
class Checked:
    """`rows`: row, vehicle_id, time and the canonical signals that were sent. `extras` by EXTRA_SCHEMA.

    `rejects` by REJECT_SCHEMA; a rejected row has one entry whose field is null, `time` or `vehicle`.
    """

    rows: pl.DataFrame
    extras: pl.DataFrame
    rejects: pl.DataFrame
    received: int
    foreign: int

    @property
    def rejected(self) -> int:
        """How many rows cannot be used."""
        return self.received - self.rows.height

    @property
    def is_out_of_time(self) -> bool:
        """Whether no row can be used, each because of the time it says, not of what it is: a clock is wrong."""
        if not 0 < self.received == self.rejected:
            return False
        late_or_early = self.rejects.filter((pl.col("field") == TIME) & pl.col("time").is_not_null())
        return self.rejected == late_or_early.height


def extra_names(decoded: Decoded) -> list[str]:
    """The fields that are not canonical signals."""
    return [name for name in decoded.frame.columns if name not in SIGNALS and name not in (TIME, VEHICLE)]


def check(
    decoded: Decoded, scope: Scope | Joint, query: Query, clock: Clock, kinds: pl.DataFrame | None = None
) -> Checked:
    """Check decoded rows.

    `kinds` (vehicle_id, name, kind) are the kinds of extra signals seen before.

    Raises:
        MalformedBodyError: the query's time zone is none.
    """
    keys, key_rejects = _keys(decoded, scope, query, clock)
    usable = keys["usable"]
    raw = decoded.frame if usable.all() else decoded.frame.filter(usable)
    keys = keys.filter("usable").select("row", "vehicle_id", "time")
    signals, signal_rejects = _signals(raw, keys)
    known = kinds if kinds is not None else pl.DataFrame(schema=KIND_SCHEMA)
    extras, extra_rejects = read_extras(raw.select(extra_names(decoded)), keys, known, typed=decoded.typed)
    rows = keys.hstack(signals)
    field_rejects = pl.concat([signal_rejects, extra_rejects])
    rows, emptied = _without_emptied(rows, extras, field_rejects)
    rejects = pl.concat([decoded.rejects, key_rejects, field_rejects, emptied]).sort("row", maintain_order=True)
    foreign = key_rejects.filter(pl.col("reason") == FOREIGN).height
    return Checked(rows, extras, _storable(rejects), decoded.received, foreign)


def _storable(rejects: pl.DataFrame) -> pl.DataFrame:
    """The rejects with a visible character for NUL, which PostgreSQL cannot store: no other text goes there unread."""
    if not rejects.height:
        return rejects
    return rejects.with_columns(pl.col("field", "value", "reason").str.replace_all("\0", "\ufffd", literal=True))


def _keys(decoded: Decoded, scope: Scope | Joint, query: Query, clock: Clock) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Vehicle and time of every row, with `usable`; and the rows that lack one."""
    frame, height = decoded.frame, decoded.row.len()
    addresses = _addresses(frame, height, query)
    sent_time = frame[TIME] if TIME in frame.columns else pl.Series(TIME, [None] * height, dtype=pl.String)
    times = read_times(sent_time, query.tz)
    time = times.time + dt.timedelta(seconds=query.shift_s) if query.shift_s else times.time
    if (vehicle_id := _only_vehicle(addresses, time, scope, clock)) is not None:
        plain = pl.DataFrame({"row": decoded.row, "time": time})
        constant = {"vehicle_id": pl.lit(vehicle_id, pl.Int32), "usable": pl.lit(True)}
        return plain.with_columns(**constant), pl.DataFrame(schema=REJECT_SCHEMA)
    sent = pl.DataFrame({"row": decoded.row, "address": addresses, "time": time, "time_reason": times.reason})
    found = sent.join(scope.known, on="address", how="left", maintain_order="left")
    in_gap = _in_gap(found, scope.gaps) if scope.gaps.height else pl.lit(False)
    found = found.with_columns(in_gap=in_gap)
    keys = found.with_columns(vehicle_reason=_vehicle_reason(), time_reason=_time_reason(clock)).with_columns(
        usable=pl.col("vehicle_reason").is_null() & pl.col("time_reason").is_null(),
    )
    if keys["usable"].all():
        return keys, pl.DataFrame(schema=REJECT_SCHEMA)
    rejects = keys.with_columns(sent_time=shown(sent_time)).filter(~pl.col("usable"))
    is_vehicle = pl.col("vehicle_reason").is_not_null()
    return keys, rejects.select(
        "row",
        "vehicle_id",
        "time",
        field=pl.when(is_vehicle).then(pl.lit(VEHICLE)).otherwise(pl.lit(TIME)),
        value=pl.when(is_vehicle).then(pl.col("address").str.slice(0, 200)).otherwise(pl.col("sent_time")),
        reason=pl.coalesce("vehicle_reason", "time_reason"),
    )


def _only_vehicle(addresses: pl.Series, time: pl.Series, scope: Scope | Joint, clock: Clock) -> int | None:
    """The vehicle that all rows are of, where each is at a time at which it may be: most large uploads are so."""
    if not addresses.len() or addresses.null_count() or time.null_count() or (addresses != addresses[0]).any():
        return None
    known = scope.known.filter(pl.col("address") == addresses[0])
    if known.height != 1:
        return None
    vehicle_id, low, high = known.select("vehicle_id", "low", "high").row(0)
    first, last = cast(dt.datetime, time.min()), cast(dt.datetime, time.max())
    latest = clock.latest
    in_time = (time <= latest).all() if isinstance(latest, pl.Series) else last <= latest
    fits = low is not None and low <= first and in_time and (high is None or last < high)
    return vehicle_id if fits and vehicle_id not in scope.gaps["vehicle_id"] else None


def _addresses(frame: pl.DataFrame, height: int, query: Query) -> pl.Series:
    """How each row names its vehicle: its own field, else the query's."""
    if VEHICLE not in frame.columns:
        return pl.Series("address", [query.vehicle], dtype=pl.String).new_from_index(0, height)
    column = frame[VEHICLE]
    if column.dtype == pl.String and column.len() and not column.null_count() and (column == column[0]).all():
        column = column.head(1)  # one vehicle: most large uploads are so
    if column.dtype.is_float():
        column = column.cast(pl.Int64, strict=False)  # numbers such as an IMEI, in a column with gaps
    text = shown(column).str.strip_chars()
    text = text.set(text == "", None)
    text = text.fill_null(query.vehicle) if query.vehicle is not None else text
    return text if text.len() == height else text.new_from_index(0, height)


def _in_gap(keys: pl.DataFrame, gaps: pl.DataFrame) -> pl.Series:
    """Whether a row falls between two assignments of its vehicle. Vehicles with several are few."""
    pairs = keys.select("row", "vehicle_id", "time").join(gaps, on="vehicle_id")
    inside = pairs.filter((pl.col("time") >= pl.col("low")) & (pl.col("time") < pl.col("high")))
    return keys["row"].is_in(inside["row"].implode())


def _vehicle_reason() -> pl.Expr:
    return (
        pl.when(pl.col("address").is_null()).then(pl.lit(NO_VEHICLE))
        .when(pl.col("vehicle_id").is_null()).then(pl.lit(FOREIGN))
    )  # fmt: skip


def _time_reason(clock: Clock) -> pl.Expr:
    return (
        pl.when(pl.col("time_reason").is_not_null()).then(pl.col("time_reason"))
        .when(pl.col("vehicle_id").is_null()).then(None)
        .when(pl.col("time") > clock.latest).then(pl.lit(f"more than {clock.max_future_s} s in the future"))
        .when(pl.col("low").is_null()).then(pl.lit("the vehicle is assigned to no pilot"))
        .when(pl.col("time") < pl.col("low"))
        .then(pl.format("before the vehicle's start, {}", pl.col("low").dt.strftime("%Y-%m-%dT%H:%M:%SZ")))
        .when((pl.col("time") >= pl.col("high")).fill_null(False) | pl.col("in_gap"))
        .then(pl.lit("outside every assignment of the vehicle"))
    )  # fmt: skip


def _signals(raw: pl.DataFrame, keys: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The canonical columns, clean, in the catalogue's order; and the fields that are not."""
    columns, rejects = [], [pl.DataFrame(schema=REJECT_SCHEMA)]
    fine = all_fine(raw)
    for name, signal in SIGNALS.items():
        if name not in raw.columns or raw[name].null_count() == raw.height:
            continue
        if name in fine:
            columns.append(raw[name])
            continue
        clean, reasons = read_signal(raw[name], signal)
        columns.append(clean)
        if reasons is not None:
            at_fault = reasons.is_not_null()
            fields = {"value": shown(raw[name].filter(at_fault)), "reason": reasons.filter(at_fault)}
            faults = keys.filter(at_fault).with_columns(field=pl.lit(name), **fields)
            rejects.append(faults.select(*REJECT_SCHEMA))
    return pl.DataFrame(columns), pl.concat(rejects)


def _without_emptied(
    rows: pl.DataFrame, extras: pl.DataFrame, field_rejects: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Take out rows of which every field was rejected. A row that never had a field is a heartbeat and stays."""
    if not field_rejects.height:
        return rows, pl.DataFrame(schema=REJECT_SCHEMA)
    signals = rows.columns[3:]
    left = pl.any_horizontal(pl.col(signals).is_not_null()) if signals else pl.lit(False)
    suspects = rows.filter(pl.col("row").is_in(field_rejects["row"].implode()) & ~left)
    emptied = suspects.filter(~pl.col("row").is_in(extras["row"].implode())).select("row", "vehicle_id", "time")
    if not emptied.height:
        return rows, pl.DataFrame(schema=REJECT_SCHEMA)
    nothing = pl.lit(None, pl.String)
    rejects = emptied.with_columns(field=nothing, value=nothing, reason=pl.lit(NOTHING_LEFT))
    return rows.filter(~pl.col("row").is_in(emptied["row"].implode())), rejects
