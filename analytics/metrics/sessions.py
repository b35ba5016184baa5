"""Charging sessions, whole, under the operating day on which they start."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import polars as pl

from analytics.metrics import rules, states
from analytics.metrics.inputs import Inputs
from analytics.metrics.plug import notes_expr as notes
from analytics.metrics.plug import past_pack
from analytics.metrics.rows import ESTIMATED, MEASURED, MIXED
from analytics.metrics.running import POWER, SOC
from analytics.metrics.samples import PLACE
from analytics.metrics.stretches import stretches

COUNTER = "energy_charged_kwh"
_METERS = {"grid_energy_kwh": "grid_energy_kwh", "grid_power_kw": "grid_power_kw_sum"}
_OUTPUTS = {
    "charger_output_energy_kwh": "charger_output_energy_kwh", "charger_output_power_kw": "charger_output_power_kw_sum",
}  # fmt: skip
"""Signals that tell of the charger's input and output, and what they add up to."""
KM_PER_DEGREE = 111.195  # of a great circle on a sphere of 6371 km
SOME, NEARLY_ALL = 0.005, 0.995


def charge_sessions(segments: pl.DataFrame, inputs: Inputs) -> pl.DataFrame:
    """Find charging sessions in judged `segments`: from plugged in to unplugged, pauses in charging included.

    Without a signal of the cable, power into the battery or a rise in its charge at a standstill is a session. What
    was charged in a silence is told by the counter, or by state of charge, and is estimated.
    """
    parts = stretches(segments, **_connected()).with_columns(**_parts())
    found = parts.group_by("vehicle_id", "stretch", maintain_order=True).agg(*_amounts())
    facts = ("vehicle_id", "usable_battery_kwh", "charger_efficiency", "site_latitude_deg", "site_longitude_deg")
    found = found.join(inputs.vehicles.lazy().select(facts), on="vehicle_id", how="left", maintain_order="left")
    found = found.filter(pl.col("day").is_not_null()).with_columns(**_energy())
    for step in (_gained(), _hidden(), _charged()):
        found = found.with_columns(**step)
    found = found.with_columns(**_grid(), place=_place(), power_kw=_power()).with_columns(kind=_kind())
    lasts = (pl.col("s") >= rules.SESSION_MIN_S) & (pl.col("charging_h") > 0)
    counts = (pl.col("energy_charged_kwh") >= rules.SESSION_MIN_KWH).fill_null(True)
    return found.filter(lasts & counts).select(
        "vehicle_id", "starts_at", "ends_at", "day", "kind", "place", "charging_h", "energy_charged_kwh",
        "energy_method", "grid_energy_kwh", "grid_method", "power_kw", "soc_start_pct", "soc_end_pct", "note",
    ).collect()  # fmt: skip


@cache
def _connected() -> dict[str, pl.Expr]:
    """The cable is in, or the battery gains; driving ends it, a cable that stays out, and the last row heard."""
    heard = ~pl.col("silent") | pl.col("silence_s").is_not_null()
    inside = (pl.col("plugged") | pl.col("gains")) & heard
    drives = (pl.col("active") & ~inside) | (pl.col("silent") & (pl.col("state") == states.IN_SERVICE))
    out_s = pl.when("cable_told").then(rules.SESSION_BREAK_S).otherwise(rules.SESSION_PAUSE_S)
    return {"inside": inside, "breaks": drives, "pause_s": out_s}


@cache
def _parts() -> dict[str, pl.Expr]:
    """What each segment adds to its session."""
    missed = 1 - (pl.col(f"{POWER}_s").fill_null(0.0) / pl.col("s")).clip(0, 1)
    gains, hidden = pl.col("gains"), pl.col("silent")
    flows = (pl.col("state") == states.CHARGING) | (gains & (hidden | ~(pl.col("plugged") | pl.col("plugs_in"))))
    return {
        "flows_s": pl.when(flows).then("s").otherwise(0.0),
        "seen_kwh": pl.when(gains).then("returned_kwh").otherwise(0.0),
        "missed_pts": pl.when(gains).then(pl.col("soc_pts").clip(lower_bound=0) * missed).otherwise(0.0),
        "hidden_kwh": pl.when(hidden).then(COUNTER).otherwise(0.0),
        "past_pack_kwh": past_pack(),
    }


@cache
def _amounts() -> list[pl.Expr]:
    covered = (POWER, SOC, COUNTER, *_METERS, *_OUTPUTS)
    amounts = (COUNTER, *_METERS.values(), *_OUTPUTS.values())
    # Power may flow in the interval before the row that tells of the cable; the session starts with that row.
    tells = pl.col("plugged") | ~pl.col("plugs_in") | pl.col("silent")
    return [
        pl.col("day", "starts_at").filter(tells).first(),
        pl.col("soc_start_pct").first(),
        pl.col("ends_at", "soc_end_pct").last(),
        pl.col("s", "seen_kwh", "missed_pts", "hidden_kwh", "past_pack_kwh", *amounts).sum(),
        (pl.col("flows_s").sum() / 3600).alias("charging_h"),
        pl.col(f"{POWER}_s").filter(pl.col("flows_s") > 0).sum().alias("watched_s"),
        *(pl.col(f"{name}_s").sum() for name in covered),
        pl.col(*PLACE).median(),
    ]


