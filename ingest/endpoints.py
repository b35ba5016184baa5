"""The receiver's HTTP interface: parse, call, return."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import Callable
from typing import IO, Annotated, TypeVar

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.security import HTTPBearer

from ingest import answers
from ingest.auth import Caller
from ingest.checks.rows import Query as RowQuery
from ingest.decoders import media_type
from ingest.decoders.encodings import check_encoding
from ingest.log_receiver import LogQuery, LogReceiver
from ingest.openapi import LOG_BODY, TELEMETRY_BODY, problems
from ingest.receiver import Incoming, Receiver
from schemas.errors import BodyTooLargeError, MalformedBodyError, StalledBodyError
from schemas.wire import GatewayInfo, Receipt, Receipts, Rejects

router = APIRouter()
log = structlog.get_logger()
T = TypeVar("T")
PAGE = 100
MOST = 1000
WRITE_BYTES = 4 * 2**20


def receiver_of(request: Request) -> Receiver:
    """The app's receiver."""
    receiver: Receiver = request.app.state.receiver
    return receiver


TheReceiver = Annotated[Receiver, Depends(receiver_of)]


async def authenticated(request: Request, receiver: TheReceiver) -> Caller:
    """The caller, before any of its body is read."""
    header = request.headers.get("Authorization")
    caller = receiver.keys.remembered(header)
    if caller is None:
        caller = await in_thread(request, receiver.keys.verify, header)
    structlog.contextvars.bind_contextvars(gateway=caller.scope.gateway)
    return caller


bearer = HTTPBearer(scheme_name="gateway key", description="bh_…, one per gateway", auto_error=False)
TheCaller = Annotated[Caller, Depends(authenticated)]


async def in_thread(request: Request, call: Callable[..., T], *arguments: object) -> T:
    """Run a blocking call in a thread; there are as many as database connections."""
    limiter: CapacityLimiter = request.app.state.limiter
    return await to_thread.run_sync(call, *arguments, limiter=limiter)


v1 = APIRouter(prefix="/v1", dependencies=[Depends(bearer)])


async def read_body(request: Request, receiver: Receiver) -> bytes:
    """The body, given up as soon as it is too large or stops coming."""
    limit, patience_s = receiver.limits.body_bytes, receiver.settings.body_timeout_s
    too_large = BodyTooLargeError(f"the body is larger than {limit} bytes")
    if int(request.headers.get("Content-Length", "0")) > limit:
        raise too_large
    pieces, size = [], 0
    try:
        async with asyncio.timeout(patience_s) as deadline:
            async for piece in request.stream():
                size += len(piece)
                if size > limit:
                    raise too_large
                pieces.append(piece)
                deadline.reschedule(asyncio.get_running_loop().time() + patience_s)
    except TimeoutError:
        raise StalledBodyError(f"no byte of the body came for {patience_s:g} s") from None
    return b"".join(pieces)


async def write_body(request: Request, receiver: Receiver, file: IO[bytes]) -> None:
    """The body into a file, given up as soon as it is too large or stops coming."""
    limit, patience_s = receiver.settings.max_log_bytes, receiver.settings.body_timeout_s
    pieces: list[bytes] = []
    size = waiting = 0
    try:
        async with asyncio.timeout(patience_s) as deadline:
            async for piece in request.stream():
                size, waiting = size + len(piece), waiting + len(piece)
                pieces.append(piece)
                if size > limit:
                    raise BodyTooLargeError(f"the log is larger than {limit} bytes")
                if waiting > WRITE_BYTES:
                    await to_thread.run_sync(file.write, b"".join(pieces))
                    pieces, waiting = [], 0
                deadline.reschedule(asyncio.get_running_loop().time() + patience_s)
    except TimeoutError:
        raise StalledBodyError(f"no byte of the body came for {patience_s:g} s") from None
    file.write(b"".join(pieces))
    file.flush()


@v1.post(
    "/telemetry",
    summary="Upload rows",
    openapi_extra=TELEMETRY_BODY,
    responses=problems(400, 401, 403, 408, 413, 415, 422, 503),
)
async def upload_telemetry(
    request: Request,
    receiver: TheReceiver,
    caller: TheCaller,
    vehicle: Annotated[str | None, Query(description="the vehicle of rows that name none", max_length=200)] = None,
    tz: Annotated[str | None, Query(description="IANA time zone of times without one", max_length=64)] = None,
    idempotency_key: Annotated[str | None, Header(description="a name for this upload", max_length=255)] = None,
) -> Receipt:
    """Take rows in and answer with a receipt. The answer is sent after the commit."""
    content_type, encoding = request.headers.get("Content-Type", ""), request.headers.get("Content-Encoding", "")
    media_type(content_type), check_encoding(encoding)
    body = await read_body(request, receiver)
    incoming = Incoming(body, content_type, encoding, RowQuery(vehicle, tz), idempotency_key)
    receipt = await in_thread(request, receiver.receive, caller, incoming)
    log.info(
        "upload", upload_id=str(receipt.upload_id), status=receipt.status, bytes=len(body), **receipt.rows.model_dump()
    )
    return receipt


