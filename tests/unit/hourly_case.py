"""An hourly table of grid factors for tests."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

from analytics.factors.own import HourlyTables, hourly_tables
from schemas.frames import UTC_TIME

GRID = "own:port"
DIRECT = "own:port/generation_direct/co2/hourly"


def tables(values: dict[dt.datetime, float], area: str = GRID, **change: Any) -> HourlyTables:
    """One table of direct CO2 in g/kWh."""
    head = {
        "id": DIRECT, "kind": "grid", "key": GRID, "area": area, "name": "Port", "boundary": "generation_direct",
        "gases": "co2", "gwp_set": None, "value": 1.0, "unit": "g/kWh", "losses_included": True, "year": 2026,
        "starts_on": dt.date(2026, 1, 1), "edition": "2026", "source": "the operator", "confidence": "VERIFIED",
        "note": None, "hours": max(len(values), 1), **change,
    }  # fmt: skip
    rows = [{"factor_id": DIRECT, "hour": hour, "value": value} for hour, value in values.items()]
    schema = {"factor_id": pl.String, "hour": UTC_TIME, "value": pl.Float64}
    return hourly_tables(pl.DataFrame([head], schema_overrides={"gwp_set": pl.String, "note": pl.String}),
                         pl.DataFrame(rows, schema=schema))  # fmt: skip
