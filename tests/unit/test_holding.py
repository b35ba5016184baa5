"""What holds on a vehicle-day is found once and kept, and is what would be found again."""

import datetime as dt
from collections.abc import Mapping, Sequence

import polars as pl
import pytest
from hourly_case import GRID, tables
from polars.testing import assert_frame_equal
from test_emissions import DAY, day_frame, figure, figure_frame, vehicle, vehicle_frame

from analytics.factors import holding, limits
from analytics.factors.memo import Memo
from analytics.factors.pairing import ByTheHour
from analytics.factors.tables import shipped
from analytics.metrics.emissions import CONSERVATIVE, TAILPIPE_VS_GENERATION, avoided
from analytics.metrics.pollutants import NOX, screened
from schemas.frames import UTC_TIME

DIESEL_ID = "epa-hub-co2/diesel"
EDITIONS = pl.DataFrame({"starts_on": [dt.date(2025, 1, 1), dt.date(2026, 1, 1), dt.date(2026, 1, 1)]})
Asked = Sequence[tuple[dt.date, str]]


def value_of(table: pl.DataFrame, slug: str = TAILPIPE_VS_GENERATION, day: dt.date = DAY) -> float:
    given = figure_frame(figure("distance_km", 200.0, day=day), figure("grid_energy_kwh", 260.0, day=day))
    asked = (vehicle_frame(vehicle()), day_frame((1, day)), given, table)
    found = pl.concat([avoided(*asked).figures, screened(*asked).figures])
    value = found.row(by_predicate=pl.col("metric") == slug, named=True)["value"]
    assert isinstance(value, float)
    return value


def edition(factor_id: str, starts_on: dt.date, scale: float) -> pl.DataFrame:
    """The tables with one more edition of a factor."""
    row = shipped().filter(pl.col("id") == factor_id)
    assert row.height == 1
    return pl.concat(
        [shipped(), row.with_columns(id=pl.lit("later"), starts_on=pl.lit(starts_on), value=pl.col("value") * scale)]
    )


@pytest.mark.parametrize(
    ("factor_id", "slug"),
    [(DIESEL_ID, TAILPIPE_VS_GENERATION), ("us-hd-nox/us-hd-2010", NOX)],
)
def test_a_new_edition_changes_the_days_from_its_start_on(factor_id: str, slug: str) -> None:
    first = value_of(shipped(), slug)
    table = edition(factor_id, DAY, 2.0)
    assert value_of(table, slug) > 1.5 * first
    assert value_of(table, slug, DAY - dt.timedelta(days=1)) == pytest.approx(first)
    assert value_of(table, slug, DAY + dt.timedelta(days=30)) > 1.5 * first
    assert value_of(shipped(), slug) == first


def test_a_table_is_not_taken_for_another_with_the_same_editions() -> None:
    starts_on = shipped().filter(pl.col("id") == DIESEL_ID)["starts_on"].item()
    doubled = shipped().with_columns(
        value=pl.when(pl.col("id") == DIESEL_ID).then(pl.col("value") * 2).otherwise("value")
    )
    assert doubled.filter(pl.col("id") == DIESEL_ID)["starts_on"].item() == starts_on
    first = value_of(shipped())
    assert [value_of(table) > 1.5 * first for table in (doubled, shipped(), doubled)] == [True, False, True]


def test_the_same_rows_in_another_frame_are_the_same_table() -> None:
    value_of(shipped())
    for memo in (holding._KEPT, limits._KEPT):
        before = memo.kept()
        value_of(pl.DataFrame(shipped().to_dict()))
        assert memo.kept() == before


def counting() -> tuple[Memo[str, str], list[tuple[dt.date, str]]]:
    """A memo for two tables and three answers of each, and what it was asked to find."""
    found: list[tuple[dt.date, str]] = []

    def find(asked: Asked, table: pl.DataFrame) -> Mapping[tuple[dt.date, str], str]:
        found.extend(asked)
        return {(day, fact): f"{fact} from {day}" for day, fact in asked}

    return Memo(find, tables=2, answers=3), found


