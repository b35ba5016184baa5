"""What is tried again, and when.

Whatever may pass is (no connection, a stalled or broken answer, 408, 429, 5xx that says so), after a wait that doubles,
with full jitter, and never sooner than the receiver asked for in Retry-After. Everything else is final and told as the
receiver's problem.
"""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import httpx
from pydantic import ValidationError

from schemas.wire import Problem, Receipt

MOST_ASKED_S = 86_400.0
MOST_DOUBLINGS = 100  # longer than anybody waits; a float holds it
RETRY_STATUSES = frozenset({408, 429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Patience:
    """How often an upload is tried, and how long the waits between are (full jitter below a doubling bound)."""

    tries: int = 8
    first_wait_s: float = 0.5
    longest_wait_s: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    dice: random.Random = field(default_factory=random.SystemRandom)

    def wait(self, failures: int, asked_s: float | None) -> None:
        """Sleep before the next try; `asked_s` is what the receiver asked for."""
        bound = min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(failures - 1, MOST_DOUBLINGS))
        self.sleep((asked_s or 0.0) + self.dice.uniform(0, bound if asked_s is None else self.first_wait_s))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one upload: a receipt, or a problem. `status` is null if the receiver was never reached.

    `asked_s` is how long the receiver asked to wait, where nobody waited for that.
    """

    label: str
    rows: int
    sent_bytes: int
    tries: int
    status: int | None
    receipt: Receipt | None
    problem: Problem | None
    asked_s: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the receiver has it."""
        return self.receipt is not None


def may_pass(answer: httpx.Response, problem: Problem | None) -> bool:
    """Whether a later try may go better."""
    return answer.status_code in RETRY_STATUSES or (problem is not None and problem.retryable)


def receipt_or_problem(answer: httpx.Response) -> tuple[Receipt | None, Problem | None]:
    """What a receiver answered to an upload."""
    try:
        if answer.is_success:
            return Receipt.model_validate_json(answer.content), None
    except ValidationError:
        return None, not_a_receiver(answer)
    return None, problem_of(answer)


def problem_of(answer: httpx.Response) -> Problem:
    """What went wrong, in the receiver's words."""
    try:
        return Problem.model_validate_json(answer.content)
    except ValidationError:
        return not_a_receiver(answer)


def not_a_receiver(answer: httpx.Response) -> Problem:
    """What somebody else answered, or something in between."""
    said = answer.text[:200].strip() or answer.reason_phrase
    return Problem(title="Not an answer of a receiver", status=answer.status_code, detail=said)


def unreached(error: httpx.RequestError) -> Problem:
    """Why there is no answer."""
    detail = str(error) or type(error).__name__
    return Problem(title="The receiver cannot be reached", status=0, detail=detail, retryable=True)


def asked_s(answer: httpx.Response) -> float | None:
    """Seconds to wait by Retry-After, in seconds or as a date, at most a day; null without one that can be read."""
    asked = answer.headers.get("Retry-After", "").strip()
    if asked.isascii() and asked.isdigit():
        return min(float(asked), MOST_ASKED_S)
    try:
        until = parsedate_to_datetime(asked)
    except ValueError:
        return None
    # A date with the offset -0000 is in UTC and has no zone.
    until = until if until.tzinfo else until.replace(tzinfo=dt.UTC)
    return min(max(0.0, (until - dt.datetime.now(dt.UTC)).total_seconds()), MOST_ASKED_S)
