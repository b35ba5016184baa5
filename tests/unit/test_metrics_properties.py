"""Properties of the metrics over driving and charging that Hypothesis makes up: what holds whatever was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from metrics_case import DAY_S, Day, at, day_rows, inputs, telemetry
from polars.testing import assert_frame_equal

from analytics.metrics import METRICS, Inputs, Results, Total, compute, totals
from analytics.metrics.emissions import TAILPIPE_VS_GENERATION
from schemas.frames import MeterSessions
from tests import campaign

KEY = ["vehicle_id", "day", "metric"]
SUMS = [slug for slug, metric in METRICS.items() if metric.total is Total.SUM]
SHORT = settings(max_examples=campaign.size(6, 200))
STEP_S = 10
EFFICIENCY = 0.92
Days = list[dict[str, object]]
FACTS = {"grid": "egrid:CAMX", "baseline_fuel": "diesel", "baseline_rate": 40.0, "baseline_unit": "L/100km",
         "baseline_source": "declared"}  # fmt: skip
DIESEL_KG_PER_L = 10.21 / 3.785411784


@dataclass(frozen=True)
class World:
    """Rows every ten seconds over a cut: a drive, charging at a plug and a drive home, and which rows were lost.

    What is bought is told by a counter of the charger's, by a meter's record of the session, or by neither.
    """

    speed: list[float]
    power: list[float]
    charging_rows: tuple[int, int]
    bought_by: str
    lost: frozenset[int]
    starts_before_cut: int

    @property
    def first_s(self) -> int:
        return DAY_S - self.starts_before_cut * STEP_S

    def rows(self, vehicle_id: int = 1, scale: float = 1.0) -> pl.DataFrame:
        """Telemetry; `scale` makes every power and energy larger."""
        count = len(self.speed)
        charging = [self.charging_rows[0] <= n < self.charging_rows[1] for n in range(count)]
        power = [kw * scale for kw in self.power]
        charged = [kw * flows for kw, flows in zip(power, charging, strict=True)]
        meter = {"grid_energy_kwh": _counter(700.0, (kw / EFFICIENCY for kw in charged))}
        rows = telemetry(
            [self.first_s + n * STEP_S for n in range(count)], vehicle_id, speed_kmh=self.speed,
            ignition_on=[not flows for flows in charging], plugged_in=charging, charging=charging,
            odometer_km=_counter(1000.0, self.speed), battery_power_kw=power, auxiliary_power_kw=[3.0 * scale] * count,
            energy_discharged_kwh=_counter(500.0, (max(0.0, -kw) for kw in power)),
            energy_charged_kwh=_counter(300.0, charged), battery_soc_pct=_counter(60.0, self.power),
            **(meter if self.bought_by == "counter" else {}),
        )  # fmt: skip
        kept = [n not in self.lost for n in range(count)]
        return rows.filter(pl.Series(kept))

    def meters(self, vehicle_id: int = 1, scale: float = 1.0) -> pl.DataFrame:
        """The record of the session, where there is one."""
        start, end = (at(self.first_s + n * STEP_S) for n in self.charging_rows)
        kwh = sum(self.power[slice(*self.charging_rows)]) / EFFICIENCY * scale * STEP_S / 3600
        rows = [(vehicle_id, vehicle_id, start, end, kwh)] if self.bought_by == "record" else []
        return pl.DataFrame(rows, MeterSessions.create_empty().schema, orient="row")


def _counter(first: float, rates: Iterable[float]) -> list[float]:
    """What a counter tells on each row, of so much an hour from row to row."""
    return list(accumulate((rate * STEP_S / 3600 for rate in rates), initial=first))[:-1]


def _many(draw: st.DrawFn, values: list[float], count: int) -> list[float]:
    return draw(st.lists(st.sampled_from(values), min_size=count, max_size=count))


@st.composite
def worlds(draw: st.DrawFn, lost: bool = True) -> World:
    there, plugged, home = draw(st.integers(12, 50)), draw(st.integers(8, 40)), draw(st.integers(3, 20))
    count = there + plugged + home
    speed = _many(draw, [0.0, 18.0, 36.5, 54.25, 72.0], count)
    power = _many(draw, [-80.0, -36.5, -4.0, 12.25, 30.0], count)
    at_plug = slice(there, there + plugged)
    speed[at_plug], power[at_plug] = [0.0] * plugged, _many(draw, [7.5, 50.0, 120.0], plugged)
    gone = draw(st.frozensets(st.integers(0, count - 1), max_size=count // 3)) if lost else frozenset()
    bought_by = draw(st.sampled_from(["counter", "record", "neither"]))
    return World(speed, power, (there, there + plugged), bought_by, gone, draw(st.integers(0, count)))


def _inputs(rows: pl.DataFrame, meters: pl.DataFrame, vehicles: Sequence[int], days: Days | None = None) -> Inputs:
    facts = [{"vehicle_id": vehicle_id, **FACTS} for vehicle_id in vehicles]
    return replace(inputs(rows, vehicles=facts, days=day_rows(2, vehicles) if days is None else days), meters=meters)


def _computed(
    world: World, rows: pl.DataFrame | None = None, scale: float = 1.0, vehicle_id: int = 1, days: Days | None = None
) -> Results:
    """Results of a world, or of these rows of it."""
    told = world.rows(vehicle_id, scale) if rows is None else rows
    return compute(_inputs(told, world.meters(vehicle_id, scale), [vehicle_id], days))


def _same(one: pl.DataFrame, other: pl.DataFrame) -> None:
    assert_frame_equal(one.sort(KEY), other.sort(KEY), rel_tol=1e-9, abs_tol=1e-9)


@SHORT
@given(worlds(), st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_the_cuts_of_uploads_nor_duplicates_matter(world: World, random: object) -> None:
    rows = world.rows()
    pieces = [rows.slice(start, 7) for start in range(0, max(rows.height, 1), 5)]  # pieces overlap by two rows
    random.shuffle(pieces)  # type: ignore[attr-defined]
    whole, cut = _computed(world), _computed(world, pl.concat(pieces))
    for part in ("figures", "trips", "charge_sessions", "methods", "set_aside"):
        assert getattr(whole, part).equals(getattr(cut, part)), part


def _in_one_day(world: World) -> Results:
    """The two days as one of 48 hours."""
    return _computed(world, days=[{**day_rows()[0], "ends_at": day_rows(2)[1]["ends_at"]}])


def _add_up(two: Results, one: Results, slugs: Iterable[str]) -> None:
    for slug in slugs:
        whole = Day(one)[slug]
        parts = two.figures.filter(metric=slug)["value"].drop_nulls()
        assert (sum(parts) if len(parts) else None) == (None if whole is None else pytest.approx(whole, abs=1e-6)), slug


@SHORT
@given(worlds(lost=False))
def test_days_add_up_to_the_period(world: World) -> None:
    """Every sum, where nothing was lost; the sides of ratios where no day rests, as a day without distance has none."""
    two, one = _computed(world), _in_one_day(world)
    rests = 0.0 in two.figures.filter(metric="distance_km")["value"]
    _add_up(two, one, [slug for slug in SUMS if not (rests and slug.startswith("ratio_"))])
    assert {*two.figures.drop_nulls("value")["metric"]} >= {"grid_energy_kwh", TAILPIPE_VS_GENERATION}


@SHORT
@given(worlds())
def test_what_days_with_lost_rows_measured_adds_up_to_the_period(world: World) -> None:
    """Of what is scaled nothing adds up exactly: each day is scaled by its own coverage, or not at all below 80 %."""
    slugs = ("distance_km", "energy_used_by_power_kwh", "energy_used_by_soc_kwh", "energy_charged_kwh",
             "grid_energy_kwh", "in_service_h", "charging_h", "idle_h")  # fmt: skip
    _add_up(_computed(world), _in_one_day(world), slugs)


@SHORT
@given(worlds(), worlds())
def test_vehicles_add_up_to_the_pilot(first: World, second: World) -> None:
    numbered = ((1, first), (2, second))
    alone = [_computed(world, vehicle_id=n) for n, world in numbered]
    rows = pl.concat((world.rows(n) for n, world in numbered), how="diagonal")
    meters = pl.concat(world.meters(n) for n, world in numbered)
    together = compute(_inputs(rows, meters, (1, 2)))
    _same(pl.concat(results.figures for results in alone), together.figures)
    pilot = totals(together.figures, [])
    for slug in SUMS:
        values = together.figures.filter(metric=slug)["value"].drop_nulls()
        total = pilot.filter(metric=slug)["value"].to_list()
        assert (total[0] if total else None) == (pytest.approx(sum(values)) if len(values) else None), slug


@SHORT
@given(worlds(), st.sampled_from([0.25, 2.0, 4.0]))
def test_energies_and_their_emissions_scale_with_power(world: World, scale: float) -> None:
    """State of charge stays out of it: it is what it is. So is the fuel that the baseline would have burned."""
    one, other = (_computed(world, world.rows(scale=by).drop("battery_soc_pct"), by).figures for by in (1.0, scale))
    slugs = ("energy_used_by_power_kwh", "energy_discharged_kwh", "energy_regenerated_kwh", "auxiliary_energy_kwh",
             "energy_charged_kwh", "grid_energy_kwh")  # fmt: skip
    mine = one.filter(pl.col("metric").is_in(slugs)).with_columns(pl.col("value", "low", "high") * scale)
    _same(mine, other.filter(pl.col("metric").is_in(slugs)))
    _same(_emitted(one).with_columns(pl.col("value") * scale), _emitted(other))


def _emitted(figures: pl.DataFrame) -> pl.DataFrame:
    """What power stations emitted for each day: what the displaced diesel would have, less what was avoided."""
    litres, avoided = (figures.filter(metric=slug) for slug in ("fuel_displaced_l", TAILPIPE_VS_GENERATION))
    both = avoided.join(litres.select(*KEY[:2], litres="value"), on=KEY[:2])
    return both.select(*KEY, value=pl.col("litres") * DIESEL_KG_PER_L - pl.col("value"))


LITTLE_IN_BETWEEN = World(
    [36.5] * 60 + [0.0] * 10 + [36.5] * 10, [-80.0] * 20 + [-4.0] * 10 + [-80.0] * 30 + [50.0] * 10 + [-80.0] * 10,
    (60, 70), "neither", frozenset(), 80,
)  # fmt: skip
"""Less is used for a while: without those rows, scaling adds what never was."""


@SHORT
@given(worlds(), st.integers(1, 40), st.integers(7, 30))
@example(LITTLE_IN_BETWEEN, 20, 8)
def test_a_gap_never_adds_energy_or_distance_but_by_scaling(world: World, start: int, length: int) -> None:
    """Rows taken out: no method integrates to more, and the odometer's distance is what it was or less.

    A headline may be scaled to more than it was: then it is estimated, and its bounds hold what it was.
    """
    rows = world.rows().drop("battery_soc_pct", "energy_discharged_kwh", "energy_charged_kwh")
    gap = rows.with_row_index("n").filter(~pl.col("n").is_between(start, start + length)).drop("n")
    if gap.height < 2:
        return
    whole, broken = _computed(world, rows), _computed(world, gap)
    for metric, method in (("energy_discharged_kwh", "power"), ("energy_regenerated_kwh", "power"),
                           ("energy_charged_kwh", "power"), ("distance_km", "speed"),
                           ("distance_km", "odometer")):  # fmt: skip
        sums = [
            results.methods.filter(metric=metric, method=method)["value"].sum() for results in (whole, broken)
        ]  # fmt: skip
        assert sums[1] <= sums[0] + 1e-9, (metric, method)
    _never_more_but_scaled(whole.figures, broken.figures)


def _never_more_but_scaled(whole: pl.DataFrame, broken: pl.DataFrame) -> None:
    """Of both days together: what was counted over a silence at the cut is split by what is known, which may be little.

    A counter is then split by time, the record of a session by the power that was seen, and one day may get more.
    """
    headlines = ("energy_discharged_kwh", "energy_regenerated_kwh", "energy_charged_kwh", "grid_energy_kwh",
                 "auxiliary_energy_kwh", "distance_km")  # fmt: skip
    was, now = (totals(figures.filter(pl.col("metric").is_in(headlines)), []) for figures in (whole, broken))
    both = now.join(was.select("metric", was="value"), on="metric")
    more = both.filter(pl.col("value") > pl.col("was") + 1e-9)
    bounded = (pl.col("low") - 1e-9 <= pl.col("was")) & (pl.col("value") <= pl.col("high"))
    assert more.filter(~(bounded & (pl.col("method") != "measured")).fill_null(False)).is_empty(), more
