"""Small uploads that share a transaction.

What a small upload costs is mostly what every upload costs: its checks, its statements, its commit. So those that come
at about the same time are read, checked and written as one, and each is told its own outcome. Whatever is not plain (an
upload that cannot be used, a vehicle not known or written for by others, a fault of the database) goes the way of a
single upload, so that each fails alone and waits alone.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from ingest.auth import Caller
from ingest.decoders import media_type
from ingest.receiver import Incoming, Receiver
from ingest.together import MOST_BYTES, MOST_UPLOADS, NDJSON, ApartError, Member, lines_of, load_together
from schemas.errors import UnavailableError
from schemas.wire import Receipt

WORKERS = 2
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Small:
    """A small upload that waits for its group; `lines` is how many rows it has. The answer None: it has to go alone."""

    caller: Caller
    incoming: Incoming
    received_at: dt.datetime
    lines: int
    answer: asyncio.Future[Receipt | None]

    @property
    def body(self) -> bytes:
        """The rows, as they came."""
        return self.incoming.body


Answers = Sequence[tuple[Small, Receipt | Exception | None]]


class Groups:
    """Takes small uploads, and loads them together. `wait_s` is how long the first of a group waits for more."""

    def __init__(self, receiver: Receiver, wait_s: float) -> None:
        self._receiver, self._wait_s = receiver, wait_s
        self._coming: queue.SimpleQueue[Small | None] = queue.SimpleQueue()
        self._collecting = threading.Lock()
        self._lately = 1
        self._threads = [threading.Thread(target=self._work, name=f"group-{n}", daemon=True) for n in range(WORKERS)]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End when everything that came is answered."""
        for _ in self._threads:
            self._coming.put(None)
        for thread in self._threads:
            thread.join()

    def submit(self, caller: Caller, incoming: Incoming) -> asyncio.Future[Receipt | None] | None:
        """The receipt to come; None, at once or then, where the upload has to go its own way. From a loop only."""
        lines = lines_of(incoming.body) if _is_plain(incoming) else None
        if lines is None or lines > self._receiver.limits.rows:
            return None
        answer = asyncio.get_running_loop().create_future()
        self._coming.put(Small(caller, incoming, dt.datetime.now(dt.UTC), lines, answer))
        return answer

    # --- one group after the other ----------------------------------------------------------------

    def _work(self) -> None:
        while (group := self._collect()) is not None:
            try:
                self._take(group)
            except Exception as error:  # a mistake of ours must not leave anybody without an answer
                log.exception("group")
                _tell([(small, error) for small in group])

    def _collect(self) -> list[Small] | None:
        """What came, as soon as it is likely to be all for now; None at the end."""
        with self._collecting:
            first = self._coming.get()
            if first is None:
                return None
            group, size = [first], len(first.body)
            # Alone lately: nobody else is to be expected, and nobody waits for nobody.
            until = time.monotonic() + (self._wait_s if self._lately > 1 else 0)
            while len(group) < MOST_UPLOADS and size < MOST_BYTES:
                enough = len(group) >= self._lately
                try:
                    more = self._coming.get(timeout=0 if enough else max(0.0, until - time.monotonic()))
                except queue.Empty:
                    break
                if more is None:
                    self._coming.put(None)
                    break
                group.append(more)
                size += len(more.body)
            self._lately = max(1, min(len(group), MOST_UPLOADS))
            return group

    def _take(self, group: list[Small]) -> None:
        """Answer a group's uploads: together if that can be, else in halves; those left go alone, elsewhere."""
        try:
            # What waits for the database comes first: as long as something does, everything goes to wait behind it.
            alone = len(group) == 1 or not self._receiver.waiting.is_empty()
            receipts = {} if alone else load_together([self._member(small) for small in group], self._receiver)
        except UnavailableError:
            receipts = {}  # each goes to wait on disk by itself
        except ApartError:
            half = len(group) // 2
            self._take(group[:half])
            self._take(group[half:])
            return
        _tell([(small, receipts.get(n)) for n, small in enumerate(group)])

    def _member(self, small: Small) -> Member:
        upload = self._receiver.upload_of(small.caller, small.incoming, small.body, small.received_at)
        return Member(small.caller, upload, small.incoming.query.vehicle, small.body, small.lines)


def _tell(answers: Answers) -> None:
    """Answer uploads, all at once: each call of a loop from another thread costs both a change of threads."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Small, Receipt | Exception | None]]] = {}
    for small, answer in answers:
        by_loop.setdefault(small.answer.get_loop(), []).append((small, answer))
    for loop, own in by_loop.items():
        loop.call_soon_threadsafe(_settle, own)


def _settle(answers: Answers) -> None:
    for small, answer in answers:
        if small.answer.done():  # whoever asked is gone, or was answered before something went wrong
            continue
        if isinstance(answer, Exception):
            small.answer.set_exception(answer)
        else:
            small.answer.set_result(answer)


def _is_plain(incoming: Incoming) -> bool:
    return (
        media_type(incoming.content_type) == NDJSON
        and incoming.encoding in ("", "identity")
        and incoming.query.tz is None
        and incoming.idempotency_key is None
    )
