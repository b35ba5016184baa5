"""Faults with real processes: what was acknowledged is there once, the rest whole or not at all."""

from __future__ import annotations

import datetime as dt
import json
import random
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from own_server import own_server
from psycopg import sql
from receiver_kit import T0, Pusher, World, at, empty, make_world, receiving
from served import OWN_MOUNTS, Served

from ingest import drain, loader
from ingest.corrections import Corrections
from ingest.drain import MOST_TRIES
from schemas.database import engine
from schemas.settings import Settings
from tests import campaign

END_RECEIVERS = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
    " AND application_name = 'beachhead-ingest'"
)
CLIENTS = 4
ROWS = 30
PATIENCE_S = 60
PACE_S = 0.5
"""Uploads that wait are loaded one after the other; clients are to leave room for that."""


@dataclass
class Client(threading.Thread):
    """Sends one upload after the other, each until it is acknowledged; `acknowledged` are their numbers.

    Where there are several receivers, each attempt goes to another one. `answers` counts the answers by status.
    """

    receivers: tuple[Served, ...]
    number: int
    ended: threading.Event
    acknowledged: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    attempts: int = 0
    pace_s: float = 0.0

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
                    time.sleep(self.pace_s)
                else:
                    time.sleep(0.02)

    def _sent(self, http: httpx.Client, n: int) -> bool:
        self.attempts += 1
        served = self.receivers[self.attempts % len(self.receivers)]
        url = f"http://127.0.0.1:{served.port}/v1/telemetry"
        headers = {"Authorization": f"Bearer {served.key}", "Content-Type": "application/x-ndjson"}
        try:
            answer = http.post(url, content=upload(self.number, n), headers=headers)
        except httpx.HTTPError:
            return False
        self.answers[answer.status_code] += 1
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


@contextmanager
def running(world: World, landing: Path, disk_bytes: int | None = None) -> Iterator[Served]:
    """A receiver of the world."""
    served = Served(world, landing, disk_bytes)
    served.environment |= {"BEACHHEAD_METRICS_ADDRESS": "", "BEACHHEAD_GATEWAY_REQUESTS_PER_S": "0"}
    served.start()
    try:
        yield served
    finally:
        served.kill()
        served.client.close()


@pytest.fixture
def served(made: World, module_database: Any, tmp_path: Path) -> Iterator[Served]:
    empty(module_database)
    with running(made, tmp_path / "landing") as served:
        yield served


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
    wait_for(lambda: not any((served.seen / "waiting").glob("*.json")), "what waits does not load")
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


def wait_for(is_done: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_done():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def answered(clients: list[Client], status: int) -> int:
    """How many answers of this status the clients have had."""
    return sum(client.answers[status] for client in clients)


def wait_for_answers(clients: list[Client], status: int, more: int = 1) -> None:
    before = answered(clients, status)
    wait_for(lambda: answered(clients, status) >= before + more, f"no answer {status}")


def leave(database: Any) -> None:
    """The database goes away."""
    with database.server.admin() as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(database.name)))
        admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                      [database.name])  # fmt: skip


def come_back(database: Any) -> None:
    with database.server.admin() as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(database.name)))


def working(*receivers: Served, pace_s: float = 0.0) -> tuple[list[Client], threading.Event]:
    ended = threading.Event()
    clients = [Client(receivers, number, ended, pace_s=pace_s) for number in range(CLIENTS)]
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
    for _ in range(campaign.size(2, 200)):
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
    for _ in range(campaign.size(1, 50)):
        time.sleep(dice.uniform(6, 7.5))  # sooner would be taken for a fault of the program
        served.kill_worker()
        served.wait()
    time.sleep(0.5)
    finish(clients, ended)
    check(module_database, served, clients)


# --- several receivers ----------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(campaign.size(180, 3600))
def test_two_receivers_on_one_database_and_folder_killed_at_any_moment(
    served: Served, made: World, module_database: Any
) -> None:
    """What is not acknowledged goes to the other one; now and then the database is away as well."""
    dice = random.Random(campaign.SEED + 3)
    with running(made, served.landing) as other:
        clients, ended = working(served, other, pace_s=PACE_S)
        for n in range(campaign.size(3, 200)):
            time.sleep(dice.uniform(0.2, 0.8))
            if n % 4 == 1:
                leave(module_database)
                time.sleep(dice.uniform(0.2, 0.8))
            one = dice.choice([served, other])
            one.kill()
            if n % 4 == 1:
                come_back(module_database)
            one.start()
        time.sleep(0.5)
        finish(clients, ended)
        check(module_database, served, clients)


