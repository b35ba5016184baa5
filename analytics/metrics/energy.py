"""Energy used, charged and bought, at the battery (DC) and at the charger's input (AC).

The headline climbs down a ladder: counters; the integral of power where it covers at least 95 %; state of charge times
usable capacity. What each method gives stays beside it.
"""

from __future__ import annotations

from functools import cache

import polars as pl

from analytics.metrics import rules
from analytics.metrics.metric import AC, DC, Metric, Total
from analytics.metrics.rows import (
    ESTIMATED,
    MEASURED,
    MIXED,
    Figure,
    full,
    notes,
    scalable,
    scaled,
    scaled_bounds,
    scaling_method,
    scaling_note,
)  # fmt: skip
from analytics.metrics.running import POWER, SOC

COUNTER, INTEGRAL, CHARGE = "counter", "power", "soc"
UNWATCHED = "charging was not observed"
COVERAGE = {COUNTER: "energy_discharged_kwh_pct", INTEGRAL: f"{POWER}_pct", CHARGE: f"{SOC}_pct"}


def _sum(
    slug: str, name: str, meaning: str, definition: str, *inputs: str, shown: bool = True, side: str = DC
) -> Metric:
    return Metric(slug, name, "kWh", meaning, definition, inputs, 1, Total.SUM, "energy", shown=shown, side=side)


_POWER_INPUTS = ("battery_power_kw", "battery_voltage_v", "battery_current_a")
METRICS = (
    _sum(
        "energy_used_kwh", "Energy used",
        "Energy taken from the battery while not plugged in, less what braking returned (DC).",
        "energy counters; power integral covering 95 % or more; change in state of charge x usable capacity",
        "energy_discharged_kwh", "energy_regenerated_kwh", *_POWER_INPUTS, SOC,
    ),
    _sum(
        "energy_discharged_kwh", "Energy discharged", "Gross energy out of the battery while not plugged in (DC).",
        "counter; else power integral, split at the zero crossing", "energy_discharged_kwh", *_POWER_INPUTS,
    ),
    _sum(
        "energy_regenerated_kwh", "Energy regenerated", "Energy braking returned to the battery (DC).",
        "counter; else power integral, split at the zero crossing", "energy_regenerated_kwh", *_POWER_INPUTS,
    ),
    _sum(
        "energy_charged_kwh", "Energy charged", "Energy into the battery while plugged in, without regeneration (DC).",
        "counter; else power integral while plugged in, with state of charge across silences",
        "energy_charged_kwh", *_POWER_INPUTS, SOC, "plugged_in", "charging",
    ),
    _sum(
        "grid_energy_kwh", "Grid energy", "Energy bought: AC at the charger's input.",
        "meter counter or power; metered sessions; energy charged, and what was used at the plug, / charger efficiency"
        " (0.90 if none is declared)",
        "grid_energy_kwh", "grid_power_kw", "energy_charged_kwh", side=AC,
    ),
    _sum(
        "auxiliary_energy_kwh", "Auxiliary energy", "Energy of all loads but traction while not plugged in (DC).",
        "integral of auxiliary power; else median power at a standstill x key-on hours", "auxiliary_power_kw",
        *_POWER_INPUTS,
    ),
    _sum(
        "hotel_energy_kwh", "Hotel energy",
        "Energy of the loads for people and cargo on board a vessel while not plugged in (DC).",
        "integral of hotel power", "hotel_power_kw",
    ),
    _sum(
        "propulsion_energy_kwh", "Propulsion energy", "Energy a vessel used but for its hotel loads (DC).",
        "energy used - hotel energy, where both are covered", "energy_used_kwh", "hotel_energy_kwh",
    ),
    _sum(
        "idle_energy_kwh", "Idle energy", "Net battery energy while idle, standing with key on (DC).",
        "power integral in the state idle", *_POWER_INPUTS, "speed_kmh", "ignition_on",
    ),
    *(
        _sum(f"energy_used_by_{m}_kwh", f"Energy used by {words}", "As this method alone tells it.", words, shown=False)
        for m, words in ((COUNTER, "energy counters"), (INTEGRAL, "power integral"), (CHARGE, "state of charge"))
    ),
)  # fmt: skip


