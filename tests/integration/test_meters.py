"""What Prometheus is told: counts of uploads and rows, times by endpoint, states; bounded, and nothing secret."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql
from receiver_kit import Pusher, World, at, make_world, receiving
from test_receiver_http import served

from ingest import drain, meters
from schemas.local.cluster import free_port

CAN = b"(1767686400.000000) can0 18FEF100#FF0032FFFFFFFFFF\n"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(port: int) -> Samples:
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.status_code == 200
    return {
        (sample.name.removeprefix("beachhead_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0)


def row(second: float, **more: Any) -> dict[str, Any]:
    return {"time": at(second), "vehicle": "truck-01", "speed_kmh": 10} | more


def test_uploads_and_rows_by_what_became_of_them(world: World, tmp_path: Path) -> None:
    port = free_port()
    with receiving(world, metrics_address=f"127.0.0.1:{port}", landing_url=f"file://{tmp_path}") as client:
        both = Pusher(client, world.keys["both"])
        rows = [row(0), row(1), row(2, speed_kmh=-1)]
        assert [both.push(rows)["status"] for _ in range(2)] == ["loaded", "duplicate"]
        both.push([row(1, battery_soc_pct=50), row(0, speed_kmh=60)])
        assert both.post([row(0, time="x")]).status_code == 422
        assert both.post(CAN, "application/octet-stream", path="/v1/can-logs?vehicle=truck-02").status_code == 200
        assert (
            client.request("GET", "/v1/gateway", headers={"Authorization": "Bearer bh_00000000_x"}).status_code == 401
        )
        told = scraped(port)
    uploads = {(dict(labels)["kind"], dict(labels)["status"]): n for (name, labels), n in told.items()
               if name == "uploads_total"}  # fmt: skip
    assert uploads == {
        ("telemetry", "loaded"): 2, ("telemetry", "duplicate"): 1, ("telemetry", "refused"): 1,
        ("can-log", "loaded"): 1,
    }  # fmt: skip
    outcomes = {outcome: value(told, "rows_total", kind="telemetry", outcome=outcome) for outcome in meters.OUTCOMES}
    assert outcomes == {"accepted": 2, "merged": 1, "duplicate": 0, "conflicting": 1, "rejected": 1}
    assert value(told, "rows_late_total", kind="telemetry") == 4
    assert value(told, "rows_total", kind="can-log", outcome="accepted") == 1
    assert value(told, "received_bytes_total") > 3 * len(CAN)
    assert value(told, "request_seconds_count", endpoint="POST /v1/telemetry", status="200") == 3
    assert value(told, "unknown_keys_total") == 1
    assert 0 < value(told, "results_behind_seconds") < 60
    assert value(told, "database_connections_most") == 8
    assert abs(value(told, "gateway_last_seen_timestamp_seconds", pilot="drayage", gateway="both") - time.time()) < 60
    for name in ("uploads_under_way", "uploads_held_bytes", "database_connections_in_use", "waiting_uploads"):
        assert told[name, frozenset()] == 0


def test_nothing_secret_and_few_names(world: World) -> None:
    port = free_port()
    with receiving(world, metrics_address=f"127.0.0.1:{port}") as client:
        both = Pusher(client, world.keys["both"])
        both.push([row(0)])
        for _ in range(3):
            assert both.get(f"/v1/uploads/{uuid.uuid4()}").status_code == 404
            assert both.get(f"/{uuid.uuid4()}").status_code == 404
            client.request(f"X{uuid.uuid4().hex}", "/v1/telemetry")
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        told = scraped(port)
    endpoints = {dict(labels)["endpoint"] for name, labels in told if name == "request_seconds_count"}
    assert endpoints == {"POST /v1/telemetry", "GET /v1/uploads/{upload_id}", "other"}
    for hidden in (*world.keys.values(), world.keys["both"].split("_")[1], "truck-01", "speed_kmh"):
        assert hidden not in text


def test_workers_do_not_collide(world: World) -> None:
    address = f"127.0.0.1:{free_port()}"
    with (
        structlog.testing.capture_logs() as logs,
        receiving(world, metrics_address=address) as first,
        receiving(world, metrics_address=address) as second,
    ):
        Pusher(first, world.keys["both"]).push([row(0)])
        Pusher(second, world.keys["both"]).push([row(1), row(2)])
        ports = [int(entry["address"].split(":")[2].split("/")[0]) for entry in logs if entry["event"] == "metrics"]
        counts = [value(scraped(port), "rows_total", kind="telemetry", outcome="accepted") for port in ports]
        assert counts == [1, 2]
    with receiving(world, metrics_address=address):  # a worker that comes back finds the port free
        assert scraped(ports[0])


def test_workers_of_a_real_server_each_tell_their_own(world: World) -> None:
    address = f"127.0.0.1:{free_port()}"
    with served(world, workers=2, BEACHHEAD_METRICS_ADDRESS=address) as port:
        auth = {"Authorization": f"Bearer {world.keys['both']}"}
        first = int(address.rpartition(":")[2])
        until = time.monotonic() + 30
        while len(told := [one for one in map(attempted, range(first, first + 4)) if one]) < 2:
            assert time.monotonic() < until
            time.sleep(0.2)
        for _ in range(20):
            assert httpx.get(f"http://127.0.0.1:{port}/v1/gateway", headers=auth).status_code == 200
        told = [one for one in map(attempted, range(first, first + 4)) if one]
        counts = [value(one, "request_seconds_count", endpoint="GET /v1/gateway", status="200") for one in told]
        assert sum(counts) == 20


def attempted(port: int) -> Samples | None:
    try:
        return scraped(port)
    except httpx.TransportError:
        return None


def test_without_an_address_there_is_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "start_http_server", lambda *_: pytest.fail("it must not listen"))
    with receiving(world, metrics_address="") as client:
        assert client.request("GET", "/metrics").status_code == 404


def test_a_receiver_receives_where_no_port_is_free(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(*_: Any) -> None:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(meters, "start_http_server", taken)
    with receiving(world, metrics_address="127.0.0.1:9110") as client:
        Pusher(client, world.keys["both"]).push([row(0)])


def test_gateways_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "MOST_GATEWAYS", 2)
    told = meters.Meters()
    for name in "abac":
        told.seen(type("Scope", (), {"pilot": "p", "gateway": name})())
    assert list(told.last_seen()) == [("p", "a"), ("p", "c")]


def test_what_waits_is_told_and_counted_when_it_loads(
    database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "PERIOD_S", 0.1)
    world, port = make_world(database), free_port()

    def connections(allowed: str) -> None:
        with database.server.admin() as admin:
            statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS " + allowed)
            admin.execute(statement.format(sql.Identifier(database.name)))
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [database.name]
            )

    with receiving(world, metrics_address=f"127.0.0.1:{port}", landing_url=f"file://{tmp_path}") as client:
        one = Pusher(client, world.keys["one"])
        assert one.get("/v1/gateway").status_code == 200
        connections("false")
        assert one.post([row(0)]).status_code == 202
        told = scraped(port)
        assert value(told, "waiting_uploads") == 1
        assert value(told, "waiting_bytes") > 0
        assert value(told, "uploads_total", kind="telemetry", status="queued") == 1
        assert value(told, "rows_total", kind="telemetry", outcome="accepted") == 0
        connections("true")
        until = time.monotonic() + 30
        while value(told := scraped(port), "waiting_uploads"):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert value(told, "uploads_total", kind="telemetry", status="loaded") == 1
        assert value(told, "rows_total", kind="telemetry", outcome="accepted") == 1
