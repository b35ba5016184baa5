"""What truly happened, known to the simulator alone and never measured back from the rows it sends.

Energies are exact integrals of the simulator's own powers, which run straight between samples; hours count samples.
Hours by state take the first that holds: planned maintenance, down, charging, plugged in without power, in service or
idle (key on), parked. Moving is faster than 0.5 m/s; machines and vessels work with the power take-off on or more than
2 kW at the drive. Idle is a standstill without work, key on, that lasts longer than 60 s, counted whole; shorter stops
are service.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, fields

import polars as pl


@dataclass(frozen=True, slots=True)
class DayTruth:
    """One vehicle, one operating day. Null where a vehicle has no such thing.

    `energy_used_kwh` is discharge minus regeneration while not plugged in; `charged_kwh` is at the battery's
    terminals, `grid_kwh` at the charger's input (also where no meter reports it); `loss_kwh` heats the battery.
    `electric_distance_km` is what a hybrid drove with its engine off. `available` and `cause` are null on days without
    planned service.
    """

    pilot: str
    vehicle: str
    day: dt.date
    starts_at: dt.datetime
    ends_at: dt.datetime
    day_h: float
    distance_km: float
    energy_discharged_kwh: float | None
    energy_regenerated_kwh: float | None
    energy_used_kwh: float | None
    energy_charged_kwh: float | None
    grid_energy_kwh: float | None
    auxiliary_energy_kwh: float
    idle_energy_kwh: float | None
    loss_kwh: float | None
    stored_start_kwh: float | None
    stored_end_kwh: float | None
    key_on_h: float
    moving_h: float
    working_h: float | None
    planned_maintenance_h: float
    down_h: float
    charging_h: float
    plugged_idle_h: float
    in_service_h: float
    idle_h: float
    parked_h: float
    fuel_used_l: float | None
    heater_fuel_used_l: float | None
    genset_fuel_used_l: float | None
    cng_used_kg: float | None
    hydrogen_used_kg: float | None
    electric_distance_km: float | None
    planned: bool
    available: bool | None
    cause: str | None


@dataclass(frozen=True, slots=True)
class TripTruth:
    """From key-on to key-off with at least 100 m driven."""

    pilot: str
    vehicle: str
    day: dt.date
    starts_at: dt.datetime
    ends_at: dt.datetime
    distance_km: float
    energy_used_kwh: float | None


@dataclass(frozen=True, slots=True)
class SessionTruth:
    """A stretch of charging within one operating day; a session over the cut is two stretches that touch.

    Times are those of the first and last charging sample; the energy is all that came over the cable.
    """

    pilot: str
    vehicle: str
    day: dt.date
    starts_at: dt.datetime
    ends_at: dt.datetime
    energy_charged_kwh: float


@dataclass(frozen=True, slots=True)
class Truth:
    """The truth as frames: one row per vehicle-day, per trip, per charging stretch."""

    days: pl.DataFrame
    trips: pl.DataFrame
    sessions: pl.DataFrame


Piece = DayTruth | TripTruth | SessionTruth


def as_frames(pieces: Iterable[Piece]) -> Truth:
    """Sort pieces of truth into frames."""
    everything = list(pieces)
    return Truth(*(_frame(kind, everything) for kind in (DayTruth, TripTruth, SessionTruth)))


def _frame(kind: type[Piece], everything: list[Piece]) -> pl.DataFrame:
    rows = [piece for piece in everything if type(piece) is kind]
    return pl.DataFrame({column.name: [getattr(row, column.name) for row in rows] for column in fields(kind)})
