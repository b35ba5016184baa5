"""What `/docs` says of the raw bodies and the problems, made from the catalogue."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from ingest.decoders import DECODERS
from ingest.problems import MEDIA_TYPE, PROBLEMS, Meaning
from schemas import errors
from schemas.signals import SIGNALS, Kind, Signal
from schemas.wire import Problem

SCHEMAS = "#/components/schemas/{model}"
DESCRIPTION = """
Vehicles' gateways push rows here. Send the gateway key with every call: `Authorization: Bearer bh_…`.

**Sending.** `POST /v1/telemetry` with as many rows as you like up to the limits (`GET /v1/gateway` tells them).
`Content-Encoding: gzip` or `zstd` is welcome. A 200 means: committed. A 202 means: on disk, and loaded when the
database is back. Everything else means: nothing was kept for loading. `docs/gateway-guide.md` has examples in curl,
Python and C, and a client to run.

**Retrying.** Send the same bytes again after a timeout, a 408, 429, 500 or 503 (wait `Retry-After` seconds where it is
given). A repeated upload is recognised by its bytes and answered with its first receipt and `"status": "duplicate"`.
Overlapping uploads are fine too: a stored value is never counted twice and never overwritten.
A gateway that asks too often, or sends too much, gets a 429 (`GET /v1/gateway` tells the rates).
Do not send again after another 4xx: `retryable` in the answer is false.

**Rows.** Row numbers count from 1: data rows of a CSV without its header, lines without blank ones, elements of an
array.

**Large raw CAN logs.** `PUT` parts, ask with `GET` how far it came after an interruption, then `POST …/complete`.
"""

ROW_RULES = """
One row per vehicle and instant. Fields may come in any order and be left out.

- `time`: RFC 3339 with an offset, or an epoch number: below 1e11 seconds (fractions allowed), below 1e14 milliseconds,
  below 1e17 microseconds, else nanoseconds. Times without a zone only with `?tz=`; local times that a clock change
  makes ambiguous or skips are rejected.
- `vehicle`: name, VIN or any registered alias; or once as `?vehicle=`.
- canonical signals, see the schema of a row. Numbers in quotes are accepted; booleans are true, false, 1, 0.
- any other number, boolean or text of up to 64 characters is kept as an extra signal, of one type per vehicle and name.
  CSV has no types: an extra whose every value in its first upload is a number (or true/false) is one.
- missing, null, empty and NaN mean: not measured. Infinity is a rejected field.
- a value out of its limits is set aside and told in the receipt; the row's other fields load.
- a row is rejected when its time or vehicle cannot be used, or when nothing of it is left. A row with no signal at all
  is a heartbeat and is accepted.
"""

_ROWS = [
    {"time": "2026-01-06T08:00:00Z", "vehicle": "truck-01", "speed_kmh": 42.5, "door_open": False},
    {"time": 1767686401, "vehicle": "truck-01", "speed_kmh": 43.1, "battery_power_kw": -58.4},
]  # fmt: skip
_NDJSON = "\n".join(
    (
        '{"time": "2026-01-06T08:00:00Z", "vehicle": "truck-01", "speed_kmh": 42.5}',
        '{"time": "2026-01-06T08:00:01Z", "vehicle": "truck-01", "speed_kmh": 43.1}',
    )
)
_CSV = "time,vehicle,speed_kmh,battery_soc_pct\n2026-01-06T08:00:00Z,truck-01,42.5,71.2\n"


def _property(signal: Signal) -> dict[str, Any]:
    unit = f" ({signal.unit})" if signal.unit else ""
    described = {"description": signal.meaning + unit}
    if signal.kind is Kind.BOOLEAN:
        return {"type": "boolean", **described}
    kind = "integer" if signal.kind is Kind.INTEGER else "number"
    return {"type": kind, "minimum": signal.low, "maximum": signal.high, **described}


ROW_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Row",
    "required": ["time"],
    "properties": {
        "time": {"oneOf": [{"type": "string", "format": "date-time"}, {"type": "number"}]},
        "vehicle": {"type": "string"},
        **{name: _property(signal) for name, signal in SIGNALS.items()},
    },
    "additionalProperties": {"description": "an extra signal", "type": ["number", "boolean", "string", "null"]},
}
_ROW_REFERENCE = {"$ref": "#/components/schemas/Row"}
_BINARY = {"type": "string", "format": "binary"}
_BODIES: dict[str, dict[str, Any]] = {
    "application/json": {
        "schema": {
            "oneOf": [
                {"type": "array", "items": _ROW_REFERENCE},
                {"type": "object", "properties": {"rows": {"type": "array", "items": _ROW_REFERENCE}}},
            ]
        },
        "examples": {"array": {"value": _ROWS}, "object": {"value": {"rows": _ROWS}}},
    },
    "application/x-ndjson": {"schema": {"type": "string"}, "examples": {"two rows": {"value": _NDJSON}}},
    "text/csv": {"schema": {"type": "string"}, "examples": {"one row": {"value": _CSV}}},
}
TELEMETRY_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": ROW_RULES,
        "content": {name: _BODIES.get(name, {"schema": _BINARY}) for name in DECODERS},
    }
}


LOG_RULES = """A raw CAN log, as its recorder wrote it, plain, gzip or zstd. The format is recognised by content.
Frames are decoded by the DBC files bound to the vehicle, and by the built-in J1939 table. Canonical signals become one
row per sample period, other signals are stored on change, every value is kept in a file beside the log."""

LOG_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": LOG_RULES,
        "content": {"application/octet-stream": {"schema": _BINARY}},
    }
}

PART_RULES = """The next bytes of a log, at most `max_part_bytes` (`GET /v1/gateway` tells it). Parts are sent one after
another, each beginning where the one before ended; how long each is, is up to you.