def with_energy(wide: pl.LazyFrame) -> pl.LazyFrame:
    """Add each method's figure and `energy_kwh` by the ladder, with `energy_pct`, `energy_by`, `energy_method`."""
    wide = wide.with_columns(
        used_by_counter=pl.col("energy_discharged_kwh") - pl.col("energy_regenerated_kwh"),
        used_by_power=pl.col("drawn_kwh") - pl.col("returned_kwh"),
        used_by_soc=pl.col("soc_used_pts") / 100 * pl.col("usable_battery_kwh"),
    ).with_columns(energy_by=_ladder())
    coverage = _chosen(COVERAGE)
    value = _chosen({method: f"used_by_{method}" for method in COVERAGE})
    method = (
        pl.when(pl.col("energy_by") == CHARGE).then(pl.lit(ESTIMATED)).otherwise(scaling_method(pl.col("energy_pct")))
    )
    wide = wide.with_columns(energy_pct=coverage, energy_raw=value).with_columns(
        energy_kwh=scaled(pl.col("energy_raw"), pl.col("energy_pct")), energy_method=method, energy_note=_note(),
        **_used_bounds(),
    )  # fmt: skip
    for step in (_gained(), _charging(), _charged(), _grid()):
        wide = wide.with_columns(**step)
    return wide


@cache
def _used_bounds() -> dict[str, pl.Expr]:
    """What scaling may add, and how coarsely state of charge is told. The error of sensors is not in it."""
    by_scaling = scaled_bounds(pl.col("energy_raw"), pl.col("energy_pct"))
    error = pl.when(pl.col("energy_by") == CHARGE).then(_soc_error())
    value = scaled(pl.col("energy_raw"), pl.col("energy_pct"))
    return {
        f"energy_{end}": pl.coalesce(by_scaling[n] + sign * error.fill_null(0.0), value + sign * error)
        for n, (end, sign) in enumerate((("low", -1), ("high", 1)))
    }


@cache
def _soc_error() -> pl.Expr:
    return pl.col("usable_battery_kwh") * rules.SOC_ERROR_PTS / 100


@cache
def _ladder() -> pl.Expr:
    """The method of the headline. A partly covered power integral is preferred to a small change in state of charge."""
    counted, summed, charged = (pl.col(f"used_by_{m}").is_not_null() for m in (COUNTER, INTEGRAL, CHARGE))
    power = pl.col(COVERAGE[INTEGRAL])
    steps = (
        (counted & scalable(pl.col(COVERAGE[COUNTER])), COUNTER),
        (summed & (power >= rules.HEADLINE_COVERAGE_PCT), INTEGRAL),
        (charged & scalable(pl.col(COVERAGE[CHARGE])) & (pl.col("soc_used_pts") >= rules.SOC_MIN_PTS), CHARGE),
        (summed & scalable(power), INTEGRAL),
        (charged, CHARGE),
        (summed, INTEGRAL),
        (counted, COUNTER),
    )
    return pl.coalesce(pl.when(holds).then(pl.lit(method)) for holds, method in steps)


def _chosen(columns: dict[str, str]) -> pl.Expr:
    return pl.coalesce(pl.when(pl.col("energy_by") == method).then(column) for method, column in columns.items())


@cache
def _soc_words() -> pl.Expr:
    return pl.format("SOC x {} kWh", pl.col("usable_battery_kwh"))


@cache
def _note() -> pl.Expr:
    words = (
        pl.when(pl.col("energy_by") == COUNTER)
        .then(pl.lit("counter"))
        .when(pl.col("energy_by") == INTEGRAL)
        .then(pl.lit("power integral"))
        .when(pl.col("energy_by") == CHARGE)
        .then(_soc_words())
        .otherwise(pl.lit("no energy counter, power or state of charge"))
    )
    return notes(words, pl.when(pl.col("energy_by").is_not_null()).then(scaling_note(pl.col("energy_pct"))))


@cache
def _gained() -> dict[str, pl.Expr]:
    """What state of charge tells that the battery gained, and how much of the charging power tells of."""
    return {
        "gained_by_soc_kwh": pl.col("soc_gained_pts") / 100 * pl.col("usable_battery_kwh"),
        "charging_watched_pct": _watched_pct(),
    }


@cache
def _charging() -> dict[str, pl.Expr]:
    """What both tell together, which share of it state of charge tells, and whether nobody watched."""
    from_soc, seen = pl.col("gained_by_soc_kwh"), pl.col("returned_plugged_kwh")
    added = seen.fill_null(0.0) + from_soc.fill_null(0.0)
    unwatched = from_soc.is_null() & (added == 0) & ~scalable(pl.col("charging_watched_pct"))
    share = pl.when(added != 0).then(from_soc.fill_null(0.0) / added).when(seen.is_null()).then(1.0).otherwise(0.0)
    return {
        "gained_kwh": pl.when((seen.is_not_null() | from_soc.is_not_null()) & ~unwatched).then(added),
        "gained_soc_share": share,
        "charging_unwatched": unwatched,
    }


