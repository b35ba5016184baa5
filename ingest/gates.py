"""What is let in: so much from one gateway, so many uploads at once, and headers of a size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingest.buckets import Buckets, whole_seconds
from schemas.errors import HeadersTooLargeError, OverloadedError, RateLimitError
from schemas.settings import Settings


@dataclass(slots=True)
class UnderWay:
    """A request from its first byte to its answer."""

    gateway: str
    has_body: bool
    held_bytes: int = 0


class Gates:
    """The limits of one receiver process. Used from its event loop only."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._requests = Buckets(settings.gateway_requests_per_s, settings.gateway_burst_requests)
        self._bytes = Buckets(settings.gateway_bytes_per_s, settings.gateway_burst_bytes)
        self.uploads = 0
        self.held_bytes = 0
        self.received_bytes = 0

    def check_headers(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Return if a request's headers are no larger than they may be.

        Raises:
            HeadersTooLargeError: they are.
        """
        limit = self._settings.max_header_bytes
        if sum(len(name) + len(value) for name, value in headers) > limit:
            raise HeadersTooLargeError(f"the headers are larger than {limit} bytes")

    def enter(self, gateway: str, *, has_body: bool) -> UnderWay:
        """Let a gateway's request be handled, until it leaves.

        Raises:
            RateLimitError: the gateway made too many requests.
            OverloadedError: too many uploads are under way.
        """
        if wait_s := self._requests.take(gateway):
            limit = self._settings.gateway_requests_per_s
            raise RateLimitError(f"this gateway may make {limit:g} requests a second", whole_seconds(wait_s))
        if has_body and self.uploads >= self._settings.max_uploads_at_once:
            raise OverloadedError(f"{self.uploads} uploads are under way")
        self.uploads += has_body
        return UnderWay(gateway, has_body)

    def leave(self, under_way: UnderWay) -> None:
        """A request was answered, in whatever way."""
        self.uploads -= under_way.has_body
        self.held_bytes -= under_way.held_bytes

    def begin_body(self, under_way: UnderWay) -> None:
        """Let a body come.

        Raises:
            RateLimitError: the gateway has sent too many bytes.
        """
        if wait_s := self._bytes.take(under_way.gateway, 0):
            limit = self._settings.gateway_bytes_per_s
            raise RateLimitError(f"this gateway may send {limit:g} bytes a second", whole_seconds(wait_s))

    def passed(self, under_way: UnderWay, size_bytes: int) -> None:
        """Count bytes of a body that came; what was begun is let come whole."""
        self.received_bytes += size_bytes
        self._bytes.spend(under_way.gateway, size_bytes)

    def hold(self, under_way: UnderWay, size_bytes: int) -> None:
        """Count bytes that stay in memory until the request is answered.

        Raises:
            OverloadedError: all uploads hold too much.
        """
        if self.held_bytes + size_bytes > self._settings.max_held_bytes:
            raise OverloadedError(f"the uploads under way hold {self.held_bytes} bytes")
        under_way.held_bytes += size_bytes
        self.held_bytes += size_bytes
