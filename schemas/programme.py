"""The registry file: one YAML per programme, read whole and checked with line and field of every fault."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from schemas.errors import Fault, RegistryError
from schemas.signals import SIGNALS

GRID = re.compile(r"(egrid|ember|zone|official|own):[A-Za-z0-9_-]+")
HOURS = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SEGMENTS = (
    "transit-bus", "shuttle", "school-bus", "urban-delivery", "regional-delivery", "drayage", "refuse", "yard-tractor",
    "cargo-handling", "forklift", "construction", "agriculture", "harbor-craft", "passenger-car",
)  # fmt: skip
SEGMENTS_OF_CLASS: dict[str, tuple[str, ...]] = {
    "paratransit-shuttle": ("shuttle",), "delivery-truck": ("urban-delivery",), "school-bus": ("school-bus",),
    "class-8-truck": ("regional-delivery", "drayage"), "transit-bus": ("transit-bus",), "refuse-truck": ("refuse",),
}  # fmt: skip
"""The classes whose average may be a baseline, and the segments that they truly are."""
_LIQUID = ("diesel", "gasoline", "propane", "b20", "b100", "hvo")
FUELS_OF_POWERTRAIN: dict[str, tuple[str, ...]] = {
    "bev": (), "fcev": ("hydrogen",), "phev": _LIQUID, "hev": _LIQUID, "cng": ("cng", "rng"), "lng": ("lng", "rng"),
    "diesel": ("diesel", "b20", "b100", "hvo"),
}  # fmt: skip
"""What a vehicle may burn itself; the first is meant where it declares nothing."""
RateUnit = Literal["L/100km", "L/h", "mpg", "gal/h", "kg/100km", "kg/h"]


def _known_zone(name: str) -> str:
    if name not in zoneinfo.available_timezones():
        raise ValueError("is not an IANA time zone such as America/Los_Angeles")
    return name


def _grid(value: str) -> str:
    if not GRID.fullmatch(value):
        raise ValueError("must look like egrid:CAMX, ember:CHL, zone:CA-QC, official:IND or own:<table>")
    return value


def _region(value: str) -> str:
    if not re.fullmatch(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", value):
        raise ValueError("must be an ISO 3166 country or subdivision such as CL or US-CA")
    return value


def _segment(value: str) -> str:
    if value not in SEGMENTS:
        raise ValueError(f"must be one of {', '.join(SEGMENTS)}")
    return value


def _hours(value: str) -> str:
    if not HOURS.fullmatch(value):
        raise ValueError('must look like "06:00-18:00"')
    return value


def _quoted(value: object) -> object:
    if isinstance(value, int):  # YAML reads 13:00 without quotes as 780
        raise ValueError('must stand in quotes, like "03:00"')
    return value


Grid = Annotated[str, AfterValidator(_grid)]
ClockTime = Annotated[dt.time, BeforeValidator(_quoted)]


class Entry(BaseModel):
    """A part of the file; unknown fields are a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class PartnerEntry(Entry):
    """An organisation."""

    id: Slug
    name: str
    kind: Literal["city", "agency", "manufacturer", "fleet", "energy-supplier", "other"]


class ChargerEntry(Entry):
    """A charger of a site."""

    id: Slug
    rated_kw: Annotated[float, Field(gt=0)] | None = None
    efficiency_pct: Annotated[float, Field(gt=0, le=100)] | None = None
    installed_on: dt.date | None = None


class SiteEntry(Entry):
    """A place where vehicles charge."""

    id: Slug
    name: str | None = None
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None
    grid: Grid | None = None
    line_loss_pct: Annotated[float, Field(ge=0, lt=100)] | None = None
    chargers: list[ChargerEntry] = []


class ServicePlanEntry(Entry):
    """Weekly planned service. Hours that end before they start reach into the next day."""

    weekdays: list[Weekday]
    hours: Annotated[str, AfterValidator(_hours)]
    holidays: list[dt.date] = []
    valid_from: dt.date | None = None

    @property
    def starts_at(self) -> dt.time:
        """Planned pull-out."""
        return _clock(self.hours.split("-")[0])

    @property
    def ends_at(self) -> dt.time:
        """Planned pull-in."""
        return _clock(self.hours.split("-")[1])

    @property
    def iso_weekdays(self) -> list[int]:
        """Weekdays with Monday as 1."""
        return sorted(WEEKDAYS.index(day) + 1 for day in self.weekdays)