@cache
def _charged() -> dict[str, pl.Expr]:
    """Charged energy: the counter, or what power saw plus what state of charge gained where power saw nothing."""
    from_soc, seen, both = pl.col("gained_by_soc_kwh"), pl.col("returned_plugged_kwh"), pl.col("gained_kwh")
    unwatched, counted, share = pl.col("charging_unwatched"), pl.col("energy_charged_kwh"), pl.col("gained_soc_share")
    method = (
        pl.when(share > 0.995)
        .then(pl.lit(ESTIMATED))
        .when(share > 0.005)
        .then(pl.lit(MIXED))
        .otherwise(pl.lit(MEASURED))
    )
    words = (
        pl.when(share > 0.995)
        .then(_soc_words())
        .when(share > 0.005)
        .then(notes(pl.lit("power integral"), _soc_words()))
        .otherwise(pl.lit("power integral"))
    )
    told = pl.when(both.is_not_null()).then(words).when(unwatched & seen.is_not_null()).then(pl.lit(UNWATCHED))
    whole = counted.is_not_null() | from_soc.is_not_null()
    return {
        "charged_kwh": pl.coalesce(counted, both),
        "charged_pct": pl.when(whole).then(100.0).when(both.is_not_null()).then("charging_watched_pct"),
        "charged_method": pl.when(counted.is_not_null()).then(pl.lit(MEASURED)).otherwise(method),
        "charged_note": pl.when(counted.is_not_null()).then(pl.lit("counter")).otherwise(told),
        **{
            f"charged_{end}": pl.when(counted.is_null() & (share > 0.005)).then(both + sign * _soc_error())
            for end, sign in (("low", -1), ("high", 1))
        },
    }


@cache
def _watched_pct() -> pl.Expr:
    """How much of the time with key off, when vehicles charge, the power signal tells of."""
    off_s = (pl.col("day_h") - pl.col("on_h").fill_null(0.0)) * 3600
    told_s = pl.col(f"{POWER}_s").fill_null(0.0) - pl.col(f"{POWER}_on_s").fill_null(0.0)
    return pl.when(off_s > 0).then(told_s / off_s * 100).otherwise(100.0).clip(0, 100)


@cache
def _past() -> pl.Expr:
    """What went past the battery at the plug: by the charger's output, else by the loads that tell of themselves."""
    output = pl.coalesce("charger_output_energy_kwh", "charger_output_power_kw_sum") - pl.col("charged_kwh")
    return pl.coalesce(output.clip(0), "past_pack_kwh", 0.0)


@cache
def _grid() -> dict[str, pl.Expr]:
    """Grid energy: metered, else charged energy through the charger's efficiency."""
    metered = pl.coalesce("grid_energy_kwh", "grid_power_kw_sum")
    past = _past()
    efficiency = pl.col("charger_efficiency").fill_null(rules.DEFAULT_CHARGER_EFFICIENCY)
    declared = pl.when(pl.col("charger_efficiency").is_null()).then(pl.lit(" (default)")).otherwise(pl.lit(""))
    at_plug = pl.when(past > rules.PAST_PACK * pl.col("charged_kwh")).then(pl.lit("charged and used at the plug"))
    through = pl.format("{} / {}{}", at_plug.otherwise(pl.lit("charged")), efficiency, declared)
    words = pl.when(metered.is_not_null()).then(pl.lit("metered")).otherwise(through)
    grid = pl.coalesce(metered, (pl.col("charged_kwh") + past) / efficiency)
    method = pl.when(metered.is_not_null()).then(pl.lit(MEASURED)).otherwise(pl.lit(ESTIMATED))
    return {
        "grid_kwh": grid,
        "grid_pct": pl.when(metered.is_not_null()).then(100.0).otherwise("charged_pct"),
        "grid_method": method,
        "grid_note": pl.when(grid.is_not_null()).then(words).otherwise("charged_note"),
        **_grid_bounds(metered, efficiency),
    }