- The same part again changes nothing.
- 409: it does not begin where the kept bytes end, or other bytes are kept. `expected_offset` says where to go on; null:
  the log is complete.
- 429: this gateway has too many unfinished logs, or sends too much at once."""

PART_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": PART_RULES,
        "content": {"application/octet-stream": {"schema": _BINARY}},
    }
}

COMPLETE = """Take the log in as if it had come in one piece, and answer with its receipt, after the commit. Ask again
whenever the answer was lost: the receipt is the same, with status `duplicate`.

The parts go when the log is loaded, or when nothing in it can be used. They stay when the sha256 differs (422; send the
log again after a DELETE), when the vehicle is wrong (403), when `start` is missing (422), and after a 503."""


# --- problems -------------------------------------------------------------------------------------

KNOWN = (
    errors.UnknownKeyError, errors.KeyAttemptsError, errors.RateLimitError, errors.HeadersTooLargeError,
    errors.UnavailableError,
)  # fmt: skip
EVERYWHERE = (errors.MalformedBodyError, *KNOWN)
WITH_BODY = (*EVERYWHERE, errors.OverloadedError)
UPLOADS = (
    *WITH_BODY, errors.NotAllowedError, errors.StalledBodyError, errors.BodyTooLargeError, errors.UnknownFormatError,
    errors.NothingUsableError, errors.IdempotencyError,
)  # fmt: skip
LOGS = (*UPLOADS, errors.ExpiredError, errors.StorageFullError)
PART = (
    *WITH_BODY, errors.StalledBodyError, errors.PartsConflictError, errors.BodyTooLargeError, errors.PartChecksumError,
    errors.PartsLimitError, errors.BusyError, errors.StorageFullError,
)  # fmt: skip
COMPLETION = (
    *WITH_BODY, errors.NotAllowedError, errors.NotFoundError, errors.PartsConflictError, errors.BodyTooLargeError,
    errors.UnknownFormatError, errors.NothingUsableError, errors.ChecksumError, errors.IdempotencyError,
    errors.ExpiredError, errors.BusyError, errors.StorageFullError,
)  # fmt: skip


def problems(*kinds: type[errors.BeachheadError]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an endpoint that fails in these ways."""
    meanings: dict[int | str, list[Meaning]] = {}
    for kind in kinds:
        meanings.setdefault(PROBLEMS[kind].status, []).append(PROBLEMS[kind])
    return {status: _response(meanings[status]) for status in sorted(meanings, key=str)}


def _response(meanings: list[Meaning]) -> dict[str, Any]:
    examples = {meaning.slug: {"summary": meaning.title, "value": _example(meaning)} for meaning in meanings}
    content = {"schema": {"$ref": SCHEMAS.format(model=Problem.__name__)}, "examples": examples}
    return {"description": " / ".join(meaning.title for meaning in meanings), "content": {MEDIA_TYPE: content}}


def _example(meaning: Meaning) -> dict[str, Any]:
    problem = Problem(
        type=f"urn:beachhead:problem:{meaning.slug}",
        title=meaning.title,
        status=meaning.status,
        detail="what was wrong, in a sentence",
        retryable=meaning.retryable,
        expected_offset=8_388_608 if meaning is PROBLEMS[errors.PartsConflictError] else None,
    )
    return problem.model_dump(mode="json")


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's document with what it cannot know, and without what is not so: invalid parameters are a 400."""
    schemas = document["components"]["schemas"]
    _, described = models_json_schema([(Problem, "serialization")], ref_template=SCHEMAS)
    schemas |= {"Row": ROW_SCHEMA, **described["$defs"]}
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for operations in document["paths"].values():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    return document
