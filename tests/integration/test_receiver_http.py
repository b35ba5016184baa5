"""The receiver as a server: problems, limits, keys, compression, documentation; in-process and as a real process."""

from __future__ import annotations

import gzip
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import polars as pl
import pytest
import sqlalchemy as sa
import zstandard
from receiver_kit import Client, Pusher, World, at, receiving

from ingest import store
from ingest.problems import PROBLEMS
from schemas.database import sqlalchemy_url
from schemas.local.cluster import free_port

ROW = {"time": at(0), "vehicle": "truck-01", "speed_kmh": 10}


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == status
    assert {"type", "title", "detail", "retryable"} <= told.keys()
    return told


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer x", "Basic abc", "Bearer bh_00000000_secret", "Bearer bh_ü_x".encode()],
)
def test_401_without_a_known_key(client: Client, authorization: Any) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = client.request("POST", "/v1/telemetry", content=b"[]", headers=headers)
    problem(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_401_with_a_wrong_secret_under_a_known_prefix(both: Pusher) -> None:
    both.push([ROW])
    wrong = Pusher(both.client, both.key[:-1] + ("a" if both.key[-1] != "a" else "b"))
    problem(wrong.post([ROW]), 401)


def test_a_revoked_key_loads_nothing_and_ends_with_the_caches_time(world: World, module_database: Any) -> None:
    engine = sa.create_engine(sqlalchemy_url(module_database.url()), poolclass=sa.NullPool)
    with engine.begin() as connection:
        gateway_id = connection.execute(sa.text("SELECT id FROM gateway WHERE slug = 'both'")).scalar_one()
        key = store.create_key(connection, gateway_id)
    with receiving(world, key_cache_s=0.5) as writing, receiving(world, key_cache_s=0.5) as reading:
        pusher, reader = Pusher(writing, key), Pusher(reading, key)
        receipt = pusher.push([ROW])
        path = f"/v1/uploads/{receipt['upload_id']}"
        assert reader.get(path).status_code == 200
        with engine.begin() as connection:
            store.revoke_key(connection, key.split("_")[1])
        assert reader.get(path).status_code == 200  # nothing is written by this
        problem(pusher.post([{**ROW, "time": at(1)}]), 401)
        problem(pusher.get(path), 401)  # forgotten at once
        problem(reader.post([ROW]), 401)  # not even that it is a duplicate is told
        time.sleep(0.55)
        problem(reader.get(path), 401)
    with module_database.connect() as owner:
        assert owner.execute("SELECT count(*) FROM upload").fetchone() == (1,)
        assert owner.execute("SELECT count(*) FROM telemetry").fetchone() == (1,)
    with engine.connect() as connection:
        listed = {info.prefix: info for info in store.list_keys(connection)}[key.split("_")[1]]
        kept = connection.execute(sa.text("SELECT secret_sha256 FROM api_key")).scalars().all()
    assert listed.revoked_at is not None
    assert listed.last_used_at is not None
    assert key.split("_", 2)[2].encode() not in b"".join(map(bytes, kept))
    engine.dispose()


def test_400_for_a_body_that_is_not_what_it_says(both: Pusher) -> None:
    problem(both.post(b"{"), 400)
    problem(both.post(b"PAR1", "application/vnd.apache.parquet"), 400)
    problem(both.post(b"not gzip", Content_Encoding="gzip"), 400)
    problem(both.post([ROW], path="/v1/telemetry?tz=Mars"), 400)
    problem(both.get("/v1/uploads?limit=none"), 400)


def test_404_405_and_foreign_uploads(both: Pusher) -> None:
    problem(both.get("/v1/nothing"), 404)
    problem(both.client.request("PUT", "/v1/telemetry", headers=both.auth), 405)
    problem(both.get("/v1/uploads/00000000-0000-4000-8000-000000000000"), 404)
    problem(both.get("/v1/uploads/none"), 400)


def test_413_before_and_after_decompression(world: World) -> None:
    with receiving(world, max_body_bytes=1000, max_rows=3, max_fields=10) as client:
        pusher = Pusher(client, world.keys["both"])
        assert "1000" in problem(pusher.post(b" " * 1001), 413)["detail"]
        assert "1000" in problem(pusher.post(gzip.compress(b" " * 100_000), Content_Encoding="gzip"), 413)["detail"]
        problem(pusher.post(zstandard.compress(b" " * 100_000), Content_Encoding="zstd"), 413)
        problem(pusher.post([{"time": at(n)} for n in range(4)]), 413)
        problem(pusher.post([{f"f{n}": 1 for n in range(11)}]), 413)
        assert pusher.push([ROW])["rows"]["accepted"] == 1


def test_415(both: Pusher) -> None:
    problem(both.post(b"x", "text/plain"), 415)
    problem(both.post(b"x", "text/csv; charset=latin-1"), 415)
    problem(both.post([ROW], Content_Encoding="br"), 415)


def test_422_tells_the_rows_at_fault_and_keeps_nothing(both: Pusher, module_database: Any) -> None:
    told = problem(both.post([{"time": "x", "vehicle": "truck-01"}, {"vehicle": "truck-01"}]), 422)
    assert [(e["row"], e["field"]) for e in told["errors"]] == [(1, "time"), (2, "time")]
    problem(both.post(b"[]"), 422)
    problem(both.post(b"time,vehicle\n", "text/csv"), 422)
    with module_database.connect() as owner:
        assert owner.execute("SELECT count(*) FROM upload").fetchone() == (0,)


def test_503_while_the_database_is_away_and_service_comes_back(world: World, module_database: Any) -> None:
    away = World(world.url.rpartition("/")[0] + "/no_such_database", world.keys, world.vehicle_ids)
    with receiving(away) as client:
        answer = Pusher(client, world.keys["both"]).post([ROW])
        assert problem(answer, 503)["retryable"] is True
        assert int(answer.headers["Retry-After"]) > 0
        problem(client.request("GET", "/readyz"), 503)
        assert client.request("GET", "/healthz").status_code == 200
    with receiving(world) as client:
        pusher = Pusher(client, world.keys["both"])
        pusher.push([ROW])
        with module_database.server.admin() as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = %s",
                [module_database.name, "beachhead-ingest"],
            )
        assert pusher.push([{**ROW, "time": at(1)}])["rows"]["accepted"] == 1
        assert client.request("GET", "/readyz").status_code == 200


