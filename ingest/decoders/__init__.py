"""Decoders: bytes of one content type -> a frame of columns as sent, and counted rejects. Pure.

A decoder is one module with one function, and one line in `DECODERS`.
"""

from __future__ import annotations

from collections.abc import Callable

from ingest.decoders.arrow_stream import decode_arrow_stream
from ingest.decoders.csv_rows import decode_csv
from ingest.decoders.decoded import Decoded, Limits
from ingest.decoders.json_array import decode_json
from ingest.decoders.ndjson import decode_ndjson
from ingest.decoders.parquet import decode_parquet
from schemas.errors import BodyTooLargeError, UnknownFormatError

Decoder = Callable[[bytes, Limits], Decoded]

DECODERS: dict[str, Decoder] = {
    "application/json": decode_json,
    "application/x-ndjson": decode_ndjson,
    "text/csv": decode_csv,
    "application/vnd.apache.parquet": decode_parquet,
    "application/vnd.apache.arrow.stream": decode_arrow_stream,
}


def media_type(content_type: str) -> str:
    """The content type without its parameters, checked.

    Raises:
        UnknownFormatError: there is no decoder for it, or its charset is not UTF-8.
    """
    name, _, parameters = content_type.lower().partition(";")
    if name.strip() not in DECODERS:
        raise UnknownFormatError(f"no decoder for content type {name.strip() or '(none)'}; use one of {list(DECODERS)}")
    charset = parameters.partition("charset=")[2].split(";")[0].strip(' "')
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise UnknownFormatError(f"charset {charset} is not read; send UTF-8")
    return name.strip()


def decode(content_type: str, body: bytes, limits: Limits) -> Decoded:
    """Decode an uncompressed body.

    Raises:
        UnknownFormatError: no decoder for the content type.
        MalformedBodyError: the bytes are not what they claim to be.
        BodyTooLargeError: more rows or fields than the limits.
    """
    decoded = DECODERS[media_type(content_type)](body, limits)
    if decoded.received > limits.rows:
        raise BodyTooLargeError(f"more than {limits.rows} rows in one upload")
    if decoded.frame.width > limits.fields:
        raise BodyTooLargeError(f"more than {limits.fields} different fields in one upload")
    return decoded
