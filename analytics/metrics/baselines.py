"""What the displaced vehicle burned: measured on a paired vehicle or on the vehicle itself before, or of its class.

rate = fuel of days that are covered well enough / their distance or key-on hours
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from importlib.resources import files

import dataframely as dy
import polars as pl

from analytics.metrics import rules
from analytics.metrics.rows import ESTIMATED, MEASURED
from schemas.frames import Baselines, Figures
from schemas.units import FUEL_RATES, FuelRate

PAIRED_DAYS = 28
"""A paired vehicle's rate is that of so many days up to the day itself: four whole weeks, close in season."""
MEASURED_UNITS = ("L/100km", "L/h", "kg/100km", "kg/h")
"""Units in which a baseline can be measured: amount per activity, times 100 where it is per 100 km."""
FUEL_SLUGS = {"L": "fuel_used_l", "kg": "cng_used_kg"}
ACTIVITY_SLUGS = {"km": "distance_km", "h": "key_on_h"}
SLUGS = (*FUEL_SLUGS.values(), *ACTIVITY_SLUGS.values())
_KEYS = ["vehicle_id", "day"]


@cache
def class_averages() -> pl.DataFrame:
    """Average fuel economy by class: class, segment (those it stands for), name, mpg_diesel, source, confidence …."""
    with files("analytics.factors").joinpath("class_averages.csv").open("rb") as file:
        return pl.read_csv(file)


def of_class(asked: pl.DataFrame) -> dy.DataFrame[Baselines]:
    """The baselines of vehicle-days that declare a class: columns vehicle_id, day, class."""
    known = class_averages().select("class", "mpg_diesel", "source", "confidence")
    return Baselines.validate(
        asked.join(known, on="class", how="left").select(
            *_KEYS, rate="mpg_diesel", unit=pl.lit("mpg"), method=pl.lit(ESTIMATED),
            words=pl.format("baseline of the class {}, {} mpg ({}, {})", "class", "mpg_diesel", "source", "confidence"),
            reason=pl.lit(None, pl.String),
        ),
        cast=True,
    )  # fmt: skip


def paired(asked: pl.DataFrame, figures: dy.DataFrame[Figures] | pl.DataFrame) -> dy.DataFrame[Baselines]:
    """The baselines of vehicle-days that declare a paired vehicle.

    `asked` has columns vehicle_id, day, unit, reference_id and reference, its name; a vehicle-day with several
    references has several rows. `figures` are the references' own, from `PAIRED_DAYS` before the first day on.
    """
    amounts = _amounts(figures).rename({"vehicle_id": "reference_id", "day": "measured_on"})
    near = pl.col("measured_on").is_between(pl.col("day") - timedelta(days=PAIRED_DAYS - 1), pl.col("day"))
    sums = asked.join(amounts, on=["reference_id", "unit"]).filter(near).group_by(_KEYS).agg(
        pl.col("fuel", "activity").sum()
    )  # fmt: skip
    names = asked.group_by(_KEYS, maintain_order=True).agg(
        pl.col("unit").first(), names=pl.col("reference").unique().sort().str.join(", ")
    )
    return _measured(
        names.join(sums, on=_KEYS, how="left"),
        words=pl.format(f"baseline by paired {{}}, measured over {PAIRED_DAYS} days", "names"),
        reason=pl.format(f"{{}} has no measured day in the {PAIRED_DAYS} days up to this one", "names"),
    )


def by_history(asked: pl.DataFrame, figures: dy.DataFrame[Figures] | pl.DataFrame) -> dy.DataFrame[Baselines]:
    """The baselines of vehicle-days that declare the vehicle's own history.

    `asked` has columns vehicle_id, day, unit, and since and until, the history's first and last day; `figures` are
    those of the history.
    """
    sums = _amounts(figures).group_by("vehicle_id", "unit").agg(pl.col("fuel", "activity").sum())
    span = pl.format("{} to {}", "since", "until")
    return _measured(
        asked.join(sums, on=["vehicle_id", "unit"], how="left"),
        words=pl.format("baseline by its own history, {}", span),
        reason=pl.format("its own history, {}, has no measured day", span),
    )


def _amounts(figures: pl.DataFrame) -> pl.DataFrame:
    """Days on which both are covered well enough, by unit: vehicle_id, day, unit, fuel, activity."""
    covered = pl.col("coverage_pct").fill_null(100.0) >= rules.SCALING_COVERAGE_PCT
    known = figures.filter(pl.col("value").is_not_null() & covered)
    wide = known.group_by(_KEYS).agg(
        pl.col("value").filter(pl.col("metric") == slug).first().alias(slug) for slug in SLUGS
    )
    parts = [wide.select(*_KEYS, **_columns(unit, FUEL_RATES[unit])) for unit in MEASURED_UNITS]
    return pl.concat(parts).drop_nulls(["fuel", "activity"])


def _columns(unit: str, rate: FuelRate) -> dict[str, pl.Expr]:
    return {
        "unit": pl.lit(unit),
        "fuel": pl.col(FUEL_SLUGS[rate.amount]),
        "activity": pl.col(ACTIVITY_SLUGS[rate.activity]),
    }


def _measured(rows: pl.DataFrame, words: pl.Expr, reason: pl.Expr) -> dy.DataFrame[Baselines]:
    per = pl.col("unit").replace_strict(
        {unit: FUEL_RATES[unit].scale for unit in MEASURED_UNITS}, return_dtype=pl.Float64
    )
    known = (pl.col("activity") > 0).fill_null(False) & (pl.col("fuel") > 0)
    rate = pl.when(known).then(pl.col("fuel") / pl.col("activity") / per)
    return Baselines.validate(
        rows.select(
            *_KEYS, "unit", rate=rate, method=pl.lit(MEASURED), words=words,
            reason=pl.when(~known.fill_null(False)).then(reason),
        ).select(Baselines.column_names()),
        cast=True,
    )  # fmt: skip