def _clock(text: str) -> dt.time:
    hour, minute = (int(part) for part in text.split(":"))
    return dt.time(hour % 24, minute)


class WorkEntry(Entry):
    """Work of the displaced engine at its shaft, and where it was taken from."""

    rate: Annotated[float, Field(gt=0)]
    unit: Literal["kWh/km", "hp-h/mi", "kWh/h", "kWh/L", "hp-h/gal"]
    source: str


class BaselineEntry(Entry):
    """What the vehicle stands in for, known in one of four ways.

    A declared `rate` with unit and source; `reference`, diesel vehicles of the pilot that do the same work; `history`,
    the vehicle's own days from the pilot's `baseline_from` on; or `class_average`, where it truly is the pilot's class.
    """

    fuel: Literal["diesel", "gasoline", "cng", "lng", "propane"]
    rate: Annotated[float, Field(gt=0)] | None = None
    unit: RateUnit | None = None
    source: str | None = None
    reference: list[Slug] | None = None
    history: Literal[True] | None = None
    class_average: str | None = None
    engine_model_year: int | None = None
    engine_power_kw: Annotated[float, Field(gt=0)] | None = None
    emission_standard: str | None = None
    work: WorkEntry | None = None

    @model_validator(mode="after")
    def _one_way(self) -> BaselineEntry:
        ways = {name for name in ("rate", "reference", "history", "class_average") if getattr(self, name)}
        if len(ways) != 1:
            raise ValueError("is known in one way: rate, reference, history or class_average")
        if self.rate is not None and (self.unit is None or self.source is None):
            raise ValueError("a declared rate has its unit and its source")
        measured = self.unit in (None, "L/100km", "L/h", "kg/100km", "kg/h")
        if self.rate is None and not measured:
            raise ValueError(f"{self.unit} is not measured; L/100km, L/h, kg/100km and kg/h are")
        if self.class_average is not None and (self.fuel != "diesel" or self.class_average not in SEGMENTS_OF_CLASS):
            raise ValueError(f"class_average of diesel is one of {', '.join(SEGMENTS_OF_CLASS)}")
        return self


class VehicleEntry(Entry):
    """A vehicle, vessel or machine."""

    id: Slug
    aliases: dict[str, str] = {}
    category: Literal["truck", "bus", "equipment", "vessel", "car"]
    powertrain: Literal["bev", "fcev", "phev", "hev", "cng", "lng", "diesel"]
    fuel: Literal["diesel", "gasoline", "propane", "b20", "b100", "hvo", "cng", "lng", "rng", "hydrogen"] | None = None
    emission_standard: str | None = None
    make: str | None = None
    model: str | None = None
    model_year: int | None = None
    gross_mass_kg: Annotated[float, Field(gt=0)] | None = None
    nameplate_battery_kwh: Annotated[float, Field(gt=0)] | None = None
    usable_battery_kwh: Annotated[float, Field(gt=0)] | None = None
    battery_packs: Annotated[int, Field(ge=1)] = 1
    sample_period_s: Annotated[float, Field(gt=0)] = 1
    site: Slug | None = None
    sleeps_at_key_off: bool = False
    roll_over: dict[str, Annotated[float, Field(gt=0)]] = {}
    enters_on: dt.date | None = None
    service_plan: ServicePlanEntry | None = None
    baseline: BaselineEntry | None = None

    @field_validator("roll_over")
    @classmethod
    def _of_counters(cls, given: dict[str, float]) -> dict[str, float]:
        strange = sorted(name for name in given if name not in SIGNALS or not SIGNALS[name].counter)
        if strange:
            raise ValueError(f"{', '.join(strange)}: not a counter of the catalogue")
        return given

    @model_validator(mode="after")
    def _fuel_suits_powertrain(self) -> VehicleEntry:
        suited = FUELS_OF_POWERTRAIN[self.powertrain]
        if self.fuel is not None and self.fuel not in suited:
            words = f"burns one of {', '.join(suited)}" if suited else "burns nothing"
            raise ValueError(f"fuel: a {self.powertrain} vehicle {words}")
        return self


class GatewayEntry(Entry):
    """A gateway and the vehicles it may upload for; without a list, all of the pilot."""

    id: Slug
    vehicles: list[Slug] | None = None