def test_an_upload_within_which_the_database_dies_waits_for_it(world: World, module_database: Any) -> None:
    """A lock of ours holds the upload up half-way; then its connection is ended."""
    import threading

    with receiving(world) as client, module_database.connect() as owner:
        pusher = Pusher(client, world.keys["both"])
        pusher.push([ROW])
        owner.execute("LOCK TABLE upload_body IN ACCESS EXCLUSIVE MODE")
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(pusher.post([{**ROW, "time": at(1)}])))
        thread.start()
        with module_database.server.admin() as admin:
            ended: list[Any] = []
            until = time.monotonic() + 20
            while not ended and time.monotonic() < until:
                ended = admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
                    " AND application_name = 'beachhead-ingest' AND wait_event_type = 'Lock'",
                    [module_database.name],
                ).fetchall()
                time.sleep(0.02)
        thread.join(30)
        owner.rollback()
        assert answers[0].status_code == 202, answers[0].text
        until = time.monotonic() + 20
        while pusher.get(f"/v1/uploads/{answers[0].json()['upload_id']}").json()["status"] == "queued":
            assert time.monotonic() < until
            time.sleep(0.1)
        assert owner.execute("SELECT count(*) FROM telemetry").fetchone() == (2,)
        assert pusher.push([{**ROW, "time": at(1)}])["status"] == "duplicate"


def test_every_format_and_encoding_loads_the_same(both: Pusher, module_database: Any) -> None:
    rows = pl.DataFrame({"time": [at(n) for n in range(3)], "vehicle": ["truck-01"] * 3, "speed_kmh": [1.0, 2.5, None]})
    parquet, arrow, csv, ndjson = (io.BytesIO() for _ in range(4))
    rows.write_parquet(parquet)
    rows.write_ipc_stream(arrow)
    rows.write_csv(csv)
    rows.write_ndjson(ndjson)
    bodies = {
        "application/vnd.apache.parquet": parquet.getvalue(),
        "application/vnd.apache.arrow.stream": arrow.getvalue(),
        "text/csv": csv.getvalue(),
        "application/x-ndjson": ndjson.getvalue(),
        "application/json": json.dumps(rows.to_dicts()).encode(),
    }
    counts = [both.push(body, kind)["rows"] for kind, body in bodies.items()]
    assert [c["accepted"] for c in counts] == [3, 0, 0, 0, 0]
    assert [c["duplicate"] for c in counts] == [0, 3, 3, 3, 3]
    assert (
        both.push(zstandard.compress(bodies["text/csv"]), "text/csv", Content_Encoding="zstd")["status"] == "duplicate"
    )
    with module_database.connect() as owner:
        assert owner.execute("SELECT count(*), sum(speed_kmh) FROM telemetry").fetchone() == (3, 3.5)


