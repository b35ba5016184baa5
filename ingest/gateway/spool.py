"""A spool: uploads that lie on disk until the receiver has them, whatever happens to the power on the way.

    waiting/<entry>/entry.json           a file's uploads; the folder gets this name when all of it is on disk
                    000001.json .body    one upload: what it is, and its bytes
                    000001.problem.json  why the receiver refused it for good
    refused/<entry>/                     an entry of which something was refused
    receipts.ndjson                      a line for each upload that arrived
    files.ndjson                         files that are done and were left where they are
    incoming/                            what is being written, or taken away

An upload is forgotten only when its receipt is on disk. To send again what was refused, delete its problems and move
its folder back to `waiting`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from ingest.gateway.bodies import Upload
from ingest.gateway.parts import LargeLog
from schemas.errors import BeachheadError
from schemas.wire import Problem, Receipt, RowCounts

TICKET = re.compile(r"^[0-9]{6}\.json$")
ENTRY, RECEIPTS, OLD_RECEIPTS, FILES = "entry.json", "receipts.ndjson", "receipts.1.ndjson", "files.ndjson"
JOURNAL_BYTES = 8 * 2**20
After = Literal["move", "record", "leave"]
"""What becomes of a file when it is done: moved away, remembered, or neither."""


class SpoolError(BeachheadError):
    """The spool cannot be used, or a file cannot be put into it."""


class FileChangedError(SpoolError):
    """A file changed while it was read; nothing of it was kept."""


class Source(BaseModel, frozen=True):
    """A file as it was at one time. One that changes is another source."""

    path: Path
    size_bytes: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Source:
        """The file as it is now."""
        found = path.stat()
        return cls(path=path.absolute(), size_bytes=found.st_size, changed_ns=found.st_mtime_ns)

    def is_there(self) -> bool:
        """Whether the file is still what it was."""
        try:
            return Source.of(self.path) == self
        except OSError:
            return False


class Entry(BaseModel, frozen=True):
    """A file whose uploads wait; entries in the order of their ids came in that order."""

    id: str
    source: Source
    after: After

    @property
    def name(self) -> str:
        """The file's name."""
        return self.source.path.name


class Ticket(BaseModel, frozen=True):
    """What an upload is; its bytes lie beside."""

    label: str
    path: str
    content_type: str
    encoding: str | None
    query: dict[str, str]
    rows: int
    size_bytes: int
    sha256: str
    large: bool
    """Whether it is a raw log that is sent in parts."""


class Arrived(BaseModel, frozen=True):
    """A line of the journal: an upload that the receiver has."""

    entry: str
    part: int
    file: str
    sha256: str
    upload_id: str
    status: str
    received_at: str
    rows: RowCounts
    fields_rejected: int


@dataclass(frozen=True, slots=True)
class Part:
    """One waiting upload."""

    entry: Entry
    number: int
    ticket: Ticket
    body: Path

    def upload(self) -> Upload | LargeLog:
        """What is sent.

        Raises:
            SpoolError: the disk gives back other bytes than were written.
        """
        ticket = self.ticket
        if ticket.large:
            return LargeLog(self.body, ticket.label, ticket.query)
        body = self.body.read_bytes() if self.body.exists() else b""
        if hashlib.sha256(body).hexdigest() != ticket.sha256:
            raise SpoolError(f"{ticket.label}: the bytes in the spool are damaged")
        return Upload(
            body, ticket.content_type, ticket.encoding, ticket.rows, ticket.label, ticket.query, path=ticket.path
        )


