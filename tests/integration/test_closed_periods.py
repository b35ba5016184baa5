"""Closing of months: figures and factors stay; what comes later is a revision that says so."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from test_compute import MONDAY, Fleet, at, fleet, programme

from analytics.periods import period_rows
from analytics.views import Reader
from pipelines import periods, store
from pipelines.compute import Selection
from pipelines.factors import import_factors
from schemas import tables
from schemas.database import engine
from schemas.errors import PeriodError
from schemas.wire import PeriodRow
from tests.conftest import TestDatabase

__all__ = ["fleet"]
MONTH = dt.date(2026, 1, 1)
FEBRUARY = dt.datetime(2026, 2, 2, 12, tzinfo=dt.UTC)
CSV = """table,kind,boundary,gases,value,unit,year,edition,source,confidence,area
depot,grid,life_cycle,co2e,{value},g/kWh,{year},{edition},meter of the supplier,VERIFIED,
"""


def close(fleet: Fleet, by: str = "Ana") -> periods.Closing:
    database = engine(fleet.url)
    try:
        with database.connect() as connection, connection.begin():
            return periods.close(connection, store.pilot_facts(connection, "city"), MONTH, by, None)
    finally:
        database.dispose()


def rows(database: TestDatabase) -> list[PeriodRow]:
    reader = Reader(database.url("beachhead_reader"))
    found = period_rows(reader, reader.pilot("city"))
    reader.close()
    return found


@pytest.fixture
def january(fleet: Fleet) -> Fleet:
    """A bus that drove in January and in February, on a grid of the pilot's own factor."""
    content = programme(vehicles=("bus-1",))
    content["pilots"][0]["grid"] = "own:depot"
    fleet.declare(content)
    fleet.drive("bus-1", at(5, 8))
    fleet.drive("bus-1", FEBRUARY, odometer_km=100)
    return fleet


def charge(fleet: Fleet, name: str, start: dt.datetime) -> None:
    """An hour at the plug, with 30 kW in the middle of it."""
    with fleet.owner.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO telemetry (vehicle_id, time, speed_kmh, ignition_on, plugged_in, battery_power_kw)"
                " SELECT :vehicle, CAST(:first AS timestamptz) + n * interval '5 s', 0, false, n BETWEEN 1 AND 719,"
                " CASE WHEN n BETWEEN 120 AND 600 THEN 30 ELSE 0 END FROM generate_series(0, 720) n"
            ),
            {"vehicle": fleet.id_of(name), "first": start.isoformat()},
        )
    fleet.mark(name, start, start + dt.timedelta(hours=1))


def factor(fleet: Fleet, tmp_path: Path, value: float, year: int, edition: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(CSV.format(value=value, year=year, edition=edition))
    with Session(fleet.owner) as session, session.begin():
        import_factors(session, path)


def test_a_month_is_closed_once(january: Fleet, database: TestDatabase) -> None:
    with pytest.raises(PeriodError, match="nothing is computed"):
        close(january)
    january.compute()
    done = close(january)
    assert (done.revision, done.closed_by) == (1, "Ana")
    with pytest.raises(PeriodError, match="closed already"):
        close(january)
    (row,) = rows(database)
    assert (row.month, row.from_, row.to, row.days) == ("2026-01", MONTH, dt.date(2026, 1, 31), 27)
    assert row.metrics["distance_km"].value == pytest.approx(36)
    assert (row.input_rows, row.changed, len(row.factors_sha256)) == (721, [], 64)
    assert row.code_version.startswith("0.1.0+")


def test_what_is_not_computed_is_not_closed(january: Fleet) -> None:
    january.compute()
    january.mark("bus-1", at(5, 8), at(5, 9))
    with pytest.raises(PeriodError, match="not computed yet"):
        close(january)


def test_a_month_that_is_not_over_is_not_closed(fleet: Fleet) -> None:
    fleet.declare(programme(vehicles=("bus-1",)))
    fleet.drive("bus-1", at(5, 8))
    fleet.compute()
    with pytest.raises(PeriodError, match="not over"):
        close(fleet)


def test_late_data_make_a_revision_that_says_so(january: Fleet, database: TestDatabase) -> None:
    january.compute()
    close(january)
    january.drive("bus-1", at(6, 8), odometer_km=36)
    january.compute()
    newest, first = rows(database)
    assert (newest.revision, newest.closed_by, newest.note) == (2, "beachhead compute", "after closing: upload")
    distance = next(change for change in newest.changed if change.metric == "distance_km")
    assert (distance.before, distance.after) == (pytest.approx(36), pytest.approx(72))
    assert first.metrics["distance_km"].value == pytest.approx(36)
    assert january.compute(selection=Selection(stale_only=False)).changed == 0
    assert len(rows(database)) == 2, "computed again with the same result, nothing is restated"


def test_late_data_of_an_open_month_restate_nothing(january: Fleet, database: TestDatabase) -> None:
    january.compute()
    close(january)
    january.drive("bus-1", FEBRUARY + dt.timedelta(days=1), odometer_km=200)
    january.compute()
    assert len(rows(database)) == 1


def test_a_new_edition_restates_nothing_closed(january: Fleet, database: TestDatabase, tmp_path: Path) -> None:
    for start in (at(5, 18), FEBRUARY + dt.timedelta(hours=6)):
        charge(january, "bus-1", start)
    factor(january, tmp_path, 100.0, 2025, "old")
    january.compute()
    close(january)
    used = january.days()["bus-1", MONDAY].factors
    assert any("depot" in factor for factor in used)
    factor(january, tmp_path, 500.0, 2026, "new")
    january.compute(selection=Selection(stale_only=False))
    assert january.days()["bus-1", MONDAY].factors == used
    assert len(rows(database)) == 1
    after = january.days()["bus-1", dt.date(2026, 2, 2)].factors
    assert after != used, "an open month takes the new edition"


def test_nobody_changes_what_is_closed(january: Fleet, database: TestDatabase) -> None:
    january.compute()
    close(january)
    for role in ("beachhead_jobs", "beachhead_web", "beachhead_ingest", "beachhead_reader"):
        for statement in ("UPDATE report_period SET closed_by = 'x'", "DELETE FROM report_period",
                          "UPDATE pinned_factors SET sha256 = 'x'"):  # fmt: skip
            with database.connect(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
    assert len(january.rows(tables.ReportPeriod)) == 1
