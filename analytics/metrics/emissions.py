"""Fuel displaced and CO2e avoided, at three boundaries that are never mixed.

    baseline = activity x declared fuel rate                        (activity: km, or key-on hours)
    avoided  = baseline x fuel factor (+ km x CH4 and N2O per km)
             - own fuel x fuel factor - grid energy (AC) x electricity factor / (1 - line loss)

Own fuel is what a plug-in hybrid's engine, a diesel heater or a generator on board burned. Negative results are shown.
`analytics.factors` decides which factors hold; the definitions are in `docs/definitions.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import dataframely as dy
import polars as pl

from analytics.factors.pairing import BOUNDARIES, NO_HOURS, ByTheHour, pairs
from analytics.metrics.metric import Metric, Total
from schemas.frames import Figures, OperatingDays, Vehicles
from schemas.units import FUEL_RATES, fuel_per_activity

DISPLACED = "fuel_displaced_l"
TAILPIPE_VS_GENERATION, WELL_TO_WHEEL, CONSERVATIVE = (boundary.metric for boundary in BOUNDARIES)
HEADLINE_ORDER = (WELL_TO_WHEEL, TAILPIPE_VS_GENERATION, CONSERVATIVE)
OWN_FUELS = ("fuel_used_l", "heater_fuel_used_l", "genset_fuel_used_l")
INPUTS = ("distance_km", "key_on_h", "grid_energy_kwh", *OWN_FUELS)
PARTS = ("value", "coverage_pct", "weight", "method")
COUNTED_POWERTRAINS = ("bev", "phev")
REFERENCE_POWERTRAIN = "diesel"

METRICS: tuple[Metric, ...] = (
    Metric(
        slug=DISPLACED,
        name="Fuel displaced",
        unit="L",
        meaning="Fuel the declared baseline vehicle would have burned for the same work, less what this one burned.",
        definition="distance or key-on hours x declared baseline rate - own liquid fuel",
        inputs=INPUTS,
        decimals=1,
        total=Total.SUM,
        anchor="baseline",
    ),
    Metric(
        slug=TAILPIPE_VS_GENERATION,
        name="CO2e avoided, tailpipe against generation",
        unit="kg",
        meaning="What the displaced fuel would have emitted at the tailpipe, less what power stations emitted.",
        definition="fuel x tailpipe factor - AC energy x direct generation factor / (1 - line loss), same gases",
        inputs=(DISPLACED, *INPUTS),
        decimals=0,
        total=Total.SUM,
        anchor="boundaries-of-co2e-avoided",
    ),
    Metric(
        slug=WELL_TO_WHEEL,
        name="CO2e avoided, well-to-wheel",
        unit="kg",
        meaning="Life-cycle emissions of the displaced fuel, less life-cycle emissions of the electricity.",
        definition="fuel x well-to-wheel factor - AC energy x life-cycle factor / (1 - line loss)",
        inputs=(DISPLACED, *INPUTS),
        decimals=0,
        total=Total.SUM,
        anchor="boundaries-of-co2e-avoided",
    ),
    Metric(
        slug=CONSERVATIVE,
        name="CO2e avoided, conservative",
        unit="kg",
        meaning="A lower bound: tailpipe emissions of the displaced fuel, less life-cycle ones of the electricity.",
        definition="fuel x tailpipe factor (CO2e) - AC energy x life-cycle factor / (1 - line loss)",
        inputs=(DISPLACED, *INPUTS),
        decimals=0,
        total=Total.SUM,
        anchor="boundaries-of-co2e-avoided",
    ),
)


@dataclass(frozen=True, slots=True)
class Avoided:
    """Figures, and the factors behind them: columns vehicle_id, day, factor_id."""

    figures: dy.DataFrame[Figures]
    factor_ids: pl.DataFrame


def avoided(
    vehicles: dy.DataFrame[Vehicles] | pl.DataFrame,
    days: dy.DataFrame[OperatingDays] | pl.DataFrame,
    day_figures: dy.DataFrame[Figures] | pl.DataFrame,
    table: pl.DataFrame,
    hourly: ByTheHour = NO_HOURS,
) -> Avoided:
    """Fuel displaced (L) and CO2e avoided (kg) of each vehicle and day, four rows each.

    `day_figures` holds the figures of `INPUTS`; `table` follows `Factors`. A vehicle whose powertrain is diesel is a
    reference and has no rows. A figure that cannot be known is null and its note says why.
    """
    known = _inputs(vehicles, days, day_figures)
    factors = pairs(vehicles, days, table, hourly).drop("pilot_id", "region", "grid", "category", "fuel", "amount")
    emitted = _emissions(known.join(factors, on=["vehicle_id", "day"]))
    rows = pl.concat([_displaced(known), emitted], how="diagonal_relaxed")
    ids = emitted.filter(pl.col("value").is_not_null()).select("vehicle_id", "day", factor_id="all_ids")
    return Avoided(
        figures=Figures.validate(rows.select(Figures.column_names()).sort("vehicle_id", "day", "metric"), cast=True),
        factor_ids=ids.explode("factor_id").unique().sort("vehicle_id", "day", "factor_id"),
    )


def _named(slug: str, part: str) -> str:
    return slug if part == "value" else f"{slug}.{part}"


def _by_rate_unit(values: Mapping[str, pl.Expr]) -> pl.Expr:
    unit = pl.col("baseline_unit")
    return pl.coalesce(pl.when(unit == name).then(value) for name, value in values.items())


def _inputs(vehicles: pl.DataFrame, days: pl.DataFrame, day_figures: pl.DataFrame) -> pl.DataFrame:
    """One row per vehicle-day: the day's figures side by side, the activity, the baseline fuel and the own fuel."""
    parts = [
        pl.col(part).filter(pl.col("metric") == slug).first().alias(_named(slug, part))
        for slug in INPUTS
        for part in PARTS
    ]
    wide = day_figures.filter(pl.col("metric").is_in(INPUTS)).group_by("vehicle_id", "day").agg(parts)
    known = (
        vehicles.filter(pl.col("powertrain") != REFERENCE_POWERTRAIN)
        .join(days.select("vehicle_id", "day"), on="vehicle_id")
        .join(wide, on=["vehicle_id", "day"], how="left")
    )
    per_km = pl.col("baseline_unit").is_in([unit for unit, rate in FUEL_RATES.items() if rate.activity == "km"])
    activity = {
        part: pl.when(per_km).then(_named("distance_km", part)).otherwise(_named("key_on_h", part)) for part in PARTS
    }
    rate = _by_rate_unit({unit: fuel_per_activity(pl.col("baseline_rate"), unit) for unit in FUEL_RATES})
    return known.with_columns(
        **{_named("activity", part): value for part, value in activity.items()},
        activity_slug=pl.when(per_km).then(pl.lit("distance_km")).otherwise(pl.lit("key_on_h")),
        amount=_by_rate_unit({unit: pl.lit(known_rate.amount) for unit, known_rate in FUEL_RATES.items()}),
        own_l=pl.sum_horizontal(OWN_FUELS),
        rate=rate,
    ).with_columns(baseline_amount=pl.col("rate") * pl.col("activity"))


