"""The hash of a vehicle-day knows all that its figures follow from, and nothing else."""

import datetime as dt
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from metrics_case import DAY, DAY_S, HOUR, at, inputs, telemetry

from analytics.metrics import Policy, compute
from pipelines.calendar import OperatingDay
from pipelines.lineage import lineage, said

TODAY = OperatingDay(DAY, at(0), at(DAY_S))
TIMES = [-100 * HOUR, -2 * HOUR, HOUR, 2 * HOUR, DAY_S + HOUR, DAY_S + 100 * HOUR]
SOC_PCT = [10.0, 80.0, 60.0, 55.0, 50.0, 20.0]


def of(soc_pct: list[float] = SOC_PCT, **options: Any) -> dict[str, Any]:
    known = inputs(telemetry(TIMES, battery_soc_pct=soc_pct), **options)
    return lineage(known.telemetry, TODAY, 1, said(known), {})


def with_soc(place: int, pct: float) -> list[float]:
    return [*SOC_PCT[:place], pct, *SOC_PCT[place + 1 :]]


@pytest.mark.parametrize("place", [1, 2, 3, 4])
def test_what_is_read_in_and_around_the_day_is_in_the_hash(place: int) -> None:
    assert of(with_soc(place, 70.0))["input_hash"] != of()["input_hash"]
    assert of()["input_rows"] == 2


@pytest.mark.parametrize("place", [0, 5])
def test_what_is_out_of_reach_is_not(place: int) -> None:
    assert of(with_soc(place, 70.0)) == of()


def test_rules_are_in_the_hash() -> None:
    rules = ({}, {"policy": Policy(down_limit_min=30)}, {"roll_over": {"energy_discharged_kwh": 100.0}})
    assert len({of(**rule)["input_hash"] for rule in rules}) == 3


def test_other_days_that_were_read_as_well_are_not() -> None:
    rows = inputs(telemetry(TIMES, battery_soc_pct=SOC_PCT)).telemetry
    more = telemetry([t - 10 * 24 * HOUR for t in TIMES], battery_soc_pct=SOC_PCT)
    assert lineage(pl.concat([more, rows]), TODAY, 1, said(inputs(rows)), {}) == of()


def test_a_silence_that_nothing_judges_has_no_neighbours() -> None:
    """Without rows of its own, the day lies between readings 27 and 121 hours apart."""
    near, far = ([-2 * HOUR, after_s] for after_s in (DAY_S + HOUR, DAY_S + 95 * HOUR))
    hashes = {
        (times[1], before): lineage(rows, TODAY, 1, said(inputs(rows)), {})["input_hash"]
        for times in (near, far)
        for before in (80.0, 70.0)
        for rows in [telemetry(times, battery_soc_pct=[before, 50.0])]
    }
    assert hashes[near[1], 80.0] != hashes[near[1], 70.0]
    assert hashes[far[1], 80.0] == hashes[far[1], 70.0]


def test_inputs_that_change_a_figure_change_the_hash() -> None:
    """State of charge two hours before the day tells what was used when it began."""
    found = set()
    for before_pct in (80.0, 70.0):
        rows = telemetry(TIMES, battery_soc_pct=with_soc(1, before_pct), ignition_on=[True] * len(TIMES))
        known = replace(inputs(rows))
        used = compute(known).figures.filter(metric="energy_used_kwh")["value"].to_list()
        found.add((tuple(used), lineage(rows, TODAY, 1, said(known), {})["input_hash"]))
    assert len({used for used, _ in found}) == len({hash_ for _, hash_ in found}) == 2
    assert TODAY.ends_at - TODAY.starts_at == dt.timedelta(days=1)
