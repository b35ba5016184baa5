"""What a job computes from: the registry, records and factors, read once, and telemetry, read batch by batch.

What is changed while a job runs leaves marks that the job has not read: the next one computes it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import dataframely as dy
import polars as pl
import sqlalchemy as sa

from analytics import metrics
from analytics.factors.own import with_own
from pipelines import baselines, factors, meters, periods, store
from pipelines.calendar import OperatingDay, Span
from schemas.frames import OperatingDays, PlannedService

if TYPE_CHECKING:
    from adbc_driver_postgresql import dbapi as adbc


@dataclass(frozen=True)
class VehicleDayKey:
    """A vehicle-day that may be computed."""

    vehicle_id: int
    day: OperatingDay
    planned: Span | None


class Reading:
    """Reads the inputs of batches for one job."""

    def __init__(
        self, connection: sa.Connection, telemetry: adbc.Connection, facts: store.PilotFacts, vehicle_ids: set[int]
    ) -> None:
        """Read what holds for all batches of these vehicles."""
        ids = sorted(vehicle_ids)
        self._connection, self._telemetry, self._facts = connection, telemetry, facts
        self._own = factors.own_factors(connection)
        self._factors = with_own(self._own)
        self._vehicles = store.vehicles_frame(connection, facts.pilot_id, ids)
        self._maintenance = store.maintenance_frame(connection, ids)
        self._roadcalls = store.roadcalls_frame(connection, ids)
        self._roll_over = store.roll_overs(connection, ids)

    def inputs(self, batch: Sequence[VehicleDayKey], pin: periods.Pin | None = None) -> metrics.Inputs:
        """What a batch is computed from; the factors of a closed month are those that its closing pinned."""
        ids, connection = sorted({key.vehicle_id for key in batch}), self._connection
        first, last = min(key.day.starts_at for key in batch), max(key.day.ends_at for key in batch)
        vehicles = _of(self._vehicles, ids)
        metered = meters.meters_frame(connection, ids, first, last)
        windows = self._windows(batch, metered)
        return metrics.Inputs(
            telemetry=store.telemetry_frame(self._telemetry, windows, metrics.SIGNALS),
            vehicles=vehicles,
            days=_days(self._facts.pilot_id, batch),
            planned=_planned(batch),
            maintenance=_of(self._maintenance, ids),
            roadcalls=_of(self._roadcalls, ids),
            factors=self._factors if pin is None else periods.pinned_factors(connection, pin.factors_sha256),
            baselines=baselines.of_days(connection, self._facts, [(key.vehicle_id, key.day.day) for key in batch]),
            hourly=factors.tables_of_grids(
                connection, self._own, vehicles["grid"].drop_nulls().unique(), first, last
            ),
            roll_over=self._roll_over,
            faults=store.faults_frame(connection, ids, first, last),
            meters=metered,
            fillings=store.fillings_frame(connection, ids, first, last),
        )  # fmt: skip

    def _windows(self, batch: Sequence[VehicleDayKey], metered: pl.DataFrame) -> Iterator[store.Window]:
        """One window per vehicle, padded as the metrics ask, and around what meters counted."""
        spans: dict[int, list[tuple[dt.datetime, dt.datetime]]] = {}
        for vehicle_id, *span in metered.select("vehicle_id", "starts_at", "ends_at").iter_rows():
            spans.setdefault(vehicle_id, []).append((span[0], span[1]))
        for vehicle_id in sorted({key.vehicle_id for key in batch}):
            days = [key.day for key in batch if key.vehicle_id == vehicle_id]
            own = store.Window(vehicle_id, min(day.starts_at for day in days), max(day.ends_at for day in days))
            padded = store.padded(self._connection, own, metrics.PADDING)
            first, last = zip((padded.starts_at, padded.ends_at), *spans.get(vehicle_id, ()), strict=True)
            yield store.Window(vehicle_id, min(first), max(last))


Contract = TypeVar("Contract", bound=dy.Schema)


def _of(frame: dy.DataFrame[Contract], vehicle_ids: Sequence[int]) -> dy.DataFrame[Contract]:
    """What is said of some vehicles."""
    return cast("dy.DataFrame[Contract]", frame.filter(pl.col("vehicle_id").is_in(vehicle_ids)))


def _days(pilot_id: int, batch: Sequence[VehicleDayKey]) -> dy.DataFrame[OperatingDays]:
    rows = [(key.vehicle_id, key.day.day, pilot_id, key.day.starts_at, key.day.ends_at) for key in batch]
    return store.checked(OperatingDays, rows)


def _planned(batch: Sequence[VehicleDayKey]) -> dy.DataFrame[PlannedService]:
    planned = [(key, key.planned) for key in batch if key.planned]
    return store.checked(
        PlannedService, [(key.vehicle_id, key.day.day, span.starts_at, span.ends_at) for key, span in planned]
    )
