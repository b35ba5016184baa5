"""What every signal adds up to between two marked rows, and the time and distance it covers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from analytics.metrics.fill import US
from analytics.metrics.samples import COUNTERS, RATES
from analytics.metrics.tracks import (
    Amounts,
    Track,
    at,
    bridged,
    counted,
    in_step,
    integrated,
    level,
    readings,
    rise_across,
)  # fmt: skip

ODOMETER, POWER, SPEED, SOC = "odometer_km", "battery_power_kw", "speed_kmh", "battery_soc_pct"
AMOUNTS: dict[str, tuple[str, ...]] = {
    ODOMETER: ("distance_km",),
    POWER: ("drawn_kwh", "returned_kwh"),
    SPEED: ("speed_km",),
    SOC: ("soc_pts",),
    **{name: (name,) for name in COUNTERS if name != ODOMETER},
    **{name: (f"{name}_sum",) for name in RATES},
}
"""Names of what each signal adds up to; `<signal>_s` is the time and, where that matters, `<signal>_km` the
distance it covers."""
RISES = {ODOMETER: "odometer_rise_km", SOC: "soc_rise_pts"}
"""The change across the samples around the interval that starts at a mark."""
_MORE = {ODOMETER: (RISES[ODOMETER],), SOC: (RISES[SOC], "soc_start_pct")}


def running(rows: pl.DataFrame, marked: pl.Series, roll_over: Mapping[str, float]) -> pl.DataFrame:
    """Running sums on the rows numbered `marked`.

    Columns: `AMOUNTS` with coverages, `heard_s` (time with rows at most `contact_s` apart), and at the mark itself
    `RISES` and `soc_start_pct`, the level. Columns of a signal without samples are null.
    """
    odometer = _counter(rows.with_columns(km=pl.lit(0.0)), ODOMETER, roll_over)
    rows = rows.with_columns(km=_spread(rows, odometer))
    marks = rows.select("row", "first_row", "last_row", "us", "km").select(pl.all().gather(marked))
    return pl.concat(list(_columns(rows, marks, roll_over)), how="horizontal")


def split_power(here: pl.Expr, there: pl.Expr, hours: pl.Expr) -> dict[str, pl.Expr]:
    """Battery energy of an interval, drawn and returned, split where the power crosses zero."""
    net = (here + there) / 2 * hours
    high, low = pl.max_horizontal(here, there), pl.min_horizontal(here, there)
    crossing = high * high / (high - low) / 2 * hours
    returned = pl.when(low >= 0).then(net).when(high <= 0).then(0.0).otherwise(crossing)
    return {"drawn_kwh": returned - net, "returned_kwh": returned}


def _trapezoid(name: str) -> Amounts:
    return lambda here, there, hours: {name: (here + there) / 2 * hours}


def _counter(rows: pl.DataFrame, name: str, roll_over: Mapping[str, float]) -> Track:
    return bridged(name, counted(readings(rows, name), name, roll_over.get(name)), AMOUNTS[name][0])


def _track(rows: pl.DataFrame, name: str, roll_over: Mapping[str, float]) -> Track:
    if name in COUNTERS:
        return _counter(rows, name, roll_over)
    if name == SOC:
        return bridged(name, readings(rows, name), AMOUNTS[name][0])
    amounts = split_power if name == POWER else _trapezoid(AMOUNTS[name][0])
    return integrated(name, readings(rows, name), amounts, with_km=name == POWER)


def _columns(rows: pl.DataFrame, marks: pl.DataFrame, roll_over: Mapping[str, float]) -> Iterator[pl.DataFrame]:
    heard = readings(rows.with_columns(heard=pl.when("real").then("contact_s")), "heard")
    yield at(in_step("heard", heard), marks).select("heard_s")
    for name in AMOUNTS:
        if name not in rows.columns or rows[name].null_count() == rows.height:
            yield _absent(_names(name), marks.height)
            continue
        track = _track(rows, name, roll_over)
        yield at(track, marks)
        if name in RISES:
            yield rise_across(track, marks).alias(RISES[name]).to_frame()
        if name == SOC:
            yield level(track, marks).alias("soc_start_pct").to_frame()


def _names(signal: str) -> list[str]:
    """Columns that a signal adds."""
    km = () if signal == SPEED or signal in RATES else (f"{signal}_km",)
    return [*AMOUNTS[signal], f"{signal}_s", *km, *_MORE.get(signal, ())]


def _absent(names: list[str], height: int) -> pl.DataFrame:
    return pl.select(pl.repeat(None, height, dtype=pl.Float64).alias(name) for name in names)


def _spread(rows: pl.DataFrame, odometer: Track) -> pl.Series:
    """The odometer's running distance on every row, linear between its samples and flat outside them."""
    samples = odometer.samples
    read = pl.repeat(None, rows.height, dtype=pl.Float64, eager=True).scatter(samples["row"], samples["distance_km"])
    here = pl.col("km").is_not_null()
    before, after = pl.when(here).then(US).forward_fill(), pl.when(here).then(US).backward_fill()
    low, high = pl.col("km").forward_fill(), pl.col("km").backward_fill()
    between = low + (high - low) * ((US - before) / (after - before))
    spread = rows.lazy().select("us", km=read).select(pl.when(here).then("km").otherwise(between))
    return spread.collect().to_series().fill_null(strategy="backward").fill_null(strategy="forward").fill_null(0.0)
