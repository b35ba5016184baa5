"""A pilot's chargers: their uptime from records, and what their meters counted."""

from __future__ import annotations

import datetime as dt

import polars as pl

from analytics.metrics.chargers import NAMES, charger_uptime
from analytics.questions import day_start, span_of
from analytics.views import Charger, Period, Pilot, Reader
from schemas.frames import UTC_TIME
from schemas.wire import ChargerRow, OutageRow


def charger_rows(reader: Reader, pilot: Pilot, period: Period) -> list[ChargerRow]:
    """The chargers of a pilot's sites that records tell of. Uptime is over the twelve months up to the period's end."""
    span = span_of(pilot, period)
    since, until = span.since, span.until
    chargers = reader.chargers(pilot, since, until)
    if not chargers:
        return []
    serving = {charger.id: _began(pilot, charger) for charger in chargers}
    known = pl.DataFrame(
        {"charger_id": list(serving), "since": list(serving.values())},
        schema={"charger_id": pl.Int64, "since": UTC_TIME},
    )
    uptime = charger_uptime(reader.outages(chargers), known, until)
    found = {row.pop("charger_id"): row for row in uptime.iter_rows(named=True)}
    return [_row(charger, found[charger.id], until) for charger in chargers]


def outage_rows(reader: Reader, pilot: Pilot, period: Period) -> list[OutageRow]:
    """Outages of the pilot's chargers that share time with the period, the newest first."""
    span = span_of(pilot, period)
    chargers = {charger.id: charger for charger in reader.chargers(pilot, span.since, span.until)}
    if not chargers:
        return []
    ended = pl.col("ends_at").fill_null(span.until) > span.since
    found = reader.outages(list(chargers.values())).filter(ended & (pl.col("starts_at") < span.until))
    return [
        OutageRow(site=chargers[charger_id].site, charger=chargers[charger_id].charger, **row)
        for row in found.sort("starts_at", descending=True).iter_rows(named=True)
        for charger_id in [row.pop("charger_id")]
    ]


def _row(charger: Charger, found: dict[str, object], until: dt.datetime) -> ChargerRow:
    return ChargerRow.model_validate(
        {
            "site": charger.site, "charger": charger.charger, "rated_kw": charger.rated_kw,
            "installed_on": charger.installed_on, "name": NAMES[str(found["figure"])], "until": until,
            "meter_sessions": charger.sessions, "unmatched_sessions": charger.unmatched_sessions,
            "grid_energy_kwh": charger.grid_energy_kwh, **found,
        }
    )  # fmt: skip


def _began(pilot: Pilot, charger: Charger) -> dt.datetime:
    """When a charger began to serve: as declared, else the first record of it."""
    return charger.first_record if charger.installed_on is None else day_start(pilot, charger.installed_on)
