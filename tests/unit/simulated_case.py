"""Simulated fleets through the metrics: what was computed beside what truly happened."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator, Sequence

import polars as pl
from metrics_case import TRUCK

from analytics.metrics import Inputs, compute
from analytics.metrics.samples import SIGNALS
from ingest.gateway.simulator import DEMO_FLEET, Fleet, Incidents, PilotSpec, VehicleSpec, as_frames, simulate
from ingest.gateway.simulator.calendar import OperatingDay
from ingest.gateway.simulator.fleet import Duty
from ingest.gateway.simulator.incidents import Downtime
from ingest.gateway.simulator.simulate import VehicleLog
from schemas.frames import Maintenance, OperatingDays, PlannedService, Roadcalls, Vehicles

CATEGORY = {Duty.YARD: "equipment", Duty.FERRY: "vessel"}
Numbered = dict[str, tuple[int, PilotSpec, VehicleSpec]]
"""Vehicles by name: their number, their pilot and what they are."""


def numbered(fleet: Fleet) -> Numbered:
    """The vehicles of a fleet, numbered."""
    pairs = ((pilot, spec) for pilot in fleet.pilots for spec in pilot.vehicles)
    return {spec.name: (n, pilot, spec) for n, (pilot, spec) in enumerate(pairs)}


def one_of_each_kind(first_day: dt.date, days: int, zones: Sequence[str] = ()) -> Fleet:
    """The demonstration's pilots (in `zones`; without any, all) with one vehicle of each kind, nothing going wrong."""
    pilots = tuple(
        dataclasses.replace(pilot, vehicles=_kinds(pilot)) for pilot in DEMO_FLEET.pilots
        if not zones or pilot.zone.key in zones
    )  # fmt: skip
    return Fleet(pilots, first_day, days, Incidents())


def _kinds(pilot: PilotSpec) -> tuple[VehicleSpec, ...]:
    kinds = {(spec.duty, spec.pack is None): spec for spec in reversed(pilot.vehicles)}
    return tuple(kinds.values())


def computed(fleet: Fleet, chunk: int) -> Iterator[pl.DataFrame]:
    """Figure beside truth, `chunk` days at a time: vehicle, day, day_h, sample_h, metric, figure and the truth's row.

    The rows of the day before and after each chunk are read too, as the jobs do; the fleet's last day is left out, as
    what follows it is not known.
    """
    ids = numbered(fleet)
    held: list[VehicleLog] = []
    asked = fleet.dates[:-1]
    for log in simulate(fleet):
        held.append(log)
        dates = asked[:chunk]
        complete = log.day.date > dates[-1] and log.vehicle.name == list(ids)[-1] if dates else False
        if complete:
            yield _beside(held, ids, dates)
            asked = asked[chunk:]
            held = [one for one in held if asked and one.day.date >= asked[0] - dt.timedelta(days=1)]


def _beside(logs: Sequence[VehicleLog], ids: Numbered, dates: list[dt.date]) -> pl.DataFrame:
    results = compute(inputs_of(logs, ids, dates))
    truth = as_frames(piece for log in logs if log.day.date in dates for piece in log.truth).days
    names = pl.DataFrame(
        [(number, name, spec.sample_period_s / 3600) for name, (number, _, spec) in ids.items()],
        schema={"vehicle_id": pl.Int32, "vehicle": pl.String, "sample_h": pl.Float64}, orient="row",
    )  # fmt: skip
    figures = results.figures.join(names, on="vehicle_id").select(
        "vehicle", "sample_h", "day", "metric", figure="value"
    )
    return figures.join(truth, on=["vehicle", "day"])


def inputs_of(
    logs: Sequence[VehicleLog], ids: Numbered, dates: Sequence[dt.date], downtimes: Sequence[Downtime] = ()
) -> Inputs:
    """What the metrics compute these days from; `downtimes` are records of maintenance."""
    frames = [
        log.frame.with_columns(vehicle_id=pl.lit(ids[log.vehicle.name][0], pl.Int32)).drop("vehicle") for log in logs
    ]
    rows = pl.concat(frames, how="diagonal_relaxed")
    days: list[dict[str, object]] = []
    service: list[dict[str, object]] = []
    for number, pilot, _ in ids.values():
        for date in dates:
            day = OperatingDay(date, pilot.zone)
            key = {"vehicle_id": number, "day": date}
            days.append({**key, "pilot_id": 1, "starts_at": day.starts_at, "ends_at": day.ends_at})
            if pilot.plans(date):
                start, end = (day.starts_at + dt.timedelta(seconds=day.at(hour)) for hour in pilot.service_h)
                service.append({**key, "starts_at": start, "ends_at": end})
    return Inputs(
        telemetry=rows.select("vehicle_id", "time", *(name for name in SIGNALS if name in rows.columns)),
        vehicles=_frame(Vehicles, [_vehicle(number, spec) for number, _, spec in ids.values()]),
        days=_frame(OperatingDays, days),
        planned=_frame(PlannedService, service),
        maintenance=_frame(Maintenance, [_record(ids[down.vehicle][0], down) for down in downtimes]),
        roadcalls=Roadcalls.create_empty(),
    )


def _record(number: int, down: Downtime) -> dict[str, object]:
    return {
        "vehicle_id": number, "starts_at": down.start, "ends_at": down.end, "planned": down.planned,
        "cause": down.cause,
    }  # fmt: skip


def _vehicle(number: int, spec: VehicleSpec) -> dict[str, object]:
    return {
        **TRUCK, "vehicle_id": number, "name": spec.name, "category": CATEGORY.get(spec.duty, "truck"),
        "powertrain": "bev" if spec.pack else "diesel", "sample_period_s": float(spec.sample_period_s),
        "usable_battery_kwh": spec.pack.usable_kwh if spec.pack else None, "sleeps_at_key_off": spec.sleeps_at_key_off,
        "charger_efficiency": spec.charger.efficiency if spec.charger else None,
    }  # fmt: skip


def _frame(contract, rows):  # type: ignore[no-untyped-def]
    return contract.validate(pl.DataFrame(rows, schema=contract.create_empty().schema, strict=False))
