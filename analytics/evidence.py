"""What stands behind a vehicle's figures: other methods, how they agree, what was set aside, and the lineage."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from analytics.metrics import METRICS
from analytics.metrics.dispensed import CHECK_OF, USED_OF
from analytics.metrics.methods import CHECKS, Check
from analytics.metrics.plausible import MEANINGS
from analytics.summaries import vehicle_days
from analytics.views import Evidence, Period, Pilot, Reader, Span, Vehicle
from schemas.errors import NotFoundError
from schemas.wire import Agreement, FigureValue, Lineage, MethodValue, SetAsideReadings, VehicleDayDetail

REFUSED, WHOLE_ROW = "refused at receipt", "time"
REFUSED_MEANS = "The receiver did not let it in; the upload's receipt tells it."


def vehicle_day(reader: Reader, pilot: Pilot, vehicle: Vehicle, day: dt.date) -> VehicleDayDetail:
    """A vehicle's day with everything behind it.

    Raises:
        NotFoundError: the day has no results.
    """
    period = Period(day, day)
    found = reader.evidence(vehicle, period)
    if not found:
        raise NotFoundError(f"nothing has been computed for {vehicle.name!r} on {day}")
    (row,) = vehicle_days(reader, pilot, vehicle, period)
    span = Span(found[0].starts_at, found[0].ends_at)
    behind = found[0]
    return VehicleDayDetail(
        day=day, starts_at=span.since, ends_at=span.until, data_until=row.data_until, metrics=row.metrics,
        methods=[MethodValue(**entry, unit=METRICS[entry["metric"]].unit) for entry in behind.methods
                 if entry["metric"] in METRICS],
        agreements=agreements(found),
        set_aside=[*set_aside(found), *refused(reader, [vehicle], span)],
        lineage=Lineage(
            code_version=behind.code_version, factors=behind.factors, input_rows=behind.input_rows,
            input_hash=behind.input_hash, computed_at=behind.computed_at, uploads=reader.uploads(vehicle, day),
        ),
    )  # fmt: skip


def agreements(days: Iterable[Evidence]) -> list[Agreement]:
    """How methods agree over some days: ratios of sums over the days that have both, in the order of the checks."""
    sums: dict[str, tuple[float, float, int]] = {}
    for entry in (entry for day in days for entry in day.agreements):
        top, bottom, count = sums.get(entry["check"], (0.0, 0.0, 0))
        sums[entry["check"]] = (top + entry["numerator"], bottom + entry["denominator"], count + 1)
    return [agreement(check, *sums[slug]) for slug, check in CHECKS.items() if slug in sums]


def dispensed(figures: Mapping[str, FigureValue], days: int) -> list[Agreement]:
    """Fuel dispensed over fuel used, of a vehicle's figures over so many days, where both are known."""
    compared = []
    for slug, used in USED_OF.items():
        check, top, bottom = CHECKS[CHECK_OF[slug]], figures[slug].value, figures[used].value
        if top is not None and bottom:
            compared.append(agreement(check, top, bottom, days))
    return compared


def agreement(check: Check, top: float, bottom: float, days: int) -> Agreement:
    """A comparison over so many days, with its verdict."""
    return Agreement(
        check=check.slug, name=check.name, numerator=top, denominator=bottom, unit=check.unit, ratio=top / bottom,
        low=check.low, high=check.high, agrees=_judged(check, top, bottom, days), days=days,
    )  # fmt: skip


def _judged(check: Check, top: float, bottom: float, days: int) -> bool | None:
    return check.low <= top / bottom <= check.high if days >= check.days else None


def refused(reader: Reader, vehicles: Sequence[Vehicle], span: Span) -> list[SetAsideReadings]:
    """What the receiver refused of the vehicles' rows of a time; whole rows are told as `time`."""
    return [
        SetAsideReadings(
            signal=row["signal"] or WHOLE_ROW, reason=f"{REFUSED}: {row['reason']}", meaning=REFUSED_MEANS,
            samples=row["samples"], left_out=True,
        )
        for row in reader.refused(vehicles, span)
    ]  # fmt: skip


def set_aside(days: Iterable[Evidence]) -> list[SetAsideReadings]:
    """Readings flagged over some days, by signal and reason."""
    counts: dict[tuple[str, str, bool], int] = {}
    for entry in (entry for day in days for entry in day.set_aside):
        key = (entry["signal"], entry["reason"], entry["left_out"])
        counts[key] = counts.get(key, 0) + entry["samples"]
    known = {reason.value: meaning for reason, meaning in MEANINGS.items()}
    return [
        SetAsideReadings(
            signal=signal, reason=reason, meaning=known.get(reason, ""), samples=samples, left_out=left_out
        )
        for (signal, reason, left_out), samples in sorted(counts.items())
    ]  # fmt: skip
