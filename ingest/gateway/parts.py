"""A large raw log sent in parts: what arrived stays there, whatever happens to the link or to either end.

The log's name at the receiver is the hash of its bytes. So nothing need be remembered here: whoever sends the same file
again goes on where the last one stopped, and a log that is there already is only asked for its receipt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx
from pydantic import ValidationError

from ingest.gateway.retry import (
    Outcome,
    Patience,
    asked_s,
    may_pass,
    not_a_receiver,
    problem_of,
    receipt_or_problem,
    unreached,
)
from schemas.wire import PartsState, Problem, Receipt

PARTS = "/v1/can-logs/parts"
PART_BYTES, LEAST_PART_BYTES = 8 * 2**20, 256 * 2**10
# The receiver answers when the whole log is decoded and loaded.
COMPLETE_TIMEOUT = httpx.Timeout(600, connect=10)
MOST_BUSY = 1000
BUSY, CHECKSUM = "urn:beachhead:problem:busy", "urn:beachhead:problem:checksum"
NOT_FOUND, CONFLICT = 404, 409


@dataclass(frozen=True, slots=True)
class LargeLog:
    """A raw CAN log to be sent in parts. `query` says what it is (vehicle, channel, start, tz)."""

    file: Path
    label: str
    query: Mapping[str, str]
    gateway: str | None = None


def send_in_parts(
    client: httpx.Client, log: LargeLog, key: str, patience: Patience, sent: Callable[[int], None]
) -> Outcome:
    """Send what the receiver does not have yet, and ask for the receipt.

    `patience` is for tries without progress: a link that lets a part through now and then is good enough. `sent` is
    told of bytes as the receiver has them on disk, also those of an earlier run.
    """
    with log.file.open("rb") as file:
        sending = _Sending(client, log, file, key, patience, sent)
        try:
            return sending.run()
        except _GivenUp as end:
            return sending.outcome(end.status, None, end.problem)


class _GivenUp(Exception):  # noqa: N818  (it ends a run; the outcome tells the error)
    def __init__(self, status: int | None, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.status, self.problem = status, problem


def _changed(status: int | None) -> _GivenUp:
    said = "what arrived is not what was in the file at first: send it again when it no longer changes"
    return _GivenUp(status, Problem(title="The file changed while it was sent", status=status or 0, detail=said))


class _Sending:
    def __init__(
        self, client: httpx.Client, log: LargeLog, file: BinaryIO, key: str, patience: Patience,
        sent: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._client, self._log, self._file, self._patience, self._sent = client, log, file, patience, sent
        self._sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        self._size_bytes = file.tell()
        self._path = f"{PARTS}/{self._sha256}"
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/octet-stream"}
        self._part_bytes = PART_BYTES
        self._tries = self._failures = self._durable_bytes = self._sent_bytes = 0

    def outcome(self, status: int | None, receipt: Receipt | None, problem: Problem | None) -> Outcome:
        """What became of the log."""
        if problem is not None and problem.retryable:
            there = f"{self._durable_bytes} of {self._size_bytes} bytes are there: the same again goes on behind them"
            problem = problem.model_copy(update={"detail": f"{problem.detail}; {there}"})
        return Outcome(self._log.label, 0, self._sent_bytes, self._tries, status, receipt, problem)

    def run(self) -> Outcome:
        """All the way to the receipt. A log that the receiver has given up, or holds as another one, begins anew."""
        refused = self._round()
        if isinstance(refused, Problem):
            refused = self._round()
        if isinstance(refused, Problem):
            raise _GivenUp(refused.status, refused)
        return refused

    def _round(self) -> Outcome | Problem:
        self._note(self._asked())
        while self._durable_bytes < self._size_bytes:
            self._note(self._put(self._durable_bytes))
        return self._completed()

    def _note(self, durable_bytes: int) -> None:
        if durable_bytes > self._durable_bytes:
            self._failures = 0
        self._sent(durable_bytes - self._durable_bytes)
        self._durable_bytes = durable_bytes

    def _asked(self) -> int:
        """How many bytes the receiver has."""
        while True:
            answer = self._try("GET", self._path)
            if answer is None:
                continue
            if answer.status_code == NOT_FOUND:
                return 0
            if answer.is_success:
                return self._durable(answer)
            self._again_or_stop(answer)

    def _put(self, offset: int) -> int:
        """How many bytes the receiver has after one more part was tried."""
        self._file.seek(offset)
        part = self._file.read(min(self._part_bytes, self._size_bytes - offset))
        if not part:
            raise _changed(None)
        params: dict[str, str | int] = {"offset": offset, "sha256": hashlib.sha256(part).hexdigest()}
        answer = self._try("PUT", self._path, params=params, content=part)
        if answer is not None and answer.is_success:
            self._sent_bytes += len(part)
            self._part_bytes = min(2 * self._part_bytes, PART_BYTES)
            return self._durable(answer)
        # A link too bad for a part this long may let a shorter one through.
        self._part_bytes = max(self._part_bytes // 2, LEAST_PART_BYTES)
        if answer is not None and answer.status_code != CONFLICT:
            self._again_or_stop(answer)
        elif answer is not None:
            self._failed(answer.status_code, problem_of(answer), 0)
        return self._asked()

    def _completed(self) -> Outcome | Problem:
        """The receipt; or why the parts must be sent anew."""
        params = {**self._log.query, "sha256": self._sha256}
        busy = 0
        while True:
            answer = self._try("POST", f"{self._path}/complete", params=params, timeout=COMPLETE_TIMEOUT)
            if answer is None:
                continue
            receipt, problem = receipt_or_problem(answer)
            if problem is None:
                return self.outcome(answer.status_code, receipt, None)
            if problem.type == BUSY and busy < MOST_BUSY:
                busy += 1
                self._patience.wait(1, asked_s(answer))
                continue
            if answer.status_code == NOT_FOUND:
                return problem
            if answer.status_code == CONFLICT:
                self._delete()
                return problem
            if problem.type == CHECKSUM:
                self._delete()
                raise _changed(answer.status_code)
            self._again_or_stop(answer)

    def _delete(self) -> None:
        while (answer := self._try("DELETE", self._path)) is None or not answer.is_success:
            if answer is not None:
                self._again_or_stop(answer)

    def _durable(self, answer: httpx.Response) -> int:
        try:
            return PartsState.model_validate_json(answer.content).durable_bytes
        except ValidationError:
            raise _GivenUp(answer.status_code, not_a_receiver(answer)) from None

    # --- one request, and what its failure means ---

    def _try(
        self, method: str, path: str, *, params: Mapping[str, str | int] | None = None, content: bytes | None = None,
        timeout: httpx.Timeout | None = None,
    ) -> httpx.Response | None:  # fmt: skip
        """The answer; null if there is none, after a wait."""
        self._tries += 1
        try:
            return self._client.request(
                method, path, params=params, content=content, headers=self._headers,
                timeout=timeout or self._client.timeout,
            )  # fmt: skip
        except httpx.RequestError as error:
            self._failed(None, unreached(error), None)
            return None

    def _again_or_stop(self, answer: httpx.Response) -> None:
        problem = problem_of(answer)
        if not may_pass(answer, problem):
            raise _GivenUp(answer.status_code, problem)
        self._failed(answer.status_code, problem, asked_s(answer))

    def _failed(self, status: int | None, problem: Problem, wait_s: float | None) -> None:
        self._failures += 1
        if self._failures >= self._patience.tries:
            raise _GivenUp(status, problem)
        self._patience.wait(self._failures, wait_s)
