"""The receiver's HTTP interface: parse, call, return. Raw CAN logs have a module of their own."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Path, Query, Request, Response

from ingest import answers, scorecard
from ingest.auth import Caller
from ingest.calls import TheCaller, TheReceiver, answered, in_thread, read_body, v1_router
from ingest.checks.rows import Query as RowQuery
from ingest.decoders import media_type
from ingest.decoders.encodings import check_encoding
from ingest.group import Groups
from ingest.openapi import EVERYWHERE, KNOWN, TELEMETRY_BODY, UPLOADS, problems
from ingest.receiver import Incoming, Receiver
from schemas.errors import MalformedBodyError, NotAllowedError, NotFoundError, UnavailableError
from schemas.wire import GatewayInfo, GatewayScore, Receipt, Receipts, Rejects

router = APIRouter(tags=["this receiver"])
log = structlog.get_logger()
PAGE = 100
MOST = 1000
v1 = v1_router("rows and receipts")


@v1.post(
    "/telemetry",
    summary="Upload rows",
    openapi_extra=TELEMETRY_BODY,
    responses=problems(*UPLOADS),
)
async def upload_telemetry(
    request: Request,
    response: Response,
    receiver: TheReceiver,
    caller: TheCaller,
    vehicle: Annotated[str | None, Query(description="the vehicle of rows that name none", max_length=200)] = None,
    tz: Annotated[str | None, Query(description="IANA time zone of times without one", max_length=64)] = None,
    idempotency_key: Annotated[str | None, Header(description="a name for this upload", max_length=255)] = None,
) -> Receipt:
    """Take rows in and answer with a receipt: 200 after the commit, 202 when they wait for the database on disk."""
    content_type, encoding = request.headers.get("Content-Type", ""), request.headers.get("Content-Encoding", "")
    media_type(content_type), check_encoding(encoding)
    body = await read_body(request, receiver)
    incoming = Incoming(body, content_type, encoding, RowQuery(vehicle, tz), idempotency_key)
    receipt = await _received(request, receiver, caller, incoming)
    log.info(
        "upload", upload_id=str(receipt.upload_id), status=receipt.status, bytes=len(body), **receipt.rows.model_dump()
    )
    return answered(request, response, receipt)


async def _received(request: Request, receiver: Receiver, caller: Caller, incoming: Incoming) -> Receipt:
    groups: Groups = request.app.state.groups
    together = groups.submit(caller, incoming)
    if together is not None and (receipt := await together) is not None:
        return receipt
    return await in_thread(request, receiver.receive, caller, incoming)


@v1.get("/uploads/{upload_id}", summary="One receipt", responses=problems(*EVERYWHERE, NotFoundError))
async def get_upload(request: Request, receiver: TheReceiver, caller: TheCaller, upload_id: uuid.UUID) -> Receipt:
    """Answer with the receipt of one of the gateway's uploads."""
    return await in_thread(request, answers.receipt, receiver, caller.scope, upload_id)


@v1.get("/uploads", summary="Receipts", responses=problems(*EVERYWHERE, NotAllowedError))
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


@v1.get(
    "/uploads/{upload_id}/rejects", summary="Rejected rows and fields", responses=problems(*EVERYWHERE, NotFoundError)
)
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


@v1.get("/gateway", summary="This gateway", responses=problems(*KNOWN))
async def get_gateway(request: Request, receiver: TheReceiver, caller: TheCaller) -> GatewayInfo:
    """Tell the gateway its vehicles, the signals wanted, the limits, and the time."""
    return await in_thread(request, answers.gateway, receiver, caller.scope)


@v1.get("/gateways/{gateway}", summary="How this gateway does", responses=problems(*EVERYWHERE, NotFoundError))
async def get_score(
    request: Request,
    receiver: TheReceiver,
    caller: TheCaller,
    gateway: Annotated[str, Path(description="the name of the key's own gateway", max_length=200)],
) -> GatewayScore:
    """Tell the gateway what came from it in the last days, what was wrong with it, and whether its clock is right."""
    return await in_thread(request, scorecard.own_score, receiver, caller.scope, gateway)


@router.get("/healthz", summary="The process runs")
async def healthz() -> dict[str, str]:
    """Answer as long as the process does."""
    return {"status": "ok"}


@router.get("/readyz", summary="Uploads can be accepted durably", responses=problems(UnavailableError))
async def readyz(request: Request, receiver: TheReceiver) -> dict[str, str]:
    """Answer 200 when uploads can be made durable: now, or as soon as the database is back."""
    await in_thread(request, answers.ready, receiver)
    return {"status": "ready"}


@router.get("/", include_in_schema=False)
async def root() -> Response:
    """Send people to the documentation."""
    return Response(status_code=307, headers={"Location": "/docs"})
