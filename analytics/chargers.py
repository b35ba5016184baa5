"""A pilot's chargers: their uptime from records, and what their meters counted."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import polars as pl

from analytics.metrics.chargers import NAMES, charger_uptime
from analytics.views import Charger, Period, Pilot, Reader
from schemas.frames import UTC_TIME
from schemas.wire import ChargerRow

ONE_DAY = dt.timedelta(days=1)


def charger_rows(reader: Reader, pilot: Pilot, period: Period) -> list[ChargerRow]:
    """The chargers of a pilot's sites that records tell of. Uptime is over the twelve months up to the period's end."""
    since, until = _cut(pilot, period.first), _cut(pilot, period.last + ONE_DAY)
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
    return charger.first_record if charger.installed_on is None else _cut(pilot, charger.installed_on)


def _cut(pilot: Pilot, day: dt.date) -> dt.datetime:
    """The instant at which a pilot's operating day starts."""
    zone = ZoneInfo(pilot.time_zone or "UTC")
    return dt.datetime.combine(day, pilot.day_starts_at or dt.time(), zone).astimezone(dt.UTC)
