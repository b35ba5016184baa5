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


# --- chargers and fuel ----------------------------------------------------------------------------


@pytest.fixture
def chargers(session: Session) -> Session:
    """`ch-1` at the depot of bus-2, in Santiago; `ch-1` at a hub whose vehicles, of two pilots, tell two zones."""
    with session.begin():
        for number, site in ((1, "depot"), (2, "hub")):
            session.add(tables.Site(id=number, slug=site, name=site))
            session.flush()
            session.add(tables.Charger(id=number, site_id=number, slug="ch-1"))
        for vehicle_id, site_id in ((1, 2), (2, 2), (3, 1)):
            session.get_one(tables.Vehicle, vehicle_id).site_id = site_id
    return session


METER = "site,charger,start,end,grid_kwh,vehicle\ndepot,ch-1,2026-03-02T20:00,2026-03-03T02:00,152.5,{}\n"
OUTAGES = "site,charger,start,end,excluded,cause,note\ndepot,ch-1,2026-03-02T08:00,{},{},grid,\n"


def test_what_a_meter_counted_is_kept_once(chargers: Session, tmp_path: Path) -> None:
    assert load(chargers, tmp_path, "meter", METER.format("bus-2")) == (1, 1)
    assert load(chargers, tmp_path, "meter", METER.format("bus-2")) == (1, 0)
    with chargers.begin():
        row = chargers.scalars(sa.select(tables.MeterSession)).one()
        assert (row.charger_id, row.grid_kwh, row.vehicle_id) == (1, 152.5, 3)
        assert row.starts_at == dt.datetime(2026, 3, 2, 23, tzinfo=dt.UTC)  # 20:00 in Santiago
        assert row.ends_at == dt.datetime(2026, 3, 3, 5, tzinfo=dt.UTC)
    assert marks(chargers) == [(3, row.starts_at, row.ends_at)]


def test_a_meter_need_not_name_a_vehicle(chargers: Session, tmp_path: Path) -> None:
    assert load(chargers, tmp_path, "meter", METER.replace(",vehicle", "").replace(",{}", "")) == (1, 1)
    assert marks(chargers) == []


def test_a_vehicle_that_is_named_later_is_marked_and_so_is_the_one_named_before(
    chargers: Session, tmp_path: Path
) -> None:
    for name in ("", "bus-2", "pilot-1/bus-1"):
        assert load(chargers, tmp_path, "meter", METER.format(name)) == (1, 1)
    assert [vehicle_id for vehicle_id, _, _ in marks(chargers)] == [3, 1, 3]


@pytest.mark.parametrize(
    ("kind", "text", "fault"),
    [
        ("meter", METER.format("").replace("depot", "harbor"), "line 2: site: 'harbor' is no site with chargers"),
        ("meter", METER.format("").replace("ch-1", "ch-9"), "line 2: charger: 'depot' has no charger 'ch-9'"),
        ("meter", METER.format("").replace("152.5", "-1"), "line 2: grid_kwh: -1 is not above zero"),
        ("meter", METER.format("").replace("152.5", "much"), "line 2: grid_kwh: 'much' is not a number"),
        ("meter", METER.format("").replace("152.5", "inf"), "line 2: grid_kwh: inf is not above zero"),
        ("meter", METER.format("bus-9"), "line 2: vehicle: 'bus-9' is in no pilot"),
        ("meter", METER.format("").replace("2026-03-03T02:00", ""), "line 2: end: '' is not a time"),
        ("meter", METER.format("").replace("depot", "hub"), "line 2: start: '2026-03-02T20:00' needs its offset"),
        ("outages", OUTAGES.format("2026-03-02T07:00", "no"), "line 2: end: ends before it starts"),
        ("outages", OUTAGES.format("", "perhaps"), "line 2: excluded: 'perhaps' is neither yes nor no"),
        ("fuel", "vehicle,time,fuel,amount,unit\nbus-2,2026-03-02T08:00,hydrogen,30,L\n",
         "line 2: unit: 'L' is none of kg"),
        ("fuel", "vehicle,time,fuel,amount,unit\nbus-2,2026-03-02T08:00,coal,30,kg\n",
         "line 2: fuel: 'coal' is none of hydrogen"),
    ],
)  # fmt: skip
def test_faults_name_row_field_and_reason(chargers: Session, tmp_path: Path, kind: str, text: str, fault: str) -> None:
    with pytest.raises(RegistryError) as caught:
        load(chargers, tmp_path, kind, text)
    (told,) = caught.value.faults
    assert str(told).startswith(f"{kind}.csv, {fault}")


def test_a_time_with_its_offset_needs_no_zone(chargers: Session, tmp_path: Path) -> None:
    text = METER.format("").replace("depot", "hub").replace("T20:00", "T20:00Z").replace("T02:00", "T02:00Z")
    assert load(chargers, tmp_path, "meter", text) == (1, 1)


def test_outages_last_until_their_end_is_told(chargers: Session, tmp_path: Path) -> None:
    assert load(chargers, tmp_path, "outages", OUTAGES.format("", "no")) == (1, 1)
    assert load(chargers, tmp_path, "outages", OUTAGES.format("", "no")) == (1, 0)
    assert load(chargers, tmp_path, "outages", OUTAGES.format("2026-03-02T09:30", "yes")) == (1, 1)
    with chargers.begin():
        row = chargers.scalars(sa.select(tables.ChargerOutage)).one()
        assert (row.ends_at, row.excluded, row.cause) == (
            dt.datetime(2026, 3, 2, 12, 30, tzinfo=dt.UTC), True, "grid",
        )  # fmt: skip


def test_fuel_is_kept_as_told_and_by_mass_or_volume(chargers: Session, tmp_path: Path) -> None:
    text = (
        "vehicle,time,fuel,amount,unit\nbus-2,2026-03-02T08:00,hydrogen,31.5,kg\n"
        "bus-2,2026-03-02T08:00,diesel,10,US gal\nbus-2,2026-03-02T09:00,cng,100,lb\n"
    )
    assert load(chargers, tmp_path, "fuel", text) == (3, 3)
    assert load(chargers, tmp_path, "fuel", text) == (3, 0)
    with chargers.begin():
        rows = {row.fuel: row for row in chargers.scalars(sa.select(tables.FuelDispensed))}
        assert (rows["hydrogen"].mass_kg, rows["hydrogen"].volume_l) == (31.5, None)
        assert rows["diesel"].volume_l == pytest.approx(37.85411784)  # 10 x 3.785411784
        assert rows["cng"].mass_kg == pytest.approx(45.359237)  # 100 x 0.45359237
        assert (rows["diesel"].amount, rows["diesel"].unit) == (10, "US gal")
