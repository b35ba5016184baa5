"""One wide row per computed vehicle and day: what its segments add up to."""

from __future__ import annotations

from functools import cache

import polars as pl

from analytics.metrics import rules, states
from analytics.metrics.running import AMOUNTS, ODOMETER, PAYLOAD, POSITION, POWER, SOC, SPEED, TANK
from analytics.metrics.samples import COUNTERS, RATES

DRAWS = ~pl.col("gains") & ~(pl.col("silent") & pl.col("plugged"))
"""Segments whose energy is used: not plugged in, not gaining."""
HIDDEN = pl.col("silent") & (pl.col("state") == states.IN_SERVICE)
"""Silences in which the vehicle was in service unobserved."""
UNTOLD = HIDDEN & (pl.col("soc_rise_pts") >= 0).fill_null(False)
"""Silences in which the vehicle drove and charged: the change in state of charge does not tell what it used."""
KEYS = ["vehicle_id", "day"]
_TIMED = (POWER, SPEED, SOC, TANK, PAYLOAD, POSITION, *COUNTERS, *RATES)
_UNPLUGGED = ("auxiliary_power_kw", "hotel_power_kw")


def day_sums(segments: pl.DataFrame, days: pl.DataFrame, vehicles: pl.DataFrame) -> pl.LazyFrame:
    """Sum judged `segments` by vehicle and day. Amounts a signal does not cover at all are null.

    Every row of `days` is present, with the vehicle's master data. `_h` and `_s` are times, `_pct` coverages.
    """
    inside = segments.lazy().filter(pl.col("day").is_not_null())
    summed = inside.group_by(KEYS).agg(*_times(), *_battery(), *_distance(), *_counters(), *_rates(), *_levels())
    wide = days.lazy().select(*KEYS, day_h=(pl.col("ends_at") - pl.col("starts_at")).dt.total_seconds() / 3600)
    wide = wide.join(summed, on=KEYS, how="left", maintain_order="left")
    return wide.join(vehicles.lazy(), on="vehicle_id", how="left", maintain_order="left").with_columns(**_coverages())


def _where(condition: pl.Expr, column: str) -> pl.Expr:
    return pl.col(column).filter(condition).sum()


def _known(column: str, seconds: str, condition: pl.Expr = pl.lit(True)) -> pl.Expr:  # noqa: B008 - an expression
    """The sum of `column`, null where the signal covers no time at all."""
    return pl.when(pl.col(seconds).sum() > 0).then(_where(condition, column))


@cache
def _times() -> list[pl.Expr]:
    runs, works = pl.col("runs"), pl.col("works").fill_null(False)
    return [
        (_where(runs, "s") / 3600).alias("on_h"),
        pl.when(pl.col("works").count() > 0).then(_where(runs & works, "s") / 3600).alias("working_h"),
        (_where(pl.col("state") == states.IDLE, "s") / 3600).alias("standing_h"),
        (_where(HIDDEN, "s") / 3600).alias("hidden_h"),
        _where(HIDDEN, "distance_km").alias("hidden_km"),
        pl.col("key").is_not_null().any().alias("has_key"),
        ((pl.col("state") != states.UNKNOWN) & ~pl.col("unobserved")).any().alias("observed"),
        *(_where(runs, f"{name}_s").alias(f"{name}_on_s") for name in _TIMED),
    ]


@cache
def _battery() -> list[pl.Expr]:
    idle = pl.col("state") == states.IDLE
    missed = 1 - (pl.col(f"{POWER}_s").fill_null(0) / pl.col("s")).clip(0, 1)
    gained = pl.col("soc_pts").clip(lower_bound=0) * missed
    return [
        _known("drawn_kwh", f"{POWER}_s", DRAWS),
        _known("returned_kwh", f"{POWER}_s", DRAWS),
        _known("returned_kwh", f"{POWER}_s", pl.col("gains")).alias("returned_plugged_kwh"),
        pl.when(pl.col(f"{SOC}_s").sum() > 0).then(-_where(DRAWS, "soc_pts")).alias("soc_used_pts"),
        pl.when(pl.col(f"{SOC}_s").sum() > 0).then(gained.filter(pl.col("gains")).sum()).alias("soc_gained_pts"),
        _known("soc_pts", f"{SOC}_s", pl.col("gains")).alias("soc_charged_pts"),
        _known("soc_pts", f"{SOC}_s").alias("soc_net_pts"),
        pl.when(_where(idle, f"{POWER}_s") > 0)
        .then(_where(idle, "drawn_kwh") - _where(idle, "returned_kwh"))
        .alias("idle_kwh"),
        _where(idle, f"{POWER}_s").alias("idle_power_s"),
        _past_the_pack(),
        pl.col(f"{POWER}_km").sum(),
        _where(~UNTOLD, f"{SOC}_km"),
        *(pl.col(f"{name}_s").sum().alias(f"{name}_s") for name in (POWER, SOC)),
    ]


