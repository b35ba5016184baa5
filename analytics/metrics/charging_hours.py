"""In which UTC hours a vehicle-day's energy was drawn from the grid: the day's figure, placed by the charging power."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl

from analytics.factors.hourly import filled
from analytics.factors.own import HourlyTables
from analytics.metrics import sources
from analytics.metrics.arrays import Flags, Whole
from analytics.metrics.fill import US_PER_S
from analytics.metrics.metric import Given, Metric, Total
from analytics.metrics.readings import Samples
from analytics.metrics.rows import Figure, Figures, Key
from analytics.metrics.samples import States

KEYS = ["vehicle_id", "day"]
US_PER_HOUR = 3_600 * int(US_PER_S)
WEIGHTS = ("grid_energy_kwh", "grid_power_kw_sum", "energy_charged_kwh", "seen_kwh")
"""What tells when the energy was drawn: the meter, its power, the battery's counter, its power or state of charge."""


_MATCHED, _FILLED = "hourly_matched_energy_kwh", "hourly_filled_energy_kwh"


_ANCHOR = "hourly-grid-factors"


def _energy(slug: str, name: str, meaning: str) -> Metric:
    inputs = (
        "grid_energy_kwh", "grid_power_kw", "energy_charged_kwh", "battery_power_kw", "battery_soc_pct",
        Given.HOURLY_FACTORS,
    )  # fmt: skip
    return Metric(
        slug, name, "kWh", meaning, "grid energy by UTC hour", inputs, 1, Total.SUM, _ANCHOR, sources.BY_THE_HOUR,
        shown=False,
    )  # fmt: skip


METRICS = (
    _energy(_MATCHED, "Energy matched to hourly factors", "Grid energy placed in UTC hours for hourly grid factors."),
    _energy(_FILLED, "Energy in filled hours", "Part of it in hours without a factor, which took the month's mean."),
    Metric(
        "hourly_filled_pct",
        "Share in filled hours",
        "%",
        "Share of the matched energy whose hour had no grid factor and took the mean of that month and hour.",
        "energy in filled hours / energy matched to hourly factors",
        (_FILLED, _MATCHED),
        1,
        Total.RATIO,
        _ANCHOR,
        sources.OWN_RATIO,
        numerator=_FILLED,
        denominator=_MATCHED,
        scale=100.0,
    ),
)


def filled_figures(drawn: pl.DataFrame, vehicles: pl.DataFrame, tables: HourlyTables) -> list[tuple[Key, Figures]]:
    """Figures of how much energy was matched, and how much of it in filled hours: the most of a grid's tables."""
    if drawn.is_empty():
        return []
    asked = drawn.join(vehicles.select("vehicle_id", "grid"), on="vehicle_id")
    by_table = filled(asked, tables).filter(pl.col("kg_per_kwh").is_not_null()).group_by(*KEYS, "factor_id")
    sums = by_table.agg(matched=pl.col("kwh").sum(), filled=pl.col("kwh").filter("is_filled").sum())
    wide = sums.group_by(KEYS).agg(pl.col("matched", "filled").max())
    return [
        ((vehicle_id, day), {_MATCHED: Figure(matched), _FILLED: Figure(filled_kwh)})
        for vehicle_id, day, matched, filled_kwh in wide.select(*KEYS, "matched", "filled").iter_rows()
    ]


def day_hours(days: pl.DataFrame) -> pl.DataFrame:
    """The starts of UTC hours inside each day: columns vehicle_id, time."""
    first = pl.col("starts_at").dt.truncate("1h").dt.offset_by("1h")
    return (
        days.select("vehicle_id", "ends_at", time=pl.datetime_ranges(first, "ends_at", "1h", closed="left"))
        .explode("time", empty_as_null=True, keep_nulls=True)
        .filter(pl.col("time") < pl.col("ends_at"))
        .select("vehicle_id", "time")
    )


