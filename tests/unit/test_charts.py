"""Charts say in words what they draw, draw nothing that needs a network, and show what is unknown."""

from __future__ import annotations

import datetime as dt
import xml.etree.ElementTree as ET

import pytest

from analytics.charts import (
    STATES,
    AvailabilityDay,
    EnergyDay,
    StateHours,
    Width,
    availability_svg,
    describe_availability,
    describe_energy,
    describe_hours,
    energy_svg,
    hours_svg,
)  # fmt: skip
from analytics.metrics import states

DAY = dt.date(2026, 1, 5)
SVG = "{http://www.w3.org/2000/svg}"


def day(n: int) -> dt.date:
    return DAY + dt.timedelta(days=n)


ENERGY = (
    EnergyDay(day(0), 700.0, 720.0, 99.0),
    EnergyDay(day(1), 650.0, None, 60.0),
    EnergyDay(day(2), None, 10.0, None),
)
AVAILABILITY = (
    AvailabilityDay(day(0), 100.0, 100.0, 100.0),
    AvailabilityDay(day(1), 50.0, 33.3, 66.7),
    AvailabilityDay(day(2), None, 0.0, 100.0),
    AvailabilityDay(day(3), None, None, None),
)
HOURS = tuple(StateHours(day(n), state, 2.0) for n in range(2) for state in ("in_service_h", "parked_h"))
DRAWINGS = {
    "energy": lambda width: energy_svg(ENERGY, width),
    "availability": lambda width: availability_svg(AVAILABILITY, 85.0, width),
    "hours": lambda width: hours_svg(HOURS, width),
}


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.parametrize("width", Width)
def test_a_drawing_is_labelled_and_needs_nothing_else(name: str, width: Width) -> None:
    svg = DRAWINGS[name](width)
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert [child.tag for child in list(root)[:2]] == [f"{SVG}title", f"{SVG}desc"]
    assert len(root[1].text or "") > 30
    tags = {element.tag for element in root.iter()}
    assert not tags & {f"{SVG}script", f"{SVG}style", f"{SVG}image", f"{SVG}foreignObject"}
    assert 'style="' not in svg


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_narrow_drawing_fits_a_phone(name: str) -> None:
    assert float(ET.fromstring(DRAWINGS[name](Width.NARROW)).get("width", "0")) <= 340


def test_unknown_energy_is_a_question_mark_and_not_a_bar() -> None:
    assert texts(energy_svg(ENERGY)).count("?") == 1
    assert "?" not in texts(energy_svg(ENERGY[:2]))


def test_unknown_availability_is_marked_but_an_unplanned_day_is_not() -> None:
    assert texts(availability_svg(AVAILABILITY)).count("?") == 1
    assert "?" not in texts(availability_svg((*AVAILABILITY[:2], AVAILABILITY[3])))


def test_the_target_is_drawn_where_there_is_one() -> None:
    assert "target 85 %" in texts(availability_svg(AVAILABILITY, 85.0))
    assert not any("target" in text for text in texts(availability_svg(AVAILABILITY)))


def test_a_missing_day_keeps_its_place() -> None:
    apart = (ENERGY[0], EnergyDay(day(4), 1.0, None, 99.0))
    assert "9 Jan" in texts(energy_svg(apart))
    assert "7 Jan" in texts(energy_svg(apart))


def test_long_periods_keep_their_labels_apart() -> None:
    year = tuple(EnergyDay(day(n), 1.0, None, 99.0) for n in range(365))
    dates = [text for text in texts(energy_svg(year, Width.NARROW)) if text[:1].isdigit() and " " in text]
    assert 2 <= len(dates) <= 4


def test_energy_in_words() -> None:
    assert describe_energy(ENERGY) == (
        "Energy used per day on 2 of 3 days, from 650 kWh (6 Jan 2026) to 700 kWh (5 Jan 2026);"
        " coverage is below 80 % on 1 of them."
    )
    assert describe_energy(ENERGY[2:]) == "Energy per day: unknown on every day."


def test_availability_in_words() -> None:
    assert describe_availability(AVAILABILITY, 85.0) == (
        "Availability on 2 days with planned service; 100 % on 1 of them, lowest 50 % on 6 Jan 2026."
        " The target is 85 %."
    )
    assert describe_availability(AVAILABILITY[3:], None).startswith("Availability per day: nothing planned")


def test_hours_in_words() -> None:
    assert describe_hours(HOURS) == "Vehicle-hours over the period: in service 4 h, parked 4 h."
    assert describe_hours(()) == "Hours by state: unknown."


def test_every_state_has_its_own_colour() -> None:
    assert len({colour for _, colour in STATES.values()}) == len(STATES)


def test_the_states_are_those_that_fill_a_day() -> None:
    assert set(STATES) == {f"{state}_h" for state in states.STATES} - {"plugged_idle_h"}  # part of hours parked
