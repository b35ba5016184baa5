"""Newline-delimited JSON: one object per line.

The fast way guesses types from some lines, parses with these types strictly and proves by counting keys that nothing
was left out. Whatever does not fit goes the exact way, line by line.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from itertools import islice

import numpy as np
import polars as pl
from polars._typing import PolarsDataType

from ingest.decoders import exact_json
from ingest.decoders.decoded import Decoded, Limits
from ingest.decoders.exact_json import MAX_DEPTH
from schemas.signals import SIGNALS, Kind

SAMPLE_LINES = 100
PIECE_BYTES = 64 * 2**10
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MOST_FORMS, MOST_FORM_BYTES = 256, 64 * 2**10
_KEY = re.compile(rb'"([^"\\]*)"[ \t]*:')
_PAIR = re.compile(rb'"([^"\\]*)"[ \t]*:[ \t]*(.)')
_STRING = re.compile(rb'(?s)"((?:[^"\\]++|\\.)*+)(?:"|\Z)[ \t\r]*+(:?)')
_LINE_WITH_TEXT = re.compile(rb"\S[^\n]*")
_LOOKS_TYPED = r"^\s*(?:[-+0-9.\[{]|true$|false$)"


def decode_ndjson(body: bytes, limits: Limits) -> Decoded:
    """Decode lines of JSON objects. A line that is none is a rejected row; blank lines do not count.

    Raises:
        BodyTooLargeError: more rows, fields or bytes in memory than the limits, or a row that is too long.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    rows = count_lines(body)
    if rows > limits.rows:
        body, rows = without_blanks(body, limits), limits.rows
    if limits.has_long_line(body):
        raise limits.too_long_row()
    frame = fast_frame(body, rows, limits)
    return Decoded.whole(frame) if frame is not None else exact_json.decode_lines(body.split(b"\n"), limits)


def count_lines(body: bytes) -> int:
    """How many lines the body has at most: as `count_pairs`, faster than `bytes.count`."""
    return int(np.count_nonzero(np.frombuffer(body, np.uint8) == ord("\n"))) + 1


def without_blanks(body: bytes, limits: Limits, *, header_lines: int = 0) -> bytes:
    """The body without blank lines, and what is blank before others.

    Raises:
        BodyTooLargeError: more lines that are not blank than there may be rows.
    """
    most = limits.rows + header_lines
    lines = [found[0] for found in islice(_LINE_WITH_TEXT.finditer(body), most + 1)]
    if len(lines) > most:
        raise limits.too_many_rows()
    return b"\n".join(lines)


def fast_frame(body: bytes, rows: int, limits: Limits) -> pl.DataFrame | None:
    """All rows of the body, at most `rows`, or None where the fast way cannot prove that it reads them rightly.

    Raises:
        BodyTooLargeError: more fields, those of nested objects included, or bytes in memory than the limits.
    """
    form = _form(body)
    known = _known.get(form)  # once: another thread may forget it
    if known is not None and _is_right(frame := _parse(body, known, rows, limits), body):
        return frame
    sample = _head(body)
    frame = _parse_like(sample, body, rows, limits)
    if frame is None or not _holds_every_key(frame, body):
        frame = _parse_like(sample + _first_lines_with_others(sample, body, limits), body, rows, limits)
    if frame is None or not _is_right(frame, body):
        return None
    if set(frame.columns) == {key.decode(errors="replace") for key, _ in form}:
        _remember(form, frame.schema)
    return frame


Form = tuple[tuple[bytes, bytes], ...]
"""The keys of a line, and how the value of each begins, with one digit for all of them."""
_known: dict[Form, pl.Schema] = {}
"""Types of bodies read before, by the form of their first line: devices say the same again and again."""


def _form(body: bytes) -> Form:
    end = body.find(b"\n", 0, MOST_FORM_BYTES)
    line = body[: end if end >= 0 else MOST_FORM_BYTES]
    return tuple((key, b"0" if start in b"-0123456789" else start) for key, start in _PAIR.findall(line))


def _remember(form: Form, schema: pl.Schema) -> None:
    if len(_known) >= MOST_FORMS:
        _known.clear()
    _known[form] = schema


def _is_right(frame: pl.DataFrame | None, body: bytes) -> bool:
    return (
        frame is not None
        and _holds_every_key(frame, body)
        and _texts_are_texts(frame, body)
        and not _may_be_too_deep(body)
    )


def _head(body: bytes) -> bytes:
    end = 0
    for _ in range(SAMPLE_LINES):
        end = body.find(b"\n", end) + 1
        if not end:
            return body + b"\n"
    return body[:end]


def _first_lines_with_others(sample: bytes, body: bytes, limits: Limits) -> bytes:
    """For each key that the sample lacks, the first line that has it."""
    known, lines, end = set(_KEY.findall(sample)), [], 0
    for place in sorted(place for key, place in _places(body, limits).items() if key not in known):
        if place >= end:
            start = body.rfind(b"\n", end, place) + 1 or end
            end = body.find(b"\n", place) + 1 or len(body)
            lines.append(body[start:end])
    return b"".join(lines)


