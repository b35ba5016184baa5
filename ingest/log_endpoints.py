"""Raw CAN logs over HTTP, in one piece or in parts: parse, call, return."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from anyio import to_thread
from fastapi import Depends, Header, Path, Query, Request, Response

from ingest.calls import TheCaller, TheReceiver, announced_bytes, answered, in_thread, v1_router, write_body
from ingest.can.formats import FORMATS
from ingest.disk import unavailable_when_full
from ingest.log_parts import LogParts
from ingest.log_receiver import LogQuery, LogReceiver
from ingest.openapi import COMPLETE, COMPLETION, EVERYWHERE, KNOWN, LOG_BODY, LOGS, PART, PART_BODY, problems
from schemas.errors import BusyError, MalformedBodyError, NotFoundError, UnknownFormatError
from schemas.wire import PartsState, Receipt, UnfinishedUploads

v1 = v1_router("raw CAN logs")
log = structlog.get_logger()
T = TypeVar("T")


def log_query(
    vehicle: Annotated[str, Query(description="the vehicle: its name, VIN or another alias", max_length=200)],
    channel: Annotated[str | None, Query(description="the bus, where the log names none", max_length=64)] = None,
    start: Annotated[dt.datetime | None, Query(description="when a relative clock began, with offset")] = None,
    tz: Annotated[
        str | None, Query(description="IANA zone of wall-clock times; default: the vehicle's", max_length=64)
    ] = None,
    format: Annotated[str | None, Query(description="the format, where its content does not tell")] = None,  # noqa: A002
) -> LogQuery:
    """What a log is, checked before its bytes are read."""
    if start is not None and start.tzinfo is None:
        raise MalformedBodyError("start: send an offset, for example 2026-01-06T08:00:00Z")
    if format is not None and format not in FORMATS:
        raise UnknownFormatError(f"format={format}: must be one of {', '.join(FORMATS)}")
    if tz is not None:
        _check_zone(tz)
    return LogQuery(vehicle, channel, start, tz, format)


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise MalformedBodyError(f"tz={name}: is not the name of a time zone") from None


TheLog = Annotated[LogQuery, Depends(log_query)]
UploadName = Annotated[str | None, Header(description="a name for this upload", max_length=255)]
PartsName = Annotated[
    str,
    Path(
        description="a name of your own, for one log: letters, digits and . _ ~ -",
        pattern=r"^[A-Za-z0-9._~-]+$",
        max_length=100,
    ),
]
SHA256 = r"^[0-9A-Fa-f]{64}$"


@v1.post(
    "/can-logs",
    summary="Upload a raw CAN log",
    openapi_extra=LOG_BODY,
    responses=problems(*LOGS),
)
async def upload_log(
    request: Request, response: Response, receiver: TheReceiver, caller: TheCaller, query: TheLog,
    idempotency_key: UploadName = None,
) -> Receipt:  # fmt: skip
    """Take a log in as it is, plain, gzip or zstd: 200 after the commit, 202 when it waits for the database."""
    logs: LogReceiver = request.app.state.log_receiver
    settings = receiver.settings
    with unavailable_when_full(), logs.landing.incoming() as file:
        await write_body(request, file, settings.max_log_bytes, settings.body_timeout_s)
        receipt = await in_thread(request, logs.receive, caller, file, query, idempotency_key)
    log.info("can log", upload_id=str(receipt.upload_id), status=receipt.status, **receipt.rows.model_dump())
    return answered(request, response, receipt)


# --- in parts -------------------------------------------------------------------------------------


def log_parts_of(request: Request) -> LogParts:
    """The app's logs in parts."""
    log_parts: LogParts = request.app.state.log_parts
    return log_parts


TheLogParts = Annotated[LogParts, Depends(log_parts_of)]


async def on_disk(request: Request, call: Callable[..., T], *arguments: object) -> T:
    """Run a call that works on files in a thread; those that need the database do not wait for them."""
    with unavailable_when_full():
        return await to_thread.run_sync(call, *arguments, limiter=request.app.state.disk_limiter)


@v1.put(
    "/can-logs/parts/{name}",
    summary="Upload one part of a raw CAN log",
    openapi_extra=PART_BODY,
    responses=problems(*PART),
)
async def put_part(
    request: Request, receiver: TheReceiver, caller: TheCaller, log_parts: TheLogParts, name: PartsName,
    offset: Annotated[int, Query(description="where in the log the part begins, in bytes", ge=0)],
    sha256: Annotated[str | None, Query(description="of the part, to have it checked", pattern=SHA256)] = None,
) -> PartsState:  # fmt: skip
    """Add a part. A 200 means: it is on disk. A part that did not come whole leaves nothing."""
    parts, settings, gateway_id = log_parts.parts, receiver.settings, caller.scope.gateway_id
    await on_disk(request, parts.check, gateway_id, name, offset, announced_bytes(request) or 0)
    with unavailable_when_full(), parts.incoming() as file:
        await write_body(request, file, settings.max_body_bytes, settings.body_timeout_s)
        state = await on_disk(request, parts.append, gateway_id, name, offset, file, sha256)
    log.info("can log part", name=name, offset=offset, durable_bytes=state.durable_bytes)
    return state


@v1.get("/can-logs/parts", summary="Unfinished raw CAN logs", responses=problems(*KNOWN, BusyError))
async def get_unfinished(request: Request, caller: TheCaller, log_parts: TheLogParts) -> UnfinishedUploads:
    """List the logs that this gateway has begun to send in parts."""
    return await on_disk(request, log_parts.parts.unfinished, caller.scope.gateway_id)


@v1.get(
    "/can-logs/parts/{name}",
    summary="How far a raw CAN log has come",
    responses=problems(*EVERYWHERE, NotFoundError, BusyError),
)
async def get_parts(request: Request, caller: TheCaller, log_parts: TheLogParts, name: PartsName) -> PartsState:
    """Tell how many bytes are kept; the next part begins there. 404: begin with offset 0."""
    return await on_disk(request, log_parts.parts.state, caller.scope.gateway_id, name)


@v1.post(
    "/can-logs/parts/{name}/complete",
    summary="Finish a raw CAN log in parts",
    description=COMPLETE,
    responses=problems(*COMPLETION),
)
async def complete_log(
    request: Request, response: Response, caller: TheCaller, log_parts: TheLogParts, name: PartsName, query: TheLog,
    sha256: Annotated[str | None, Query(description="of the whole log as it was sent", pattern=SHA256)] = None,
    idempotency_key: UploadName = None,
) -> Receipt:  # fmt: skip
    """Take the log in and answer with its receipt, after the commit."""
    with unavailable_when_full():
        receipt = await in_thread(request, log_parts.complete, caller, name, query, sha256, idempotency_key)
    log.info("can log", upload_id=str(receipt.upload_id), status=receipt.status, **receipt.rows.model_dump())
    return answered(request, response, receipt)


@v1.delete(
    "/can-logs/parts/{name}",
    summary="Give up a raw CAN log in parts",
    status_code=204,
    responses=problems(*EVERYWHERE, BusyError),
)
async def delete_parts(request: Request, caller: TheCaller, log_parts: TheLogParts, name: PartsName) -> Response:
    """Take the parts away, and free the name. What was loaded stays loaded."""
    await on_disk(request, log_parts.parts.give_up, caller.scope.gateway_id, name)
    return Response(status_code=204)