@v1.post(
    "/can-logs",
    summary="Upload a raw CAN log",
    openapi_extra=LOG_BODY,
    responses=problems(400, 401, 403, 408, 413, 415, 422, 503),
)
async def upload_log(
    request: Request,
    receiver: TheReceiver,
    caller: TheCaller,
    vehicle: Annotated[str, Query(description="the vehicle: its name, VIN or another alias", max_length=200)],
    channel: Annotated[str | None, Query(description="the bus, where the log names none", max_length=64)] = None,
    start: Annotated[dt.datetime | None, Query(description="when a relative clock began, with offset")] = None,
    tz: Annotated[str | None, Query(description="IANA zone of wall-clock times; default: the vehicle's")] = None,
    format: Annotated[str | None, Query(description="the format, where its content does not tell")] = None,  # noqa: A002
    idempotency_key: Annotated[str | None, Header(description="a name for this upload", max_length=255)] = None,
) -> Receipt:
    """Take a log in as it is, plain, gzip or zstd. The log is kept; the answer is sent after the commit."""
    if start is not None and start.tzinfo is None:
        raise MalformedBodyError("start: send an offset, for example 2026-01-06T08:00:00Z")
    logs: LogReceiver = request.app.state.log_receiver
    query = LogQuery(vehicle, channel, start, tz, format)
    with logs.landing.incoming() as file:
        await write_body(request, receiver, file)
        receipt = await in_thread(request, logs.receive, caller, file, query, idempotency_key)
    log.info("can log", upload_id=str(receipt.upload_id), status=receipt.status, **receipt.rows.model_dump())
    return receipt


@v1.get("/uploads/{upload_id}", summary="One receipt", responses=problems(401, 404, 503))
async def get_upload(request: Request, receiver: TheReceiver, caller: TheCaller, upload_id: uuid.UUID) -> Receipt:
    """Answer with the receipt of one of the gateway's uploads."""
    return await in_thread(request, answers.receipt, receiver, caller.scope, upload_id)


@v1.get("/uploads", summary="Receipts", responses=problems(400, 401, 403, 503))
async def get_uploads(
    request: Request,
    receiver: TheReceiver,
    caller: TheCaller,
    since: Annotated[dt.datetime | None, Query(description="received at or after this time, with offset")] = None,
    vehicle: Annotated[str | None, Query(description="with rows of this vehicle")] = None,
    after: Annotated[int, Query(description="continue after this number; see next_url", ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST)] = PAGE,
) -> Receipts:
    """List the gateway's receipts in the order of acceptance."""
    if since is not None and since.tzinfo is None:
        raise MalformedBodyError("since: send an offset, for example 2026-01-06T08:00:00Z")
    wanted = answers.Wanted(since, vehicle, after, limit)
    return await in_thread(request, answers.receipts, receiver, caller.scope, wanted)


@v1.get("/uploads/{upload_id}/rejects", summary="Rejected rows and fields", responses=problems(401, 404, 503))
async def get_rejects(
    request: Request,
    receiver: TheReceiver,
    caller: TheCaller,
    upload_id: uuid.UUID,
    after: Annotated[int, Query(description="continue after this number; see next_url", ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = MOST,
) -> Rejects:
    """List every row and field of an upload that did not load, in the order of rows."""
    return await in_thread(request, answers.rejects, receiver, caller.scope, upload_id, after, limit)


@v1.get("/gateway", summary="This gateway", responses=problems(401, 503))
async def get_gateway(request: Request, receiver: TheReceiver, caller: TheCaller) -> GatewayInfo:
    """Tell the gateway its vehicles, the signals wanted, the limits, and the time."""
    return await in_thread(request, answers.gateway, receiver, caller.scope)


@router.get("/healthz", summary="The process runs")
async def healthz() -> dict[str, str]:
    """Answer as long as the process does."""
    return {"status": "ok"}


@router.get("/readyz", summary="Uploads can be accepted durably", responses=problems(503))
async def readyz(request: Request, receiver: TheReceiver) -> dict[str, str]:
    """Answer 200 when the database does."""
    await in_thread(request, answers.ready, receiver)
    return {"status": "ready"}


@router.get("/", include_in_schema=False)
async def root() -> Response:
    """Send people to the documentation."""
    return Response(status_code=307, headers={"Location": "/docs"})
