"""What every signal adds up to between two marked rows, and the time and distance it covers."""

from __future__ import annotations

import numpy as np

from analytics.metrics.arrays import Flags, Floats, Whole
from analytics.metrics.places import Places, at, level, rise_across
from analytics.metrics.positions import run_km
from analytics.metrics.readings import Fixes, Readings, Rows, Samples
from analytics.metrics.samples import COUNTERS, PLACE, RATES
from analytics.metrics.tracks import (
    Amounts,
    RollOver,
    Track,
    bridged,
    counted,
    held,
    in_step,
    integrated,
)  # fmt: skip

ODOMETER, POWER, SPEED, SOC = "odometer_km", "battery_power_kw", "speed_kmh", "battery_soc_pct"
TANK, PAYLOAD, POSITION = "hydrogen_mass_kg", "payload_kg", "latitude_deg"
AMOUNTS: dict[str, tuple[str, ...]] = {
    ODOMETER: ("distance_km",),
    POWER: ("drawn_kwh", "returned_kwh"),
    SPEED: ("speed_km",),
    SOC: ("soc_pts",),
    TANK: ("tank_kg",),
    PAYLOAD: ("transport_work_tkm",),
    POSITION: ("position_km",),
    **{name: (name,) for name in COUNTERS if name != ODOMETER},
    **{name: (f"{name}_sum",) for name in RATES},
}
"""Names of what each signal adds up to; `<signal>_s` is the time and, where that matters, `<signal>_km` the
distance it covers."""
RISES = {ODOMETER: "odometer_rise_km", SOC: "soc_rise_pts"}
"""The change across the samples around the interval that starts at a mark."""
_MORE = {ODOMETER: (RISES[ODOMETER],), SOC: (RISES[SOC], "soc_start_pct")}


Sums = dict[str, Floats | None]
"""Sums by name; None for a signal without samples."""


def running(samples: Samples, stands: Flags, contact_s: Floats, marked: Whole, roll_over: RollOver) -> Sums:
    """Running sums on the rows numbered `marked`, by name.

    They are `AMOUNTS` with coverages, `heard_s` (time with rows at most `contact_s` apart), and at the mark itself
    `RISES` and `soc_start_pct`, the level; NaN for a vehicle without samples. `stands` and `contact_s` are told of
    every row.
    """
    odometer = _track(samples, ODOMETER, roll_over, stands)
    if odometer is not None:
        samples.spread(_spread(odometer, samples.rows))
    places = Places(samples.rows.at(marked))
    columns = _heard(samples, contact_s, places)
    for name in AMOUNTS:
        track = _track(samples, name, roll_over, stands)
        if track is None or not len(track.x):  # latitudes and longitudes may never come together
            columns |= dict.fromkeys(_names(name))
        else:
            columns |= _columns(track, places)
    return columns


def split_power(here: Floats, there: Floats, hours: Floats, km: Floats) -> dict[str, Floats]:
    """Battery energy of an interval, drawn and returned, split where the power crosses zero."""
    net = (here + there) / 2 * hours
    returned = np.maximum(net, 0.0)
    crosses = np.flatnonzero(here * there < 0)
    high, low = np.maximum(here[crosses], there[crosses]), np.minimum(here[crosses], there[crosses])
    returned[crosses] = high * high / (high - low) / 2 * hours[crosses]
    return {"drawn_kwh": returned - net, "returned_kwh": returned}


def _trapezoid(name: str) -> Amounts:
    return lambda here, there, hours, km: {name: (here + there) / 2 * hours}


def _carried(here: Floats, there: Floats, hours: Floats, km: Floats) -> dict[str, Floats]:
    """Transport work: the load in tonnes times the distance it was carried."""
    return {"transport_work_tkm": here / 1000 * km}


def _track(samples: Samples, name: str, roll_over: RollOver, stands: Flags) -> Track | None:
    if name not in samples.signals:
        return None
    if name == POSITION:
        return _position(samples, stands) if PLACE[1] in samples.signals else None
    readings = samples.readings(name)
    if name in COUNTERS:
        modulus = samples.modulus(readings, roll_over.get(name, {}))
        return bridged(name, counted(readings, name, modulus), AMOUNTS[name][0])
    if name in (SOC, TANK):
        return bridged(name, readings, AMOUNTS[name][0])
    if name == PAYLOAD:
        return held(name, readings, _carried)
    amounts = split_power if name == POWER else _trapezoid(AMOUNTS[name][0])
    return integrated(name, readings, amounts, with_km=name == POWER)


def _position(samples: Samples, stands: Flags) -> Track:
    """Fixes as the distance run up to each, and the difference as what an interval adds."""
    fixes = Fixes.of(*(samples.signals[name] for name in PLACE))
    sampling = samples.sampling(fixes.told)
    x = run_km(fixes.latitude_deg, fixes.longitude_deg, sampling.gap_s, fixes.told.of(stands))
    return integrated(POSITION, Readings(sampling, x), _run, with_km=True)


def _run(here: Floats, there: Floats, hours: Floats, km: Floats) -> dict[str, Floats]:
    return {"position_km": there - here}


def _columns(track: Track, places: Places) -> dict[str, Floats]:
    columns = at(track, places)
    if track.name in RISES:
        columns[RISES[track.name]] = rise_across(track, places)
    if track.name == SOC:
        columns["soc_start_pct"] = level(track, places)
    return columns


def _heard(samples: Samples, contact_s: Floats, places: Places) -> Sums:
    if not len(samples.real.at):
        return {"heard_s": None}
    readings = Readings(samples.sampling(samples.real), samples.real.of(contact_s))
    return {"heard_s": at(in_step("heard", readings), places)["heard_s"]}


def _names(signal: str) -> list[str]:
    """Columns that a signal adds."""
    km = () if signal == SPEED or signal in RATES else (f"{signal}_km",)
    return [*AMOUNTS[signal], f"{signal}_s", *km, *_MORE.get(signal, ())]


def _spread(odometer: Track, rows: Rows) -> Floats:
    """The odometer's running distance on every row, linear between its samples and flat outside them."""
    km = np.zeros(len(rows.row))
    km[odometer.sampling.rows.row] = odometer.everywhere("distance_km")
    between = np.ones(len(km), bool)
    between[odometer.sampling.rows.row] = False
    km[between] = np.nan_to_num(at(odometer, Places(rows.at(between)))["distance_km"], nan=0.0)
    return km
