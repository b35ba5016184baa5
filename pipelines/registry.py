"""Registry import: what a programme file declares becomes rows, as often as it is imported.

What disappears from a file is ended, never deleted. A change that can alter results marks the vehicle's days stale.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from ingest import store as keys
from schemas import programme, tables

EVER = (dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(2200, 1, 1, tzinfo=dt.UTC))
RESULT_FIELDS = ("category", "powertrain", "usable_battery_kwh", "sample_period_s", "sleeps_at_key_off", "baseline",
                 "site_id", "fuel", "emission_standard", "roll_over")  # fmt: skip


@dataclass
class ImportReport:
    """What an import did. `new_keys` holds each new gateway's secret, to be shown once."""

    pilots: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    new_keys: dict[str, str] = field(default_factory=dict)


def import_programme(session: Session, given: programme.Programme, today: dt.date) -> ImportReport:
    """Make the registry say what the file says, in the session's transaction."""
    return _Import(session, today).run(given)


@dataclass
class _Import:
    session: Session
    today: dt.date
    report: ImportReport = field(default_factory=ImportReport)

    def run(self, given: programme.Programme) -> ImportReport:
        self.session.execute(sa.text("SELECT pg_advisory_xact_lock(7250517032)"))
        for partner in given.partners:
            self._put(tables.Partner, {"slug": partner.id}, name=partner.name, kind=partner.kind)
        for site in given.sites:
            self._site(site)
        for pilot in given.pilots:
            self._pilot(pilot)
        self.session.flush()
        return self.report

    # --- rows ---

    def _put(self, model: type[Any], key: dict[str, Any], **values: Any) -> tuple[Any, set[str]]:  # noqa: ANN401
        """Insert or update one row by its natural key; tell which fields changed (all of them when new)."""
        row = self.session.scalars(sa.select(model).filter_by(**key)).one_or_none()
        if row is None:
            row = model(**key, **values)
            self.session.add(row)
            self.session.flush()
            self.report.added.append(_label(model, key))
            return row, set(values)
        changed = {name for name, value in values.items() if getattr(row, name) != value}
        for name in changed:
            setattr(row, name, values[name])
        if changed:
            self.report.changed.append(f"{_label(model, key)}: {', '.join(sorted(changed))}")
        return row, changed

    def _mark(self, vehicle_ids: Iterable[int], cause: str) -> None:
        for vehicle_id in vehicle_ids:
            mark = tables.StaleMark(vehicle_id=vehicle_id, from_time=EVER[0], to_time=EVER[1], cause=cause)
            self.session.add(mark)

    # --- sites ---

    def _site(self, given: programme.SiteEntry) -> None:
        site, changed = self._put(
            tables.Site, {"slug": given.id}, name=given.name or given.id, latitude_deg=given.latitude,
            longitude_deg=given.longitude, grid=given.grid, line_loss_pct=given.line_loss_pct,
        )  # fmt: skip
        for charger in given.chargers:
            _, charger_changed = self._put(
                tables.Charger, {"site_id": site.id, "slug": charger.id}, rated_kw=charger.rated_kw,
                efficiency_pct=charger.efficiency_pct, ends_on=None, installed_on=charger.installed_on,
            )  # fmt: skip
            changed |= charger_changed
        self._end_missing(tables.Charger, {charger.id for charger in given.chargers}, site_id=site.id)
        if changed & {"grid", "line_loss_pct", "efficiency_pct"}:
            at_site = sa.select(tables.Vehicle.id).where(tables.Vehicle.site_id == site.id)
            self._mark(self.session.scalars(at_site), f"site {given.id} changed")

    def _end_missing(self, model: type[Any], listed: set[str], **parent: int) -> None:
        for row in self.session.scalars(sa.select(model).filter_by(**parent, ends_on=None)):
            if row.slug not in listed:
                row.ends_on = self.today
                self.report.ended.append(f"{model.__tablename__} {row.slug}")

    # --- pilots ---

    def _pilot(self, given: programme.PilotEntry) -> None:
        pilot, changed = self._put(
            tables.Pilot, {"slug": given.id}, name=given.name, region=given.region, grid=given.grid,
            segment=given.segment, starts_on=given.starts_on, baseline_from=given.baseline_from, ends_on=None,
            targets=dict(given.targets), funding=[entry.model_dump(mode="json") for entry in given.funding],
        )  # fmt: skip
        changed |= self._calendar(pilot, given)
        changed |= self._plan(pilot.id, None, given.service_plan, given.starts_on)
        for entry in given.partners:
            partner = self.session.scalars(sa.select(tables.Partner).filter_by(slug=entry.id)).one()
            self._put(tables.PilotPartner, {"pilot_id": pilot.id, "partner_id": partner.id, "role": entry.role})
        present = {entry.id: self._vehicle(pilot, given, entry) for entry in given.vehicles}
        self._end_assignments(pilot, set(present.values()))
        for gateway in given.gateways:
            self._gateway(pilot, gateway, present)
        self._end_missing(tables.Gateway, {gateway.id for gateway in given.gateways}, pilot_id=pilot.id)
        if changed - {"name", "segment", "targets", "funding"}:
            self._mark(present.values(), f"pilot {given.id} changed")
        self.report.pilots.append(given.id)

    def _calendar(self, pilot: tables.Pilot, given: programme.PilotEntry) -> set[str]:
        """The zone and cut hold from the pilot's first day, its own history included."""
        valid_from = min(given.starts_on, given.baseline_from or given.starts_on)
        _, changed = self._put(
            tables.PilotCalendar, {"pilot_id": pilot.id, "valid_from": valid_from}, time_zone=given.time_zone,
            day_starts_at=given.day_starts_at,
        )  # fmt: skip
        return changed

    def _plan(
        self, pilot_id: int, vehicle_id: int | None, given: programme.ServicePlanEntry | None, since: dt.date
    ) -> set[str]:
        if given is None:
            return set()
        key = {"pilot_id": pilot_id, "vehicle_id": vehicle_id, "valid_from": given.valid_from or since}
        _, changed = self._put(
            tables.ServicePlan, key, weekdays=given.iso_weekdays, starts_at=given.starts_at, ends_at=given.ends_at,
            holidays=list(given.holidays),
        )  # fmt: skip
        return changed

    # --- vehicles ---

    def _vehicle(self, pilot: tables.Pilot, of: programme.PilotEntry, given: programme.VehicleEntry) -> int:
        vehicle = self._find_vehicle(pilot, given)
        new = vehicle is None
        if vehicle is None:
            vehicle = tables.Vehicle(name=given.id, category=given.category, powertrain=given.powertrain)
            self.session.add(vehicle)
            self.report.added.append(f"vehicle {of.id}/{given.id}")
        changed = self._describe(vehicle, given)
        self.session.flush()
        self._aliases(vehicle, given)
        changed |= self._assign(vehicle, pilot, given.enters_on or of.starts_on)
        changed |= self._plan(pilot.id, vehicle.id, given.service_plan, of.starts_on)
        if changed and not new:
            self.report.changed.append(f"vehicle {of.id}/{given.id}: {', '.join(sorted(changed))}")
        if changed & {*RESULT_FIELDS, "assignment", "weekdays", "starts_at", "ends_at", "holidays"}:
            self._mark([vehicle.id], f"vehicle {given.id} changed")
        return vehicle.id

    def _find_vehicle(self, pilot: tables.Pilot, given: programme.VehicleEntry) -> tables.Vehicle | None:
        """The same vehicle has the same name in this pilot, or one of its aliases, wherever it was before."""
        here = sa.select(tables.Assignment.vehicle_id).where(tables.Assignment.pilot_id == pilot.id)
        by_name = sa.select(tables.Vehicle).where(tables.Vehicle.name == given.id, tables.Vehicle.id.in_(here))
        found = self.session.scalars(by_name).first()
        if found is None and given.aliases:
            known = sa.select(tables.VehicleAlias.vehicle_id).where(
                tables.VehicleAlias.alias.in_(given.aliases.values())
            )
            found = self.session.scalars(sa.select(tables.Vehicle).where(tables.Vehicle.id.in_(known))).first()
        return found

    def _describe(self, vehicle: tables.Vehicle, given: programme.VehicleEntry) -> set[str]:
        values = given.model_dump(exclude={"id", "aliases", "site", "enters_on", "service_plan", "baseline"})
        values["name"] = given.id
        values["baseline"] = given.baseline.model_dump(mode="json") if given.baseline else None
        site = self.session.scalars(sa.select(tables.Site.id).filter_by(slug=given.site)).one_or_none()
        values["site_id"] = site
        changed = {name for name, value in values.items() if getattr(vehicle, name) != value}
        for name in changed:
            setattr(vehicle, name, values[name])
        return changed

    def _aliases(self, vehicle: tables.Vehicle, given: programme.VehicleEntry) -> None:
        for kind, alias in given.aliases.items():
            self._put(tables.VehicleAlias, {"alias": alias}, kind=kind, vehicle_id=vehicle.id)

    def _assign(self, vehicle: tables.Vehicle, pilot: tables.Pilot, enters_on: dt.date) -> set[str]:
        """Open the vehicle's time in this pilot; its time in another one ends the day before, and keeps its history."""
        open_ones = list(self.session.scalars(
            sa.select(tables.Assignment).filter_by(vehicle_id=vehicle.id, ends_on=None)
        ))  # fmt: skip
        if [one.pilot_id for one in open_ones] == [pilot.id]:
            changed = open_ones[0].starts_on != enters_on and not self._was_elsewhere(vehicle)
            if changed:
                open_ones[0].starts_on = enters_on
            return {"assignment"} if changed else set()
        start = max(enters_on, self.today) if open_ones or self._was_elsewhere(vehicle) else enters_on
        for one in open_ones:
            one.ends_on = start - dt.timedelta(days=1)
        self.session.add(tables.Assignment(vehicle_id=vehicle.id, pilot_id=pilot.id, starts_on=start))
        return {"assignment"}

    def _was_elsewhere(self, vehicle: tables.Vehicle) -> bool:
        ended = sa.select(tables.Assignment.id).where(
            tables.Assignment.vehicle_id == vehicle.id, tables.Assignment.ends_on.is_not(None)
        )
        return self.session.scalars(ended).first() is not None

    def _end_assignments(self, pilot: tables.Pilot, present: set[int]) -> None:
        for one in self.session.scalars(sa.select(tables.Assignment).filter_by(pilot_id=pilot.id, ends_on=None)):
            if one.vehicle_id not in present:
                one.ends_on = self.today - dt.timedelta(days=1)
                self._mark([one.vehicle_id], f"a vehicle left pilot {pilot.slug}")
                self.report.ended.append(
                    f"vehicle {pilot.slug}/{self.session.get_one(tables.Vehicle, one.vehicle_id).name}"
                )

    # --- gateways ---

    def _gateway(self, pilot: tables.Pilot, given: programme.GatewayEntry, vehicles: dict[str, int]) -> None:
        gateway, _ = self._put(
            tables.Gateway, {"pilot_id": pilot.id, "slug": given.id}, whole_pilot=given.vehicles is None, ends_on=None
        )
        bound = {vehicles[name] for name in given.vehicles or ()}
        stored = set(self.session.scalars(
            sa.select(tables.GatewayVehicle.vehicle_id).filter_by(gateway_id=gateway.id)
        ))  # fmt: skip
        for vehicle_id in bound - stored:
            self.session.add(tables.GatewayVehicle(gateway_id=gateway.id, vehicle_id=vehicle_id))
        self.session.execute(
            sa.delete(tables.GatewayVehicle)
            .where(tables.GatewayVehicle.gateway_id == gateway.id)
            .where(tables.GatewayVehicle.vehicle_id.in_(stored - bound))
        )
        has_key = sa.select(tables.ApiKey.id).filter_by(gateway_id=gateway.id)
        if self.session.scalars(has_key).first() is None:
            self.session.flush()
            self.report.new_keys[f"{pilot.slug}/{given.id}"] = keys.create_key(self.session.connection(), gateway.id)


def _label(model: type[Any], key: dict[str, Any]) -> str:
    return f"{model.__tablename__} {key.get('slug') or key.get('alias') or ''}".strip()
