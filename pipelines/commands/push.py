"""`beachhead push` and `beachhead simulate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from ingest.gateway.bodies import Upload
from ingest.gateway.column_map import ColumnMap, read_column_map
from ingest.gateway.files import file_uploads
from ingest.gateway.push import Outcome
from ingest.gateway.push import push as push_uploads
from pipelines.commands.output import JsonFlag, console, show
from schemas.wire import Reject, RowCounts

SHOWN_REJECTS = 10


def push(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="CSV, NDJSON, JSON, Parquet or Arrow; .gz, .zst.")],
    url: Annotated[str, typer.Option(help="The receiver.", envvar="BEACHHEAD_PUSH_URL")],
    key: Annotated[str, typer.Option(help="The gateway's key.", envvar="BEACHHEAD_PUSH_KEY")],
    vehicle: Annotated[str | None, typer.Option(help="The vehicle, where rows do not name it.")] = None,
    tz: Annotated[str | None, typer.Option(help="The zone of times without an offset.")] = None,
    columns: Annotated[Path | None, typer.Option(exists=True, help="A column map for a logger's own CSV.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Upload files to a receiver. What was sent before changes nothing; what fails for a while is tried again."""
    column_map = read_column_map(columns) if columns else None
    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    mapped_rejects: list[tuple[Path, Reject]] = []
    outcomes = _push(files, url, key, vehicle, tz, column_map, mapped_rejects)
    show([_row(outcome) for outcome in outcomes], as_json=as_json)
    for path, reject in mapped_rejects[:SHOWN_REJECTS]:
        typer.echo(f"{path.name}, row {reject.row}: {reject.field or 'row'}: {reject.reason}", err=True)
    if len(mapped_rejects) > SHOWN_REJECTS:
        typer.echo(f"… and {len(mapped_rejects) - SHOWN_REJECTS} more values set aside by the column map", err=True)
    if any(not outcome.ok for outcome in outcomes):
        raise typer.Exit(1)


def _push(
    files: list[Path], url: str, key: str, vehicle: str | None, tz: str | None, column_map: ColumnMap | None,
    rejects: list[tuple[Path, Reject]],
) -> list[Outcome]:  # fmt: skip
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task("uploading", total=len(files))

        def uploads() -> Iterator[Upload]:
            for file in files:
                made = file_uploads(file, vehicle=vehicle, columns=column_map, tz=tz)
                yield from made.uploads
                rejects.extend((file, reject) for reject in made.rejects)
                bars.advance(bar)

        return push_uploads(uploads(), url, key)


def _row(outcome: Outcome) -> dict[str, object]:
    rows = outcome.receipt.rows if outcome.receipt else RowCounts()
    row: dict[str, object] = {
        "file": outcome.label,
        "status": outcome.receipt.status if outcome.receipt else f"failed ({outcome.status or 'no answer'})",
        **rows.model_dump(exclude={"late"}),
        "fields_rejected": outcome.receipt.fields_rejected if outcome.receipt else 0,
        "upload": outcome.receipt.upload_id if outcome.receipt else None,
        "note": outcome.problem.detail if outcome.problem else "; ".join(_reasons(outcome)),
    }
    return row


def _reasons(outcome: Outcome) -> list[str]:
    """The reasons of rejected values, the most frequent first."""
    rejects = outcome.receipt.rejects if outcome.receipt else []
    found = Counter(f"{reject.field or 'row'} {reject.reason}" for reject in rejects)
    return [reason for reason, _ in found.most_common(3)]


def simulate(
    folder: Annotated[Path, typer.Argument(help="Where the files go.")],
    days: Annotated[int | None, typer.Option(min=1, max=14, help="Only the first days.")] = None,
    pilot: Annotated[list[str] | None, typer.Option(help="Only this pilot; may be given again.")] = None,
) -> None:
    """Write the demonstration fleet's telemetry as Parquet, one file per vehicle and operating day."""
    from ingest.gateway.simulator.simulate import simulate as run

    rows = 0
    folder.mkdir(parents=True, exist_ok=True)
    for log in run(days=days, pilots=pilot):
        if log.frame.height:
            log.frame.write_parquet(folder / f"{log.vehicle.name}-{log.day.date}.parquet")
            rows += log.frame.height
    typer.echo(f"{rows:,} rows written to {folder}.")
