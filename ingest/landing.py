"""Where raw logs are kept: a folder or a bucket, every file durable before it is acknowledged.

A log is named by the hash of its content without gzip or zstd around it. There is never half a file, and what lies
there is never altered.
"""

from __future__ import annotations

import gzip
import hashlib
import secrets
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import IO, BinaryIO, cast

import zstandard

from ingest.folder import Folder
from ingest.objects import Objects
from ingest.s3 import S3
from schemas.errors import BodyTooLargeError, MalformedBodyError, NotFoundError
from schemas.settings import Settings, landing_place

RAW, SIGNALS, INCOMING = "raw", "signals", "incoming"
GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
PIECE_BYTES = 2**20
LEFT_S = 2 * 86_400


@dataclass(frozen=True, slots=True)
class Landing:
    """The landing store. `scratch` is a folder of this machine for what is on its way; with a folder, it is that."""

    objects: Objects
    scratch: Path

    @property
    def on_its_way(self) -> Path:
        """The folder for files on the way; made when it is asked for."""
        folder = self.scratch / INCOMING
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def sweep(self) -> None:
        """Take away what a killed process left on its way; what is young may be another's that is at work."""
        for path in (self.scratch / INCOMING).glob("*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > LEFT_S:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def incoming(self) -> IO[bytes]:
        """A file to write an upload to; it goes when it is closed without having been kept."""
        return tempfile.NamedTemporaryFile(dir=self.on_its_way)

    def keep(self, file: IO[bytes], sha256: str) -> str:
        """Make a written file durable under its content's hash and return its key.

        Raises:
            UnavailableError: and its kinds: the store is away or full; nothing was kept.
        """
        key = self.raw_key(sha256)
        file.flush()
        self.objects.keep(key, Path(file.name))
        return key

    def raw_key(self, sha256: str) -> str:
        """The key of a log by its content's hash."""
        return f"{RAW}/{sha256[:2]}/{sha256}"

    def keep_signals(self, file: Path, upload: str) -> str:
        """Make the decoded signals of an upload durable, beside any that were decoded before, and return their key."""
        key = f"{SIGNALS}/{upload[:2]}/{upload}-{secrets.token_hex(4)}.parquet"
        self.objects.keep(key, file)
        return key

    def forget(self, key: str) -> None:
        """Take away a file that no upload needs."""
        self.objects.delete(key)

    @contextmanager
    def as_sent(self, key: str) -> Iterator[BinaryIO]:
        """A kept log as it came, seekable.

        Raises:
            NotFoundError: it is not kept any more.
        """
        with ExitStack() as stack:
            try:
                file = stack.enter_context(self.objects.opened(key))
            except FileNotFoundError:
                raise NotFoundError(f"{key} is not in the landing store any more") from None
            yield file

    @contextmanager
    def opened(self, key: str, limit_bytes: int) -> Iterator[BinaryIO]:
        """A kept log without gzip or zstd around it, seekable.

        Raises:
            NotFoundError: it is not kept any more.
            BodyTooLargeError: it is larger than the limit when unpacked.
            MalformedBodyError: what is around it is broken.
        """
        with self.as_sent(key) as file, unpacked(file, self.on_its_way, limit_bytes) as plain:
            yield plain


def landing_of(settings: Settings) -> Landing:
    """The landing store that is set.

    Raises:
        SettingsError: the setting names none.
    """
    place = landing_place(settings)
    if isinstance(place, Path):
        return Landing(Folder(place), place)
    return Landing(S3.of(place, place.scratch / INCOMING), place.scratch)


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