def cut_at_hours(states: States, hours: pl.DataFrame) -> tuple[States, Whole, Flags]:
    """Insert a row at each of `hours` (vehicle_id, time), with all that was said of the interval it cuts.

    Besides, the old row that each row stands for or comes after, and where a segment has to start for the hour's sake.
    """
    samples = states.samples
    at, us = _hours_within(samples, hours)
    source = np.insert(np.arange(samples.height), at + 1, at)
    fresh = np.insert(np.zeros(samples.height, bool), at + 1, True)
    new_us = np.insert(samples.rows.us, at + 1, us)
    cut = states.with_rows(source, new_us, fresh)
    cut.said["unheard_s"].value[fresh] += (us - samples.rows.us[at]) / US_PER_S
    return cut, source, new_us % US_PER_HOUR == 0


def _hours_within(samples: Samples, hours: pl.DataFrame) -> tuple[Whole, Whole]:
    """The row before each hour that no row is at, and the hour (microseconds); in order."""
    ordered = hours.sort("vehicle_id", "time")
    vehicle_id, us = ordered["vehicle_id"].to_numpy(), ordered["time"].to_physical().to_numpy()
    before = np.full(len(us), -1)
    for id_ in np.unique(vehicle_id):
        mine, rows = vehicle_id == id_, np.flatnonzero(samples.vehicle_id == id_)
        before[mine] = np.append(rows, -1)[np.searchsorted(samples.rows.us[rows], us[mine], side="right") - 1]
    inside = (before >= 0) & (us > samples.rows.us[before])
    return before[inside], us[inside]


def charging_hours(stretches: pl.DataFrame, vehicles: pl.DataFrame, figures: pl.DataFrame) -> pl.DataFrame:
    """Columns vehicle_id, day, hour (UTC) and kwh (AC); the hours of a day sum to its `grid_energy_kwh`.

    `stretches` are cut at UTC hours, `figures` are those of the days. `hour` is null where nothing tells when the
    energy was drawn. Days without energy have no rows.
    """
    drawn = figures.filter((pl.col("metric") == "grid_energy_kwh") & (pl.col("value") > 0)).select(*KEYS, "value")
    told = stretches.filter(pl.col("day").is_not_null()).join(
        vehicles.select("vehicle_id", "usable_battery_kwh"), on="vehicle_id", how="left"
    )
    weights = (
        told.with_columns(seen_kwh=seen_kwh())
        .group_by(*KEYS, hour=pl.col("starts_at").dt.truncate("1h"))
        .agg(pl.col(*WEIGHTS).sum().clip(0))
    )
    chosen = pl.coalesce(pl.when(pl.col(name).sum().over(KEYS) > 0).then(name) for name in WEIGHTS)
    placed = drawn.join(weights.with_columns(weight=chosen), on=KEYS, how="left").with_columns(
        share=pl.col("weight") / pl.col("weight").sum().over(KEYS)
    )
    unplaced = pl.col("weight").is_null()
    return (
        placed.with_columns(hour=pl.when(~unplaced).then("hour"), kwh=pl.col("value") * pl.col("share").fill_null(1.0))
        .filter(pl.col("kwh") > 0)
        .unique([*KEYS, "hour"], keep="any", maintain_order=True)
        .select(*KEYS, "hour", "kwh")
        .sort(*KEYS, "hour")
    )


@cache
def seen_kwh() -> pl.Expr:
    """What power saw the pack gain, and what state of charge gained where power saw nothing, kWh."""
    missed = 1 - (pl.col("battery_power_kw_s").fill_null(0) / pl.col("s")).clip(0, 1)
    by_charge = pl.col("soc_pts").clip(lower_bound=0) * missed / 100 * pl.col("usable_battery_kwh").fill_null(1.0)
    return pl.when("gains").then(pl.col("returned_kwh").fill_null(0.0) + by_charge.fill_null(0.0)).otherwise(0.0)
