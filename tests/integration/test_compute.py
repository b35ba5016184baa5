"""The job on a real database: run twice is run once, late rows recompute their days, silence is unknown."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from analytics.metrics import Padding
from ingest.arrays import copy_in
from pipelines import store
from pipelines.compute import Computed, Selection, compute_pilot
from pipelines.registry import import_programme
from pipelines.store import stale_pilots
from schemas import tables
from schemas.database import engine, psycopg_transaction
from schemas.errors import NotFoundError
from schemas.frames import TELEMETRY_SCHEMA
from schemas.programme import Programme
from tests.conftest import TestDatabase

MONDAY = dt.date(2026, 1, 5)
TODAY = dt.date(2026, 2, 1)


def programme(*, vehicles: tuple[str, ...] = ("bus-1", "bus-2"), pilot: str = "city") -> dict[str, Any]:
    return {
        "pilots": [
            {
                "id": pilot, "name": "City", "region": "CL", "grid": "ember:CHL", "segment": "transit-bus",
                "starts_on": MONDAY, "time_zone": "America/Santiago",
                "service_plan": {"weekdays": ["mon", "tue", "wed", "thu", "fri"], "hours": "06:00-20:00"},
                "vehicles": [vehicle(name) for name in vehicles],
            }
        ]
    }  # fmt: skip


def vehicle(name: str, **more: Any) -> dict[str, Any]:
    baseline = {"fuel": "diesel", "rate": 47, "unit": "L/100km", "source": "declared"}
    return {"id": name, "category": "bus", "powertrain": "bev", "usable_battery_kwh": 275, "sample_period_s": 5,
            "sleeps_at_key_off": True, "baseline": baseline, "aliases": {"vin": f"VIN{name}"}} | more  # fmt: skip


class Fleet:
    """A database with a registry, and an easy way to put driving into it."""

    def __init__(self, database: TestDatabase) -> None:
        self.owner = engine(database.url())
        self.url = database.url("beachhead_jobs")

    def declare(self, content: dict[str, Any]) -> None:
        with Session(self.owner) as session, session.begin():
            import_programme(session, Programme.model_validate(content), TODAY)

    def drive(self, name: str, start: dt.datetime, hours: float = 1.0, odometer_km: float = 0.0) -> None:
        """36 km/h and 36 kW for some hours, every 5 s: 36 km and 36 kWh an hour; with the mark an upload leaves."""
        count, first = int(hours * 720) + 1, start.isoformat()
        with self.owner.begin() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO telemetry (vehicle_id, time, speed_kmh, odometer_km, ignition_on, plugged_in,"
                    " battery_power_kw) SELECT :vehicle, CAST(:first AS timestamptz) + n * interval '5 s', 36,"
                    " :odometer + n / 20.0, true, false, -36 FROM generate_series(0, :count - 1) n"
                ),
                {"vehicle": self.id_of(name), "first": first, "odometer": odometer_km, "count": count},
            )
        self.mark(name, start, start + dt.timedelta(seconds=5 * (count - 1)))

    def put(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Rows in order of time, as they are; with the mark an upload leaves."""
        columns = {column: TELEMETRY_SCHEMA[column] for row in rows for column in row}
        frame = pl.DataFrame(rows, columns).select(pl.lit(self.id_of(name), pl.Int32).alias("vehicle_id"), *columns)
        with psycopg_transaction(self.owner) as owner:
            copy_in(owner, "telemetry", frame)
        self.mark(name, rows[0]["time"], rows[-1]["time"])

    def mark(self, name: str, start: dt.datetime, end: dt.datetime) -> None:
        with self.owner.begin() as connection:
            connection.execute(
                sa.insert(tables.StaleMark).values(
                    vehicle_id=self.id_of(name), from_time=start, to_time=end, cause="upload"
                )
            )

    def id_of(self, name: str) -> int:
        with self.owner.connect() as connection:
            return connection.execute(sa.select(tables.Vehicle.id).filter_by(name=name)).scalar_one()

    def compute(self, pilot: str = "city", selection: Selection | None = None) -> Computed:
        return compute_pilot(self.url, pilot, selection)

    def days(self) -> dict[tuple[str, dt.date], sa.Row[Any]]:
        query = sa.select(tables.Vehicle.name, tables.VehicleDay.__table__).join(
            tables.Vehicle, tables.Vehicle.id == tables.VehicleDay.vehicle_id
        )
        with self.owner.connect() as connection:
            return {(row.name, row.day): row for row in connection.execute(query)}

    def rows(self, table: type[tables.Base]) -> list[sa.Row[Any]]:
        """Everything in a table, by its key."""
        with self.owner.connect() as connection:
            return list(connection.execute(sa.select(table.__table__).order_by(*table.__table__.primary_key)))

    def pilot_days(self) -> dict[tuple[int, dt.date], sa.Row[Any]]:
        with self.owner.connect() as connection:
            rows = connection.execute(sa.select(tables.PilotDay.__table__))
            return {(row.pilot_id, row.day): row for row in rows}

    def marks(self) -> int:
        with self.owner.connect() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(tables.StaleMark)).scalar_one()


