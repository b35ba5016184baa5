"""Content encodings. Decompression stops at the limit, so that a small body can never fill the memory."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import zstandard

from schemas.errors import BodyTooLargeError, MalformedBodyError, UnknownFormatError

GZIP_WINDOW = 16 + zlib.MAX_WBITS
ZSTD_WINDOW_BYTES = 32 * 2**20
INPUT_BYTES = 1024  # a zstd block of zeros takes 4 bytes and gives 128 KiB, so this much gives 32 MiB at most
OUTPUT_BYTES = 256 * 2**10
MAX_MEMBERS = 10_000


def _gunzip(body: bytes, limit: int) -> bytes:
    collected, at = _Collected(limit), 0
    while at < len(body):
        collected.begin_member()
        stream = zlib.decompressobj(GZIP_WINDOW)
        while not stream.eof:
            waiting = stream.unconsumed_tail or body[at : at + INPUT_BYTES]
            if not waiting:
                raise MalformedBodyError("the gzip stream ends too early")
            at += 0 if stream.unconsumed_tail else len(waiting)
            collected.add(stream.decompress(waiting, OUTPUT_BYTES))
        at -= len(stream.unused_data)
    return collected.whole()


def _unzstd(body: bytes, limit: int) -> bytes:
    collected, at = _Collected(limit), 0
    while at < len(body):
        collected.begin_member()
        stream = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj()
        while not stream.eof:
            if at >= len(body):
                raise MalformedBodyError("the zstd stream ends too early")
            collected.add(stream.decompress(body[at : at + INPUT_BYTES]))
            at += INPUT_BYTES
        at = min(at, len(body)) - len(stream.unused_data)
    return collected.whole()


class _Collected:
    """Decompressed pieces up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0
        self._members = 0

    def begin_member(self) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise MalformedBodyError(f"more than {MAX_MEMBERS} compressed streams in one body")

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limit:
            raise _too_large(self._limit)
        self._pieces.append(piece)

    def whole(self) -> bytes:
        return b"".join(self._pieces)


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
