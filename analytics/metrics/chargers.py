"""Charger uptime from records of outages, by the formula of the US NEVI programme and, for young ports, beside it.

    uptime = (525,600 - (outage - excluded)) / 525,600 x 100        minutes, over the preceding twelve months

Source: 23 CFR 680.116(b). The constant is the rule's own, also in a leap year. A port younger than twelve months does
not fill it: its figure is 1 - (outage - excluded) / elapsed, and has another name.
"""

from __future__ import annotations

import datetime as dt

import polars as pl

from analytics.metrics.intervals import merged

MINUTES_PER_YEAR = 525_600
REQUIRED_PCT = 97.0  # more than
NEVI, SINCE_START = "nevi_uptime_pct", "uptime_since_start_pct"
NAMES = {NEVI: "Uptime, NEVI formula", SINCE_START: "Uptime since start"}


def nevi_uptime_pct(outage_min: float, excluded_min: float) -> float:
    """Uptime (%) of a port from its outage and the excluded part of it (minutes) in the preceding twelve months."""
    return (MINUTES_PER_YEAR - (outage_min - excluded_min)) / MINUTES_PER_YEAR * 100


def charger_uptime(outages: pl.DataFrame, chargers: pl.DataFrame, until: dt.datetime) -> pl.DataFrame:
    """Uptime of each charger over the twelve months up to `until`, or since it began to serve.

    `outages` has `charger_id`, `starts_at`, `ends_at` (null: it lasts) and `excluded`; `chargers` has `charger_id` and
    `since`, when it began to serve. Minutes that an outage which is not excluded covers too are not excluded. Columns:
    `charger_id`, `figure` (`NEVI` or `SINCE_START`), `from_time`, `outage_min`, `excluded_min`, `uptime_pct` (null for
    a charger that did not serve yet).
    """
    year_ago = _year_before(until)
    known = chargers.with_columns(
        young=pl.col("since") > year_ago, from_time=pl.max_horizontal("since", pl.lit(year_ago))
    )
    down = outages.join(known, on="charger_id").with_columns(
        starts_at=pl.max_horizontal("starts_at", "from_time"),
        ends_at=pl.min_horizontal(pl.col("ends_at").fill_null(until), pl.lit(until)),
    )
    counted = known.join(_minutes(down, "outage_min"), on="charger_id", how="left", maintain_order="left")
    counted = counted.join(_minutes(down.filter(~pl.col("excluded")), "charged_min"), on="charger_id", how="left",
                           maintain_order="left")  # fmt: skip
    outage, charged = pl.col("outage_min").fill_null(0.0), pl.col("charged_min").fill_null(0.0)
    elapsed = (pl.lit(until) - pl.col("from_time")).dt.total_microseconds() / 6e7
    rule = (MINUTES_PER_YEAR - charged) / MINUTES_PER_YEAR * 100
    since_start = pl.when(elapsed > 0).then((1 - charged / elapsed) * 100)
    return counted.select(
        "charger_id",
        "from_time",
        figure=pl.when("young").then(pl.lit(SINCE_START)).otherwise(pl.lit(NEVI)),
        outage_min=outage,
        excluded_min=outage - charged,
        uptime_pct=pl.when("young").then(since_start).otherwise(rule),
    )


def _year_before(until: dt.datetime) -> dt.datetime:
    """The same date a year earlier; 28 February before a 29th."""
    if (until.month, until.day) == (2, 29):
        return until.replace(year=until.year - 1, day=28)
    return until.replace(year=until.year - 1)


def _minutes(intervals: pl.DataFrame, name: str) -> pl.DataFrame:
    length = (pl.col("ends_at") - pl.col("starts_at")).dt.total_microseconds() / 6e7
    return merged(intervals, "charger_id").group_by("charger_id").agg(length.sum().alias(name))
