"""The registry: complete, consistent, and the source of its page."""

import re
from pathlib import Path

import pytest

from analytics.metrics import METRICS, Metric, Total
from analytics.metrics.document import markdown
from analytics.metrics.metric import Given
from schemas.signals import SIGNALS

ROOT = Path(__file__).parents[2]
PROMISED = [
    "distance_km", "energy_used_kwh", "energy_discharged_kwh", "energy_regenerated_kwh", "energy_charged_kwh",
    "grid_energy_kwh", "auxiliary_energy_kwh", "idle_energy_kwh", "energy_per_km_kwh", "energy_per_hour_kwh",
    "hydrogen_used_kg", "cng_used_kg", "fuel_used_l", "key_on_h", "working_h", "in_service_h", "charging_h", "idle_h",
    "parked_h", "down_h", "planned_maintenance_h", "unknown_h", "availability_pct",
    "availability_excl_planned_maintenance_pct", "connectivity_pct", "km_between_roadcalls",
    "km_between_propulsion_roadcalls", "km_between_storage_roadcalls", "plugged_idle_h",
    "fuel_displaced_l", "co2e_avoided_tailpipe_vs_generation_kg",
    "co2e_avoided_well_to_wheel_kg", "co2e_avoided_conservative_kg", "mpgdge",
]  # fmt: skip


def test_every_promised_metric_is_there_and_shown() -> None:
    assert [slug for slug in PROMISED if slug not in METRICS or not METRICS[slug].shown] == []


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_a_metric_is_whole(metric: Metric) -> None:
    assert metric.meaning.endswith(".")
    assert metric.name
    assert metric.decimals >= 0
    for side in (metric.numerator, metric.denominator):
        assert side is None or METRICS[side].total is Total.SUM
    unit = {"kwh": "kWh", "km": "km", "kg": "kg", "l": "L", "h": "h", "pct": "%", "days": "vehicle-days"}
    ending = metric.slug.rsplit("_", 1)[-1]
    if metric.total is Total.SUM and ending in unit:
        assert metric.unit == unit[ending]


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_inputs_are_signals_metrics_or_given(metric: Metric) -> None:
    assert metric.inputs
    assert len(set(metric.inputs)) == len(metric.inputs)
    assert set(metric.inputs) - SIGNALS.keys() - METRICS.keys() - set(Given) == set()
    assert metric.slug not in metric.inputs or metric.slug in SIGNALS, "starts from itself"


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_a_source_is_named(metric: Metric) -> None:
    assert metric.source.strip()
    assert not metric.source.endswith(".")


def test_everything_that_may_be_given_is_an_input_and_no_signal_or_metric() -> None:
    assert set(Given) - {name for metric in METRICS.values() for name in metric.inputs} == set()
    assert set(Given) & (SIGNALS.keys() | METRICS.keys()) == set()


def test_a_ratio_needs_two_sides() -> None:
    with pytest.raises(ValueError, match="numerator"):
        Metric("a", "A", "1", "A.", "a", ("b",), 0, Total.RATIO, "energy", "own", numerator="distance_km")


@pytest.mark.parametrize(("inputs", "source"), [((), "own"), (("b",), "")])
def test_a_metric_needs_inputs_and_a_source(inputs: tuple[str, ...], source: str) -> None:
    with pytest.raises(ValueError, match="inputs and source"):
        Metric("a", "A", "1", "A.", "a", inputs, 0, Total.SUM, "energy", source)


def test_every_anchor_is_a_heading_of_the_definitions() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "definitions.md").read_text(), re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert {metric.anchor for metric in METRICS.values()} - anchors == set()


def test_the_page_is_the_registry() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert page == markdown(), "run: python -m analytics.metrics.document > docs/metrics.md"
