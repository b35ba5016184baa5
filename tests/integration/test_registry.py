"""Registry import on a real database: idempotent, ends instead of deleting, keeps a moved vehicle's history."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from sqlalchemy.orm import Session

from pipelines.registry import ImportReport, import_programme
from schemas import tables
from schemas.database import engine
from schemas.programme import Programme
from tests.conftest import TestDatabase

TODAY = dt.date(2026, 3, 1)


def programme() -> dict[str, Any]:
    return {
        "partners": [{"id": "metro", "name": "Metro", "kind": "fleet"}],
        "sites": [{"id": "pier", "grid": "egrid:CAMX", "chargers": [{"id": "ch-1", "rated_kw": 150}]}],
        "pilots": [
            {
                "id": "harbor", "name": "Harbor", "region": "US-CA", "segment": "drayage", "starts_on": "2026-01-05",
                "time_zone": "America/Los_Angeles", "partners": [{"id": "metro", "role": "operator"}],
                "service_plan": {"weekdays": ["mon"], "hours": "06:00-18:00"},
                "vehicles": [vehicle("truck-01", vin="1XKWA"), vehicle("truck-02")],
                "gateways": [{"id": "gw-01", "vehicles": ["truck-01"]}, {"id": "gw-02"}],
            }
        ],
    }  # fmt: skip


def vehicle(name: str, **aliases: str) -> dict[str, Any]:
    return {"id": name, "category": "truck", "powertrain": "bev", "usable_battery_kwh": 375, "site": "pier",
            "aliases": aliases}  # fmt: skip


@pytest.fixture
def session(database: TestDatabase) -> Iterator[Session]:
    owner = engine(database.url())
    with Session(owner) as session:
        yield session
    owner.dispose()


def load(session: Session, content: dict[str, Any], today: dt.date = TODAY) -> ImportReport:
    text = yaml.safe_load(yaml.safe_dump(content))
    with session.begin():
        return import_programme(session, Programme.model_validate(text), today)


def count(session: Session, table: type[tables.Base]) -> int:
    with session.begin():
        return session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_a_second_import_changes_nothing(session: Session) -> None:
    first = load(session, programme())
    assert set(first.new_keys) == {"harbor/gw-01", "harbor/gw-02"}
    assert all(key.startswith("bh_") for key in first.new_keys.values())
    marks = count(session, tables.StaleMark)
    again = load(session, programme())
    assert (again.added, again.changed, again.ended, again.new_keys) == ([], [], [], {})
    assert count(session, tables.StaleMark) == marks
    assert count(session, tables.Vehicle) == 2


def test_only_hashes_of_keys_are_stored(session: Session) -> None:
    secret = load(session, programme()).new_keys["harbor/gw-01"]
    with session.begin():
        row = session.execute(sa.text("SELECT api_key::text FROM api_key LIMIT 1")).scalar_one()
    assert secret.rpartition("_")[2] not in row


def test_what_disappears_is_ended_not_deleted(session: Session) -> None:
    load(session, programme())
    less = programme()
    less["pilots"][0]["vehicles"].pop()
    less["pilots"][0]["gateways"].pop()
    less["sites"][0]["chargers"] = []
    report = load(session, less)
    assert sorted(report.ended) == ["charger ch-1", "gateway gw-02", "vehicle harbor/truck-02"]
    with session.begin():
        ends = session.execute(
            sa.select(tables.Vehicle.name, tables.Assignment.ends_on)
            .join(tables.Vehicle, tables.Vehicle.id == tables.Assignment.vehicle_id)
        )  # fmt: skip
        assert {tuple(row) for row in ends} == {("truck-01", None), ("truck-02", TODAY - dt.timedelta(days=1))}
    assert load(session, less).ended == []


def test_a_new_battery_capacity_makes_the_vehicles_results_stale(session: Session) -> None:
    load(session, programme())
    with session.begin():
        session.execute(sa.delete(tables.StaleMark))
    changed = programme()
    changed["pilots"][0]["vehicles"][0]["usable_battery_kwh"] = 360
    report = load(session, changed)
    assert report.changed == ["vehicle harbor/truck-01: usable_battery_kwh"]
    with session.begin():
        marked = session.scalars(sa.select(tables.StaleMark.vehicle_id)).all()
        truck = session.scalars(sa.select(tables.Vehicle.id).filter_by(name="truck-01")).one()
    assert marked == [truck]


def test_a_new_name_makes_nothing_stale(session: Session) -> None:
    load(session, programme())
    marks = count(session, tables.StaleMark)
    changed = programme()
    changed["pilots"][0]["name"] = "Harbour"
    assert load(session, changed).changed == ["pilot harbor: name"]
    assert count(session, tables.StaleMark) == marks


def test_two_pilots_may_use_the_same_vehicle_names(session: Session) -> None:
    two = programme()
    two["pilots"].append(two["pilots"][0] | {"id": "other", "vehicles": [vehicle("truck-01")], "gateways": []})
    load(session, two)
    assert count(session, tables.Vehicle) == 3
    assert load(session, two).added == []


@pytest.mark.parametrize("first", ["old pilot first", "new pilot first"])
def test_a_moved_vehicle_keeps_its_history_where_it_was_earned(session: Session, first: str) -> None:
    load(session, programme())
    moved = programme()
    truck = moved["pilots"][0]["vehicles"].pop(0) | {"enters_on": "2026-03-10"}
    moved["pilots"][0]["gateways"] = []
    new = moved["pilots"][0] | {"id": "other", "vehicles": [truck], "gateways": []}
    moved["pilots"] = [moved["pilots"][0], new] if first == "old pilot first" else [new, moved["pilots"][0]]
    load(session, moved)
    with session.begin():
        rows = session.execute(
            sa.select(tables.Pilot.slug, tables.Assignment.starts_on, tables.Assignment.ends_on)
            .join(tables.Pilot, tables.Pilot.id == tables.Assignment.pilot_id)
            .join(tables.Vehicle, tables.Vehicle.id == tables.Assignment.vehicle_id)
            .where(tables.Vehicle.name == "truck-01")
            .order_by(tables.Assignment.starts_on)
        ).all()
    left = TODAY - dt.timedelta(days=1) if first == "old pilot first" else dt.date(2026, 3, 9)
    assert [tuple(row) for row in rows] == [
        ("harbor", dt.date(2026, 1, 5), left), ("other", dt.date(2026, 3, 10), None),
    ]  # fmt: skip
    assert count(session, tables.Vehicle) == 2