def _covers(name: str) -> pl.Expr:
    return pl.col(f"{name}_s") >= rules.HEADLINE_COVERAGE_PCT / 100 * pl.col("s")


@cache
def _energy() -> dict[str, pl.Expr]:
    """What each method tells (kWh): the counter, power where it was watched, state of charge where it was not."""
    by_soc = pl.col("missed_pts") / 100 * pl.col("usable_battery_kwh")
    watched = pl.col("watched_s") >= rules.SCALING_COVERAGE_PCT / 100 * pl.col("charging_h") * 3600
    return {
        "counted_kwh": pl.when(_covers(COUNTER)).then(COUNTER),
        "by_soc_kwh": pl.when(pl.col(f"{SOC}_s") > 0).then(by_soc),
        "watched": watched & (pl.col("watched_s") > 0),
        **{name: pl.when(_covers(SOC)).then(name) for name in ("soc_start_pct", "soc_end_pct")},
    }


@cache
def _gained() -> dict[str, pl.Expr]:
    """The session's energy by the ladder of the day's."""
    by_soc = pl.col("by_soc_kwh")
    added = pl.when(by_soc.is_not_null() | pl.col("watched")).then(
        pl.col("seen_kwh").fill_null(0.0) + by_soc.fill_null(0.0)
    )
    return {"energy_charged_kwh": pl.coalesce("counted_kwh", added)}


@cache
def _hidden() -> dict[str, pl.Expr]:
    """How much of it nobody watched."""
    energy = pl.col("energy_charged_kwh")
    by_soc = pl.col("by_soc_kwh").fill_null(0.0)
    hidden = pl.when(pl.col("counted_kwh").is_not_null()).then("hidden_kwh").otherwise(by_soc)
    return {"hidden_share": pl.when(energy > 0).then(hidden / energy).otherwise(0.0)}


@cache
def _charged() -> dict[str, pl.Expr]:
    """How the session's energy is known."""
    counted, energy, share = pl.col("counted_kwh"), pl.col("energy_charged_kwh"), pl.col("hidden_share")
    method = (
        pl.when(share > NEARLY_ALL)
        .then(pl.lit(ESTIMATED))
        .when(share > SOME)
        .then(pl.lit(MIXED))
        .otherwise(pl.lit(MEASURED))
    )
    words = (
        pl.when(counted.is_not_null())
        .then(pl.lit("counter"))
        .when(energy.is_null())
        .then(pl.lit("no counter, power or state of charge"))
        .otherwise(
            notes(
                pl.when(share <= NEARLY_ALL).then(pl.lit("power integral")),
                pl.when(share > SOME).then(pl.format("SOC x {} kWh", pl.col("usable_battery_kwh"))),
            )
        )
    )
    unseen = pl.when(share > SOME).then(pl.lit("charged unobserved"))
    return {
        "energy_method": pl.when(energy.is_not_null()).then(method),
        "note": notes(words, unseen),
    }


@cache
def _grid() -> dict[str, pl.Expr]:
    """AC at the charger's input: metered; else what was charged and used at the plug, by the charger's efficiency."""
    metered = _first_covered(_METERS)
    efficiency = pl.col("charger_efficiency").fill_null(rules.DEFAULT_CHARGER_EFFICIENCY)
    output = _first_covered(_OUTPUTS) - pl.col("energy_charged_kwh")
    past = pl.coalesce(output.clip(0), "past_pack_kwh", 0.0)
    grid = pl.coalesce(metered, (pl.col("energy_charged_kwh") + past) / efficiency)
    method = pl.when(metered.is_not_null()).then(pl.lit(MEASURED)).otherwise(pl.lit(ESTIMATED))
    return {"grid_energy_kwh": grid, "grid_method": pl.when(grid.is_not_null()).then(method)}


def _first_covered(amounts: Mapping[str, str]) -> pl.Expr:
    return pl.coalesce(pl.when(_covers(name)).then(amount) for name, amount in amounts.items())


@cache
def _place() -> pl.Expr:
    """At the depot or away; null where the vehicle or its site has no position."""
    north = (pl.col("latitude_deg") - pl.col("site_latitude_deg")) * KM_PER_DEGREE
    across = (pl.col("longitude_deg") - pl.col("site_longitude_deg") + 180) % 360 - 180
    east = across * pl.col("site_latitude_deg").radians().cos() * KM_PER_DEGREE
    apart_km = (north**2 + east**2).sqrt()
    near = pl.when(apart_km <= rules.DEPOT_KM).then(pl.lit("depot")).otherwise(pl.lit("away"))
    return pl.when(apart_km.is_not_null()).then(near)


@cache
def _power() -> pl.Expr:
    return pl.when(pl.col("charging_h") > 0).then(pl.col("energy_charged_kwh") / pl.col("charging_h"))


@cache
def _kind() -> pl.Expr:
    """By place and power: a long rest at the depot, fast charging, or a top-up between duties."""
    away = (pl.col("place") == "away").fill_null(False)
    filling = pl.col("power_kw") >= rules.FAST_C * pl.col("usable_battery_kwh")
    fast = (pl.col("power_kw") >= rules.FAST_KW) & (away | filling)
    rests = ~away & (pl.col("s") >= rules.OVERNIGHT_H * 3600)
    return (
        pl.when(rests)
        .then(pl.lit("overnight"))
        .when(fast.fill_null(False))
        .then(pl.lit("fast"))
        .otherwise(pl.lit("opportunity"))
    )
