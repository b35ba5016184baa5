"""Which factor holds where and when, for many vehicle-days at once.

The edition of a day is the newest whose data do not begin after the day. Factors that were only recalled never answer.
Every function is one as-of join over whole columns.
"""

from __future__ import annotations

import polars as pl

from analytics.factors.contract import OWN, PROGRAMME_AREA, RECALLED
from analytics.factors.tables import in_si, usable

# The member states of the European Union (ISO 3166), where the fuel factors of EU law hold.
EU_MEMBERS = (
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV",
    "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
)  # fmt: skip
# Which source speaks first where several describe one area: the authority, then eGRID, Ember, electricityMaps.
SOURCE_RANK = {"official": 1, "egrid": 2, "ember": 3, "zone": 4}
BOUNDARY_WORDS = {"generation_direct": "direct generation", "life_cycle": "life-cycle"}


def country_of(region: pl.Expr) -> pl.Expr:
    """The country of a region: US-CA is in US. UK, the code often used for GB, is understood."""
    return region.str.split("-").list.first().replace("UK", "GB")


def _as_of(cases: pl.DataFrame, factors: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Every case with the newest edition that does not begin after its `day`; cases without one are dropped."""
    editions = factors.sort("starts_on").with_columns(starts_on_or_before=pl.col("starts_on"))
    found = cases.sort("day").join_asof(
        editions, left_on="day", right_on="starts_on_or_before", by=by, strategy="backward", check_sortedness=False
    )
    return found.filter(pl.col("id").is_not_null()).drop("starts_on_or_before")


NO_PLACES = pl.DataFrame(schema={"key": pl.String, "area": pl.String})


def _stand_ins(factors: pl.DataFrame, places: pl.DataFrame = NO_PLACES) -> pl.DataFrame:
    """Per declared grid the keys that describe the same area, the declared one first. Columns grid, key, grid_rank.

    An imported key stands in for nothing: it is its own pilot's. `places` are further keys with their areas.
    """
    keys = pl.concat([factors.select("key", "area"), places]).unique()
    rank = pl.col("key").str.split(":").list.first().replace_strict(SOURCE_RANK, default=9)
    return (
        keys.select(grid="key", area="area")
        .join(keys, on="area")
        .filter((pl.col("grid") == pl.col("key")) | ~pl.col("key").str.starts_with(OWN))
        .select("grid", "key", grid_rank=pl.when(pl.col("grid") == pl.col("key")).then(0).otherwise(rank))
    )


def electricity(cases: pl.DataFrame, table: pl.DataFrame, places: pl.DataFrame = NO_PLACES) -> pl.DataFrame:
    """All electricity factors that hold for each (grid, day), best first.

    `cases` has columns grid and day; `table` follows `Factors`; `places` (key, area) are grids that are not in it,
    for which others of their area may stand in. The result adds the factor's columns, `si_value`
    (kg/kWh) and `grid_rank` (0: the declared source itself; more: another source of the same area).
    """
    factors = in_si(usable(table).filter(pl.col("kind") == "grid"))
    offered = factors.select("key", "boundary", "gases").unique()
    asked = cases.select("grid", "day").unique().join(_stand_ins(factors, places), on="grid").join(offered, on="key")
    found = _as_of(asked, factors, by=["key", "boundary", "gases"])
    return found.sort("grid", "day", "grid_rank", "starts_on", "gases", descending=[False, False, False, True, False])


FUEL_CASE = ["pilot_id", "region", "fuel", "day"]
OWN_FUEL_RANK = 1
"""Up to this `fuel_rank` a factor is the pilot's or the programme's own."""


def _fuel_areas(cases: pl.DataFrame) -> pl.DataFrame:
    """Each case with the areas whose fuel factors hold there, the narrowest first (`fuel_rank`)."""
    country = country_of(pl.col("region"))
    in_union = country.is_in([*EU_MEMBERS, "EU"])
    own = (pl.format("pilot:{}", "pilot_id"), pl.lit(PROGRAMME_AREA))
    areas = pl.concat_list(*own, country, pl.when(in_union).then(pl.lit("EU")), pl.lit("WORLD"))
    rows = cases.unique().with_columns(area=areas, fuel_rank=[0, 1, 2, 3, 4]).explode("area", "fuel_rank")
    return rows.filter(pl.col("area").is_not_null()).unique([*FUEL_CASE, "area"], keep="any")


def fuels(cases: pl.DataFrame, table: pl.DataFrame, kind: str = "fuel") -> pl.DataFrame:
    """All factors of `kind` (`fuel`, `trace`, `line_loss`) that hold for each case, best first.

    `cases` has the columns of `FUEL_CASE`. The result adds the factor's columns, `si_value` (kg/L, kg/kg, kg/km or
    share) and `fuel_rank` (0: the pilot's own, 1: the programme's own, 2: the country's).
    """
    factors = in_si(usable(table).filter(pl.col("kind") == kind)).rename({"key": "fuel"})
    offered = factors.select("fuel", "area", "boundary", "gases").unique()
    asked = _fuel_areas(cases.select(FUEL_CASE)).join(offered, on=["fuel", "area"])
    found = _as_of(asked, factors, by=["fuel", "area", "boundary", "gases"])
    return found.sort(*FUEL_CASE, "fuel_rank", "gases")


def line_losses(cases: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """The known line loss of each (pilot_id, region, day), with columns known_loss (share) and known_loss_id."""
    place = ["pilot_id", "region", "day"]
    asked = cases.select(*place, fuel=pl.lit("line-loss"))
    found = fuels(asked, table, kind="line_loss").unique(place, keep="first", maintain_order=True)
    return found.select(*place, known_loss="si_value", known_loss_id="id")


def grid_reasons(cases: pl.DataFrame, table: pl.DataFrame, places: pl.DataFrame = NO_PLACES) -> pl.DataFrame:
    """Why a (grid, region) has no electricity factor of a boundary, in words.

    `cases` has columns grid and region. One row per case and boundary: adds `boundary` and `grid_reason`, which is to
    be read only where `electricity` found nothing.
    """
    first = _first_editions(table, places)
    known = pl.concat([first.select("grid"), places.select(grid="key")]).unique().with_columns(known=True)
    rows = cases.select("grid", "region").unique().join(pl.DataFrame({"boundary": list(BOUNDARY_WORDS)}), how="cross")
    rows = rows.join(known, on="grid", how="left")
    rows = rows.join(first, on=["grid", "boundary"], how="left")
    words = pl.col("boundary").replace_strict(BOUNDARY_WORDS)
    reason = (
        pl.when(pl.col("grid").is_null())
        .then(pl.format("no grid factor is known for region {}: no grid is declared", "region"))
        .when(pl.col("known").is_null())
        .then(pl.format("no factor is known for grid {}", "grid"))
        .when(pl.col("usable_from").is_not_null())
        .then(pl.format("the first edition of a {} factor for {} begins {}", words, "grid", "usable_from"))
        .when(pl.col("recalled"))
        .then(pl.format("the {} factor known for {} was never seen in its source, so it is not used", words, "grid"))
        .otherwise(pl.format("no {} factor is known for the area of {}", words, "grid"))
    )
    return rows.select("grid", "region", "boundary", grid_reason=reason)


def _first_editions(table: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Per grid and boundary: the first day of a usable edition, and whether a value was only recalled."""
    grids = table.filter(pl.col("kind") == "grid")
    pairs = _stand_ins(grids, places).join(grids, on="key")
    is_usable = pl.col("confidence") != RECALLED
    return pairs.group_by("grid", "boundary").agg(
        usable_from=pl.col("starts_on").filter(is_usable).min(), recalled=(~is_usable).any()
    )
