"""Own factors on a real database: imported, listed, used first, named, and taken away again."""

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from analytics.metrics.emissions import CONSERVATIVE, TAILPIPE_VS_GENERATION
from analytics.views import Reader
from pipelines.compute import Selection, compute_pilot
from pipelines.factors import FactorsReport, import_factors, remove_table
from pipelines.records import import_records
from pipelines.registry import import_programme
from schemas import tables
from schemas.addresses import Role
from schemas.database import engine
from schemas.errors import NotFoundError, RegistryError
from schemas.programme import Programme
from tests.conftest import TestDatabase

MONDAY = dt.date(2026, 1, 5)
MIDNIGHT = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
ANNUAL = """table,kind,boundary,gases,value,unit,year,edition,source,confidence
depot,grid,generation_direct,co2,0.10,kg/kWh,2025,letter 2026-01,the supplier,VERIFIED
"""
FUEL = """table,kind,fuel,pilot,boundary,gases,value,unit,year,edition,source,confidence
fuels,fuel,diesel,{pilot},tailpipe,co2,2.5,kg/L,2025,letter 2026-01,the supplier,VERIFIED
"""
HOURLY = "table,kind,boundary,gases,value,unit,hour,edition,source,confidence\n" + "".join(
    f"depot,grid,generation_direct,co2,{100 + hour},g/kWh,2026-01-05T{hour:02}:00Z,2026,operator,VERIFIED\n"
    for hour in range(24)
)


class World:
    """Two pilots of one truck each, of which the first declares its own electricity; both charged and drove."""

    def __init__(self, database: TestDatabase, folder: Path) -> None:
        self.owner, self.folder, self.jobs = engine(database.url()), folder, database.url("beachhead_jobs")
        self.web, self.reader = engine(database.url("beachhead_web")), Reader(database.url("beachhead_reader"))
        pilots = [self.pilot("port", "own:depot"), self.pilot("town", "ember:CHL")]
        with Session(self.owner) as session, session.begin():
            import_programme(session, Programme.model_validate({"pilots": pilots}), dt.date(2026, 2, 1))
        with self.owner.begin() as connection:
            connection.execute(sa.delete(tables.StaleMark))
            # 60 kWh at 30 kW from 10:00 to 12:00 UTC, then 36 km/h until 20:00.
            connection.execute(sa.text(
                "INSERT INTO telemetry (vehicle_id, time, speed_kmh, odometer_km, ignition_on, plugged_in,"
                " battery_power_kw) SELECT v.id, CAST(:start AS timestamptz) + n * interval '1 min',"
                " CASE WHEN n >= 720 AND n < 1200 THEN 36 ELSE 0 END,"
                " 0.6 * least(greatest(n - 720, 0), 480), n >= 720 AND n < 1200, n < 720,"
                " CASE WHEN n >= 600 AND n < 720 THEN 30 WHEN n >= 720 AND n < 1200 THEN -6 ELSE 0 END"
                " FROM vehicle v, generate_series(0, 1439) n"
            ), {"start": MIDNIGHT})  # fmt: skip

    @staticmethod
    def pilot(name: str, grid: str) -> dict[str, Any]:
        baseline = {"fuel": "diesel", "rate": 40, "unit": "L/100km", "source": "declared"}
        truck = {"id": f"{name}-1", "category": "truck", "powertrain": "bev", "usable_battery_kwh": 100,
                 "sample_period_s": 60, "baseline": baseline}  # fmt: skip
        return {"id": name, "name": name, "region": "CL", "grid": grid, "segment": "drayage", "starts_on": MONDAY,
                "time_zone": "UTC", "day_starts_at": "00:00", "vehicles": [truck]}  # fmt: skip

    def load(self, text: str, name: str = "factors.csv") -> FactorsReport:
        path = self.folder / name
        path.write_text(text)
        return self.load_file(path)

    def load_file(self, path: Path) -> FactorsReport:
        with Session(self.web) as session, session.begin():
            return import_factors(session, path)

    def compute(self, pilot: str, *, all_days: bool = False) -> dict[str, Any]:
        compute_pilot(self.jobs, pilot, Selection(stale_only=not all_days))
        with self.owner.connect() as connection:
            query = sa.select(tables.VehicleDay.figures).join(
                tables.Pilot, tables.Pilot.id == tables.VehicleDay.pilot_id
            )
            return dict(connection.execute(query.where(tables.Pilot.slug == pilot)).scalar_one())

    def stale(self) -> list[str]:
        with self.owner.connect() as connection:
            query = sa.select(tables.Vehicle.name).join(tables.StaleMark).distinct().order_by(tables.Vehicle.name)
            return list(connection.scalars(query))

    def close(self) -> None:
        self.owner.dispose()
        self.web.dispose()
        self.reader.close()


