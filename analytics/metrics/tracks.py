"""A signal's own samples, and its running sums at any row between them.

A *track* holds the rows on which a signal was read, in order of vehicle and time, with what has been summed up before
each. A quantity between two instants is the difference of two lookups; between samples it is filled linearly, so a cut
splits it exactly. Nothing is summed over an interval longer than its limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from analytics.metrics import rules
from analytics.metrics.fill import US_PER_S

US_PER_H = 3.6e9
Amounts = Callable[[pl.Expr, pl.Expr, pl.Expr], dict[str, pl.Expr]]
"""From the value here, the value there and the hours between: what an interval adds, by name."""


@dataclass(frozen=True, slots=True)
class Track:
    """Samples of a signal: `row`, `us`, `km` (odometer), `x`, `covered` (up to the next), and the sums before."""

    name: str
    samples: pl.DataFrame
    amounts: Amounts
    with_km: bool = True


def readings(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """The rows on which `name` was read, as `x`, with `same`: the next reading is of the same vehicle.

    `lost` is true where what happened until the next reading cannot be told: nowhere, until `counted` finds a reset.
    """
    return (
        rows.lazy()
        .select("row", "us", "cut", "first_row", "km", x=pl.col(name))
        .filter(pl.col("x").is_not_null())
        .with_columns(same=(pl.col("first_row") == pl.col("first_row").shift(-1)).fill_null(False), lost=False)
        .collect()
    )


def counted(samples: pl.DataFrame, name: str, modulus: float | None = None) -> pl.DataFrame:
    """Turn the readings of a counter into what it has counted, free of spikes, resets and device changes.

    A single reading that leaves and returns is dropped. A fall counts nothing and goes on from the new value, unless
    `modulus` says that the counter starts again there. A rise faster than possible counts nothing. Intervals that
    count nothing for these reasons are `lost`.
    """
    here = pl.col("x")
    before = pl.when(pl.col("same").shift(1)).then(here.shift(1))
    hours = (pl.col("us") - pl.col("us").shift(1)) / US_PER_H
    possible = rules.MAX_RATE_PER_H.get(name, rules.DEFAULT_MAX_RATE_PER_H) * hours + rules.RATE_SLACK
    step = here - before
    if samples.lazy().select(((step >= 0) & (step <= possible)).all()).collect().item():
        return samples
    after = pl.when("same").then(here.shift(-1))
    returns = (after >= before) & ((here > after) | (here < before))
    rise = pl.when(step >= 0).then(step).otherwise(None if modulus is None else _rolled(step, modulus))
    told = (rise <= possible).fill_null(False)
    return (
        samples.lazy()
        .filter(~returns.fill_null(False))
        .with_columns(same=(pl.col("first_row") == pl.col("first_row").shift(-1)).fill_null(False))
        .with_columns(x=pl.when(told).then(rise).otherwise(0.0).cum_sum(), lost=~told.shift(-1, fill_value=True))
        .collect()
    )


def _rolled(step: pl.Expr, modulus: float) -> pl.Expr:
    """What a fall by most of the counter's range, a roll-over, has counted; null for a smaller one, a reset."""
    return pl.when(step < -0.5 * modulus).then(step + modulus)


def bridged(name: str, samples: pl.DataFrame, amount: str) -> Track:
    """A track of a value whose changes count over any gap up to `rules.REACH` that is not `lost`."""
    covered = (_gap_s() <= rules.REACH.total_seconds()).fill_null(False) & ~pl.col("lost")
    prepared = samples.with_columns(covered=covered)
    if prepared.select((pl.col("covered") | ~pl.col("same")).all()).item():
        # Nothing to leave out: the value itself runs.
        sums = {amount: pl.col("x"), f"{name}_s": pl.col("us") / US_PER_S, f"{name}_km": pl.col("km")}
        return Track(name, prepared.select(*_KEPT, **sums), lambda here, there, hours: {amount: there - here})
    return _track(name, prepared.lazy(), lambda here, there, hours: {amount: there - here})


def integrated(name: str, samples: pl.DataFrame, amounts: Amounts, *, with_km: bool = False) -> Track:
    """A track of a rate per hour, integrated over intervals up to the day's longest step."""
    covered = (_gap_s() <= max_gap_s(samples)).fill_null(False)
    return _track(name, samples.lazy().with_columns(covered=covered), amounts, with_km=with_km)


def in_step(name: str, samples: pl.DataFrame) -> Track:
    """A track of nothing but the time in intervals no longer than `x` seconds."""
    covered = (_gap_s() <= pl.col("x")).fill_null(False)
    return _track(name, samples.lazy().with_columns(covered=covered), lambda here, there, hours: {}, with_km=False)


_KEPT = ("row", "us", "km", "x", "covered")


def _gap_s() -> pl.Expr:
    return pl.when("same").then((pl.col("us").shift(-1) - pl.col("us")) / US_PER_S)


