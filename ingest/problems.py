"""Errors as RFC 9457 problems: one table from the error tree to HTTP."""

from __future__ import annotations

import http
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from schemas import errors
from schemas.wire import Problem, Reject

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
PARTS_RETRY_AFTER_S = 60


@dataclass(frozen=True)
class Meaning:
    """What an error is over HTTP."""

    slug: str
    status: int
    title: str
    retryable: bool = False
    headers: dict[str, str] = field(default_factory=dict)


def _unavailable(slug: str, title: str) -> Meaning:
    return Meaning(slug, 503, title, retryable=True, headers={"Retry-After": str(RETRY_AFTER_S)})


PROBLEMS: dict[type[errors.BeachheadError], Meaning] = {
    errors.MalformedBodyError: Meaning("malformed", 400, "The request cannot be read"),
    errors.UnknownKeyError: Meaning(
        "unknown-key", 401, "No such gateway key", headers={"WWW-Authenticate": 'Bearer realm="gateway"'}
    ),
    errors.NotAllowedError: Meaning("not-allowed", 403, "The key does not cover these vehicles"),
    errors.NotFoundError: Meaning("not-found", 404, "Not found"),
    errors.StalledBodyError: Meaning(
        "stalled-body", 408, "The body stopped coming, or comes too slowly", retryable=True
    ),
    errors.BodyTooLargeError: Meaning("too-large", 413, "The upload is too large"),
    errors.UnknownFormatError: Meaning("unknown-format", 415, "Unknown format"),
    errors.NothingUsableError: Meaning("nothing-usable", 422, "Nothing in the upload can be used"),
    errors.ChecksumError: Meaning("checksum", 422, "The bytes are not those that were meant"),
    errors.PartChecksumError: Meaning("part-checksum", 422, "The part changed on its way", retryable=True),
    errors.PartsConflictError: Meaning("parts-conflict", 409, "It does not fit what came before"),
    errors.PartsLimitError: Meaning(
        "unfinished-uploads",
        429,
        "Too many unfinished uploads",
        retryable=True,
        headers={"Retry-After": str(PARTS_RETRY_AFTER_S)},
    ),
    errors.HeadersTooLargeError: Meaning("headers-too-large", 431, "The headers are too large"),
    errors.RateLimitError: Meaning(
        "rate-limit", 429, "Too much at once", retryable=True, headers={"Retry-After": str(RETRY_AFTER_S)}
    ),
    errors.KeyAttemptsError: Meaning(
        "key-attempts",
        429,
        "Too many unknown keys from this address",
        retryable=True,
        headers={"Retry-After": str(RETRY_AFTER_S)},
    ),
    errors.ExpiredError: Meaning("expired", 422, "It overlaps with a log whose bytes are not kept any more"),
    errors.IdempotencyError: Meaning("idempotency", 422, "The idempotency key was used for another upload"),
    errors.UnavailableError: _unavailable("unavailable", "Not available now"),
    errors.BusyError: _unavailable("busy", "Another request is at work on this upload"),
    errors.OverloadedError: _unavailable("overloaded", "Too many uploads are under way"),
    errors.StorageFullError: _unavailable("storage-full", "The receiver's disk is full"),
}


def install(app: FastAPI) -> None:
    """Answer every error of the app with a problem."""
    app.add_exception_handler(errors.BeachheadError, _domain)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _validation)  # type: ignore[arg-type]
    app.add_exception_handler(ClientDisconnect, _disconnect)


def _answer(problem: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(problem.model_dump(mode="json"), problem.status, headers, MEDIA_TYPE)


def _plain(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return _answer(Problem(title=http.HTTPStatus(status).phrase, status=status, detail=detail), headers)


async def _domain(_: Request, error: errors.BeachheadError) -> JSONResponse:
    meaning = next((PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS), None)
    if meaning is None:
        raise error
    rejects: Sequence[errors.RejectedRow] = getattr(error, "rejects", ())
    problem = Problem(
        type=f"urn:beachhead:problem:{meaning.slug}",
        title=meaning.title,
        status=meaning.status,
        detail=str(error),
        retryable=meaning.retryable,
        errors=[Reject(row=r.row, field=r.field, value=r.value, reason=r.reason) for r in rejects],
        expected_offset=getattr(error, "expected_offset", None),
    )
    retry_after_s: int | None = getattr(error, "retry_after_s", None)
    return _answer(problem, meaning.headers | ({"Retry-After": str(retry_after_s)} if retry_after_s else {}))


async def _http(_: Request, error: HTTPException) -> JSONResponse:
    return _plain(error.status_code, str(error.detail), dict(error.headers or {}))


async def _validation(_: Request, error: RequestValidationError) -> JSONResponse:
    faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
    return _plain(400, faults)


async def _disconnect(_: Request, __: Exception) -> JSONResponse:
    return _plain(400, "the connection was closed before the body was complete")


def unexpected() -> JSONResponse:
    """The answer to a mistake of ours: the log has it, the answer does not."""
    return _plain(500, "an unexpected error; the log names it by the request id")
