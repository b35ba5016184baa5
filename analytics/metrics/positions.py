"""Distance between satellite fixes."""

from __future__ import annotations

import numpy as np

from analytics.metrics import rules
from analytics.metrics.arrays import Flags, Floats

EARTH_RADIUS_KM = 6371.0088
"""Mean radius (IUGG)."""


SERIES_RAD = 1e-3
"""Steps below (6 km) for which two terms of the series are exact to 1e-13."""


def apart_km(latitude_deg: Floats, longitude_deg: Floats) -> Floats:
    """Great-circle distance from each fix to the next (haversine formula), one shorter than the fixes."""
    latitude = np.radians(latitude_deg)
    north, east = np.diff(latitude), np.radians(np.diff(longitude_deg))
    across = np.cos(latitude)
    across = across[1:] * across[:-1]
    half = _small_half_chord(north) + across * _small_half_chord(east)
    # arcsin of the root of a small h: the next term is 3/40 h^2.
    apart: Floats = np.sqrt(half) * (1 + half / 6) * (2 * EARTH_RADIUS_KM)
    far = np.flatnonzero((np.abs(north) >= SERIES_RAD) | (np.abs(east) >= SERIES_RAD))
    chord = np.sin(north[far] / 2) ** 2 + across[far] * np.sin(east[far] / 2) ** 2
    apart[far] = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(chord, 0, 1)))
    return apart


def _small_half_chord(angle_rad: Floats) -> Floats:
    """The square of the sine of half a small angle."""
    square = angle_rad * angle_rad / 4
    half: Floats = square * (1 - square / 3)
    return np.abs(half)  # of a large angle, whose root is taken too before it is set right


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
