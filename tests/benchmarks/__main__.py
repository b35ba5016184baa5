"""`python -m tests.benchmarks [--only FAMILY]`: prints a table and writes `build/bench.json`."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.result import Benchmark, Result

# Modules here with a function `run`, by family; add one and it is run.
FAMILIES = {
    "ingest": ("ingest", "small", "scale"),
    "can": ("can", "can_http"),
    "metrics": ("metrics", "metrics_store"),
    "steady": ("steady",),
    "cost": ("cost",),
    "workers": ("workers",),
}
OUTPUT = Path("build/bench.json")


def main() -> None:
    """Run the families asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", choices=tuple(FAMILIES), help="one family")
    only = parser.parse_args().only
    results: list[Result] = []
    for family in [only] if only else FAMILIES:
        for module in FAMILIES[family]:
            run: Benchmark = importlib.import_module(f"tests.benchmarks.{module}").run
            results += run()
    _write(results)
    _show(results)


def _write(results: list[Result]) -> None:
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps([dataclasses.asdict(result) for result in results], indent=1) + "\n")


def _show(results: list[Result]) -> None:
    table = Table("benchmark", "value", "unit", "peer", "peer's value", "ratio", "peak MB", "note", box=None)
    for result in results:
        numbers = (result.value, result.peer_value, result.ratio, result.peak_mb)
        value, peer_value, ratio, peak_mb = (
            "" if n is None else f"{n:,.2f}" if n < 100 else f"{n:,.0f}" for n in numbers
        )
        table.add_row(result.name, value, result.unit, result.peer or "", peer_value, ratio, peak_mb, result.note)
    console = Console()
    Console(width=None if console.is_terminal else 180).print(table)


if __name__ == "__main__":
    main()
