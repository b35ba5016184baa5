"""Writes `docs/data-dictionary.md` from the models and the signal catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from schemas.signals import SIGNALS
from schemas.tables import Base

DIALECT = sa.make_url("postgresql+psycopg://").get_dialect()()
HEADER = """# Data dictionary

Generated from the models: `python -m schemas.dictionary`. Times are `timestamptz` in UTC. Units are in the names.
Engineers read through the role `beachhead_reader`, which sees the views of schema `reading`: the tables below by their
own names (keys and kept bodies excepted), and `vehicle_day_figure` and `pilot_day_figure` with one row per metric.
`vehicle_day_method`, `vehicle_day_agreement` and `vehicle_day_set_aside` have one row for each entry of those lists.
"""


def document() -> str:
    """The page's content."""
    docs = {str(mapper.class_.__tablename__): mapper.class_.__doc__ or "" for mapper in Base.registry.mappers}
    return "\n".join([HEADER, *_signals(), *(line for table in _tables() for line in _table(table, docs))])


def _tables() -> list[sa.Table]:
    return sorted(Base.metadata.tables.values(), key=lambda table: table.name)


def _signals() -> Iterator[str]:
    yield "## Canonical signals\n"
    yield "| signal | unit | meaning | lowest | highest | kind | VSS | SPN |"
    yield "|---|---|---|---|---|---|---|---|"
    for signal in SIGNALS.values():
        kind = f"{signal.kind} counter" if signal.counter else str(signal.kind)
        yield (
            f"| `{signal.name}` | {signal.unit} | {signal.meaning} | {signal.low:g} | {signal.high:g} | {kind} |"
            f" {signal.vss or ''} | {signal.spn or ''} |"
        )
    yield ""


def _table(table: sa.Table, docs: dict[str, str]) -> Iterator[str]:
    meaning = " ".join((table.comment or docs.get(table.name, "")).split())
    yield f"## {table.name}\n\n{meaning}\n"
    yield "| column | type | |"
    yield "|---|---|---|"
    signals = set(SIGNALS) if table.name == "telemetry" else set()
    for column in table.columns:
        if column.name not in signals:
            yield f"| `{column.name}` | {column.type.compile(dialect=DIALECT)} | {_role(column)} |"
    if signals:
        yield "| one column per canonical signal | double precision, bigint or boolean | see above |"
    yield ""


def _role(column: sa.Column[object]) -> str:
    parts = ["key"] if column.primary_key else []
    parts += [f"refers to `{key.column.table.name}`" for key in column.foreign_keys]
    parts += ["may be null"] if column.nullable else []
    return ", ".join(parts)


if __name__ == "__main__":
    Path("docs/data-dictionary.md").write_text(document(), encoding="utf-8")
