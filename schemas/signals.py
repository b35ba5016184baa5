"""The signal catalogue: every canonical signal, once.

A signal's name is its column in `telemetry`, its field on the wire and its column in frames. Units are in the name.
Motor power is positive when it propels; battery power and current are positive into the battery. Limits are physical
(a value outside them cannot be true and is rejected), resolutions tell when two values for one instant differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """The type of a signal's values."""

    FLOAT = "float"
    INTEGER = "integer"
    BOOLEAN = "boolean"


class Aggregate(StrEnum):
    """How samples within one `sample_period` become one value."""

    MEAN = "mean"
    LAST = "last"


class Group(StrEnum):
    """The part of the vehicle a signal describes."""

    MOTION = "motion"
    STATE = "state"
    HOURS = "hours"
    BATTERY = "battery"
    POWER = "power"
    CHARGING = "charging"
    FUEL = "fuel"
    ENGINE = "engine"
    CLIMATE = "climate"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Signal:
    """One canonical signal.

    `low` and `high` are inclusive limits in `unit`. `resolution` is the largest difference between two readings of one
    instant that still counts as the same reading. A `counter` only grows, but for resets and roll-over. `vss` is the
    COVESA Vehicle Signal Specification path, `spn` the SAE J1939 suspect parameter number, where there is one.
    """

    name: str
    group: Group
    unit: str
    meaning: str
    low: float
    high: float
    resolution: float
    kind: Kind = Kind.FLOAT
    counter: bool = False
    vss: str | None = None
    spn: int | None = None

    @property
    def aggregate(self) -> Aggregate:
        """Mean for continuous signals, last for states and counters."""
        return Aggregate.LAST if self.counter or self.kind is not Kind.FLOAT else Aggregate.MEAN


def _flag(name: str, group: Group, meaning: str, vss: str | None = None, spn: int | None = None) -> Signal:
    return Signal(name, group, "", meaning, 0, 1, 0, Kind.BOOLEAN, vss=vss, spn=spn)


def _counter(
    name: str, group: Group, unit: str, meaning: str, high: float, resolution: float,
    vss: str | None = None, spn: int | None = None,
) -> Signal:  # fmt: skip
    return Signal(name, group, unit, meaning, 0, high, resolution, counter=True, vss=vss, spn=spn)


G = Group
_MAX_HOURS, _MAX_KWH, _MAX_LITRES = 1_000_000, 100_000_000, 100_000_000

