"""Domain errors as RFC 9457 problems; for a person in a browser, as a page."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from analytics.questions import BadQuestionError
from analytics.web.render import page
from schemas.errors import BeachheadError, NotFoundError, UnavailableError
from schemas.wire import Problem

STATUS: dict[type[BeachheadError], tuple[int, str]] = {
    BadQuestionError: (400, "The question cannot be answered"),
    NotFoundError: (404, "Not found"),
    UnavailableError: (503, "Not available now"),
}
RETRY_AFTER_S = "5"


def install(app: FastAPI) -> None:
    """Answer every domain error, unknown address and unusable parameter with a problem."""
    for error in STATUS:
        app.add_exception_handler(error, _domain)
    app.add_exception_handler(RequestValidationError, _parameters)
    app.add_exception_handler(HTTPException, _http)


def _domain(request: Request, error: Exception) -> Response:
    status, title = STATUS[type(error)]  # type: ignore[index]
    return _answer(request, Problem(title=title, status=status, detail=str(error), retryable=status == 503))


def _parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  (what it was registered for)
    faults = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
    return _answer(request, Problem(title="The question cannot be answered", status=400, detail=faults))


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    detail = f"there is nothing at {request.url.path}" if error.status_code == 404 else str(error.detail)
    problem = Problem(title=str(error.detail), status=error.status_code, detail=detail)
    return _answer(request, problem, dict(error.headers or {}))


def _answer(request: Request, problem: Problem, headers: dict[str, str] | None = None) -> Response:
    headers = (headers or {}) | ({"Retry-After": RETRY_AFTER_S} if problem.retryable else {})
    wants_page = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/")
    if wants_page:
        return page(request, "problem.html", {"problem": problem}, status=problem.status, headers=headers)
    body = problem.model_dump(mode="json")
    return JSONResponse(body, problem.status, headers, media_type="application/problem+json")
