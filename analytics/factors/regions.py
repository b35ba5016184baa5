"""The regions of the programme, and which factor answers in each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType

import polars as pl

from analytics.factors.contract import BOUNDARIES
from analytics.factors.resolve import electricity, grid_reasons

_EGRID = (
    "AKGD", "AKMS", "AZNM", "CAMX", "ERCT", "FRCC", "HIMS", "HIOA", "MROE", "MROW", "NEWE", "NWPP", "NYCW", "NYLI",
    "NYUP", "PRMS", "RFCE", "RFCM", "RFCW", "RMPA", "SPNO", "SPSO", "SRMV", "SRMW", "SRSO", "SRTV", "SRVC",
)  # fmt: skip
_EU = (
    "AUT", "BEL", "BGR", "CYP", "CZE", "DEU", "DNK", "EST", "ESP", "FIN", "FRA", "GRC", "HRV", "HUN", "IRL", "ITA",
    "LTU", "LUX", "LVA", "MLT", "NLD", "POL", "PRT", "ROU", "SWE", "SVN", "SVK",
)  # fmt: skip
_CHINA = ("CHN", "CHN-N", "CHN-NE", "CHN-E", "CHN-C", "CHN-NW", "CHN-S", "CHN-SW")
_JAPAN = ("HKD", "TH", "TK", "CB", "HR", "KN", "CG", "SK", "KY", "ON")
_CANADA = ("AB", "BC", "MB", "NB", "NL", "NS", "NT", "NU", "ON", "PE", "QC", "SK", "YT")

PROGRAMME: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "United States": ("egrid:US", *(f"egrid:{name}" for name in _EGRID)),
        "China": tuple(f"official:{name}" for name in _CHINA),
        "India": ("official:IND", *(f"zone:IN-{name}" for name in ("NO", "SO", "EA", "WE", "NE"))),
        "Japan": ("official:JPN", *(f"zone:JP-{name}" for name in _JAPAN)),
        "Mexico": ("official:MEX",),
        "Canada": ("ember:CAN", *(f"zone:CA-{name}" for name in _CANADA)),
        "European Union": ("ember:EU27", *(f"ember:{name}" for name in _EU)),
        "United Kingdom": ("ember:GBR",),
        "Norway": ("ember:NOR",),
        "Brazil": ("official:BRA", *(f"zone:BR-{name}" for name in ("CS", "N", "NE", "S"))),
        "Chile": ("ember:CHL",),
        "Colombia": ("ember:COL",),
        "Argentina": ("ember:ARG",),
        "Peru": ("ember:PER",),
        "Uruguay": ("ember:URY",),
        "Ecuador": ("ember:ECU",),
    }
)
"""What a pilot in each region declares as its grid: the national one first, then the parts of the country."""


def answers(day: dt.date, table: pl.DataFrame) -> pl.DataFrame:
    """Which factor answers on a day for each grid of the programme, at each boundary of electricity.

    `table` follows `Factors`. Columns region, grid, boundary, factor_id, value (in `unit`), unit, and `reason`, which
    says why where there is no factor: then the other three are null, never zero.
    """
    grids = pl.DataFrame(
        [(region, grid, day) for region, listed in PROGRAMME.items() for grid in listed],
        schema={"region": pl.String, "grid": pl.String, "day": pl.Date},
        orient="row",
    )
    asked = grids.join(pl.DataFrame({"boundary": BOUNDARIES["grid"]}), how="cross", maintain_order="left")
    best = electricity(grids, table).unique(["grid", "boundary"], keep="first", maintain_order=True)
    told = asked.join(
        best.select("grid", "boundary", "value", "unit", factor_id="id"), on=["grid", "boundary"], how="left",
        maintain_order="left",
    )  # fmt: skip
    reasons = grid_reasons(grids, table)
    return told.join(reasons, on=["region", "grid", "boundary"], how="left", maintain_order="left").select(
        "region", "grid", "boundary", "factor_id", "value", "unit",
        reason=pl.when(pl.col("factor_id").is_null()).then("grid_reason"),
    )  # fmt: skip
