"""Distance between satellite fixes."""

from __future__ import annotations

import numpy as np

from analytics.metrics import rules
from analytics.metrics.arrays import Flags, Floats

EARTH_RADIUS_KM = 6371.0088
"""Mean radius (IUGG)."""

FLAT_RAD = 1e-5
"""Steps below (64 m) that are as good as straight: the error is less than 1e-10 of them."""


KM_A_DEGREE = EARTH_RADIUS_KM * np.pi / 180
"""Along a meridian or the equator."""


def apart_km(latitude_deg: Floats, longitude_deg: Floats, to_latitude_deg: Floats, to_longitude_deg: Floats) -> Floats:
    """Great-circle distance from each fix to another (haversine formula)."""
    start, end = np.deg2rad(latitude_deg), np.deg2rad(to_latitude_deg)
    north, east = end - start, np.deg2rad(to_longitude_deg - longitude_deg)
    across = np.cos(start) * np.cos(end)
    apart: Floats = np.sqrt(north * north + across * (east * east)) * EARTH_RADIUS_KM
    far = np.flatnonzero((np.abs(north) >= FLAT_RAD) | (np.abs(east) >= FLAT_RAD))
    chord = np.sin(north[far] / 2) ** 2 + across[far] * np.sin(east[far] / 2) ** 2
    apart[far] = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(chord, 0, 1)))
    return apart


def at_most_km(latitude_deg: Floats, longitude_deg: Floats) -> Floats:
    """What the distance to the next fix cannot exceed: along the meridian, then along the equator.

    Cheap, to look no further.
    """
    turned_deg = np.abs(np.diff(latitude_deg))
    turned_deg += np.abs(np.diff(longitude_deg))
    turned_deg *= KM_A_DEGREE
    return turned_deg


def run_km(latitude_deg: Floats, longitude_deg: Floats, gap_s: Floats, stands: Flags) -> Floats:
    """Distance run up to each fix.

    A step adds nothing while the vehicle stands (fixes drift), nor where it is faster than a vehicle can be; `gap_s`
    is the time to the next fix, NaN on a vehicle's last.
    """
    here = np.flatnonzero(~stands[:-1])
    there = here + 1
    step = apart_km(latitude_deg[here], longitude_deg[here], latitude_deg[there], longitude_deg[there])
    run = np.zeros(len(gap_s))
    run[there] = np.where(step <= rules.GNSS_MAX_KMH * gap_s[here] / 3600, step, 0.0)
    return np.cumsum(run, out=run)
