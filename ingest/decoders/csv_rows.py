"""CSV (RFC 4180): a header, commas, quotes. Everything is text until the catalogue says otherwise."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import suppress

import polars as pl

from ingest.decoders.decoded import Decoded, Limits
from ingest.decoders.exact_json import SHOWN_CHARACTERS
from schemas.errors import BodyTooLargeError, MalformedBodyError
from schemas.frames import POLARS_TYPE
from schemas.signals import SIGNALS


def decode_csv(body: bytes, limits: Limits) -> Decoded:
    """Decode rows under a header. A row with more or fewer fields than the header is a rejected row.

    Blank lines do not count as rows.

    Raises:
        MalformedBodyError: not UTF-8, no header, or a header that names a field twice.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    header = _header(body)
    if len(header) > limits.fields:
        raise BodyTooLargeError(f"more than {limits.fields} different fields in one upload")
    frame = _read(body, header) if _is_plain(body, len(header)) else None
    if frame is None:
        return _decode_exactly(body, header, limits)
    return Decoded.whole(frame, typed=False)


def _header(body: bytes) -> list[str]:
    first = body.split(b"\n", 1)[0]
    try:
        names = [name.strip() for name in next(csv.reader([first.decode().rstrip("\r")]), [])]
    except (UnicodeDecodeError, csv.Error):
        raise MalformedBodyError("the first line is no CSV header in UTF-8") from None
    if not any(names):
        raise MalformedBodyError("the body has no CSV header")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise MalformedBodyError(f"the CSV header names a field twice: {', '.join(twice)}")
    return names


def _is_plain(body: bytes, width: int) -> bool:
    """Whether every line has the right number of commas in sum and nothing is quoted or blank."""
    lines = body.count(b"\n") + (not body.endswith(b"\n"))
    blank = b"\n\n" in body or b"\n\r\n" in body
    return b'"' not in body and not blank and body.count(b",") == lines * (width - 1) and width > 1


def _read(body: bytes, header: list[str]) -> pl.DataFrame | None:
    """All rows; a line with too many fields, or text that is not UTF-8, gives None.

    Columns of the catalogue are read as numbers and booleans if all their values are, else all columns as text.
    """
    canonical = [POLARS_TYPE[SIGNALS[name].kind] if name in SIGNALS else pl.String() for name in header]
    for dtypes in (canonical, [pl.String()] * len(header)):
        with suppress(pl.exceptions.PolarsError, pl.exceptions.PanicException):
            return pl.read_csv(body, schema=dict(zip(header, dtypes, strict=True)), truncate_ragged_lines=False)
    return None


def _decode_exactly(body: bytes, header: list[str], limits: Limits) -> Decoded:
    """Read quoted or faulty bodies field by field."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise MalformedBodyError(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    good: list[list[str]] = []
    numbers: list[int] = []
    faults: list[tuple[int, str, str]] = []
    for number, fields in enumerate(_records(text), start=1):
        if number > limits.rows:
            raise BodyTooLargeError(f"more than {limits.rows} rows in one upload")
        if len(fields) == len(header):
            good.append(fields)
            numbers.append(number)
        else:
            reason = f"{len(fields)} fields, the header has {len(header)}"
            faults.append((number, ",".join(fields)[:SHOWN_CHARACTERS], reason))
    columns = zip(*good, strict=True) if good else [()] * len(header)
    series = [pl.Series(name, values, dtype=pl.String) for name, values in zip(header, columns, strict=True)]
    return Decoded.partly(pl.DataFrame(series), numbers, faults, typed=False)


def _records(text: str) -> Iterator[list[str]]:
    """The records after the header; blank lines are none."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        next(reader)
        yield from filter(None, reader)
    except csv.Error as error:
        raise MalformedBodyError(f"the body is not CSV: {error} in line {reader.line_num}") from None
