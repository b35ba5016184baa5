"""Push uploads to a receiver over HTTP: several at a time, with patience.

An upload is safe to send again: the receiver knows one it has loaded by its bytes. So whatever may pass is tried again
(no connection, a stalled or broken answer, 408, 429, 5xx that says so), after a wait that doubles, with full jitter,
and never shorter than the receiver asked for in Retry-After. Everything else is final and told as the receiver's
problem.
"""

from __future__ import annotations

import datetime as dt
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import httpx
from pydantic import ValidationError

from ingest.gateway.bodies import Upload
from schemas.errors import BeachheadError
from schemas.wire import Problem, Receipt

PATH = "/v1/telemetry"
TIMEOUT = httpx.Timeout(120, connect=10)
RETRY_STATUSES = frozenset({408, 429, 502, 503, 504})
UNAUTHORIZED = 401
WAITING_PER_CONNECTION = 2
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class NoKeyError(BeachheadError):
    """There is no key for the gateway of an upload."""


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
        bound = min(self.longest_wait_s, self.first_wait_s * 2 ** (failures - 1))
        self.sleep((asked_s or 0.0) + self.dice.uniform(0, bound if asked_s is None else self.first_wait_s))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one upload: a receipt, or a problem. `status` is null if the receiver was never reached."""

    label: str
    rows: int
    sent_bytes: int
    tries: int
    status: int | None
    receipt: Receipt | None
    problem: Problem | None

    @property
    def ok(self) -> bool:
        """Whether the receiver has it."""
        return self.receipt is not None


Keys = str | Mapping[str, str]
"""One key for all uploads, or a key for each gateway by name."""


def push(
    uploads: Iterable[Upload],
    url: str,
    keys: Keys,
    *,
    connections: int = 4,
    patience: Patience | None = None,
    progress: Callable[[Outcome], None] | None = None,
    transport: httpx.BaseTransport | None = None,
) -> list[Outcome]:
    """Send uploads over `connections` connections and return what became of each, in order.

    Uploads are taken from the iterable only as they are sent, so that a long run needs little memory. A key that the
    receiver does not know ends the run. `progress` is called for each outcome, in order, in the calling thread.

    Raises:
        NoKeyError: an upload's gateway has no key in `keys`.
    """
    outcomes = []
    for outcome in _outcomes(uploads, url, keys, connections, patience or Patience(), transport):
        outcomes.append(outcome)
        if progress is not None:
            progress(outcome)
    return outcomes


def _outcomes(
    uploads: Iterable[Upload], url: str, keys: Keys, connections: int, patience: Patience,
    transport: httpx.BaseTransport | None,
) -> Iterator[Outcome]:  # fmt: skip
    waiting: deque[Future[Outcome]] = deque()
    with _client(url, connections, transport) as client, ThreadPoolExecutor(connections) as pool:
        for upload in uploads:
            waiting.append(pool.submit(_send, client, upload, _key(keys, upload), patience))
            if len(waiting) < connections * WAITING_PER_CONNECTION:
                continue
            outcome = waiting.popleft().result()
            yield outcome
            if outcome.status == UNAUTHORIZED:
                break
        while waiting:
            yield waiting.popleft().result()


def _client(url: str, connections: int, transport: httpx.BaseTransport | None) -> httpx.Client:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    # A proxy of the environment is not for a receiver on this machine.
    by_proxy = httpx.URL(url).host not in LOOPBACK
    return httpx.Client(base_url=url, timeout=TIMEOUT, limits=limits, trust_env=by_proxy, transport=transport)


def _key(keys: Keys, upload: Upload) -> str:
    if isinstance(keys, str):
        return keys
    if upload.gateway is None or upload.gateway not in keys:
        raise NoKeyError(f"There is no key for gateway {upload.gateway}, which sends {upload.label}.")
    return keys[upload.gateway]


def _send(client: httpx.Client, upload: Upload, key: str, patience: Patience) -> Outcome:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": upload.content_type}
    if upload.encoding is not None:
        headers["Content-Encoding"] = upload.encoding
    for tries in range(1, patience.tries + 1):
        last = tries == patience.tries
        try:
            answer = client.post(PATH, content=upload.body, headers=headers, params=dict(upload.query))
        except httpx.TransportError as error:
            if last:
                return _unreached(upload, tries, error)
            patience.wait(tries, None)
            continue
        outcome = _outcome(upload, tries, answer)
        if outcome.ok or last or not _may_pass(outcome):
            return outcome
        patience.wait(tries, _asked_s(answer))
    raise ValueError("patience.tries must be at least 1")


def _may_pass(outcome: Outcome) -> bool:
    return outcome.status in RETRY_STATUSES or (outcome.problem is not None and outcome.problem.retryable)


def _outcome(upload: Upload, tries: int, answer: httpx.Response) -> Outcome:
    receipt, problem = None, None
    try:
        if answer.is_success:
            receipt = Receipt.model_validate_json(answer.content)
        else:
            problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        said = answer.text[:200].strip() or answer.reason_phrase
        problem = Problem(title="Not an answer of a receiver", status=answer.status_code, detail=said)
    return Outcome(upload.label, upload.rows, len(upload.body), tries, answer.status_code, receipt, problem)


def _unreached(upload: Upload, tries: int, error: httpx.TransportError) -> Outcome:
    detail = str(error) or type(error).__name__
    problem = Problem(title="The receiver cannot be reached", status=0, detail=detail, retryable=True)
    return Outcome(upload.label, upload.rows, len(upload.body), tries, None, None, problem)


def _asked_s(answer: httpx.Response) -> float | None:
    """Seconds to wait by Retry-After, given in seconds or as a date; null without one that can be read."""
    asked = answer.headers.get("Retry-After", "").strip()
    if asked.isdigit():
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
    except ValueError:
        return None
    return max(0.0, (until - dt.datetime.now(dt.UTC)).total_seconds())
