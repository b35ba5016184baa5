"""Records import: what people and schedules say, from CSV with a header.

Times without a zone are the pilot's local time. A file is taken whole or not at all; each fault is told with its row
and field. A row that is imported again changes nothing; one that says something new for the same vehicle and time
replaces the old one.
"""

from __future__ import annotations

import csv
import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Session

from schemas import tables
from schemas.errors import Fault, RegistryError
from schemas.units import UNITS, to_house

Cell = Mapping[str, str]
ONE_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Place:
    """What a record is of: a vehicle with the zone of its pilot, or a charger with that of its site's pilots.

    A charger has no zone where none of its site's vehicles, or vehicles of several zones, tell it. `vehicles` are those
    a charger's record may name.
    """

    id: int
    zone: ZoneInfo | None
    vehicles: Mapping[str, list[Place]] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class RecordKind:
    """One kind of record: its columns, its table, how a row becomes values, and which time its change touches."""

    columns: tuple[str, ...]
    table: type[tables.Base]
    key: tuple[str, ...]
    parse: Callable[[Cell, Place], dict[str, Any]]
    touches: Callable[[dict[str, Any], Place], tuple[dt.datetime, dt.datetime]] | None
    optional: tuple[str, ...] = ()

    @property
    def of_chargers(self) -> bool:
        """Whether its rows name a site and a charger, not a vehicle."""
        return "charger" in self.columns


@dataclass(frozen=True)
class RecordsReport:
    """How many rows the file held, and how many of them said something new."""

    rows: int
    changed: int


class _CellError(ValueError):
    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field, self.reason = field, reason


def _time(cells: Cell, field: str, place: Place) -> dt.datetime:
    try:
        value = dt.datetime.fromisoformat(cells[field])
    except ValueError:
        raise _CellError(field, f"{cells[field]!r} is not a time such as 2026-03-02T14:30") from None
    if value.tzinfo is None and place.zone is None:
        raise _CellError(field, f"{cells[field]!r} needs its offset: the vehicles of this site do not tell one zone")
    return value.astimezone(dt.UTC) if value.tzinfo else value.replace(tzinfo=place.zone).astimezone(dt.UTC)


def _span(cells: Cell, place: Place, *, may_last: bool) -> dict[str, dt.datetime | None]:
    starts_at = _time(cells, "start", place)
    ends_at = None if may_last and not cells["end"] else _time(cells, "end", place)
    if ends_at is not None and ends_at <= starts_at:
        raise _CellError("end", "ends before it starts")
    return {"starts_at": starts_at, "ends_at": ends_at}


def _amount(cells: Cell, field: str) -> float:
    try:
        value = float(cells[field])
    except ValueError:
        raise _CellError(field, f"{cells[field]!r} is not a number") from None
    if not 0 < value < math.inf:
        raise _CellError(field, f"{cells[field]} is not above zero")
    return value


def _date(cells: Cell, field: str) -> dt.date:
    try:
        return dt.date.fromisoformat(cells[field])
    except ValueError:
        raise _CellError(field, f"{cells[field]!r} is not a date such as 2026-03-02") from None


def _clock(cells: Cell, field: str) -> dt.time | None:
    if not cells[field]:
        return None
    try:
        return dt.time.fromisoformat(cells[field])
    except ValueError:
        raise _CellError(field, f"{cells[field]!r} is not a time of day such as 06:00") from None


def _yes_or_no(cells: Cell, field: str) -> bool:
    value = cells[field].lower()
    if value not in {"true", "false", "yes", "no", "1", "0"}:
        raise _CellError(field, f"{cells[field]!r} is neither yes nor no")
    return value in {"true", "yes", "1"}


def _choice(cells: Cell, field: str, choices: tuple[str, ...]) -> str:
    if cells[field] not in choices:
        raise _CellError(field, f"{cells[field]!r} is none of {', '.join(choices)}")
    return cells[field]


def _service_day(cells: Cell, _place: Place) -> dict[str, Any]:
    values = {"day": _date(cells, "date"), "starts_at": _clock(cells, "start"), "ends_at": _clock(cells, "end")}
    if (values["starts_at"] is None) != (values["ends_at"] is None):
        raise _CellError("end", "start and end are both given or both empty")
    return values


def _maintenance(cells: Cell, place: Place) -> dict[str, Any]:
    return {
        **_span(cells, place, may_last=True), "planned": _yes_or_no(cells, "planned"),
        "cause": _choice(cells, "cause", ("vehicle", "charger", "supply", "other")), "note": cells["note"] or None,
    }  # fmt: skip


def _roadcall(cells: Cell, place: Place) -> dict[str, Any]:
    system = _choice(cells, "system", ("propulsion", "storage", "other"))
    return {"time": _time(cells, "time", place), "system": system, "note": cells["note"] or None}


def _outage(cells: Cell, place: Place) -> dict[str, Any]:
    return {
        **_span(cells, place, may_last=True), "excluded": _yes_or_no(cells, "excluded"),
        "cause": cells["cause"] or None, "note": cells["note"] or None,
    }  # fmt: skip