# --- a database without room ----------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(campaign.size(180, 3600))
def test_a_database_whose_connections_are_all_taken_by_others(served: Served, module_database: Any) -> None:
    dice = random.Random(campaign.SEED + 4)
    clients, ended = working(served, pace_s=PACE_S)
    name = sql.Identifier(module_database.name)
    for _ in range(campaign.size(2, 60)):
        time.sleep(dice.uniform(0.3, 0.8))
        others = [module_database.connect("beachhead_ingest") for _ in range(3)]
        with module_database.server.admin() as admin:
            admin.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 3").format(name))
            try:
                admin.execute(END_RECEIVERS, [module_database.name])
                wait_for_answers(clients, 202, CLIENTS)
                others.pop().close()  # one connection is too few to load by
                time.sleep(dice.uniform(0.2, 1))
                for other in others:
                    other.close()
                wait_for_answers(clients, 200)
            finally:
                admin.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT -1").format(name))
    finish(clients, ended)
    check(module_database, served, clients)


@pytest.mark.long
@pytest.mark.timeout(campaign.size(240, 3600))
def test_a_database_whose_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For longer than it is tried to load an upload that the database refuses: it is not the upload's fault."""
    with own_server(tmp_path / "small") as (own, database, world), running(world, tmp_path / "landing") as served:
        clients, ended = working(served, pace_s=PACE_S)
        for _ in range(campaign.size(1, 20)):
            wait_for_answers(clients, 200, CLIENTS)
            own.tell("fill")
            wait_for_answers(clients, 202, CLIENTS)
            time.sleep(campaign.size(2, MOST_TRIES + 5))
            own.tell("free")
            wait_for_answers(clients, 200)
        finish(clients, ended)
        check(database, served, clients)
        assert_none_failed(database)


def test_an_upload_is_not_given_up_while_the_disk_is_full(
    served: Served, made: World, module_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "MOST_TRIES", 2)
    monkeypatch.setattr(drain, "PERIOD_S", 0.1)
    served.kill()
    refused = []

    def full(*_: Any) -> Any:
        refused.append(1)
        raise psycopg.errors.DiskFull("could not extend file: No space left on device")

    with receiving(made, landing_url=f"file://{served.landing}") as client:
        pusher = Pusher(client, made.keys["one"])
        with monkeypatch.context() as filled:
            filled.setattr(loader, "load", full)
            assert pusher.post(upload(0, 0), "application/x-ndjson").status_code == 202
            wait_for(lambda: len(refused) > 5, "it is not tried again")
        wait_for(lambda: stored(module_database) == {(0, 0): ROWS}, "it is not loaded")
    assert_none_failed(module_database)


def assert_none_failed(database: Any) -> None:
    with database.connect() as owner:
        assert owner.execute("SELECT reason FROM upload WHERE status = 'failed'").fetchall() == []


# --- a database server that ends ------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(campaign.size(240, 3600))
def test_a_database_server_stopped_and_killed(tmp_path: Path) -> None:
    dice = random.Random(campaign.SEED + 5)
    with own_server() as (own, database, world), running(world, tmp_path / "landing") as served:
        clients, ended = working(served, pace_s=PACE_S)
        for n in range(campaign.size(2, 60)):
            wait_for_answers(clients, 200, dice.randrange(1, 3 * CLIENTS))
            own.down() if n % 3 == 0 else own.kill()
            wait_for_answers(clients, 202, dice.randrange(1, 2 * CLIENTS))
            own.up()
        wait_for_answers(clients, 200)
        finish(clients, ended)
        check(database, served, clients)
        assert_none_failed(database)


# --- gateways -------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(campaign.size(180, 3600))
def test_clients_gone_half_way_through_their_rows(served: Served, module_database: Any) -> None:
    """More of them than uploads may be under way at once: none holds a place, and no row of theirs is stored."""
    dice = random.Random(campaign.SEED + 6)
    clients, ended = working(served, pace_s=PACE_S)
    first = 10_000_000
    body = "\n".join(
        json.dumps({"time": at(first + n), "vehicle": "truck-01", "speed_kmh": 1}) for n in range(500)
    ).encode()
    for n in range(campaign.size(30, 600)):
        cut = dice.randrange(len(body))
        with served.begun("/v1/telemetry", "POST", body[:cut], len(body) if n % 2 else None, patience_s=0.01):
            pass
    finish(clients, ended)
    with module_database.connect() as owner:
        assert owner.execute("SELECT count(*) FROM telemetry WHERE time >= %s", [at(first)]).fetchone() == (0,)
    check(module_database, served, clients)


