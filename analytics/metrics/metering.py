"""Energy by the meters of chargers: what the record of each session counted becomes grid energy (AC) of vehicle-days.

A session's energy is placed by the vehicle's charging within it, so that it is cut exactly at the day and sums to the
record. What the vehicle charged outside of recorded sessions still goes through the charger's efficiency, before it is
added: DC and AC are never mixed. A meter signal in the telemetry is continuous, and goes before records.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from analytics.metrics import rules
from analytics.metrics.charging_hours import seen_kwh
from analytics.metrics.inputs import Inputs
from analytics.metrics.intervals import merged
from analytics.metrics.rows import MEASURED, MIXED, Day, Key, notes

RECORD, RECORD_PCT = "grid_by_record", "grid_by_record_pct"
"""What records tell of a day, kWh (AC), and the share of the day's charging that lies in their sessions."""
DAY = ["vehicle_id", "day"]
SPAN = ("starts_at", "ends_at")
WEIGHTS = ("counted", "seen")
"""What tells when a vehicle charged: the battery's counter, else its power and state of charge."""
WORDS, EVENLY = "metered sessions", "metered energy spread evenly over a session at the cut"
ELSEWHERE = "charging outside of metered sessions is not observed"
SESSION = ["vehicle_id", "session_at"]


def matched(meters: pl.DataFrame, sessions: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    """The vehicle of each record that names none, where there is no doubt: columns meter_id, vehicle_id.

    `meters` has meter_id, site_id, charger_id, starts_at, ends_at, grid_kwh; `sessions` are charging sessions of the
    vehicles whose depot is at these sites, not known to be elsewhere: vehicle_id, site_id, starts_at, ends_at,
    energy_charged_kwh. Two may be one where they share at least half of the shorter. They are taken as one where
    neither could be another (several records of one charger may be one session of a vehicle), or where they share 80 %
    of the time that either takes, and nothing else of either 50 %; and never where what was charged is less than 60 %
    or more than 105 % of what the records counted. Sessions of which a record in `named` tells (the same columns as
    `meters`, and vehicle_id) are not asked.
    """
    mine = pl.col("vehicle_id") == pl.col("vehicle_id_right")
    told = _pairs(named, sessions).filter(mine).select(SESSION).unique()
    pairs = _pairs(meters.drop("vehicle_id", strict=False), sessions).join(told, on=SESSION, how="anti")
    alike = pl.col("alike")
    unlike = [_second(by) < rules.METER_UNLIKE for by in (["meter_id"], SESSION)]
    clear = (alike >= rules.METER_ALIKE) & pl.all_horizontal(unlike)
    alone = (pl.len().over("meter_id") == 1) & (pl.col("charger_id").n_unique().over(SESSION) == 1)
    taken = pairs.filter(clear | alone)
    low, high = rules.METER_RATIOS
    ratio = pl.col("energy_charged_kwh") / pl.col("grid_kwh").sum().over(SESSION)
    return taken.filter(ratio.is_between(low, high).fill_null(True)).select("meter_id", "vehicle_id").sort("meter_id")


def _pairs(meters: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Records and sessions at one site that share at least half of the shorter; `alike` is their share of the union."""
    mine = sessions.rename({"starts_at": "session_at", "ends_at": "session_until"})
    days = [_by_day(meters, *SPAN), _by_day(mine, "session_at", "session_until")]
    met = days[0].join(days[1], on=["site_id", "utc_day"]).drop("utc_day").unique(maintain_order=True)
    both = met.with_columns(
        shared=_s(pl.max_horizontal("starts_at", "session_at"), pl.min_horizontal("ends_at", "session_until")),
        metered=_s(*(pl.col(name) for name in SPAN)),
        plugged=_s(pl.col("session_at"), pl.col("session_until")),
    )
    shared, lengths = pl.col("shared"), (pl.col("metered"), pl.col("plugged"))
    half = shared >= rules.METER_SHARED * pl.min_horizontal(*lengths)
    return both.filter(half & (shared > 0)).with_columns(alike=shared / (lengths[0] + lengths[1] - shared))


def _by_day(spans: pl.DataFrame, start: str, end: str) -> pl.DataFrame:
    """A row for each UTC day that a span touches, so that only what is of one day is compared."""
    days = pl.date_ranges(pl.col(start).dt.date(), pl.col(end).dt.date())
    return spans.with_columns(utc_day=days).explode("utc_day", empty_as_null=True, keep_nulls=True)


def _second(by: list[str]) -> pl.Expr:
    """How alike the best other pair of the same record or session is; 0 where there is none."""
    best = pl.col("alike").max().over(by)
    second = pl.col("alike").sort(descending=True).slice(1, 1).first().over(by).fill_null(0.0)
    return pl.when(pl.col("alike") == best).then(second).otherwise(best)


def _s(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    return (end - start).dt.total_microseconds() / 1e6


Records = dict[Key, dict[str, Any]]
"""What records tell of vehicle-days: `RECORD`, `RECORD_PCT` and whether some of it was spread `evenly`."""


def records_of_days(stretches: pl.DataFrame, inputs: Inputs) -> Records:
    """What records tell of the computed days; nothing of days without metered sessions."""
    meters = inputs.meters
    if meters.is_empty():
        return {}
    windows = inputs.days.select(*DAY, *SPAN)
    told = _told(meters, windows, _charging(stretches, meters, inputs.vehicles))
    return {(row["vehicle_id"], row["day"]): row for row in told.iter_rows(named=True)}


def with_records(day: Day, records: Mapping[str, Any]) -> dict[str, Any]:
    """Let the records of a day tell its grid energy, once it has passed `with_energy`; adds `RECORD`, `RECORD_PCT`."""
    told = {name: records.get(name) for name in (RECORD, RECORD_PCT)}
    if told[RECORD] is None or (day["grid_kwh"] is not None and day["grid_method"] == MEASURED):
        return told
    return told | _grid(day, records)


def _grid(day: Day, records: Mapping[str, Any]) -> dict[str, Any]:
    """Grid energy by records, and through the charger's efficiency what was charged outside of them."""
    recorded, pct, evenly = records[RECORD], records[RECORD_PCT], bool(records["evenly"])
    declared, charged = day["charger_efficiency"], day["charged_kwh"]
    efficiency = rules.DEFAULT_CHARGER_EFFICIENCY if declared is None else declared
    outside = (charged or 0.0) * (0.0 if pct is None else 1 - pct / 100)
    some = outside > rules.METER_REST * recorded
    words = notes(
        WORDS,
        EVENLY if evenly else None,
        f"the rest charged / {efficiency}" if some else None,
        ELSEWHERE if charged is None else None,
    )
    least, most = rules.CHARGER_EFFICIENCIES
    assumed = declared is None and some
    return {
        "grid_kwh": recorded + outside / efficiency,
        "grid_pct": None if charged is None else 100.0,
        "grid_method": MIXED if some or evenly else MEASURED,
        "grid_note": words,
        "grid_low": recorded + outside / most if assumed else None,
        "grid_high": recorded + outside / least if assumed else None,
    }


def sessions_with_records(
    sessions: pl.DataFrame, meters: pl.DataFrame, stretches: pl.DataFrame, vehicles: pl.DataFrame
) -> pl.DataFrame:
    """Charging sessions (`ChargeSessions`) with the grid energy that records tell of them."""
    if meters.is_empty() or sessions.is_empty():
        return sessions
    windows = sessions.select("vehicle_id", *SPAN, session_at="starts_at")
    told = _told(meters, windows, _charging(stretches, meters, vehicles), SESSION)
    records = {(row["vehicle_id"], row["session_at"]): row for row in told.iter_rows(named=True)}
    efficiency = dict(vehicles.select("vehicle_id", "charger_efficiency").iter_rows())
    rows = [
        _session_with_record(row, records.get((row["vehicle_id"], row["starts_at"]), {}), efficiency)
        for row in sessions.iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=sessions.schema)


def _session_with_record(
    session: dict[str, Any], records: Mapping[str, Any], efficiency: Mapping[int, float | None]
) -> dict[str, Any]:
    told = with_records(
        {
            "grid_kwh": session["grid_energy_kwh"], "grid_method": session["grid_method"],
            "charged_kwh": session["energy_charged_kwh"], "charger_efficiency": efficiency.get(session["vehicle_id"]),
        },
        records,
    )  # fmt: skip
    if "grid_kwh" not in told:
        return session
    return session | {"grid_energy_kwh": told["grid_kwh"], "grid_method": told["grid_method"]}


def in_hours(drawn: pl.DataFrame, meters: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """Place energy of which nothing else tells when it was drawn (`hour` null) evenly over the metered sessions."""
    untold = drawn.filter(pl.col("hour").is_null())
    if meters.is_empty() or untold.is_empty():
        return drawn
    parts = _parts(meters, days.select(*DAY, *SPAN).join(untold, on=DAY, how="semi"))
    hours = pl.datetime_ranges(pl.col("from_time").dt.truncate("1h"), "to_time", "1h", closed="left")
    parts = parts.with_columns(hour=hours).explode("hour", empty_as_null=True, keep_nulls=True)
    ends = pl.min_horizontal("to_time", pl.col("hour").dt.offset_by("1h"))
    by_hour = parts.with_columns(s=_s(pl.max_horizontal("from_time", "hour"), ends)).group_by(*DAY, "hour").agg(
        weight=(pl.col("s") / pl.col("metered_s") * pl.col("grid_kwh")).sum()
    )  # fmt: skip
    share = pl.col("weight") / pl.col("weight").sum().over(DAY)
    placed = untold.drop("hour").join(by_hour, on=DAY, how="left")
    placed = placed.with_columns(kwh=pl.col("kwh") * share.fill_null(1.0)).select(drawn.columns)
    told = drawn.filter(pl.col("hour").is_not_null())
    return pl.concat([told, placed]).sort(*DAY, "hour")


def _told(meters: pl.DataFrame, windows: pl.DataFrame, charging: pl.DataFrame, key: list[str] = DAY) -> pl.DataFrame:
    """What records tell of each window: `key`, `RECORD`, `RECORD_PCT` and whether some of it was spread `evenly`."""
    parts = _parts(meters, windows)
    for name, at in (("first", "starts_at"), ("last", "ends_at"), ("since", "from_time"), ("until", "to_time")):
        parts = _reached(parts, charging, at, name)
    shares = [_share(weight) for weight in WEIGHTS]
    by_time = _s(pl.col("from_time"), pl.col("to_time")) / pl.col("metered_s")
    parts = parts.with_columns(share=pl.coalesce(*shares, by_time), evenly=pl.coalesce(*shares).is_null())
    cut = (pl.col("share") > rules.METER_REST) & (pl.col("share") < 1 - rules.METER_REST)
    summed = parts.group_by(key).agg(
        (pl.col("grid_kwh") * pl.col("share")).sum().alias(RECORD), (pl.col("evenly") & cut).any()
    )
    return summed.join(_inside(meters, windows, charging, key), on=key, how="left")


def _share(weight: str) -> pl.Expr:
    """The share of a session's charging that lies in the part, by one weight; null where that tells of none."""
    whole = pl.col(f"last_{weight}") - pl.col(f"first_{weight}")
    part = pl.col(f"until_{weight}") - pl.col(f"since_{weight}")
    return pl.when(whole > 0).then((part / whole).clip(0, 1))


def _parts(meters: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """The parts of metered sessions in each window, from `from_time` to `to_time`."""
    spans = windows.rename({"starts_at": "window_at", "ends_at": "window_until"})
    both = meters.select("vehicle_id", *SPAN, "grid_kwh").join(spans, on="vehicle_id")
    shared = both.with_columns(
        from_time=pl.max_horizontal("starts_at", "window_at"), to_time=pl.min_horizontal("ends_at", "window_until"),
        metered_s=_s(*(pl.col(name) for name in SPAN)),
    )  # fmt: skip
    return shared.filter(pl.col("from_time") < pl.col("to_time"))


def _inside(meters: pl.DataFrame, windows: pl.DataFrame, charging: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """The share of each window's charging that lies within metered sessions, by clocks that may differ a little."""
    slack = pl.duration(seconds=rules.METER_CLOCK_S)
    wide = meters.select("vehicle_id", starts_at=pl.col("starts_at") - slack, ends_at=pl.col("ends_at") + slack)
    islands = merged(wide).with_columns(grid_kwh=pl.lit(0.0))
    parts = _parts(islands, windows)
    for name, at in (("since", "from_time"), ("until", "to_time"), ("first", "window_at"), ("last", "window_until")):
        parts = _reached(parts, charging, at, name)
    sums = parts.group_by(key).agg(
        *(
            ((pl.col(f"until_{w}") - pl.col(f"since_{w}")).sum() / (pl.col(f"last_{w}") - pl.col(f"first_{w}")).max())
            .alias(w)
            for w in WEIGHTS
        )
    )  # fmt: skip
    known = [pl.when(pl.col(w).is_finite()).then(pl.col(w).clip(0, 1) * 100) for w in WEIGHTS]
    return sums.select(*key, pl.coalesce(*known).alias(RECORD_PCT))


def _charging(stretches: pl.DataFrame, meters: pl.DataFrame, vehicles: pl.DataFrame) -> pl.DataFrame:
    """How much the vehicles with meters had charged at the start of each segment, and how much in it (kWh)."""
    facts = vehicles.select("vehicle_id", "usable_battery_kwh").unique("vehicle_id")
    mine = stretches.join(meters.select("vehicle_id").unique(), on="vehicle_id", how="semi", maintain_order="left")
    mine = mine.join(facts, on="vehicle_id", how="left", maintain_order="left").select(
        "vehicle_id", "starts_at", "s", counted=pl.col("energy_charged_kwh").clip(0).fill_null(0.0), seen=seen_kwh()
    )
    return mine.with_columns((pl.col(w).cum_sum().over("vehicle_id") - pl.col(w)).alias(f"{w}_before") for w in WEIGHTS)


def _reached(parts: pl.DataFrame, charging: pl.DataFrame, at: str, name: str) -> pl.DataFrame:
    """Add how much had been charged by the time `at`, by each weight, as `<name>_<weight>`."""
    segments = charging.rename({"starts_at": "segment_at"})
    found = parts.with_row_index("part").sort(at).join_asof(
        segments, left_on=at, right_on="segment_at", by="vehicle_id", strategy="backward", check_sortedness=False
    )  # fmt: skip
    within = (_s(pl.col("segment_at"), pl.col(at)) / pl.col("s")).clip(0, 1)
    reached = {
        f"{name}_{w}": (pl.col(f"{w}_before") + pl.col(w) * within).fill_null(0.0) for w in WEIGHTS
    }  # fmt: skip
    return found.with_columns(**reached).sort("part").select(*parts.columns, *reached)