_CATALOGUE = (
    # motion
    Signal("speed_kmh", G.MOTION, "km/h", "speed over ground", 0, 160, 0.01, vss="Vehicle.Speed", spn=84),
    _counter("odometer_km", G.MOTION, "km", "total distance", 10_000_000, 0.01, "Vehicle.TraveledDistance", 917),
    Signal("latitude_deg", G.MOTION, "°", "WGS-84 latitude", -90, 90, 1e-6, vss="Vehicle.CurrentLocation.Latitude", spn=584),
    Signal("longitude_deg", G.MOTION, "°", "WGS-84 longitude", -180, 180, 1e-6, vss="Vehicle.CurrentLocation.Longitude", spn=585),
    Signal("altitude_m", G.MOTION, "m", "height above sea level", -500, 9000, 0.1, vss="Vehicle.CurrentLocation.Altitude", spn=580),
    Signal("heading_deg", G.MOTION, "°", "course over ground, from north", 0, 360, 0.01, vss="Vehicle.CurrentLocation.Heading", spn=165),
    Signal("gnss_hdop", G.MOTION, "1", "horizontal dilution of precision", 0, 100, 0.1),
    Signal("payload_kg", G.MOTION, "kg", "load carried", 0, 500_000, 1),
    Signal("gross_combination_mass_kg", G.MOTION, "kg", "mass of vehicle, trailer and load", 0, 500_000, 1, spn=1760),
    # state
    _flag("ignition_on", G.STATE, "key on"),
    _flag("ready", G.STATE, "ready to drive", "Vehicle.Powertrain.IsReadyToDrive"),
    _flag("parking_brake_on", G.STATE, "parking brake set", "Vehicle.Chassis.ParkingBrake.IsEngaged", 70),
    _flag("plugged_in", G.STATE, "charging cable connected", "Vehicle.Powertrain.TractionBattery.Charging.IsConnected"),
    _flag("charging", G.STATE, "energy flows from charger", "Vehicle.Powertrain.TractionBattery.Charging.IsCharging"),
    _flag("pto_on", G.STATE, "power take-off engaged"),
    # hour meters and cycles
    _counter("operating_hours_h", G.HOURS, "h", "key-on hours", _MAX_HOURS, 0.01),
    _counter("engine_hours_h", G.HOURS, "h", "engine hours", _MAX_HOURS, 0.01, "Vehicle.Powertrain.CombustionEngine.EngineHours", 247),
    _counter("motor_hours_h", G.HOURS, "h", "traction motor hours", _MAX_HOURS, 0.01),
    _counter("pto_hours_h", G.HOURS, "h", "power take-off hours", _MAX_HOURS, 0.01),
    _counter("idle_hours_h", G.HOURS, "h", "idle hours", _MAX_HOURS, 0.01, spn=235),
    Signal("lift_cycles_count", G.HOURS, "1", "lifts made", 0, 1_000_000_000, 0, Kind.INTEGER, counter=True),
    # battery
    Signal("battery_soc_pct", G.BATTERY, "%", "state of charge as the battery management system counts it", 0, 100, 0.01,
           vss="Vehicle.Powertrain.TractionBattery.StateOfCharge.Current"),
    Signal("displayed_soc_pct", G.BATTERY, "%", "state of charge as the dashboard shows it", 0, 100, 0.01,
           vss="Vehicle.Powertrain.TractionBattery.StateOfCharge.Displayed"),
    Signal("battery_soh_pct", G.BATTERY, "%", "state of health", 0, 110, 0.1, vss="Vehicle.Powertrain.TractionBattery.StateOfHealth"),
    Signal("battery_voltage_v", G.BATTERY, "V", "pack voltage", 0, 2000, 0.05, vss="Vehicle.Powertrain.TractionBattery.CurrentVoltage"),
    Signal("battery_current_a", G.BATTERY, "A", "pack current, positive into the battery", -3000, 3000, 0.05,
           vss="Vehicle.Powertrain.TractionBattery.CurrentCurrent"),
    Signal("battery_power_kw", G.BATTERY, "kW", "pack power, positive into the battery", -3000, 3000, 0.01,
           vss="Vehicle.Powertrain.TractionBattery.CurrentPower"),
    Signal("battery_temperature_c", G.BATTERY, "°C", "hottest pack temperature", -60, 150, 0.1,
           vss="Vehicle.Powertrain.TractionBattery.Temperature.Max"),
    _counter("energy_charged_kwh", G.BATTERY, "kWh", "energy into the pack while plugged in, without regeneration", _MAX_KWH, 0.01),
    _counter("energy_discharged_kwh", G.BATTERY, "kWh", "gross energy out of the pack", _MAX_KWH, 0.01),
    _counter("energy_regenerated_kwh", G.BATTERY, "kWh", "energy recovered into the pack while not plugged in", _MAX_KWH, 0.01),
    # power
    Signal("motor_power_kw", G.POWER, "kW", "electric motor power, positive when it propels", -3000, 3000, 0.01),
    Signal("auxiliary_power_kw", G.POWER, "kW", "all loads but traction", 0, 500, 0.01),
    Signal("hvac_power_kw", G.POWER, "kW", "heating, ventilation and air conditioning; part of auxiliary", 0, 200, 0.01),
    Signal("hotel_power_kw", G.POWER, "kW", "loads for people and cargo on board a vessel", 0, 5000, 0.01),
    Signal("shaft_power_kw", G.POWER, "kW", "power on the propeller shaft", -5000, 5000, 0.01),
    Signal("fuel_cell_power_kw", G.POWER, "kW", "fuel cell output", 0, 2000, 0.01),
    # charging
    Signal("grid_power_kw", G.CHARGING, "kW", "AC power at the charger's input", -5000, 5000, 0.01),
    _counter("grid_energy_kwh", G.CHARGING, "kWh", "AC energy at the charger's input", _MAX_KWH, 0.01),
    Signal("charger_output_power_kw", G.CHARGING, "kW", "DC power at the connector", -5000, 5000, 0.01),
    _counter("charger_output_energy_kwh", G.CHARGING, "kWh", "DC energy at the connector", _MAX_KWH, 0.01),
    # fuels
    _counter("fuel_used_l", G.FUEL, "L", "liquid fuel burnt by the engine", _MAX_LITRES, 0.01, spn=250),
    _counter("heater_fuel_used_l", G.FUEL, "L", "liquid fuel burnt by the heater", _MAX_LITRES, 0.01),
    _counter("genset_fuel_used_l", G.FUEL, "L", "liquid fuel burnt by the generator set", _MAX_LITRES, 0.01),
    _counter("hydrogen_used_kg", G.FUEL, "kg", "hydrogen used", 10_000_000, 0.001),
    _counter("cng_used_kg", G.FUEL, "kg", "natural gas used", 100_000_000, 0.01),
    Signal("fuel_rate_l_h", G.FUEL, "L/h", "liquid fuel rate", 0, 3500, 0.05, spn=183),
    Signal("fuel_level_pct", G.FUEL, "%", "tank level", 0, 100, 0.4, spn=96),
    Signal("hydrogen_rate_kg_h", G.FUEL, "kg/h", "hydrogen rate", 0, 200, 0.01),
    Signal("hydrogen_mass_kg", G.FUEL, "kg", "hydrogen in the tanks", 0, 5000, 0.01),
    Signal("hydrogen_pressure_bar", G.FUEL, "bar", "tank pressure", 0, 1200, 0.1),
    Signal("hydrogen_temperature_c", G.FUEL, "°C", "tank temperature", -273.15, 150, 0.1),
    Signal("cng_rate_kg_h", G.FUEL, "kg/h", "natural gas rate", 0, 3000, 0.05),
    _counter("fuel_cell_hours_h", G.FUEL, "h", "fuel cell hours", _MAX_HOURS, 0.01),
    # engine
    Signal("engine_speed_rpm", G.ENGINE, "1/min", "engine speed", 0, 8032, 0.125, vss="Vehicle.Powertrain.CombustionEngine.Speed", spn=190),
    Signal("engine_torque_pct", G.ENGINE, "%", "actual torque, of reference torque", -125, 125, 1, spn=513),
    Signal("engine_reference_torque_nm", G.ENGINE, "N·m", "torque that 100 % stands for", 0, 64_255, 1, spn=544),
    Signal("nox_outlet_ppm", G.ENGINE, "ppm", "NOx after treatment", -200, 3012, 0.05, spn=3226),
    Signal("def_level_pct", G.ENGINE, "%", "diesel exhaust fluid level", 0, 100, 0.4, spn=1761),
    # climate
    Signal("ambient_temperature_c", G.CLIMATE, "°C", "outside air", -60, 70, 0.1, vss="Vehicle.Exterior.AirTemperature", spn=171),
    Signal("cabin_temperature_c", G.CLIMATE, "°C", "cabin air", -60, 90, 0.1,
           vss="Vehicle.Cabin.HVAC.AmbientAirTemperature", spn=170),
    # faults
    _flag("red_stop_lamp", G.FAULT, "red stop lamp lit", spn=623),
    _flag("amber_warning_lamp", G.FAULT, "amber warning lamp lit", spn=624),
    _flag("protect_lamp", G.FAULT, "protect lamp lit", spn=987),
    _flag("malfunction_lamp", G.FAULT, "malfunction indicator lamp lit", "Vehicle.OBD.Status.IsMILOn", 1213),
    Signal("fault_count", G.FAULT, "1", "active trouble codes", 0, 10_000, 0, Kind.INTEGER),
)  # fmt: skip

SIGNALS: Mapping[str, Signal] = MappingProxyType({signal.name: signal for signal in _CATALOGUE})
"""Every canonical signal by name, in column order."""
