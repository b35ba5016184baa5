"""Store and forward: files go into a spool, and from there to the receiver until it has them.

A round sends what waits, and ends at the first failure that may pass; then comes a wait that doubles, with full jitter,
and never shorter than Retry-After. What the receiver refuses for good is put aside. An answer that no receiver gives (a
portal's page, a proxy's error, a fault of the receiver's own) is no refusal: its upload stays, behind the others.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import httpx

from ingest.gateway.bodies import Upload
from ingest.gateway.parts import LargeLog
from ingest.gateway.push import UNAUTHORIZED, push
from ingest.gateway.retry import RETRY_STATUSES, Outcome, Patience
from ingest.gateway.spool import After, Entry, FileChangedError, Part, Source, Spool, SpoolError, is_text
from ingest.gateway.watched import Watched, put_away
from schemas.errors import BeachheadError, UnknownFormatError
from schemas.wire import Problem, RowCounts

PROBLEM_TYPES = "urn:beachhead:problem:"
LOOK_EVERY_S = 1.0
QUEUED, DUPLICATE, SENT, REFUSED = "queued", "duplicate", "sent", "refused"
Make = Callable[[Path], Iterable[Upload | LargeLog]]


@dataclass(frozen=True, slots=True)
class Done:
    """A file that is done. `rows` are the sums of its receipts; of a queued one they are not known yet."""

    file: str
    status: str
    uploads: int
    rows: RowCounts
    fields_rejected: int
    note: str


@dataclass(slots=True)
class Tally:
    """What one run did. `left` are files that wait; `key_unknown` ended it."""

    files: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    left: int = 0
    key_unknown: bool = False


@dataclass(slots=True)
class Teller:
    """Who is told: of files that are done, and of trouble, in a sentence."""

    done: Callable[[Done], None]
    trouble: Callable[[str], None]


class _Stopped(Exception):  # noqa: N818  (it ends a wait; nothing failed)
    pass


class Forwarder:
    """Brings files through a spool to a receiver. `make` turns a file into uploads; `stop` ends `run` soon."""

    def __init__(
        self, spool: Spool, url: str, key: str, make: Make, teller: Teller, *, stop: threading.Event | None = None,
        watched: Watched | None = None, after: After = "move", patience: Patience | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        self._spool, self._url, self._key, self._make, self._teller = spool, url, key, make, teller
        self._stop = stop or threading.Event()
        self._watched, self._after, self._transport = watched, after, transport
        self._patience = patience or Patience(sleep=self._sleep)
        self._sending: deque[Part] = deque()
        self._held_back: set[str] = set()
        self._trouble: Outcome | None = None
        self._said = ""
        self._not_taken_for: set[str] = set()
        self._failures = 0
        self._look_at_s = 0.0
        self.tally = Tally()

    def run(self) -> Tally:
        """Send until nothing waits; with a watched folder, until `stop` is set."""
        for name in self._spool.damaged:
            self._teller.trouble(f"{name} was damaged on the disk and put aside in {self._spool.put_aside}")
        while not self._stop.is_set():
            self._look()
            self._round()
            if self.tally.key_unknown or self._stop.is_set():
                break
            if self._trouble is not None:
                self._failures += 1
                self._wait(self._trouble.asked_s)
            elif self._watched is not None:
                self._stop.wait(LOOK_EVERY_S)
            elif not self._spool.entries():
                break
        self.tally.left = len(self._spool.entries())
        return self.tally

    # --- files into the spool ---

    def take(self, path: Path, after: After = "leave") -> bool:
        """Put a file into the spool, unless it waits there. One that cannot be sent is refused here.

        False: it could not be put in now, and is to be taken another time.
        """
        try:
            source = Source.of(path)
            if not is_text(path.name):
                raise UnknownFormatError("the file's name is not UTF-8")
            if not self._spool.knows(source):
                self._spool.add(source, self._make(path), after)
        except FileChangedError:
            return self._not_taken(f"{path.name} changed while it was read; it is taken when it no longer does")
        except OSError as error:
            return self._not_taken(f"{path.name} cannot be put into the spool: {error.strerror or error}")
        except BeachheadError as error:
            problem = Problem(title="The file cannot be sent", status=0, detail=str(error))
            self._put_away(source, after, problem)
            self._tell(Done(path.name.encode(errors="replace").decode(), REFUSED, 0, RowCounts(), 0, str(error)))
        return True

    def _not_taken(self, sentence: str) -> bool:
        """Tell it once, however often the file is looked at."""
        if sentence not in self._not_taken_for:
            self._not_taken_for.add(sentence)
            self._teller.trouble(sentence)
        return False

    def _look(self) -> None:
        """Take what has come into the watched folder since the last look."""
        if self._watched is None or time.monotonic() < self._look_at_s:
            return
        self._look_at_s = time.monotonic() + LOOK_EVERY_S
        try:
            for source in self._watched.complete():
                if self._stop.is_set():
                    return
                if not self._spool.knows(source):
                    self.take(source.path, self._after)
        except OSError as error:
            self._say(f"{self._watched.folder} cannot be read: {error.strerror or error}")

    def _put_away(self, source: Source, after: After, problem: Problem | None) -> None:
        try:
            if after == "move":
                put_away(source, problem)
            elif after == "record":
                self._spool.record(source)
        except OSError as error:
            self._spool.record(source)
            self._say(f"{source.path.name} is done but cannot be moved: {error.strerror or error}")

    # --- out of the spool ---

    def _round(self) -> None:
        """Try everything that waits once; large logs with patience of their own, as a bad link wants short parts."""
        self._trouble = None
        for large, parts in groupby(self._parts(), key=lambda part: part.ticket.large):
            patience = self._patience if large else replace(self._patience, tries=1)
            self._sending.clear()
            try:
                push(
                    self._uploads(parts), self._url, self._key, patience=patience, progress=self._note,
                    transport=self._transport,
                )  # fmt: skip
            except _Stopped:
                return

    def _parts(self) -> Iterator[Part]:
        for entry in sorted(self._spool.entries(), key=lambda entry: (entry.id in self._held_back, entry.id)):
            parts = list(self._spool.parts(entry))
            if not parts:
                self._finish(entry)  # it was killed just before
            for part in parts:
                if self._is_over():
                    return
                yield part

    def _is_over(self) -> bool:
        trouble = self._trouble
        ended = trouble is not None and (_may_pass(trouble) or trouble.status == UNAUTHORIZED)
        return ended or self.tally.key_unknown or self._stop.is_set()

    def _uploads(self, parts: Iterator[Part]) -> Iterator[Upload | LargeLog]:
        for part in parts:
            self._look()
            try:
                upload = part.upload()
            except SpoolError as error:
                self._refuse(part, Problem(title="Damaged in the spool", status=0, detail=str(error)))
                continue
            self._sending.append(part)
            yield upload

    def _note(self, outcome: Outcome) -> None:
        part = self._sending.popleft()
        if outcome.receipt is not None:
            self._failures, self._said = 0, ""
            self._spool.arrived(part, outcome.receipt)
            self._finish_if_done(part.entry)
        elif outcome.problem is not None and _is_for_good(outcome.problem):
            self._failures = 0
            self._refuse(part, outcome.problem)
        else:
            self._keep(part, outcome)

    def _keep(self, part: Part, outcome: Outcome) -> None:
        said = outcome.problem.detail if outcome.problem else "no answer"
        ours = outcome.problem is not None and outcome.problem.type.startswith(PROBLEM_TYPES)
        if outcome.status == UNAUTHORIZED and ours:
            self.tally.key_unknown = True
            self._say(f"the receiver does not know the key: {said}")
            return
        if not _may_pass(outcome):
            self._held_back.add(part.entry.id)
        if self._trouble is None or _may_pass(outcome):
            self._trouble = outcome
        self._say(f"{part.ticket.label} waits: {said}" + (f" ({outcome.status})" if outcome.status else ""))

    def _refuse(self, part: Part, problem: Problem) -> None:
        self._spool.refused(part, problem)
        self._finish_if_done(part.entry)

    def _finish_if_done(self, entry: Entry) -> None:
        if next(self._spool.parts(entry), None) is None:
            self._finish(entry)

    def _finish(self, entry: Entry) -> None:
        receipts, problems = self._spool.receipts(entry), self._spool.problems(entry)
        rows: Counter[str] = Counter()
        for receipt in receipts:
            rows.update(receipt.rows.model_dump())
        queued = any(receipt.status == QUEUED for receipt in receipts)
        status = REFUSED if problems else QUEUED if queued else SENT
        notes = list(dict.fromkeys(problem.detail for problem in problems))
        there = sum(receipt.status == DUPLICATE for receipt in receipts)
        if there:
            notes.append(f"{there} of them had arrived before")
        self._put_away(entry.source, entry.after, problems[0] if problems else None)
        self._spool.done(entry)
        self._held_back.discard(entry.id)
        fields = sum(receipt.fields_rejected for receipt in receipts)
        self._tell(Done(entry.name, status, len(receipts), RowCounts(**rows), fields, "; ".join(notes)))

    # --- people ---

    def _tell(self, done: Done) -> None:
        self.tally.files[done.status] += 1
        self.tally.rows.update(done.rows.model_dump())
        self._teller.done(done)

    def _say(self, sentence: str) -> None:
        """Tell of trouble, once while it stays the same."""
        if sentence != self._said:
            self._teller.trouble(sentence)
        self._said = sentence

    def _wait(self, asked_s: float | None) -> None:
        try:
            self._patience.wait(self._failures, asked_s)
        except _Stopped:
            return

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped


def _is_for_good(problem: Problem) -> bool:
    """Whether a receiver says that it will never take an upload. An unknown key says nothing of the upload."""
    return problem.type.startswith(PROBLEM_TYPES) and not problem.retryable and problem.status != UNAUTHORIZED


def _may_pass(outcome: Outcome) -> bool:
    return (
        outcome.status is None
        or outcome.status in RETRY_STATUSES
        or (outcome.problem is not None and outcome.problem.retryable)
    )
