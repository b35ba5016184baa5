"""What the metrics are computed from, and what they give."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import dataframely as dy
import polars as pl

from analytics.factors.contract import Factors
from analytics.factors.own import NO_TABLES, HourlyTables
from analytics.factors.tables import shipped
from analytics.metrics.rules import REACH
from analytics.metrics.tracks import RollOver
from schemas.frames import (
    Agreements,
    Baselines,
    ChargeSessions,
    FactorIds,
    FaultEpisodes,
    Figures,
    Fillings,
    Maintenance,
    MeterSessions,
    MethodValues,
    OperatingDays,
    PlannedService,
    Roadcalls,
    SetAside,
    StateSpells,
    Trips,
    Vehicles,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Padding:
    """Telemetry to read around the days, per vehicle.

    Before the first day: every row within `before`, and more until there are `rows`, none older than `reach`.
    After the last day: likewise with `after`. With less, trips over the cut end early and silences stay unjudged.
    Besides, within `reach` before those rows: the last row on which the vehicle moved, and those on which the signals
    of `LASTING` last spoke. Without them, states sent on change only are forgotten. And while the cable is in at the
    end, within `reach` after those rows: those on which the battery charges, and the first on which the cable is out.
    Without them, sessions of a long weekend end early.
    """

    before: timedelta
    after: timedelta
    rows: int
    reach: timedelta


PADDING = Padding(before=timedelta(hours=2), after=timedelta(hours=12), rows=600, reach=REACH)


@dataclass(frozen=True, slots=True)
class Policy:
    """An operator's limits for availability, in minutes."""

    pull_out_grace_min: float = 30.0
    down_limit_min: float = 60.0


@dataclass(frozen=True, slots=True)
class Inputs:
    """Frames to compute from.

    `telemetry` has `vehicle_id`, `time` and any of the columns of `TELEMETRY_SCHEMA`; an absent column is all null.
    Rows may come in any order and reach beyond `days` by `PADDING`. `roll_over` names counters of a known width with
    the value at which those of each vehicle start again from zero. `factors` are those that ship, and a programme's
    own; `meters` are sessions of chargers' meters, whole where they reach into `days`, as `telemetry` then has to be;
    `hourly` the tables of those grids that have hours. `baselines` holds the rates of vehicles that do not declare
    one.
    """

    telemetry: pl.DataFrame
    vehicles: dy.DataFrame[Vehicles]
    days: dy.DataFrame[OperatingDays]
    planned: dy.DataFrame[PlannedService]
    maintenance: dy.DataFrame[Maintenance]
    roadcalls: dy.DataFrame[Roadcalls]
    faults: dy.DataFrame[FaultEpisodes] = field(default_factory=FaultEpisodes.create_empty)
    meters: dy.DataFrame[MeterSessions] = field(default_factory=MeterSessions.create_empty)
    fillings: dy.DataFrame[Fillings] = field(default_factory=Fillings.create_empty)
    policy: Policy = Policy()
    roll_over: RollOver = field(default_factory=dict)
    factors: dy.DataFrame[Factors] = field(default_factory=shipped)
    hourly: HourlyTables = NO_TABLES
    baselines: dy.DataFrame[Baselines] = field(default_factory=Baselines.create_empty)


@dataclass(frozen=True, slots=True)
class Results:
    """Figures of each vehicle-day, its states, the trips and charging sessions that start in it, and what is behind.

    `methods` holds each figure by every method the data allow, `agreements` how they agree, `set_aside` the readings
    that were not believed, `factor_ids` the emission factors.
    """

    figures: dy.DataFrame[Figures]
    trips: dy.DataFrame[Trips]
    charge_sessions: dy.DataFrame[ChargeSessions]
    state_spells: dy.DataFrame[StateSpells]
    factor_ids: dy.DataFrame[FactorIds]
    methods: dy.DataFrame[MethodValues]
    agreements: dy.DataFrame[Agreements]
    set_aside: dy.DataFrame[SetAside]

    @classmethod
    def empty(cls) -> Results:
        """What nothing gives."""
        return cls(
            Figures.create_empty(), Trips.create_empty(), ChargeSessions.create_empty(), StateSpells.create_empty(),
            FactorIds.create_empty(), MethodValues.create_empty(), Agreements.create_empty(), SetAside.create_empty(),
        )  # fmt: skip
