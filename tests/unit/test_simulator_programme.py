"""The demonstration's programme and records say what the simulator does."""

import csv
import datetime as dt
from importlib.resources import files

import pytest

from ingest.gateway.simulator import DEMO_FLEET
from schemas.programme import WEEKDAYS, Programme, read_programme

DEMO = files("pipelines.demo")


@pytest.fixture(scope="module")
def programme() -> Programme:
    return read_programme(DEMO / "programme.yaml")


def records(name):
    return list(csv.DictReader((DEMO / name).read_text(encoding="utf-8").splitlines()))


def test_pilots_vehicles_and_gateways_agree(programme):
    for entry, spec in zip(programme.pilots, DEMO_FLEET.pilots, strict=True):
        assert (entry.id, entry.time_zone, entry.day_starts_at) == (spec.id, spec.zone.key, dt.time(3))
        assert [v.id for v in entry.vehicles] == [v.name for v in spec.vehicles]
        allowed = {g.id: set(g.vehicles or [v.id for v in entry.vehicles]) for g in entry.gateways}
        for vehicle in spec.vehicles:
            assert vehicle.name in allowed[vehicle.gateway]


def test_service_plans_agree(programme):
    for entry, spec in zip(programme.pilots, DEMO_FLEET.pilots, strict=True):
        plan = entry.service_plan
        assert tuple(WEEKDAYS.index(day) for day in plan.weekdays) == spec.weekdays
        hours = tuple(t.hour + t.minute / 60 for t in (plan.starts_at, plan.ends_at))
        assert hours == spec.service_h
        assert entry.starts_on <= DEMO_FLEET.first_day


def test_vehicles_agree(programme):
    chargers = {c.id: c for site in programme.sites for c in site.chargers}
    for entry, spec in zip(programme.pilots, DEMO_FLEET.pilots, strict=True):
        for declared, simulated in zip(entry.vehicles, spec.vehicles, strict=True):
            assert declared.sample_period_s == simulated.sample_period_s
            assert declared.sleeps_at_key_off is simulated.sleeps_at_key_off
            assert declared.usable_battery_kwh == (simulated.pack.usable_kwh if simulated.pack else None)
            if simulated.charger is not None:
                charger = chargers[simulated.charger.id]
                assert charger.efficiency_pct == pytest.approx(100 * simulated.charger.efficiency)
                assert charger.rated_kw == simulated.charger.power_kw


def test_baselines_are_as_declared(programme):
    rates = {p.id: {(v.baseline.rate, v.baseline.unit) for v in p.vehicles if v.baseline} for p in programme.pilots}
    assert rates == {
        "long-beach-drayage": {(39.9, "L/100km")},
        "santiago-buses": {(47, "L/100km")},
        "rotterdam-yard": {(6.6, "L/h")},
        "kochi-ferries": {(24, "L/h")},
        "shenzhen-delivery": {(14, "L/100km")},
        "quebec-school-bus": {(34, "L/100km")},
    }
    assert {v.baseline.source for p in programme.pilots for v in p.vehicles if v.baseline} == {
        "declared for the demonstration"
    }


def test_maintenance_agrees():
    at = dt.datetime.fromisoformat
    written = {
        (r["vehicle"], at(r["start"]), at(r["end"]), r["planned"], r["cause"], r["note"])
        for r in records("maintenance.csv")
    }
    simulated = {
        (d.vehicle, d.start, d.end, str(d.planned).lower(), d.cause, d.note) for d in DEMO_FLEET.incidents.downtimes
    }
    assert written == simulated


def test_roadcalls_agree():
    written = {
        (r["vehicle"], dt.datetime.fromisoformat(r["time"]), r["system"], r["note"]) for r in records("roadcalls.csv")
    }
    assert written == {(r.vehicle, r.time, r.system, r.note) for r in DEMO_FLEET.incidents.roadcalls}
