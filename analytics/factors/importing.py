"""Own factors: what a file of them must say, and what is wrong with one that does not.

One row is one factor: a value for a year, or, of electricity, for one UTC hour. Every row names its table, boundary,
gases, unit, edition, source and confidence. Cells are text; an empty one is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from analytics.factors.contract import (
    BOUNDARIES,
    CONFIDENCES,
    GASES,
    OWN,
    PROGRAMME_AREA,
    RECALLED,
    UNITS,
)  # fmt: skip
from schemas.errors import Fault
from schemas.frames import UTC_TIME

REQUIRED = ("table", "kind", "boundary", "gases", "value", "unit", "edition", "source", "confidence")
WHEN = ("year", "hour")
OPTIONAL = ("fuel", "pilot", "area", "name", "gwp_set", "losses_included", "starts_on", "note")
COLUMNS = (*REQUIRED, *WHEN, *OPTIONAL)
OF_FUELS = ("fuel", "trace", "engine", "heater")
HOURLY = "hourly"
MOST_FAULTS = 50
_LINE = "line"


@dataclass(frozen=True, slots=True)
class OwnFactors:
    """A file's content. `factors` has one row per factor, `hours` (factor_id, hour, value) those of hourly ones.

    A factor with hours has their mean as its value, and their number in `hours`.
    """

    factors: pl.DataFrame
    hours: pl.DataFrame


def checked(cells: pl.DataFrame, pilots: Mapping[str, int], areas: frozenset[str]) -> OwnFactors | list[Fault]:
    """Read a file's cells; `pilots` are the known ones by slug, `areas` the grid areas that have factors.

    Returns the factors, or every fault with the line (the header is line 1), the field and the reason.
    """
    faults = _header_faults(cells)
    if faults:
        return faults
    rows = _parsed(cells)
    found = _cell_faults(rows, pilots, areas)
    if found.is_empty():
        rows = _named(rows, pilots)
        found = _repeated(rows)
    if not found.is_empty():
        return _told(found)
    return _split(rows)


def _header_faults(cells: pl.DataFrame) -> list[Fault]:
    missing = [name for name in REQUIRED if name not in cells.columns]
    strange = [name for name in cells.columns if name not in COLUMNS]
    faults = [Fault("line 1", name, "is missing from the header") for name in missing]
    faults += [Fault("line 1", name, f"is none of {', '.join(COLUMNS)}") for name in strange]
    if not any(name in cells.columns for name in WHEN):
        faults.append(Fault("line 1", "year", "is missing from the header, and so is hour"))
    if not faults and cells.is_empty():
        faults.append(Fault("line 2", "table", "the file has no rows"))
    return faults


def _parsed(cells: pl.DataFrame) -> pl.DataFrame:
    """All columns, trimmed, empty ones null, with their lines and what numbers and times can be read from them."""
    absent = [pl.lit(None, pl.String).alias(name) for name in COLUMNS if name not in cells.columns]
    text = cells.select(pl.col(*cells.columns).cast(pl.String).str.strip_chars().replace("", None), *absent)
    written = pl.col("hour").str.replace(" ", "T").str.replace("Z$", "+00:00")
    hour = pl.coalesce(
        written.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")
        for form in ("%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%dT%H:%M%z")
    )
    return text.with_row_index(_LINE, offset=2).with_columns(
        number=pl.col("value").cast(pl.Float64, strict=False),
        year_number=pl.col("year").cast(pl.Int32, strict=False),
        hour_time=hour.cast(UTC_TIME),
        first_day=pl.col("starts_on").str.to_date(strict=False),
        with_losses=pl.col("losses_included").str.to_lowercase().replace_strict(
            {"yes": True, "true": True, "no": False, "false": False}, default=None, return_dtype=pl.Boolean
        ),
    )  # fmt: skip


def _cell_faults(rows: pl.DataFrame, pilots: Mapping[str, int], areas: frozenset[str]) -> pl.DataFrame:
    """Faults of single cells: columns line, field, reason."""
    checks = [*_missing(), *_words(pilots, areas), *_numbers(), *_times()]
    parts = [
        rows.filter(wrong.fill_null(False)).select(_LINE, field=pl.lit(field), reason=reason)
        for field, wrong, reason in checks
    ]
    return pl.concat(parts).sort(_LINE, maintain_order=True)


Check = tuple[str, pl.Expr, pl.Expr]


def _missing() -> list[Check]:
    return [(name, pl.col(name).is_null(), pl.lit("is empty")) for name in REQUIRED]


def _none_of(column: str, allowed: tuple[str, ...]) -> Check:
    return column, ~pl.col(column).is_in(allowed), pl.format(f"{{}} is none of {', '.join(allowed)}", column)


def _unsuited(column: str, allowed: Mapping[str, tuple[str, ...]]) -> Check:
    listed = pl.col("kind").replace_strict({kind: ", ".join(v) for kind, v in allowed.items()}, default=None)
    pairs = [f"{kind} {value}" for kind, values in allowed.items() for value in values]
    known = pl.col("kind").is_in(list(allowed))
    wrong = known & ~pl.concat_str("kind", pl.lit(" "), column).is_in(pairs)
    return column, wrong, pl.format("{} does not suit {}: {}", column, "kind", listed)


def _words(pilots: Mapping[str, int], areas: frozenset[str]) -> list[Check]:
    electric, of_fuel = pl.col("kind") == "grid", pl.col("kind").is_in(OF_FUELS)
    recalled = pl.col("confidence") == RECALLED
    return [
        _none_of("kind", tuple(BOUNDARIES)),
        _unsuited("boundary", BOUNDARIES),
        _unsuited("unit", UNITS),
        _none_of("gases", GASES),
        _none_of("confidence", CONFIDENCES),
        ("confidence", recalled, pl.lit("a value that is only recalled is never used: see it in its source first")),
        (
            "table", ~pl.col("table").str.contains(r"^[A-Za-z0-9_-]+$"),
            pl.format("{} has more than letters, digits, _ and -", "table"),
        ),
        ("fuel", of_fuel & pl.col("fuel").is_null(), pl.lit("is empty: a factor of a fuel names it")),
        ("fuel", electric & pl.col("fuel").is_not_null(), pl.lit("electricity is no fuel")),
        (
            "pilot", electric & pl.col("pilot").is_not_null(),
            pl.lit("a pilot declares its electricity itself, as grid: own:<table>"),
        ),
        ("pilot", ~pl.col("pilot").is_in(list(pilots)), pl.format("there is no pilot {}", "pilot")),
        ("area", ~electric & pl.col("area").is_not_null(), pl.lit("is for electricity only")),
        (
            "area", electric & ~pl.col("area").is_in(sorted(areas)),
            pl.format("no factor is known for the area {}; leave it empty if it is a place of its own", "area"),
        ),
        (
            "gwp_set", pl.col("gwp_set").is_not_null() & ~pl.col("gases").is_in(["co2e", "ch4_n2o_co2e"]),
            pl.format("{} alone is not weighed by warming potentials", "gases"),
        ),
        (
            "losses_included", pl.col("losses_included").is_not_null() & pl.col("with_losses").is_null(),
            pl.format("{} is neither yes nor no", "losses_included"),
        ),
    ]  # fmt: skip


def _numbers() -> list[Check]:
    number, told = pl.col("number"), pl.col("value").is_not_null()
    return [
        ("value", told & number.is_null(), pl.format("{} is not a number", "value")),
        ("value", ~number.is_finite(), pl.format("{} is not finite", "value")),
        ("value", number < 0, pl.format("{} is below 0", "value")),
        ("value", (pl.col("kind") == "line_loss") & (number >= 1), pl.format("{} is no share below 1", "value")),
    ]


def _times() -> list[Check]:
    year, hour = pl.col("year"), pl.col("hour")
    return [
        ("year", year.is_null() & hour.is_null(), pl.lit("is empty, and so is hour")),
        ("year", year.is_not_null() & hour.is_not_null(), pl.lit("a row is for a year or for an hour, not for both")),
        (
            "year", year.is_not_null() & ~pl.col("year_number").is_between(1990, 2100).fill_null(False),
            pl.format("{} is not a year such as 2025", "year"),
        ),
        (
            "hour", hour.is_not_null() & pl.col("hour_time").is_null(),
            pl.format("{} is not a time with its offset such as 2026-03-02T14:00Z", "hour"),
        ),
        (
            "hour", pl.col("hour_time") != pl.col("hour_time").dt.truncate("1h"),
            pl.format("{} is not the start of a UTC hour", "hour"),
        ),
        ("hour", hour.is_not_null() & (pl.col("kind") != "grid"), pl.lit("is for electricity only")),
        (
            "starts_on", pl.col("starts_on").is_not_null() & pl.col("first_day").is_null(),
            pl.format("{} is not a date such as 2025-04-01", "starts_on"),
        ),
        ("starts_on", pl.col("starts_on").is_not_null() & hour.is_not_null(), pl.lit("hours start by themselves")),
    ]  # fmt: skip


def _named(rows: pl.DataFrame, pilots: Mapping[str, int]) -> pl.DataFrame:
    """Rows as factors, each with its id and key."""
    electric = pl.col("kind") == "grid"
    own = pl.concat_str(pl.lit(OWN), "table")
    pilot_id = pl.col("pilot").replace_strict(pilots, default=None, return_dtype=pl.Int32)
    scope = pl.coalesce(pl.format("pilot:{}", pilot_id), pl.lit(PROGRAMME_AREA))
    start = pl.coalesce("first_day", pl.date("year_number", 1, 1))
    when = pl.when(pl.col("hour").is_null()).then(start.cast(pl.String)).otherwise(pl.lit(HOURLY))
    of = pl.when(electric).then(None).otherwise(pl.concat_str("fuel", "pilot", separator="/", ignore_nulls=True))
    return rows.with_columns(
        id=pl.concat_str(own, of.replace("", None), "boundary", "gases", when, separator="/", ignore_nulls=True),
        table_name="table",
        pilot_id=pilot_id,
        key=pl.when(electric).then(own).otherwise(pl.coalesce("fuel", pl.lit("line-loss"))),
        area=pl.when(electric).then(pl.coalesce("area", own)).otherwise(scope),
        name=pl.coalesce("name", pl.concat_str(own, "fuel", separator=" ", ignore_nulls=True)),
        losses_included=pl.col("with_losses").fill_null(False),
        starts_on=start,
        year=pl.col("year_number"),
    )


_SAME = ("unit", "area", "name", "gwp_set", "losses_included", "edition", "source", "confidence", "note")


def _repeated(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that say a second time what an earlier one said, or that differ from the rest of their hourly table."""
    first = pl.col(_LINE).min()
    again = rows.filter(pl.len().over("id", "hour_time") > 1).with_columns(first=first.over("id", "hour_time"))
    twice = again.filter(pl.col(_LINE) != pl.col("first")).select(
        _LINE, field=pl.when(pl.col("hour").is_null()).then(pl.lit("table")).otherwise(pl.lit("hour")),
        reason=pl.format("says the same as line {}", "first"),
    )  # fmt: skip
    hourly = rows.filter(pl.col("hour").is_not_null()).with_columns(first=first.over("id"))
    mixed = [
        hourly.filter(pl.col(name).ne_missing(pl.col(name).first().over("id"))).select(
            _LINE, field=pl.lit(name), reason=pl.format("differs from line {} of the same hourly table", "first")
        )
        for name in _SAME
    ]
    return pl.concat([twice, *mixed]).sort(_LINE, maintain_order=True)


def _told(found: pl.DataFrame) -> list[Fault]:
    shown = found.head(MOST_FAULTS).iter_rows()
    faults = [Fault(f"line {line}", field, reason) for line, field, reason in shown]
    if found.height > MOST_FAULTS:
        faults.append(Fault("more lines", "file", f"{found.height - MOST_FAULTS} faults more"))
    return faults


def _split(rows: pl.DataFrame) -> OwnFactors:
    heads = rows.group_by("id", maintain_order=True).agg(
        pl.col(
            "table_name", "pilot_id", "kind", "key", "area", "name", "boundary", "gases", "gwp_set", "unit",
            "losses_included", "edition", "source", "confidence", "note",
        ).first(),
        value=pl.col("number").mean(),
        year=pl.coalesce(pl.col("year").first(), pl.col("hour_time").min().dt.year()),
        starts_on=pl.coalesce(pl.col("starts_on").first(), pl.col("hour_time").min().dt.date()),
        hours=pl.col("hour_time").count(),
    )  # fmt: skip
    hours = rows.filter(pl.col("hour_time").is_not_null())
    return OwnFactors(heads, hours.select(factor_id="id", hour="hour_time", value="number"))
