"""The demonstration fleet: six pilots, fourteen operating days from Monday 2025-10-20."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from ingest.gateway.simulator.fleet import (
    Charger,
    Chassis,
    Duty,
    Engine,
    Fleet,
    Format,
    Pack,
    PilotSpec,
    Place,
    VehicleSpec,
)
from ingest.gateway.simulator.incidents import (
    CounterReset,
    Downtime,
    Incidents,
    LateUpload,
    NoPower,
    RepeatedUpload,
    Roadcall,
    WrongClock,
)

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
FIRST_DAY, DAYS = dt.date(2025, 10, 20), 14
WORKDAYS, SIX_DAYS, DAILY = tuple(range(5)), tuple(range(6)), tuple(range(7))

LOS_ANGELES, SANTIAGO = ZoneInfo("America/Los_Angeles"), ZoneInfo("America/Santiago")
AMSTERDAM, KOLKATA = ZoneInfo("Europe/Amsterdam"), ZoneInfo("Asia/Kolkata")
SHANGHAI, TORONTO = ZoneInfo("Asia/Shanghai"), ZoneInfo("America/Toronto")

PLACE = ("speed_kmh", "odometer_km", "latitude_deg", "longitude_deg")
STATE = ("ignition_on", "plugged_in", "charging")
PACK = ("battery_soc_pct", "battery_voltage_v", "battery_current_a")
COUNTERS = ("energy_charged_kwh", "energy_discharged_kwh", "energy_regenerated_kwh")


def _long_beach() -> PilotSpec:
    port = Place(33.7690, -118.2280, 25, 24, 8, 34, 6, 17.5, 4)
    tractor = Chassis(
        15_800, 36_000, 0.45, 0.6, rolling=0.0066, drag_area_m2=6.2, drive_efficiency=0.89, regen_share=0.6,
        regen_limit_kw=220, auxiliary_kw=3.2, hvac_kw_per_k=0.35, hvac_limit_kw=8,
    )  # fmt: skip
    electric = (
        *PLACE, "altitude_m", "gross_combination_mass_kg", *STATE, "parking_brake_on", *PACK, "battery_power_kw",
        "battery_temperature_c", *COUNTERS, "motor_power_kw", "ambient_temperature_c", "gear",
    )  # fmt: skip
    diesel = (
        *PLACE, "altitude_m", "gross_combination_mass_kg", "ignition_on", "parking_brake_on", "operating_hours_h",
        "fuel_used_l", "fuel_rate_l_h", "engine_speed_rpm", "engine_torque_pct", "ambient_temperature_c", "gear",
    )  # fmt: skip
    trucks = tuple(
        VehicleSpec(
            f"truck-0{n}", f"lb-gw-0{n}", Duty.DRAYAGE, port, tractor, 1, True, electric, 18_000 + 4321.5 * n,
            ((5, 17),), 200, Pack(375, 660, 0.05), Charger(f"lb-ch-{n}", 150, 0.92), decimals={"odometer_km": 3},
        )
        for n in (1, 2, 3)
    )  # fmt: skip
    reference = VehicleSpec(
        "truck-diesel-01",
        "lb-gw-04",
        Duty.DRAYAGE,
        port,
        tractor,
        1,
        True,
        diesel,
        241_906.2,
        ((5, 17),),
        200,
        engine=Engine(1.9, 0.208, 5, 560),
    )
    return PilotSpec("long-beach-drayage", LOS_ANGELES, WORKDAYS, (5, 17), (*trucks, reference), Format.PARQUET)


def _santiago() -> PilotSpec:
    line = Place(-33.4489, -70.6693, 70, 19, 540, 22, 7, 15.5, 6)
    bus = Chassis(
        13_400, 18_200, 0.9, 1.0, rolling=0.0085, drag_area_m2=5.4, drive_efficiency=0.87, regen_share=0.62,
        regen_limit_kw=130, auxiliary_kw=4.2, hvac_kw_per_k=0.55, hvac_limit_kw=14,
    )  # fmt: skip
    signals = (
        *PLACE, *STATE, *PACK, *COUNTERS, "auxiliary_power_kw", "hvac_power_kw", "grid_power_kw", "grid_energy_kwh",
        "ambient_temperature_c", "door_open",
    )  # fmt: skip
    buses = tuple(
        VehicleSpec(
            f"bus-0{n}", f"scl-gw-0{n}", Duty.TRANSIT, line, bus, 3, False, signals, 52_000 + 3107.25 * n,
            ((5.5, 12.5), (14.5, 21.5)), 190, Pack(275, 600, 0.05),
            Charger(f"scl-ch-{n}", 80, 0.93, metered=True, starts_h=24.5),
        )
        for n in (1, 2, 3)
    )  # fmt: skip
    return PilotSpec("santiago-buses", SANTIAGO, DAILY, (5.5, 21.5), buses, Format.PARQUET)


def _rotterdam() -> PilotSpec:
    terminal = Place(51.9490, 4.0480, 300, 0.9, 4, 0, 1, 11, 3)
    tractor = Chassis(
        9_500, 34_000, 0.5, 0.7, rolling=0.009, drag_area_m2=6, drive_efficiency=0.86, regen_share=0.5,
        regen_limit_kw=90, auxiliary_kw=2.5, hvac_kw_per_k=0.24, hvac_limit_kw=5, power_take_off_kw=14,
    )  # fmt: skip
    signals = (
        *PLACE, "heading_deg", *STATE, "pto_on", "operating_hours_h", *PACK, "battery_temperature_c",
        "motor_power_kw", "auxiliary_power_kw", "ambient_temperature_c", "fifth_wheel_locked",
    )  # fmt: skip
    tractors = tuple(
        VehicleSpec(
            f"yard-0{n}", f"rtm-gw-0{n}", Duty.YARD, terminal, tractor, 2, False, signals, 9_000 + 1250.4 * n,
            ((6, 12), (16, 22)), 78, Pack(200, 610, 0.06), Charger("rtm-ch-1" if n == 1 else "rtm-ch-2", 75, 0.93),
            charges_between_shifts=True,
        )
        for n in (1, 2)
    )  # fmt: skip
    return PilotSpec("rotterdam-yard", AMSTERDAM, SIX_DAYS, (6, 22), tractors, Format.PARQUET)


def _kochi() -> PilotSpec:
    water = Place(9.9816, 76.2700, 350, 5.6, 0, 0, 1, 28, 2.5)
    hull = Chassis(
        42_000, 48_000, 0.12, 0.14, hull_kw_per_ms3=0.735, drive_efficiency=0.9, auxiliary_kw=7, hvac_kw_per_k=0.5,
        hvac_limit_kw=9, comfort_c=23, genset_kw=25,
    )  # fmt: skip
    signals = (
        "speed_kmh", "latitude_deg", "longitude_deg", "heading_deg", *STATE, "operating_hours_h", "battery_soc_pct",
        "battery_power_kw", "shaft_power_kw", "hotel_power_kw", "genset_fuel_used_l", "grid_power_kw",
        "grid_energy_kwh", "ambient_temperature_c", "bow_door_open",
    )  # fmt: skip
    ferries = tuple(
        VehicleSpec(
            f"ferry-0{n}", f"cok-gw-0{n}", Duty.FERRY, water, hull, 3, False, signals, 6_000 + 731.8 * n,
            ((6, 21),), 48 * 1.852, Pack(120, 620, 0.04), Charger(f"cok-ch-{n}", 150, 0.92, metered=True),
        )
        for n in (1, 2)
    )  # fmt: skip
    return PilotSpec("kochi-ferries", KOLKATA, DAILY, (6, 21), ferries, Format.PARQUET)


def _shenzhen() -> PilotSpec:
    city = Place(22.5431, 114.0579, 60, 9, 12, 10, 4, 24.5, 3.5)
    truck = Chassis(
        3_300, 4_400, 0.9, 1.0, rolling=0.009, drag_area_m2=3.6, drive_efficiency=0.86, regen_share=0.6,
        regen_limit_kw=60, auxiliary_kw=0.7, hvac_kw_per_k=0.3, hvac_limit_kw=3,
    )  # fmt: skip
    signals = (*PLACE, *STATE, *PACK, "battery_temperature_c", "ambient_temperature_c", "gear")
    vans = tuple(
        VehicleSpec(
            f"van-0{n}", "szx-cloud", Duty.DELIVERY, city, truck, 10, True, signals, 31_000 + 2875.3 * n, ((8, 20),),
            140, Pack(80, 350, 0.05), Charger(f"szx-ch-{n}", 40, 0.92),
            decimals={"battery_soc_pct": 0, "odometer_km": 1, "speed_kmh": 1},
        )
        for n in (1, 2)
    )  # fmt: skip
    return PilotSpec("shenzhen-delivery", SHANGHAI, SIX_DAYS, (8, 20), vans, Format.CSV_ZSTD)


def _quebec() -> PilotSpec:
    suburb = Place(46.8139, -71.2080, 280, 12, 60, 30, 5, 4.5, 4)
    bus = Chassis(
        12_400, 15_600, 0.8, 0.9, rolling=0.0105, drag_area_m2=5.6, drive_efficiency=0.86, regen_share=0.6,
        regen_limit_kw=110, auxiliary_kw=2.8, hvac_kw_per_k=0.05, hvac_limit_kw=4, heater_l_h_per_k=0.11,
    )  # fmt: skip
    signals = (
        *PLACE, *STATE, *PACK, *COUNTERS, "heater_fuel_used_l", "auxiliary_power_kw", "cabin_temperature_c",
        "ambient_temperature_c", "door_open",
    )  # fmt: skip
    school_bus = VehicleSpec(
        "school-bus-01", "yqb-gw-01", Duty.SCHOOL, suburb, bus, 2, True, signals, 14_388.6,
        ((6.25, 9.25), (13.9, 16.9)), 100, Pack(130, 630, 0.08), Charger("yqb-ch-1", 24, 0.9),
        charges_between_shifts=True,
    )  # fmt: skip
    return PilotSpec("quebec-school-bus", TORONTO, WORKDAYS, (6.25, 16.75), (school_bus,), Format.NDJSON_GZIP)


def _at(zone: ZoneInfo, month: int, day: int, hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime(2025, month, day, hour, minute, tzinfo=zone).astimezone(dt.UTC)


def _downtimes() -> tuple[Downtime, ...]:
    la, cl, nl, kl, sh, qc = LOS_ANGELES, SANTIAGO, AMSTERDAM, KOLKATA, SHANGHAI, TORONTO

    def down(
        vehicle: str, start: dt.datetime, end: dt.datetime, cause: str, note: str, *, planned: bool = False
    ) -> Downtime:
        return Downtime(vehicle, start, end, planned, cause, note)

    return (
        down("truck-02", _at(la, 10, 23, 4, 30), _at(la, 10, 24, 17), "charger", "charger lb-ch-2 dead, not charged"),
        down("truck-03", _at(la, 10, 28, 4, 40), _at(la, 10, 29, 16), "vehicle", "coolant pump of the battery circuit"),
        down("truck-01", _at(la, 10, 31, 4, 45), _at(la, 10, 31, 12), "vehicle", "service at 30,000 km", planned=True),
        down("bus-03", _at(cl, 10, 21, 5), _at(cl, 10, 21, 15, 30), "vehicle", "front door does not lock"),
        down("bus-02", _at(cl, 10, 24, 22), _at(cl, 10, 24, 23, 30), "vehicle", "inspection at night", planned=True),
        down("bus-01", _at(cl, 10, 29, 16, 40), _at(cl, 10, 30, 0, 10), "vehicle", "towed in, inverter replaced"),
        down("yard-02", _at(nl, 10, 22, 9, 10), _at(nl, 10, 23, 18), "vehicle", "hydraulic hose burst, part on order"),
        down("yard-01", _at(nl, 10, 30, 7), _at(nl, 10, 30, 11), "vehicle", "yearly inspection", planned=True),
        down("ferry-02", _at(kl, 10, 25, 5, 30), _at(kl, 10, 25, 21, 30), "vehicle", "bow thruster fouled"),
        down("ferry-01", _at(kl, 10, 30, 9), _at(kl, 10, 30, 12, 30), "supply", "no shore power at the pier"),
        down("van-02", _at(sh, 10, 28, 7, 30), _at(sh, 10, 28, 19), "vehicle", "tyre and brake line damaged"),
        down("school-bus-01", _at(qc, 10, 29, 6), _at(qc, 10, 29, 8, 30), "vehicle", "12-volt battery flat"),
    )


DEMO_INCIDENTS = Incidents(
    downtimes=_downtimes(),
    roadcalls=(
        Roadcall("bus-01", _at(SANTIAGO, 10, 29, 16, 40), "propulsion", "inverter fault on the road, towed in"),
        Roadcall("yard-02", _at(AMSTERDAM, 10, 22, 9, 10), "other", "hydraulic hose burst with a trailer on"),
    ),
    without_power=(
        NoPower("truck-02", _at(LOS_ANGELES, 10, 22, 12), _at(LOS_ANGELES, 10, 24, 17)),
        NoPower("ferry-01", _at(KOLKATA, 10, 30, 9), _at(KOLKATA, 10, 30, 12, 30)),
    ),
    resets=(
        CounterReset("bus-02", _at(SANTIAGO, 10, 27, 10, 15), ("energy_discharged_kwh", "energy_regenerated_kwh")),
        CounterReset("van-01", _at(SHANGHAI, 10, 30, 11, 20), ("odometer_km",)),
    ),
    wrong_clocks=(WrongClock("yard-01", _at(AMSTERDAM, 10, 24, 17), _at(AMSTERDAM, 10, 24, 17, 40), EPOCH),),
    late=(LateUpload("bus-03", _at(SANTIAGO, 10, 23, 13), _at(SANTIAGO, 10, 24, 3)),),
    repeated=(RepeatedUpload("truck-01", dt.date(2025, 10, 21)),),
)

DEMO_FLEET = Fleet(
    (_long_beach(), _santiago(), _rotterdam(), _kochi(), _shenzhen(), _quebec()), FIRST_DAY, DAYS, DEMO_INCIDENTS
)
