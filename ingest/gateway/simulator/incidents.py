"""What goes wrong in a fleet, each with its vehicle and its time.

Times are aware datetimes. `Downtime` and `Roadcall` are what an operator writes down (they are the records files of
the demonstration); the others are what happens to gateways and their uploads.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ingest.gateway.simulator.calendar import OperatingDay, Spans, overlap_s

PULL_OUT_GRACE_S = 30 * 60
DOWN_LIMIT_S = 60 * 60


@dataclass(frozen=True, slots=True)
class Downtime:
    """A vehicle cannot be used from start to end. `cause`: vehicle, charger or supply."""

    vehicle: str
    start: dt.datetime
    end: dt.datetime
    planned: bool
    cause: str
    note: str


@dataclass(frozen=True, slots=True)
class Roadcall:
    """A vehicle fails in service. `system`: propulsion, storage or other."""

    vehicle: str
    time: dt.datetime
    system: str
    note: str


@dataclass(frozen=True, slots=True)
class NoPower:
    """A vehicle's charger gives nothing from start to end."""

    vehicle: str
    start: dt.datetime
    end: dt.datetime


@dataclass(frozen=True, slots=True)
class CounterReset:
    """Counters of a vehicle fall to zero and count on from there."""

    vehicle: str
    time: dt.datetime
    signals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WrongClock:
    """A gateway lost its time: rows from start to end are first sent as if they began at `shown`."""

    vehicle: str
    start: dt.datetime
    end: dt.datetime
    shown: dt.datetime


@dataclass(frozen=True, slots=True)
class LateUpload:
    """Rows from start to end reach the receiver only after everything else."""

    vehicle: str
    start: dt.datetime
    end: dt.datetime


@dataclass(frozen=True, slots=True)
class RepeatedUpload:
    """The first upload of a vehicle's day is sent again, byte for byte."""

    vehicle: str
    day: dt.date


@dataclass(frozen=True, slots=True)
class Incidents:
    """Everything that happens."""

    downtimes: tuple[Downtime, ...] = ()
    roadcalls: tuple[Roadcall, ...] = ()
    without_power: tuple[NoPower, ...] = ()
    resets: tuple[CounterReset, ...] = ()
    wrong_clocks: tuple[WrongClock, ...] = ()
    late: tuple[LateUpload, ...] = ()
    repeated: tuple[RepeatedUpload, ...] = ()

    def down(self, vehicle: str, day: OperatingDay, *, planned: bool) -> Spans:
        """When a vehicle is down on a day, by planned maintenance or not."""
        mine = [d for d in self.downtimes if d.vehicle == vehicle and d.planned is planned]
        return [span for d in mine for span in day.clip(d.start, d.end)]

    def no_power(self, vehicle: str, day: OperatingDay) -> Spans:
        """When a vehicle's charger gives nothing on a day."""
        return [span for n in self.without_power if n.vehicle == vehicle for span in day.clip(n.start, n.end)]

    def resets_on(self, vehicle: str, day: OperatingDay) -> list[tuple[float, tuple[str, ...]]]:
        """When counters of a vehicle fall to zero on a day (seconds from its start), and which."""
        mine = [r for r in self.resets if r.vehicle == vehicle and day.starts_at <= r.time < day.ends_at]
        return [((reset.time - day.starts_at).total_seconds(), reset.signals) for reset in mine]

    def cause(self, vehicle: str, day: OperatingDay, service: Spans) -> str | None:
        """Why a planned day is lost, or null if the vehicle counts as available.

        Lost: down at pull-out and not back within 30 minutes, or down for more than 60 minutes of planned service.
        The downtime that takes most of the service gives the cause.
        """
        mine = [d for d in self.downtimes if d.vehicle == vehicle]
        lost_s = {d: overlap_s(day.clip(d.start, d.end), service) for d in mine}
        pull_out = service[0][0]
        spans = [span for d in mine for span in day.clip(d.start, d.end)]
        missed = any(start <= pull_out and end - pull_out > PULL_OUT_GRACE_S for start, end in spans)
        if not (missed or sum(lost_s.values()) > DOWN_LIMIT_S):
            return None
        worst = max(lost_s, key=lambda downtime: lost_s[downtime])
        return "planned maintenance" if worst.planned else worst.cause
