"""Rows: vehicle, time, signals, extras; what is usable, and why the rest is not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import polars as pl

from ingest.checks.extras import KIND_SCHEMA, read_extras
from ingest.checks.plain import Sender, vehicles_of
from ingest.checks.scope import Joint, Scope
from ingest.checks.signals import all_fine, read_signal
from ingest.checks.times import Times, read_times
from ingest.checks.values import nothing, shown
from ingest.decoders.decoded import Decoded
from schemas.frames import NO_EXTRAS, NO_REJECTS, REJECT_SCHEMA
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
    times = _times(decoded, query)
    senders = [Sender(scope, query.vehicle, decoded.row.len())] if isinstance(scope, Scope) else []
    keys = _plain_keys(decoded, times, senders, clock) or _keys(decoded, times, scope, query, clock)
    return _checked(decoded, keys, kinds)


def check_plain(
    decoded: Decoded, senders: Sequence[Sender], clock: Clock, kinds: pl.DataFrame | None = None
) -> Checked | None:
    """Check rows of several senders; None where there is something to say of a vehicle or time: see `check`."""
    keys = _plain_keys(decoded, _times(decoded, Query()), senders, clock)
    return _checked(decoded, keys, kinds) if keys is not None else None


@dataclass(frozen=True)
class _Keys:
    """Vehicle and time of the usable rows; `usable`: which these are (None: all); and those that lack one."""

    row: pl.Series
    vehicle_id: pl.Series
    time: pl.Series
    usable: pl.Series | None = None
    rejects: pl.DataFrame = field(default_factory=lambda: NO_REJECTS)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """row, vehicle_id, time."""
        return pl.DataFrame([self.row, self.vehicle_id, self.time])


def _checked(decoded: Decoded, keys: _Keys, kinds: pl.DataFrame | None) -> Checked:
    raw = decoded.frame if keys.usable is None else decoded.frame.filter(keys.usable)
    signals, signal_rejects = _signals(raw, keys)
    extras, extra_rejects = NO_EXTRAS, NO_REJECTS
    if names := extra_names(decoded):
        known = kinds if kinds is not None else pl.DataFrame(schema=KIND_SCHEMA)
        extras, extra_rejects = read_extras(raw.select(names), keys.frame, known, typed=decoded.typed)
    rows = pl.DataFrame([keys.row, keys.vehicle_id, keys.time, *signals])
    field_rejects = in_rows([signal_rejects, extra_rejects])
    rows, emptied = _without_emptied(rows, extras, field_rejects)
    rejects = in_rows([decoded.rejects, keys.rejects, field_rejects, emptied])
    foreign = keys.rejects.filter(pl.col("reason") == FOREIGN).height if keys.rejects.height else 0
    return Checked(rows, extras, _storable(rejects), decoded.received, foreign)


def in_rows(rejects: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Rejects as one frame, in the order of their rows."""
    some = [frame for frame in rejects if frame.height]
    return pl.concat(some).sort("row", maintain_order=True) if some else NO_REJECTS


def _storable(rejects: pl.DataFrame) -> pl.DataFrame:
    """The rejects with a visible character for NUL, which PostgreSQL cannot store: no other text goes there unread."""
    if not rejects.height:
        return rejects
    return rejects.with_columns(pl.col("field", "value", "reason").str.replace_all("\0", "\ufffd", literal=True))


def _times(decoded: Decoded, query: Query) -> Times:
    times = read_times(_sent_time(decoded), query.tz)
    return replace(times, time=times.time + dt.timedelta(seconds=query.shift_s)) if query.shift_s else times


def _sent_time(decoded: Decoded) -> pl.Series:
    frame = decoded.frame
    return frame[TIME] if TIME in frame.columns else nothing(pl.String(), decoded.row.len())


