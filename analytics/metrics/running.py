"""What every signal adds up to between two marked rows, and the time and distance it covers."""

from __future__ import annotations

import numpy as np
import polars as pl

from analytics.metrics.arrays import Floats, Whole
from analytics.metrics.places import Places, at, level, rise_across
from analytics.metrics.positions import run_km
from analytics.metrics.samples import COUNTERS, RATES
from analytics.metrics.tracks import (  # fmt: skip
    Amounts,
    Reader,
    Readings,
    RollOver,
    Track,
    bridged,
    counted,
    held,
    in_step,
    integrated,
)

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


def running(rows: pl.DataFrame, marked: Whole, roll_over: RollOver) -> dict[str, Floats | None]:
    """Running sums on the rows numbered `marked`, by name.

    They are `AMOUNTS` with coverages, `heard_s` (time with rows at most `contact_s` apart), and at the mark itself
    `RISES` and `soc_start_pct`, the level. There is None for a signal without samples, NaN for a vehicle without.
    """
    reader = Reader(rows)
    have = {name for name in AMOUNTS if name in rows.columns and rows[name].null_count() < rows.height}
    if ODOMETER in have:
        reader.spread(_spread(_track(reader, ODOMETER, roll_over), reader))
    places = Places(reader.rows.at(marked))
    columns: dict[str, Floats | None] = _heard(reader, places)
    for name in AMOUNTS:
        track = _track(reader, name, roll_over) if name in have else None
        if track is None or not len(track.x):  # latitudes and longitudes may never come together
            columns |= dict.fromkeys(_names(name))
        else:
            columns |= _columns(track, places)
    return columns


def split_power(here: Floats, there: Floats, hours: Floats, km: Floats) -> dict[str, Floats]:
    """Battery energy of an interval, drawn and returned, split where the power crosses zero."""
    net = (here + there) / 2 * hours
    high, low = np.maximum(here, there), np.minimum(here, there)
    crosses = (low < 0) & (high > 0)
    part = np.divide(high * high, high - low, out=np.zeros_like(high), where=crosses) / 2 * hours
    returned = np.where(crosses, part, np.where(low >= 0, net, 0.0))
    return {"drawn_kwh": returned - net, "returned_kwh": returned}


def _trapezoid(name: str) -> Amounts:
    return lambda here, there, hours, km: {name: (here + there) / 2 * hours}


def _carried(here: Floats, there: Floats, hours: Floats, km: Floats) -> dict[str, Floats]:
    """Transport work: the load in tonnes times the distance it was carried."""
    return {"transport_work_tkm": here / 1000 * km}


def _track(reader: Reader, name: str, roll_over: RollOver) -> Track:
    readings = reader.readings(name)
    if name in COUNTERS:
        modulus = reader.modulus(readings, roll_over.get(name, {}))
        return bridged(name, counted(readings, name, modulus), AMOUNTS[name][0])
    if name in (SOC, TANK):
        return bridged(name, readings, AMOUNTS[name][0])
    if name == PAYLOAD:
        return held(name, readings, _carried)
    if name == POSITION:
        return integrated(name, *_positions(reader), with_km=True)
    amounts = split_power if name == POWER else _trapezoid(AMOUNTS[name][0])
    return integrated(name, readings, amounts, with_km=name == POWER)


def _positions(reader: Reader) -> tuple[Readings, Amounts]:
    """Fixes as the distance run up to each, and the difference as what an interval adds."""
    latitude, longitude = (reader.frame[name].cast(pl.Float64).to_numpy() for name in (POSITION, "longitude_deg"))
    read = ~np.isnan(latitude) & ~np.isnan(longitude)
    sampling = reader.sampled(read)
    x = run_km(latitude[read], longitude[read], sampling.gap_s, reader.frame["stands"].to_numpy()[read])
    return Readings(sampling, x), lambda here, there, hours, km: {"position_km": there - here}


def _columns(track: Track, places: Places) -> dict[str, Floats]:
    columns = at(track, places)
    if track.name in RISES:
        columns[RISES[track.name]] = rise_across(track, places)
    if track.name == SOC:
        columns["soc_start_pct"] = level(track, places)
    return columns


def _heard(reader: Reader, places: Places) -> dict[str, Floats | None]:
    if not reader.real.any():
        return {"heard_s": None}
    steps = reader.frame["contact_s"].to_numpy()[reader.real]
    return {"heard_s": at(in_step("heard", Readings(reader.sampled(reader.real), steps)), places)["heard_s"]}


def _names(signal: str) -> list[str]:
    """Columns that a signal adds."""
    km = () if signal == SPEED or signal in RATES else (f"{signal}_km",)
    return [*AMOUNTS[signal], f"{signal}_s", *km, *_MORE.get(signal, ())]


def _spread(odometer: Track, reader: Reader) -> Floats:
    """The odometer's running distance on every row, linear between its samples and flat outside them."""
    km = np.zeros(len(reader.rows.row))
    km[odometer.sampling.rows.row] = odometer.sums["distance_km"]
    between = np.ones(len(km), bool)
    between[odometer.sampling.rows.row] = False
    km[between] = np.nan_to_num(at(odometer, Places(reader.rows.at(between)))["distance_km"], nan=0.0)
    return km
