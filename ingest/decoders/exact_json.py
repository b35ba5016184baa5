"""JSON read value by value: for bodies with faulty rows, or with fields whose values are of several types."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from ingest.decoders.decoded import MIXED, Decoded, Limits
from schemas.errors import BodyTooLargeError, MalformedBodyError

ROWS_AT_ONCE = 10_000  # Python objects are large; few exist at a time
SHOWN_CHARACTERS = 200
TOO_DEEP = "nested too deeply"
_CONSTANTS = {"NaN": None, "Infinity": math.inf, "-Infinity": -math.inf}


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


DECODER = json.JSONDecoder(object_pairs_hook=_first_wins, parse_constant=_CONSTANTS.__getitem__)


def decode_lines(lines: Iterable[bytes], limits: Limits) -> Decoded:
    """Decode one object per line; a line that is none is a rejected row; blank lines do not count."""
    return _decode((_read_line(line) for line in lines if line.strip()), limits)


def decode_array(text: str, start: int, limits: Limits) -> Decoded:
    """Decode the array that begins at `start`; an element that is no object is a rejected row.

    Raises:
        MalformedBodyError: the text is not JSON.
    """
    return _decode((_object_or_fault(value, _shown(value)) for value in _elements(text, start)), limits)


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
    return (value, "", "") if isinstance(value, dict) else (None, shown, "not a JSON object")


def _shown(value: Any) -> str:  # noqa: ANN401  (any JSON value)
    return "" if isinstance(value, dict) else _dumped(value)


def _dumped(value: Any) -> str:  # noqa: ANN401  (any JSON value)
    try:
        return json.dumps(value, ensure_ascii=False)[:SHOWN_CHARACTERS]
    except RecursionError:  # it may be read and still be too deep to write
        return TOO_DEEP


def _elements(text: str, start: int) -> Iterator[Any]:
    """The elements of an array, one at a time, so that only one is in memory."""
    at = _skip(text, start + 1)
    if text.startswith("]", at):
        return
    while True:
        try:
            value, at = DECODER.raw_decode(text, at)
        except RecursionError:
            raise MalformedBodyError(f"the body is {TOO_DEEP}") from None
        except ValueError as error:
            raise MalformedBodyError(f"the body is not JSON: {error}") from None
        yield value
        at = _skip(text, at)
        if text.startswith("]", at):
            return
        if not text.startswith(",", at):
            raise MalformedBodyError(f"the body is not JSON: expected , or ] at character {at}")
        at = _skip(text, at + 1)


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
        "text": pl.Series([v if isinstance(v, str) else None for v in values], dtype=pl.String),
        "nested": pl.Series([_nested(v) for v in values], dtype=pl.String),
    }
    return pl.DataFrame(parts).to_struct()


def _number(value: Any) -> float | None:  # noqa: ANN401  (any JSON value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def _nested(value: Any) -> str | None:  # noqa: ANN401  (any JSON value)
    return _dumped(value) if isinstance(value, dict | list) else None


def _simplified(frame: pl.DataFrame, height: int) -> pl.DataFrame:
    """Columns whose values are of one type become plain columns."""
    return pl.DataFrame([_plain(frame[name]) for name in frame.columns], height=height)


def _plain(column: pl.Series) -> pl.Series:
    parts = column.struct.unnest()
    filled = [name for name in parts.columns if parts[name].null_count() < parts.height]
    if filled in (["number"], ["boolean"], ["text"]):
        return parts[filled[0]].rename(column.name)
    return column.cast(MIXED) if filled else pl.Series(column.name, [None] * column.len(), dtype=pl.Null)
