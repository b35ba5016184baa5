"""What a vehicle was doing: the state of every segment, and the timeline of the computed days."""

from __future__ import annotations

from functools import cache

import polars as pl

from analytics.metrics import rules

IN_SERVICE, CHARGING, PLUGGED_IDLE, IDLE, PARKED = "in_service", "charging", "plugged_idle", "idle", "parked"
DOWN, PLANNED_MAINTENANCE, UNKNOWN = "down", "planned_maintenance", "unknown"
STATES = (IN_SERVICE, CHARGING, PLUGGED_IDLE, IDLE, PARKED, DOWN, PLANNED_MAINTENANCE, UNKNOWN)
AT_REST = (PARKED, PLUGGED_IDLE)
"""Fit for service and not wanted; at the plug or not. Hours parked are both."""

SUPPLY_CAUSES = ("charger", "supply")
CAUSES = ("vehicle", "supply", "planned_maintenance")

_SPELL = ("vehicle_id", "silent", "on", "active", "plugged")


def judged(segments: pl.DataFrame, vehicles: pl.DataFrame) -> pl.DataFrame:
    """Give each segment its `state`, and say what its changes in state of charge mean.

    Adds `active` (moving or working), `runs` (key on, or between movements where there is no key), `state`, `gains`
    (what the battery gains here is charging, not regeneration) and `unobserved` (busy during a silence).
    """
    policy = vehicles.select("vehicle_id", "sleeps_at_key_off")
    known = segments.lazy().join(policy.lazy(), on="vehicle_id", how="left", maintain_order="left")
    known = known.with_columns(
        on=pl.when("moving").then(True).otherwise("key"), active=pl.col("moving") | pl.col("works").fill_null(False)
    )
    known = _without_short_charges(_with_spells(known))
    around = pl.col("charges") | pl.col("charges").shift(-1, fill_value=False)
    known = _with_gains(_with_states(_with_spells(known.with_columns(charges_around=around))))
    known = known.with_columns(runs=_on() & ~pl.col("silent"), unobserved=pl.col("silent") & _busy())
    return known.drop("spell_s", "spell_pts", "between", "charges_around").collect()


def _with_spells(segments: pl.LazyFrame) -> pl.LazyFrame:
    """Number the stretches of one behaviour, over cuts and lamps; each silent interval stands alone."""
    changes = [pl.col(name).ne_missing(pl.col(name).shift(1)) for name in _SPELL]
    begins = pl.any_horizontal(*changes) | (pl.col("silent") & _new_silence())
    numbered = segments.with_columns(spell=begins.cum_sum())
    spells = numbered.group_by("spell", maintain_order=True).agg(
        pl.col("vehicle_id", "active", "silent").first(),
        spell_s=pl.col("s").sum(),
        spell_pts=pl.col("soc_pts").sum(),
    )
    drives = pl.col("active") & ~pl.col("silent")
    sides = [
        drives.shift(n, fill_value=False) & (pl.col("vehicle_id") == pl.col("vehicle_id").shift(n)) for n in (1, -1)
    ]
    between = pl.all_horizontal(*sides).fill_null(False)
    return numbered.join(
        spells.select("spell", "spell_s", "spell_pts", between=between), on="spell", how="left", maintain_order="left"
    )


def _without_short_charges(segments: pl.LazyFrame) -> pl.LazyFrame:
    """Without a signal of the cable, a moment of power into a standing pack is the end of braking, not charging."""
    brief = ~pl.col("cable_told") & pl.col("plugged") & (pl.col("spell_s") < rules.IDLE_AFTER_S)
    lasts = ~brief.shift(-1, fill_value=False)
    kept = {"plugged": ~brief, "charges": ~brief, "plugs_in": lasts}
    known = segments.with_columns(pl.col(flag) & holds for flag, holds in kept.items())
    return known.drop("spell", "spell_s", "spell_pts", "between")


@cache
def _new_silence() -> pl.Expr:
    """A silent segment that no cut separates from the one before it starts a silence of its own."""
    return pl.col("unheard_s").fill_null(-1.0) == 0


@cache
def _silent_state() -> pl.Expr:
    """A silence by its far sides: moved, charged, parked, or unknown where nothing tells."""
    hours = pl.col("silence_s") / 3600
    standing = rules.STANDING_LOSS_PTS + rules.STANDING_LOSS_PTS_PER_H * hours
    distance, rise = pl.col("odometer_rise_km"), pl.col("soc_rise_pts")
    moved = (distance > rules.MOVED_KM).fill_null(False) | (rise < -standing).fill_null(False)
    charged = (rise >= rules.CHARGE_GAIN_PTS).fill_null(False) & pl.col("charges_around").any().over("spell")
    sleeps = pl.col("sleeps_at_key_off") & (pl.col("key") == False).fill_null(False)  # noqa: E712 - an expression
    still_recent = pl.col("unheard_s") + pl.col("s") <= rules.OPEN_SILENCE.total_seconds()
    return (
        pl.when(pl.col("silence_s").is_null())
        .then(pl.when(sleeps & still_recent).then(pl.lit(PARKED)).otherwise(pl.lit(UNKNOWN)))
        .when(pl.col("silence_s") > rules.REACH.total_seconds())
        .then(pl.lit(UNKNOWN))
        .when(moved)
        .then(pl.lit(IN_SERVICE))
        .when(charged)
        .then(pl.lit(CHARGING))
        .when(distance.is_not_null() | rise.is_not_null() | sleeps)
        .then(pl.lit(PARKED))
        .otherwise(pl.lit(UNKNOWN))
    )


def _with_states(segments: pl.LazyFrame) -> pl.LazyFrame:
    short = pl.col("spell_s") <= rules.IDLE_AFTER_S
    waits = pl.when(short).then(pl.lit(IN_SERVICE)).otherwise(pl.lit(IDLE))
    state = (
        pl.when("silent")
        .then(_silent_state())
        .when(pl.col("charges") & ~pl.col("moving"))
        .then(pl.lit(CHARGING))
        .when("plugged")
        .then(pl.lit(PLUGGED_IDLE))
        .when("active")
        .then(pl.lit(IN_SERVICE))
        .when(_on())
        .then(waits)
        .otherwise(pl.lit(PARKED))
    )
    rests = (state == PARKED) & pl.col("plugged")
    return segments.with_columns(state=pl.when(rests).then(pl.lit(PLUGGED_IDLE)).otherwise(state))


@cache
def _on() -> pl.Expr:
    """Key on; where the key is unknown, a standstill between two movements that is too short to end a trip."""
    return pl.coalesce("on", pl.col("between") & (pl.col("spell_s") < rules.TRIP_STOP_S)).fill_null(False)


def _with_gains(segments: pl.LazyFrame) -> pl.LazyFrame:
    """Where a rise in state of charge is charging: plugged in, across a silence, or over a long standstill."""
    across = pl.col("silent") & (pl.col("soc_rise_pts") >= rules.CHARGE_GAIN_PTS).fill_null(False)
    rose = (pl.col("spell_pts") > rules.CHARGE_GAIN_PTS) & (pl.col("spell_s") >= rules.IDLE_AFTER_S)
    still = ~pl.col("active") & ~pl.col("silent") & rose
    plugged = (pl.col("plugged") | pl.col("plugs_in")) & ~pl.col("silent")
    return segments.with_columns(gains=(plugged | across | still.fill_null(False)))


@cache
def _busy() -> pl.Expr:
    return pl.col("state").is_in([IN_SERVICE, CHARGING])
