"""`beachhead push` and `beachhead simulate`."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ingest.gateway.bodies import Upload
from ingest.gateway.column_map import ColumnMap, read_column_map
from ingest.gateway.files import MAX_ROWS, file_uploads
from ingest.gateway.logs import is_log, log_upload
from ingest.gateway.parts import LargeLog
from ingest.gateway.push import Outcome
from ingest.gateway.push import push as push_uploads
from ingest.gateway.watched import Watched
from pipelines.commands.forward import default_spool, forward
from pipelines.commands.output import JsonFlag, console, show
from schemas.errors import UnknownFormatError
from schemas.wire import Reject, RowCounts

SHOWN_REJECTS = 10


def push(
    url: Annotated[str, typer.Option(help="The receiver.", envvar="BEACHHEAD_PUSH_URL")],
    key: Annotated[str, typer.Option(help="The gateway's key.", envvar="BEACHHEAD_PUSH_KEY")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, help="CSV, NDJSON, JSON, Parquet, Arrow, or raw CAN logs; also in .gz or .zst."),
    ] = None,
    vehicle: Annotated[str | None, typer.Option(help="The vehicle of logs, and of rows that do not name it.")] = None,
    tz: Annotated[str | None, typer.Option(help="The zone of times without an offset.")] = None,
    channel: Annotated[str | None, typer.Option(help="The bus of logs that name none.")] = None,
    start: Annotated[str | None, typer.Option(help="When the clock of logs began: 2026-01-06T08:00:00Z.")] = None,
    columns: Annotated[Path | None, typer.Option(exists=True, help="A column map for a logger's own CSV.")] = None,
    watch: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Send what comes into this folder, until Ctrl-C."),
    ] = None,
    spool: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Keep what is to be sent in this folder until the receiver has it."),
    ] = None,
    leave: Annotated[
        bool, typer.Option("--leave", help="With --watch, remember sent files instead of moving them to sent/.")
    ] = False,
    settled: Annotated[float, typer.Option(min=0, help="With --watch, seconds without change before sending.")] = 5,
    batch_rows: Annotated[int, typer.Option(min=1, help="Most rows in one upload.")] = MAX_ROWS,
    as_json: JsonFlag = False,
) -> None:
    """Upload files to a receiver. What was sent before changes nothing; what fails for a while is tried again.

    A large log is sent in parts. If it is interrupted, the same command goes on where it stopped.

    With --watch or --spool nothing is given up: a failure that may pass is tried again for as long as it takes, also
    after a restart. What the receiver refuses for good is put aside, with the problem beside it.
    """
    if not (paths or watch or spool):
        raise typer.BadParameter("give files, or --watch with a folder, or --spool with one that holds uploads.")
    column_map = read_column_map(columns) if columns else None
    files = [file for path in paths or () for file in (_inside(path) if path.is_dir() else [path])]
    if watch is not None or spool is not None:
        query = _given({"vehicle": vehicle, "channel": channel, "start": _with_offset(start), "tz": tz})
        made = _Sending(files, frozenset(), vehicle, tz, column_map, query, batch_rows)
        watched = Watched(watch, settled) if watch is not None else None
        forward(made.of_any, files, spool or default_spool(url), url, key, watched, leave=leave, as_json=as_json)
        return
    # A column map says of CSV files that they are rows.
    logs = frozenset(file for file in files if not (columns and ".csv" in file.name.lower()) and is_log(file))
    _require_vehicle(logs, vehicle)
    log_query = {"vehicle": vehicle, "channel": channel, "start": _with_offset(start), "tz": tz}
    sending = _Sending(files, logs, vehicle, tz, column_map, _given(log_query), batch_rows)
    outcomes = sending.push(url, key)
    show([_row(outcome, with_frames=bool(logs)) for outcome in outcomes], as_json=as_json)
    for path, reject in sending.rejects[:SHOWN_REJECTS]:
        typer.echo(f"{path.name}, row {reject.row}: {reject.field or 'row'}: {reject.reason}", err=True)
    if len(sending.rejects) > SHOWN_REJECTS:
        typer.echo(f"… and {len(sending.rejects) - SHOWN_REJECTS} more values set aside by the column map", err=True)
    if any(not outcome.ok for outcome in outcomes):
        raise typer.Exit(1)


def _inside(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file())


def _require_vehicle(logs: frozenset[Path], vehicle: str | None) -> None:
    if logs and vehicle is None:
        raise typer.BadParameter(_whose(min(logs)), param_hint="--vehicle")


def _whose(log: Path) -> str:
    return f"{log.name} is a raw CAN log: say which vehicle's."


def _with_offset(start: str | None) -> str | None:
    if start is None:
        return None
    try:
        time = dt.datetime.fromisoformat(start)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise typer.BadParameter("send a time with its offset: 2026-01-06T08:00:00Z.", param_hint="--start")
    return time.isoformat()


def _given(query: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in query.items() if value is not None}


@dataclass(slots=True)
class _Sending:
    """Files on their way. `rejects` are rows and values that the column map set aside."""

    files: list[Path]
    logs: frozenset[Path]
    vehicle: str | None
    tz: str | None
    columns: ColumnMap | None
    log_query: Mapping[str, str]
    batch_rows: int = MAX_ROWS
    rejects: list[tuple[Path, Reject]] = field(default_factory=list)

    def push(self, url: str, key: str) -> list[Outcome]:
        """Send all of them; progress is in bytes of the files."""
        columns = (TextColumn("uploading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
            bar = bars.add_task("uploading", total=sum(file.stat().st_size for file in self.files))

            def done(size_bytes: int) -> None:
                bars.advance(bar, size_bytes)

            return push_uploads(self._uploads(done), url, key, sent=done)

    def _uploads(self, done: Callable[[int], None]) -> Iterator[Upload | LargeLog]:
        for file in self.files:
            size_bytes = file.stat().st_size
            if file in self.logs:
                upload = log_upload(file, self.log_query)
                yield upload
                if isinstance(upload, LargeLog):
                    continue  # tells of itself, part by part
            else:
                yield from self._rows(file)
            done(size_bytes)

    def _rows(self, file: Path) -> Iterator[Upload]:
        made = file_uploads(
            file, vehicle=self.vehicle, columns=self.columns, tz=self.tz, max_rows=self.batch_rows
        )  # fmt: skip
        yield from made.uploads
        self.rejects.extend((file, reject) for reject in made.rejects)

    def of_any(self, file: Path) -> Iterator[Upload | LargeLog]:
        """The uploads of a file of which nothing was known before; what the column map sets aside is told at once."""
        if not (self.columns and ".csv" in file.name.lower()) and is_log(file):
            if self.vehicle is None:
                raise UnknownFormatError(_whose(file).replace(": say", ": say with --vehicle"))
            yield log_upload(file, self.log_query)
            return
        yield from self._rows(file)
        if self.rejects:
            said = f"{file.name}: {len(self.rejects)} rows and values set aside by the column map"
            typer.echo(f"{said}, the first in row {self.rejects[0][1].row}: {self.rejects[0][1].reason}", err=True)
        self.rejects.clear()


def _row(outcome: Outcome, *, with_frames: bool) -> dict[str, object]:
    rows = outcome.receipt.rows if outcome.receipt else RowCounts()
    return {
        "file": outcome.label,
        "status": outcome.receipt.status if outcome.receipt else f"failed ({outcome.status or 'no answer'})",
        **(_frames(outcome) if with_frames else {}),
        **rows.model_dump(exclude={"late"}),
        "fields_rejected": outcome.receipt.fields_rejected if outcome.receipt else 0,
        "upload": outcome.receipt.upload_id if outcome.receipt else None,
        "note": outcome.problem.detail if outcome.problem else "; ".join(_reasons(outcome)),
    }


def _frames(outcome: Outcome) -> dict[str, int | None]:
    """Frames of a log; null for rows."""
    can = outcome.receipt.can if outcome.receipt else None
    return {
        "frames_read": can.frames_read if can else None, "frames_decoded": can.frames_decoded if can else None,
    }  # fmt: skip


def _reasons(outcome: Outcome) -> list[str]:
    """What a log's receipt warns of, then the reasons of rejected values, the most frequent first."""
    warnings = outcome.receipt.warnings if outcome.receipt and outcome.receipt.can else []
    rejects = outcome.receipt.rejects if outcome.receipt else []
    found = Counter(f"{reject.field or 'row'} {reject.reason}" for reject in rejects)
    return [*warnings, *(reason for reason, _ in found.most_common(3))]


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
