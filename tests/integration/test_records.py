"""Records import on a real database."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from pipelines.records import import_records
from schemas import tables
from schemas.database import engine
from schemas.errors import RegistryError
from tests.conftest import TestDatabase


@pytest.fixture
def session(database: TestDatabase) -> Iterator[Session]:
    """One vehicle `bus-1` in each of two pilots, in Santiago and in Kolkata, and `bus-2` in the first."""
    owner = engine(database.url())
    with Session(owner) as session:
        with session.begin():
            for number, zone in ((1, "America/Santiago"), (2, "Asia/Kolkata")):
                session.add(tables.Pilot(id=number, slug=f"pilot-{number}", name="", region="CL", segment="transit-bus",
                                         starts_on=dt.date(2026, 1, 1)))  # fmt: skip
                session.flush()
                session.add(tables.PilotCalendar(pilot_id=number, valid_from=dt.date(2026, 1, 1), time_zone=zone,
                                                 day_starts_at=dt.time(3)))  # fmt: skip
            for number, name, pilot in ((1, "bus-1", 1), (2, "bus-1", 2), (3, "bus-2", 1)):
                session.add(tables.Vehicle(id=number, name=name, category="bus", powertrain="bev"))
                session.flush()
                session.add(tables.Assignment(vehicle_id=number, pilot_id=pilot, starts_on=dt.date(2026, 1, 1)))
        yield session
    owner.dispose()


def load(session: Session, tmp_path: Path, kind: str, text: str, pilot: str | None = None) -> tuple[int, int]:
    path = tmp_path / f"{kind}.csv"
    path.write_text(text)
    with session.begin():
        report = import_records(session, kind, path, pilot)
    return report.rows, report.changed


def marks(session: Session) -> list[tuple[int, dt.datetime, dt.datetime]]:
    with session.begin():
        query = sa.select(tables.StaleMark.vehicle_id, tables.StaleMark.from_time, tables.StaleMark.to_time)
        return [tuple(row) for row in session.execute(query)]


MAINTENANCE = "vehicle,start,end,planned,cause,note\nbus-2,2026-03-02T08:00,2026-03-02T12:00,no,vehicle,door\n"


def test_local_times_are_the_pilots(session: Session, tmp_path: Path) -> None:
    assert load(session, tmp_path, "maintenance", MAINTENANCE) == (1, 1)
    starts_at, ends_at = dt.datetime(2026, 3, 2, 11, tzinfo=dt.UTC), dt.datetime(2026, 3, 2, 15, tzinfo=dt.UTC)
    with session.begin():
        row = session.scalars(sa.select(tables.Maintenance)).one()
        assert (row.vehicle_id, row.starts_at, row.ends_at, row.planned) == (3, starts_at, ends_at, False)
    assert marks(session) == [(3, starts_at, ends_at)]


def test_the_same_file_again_changes_nothing(session: Session, tmp_path: Path) -> None:
    load(session, tmp_path, "maintenance", MAINTENANCE)
    assert load(session, tmp_path, "maintenance", MAINTENANCE) == (1, 0)
    assert len(marks(session)) == 1


def test_a_new_end_replaces_the_old_one_and_marks_both_spans(session: Session, tmp_path: Path) -> None:
    load(session, tmp_path, "maintenance", MAINTENANCE)
    assert load(session, tmp_path, "maintenance", MAINTENANCE.replace("T12:00", "T10:00")) == (1, 1)
    assert marks(session)[1][2] == dt.datetime(2026, 3, 2, 15, tzinfo=dt.UTC)


def test_a_file_with_a_fault_is_not_taken_at_all(session: Session, tmp_path: Path) -> None:
    text = MAINTENANCE + "bus-9,2026-03-02T08:00,,no,vehicle,\nbus-2,yesterday,,maybe,vehicle,\n"
    with pytest.raises(RegistryError) as caught:
        load(session, tmp_path, "maintenance", text)
    assert [str(fault) for fault in caught.value.faults] == [
        "maintenance.csv, line 3: vehicle: 'bus-9' is in no pilot",
        "maintenance.csv, line 4: start: 'yesterday' is not a time such as 2026-03-02T14:30",
    ]
    with session.begin():
        assert session.scalar(sa.select(sa.func.count()).select_from(tables.Maintenance)) == 0


def test_a_missing_column_is_named(session: Session, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="line 1: system: is missing from the header"):
        load(session, tmp_path, "roadcalls", "vehicle,time,note\n")


def test_a_name_of_two_pilots_needs_its_pilot(session: Session, tmp_path: Path) -> None:
    text = "vehicle,time,system,note\n{}bus-1,2026-03-02T08:00,propulsion,\n"
    with pytest.raises(RegistryError, match="several pilots"):
        load(session, tmp_path, "roadcalls", text.format(""))
    assert load(session, tmp_path, "roadcalls", text.format("pilot-2/")) == (1, 1)
    assert load(session, tmp_path, "roadcalls", text.format(""), pilot="pilot-1") == (1, 1)
    with session.begin():
        rows = session.execute(sa.select(tables.Roadcall.vehicle_id, tables.Roadcall.time)).all()
    assert {tuple(row) for row in rows} == {
        (2, dt.datetime(2026, 3, 2, 2, 30, tzinfo=dt.UTC)), (1, dt.datetime(2026, 3, 2, 11, tzinfo=dt.UTC)),
    }  # fmt: skip


def test_a_service_day_without_times_plans_nothing(session: Session, tmp_path: Path) -> None:
    text = "vehicle,date,start,end\nbus-2,2026-03-02,,\nbus-2,2026-03-03,06:00,20:00\n"
    assert load(session, tmp_path, "service-plan", text) == (2, 2)
    with session.begin():
        rows = session.execute(sa.select(tables.ServiceDay.day, tables.ServiceDay.starts_at)).all()
    assert {tuple(row) for row in rows} == {(dt.date(2026, 3, 2), None), (dt.date(2026, 3, 3), dt.time(6))}
    with pytest.raises(RegistryError, match="both given or both empty"):
        load(session, tmp_path, "service-plan", "vehicle,date,start,end\nbus-2,2026-03-02,06:00,\n")
