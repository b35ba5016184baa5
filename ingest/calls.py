"""What the receiver's endpoints share: who calls, and the body as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import IO, Annotated, TypeVar

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPBearer

from ingest.auth import Attempts, Caller
from ingest.receiver import Receiver
from schemas.errors import BodyTooLargeError, MalformedBodyError, StalledBodyError
from schemas.wire import Receipt

T = TypeVar("T")
WRITE_BYTES = 4 * 2**20


def receiver_of(request: Request) -> Receiver:
    """The app's receiver."""
    receiver: Receiver = request.app.state.receiver
    return receiver


TheReceiver = Annotated[Receiver, Depends(receiver_of)]


async def authenticated(request: Request, receiver: TheReceiver) -> Caller:
    """The caller, before any of its body is read."""
    header = request.headers.get("Authorization")
    attempts: Attempts = request.app.state.attempts
    with attempts.watched(request.client.host if request.client else "", header):
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


def answered(response: Response, receipt: Receipt) -> Receipt:
    """The receipt, as 200 or, while it waits for the database, as 202."""
    response.status_code = 202 if receipt.status == "queued" else 200
    return receipt


def v1_router(tag: str) -> APIRouter:
    """Endpoints under /v1, under one heading of the documentation."""
    return APIRouter(prefix="/v1", dependencies=[Depends(bearer)], tags=[tag])


def announced_bytes(request: Request) -> int | None:
    """How long the body is said to be; null if that is not said."""
    length = request.headers.get("Content-Length")
    return int(length) if length is not None else None


async def pieces_of(request: Request, limit_bytes: int, patience_s: float) -> AsyncIterator[bytes]:
    """The body, given up as soon as it is too large or stops coming.

    Raises:
        BodyTooLargeError: it is, or is said to be, larger than the limit.
        StalledBodyError: no byte came for `patience_s`.
        MalformedBodyError: it is not as long as it was said to be.
    """
    announced = announced_bytes(request)
    too_large = BodyTooLargeError(f"the body is larger than {limit_bytes} bytes")
    if announced is not None and announced > limit_bytes:
        raise too_large
    size_bytes = 0
    stream = request.stream()
    while (piece := await _next(stream, patience_s)) is not None:
        size_bytes += len(piece)
        if size_bytes > limit_bytes:
            raise too_large
        yield piece
    if announced not in (None, size_bytes):
        raise MalformedBodyError(f"the body is {size_bytes} bytes long, and not {announced} as was said")


async def _next(stream: AsyncGenerator[bytes, None], patience_s: float) -> bytes | None:
    try:
        async with asyncio.timeout(patience_s):
            return await anext(stream, None)
    except TimeoutError:
        raise StalledBodyError(f"no byte of the body came for {patience_s:g} s") from None


async def read_body(request: Request, receiver: Receiver) -> bytes:
    """The whole body; raises as `pieces_of` does."""
    pieces = pieces_of(request, receiver.limits.body_bytes, receiver.settings.body_timeout_s)
    return b"".join([piece async for piece in pieces])


async def write_body(request: Request, file: IO[bytes], limit_bytes: int, patience_s: float) -> None:
    """The whole body into a file; raises as `pieces_of` does."""
    pieces: list[bytes] = []
    waiting = 0
    async for piece in pieces_of(request, limit_bytes, patience_s):
        pieces.append(piece)
        waiting += len(piece)
        if waiting > WRITE_BYTES:
            await to_thread.run_sync(file.write, b"".join(pieces))
            pieces, waiting = [], 0
    await to_thread.run_sync(_write_rest, file, pieces)


def _write_rest(file: IO[bytes], pieces: list[bytes]) -> None:
    file.write(b"".join(pieces))
    file.flush()
