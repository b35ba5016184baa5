"""What there is to ask for: signals, metrics, regions with their factors."""

from __future__ import annotations

from fastapi import APIRouter

from analytics.api.asking import Asking
from analytics.factors.tables import usable
from analytics.summaries import SHOWN
from schemas.signals import SIGNALS
from schemas.wire import GridFactorRow, MetricRow, RegionRow, SignalRow

router = APIRouter(prefix="/v1", tags=["catalogue"])


@router.get("/signals")
def signals() -> list[SignalRow]:
    """Every canonical signal."""
    return [
        SignalRow(
            name=signal.name, group=signal.group, unit=signal.unit, meaning=signal.meaning, low=signal.low,
            high=signal.high, kind=signal.kind, counter=signal.counter, vss=signal.vss, spn=signal.spn,
        )
        for signal in SIGNALS.values()
    ]  # fmt: skip


@router.get("/metrics-catalogue")
def metrics() -> list[MetricRow]:
    """Every metric: what it means, what it starts from, how it is defined and totals, and by which source."""
    return [
        MetricRow(
            slug=metric.slug, name=metric.name, unit=metric.unit, meaning=metric.meaning,
            definition=metric.definition, inputs=list(metric.inputs), totals=metric.total,
            side=metric.side, printed=metric.printed, source=metric.source,
        )
        for metric in SHOWN.values()
    ]  # fmt: skip


@router.get("/regions")
def regions(reader: Asking) -> list[RegionRow]:
    """Every grid a pilot can declare and the factors known for it; for a grid in use, the pilots on it."""
    on_grid: dict[str, list[str]] = {}
    for pilot in reader.pilots():
        if pilot.grid is not None:
            on_grid.setdefault(pilot.grid, []).append(pilot.slug)
    factors = usable(reader.factors()).sort("key", "boundary", "gases", "starts_on")
    grids = factors.rows_by_key("key", named=True, include_key=True)
    rows = {key: _region(key, rows, on_grid.pop(key, [])) for key, rows in grids.items() if rows[0]["kind"] == "grid"}
    unknown = {key: RegionRow(grid=key, area=None, name=None, factors=[], pilots=ids) for key, ids in on_grid.items()}
    return [row for _, row in sorted((rows | unknown).items())]


def _region(key: str, rows: list[dict[str, object]], pilots: list[str]) -> RegionRow:
    fields = GridFactorRow.model_fields
    factors = [GridFactorRow.model_validate({name: row[name] for name in fields}) for row in rows]
    return RegionRow(grid=key, area=str(rows[0]["area"]), name=str(rows[0]["name"]), factors=factors, pilots=pilots)
