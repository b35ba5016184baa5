"""Telemetry out: whole columns, streamed, as many rows as there are."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Annotated, Literal

import pyarrow as pa
from anyio import CancelScope, to_thread
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from analytics.api.asking import Asking
from analytics.export import FORMATS
from analytics.questions import BadQuestionError, instant_of, width_of
from analytics.views import AGGREGATES, Reader, Samples, Vehicle
from schemas.errors import NotFoundError
from schemas.signals import SIGNALS, Signal

router = APIRouter(prefix="/v1", tags=["telemetry"])


@router.get("/telemetry", response_class=StreamingResponse)
def telemetry(
    reader: Asking,
    vehicle: Annotated[str, Query(description="name, or pilot/name where pilots share a name; several: commas")],
    signals: Annotated[str | None, Query(description="canonical signals, with commas; default: all")] = None,
    first: Annotated[str | None, Query(alias="from", description="RFC 3339 time, included")] = None,
    before: Annotated[str | None, Query(alias="to", description="RFC 3339 time, not included")] = None,
    every: Annotated[str | None, Query(description="width of a bin: 10s, 5min, 1h, 1d; default: as sampled")] = None,
    agg: Annotated[
        str | None, Query(description=f"{', '.join(AGGREGATES)}; default: the signal's own, mean or last")
    ] = None,
    form: Annotated[Literal["json", "ndjson", "csv", "parquet", "arrow"], Query(alias="format")] = "json",
) -> StreamingResponse:
    """Samples in order of vehicle and time, streamed without a cap on rows. Bins are named by their start (UTC)."""
    if agg is not None and agg not in AGGREGATES:
        raise BadQuestionError(f"agg={agg}: not one of {', '.join(AGGREGATES)}")
    questions = [
        Samples(found, _signals(signals), instant_of(first, "from"), instant_of(before, "to"), width_of(every), agg)
        for found in (_vehicle(reader, name) for name in vehicle.split(","))
    ]
    # The first batch tells the columns. It is fetched here: an unreachable database is a problem, not a broken stream.
    batches = _all(reader, questions)
    schema = next(batches).schema
    chosen = FORMATS[form]
    pieces = chosen.write(schema, (batch for batch in batches if batch.num_rows))
    return Download(pieces, batches, media_type=chosen.media_type, ending=chosen.ending)


class Download(StreamingResponse):
    """A stream that gives its database connection back as soon as it ends, also when the reader goes away."""

    def __init__(
        self, pieces: Iterator[bytes], source: Generator[pa.RecordBatch], *, media_type: str, ending: str
    ) -> None:
        headers = {"Content-Disposition": f'attachment; filename="telemetry.{ending}"'}
        super().__init__(pieces, media_type=media_type, headers=headers)
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream, then close its source whatever happened."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(self._source.close)


def _all(reader: Reader, questions: list[Samples]) -> Generator[pa.RecordBatch]:
    for question in questions:
        yield from reader.samples(question)


def _signals(names: str | None) -> tuple[Signal, ...]:
    if names is None:
        return tuple(SIGNALS.values())
    asked = list(dict.fromkeys(name.strip() for name in names.split(",")))
    unknown = [name for name in asked if name not in SIGNALS]
    if unknown:
        raise BadQuestionError(f"signals: {', '.join(unknown)}: not in the catalogue (/v1/signals)")
    return tuple(SIGNALS[name] for name in asked)


def _vehicle(reader: Reader, name: str) -> Vehicle:
    pilot, slash, within = name.strip().partition("/")
    if slash:
        return reader.vehicle(reader.pilot(pilot), within)
    found = {vehicle.id: vehicle for vehicle in reader.vehicles_named(pilot)}
    if not found:
        raise NotFoundError(f"there is no vehicle {pilot!r}")
    if len(found) > 1:
        raise BadQuestionError(f"vehicle={pilot}: more than one pilot has it; say pilot/{pilot}")
    return next(iter(found.values()))