def _without_factors() -> list[pl.Expr]:
    """Why the fuel displaced cannot be known, apart from factors: what is declared, then what is measured."""
    undeclared = pl.any_horizontal(pl.col("baseline_fuel", "baseline_rate", "baseline_unit").is_null())
    foreign = ~pl.col("powertrain").is_in(COUNTED_POWERTRAINS)
    return [
        pl.when(undeclared).then(pl.lit("no baseline is declared")),
        pl.when(foreign).then(pl.format("fuel of a {} vehicle is not counted by this figure", "powertrain")),
    ]


def _unmeasured() -> list[pl.Expr]:
    # A hybrid's engine may drive the wheels or a generator: one of the two counters must tell what it burnt.
    burnt = ("fuel_used_l", "genset_fuel_used_l")
    untold = (pl.col("powertrain") == "phev") & pl.all_horizontal(pl.col(*burnt).is_null())
    return [
        pl.when(pl.col("activity").is_null()).then(pl.format("{} of the day is not known", "activity_slug")),
        pl.when(untold).then(pl.lit(f"neither {burnt[0]} nor {burnt[1]} of the day is known")),
    ]


def _joined(reasons: list[pl.Expr]) -> pl.Expr:
    return pl.concat_str(reasons, separator="; ", ignore_nulls=True).replace("", None)


def _completed(rows: pl.DataFrame, inputs: list[tuple[str, pl.Expr]]) -> pl.DataFrame:
    """Add coverage (the weakest input's), method and weight; null the value where there is a reason.

    `inputs` are (slug, whether it counts). A figure without declaration or factor has no coverage; one for which a
    measurement is missing has coverage 0.
    """

    def part(name: str) -> list[pl.Expr]:
        return [pl.when(counts).then(_named(slug, name)) for slug, counts in inputs]

    def all_are(method: str) -> pl.Expr:
        return pl.all_horizontal((own == method).fill_null(True) for own in part("method"))

    method = (
        pl.when(all_are("measured"))
        .then(pl.lit("measured"))
        .when(all_are("estimated"))
        .then(pl.lit("estimated"))
        .otherwise(pl.lit("mixed"))
    )
    possible = pl.col("impossible").is_null()
    reason = pl.coalesce("impossible", "missing")
    known = reason.is_null()
    return rows.with_columns(
        pl.when(known).then(pl.col("value", "low", "high")),
        coverage_pct=pl.when(known).then(pl.min_horizontal(part("coverage_pct"))).when(possible).then(0.0),
        weight=pl.when(possible).then("activity.weight"),
        method=pl.when(known).then(method),
        note=pl.when(known).then("words").otherwise(reason),
    )


def _own_fuel_inputs() -> list[tuple[str, pl.Expr]]:
    return [(slug, pl.col(slug).is_not_null()) for slug in OWN_FUELS]


def _baseline_words() -> pl.Expr:
    words = pl.format("baseline {} {} of {}", "baseline_rate", "baseline_unit", "baseline_fuel")
    source = pl.format(" ({})", "baseline_source")
    return pl.concat_str(words, source, ignore_nulls=True)


