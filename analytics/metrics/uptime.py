"""Availability by planned vehicle-days, and roadcalls."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

import polars as pl

from analytics.metrics import states
from analytics.metrics.inputs import Inputs
from analytics.metrics.metric import Metric, Total
from analytics.metrics.rows import Figure, Listing

KEYS = ["vehicle_id", "day"]


def _days(slug: str, name: str, meaning: str) -> Metric:
    return Metric(
        slug, name, "vehicle-days", meaning, "counted by planned vehicle-day", (), 0, Total.SUM, "availability",
        shown=False,
    )  # fmt: skip


_AVAILABILITY = "(planned - unavailable - unknown) / (planned - unknown); low counts unknown as down, high as up"
METRICS = (
    _days("planned_days", "Planned vehicle-days", "Vehicle-days on which service was planned."),
    _days("available_days", "Available vehicle-days", "Planned days on which the vehicle was fit for its service."),
    _days("unknown_days", "Unknown vehicle-days", "Planned days with no evidence."),
    _days(
        "available_excl_planned_maintenance_days", "Available vehicle-days, planned maintenance aside",
        "Planned days on which nothing but planned maintenance kept the vehicle from service.",
    ),
    *(
        _days(f"unavailable_{cause}_days", f"Unavailable vehicle-days: {cause.replace('_', ' ')}",
              f"Planned days lost mostly to: {cause.replace('_', ' ')}.")
        for cause in states.CAUSES
    ),
    Metric(
        "availability_pct", "Availability", "%",
        "Share of planned vehicle-days on which the vehicle was available, with bounds for unknown days.",
        _AVAILABILITY, ("planned service", "maintenance", "red_stop_lamp"), 1, Total.AVAILABILITY, "availability",
        numerator="available_days", denominator="planned_days",
    ),
    Metric(
        "availability_excl_planned_maintenance_pct", "Availability, planned maintenance aside", "%",
        "Availability that does not count planned maintenance against the vehicle.",
        _AVAILABILITY, ("planned service", "maintenance", "red_stop_lamp"), 1, Total.AVAILABILITY, "availability",
        numerator="available_excl_planned_maintenance_days", denominator="planned_days",
    ),
    *(
        Metric(f"{system}roadcalls", f"{words} roadcalls", "1", f"{words} roadcalls.", "records", ("roadcalls",), 0,
               Total.SUM, "roadcalls", shown=False)
        for system, words in (("", "All"), ("propulsion_", "Propulsion"), ("storage_", "Energy storage"))
    ),
    *(
        Metric(f"km_between_{system}roadcalls", f"Distance between {words}roadcalls", "km",
               f"Distance driven for each {words}roadcall; without any, a bound that it exceeds.",
               "distance / roadcalls; exact 95 % Poisson interval; without roadcalls > distance / 3.0",
               ("distance_km", "roadcalls"), 0, Total.ROADCALL_DISTANCE, "roadcalls",
               numerator="distance_km", denominator=f"{system}roadcalls")
        for system, words in (("", ""), ("propulsion_", "propulsion "), ("storage_", "energy storage "))
    ),
)  # fmt: skip


def availability(timeline: pl.DataFrame, inputs: Inputs) -> pl.DataFrame:
    """Judge each planned vehicle-day: 1 or 0 in `available_days`, `unknown_days` and the other components.

    Not available: down at the planned pull-out and not recovered within the grace, or down for longer than the limit
    in planned service. Unknown: nothing is known of the whole planned service.
    """
    grace = timedelta(minutes=inputs.policy.pull_out_grace_min)
    limit_s = inputs.policy.down_limit_min * 60
    # Back at the very end of the grace is back within it.
    at_pull_out = (pl.col("starts_at") >= pl.col("planned_at")) & (pl.col("starts_at") <= pl.col("planned_at") + grace)
    causes = {cause: pl.col("cause") == cause for cause in states.CAUSES}

    def lost(down: pl.Expr) -> pl.Expr:
        late = at_pull_out.any() & (down | ~at_pull_out).all()
        return late | (_seconds(down & pl.col("service")) > limit_s)

    down = pl.col("cause").is_not_null()
    judged = timeline.filter(pl.col("planned_at").is_not_null()).group_by(KEYS, maintain_order=True).agg(
        lost=lost(down),
        lost_unplanned=lost(down & ~causes["planned_maintenance"].fill_null(False)),
        unknown=_seconds(pl.col("service") & (pl.col("state") != states.UNKNOWN)) == 0,
        **{f"{cause}_s": _seconds(is_cause & (pl.col("service") | at_pull_out)) for cause, is_cause in causes.items()},
    )  # fmt: skip
    return judged.with_columns(unknown=pl.col("unknown") & ~pl.col("lost"))


def _seconds(condition: pl.Expr) -> pl.Expr:
    return pl.col("s").filter(condition.fill_null(False)).sum()


def availability_figures(timeline: pl.DataFrame, inputs: Inputs) -> pl.DataFrame:
    """Components of availability as figures, one vehicle-day each."""
    return _components().of(availability(timeline, inputs))


@cache
def _components() -> Listing:
    most = pl.max_horizontal(f"{cause}_s" for cause in states.CAUSES)
    worst = pl.coalesce(pl.when(pl.col(f"{cause}_s") == most).then(pl.lit(cause)) for cause in states.CAUSES)
    values = {
        "planned_days": pl.lit(1.0),
        "available_days": ~pl.col("lost") & ~pl.col("unknown"),
        "unknown_days": pl.col("unknown"),
        "available_excl_planned_maintenance_days": ~pl.col("lost_unplanned") & ~pl.col("unknown"),
        **{f"unavailable_{cause}_days": pl.col("lost") & (worst == cause) for cause in states.CAUSES},
    }
    known = pl.when("unknown").then(0.0).otherwise(100.0)
    return Listing({slug: Figure(value, known, pl.lit(1.0)) for slug, value in values.items()})


def roadcall_figures(inputs: Inputs) -> pl.DataFrame:
    """Roadcalls of each vehicle and day, zero included."""
    days = inputs.days.select(*KEYS, "starts_at", "ends_at").sort("vehicle_id", "starts_at")
    calls = inputs.roadcalls.sort("vehicle_id", "time").join_asof(
        days, left_on="time", right_on="starts_at", by="vehicle_id", check_sortedness=False
    )
    counts = calls.filter(pl.col("time") < pl.col("ends_at")).group_by(KEYS).agg(
        roadcalls=pl.len().cast(pl.Float64),
        **{name: (pl.col("system") == system).sum().cast(pl.Float64) for name, system in _SYSTEMS.items()},
    )  # fmt: skip
    return _COUNTS.of(days.join(counts, on=KEYS, how="left"))


_SYSTEMS = {f"{system}_roadcalls": system for system in ("propulsion", "storage")}
_COUNTS = Listing({name: Figure(pl.col(name).fill_null(0.0)) for name in ("roadcalls", *_SYSTEMS)})