def _past_the_pack() -> pl.Expr:
    told = pl.any_horizontal(pl.col(f"{name}_s") > 0 for name in _UNPLUGGED).any()
    return pl.when(told).then(past_pack().sum()).alias("past_pack_kwh")


@cache
def past_pack() -> pl.Expr:
    """What a charger gave in each segment that never reached the battery: heat, cold, hotel loads (kWh, DC).

    Null where nothing was plugged in, or neither loads nor power were watched.
    """
    loads = pl.coalesce(*(pl.when(pl.col(f"{name}_s") > 0).then(AMOUNTS[name][0]) for name in _UNPLUGGED))
    pack = pl.col("returned_kwh") - pl.col("drawn_kwh")
    watched = pl.col("plugged") & ~pl.col("silent") & (pl.col(f"{POWER}_s") > 0)
    return pl.when(watched).then((pack + loads).clip(0) - pack.clip(0))


@cache
def _distance() -> list[pl.Expr]:
    return [
        _known("distance_km", f"{ODOMETER}_s").alias("odometer_km"),
        _known("speed_km", f"{SPEED}_s"),
        _known("position_km", f"{POSITION}_s"),
        pl.col("distance_km").sum().alias("true_km"),
    ]


@cache
def _counters() -> list[pl.Expr]:
    names = [name for name in COUNTERS if name != ODOMETER]
    return [
        *(_known(name, f"{name}_s") for name in names),
        *(pl.col(f"{name}_km").sum() for name in names),
        *(pl.col(f"{name}_s").sum().alias(f"{name}_s") for name in names),
    ]


@cache
def _rates() -> list[pl.Expr]:
    unplugged = ~pl.col("plugged")
    return [_known(AMOUNTS[name][0], f"{name}_s", unplugged if name in _UNPLUGGED else pl.lit(True)) for name in RATES]


@cache
def _levels() -> list[pl.Expr]:
    """What left the tank, refuelling aside, and the transport work."""
    drawn = pl.col("tank_kg") <= rules.REFUELLED_KG
    return [
        (-_known("tank_kg", f"{TANK}_s", drawn.fill_null(False))).alias("tank_used_kg"),
        _known("transport_work_tkm", f"{PAYLOAD}_s"),
        *(pl.col(f"{name}_km").sum() for name in (TANK, PAYLOAD, POSITION)),
    ]


@cache
def _coverages() -> dict[str, pl.Expr]:
    """Coverage of each signal: by distance where it can be told, else by time."""
    by_distance = (POWER, SOC, TANK, PAYLOAD, *(name for name in COUNTERS if name != ODOMETER))
    covered = {f"{name}_pct": coverage_pct(f"{name}_on_s", f"{name}_km") for name in by_distance}
    return covered | {f"{name}_pct": coverage_pct(f"{name}_on_s", None) for name in (SPEED, POSITION, *RATES)}


def coverage_pct(on_s: str, km: str | None) -> pl.Expr:
    """Observed activity / true activity: by odometer, else by hour meter, else by key-on time; 100 without activity."""
    shares = []
    if km is not None:
        shares.append(pl.when(pl.col("true_km") >= rules.COVERAGE_MIN_KM).then(pl.col(km) / pl.col("true_km")))
    meter = pl.col("operating_hours_h")
    shares.append(pl.when(meter >= rules.COVERAGE_MIN_H).then(pl.col(on_s) / 3600 / meter))
    shares.append(pl.when(pl.col("on_h") > 0).then(pl.col(on_s) / 3600 / pl.col("on_h")))
    return (pl.coalesce(*shares, pl.lit(1.0)) * 100).clip(0, 100)
