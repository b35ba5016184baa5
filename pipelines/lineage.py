"""What a vehicle-day rests on: its rows, the newest of them, and a hash of all that it was computed from."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl

from analytics.metrics import LASTING, PADDING, Inputs
from pipelines.calendar import OperatingDay

FOREVER = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Said:
    """Something that a record or the registry says of a vehicle, and the time it is about."""

    vehicle_id: int
    starts_at: dt.datetime
    ends_at: dt.datetime
    words: str

    def touches(self, day: OperatingDay) -> bool:
        """Whether it is about some of the day."""
        return self.starts_at < day.ends_at and (self.ends_at > day.starts_at or self.starts_at >= day.starts_at)


def said(inputs: Inputs) -> list[Said]:
    """Everything but telemetry that days are computed from, but for factors: those are named with each day."""
    return [
        *_spans("planned", inputs.planned, "starts_at", "starts_at"),  # of the day on which it starts
        *_spans("maintenance", inputs.maintenance, "starts_at", "ends_at"),
        *_spans("meters", inputs.meters, "starts_at", "ends_at"),
        *_spans("roadcalls", inputs.roadcalls, "time", "time"),
        *_spans("fillings", inputs.fillings, "time", "time"),
        *_spans("faults", _lasting(inputs.faults), "starts_at", "until"),
        *(Said(row["vehicle_id"], dt.datetime.min.replace(tzinfo=dt.UTC), FOREVER, f"{row} {_rules(inputs, row)}")
          for row in inputs.vehicles.iter_rows(named=True)),
    ]  # fmt: skip


def _rules(inputs: Inputs, vehicle: Mapping[str, Any]) -> str:
    """What is agreed with the operator, and where the vehicle's counters start again."""
    roll_over = {name: of_vehicles.get(vehicle["vehicle_id"]) for name, of_vehicles in sorted(inputs.roll_over.items())}
    return f"{inputs.policy} {roll_over}"


def _lasting(faults: pl.DataFrame) -> pl.DataFrame:
    return faults.with_columns(until=pl.coalesce("cleared_at", pl.col("last_seen_at") + PADDING.reach))


def _spans(kind: str, frame: pl.DataFrame, start: str, end: str) -> Iterator[Said]:
    for row in frame.iter_rows(named=True):
        yield Said(row["vehicle_id"], row[start], row[end] or FOREVER, f"{kind} {sorted(row.items())}")


def lineage(
    telemetry: pl.DataFrame | None, day: OperatingDay, vehicle_id: int, words: list[Said], baseline: Mapping[str, Any]
) -> dict[str, Any]:
    """`data_until`, `input_rows` and `input_hash` of a vehicle-day.

    Rows are those of its telemetry alone; the hash knows what was said around it too.
    """
    digest = hashlib.sha256()
    for text in sorted(one.words for one in words if one.vehicle_id == vehicle_id and one.touches(day)):
        digest.update(text.encode())
    digest.update(repr(sorted(baseline.items())).encode())
    if telemetry is None:
        return {"data_until": None, "input_rows": 0, "input_hash": digest.hexdigest()}
    own = telemetry.filter(pl.col("time").is_between(day.starts_at, day.ends_at, closed="left"))
    for rows in (own, *_around(telemetry, own, day)):
        for part in _bytes(rows):
            digest.update(part)
    return {"data_until": own["time"].max(), "input_rows": own.height, "input_hash": digest.hexdigest()}


def _around(telemetry: pl.DataFrame, own: pl.DataFrame, day: OperatingDay) -> Iterator[pl.DataFrame]:
    """What was said last before the day and first after it. A silence longer than the reach is judged by neither."""
    time = pl.col("time")
    earlier = telemetry.filter(time < day.starts_at, time >= day.starts_at - PADDING.reach)
    later = telemetry.filter(time >= day.ends_at, time < day.ends_at + PADDING.reach)
    after, until = (own, own) if own.height else (later, earlier)
    if earlier.height and after.height and _first(after) - _last(earlier) <= PADDING.reach:
        yield _before(earlier, day)
    if later.height and until.height and _first(later) - _last(until) <= PADDING.reach:
        yield _after(later, day)


def _first(rows: pl.DataFrame) -> dt.datetime:
    return cast(dt.datetime, rows["time"].min())


def _last(rows: pl.DataFrame) -> dt.datetime:
    return cast(dt.datetime, rows["time"].max())


def _before(earlier: pl.DataFrame, day: OperatingDay) -> pl.DataFrame:
    """What each signal said last, as far back as is read for any day."""
    earlier = earlier.sort("time", descending=True)
    near = earlier.head(max(PADDING.rows, int((earlier["time"] >= day.starts_at - PADDING.before).sum())))
    lasting = [name for name in LASTING if name in earlier.columns]
    return pl.concat([_nearest(near.drop(lasting)), _nearest(earlier.select("time", *lasting))], how="horizontal")


def _after(later: pl.DataFrame, day: OperatingDay) -> pl.DataFrame:
    """What each signal said first, as far on as is read for any day."""
    later = later.sort("time")
    return _nearest(later.head(max(PADDING.rows, int((later["time"] < day.ends_at + PADDING.after).sum()))))


def _nearest(rows: pl.DataFrame) -> pl.DataFrame:
    """The first value of each signal, and when it was read."""
    signals = [name for name in rows.columns if name not in ("vehicle_id", "time")]
    told = {name: pl.col(name).is_not_null() for name in signals}
    return rows.select(
        *(pl.col(name).filter(told[name]).first() for name in signals),
        *(pl.col("time").filter(told[name]).first().alias(f"{name} at") for name in signals),
    )


def _bytes(rows: pl.DataFrame) -> Iterator[bytes]:
    """The values and what is missing, whatever else was read with these rows."""
    for column in rows:
        yield column.name.encode()
        if column.null_count() < len(column):
            numbers = column.cast(pl.Int64) if column.dtype.is_temporal() else column
            values = numbers.cast(pl.Float64).to_numpy()
            missing = np.isnan(values)
            yield missing.tobytes()
            yield np.where(missing, 0.0, values).tobytes() if column.null_count() else values.tobytes()
