"""Which standard an engine is certified to, where that is not declared: by model year, on US roads."""

from __future__ import annotations

ON_ROAD = ("truck", "bus")
US_MODEL_YEARS = {
    1985: "us-hd-1985", 1990: "us-hd-1990", 1991: "us-hd-1991", 1994: "us-hd-1994", 1998: "us-hd-1998",
    2004: "us-hd-2004", 2007: "us-hd-2010", 2027: "us-hd-2027",
}  # fmt: skip
"""The first model year of each standard. From 2007 to 2009 its NOx was phased in: the final limit claims less."""


def standard_of(declared: str | None, region: str, category: str, model_year: int | None) -> str | None:
    """The standard of a displaced engine; None where neither it nor what it follows from is declared."""
    on_us_roads = region.split("-")[0] == "US" and category in ON_ROAD
    if declared is not None or model_year is None or not on_us_roads:
        return declared
    begun = [standard for first, standard in US_MODEL_YEARS.items() if first <= model_year]
    return begun[-1] if begun else None
