"""Limits of NOx and PM to which engines are certified, and factors of heaters, as plain values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from analytics.factors.memo import Memo
from analytics.factors.resolve import fuels

ENGINE, HEATER = "engine", "heater"


class Source(NamedTuple):
    """What emits and where: an engine by its standard, or a heater by its fuel."""

    kind: str
    name: str
    pilot_id: int
    region: str


class Limit(NamedTuple):
    """Of one gas: kg per kWh at the shaft, or per litre burned; the factor's id and note."""

    kg: float
    factor_id: str
    note: str | None


Limits = Mapping[str, Limit]
"""By gas: nox, pm. Where there is none, none is known."""


def limits(asked: Sequence[tuple[dt.date, Source]], table: pl.DataFrame) -> list[Limits]:
    """The limits that hold for each source on a day, in order; `table` follows `Factors`."""
    return _KEPT.answers(asked, table)


_ASKED = {"day": pl.Date, "kind": pl.String, "fuel": pl.String, "pilot_id": pl.Int32, "region": pl.String}


def _of_sources(
    asked: Sequence[tuple[dt.date, Source]], table: pl.DataFrame
) -> Mapping[tuple[dt.date, Source], Limits]:
    cases = pl.DataFrame([(day, *source) for day, source in asked], _ASKED, orient="row")
    found: dict[tuple[dt.date, Source], dict[str, Limit]] = {question: {} for question in asked}
    for kind in cases["kind"].unique():
        rows = fuels(cases.filter(pl.col("kind") == kind), table, kind=kind)
        named = rows.select("day", "fuel", "pilot_id", "region", "gases", "si_value", "id", "note")
        for day, name, pilot_id, region, gas, *limit in named.iter_rows():
            # The best comes first.
            found[day, Source(kind, name, pilot_id, region)].setdefault(gas, Limit(*limit))
    return found


_KEPT: Memo[Source, Limits] = Memo(_of_sources)
