"""Records of meters through the job: named ones, unnamed ones whose vehicle is found, and those in doubt."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from test_compute import MONDAY, Fleet, at, programme, value, vehicle

from pipelines.records import import_records
from pipelines.store import stale_pilots
from schemas import tables
from tests.conftest import TestDatabase

TUESDAY = MONDAY + dt.timedelta(days=1)
SITE = {"id": "yard", "name": "Yard", "chargers": [{"id": "ch-1"}, {"id": "ch-2"}]}


class Depot(Fleet):
    """Two buses of one depot with two chargers."""

    def charge(self, name: str, start: dt.datetime, hours: float, kw: float = 30.0) -> None:
        """At the plug from an hour before to an hour after; charging at so many kW, a row a minute."""
        count = int((hours + 2) * 60) + 1
        with self.owner.begin() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO telemetry (vehicle_id, time, speed_kmh, ignition_on, plugged_in, battery_power_kw)"
                    " SELECT :vehicle, CAST(:first AS timestamptz) + n * interval '1 min', 0, false,"
                    " n > 0 AND n < :count, CASE WHEN n BETWEEN 60 AND :count - 60 THEN :kw ELSE 0 END"
                    " FROM generate_series(0, :count) n"
                ),
                {"vehicle": self.id_of(name), "first": (start - dt.timedelta(hours=1)).isoformat(), "count": count,
                 "kw": kw},
            )  # fmt: skip
        self.mark(name, start - dt.timedelta(hours=1), start + dt.timedelta(hours=hours + 1))

    def meter(self, tmp_path: Path, *rows: str) -> None:
        path = tmp_path / "meter.csv"
        path.write_text("\n".join(("site,charger,start,end,grid_kwh,vehicle", *rows)) + "\n")
        with Session(self.owner) as session, session.begin():
            import_records(session, "meter", path)

    def grid(self, name: str, day: dt.date = MONDAY) -> tuple[float | None, str]:
        figure = self.days()[name, day].figures["grid_energy_kwh"]
        return figure["value"], figure["method"]

    def matches(self) -> list[int | None]:
        with self.owner.connect() as connection:
            return list(
                connection.scalars(sa.select(tables.MeterMatch.vehicle_id).order_by(tables.MeterMatch.meter_id))
            )


@pytest.fixture
def depot(database: TestDatabase) -> Iterator[Depot]:
    made = Depot(database)
    content: dict[str, Any] = programme() | {"sites": [SITE]}
    content["pilots"][0]["vehicles"] = [vehicle(name, site="yard", sample_period_s=60) for name in ("bus-1", "bus-2")]
    made.declare(content)
    yield made
    made.owner.dispose()


def local(time: dt.datetime) -> str:
    return (time - dt.timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M")


def line(start: dt.datetime, end: dt.datetime, kwh: float, charger: str = "ch-1", vehicle: str = "") -> str:
    return f"yard,{charger},{local(start)},{local(end)},{kwh},{vehicle}"


def test_a_named_session_over_the_cut_is_measured_on_both_days(depot: Depot, tmp_path: Path) -> None:
    depot.charge("bus-1", at(5, 22), 8.0)  # to 06:00 on Tuesday; the cut is at 03:00
    depot.compute()
    assert depot.grid("bus-1")[1] == "estimated"
    before = depot.days()["bus-1", MONDAY].input_hash
    depot.meter(tmp_path, line(at(5, 21), at(6, 7), 264.0, vehicle="bus-1"))
    assert depot.compute().changed >= 1
    assert depot.days()["bus-1", MONDAY].input_hash != before, "a record is an input too"
    monday, tuesday = depot.grid("bus-1"), depot.grid("bus-1", TUESDAY)
    assert monday[0] + tuesday[0] == pytest.approx(264.0, abs=1e-9)
    assert monday[0] == pytest.approx(264 * 5 / 8, rel=5e-3)
    assert (monday[1], tuesday[1]) == ("measured", "measured")
    session = depot.rows(tables.ChargeSession)[0]
    assert (session.grid_energy_kwh, session.grid_method) == (pytest.approx(264.0), "measured")
    assert depot.compute().changed == 0


def test_an_unnamed_session_is_the_only_buss_that_charged_then(depot: Depot, tmp_path: Path) -> None:
    depot.charge("bus-1", at(5, 18), 2.0)
    depot.charge("bus-2", at(5, 10), 2.0)
    depot.compute()
    depot.meter(tmp_path, line(at(5, 17), at(5, 21), 66.0))
    with depot.owner.connect() as connection:
        assert stale_pilots(connection) == ["city"]
    depot.compute()
    assert depot.grid("bus-1") == (pytest.approx(66.0), "measured")
    assert depot.grid("bus-2")[1] == "estimated"
    assert depot.matches() == [depot.id_of("bus-1")]
    with depot.owner.connect() as connection:
        assert stale_pilots(connection) == []


def test_records_that_come_first_are_matched_in_the_same_run(depot: Depot, tmp_path: Path) -> None:
    depot.meter(tmp_path, line(at(5, 17), at(5, 21), 66.0))
    depot.charge("bus-1", at(5, 18), 2.0)
    depot.compute()
    assert depot.grid("bus-1") == (pytest.approx(66.0), "measured")
    assert depot.marks() == 0


def test_in_doubt_it_is_nobodys_and_a_name_settles_it(depot: Depot, tmp_path: Path) -> None:
    for name in ("bus-1", "bus-2"):
        depot.charge(name, at(5, 18), 2.0)
    record = line(at(5, 17), at(5, 21), 66.0)
    depot.meter(tmp_path, record)
    depot.compute()
    assert depot.matches() == [None]
    assert depot.grid("bus-1")[1] == "estimated"
    depot.meter(tmp_path, record + "bus-2")
    depot.compute()
    assert depot.grid("bus-2") == (pytest.approx(66.0), "measured")
    assert depot.grid("bus-1")[1] == "estimated"
    assert depot.matches() == []


def test_a_second_charger_leaves_a_found_session_in_doubt(depot: Depot, tmp_path: Path) -> None:
    depot.charge("bus-1", at(5, 18), 2.0)
    depot.meter(tmp_path, line(at(5, 17), at(5, 21), 66.0))
    depot.compute()
    assert depot.matches() == [depot.id_of("bus-1")]
    depot.meter(tmp_path, line(at(5, 17), at(5, 21), 66.0, charger="ch-2"))
    depot.compute()
    assert depot.matches() == [None, None]
    assert depot.grid("bus-1")[1] == "estimated"


def test_a_corrected_record_is_looked_at_again(depot: Depot, tmp_path: Path) -> None:
    depot.charge("bus-1", at(5, 18), 2.0)
    depot.meter(tmp_path, line(at(5, 17), at(5, 21), 66.0))
    depot.compute()
    depot.meter(tmp_path, line(at(5, 17), at(5, 21), 64.0))
    depot.compute()
    assert depot.grid("bus-1") == (pytest.approx(64.0), "measured")
    assert value(depot.days()["bus-1", MONDAY], "energy_charged_kwh") == pytest.approx(60, rel=0.02)


def test_dispensed_fuel_is_a_figure_of_its_day(depot: Depot, tmp_path: Path) -> None:
    depot.drive("bus-1", at(5, 8))
    path = tmp_path / "fuel.csv"
    path.write_text("vehicle,time,fuel,amount,unit\nbus-1,2026-01-05T20:00,hydrogen,12.5,kg\n")
    depot.compute()
    with Session(depot.owner) as session, session.begin():
        import_records(session, "fuel", path)
    depot.compute()
    day = depot.days()["bus-1", MONDAY]
    assert value(day, "hydrogen_dispensed_kg") == 12.5
    assert "hydrogen_used_kg" not in day.figures, "what is filled is not what is used"
