"""Baselines that the job measures: on a paired diesel, and on a vehicle's own days before the pilot."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from analytics.metrics.emissions import DISPLACED
from pipelines.compute import compute_pilot
from pipelines.registry import import_programme
from schemas import tables
from schemas.database import engine
from schemas.programme import Programme
from tests.conftest import TestDatabase

MONDAY = dt.date(2026, 1, 5)


def truck(name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "category": "truck",
        "powertrain": "bev",
        "usable_battery_kwh": 300,
        "sample_period_s": 60,
    } | more


class World:
    def __init__(self, database: TestDatabase) -> None:
        self.owner, self.jobs = engine(database.url()), database.url("beachhead_jobs")

    def declare(self, *vehicles: dict[str, Any]) -> None:
        pilot = {"id": "port", "name": "Port", "region": "NL", "grid": "ember:NLD", "segment": "drayage",
                 "starts_on": MONDAY, "baseline_from": MONDAY - dt.timedelta(days=30), "time_zone": "UTC",
                 "day_starts_at": "00:00", "vehicles": list(vehicles)}  # fmt: skip
        with Session(self.owner) as session, session.begin():
            import_programme(session, Programme.model_validate({"pilots": [pilot]}), dt.date(2026, 3, 1))

    def drive(self, name: str, day: dt.date, km: float, litres: float | None = None) -> None:
        """An hour from 08:00 on at an even speed, fuel counted from 0; with the mark an upload leaves."""
        start = dt.datetime.combine(day, dt.time(8), dt.UTC)
        with self.owner.begin() as connection:
            number = connection.execute(sa.select(tables.Vehicle.id).filter_by(name=name)).scalar_one()
            connection.execute(
                sa.text(
                    "INSERT INTO telemetry (vehicle_id, time, ignition_on, speed_kmh, fuel_used_l)"
                    " SELECT :vehicle, CAST(:start AS timestamptz) + n * interval '1 min', true, :km,"
                    " CAST(:litres AS double precision) * n / 60.0 FROM generate_series(0, 60) n"
                ),
                {"vehicle": number, "start": start, "km": km, "litres": litres},
            )
            end = start + dt.timedelta(hours=1)
            mark = {"vehicle_id": number, "from_time": start, "to_time": end, "cause": "upload"}
            connection.execute(sa.insert(tables.StaleMark), [mark])

    def displaced(self, name: str) -> dict[dt.date, dict[str, Any]]:
        compute_pilot(self.jobs, "port")
        query = sa.select(tables.VehicleDay.day, tables.VehicleDay.figures).join(
            tables.Vehicle, tables.Vehicle.id == tables.VehicleDay.vehicle_id
        )
        with self.owner.connect() as connection:
            rows = connection.execute(query.where(tables.Vehicle.name == name))
            return {day: figures[DISPLACED] for day, figures in rows if DISPLACED in figures}


@pytest.fixture
def world(database: TestDatabase) -> Iterator[World]:
    world = World(database)
    yield world
    world.owner.dispose()


def after(days: int) -> dt.date:
    return MONDAY + dt.timedelta(days=days)


def test_a_paired_diesel_gives_the_rate_and_late_data_restate_it(world: World) -> None:
    world.declare(
        truck("truck-1", baseline={"fuel": "diesel", "reference": ["diesel-1"]}), truck("diesel-1", powertrain="diesel")
    )
    world.drive("diesel-1", MONDAY, km=50, litres=20)
    world.drive("truck-1", MONDAY, km=60)
    world.drive("truck-1", after(1), km=60)
    found = world.displaced("truck-1")
    # 20 L over 50 km is 40 L/100 km: 60 km displace 24 L
    assert {day: row["value"] for day, row in found.items()} == {
        MONDAY: pytest.approx(24.0), after(1): pytest.approx(24.0),
    }  # fmt: skip
    assert found[MONDAY]["note"] == "baseline by paired diesel-1, measured over 28 days"
    world.drive("diesel-1", after(1), km=50, litres=10)
    # Tuesday's pair is now 30 L over 100 km; Monday's stays
    later = world.displaced("truck-1")
    assert {day: row["value"] for day, row in later.items()} == {
        MONDAY: pytest.approx(24.0), after(1): pytest.approx(18.0),
    }  # fmt: skip


def test_without_a_measured_day_of_its_pair_a_truck_says_so(world: World) -> None:
    world.declare(
        truck("truck-1", baseline={"fuel": "diesel", "reference": ["diesel-1"]}), truck("diesel-1", powertrain="diesel")
    )
    world.drive("truck-1", MONDAY, km=60)
    row = world.displaced("truck-1")[MONDAY]
    assert (row["value"], row["note"]) == (None, "diesel-1 has no measured day in the 28 days up to this one")


def test_a_converted_truck_is_its_own_baseline(world: World) -> None:
    world.declare(truck("truck-1", baseline={"fuel": "diesel", "history": True}))
    world.drive("truck-1", after(-10), km=50, litres=19)
    world.drive("truck-1", after(-5), km=50, litres=23)
    world.drive("truck-1", MONDAY, km=60)
    found = world.displaced("truck-1")
    # 42 L over 100 km before the pilot; the days before it are in no result
    assert {day: row["value"] for day, row in found.items()} == {MONDAY: pytest.approx(25.2)}
    assert found[MONDAY]["note"] == "baseline by its own history, 2025-12-26 to 2026-01-04"
    world.drive("truck-1", after(-3), km=100, litres=58)
    assert world.displaced("truck-1")[MONDAY]["value"] == pytest.approx(60 * 100 / 200)


def test_a_class_is_used_where_it_is_declared(world: World) -> None:
    world.declare(truck("truck-1", baseline={"fuel": "diesel", "class_average": "class-8-truck"}))
    world.drive("truck-1", MONDAY, km=59 * 1.609344)
    row = world.displaced("truck-1")[MONDAY]
    assert (row["value"], row["method"]) == (pytest.approx(10 * 3.785411784), "mixed")