JUMPS = (0, 7, -90, 3600, -7200, 500 * 86_400, -(T0 - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)).total_seconds())


@pytest.mark.long
@pytest.mark.timeout(campaign.size(120, 1800))
def test_a_gateway_whose_clock_jumps(served: Served, module_database: Any) -> None:
    """Every value that was let in is stored once or set aside once; what was out of time is put right afterwards."""
    dice = random.Random(campaign.SEED + 7)
    sent: dict[uuid.UUID, tuple[float, list[int]]] = {}
    sure: set[tuple[dt.datetime, float]] = set()
    second = 0
    for _ in range(campaign.size(30, 2000)):
        jump, seconds = dice.choice(JUMPS), list(range(second, second := second + dice.randrange(1, 40)))
        rows = [{"time": at(jump + n), "vehicle": "truck-01", "speed_kmh": n % 97 + jump % 2} for n in seconds]
        answer = served.client.post(
            "/v1/telemetry", content="\n".join(map(json.dumps, rows)), headers={"Content-Type": "application/x-ndjson"}
        )
        if answer.status_code == 200:
            told = answer.json()["rows"]
            assert told["rejected"] == 0
            assert told["accepted"] + told["merged"] + told["duplicate"] + told["conflicting"] == len(rows)
            sure |= {(T0 + dt.timedelta(seconds=jump + n), n % 97 + jump % 2) for n in seconds}
        else:
            assert answer.status_code == 422, answer.text
            assert "upload requeue" in answer.json()["detail"]
            sent[_upload_named(answer.json()["detail"])] = jump, seconds
    assert _values(module_database) == sure
    assert {jump for jump, _ in sent.values()} == {JUMPS[-1], JUMPS[-2]}
    corrections = Corrections(
        engine(module_database.url()), Settings(_env_file=None, landing_url=f"file://{served.landing}")
    )
    for id_, (jump, seconds) in dice.sample(sorted(sent.items()), min(len(sent), campaign.size(4, 40))):
        corrections.shift(id_, -jump)
        sure |= {(T0 + dt.timedelta(seconds=n), n % 97 + jump % 2) for n in seconds}
    corrections.engine.dispose()
    assert _values(module_database) == sure


def _upload_named(detail: str) -> uuid.UUID:
    return uuid.UUID(detail.partition("kept as upload ")[2].partition(":")[0])


def _values(database: Any) -> set[tuple[dt.datetime, float]]:
    """Every value that is stored or set aside; none is there twice."""
    with database.connect() as owner:
        found = owner.execute(
            "SELECT time, speed_kmh FROM telemetry UNION ALL SELECT time, value::float8 FROM upload_reject"
            " WHERE field = 'speed_kmh'"
        ).fetchall()
    assert len(found) == len(set(found))
    return set(found)


# --- a landing folder without room ----------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(campaign.size(180, 3600))
def test_a_full_landing_folder_while_the_database_is_away(made: World, module_database: Any, tmp_path: Path) -> None:
    if subprocess.run([*OWN_MOUNTS, "true"], capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    empty(module_database)
    (tmp_path / "landing").mkdir()
    with running(made, tmp_path / "landing", disk_bytes=2**18) as served:
        clients, ended = working(served, pace_s=PACE_S)
        for _ in range(campaign.size(2, 40)):
            wait_for_answers(clients, 200, CLIENTS)
            leave(module_database)
            wait_for_answers(clients, 202)
            wait_for_answers(clients, 503, 5 * CLIENTS)
            assert served.client.get("/readyz").status_code == 503
            # Clients go on: what was refused must not take the room of what could still wait.
            wait_for(lambda: _is_whole(served.seen / "waiting"), "something is kept half")
            come_back(module_database)
            wait_for_answers(clients, 200)
        finish(clients, ended)
        check(module_database, served, clients)
        assert not list((served.seen / "waiting").iterdir())


def _is_whole(folder: Path) -> bool:
    names = {path.name for path in folder.iterdir()}
    kept = {name.removesuffix(".json") for name in names if name.endswith(".json")}
    return names == {name + ending for name in kept for ending in (".json", ".zst")}
