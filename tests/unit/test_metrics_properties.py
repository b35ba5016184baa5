"""Properties of the metrics over drives that Hypothesis makes up: what must hold whatever was driven and recorded."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_case import DAY_S, Day, day_rows, inputs, telemetry
from polars.testing import assert_frame_equal

from analytics.metrics import METRICS, Results, Total, compute, totals
from tests import campaign

KEY = ["vehicle_id", "day", "metric"]
SUMS = [slug for slug, metric in METRICS.items() if metric.total is Total.SUM]
SHORT = settings(max_examples=campaign.size(8, 200))
STEP_S = 10


@dataclass(frozen=True)
class Drive:
    """Rows every ten seconds over a cut: speed, power and which of them were lost."""

    speed: list[float]
    power: list[float]
    lost: frozenset[int]
    starts_before_cut: int

    def rows(self, vehicle_id: int = 1, scale: float = 1.0) -> pl.DataFrame:
        """Telemetry; `scale` makes every power and energy larger."""
        first = DAY_S - self.starts_before_cut * STEP_S
        odometer, counter, charge = [1000.0], [500.0], [90.0]
        for speed, power in zip(self.speed, self.power, strict=True):
            odometer.append(odometer[-1] + speed * STEP_S / 3600)
            counter.append(counter[-1] + max(0.0, -power) * scale * STEP_S / 3600)
            charge.append(charge[-1] + power * STEP_S / 3600)
        rows = telemetry(
            [first + n * STEP_S for n in range(len(self.speed))], vehicle_id, speed_kmh=self.speed,
            battery_power_kw=[power * scale for power in self.power], ignition_on=[True] * len(self.speed),
            odometer_km=odometer[:-1], energy_discharged_kwh=counter[:-1], battery_soc_pct=charge[:-1],
            auxiliary_power_kw=[3.0 * scale] * len(self.speed),
        )  # fmt: skip
        kept = [n not in self.lost for n in range(len(self.speed))]
        return rows.filter(pl.Series(kept))


@st.composite
def drives(draw: st.DrawFn) -> Drive:
    count = draw(st.integers(20, 90))
    speed = draw(st.lists(st.sampled_from([0.0, 18.0, 36.5, 54.25, 72.0]), min_size=count, max_size=count))
    power = draw(st.lists(st.sampled_from([-80.0, -36.5, -4.0, 12.25, 30.0]), min_size=count, max_size=count))
    lost = draw(st.frozensets(st.integers(0, count - 1), max_size=count // 3))
    return Drive(speed, power, lost, draw(st.integers(0, count)))


def _computed(*frames: pl.DataFrame, days: list[dict[str, object]] | None = None, vehicles: int = 1) -> Results:
    facts = [{"vehicle_id": n + 1} for n in range(vehicles)]
    listed = day_rows(2, tuple(range(1, vehicles + 1))) if days is None else days
    return compute(inputs(pl.concat(frames), vehicles=facts, days=listed))


def _same(one: pl.DataFrame, other: pl.DataFrame) -> None:
    assert_frame_equal(one.sort(KEY), other.sort(KEY), rel_tol=1e-9, abs_tol=1e-9)


@SHORT
@given(drives(), st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_the_cuts_of_uploads_nor_duplicates_matter(drive: Drive, random: object) -> None:
    rows = drive.rows()
    pieces = [rows.slice(start, 7) for start in range(0, max(rows.height, 1), 5)]  # pieces overlap by two rows
    random.shuffle(pieces)  # type: ignore[attr-defined]
    whole, cut = _computed(rows), _computed(*pieces)
    assert whole.figures.equals(cut.figures)
    assert whole.trips.equals(cut.trips)
    assert whole.methods.equals(cut.methods)
    assert whole.set_aside.equals(cut.set_aside)


@SHORT
@given(drives())
def test_days_add_up_to_the_period(drive: Drive) -> None:
    """What two days measured is what a day of 48 hours measures; scaling by coverage is each day's own."""
    two = _computed(drive.rows())
    long_day = [{**day_rows()[0], "ends_at": day_rows(2)[1]["ends_at"]}]
    one = _computed(drive.rows(), days=long_day)
    for slug in ("distance_km", "energy_used_by_power_kwh", "energy_used_by_soc_kwh", "in_service_h", "idle_h"):
        whole = Day(one)[slug]
        parts = two.figures.filter(metric=slug)["value"].drop_nulls()
        assert (sum(parts) if len(parts) else None) == (None if whole is None else pytest.approx(whole, abs=1e-6)), slug


@SHORT
@given(drives(), drives())
def test_vehicles_add_up_to_the_pilot(first: Drive, second: Drive) -> None:
    together = _computed(first.rows(1), second.rows(2), vehicles=2)
    alone = [
        _computed(first.rows(1), days=day_rows(2, (1,))),
        compute(inputs(second.rows(2), vehicles=({"vehicle_id": 2},), days=day_rows(2, (2,)))),
    ]
    _same(pl.concat(results.figures for results in alone), together.figures)
    pilot = totals(together.figures, [])
    for slug in SUMS:
        values = together.figures.filter(metric=slug)["value"].drop_nulls()
        total = pilot.filter(metric=slug)["value"].to_list()
        assert (total[0] if total else None) == (pytest.approx(sum(values)) if len(values) else None), slug


@SHORT
@given(drives(), st.sampled_from([0.25, 2.0, 4.0]))
def test_energies_scale_with_power(drive: Drive, scale: float) -> None:
    """State of charge stays out of it: it is what it is."""
    one, other = (_computed(drive.rows(scale=by).drop("battery_soc_pct")).figures for by in (1.0, scale))
    slugs = ("energy_used_by_power_kwh", "energy_discharged_kwh", "energy_regenerated_kwh", "auxiliary_energy_kwh")
    mine = one.filter(pl.col("metric").is_in(slugs)).with_columns(pl.col("value", "low", "high") * scale)
    _same(mine, other.filter(pl.col("metric").is_in(slugs)))


@SHORT
@given(drives(), st.integers(1, 40), st.integers(7, 30))
def test_a_gap_never_adds_energy_or_distance(drive: Drive, start: int, length: int) -> None:
    """Rows taken out: power and speed integrate to no more; the odometer's distance is what it was or less."""
    rows = drive.rows().drop("battery_soc_pct", "energy_discharged_kwh")
    gap = rows.with_row_index("n").filter(~pl.col("n").is_between(start, start + length)).drop("n")
    if gap.height < 2:
        return
    whole, broken = _computed(rows), _computed(gap)
    for metric, method in (("energy_discharged_kwh", "power"), ("energy_regenerated_kwh", "power"),
                           ("distance_km", "speed"), ("distance_km", "odometer")):  # fmt: skip
        sums = [
            results.methods.filter(metric=metric, method=method)["value"].sum() for results in (whole, broken)
        ]  # fmt: skip
        assert sums[1] <= sums[0] + 1e-9, (metric, method)
