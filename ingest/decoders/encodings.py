"""Content encodings. Decompression stops at the limit, so that a small body can never fill the memory."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import zstandard

from schemas.errors import BodyTooLargeError, MalformedBodyError, UnknownFormatError

GZIP_WINDOW = 16 + zlib.MAX_WBITS
ZSTD_WINDOW_BYTES = 32 * 2**20
PIECE_BYTES = 256 * 2**10


def _gunzip(body: bytes, limit: int) -> bytes:
    pieces, size, left = [], 0, body
    while left:
        stream = zlib.decompressobj(GZIP_WINDOW)
        while not stream.eof:
            piece = stream.decompress(left, PIECE_BYTES)
            left = stream.unconsumed_tail
            if not piece and not left and not stream.eof:
                raise MalformedBodyError("the gzip stream ends too early")
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            pieces.append(piece)
        left = stream.unused_data
    return b"".join(pieces)


def _unzstd(body: bytes, limit: int) -> bytes:
    reader = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).stream_reader(
        io.BytesIO(body), read_across_frames=True
    )
    pieces, size = [], 0
    while piece := reader.read(PIECE_BYTES):
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
    return b"".join(pieces)


def _identity(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body is larger than {limit} bytes after decompression")


ENCODINGS: dict[str, Callable[[bytes, int], bytes]] = {
    "identity": _identity,
    "": _identity,
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "zstd": _unzstd,
}


def check_encoding(encoding: str) -> str:
    """The content encoding, checked.

    Raises:
        UnknownFormatError: it is none of identity, gzip, zstd.
    """
    name = encoding.strip().lower()
    if name not in ENCODINGS:
        raise UnknownFormatError(f"content encoding {name} is not read; use identity, gzip or zstd")
    return name


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """The uncompressed body.

    Raises:
        UnknownFormatError: unknown encoding.
        MalformedBodyError: the stream is broken or cut.
        BodyTooLargeError: more than `limit` bytes come out.
    """
    try:
        return ENCODINGS[check_encoding(encoding)](body, limit)
    except (zlib.error, zstandard.ZstdError) as error:
        raise MalformedBodyError(f"the {encoding} stream is broken: {error}") from None
