"""Totals of figures over days, vehicles and pilots. Totals of totals are totals, in whatever order they are folded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import polars as pl

from analytics.metrics import poisson
from analytics.metrics.metric import Metric, Total
from analytics.metrics.registry import METRICS
from analytics.metrics.rows import COLUMNS, ESTIMATED, MEASURED, MIXED, NOTE_SEPARATOR, notes

PARTS = [name for name in COLUMNS if name not in ("vehicle_id", "day")]


def totals(figures: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Fold figures into one row per group and metric, with the columns of `Figures` from `metric` on.

    `figures` has those columns and the grouping columns `by`; component figures (`shown=False`) must be among them, as
    ratios, availability and distance between roadcalls are formed anew from sums. A value is null only if all are:
    missing is never zero. Coverage is weighted by `weight`. Diesel reference vehicles are the caller's to leave out.
    Raises ValueError for a metric that is not registered.
    """
    unknown = set(figures["metric"].unique()) - METRICS.keys()
    if unknown:
        raise ValueError(f"not registered as metrics: {', '.join(sorted(unknown))}")
    sums = _summed(figures, list(by))
    formed = [_FORMS[metric.total](sums, metric, list(by)) for metric in METRICS.values() if metric.total in _FORMS]
    return pl.concat([sums, _ratios(sums, list(by)), *formed]).sort(*by, "metric")


