"""Gateway keys: who calls, and what it may write. A verified key is trusted for a short while without asking again."""

from __future__ import annotations

import hmac
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import psycopg

from ingest import store
from ingest.checks.scope import Scope
from schemas.errors import UnavailableError, UnknownKeyError

SCHEME = "bearer"
CACHED_KEYS = 10_000
FRESH_S = 1.0
Transaction = Callable[[], AbstractContextManager[psycopg.Connection]]


@dataclass(frozen=True)
class Caller:
    """A verified key: its gateway's scope, as read at `read_at` (monotonic seconds)."""

    prefix: str
    secret_sha256: bytes
    scope: Scope
    read_at: float


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

    def _known(self, prefix: str, secret: str) -> Caller | None:
        """A key that was good when it was last asked for, however long ago."""
        with self._lock:
            caller = self._callers.get(prefix)
        same = caller is not None and hmac.compare_digest(caller.secret_sha256, store.hash_secret(secret))
        return caller if same else None

    def _asked(self, prefix: str, secret: str) -> Caller:
        with self._transaction() as db:
            key = store.find_key(db, prefix)
            if key is None or not hmac.compare_digest(key.secret_sha256, store.hash_secret(secret)):
                raise UnknownKeyError("no such gateway key")
            store.touch_key(db, prefix)
            caller = Caller(prefix, key.secret_sha256, store.scope(db, key.gateway_id), time.monotonic())
        self._remember(caller)
        return caller

    def refreshed(self, caller: Caller) -> Caller:
        """The caller with its scope as it is now: a vehicle may be new. Not more than once a second."""
        if time.monotonic() - caller.read_at < FRESH_S:
            return caller
        try:
            with self._transaction() as db:
                scope = store.scope(db, caller.scope.gateway_id)
        except UnavailableError:
            return caller
        return Caller(caller.prefix, caller.secret_sha256, scope, caller.read_at)

    def _remember(self, caller: Caller) -> None:
        with self._lock:
            self._callers[caller.prefix] = caller
            self._callers.move_to_end(caller.prefix)
            if len(self._callers) > CACHED_KEYS:
                self._callers.popitem(last=False)


def _parse(header: str | None) -> tuple[str, str]:
    """Prefix and secret of `Bearer bh_<prefix>_<secret>`."""
    scheme, _, key = (header or "").strip().partition(" ")
    if scheme.lower() != SCHEME or not key:
        raise UnknownKeyError("send the gateway key as Authorization: Bearer <key>")
    parts = key.strip().split("_", 2)
    if len(parts) != 3 or parts[0] != store.KEY_SCHEME or not key.isascii():
        raise UnknownKeyError("no such gateway key")
    return parts[1], parts[2]
