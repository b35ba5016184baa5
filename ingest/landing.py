"""Where raw logs are kept: a folder, every file durable before it is acknowledged, named by the hash of its content.

A file appears under its name by a rename, when it and its folder are on disk: there is never half a file. What lies
there is never altered.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import secrets
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import IO, BinaryIO, cast

import zstandard

from schemas.errors import BodyTooLargeError, MalformedBodyError

RAW, SIGNALS, INCOMING = "raw", "signals", "incoming"
GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
PIECE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Landing:
    """The landing store in a folder."""

    root: Path

    def incoming(self) -> IO[bytes]:
        """A file to write an upload to; it goes when it is closed without having been kept."""
        folder = self.root / INCOMING
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.NamedTemporaryFile(dir=folder)

    def keep(self, file: IO[bytes], sha256: str) -> str:
        """Make a written file durable under its content's hash and return its key."""
        key = self.raw_key(sha256)
        self._publish(Path(file.name), key)
        return key

    def raw_key(self, sha256: str) -> str:
        """The key of a log by its content's hash."""
        return f"{RAW}/{sha256[:2]}/{sha256}"

    def keep_signals(self, file: Path, upload: str) -> str:
        """Make the decoded signals of an upload durable, beside any that were decoded before, and return their key."""
        key = f"{SIGNALS}/{upload[:2]}/{upload}-{secrets.token_hex(4)}.parquet"
        self._publish(file, key)
        return key

    def _publish(self, source: Path, key: str) -> None:
        target = self.root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        # A file of the same name has the same content. Somebody else may just have made it: its folder is synced too.
        if not target.exists():
            with source.open("rb") as written:
                os.fsync(written.fileno())
            partial = target.with_name(f".{target.name}.{os.getpid()}.{source.name}")
            os.link(source, partial)
            partial.replace(target)
        for folder in (target.parent, target.parent.parent, self.root):
            _sync_folder(folder)

    def forget(self, key: str) -> None:
        """Take away a file that no upload needs."""
        (self.root / key).unlink(missing_ok=True)

    @contextmanager
    def opened(self, key: str, limit_bytes: int) -> Iterator[BinaryIO]:
        """A kept log without gzip or zstd around it, seekable.

        Raises:
            BodyTooLargeError: it is larger than the limit when unpacked.
            MalformedBodyError: what is around it is broken.
        """
        with (self.root / key).open("rb") as file, unpacked(file, self.root / INCOMING, limit_bytes) as plain:
            yield plain


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def unpacked(file: BinaryIO, folder: Path, limit_bytes: int) -> Iterator[BinaryIO]:
    """The file's content from its start: itself, or what gzip or zstd hold, in a file that goes when it is closed.

    Raises:
        BodyTooLargeError: it holds more than the limit.
        MalformedBodyError: it ends early or is broken.
    """
    file.seek(0)
    magic = file.read(len(ZSTD_MAGIC))
    file.seek(0)
    stream: BufferedIOBase
    if magic.startswith(GZIP_MAGIC):
        stream = gzip.GzipFile(fileobj=file)
    elif magic == ZSTD_MAGIC:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False)
        stream = cast(BufferedIOBase, reader)
    else:
        yield file
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as plain:
        _copy(stream, plain, limit_bytes)
        plain.seek(0)
        yield plain


def _copy(stream: BufferedIOBase, plain: IO[bytes], limit_bytes: int) -> None:
    size = 0
    try:
        # `read1` gives what there is before a break; `read` would lose it with the break.
        while piece := stream.read1(PIECE_BYTES):
            size += len(piece)
            if size > limit_bytes:
                raise BodyTooLargeError(f"the log is larger than {limit_bytes} bytes when unpacked")
            plain.write(piece)
    except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
        if not size:
            raise MalformedBodyError(f"the compressed log cannot be read: {error}") from None
        # What came before the break is good: a cut file is read as far as it goes.


def sha256_of(file: BinaryIO) -> tuple[str, int]:
    """The hash of a file's content, and its size in bytes."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    return digest, file.tell()


def clear_incoming(root: Path) -> None:
    """Take away what a killed process left half written."""
    shutil.rmtree(root / INCOMING, ignore_errors=True)
