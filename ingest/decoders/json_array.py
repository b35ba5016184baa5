"""JSON: an array of objects, or `{"rows": [...]}`."""

from __future__ import annotations

import re

import polars as pl

from ingest.decoders import exact_json
from ingest.decoders.decoded import Decoded, Limits
from ingest.decoders.ndjson import BYTE_ORDER_MARK, count_lines, fast_frame
from schemas.errors import MalformedBodyError

_OPENING = re.compile(rb'\s*(\{\s*"rows"\s*:\s*)?\[')
_CLOSING = re.compile(rb"\]\s*(\}?)\s*\Z")
_OBJECT = re.compile(rb"\s*\{")
_TAIL_BYTES = 200


def decode_json(body: bytes, limits: Limits) -> Decoded:
    """Decode an array of objects. An element that is no object is a rejected row.

    Raises:
        MalformedBodyError: the body is not JSON, or neither an array nor an object with the one field `rows`.
        BodyTooLargeError: more rows, fields or bytes in memory than the limits.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    opening = _OPENING.match(body)
    closing = _CLOSING.search(body, max(0, len(body) - _TAIL_BYTES))
    if opening is None or closing is None or bool(opening[1]) != bool(closing[1]):
        raise MalformedBodyError('the body is neither a JSON array nor {"rows": [...]}')
    inside = body[opening.end() : closing.start()]
    frame = _fast_frame(inside, limits)
    if frame is not None:
        return Decoded.whole(frame)
    del inside
    try:
        text = body[: closing.start() + 1].decode()
    except UnicodeDecodeError as error:
        raise MalformedBodyError(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    return exact_json.decode_array(text, opening.end() - 1, limits)


def _fast_frame(inside: bytes, limits: Limits) -> pl.DataFrame | None:
    """All rows, or None where they are not surely objects, one in each line of a row's length."""
    if _OBJECT.match(inside) is None:
        return None
    lines = _as_lines(inside)
    rows = count_lines(lines)
    if rows > limits.rows or limits.has_long_line(lines):
        return None
    return fast_frame(lines, rows, limits)


def _as_lines(inside: bytes) -> bytes:
    """One object per line. Where `},{` stands inside a string or a nested array the lines do not parse any more."""
    if b"\n" in inside:
        inside = inside.replace(b"},\r\n", b"},").replace(b"},\n", b"},").strip()
    for separator in (b"},{", b"}, {"):
        inside = inside.replace(separator, b"}\n{")
    return inside