def _plain_keys(decoded: Decoded, times: Times, senders: Sequence[Sender], clock: Clock) -> _Keys | None:
    """Vehicle and time of every row, where there is nothing to say of any."""
    named = decoded.frame[VEHICLE] if VEHICLE in decoded.frame.columns else None
    vehicle_id = vehicles_of(named, times.time, senders, clock.latest) if senders else None
    return _Keys(decoded.row, vehicle_id, times.time.alias(TIME)) if vehicle_id is not None else None


def _keys(decoded: Decoded, times: Times, scope: Scope | Joint, query: Query, clock: Clock) -> _Keys:
    height = decoded.row.len()
    addresses = _addresses(decoded.frame, height, query)
    reason = times.reason if times.reason is not None else nothing(pl.String(), height)
    sent = pl.DataFrame({"row": decoded.row, "address": addresses, "time": times.time, "time_reason": reason})
    found = sent.join(scope.known, on="address", how="left", maintain_order="left")
    in_gap = _in_gap(found, scope.gaps) if scope.gaps.height else pl.lit(False)
    found = found.with_columns(in_gap=in_gap)
    keys = found.with_columns(vehicle_reason=_vehicle_reason(), time_reason=_time_reason(clock)).with_columns(
        usable=pl.col("vehicle_reason").is_null() & pl.col("time_reason").is_null(),
    )
    if keys["usable"].all():
        return _Keys(keys["row"], keys["vehicle_id"], keys["time"])
    rejects = keys.with_columns(sent_time=shown(_sent_time(decoded))).filter(~pl.col("usable"))
    is_vehicle = pl.col("vehicle_reason").is_not_null()
    told = rejects.select(
        "row",
        "vehicle_id",
        "time",
        field=pl.when(is_vehicle).then(pl.lit(VEHICLE)).otherwise(pl.lit(TIME)),
        value=pl.when(is_vehicle).then(pl.col("address").str.slice(0, 200)).otherwise(pl.col("sent_time")),
        reason=pl.coalesce("vehicle_reason", "time_reason"),
    )
    good = keys.filter("usable")
    return _Keys(good["row"], good["vehicle_id"], good["time"], keys["usable"], told)


def _addresses(frame: pl.DataFrame, height: int, query: Query) -> pl.Series:
    """How each row names its vehicle: its own field, else the query's."""
    if VEHICLE not in frame.columns:
        return pl.Series("address", [query.vehicle], dtype=pl.String).new_from_index(0, height)
    column = frame[VEHICLE]
    if column.dtype.is_float():
        column = column.cast(pl.Int64, strict=False)  # numbers such as an IMEI, in a column with gaps
    text = shown(column).str.strip_chars()
    text = text.set(text == "", None)
    return text.fill_null(query.vehicle) if query.vehicle is not None else text


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


def _signals(raw: pl.DataFrame, keys: _Keys) -> tuple[list[pl.Series], pl.DataFrame]:
    """The canonical columns, clean, in the catalogue's order; and the fields that are not."""
    columns, rejects = [], []
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
            faults = keys.frame.filter(at_fault).with_columns(field=pl.lit(name), **fields)
            rejects.append(faults.select(*REJECT_SCHEMA))
    return columns, in_rows(rejects)


def _without_emptied(
    rows: pl.DataFrame, extras: pl.DataFrame, field_rejects: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Take out rows of which every field was rejected. A row that never had a field is a heartbeat and stays."""
    if not field_rejects.height:
        return rows, NO_REJECTS
    signals = rows.columns[3:]
    left = pl.any_horizontal(pl.col(signals).is_not_null()) if signals else pl.lit(False)
    suspects = rows.filter(pl.col("row").is_in(field_rejects["row"].implode()) & ~left)
    emptied = suspects.filter(~pl.col("row").is_in(extras["row"].implode())).select("row", "vehicle_id", "time")
    if not emptied.height:
        return rows, NO_REJECTS
    nothing = pl.lit(None, pl.String)
    rejects = emptied.with_columns(field=nothing, value=nothing, reason=pl.lit(NOTHING_LEFT))
    return rows.filter(~pl.col("row").is_in(emptied["row"].implode())), rejects
