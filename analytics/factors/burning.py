"""What burning a fuel emits, per amount: of the displaced vehicle's fuel, and of all that a vehicle burned itself."""

from __future__ import annotations

from functools import cache

import polars as pl

from analytics.factors.resolve import FUEL_CASE, fuels

BURNED = ["pilot_id", "region", "fuel", "amount", "trace", "day"]
SIDE_VALUES = ["fuel_rank", "kg_per_amount", "trace_kg_per_km", "fuel_ids", "fuel_words"]
CASE = ["vehicle_id", "day", "metric"]
CARRIERS = ("hydrogen",)
"""Fuels that emit where they are made, like electricity, and not where they are used."""
GASES = ("co2", "co2e")


@cache
def named() -> pl.Expr:
    """A factor's id with its edition and, where the source says it, the set of warming potentials."""
    return pl.format("{} ({})", "id", pl.concat_str("edition", "gwp_set", separator=", ", ignore_nulls=True))


def burned(cases: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """What burning a fuel emits, for every boundary and choice of gases that can be had.

    `cases` has the columns of `BURNED`; `amount` is L or kg, `trace` a key of CH4 and N2O (diesel/on-road …).
    Adds fuel_boundary, gases, and `SIDE_VALUES`: kg per amount, kg per km, the factors' ids and their names in words.
    """
    found = cases.unique().join(fuels(cases, table), on=FUEL_CASE)
    found = found.filter(pl.col("si_unit") == pl.format("kg/{}", "amount")).select(
        *BURNED, "gases", "fuel_rank", fuel_boundary="boundary", kg_per_amount="si_value", trace_kg_per_km=pl.lit(0.0),
        fuel_ids=pl.concat_list("id"), fuel_words=named(),
    )  # fmt: skip
    return pl.concat([found, _with_trace_gases(found, table)])


def _with_trace_gases(found: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """Tailpipe CO2 made CO2e by the CH4 and N2O of that kind of engine."""
    place = ["pilot_id", "region", "day"]
    asked = found.select(*place, fuel="trace")
    trace = fuels(asked, table, kind="trace").filter(pl.col("gases") == "ch4_n2o_co2e").select(
        *place, trace="fuel", trace_id="id", trace_unit="si_unit", trace_value="si_value",
        trace_words=named(),
    )  # fmt: skip
    co2 = found.filter((pl.col("fuel_boundary") == "tailpipe") & (pl.col("gases") == "co2"))
    both = co2.join(trace, on=[*place, "trace"])
    per_km = pl.col("trace_unit") == "kg/km"
    return both.with_columns(
        gases=pl.lit("co2e"),
        kg_per_amount=pl.col("kg_per_amount") + pl.when(per_km).then(0.0).otherwise("trace_value"),
        trace_kg_per_km=pl.when(per_km).then("trace_value").otherwise(0.0),
        fuel_ids=pl.concat_list("fuel_ids", "trace_id"),
        fuel_words=pl.format("{} with {}", "fuel_words", "trace_words"),
    ).select(found.columns)


_OWN = {"fuel": pl.String(), "amount": pl.String(), "kg": pl.Float64(), "low": pl.Float64(), "high": pl.Float64()}
NOTHING_BURNED = pl.DataFrame(
    schema={
        "vehicle_id": pl.Int32(), "day": pl.Date(), "metric": pl.String(), "gases": pl.String(),
        "own": pl.List(pl.Struct(_OWN)), "own_ids": pl.List(pl.String()), "own_unknown": pl.String(),
    }
)  # fmt: skip


def with_trace(burns: pl.DataFrame) -> pl.DataFrame:
    """Add `trace`: diesel that vehicles burned counts with the CH4 and N2O of engines off the road or on water."""
    engine = pl.when(pl.col("category") == "vessel").then(pl.lit("vessel")).otherwise(pl.lit("off-road"))
    return burns.with_columns(trace=pl.format("{}/{}", "fuel", engine))


def own_emissions(burns: pl.DataFrame, boundaries: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """What vehicles burned themselves emits per amount, for every boundary and choice of gases.

    `burns` has one row per vehicle, day and fuel: vehicle_id, day, pilot_id, region, category, fuel, amount (L or kg),
    and trace. `boundaries` has columns metric, fuel_boundary, carrier_boundary; `known` is the answer of `burned` for
    these fuels. One row per `CASE` and gases: own (of each fuel: fuel, amount, kg, and low and high by the other
    sources that hold there), own_ids, and own_unknown, the fuels that have no factor there.
    """
    if burns.is_empty():
        return NOTHING_BURNED
    carried = pl.col("fuel").is_in(CARRIERS)
    asked = (
        burns.join(boundaries, how="cross")
        .with_columns(fuel_boundary=pl.when(carried).then("carrier_boundary").otherwise("fuel_boundary"))
        .join(pl.DataFrame({"gases": GASES}), how="cross")
    )
    found = asked.join(_best(known), on=[*BURNED, "fuel_boundary", "gases"], how="left")
    key = [*BURNED, "fuel_boundary", "gases"]
    spread = known.group_by(key).agg(low=pl.col("kg_per_amount").min(), high=pl.col("kg_per_amount").max())
    found = found.join(spread, on=key, how="left")
    unknown = pl.col("kg_per_amount").is_null()
    return found.group_by(*CASE, "gases").agg(
        own=pl.struct("fuel", "amount", "low", "high", kg="kg_per_amount"),
        own_ids=pl.col("fuel_ids").explode(empty_as_null=False).drop_nulls().unique().sort(),
        own_unknown=pl.col("fuel").filter(unknown).unique().sort().str.join(", ").replace("", None),
    )


def biogenic_emissions(burns: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Biogenic CO2 of what vehicles burned themselves: vehicle_id, day, biogenic, biogenic_ids, biogenic_words.

    `burns` and `known` are those of `own_emissions`; `biogenic` holds fuel, amount and kg per amount of each factor.
    A vehicle-day without a fuel of biological origin has no row.
    """
    best = _best(known.filter(pl.col("fuel_boundary") == "tailpipe_biogenic"))
    return burns.join(best, on=BURNED).group_by("vehicle_id", "day").agg(
        biogenic=pl.struct("fuel", "amount", kg="kg_per_amount"),
        biogenic_ids=pl.col("fuel_ids").explode(empty_as_null=False).unique().sort(),
        biogenic_words=pl.col("fuel_words").unique().sort().str.join("; "),
    )  # fmt: skip


def _best(known: pl.DataFrame) -> pl.DataFrame:
    key = [*BURNED, "fuel_boundary", "gases"]
    return known.sort("fuel_rank", maintain_order=True).unique(key, keep="first", maintain_order=True)