class Spool:
    """A spool folder. One process at a time has it.

    Raises:
        SpoolError: another process has it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.waiting, self.put_aside, self._incoming = folder / "waiting", folder / "refused", folder / "incoming"
        for place in (self.waiting, self.put_aside, self._incoming):
            place.mkdir(parents=True, exist_ok=True)
            sync_folder(place)
        sync_folder(folder)
        self._lock = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise SpoolError(f"{folder}: another process sends from this spool.") from None
        self._clean_up()

    def _clean_up(self) -> None:
        """Take up where a killed process stopped."""
        for left in self._incoming.iterdir():
            shutil.rmtree(left)
        self.damaged: list[str] = []
        self._entries = {entry.id: entry for entry in self._read_entries()}
        self._sources = {entry.source for entry in self._entries.values()}
        self._arrived: dict[str, dict[int, Arrived]] = defaultdict(dict)
        for line in (*_lines(self.folder / OLD_RECEIPTS), *_lines(self.folder / RECEIPTS)):
            arrived = Arrived.model_validate(line)
            if arrived.entry in self._entries:
                self._arrived[arrived.entry][arrived.part] = arrived
        for entry in self._entries.values():
            for number in self._numbers(entry):
                if number in self._arrived[entry.id]:
                    self._forget(entry, number)
        self._recorded = {source for line in _lines(self.folder / FILES) if (source := _source(line)).is_there()}
        lines = "".join(f"{source.model_dump_json()}\n" for source in self._recorded)
        write_file(self.folder / FILES, lines.encode())

    def close(self) -> None:
        """Let another process have it."""
        self._lock.close()

    # --- in ---

    def add(self, source: Source, uploads: Iterable[Upload | LargeLog], after: After) -> Entry:
        """Put a file's uploads in; all of them are on disk when this returns, or none waits.

        Raises:
            FileChangedError: the file is no longer what `source` says.
            OSError: the disk is full or broken.
        """
        entry = Entry(id=f"{time.time_ns():020d}-{secrets.token_hex(4)}", source=source, after=after)
        making = self._incoming / entry.id
        making.mkdir()
        try:
            for number, upload in enumerate(uploads, start=1):
                _write_upload(making / f"{number:06d}", upload)
            _write(making / ENTRY, entry.model_dump_json().encode())
            sync_folder(making)
            if not source.is_there():
                raise FileChangedError(f"{entry.name}: changed while it was read")
            making.rename(self.waiting / entry.id)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        sync_folder(self.waiting)
        self._entries[entry.id] = entry
        self._sources.add(source)
        return entry

    def knows(self, source: Source) -> bool:
        """Whether this file, as it is, waits or was left where it is when it was done."""
        return source in self._recorded or source in self._sources

    # --- out ---

    def entries(self) -> list[Entry]:
        """What waits, in the order in which it came."""
        return [self._entries[name] for name in sorted(self._entries)]

    def parts(self, entry: Entry) -> Iterator[Part]:
        """An entry's uploads that neither arrived nor were refused."""
        for number in self._numbers(entry):
            refused = self._path(entry, number, ".problem.json")
            if refused.exists():
                continue
            try:
                ticket = Ticket.model_validate_json(self._path(entry, number, ".json").read_bytes())
            except ValidationError:
                said = f"{entry.name}, upload {number}: what the spool says of it is damaged"
                write_file(refused, _told(Problem(title="Damaged in the spool", status=0, detail=said)))
            else:
                yield Part(entry, number, ticket, self._path(entry, number, ".body"))

    def arrived(self, part: Part, receipt: Receipt) -> None:
        """Note a receipt; when it is on disk the upload is forgotten."""
        line = Arrived(
            entry=part.entry.id, part=part.number, file=part.ticket.label, sha256=receipt.sha256,
            upload_id=str(receipt.upload_id), status=receipt.status, received_at=receipt.received_at.isoformat(),
            rows=receipt.rows, fields_rejected=receipt.fields_rejected,
        )  # fmt: skip
        journal = self.folder / RECEIPTS
        if journal.exists() and journal.stat().st_size > JOURNAL_BYTES:
            journal.replace(self.folder / OLD_RECEIPTS)
        _append(journal, line.model_dump_json())
        self._arrived[part.entry.id][part.number] = line
        self._forget(part.entry, part.number)

    def refused(self, part: Part, problem: Problem) -> None:
        """Note that an upload will never be taken. It stays, with the problem beside it."""
        write_file(self._path(part.entry, part.number, ".problem.json"), _told(problem))

    def receipts(self, entry: Entry) -> list[Arrived]:
        """What arrived of an entry that is not done."""
        return [line for _, line in sorted(self._arrived[entry.id].items())]

    def problems(self, entry: Entry) -> list[Problem]:
        """Why uploads of an entry that is not done were refused."""
        found = sorted((self.waiting / entry.id).glob("*.problem.json"))
        return [Problem.model_validate_json(path.read_bytes()) for path in found]

    def done(self, entry: Entry) -> None:
        """Forget an entry; one with problems is put aside."""
        place = self.waiting / entry.id
        if self.problems(entry):
            place.rename(self.put_aside / entry.id)
            sync_folder(self.put_aside)
            sync_folder(self.waiting)
        else:
            place.rename(self._incoming / entry.id)
            sync_folder(self.waiting)
            shutil.rmtree(self._incoming / entry.id)
        del self._entries[entry.id]
        self._sources.discard(entry.source)
        self._arrived.pop(entry.id, None)

    def record(self, source: Source) -> None:
        """Remember a file that is done and stays where it is."""
        if source not in self._recorded:
            self._recorded.add(source)
            if is_text(source.path.name):
                _append(self.folder / FILES, source.model_dump_json())

    # --- files ---

    def _read_entries(self) -> Iterator[Entry]:
        for place in sorted(path for path in self.waiting.iterdir() if path.is_dir()):
            try:
                # The folder's name counts: whoever moves an entry back may give it another one.
                read = Entry.model_validate_json((place / ENTRY).read_bytes())
            except (ValidationError, FileNotFoundError):
                self.damaged.append(place.name)
                place.rename(self.put_aside / place.name)
            else:
                yield read.model_copy(update={"id": place.name})

    def _numbers(self, entry: Entry) -> list[int]:
        names = (path.name for path in (self.waiting / entry.id).iterdir())
        return sorted(int(name.removesuffix(".json")) for name in names if TICKET.match(name))

    def _path(self, entry: Entry, number: int, ending: str) -> Path:
        return self.waiting / entry.id / f"{number:06d}{ending}"

    def _forget(self, entry: Entry, number: int) -> None:
        self._path(entry, number, ".json").unlink()
        self._path(entry, number, ".body").unlink(missing_ok=True)