def test_request_ids_are_given_back(client: Client) -> None:
    assert client.request("GET", "/healthz", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    assert len(client.request("GET", "/healthz", headers={"X-Request-ID": "no spaces"}).headers["X-Request-ID"]) == 32


def test_documentation_is_complete_and_needs_no_network(client: Client) -> None:
    page = client.request("GET", "/docs").text
    assert "http://" not in page
    assert "https://" not in page
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
        assert f"/docs/assets/{name}" in page
        assert client.request("GET", f"/docs/assets/{name}").status_code == 200
    document = client.request("GET", "/openapi.json").json()
    upload = document["paths"]["/v1/telemetry"]["post"]
    assert set(upload["requestBody"]["content"]) == {
        "application/json", "application/x-ndjson", "text/csv", "application/vnd.apache.parquet",
        "application/vnd.apache.arrow.stream",
    }  # fmt: skip
    assert set(upload["responses"]) == {"200", "400", "401", "403", "408", "413", "415", "422", "429", "431", "503"}
    assert all("application/problem+json" in upload["responses"][status]["content"] for status in ("400", "422", "503"))
    assert "battery_soc_pct" in document["components"]["schemas"]["Row"]["properties"]


def test_documented_problems_are_those_that_are_answered(client: Client) -> None:
    document = client.request("GET", "/openapi.json").json()
    assert "HTTPValidationError" not in json.dumps(document)
    documented = set()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            failures = {status: told for status, told in operation["responses"].items() if int(status) >= 400}
            assert path == "/healthz" or failures
            for status, told in failures.items():
                (described,) = told["content"].values()
                assert described["schema"] == {"$ref": "#/components/schemas/Problem"}
                documented |= set(described["examples"])
                assert {example["value"]["status"] for example in described["examples"].values()} == {int(status)}
    assert documented == {meaning.slug for meaning in PROBLEMS.values()}


def test_the_examples_of_the_documentation_load(both: Pusher) -> None:
    document = both.get("/openapi.json").json()
    content = document["paths"]["/v1/telemetry"]["post"]["requestBody"]["content"]
    for kind, described in content.items():
        for example in described.get("examples", {}).values():
            value = example["value"]
            body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
            assert both.push(body, kind)["rows"]["rejected"] == 0


@contextmanager
def served(world: World, workers: int = 1, **settings: str) -> Iterator[int]:
    port = free_port()
    program = (
        "import sys; from ingest.server import serve; from schemas.settings import settings;"
        " serve(settings(), host='127.0.0.1', port=int(sys.argv[1]), workers=int(sys.argv[2]))"
    )
    environment = os.environ | {"BEACHHEAD_INGEST_URL": world.url, **settings}
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(port), str(workers)], env=environment, stderr=subprocess.PIPE
    )
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                httpx.get(f"http://127.0.0.1:{port}/healthz")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        served.log = process.communicate(timeout=30)[1].decode()  # type: ignore[attr-defined]


def test_a_real_server(world: World) -> None:
    key = world.keys["both"]
    with served(world, BEACHHEAD_BODY_TIMEOUT_S="0.5", BEACHHEAD_MAX_BODY_BYTES="200000") as port:
        address = f"http://127.0.0.1:{port}"
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        receipt = httpx.post(f"{address}/v1/telemetry", content=json.dumps([ROW]), headers=headers).json()
        assert receipt["rows"]["accepted"] == 1
        assert httpx.get(f"{address}/readyz").status_code == 200

        def chunks() -> Iterator[bytes]:
            yield from (b" " * 50_000 for _ in range(10))

        assert httpx.post(f"{address}/v1/telemetry", content=chunks(), headers=headers).status_code == 413
        with socket.create_connection(("127.0.0.1", port)) as stalled:
            stalled.sendall(
                f"POST /v1/telemetry HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
                "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n[".encode()
            )
            stalled.settimeout(10)
            assert b" 408 " in stalled.recv(100)
    lines = [json.loads(line) for line in served.log.splitlines() if line.startswith("{")]  # type: ignore[attr-defined]
    uploads = [line for line in lines if line["event"] == "upload"]
    assert uploads[0]["upload_id"] == receipt["upload_id"]
    assert uploads[0]["request_id"]
    assert key not in served.log  # type: ignore[attr-defined]
    assert key.split("_", 2)[2] not in served.log  # type: ignore[attr-defined]
    assert "speed_kmh" not in served.log  # type: ignore[attr-defined]
