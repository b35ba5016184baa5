"""Gateway keys: who calls, and what it may write.

A verified key is trusted for a short while without asking again, but for what it writes: the transaction that loads an
upload asks whether its key is still good.
"""

from __future__ import annotations

import datetime as dt
import hmac
import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import psycopg
import structlog

from ingest import store
from ingest.buckets import Buckets, whole_seconds
from ingest.checks.scope import Scope
from schemas.errors import KeyAttemptsError, UnavailableError, UnknownKeyError

SCHEME = "bearer"
CACHED_KEYS = 10_000
FRESH_S = 1.0
PREFIX_CHARACTERS = 8
log = structlog.get_logger()
Transaction = Callable[[], AbstractContextManager[psycopg.Connection]]


@dataclass(frozen=True)
class Caller:
    """A verified key: its gateway's scope, as read at `read_at` (monotonic seconds)."""

    prefix: str
    secret_sha256: bytes
    scope: Scope
    read_at: float
    expires_at: dt.datetime | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the key came to its end since it was read."""
        return self.expires_at is not None and self.expires_at <= dt.datetime.now(dt.UTC)


class Keys:
    """Verifies keys; remembers the latest for `trust_s` seconds."""

    def __init__(self, transaction: Transaction, trust_s: float) -> None:
        self._transaction = transaction
        self._trust_s = trust_s
        self._callers: OrderedDict[str, Caller] = OrderedDict()
        self._lock = threading.Lock()

    def remembered(self, header: str | None) -> Caller | None:
        """The caller of an `Authorization` header, if its key was verified a short while ago.

        Raises:
            UnknownKeyError: the header holds no key.
        """
        caller = self._known(*_parse(header))
        is_fresh = caller is not None and time.monotonic() - caller.read_at <= self._trust_s
        return caller if is_fresh else None

    def verify(self, header: str | None) -> Caller:
        """The caller of an `Authorization` header, asked of the database.

        While that is away, a key that was good before is taken; its uploads are authorised again when they load.

        Raises:
            UnknownKeyError: no such key, or revoked, or its gateway has ended.
            UnavailableError: the database is away, and the key is not known.
        """
        try:
            return self._asked(*_parse(header))
        except UnavailableError:
            known = self._known(*_parse(header))
            if known is None:
                raise
            return known

    def is_known(self, header: str | None) -> bool:
        """Whether the header holds a key that was good before, however long ago."""
        try:
            return self._known(*_parse(header)) is not None
        except UnknownKeyError:
            return False

    def _known(self, prefix: str, secret: str) -> Caller | None:
        """A key that was good when it was last asked for, however long ago."""
        with self._lock:
            caller = self._callers.get(prefix)
        if caller is None or caller.has_ended:
            return None
        same = hmac.compare_digest(caller.secret_sha256, store.hash_secret(secret))
        return caller if same else None

    def _asked(self, prefix: str, secret: str) -> Caller:
        caller = None
        try:
            with self._transaction() as db:
                caller = self._read(db, prefix, secret)
                store.touch_key(db, prefix, self._trust_s)
        except UnavailableError:
            if caller is None:
                raise
            # Where it could be read, but not written when the key was used last, it is good all the same.
        self._remember(caller)
        return caller

    def _read(self, db: psycopg.Connection, prefix: str, secret: str) -> Caller:
        key = store.find_key(db, prefix)
        if key is None:
            self._forget(prefix)
        if key is None or not hmac.compare_digest(key.secret_sha256, store.hash_secret(secret)):
            raise UnknownKeyError("no such gateway key")
        scope = store.scope(db, key.gateway_id)
        return Caller(prefix, key.secret_sha256, scope, time.monotonic(), key.expires_at)

    def are_good(self, db: psycopg.Connection, uses: Sequence[tuple[Caller, dt.datetime]]) -> list[bool]:
        """Whether each of these keys may write what came at that time. One that may not is forgotten."""
        ends = store.ends_of_keys(db, list({caller.prefix for caller, _ in uses}))
        # An upload may have waited for the database: a key that came to its end meanwhile was good.
        good = [
            caller.prefix in ends and ((end := ends[caller.prefix]) is None or end > came_at)
            for caller, came_at in uses
        ]
        for (caller, _), is_good in zip(uses, good, strict=True):
            if not is_good:
                self._forget(caller.prefix)
        return good

    def require_good(self, db: psycopg.Connection, caller: Caller, came_at: dt.datetime) -> None:
        """Return if this key may write what came at that time.

        Raises:
            UnknownKeyError: it was revoked, or came to its end before.
        """
        if not self.are_good(db, [(caller, came_at)])[0]:
            raise UnknownKeyError("no such gateway key")

    def knows_any(self) -> bool:
        """Whether anybody could be let in while the database is away."""
        return bool(self._callers)

    def refreshed(self, caller: Caller) -> Caller:
        """The caller with its scope as it is now: a vehicle may be new. Not more than once a second."""
        if time.monotonic() - caller.read_at < FRESH_S:
            return caller
        try:
            with self._transaction() as db:
                scope = store.scope(db, caller.scope.gateway_id)
        except UnavailableError:
            return caller
        return replace(caller, scope=scope)

    def _forget(self, prefix: str) -> None:
        with self._lock:
            self._callers.pop(prefix, None)

    def _remember(self, caller: Caller) -> None:
        with self._lock:
            self._callers[caller.prefix] = caller
            self._callers.move_to_end(caller.prefix)
            if len(self._callers) > CACHED_KEYS:
                self._callers.popitem(last=False)


class Attempts:
    """Failed attempts by client address: a few at once, then so many a minute. A key that was good before is let by."""

    def __init__(self, keys: Keys, per_minute: int) -> None:
        self._keys = keys
        self._buckets = Buckets(per_minute / 60, per_minute)
        self.failed = self.refused = 0

    @contextmanager
    def watched(self, address: str, header: str | None) -> Iterator[None]:
        """Let an attempt be made within, and count it if it fails with `UnknownKeyError`.

        Raises:
            KeyAttemptsError: too many failed from this address.
        """
        place = _place(address)
        # Looked at and not taken: many gateways behind one address may come at once, all with good keys.
        if not self._keys.is_known(header) and (wait_s := self._buckets.wait_s(place)):
            self.refused += 1
            raise KeyAttemptsError("too many unknown gateway keys came from this address", whole_seconds(wait_s))
        try:
            yield
        except UnknownKeyError:
            self._buckets.spend(place, 1)
            self.failed += 1
            log.warning("unknown key", address=address, prefix=_shown_prefix(header))
            raise


def _place(address: str) -> str:
    """What counts as one address: of IPv6 the /64, which one line is given whole."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if parsed.version == 4 else str(ipaddress.ip_network((parsed.packed, 64), strict=False))


def _shown_prefix(header: str | None) -> str | None:
    """The part of a key that is no secret, if it looks like one of ours."""
    try:
        prefix = _parse(header)[0]
    except UnknownKeyError:
        return None
    return prefix if len(prefix) == PREFIX_CHARACTERS else None


def _parse(header: str | None) -> tuple[str, str]:
    """Prefix and secret of `Bearer bh_<prefix>_<secret>`."""
    scheme, _, key = (header or "").strip().partition(" ")
    if scheme.lower() != SCHEME or not key:
        raise UnknownKeyError("send the gateway key as Authorization: Bearer <key>")
    parts = key.strip().split("_", 2)
    if len(parts) != 3 or parts[0] != store.KEY_SCHEME or not key.isascii():
        raise UnknownKeyError("no such gateway key")
    return parts[1], parts[2]
