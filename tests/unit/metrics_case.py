"""Small worlds for tests of the metrics: seconds and lists in, figures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

import dataframely as dy
import polars as pl

from analytics.metrics import Inputs, Policy, Results, compute
from schemas.frames import Maintenance, OperatingDays, PlannedService, Roadcalls, Vehicles

Contract = TypeVar("Contract", bound=dy.Schema)
T0 = datetime(2026, 1, 5, 11, 0, tzinfo=UTC)
"""Start of the first day: 03:00 in Los Angeles."""
DAY = date(2026, 1, 5)
DAY_S = 86_400
HOUR = 3600

TRUCK: dict[str, object] = {
    "vehicle_id": 1, "pilot_id": 1, "name": "truck-01", "category": "truck", "powertrain": "bev",
    "usable_battery_kwh": 100.0, "sample_period_s": 10.0, "sleeps_at_key_off": False, "charger_efficiency": None,
    "line_loss": None, "region": "US-CA", "grid": None, "own_fuel": None, "baseline_fuel": None, "baseline_rate": None,
    "baseline_unit": None, "baseline_source": None, "baseline_standard": None, "baseline_model_year": None,
    "work_rate": None, "work_unit": None, "work_source": None, "own_standard": None,
}  # fmt: skip


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def day_rows(number: int = 1, vehicles: Sequence[int] = (1,), length_s: int = DAY_S) -> list[dict[str, object]]:
    return [
        {"vehicle_id": v, "day": DAY + timedelta(days=n), "pilot_id": 1, "starts_at": at(n * length_s),
         "ends_at": at((n + 1) * length_s)}
        for v in vehicles
        for n in range(number)
    ]  # fmt: skip


def telemetry(times: Sequence[float], vehicle_id: int = 1, **signals: Sequence[object]) -> pl.DataFrame:
    columns = {"vehicle_id": pl.Series([vehicle_id] * len(times), dtype=pl.Int32)}
    stamps = pl.Series([at(t) for t in times], dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame({**columns, "time": stamps, **{n: list(v) for n, v in signals.items()}}, strict=False)


def _frame(contract: type[Contract], rows: list[dict[str, object]]) -> dy.DataFrame[Contract]:
    return contract.validate(pl.DataFrame(rows, schema=contract.create_empty().schema, strict=False))


def inputs(
    rows: pl.DataFrame,
    *,
    vehicles: Sequence[Mapping[str, object]] = ({},),
    days: list[dict[str, object]] | None = None,
    planned: Sequence[tuple[float, float]] = (),
    maintenance: Sequence[tuple[float, float | None, bool, str]] = (),
    roadcalls: Sequence[tuple[float, str]] = (),
    policy: Policy = Policy(),  # noqa: B008 - frozen
    roll_over: Mapping[str, float] | None = None,
) -> Inputs:
    facts = [{**TRUCK, **changes} for changes in vehicles]
    listed = day_rows() if days is None else days
    service = [
        {"vehicle_id": 1, "day": DAY + timedelta(days=int(a // DAY_S)), "starts_at": at(a), "ends_at": at(b)}
        for a, b in planned
    ]
    records = [
        {"vehicle_id": 1, "starts_at": at(a), "ends_at": None if b is None else at(b), "planned": p, "cause": c}
        for a, b, p, c in maintenance
    ]
    calls = [{"vehicle_id": 1, "time": at(t), "system": system} for t, system in roadcalls]
    return Inputs(
        telemetry=rows,
        vehicles=_frame(Vehicles, facts),
        days=_frame(OperatingDays, listed),
        planned=_frame(PlannedService, service),
        maintenance=_frame(Maintenance, records),
        roadcalls=_frame(Roadcalls, calls),
        policy=policy,
        roll_over={counter: {1: value} for counter, value in (roll_over or {}).items()},
    )


class Day:
    """Figures of one vehicle and day, by slug."""

    def __init__(self, results: Results, vehicle_id: int = 1, day: date = DAY) -> None:
        mine = results.figures.filter((pl.col("vehicle_id") == vehicle_id) & (pl.col("day") == day))
        self.rows = {row["metric"]: row for row in mine.iter_rows(named=True)}
        self.trips = results.trips.filter((pl.col("vehicle_id") == vehicle_id) & (pl.col("day") == day))

    def __getitem__(self, slug: str) -> float | None:
        row = self.rows.get(slug)
        return None if row is None else row["value"]

    def part(self, slug: str, part: str) -> object:
        return self.rows[slug][part]

    def hours(self) -> dict[str, float]:
        states = ("in_service", "charging", "idle", "parked", "down", "planned_maintenance", "unknown")
        return {state: value for state in states if (value := self.rows[f"{state}_h"]["value"])}


def one_day(rows: pl.DataFrame, **options: object) -> Day:
    return Day(compute(inputs(rows, **options)))  # type: ignore[arg-type]
