"""A small programme with results, written straight into the tables, for tests of the read side.

Every number is chosen by hand, so that totals can be told in the head: see `DAYS` and the figures of each vehicle.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
import psycopg

from analytics.metrics import totals
from schemas.frames import Figures

FIRST = dt.date(2026, 1, 5)
DAYS = tuple(FIRST + dt.timedelta(days=n) for n in range(4))
COMPUTED_AT = dt.datetime(2026, 1, 10, tzinfo=dt.UTC)
HOSTILE = "<img src=x onerror=alert(1)>"
FACTORS = ["egrid2023r2-co2/egrid:CAMX", "epa-hub-co2/diesel"]


@dataclass(frozen=True)
class VehicleRows:
    """A vehicle and its daily figures."""

    name: str
    category: str
    powertrain: str
    days: tuple[dict[str, dict[str, Any]], ...]


@dataclass(frozen=True)
class PilotRows:
    """A pilot, its calendar and its vehicles."""

    slug: str
    name: str
    region: str
    grid: str | None
    segment: str
    zone: str
    vehicles: tuple[VehicleRows, ...]
    targets: str = "{}"
    factors: tuple[str, ...] = ()


def figure(value: float | None, coverage_pct: float | None = 100.0, weight: float | None = 1.0, **more: Any) -> dict:
    """One stored figure."""
    method = "measured" if value is not None else None
    return {"value": value, "coverage_pct": coverage_pct, "weight": weight, "method": method} | more


def a_day(km: float, kwh: float | None, *, coverage_pct: float = 100.0, up: int | None = 1) -> dict[str, dict]:
    """A vehicle's day: 8 key-on hours, charging as much as it used, avoiding 1 kg of CO2e per km at the tailpipe."""
    reason = {} if kwh is not None else {"note": "no battery signal"}
    unknown = {"note": "no life-cycle factor of diesel is known"}
    hours = {"in_service_h": 7.0, "idle_h": 1.0, "charging_h": 4.0, "parked_h": 12.0, "down_h": 0.0, "unknown_h": 0.0,
             "planned_maintenance_h": 0.0, "key_on_h": 8.0}  # fmt: skip
    return (
        {
            "distance_km": figure(km, weight=km),
            "energy_used_kwh": figure(kwh, coverage_pct, weight=km, **reason),
            "energy_charged_kwh": figure(kwh, coverage_pct, weight=km, **reason),
            "grid_energy_kwh": figure(kwh, coverage_pct, weight=km, **reason) | {"method": "estimated"},
            "planned_days": figure(1.0),
            "available_days": figure(float(up or 0)),
            "available_excl_planned_maintenance_days": figure(float(up or 0)),
            "unknown_days": figure(float(up is None)),
            "roadcalls": figure(0.0),
            "propulsion_roadcalls": figure(0.0),
            "fuel_displaced_l": figure(km * 0.4, weight=km),
            "co2e_avoided_tailpipe_vs_generation_kg": figure(km * 1.0, weight=km),
            "co2e_avoided_well_to_wheel_kg": figure(None, None, **unknown),
            "co2e_avoided_conservative_kg": figure(km * 0.5, weight=km),
        }
        | {slug: figure(hours_h, weight=24.0) for slug, hours_h in hours.items()}
        | ratio_parts(km, kwh, coverage_pct)
    )


def ratio_parts(km: float, kwh: float | None, coverage_pct: float) -> dict[str, dict]:
    """What enters energy per distance and per hour: nothing where coverage is low."""
    if kwh is None or coverage_pct < 80:
        return {}
    energy, distance, hours = figure(kwh, coverage_pct, weight=km), figure(km, weight=km), figure(8.0, weight=8.0)
    return {
        "ratio_energy_per_km_kwh": energy,
        "ratio_distance_km": distance,
        "ratio_energy_per_hour_kwh": energy,
        "ratio_key_on_h": hours,
        "ratio_dge_energy_kwh": energy,
        "ratio_dge_distance_km": distance,
    }


def without_emissions(day: dict[str, dict], reason: str) -> dict[str, dict]:
    """The same day where no factor is known."""
    nothing = {slug: figure(None, None, note=reason) for slug in day if slug.startswith("co2e_")}
    return day | nothing


