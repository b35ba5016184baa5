"""Gateway keys over their life: made, rotated with an overlap, expired, revoked, guessed at."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import structlog
from receiver_kit import Client, Pusher, World, receiving

from ingest.auth import Attempts, Caller, Keys
from ingest.calls import Asked

BEACHHEAD = Path(sys.executable).with_name("beachhead")


@pytest.fixture
def owner(module_database: Any) -> Iterator[psycopg.Connection]:
    with module_database.connect() as connection:
        connection.autocommit = True
        yield connection


def beachhead(database: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"BEACHHEAD_DATABASE_URL": database.url()}
    return subprocess.run(
        [str(BEACHHEAD), *arguments], env=environment, capture_output=True, text=True, check=True, timeout=60
    )


def status(client: Client, key: str) -> int:
    return Pusher(client, key).get("/v1/gateway").status_code


def prefix(key: str) -> str:
    return key.split("_")[1]


def test_rotation_overlaps_and_then_the_old_keys_end(
    world: World, module_database: Any, owner: psycopg.Connection
) -> None:
    second = beachhead(module_database, "key", "create", "drayage/one").stdout.strip()
    before = dt.datetime.now(dt.UTC)
    rotated = beachhead(module_database, "key", "rotate", "one", "--overlap", "48")
    third = rotated.stdout.strip()
    assert third.startswith("bh_")
    old = [world.keys["one"], second]
    assert all(prefix(key) in rotated.stderr for key in old)
    listed = {
        row["prefix"]: row for row in json.loads(beachhead(module_database, "key", "list", "--json").stdout)
    }  # fmt: skip
    for key in old:
        ends_at = dt.datetime.fromisoformat(listed[prefix(key)]["expires_at"])
        assert dt.timedelta(0) <= ends_at - before - dt.timedelta(hours=48) < dt.timedelta(minutes=1)
    assert listed[prefix(third)]["expires_at"] is None
    assert listed[prefix(world.keys["both"])]["expires_at"] is None
    with receiving(world, key_cache_s=3600) as client:
        assert [status(client, key) for key in (*old, third)] == [200, 200, 200]
    # Once more, with a longer overlap: what ends sooner stays so.
    beachhead(module_database, "key", "rotate", "one", "--overlap", "1000")
    ends = dict(owner.execute("SELECT prefix, expires_at FROM api_key").fetchall())
    assert ends[prefix(second)] < before + dt.timedelta(hours=49)
    assert ends[prefix(third)] > before + dt.timedelta(hours=999)
    owner.execute("UPDATE api_key SET expires_at = NULL WHERE prefix = %s", [prefix(world.keys["one"])])


def test_an_expired_key_ends_at_once_whatever_is_remembered(world: World, owner: psycopg.Connection) -> None:
    mine = prefix(world.keys["bus"])
    owner.execute("UPDATE api_key SET expires_at = now() + interval '1 s' WHERE prefix = %s", [mine])
    with receiving(world, key_cache_s=3600) as client:
        assert status(client, world.keys["bus"]) == 200
        time.sleep(1.05)
        assert status(client, world.keys["bus"]) == 401
    owner.execute("UPDATE api_key SET expires_at = NULL WHERE prefix = %s", [mine])


def test_last_use_costs_one_write_in_a_period(world: World, owner: psycopg.Connection) -> None:
    written = "SELECT last_used_at, xmin::text FROM api_key WHERE prefix = %s"
    mine = [prefix(world.keys["both"])]
    owner.execute("UPDATE api_key SET last_used_at = NULL WHERE prefix = %s", mine)
    with receiving(world, key_cache_s=60) as client, receiving(world, key_cache_s=60) as other:
        assert status(client, world.keys["both"]) == 200
        first = owner.execute(written, mine).fetchone()
        assert first[0] is not None
        assert [status(one, world.keys["both"]) for one in (client, client, other)] == [200] * 3
        assert owner.execute(written, mine).fetchone() == first
    owner.execute("UPDATE api_key SET last_used_at = now() - interval '61 s' WHERE prefix = %s", mine)
    with receiving(world, key_cache_s=60) as client:
        assert status(client, world.keys["both"]) == 200
    assert owner.execute(written, mine).fetchone()[0] > first[0]


def test_guessing_is_slowed_down_and_good_keys_go_on(world: World) -> None:
    wrong = f"bh_{prefix(world.keys['both'])}_{'x' * 43}"
    with receiving(world, failed_keys_per_minute=3, key_cache_s=0) as client, structlog.testing.capture_logs() as logs:
        assert status(client, world.keys["both"]) == 200
        assert [status(client, wrong) for _ in range(4)] == [401, 401, 401, 429]
        answer = Pusher(client, wrong).get("/v1/gateway")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert 1 <= int(answer.headers["Retry-After"]) <= 20
        assert answer.json()["retryable"]
        assert status(client, world.keys["both"]) == 200  # was good before, and is asked of the database again
        assert status(client, world.keys["one"]) == 429  # not known yet: it has to wait as well
    refused = [entry for entry in logs if entry["event"] == "unknown key"]
    assert [(entry["address"], entry["prefix"]) for entry in refused] == [("127.0.0.1", prefix(wrong))] * 3
    assert "x" * 10 not in str(logs)


def test_good_keys_do_not_use_up_what_failures_may(world: World) -> None:
    with receiving(world, failed_keys_per_minute=1) as client:
        assert [status(client, world.keys[name]) for name in ("both", "one", "bus")] == [200] * 3
        assert [status(client, "bh_00000000_x") for _ in range(2)] == [401, 429]


def test_many_gateways_behind_one_address_may_come_at_once(world: World) -> None:
    with receiving(world, failed_keys_per_minute=1) as client, ThreadPoolExecutor(16) as threads:
        assert set(threads.map(lambda _: status(client, world.keys["both"]), range(32))) == {200}


def test_a_revoked_key_is_no_longer_let_by(world: World, module_database: Any) -> None:
    key = beachhead(module_database, "key", "create", "bus").stdout.strip()
    with receiving(world, failed_keys_per_minute=2, key_cache_s=0) as client:
        assert status(client, key) == 200
        beachhead(module_database, "key", "revoke", prefix(key))
        assert [status(client, key) for _ in range(4)] == [401, 401, 429, 429]


def test_one_line_of_ipv6_is_one_address() -> None:
    attempts = Attempts(Keys(lambda: pytest.fail("nothing is asked"), 0), 1)
    statuses = []
    for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
        try:
            with attempts.watched(address, None):
                attempts._keys.remembered(None)
        except Exception as error:
            statuses.append(type(error).__name__)
    assert statuses == ["UnknownKeyError", "KeyAttemptsError", "UnknownKeyError"]


def test_the_clients_address_is_taken_from_trusted_proxies_only(world: World) -> None:
    from test_receiver_http import served

    def statuses(port: int, *clients: str) -> list[int]:
        address = f"http://127.0.0.1:{port}/v1/gateway"
        return [httpx.get(address, headers={"X-Forwarded-For": client}).status_code for client in clients]

    with served(world, BEACHHEAD_FAILED_KEYS_PER_MINUTE="1", BEACHHEAD_TRUSTED_PROXIES="127.0.0.1") as port:
        assert statuses(port, "192.0.2.1", "192.0.2.1", "192.0.2.2") == [401, 429, 401]
    with served(world, BEACHHEAD_FAILED_KEYS_PER_MINUTE="1") as port:
        assert statuses(port, "192.0.2.1", "192.0.2.2") == [401, 429]


def test_many_requests_with_a_key_ask_for_it_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    verify = Keys.verify

    def slowly(keys: Keys, header: str | None) -> Caller:
        asked.append(header)
        time.sleep(0.5)
        return verify(keys, header)

    monkeypatch.setattr(Keys, "verify", slowly)
    good, wrong = world.keys["one"], f"{world.keys['one']}x"
    with receiving(world) as client, ThreadPoolExecutor(24) as threads:
        answers = list(threads.map(lambda key: status(client, key), [good, wrong] * 12))
    assert answers == [200, 401] * 12
    assert sorted(asked) == [f"Bearer {good}", f"Bearer {wrong}"]


def test_who_asked_first_may_go_and_the_others_are_told() -> None:
    async def run() -> tuple[int, list[Any]]:
        asked, calls, answer = Asked(), [], asyncio.Event()

        async def ask() -> Any:
            calls.append(1)
            await answer.wait()
            return "the caller"

        first, *others = (asyncio.create_task(asked.caller("a key", ask)) for _ in range(3))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        answer.set()
        told = [*(await asyncio.gather(*others)), await asked.caller("a key", ask)]
        assert first.cancelled()
        return len(calls), told

    assert asyncio.run(run()) == (2, ["the caller"] * 3)