def _summed(figures: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    slugs = [metric.slug for metric in METRICS.values() if metric.total is Total.SUM]
    counted = figures.filter(pl.col("metric").is_in(slugs))
    return counted.group_by(*by, "metric").agg(**_sums()).select(*by, *PARTS)


@cache
def _sums() -> dict[str, pl.Expr]:
    known = pl.col("value").is_not_null()
    weighed = pl.col("coverage_pct").is_not_null() & (pl.col("weight") > 0)
    weight = pl.col("weight").filter(weighed)
    mean = (pl.col("coverage_pct").filter(weighed) * weight).sum() / weight.sum()
    told = pl.col("note").filter(known | ~known.any())
    parts = told.str.split(NOTE_SEPARATOR).explode(empty_as_null=True, keep_nulls=True).drop_nulls().unique().sort()
    return {
        "value": _sum_known(pl.col("value")),
        "low": _bound("low"),
        "high": _bound("high"),
        "coverage_pct": pl.when(weight.sum() > 0).then(mean.clip(0, 100)).otherwise(pl.col("coverage_pct").min()),
        # A weight without a coverage weighs nothing, here or in a total of this total.
        "weight": _sum_known(pl.when(pl.col("coverage_pct").is_not_null()).then(pl.col("weight"))),
        "method": _method(pl.col("method").filter(known)),
        "note": pl.when(parts.len() > 0).then(parts.str.join(NOTE_SEPARATOR)),
    }


def _sum_known(values: pl.Expr) -> pl.Expr:
    return pl.when(values.is_not_null().any()).then(values.sum())


def _bound(name: str) -> pl.Expr:
    """A bound of a sum: where a part has none, its value stands in."""
    return pl.when(pl.col(name).is_not_null().any()).then(pl.coalesce(name, "value").sum())


def _method(methods: pl.Expr) -> pl.Expr:
    measured, estimated = (methods == MEASURED).all(), (methods == ESTIMATED).all()
    pure = pl.when(measured).then(pl.lit(MEASURED)).when(estimated).then(pl.lit(ESTIMATED)).otherwise(pl.lit(MIXED))
    return pl.when(methods.is_not_null().any()).then(pure)


def _sides(sums: pl.DataFrame, metric: Metric, by: list[str], more: Sequence[str] = ()) -> pl.DataFrame:
    """Groups that have the metric's denominator, with `numerator`, `denominator` and their parts."""

    def side(slug: str | None, prefix: str) -> pl.DataFrame:
        rows = sums.filter(pl.col("metric") == slug)
        return rows.select(*by, pl.col("value").alias(prefix), pl.col(*PARTS[2:]).name.prefix(f"{prefix}_"))

    joined = _joined(side(metric.denominator, "denominator"), side(metric.numerator, "numerator"), by)
    for slug in more:
        joined = _joined(joined, side(slug, slug), by)
    return joined


def _joined(left: pl.DataFrame, right: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    if by:
        return left.join(right, on=by, how="left", nulls_equal=True)
    return (
        left.join(right, how="cross")
        if right.height
        else left.with_columns(pl.lit(None, right.schema[name]).alias(name) for name in right.columns)
    )


def _formed(sides: pl.DataFrame, metric: Metric, by: list[str], **parts: pl.Expr) -> pl.DataFrame:
    given = {"metric": pl.lit(metric.slug), **parts}
    nothing = pl.lit(None)
    return sides.select(*by, *(given.get(name, nothing).cast(COLUMNS[name]).alias(name) for name in PARTS))


_RATIOS = pl.DataFrame(
    [(m.slug, m.numerator, m.denominator, m.scale, m.printed) for m in METRICS.values() if m.total is Total.RATIO],
    schema={"ratio": pl.String, "top": pl.String, "bottom": pl.String, "scale": pl.Float64, "printed": pl.String},
    orient="row",
)


def _ratios(sums: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Every ratio of groups that have its denominator, all at once."""

    def side(key: str, prefix: str) -> pl.DataFrame:
        parts = pl.col(*PARTS[2:]).name.prefix(f"{prefix}_")
        return sums.select(*by, pl.col("metric").alias(key), pl.col("value").alias(prefix), parts)

    both = _RATIOS.join(side("bottom", "denominator"), on="bottom").join(
        side("top", "numerator"), on=[*by, "top"], how="left", nulls_equal=True
    )
    value = pl.when(pl.col("denominator") > 0).then(pl.col("scale") * pl.col("numerator") / pl.col("denominator"))
    bounded = pl.any_horizontal(pl.col(f"{side}_low").is_not_null() for side in ("numerator", "denominator"))

    def bound(above: str, below: str) -> pl.Expr:
        top, bottom = pl.coalesce(f"numerator_{above}", "numerator"), pl.coalesce(f"denominator_{below}", "denominator")
        return pl.when(bounded & value.is_not_null() & (bottom > 0)).then(pl.col("scale") * top / bottom)

    same = pl.col("numerator_method") == pl.col("denominator_method")
    parts = {
        "metric": pl.col("ratio"),
        "value": value,
        "low": bound("low", "high"),
        "high": bound("high", "low"),
        "coverage_pct": pl.col("numerator_coverage_pct"),
        "weight": pl.col("numerator_weight"),
        "method": pl.when(value.is_not_null()).then(pl.when(same).then("numerator_method").otherwise(pl.lit(MIXED))),
        "note": notes(pl.when(value.is_not_null()).then("printed"), _side_notes()),
    }
    return both.select(*by, *(parts[name].cast(COLUMNS[name]).alias(name) for name in PARTS))


@cache
def _side_notes() -> pl.Expr:
    """What is to be read of both sides; the distance in miles per gallon stands above, its energy below."""
    return pl.coalesce("numerator_note", "denominator_note")


def _availability(sums: pl.DataFrame, metric: Metric, by: list[str]) -> pl.DataFrame:
    available, planned, unknown = pl.col("numerator"), pl.col("denominator"), pl.col("unknown_days").fill_null(0.0)
    known = planned - unknown
    value = pl.when(known > 0).then(100 * available / known)
    return _formed(
        _sides(sums, metric, by, ["unknown_days"]), metric, by,
        value=value,
        low=100 * available / planned,
        high=100 * (available + unknown) / planned,
        coverage_pct=100 * known / planned,
        weight=planned,
        method=pl.when(value.is_not_null()).then(pl.lit(MEASURED)),
        note=pl.when(value.is_null()).then(pl.lit("no evidence")),
    )  # fmt: skip


def _roadcall_distance(sums: pl.DataFrame, metric: Metric, by: list[str]) -> pl.DataFrame:
    sides = _sides(sums, metric, by)
    counts = sorted({round(count) for count in sides["denominator"].drop_nulls()} - {0})
    bounds = pl.DataFrame(
        [(float(count), *poisson.interval(count)) for count in counts],
        schema={"denominator": pl.Float64, "fewest": pl.Float64, "most": pl.Float64},
        orient="row",
    )
    none = pl.col("denominator") == 0
    km, calls = pl.col("numerator"), pl.col("denominator")
    return _formed(
        sides.join(bounds, on="denominator", how="left"), metric, by,
        value=pl.when(calls > 0).then(km / calls),
        low=pl.when(none).then(km / poisson.NONE_SEEN_UPPER).otherwise(km / pl.col("most")),
        high=km / pl.col("fewest"),
        coverage_pct=pl.col("numerator_coverage_pct"),
        weight=km,
        method=pl.when(calls > 0).then("numerator_method"),
        note=pl.when(none).then(pl.lit("no roadcalls: low is a one-sided 95 % bound")),
    )  # fmt: skip


_FORMS = {
    Total.AVAILABILITY: _availability,
    Total.ROADCALL_DISTANCE: _roadcall_distance,
}