def test_days_of_one_edition_period_share_an_answer() -> None:
    memo, found = counting()
    days = [dt.date(2024, 5, 5), dt.date(2025, 1, 1), dt.date(2025, 12, 31), dt.date(2026, 1, 1), dt.date(2030, 1, 1)]
    told = memo.answers([(day, "a") for day in days], EDITIONS)
    assert told == [
        "a from 0001-01-01", "a from 2025-01-01", "a from 2025-01-01", "a from 2026-01-01", "a from 2026-01-01",
    ]  # fmt: skip
    assert len(found) == 3


def test_what_is_kept_is_bounded_and_what_was_used_last_stays() -> None:
    memo, found = counting()
    memo.answers([(DAY, fact) for fact in "abc"], EDITIONS)
    memo.answers([(DAY, "a")], EDITIONS)
    memo.answers([(DAY, "d")], EDITIONS)
    assert (memo.kept(), len(found)) == ([3], 4)
    memo.answers([(DAY, "a"), (DAY, "c"), (DAY, "d")], EDITIONS)
    assert len(found) == 4
    assert len(memo.answers([(DAY, str(n)) for n in range(9)], EDITIONS)) == 9  # more than are kept
    for days in range(1, 4):
        memo.answers([(DAY, "a")], EDITIONS.with_columns(pl.col("starts_on") + dt.timedelta(days=days)))
    assert memo.kept() == [1, 1]


def test_a_batch_gives_what_its_days_give_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    cars = [
        vehicle(vehicle_id=1),
        vehicle(vehicle_id=2, powertrain="phev", region="GB", grid="ember:GBR", own_standard="euro-vi"),
        vehicle(vehicle_id=3, powertrain="cng", own_fuel="rng", own_standard="carb-low-nox-0.02"),
        vehicle(vehicle_id=4, grid=GRID),
        vehicle(vehicle_id=5, category="vessel", region="IN", grid="official:IND", baseline_standard="marine-tier-2"),
    ]
    days = [dt.date(2021, 5, 1), dt.date(2023, 5, 1), DAY]
    keys = [(car["vehicle_id"], day) for car in cars for day in days]
    slugs = ("distance_km", "grid_energy_kwh", "fuel_used_l", "heater_fuel_used_l", "cng_used_kg")
    given = figure_frame(
        *(
            figure(slug, 30.0 + 7 * number + key, vehicle_id=key, day=day)
            for number, slug in enumerate(slugs)
            for key, day in keys
            if key in (2, 3) or slug in ("distance_km", "grid_energy_kwh")
        )
    )
    drawn = pl.DataFrame(
        [(4, day, dt.datetime.combine(day, dt.time(3), dt.UTC), 10.0) for day in days],
        schema={"vehicle_id": pl.Int32, "day": pl.Date, "hour": UTC_TIME, "kwh": pl.Float64}, orient="row",
    )  # fmt: skip
    values = {dt.datetime.combine(day, dt.time(3), dt.UTC): 100.0 * day.year - 200_000 for day in days}
    hourly = ByTheHour(tables(values, area="US-CAMX"), drawn)

    def figures(*of: tuple[int, dt.date]) -> pl.DataFrame:
        asked = (vehicle_frame(*cars), day_frame(*of), given, shipped())
        found = [avoided(*asked, hourly), screened(*asked)]
        return pl.concat([one.figures for one in found])

    def alone() -> pl.DataFrame:
        """Each day by itself, without anything kept."""
        parts = []
        for key in keys:
            monkeypatch.setattr(holding, "_KEPT", Memo(holding._of_facts))
            monkeypatch.setattr(limits, "_KEPT", Memo(limits._of_sources))
            parts.append(figures(key))
        return pl.concat(parts)

    batch = figures(*keys)
    assert_frame_equal(batch, alone(), check_row_order=False)
    hours = batch.filter(pl.col("vehicle_id") == 4, pl.col("metric") == TAILPIPE_VS_GENERATION)["value"]
    assert hours.n_unique() == 3  # the days' own hours, though one edition holds for two of them
    assert batch.filter(pl.col("metric") == CONSERVATIVE)["value"].null_count() < len(keys)
