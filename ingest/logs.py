"""What is logged of requests: each has an id, which all lines about it carry."""

from __future__ import annotations

import random
import re
import time
from collections.abc import MutableMapping
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest import problems

REQUEST_ID = "X-Request-ID"
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
log = structlog.get_logger()


class RequestLog:
    """ASGI middleware: names each request, logs how it went, and answers where something unexpected happened."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with an id of its own, or the one it came with."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _GIVEN_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
        answer: MutableMapping[str, Any] = {}

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer["status"] = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        began = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_named)
            except Exception as error:  # here, and not outside of this: its line and its answer name the request
                log.error("unexpected", exc_info=error)
                if answer:
                    raise  # half an answer is away: the connection has to break
                await problems.unexpected()(scope, receive, send_named)
            finally:
                took_ms = round((time.perf_counter() - began) * 1e3, 1)
                answer.setdefault("status", 500)
                log.info("request", method=scope["method"], path=scope["path"], took_ms=took_ms, **answer)
