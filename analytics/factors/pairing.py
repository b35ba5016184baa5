"""Fuel and electricity factors paired at the three boundaries of CO2e avoided.

1. tailpipe against direct generation; 2. well-to-wheel against life-cycle; 3. conservative: tailpipe against
life-cycle.
Both sides always count the same gases. CO2 with CO2 is taken where the electricity factor has it; else CO2e with CO2e,
for which CH4 and N2O of burning the fuel are added: per km on the road, per litre off the road and on water.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import polars as pl

from analytics.factors.burning import BURNED, CASE, GASES, biogenic_emissions, burned, named, own_emissions, with_trace
from analytics.factors.hourly import matched
from analytics.factors.own import NO_TABLES, HourlyTables
from analytics.factors.resolve import OWN_FUEL_RANK, electricity, grid_reasons, line_losses
from schemas.frames import UTC_TIME

TRACE_OF_CATEGORY = {"truck": "on-road", "bus": "on-road", "equipment": "off-road", "vessel": "vessel"}
FUEL_KEYS = {"propane": "lpg"}
"""What a declared fuel is called in the tables, where that is another word."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """One way to pair a fuel factor with an electricity factor; `metric` is the slug of its figure.

    `carrier` is the boundary at which hydrogen counts: like electricity, where it is made.
    """

    metric: str
    name: str
    fuel: str
    grid: str
    carrier: str


BOUNDARIES = (
    Boundary(
        "co2e_avoided_tailpipe_vs_generation_kg",
        "tailpipe against direct generation",
        "tailpipe",
        "generation_direct",
        "production_direct",
    ),
    Boundary("co2e_avoided_well_to_wheel_kg", "well-to-wheel", "well_to_wheel", "life_cycle", "well_to_wheel"),
    Boundary(
        "co2e_avoided_conservative_kg",
        "conservative: tailpipe against life-cycle electricity, a lower bound",
        "tailpipe",
        "life_cycle",
        "well_to_wheel",
    ),
)


NO_REASONS = pl.DataFrame(schema=dict.fromkeys(("grid", "region", "boundary", "grid_reason"), pl.String))


def _boundaries() -> pl.DataFrame:
    return pl.DataFrame(
        [(b.metric, b.name, b.fuel, b.grid, b.carrier) for b in BOUNDARIES],
        schema=["metric", "boundary_name", "fuel_boundary", "grid_boundary", "carrier_boundary"],
        orient="row",
    )


def _cases(vehicle_days: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """One row per vehicle-day and boundary with all that decides the factors."""
    cases = vehicle_days.select(
        "vehicle_id", "day", "pilot_id", "region", "grid", "line_loss", "category", "draws", "amount",
        fuel=pl.col("baseline_fuel").replace(FUEL_KEYS),
        trace=pl.format("{}/{}", "baseline_fuel", pl.col("category").replace(TRACE_OF_CATEGORY)),
    )  # fmt: skip
    losses = line_losses(cases, table)
    return cases.join(losses, on=["pilot_id", "region", "day"], how="left").join(_boundaries(), how="cross")


@dataclass(frozen=True, slots=True)
class ByTheHour:
    """Hourly tables, and the energy of each UTC hour: vehicle_id, day, hour (null: not known which), kwh (AC)."""

    tables: HourlyTables
    drawn: pl.DataFrame


NO_HOURS = ByTheHour(
    NO_TABLES, pl.DataFrame(schema={"vehicle_id": pl.Int32, "day": pl.Date, "hour": UTC_TIME, "kwh": pl.Float64})
)


def _electricity(cases: pl.DataFrame, table: pl.DataFrame, hourly: ByTheHour) -> pl.DataFrame:
    """The electricity factors that hold for each vehicle-day, by boundary; where the grid has hours, they alone."""
    annual = electricity(cases, table, hourly.tables.places()).select(
        "grid", "day", "gases", "grid_rank", "losses_included", "starts_on", grid_boundary="boundary", grid_id="id",
        grid_kg_per_kwh="si_value", grid_words=named(), grid_note="note",
    )  # fmt: skip
    vehicles = cases.select("vehicle_id", "day", "grid").unique()
    annual = vehicles.join(annual, on=["grid", "day"]).join(
        hourly.tables.heads.select("grid", grid_boundary="boundary").unique(), on=["grid", "grid_boundary"], how="anti"
    )
    drawn = vehicles.join(hourly.drawn, on=["vehicle_id", "day"])
    by_hour = matched(vehicles, drawn, hourly.tables).select(
        "vehicle_id", "day", "grid", "gases", "losses_included", "hourly_reason", "filled_kwh", "drawn_kwh",
        grid_rank=pl.lit(0, annual.schema["grid_rank"]), starts_on="day", grid_boundary="boundary",
        grid_id="factor_id", grid_kg_per_kwh="kg_per_kwh", grid_note="note",
        grid_words=pl.format("{}, matched to the UTC hours of charging", "words"),
    )  # fmt: skip
    return pl.concat([annual, by_hour], how="diagonal_relaxed")


def _delivered(cases: pl.DataFrame, table: pl.DataFrame, hourly: ByTheHour) -> pl.DataFrame:
    """The electricity factors of each case, per kWh at the charger: divided by what the line lets through.

    A vehicle-day that draws no electricity is complete without a factor, whichever gases are counted.
    """
    loss = pl.coalesce("line_loss", "known_loss", 0.0)
    words = (
        pl.when("losses_included")
        .then(pl.lit("line losses are in the factor"))
        .when(pl.col("line_loss").is_not_null())
        .then(pl.format("line loss {} % as declared", (loss * 100).round(2)))
        .when(pl.col("known_loss").is_not_null())
        .then(pl.format("line loss {} % ({})", (loss * 100).round(2), "known_loss_id"))
        .otherwise(pl.lit("no line loss is declared or known: 0 % used"))
    )
    found = _electricity(cases.filter("draws"), table, hourly)
    used = pl.when("losses_included").then(0.0).otherwise(loss)
    drawing, others = cases.filter("draws"), cases.filter(~pl.col("draws"))
    electric = drawing.join(found, on=["vehicle_id", "day", "grid", "grid_boundary"], how="left").with_columns(
        kg_per_kwh=pl.col("grid_kg_per_kwh") / (1 - used),
        loss_words=words,
        loss_id=pl.when(~pl.col("losses_included") & pl.col("line_loss").is_null()).then("known_loss_id"),
    )
    without = others.join(pl.DataFrame({"gases": GASES}), how="cross").with_columns(
        kg_per_kwh=pl.lit(0.0), grid_words=pl.lit("no electricity was drawn")
    )
    return pl.concat([electric, without], how="diagonal_relaxed")


def _best(pairs: pl.DataFrame) -> pl.DataFrame:
    """The best pair of each case, with the range of the other sources that count the same gases.

    A pilot's or programme's own fuel factor goes before all others, whichever gases it counts.
    """
    shipped_fuel = (pl.col("fuel_rank") > OWN_FUEL_RANK).fill_null(True)
    ordered = pairs.with_columns(shipped_fuel=shipped_fuel, own_known=pl.col("own_unknown").is_null()).sort(
        *CASE, "complete", "own_known", "shipped_fuel", "grid_rank", "starts_on", "gases", "fuel_rank", "grid_id",
        descending=[False, False, False, True, True, False, False, True, False, False, False], nulls_last=True,
        maintain_order=True,
    )  # fmt: skip
    comparable = pl.col("complete") & (pl.col("gases") == pl.col("gases").first())
    spread = pl.col("kg_per_kwh").filter(comparable)
    others = pl.col("grid_words").filter(comparable & (pl.col("grid_id") != pl.col("grid_id").first()))
    fuels = pl.col("fuel_words").filter(comparable & (pl.col("fuel_words") != pl.col("fuel_words").first()))
    per_amount, per_km = (pl.col(name).filter(comparable) for name in ("kg_per_amount", "trace_kg_per_km"))
    return ordered.group_by(CASE, maintain_order=True).agg(
        pl.exclude(CASE).first(),
        kg_per_kwh_low=spread.min(),
        kg_per_kwh_high=spread.max(),
        kg_per_amount_low=per_amount.min(),
        kg_per_amount_high=per_amount.max(),
        trace_low=per_km.filter(per_amount == per_amount.min()).first(),
        trace_high=per_km.filter(per_amount == per_amount.max()).first(),
        others=others.append(fuels).unique(maintain_order=True).str.join(", "),
        has_fuel=pl.col("fuel_known").fill_null(False).any(),
        has_grid=pl.col("kg_per_kwh").is_not_null().any(),
    )


@cache
def _reason() -> pl.Expr:
    """Why there is no pair, in words."""
    fuel_words = pl.col("fuel_boundary").replace_strict({"tailpipe": "tailpipe", "well_to_wheel": "well-to-wheel"})
    no_fuel = pl.format("no {} factor of {} per {} is known for {}", fuel_words, "fuel", "amount", "region")
    other_gases = pl.format(
        "electricity is known as CO2e only, and CH4 and N2O of {} in a {} are not known", "fuel", "category"
    )
    fuel_reason = (
        pl.when(pl.col("fuel").is_null() | pl.col("amount").is_null())
        .then(None)
        .when(~pl.col("has_fuel"))
        .then(no_fuel)
        .when(pl.col("has_grid"))
        .then(other_gases)
    )
    grid_reason = pl.when(~pl.col("has_grid")).then(pl.coalesce("hourly_reason", "grid_reason"))
    return pl.concat_str(grid_reason, fuel_reason, separator="; ", ignore_nulls=True).replace("", None)


@dataclass(frozen=True, slots=True)
class Pairs:
    """The factors of vehicle-days, and those of biogenic CO2 of what the vehicles burned themselves."""

    factors: pl.DataFrame
    biogenic: pl.DataFrame


def pairs(vehicle_days: pl.DataFrame, burns: pl.DataFrame, table: pl.DataFrame, hourly: ByTheHour = NO_HOURS) -> Pairs:
    """The factors of every vehicle-day at each of the three boundaries.

    `vehicle_days` has columns vehicle_id, day, pilot_id, region, grid, line_loss, category, draws (whether electricity
    is drawn, or may be), baseline_fuel and amount (L or kg); `burns` is what the vehicles burned themselves: see
    `own_emissions`; `table` follows `Factors`. Of the factors, one row per vehicle, day and metric: `kg_per_amount`
    (baseline fuel, per L or kg), `trace_kg_per_km`, `own` (see there), `kg_per_kwh` (AC at the charger, line losses in
    it), all of them with low and high over other sources that hold there, `gases`, `factor_ids`, `pair_note` and,
    where `complete` is false, `pair_reason`.
    """
    cases = _cases(vehicle_days, table)
    burns = with_trace(burns)
    asked = cases.filter(pl.col("fuel").is_not_null()).select(BURNED)
    fuel = burned(pl.concat([asked, burns.select(BURNED)]), table)
    known = fuel.select(*BURNED, "fuel_boundary", fuel_known=True).unique()
    own = own_emissions(burns, _boundaries().select("metric", "fuel_boundary", "carrier_boundary"), fuel)
    paired = pl.col("kg_per_kwh").is_not_null() & pl.col("kg_per_amount").is_not_null()
    found = (
        _delivered(cases, table, hourly)
        .join(fuel, on=[*BURNED, "fuel_boundary", "gases"], how="left")
        .join(known, on=[*BURNED, "fuel_boundary"], how="left")
        .join(own, on=[*CASE, "gases"], how="left")
        .with_columns(complete=paired)
    )
    best = _best(found)
    silent = best.filter(~pl.col("has_grid")).select("grid", "region")
    reasons = grid_reasons(silent, table, hourly.tables.places()) if silent.height else NO_REASONS
    reasons = reasons.rename({"boundary": "grid_boundary"})
    best = best.join(reasons, on=["grid", "region", "grid_boundary"], how="left", nulls_equal=True)
    ids = pl.concat_list("fuel_ids", "grid_id", "loss_id", pl.col("own_ids").fill_null([]))
    whole = pl.col("complete") & pl.col("own_unknown").is_null()
    factors = best.with_columns(
        factor_ids=pl.when(whole).then(ids.list.drop_nulls().list.unique()),
        pair_note=pl.when(whole).then(_note()),
        pair_reason=pl.when(~whole).then(pl.when("complete").then(_own_reason()).otherwise(_reason())),
        complete=whole,
    )
    return Pairs(factors, biogenic_emissions(burns, fuel))


@cache
def _own_reason() -> pl.Expr:
    return pl.format("no {} factor is known at this boundary for what this vehicle burned itself", "own_unknown")


@cache
def _note() -> pl.Expr:
    gases = pl.col("gases").replace_strict({"co2": "CO2", "co2e": "CO2e"}, default=None)
    stand_in = pl.when(pl.col("grid_rank") > 0).then(pl.format("stands in for {}", "grid"))
    others = pl.when(pl.col("others") != "").then(pl.format("range by {}", "others"))
    return pl.concat_str(
        "boundary_name", gases, "fuel_words", "grid_words", stand_in, "grid_note", "loss_words", others,
        separator="; ", ignore_nulls=True,
    )  # fmt: skip