def _places(body: bytes, limits: Limits) -> dict[bytes, int]:
    """Where each key first stands. Piece by piece: a body may have millions of them."""
    places: dict[bytes, int] = {}
    start = 0
    while start < len(body):
        end = body.find(b":", start + PIECE_BYTES) + 1 or len(body)
        for key in set(_KEY.findall(body, start, end)) - places.keys():
            places[key] = body.find(b'"' + key + b'"', start, end)
        if len(places) > limits.fields:
            raise limits.too_many_fields()
        start = end
    return places


def _parse_like(sample: bytes, body: bytes, rows: int, limits: Limits) -> pl.DataFrame | None:
    """Parse strictly with the sample's types; numbers of the catalogue are floats whatever the sample shows."""
    if _depth(sample) > MAX_DEPTH:  # inferring types of deeply nested values overflows the stack
        return None
    _check_names(sample, limits)
    try:
        inferred = pl.scan_ndjson(io.BytesIO(sample), infer_schema_length=None).collect_schema()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    if any(map(_holds_objects, inferred.values())):  # one name in millions of them is a value in each
        return None
    return _parse(body, {name: _strict_type(name, dtype) for name, dtype in inferred.items()}, rows, limits)


def _check_names(sample: bytes, limits: Limits) -> None:
    """Refuse too many names before types are inferred: that takes as long as names times lines."""
    names: set[bytes] = set()
    for found in _STRING.finditer(sample):
        if found[2]:
            names.add(found[1])
            if len(names) > limits.fields:
                raise limits.too_many_fields()


def _parse(body: bytes, schema: Mapping[str, pl.DataType], rows: int, limits: Limits) -> pl.DataFrame | None:
    limits.check(rows, schema.values())
    try:
        return pl.read_ndjson(body, schema=dict(schema))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def _holds_objects(dtype: PolarsDataType) -> bool:
    return _holds_objects(dtype.inner) if isinstance(dtype, pl.List) else isinstance(dtype, pl.Struct)


def _strict_type(name: str, dtype: pl.DataType) -> pl.DataType:
    signal = SIGNALS.get(name)
    if signal is None:
        return pl.Float64() if dtype.is_numeric() and name != "time" else dtype
    if signal.kind is Kind.BOOLEAN:
        return pl.Boolean() if dtype == pl.Null else dtype
    return pl.Float64() if dtype == pl.Null or dtype.is_numeric() else dtype


def _depth(text: bytes) -> int:
    """How deeply objects and arrays nest in any one line; brackets in strings count too."""
    return max((line.count(b"{") + line.count(b"[") for line in text.split(b"\n")), default=0)


def _holds_every_key(frame: pl.DataFrame, body: bytes) -> bool:
    """Whether each non-null value in the text is a value in the frame.

    Quotes within strings are escaped, so each key with a value contributes exactly one `":` not followed by null;
    strings that happen to hold such text can only make the count larger.
    """
    keys = count_pairs(body, b'":')
    values = frame.height * frame.width - sum(frame.null_count().row(0)) if frame.width else 0
    if keys != values:
        keys -= body.count(b'":null') + body.count(b'": null')
    return keys == values


def _may_be_too_deep(body: bytes) -> bool:
    """Whether so many arrays open in one line that it may nest too deeply; brackets in strings count too.

    Objects within a row need no look: their keys are no values of the frame. A row is an object, and an array may hold
    an empty one.
    """
    if b"[" not in body:
        return False
    data = np.frombuffer(body, np.uint8)
    lines = np.searchsorted(np.flatnonzero(data == ord("\n")), np.flatnonzero(data == ord("[")))
    return int(np.bincount(lines).max()) > MAX_DEPTH - 2


def count_pairs(body: bytes, pair: bytes) -> int:
    """How often two different bytes follow each other: four times as fast as `bytes.count`, and other threads go on."""
    if len(body) < len(pair):
        return 0
    wanted = np.frombuffer(pair, np.uint16)[0]
    even, odd = (np.frombuffer(body, np.uint16, (len(body) - start) // 2, start) for start in (0, 1))
    return sum(int(np.count_nonzero(side == wanted)) for side in (even, odd))


def _texts_are_texts(frame: pl.DataFrame, body: bytes) -> bool:
    """Whether no number, boolean or nested value was turned into text in a column that is not of the catalogue."""
    for name in frame.columns:
        column = frame[name]
        if column.dtype != pl.String or name in SIGNALS or name in ("time", "vehicle"):
            continue
        if column.str.contains(_LOOKS_TYPED).any():
            texts = re.findall(b'"' + re.escape(name.encode()) + rb'"[ \t]*:[ \t]*"', body)
            if len(texts) != column.len() - column.null_count():
                return False
    return True