def _meter(cells: Cell, place: Place) -> dict[str, Any]:
    named = _place(place.vehicles, cells["vehicle"]).id if cells.get("vehicle") else None
    return {
        **_span(cells, place, may_last=False), "grid_kwh": _amount(cells, "grid_kwh"), "vehicle_id": named,
    }  # fmt: skip


FUELS = {
    "hydrogen": "mass",
    "cng": "mass",
    "lng": "mass",
    "diesel": "volume",
    "gasoline": "volume",
    "propane": "volume",
}
"""What is dispensed, and whether it is kept by mass (kg) or by volume (L)."""


def _fuel(cells: Cell, place: Place) -> dict[str, Any]:
    fuel = _choice(cells, "fuel", tuple(FUELS))
    fitting = tuple(name for name, unit in UNITS.items() if unit.quantity == FUELS[fuel])
    unit = _choice(cells, "unit", fitting)
    amount = _amount(cells, "amount")
    house = to_house(amount, unit)
    return {
        "time": _time(cells, "time", place), "fuel": fuel, "amount": amount, "unit": unit,
        "mass_kg": house if FUELS[fuel] == "mass" else None, "volume_l": house if FUELS[fuel] == "volume" else None,
    }  # fmt: skip


def _whole_day(values: dict[str, Any], place: Place) -> tuple[dt.datetime, dt.datetime]:
    midnight = dt.datetime.combine(values["day"], dt.time(), place.zone).astimezone(dt.UTC)
    return midnight, midnight + 2 * ONE_DAY  # a plan may reach over midnight


def _down_time(values: dict[str, Any], _place: Place) -> tuple[dt.datetime, dt.datetime]:
    return values["starts_at"], values["ends_at"] or dt.datetime(2200, 1, 1, tzinfo=dt.UTC)


def _instant(values: dict[str, Any], _place: Place) -> tuple[dt.datetime, dt.datetime]:
    return values["time"], values["time"]


KindName = Literal["service-plan", "maintenance", "roadcalls", "fuel", "meter", "outages"]
KINDS: dict[str, RecordKind] = {
    "service-plan": RecordKind(
        ("vehicle", "date", "start", "end"), tables.ServiceDay, ("vehicle_id", "day"), _service_day, _whole_day
    ),
    "maintenance": RecordKind(
        ("vehicle", "start", "end", "planned", "cause", "note"), tables.Maintenance, ("vehicle_id", "starts_at"),
        _maintenance, _down_time,
    ),
    "roadcalls": RecordKind(
        ("vehicle", "time", "system", "note"), tables.Roadcall, ("vehicle_id", "time"), _roadcall, _instant
    ),
    "fuel": RecordKind(
        ("vehicle", "time", "fuel", "amount", "unit"), tables.FuelDispensed, ("vehicle_id", "time", "fuel"), _fuel,
        _instant,
    ),
    "meter": RecordKind(
        ("site", "charger", "start", "end", "grid_kwh"), tables.MeterSession, ("charger_id", "starts_at"), _meter,
        _down_time, optional=("vehicle",),
    ),
    "outages": RecordKind(
        ("site", "charger", "start", "end", "excluded", "cause", "note"), tables.ChargerOutage,
        ("charger_id", "starts_at"), _outage, None,
    ),
}  # fmt: skip


def import_records(session: Session, kind: str, path: Path, pilot: str | None = None) -> RecordsReport:
    """Import a CSV of one kind in the session's transaction, and mark what it changes as stale.

    Vehicles are named as in the registry, `pilot/vehicle` where a name occurs in several pilots, or by an alias;
    chargers by their site and their id.

    Raises:
        RegistryError: with row and field of every fault; nothing was imported.
    """
    chosen = KINDS[kind]
    vehicles = _places(session, pilot)
    chargers = _chargers(session, vehicles) if chosen.of_chargers else {}
    rows, faults = [], []
    for number, cells in enumerate(_cells(path, chosen), start=2):
        try:
            place = _charger(chargers, cells) if chosen.of_chargers else _place(vehicles, cells["vehicle"])
            rows.append((place, {chosen.key[0]: place.id, **chosen.parse(cells, place)}))
        except _CellError as error:
            faults.append(Fault(f"{path.name}, line {number}", error.field, error.reason))
    if faults:
        raise RegistryError(faults)
    changed = sum(_put(session, kind, chosen, place, values) for place, values in rows)
    return RecordsReport(len(rows), changed)


def _cells(path: Path, kind: RecordKind) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in kind.columns if name not in (reader.fieldnames or ())]
        if missing:
            raise RegistryError([Fault(f"{path.name}, line 1", name, "is missing from the header") for name in missing])
        named = (*kind.columns, *(name for name in kind.optional if name in (reader.fieldnames or ())))
        return [{name: (row[name] or "").strip() for name in named} for row in reader]