def is_text(name: str) -> bool:
    """Whether a file's name can be written down: on Linux it may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def write_file(path: Path, content: bytes) -> None:
    """Write a file that is there whole or, after a power cut, as it was before."""
    temporary = path.with_name(f".{path.name}.new")
    _write(temporary, content)
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _write_upload(stem: Path, upload: Upload | LargeLog) -> None:
    body = stem.with_name(f"{stem.name}.body")
    if isinstance(upload, LargeLog):
        ticket = _copied(body, upload)
    else:
        _write(body, upload.body)
        ticket = Ticket(
            label=upload.label, path=upload.path, content_type=upload.content_type, encoding=upload.encoding,
            query=dict(upload.query), rows=upload.rows, size_bytes=len(upload.body),
            sha256=hashlib.sha256(upload.body).hexdigest(), large=False,
        )  # fmt: skip
    _write(stem.with_name(f"{stem.name}.json"), ticket.model_dump_json().encode())


def _copied(body: Path, log: LargeLog) -> Ticket:
    """A large log's ticket, after its bytes were copied."""
    with log.file.open("rb") as given, body.open("w+b") as copy:
        shutil.copyfileobj(given, copy, 2**20)
        copy.flush()
        os.fsync(copy.fileno())
        size_bytes = copy.tell()
        copy.seek(0)
        sha256 = hashlib.file_digest(copy, "sha256").hexdigest()
    return Ticket(
        label=log.label, path="", content_type="", encoding=None, query=dict(log.query), rows=0,
        size_bytes=size_bytes, sha256=sha256, large=True,
    )  # fmt: skip


def _append(journal: Path, line: str) -> None:
    """Add a line durably; what a power cut left of a line before is closed first."""
    new = not journal.exists()
    with journal.open("a+b") as file:
        if file.seek(0, os.SEEK_END) and _last_byte(file.fileno()) != b"\n":
            file.write(b"\n")
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())
    if new:
        sync_folder(journal.parent)


def _last_byte(opened: int) -> bytes:
    return os.pread(opened, 1, os.fstat(opened).st_size - 1)


def _lines(journal: Path) -> Iterator[dict[str, object]]:
    """The lines of a journal, without one that a power cut left unfinished."""
    if not journal.exists():
        return
    with journal.open("rb") as lines:
        for line in lines:
            try:
                read = json.loads(line)
            except ValueError:
                continue
            if isinstance(read, dict):
                yield read


def _source(line: dict[str, object]) -> Source:
    try:
        return Source.model_validate(line)
    except ValidationError:
        return Source(path=Path(), size_bytes=-1, changed_ns=0)


def _told(problem: Problem) -> bytes:
    return problem.model_dump_json(indent=1).encode()
