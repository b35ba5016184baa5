"""What a table of factors looks like.

A factor is one value of one *series* (a document's table, with its unit, boundary, gases and edition) for one *key*.

- `kind`: `grid` (electricity), `fuel`, `trace` (CH4 and N2O of burning a fuel), `engine` (NOx and PM to which an engine
  is certified), `heater` (NOx and PM of a burner), `line_loss`.
- `key`: for electricity what a pilot declares as its grid (`egrid:CAMX`, `ember:CHL`, `zone:CA-QC`, `official:CHN-S`);
  else the fuel, or the standard of an engine.
- `area`: what the value describes. Electricity factors of one area may stand in for one another at another boundary;
  a fuel factor holds for `WORLD`, `EU` or one country (ISO 3166). An imported one holds for `programme` or for one
  pilot (`pilot:7`), and goes before those that ship.
- `boundary`: of electricity `generation_direct` or `life_cycle`; of a fuel `tailpipe`, `tailpipe_biogenic`, `upstream`,
  `production_direct` (what making it emits directly, as generating electricity does), `well_to_wheel`.
- `gases`: `co2`, `co2e`, `ch4`, `n2o`, `ch4_n2o_co2e` (both together as CO2e), `nox`, or `pm`.
- `starts_on`: the first day for which the edition may be used; `year` is the year its data describe.
- `confidence`: VERIFIED (seen in the source), VERIFIED-2nd (seen in a copy or a quotation), DERIVED (arithmetic on such
  rows), RECALLED (never seen in the source: listed, never used).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import dataframely as dy
import polars as pl

BOUNDARIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "grid": ("generation_direct", "life_cycle"),
        "fuel": ("tailpipe", "tailpipe_biogenic", "upstream", "production_direct", "well_to_wheel"),
        "trace": ("tailpipe",),
        "engine": ("certification",),
        "heater": ("tailpipe",),
        "line_loss": ("line_loss",),
    }
)
GASES = ("co2", "co2e", "ch4", "n2o", "ch4_n2o_co2e", "nox", "pm", "none")
OWN = "own:"
"""Keys of electricity factors that were imported begin so; only a pilot that declares one uses it."""
PROGRAMME_AREA = "programme"
RECALLED = "RECALLED"
CONFIDENCES = ("VERIFIED", "VERIFIED-2nd", "DERIVED", RECALLED)
UNITS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "grid": ("g/kWh", "kg/kWh", "t/MWh", "lb/MWh", "g/MJ"),
        "fuel": ("kg/US gal", "lb/US gal", "kg/L", "kg/kg", "kg/t"),
        "trace": ("g/mi", "kg/mi", "g/US gal"),
        "engine": ("g/hp-h", "g/kWh"),
        "heater": ("lb/1000 US gal", "g/L"),
        "line_loss": ("share",),
    }
)


def pilot_area(pilot_id: int) -> str:
    """The area of factors that hold for one pilot."""
    return f"pilot:{pilot_id}"


def _pairs(allowed: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [f"{kind} {value}" for kind, values in allowed.items() for value in values]


class Factors(dy.Schema):
    """Factors as published: `value` is in `unit`; `analytics.factors.tables.in_si` converts."""

    id = dy.String(primary_key=True)
    kind = dy.String(nullable=False)
    key = dy.String(nullable=False, min_length=1)
    area = dy.String(nullable=False, min_length=1)
    name = dy.String(nullable=False, min_length=1)
    boundary = dy.String(nullable=False)
    gases = dy.String(nullable=False)
    gwp_set = dy.String(nullable=True)  # null: CO2 alone, or the source does not say
    value = dy.Float64(nullable=False, min=0, allow_inf=False, allow_nan=False)
    unit = dy.String(nullable=False)
    losses_included = dy.Bool(nullable=False)
    year = dy.Int32(nullable=False, min=1990, max=2100)
    starts_on = dy.Date(nullable=False)
    edition = dy.String(nullable=False, min_length=1)
    source = dy.String(nullable=False, min_length=1)
    confidence = dy.String(nullable=False)
    note = dy.String(nullable=True)

    @dy.rule()
    def boundary_suits_kind(cls) -> pl.Expr:
        """Electricity, fuels and losses have boundaries of their own."""
        return pl.concat_str("kind", pl.lit(" "), "boundary").is_in(_pairs(BOUNDARIES))

    @dy.rule()
    def unit_suits_kind(cls) -> pl.Expr:
        """A factor of electricity is per energy, one of a fuel per volume or mass."""
        return pl.concat_str("kind", pl.lit(" "), "unit").is_in(_pairs(UNITS))

    @dy.rule()
    def known_words(cls) -> pl.Expr:
        """Gases and confidence are from closed lists."""
        return pl.col("gases").is_in(GASES) & pl.col("confidence").is_in(CONFIDENCES)

    @dy.rule()
    def co2_alone_needs_no_gwp(cls) -> pl.Expr:
        """Warming potentials weigh CH4 and N2O; CO2 alone has none."""
        return pl.col("gwp_set").is_null() | pl.col("gases").is_in(["co2e", "ch4_n2o_co2e"])

    @dy.rule()
    def one_edition_per_start(cls) -> pl.Expr:
        """At most one usable value for a key, boundary and start: otherwise two people would use different ones."""
        same = ("kind", "key", "area", "boundary", "gases", "starts_on")
        return (pl.col("confidence") != RECALLED).sum().over(same) <= 1
