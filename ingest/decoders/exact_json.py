"""JSON read value by value: for bodies with faulty rows, or with fields whose values are of several types."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from ingest.decoders.decoded import MIXED, Decoded, Limits
from schemas.errors import BodyTooLargeError, MalformedBodyError

ROWS_AT_ONCE = 10_000  # Python objects are large; few exist at a time
SHOWN_CHARACTERS = 200
MAX_DEPTH = 32
"""Levels of objects and arrays in a row, its own object among them."""
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
MOST_DIGITS = 300  # longer ones are floats at once: Python refuses to read thousands of digits exactly
_CONSTANTS = {"NaN": None, "Infinity": math.inf, "-Infinity": -math.inf}
_NESTED = (dict, list)
_SURROGATE = re.compile("[\ud800-\udfff]")
_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]+|[\]}]+', re.DOTALL)


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _whole(digits: str) -> float:
    return int(digits) if len(digits) <= MOST_DIGITS else float(digits)


DECODER = json.JSONDecoder(object_pairs_hook=_first_wins, parse_constant=_CONSTANTS.__getitem__, parse_int=_whole)


def decode_lines(lines: Iterable[bytes], limits: Limits) -> Decoded:
    """Decode one object per line; a line that is none is a rejected row; blank lines do not count."""
    return _decode((_read_line(line) for line in lines if line.strip()), limits)


def decode_array(text: str, start: int, limits: Limits) -> Decoded:
    """Decode the array that begins at `start`; an element that is no object is a rejected row.

    Raises:
        MalformedBodyError: the text is not JSON.
    """
    return _decode(_elements(text, start), limits)


Read = tuple[dict[str, Any] | None, str, str]  # the object, or None with what was found and why not


def _read_line(line: bytes) -> Read:
    try:
        return _object_or_fault(DECODER.decode(line.decode()), line.decode()[:SHOWN_CHARACTERS])
    except UnicodeDecodeError:
        return None, line.decode(errors="replace")[:SHOWN_CHARACTERS], "not UTF-8"
    except RecursionError:
        return None, line.decode()[:SHOWN_CHARACTERS], TOO_DEEP
    except ValueError as error:
        return None, line.decode()[:SHOWN_CHARACTERS], f"not JSON: {error}"


def _object_or_fault(value: Any, shown: str) -> Read:  # noqa: ANN401  (any JSON value)
    if not isinstance(value, dict):
        return None, shown, "not a JSON object"
    if _is_too_deep(value):
        return None, shown, TOO_DEEP
    if not "".join(value).isascii():
        value = _first_wins([(_unicode(name), inner) for name, inner in value.items()])
    return value, "", ""


def _is_too_deep(value: dict[str, Any]) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        inside = (outer.values() if isinstance(outer, dict) else outer for outer in level)
        level = [inner for values in inside for inner in values if isinstance(inner, _NESTED)]
        if not level:
            return False
    return True


def _unicode(text: str) -> str:
    """The text with NUL for each lone surrogate, as Polars reads them: both are refused wherever text is wanted."""
    return text if text.isascii() else _SURROGATE.sub("\0", text)


def _elements(text: str, start: int) -> Iterator[Read]:
    """The elements of an array, one at a time, so that only one is in memory."""
    at = _skip(text, start + 1)
    if text.startswith("]", at):
        return
    while True:
        read, at = _element(text, at)
        yield read
        at = _skip(text, at)
        if text.startswith("]", at):
            return
        if not text.startswith(",", at):
            raise MalformedBodyError(f"the body is not JSON: expected , or ] at character {at}")
        at = _skip(text, at + 1)


def _element(text: str, at: int) -> tuple[Read, int]:
    """The element that begins at `at`, and where it ends."""
    try:
        value, end = DECODER.raw_decode(text, at)
    except RecursionError:
        return (None, text[at : at + SHOWN_CHARACTERS], TOO_DEEP), _end(text, at)
    except ValueError as error:
        raise MalformedBodyError(f"the body is not JSON: {error}") from None
    return _object_or_fault(value, text[at : min(end, at + SHOWN_CHARACTERS)]), end


def _end(text: str, at: int) -> int:
    """Where the brackets close that open at `at`, for what is too deep to be read."""
    depth = 0
    for found in _BRACKETS.finditer(text, at):
        if found[0][0] in "[{":
            depth += len(found[0])
        elif found[0][0] in "]}":
            depth -= len(found[0])
        if depth <= 0:  # the last ones may close what is around it
            return found.end() + depth
    raise MalformedBodyError(f"the body is not JSON: what begins at character {at} does not end")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _decode(rows: Iterable[Read], limits: Limits) -> Decoded:
    frames: list[pl.DataFrame] = []
    numbers: list[int] = []
    faults: list[tuple[int, str, str]] = []
    waiting: list[dict[str, Any]] = []
    for number, (value, shown, reason) in enumerate(rows, start=1):
        if number > limits.rows:
            raise BodyTooLargeError(f"more than {limits.rows} rows in one upload")
        if value is None:
            faults.append((number, shown, reason))
            continue
        numbers.append(number)
        waiting.append(value)
        if len(waiting) == ROWS_AT_ONCE:
            frames.append(_frame(waiting, limits))
            waiting = []
    frames.append(_frame(waiting, limits))
    # A width of nothing would lose the count of rows: each frame carries a column that is taken away at the end.
    frame = pl.concat(frames, how="diagonal").drop("")
    return Decoded.partly(_simplified(frame, len(numbers)), numbers, faults)


def _frame(objects: list[dict[str, Any]], limits: Limits) -> pl.DataFrame:
    names = dict.fromkeys(name for value in objects for name in value if name)
    if len(names) > limits.fields:
        raise BodyTooLargeError(f"more than {limits.fields} different fields in one upload")
    columns = {name: _mixed([value.get(name) for value in objects]) for name in names}
    return pl.DataFrame({"": pl.repeat(True, len(objects), eager=True), **columns})


def _mixed(values: list[Any]) -> pl.Series:
    parts = {
        "number": pl.Series([_number(v) for v in values], dtype=pl.Float64),
        "boolean": pl.Series([v if isinstance(v, bool) else None for v in values], dtype=pl.Boolean),
        "text": pl.Series([_unicode(v) if isinstance(v, str) else None for v in values], dtype=pl.String),
        "nested": pl.Series([_nested(v) for v in values], dtype=pl.String),
    }
    return pl.DataFrame(parts).to_struct()


def _number(value: Any) -> float | None:  # noqa: ANN401  (any JSON value)
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def _nested(value: Any) -> str | None:  # noqa: ANN401  (any JSON value)
    return _unicode(json.dumps(value, ensure_ascii=False))[:SHOWN_CHARACTERS] if isinstance(value, _NESTED) else None


def _simplified(frame: pl.DataFrame, height: int) -> pl.DataFrame:
    """Columns whose values are of one type become plain columns."""
    return pl.DataFrame([_plain(frame[name]) for name in frame.columns], height=height)


def _plain(column: pl.Series) -> pl.Series:
    parts = column.struct.unnest()
    filled = [name for name in parts.columns if parts[name].null_count() < parts.height]
    if filled in (["number"], ["boolean"], ["text"]):
        return parts[filled[0]].rename(column.name)
    return column.cast(MIXED) if filled else pl.Series(column.name, [None] * column.len(), dtype=pl.Null)
