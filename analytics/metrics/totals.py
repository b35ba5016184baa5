"""Totals of figures over days, vehicles and pilots. Totals of totals are totals, in whatever order they are folded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import polars as pl

from analytics.metrics import poisson
from analytics.metrics.metric import Metric, Total
from analytics.metrics.registry import METRICS
from analytics.metrics.rows import (
    COLUMNS,
    ESTIMATED,
    MEASURED,
    MIXED,
    NOTE_SEPARATOR,
    Figure,
    Figures,
    first,
    notes,
)  # fmt: skip

PARTLY = "in part: "
"""Begins the reason why a figure is not known of some of what a total is of."""
PARTS = [name for name in COLUMNS if name not in ("vehicle_id", "day")]


def totals(figures: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Fold figures into one row per group and metric, with the columns of `Figures` from `metric` on.

    `figures` has those columns and the grouping columns `by`; component figures (`shown=False`) must be among them, as
    ratios, availability and distance between roadcalls are formed anew from sums. A value is null only if all are:
    missing is never zero. Coverage is weighted by `weight`; where some parts cannot be told, for want of a declaration
    or a factor, nothing covers them, and the note says why. Diesel reference vehicles are the caller's to leave out.
    Raises ValueError for a metric that is not registered.
    """
    unknown = set(figures["metric"].unique()) - METRICS.keys()
    if unknown:
        raise ValueError(f"not registered as metrics: {', '.join(sorted(unknown))}")
    sums = _summed(figures, list(by))
    return pl.concat([sums, _formed_of_groups(sums, list(by))]).sort(*by, "metric")


def _summed(figures: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    slugs = [metric.slug for metric in METRICS.values() if metric.total is Total.SUM]
    counted = figures.filter(pl.col("metric").is_in(slugs))
    return counted.group_by(*by, "metric").agg(**_sums()).select(*by, *PARTS)


@cache
def _sums() -> dict[str, pl.Expr]:
    known = pl.col("value").is_not_null()
    coverage = pl.coalesce("coverage_pct", pl.when(~known & pl.col("weight").is_not_null()).then(0.0))
    weighed = coverage.is_not_null() & (pl.col("weight") > 0)
    weight = pl.col("weight").filter(weighed)
    mean = (coverage.filter(weighed) * weight).sum() / weight.sum()
    impossible = ~known.any() & pl.col("coverage_pct").is_null().all()
    parted = PARTLY + pl.col("note").str.replace_all(NOTE_SEPARATOR, NOTE_SEPARATOR + PARTLY, literal=True)
    told = pl.when(known | ~known.any()).then("note").when(pl.col("coverage_pct").is_null()).then(parted)
    parts = told.str.split(NOTE_SEPARATOR).explode(empty_as_null=True, keep_nulls=True).drop_nulls().unique().sort()
    return {
        "value": _sum_known(pl.col("value")),
        "low": _bound("low"),
        "high": _bound("high"),
        "coverage_pct": pl.when(~impossible).then(
            pl.when(weight.sum() > 0).then(mean.clip(0, 100)).otherwise(coverage.min())
        ),
        # The weight of a known value without a coverage weighs nothing, here or in a total of this total.
        "weight": _sum_known(pl.when(coverage.is_not_null()).then(pl.col("weight"))),
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


def formed(sums: Figures) -> Figures:
    """What is formed of the sums of one group or vehicle-day: ratios, availability, distance between roadcalls."""
    return {
        metric.slug: _FORMS[metric.total](sums, metric)
        for metric in _FORMED
        if metric.denominator is not None and metric.denominator in sums
    }


def _formed_of_groups(sums: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Everything that is formed of each group's sums, in the columns of `sums`."""
    groups: dict[tuple[Any, ...], Figures] = {}
    sided = sums.filter(pl.col("metric").is_in(_SIDES)).select(*by, "metric", *Figure._fields)
    for row in sided.iter_rows():
        groups.setdefault(row[: len(by)], {})[row[len(by)]] = Figure(*row[len(by) + 1 :])
    rows = [
        (*group, slug, *figure) for group, figures in groups.items() for slug, figure in formed(figures).items()
    ]  # fmt: skip
    schema = {name: sums.schema[name] for name in (*by, "metric", *Figure._fields)}
    return pl.DataFrame(rows, schema=schema, orient="row").select(sums.columns)


def _ratio(sums: Figures, metric: Metric) -> Figure:
    """Top over bottom, at the ends of their bounds as well; coverage and weight are those of the top."""
    top, bottom = sums.get(metric.numerator or "", _NONE), sums[metric.denominator or ""]
    value = _over(top.value, bottom.value, metric.scale)
    low = high = None
    if value is not None and (top.low is not None or bottom.low is not None):
        low = _over(first(top.low, top.value), first(bottom.high, bottom.value), metric.scale)
        high = _over(first(top.high, top.value), first(bottom.low, bottom.value), metric.scale)
    # What is to be read of both sides; the distance in miles per gallon stands above, its energy below.
    said = in_order(bottom.note if top.note is None else top.note)
    if value is None:
        return Figure(None, top.coverage_pct, top.weight, None, said)
    method = top.method if top.method == bottom.method and top.method is not None else MIXED
    return Figure(value, top.coverage_pct, top.weight, method, notes(metric.printed, said), low, high)


def _over(top: float | None, bottom: float | None, scale: float) -> float | None:
    return None if top is None or bottom is None or not bottom > 0 else scale * top / bottom


def in_order(note: str | None) -> str | None:
    """The parts of a note as the note of a sum has them: in order, each once."""
    return None if note is None else NOTE_SEPARATOR.join(sorted(set(note.split(NOTE_SEPARATOR))))


def _availability(sums: Figures, metric: Metric) -> Figure:
    available, planned = sums.get(metric.numerator or "", _NONE).value, sums[metric.denominator or ""].value
    unknown = sums.get("unknown_days", _NONE).value or 0.0
    if available is None or not planned:
        return Figure(None, note="no evidence")
    known = planned - unknown
    value = 100 * available / known if known > 0 else None
    return Figure(
        value, 100 * known / planned, planned, None if value is None else MEASURED,
        "no evidence" if value is None else None, 100 * available / planned, 100 * (available + unknown) / planned,
    )  # fmt: skip


def _roadcall_distance(sums: Figures, metric: Metric) -> Figure:
    km, calls = sums.get(metric.numerator or "", _NONE), sums[metric.denominator or ""].value
    if calls == 0:
        low = None if km.value is None else km.value / poisson.NONE_SEEN_UPPER
        words = "no roadcalls: low is a one-sided 95 % bound"
        return Figure(None, km.coverage_pct, km.value, None, words, low)
    if calls is None or km.value is None:
        return Figure(None, km.coverage_pct, km.value, km.method if calls else None)
    fewest, most = poisson.interval(round(calls))
    return Figure(
        km.value / calls, km.coverage_pct, km.value, km.method, low=km.value / most, high=km.value / fewest
    )  # fmt: skip


_NONE = Figure(None, method=None)
_FORMS: Mapping[Total, Callable[[Figures, Metric], Figure]] = {
    Total.RATIO: _ratio, Total.AVAILABILITY: _availability, Total.ROADCALL_DISTANCE: _roadcall_distance,
}  # fmt: skip
_FORMED = [metric for metric in METRICS.values() if metric.total in _FORMS]
_SIDES = sorted({slug for m in _FORMED for slug in (m.numerator, m.denominator) if slug} | {"unknown_days"})
