"""Tables for people, JSON for programs."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

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
        # What other commands are given must be there in full.
        is_id = isinstance(value, uuid.UUID)
        justify: Literal["left", "right"] = "right" if isinstance(value, int | float) else "left"
        table.add_column(name.replace("_", " "), justify=justify, no_wrap=is_id, min_width=36 if is_id else None)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    return table


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.date | dt.datetime | dt.time) else str(value)
