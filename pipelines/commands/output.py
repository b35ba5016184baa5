"""Tables for people, JSON for programs."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
console = Console()
WIDE = 240  # for files and pipes, where nothing is folded


def show(rows: Sequence[Mapping[str, object]], *, as_json: bool, empty: str = "nothing yet") -> None:
    """Print rows that share their fields."""
    if as_json:
        typer.echo(json.dumps(list(rows), default=_plain, ensure_ascii=False, indent=1))
    elif not rows:
        typer.echo(empty)
    else:
        printer = console if console.is_terminal else Console(width=WIDE)
        printer.print(_table(rows))


def _table(rows: Sequence[Mapping[str, object]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, value in rows[0].items():
        table.add_column(name.replace("_", " "), justify="right" if isinstance(value, int | float) else "left")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    return table


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.date | dt.datetime | dt.time) else str(value)
