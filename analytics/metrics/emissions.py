"""Fuel displaced and CO2e avoided, at three boundaries that are never mixed.

    baseline = activity x declared fuel rate                        (activity: km, or key-on hours)
    avoided  = baseline x fuel factor (+ km x CH4 and N2O per km)
             - own fuel x fuel factor - grid energy (AC) x electricity factor / (1 - line loss)

Own fuel is what the vehicle itself used: liquid fuel of a hybrid's engine, of a heater or of a generator on board,
natural gas, hydrogen. Negative results are shown.
`analytics.factors` decides which factors hold; the definitions are in `docs/definitions.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import dataframely as dy
import polars as pl

from analytics.factors.holding import HIGH, LOW, VALUE, Biogenic, Case, Held, Pair, holding
from analytics.factors.pairing import BOUNDARIES, NO_HOURS, ByTheHour
from analytics.metrics import sources
from analytics.metrics.avoiding import Avoided, Found, bounds, in_frames, known, told_fuels, unknown
from analytics.metrics.metric import Given, Metric, Total
from analytics.metrics.vehicle_days import INPUTS, LIQUID_FUELS, NO_BASELINES, OWN_FUELS, Told, VehicleDay
from analytics.metrics.vehicle_days import day_inputs as day_inputs
from schemas.frames import Figures, OperatingDays, Vehicles

DISPLACED = "fuel_displaced_l"
TAILPIPE_VS_GENERATION, WELL_TO_WHEEL, CONSERVATIVE = (boundary.metric for boundary in BOUNDARIES)
HEADLINE_ORDER = (WELL_TO_WHEEL, TAILPIPE_VS_GENERATION, CONSERVATIVE)
BIOGENIC = "biogenic_co2_kg"
MUST_TELL = {
    "phev": ("fuel_used_l", "genset_fuel_used_l"),
    "hev": ("fuel_used_l", "genset_fuel_used_l"),
    "cng": ("cng_used_kg",),
    "lng": ("cng_used_kg",),
    "fcev": ("hydrogen_used_kg",),
}
"""Per powertrain the fuel figures of which one must be known: an engine may drive the wheels or a generator."""
GASEOUS = ("cng", "lng", "rng")

_EMISSION_INPUTS = (
    DISPLACED, *INPUTS, Given.VEHICLE, Given.BASELINE, Given.FACTORS, Given.HOURLY_FACTORS, Given.LINE_LOSS,
)  # fmt: skip
METRICS: tuple[Metric, ...] = (
    Metric(
        slug=DISPLACED,
        name="Fuel displaced",
        unit="L",
        meaning="Fuel the declared baseline vehicle would have burned for the same work, less what this one burned.",
        definition="distance or key-on hours x declared baseline rate - own liquid fuel",
        inputs=("distance_km", "key_on_h", *OWN_FUELS, Given.VEHICLE, Given.BASELINE),
        decimals=1,
        total=Total.SUM,
        anchor="baseline",
        source=f"{sources.OWN}: fuel of the declared baseline less own fuel",
    ),
    Metric(
        slug=BIOGENIC,
        name="Biogenic CO2",
        unit="kg",
        meaning="CO2 of fuel of biological origin that the vehicle burned. It is in no figure of CO2e avoided.",
        definition="fuel burned x biogenic tailpipe factor",
        inputs=(*OWN_FUELS, Given.FACTORS),
        decimals=0,
        total=Total.SUM,
        anchor="near-zero",
        source=sources.BIOGENIC,
    ),
    Metric(
        slug=TAILPIPE_VS_GENERATION,
        name="CO2e avoided, tailpipe against generation",
        unit="kg",
        meaning="What the displaced fuel would have emitted at the tailpipe, less what power stations emitted.",
        definition="fuel x tailpipe factor - AC energy x direct generation factor / (1 - line loss), same gases",
        inputs=_EMISSION_INPUTS,
        decimals=0,
        total=Total.SUM,
        anchor="boundaries-of-co2e-avoided",
        source=sources.TAILPIPE_VS_GENERATION,
    ),
    Metric(
        slug=WELL_TO_WHEEL,
        name="CO2e avoided, well-to-wheel",
        unit="kg",
        meaning="Life-cycle emissions of the displaced fuel, less life-cycle emissions of the electricity.",
        definition="fuel x well-to-wheel factor - AC energy x life-cycle factor / (1 - line loss)",
        inputs=_EMISSION_INPUTS,
        decimals=0,
        total=Total.SUM,
        anchor="boundaries-of-co2e-avoided",
        source=sources.WELL_TO_WHEEL,
    ),
    Metric(
        slug=CONSERVATIVE,
        name="CO2e avoided, conservative",
        unit="kg",
        meaning="A lower bound: tailpipe emissions of the displaced fuel, less life-cycle ones of the electricity.",
        definition="fuel x tailpipe factor (CO2e) - AC energy x life-cycle factor / (1 - line loss)",
        inputs=_EMISSION_INPUTS,
        decimals=0,
        total=Total.SUM,
        anchor="boundaries-of-co2e-avoided",
        source=sources.CONSERVATIVE,
    ),
)


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


def avoided_on(days: Sequence[VehicleDay], table: pl.DataFrame, hourly: ByTheHour) -> Avoided:
    """What `avoided` gives, from `day_inputs`."""
    cases = [Case(day.vehicle.vehicle_id, day.day, day.facts()) for day in days]
    held = holding(cases, table, hourly)
    return in_frames(found for day, holds in zip(days, held, strict=True) for found in _of_day(day, holds))


def _of_day(day: VehicleDay, held: Held) -> Iterable[Found]:
    yield _displaced(day)
    for boundary in BOUNDARIES:
        yield _emissions(day, boundary.metric, held)
    if held.biogenic is not None:
        yield _biogenic(day, held.biogenic)


def _displaced(day: VehicleDay) -> Found:
    impossible, missing = _undeclared(day), _unmeasured(day)
    if day.amount == "kg":
        impossible.append("the baseline is declared in kg")
    if impossible or missing:
        return Found(unknown(day, DISPLACED, impossible, missing))
    value, least, most = (_displaced_l(end) for end in (day, *day.ends))
    inputs = [*_baseline_inputs(day), *told_fuels(day, LIQUID_FUELS)]
    words = [day.baseline.words, _own_words(day)]
    return Found(known(day, DISPLACED, value, inputs, words, *bounds(value, least, most)))


def _displaced_l(day: VehicleDay) -> float | None:
    baseline, own_l = day.baseline_amount, sum(day.used(slug) for slug in LIQUID_FUELS)
    return None if baseline is None else baseline - own_l


def _emissions(day: VehicleDay, slug: str, held: Held) -> Found:
    pair = held.pairs.get(slug)
    impossible, missing = _undeclared(day), _unmeasured(day)
    if pair is None:
        impossible += held.reasons[slug]
    else:
        missing += _unmeasured_for(day, pair)
    if pair is None or impossible or missing:
        return Found(unknown(day, slug, impossible, missing))
    inputs = [*_baseline_inputs(day), *told_fuels(day)]
    inputs += [day.figure("grid_energy_kwh")] if day.draws else []
    inputs += [day.figure("distance_km")] if _counts_km(pair) else []
    words = [pair.note, day.baseline.words, _own_words(day), _gas_words(day, pair)]
    value, (least, most) = _avoided_kg(day, pair), day.ends
    ends = _avoided_kg(least, pair, LOW, HIGH), _avoided_kg(most, pair, HIGH, LOW)
    return Found(known(day, slug, value, inputs, words, *bounds(value, *ends)), pair.factor_ids)


def _avoided_kg(day: VehicleDay, pair: Pair, saved: int = VALUE, emitted: int = VALUE) -> float | None:
    """What the displaced fuel would have emitted by one end of its factor's range, less what was, by another end."""
    amount, per_km = day.baseline_amount, pair.kg_per_km[saved]
    km = day.value("distance_km") if per_km > 0 else 0.0
    kwh = day.value("grid_energy_kwh") if day.draws else 0.0
    if amount is None or km is None or kwh is None:
        return None
    baseline_kg = amount * pair.kg_per_amount[saved] + km * per_km
    return baseline_kg - _own_kg(day, pair, emitted) - kwh * pair.kg_per_kwh[emitted]