@pytest.fixture
def fleet(database: TestDatabase) -> Iterator[Fleet]:
    made = Fleet(database)
    yield made
    made.owner.dispose()


def at(day: int, hour: int, minute: int = 0) -> dt.datetime:
    """A January 2026 time in Santiago (UTC-3), as UTC."""
    return dt.datetime(2026, 1, day, tzinfo=dt.UTC) + dt.timedelta(hours=hour + 3, minutes=minute)


def value(row: sa.Row[Any], metric: str) -> float | None:
    figure = row.figures[metric]
    found: float | None = figure["value"]
    return found


def same_to_rounding(told: object) -> object:
    return pytest.approx(told, rel=1e-9, abs=1e-9) if isinstance(told, float) else told


def test_a_day_of_driving_becomes_figures(fleet: Fleet) -> None:
    fleet.declare(programme())
    fleet.drive("bus-1", at(5, 8))
    done = fleet.compute()
    assert done.changed == done.vehicle_days == 2  # bus-2 was planned and silent
    row = fleet.days()[("bus-1", MONDAY)]
    assert value(row, "distance_km") == pytest.approx(36, rel=1e-9)
    assert value(row, "energy_used_kwh") == pytest.approx(36, rel=1e-9)
    assert value(row, "energy_per_km_kwh") == pytest.approx(1, rel=1e-9)
    assert (row.starts_at, row.ends_at) == (at(5, 3), at(6, 3))
    assert (row.input_rows, row.data_until) == (721, at(5, 9))
    assert row.code_version.startswith("0.1.0+")
    assert fleet.marks() == 0


def test_what_stands_behind_a_day_is_stored_with_it(fleet: Fleet) -> None:
    """Two readings of 2,900 kW cannot be true; odometer and speed tell the same 36 km."""
    fleet.declare(programme(vehicles=("bus-1",)))
    fleet.drive("bus-1", at(5, 8))
    with fleet.owner.begin() as connection:
        flawed = sa.text("UPDATE telemetry SET battery_power_kw = 2900 WHERE time IN (:one, :other)")
        connection.execute(flawed, {"one": at(5, 8, 10), "other": at(5, 8, 20)})
    fleet.compute()
    row = fleet.days()[("bus-1", MONDAY)]
    assert value(row, "energy_used_kwh") == pytest.approx(36, rel=1e-9)
    assert row.set_aside == [
        {"signal": "battery_power_kw", "reason": "out of limits", "samples": 2, "left_out": True}
    ]  # fmt: skip
    told = {(entry["metric"], entry["method"]): entry["value"] for entry in row.methods}
    assert told[("distance_km", "odometer")] == pytest.approx(36)
    assert told[("distance_km", "speed")] == pytest.approx(36)
    (agreement,) = row.agreements
    assert (agreement["check"], agreement["agrees"]) == ("odometer_over_speed", True)
    (total,) = fleet.pilot_days().values()
    assert (total.input_rows, len(total.input_hash)) == (row.input_rows, 64)
    query = "SELECT signal, reason, samples FROM reading.vehicle_day_set_aside"
    with fleet.owner.connect() as connection:
        assert connection.execute(sa.text(query)).all() == [("battery_power_kw", "out of limits", 2)]


