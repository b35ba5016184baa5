"""How good the data of a period are: what is covered, what was refused or set aside, how methods agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from analytics import evidence, summaries
from analytics.metrics import METRICS
from analytics.metrics import SIGNALS as READ
from analytics.metrics.methods import CHECKS
from analytics.metrics.plausible import MEANINGS
from analytics.questions import span_of
from analytics.views import Period, Pilot, Reader, Span, Vehicle
from schemas.signals import SIGNALS
from schemas.wire import FigureCoverage, FigureValue, PilotQuality, SentRows, SetAsideReadings, SignalQuality

COVERED = (
    "distance_km", "energy_used_kwh", "energy_charged_kwh", "grid_energy_kwh", "hydrogen_used_kg", "cng_used_kg",
    "fuel_used_l", "key_on_h", "fuel_displaced_l", "co2e_avoided_well_to_wheel_kg",
    "co2e_avoided_tailpipe_vs_generation_kg", "co2e_avoided_conservative_kg",
)  # fmt: skip
"""Figures whose coverage tells most of how good the data are."""


def pilot_quality(reader: Reader, pilot: Pilot, period: Period) -> PilotQuality:
    """The quality of a pilot's data over a period."""
    span = span_of(pilot, period)
    days = reader.pilot_days(pilot, period)
    figures = summaries.figure_values(summaries.period_totals(reader, pilot, period))
    return PilotQuality(
        pilot=pilot.slug, name=pilot.name, from_=period.first, to=period.last,
        data_until=max((day.data_until for day in days if day.data_until), default=None),
        vehicle_days=sum(day.vehicles for day in days), connectivity_pct=figures["connectivity_pct"].value,
        unknown_h=figures["unknown_h"].value, receipts=SentRows(**reader.receipts(pilot, span)),
        figures=_covered(reader.covered(pilot, period, COVERED), figures),
        agreements=[evidence.agreement(CHECKS[row["check"]], row["numerator"], row["denominator"], row["days"])
                    for row in reader.agreements(pilot, period) if row["check"] in CHECKS],
        set_aside=[*_set_aside(reader.set_aside(pilot, period)), *_refused(reader, pilot, span)],
    )  # fmt: skip


def signal_quality(reader: Reader, vehicle: Vehicle, period: Period, span: Span) -> list[SignalQuality]:
    """What came of every canonical signal of a vehicle in a period, whether a metric reads it or not."""
    told = reader.signals(vehicle, span)
    flags = evidence.set_aside(reader.evidence(vehicle, period))
    aside, flagged = (_counted([row for row in flags if row.left_out is out]) for out in (True, False))
    refused = _counted(evidence.refused(reader, [vehicle], span))
    return [
        SignalQuality(
            signal=name, unit=signal.unit, samples=told[f"{name}.n"], share_pct=_share(told[f"{name}.n"], told["rows"]),
            low=told[f"{name}.low"], high=told[f"{name}.high"], set_aside=aside[name], flagged=flagged[name],
            refused=refused[name], read_by_metrics=name in READ,
        )
        for name, signal in SIGNALS.items()
    ]  # fmt: skip


def _covered(counts: dict[str, dict[str, int]], figures: dict[str, FigureValue]) -> list[FigureCoverage]:
    return [
        FigureCoverage(
            metric=slug, name=METRICS[slug].name, coverage_pct=figures[slug].coverage_pct,
            method=figures[slug].method, **counts[slug],
        )
        for slug in COVERED
        if slug in counts
    ]  # fmt: skip


def _set_aside(rows: Sequence[dict[str, Any]]) -> list[SetAsideReadings]:
    known = {reason.value: meaning for reason, meaning in MEANINGS.items()}
    return [
        SetAsideReadings(
            signal=row["signal"], reason=row["reason"], meaning=known.get(row["reason"], ""), samples=row["samples"],
            left_out=row["left_out"],
        )
        for row in rows
    ]  # fmt: skip


def _refused(reader: Reader, pilot: Pilot, span: Span) -> list[SetAsideReadings]:
    return evidence.refused(reader, reader.vehicles(pilot), span)


def _counted(rows: Sequence[SetAsideReadings]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.signal] += row.samples
    return counts


def _share(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None