def with_losses(day: dict[str, dict]) -> dict[str, dict]:
    """The same day with more emitted than avoided, well to wheel."""
    return day | {"co2e_avoided_well_to_wheel_kg": figure(-25.0)}


def sums_to_100(days: int = 4) -> tuple[dict, ...]:
    return tuple(a_day(100.0, 120.0) for _ in range(days))


HARBOR = PilotRows(
    "harbor", "Harbor drayage", "US-CA", "egrid:CAMX", "drayage", "America/Los_Angeles",
    vehicles=(
        VehicleRows("truck-01", "truck", "bev", (
            a_day(200, 280), a_day(200, 260, coverage_pct=60), a_day(200, None, coverage_pct=0),
            a_day(200, 300, up=0))),
        VehicleRows(HOSTILE, "truck", "bev", (
            a_day(100, 140), a_day(100, 140, up=None), a_day(100, 140), a_day(100, 140))),
        VehicleRows("diesel-09", "truck", "diesel", ({"distance_km": figure(150.0), "fuel_used_l": figure(60.0)},) * 4),
    ),
    targets='{"availability_pct": 85}', factors=tuple(FACTORS),
)  # fmt: skip
FERRIES = PilotRows(
    "ferries", "Kochi ferries", "IN", "official:IND", "harbor-craft", "Asia/Kolkata",
    vehicles=(VehicleRows("boat-1", "vessel", "bev", tuple(with_losses(day) for day in sums_to_100())),),
)  # fmt: skip
TRACTORS = PilotRows(
    "tractors", "Rotterdam yard tractors", "NL", "ember:NLD", "yard-tractor", "Europe/Amsterdam",
    vehicles=(VehicleRows("yt-1", "equipment", "bev", sums_to_100()),),
)  # fmt: skip
TWIZY = PilotRows(
    "twizy", "Small cars", "MA", None, "passenger-car", "Africa/Casablanca",
    vehicles=(VehicleRows("twizy-1", "car", "bev", tuple(
        without_emissions(day, "no grid factor is known for region MA") for day in sums_to_100())),),
)  # fmt: skip
EMPTY = PilotRows("new", "Not begun", "CL", "ember:CHL", "transit-bus", "America/Santiago", vehicles=())
PROGRAMME = (HARBOR, FERRIES, TRACTORS, TWIZY, EMPTY)


def write(connection: psycopg.Connection, programme: tuple[PilotRows, ...] = PROGRAMME) -> None:
    """Put the programme and its results into a migrated, empty database."""
    for rows in programme:
        _pilot(connection, rows)
    connection.commit()


def _pilot(connection: psycopg.Connection, rows: PilotRows) -> None:
    pilot_id = _id(
        connection,
        "INSERT INTO pilot (slug, name, region, grid, segment, starts_on, targets) VALUES (%s,%s,%s,%s,%s,%s,%s)",
        rows.slug, rows.name, rows.region, rows.grid, rows.segment, FIRST, rows.targets,
    )  # fmt: skip
    connection.execute(
        "INSERT INTO pilot_calendar (pilot_id, valid_from, time_zone, day_starts_at) VALUES (%s, %s, %s, '03:00')",
        [pilot_id, FIRST, rows.zone],
    )
    counted = [vehicle for vehicle in rows.vehicles if vehicle.powertrain != "diesel"]
    figures = [_vehicle(connection, pilot_id, vehicle, rows.factors) for vehicle in rows.vehicles]
    of_counted = [frame for vehicle, frame in zip(rows.vehicles, figures, strict=True) if vehicle in counted]
    for day, stored in _stored(pl.concat(of_counted)).items() if counted else ():
        connection.execute(
            "INSERT INTO pilot_day (pilot_id, day, figures, vehicles, data_until, code_version, factors, computed_at)"
            " VALUES (%s, %s, %s, %s, %s, 'test', %s, %s)",
            [pilot_id, day, json.dumps(stored), len(counted), _until(day), list(rows.factors), COMPUTED_AT],
        )