def test_a_counter_that_rolls_over_counts_on_from_when_that_is_declared(fleet: Fleet) -> None:
    """The odometer falls from 1,018 to 0 km half way; declared late, the day is computed anew."""
    fleet.declare(programme(vehicles=("bus-1",)))
    fleet.drive("bus-1", at(5, 8), 0.5, odometer_km=1000.0)
    fleet.drive("bus-1", at(5, 8, 31), 0.5, odometer_km=0.0)
    fleet.compute()
    assert value(fleet.days()[("bus-1", MONDAY)], "distance_km") == pytest.approx(36, abs=0.1)
    declared = programme(vehicles=())
    declared["pilots"][0]["vehicles"] = [vehicle("bus-1", roll_over={"odometer_km": 1020})]
    fleet.declare(declared)
    assert fleet.compute().changed > 0
    assert value(fleet.days()[("bus-1", MONDAY)], "distance_km") == pytest.approx(18 + 2 + 18)


def test_running_it_twice_changes_nothing(fleet: Fleet) -> None:
    fleet.declare(programme())
    fleet.drive("bus-1", at(5, 8))
    fleet.compute()
    before, totals = fleet.days(), fleet.pilot_days()
    again = fleet.compute()
    assert (again.vehicle_days, again.changed, again.pilot_days_changed) == (0, 0, 0)
    forced = fleet.compute(selection=Selection(stale_only=False))
    assert (forced.vehicle_days, forced.changed, forced.pilot_days_changed) == (2, 0, 0)
    assert fleet.days() == before
    assert fleet.pilot_days() == totals


def test_late_rows_recompute_exactly_their_day(fleet: Fleet) -> None:
    fleet.declare(programme(vehicles=("bus-1",)))
    for day in (5, 6, 7):
        fleet.drive("bus-1", at(day, 4), 22, odometer_km=1000 * day)  # awake over every cut but the pauses
    fleet.compute()
    before = fleet.days()
    with fleet.owner.begin() as connection:
        connection.execute(sa.delete(tables.telemetry).where(tables.telemetry.c.time.between(at(6, 12), at(6, 13))))
    fleet.mark("bus-1", at(6, 12), at(6, 13))
    assert fleet.compute().changed == 1
    after = fleet.days()
    assert [key for key in after if after[key] != before[key]] == [("bus-1", dt.date(2026, 1, 6))]


def test_rows_after_a_night_asleep_also_recompute_the_day_before(fleet: Fleet) -> None:
    """What the night was is known only when the vehicle is heard of again."""
    fleet.declare(programme(vehicles=("bus-1",)))
    fleet.drive("bus-1", at(5, 8))
    fleet.compute()
    assert value(fleet.days()[("bus-1", MONDAY)], "parked_h") == pytest.approx(0, abs=1e-6)
    fleet.drive("bus-1", at(6, 8), odometer_km=36)
    assert fleet.compute().vehicle_days == 2
    row = fleet.days()[("bus-1", MONDAY)]
    assert value(row, "parked_h") == pytest.approx(18, abs=0.01)  # 09:00 to the cut at 03:00


def test_a_vehicle_silent_for_a_week_is_unknown_not_absent(fleet: Fleet) -> None:
    fleet.declare(programme())
    for day in (5, 6, 7, 8, 9):
        fleet.drive("bus-1", at(day, 8), odometer_km=36 * day)
    fleet.compute()
    silent = [row for (name, _), row in fleet.days().items() if name == "bus-2"]
    assert len(silent) == 5
    assert all(value(row, "distance_km") is None and value(row, "unknown_h") == pytest.approx(24) for row in silent)
    total = fleet.pilot_days()[(1, MONDAY)]
    assert total.figures["availability_pct"]["value"] == 100
    assert (total.figures["availability_pct"]["low"], total.figures["availability_pct"]["high"]) == (50, 100)


