"""Fuel displaced and CO2e avoided, at three boundaries that are never mixed.

    baseline = activity x declared fuel rate                        (activity: km, or key-on hours)
    avoided  = baseline x fuel factor (+ km x CH4 and N2O per km)
             - own fuel x fuel factor - grid energy (AC) x electricity factor / (1 - line loss)

Own fuel is what the vehicle itself used: liquid fuel of a hybrid's engine, of a heater or of a generator on board,
natural gas, hydrogen. Negative results are shown.
`analytics.factors` decides which factors hold; the definitions are in `docs/definitions.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import dataframely as dy
import polars as pl

from analytics.factors.pairing import BOUNDARIES, FUEL_KEYS, NO_HOURS, ByTheHour, pairs
from analytics.metrics.metric import Metric, Total
from analytics.metrics.rows import MEASURED, MIXED
from schemas.frames import Baselines, Figures, OperatingDays, Vehicles
from schemas.units import FUEL_RATES, fuel_per_activity

DISPLACED = "fuel_displaced_l"
TAILPIPE_VS_GENERATION, WELL_TO_WHEEL, CONSERVATIVE = (boundary.metric for boundary in BOUNDARIES)
HEADLINE_ORDER = (WELL_TO_WHEEL, TAILPIPE_VS_GENERATION, CONSERVATIVE)
BIOGENIC = "biogenic_co2_kg"
LIQUID_FUELS = ("fuel_used_l", "heater_fuel_used_l", "genset_fuel_used_l")
OWN_FUELS = (*LIQUID_FUELS, "cng_used_kg", "hydrogen_used_kg")
INPUTS = ("distance_km", "key_on_h", "grid_energy_kwh", *OWN_FUELS)
KEYS = ["vehicle_id", "day"]
PARTS = ("value", "coverage_pct", "weight", "method")
BASELINE_INPUTS: tuple[tuple[str, pl.Expr], ...] = (("activity", pl.lit(True)), ("baseline", pl.lit(True)))
NO_BASELINES = Baselines.create_empty()
PLUGGED_POWERTRAINS = ("bev", "phev")
REFERENCE_POWERTRAIN = "diesel"
FUEL_OF_POWERTRAIN = {"phev": "diesel", "hev": "diesel", "cng": "cng", "lng": "lng", "fcev": "hydrogen"}
"""What a vehicle burns unless it declares something else, such as rng."""
MUST_TELL = {
    "phev": ("fuel_used_l", "genset_fuel_used_l"),
    "hev": ("fuel_used_l", "genset_fuel_used_l"),
    "cng": ("cng_used_kg",),
    "lng": ("cng_used_kg",),
    "fcev": ("hydrogen_used_kg",),
}
"""Per powertrain the fuel figures of which one must be known: an engine may drive the wheels or a generator."""
GASEOUS = ("cng", "lng", "rng")

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
        slug=BIOGENIC,
        name="Biogenic CO2",
        unit="kg",
        meaning="CO2 of fuel of biological origin that the vehicle burned. It is in no figure of CO2e avoided.",
        definition="fuel burned x biogenic tailpipe factor",
        inputs=OWN_FUELS,
        decimals=0,
        total=Total.SUM,
        anchor="near-zero",
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
    baselines: pl.DataFrame = NO_BASELINES,
) -> Avoided:
    """Fuel displaced (L) and CO2e avoided (kg) of each vehicle and day, four rows each, and biogenic CO2 where any.

    `day_figures` holds the figures of `INPUTS`; `table` follows `Factors`, `baselines` `Baselines`. A vehicle whose
    powertrain is diesel is a reference and has no rows. A figure that cannot be known is null and its note says why.
    """
    return avoided_on(day_inputs(vehicles, days, day_figures, baselines), table, hourly)


def avoided_on(known: pl.DataFrame, table: pl.DataFrame, hourly: ByTheHour) -> Avoided:
    """What `avoided` gives, from `day_inputs`."""
    found = pairs(known, _burns(known), table, hourly)
    emitted = _emissions(known.join(found.factors.select(pl.exclude(known.columns), *KEYS), on=KEYS))
    biogenic = [_biogenic(known, found.biogenic)] if found.biogenic.height else []
    rows = pl.concat([_displaced(known), emitted, *biogenic], how="diagonal_relaxed")
    ids = pl.concat([emitted, *biogenic], how="diagonal_relaxed").filter(pl.col("value").is_not_null())
    ids = ids.select(*KEYS, factor_id="factor_ids")
    return Avoided(
        figures=Figures.cast(rows.select(Figures.column_names()).sort("vehicle_id", "day", "metric")),
        factor_ids=ids.explode("factor_id").unique().sort("vehicle_id", "day", "factor_id"),
    )


def _named(slug: str, part: str) -> str:
    return slug if part == "value" else f"{slug}.{part}"


def _by_rate_unit(values: Mapping[str, pl.Expr]) -> pl.Expr:
    unit = pl.col("baseline_unit")
    return pl.coalesce(pl.when(unit == name).then(value) for name, value in values.items())


def day_inputs(
    vehicles: pl.DataFrame, days: pl.DataFrame, day_figures: pl.DataFrame, baselines: pl.DataFrame = NO_BASELINES
) -> pl.DataFrame:
    """What figures of avoided emissions start from, diesel references left out.

    One row per vehicle-day: the day's figures side by side, the activity, the baseline fuel and the own fuel.
    """
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
        .join(baselines.select(*KEYS, pl.exclude(KEYS).name.prefix("baselines.")), on=KEYS, how="left")
        .with_columns(
            baseline_rate=pl.coalesce("baseline_rate", "baselines.rate"),
            baseline_unit=pl.coalesce("baseline_unit", "baselines.unit"),
        )
        .rename({"baselines.method": "baseline.method"})
        .with_columns(pl.lit(None, pl.Float64).alias("baseline.coverage_pct"))
    )
    per_km = pl.col("baseline_unit").is_in([unit for unit, rate in FUEL_RATES.items() if rate.activity == "km"])
    activity = {
        part: pl.when(per_km).then(_named("distance_km", part)).otherwise(_named("key_on_h", part)) for part in PARTS
    }
    rate = _by_rate_unit({unit: fuel_per_activity(pl.col("baseline_rate"), unit) for unit in FUEL_RATES})
    return (
        known.with_columns(
            **{_named("activity", part): value for part, value in activity.items()},
            activity_slug=pl.when(per_km).then(pl.lit("distance_km")).otherwise(pl.lit("key_on_h")),
            amount=_by_rate_unit({unit: pl.lit(known_rate.amount) for unit, known_rate in FUEL_RATES.items()}),
            own_l=pl.sum_horizontal(LIQUID_FUELS),
            own_fuel=pl.coalesce("own_fuel", pl.col("powertrain").replace_strict(FUEL_OF_POWERTRAIN, default=None)),
            draws=pl.col("powertrain").is_in(PLUGGED_POWERTRAINS) | (pl.col("grid_energy_kwh") > 0).fill_null(False),
            rate=rate,
        )
        .with_columns(baseline_amount=pl.col("rate") * pl.col("activity"))
        .with_columns(baseline_l=pl.when(pl.col("amount") == "L").then("baseline_amount"))
    )


def _burns(known: pl.DataFrame) -> pl.DataFrame:
    """What each vehicle burned itself on each day, one row per kind: heaters and generators burn diesel."""
    engine = pl.col("own_fuel").fill_null("diesel").replace(FUEL_KEYS)
    fuel_of = {slug: engine if slug in ("fuel_used_l", "cng_used_kg") else pl.lit("diesel") for slug in OWN_FUELS}
    fuel_of["hydrogen_used_kg"] = pl.lit("hydrogen")
    parts = [
        known.filter(pl.col(slug) > 0).select(
            *KEYS, "pilot_id", "region", "category", fuel=fuel, amount=pl.lit("L" if slug.endswith("_l") else "kg"),
            quantity=slug,
        )
        for slug, fuel in fuel_of.items()
    ]  # fmt: skip
    return pl.concat(parts)


def _biogenic(known: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    rows = known.join(found, on=KEYS).with_columns(
        metric=pl.lit(BIOGENIC),
        value=pl.col("biogenic_kg"),
        low=pl.lit(None, pl.Float64),
        high=pl.lit(None, pl.Float64),
        impossible=pl.lit(None, pl.String),
        missing=pl.lit(None, pl.String),
        words=pl.col("biogenic_words"),
        factor_ids=pl.col("biogenic_ids"),
    )
    return completed(rows, own_fuel_inputs())


@cache
def _without_factors() -> list[pl.Expr]:
    """Why the fuel displaced cannot be known, apart from factors: what is declared, then what is measured."""
    undeclared = pl.any_horizontal(pl.col("baseline_fuel", "baseline_rate", "baseline_unit").is_null())
    return [pl.when(undeclared).then(pl.coalesce("baselines.reason", pl.lit("no baseline is declared")))]


@cache
def _unmeasured() -> list[pl.Expr]:
    untold = [
        pl.when((pl.col("powertrain") == powertrain) & pl.all_horizontal(pl.col(*slugs).is_null())).then(
            pl.lit(f"{slugs[0]} of the day is not known" if len(slugs) == 1 else
                   f"neither {' nor '.join(slugs)} of the day is known")
        )
        for powertrain, slugs in MUST_TELL.items()
    ]  # fmt: skip
    activity = pl.when(pl.col("activity").is_null()).then(pl.format("{} of the day is not known", "activity_slug"))
    return [activity, *untold]


def joined(reasons: list[pl.Expr]) -> pl.Expr:
    """Reasons as one note; null if there is none."""
    return pl.concat_str(reasons, separator="; ", ignore_nulls=True).replace("", None)


def completed(rows: pl.DataFrame, inputs: list[tuple[str, pl.Expr]]) -> pl.DataFrame:
    """Figures out of rows with value, low, high, words, and reasons why they are impossible or missing.

    Add coverage (the weakest input's), method and weight; null the value where there is a reason.

    `inputs` are (slug, whether it counts). A figure without declaration or factor has no coverage; one for which a
    measurement is missing has coverage 0.
    """

    def part(name: str) -> list[pl.Expr]:
        return [pl.when(counts).then(_named(slug, name)) for slug, counts in inputs]

    # Methods are words: what is first and last among them in the alphabet is the same where all are.
    rows = rows.with_columns(
        first_method=pl.min_horizontal(part("method")), last_method=pl.max_horizontal(part("method"))
    )
    first, last = pl.col("first_method"), pl.col("last_method")
    method = pl.when(first == last).then(first).when(first.is_null()).then(pl.lit(MEASURED)).otherwise(pl.lit(MIXED))
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


def own_fuel_inputs(slugs: tuple[str, ...] = OWN_FUELS) -> list[tuple[str, pl.Expr]]:
    """Fuels that count as inputs of a figure where they are known, as `completed` takes them."""
    return [(slug, pl.col(slug).is_not_null()) for slug in slugs]


@cache
def _baseline_words() -> pl.Expr:
    words = pl.format("baseline {} {} of {}", "baseline_rate", "baseline_unit", "baseline_fuel")
    source = pl.format(" ({})", "baseline_source")
    return pl.coalesce("baselines.words", pl.concat_str(words, source, ignore_nulls=True))


@cache
def _own_words() -> pl.Expr:
    """That own fuel was subtracted; without its amount, so that the days of a period say the same."""
    names = {slug: slug.removesuffix("_l").removesuffix("_kg").replace("_", " ") for slug in OWN_FUELS}
    burned = pl.concat_str(
        [pl.when(pl.col(slug) > 0).then(pl.lit(name)) for slug, name in names.items()], separator=", ",
        ignore_nulls=True,
    )  # fmt: skip
    return pl.when(burned != "").then(pl.format("own fuel subtracted: {}", burned))


@cache
def _gas_words() -> pl.Expr:
    gas = pl.col("own_fuel").is_in(GASEOUS) & (pl.col("cng_used_kg") > 0) & (pl.col("gases") == "co2")
    return pl.when(gas).then(pl.lit("CH4 and N2O of the gas engine are not in it: no factor of them is known"))


def _displaced(known: pl.DataFrame) -> pl.DataFrame:
    by_mass = pl.when(pl.col("amount") == "kg").then(pl.lit("the baseline is declared in kg"))
    rows = known.with_columns(
        metric=pl.lit(DISPLACED),
        value=pl.col("baseline_amount") - pl.col("own_l"),
        low=pl.lit(None, pl.Float64),
        high=pl.lit(None, pl.Float64),
        impossible=joined([*_without_factors(), by_mass]),
        missing=joined(_unmeasured()),
        words=pl.concat_str(_baseline_words(), _own_words(), separator="; ", ignore_nulls=True),
    )
    return completed(rows, [*BASELINE_INPUTS, *own_fuel_inputs(LIQUID_FUELS)])


RANGED = ("kg_per_amount", "own_kg", "kg_per_kwh")
"""Factors that other sources tell otherwise, with their `_low` and `_high`."""


def _avoided(saved: str = "", emitted: str = "") -> pl.Expr:
    """What the displaced fuel would have emitted by one end of its range, less what was, by another end (kg)."""
    per_km = pl.col(f"trace{saved}" if saved else "trace_kg_per_km").fill_null(0.0)
    trace = pl.when(per_km > 0).then(pl.col("distance_km") * per_km).otherwise(0.0)
    drawn = pl.when("draws").then("grid_energy_kwh").otherwise(0.0)
    baseline = pl.col("baseline_amount") * pl.col(f"kg_per_amount{saved}") + trace
    return baseline - pl.col(f"own_kg{emitted}") - drawn * pl.col(f"kg_per_kwh{emitted}")


def _emissions(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows`: inputs joined with the factors of each boundary. Adds value, low, high (kg) and what goes with them."""
    has_trace = pl.col("trace_kg_per_km").fill_null(0) > 0
    low, high = _avoided("_low", "_high"), _avoided("_high", "_low")
    ranged = pl.any_horizontal(pl.col(f"{name}_high") > pl.col(f"{name}_low") for name in RANGED)
    missing = [
        *_unmeasured(),
        pl.when(pl.col("draws") & pl.col("grid_energy_kwh").is_null()).then(
            pl.lit("grid_energy_kwh of the day is not known")
        ),
        pl.when(has_trace & pl.col("distance_km").is_null() & (pl.col("activity_slug") != "distance_km")).then(
            pl.lit("distance_km of the day is not known, so CH4 and N2O per km are not")
        ),
    ]
    computed = rows.with_columns(
        value=_avoided(),
        low=pl.when(ranged).then(low),
        high=pl.when(ranged).then(high),
        impossible=joined([*_without_factors(), pl.col("pair_reason")]),
        missing=joined(missing),
        words=pl.concat_str(
            "pair_note", _baseline_words(), _own_words(), _gas_words(), separator="; ", ignore_nulls=True
        ),
    )
    return completed(
        computed,
        [
            *BASELINE_INPUTS,
            ("grid_energy_kwh", pl.col("draws")),
            ("distance_km", has_trace),
            *own_fuel_inputs(),
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
