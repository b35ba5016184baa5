"""Structured logs: one JSON object per line, with request and upload ids; never payloads, never keys."""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import MutableMapping
from typing import Any

import structlog
from pydantic_core import to_json
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = "X-Request-ID"
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
log = structlog.get_logger()


def configure() -> None:
    """Write logs of this process as JSON lines to standard error."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_json),
        ],
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )


def _json(event: object, **_: object) -> bytes:
    return to_json(event, fallback=str)


class RequestLog:
    """ASGI middleware: names each request, and logs how it went."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with an id of its own, or the one it came with."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _GIVEN_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
        answer: MutableMapping[str, Any] = {"status": 500}

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer["status"] = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        began = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_named)
            finally:
                took_ms = round((time.perf_counter() - began) * 1e3, 1)
                log.info("request", method=scope["method"], path=scope["path"], took_ms=took_ms, **answer)
