"""Faults with real processes: what was acknowledged is there once, the rest whole or not at all."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from receiver_kit import World, at, empty, make_world
from served import Served

from tests import campaign

CLIENTS = 4
ROWS = 30
PATIENCE_S = 60


@dataclass
class Client(threading.Thread):
    """Sends one upload after the other, each until it is acknowledged; `acknowledged` are their numbers."""

    served: Served
    number: int
    ended: threading.Event
    acknowledged: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        n = 0
        with httpx.Client(timeout=30, trust_env=False) as http:
            while not self.ended.is_set():
                if self._sent(http, n):
                    self.acknowledged.append(n)
                    n += 1
                else:
                    time.sleep(0.02)

    def _sent(self, http: httpx.Client, n: int) -> bool:
        url = f"http://127.0.0.1:{self.served.port}/v1/telemetry"
        headers = {"Authorization": f"Bearer {self.served.key}", "Content-Type": "application/x-ndjson"}
        try:
            answer = http.post(url, content=upload(self.number, n), headers=headers)
        except httpx.HTTPError:
            return False
        if not answer.is_success and answer.status_code not in (429, 503):
            self.wrong.append(answer.text)
        return answer.is_success


def upload(client: int, n: int) -> bytes:
    """Rows of one client's upload: seconds that nobody else sends."""
    first = (n * CLIENTS + client) * ROWS
    rows = [{"time": at(first + k), "vehicle": "truck-01", "speed_kmh": k} for k in range(ROWS)]
    return "\n".join(map(json.dumps, rows)).encode()


@pytest.fixture(scope="module")
def made(module_database: Any) -> World:
    return make_world(module_database)


@pytest.fixture
def served(made: World, module_database: Any, tmp_path: Path) -> Iterator[Served]:
    empty(module_database)
    served = Served(made, tmp_path / "landing")
    served.environment |= {"BEACHHEAD_METRICS_ADDRESS": "", "BEACHHEAD_GATEWAY_REQUESTS_PER_S": "0"}
    served.start()
    try:
        yield served
    finally:
        served.kill()
        served.client.close()


def stored(database: Any) -> dict[tuple[int, int], int]:
    """How many rows of each upload are stored."""
    with database.connect() as owner:
        rows = owner.execute(
            "SELECT extract(epoch FROM time - %s::timestamptz)::int / %s, count(*) FROM telemetry GROUP BY 1",
            [at(0), ROWS],
        ).fetchall()
    return {(place % CLIENTS, place // CLIENTS): count for place, count in rows}


def check(database: Any, served: Served, clients: list[Client]) -> None:
    """What holds after any fault."""
    assert not [wrong for client in clients for wrong in client.wrong]
    until = time.monotonic() + PATIENCE_S
    while any((served.landing / "waiting").glob("*.json")):
        assert time.monotonic() < until, "what waits does not load"
        time.sleep(0.1)
    found = stored(database)
    for client in clients:
        for n in client.acknowledged:
            assert found.pop((client.number, n)) == ROWS, f"upload {n} of client {client.number}"
    assert set(found.values()) <= {ROWS}, "half an upload"
    assert len(found) <= CLIENTS, "each client has at most one under way"
    with database.connect() as owner:
        told = owner.execute("SELECT sum(rows_accepted) FROM upload WHERE status = 'loaded'").fetchone()
        assert owner.execute("SELECT count(*) FROM telemetry").fetchone() == told
    answer = served.client.post(
        "/v1/telemetry", content=b'{"time": "2026-02-01T00:00:00Z", "vehicle": "truck-01", "speed_kmh": 1}',
        headers={"Content-Type": "application/x-ndjson"},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    with psycopg.connect(database.url()) as owner:
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
        assert owner.execute(f"{held} (SELECT oid FROM pg_database WHERE datname = current_database())").fetchone() == (
            0,
        )


def working(served: Served) -> tuple[list[Client], threading.Event]:
    ended = threading.Event()
    clients = [Client(served, number, ended) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    return clients, ended


def finish(clients: list[Client], ended: threading.Event) -> None:
    ended.set()
    for client in clients:
        client.join(PATIENCE_S)
    assert all(client.acknowledged for client in clients), "nothing came through"


@pytest.mark.long
@pytest.mark.timeout(campaign.size(180, 3600))
def test_a_receiver_killed_at_any_moment(served: Served, module_database: Any) -> None:
    dice = random.Random(campaign.SEED)
    clients, ended = working(served)
    for _ in range(campaign.size(3, 200)):
        time.sleep(dice.uniform(0.2, 1.2))
        served.kill()
        served.start()
    time.sleep(0.5)
    finish(clients, ended)
    check(module_database, served, clients)


@pytest.mark.long
@pytest.mark.timeout(campaign.size(180, 3600))
def test_a_database_whose_connections_end_at_any_moment(served: Served, module_database: Any) -> None:
    """Also in the middle of COPY and of a commit; now and then it is away for a while."""
    dice = random.Random(campaign.SEED + 1)
    clients, ended = working(served)
    name = sql.Identifier(module_database.name)
    with module_database.server.admin() as admin:
        for n in range(campaign.size(8, 200)):
            time.sleep(dice.uniform(0.05, 0.5))
            if n % 4 == 3:
                admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name ="
                " 'beachhead-ingest'",
                [module_database.name],
            )
            if n % 4 == 3:
                time.sleep(dice.uniform(0.1, 1))
                admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
    time.sleep(0.5)
    finish(clients, ended)
    check(module_database, served, clients)


@pytest.mark.long
@pytest.mark.timeout(campaign.size(180, 3600))
def test_a_receiver_killed_while_the_database_is_away(served: Served, module_database: Any) -> None:
    dice = random.Random(campaign.SEED + 2)
    clients, ended = working(served)
    name = sql.Identifier(module_database.name)
    for _ in range(campaign.size(2, 50)):
        time.sleep(dice.uniform(0.3, 0.8))
        with module_database.server.admin() as admin:
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                          [module_database.name])  # fmt: skip
            time.sleep(dice.uniform(0.2, 0.6))
            served.kill()
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
        served.start()
    time.sleep(0.5)
    finish(clients, ended)
    check(module_database, served, clients)


@pytest.mark.long
@pytest.mark.timeout(campaign.size(180, 3600))
def test_a_worker_killed_now_and_then_comes_back_by_itself(served: Served, module_database: Any) -> None:
    dice = random.Random(campaign.SEED + 3)
    clients, ended = working(served)
    for _ in range(campaign.size(2, 50)):
        time.sleep(dice.uniform(6, 7.5))  # sooner would be taken for a fault of the program
        served.kill_worker()
        served.wait()
    time.sleep(0.5)
    finish(clients, ended)
    check(module_database, served, clients)
