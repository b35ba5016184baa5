"""Hours by state, key-on and working hours, and contact with the gateway."""

from __future__ import annotations

from functools import cache

import polars as pl

from analytics.metrics import rules, states
from analytics.metrics.metric import Metric, Total
from analytics.metrics.rows import (
    ESTIMATED,
    MEASURED,
    MIXED,
    Figure,
    Listing,
    notes,
    scaled,
    scaling_method,
    scaling_note,
)  # fmt: skip

KEYS = ["vehicle_id", "day"]

_MEANINGS = {
    states.IN_SERVICE: ("Hours in service", "Hours moving or working, with stops of up to a minute."),
    states.CHARGING: ("Hours charging", "Hours plugged in with energy flowing into the battery."),
    states.PLUGGED_IDLE: ("Hours plugged in without charging", "Hours parked at the plug without energy flowing."),
    states.IDLE: ("Hours idle", "Hours with key on, standing for more than a minute."),
    states.PARKED: ("Hours parked", "Hours with key off and fit for service, also at the plug without charging."),
    states.DOWN: ("Hours down", "Hours not fit for service, by record or by a red stop lamp at a standstill."),
    states.PLANNED_MAINTENANCE: ("Hours of planned maintenance", "Hours in maintenance that was planned."),
    states.UNKNOWN: ("Hours unknown", "Hours of which nothing is known."),
}
_INPUTS = ("ignition_on", "speed_kmh", "odometer_km", "battery_soc_pct", "plugged_in", "charging", "red_stop_lamp")


def _hours(slug: str, name: str, meaning: str, definition: str, *inputs: str, shown: bool = True) -> Metric:
    return Metric(slug, name, "h", meaning, definition, inputs, 1, Total.SUM, "hours-by-state", shown=shown)


METRICS = (
    _hours(
        "key_on_h", "Key-on hours", "Hours with the key on.",
        "time with key on; the hour meter where it counted more; without a key signal, time between movements",
        "ignition_on", "ready", "operating_hours_h", "speed_kmh",
    ),
    _hours(
        "working_h", "Working hours", "Hours in which equipment or a vessel works: motor, shaft or power take-off.",
        f"key on and motor or shaft power above {rules.WORKING_KW:g} kW, or power take-off engaged",
        "motor_power_kw", "shaft_power_kw", "pto_on",
    ),
    *(
        _hours(
            f"{state}_h", *_MEANINGS[state],
            f"time in the state {' or '.join(states.AT_REST) if state == states.PARKED else state}", *_INPUTS,
        )
        for state in states.STATES
    ),
    _hours(
        "connected_h", "Hours in contact", "Expected hours in which rows kept coming.",
        f"time between rows at most {rules.CONTACT_STEP_S:g} s or three sample periods apart", "time", shown=False,
    ),
    _hours(
        "expected_contact_h", "Hours contact was expected", "Hours in which rows should have come.",
        "the whole day; for gateways that sleep at key-off, without parked time", shown=False,
    ),
    Metric(
        "connectivity_pct", "Connectivity", "%", "Share of the time in which rows should have come that they came.",
        "hours in contact / hours contact was expected, under the gateway's declared policy", ("time",), 1,
        Total.RATIO, "connectivity", numerator="connected_h", denominator="expected_contact_h", scale=100.0,
    ),
)  # fmt: skip


def by_state(timeline: pl.DataFrame) -> pl.DataFrame:
    """Hours of each state for every vehicle and day; `_unseen_h` is what silences hide.

    Hours parked hold those at the plug without charging, which are also told alone: the others add up to `day_h`.
    """
    hours = pl.col("s").sum() / 3600
    return timeline.group_by(KEYS, maintain_order=True).agg(
        *((pl.col("s").filter(_is(state)).sum() / 3600).alias(f"{state}_h") for state in states.STATES),
        *(
            (pl.col("s").filter(_is(state) & pl.col("unobserved")).sum() / 3600).alias(f"{state}_unseen_h")
            for state in states.STATES
        ),
        day_h=hours,
    )


