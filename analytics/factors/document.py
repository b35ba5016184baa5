"""`docs/factors.md`, written from the tables: `python -m analytics.factors.document > docs/factors.md`."""

from __future__ import annotations

import datetime as dt
import sys
from typing import Any

import polars as pl

from analytics.factors.contract import RECALLED
from analytics.factors.regions import answers
from analytics.factors.tables import shipped

INTRO = """# Factors

Written from the tables in `analytics/factors`; do not edit by hand.

**Which one is used.** A pilot or site declares its grid. That source answers for its own boundary. For another boundary
a source of the *same area* stands in: the national authority first, then eGRID, Ember, electricityMaps. A national
average never stands in for a part of the country, nor the other way round. Three pairs of nearly the same area are
taken as one: eGRID CAMX and the CAISO zone, ERCT and ERCOT, NEWE and ISO New England.
Of a source's editions the newest is used whose data do not begin after the day in question. Before the first there is
no factor, and the figure is null and says so. Other sources of the same area, boundary and gases give the figure's low
and high; so do other sources of a fuel that hold there, with the same boundary and gases.

**Confidence.** VERIFIED: seen in the source. VERIFIED-2nd: seen in a copy or a quotation. DERIVED: arithmetic on such
values. RECALLED: never seen in the source; listed here, never used.

**Same gases.** CO2 is set against CO2. Where electricity is known as CO2e only, CH4 and N2O of burning the fuel are
added: per km for trucks and buses, per litre off the road and on water. Diesel that the vehicle burned itself (engine,
heater, generator) counts with the rates off the road, which are the higher ones.

**Line losses.** What the site declares; else 5 % in the United States; elsewhere 0 with a note, since no other value
was seen in its source. A factor that has losses in it gets none.

**Bounds.** The conservative figure is a lower bound as far as the fuel goes. In India the official direct factor is a
little above the life-cycle values of the others, so look at both figures there.

**Own factors.** `beachhead factors import FILE` takes a CSV (with a header) or Parquet file of factors that you know
better. One row is one factor; the file is taken whole or not at all, and each fault is told with line, field and
reason. `factors list`, `factors show` and `factors remove` do what they say.

| column | what it holds |
|---|---|
| `table` | a name of your own; the electricity of table `depot` is declared as `grid: own:depot` |
| `kind` | `grid`, `fuel`, `trace`, `engine`, `heater` or `line_loss` |
| `boundary` | `generation_direct`, `life_cycle`; `tailpipe`, `tailpipe_biogenic`, `upstream`, `well_to_wheel` |
| `gases` | `co2` or `co2e`; of `trace` also `ch4`, `n2o`, `ch4_n2o_co2e`; of engines `nox`, `pm` |
| `value`, `unit` | as published: g/kWh, kg/kWh, t/MWh, lb/MWh, g/MJ; kg/L, kg/US gal, kg/kg, kg/t; share |
| `year` or `hour` | the year that the data describe; or a UTC hour of electricity, such as `2026-03-02T14:00Z` |
| `edition`, `source`, `confidence` | where it was seen; RECALLED is refused |
| `fuel` | of `fuel`, `trace` and `heater`: which one; of `engine`: the name of the standard |
| `pilot` | of fuels: the pilot it holds for; empty: the whole programme |
| `area` | of electricity, if it describes a place that is listed here: other sources then answer other boundaries |
| `starts_on`, `name`, `gwp_set`, `losses_included`, `note` | may be left out |

An own factor goes before those that ship, is named in every figure that used it, and stands in for nobody else's. A
table is annual or hourly at a boundary, never both ([how hours are matched](definitions.md#hourly-grid-factors)).

**Left out.** The electricityMaps value of 2025 for the Imperial Irrigation District (168, after 502 in 2024) is not
shipped: 2024 stays in use. Margins and residual mixes are not average factors and are not shipped.
"""


def markdown(table: pl.DataFrame) -> str:
    """Every factor of a table that follows `Factors`, grouped by series."""
    rows = table.with_columns(series=pl.col("id").str.split("/").list.first())
    parts = [INTRO, _where(table)]
    for kind, title in (
        ("grid", "Electricity"),
        ("fuel", "Fuels"),
        ("trace", "CH4 and N2O"),
        ("engine", "Engine standards"),
        ("heater", "Heaters"),
        ("line_loss", "Losses"),
    ):
        of_kind = rows.filter(pl.col("kind") == kind)
        parts.append(f"\n## {title}\n")
        parts += [_section(series) for series in of_kind.partition_by("series", maintain_order=True)]
    return "".join(parts)


def _where(table: pl.DataFrame) -> str:
    """Which factor answers in each region of the programme from the newest edition on."""
    newest: dt.date = table.filter(pl.col("kind") == "grid").select(pl.col("starts_on").max()).item()
    told = answers(newest, table).select(
        "region", "grid", "boundary", told=pl.coalesce(pl.format("{}: {} {}", "factor_id", "value", "unit"), "reason")
    )
    wide = told.pivot("boundary", index=["region", "grid"], values="told")
    lines = [
        "\n## Which factor answers where\n",
        f"For days from {newest} on, where a pilot declares this grid.\n",
        "| region | grid | direct generation | life-cycle |",
        "|---|---|---|---|",
    ]
    rows = wide.select("region", "grid", "generation_direct", "life_cycle").iter_rows()
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _section(series: pl.DataFrame) -> str:
    first = series.row(0, named=True)
    lines = [
        f"\n### {first['series']}\n",
        *_facts(first),
        "",
        "| key | describes | area | value | note |",
        "|---|---|---|---:|---|",
    ]
    lines += [
        f"| {row['key']} | {row['name']} | {row['area']} | {row['value']:.10g} | {row['note'] or ''} |"
        for row in series.iter_rows(named=True)
    ]
    return "\n".join(lines) + "\n"


def _facts(first: dict[str, Any]) -> list[str]:
    gases = f"{first['gases']} ({first['gwp_set']})" if first["gwp_set"] else first["gases"]
    losses = "in it" if first["losses_included"] else "not in it"
    unused = " **Never used.**" if first["confidence"] == RECALLED else ""
    return [
        f"{first['source']}. Edition {first['edition']}, data of {first['year']}, from {first['starts_on']} on. "
        f"{first['boundary']}, {gases}, {first['unit']}. Line losses {losses}. {first['confidence']}.{unused}"
    ]


if __name__ == "__main__":
    sys.stdout.write(markdown(shipped()))