def _own_words() -> pl.Expr:
    return pl.when(pl.col("own_l") > 0).then(pl.format("own fuel of {} L subtracted", pl.col("own_l").round(2)))


def _displaced(known: pl.DataFrame) -> pl.DataFrame:
    by_mass = pl.when(pl.col("amount") == "kg").then(pl.lit("the baseline is declared in kg"))
    rows = known.with_columns(
        metric=pl.lit(DISPLACED),
        value=pl.col("baseline_amount") - pl.col("own_l"),
        low=pl.lit(None, pl.Float64),
        high=pl.lit(None, pl.Float64),
        impossible=_joined([*_without_factors(), by_mass]),
        missing=_joined(_unmeasured()),
        words=pl.concat_str(_baseline_words(), _own_words(), separator="; ", ignore_nulls=True),
    )
    return _completed(rows, [("activity", pl.lit(True)), *_own_fuel_inputs()])


def _emissions(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows`: inputs joined with the factors of each boundary. Adds value, low, high (kg) and what goes with them."""
    has_trace = pl.col("trace_kg_per_km").fill_null(0) > 0
    burns = pl.col("own_l") > 0
    baseline = pl.col("baseline_amount") * pl.col("kg_per_amount") + pl.when(has_trace).then(
        pl.col("distance_km") * pl.col("trace_kg_per_km")
    ).otherwise(0.0)
    own = pl.when(burns).then(pl.col("own_l") * pl.col("own_kg_per_l")).otherwise(0.0)

    def less_electricity(factor: str) -> pl.Expr:
        return baseline - own - pl.col("grid_energy_kwh") * pl.col(factor)

    ranged = pl.col("kg_per_kwh_high") > pl.col("kg_per_kwh_low")
    no_own = pl.col("complete") & burns & pl.col("own_kg_per_l").is_null()
    missing = [
        *_unmeasured(),
        pl.when(pl.col("grid_energy_kwh").is_null()).then(pl.lit("grid_energy_kwh of the day is not known")),
        pl.when(has_trace & pl.col("distance_km").is_null() & (pl.col("activity_slug") != "distance_km")).then(
            pl.lit("distance_km of the day is not known, so CH4 and N2O per km are not")
        ),
    ]
    no_own_words = pl.lit("no factor of the diesel this vehicle burned itself is known at this boundary")
    computed = rows.with_columns(
        value=less_electricity("kg_per_kwh"),
        low=pl.when(ranged).then(less_electricity("kg_per_kwh_high")),
        high=pl.when(ranged).then(less_electricity("kg_per_kwh_low")),
        impossible=_joined([*_without_factors(), pl.col("pair_reason"), pl.when(no_own).then(no_own_words)]),
        missing=_joined(missing),
        words=pl.concat_str("pair_note", _baseline_words(), _own_words(), separator="; ", ignore_nulls=True),
        all_ids=pl.when(burns).then(pl.concat_list("factor_ids", "own_ids")).otherwise("factor_ids"),
    )
    return _completed(
        computed,
        [
            ("activity", pl.lit(True)),
            ("grid_energy_kwh", pl.lit(True)),
            ("distance_km", has_trace),
            *_own_fuel_inputs(),
        ],
    )


def headline(totals: pl.DataFrame) -> pl.DataFrame:
    """Each pilot's leading figure of CO2e avoided: well-to-wheel where it exists, else tailpipe, else conservative.

    `totals` has columns pilot_id, metric, value (kg). The result has one row per pilot of `totals`: pilot_id, metric
    and value, both null where no boundary has a value.
    """
    rank = {slug: position for position, slug in enumerate(HEADLINE_ORDER)}
    known = totals.filter(pl.col("metric").is_in(HEADLINE_ORDER) & pl.col("value").is_not_null())
    leading = known.sort(pl.col("metric").replace_strict(rank)).group_by("pilot_id").first()
    pilots = totals.select("pilot_id").unique(maintain_order=True)
    return pilots.join(leading.select("pilot_id", "metric", "value"), on="pilot_id", how="left", maintain_order="left")


def headline_slug(values: Mapping[str, float | None]) -> str | None:
    """The slug that leads among one pilot's figures, or None where no boundary has a value."""
    return next((slug for slug in HEADLINE_ORDER if values.get(slug) is not None), None)


def programme_totals(headlines: pl.DataFrame) -> pl.DataFrame:
    """Headlines added within each boundary, never across: metric, value (kg), pilots (their ids)."""
    known = headlines.filter(pl.col("metric").is_not_null())
    return known.group_by("metric").agg(value=pl.col("value").sum(), pilots=pl.col("pilot_id").sort()).sort("metric")


def factors_used(factor_ids: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """The factors named in `factor_id`, once each: id, name, value, unit, year, edition, source, confidence."""
    listed = ["id", "name", "value", "unit", "year", "edition", "source", "confidence"]
    return table.filter(pl.col("id").is_in(factor_ids["factor_id"].unique().implode())).select(listed).sort("id")
