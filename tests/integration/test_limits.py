"""What the receiver lets in: rates per gateway, uploads at once, slow bodies, large headers, nested JSON."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

import httpx
import pytest
from receiver_kit import Client, Pusher, World, at, receiving
from test_receiver_http import problem, served

ROW = {"time": at(0), "vehicle": "truck-01", "speed_kmh": 10}
JSON = {"Content-Type": "application/json"}
CAN_PATH = "/v1/can-logs?vehicle=truck-01"


def padded(size_bytes: int) -> bytes:
    return json.dumps([ROW]).encode().rjust(size_bytes)


def nothing_is_held(client: Client) -> bool:
    gates = client.app.state.gates
    return (gates.uploads, gates.held_bytes) == (0, 0)


def test_requests_of_one_gateway_are_limited_and_those_of_others_are_not(world: World) -> None:
    with receiving(world, gateway_requests_per_s=1, gateway_burst_requests=2) as client:
        both, one = (Pusher(client, world.keys[name]) for name in ("both", "one"))
        assert [both.get("/v1/gateway").status_code for _ in range(2)] == [200, 200]
        answer = both.post([ROW])
        told = problem(answer, 429)
        assert (told["type"], told["retryable"]) == ("urn:beachhead:problem:rate-limit", True)
        assert answer.headers["Retry-After"] == "1"
        assert one.get("/v1/gateway").status_code == 200
        time.sleep(1.05)
        assert both.push([ROW])["status"] == "loaded"
        assert nothing_is_held(client)


def test_bytes_of_one_gateway_are_limited_after_what_was_begun(world: World) -> None:
    with receiving(world, gateway_bytes_per_s=1000, gateway_burst_bytes=1000) as client:
        both, one = (Pusher(client, world.keys[name]) for name in ("both", "one"))
        assert both.push(padded(3000))["status"] == "loaded"
        answer = both.post(padded(3000))
        problem(answer, 429)
        assert answer.headers["Retry-After"] in ("2", "3")
        part = client.request("PUT", "/v1/can-logs/parts/x?offset=0", content=b"x", headers=both.auth)
        problem(part, 429)
        problem(both.post(b"x", "application/octet-stream", path=CAN_PATH), 429)
        assert both.get("/v1/gateway").json()["max_bytes_per_s"] == 1000
        assert one.push(padded(3000))["status"] == "loaded"
        time.sleep(2.1)
        assert both.push(padded(3000))["status"] == "duplicate"


def posting(client: Client, key: str, body: AsyncIterator[bytes], path: str = "/v1/telemetry") -> Any:
    headers = {"Authorization": f"Bearer {key}", **JSON}
    return client.portal.start_task_soon(partial(client._request, "POST", path, content=body, headers=headers))


def test_uploads_at_once_are_bounded(world: World) -> None:
    let_go = asyncio.Event()

    async def held_up() -> AsyncIterator[bytes]:
        yield b"["
        await let_go.wait()
        yield json.dumps(ROW).encode() + b"]"

    with receiving(world, max_uploads_at_once=1) as client:
        one = Pusher(client, world.keys["one"])
        first = posting(client, world.keys["both"], held_up())
        until = time.monotonic() + 10
        while client.app.state.gates.uploads == 0:
            assert time.monotonic() < until
            time.sleep(0.01)
        answer = one.post([ROW])
        assert problem(answer, 503)["retryable"]
        assert int(answer.headers["Retry-After"]) >= 1
        assert one.get("/v1/gateway").status_code == 200
        client.portal.call(let_go.set)
        assert first.result(10).json()["status"] == "loaded"
        assert one.push([ROW])["status"] == "loaded"
        assert nothing_is_held(client)


def test_bytes_in_memory_are_bounded(world: World) -> None:
    with receiving(world, max_held_bytes=2000) as client:
        both = Pusher(client, world.keys["both"])
        assert problem(both.post(padded(3000)), 503)["type"].endswith("overloaded")
        assert [both.post(padded(1900)).status_code for _ in range(2)] == [200, 200]
        assert nothing_is_held(client)


@pytest.mark.parametrize("path", ["/v1/telemetry", CAN_PATH])
def test_a_body_that_drips_is_ended(world: World, path: str) -> None:
    async def dripping() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" "
            await asyncio.sleep(0.1)

    with receiving(world, body_timeout_s=0.4, min_body_bytes_per_s=1000) as client:
        began = time.monotonic()
        answer = posting(client, world.keys["both"], dripping(), path).result(20)
        assert problem(answer, 408)["retryable"]
        assert time.monotonic() - began < 3
        assert nothing_is_held(client)


def test_a_body_that_comes_slowly_but_steadily_is_taken(world: World) -> None:
    async def steady() -> AsyncIterator[bytes]:
        for piece in (*[b" " * 300] * 8, padded(300)):
            yield piece
            await asyncio.sleep(0.1)

    with receiving(world, body_timeout_s=0.4, min_body_bytes_per_s=1000) as client:
        assert posting(client, world.keys["both"], steady()).result(20).json()["status"] == "loaded"


def test_headers_are_limited(world: World) -> None:
    with receiving(world, max_header_bytes=2000) as client:
        both = Pusher(client, world.keys["both"])
        problem(both.post([ROW], X_Padding="x" * 2000), 431)
        assert both.post([ROW], X_Padding="x" * 1000).status_code == 200


def test_a_real_server_survives_huge_headers(world: World) -> None:
    with served(world) as port:
        address = f"http://127.0.0.1:{port}"
        auth = {"Authorization": f"Bearer {world.keys['both']}"}
        assert httpx.get(f"{address}/v1/gateway", headers=auth | {"X": "x" * 20_000}).status_code == 431
        with suppress(httpx.TransportError):  # it may hang up as well
            assert 400 <= httpx.get(f"{address}/v1/gateway", headers=auth | {"X": "x" * 2_000_000}).status_code < 500
        assert httpx.get(f"{address}/v1/gateway", headers=auth).status_code == 200


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "text/csv"])
def test_a_row_longer_than_any_measurement_is_too_large(client: Client, world: World, content_type: str) -> None:
    note = b"n" * 2**20
    row = b'{"time":"%s","vehicle":"truck-01","note":"%s"}' % (at(0).encode(), note)
    body = {
        "application/x-ndjson": row,
        "text/csv": b"time,vehicle,note\n%s,truck-01,%s\n" % (at(0).encode(), note),
    }[content_type]
    answer = Pusher(client, world.keys["both"]).post(body, content_type)
    assert (answer.status_code, answer.json()["detail"]) == (413, "a row of more than 1048576 bytes")


@pytest.mark.parametrize("depth", [100, *range(980, 992), 5000, 150_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_rows_that_nest_too_deeply_are_rejected(
    client: Client, world: World, depth: int, opening: bytes, closing: bytes
) -> None:
    both = Pusher(client, world.keys["both"])
    deep = opening * depth + b"1" + closing * depth
    row = b'{"time":"%s","vehicle":"truck-01","speed_kmh":1,"x":%s}' % (at(depth).encode(), deep)
    began = time.monotonic()
    good = b'{"time":"%s","vehicle":"truck-01","speed_kmh":1}' % at(depth).encode()
    for body, content_type in ((b"[%s,%s]", "application/json"), (b"%s\n%s", "application/x-ndjson")):
        receipt = both.push(body % (good, row), content_type)
        assert receipt["rows"]["rejected"] == 1
        (reject,) = receipt["rejects"]
        assert (reject["row"], reject["field"], reject["reason"]) == (2, None, "nested deeper than 32 levels")
        assert receipt["rows"]["received"] == 2
    assert both.post(b"[" + row + b"]").status_code == 422
    assert both.post(row, "application/x-ndjson").status_code == 422
    assert both.post(deep).status_code in (400, 422)
    assert both.post(deep, "application/x-ndjson").status_code in (200, 422)
    assert time.monotonic() - began < 20
