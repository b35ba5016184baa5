"""Fuel put into vehicles, by record, and how it compares with what they used.

A day's filling is not a day's use, so what was dispensed is a figure of its own and never the headline of what was
used. Over two weeks or more the two should tell the same, but for what the tanks hold more or less at the end.
"""

from __future__ import annotations

import polars as pl

from analytics.metrics import sources
from analytics.metrics.metric import Given, Metric, Total
from analytics.metrics.rows import KEYS, Figure, Figures, Key

USED_OF = {
    "hydrogen_dispensed_kg": "hydrogen_used_kg",
    "cng_dispensed_kg": "cng_used_kg",
    "fuel_dispensed_l": "fuel_used_l",
}
"""What is dispensed, and the figure of what was used of it."""
OF_FUEL = {
    "hydrogen": "hydrogen_dispensed_kg", "cng": "cng_dispensed_kg", "lng": "cng_dispensed_kg",
    "diesel": "fuel_dispensed_l", "gasoline": "fuel_dispensed_l", "propane": "fuel_dispensed_l",
}  # fmt: skip
"""The figure of each fuel that records name."""
CHECK_OF = {slug: f"{slug.rsplit('_', 1)[0]}_over_used" for slug in USED_OF}


def _sum(slug: str, what: str) -> Metric:
    unit = "kg" if slug.endswith("_kg") else "L"
    meaning = f"{what} put into the vehicle on the day, by record. It is not what was used on the day."
    inputs, source = (Given.FILLINGS,), f"{sources.OWN}: a sum of records"
    return Metric(slug, f"{what} dispensed", unit, meaning, "sum of records", inputs, 1, Total.SUM, "fuel", source)


METRICS = (
    _sum("hydrogen_dispensed_kg", "Hydrogen"),
    _sum("cng_dispensed_kg", "Natural gas"),
    _sum("fuel_dispensed_l", "Fuel"),
)


def dispensed_figures(fillings: pl.DataFrame, days: pl.DataFrame) -> list[tuple[Key, Figures]]:
    """Figures of days with fillings (`Fillings`)."""
    if fillings.is_empty():
        return []
    both = fillings.join(days.select(*KEYS, "starts_at", "ends_at"), on="vehicle_id")
    of_days = both.filter(pl.col("time").is_between("starts_at", "ends_at", closed="left"))
    sums = of_days.group_by(*KEYS, "fuel").agg(pl.col("amount").sum())
    return [
        ((vehicle_id, day), {fuel: Figure(amount, note="by record")})
        for vehicle_id, day, fuel, amount in sums.filter(pl.col("fuel").is_in([*USED_OF])).iter_rows()
    ]
