"""Logs of the servers: one JSON object per line on standard error, also of the libraries that they are made of.

Of an error a line tells what kind it is and where it came from. What libraries say of it is left out: a database, and
whatever reads bodies, quotes the values that it was given.
"""

from __future__ import annotations

import datetime as dt
import logging
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import psycopg
import sqlalchemy as sa
import structlog
from pydantic_core import to_json

from schemas.errors import BeachheadError, NotAllowedError, UnusableUploadError

MOST_CAUSES = 10
PLACES = ("table_name", "column_name", "constraint_name", "datatype_name")


def configure() -> None:
    """Write what this process logs by structlog as JSON lines to standard error."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(_trace),
            structlog.processors.JSONRenderer(serializer=_json),
        ],
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )


class JsonLines(logging.Formatter):
    """Lines of libraries: as ours are, and of a text of several lines the first, as the others are a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        told: dict[str, Any] = {
            "event": record.getMessage().partition("\n")[0],
            "logger": record.name,
            "level": record.levelname.lower(),
            "timestamp": dt.datetime.fromtimestamp(record.created, dt.UTC),
        }
        if record.exc_info:
            told["exception"] = _trace(record.exc_info)
        return _json(told).decode()


SERVER: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": JsonLines}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "json"}},
    "loggers": {"_granian": {"level": "INFO"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
"""The configuration of `logging` for Granian's processes."""


def told(error: BaseException) -> str:
    """What kind of error it is, and what can be said of it without quoting anybody's values."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    if isinstance(error, sa.exc.DBAPIError) and error.orig is not None:
        return f"{kind} of {told(error.orig)}"
    if isinstance(error, psycopg.Error):
        return f"{kind} {_of_database(error)}".rstrip()
    is_sentence = isinstance(error, BeachheadError) and not isinstance(error, UnusableUploadError | NotAllowedError)
    return f"{kind}: {error}" if is_sentence else kind


def _of_database(error: psycopg.Error) -> str:
    if error.sqlstate is None and isinstance(error, psycopg.OperationalError):
        return str(error).partition("\n")[0]  # no server said it: it tells why none can be reached
    named = ((name, getattr(error.diag, name)) for name in PLACES)
    return " ".join([error.sqlstate or "", *(f"{name}={value}" for name, value in named if value)])


def _trace(exc_info: tuple[Any, BaseException | None, TracebackType | None]) -> str:
    return "\n".join(_lines(exc_info[1])) if exc_info[1] is not None else ""


def _lines(error: BaseException | None) -> Iterator[str]:
    """An error and its causes, the outermost first."""
    for _ in range(MOST_CAUSES):
        if error is None:
            return
        yield told(error)
        yield from (
            f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
        )
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _json(event: object, **_: object) -> bytes:
    return to_json(event, fallback=str)
