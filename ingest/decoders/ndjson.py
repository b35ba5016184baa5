"""Newline-delimited JSON: one object per line.

The fast way guesses types from some lines, parses with these types strictly and proves by counting keys that nothing
was left out. Whatever does not fit goes the exact way, line by line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import polars as pl

from ingest.decoders import exact_json
from ingest.decoders.decoded import Decoded, Limits
from ingest.decoders.exact_json import MAX_DEPTH
from schemas.signals import SIGNALS, Kind

SAMPLE_LINES = 100
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MOST_FORMS, MOST_FORM_BYTES = 256, 64 * 2**10
_KEY = re.compile(rb'"([^"\\]*)"[ \t]*:')
_PAIR = re.compile(rb'"([^"\\]*)"[ \t]*:[ \t]*(.)')
_LOOKS_TYPED = r"^\s*(?:[-+0-9.\[{]|true$|false$)"


def decode_ndjson(body: bytes, limits: Limits) -> Decoded:
    """Decode lines of JSON objects. A line that is none is a rejected row; blank lines do not count."""
    body = body.removeprefix(BYTE_ORDER_MARK)
    frame = fast_frame(body)
    return Decoded.whole(frame) if frame is not None else exact_json.decode_lines(body.split(b"\n"), limits)


def fast_frame(body: bytes) -> pl.DataFrame | None:
    """All rows of the body, or None where the fast way cannot prove that it reads them rightly."""
    form = _form(body)
    known = _known.get(form)  # once: another thread may forget it
    if known is not None and _is_right(frame := _parse(body, known), body):
        return frame
    sample = _head(body)
    frame = _parse_like(sample, body)
    if frame is None or not _holds_every_key(frame, body):
        frame = _parse_like(sample + _first_lines_with(set(_KEY.findall(body)), sample, body), body)
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


def _first_lines_with(keys: set[bytes], sample: bytes, body: bytes) -> bytes:
    """For each key that the sample lacks, the first line that has it."""
    missing = keys - set(_KEY.findall(sample))
    starts = sorted({body.rfind(b"\n", 0, body.find(b'"' + key + b'"')) + 1 for key in missing})
    return b"".join(body[start : (body.find(b"\n", start) + 1) or len(body)] for start in starts)


def _parse_like(sample: bytes, body: bytes) -> pl.DataFrame | None:
    """Parse strictly with the sample's types; numbers of the catalogue are floats whatever the sample shows."""
    if _depth(sample) > MAX_DEPTH:  # inferring types of deeply nested values overflows the stack
        return None
    try:
        inferred = pl.read_ndjson(sample, infer_schema_length=None).schema
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    return _parse(body, {name: _strict_type(name, dtype) for name, dtype in inferred.items()})


def _parse(body: bytes, schema: Mapping[str, pl.DataType]) -> pl.DataFrame | None:
    try:
        return pl.read_ndjson(body, schema=dict(schema))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


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