def _own_kg(day: VehicleDay, pair: Pair, end: int) -> float:
    return sum(amount * pair.own[fuel][end] for fuel, amount in day.burned().items())


def _counts_km(pair: Pair) -> bool:
    return pair.kg_per_km.value > 0


def _biogenic(day: VehicleDay, held: Biogenic) -> Found:
    value, *ends = (
        sum(end.burned()[fuel] * kg_per_amount for fuel, kg_per_amount in held.own.items())
        for end in (day, day.at(LOW, LOW), day.at(HIGH, HIGH))
    )
    return Found(known(day, BIOGENIC, value, told_fuels(day), [held.note], *bounds(value, *ends)), held.factor_ids)


def _baseline_inputs(day: VehicleDay) -> list[Told]:
    """What the baseline's fuel follows from. A rate has a method, and no coverage."""
    return [day.activity, Told(day.baseline.rate, None, None, day.baseline.method)]


def _undeclared(day: VehicleDay) -> list[str]:
    """Why the fuel displaced cannot be known, apart from factors."""
    if None in (day.vehicle.baseline_fuel, day.baseline.rate, day.baseline.unit):
        return [day.baseline.reason or "no baseline is declared"]
    return []


def _unmeasured(day: VehicleDay) -> list[str]:
    missing = [] if day.activity.value is not None else [f"{day.activity_slug} of the day is not known"]
    slugs = MUST_TELL.get(day.vehicle.powertrain, ())
    if slugs and all(day.value(slug) is None for slug in slugs):
        one = len(slugs) == 1
        missing.append(
            f"{slugs[0]} of the day is not known" if one else f"neither {' nor '.join(slugs)} of the day is known"
        )
    return missing


def _unmeasured_for(day: VehicleDay, pair: Pair) -> list[str]:
    """What else the arithmetic of a pair needs and the day does not tell."""
    missing = []
    if day.draws and day.value("grid_energy_kwh") is None:
        missing.append("grid_energy_kwh of the day is not known")
    if _counts_km(pair) and day.value("distance_km") is None and day.activity_slug != "distance_km":
        missing.append("distance_km of the day is not known, so CH4 and N2O per km are not")
    return missing


def _own_words(day: VehicleDay) -> str | None:
    """That own fuel was subtracted; without its amount, so that the days of a period say the same."""
    burned = [slug.rsplit("_", 1)[0].replace("_", " ") for slug in OWN_FUELS if day.used(slug) > 0]
    return f"own fuel subtracted: {', '.join(burned)}" if burned else None


def _gas_words(day: VehicleDay, pair: Pair) -> str | None:
    if day.own_fuel in GASEOUS and day.used("cng_used_kg") > 0 and pair.gases == "co2":
        return "CH4 and N2O of the gas engine are not in it: no factor of them is known"
    return None


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
