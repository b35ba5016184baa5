"""NOx and PM2.5 avoided, for screening: by certification standard and the work of the displaced engine.

    avoided = work x standard of the displaced engine - work of the own engine x its standard - heater fuel x factor

Work at the engine's shaft is declared: per km, per key-on hour, or per litre that the baseline vehicle burns. A gas
engine or a hybrid's does the same work; a plug-in hybrid's engine, or a generator on board, its share of the fuel.
Standards are limits of certification: engines in use emit more at low speed and when cold, so these are no claims.
"""

from __future__ import annotations

from functools import cache

import polars as pl

from analytics.factors.resolve import fuels
from analytics.factors.standards import standard_of
from analytics.metrics.emissions import KEYS, NO_BASELINES, Avoided, completed, day_inputs, joined, own_fuel_inputs
from analytics.metrics.metric import Metric, Total
from analytics.metrics.rows import ESTIMATED
from schemas.frames import Figures
from schemas.units import WORK_RATES

NOX, PM = "nox_avoided_screening_g", "pm25_avoided_screening_g"
POLLUTANTS = {NOX: "nox", PM: "pm"}
WHOLE_WORK = ("cng", "lng", "hev")
"""Powertrains whose own engine does all the work."""
NOX_ONLY = ("cng", "lng")
GRAMS_PER_KG = 1000.0


def _metric(slug: str, name: str, meaning: str) -> Metric:
    return Metric(
        slug, name, "g", meaning, "work x standard - own engine and heater", ("distance_km", "key_on_h"), 0, Total.SUM,
        "nox-and-pm",
    )  # fmt: skip


METRICS = (
    _metric(NOX, "NOx avoided (screening)", "NOx by the displaced engine's standard, less the vehicle's own."),
    _metric(PM, "PM2.5 avoided (screening)", "Exhaust PM by the displaced engine's standard, less the vehicle's own."),
)


def screened(
    vehicles: pl.DataFrame,
    days: pl.DataFrame,
    day_figures: pl.DataFrame,
    table: pl.DataFrame,
    baselines: pl.DataFrame = NO_BASELINES,
) -> Avoided:
    """NOx and PM2.5 avoided (g) of each vehicle and day, two rows each; the arguments are those of `avoided`."""
    return screened_on(day_inputs(vehicles, days, day_figures, baselines), table)


def screened_on(known: pl.DataFrame, table: pl.DataFrame) -> Avoided:
    """What `screened` gives, from `day_inputs`."""
    worked = known.with_columns(
        standard=standard_of(
            pl.col("baseline_standard"), pl.col("region"), pl.col("category"), pl.col("baseline_model_year")
        ),
        work_kwh=_work(),
        engine_l=pl.sum_horizontal("fuel_used_l", "genset_fuel_used_l"),
    ).with_columns(own_work_kwh=_own_work())
    worked = _with_factors(worked, table)
    rows = pl.concat([_rows(worked, slug, gas) for slug, gas in POLLUTANTS.items()], how="diagonal_relaxed")
    ids = rows.filter(pl.col("value").is_not_null()).select(*KEYS, factor_id="factor_ids")
    return Avoided(
        figures=Figures.cast(rows.select(Figures.column_names()).sort(*KEYS, "metric")),
        factor_ids=ids.explode("factor_id").unique().sort(*KEYS, "factor_id"),
    )


@cache
def _work() -> pl.Expr:
    """Work of the displaced engine, kWh at the shaft."""
    activity = {"km": pl.col("distance_km"), "h": pl.col("key_on_h"), "L": pl.col("baseline_l")}
    return pl.coalesce(
        pl.when(pl.col("work_unit") == unit).then(pl.col("work_rate") * rate.scale * activity[rate.activity])
        for unit, rate in WORK_RATES.items()
    )


@cache
def _own_work() -> pl.Expr:
    """Work of the vehicle's own engine, kWh: all of it, or as much as its share of the baseline's fuel."""
    share = pl.col("engine_l") / pl.col("baseline_l")
    return (
        pl.when(pl.col("powertrain").is_in(WHOLE_WORK))
        .then("work_kwh")
        .when(pl.col("engine_l") > 0)
        .then(pl.col("work_kwh") * share)
        .otherwise(0.0)
    )


SIDES = {"base": ("engine", "standard"), "own": ("engine", "own_standard"), "heater": ("heater", "heater_fuel")}
"""Whose limit or factor is looked up by what: the kind of factor, and the column that names it."""
NO_FACTORS = pl.DataFrame(
    schema={
        "pilot_id": pl.Int32, "region": pl.String, "day": pl.Date, "fuel": pl.String, "gases": pl.String,
        "si_value": pl.Float64, "id": pl.String, "note": pl.String,
    }
)  # fmt: skip