def _is(state: str) -> pl.Expr:
    return pl.col("state").is_in(states.AT_REST) if state == states.PARKED else pl.col("state") == state


def state_figures(timeline: pl.DataFrame) -> pl.DataFrame:
    """Figures of the hours by state, in long form."""
    return _by_state().of(by_state(timeline))


@cache
def _by_state() -> Listing:
    known_pct = (1 - pl.col("unknown_h") / pl.col("day_h")) * 100
    return Listing({f"{state}_h": _state_figure(state, known_pct) for state in states.STATES})


def _state_figure(state: str, known_pct: pl.Expr) -> Figure:
    unseen = pl.col(f"{state}_unseen_h") > 0
    all_unseen = pl.col(f"{state}_unseen_h") >= pl.col(f"{state}_h")
    method = (
        pl.when(unseen & all_unseen)
        .then(pl.lit(ESTIMATED))
        .when(unseen)
        .then(pl.lit(MIXED))
        .otherwise(pl.lit(MEASURED))
    )
    note = pl.when(unseen).then(pl.lit("partly unobserved"))
    return Figure(pl.col(f"{state}_h"), known_pct, pl.col("day_h"), method, note)


def with_key_on(wide: pl.LazyFrame) -> pl.LazyFrame:
    """Add `key_on_h` to the wide day table, with method and note; null where nothing is known of the day."""
    meter, seen = pl.col("operating_hours_h"), pl.col("on_h")
    by_meter = (meter > seen * 1.02 + rules.COVERAGE_MIN_H).fill_null(False)
    heard = pl.col("observed").fill_null(False)
    wide = wide.with_columns(key_on_pct=pl.when(meter.is_null()).then(_key_on_pct()).otherwise(100.0))
    pct = pl.col("key_on_pct")
    words = notes(pl.when(~pl.col("has_key")).then(pl.lit("from speed")), scaling_note(pct))
    by_key = pl.when("has_key").then(scaling_method(pct)).otherwise(pl.lit(ESTIMATED))
    return wide.with_columns(
        key_on_h=pl.when(by_meter).then(meter).when(heard).then(scaled(seen, pct)),
        key_on_method=pl.when(by_meter).then(pl.lit(MEASURED)).otherwise(by_key),
        key_on_note=pl.when(by_meter).then(pl.lit("hour meter")).when(heard).then(words),
    )


@cache
def _key_on_pct() -> pl.Expr:
    """Without an hour meter: the share of the distance, else of the time in service, that no silence hid."""
    seen, km = pl.col("on_h"), pl.col("true_km")
    by_km = pl.when(km >= rules.COVERAGE_MIN_KM).then(1 - pl.col("hidden_km") / km)
    by_time = pl.when(seen + pl.col("hidden_h") > 0).then(seen / (seen + pl.col("hidden_h")))
    return (pl.coalesce(by_km, by_time, 1.0) * 100).clip(0, 100)


def figures() -> dict[str, Figure]:
    """Figures of a wide day table that has passed `with_key_on`."""
    return {
        "key_on_h": Figure(
            pl.col("key_on_h"), pl.col("key_on_pct"), pl.col("key_on_h"), pl.col("key_on_method"), pl.col("key_on_note")
        ),
        "working_h": Figure(pl.col("working_h"), pl.lit(100.0), pl.col("key_on_h")),
    }


def contact_figures(segments: pl.DataFrame) -> pl.DataFrame:
    """Hours of contact, expected and had. A gateway that sleeps at key-off is expected while the key is on."""
    sleeping = pl.col("sleeps_at_key_off") & pl.col("state").is_in(states.AT_REST) & ~pl.col("runs")
    wide = (
        segments.filter(pl.col("day").is_not_null() & ~sleeping)
        .group_by(KEYS)
        .agg(connected_h=pl.col("heard_s").sum() / 3600, expected_contact_h=pl.col("s").sum() / 3600)
    )
    return _CONTACT.of(wide)


_CONTACT = Listing(
    {
        name: Figure(pl.col(name), pl.lit(100.0), pl.col("expected_contact_h"))
        for name in ("connected_h", "expected_contact_h")
    }
)