def _places(session: Session, pilot: str | None) -> dict[str, list[Place]]:
    """Every name a vehicle goes by, with the zone of its newest pilot."""
    known = (
        sa.select(tables.Vehicle.id, tables.Vehicle.name, tables.Pilot.slug, tables.PilotCalendar.time_zone)
        .join(tables.Assignment, tables.Assignment.vehicle_id == tables.Vehicle.id)
        .join(tables.Pilot, tables.Pilot.id == tables.Assignment.pilot_id)
        .join(tables.PilotCalendar, tables.PilotCalendar.pilot_id == tables.Pilot.id)
        .order_by(tables.Vehicle.id, tables.Assignment.starts_on.desc(), tables.PilotCalendar.valid_from.desc())
        .ext(distinct_on(tables.Vehicle.id))
    )
    if pilot is not None:
        known = known.where(tables.Pilot.slug == pilot)
    places: dict[str, list[Place]] = {}
    by_id: dict[int, Place] = {}
    for vehicle_id, name, slug, zone in session.execute(known):
        by_id[vehicle_id] = place = Place(vehicle_id, ZoneInfo(zone))
        for title in (name, f"{slug}/{name}"):
            places.setdefault(title, []).append(place)
    for alias, vehicle_id in session.execute(sa.select(tables.VehicleAlias.alias, tables.VehicleAlias.vehicle_id)):
        if vehicle_id in by_id and by_id[vehicle_id] not in places.get(alias, ()):
            places.setdefault(alias, []).append(by_id[vehicle_id])
    return places


def _chargers(session: Session, vehicles: Mapping[str, list[Place]]) -> dict[tuple[str, str], Place]:
    """Every charger by its site and its id, with the one zone that the vehicles of its site have."""
    zones = {place.id: place.zone for places in vehicles.values() for place in places}
    at_site: dict[int | None, set[ZoneInfo | None]] = {}
    for vehicle_id, site_id in session.execute(sa.select(tables.Vehicle.id, tables.Vehicle.site_id)):
        at_site.setdefault(site_id, set()).update({zones[vehicle_id]} if vehicle_id in zones else ())
    known = sa.select(tables.Charger.id, tables.Charger.slug, tables.Site.id, tables.Site.slug).join(
        tables.Site, tables.Site.id == tables.Charger.site_id
    )
    return {
        (site, charger): Place(charger_id, next(iter(found)) if len(found) == 1 else None, vehicles)
        for charger_id, charger, site_id, site in session.execute(known)
        for found in [at_site.get(site_id, set())]
    }


def _charger(chargers: Mapping[tuple[str, str], Place], cells: Cell) -> Place:
    if cells["site"] not in {site for site, _ in chargers}:
        raise _CellError("site", f"{cells['site']!r} is no site with chargers")
    if (cells["site"], cells["charger"]) not in chargers:
        raise _CellError("charger", f"{cells['site']!r} has no charger {cells['charger']!r}")
    return chargers[cells["site"], cells["charger"]]


def _place(places: Mapping[str, list[Place]], name: str) -> Place:
    found = places.get(name, [])
    if not found:
        raise _CellError("vehicle", f"{name!r} is in no pilot")
    if len(found) > 1:
        raise _CellError("vehicle", f"{name!r} is in several pilots; write pilot/vehicle, or import with --pilot")
    return found[0]


def _put(session: Session, kind: str, chosen: RecordKind, place: Place, values: dict[str, Any]) -> bool:
    """Insert or replace one record; tell whether anything changed."""
    table = chosen.table
    key = {name: values[name] for name in chosen.key}
    others = {name: value for name, value in values.items() if name not in key}
    old = session.execute(sa.select(*(getattr(table, name) for name in others)).filter_by(**key)).one_or_none()
    if old is not None and tuple(old) == tuple(others.values()):
        return False
    statement = insert(table).values(**values).on_conflict_do_update(index_elements=list(key), set_=others)
    session.execute(statement)
    told = [values] if old is None else [values, key | dict(zip(others, old, strict=True))]
    if chosen.table is tables.MeterSession and old is not None:
        told.append(told[-1] | {"vehicle_id": _unmatched(session, key)})
    _mark(session, kind, chosen, place, told)
    return True


def _unmatched(session: Session, key: dict[str, Any]) -> int | None:
    """Forget which vehicle a meter session was found to be of, so that a job looks again; tell which it was."""
    meter = sa.select(tables.MeterSession.id).filter_by(**key).scalar_subquery()
    match = tables.MeterMatch
    return session.execute(sa.delete(match).where(match.meter_id == meter).returning(match.vehicle_id)).scalar()


def _mark(session: Session, kind: str, chosen: RecordKind, place: Place, told: Sequence[dict[str, Any]]) -> None:
    """Mark what the record says, and what it said before, as stale for the vehicles it names."""
    if chosen.touches is None:
        return
    spans = [chosen.touches(values, place) for values in told]
    starts_at, ends_at = min(span[0] for span in spans), max(span[1] for span in spans)
    for vehicle_id in {values["vehicle_id"] for values in told} - {None}:
        mark = {"vehicle_id": vehicle_id, "from_time": starts_at, "to_time": ends_at, "cause": kind}
        session.execute(sa.insert(tables.StaleMark).inline().values(**mark))  # whoever marks need not read marks
