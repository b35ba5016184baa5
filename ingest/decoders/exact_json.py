"""JSON read value by value: for bodies with faulty rows, or with fields whose values are of several types."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from ingest.decoders.decoded import MIXED, Decoded, Limits
from schemas.errors import MalformedBodyError

ROWS_AT_ONCE, TEXT_AT_ONCE = 10_000, 2**20  # Python objects are large; few exist at a time
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
    return _decode(((_read_line(line), len(line)) for line in lines if line.strip()), limits)


def decode_array(text: str, start: int, limits: Limits) -> Decoded:
    """Decode the array that begins at `start`; an element that is no object is a rejected row.

    Raises:
        MalformedBodyError: the text is not JSON.
        BodyTooLargeError: more rows or fields than the limits, or a row that is too long.
    """
    return _decode(_elements(text, start, limits), limits)


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


def _elements(text: str, start: int, limits: Limits) -> Iterator[tuple[Read, int]]:
    """The elements of an array and their lengths, one at a time, so that only one is in memory."""
    at = _skip(text, start + 1)
    if text.startswith("]", at):
        return
    window = _Window(text, limits)
    while True:
        read, end = window.element(at)
        yield read, end - at
        at = _skip(text, end)
        if text.startswith("]", at):
            return
        if not text.startswith(",", at):
            raise MalformedBodyError(f"the body is not JSON: neither , nor ] at character {at}")
        at = _skip(text, at + 1)


class _Window:
    """A part of a text in which elements are decoded: one that is longer than a row may be is not even begun."""

    def __init__(self, text: str, limits: Limits) -> None:
        self._text, self._limits = text, limits
        self._start, self._part = 0, ""

    def element(self, at: int) -> tuple[Read, int]:
        """The element that begins at `at`, and where it ends."""
        if at < self._start + len(self._part):
            found = self._decode(at)
            if found is not None:
                return found
        self._start, self._part = at, self._text[at : at + self._limits.row_bytes]
        found = self._decode(at)
        if found is None:
            raise self._limits.too_long_row()
        return found

    def _decode(self, at: int) -> tuple[Read, int] | None:
        """None where the element reaches beyond the part, as far as can be told."""
        is_cut = self._start + len(self._part) < len(self._text)
        try:
            value, length = DECODER.raw_decode(self._part, at - self._start)
        except RecursionError:
            return (None, self._text[at : at + SHOWN_CHARACTERS], TOO_DEEP), _end(self._text, at)
        except ValueError as error:
            if is_cut:
                return None
            raise MalformedBodyError(f"the body is not JSON: {error}") from None
        if is_cut and length == len(self._part):  # a number may go on
            return None
        end = self._start + length
        return _object_or_fault(value, self._text[at : min(end, at + SHOWN_CHARACTERS)]), end


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


def _decode(rows: Iterable[tuple[Read, int]], limits: Limits) -> Decoded:
    """Decode what was read, and how long each was."""
    parts: list[_Part] = []
    numbers: list[int] = []
    faults: list[tuple[int, str, str]] = []
    waiting: list[dict[str, Any]] = []
    text = 0
    for number, ((value, shown, reason), length) in enumerate(rows, start=1):
        if number > limits.rows:
            raise limits.too_many_rows()
        if value is None:
            faults.append((number, shown, reason))
            continue
        numbers.append(number)
        waiting.append(value)
        text += length
        if len(waiting) == ROWS_AT_ONCE or text >= TEXT_AT_ONCE:
            parts.append(_part(waiting, limits))
            waiting, text = [], 0
            _check(parts, limits)
    parts.append(_part(waiting, limits))
    _check(parts, limits)
    names = dict.fromkeys(name for _, columns in parts for name in columns)
    frame = pl.DataFrame([_joined(name, parts) for name in names], height=len(numbers))
    return Decoded.partly(frame, numbers, faults)


_Part = tuple[int, dict[str, pl.Series]]  # so many rows, and their columns


def _part(objects: list[dict[str, Any]], limits: Limits) -> _Part:
    names = dict.fromkeys(name for value in objects for name in value if name)
    if len(names) > limits.fields:
        raise limits.too_many_fields()
    return len(objects), {name: _column(name, [value.get(name) for value in objects]) for name in names}


def _check(parts: list[_Part], limits: Limits) -> None:
    types = {name: column.dtype for _, columns in parts for name, column in columns.items()}
    limits.check(sum(height for height, _ in parts), types.values())


def _column(name: str, values: list[Any]) -> pl.Series:
    """A plain column where all values are of one type."""
    types = {type(value) for value in values} - {type(None)}
    if not types:
        return pl.Series(name, [None] * len(values), pl.Null)
    if types <= {int, float}:
        return pl.Series(name, [_number(value) for value in values], pl.Float64)
    if types == {bool}:
        return pl.Series(name, values, pl.Boolean)
    if types == {str}:
        return pl.Series(name, [_text(value) for value in values], pl.String)
    parts = {
        "number": pl.Series([_number(value) for value in values], dtype=pl.Float64),
        "boolean": pl.Series([value if isinstance(value, bool) else None for value in values], dtype=pl.Boolean),
        "text": pl.Series([_text(value) for value in values], dtype=pl.String),
        "nested": pl.Series([_nested(value) for value in values], dtype=pl.String),
    }
    return pl.DataFrame(parts).to_struct(name)


def _number(value: Any) -> float | None:  # noqa: ANN401  (any JSON value)
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def _text(value: Any) -> str | None:  # noqa: ANN401  (any JSON value)
    return _unicode(value) if isinstance(value, str) else None


def _nested(value: Any) -> str | None:  # noqa: ANN401  (any JSON value)
    return _unicode(json.dumps(value, ensure_ascii=False))[:SHOWN_CHARACTERS] if isinstance(value, _NESTED) else None


def _joined(name: str, parts: list[_Part]) -> pl.Series:
    """A column of all parts: plain where they have the same type, else mixed."""
    columns = [
        columns.get(name, pl.Series(name, [None], pl.Null).new_from_index(0, height)) for height, columns in parts
    ]
    types = {column.dtype for column in columns} - {pl.Null()}
    if len(types) <= 1:
        return pl.concat([column.cast(next(iter(types), pl.Null())) for column in columns])
    return pl.concat([_mixed(column) for column in columns])


_PART_OF: dict[pl.DataType, str] = {pl.Float64(): "number", pl.Boolean(): "boolean", pl.String(): "text"}


def _mixed(column: pl.Series) -> pl.Series:
    if column.dtype == MIXED:
        return column
    own = _PART_OF.get(column.dtype)
    nothing = {field.name: pl.lit(None, field.dtype).alias(field.name) for field in MIXED.fields}
    parts = column.to_frame().select(pl.first().alias(n) if n == own else none for n, none in nothing.items())
    return parts.select(pl.struct(pl.all()).alias(column.name)).to_series()