def _stored(figures: pl.DataFrame) -> dict[dt.date, dict[str, dict]]:
    """Figures of each day as they are stored: components and what is formed from them."""
    days = totals(figures, by=["day"]).partition_by("day", as_dict=True, include_key=False)
    return {day: {row.pop("metric"): row for row in frame.iter_rows(named=True)} for (day,), frame in days.items()}


def _vehicle(
    connection: psycopg.Connection, pilot_id: int, rows: VehicleRows, factors: tuple[str, ...]
) -> pl.DataFrame:
    vehicle_id = _id(
        connection, "INSERT INTO vehicle (name, category, powertrain) VALUES (%s, %s, %s)", rows.name, rows.category,
        rows.powertrain,
    )  # fmt: skip
    connection.execute(
        "INSERT INTO assignment (vehicle_id, pilot_id, starts_on) VALUES (%s, %s, %s)", [vehicle_id, pilot_id, FIRST]
    )
    figures = pl.DataFrame(
        list(_long(vehicle_id, rows)), schema={name: column.dtype for name, column in Figures.columns().items()}
    )
    for day, stored in _stored(figures).items():
        starts_at = dt.datetime.combine(day, dt.time(11), dt.UTC)
        connection.execute(
            "INSERT INTO vehicle_day (vehicle_id, day, pilot_id, starts_at, ends_at, figures, data_until, input_rows,"
            " input_hash, code_version, factors, computed_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, 1, '', 'test', %s, %s)",
            [vehicle_id, day, pilot_id, starts_at, starts_at + dt.timedelta(days=1), json.dumps(stored), _until(day),
             list(factors), COMPUTED_AT],
        )  # fmt: skip
        connection.execute(
            "INSERT INTO trip (vehicle_id, starts_at, ends_at, pilot_id, day, distance_km, energy_used_kwh)"
            " VALUES (%s, %s, %s, %s, %s, 25.5, NULL)",
            [vehicle_id, starts_at, starts_at + dt.timedelta(minutes=40), pilot_id, day],
        )
        _write_session_and_states(connection, vehicle_id, pilot_id, day, starts_at)
    return figures


def _write_session_and_states(
    connection: psycopg.Connection, vehicle_id: int, pilot_id: int, day: dt.date, day_at: dt.datetime
) -> None:
    """A night at the plug, 10 h, of which 4 h charging, told by state of charge; and a day in three states."""
    starts_at = day_at + dt.timedelta(hours=8)
    connection.execute(
        "INSERT INTO charge_session (vehicle_id, starts_at, ends_at, pilot_id, day, kind, place, charging_h,"
        " energy_charged_kwh, energy_method, grid_energy_kwh, grid_method, power_kw, soc_start_pct, soc_end_pct, note)"
        " VALUES (%s, %s, %s, %s, %s, 'overnight', NULL, 4, 140, 'estimated', 152.2, 'estimated', 35, 40, NULL,"
        " 'SOC x 375 kWh')",
        [vehicle_id, starts_at, starts_at + dt.timedelta(hours=10), pilot_id, day],
    )
    for hour, end, state, cause in ((0, 6, "parked", None), (6, 14, "in_service", None), (14, 24, "down", "supply")):
        hours = [day_at + dt.timedelta(hours=h) for h in (hour, end)]
        connection.execute(
            "INSERT INTO state_spell (vehicle_id, starts_at, ends_at, pilot_id, day, state, cause, unobserved)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [vehicle_id, *hours, pilot_id, day, state, cause, state == "in_service"],
        )


def _long(vehicle_id: int, rows: VehicleRows) -> Iterator[dict[str, Any]]:
    empty = dict.fromkeys(Figures.columns())
    for day, figures in zip(DAYS, rows.days, strict=True):
        for metric, parts in figures.items():
            yield empty | {"vehicle_id": vehicle_id, "day": day, "metric": metric} | parts


def _until(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(22, 30), dt.UTC)


def _id(connection: psycopg.Connection, statement: str, *values: object) -> int:
    (row,) = connection.execute(f"{statement} RETURNING id", values).fetchall()
    return int(row[0])
