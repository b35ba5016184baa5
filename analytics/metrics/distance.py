"""Distance driven."""

from __future__ import annotations

from typing import Any

from analytics.metrics import rules, sources
from analytics.metrics.metric import Metric, Total
from analytics.metrics.rows import Day, Figure, Figures, notes, scaled, scaled_bounds, scaling_method, scaling_note
from analytics.metrics.running import POSITION, SPEED

METRICS = (
    Metric(
        slug="distance_km",
        name="Distance",
        unit="km",
        meaning="Distance driven in the day, whole, also where nothing was recorded in between.",
        definition="odometer change; without an odometer, the trapezoid of speed; without both, satellite fixes",
        inputs=("odometer_km", "speed_kmh", "latitude_deg", "longitude_deg"),
        decimals=1,
        total=Total.SUM,
        anchor="distance",
        source=f"{sources.OWN_ORDER}; odometer: {sources.ODOMETER}; {sources.SPEED_INTEGRAL}",
    ),
)


SOURCES = {
    "odometer": (None, "odometer"),
    "speed": (f"{SPEED}_pct", "from speed"),
    "position": (f"{POSITION}_pct", "from satellite fixes"),
}
"""The ladder: the coverage that counts (the odometer's own change is whole), and words."""


def with_distance(day: Day) -> dict[str, Any]:
    """`distance_km` by the ladder, with coverage, method, note and bounds; `distance_by` names the source."""
    by = next(
        (name for name in SOURCES if day[f"{name}_km"] is not None and not (name == "odometer" and _stuck(day))), None
    )
    seen_km = None if by is None else day[f"{by}_km"]
    coverage, words = (None, "no odometer or speed") if by is None else SOURCES[by]
    pct = 100.0 if coverage is None else day[coverage]
    low, high = scaled_bounds(seen_km, pct)
    return {
        "distance_by": by, "distance_pct": pct, "distance_km": scaled(seen_km, pct), "distance_low": low,
        "distance_high": high, "distance_method": scaling_method(pct),
        "distance_note": notes(words, scaling_note(pct)),
    }  # fmt: skip


def _stuck(day: Day) -> bool:
    """The odometer shows next to nothing of what was driven by speed."""
    odometer_km, speed_km = day["odometer_km"], day["speed_km"]
    if odometer_km is None or speed_km is None:
        return False
    return bool(speed_km > rules.STUCK_MIN_KM and odometer_km < rules.STUCK_SHARE * speed_km)


def figures(day: Day) -> Figures:
    """Figures of a day that has passed `with_distance`."""
    km = day["distance_km"]
    return {
        "distance_km": Figure(
            km, None if km is None else day["distance_pct"], km, day["distance_method"], day["distance_note"],
            day["distance_low"], day["distance_high"],
        )
    }  # fmt: skip
