"""What stands behind figures: how two tellings of one quantity are judged."""

from __future__ import annotations

import pytest

from analytics.evidence import dispensed
from analytics.summaries import SHOWN
from schemas.wire import FigureValue


@pytest.mark.parametrize(("kg", "days", "agrees"), [(100.0, 14, True), (100.0, 13, None), (70.0, 14, False)])
def test_fuel_dispensed_is_judged_over_two_weeks(kg: float, days: int, agrees: bool | None) -> None:
    known = {"hydrogen_dispensed_kg": kg, "hydrogen_used_kg": 98.0, "cng_dispensed_kg": 5.0, "fuel_used_l": 5.0}
    figures = {
        slug: FigureValue(value=known.get(slug), unit=metric.unit, coverage_pct=None, method=None)
        for slug, metric in SHOWN.items()
    }
    (row,) = dispensed(figures, days)
    assert (row.check, row.unit, row.days) == ("hydrogen_dispensed_over_used", "kg", days)
    assert row.ratio == pytest.approx(kg / 98)
    assert row.agrees is agrees
