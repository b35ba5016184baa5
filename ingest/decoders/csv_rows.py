"""CSV (RFC 4180): a header, commas, quotes. Everything is text until the catalogue says otherwise."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import polars as pl

from ingest.decoders.decoded import Decoded, Limits
from ingest.decoders.exact_json import SHOWN_CHARACTERS
from ingest.decoders.ndjson import count_lines, without_blanks
from schemas.errors import BodyTooLargeError, MalformedBodyError
from schemas.frames import POLARS_TYPE
from schemas.signals import SIGNALS

MOST_LINES_PER_ROW = 4
VALUES_AT_ONCE = 250_000  # Python objects are large; few exist at a time


def decode_csv(body: bytes, limits: Limits) -> Decoded:
    """Decode rows under a header. A row with more or fewer fields than the header is a rejected row.

    Blank lines do not count as rows.

    Raises:
        MalformedBodyError: not UTF-8, no header, or a header that names a field twice.
        BodyTooLargeError: more rows, fields or bytes in memory than the limits, or a row that is too long.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if limits.has_long_line(body):
        raise limits.too_long_row()
    lines = count_lines(body)
    if lines > limits.rows + 1:
        body, lines = _without_blanks(body, lines, limits), limits.rows + 1
    header = _header(body, limits)
    frame = _read(body, header, lines - 1, limits) if _is_plain(body, len(header)) else None
    if frame is None:
        return _decode_exactly(body, header, limits)
    return Decoded.whole(frame, typed=False)


def _without_blanks(body: bytes, lines: int, limits: Limits) -> bytes:
    """The body with few lines that are no rows; between quotes blank ones mean something, but not so many."""
    if b'"' not in body:
        return without_blanks(body, limits, header_lines=1)
    if lines > MOST_LINES_PER_ROW * limits.rows:
        raise BodyTooLargeError(f"more than {MOST_LINES_PER_ROW * limits.rows} lines in one upload")
    return body


def _header(body: bytes, limits: Limits) -> list[str]:
    end = body.find(b"\n")
    first = body[:end] if end >= 0 else body
    try:
        names = [name.strip() for name in next(csv.reader([first.decode().rstrip("\r")]), [])]
    except (UnicodeDecodeError, csv.Error):
        raise MalformedBodyError("the first line is no CSV header in UTF-8") from None
    if not any(names):
        raise MalformedBodyError("the body has no CSV header")
    if len(names) > limits.fields:
        raise limits.too_many_fields()
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise MalformedBodyError(f"the CSV header names a field twice: {', '.join(twice)}")
    return names


def _is_plain(body: bytes, width: int) -> bool:
    """Whether every line has the right number of commas in sum and nothing is quoted or blank."""
    lines = count_lines(body) - 1 + (not body.endswith(b"\n"))
    blank = b"\n\n" in body or b"\n\r\n" in body
    return b'"' not in body and not blank and body.count(b",") == lines * (width - 1) and width > 1


def _read(body: bytes, header: list[str], rows: int, limits: Limits) -> pl.DataFrame | None:
    """All rows; a line with too many fields, or text that is not UTF-8, gives None.

    Columns of the catalogue are read as numbers and booleans if all their values are, else all columns as text.
    """
    canonical = [POLARS_TYPE[SIGNALS[name].kind] if name in SIGNALS else pl.String() for name in header]
    for dtypes in (canonical, [pl.String()] * len(header)):
        limits.check(rows, dtypes)
        with suppress(pl.exceptions.PolarsError, pl.exceptions.PanicException):
            return pl.read_csv(body, schema=dict(zip(header, dtypes, strict=True)), truncate_ragged_lines=False)
    return None


def _decode_exactly(body: bytes, header: list[str], limits: Limits) -> Decoded:
    """Read quoted or faulty bodies field by field."""
    frames = [pl.DataFrame(schema=dict.fromkeys(header, pl.String))]
    waiting: list[list[str]] = []
    numbers: list[int] = []
    faults: list[tuple[int, str, str]] = []
    for number, fields in enumerate(_records(body, limits), start=1):
        if number > limits.rows:
            raise limits.too_many_rows()
        if len(fields) != len(header):
            reason = f"{len(fields)} fields, the header has {len(header)}"
            faults.append((number, ",".join(fields)[:SHOWN_CHARACTERS], reason))
            continue
        numbers.append(number)
        waiting.append(fields)
        if len(waiting) * len(header) >= VALUES_AT_ONCE:
            frames.append(_texts(waiting, header))
            waiting = []
            limits.check(number, frames[0].dtypes)
    frames.append(_texts(waiting, header))
    return Decoded.partly(pl.concat(frames), numbers, faults, typed=False)


def _texts(rows: list[list[str]], header: list[str]) -> pl.DataFrame:
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return pl.DataFrame([pl.Series(name, values, pl.String) for name, values in zip(header, columns, strict=True)])


def _records(body: bytes, limits: Limits) -> Iterator[list[str]]:
    """The records after the header; blank lines are none."""
    taken = 0

    def lines() -> Iterator[str]:
        nonlocal taken
        for line in io.TextIOWrapper(io.BytesIO(body), "utf-8", newline=""):
            taken += len(line)
            if taken > limits.row_bytes:  # lines between quotes belong to one record
                raise limits.too_long_row()
            yield line

    reader = csv.reader(lines(), strict=True)
    try:
        next(reader)
        for record in reader:
            taken = 0
            if record:
                yield record
    except UnicodeDecodeError as error:
        raise MalformedBodyError(f"the body is not UTF-8: {error.reason} after line {reader.line_num}") from None
    except csv.Error as error:
        raise MalformedBodyError(f"the body is not CSV: {error} in line {reader.line_num}") from None