def _with_factors(worked: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """Add for each of `SIDES` and gas: `<gas>_<side>_value` (kg per kWh or L), `_id` and `_note`."""
    burned = pl.when(pl.col("heater_fuel_used_l") > 0).then(pl.lit("diesel"))
    rows = worked.with_columns(heater_fuel=burned)
    place = ["pilot_id", "region", "day"]
    for side, (kind, column) in SIDES.items():
        asked = rows.select(*place, fuel=column).drop_nulls("fuel")
        found = fuels(asked, table, kind=kind) if asked.height else NO_FACTORS
        best = found.group_by(*place, "fuel", maintain_order=True).agg(
            pl.col(source).filter(pl.col("gases") == gas).first().alias(f"{gas}_{side}_{part}")
            for gas in POLLUTANTS.values()
            for part, source in (("value", "si_value"), ("id", "id"), ("note", "note"))
        )
        rows = rows.join(best.rename({"fuel": column}), on=[*place, column], how="left")
    return rows


def _rows(worked: pl.DataFrame, slug: str, gas: str) -> pl.DataFrame:
    parts = [f"{side}_{part}" for side in SIDES for part in ("value", "id", "note")]
    rows = worked.with_columns(pl.col(f"{gas}_{part}").alias(part) for part in parts)
    heater_l = pl.col("heater_fuel_used_l").fill_null(0.0)
    engine_runs = (pl.col("own_work_kwh") > 0).fill_null(pl.col("powertrain").is_in(WHOLE_WORK))
    own_kg = pl.when(engine_runs).then(pl.col("own_work_kwh") * pl.col("own_value")).otherwise(0.0)
    heater_kg = pl.when(heater_l > 0).then(heater_l * pl.col("heater_value")).otherwise(0.0)
    value = (pl.col("work_kwh") * pl.col("base_value") - own_kg - heater_kg) * GRAMS_PER_KG
    ids = pl.concat_list(
        "base_id", pl.when(engine_runs).then("own_id"), pl.when(heater_l > 0).then("heater_id")
    ).list.drop_nulls()
    impossible = joined(_undeclared(slug, engine_runs, heater_l > 0))
    named = rows.with_columns(
        metric=pl.lit(slug), value=value, low=pl.lit(None, pl.Float64), high=pl.lit(None, pl.Float64),
        impossible=impossible, missing=joined(_unmeasured(engine_runs)), factor_ids=ids.list.unique(),
        words=_words(engine_runs, heater_l > 0),
    )  # fmt: skip
    done = completed(named, [("activity", pl.lit(True)), *own_fuel_inputs()])
    return done.with_columns(method=pl.when(pl.col("value").is_not_null()).then(pl.lit(ESTIMATED)))


def _undeclared(slug: str, engine_runs: pl.Expr, heats: pl.Expr) -> list[pl.Expr]:
    name = "NOx" if slug == NOX else "PM"
    unknown = f"no {name} limit of {{}} is known"
    nox_only = pl.lit(slug == PM) & pl.col("powertrain").is_in(NOX_ONLY)
    return [
        pl.when(pl.col("baseline_fuel").is_null()).then(pl.lit("no baseline is declared")),
        pl.when(nox_only).then(pl.lit("a near-zero claim covers NOx only")),
        pl.when(pl.col("standard").is_null()).then(
            pl.lit("neither the displaced engine's standard nor, on US roads, its model year is declared")
        ),
        pl.when(pl.col("work_rate").is_null()).then(
            pl.lit("the displaced engine's work is not declared, and none was seen in a source")
        ),
        pl.when(pl.col("standard").is_not_null() & pl.col("base_value").is_null()).then(
            pl.format(unknown, "standard")
        ),
        pl.when(engine_runs & pl.col("own_standard").is_null() & ~nox_only).then(
            pl.lit("the standard of the vehicle's own engine is not declared")
        ),
        pl.when(engine_runs & pl.col("own_standard").is_not_null() & pl.col("own_value").is_null() & ~nox_only).then(
            pl.format(unknown, "own_standard")
        ),
        pl.when(heats & pl.col("heater_value").is_null()).then(pl.lit(f"no {name} factor of a heater is known")),
    ]  # fmt: skip


def _unmeasured(engine_runs: pl.Expr) -> list[pl.Expr]:
    activity = pl.col("work_unit").replace_strict(
        {unit: rate.activity for unit, rate in WORK_RATES.items()}, default=None, return_dtype=pl.String
    )
    missing = {"km": "distance_km", "h": "key_on_h", "L": "fuel of the baseline"}
    untold = pl.col("work_kwh").is_null() & pl.col("work_rate").is_not_null()
    unknown_fuel = (pl.col("powertrain") == "phev") & pl.all_horizontal(
        pl.col("fuel_used_l", "genset_fuel_used_l").is_null()
    )
    shared = engine_runs & ~pl.col("powertrain").is_in(WHOLE_WORK) & pl.col("own_work_kwh").is_null()
    return [
        pl.when(untold).then(
            pl.format("{} of the day is not known", activity.replace_strict(missing, default=None))
        ),
        pl.when(unknown_fuel).then(pl.lit("neither fuel_used_l nor genset_fuel_used_l of the day is known")),
        pl.when(shared).then(pl.lit("the share of the work that the vehicle's engine did is not known")),
    ]  # fmt: skip


def _words(engine_runs: pl.Expr, heats: pl.Expr) -> pl.Expr:
    return pl.concat_str(
        pl.lit("screening"), pl.format("displaced engine by {}", "base_id"), "base_note",
        pl.format("work {} {} ({})", "work_rate", "work_unit", "work_source"),
        pl.when(engine_runs).then(pl.format("own engine by {} subtracted", "own_id")),
        pl.when(heats).then(pl.format("heater by {} subtracted", "heater_id")),
        separator="; ", ignore_nulls=True,
    )  # fmt: skip
