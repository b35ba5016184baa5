"""What the receiver's endpoints share: who calls, and the body as it comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import IO, Annotated, Any, TypeVar

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPBearer
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest.auth import Attempts, Caller
from ingest.gates import Gates, UnderWay
from ingest.receiver import Receiver
from schemas.errors import BodyTooLargeError, MalformedBodyError, StalledBodyError
from schemas.wire import Receipt

T = TypeVar("T")
WRITE_BYTES = 4 * 2**20
WITH_BODY = frozenset({"POST", "PUT"})


async def receiver_of(request: Request) -> Receiver:
    """The app's receiver. Async, as what is not is handed to another thread."""
    receiver: Receiver = request.app.state.receiver
    return receiver


def gates_of(request: Request) -> Gates:
    """The limits of this process."""
    gates: Gates = request.app.state.gates
    return gates


TheReceiver = Annotated[Receiver, Depends(receiver_of)]


async def authenticated(request: Request, receiver: TheReceiver) -> Caller:
    """The caller, before any of its body is read; the limits hold until it is answered (`Admitted`)."""
    gates = gates_of(request)
    gates.check_headers(request.headers.raw)
    header = request.headers.get("Authorization")
    attempts: Attempts = request.app.state.attempts
    with attempts.watched(request.client.host if request.client else "", header):
        caller = receiver.keys.remembered(header)
        if caller is None:
            asked: Asked = request.app.state.asked
            caller = await asked.caller(header, lambda: in_thread(request, receiver.keys.verify, header))
    structlog.contextvars.bind_contextvars(gateway=caller.scope.gateway)
    request.state.under_way = gates.enter(str(caller.scope.gateway_id), has_body=request.method in WITH_BODY)
    request.state.gates = gates
    request.app.state.meters.seen(caller.scope)
    return caller


class Asked:
    """Keys that the database is being asked for: once each, however many requests with it come meanwhile.

    A key is asked for anew every so often, and by then hundreds of uploads may be under way. Used from a loop only.
    """

    def __init__(self) -> None:
        self._asked: dict[str | None, asyncio.Task[Caller]] = {}

    async def caller(self, header: str | None, ask: Callable[[], Coroutine[Any, Any, Caller]]) -> Caller:
        """The caller of a header, as `ask` finds it, or whoever asks already; raises as that does."""
        task = self._asked.get(header)
        if task is None:
            task = self._asked[header] = asyncio.create_task(ask())
            task.add_done_callback(lambda done: self._end(header, done))
        return await asyncio.shield(task)  # others wait for it, though the first of them may go

    def _end(self, header: str | None, task: asyncio.Task[Caller]) -> None:
        del self._asked[header]
        if not task.cancelled():
            task.exception()  # those who wait are told; where all are gone, nobody need be


class Admitted:
    """ASGI middleware: whoever was let in leaves when it is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        state = scope["state"] = dict(scope.get("state", {}))  # of this request, whatever the server hands out
        try:
            await self._app(scope, receive, send)
        finally:
            if "under_way" in state:
                state["gates"].leave(state["under_way"])


bearer = HTTPBearer(scheme_name="gateway key", description="bh_…, one per gateway", auto_error=False)
TheCaller = Annotated[Caller, Depends(authenticated)]


async def in_thread(request: Request, call: Callable[..., T], *arguments: object) -> T:
    """Run a blocking call in a thread; there are as many as database connections."""
    limiter: CapacityLimiter = request.app.state.limiter
    return await to_thread.run_sync(call, *arguments, limiter=limiter)


def answered(request: Request, response: Response, receipt: Receipt) -> Receipt:
    """The receipt, as 200 or, while it waits for the database, as 202."""
    request.state.receipt = receipt
    response.status_code = 202 if receipt.status == "queued" else 200
    return receipt


def v1_router(tag: str) -> APIRouter:
    """Endpoints under /v1, under one heading of the documentation."""
    return APIRouter(prefix="/v1", dependencies=[Depends(bearer)], tags=[tag])


def under_way_of(request: Request) -> UnderWay:
    """What the limits know of this request."""
    under_way: UnderWay = request.state.under_way
    return under_way


def announced_bytes(request: Request) -> int | None:
    """How long the body is said to be; null if that is not said."""
    length = request.headers.get("Content-Length")
    return int(length) if length is not None else None


async def pieces_of(request: Request, limit_bytes: int, patience_s: float) -> AsyncIterator[bytes]:
    """The body, given up as soon as it is too large, stops coming or comes too slowly.

    Raises:
        BodyTooLargeError: it is, or is said to be, larger than the limit.
        StalledBodyError: no byte came for `patience_s`, or so few that it is that late by the slowest rate allowed.
        RateLimitError: the gateway has sent too many bytes before.
        MalformedBodyError: it is not as long as it was said to be.
    """
    announced = announced_bytes(request)
    too_large = BodyTooLargeError(f"the body is larger than {limit_bytes} bytes")
    if announced is not None and announced > limit_bytes:
        raise too_large
    gates, under_way = gates_of(request), under_way_of(request)
    gates.begin_body(under_way)
    size_bytes = 0
    stream = Stream(request.stream(), patience_s, request.app.state.receiver.settings.min_body_bytes_per_s)
    while (piece := await stream.next()) is not None:
        size_bytes += len(piece)
        gates.passed(under_way, len(piece))
        if size_bytes > limit_bytes:
            raise too_large
        yield piece
    if announced not in (None, size_bytes):
        raise MalformedBodyError(f"the body is {size_bytes} bytes long, and not {announced} as was said")


@dataclass
class Stream:
    """A body as it comes. Only the time counts in which it is waited for."""

    pieces: AsyncGenerator[bytes, None]
    patience_s: float
    slowest_bytes_per_s: float
    size_bytes: int = 0
    waited_s: float = 0.0

    async def next(self) -> bytes | None:
        """The next piece; null at the end."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(min(self.patience_s, self._credit_s())):
                piece = await anext(self.pieces, None)
        except TimeoutError:
            slowly = f", or fewer than {self.slowest_bytes_per_s:g} a second" if self.slowest_bytes_per_s else ""
            raise StalledBodyError(f"no byte of the body came for {self.patience_s:g} s{slowly}") from None
        self.waited_s += time.monotonic() - began
        self.size_bytes += len(piece or b"")
        return piece

    def _credit_s(self) -> float:
        """How long it may still be waited for by the slowest rate; a slow start is forgiven."""
        if not self.slowest_bytes_per_s:
            return self.patience_s
        return self.patience_s + self.size_bytes / self.slowest_bytes_per_s - self.waited_s


async def read_body(request: Request, receiver: Receiver) -> bytes:
    """The whole body, in memory; raises as `pieces_of` does, and `OverloadedError` where too much is in memory."""
    gates, under_way = gates_of(request), under_way_of(request)
    pieces = []
    async for piece in pieces_of(request, receiver.limits.body_bytes, receiver.settings.body_timeout_s):
        gates.hold(under_way, len(piece))
        pieces.append(piece)
    return b"".join(pieces)


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