def max_gap_s(samples: pl.DataFrame) -> pl.Expr:
    """The longest step to integrate over, from the median spacing of the samples in each day.

    A step over a cut is judged by its neighbours, so that a day gives the same whatever is computed with it.
    """
    gap = (pl.col("us").shift(-1) - pl.col("us")) / US_PER_S
    spacing = samples.lazy().filter(pl.col("cut") >= 0).select("cut", "same", gap=gap).filter("same")
    medians = spacing.group_by("cut").agg(pl.col("gap").median()).collect()
    limits = medians.select("cut", limit=_limit_s(pl.col("gap")))
    known = pl.col("cut").replace_strict(limits["cut"], limits["limit"], default=None, return_dtype=pl.Float64)
    beside = [pl.when(pl.col("same").shift(n)).then(gap.shift(n)) for n in (1, -1)]
    over_cut = pl.col("same") & pl.col("cut").ne_missing(pl.col("cut").shift(-1))
    return pl.when(over_cut).then(_limit_s(pl.mean_horizontal(beside))).otherwise(known).fill_null(rules.GAP_CEILING_S)


def _limit_s(spacing_s: pl.Expr) -> pl.Expr:
    fast = (spacing_s * rules.GAP_FACTOR).clip(rules.GAP_FLOOR_S, rules.GAP_CEILING_S)
    return pl.when(spacing_s >= rules.SLOW_FEED_S).then(rules.GAP_SLOW_S).otherwise(fast)


def _track(name: str, samples: pl.LazyFrame, amounts: Amounts, *, with_km: bool = True) -> Track:
    steps = amounts(pl.col("x"), pl.col("x").shift(-1), _gap_s() / 3600) | {f"{name}_s": _gap_s()}
    if with_km:
        steps |= {f"{name}_km": pl.col("km").shift(-1) - pl.col("km")}
    sums = {column: _sum_before(step) for column, step in steps.items()}
    return Track(name, samples.select(*_KEPT, **sums).collect(), amounts, with_km)


def _sum_before(step: pl.Expr) -> pl.Expr:
    return pl.when("covered").then(step).otherwise(0.0).cum_sum().shift(1, fill_value=0.0)


def at(track: Track, marks: pl.DataFrame) -> pl.DataFrame:
    """Running sums of `track` at the rows of `marks` (`row`, `first_row`, `last_row`, `us`, `km`).

    A row before a vehicle's first sample gets the sum at that sample; null means that the vehicle has none.
    """
    rows = track.samples["row"]
    before = _looked_up(track.samples, rows.search_sorted(marks["row"], side="right").cast(pl.Int64) - 1, "before_")
    after = _looked_up(track.samples, rows.search_sorted(marks["row"], side="left").cast(pl.Int64), "after_")
    found = pl.concat([marks, before, after], how="horizontal")
    has_before = (pl.col("before_row") >= pl.col("first_row")).fill_null(False)
    has_after = (pl.col("after_row") <= pl.col("last_row")).fill_null(False)
    share = (pl.col("us") - pl.col("before_us")) / (pl.col("after_us") - pl.col("before_us"))
    value = pl.col("before_x") + (pl.col("after_x") - pl.col("before_x")) * share
    seconds = (pl.col("us") - pl.col("before_us")) / US_PER_S
    parts = track.amounts(pl.col("before_x"), value, seconds / 3600) | {f"{track.name}_s": seconds}
    if track.with_km:
        parts |= {f"{track.name}_km": pl.col("km") - pl.col("before_km")}
    inside = has_before & has_after & pl.col("before_covered") & (pl.col("before_row") < pl.col("row"))
    return found.select(
        pl.when(inside)
        .then(pl.col(f"before_{name}") + part.fill_null(0.0))
        .when(has_before)
        .then(f"before_{name}")
        .when(has_after)
        .then(f"after_{name}")
        .alias(name)
        for name, part in parts.items()
    )


def level(track: Track, marks: pl.DataFrame) -> pl.Series:
    """The track's value at each mark, linear between samples, the nearest one outside them."""
    rows = track.samples["row"]
    before = _looked_up(track.samples, rows.search_sorted(marks["row"], side="right").cast(pl.Int64) - 1, "before_")
    after = _looked_up(track.samples, rows.search_sorted(marks["row"], side="left").cast(pl.Int64), "after_")
    early, late = pl.col("before_row") >= pl.col("first_row"), pl.col("after_row") <= pl.col("last_row")
    span = pl.col("after_us") - pl.col("before_us")
    share = pl.when(span > 0).then((pl.col("us") - pl.col("before_us")) / span).otherwise(0.0)
    value = pl.col("before_x") + (pl.col("after_x") - pl.col("before_x")) * share
    found = pl.concat([marks, before, after], how="horizontal")
    return found.select(
        pl.when(early & late).then(value).when(early).then("before_x").when(late).then("after_x")
    ).to_series()


def rise_across(track: Track, marks: pl.DataFrame) -> pl.Series:
    """The change of the track's value from the last sample up to each mark to the first one after it.

    Null where the track does not cover the time between them.
    """
    rows = track.samples["row"]
    before = _looked_up(track.samples, rows.search_sorted(marks["row"], side="right").cast(pl.Int64) - 1, "before_")
    after = _looked_up(track.samples, rows.search_sorted(marks["row"] + 1, side="left").cast(pl.Int64), "after_")
    known = (pl.col("before_row") >= pl.col("first_row")) & (pl.col("after_row") <= pl.col("last_row"))
    found = pl.concat([marks, before, after], how="horizontal")
    covered = known & pl.col("before_covered")
    return found.select(pl.when(covered).then(pl.col("after_x") - pl.col("before_x"))).to_series()


def _looked_up(samples: pl.DataFrame, index: pl.Series, prefix: str) -> pl.DataFrame:
    valid = pl.when((index >= 0) & (index < samples.height)).then(index)
    return samples.select(pl.all().gather(valid).name.prefix(prefix))