def _grid_bounds(metered: pl.Expr, efficiency: pl.Expr) -> dict[str, pl.Expr]:
    """The bounds of charged energy, and of a charger whose efficiency nobody declared."""
    assumed = pl.col("charger_efficiency").is_null()
    least, most = rules.CHARGER_EFFICIENCIES
    bounds: dict[str, pl.Expr] = {}
    for end, edge in (("low", most), ("high", least)):
        through = pl.when(assumed).then(edge).otherwise(efficiency)
        charged = pl.when(assumed).then(pl.coalesce(f"charged_{end}", "charged_kwh")).otherwise(f"charged_{end}")
        bounds[f"grid_{end}"] = pl.when(metered.is_null()).then((charged + _past()) / through)
    return bounds


def _one_way(counter: str, integral: str) -> Figure:
    """Gross discharge or regeneration: the counter, else the power integral, else what the counter told of a part."""
    enough = scalable(pl.col(COVERAGE[COUNTER])) | pl.col(integral).is_null()
    by_counter = pl.col(counter).is_not_null() & enough
    coverage = pl.when(by_counter).then(COVERAGE[COUNTER]).otherwise(COVERAGE[INTEGRAL])
    value = pl.when(by_counter).then(counter).otherwise(pl.col(integral))
    words = pl.when(by_counter).then(pl.lit("counter")).otherwise(pl.lit("power integral"))
    return Figure(value, coverage, activity(), note=pl.when(value.is_not_null()).then(words), scales=True)


@cache
def activity() -> pl.Expr:
    """What an energy figure should have covered: km, or key-on hours of equipment and of what does not count km."""
    hours = (pl.col("category") == "equipment") | pl.col("distance_km").is_null()
    return pl.when(hours).then("on_h").otherwise("distance_km")


def _integral(column: str, coverage: pl.Expr) -> Figure:
    return Figure(pl.col(column), coverage, activity(), scales=True)


def _propulsion() -> Figure:
    """A vessel's energy without its hotel loads: as well covered as the worse of both."""
    hotel_pct = pl.col("hotel_power_kw_pct")
    coverage = pl.min_horizontal("energy_pct", hotel_pct)
    hotel = scaled(pl.col("hotel_power_kw_sum"), hotel_pct)
    covered = (pl.col("category") == "vessel") & scalable(pl.col("energy_pct")) & scalable(hotel_pct)
    value = pl.when(covered).then(pl.col("energy_kwh") - hotel)
    method = pl.when(full(coverage)).then("energy_method").otherwise(pl.lit(ESTIMATED))
    return Figure(value, coverage, activity(), method, pl.when(value.is_not_null()).then("energy_note"))


def figures() -> dict[str, Figure]:
    """Figures of a wide day table that has passed `with_distance` and `with_energy`."""
    idle_pct = pl.when(pl.col("standing_h") > 0).then(pl.col("idle_power_s") / 36 / pl.col("standing_h"))
    known_pct = pl.when(pl.col("energy_kwh").is_not_null()).then("energy_pct")
    method, note = pl.col("energy_method"), pl.col("energy_note")
    return {
        "energy_used_kwh": Figure(
            pl.col("energy_kwh"), known_pct, activity(), method, note, pl.col("energy_low"), pl.col("energy_high")
        ),
        "energy_discharged_kwh": _one_way("energy_discharged_kwh", "drawn_kwh"),
        "energy_regenerated_kwh": _one_way("energy_regenerated_kwh", "returned_kwh"),
        "energy_charged_kwh": Figure(
            pl.col("charged_kwh"), pl.col("charged_pct"), activity(), pl.col("charged_method"), pl.col("charged_note"),
            pl.col("charged_low"), pl.col("charged_high"),
        ),
        "grid_energy_kwh": Figure(
            pl.col("grid_kwh"), pl.col("grid_pct"), activity(), pl.col("grid_method"), pl.col("grid_note"),
            pl.col("grid_low"), pl.col("grid_high"),
        ),
        "auxiliary_energy_kwh": _integral("auxiliary_power_kw_sum", pl.col("auxiliary_power_kw_pct")),
        "hotel_energy_kwh": _integral("hotel_power_kw_sum", pl.col("hotel_power_kw_pct")),
        "propulsion_energy_kwh": _propulsion(),
        "idle_energy_kwh": _integral("idle_kwh", idle_pct.clip(0, 100)),
        **{
            f"energy_used_by_{m}_kwh": Figure(
                pl.col(f"used_by_{m}"), pl.col(COVERAGE[m]), activity(), pl.lit(ESTIMATED if m == CHARGE else MEASURED)
            )
            for m in COVERAGE
        },
    }  # fmt: skip
