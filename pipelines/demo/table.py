"""The demonstration's closing table: one row per pilot, read from the read side like anybody would."""

from __future__ import annotations

from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

COLUMNS = ("pilot", "vehicles", "days", "distance", "energy used", "efficiency", "availability", "CO2e avoided",
           "coverage")  # fmt: skip
BOUNDARIES = {
    "co2e_avoided_tailpipe_vs_generation_kg": "tailpipe vs generation",
    "co2e_avoided_well_to_wheel_kg": "well-to-wheel",
    "co2e_avoided_conservative_kg": "conservative",
}
WIDTH = 140  # a row stays a row; a narrow terminal folds it
PER_HOUR = ("yard-tractor", "cargo-handling", "forklift", "construction", "agriculture")


def print_pilots(address: str) -> None:
    """Print the figures of every pilot over all its days."""
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        pilots = client.get("/v1/pilots").raise_for_status().json()
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in COLUMNS:
            table.add_column(column, justify="left" if column == "pilot" else "right")
        for pilot in pilots:
            summary = client.get(f"/v1/pilots/{pilot['id']}/summary").raise_for_status().json()
            table.add_row(*_cells(pilot, summary))
    Console(width=max(Console().width, WIDTH)).print(table)


def _cells(pilot: dict[str, Any], summary: dict[str, Any]) -> tuple[str, ...]:
    metrics = summary["metrics"]
    rate = "energy_per_hour_kwh" if pilot["segment"] in PER_HOUR else "energy_per_km_kwh"
    return (
        pilot["id"], str(summary["vehicles"]), str(summary["days"]), figure(metrics["distance_km"], 0),
        figure(metrics["energy_used_kwh"], 0), figure(metrics[rate], 2), availability(metrics["availability_pct"]),
        avoided(summary), percent(metrics["energy_used_kwh"]["coverage_pct"]),
    )  # fmt: skip


def figure(value: dict[str, Any], decimals: int) -> str:
    """A figure with its unit; unknown is said, never zero."""
    return "unknown" if value["value"] is None else f"{value['value']:,.{decimals}f} {value['unit']}"


def percent(value: float | None) -> str:
    """A share in whole percent."""
    return "unknown" if value is None else f"{value:.0f} %"


def availability(value: dict[str, Any]) -> str:
    """Central value, with its bounds where unknown days leave room between them."""
    if value["value"] is None or value["low"] == value["high"]:
        return figure(value, 1)
    return f"{value['value']:.1f} % ({value['low']:.1f}–{value['high']:.1f})"


def avoided(summary: dict[str, Any]) -> str:
    """CO2e avoided, with the boundary that leads for this pilot."""
    slug = summary["headline_co2e"]
    if slug is None:
        return "unknown"
    return f"{figure(summary['metrics'][slug], 0)} ({BOUNDARIES[slug]})"
