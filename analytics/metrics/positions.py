"""Distance between satellite fixes."""

from __future__ import annotations

import numpy as np

from analytics.metrics import rules
from analytics.metrics.arrays import Flags, Floats

EARTH_RADIUS_KM = 6371.0088
"""Mean radius (IUGG)."""

FLAT_RAD = 1e-5
"""Steps below (64 m) that are as good as straight: the error is less than 1e-10 of them."""


def apart_km(latitude_deg: Floats, longitude_deg: Floats) -> Floats:
    """Great-circle distance from each fix to the next (haversine formula), one shorter than the fixes."""
    latitude = np.radians(latitude_deg)
    north, east = np.diff(latitude), np.radians(np.diff(longitude_deg))
    across = np.cos(latitude)
    across = across[1:] * across[:-1]
    apart: Floats = np.sqrt(north * north + across * (east * east)) * EARTH_RADIUS_KM
    far = np.flatnonzero((np.abs(north) >= FLAT_RAD) | (np.abs(east) >= FLAT_RAD))
    chord = np.sin(north[far] / 2) ** 2 + across[far] * np.sin(east[far] / 2) ** 2
    apart[far] = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(chord, 0, 1)))
    return apart


def at_most_km(latitude_deg: Floats, longitude_deg: Floats) -> Floats:
    """What `apart_km` cannot exceed: along the meridian, then along the equator. Cheap, to look no further."""
    turned_deg = np.abs(np.diff(latitude_deg)) + np.abs(np.diff(longitude_deg))
    at_most: Floats = np.radians(turned_deg) * EARTH_RADIUS_KM
    return at_most


def run_km(latitude_deg: Floats, longitude_deg: Floats, gap_s: Floats, stands: Flags) -> Floats:
    """Distance run up to each fix.

    A step adds nothing while the vehicle stands (fixes drift), nor where it is faster than a vehicle can be; `gap_s`
    is the time to the next fix, NaN on a vehicle's last.
    """
    step = apart_km(latitude_deg, longitude_deg)
    gap_h = gap_s[:-1] / 3600
    true = ~stands[:-1] & (step <= rules.GNSS_MAX_KMH * gap_h)
    return np.concatenate([np.zeros(min(1, len(gap_s))), np.cumsum(np.where(true, step, 0.0))])