class PilotPartnerEntry(Entry):
    """A partner's role in a pilot."""

    id: Slug
    role: str


class FundingEntry(Entry):
    """A programme that pays for part of a pilot."""

    programme: str
    award: str | None = None
    share_pct: Annotated[float, Field(ge=0, le=100)] | None = None


class PilotEntry(Entry):
    """A pilot."""

    id: Slug
    name: str
    region: Annotated[str, AfterValidator(_region)]
    grid: Grid | None = None
    segment: Annotated[str, AfterValidator(_segment)]
    time_zone: Annotated[str, AfterValidator(_known_zone)]
    day_starts_at: ClockTime = dt.time(3)
    starts_on: dt.date
    baseline_from: dt.date | None = None
    partners: list[PilotPartnerEntry] = []
    funding: list[FundingEntry] = []
    targets: dict[str, float] = {}
    service_plan: ServicePlanEntry | None = None
    vehicles: list[VehicleEntry]
    gateways: list[GatewayEntry] = []

    @model_validator(mode="after")
    def _names_are_known(self) -> PilotEntry:
        names = [vehicle.id for vehicle in self.vehicles]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"vehicles: {', '.join(twice)} is listed twice")
        for vehicle in self.vehicles:
            self._check_baseline(vehicle)
        for gateway in self.gateways:
            unknown = sorted(set(gateway.vehicles or ()) - set(names))
            if unknown:
                raise ValueError(f"gateways: {gateway.id} names unknown vehicles {', '.join(unknown)}")
        return self

    def _check_baseline(self, vehicle: VehicleEntry) -> None:
        baseline = vehicle.baseline
        if baseline is None:
            return
        diesels = {other.id for other in self.vehicles if other.powertrain == "diesel"}
        strangers = sorted(set(baseline.reference or ()) - diesels)
        if strangers:
            raise ValueError(f"vehicles: {vehicle.id}: {', '.join(strangers)} is no diesel vehicle of this pilot")
        if baseline.history and self.baseline_from is None:
            raise ValueError(f"vehicles: {vehicle.id}: a baseline by history needs the pilot's baseline_from")
        if baseline.class_average and self.segment not in SEGMENTS_OF_CLASS[baseline.class_average]:
            raise ValueError(f"vehicles: {vehicle.id}: {baseline.class_average} is not the class of {self.segment}")


class Programme(Entry):
    """The whole file."""

    partners: list[PartnerEntry] = []
    sites: list[SiteEntry] = []
    pilots: list[PilotEntry]

    @model_validator(mode="after")
    def _references_are_known(self) -> Programme:
        sites = {site.id for site in self.sites}
        partners = {partner.id for partner in self.partners}
        for pilot in self.pilots:
            for vehicle in pilot.vehicles:
                if vehicle.site is not None and vehicle.site not in sites:
                    raise ValueError(f"pilots: {pilot.id}: vehicle {vehicle.id} names unknown site {vehicle.site}")
            for partner in pilot.partners:
                if partner.id not in partners:
                    raise ValueError(f"pilots: {pilot.id}: unknown partner {partner.id}")
        return self


def read_programme(path: Path) -> Programme:
    """Read a registry file.

    Raises:
        RegistryError: with file, line and field of every fault.
    """
    text = path.read_text(encoding="utf-8")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RegistryError([Fault(_yaml_place(path, error), "file", "is not valid YAML")]) from None
    try:
        return Programme.model_validate(data)
    except ValidationError as error:
        raise RegistryError([_fault(path, root, dict(e)) for e in error.errors()]) from None


def _yaml_place(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"{path.name}, line {mark.line + 1}" if mark else path.name


def _fault(path: Path, root: yaml.Node | None, error: dict[str, Any]) -> Fault:
    location = tuple(part for part in error["loc"] if part != "function-after")
    field = ".".join(str(part) for part in location) or "file"
    return Fault(f"{path.name}, line {_line(root, location)}", field, str(error["msg"]).removeprefix("Value error, "))


def _line(node: yaml.Node | None, location: tuple[int | str, ...]) -> int:
    """The line (from 1) of the node at `location`, or of the nearest one above it that is there."""
    for part in location:
        child = _child(node, part)
        if child is None:
            break
        node = child
    return node.start_mark.line + 1 if node is not None else 1


def _child(node: yaml.Node | None, part: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        return node.value[part] if part < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(part)), None)
    return None
