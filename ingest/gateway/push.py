"""Push uploads to a receiver over HTTP: several at a time, with patience.

An upload is safe to send again: the receiver knows one it has loaded by its bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from ingest.gateway.bodies import Upload
from ingest.gateway.parts import LargeLog, send_in_parts
from ingest.gateway.retry import Outcome, Patience, asked_s, may_pass, receipt_or_problem, unreached
from schemas.errors import BeachheadError
from schemas.wire import Problem, Receipt

__all__ = ["NoKeyError", "Outcome", "Patience", "push"]

TIMEOUT = httpx.Timeout(120, connect=10)
UNAUTHORIZED = 401
WAITING_PER_CONNECTION = 2
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class NoKeyError(BeachheadError):
    """There is no key for the gateway of an upload."""


Keys = str | Mapping[str, str]
"""One key for all uploads, or a key for each gateway by name."""


def push(
    uploads: Iterable[Upload | LargeLog],
    url: str,
    keys: Keys,
    *,
    connections: int = 4,
    patience: Patience | None = None,
    progress: Callable[[Outcome], None] | None = None,
    sent: Callable[[int], None] | None = None,
    transport: httpx.BaseTransport | None = None,
) -> list[Outcome]:
    """Send uploads over `connections` connections and return what became of each, in order.

    Uploads are taken from the iterable only as they are sent, so that a long run needs little memory. A key that the
    receiver does not know ends the run. `progress` is called for each outcome, in order, in the calling thread; `sent`
    in any thread, with the bytes of a large log that the receiver has made sure of.

    Raises:
        NoKeyError: an upload's gateway has no key in `keys`.
    """
    outcomes = []
    way = _Way(patience or Patience(), sent or _nobody)
    for outcome in _outcomes(uploads, url, keys, connections, way, transport):
        outcomes.append(outcome)
        if progress is not None:
            progress(outcome)
    return outcomes


@dataclass(frozen=True, slots=True)
class _Way:
    patience: Patience
    sent: Callable[[int], None]


def _nobody(_: int) -> None:
    pass


def _outcomes(
    uploads: Iterable[Upload | LargeLog], url: str, keys: Keys, connections: int, way: _Way,
    transport: httpx.BaseTransport | None,
) -> Iterator[Outcome]:  # fmt: skip
    waiting: deque[Future[Outcome]] = deque()
    with _client(url, connections, transport) as client, ThreadPoolExecutor(connections) as pool:
        for upload in uploads:
            waiting.append(pool.submit(_send, client, upload, _key(keys, upload), way))
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


def _key(keys: Keys, upload: Upload | LargeLog) -> str:
    if isinstance(keys, str):
        return keys
    if upload.gateway is None or upload.gateway not in keys:
        raise NoKeyError(f"There is no key for gateway {upload.gateway}, which sends {upload.label}.")
    return keys[upload.gateway]


def _send(client: httpx.Client, upload: Upload | LargeLog, key: str, way: _Way) -> Outcome:
    if isinstance(upload, LargeLog):
        return send_in_parts(client, upload, key, way.patience, way.sent)
    return _send_whole(client, upload, key, way.patience)


def _send_whole(client: httpx.Client, upload: Upload, key: str, patience: Patience) -> Outcome:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": upload.content_type}
    if upload.encoding is not None:
        headers["Content-Encoding"] = upload.encoding
    for tries in range(1, patience.tries + 1):
        last = tries == patience.tries
        try:
            answer = client.post(upload.path, content=upload.body, headers=headers, params=dict(upload.query))
        except httpx.RequestError as error:
            if last:
                return _outcome(upload, tries, None, None, unreached(error))
            patience.wait(tries, None)
            continue
        receipt, problem = receipt_or_problem(answer)
        if receipt or last or not may_pass(answer, problem):
            return _outcome(upload, tries, answer.status_code, receipt, problem, asked_s(answer))
        patience.wait(tries, asked_s(answer))
    raise ValueError("patience.tries must be at least 1")


def _outcome(
    upload: Upload, tries: int, status: int | None, receipt: Receipt | None, problem: Problem | None,
    asked_s: float | None = None,
) -> Outcome:  # fmt: skip
    return Outcome(upload.label, upload.rows, len(upload.body), tries, status, receipt, problem, asked_s)
