"""Rows of days into the rows of charts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from analytics import charts
from analytics.charts import AvailabilityDay, EnergyDay, StateHours, Width
from schemas.wire import DayRow


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart of a period's days: its heading, how it reads, how it is drawn and said in words."""

    name: str
    heading: str
    caption: str
    draw: Callable[[Sequence[DayRow], Mapping[str, Any], Width], str]
    describe: Callable[[Sequence[DayRow], Mapping[str, Any]], str]


def energy_days(days: Sequence[DayRow]) -> tuple[EnergyDay, ...]:
    """Energy used and charged per day, with the coverage of what was used."""
    return tuple(
        EnergyDay(
            day.day,
            day.metrics["energy_used_kwh"].value,
            day.metrics["energy_charged_kwh"].value,
            day.metrics["energy_used_kwh"].coverage_pct,
        )
        for day in days
    )


def availability_days(days: Sequence[DayRow]) -> tuple[AvailabilityDay, ...]:
    """Availability per day with its bounds."""
    figures = ((day.day, day.metrics["availability_pct"]) for day in days)
    return tuple(AvailabilityDay(day, figure.value, figure.low, figure.high) for day, figure in figures)


def state_hours(days: Sequence[DayRow]) -> tuple[StateHours, ...]:
    """Hours by state per day; unknown ones are left out."""
    found = ((day.day, state, day.metrics[state].value) for day in days for state in charts.STATES)
    return tuple(StateHours(day, state, hours) for day, state, hours in found if hours is not None)


def target_pct(targets: Mapping[str, Any]) -> float | None:
    """The pilot's target of availability."""
    target = targets.get("availability_pct")
    return None if target is None else float(target)


@cache
def _code() -> str:
    return hashlib.sha256(b"".join(Path(path).read_bytes() for path in (charts.__file__, __file__))).hexdigest()[:8]


def drawn_by(targets: Mapping[str, Any]) -> str:
    """A word for all that a drawing depends on besides its days: the code, and the pilot's targets."""
    return f"{_code()}-{target_pct(targets)}"


PLOTS: Mapping[str, Plot] = MappingProxyType(
    {
        plot.name: plot
        for plot in (
            Plot(
                "energy",
                "Energy per day",
                "Used: at the battery, while not plugged in. Charged: into the battery, while plugged in."
                " Pale: less than 80 % of the day's activity was observed. “?”: unknown.",
                lambda days, _, width: charts.energy_svg(energy_days(days), width),
                lambda days, _: charts.describe_energy(energy_days(days)),
            ),
            Plot(
                "availability",
                "Availability per day",
                "Line: planned vehicle-days that could be served. Band: from unknown counted as down to unknown counted"
                " as up. A gap: nothing was planned.",
                lambda days, targets, width: charts.availability_svg(
                    availability_days(days), target_pct(targets), width
                ),
                lambda days, targets: charts.describe_availability(availability_days(days), target_pct(targets)),
            ),
            Plot(
                "hours",
                "Hours by state",
                "What the vehicles did, added over the fleet.",
                lambda days, _, width: charts.hours_svg(state_hours(days), width),
                lambda days, _: charts.describe_hours(state_hours(days)),
            ),
        )
    }
)
"""The charts of a pilot's page, in order."""
