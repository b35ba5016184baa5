"""What a simulated fleet is made of: places, vehicles, chargers, pilots."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from enum import StrEnum
from zoneinfo import ZoneInfo

from ingest.gateway.simulator.incidents import Incidents


class Duty(StrEnum):
    """What a vehicle does all day."""

    DRAYAGE = "drayage"
    TRANSIT = "transit"
    YARD = "yard"
    FERRY = "ferry"
    DELIVERY = "delivery"
    SCHOOL = "school"
    LIFT = "lift"
    DIG = "dig"


class Format(StrEnum):
    """How a gateway writes its uploads."""

    PARQUET = "parquet"
    NDJSON_GZIP = "ndjson+gzip"
    CSV_ZSTD = "csv+zstd"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a vehicle works: an out-and-back route with rolling hills, and the weather of the season."""

    latitude_deg: float
    longitude_deg: float
    bearing_deg: float
    route_km: float
    altitude_m: float
    hill_m: float
    hill_length_km: float
    mean_c: float
    swing_c: float


@dataclass(frozen=True, slots=True)
class Chassis:
    """Longitudinal dynamics and on-board loads of a vehicle.

    `drag_area_m2` is drag coefficient times frontal area. A vessel has `hull_kw_per_ms3` instead of wheels: its shaft
    power grows with the cube of speed. `regen_share` is the part of braking power that the motor takes.
    """

    empty_kg: float
    loaded_kg: float
    accelerate_ms2: float
    brake_ms2: float
    rolling: float = 0.0
    drag_area_m2: float = 0.0
    hull_kw_per_ms3: float = 0.0
    drive_efficiency: float = 0.89
    regen_share: float = 0.65
    regen_efficiency: float = 0.85
    regen_limit_kw: float = 150.0
    auxiliary_kw: float = 2.0
    hvac_kw_per_k: float = 0.2
    hvac_limit_kw: float = 10.0
    comfort_c: float = 20.0
    power_take_off_kw: float = 0.0
    heater_l_h_per_k: float = 0.0
    genset_kw: float = 0.0


@dataclass(frozen=True, slots=True)
class Pack:
    """A traction battery as its terminals see it: open-circuit voltage rising with charge behind a resistance."""

    usable_kwh: float
    nominal_v: float
    resistance_ohm: float


@dataclass(frozen=True, slots=True)
class Charger:
    """A charger as the vehicle sees it. `starts_h` is the local clock hour from which night charging is allowed."""

    id: str
    power_kw: float
    efficiency: float
    metered: bool = False
    starts_h: float | None = None
    taper_from: float = 0.88
    target: float = 0.97


@dataclass(frozen=True, slots=True)
class Engine:
    """A diesel engine as its fuel flow: idle flow plus flow by work at the crankshaft."""

    idle_l_h: float
    litres_per_kwh: float
    accessories_kw: float
    tank_l: float


@dataclass(frozen=True, slots=True)
class GasEngine:
    """A natural gas engine as its fuel flow: idle flow plus flow by work at the crankshaft."""

    idle_kg_h: float
    kg_per_kwh: float
    accessories_kw: float


@dataclass(frozen=True, slots=True)
class FuelCell:
    """A fuel cell system as its hydrogen flow, with tanks that are full again every morning."""

    limit_kw: float
    idle_kg_h: float
    kg_per_kwh: float
    tank_kg: float


@dataclass(frozen=True, slots=True)
class VehicleSpec:
    """One vehicle with its gateway. `signals` are what it sends, canonical signals and extras alike.

    A vehicle with battery and engine is a plug-in hybrid: it drives `electric_km` a day before the engine starts.
    """

    name: str
    gateway: str
    duty: Duty
    place: Place
    chassis: Chassis
    sample_period_s: int
    sleeps_at_key_off: bool
    signals: tuple[str, ...]
    odometer_km: float
    shifts_h: tuple[tuple[float, float], ...]
    daily_km: float
    pack: Pack | None = None
    charger: Charger | None = None
    engine: Engine | None = None
    gas_engine: GasEngine | None = None
    fuel_cell: FuelCell | None = None
    electric_km: float | None = None
    charges_between_shifts: bool = False
    soc_start: float = 0.7
    decimals: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PilotSpec:
    """One pilot: its vehicles, when service is planned and how its gateways write."""

    id: str
    zone: ZoneInfo
    weekdays: tuple[int, ...]
    service_h: tuple[float, float]
    vehicles: tuple[VehicleSpec, ...]
    format: Format

    def plans(self, day: dt.date) -> bool:
        """Whether service is planned on a date; Monday is 0."""
        return day.weekday() in self.weekdays


@dataclass(frozen=True, slots=True)
class Fleet:
    """Pilots over a run of operating days, and what happens to them."""

    pilots: tuple[PilotSpec, ...]
    first_day: dt.date
    days: int
    incidents: Incidents

    @property
    def dates(self) -> list[dt.date]:
        """Every operating day, in order."""
        return [self.first_day + dt.timedelta(days=n) for n in range(self.days)]

    def pilot(self, pilot_id: str) -> PilotSpec:
        """A pilot by its id; KeyError if there is none."""
        return {pilot.id: pilot for pilot in self.pilots}[pilot_id]
