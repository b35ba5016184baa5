"""What a receiver's processes write: JSON lines with ids, and nothing of what was uploaded."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from receiver_kit import World, at
from served import Served

from schemas import logs
from schemas.errors import LandingAwayError, MalformedBodyError, NothingUsableError

NDJSON, NAME = "application/x-ndjson", "driver Jane Doe"
PATIENCE_S = 30


def body(second: int) -> bytes:
    """A row whose second field is rejected, and told of in the receipt; the database below refuses that."""
    return json.dumps({"time": at(second), "vehicle": "truck-01", "speed_kmh": 1, "odometer_km": NAME}).encode()


def post(served: Served, second: int, **headers: str) -> httpx.Response:
    return served.client.post("/v1/telemetry", content=body(second), headers={"Content-Type": NDJSON, **headers})


@contextmanager
def refusing(database: Any) -> Iterator[None]:
    with database.connect() as owner:
        owner.execute(f"ALTER TABLE upload ADD CONSTRAINT no_driver CHECK (receipt::text NOT LIKE '%{NAME}%')")
    yield
    with database.connect() as owner:
        owner.execute("ALTER TABLE upload DROP CONSTRAINT no_driver")


def let_in(database: Any, *, anybody: bool) -> None:
    with database.server.admin() as admin:
        name = sql.Identifier(database.name)
        admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(name, sql.Literal(anybody)))
        if not anybody:
            ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
            admin.execute(ended, [database.name])


def wait_for(is_done: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_done():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.1)


def test_every_line_is_json_names_its_request_and_quotes_no_upload(
    world: World, module_database: Any, tmp_path: Path
) -> None:
    served, file = Served(world, tmp_path / "landing"), tmp_path / "lines"
    served.environment |= {"BEACHHEAD_GROUP_WAIT_MS": "300"}
    with refusing(module_database), file.open("wb") as output:
        served.start(output)
        try:
            with ThreadPoolExecutor(4) as pool:
                answers = list(pool.map(lambda second: post(served, second), range(12)))
            named = post(served, 20, **{"Idempotency-Key": "a", "X-Request-ID": "asked-by-name"})
            assert {answer.status_code for answer in (*answers, named)} == {500}
            assert served.client.post("/v1/telemetry", content=NAME, headers={"Content-Type": NDJSON}).is_client_error
            let_in(module_database, anybody=False)
            try:
                queued = post(served, 30)
            finally:
                let_in(module_database, anybody=True)
            assert queued.json()["status"] == "queued", queued.text
            path = f"/v1/uploads/{queued.json()['upload_id']}"
            wait_for(lambda: served.client.get(path).json()["status"] == "failed")
            served.kill_worker()
            served.wait()
            served.end()
        finally:
            served.kill()
            served.client.close()
    written = file.read_text()
    assert NAME not in written
    assert served.key.split("_")[2] not in written
    lines = [json.loads(line) for line in written.splitlines()]
    assert all(isinstance(line, dict) and line["event"] and line["level"] for line in lines)
    assert {"_granian", "_granian.serve"} == {line["logger"] for line in lines if "logger" in line}

    told = {event: [line for line in lines if line["event"] == event] for event in {line["event"] for line in lines}}
    assert all("CheckViolation 23514" in line["reason"] for line in told["group apart"])
    asked = {answer.headers["X-Request-ID"] for answer in answers}
    assert {line["request_id"] for line in told["unexpected"]} == {*asked, "asked-by-name"}
    assert {line["gateway"] for line in told["unexpected"]} == {"one"}
    (later,) = [line for line in told["waiting upload"] if line["level"] == "error"]
    for line in (*told["unexpected"], later):
        assert "table_name=upload constraint_name=no_driver" in line["exception"]
        assert "loader.py:" in line["exception"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError(NAME), "builtins.ValueError"),
        (MalformedBodyError(f"not JSON: {NAME}"), "schemas.errors.MalformedBodyError"),
        (NothingUsableError(NAME, []), "schemas.errors.NothingUsableError"),
        (LandingAwayError("no disk"), "schemas.errors.LandingAwayError: no disk"),
        (psycopg.OperationalError("connection refused\nhint"), "psycopg.OperationalError connection refused"),
        (psycopg.errors.DiskFull(NAME), "psycopg.errors.DiskFull 53100"),
        (
            sa.exc.InternalError("SELECT", {"name": NAME}, psycopg.errors.ReadOnlySqlTransaction(NAME)),
            "sqlalchemy.exc.InternalError of psycopg.errors.ReadOnlySqlTransaction 25006",
        ),
    ],
)
def test_of_an_error_no_value_is_told(error: Exception, told: str) -> None:
    assert logs.told(error) == told
