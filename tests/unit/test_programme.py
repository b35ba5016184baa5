"""The registry file: what is wrong is named with line and field."""

import datetime as dt
from pathlib import Path

import pytest

from schemas.errors import RegistryError
from schemas.programme import Programme, read_programme

GOOD = """\
partners: [{id: metro, name: Metro, kind: fleet}]
sites:
- {id: pier-a, latitude: 33.77, longitude: -118.22, grid: egrid:CAMX, line_loss_pct: 5,
   chargers: [{id: ch-1, rated_kw: 150, efficiency_pct: 92}]}
pilots:
- id: harbor-drayage
  name: Harbor drayage pilot
  region: US-CA
  grid: egrid:CAMX
  segment: drayage
  time_zone: America/Los_Angeles
  day_starts_at: "03:00"
  starts_on: 2026-01-05
  partners: [{id: metro, role: operator}]
  service_plan: {weekdays: [mon, fri], hours: "06:00-18:00", holidays: [2026-07-03]}
  vehicles:
  - id: truck-01
    category: truck
    powertrain: bev
    usable_battery_kwh: 375
    site: pier-a
    baseline: {fuel: diesel, rate: 39.9, unit: L/100km, source: "operator records"}
  gateways: [{id: gw-01, vehicles: [truck-01]}]
"""


def read(tmp_path: Path, text: str) -> Programme:
    path = tmp_path / "programme.yaml"
    path.write_text(text)
    return read_programme(path)


def faults(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(RegistryError) as caught:
        read(tmp_path, text)
    return [str(fault) for fault in caught.value.faults]


def test_a_good_file_is_read(tmp_path: Path) -> None:
    (pilot,) = read(tmp_path, GOOD).pilots
    assert pilot.day_starts_at == dt.time(3)
    assert pilot.service_plan is not None
    assert pilot.service_plan.iso_weekdays == [1, 5]
    assert (pilot.service_plan.starts_at, pilot.service_plan.ends_at) == (dt.time(6), dt.time(18))
    assert pilot.vehicles[0].baseline is not None
    assert pilot.vehicles[0].baseline.rate == 39.9


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "reason"),
    [
        ("time_zone: America/Los_Angeles", "time_zone: Pacific", 11, "time_zone", "IANA"),
        ("usable_battery_kwh: 375", "usable_battery_kwh: -1", 20, "usable_battery_kwh", "greater than 0"),
        ("usable_battery_kwh: 375", "roll_over: {speed_kmh: 160}", 20, "roll_over", "speed_kmh: not a counter"),
        ("    powertrain: bev", "    powertrain: steam", 19, "powertrain", "'bev'"),
        ("region: US-CA", "region: California", 8, "region", "ISO 3166"),
        ("segment: drayage", "segment: taxi", 10, "segment", "must be one of"),
        ("unit: L/100km", "unit: l/100km", 22, "baseline.unit", "L/100km"),
        ("    site: pier-a", "    sight: pier-a", 21, "sight", "not permitted"),
        ("  starts_on: 2026-01-05\n", "", 6, "starts_on", "required"),
        ('hours: "06:00-18:00"', "hours: 6 to 18", 15, "hours", "06:00-18:00"),
        ('day_starts_at: "03:00"', "day_starts_at: 13:00", 12, "day_starts_at", "quotes"),
        ("site: pier-a", "site: pier-b", 6, "vehicles", "unknown site pier-b"),
        ("vehicles: [truck-01]}]", "vehicles: [truck-02]}]", 6, "vehicles", "unknown vehicles truck-02"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_line_and_field(
    tmp_path: Path, old: str, new: str, line: int, field: str, reason: str
) -> None:
    assert old in GOOD
    (fault,) = faults(tmp_path, GOOD.replace(old, new))
    assert reason in fault
    if field not in {"vehicles"}:
        assert fault.startswith(f"programme.yaml, line {line}: ")
        assert field in fault


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("region: US-CA", "region: x").replace("usable_battery_kwh: 375", "usable_battery_kwh: none")
    assert len(faults(tmp_path, text)) == 2


def test_broken_yaml_names_its_line(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "pilots:\n- id: [\n")
    assert "not valid YAML" in fault
    assert "line" in fault


def test_an_empty_file_is_a_fault(tmp_path: Path) -> None:
    assert faults(tmp_path, "")


def with_baseline(baseline: str) -> str:
    return GOOD.replace('{fuel: diesel, rate: 39.9, unit: L/100km, source: "operator records"}', baseline)


@pytest.mark.parametrize(
    ("baseline", "reason"),
    [
        ("{fuel: diesel}", "is known in one way: rate, reference, history or class_average"),
        (
            "{fuel: diesel, rate: 40, unit: L/100km, source: x, class_average: class-8-truck}",
            "is known in one way: rate, reference, history or class_average",
        ),
        ("{fuel: diesel, rate: 40, unit: L/100km}", "a declared rate has its unit and its source"),
        ("{fuel: diesel, reference: [truck-01]}", "vehicles: truck-01: truck-01 is no diesel vehicle of this pilot"),
        ("{fuel: diesel, history: true}", "vehicles: truck-01: a baseline by history needs the pilot's baseline_from"),
        ("{fuel: diesel, class_average: transit-bus}", "vehicles: truck-01: transit-bus is not the class of drayage"),
        ("{fuel: diesel, reference: [x], unit: mpg}", "mpg is not measured; L/100km, L/h, kg/100km and kg/h are"),
    ],
)
def test_a_baseline_is_known_in_one_way(tmp_path: Path, baseline: str, reason: str) -> None:
    assert reason in "\n".join(faults(tmp_path, with_baseline(baseline)))


@pytest.mark.parametrize(
    ("powertrain", "fuel", "reason"),
    [
        ("bev", "diesel", "fuel: a bev vehicle burns nothing"),
        ("cng", "diesel", "fuel: a cng vehicle burns one of cng, rng"),
    ],
)
def test_a_fuel_suits_its_powertrain(tmp_path: Path, powertrain: str, fuel: str, reason: str) -> None:
    text = GOOD.replace("powertrain: bev", f"powertrain: {powertrain}\n    fuel: {fuel}")
    assert reason in "\n".join(faults(tmp_path, text))