def test_an_unplanned_day_without_any_row_has_no_results(fleet: Fleet) -> None:
    fleet.declare(programme())
    fleet.drive("bus-1", at(10, 8))  # a Saturday
    fleet.compute()
    assert {name for name, day in fleet.days() if day == dt.date(2026, 1, 10)} == {"bus-1"}


def test_a_mark_that_arrives_while_the_job_runs_stays(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    from analytics import metrics

    fleet.declare(programme())
    fleet.drive("bus-1", at(5, 8))
    inner = metrics.compute

    def compute_while_something_arrives(inputs: metrics.Inputs) -> metrics.Results:
        fleet.drive("bus-1", at(5, 10), odometer_km=36)
        return inner(inputs)

    monkeypatch.setattr(metrics, "compute", compute_while_something_arrives)
    fleet.compute()
    monkeypatch.undo()
    assert fleet.marks() == 1
    fleet.compute()
    assert value(fleet.days()[("bus-1", MONDAY)], "distance_km") == pytest.approx(72, rel=1e-6)
    assert fleet.marks() == 0


def test_a_job_that_dies_leaves_its_marks(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines import store

    fleet.declare(programme())
    fleet.drive("bus-1", at(5, 8))
    marks = fleet.marks()

    def die(*_: object) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(store, "settle_marks", die)
    with pytest.raises(RuntimeError, match="killed"):
        fleet.compute()
    monkeypatch.undo()
    assert fleet.marks() == marks
    assert not fleet.pilot_days()
    fleet.compute()
    assert fleet.marks() == 0
    assert fleet.pilot_days()


def test_a_moved_vehicles_days_stay_with_the_pilot_that_earned_them(fleet: Fleet) -> None:
    fleet.declare(programme(vehicles=("bus-1",)))
    fleet.drive("bus-1", at(5, 8))
    moved = programme(vehicles=(), pilot="city")["pilots"] + programme(vehicles=(), pilot="other")["pilots"]
    moved[1]["vehicles"] = [vehicle("bus-1", enters_on=TODAY)]
    fleet.declare({"pilots": moved})
    start = dt.datetime(2026, 2, 2, 12, tzinfo=dt.UTC)
    fleet.drive("bus-1", start, odometer_km=36)
    for pilot in ("city", "other", "city", "other"):
        fleet.compute(pilot)
    with fleet.owner.connect() as connection:
        assert stale_pilots(connection) == []
    days = {day: row.pilot_id for (_, day), row in fleet.days().items()}
    assert days[MONDAY] != days[start.date()]
    assert fleet.marks() == 0


@pytest.mark.parametrize("first", ["city", "other"])
def test_the_day_of_a_move_is_counted_once(fleet: Fleet, first: str) -> None:
    fleet.declare(programme(vehicles=("bus-1", "bus-2")))
    for name in ("bus-1", "bus-2"):
        fleet.drive(name, dt.datetime(2026, 2, 1, 12, tzinfo=dt.UTC))
    fleet.compute()
    moved = programme(vehicles=("bus-2",))["pilots"] + programme(vehicles=(), pilot="other")["pilots"]
    moved[1]["vehicles"] = [vehicle("bus-1", enters_on=TODAY)]
    fleet.declare({"pilots": moved})
    for pilot in (first, *({"city", "other"} - {first})):
        fleet.compute(pilot)
    totals = [row for (_, day), row in fleet.pilot_days().items() if day == TODAY]
    assert [row.vehicles for row in totals] == [1, 1]
    assert [value(row, "distance_km") for row in totals] == [pytest.approx(36)] * 2


def test_a_vehicle_that_leaves_is_no_longer_counted_from_that_day_on(fleet: Fleet) -> None:
    fleet.declare(programme(vehicles=("bus-1", "bus-2")))
    for name in ("bus-1", "bus-2"):
        fleet.drive(name, dt.datetime(2026, 2, 1, 12, tzinfo=dt.UTC))
    fleet.compute()
    fleet.declare(programme(vehicles=("bus-2",)))
    with fleet.owner.connect() as connection:
        assert stale_pilots(connection) == ["city"]
    fleet.compute()
    assert {name for name, day in fleet.days() if day == TODAY} == {"bus-2"}
    assert next(row for (_, day), row in fleet.pilot_days().items() if day == TODAY).vehicles == 1


def _said_once(fleet: Fleet, name: str, heartbeat_s: int | None) -> None:
    """Four days: six hours of driving, then the plug until morning; key, plug and lamp are said on change only.

    The nights have a heartbeat, or none; the lamp comes on on the second day and stays on until the fourth.
    """
    rows: list[dict[str, Any]] = []
    nothing = dict.fromkeys(("ignition_on", "plugged_in", "red_stop_lamp", "battery_power_kw"))
    for day in (5, 6, 7, 8):
        for step in range(2160):
            told = {"ignition_on": True, "plugged_in": False} if step == 0 else {}
            lamp = {"red_stop_lamp": day == 6} if step == 1000 and day in (6, 8) else {}
            rows.append(nothing | told | lamp | {
                "time": at(day, 6) + dt.timedelta(seconds=10 * step), "speed_kmh": 36.0, "battery_power_kw": -36.0,
                "odometer_km": 216.0 * (day - 5) + step / 10, "battery_soc_pct": 90 - step / 50,
            })  # fmt: skip
        still = nothing | {"speed_kmh": 0.0, "odometer_km": 216.0 * (day - 4), "battery_power_kw": 0.0}
        rows.append(still | {"time": at(day, 12), "ignition_on": False, "plugged_in": True, "battery_soc_pct": 46.8})
        for beat in range(heartbeat_s or 0, 18 * 3600 if heartbeat_s else 0, heartbeat_s or 1):
            charges = 3600 * 8 <= beat < 3600 * 14
            charge = 46.8 + 43.2 * min(max(beat / 3600 - 8, 0), 6) / 6
            rows.append(still | {
                "time": at(day, 12) + dt.timedelta(seconds=beat), "battery_power_kw": 20.0 if charges else 0.0,
                "battery_soc_pct": charge,
            })  # fmt: skip
    fleet.put(name, rows)


def test_days_one_by_one_or_all_at_once_are_the_same(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where states are said on change only, long before the rows read around a day."""
    fleet.declare(programme())
    _said_once(fleet, "bus-1", heartbeat_s=30)
    _said_once(fleet, "bus-2", heartbeat_s=None)
    fleet.compute()
    before, totals, sessions = fleet.days(), fleet.pilot_days(), fleet.rows(tables.ChargeSession)
    assert value(before[("bus-1", dt.date(2026, 1, 7))], "down_h") == pytest.approx(8)  # 12:00 to 20:00
    assert [(row.starts_at, row.ends_at) for row in sessions if row.vehicle_id == fleet.id_of("bus-1")] == [
        (at(day, 12), at(day + 1, 6) if day < 8 else at(9, 5, 59) + dt.timedelta(seconds=30)) for day in (5, 6, 7, 8)
    ]
    monkeypatch.setattr("pipelines.compute.BATCH_VEHICLE_DAYS", 1)
    again = fleet.compute(selection=Selection(stale_only=False))
    after = fleet.days()
    for key, row in before.items():
        assert row.input_hash == after[key].input_hash
        for metric, figure in row.figures.items():
            found = after[key].figures[metric]
            assert found.keys() == figure.keys()
            for part, told in figure.items():
                assert found[part] == same_to_rounding(told), (key, metric, part)
    assert again.vehicle_days == len(before)
    assert fleet.pilot_days().keys() == totals.keys()
    for one, other in zip(fleet.rows(tables.ChargeSession), sessions, strict=True):
        assert [same_to_rounding(part) for part in other] == list(one)


def test_a_session_of_a_long_weekend_is_whole_and_found_again_when_rows_arrive(fleet: Fleet) -> None:
    """Plugged in on Friday evening, charged for two hours then and for one on Sunday, unplugged on Monday."""
    fleet.declare(programme(vehicles=("bus-1",)))
    fleet.drive("bus-1", at(9, 17))

    def stand(start: dt.datetime, hours: float, kw: float) -> None:
        rows = [
            {"time": start + dt.timedelta(seconds=10 * n), "speed_kmh": 0.0, "odometer_km": 36.0, "plugged_in": True,
             "ignition_on": False, "battery_power_kw": kw}
            for n in range(int(hours * 360))
        ]  # fmt: skip
        fleet.put("bus-1", rows)

    stand(at(9, 19), 2, 50.0)
    fleet.compute()
    (evening,) = fleet.rows(tables.ChargeSession)
    assert evening.ends_at == at(9, 20, 59) + dt.timedelta(seconds=50)
    for start, hours, kw in ((at(9, 21), 36, 0.0), (at(11, 9), 1, 50.0), (at(11, 10), 20, 0.0)):
        stand(start, hours, kw)
    fleet.drive("bus-1", at(12, 6), odometer_km=36)
    fleet.compute()
    (session,) = fleet.rows(tables.ChargeSession)
    assert (session.day, session.starts_at, session.ends_at) == (dt.date(2026, 1, 9), at(9, 19), at(12, 6))
    assert session.energy_charged_kwh == pytest.approx(150, rel=0.02)
    assert (session.kind, session.charging_h) == ("overnight", pytest.approx(3, rel=0.02))


def test_what_lies_between_two_late_days_is_not_read(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.declare(programme(vehicles=("bus-1",)))
    for day in (5, 29):
        fleet.drive("bus-1", at(day, 8), odometer_km=36 * day)
    fleet.compute()
    read: list[dt.timedelta] = []
    padded = store.padded

    def watched(connection: sa.Connection, window: store.Window, padding: Padding) -> store.Window:
        read.append(window.ends_at - window.starts_at)
        return padded(connection, window, padding)

    monkeypatch.setattr("pipelines.store.padded", watched)
    for day in (5, 29):
        fleet.mark("bus-1", at(day, 8), at(day, 9))
    assert fleet.compute().vehicle_days == 2
    assert read == [dt.timedelta(days=1)] * 2


def test_a_maintenance_record_takes_the_day_from_availability(fleet: Fleet) -> None:
    fleet.declare(programme(vehicles=("bus-1",)))
    fleet.drive("bus-1", at(5, 14))
    fleet.compute()
    assert fleet.days()[("bus-1", MONDAY)].figures["availability_pct"]["value"] == 100
    down = {"vehicle_id": fleet.id_of("bus-1"), "starts_at": at(5, 5), "ends_at": at(5, 9), "planned": False,
            "cause": "vehicle"}  # fmt: skip
    with fleet.owner.begin() as connection:
        connection.execute(sa.insert(tables.Maintenance).values(down))
    fleet.mark("bus-1", at(5, 5), at(5, 9))
    fleet.compute()
    row = fleet.days()[("bus-1", MONDAY)]
    assert row.figures["availability_pct"]["value"] == 0
    assert value(row, "down_h") == pytest.approx(4)


def test_an_unknown_pilot_is_named(fleet: Fleet) -> None:
    with pytest.raises(NotFoundError, match="'nowhere'"):
        fleet.compute("nowhere")


def test_the_hash_of_the_inputs_follows_their_content(fleet: Fleet) -> None:
    fleet.declare(programme(vehicles=("bus-1",)))
    fleet.drive("bus-1", at(5, 8))
    fleet.compute()
    first = fleet.days()[("bus-1", MONDAY)].input_hash
    with fleet.owner.begin() as connection:
        connection.execute(sa.update(tables.telemetry).where(tables.telemetry.c.time == at(5, 8)).values(speed_kmh=35))
    fleet.mark("bus-1", at(5, 8), at(5, 8))
    fleet.compute()
    assert fleet.days()[("bus-1", MONDAY)].input_hash != first
