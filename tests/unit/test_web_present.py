"""Figures as people read them."""

from __future__ import annotations

import datetime as dt

import pytest

from analytics.questions import BadQuestionError, instant_of, period_of, width_of
from analytics.views import Period, Pilot
from analytics.web.present import Edge, editions, instant, number, shown, span
from schemas.wire import FigureValue, Summary


def pilot(region: str = "CL", categories: tuple[str, ...] = ("bus",), days: tuple[int, int] | None = (5, 18)) -> Pilot:
    first, last = (dt.date(2026, 1, n) for n in days) if days else (None, None)
    return Pilot(
        id=1, slug="p", name="P", region=region, grid=None, segment="s", starts_on=dt.date(2026, 1, 1), ends_on=None,
        targets={}, time_zone="America/Santiago", day_starts_at=dt.time(3), first_day=first, last_day=last,
        data_until=None, vehicles=1, reference_vehicles=0, categories=list(categories),
    )  # fmt: skip


def figure(value: float | None, unit: str = "km", **more: object) -> FigureValue:
    return FigureValue.model_validate({"value": value, "unit": unit, "coverage_pct": 99.0, "method": "measured"} | more)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(1234567.8, 1, "1,234,568"), (999.94, 1, "999.9"), (-3.14159, 2, "−3.14"), (-0.001, 1, "0.0"), (0.0, 0, "0")],
)
def test_numbers(value: float, decimals: int, text: str) -> None:
    assert number(value, decimals) == text


def test_missing_is_unknown_and_never_zero() -> None:
    nothing = shown("distance_km", figure(None, note="no odometer", coverage_pct=None, method=None))
    assert (nothing.text, nothing.unit, nothing.known, nothing.note) == ("unknown", "", False, "no odometer")
    zero = shown("distance_km", figure(0.0))
    assert (zero.text, zero.unit, zero.known) == ("0.0", "km", True)


def test_low_coverage_is_doubtful() -> None:
    assert shown("distance_km", figure(5.0, coverage_pct=79.9)).doubtful
    assert not shown("distance_km", figure(5.0, coverage_pct=80.0)).doubtful
    assert not shown("distance_km", figure(None, coverage_pct=10.0)).doubtful


def test_bounds_are_shown_where_they_differ() -> None:
    assert shown("availability_pct", figure(90.0, "%", low=80.0, high=95.5)).bounds == "80.0 to 95.5 %"
    assert shown("availability_pct", figure(90.0, "%", low=90.0, high=90.0)).bounds is None


def test_a_one_sided_bound_stands_in_for_the_value() -> None:
    bound = shown("km_between_roadcalls", figure(None, low=400.0, note="no roadcalls"))
    assert (bound.text, bound.unit, bound.known) == ("> 400", "km", True)


def test_a_figure_names_the_factors_of_its_own_boundary_only() -> None:
    note = (
        "tailpipe against direct generation; CO2; hub-co2/diesel (2025); egrid/egrid:CAMX (rev 2);"
        " line loss 5.0 % (loss/line-loss); range by ember/USA (2023)"
    )
    ids = ("egrid/egrid:CAMX", "ember/USA", "hub-co2/diesel", "hub-co2/diesel/off-road", "loss/line-loss")
    factors = [
        {"id": i, "name": i.upper(), "value": 1.0, "unit": "kg", "year": 2025, "edition": "1st", "source": "s",
         "confidence": "VERIFIED"} for i in ids
    ]  # fmt: skip
    summary = Summary.model_validate({
        "pilot": "p", "name": "P", "from": "2026-01-05", "to": "2026-01-06", "data_until": None, "factors": factors,
        "metrics": {"co2e_avoided_tailpipe_vs_generation_kg": figure(5.0, "kg", note=note)}, "vehicles": 1, "days": 2,
        "headline_co2e": "co2e_avoided_tailpipe_vs_generation_kg", "reference_vehicles": 0, "code_version": "1",
        "input_rows": 0, "input_hash": "",
    })  # fmt: skip
    assert editions(summary) == "EGRID/EGRID:CAMX (1st); HUB-CO2/DIESEL (1st); LOSS/LINE-LOSS (1st)"
    assert editions(summary.model_copy(update={"headline_co2e": None})) == ""


def test_miles_beside_kilometres_in_the_united_states() -> None:
    edge = Edge.of(pilot("US-CA"))
    assert shown("distance_km", figure(160.9344), edge).beside == "100 mi"
    assert shown("energy_per_km_kwh", figure(1.0, "kWh/km"), edge).beside == "1.61 kWh/mi"
    assert shown("fuel_displaced_l", figure(1.0, "L"), edge).beside is None


def test_nautical_miles_at_sea_whatever_the_region() -> None:
    edge = Edge.of(pilot("US-WA", ("vessel",)))
    assert shown("distance_km", figure(185.2), edge).beside == "100 nmi"
    assert shown("energy_per_km_kwh", figure(5.0, "kWh/km"), edge).beside == "9.26 kWh/nmi"


def test_house_units_elsewhere() -> None:
    assert shown("distance_km", figure(160.9344), Edge.of(pilot("CL"))).beside is None


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        (dt.date(2026, 1, 5), dt.date(2026, 1, 18), "5–18 Jan 2026"),
        (dt.date(2026, 1, 5), dt.date(2026, 1, 5), "5 Jan 2026"),
        (dt.date(2026, 1, 28), dt.date(2026, 2, 3), "28 Jan – 3 Feb 2026"),
        (dt.date(2025, 12, 28), dt.date(2026, 1, 3), "28 Dec 2025 – 3 Jan 2026"),
    ],
)
def test_periods_in_words(first: dt.date, last: dt.date, text: str) -> None:
    assert span(Period(first, last)) == text


def test_a_moment_is_told_in_the_pilots_zone() -> None:
    moment = dt.datetime(2026, 1, 5, 2, 30, tzinfo=dt.UTC)
    assert instant(moment, "America/Los_Angeles") == "4 Jan 2026, 18:30 (America/Los_Angeles)"
    assert instant(None, "America/Los_Angeles") == "unknown"


def test_the_period_defaults_to_all_computed_days() -> None:
    assert period_of(pilot(), None, None) == Period(dt.date(2026, 1, 5), dt.date(2026, 1, 18))
    assert period_of(pilot(), dt.date(2026, 1, 7), None) == Period(dt.date(2026, 1, 7), dt.date(2026, 1, 18))
    assert period_of(pilot(days=None), None, None) == Period(dt.date(2026, 1, 1), dt.date(2026, 1, 1))


def test_a_period_ends_after_it_starts() -> None:
    with pytest.raises(BadQuestionError, match="before it starts"):
        period_of(pilot(), dt.date(2026, 1, 6), dt.date(2026, 1, 5))


def test_instants_need_an_offset() -> None:
    noon = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
    assert instant_of("2026-01-05T12:00:00Z", "from") == noon
    assert instant_of("2026-01-05T14:00:00 02:00", "from") == noon
    assert instant_of(None, "from") is None
    for text in ("2026-01-05T12:00:00", "yesterday"):
        with pytest.raises(BadQuestionError, match="from="):
            instant_of(text, "from")


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10), ("5min", 300), ("2h", 7200), ("1d", 86400)])
def test_widths(text: str, seconds: int) -> None:
    assert width_of(text) == dt.timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["0s", "10", "1 month", "-5s", "5m; DROP TABLE telemetry"])
def test_other_widths_are_refused(text: str) -> None:
    with pytest.raises(BadQuestionError, match="every="):
        width_of(text)
