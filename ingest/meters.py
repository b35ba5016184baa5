"""What the receiver tells Prometheus of itself: counts, times and states; never payloads, never keys."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.checks.scope import Scope as GatewayScope
from ingest.loader import TELEMETRY
from ingest.log_loader import CAN_LOG
from schemas.errors import UnavailableError
from schemas.wire import Receipt

UPLOADS = {
    "POST /v1/telemetry": TELEMETRY,
    "POST /v1/can-logs": CAN_LOG,
    "POST /v1/can-logs/parts/{name}/complete": CAN_LOG,
}
METHODS = frozenset({"GET", "POST", "PUT", "DELETE"})
OUTCOMES = ("accepted", "merged", "duplicate", "conflicting", "rejected")
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
MOST_GATEWAYS = 1000
WORKERS = 32
"""So many ports are tried, one after another: each worker process has one of its own."""
log = structlog.get_logger()


class Meters:
    """The counts of one receiver process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._uploads = Counter("beachhead_uploads", "Uploads, by what became of them.", ["kind", "status"],
                                registry=self.registry)  # fmt: skip
        self._rows = Counter("beachhead_rows", "Rows of uploads, by what became of them.", ["kind", "outcome"],
                             registry=self.registry)  # fmt: skip
        self._late = Counter("beachhead_rows_late", "Rows that arrived long after their time.", ["kind"],
                             registry=self.registry)  # fmt: skip
        self._took = Histogram("beachhead_request_seconds", "Time to answer.", ["endpoint", "status"],
                               buckets=BUCKETS_S, registry=self.registry)  # fmt: skip
        # Looking a child up by its labels costs more than counting does.
        self._took_of = cache(self._took.labels)
        self._uploads_of, self._rows_of, self._late_of = map(cache, (self._uploads.labels, self._rows.labels,
                                                                    self._late.labels))  # fmt: skip
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    def seen(self, gateway: GatewayScope) -> None:
        """A gateway called."""
        name = (gateway.pilot, gateway.gateway)
        with self._lock:
            self._seen[name] = time.time()
            self._seen.move_to_end(name)
            if len(self._seen) > MOST_GATEWAYS:
                self._seen.popitem(last=False)

    def last_seen(self) -> dict[tuple[str, str], float]:
        """When each gateway called last, by pilot and gateway; those that called longest ago may be left out."""
        with self._lock:
            return dict(self._seen)

    def request(self, endpoint: str, status: int, took_s: float, receipt: Receipt | None) -> None:
        """A request was answered."""
        self._took_of(endpoint, str(status)).observe(took_s)
        kind = UPLOADS.get(endpoint)
        if kind is not None and receipt is not None:
            self.upload(kind, receipt)
        elif kind is not None:
            self._uploads_of(kind, "refused" if status < 500 else "unavailable").inc()

    def upload(self, kind: str, receipt: Receipt) -> None:
        """An upload has a receipt; a repeated one tells of rows that were counted before."""
        self._uploads_of(kind, receipt.status).inc()
        if receipt.status == "duplicate":
            return
        for outcome in OUTCOMES:
            self._rows_of(kind, outcome).inc(getattr(receipt.rows, outcome))
        self._late_of(kind).inc(receipt.rows.late)


@dataclass(frozen=True)
class State:
    """A number that is asked for when Prometheus does; null where it cannot be told."""

    name: str
    meaning: str
    ask: Callable[[], float]
    counts: bool = False


class StateCollector(Collector):
    """Asks for states."""

    def __init__(self, meters: Meters, states: list[State]) -> None:
        self._meters, self._states = meters, states

    def collect(self) -> Iterator[Metric]:
        """The states as they are now."""
        for state in self._states:
            family = CounterMetricFamily if state.counts else GaugeMetricFamily
            try:
                yield family(f"beachhead_{state.name}", state.meaning, value=state.ask())
            except UnavailableError:
                continue  # the landing store is away; the other numbers are wanted all the more
        seen = GaugeMetricFamily(
            "beachhead_gateway_last_seen_timestamp_seconds", "When a gateway called last.", labels=["pilot", "gateway"]
        )
        for names, at in self._meters.last_seen().items():
            seen.add_metric(names, at)
        yield seen


class Measured:
    """ASGI middleware: counts each request, by endpoint and not by path, so that there are few."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app, self._meters = app, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and look at how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def send_seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        try:
            await self._app(scope, receive, send_seen)
        finally:
            receipt = scope.get("state", {}).get("receipt")
            self._meters.request(_endpoint(scope), status, time.perf_counter() - began, receipt)


def _endpoint(scope: Scope) -> str:
    path = getattr(scope.get("route"), "path", None)
    return f"{scope['method']} {path}" if path and scope["method"] in METHODS else "other"


class MetersServer:
    """Serves the metrics of this process on an address of its own."""

    def __init__(self, meters: Meters, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port, self._meters = host.strip("[]"), int(port), meters
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen at the port, or the first after it that is free. A receiver without metrics receives all the same."""
        reason = "no such port"
        for port in range(self._port, min(self._port + WORKERS, 2**16)):
            try:
                self._server, self._thread = start_http_server(port, self._host, self._meters.registry)
            except OSError as error:
                reason = error.strerror or str(error)
                continue
            log.info("metrics", address=f"http://{self._host}:{port}/metrics")
            return
        log.error("no metrics", address=f"{self._host}:{self._port}", reason=reason)

    def stop(self) -> None:
        """Give the port free."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