@pytest.fixture
def world(database: TestDatabase, tmp_path: Path) -> Iterator[World]:
    world = World(database, tmp_path)
    yield world
    world.close()


def test_before_it_is_imported_an_own_grid_has_no_factor_and_says_so(world: World) -> None:
    row = world.compute("port")[TAILPIPE_VS_GENERATION]
    assert (row["value"], row["note"]) == (None, "no factor is known for grid own:depot")


def test_an_own_factor_is_used_first_and_named(world: World) -> None:
    world.compute("port")
    assert world.load(ANNUAL) == FactorsReport(rows=1, factors_changed=1, hours_changed=0, vehicles=1)
    assert world.stale() == ["port-1"]
    figures = world.compute("port")
    drawn = figures["grid_energy_kwh"]["value"]
    # 288 km x 0.4 L/km = 115.2 L x 10.21 / 3.785411784 kg/L; the power integral in minutes ends in a ramp
    assert figures[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(
        115.2 * 10.21 / 3.785411784 - drawn * 0.1, abs=1e-6
    )
    assert "own:depot/generation_direct/co2/2025-01-01 (letter 2026-01)" in figures[TAILPIPE_VS_GENERATION]["note"]
    used = {row["id"]: row for row in world.reader.factors().iter_rows(named=True)}
    assert used["own:depot/generation_direct/co2/2025-01-01"]["source"] == "the supplier"
    assert world.stale() == []


def test_the_same_file_again_changes_nothing_and_a_new_value_replaces_the_old(world: World) -> None:
    world.load(ANNUAL)
    assert world.load(ANNUAL) == FactorsReport(1, 0, 0, 0)
    assert world.load(ANNUAL.replace("0.10", "0.30")) == FactorsReport(1, 1, 0, 1)
    figures = world.compute("port")
    drawn = figures["grid_energy_kwh"]["value"]
    assert figures[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(
        115.2 * 10.21 / 3.785411784 - drawn * 0.3, abs=1e-6
    )


def test_a_fuel_factor_is_one_pilots_or_everyones(world: World) -> None:
    world.load(ANNUAL)
    assert world.load(FUEL.format(pilot="port")).vehicles == 1
    assert world.stale() == ["port-1"]
    figures = world.compute("port")
    drawn = figures["grid_energy_kwh"]["value"]
    assert figures[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(115.2 * 2.5 - drawn * 0.1, abs=1e-6)
    assert "own:fuels" not in world.compute("town")[CONSERVATIVE]["note"]
    assert world.load(FUEL.format(pilot="").replace("fuels", "all")).vehicles == 2


def test_hours_are_matched_and_a_changed_hour_makes_days_stale(world: World) -> None:
    assert world.load(HOURLY) == FactorsReport(24, 1, 24, 1)
    assert world.load(HOURLY) == FactorsReport(24, 0, 0, 0)
    figures = world.compute("port")
    drawn = figures["grid_energy_kwh"]["value"]
    # 30 kWh at the battery in each of the hours 10 and 11: 110 and 111 g/kWh, mean 110.5
    expected = 115.2 * 10.21 / 3.785411784 - drawn * 0.1105
    assert figures[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(expected, rel=1e-4)
    assert figures["hourly_filled_pct"]["value"] == 0.0
    assert world.load(HOURLY.replace("co2,110,", "co2,510,")) == FactorsReport(24, 0, 1, 1)
    assert world.compute("port")[TAILPIPE_VS_GENERATION]["value"] == pytest.approx(expected - drawn * 0.2, rel=1e-3)
    listed = {row["id"]: row for row in world.reader.factors().iter_rows(named=True)}
    head = listed["own:depot/generation_direct/co2/hourly"]
    assert (head["edition"], head["value"]) == ("2026, mean of its hours of 24 hours", pytest.approx(111.5 + 400 / 24))


def test_a_table_is_annual_or_hourly_not_both(world: World) -> None:
    world.load(ANNUAL)
    with pytest.raises(RegistryError, match="own:depot would be annual and hourly at the boundary generation_direct"):
        world.load(HOURLY)


def test_two_tables_cannot_say_the_same(world: World) -> None:
    world.load(FUEL.format(pilot="port"))
    with pytest.raises(RegistryError, match="says what own:fuels/diesel/port/tailpipe/co2/2025-01-01 says already"):
        world.load(FUEL.format(pilot="port").replace("fuels", "more"))


def test_a_file_with_a_fault_is_not_taken_at_all(world: World) -> None:
    with pytest.raises(RegistryError) as caught:
        world.load(ANNUAL + ANNUAL.splitlines()[1].replace("VERIFIED", "RECALLED").replace("depot", "rumour") + "\n")
    assert str(caught.value) == (
        "factors.csv, line 3: confidence: a value that is only recalled is never used: see it in its source first"
    )
    with world.owner.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.OwnFactor)) == 0


def test_parquet_says_the_same_as_csv(world: World) -> None:
    cells = pl.read_csv(HOURLY.encode(), try_parse_dates=True)
    assert cells["hour"].dtype == pl.Datetime("us", "UTC")
    path = world.folder / "hours.parquet"
    cells.write_parquet(path)
    assert world.load_file(path) == FactorsReport(24, 1, 24, 1)
    assert world.load(HOURLY) == FactorsReport(24, 0, 0, 0)


@pytest.mark.parametrize("name", ["broken.parquet", "broken.csv"])
def test_what_is_no_table_is_told(world: World, name: str) -> None:
    with pytest.raises(RegistryError, match=f"{name}: file: cannot be read"):
        world.load("" if name.endswith("csv") else "no parquet", name)


def test_a_table_is_taken_away(world: World) -> None:
    world.load(HOURLY)
    with Session(world.web) as session, session.begin():
        assert remove_table(session, "depot") == 1
    assert world.stale() == ["port-1"]
    assert world.compute("port")[TAILPIPE_VS_GENERATION]["note"] == "no factor is known for grid own:depot"
    with Session(world.web) as session, pytest.raises(NotFoundError):
        remove_table(session, "depot")


def test_the_command(world: World, database: TestDatabase) -> None:
    addresses = {"BEACHHEAD_WEB_URL": database.url(Role.WEB), "BEACHHEAD_JOBS_URL": database.url(Role.JOBS)}
    beachhead = Path(sys.executable).with_name("beachhead")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [beachhead, "factors", *arguments], capture_output=True, text=True, env=os.environ | addresses, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    path = world.folder / "factors.csv"
    path.write_text(ANNUAL)
    assert "1 rows read, 1 factors and 0 hours new or changed" in run("import", str(path))
    assert [row["id"] for row in json.loads(run("list", "--own", "--json"))] == [
        "own:depot/generation_direct/co2/2025-01-01"
    ]
    assert len(json.loads(run("list", "--kind", "grid", "--json"))) > 300
    shown = json.loads(run("show", "own:depot", "--json"))
    assert [(row["boundary"], row["value"]) for row in shown] == [("generation_direct", 0.1), ("life_cycle", None)]
    assert shown[1]["source"] == "no life-cycle factor is known for the area of own:depot"
    diesel = json.loads(run("show", "diesel", "--region", "NL", "--day", "2026-01-05", "--json"))
    assert [row["id"] for row in diesel] == ["epa-hub-co2/diesel", "red2-diesel/diesel"]
    assert "1 factors removed" in run("remove", "depot")


def test_records_are_kept_by_the_same_role(world: World) -> None:
    """It writes marks that it may not read."""
    path = world.folder / "maintenance.csv"
    path.write_text("vehicle,start,end,planned,cause,note\nport-1,2026-01-05T08:00,2026-01-05T09:00,no,vehicle,door\n")
    with Session(world.web) as session, session.begin():
        assert import_records(session, "maintenance", path).changed == 1
    assert world.stale() == ["port-1"]
