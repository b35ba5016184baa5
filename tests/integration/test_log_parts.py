"""Raw CAN logs in parts: the protocol, on the real app and database."""

from __future__ import annotations

import datetime as dt
import fcntl
import gzip
import hashlib
import os
import random
import struct
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from receiver_kit import T0, Pusher, World, empty, make_world, receiving

EPOCH_S = int(T0.timestamp())
QUERY = "vehicle=truck-01"
OCTETS = "application/octet-stream"


def speeds(seconds: int, seed: int = 1, since_s: int = 0) -> bytes:
    """A candump log: the vehicle's speed once a second, all of them different."""
    dice = random.Random(seed)
    frames = ((EPOCH_S + since_s + n, struct.pack("<H", dice.randrange(25_000)).hex().upper()) for n in range(seconds))
    return "".join(f"({time}.000000) can0 18FEF100#FF{raw}FFFFFFFFFF\n" for time, raw in frames).encode()


LOG = speeds(200)
SHA256 = hashlib.sha256(LOG).hexdigest()


class Parted:
    """One gateway's logs in parts."""

    def __init__(self, pusher: Pusher) -> None:
        self.pusher = pusher

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> httpx.Response:
        return self.pusher.client.request(
            method, f"/v1/can-logs/parts{path}", content=body, headers={**self.pusher.auth, **headers}
        )

    def put(self, name: str, offset: int, body: bytes, more: str = "") -> httpx.Response:
        return self.call("PUT", f"/{name}?offset={offset}{more}", body)

    def send(self, name: str, body: bytes = LOG, size_bytes: int = 3000) -> None:
        """All parts, which must be taken."""
        for offset in range(0, len(body), size_bytes):
            answer = self.put(name, offset, body[offset : offset + size_bytes])
            assert answer.status_code == 200, answer.text

    def complete(self, name: str, query: str = QUERY, **headers: str) -> httpx.Response:
        return self.call("POST", f"/{name}/complete?{query}", **headers)

    def receipt(self, name: str, query: str = QUERY) -> dict[str, Any]:
        answer = self.complete(name, query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def receipt_or_queued(self, name: str) -> dict[str, Any]:
        answer = self.complete(name)
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    def durable_bytes(self, name: str) -> int | None:
        answer = self.call("GET", f"/{name}")
        return answer.json()["durable_bytes"] if answer.status_code == 200 else None


def problem(answer: httpx.Response, status: int, words: str, expected_offset: int | None = None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    told = answer.json()
    assert words in told["detail"]
    assert told.get("expected_offset") == expected_offset
    return told


def files(folder: Path) -> list[str]:
    """What lies in the landing store, locks aside."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != "lock")


def same(receipt: dict[str, Any]) -> dict[str, Any]:
    """What two receipts of equal uploads share."""
    own = {"upload_id", "received_at", "server_time", "rejects_url"}
    return {name: value for name, value in receipt.items() if name not in own}


@pytest.fixture(scope="module")
def made(module_database: Any) -> World:
    return make_world(module_database)


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    return tmp_path / "landing"


@pytest.fixture
def one(module_database: Any, made: World, landing: Path) -> Iterator[Parted]:
    empty(module_database)
    with receiving(made, landing_url=f"file://{landing}") as client:
        yield Parted(Pusher(client, made.keys["one"]))


def test_parts_give_the_receipt_of_the_whole(one: Parted, landing: Path, module_database: Any) -> None:
    one.send("drive-1")
    state = one.call("GET", "/drive-1").json()
    assert (state["durable_bytes"], state["finished"], state["upload_id"]) == (len(LOG), False, None)
    receipt = one.receipt("drive-1", f"{QUERY}&sha256={SHA256}")
    assert receipt["status"] == "loaded"
    kept = landing / "raw" / SHA256[:2] / SHA256
    assert kept.read_bytes() == LOG
    assert kept.stat().st_nlink == 1
    assert not [name for name in files(landing / "parts") if "finished" not in name]
    empty(module_database)
    whole = one.pusher.post(LOG, OCTETS, path=f"/v1/can-logs?{QUERY}").json()
    assert same(receipt) == same(whole)


def test_a_compressed_log_is_kept_as_it_was_sent(one: Parted, landing: Path) -> None:
    packed = gzip.compress(LOG, mtime=0)
    one.send("packed", packed, 50)
    receipt = one.receipt("packed", f"{QUERY}&sha256={hashlib.sha256(packed).hexdigest().upper()}")
    assert receipt["sha256"] == SHA256
    assert (landing / "raw" / SHA256[:2] / SHA256).read_bytes() == packed


def test_the_same_part_again_changes_nothing(one: Parted) -> None:
    for _ in range(2):
        assert one.put("a", 0, LOG[:100]).json()["durable_bytes"] == 100
    assert one.put("a", 100, LOG[100:150]).json()["durable_bytes"] == 150
    assert one.put("a", 100, LOG[100:150]).json()["durable_bytes"] == 150
    # also when it is cut in another way
    assert one.put("a", 20, LOG[20:130]).json()["durable_bytes"] == 150
    assert one.put("a", 150, b"").json()["durable_bytes"] == 150
    one.put("a", 150, LOG[150:])
    assert one.receipt("a", f"{QUERY}&sha256={SHA256}")["rows"]["accepted"] == 200


def test_gaps_overlaps_and_other_bytes_are_told(one: Parted) -> None:
    problem(one.put("a", 10, LOG[10:20]), 409, "0 bytes are kept", 0)
    assert one.durable_bytes("a") is None
    one.put("a", 0, LOG[:100])
    problem(one.put("a", 101, b"x"), 409, "offset=100", 100)
    problem(one.put("a", 50, LOG[50:101]), 409, "offset=100", 100)
    problem(one.put("a", 50, b"x" * 50), 409, "other bytes", 100)
    assert one.durable_bytes("a") == 100


def test_an_empty_part_begins_nothing(one: Parted, landing: Path) -> None:
    assert one.put("a", 0, b"").json()["durable_bytes"] == 0
    assert files(landing) == []
    problem(one.complete("a"), 404, "offset=0")


def test_a_part_that_changed_on_its_way_is_not_kept(one: Parted) -> None:
    told = problem(one.put("a", 0, LOG[:100], f"&sha256={SHA256}"), 422, "send them again")
    assert told["retryable"] is True
    assert one.durable_bytes("a") is None
    right = hashlib.sha256(LOG[:100]).hexdigest()
    assert one.put("a", 0, LOG[:100], f"&sha256={right}").json()["durable_bytes"] == 100


def test_another_sha256_of_the_whole_is_refused_and_the_parts_stay(one: Parted) -> None:
    one.send("a")
    told = problem(one.complete("a", f"{QUERY}&sha256={'0' * 64}"), 422, SHA256)
    assert "DELETE" in told["detail"]
    assert told["retryable"] is False
    assert one.durable_bytes("a") == len(LOG)
    assert one.receipt("a")["status"] == "loaded"


def test_complete_twice_is_one_receipt(one: Parted) -> None:
    one.send("a")
    first, again = one.receipt("a"), one.receipt("a", f"{QUERY}&sha256={SHA256}")
    assert (first["status"], again["status"]) == ("loaded", "duplicate")
    assert {**again, "status": "loaded", "server_time": first["server_time"]} == first
    state = one.call("GET", "/a").json()
    assert (state["finished"], state["upload_id"]) == (True, first["upload_id"])
    assert state["durable_bytes"] == len(LOG)


def test_a_complete_log_takes_no_part_until_it_is_deleted(one: Parted) -> None:
    one.send("a")
    receipt = one.receipt("a")
    problem(one.put("a", 0, LOG[:10]), 409, receipt["upload_id"])
    problem(one.complete("a", f"{QUERY}&channel=can7"), 409, "DELETE")
    problem(one.complete("a", f"{QUERY}&sha256={'0' * 64}"), 422, SHA256)
    assert one.call("DELETE", "/a").status_code == 204
    one.send("a", speeds(3, 70))
    assert one.receipt("a")["upload_id"] != receipt["upload_id"]


def test_an_upload_that_was_taken_back_stays_so(one: Parted, module_database: Any) -> None:
    one.send("a")
    first = one.receipt("a")
    with module_database.connect() as owner:
        owner.execute("UPDATE upload SET status = 'void', receipt = receipt || '{\"status\": \"void\"}'")
    again = one.receipt("a")
    assert (again["status"], again["upload_id"]) == ("duplicate", first["upload_id"])
    assert "taken back" in again["warnings"][-1]
    assert again["warnings"] == one.pusher.post(LOG, OCTETS, path=f"/v1/can-logs?{QUERY}").json()["warnings"]


def test_a_log_that_the_database_has_forgotten_can_be_sent_again(one: Parted, module_database: Any) -> None:
    one.send("a")
    first = one.receipt("a")
    empty(module_database)
    problem(one.complete("a"), 404, first["upload_id"])
    one.send("a")
    assert one.receipt("a")["status"] == "loaded"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"hello\n" * 100, 415, "not a CAN log"),
        (b"(9999999999.000000) can0 18FEF100#FF0032FFFFFFFFFF\n", 422, "future"),
        (b"\x1f\x8bno gzip", 400, "cannot be read"),
        (gzip.compress(bytes(2**20)), 413, "unpacked"),
    ],
)
def test_what_cannot_be_used_is_refused_as_a_whole_log_is_and_goes(
    made: World, landing: Path, body: bytes, status: int, words: str
) -> None:
    with receiving(made, landing_url=f"file://{landing}", max_log_bytes=2**19) as client:
        one = Parted(Pusher(client, made.keys["one"]))
        one.send("a", body)
        told = problem(one.complete("a"), status, words)
        assert not files(landing / "parts")
        assert one.durable_bytes("a") is None
        assert told == one.pusher.post(body, OCTETS, path=f"/v1/can-logs?{QUERY}").json()


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        (QUERY, 422, "start="),
        ("vehicle=bus-01&start=2026-01-06T08:00:00Z", 403, "not a vehicle"),
        (f"{QUERY}&tz=Mars/Base", 400, "time zone"),
        (f"{QUERY}&format=nonsense", 415, "must be one of"),
        (f"{QUERY}&start=2026-01-06T08:00:00", 400, "offset"),
    ],
)
def test_a_wrong_question_costs_no_parts(one: Parted, query: str, status: int, words: str) -> None:
    body = b"(0.000000) can0 18FEF100#FF0032FFFFFFFFFF\n"
    one.send("a", body)
    problem(one.complete("a", query), status, words)
    assert one.durable_bytes("a") == len(body)
    assert one.receipt("a", f"{QUERY}&start=2026-01-06T08:00:00Z")["status"] == "loaded"


def test_gateways_share_nothing(one: Parted, made: World) -> None:
    other = Parted(Pusher(one.pusher.client, made.keys["bus"]))
    one.send("log", LOG[:500])
    assert other.durable_bytes("log") is None
    other.send("log", speeds(2))
    assert (one.durable_bytes("log"), other.durable_bytes("log")) == (500, len(speeds(2)))
    other.call("DELETE", "/log")
    assert one.durable_bytes("log") == 500


@pytest.mark.parametrize("name", ["..", ".", "...", "~", "-rf", "a.0", "CON", "x" * 100])
def test_names_are_never_paths(one: Parted, landing: Path, name: str) -> None:
    quoted = name.replace(".", "%2E")
    one.put(quoted, 0, LOG[:10])
    assert one.durable_bytes(quoted) == 10
    assert files(landing)[0].rpartition("/")[2] == f"{name.encode().hex()}.10"
    one.put(quoted.swapcase().replace("%2e", "%2E"), 0, LOG[:20])
    assert one.durable_bytes(quoted) in (10, 20)


@pytest.mark.parametrize("name", ["a%2Fb", "..%2F..%2Fx", "a%00b", "ü", "a b", "x" * 101, "a%0Ab", "a%0A"])
def test_other_names_are_refused(one: Parted, landing: Path, name: str) -> None:
    assert one.put(name, 0, b"x").status_code in (400, 404, 405)
    assert files(landing) == []


def test_names_that_differ_in_case_are_two(one: Parted) -> None:
    one.put("log", 0, LOG[:10])
    one.put("LOG", 0, LOG[:20])
    assert (one.durable_bytes("log"), one.durable_bytes("LOG")) == (10, 20)


def test_delete_gives_a_log_up(one: Parted, landing: Path) -> None:
    one.send("a")
    assert one.call("DELETE", "/a").status_code == 204
    assert one.call("DELETE", "/a").status_code == 204
    assert files(landing) == []
    problem(one.call("GET", "/a"), 404, "offset=0")


def test_unfinished_logs_are_listed(one: Parted) -> None:
    one.put("b", 0, LOG[:20])
    one.put("a", 0, LOG[:10])
    listed = one.call("GET", "").json()["uploads"]
    assert [(log["name"], log["durable_bytes"]) for log in listed] == [("a", 10), ("b", 20)]
    expires_at = [dt.datetime.fromisoformat(log["expires_at"]) for log in listed]
    week = dt.timedelta(days=7)
    assert all(abs(at - dt.datetime.now(dt.UTC) - week) < dt.timedelta(minutes=1) for at in expires_at)


def test_without_a_key_nothing_is_told(one: Parted) -> None:
    client = one.pusher.client
    for method, path in (("PUT", "/a?offset=0"), ("GET", "/a"), ("GET", ""), ("DELETE", "/a"), ("POST", "/a/complete")):
        assert client.request(method, f"/v1/can-logs/parts{path}").status_code == 401


def test_an_idempotency_key_is_that_of_the_whole(one: Parted) -> None:
    one.send("a")
    first = one.complete("a", **{"Idempotency-Key": "k"}).json()
    one.send("b")
    again = one.complete("b", **{"Idempotency-Key": "k"}).json()
    assert (again["status"], again["upload_id"]) == ("duplicate", first["upload_id"])
    one.send("c", speeds(5, 30))
    problem(one.complete("c", **{"Idempotency-Key": "k"}), 422, "Idempotency-Key")
    assert one.durable_bytes("c")


def test_parts_under_a_revoked_key_become_no_log(one: Parted, module_database: Any) -> None:
    one.send("a")
    mine = [one.pusher.key.split("_")[1]]
    with module_database.connect() as owner:
        owner.execute("UPDATE api_key SET revoked_at = now() WHERE prefix = %s", mine)
    try:
        assert one.complete("a").status_code == 401
    finally:
        with module_database.connect() as owner:
            owner.execute("UPDATE api_key SET revoked_at = NULL WHERE prefix = %s", mine)
    # Another key of the gateway may go on with them.
    assert one.receipt("a")["status"] == "loaded"


# --- limits ---------------------------------------------------------------------------------------


def test_limits_of_logs_and_gateways(made: World, module_database: Any, landing: Path) -> None:
    empty(module_database)
    limits = {"max_log_bytes": 1000, "max_unfinished_logs": 2, "max_unfinished_bytes": 1500, "max_body_bytes": 600}
    with receiving(made, landing_url=f"file://{landing}", **limits) as client:
        one, bus = Parted(Pusher(client, made.keys["one"])), Parted(Pusher(client, made.keys["bus"]))
        problem(one.put("a", 0, b"x" * 601), 413, "600")
        one.send("a", b"x" * 1000, 500)
        problem(one.put("a", 1000, b"x"), 413, "1000")
        assert one.put("b", 0, b"x" * 500).status_code == 200
        told = problem(one.put("b", 500, b"x"), 429, "1500")
        assert told["retryable"] is True
        problem(one.put("c", 0, b"x"), 429, "2 logs are unfinished")
        assert int(one.put("c", 0, b"x").headers["Retry-After"]) > 0
        assert bus.put("c", 0, b"x").status_code == 200
        one.call("DELETE", "/a")
        assert one.put("c", 0, b"x").status_code == 200
        info = client.request("GET", "/v1/gateway", headers=one.pusher.auth).json()
        assert (info["max_log_bytes"], info["max_part_bytes"]) == (1000, 600)


def age(landing: Path, days: float) -> None:
    """Make everything older."""
    then = time.time() - days * 86_400
    for path in landing.rglob("*"):
        os.utime(path, (then, then))


def test_unfinished_logs_expire_at_start_and_when_another_begins(
    one: Parted, made: World, landing: Path, module_database: Any
) -> None:
    bus = Parted(Pusher(one.pusher.client, made.keys["bus"]))
    one.send("done")
    one.receipt("done")
    one.put("old", 0, LOG[:10])
    age(landing, days=6.9)
    bus.put("x", 0, LOG[:10])
    assert one.durable_bytes("old") == 10
    age(landing, days=7.1)
    bus.put("y", 0, LOG[:10])
    assert one.durable_bytes("old") is None
    assert bus.durable_bytes("x") is None
    assert bus.durable_bytes("y") == 10
    assert one.receipt("done")["status"] == "duplicate"
    one.put("old", 0, LOG[:10])
    age(landing, days=91)
    with receiving(made, landing_url=f"file://{landing}") as client:
        again = Parted(Pusher(client, made.keys["one"]))
        assert [again.durable_bytes(name) for name in ("old", "done")] == [None, None]
    assert not files(landing / "parts")


def test_expired_logs_do_not_count(made: World, landing: Path) -> None:
    with receiving(made, landing_url=f"file://{landing}", max_unfinished_logs=1) as client:
        one = Parted(Pusher(client, made.keys["one"]))
        one.put("a", 0, b"x")
        assert one.put("b", 0, b"x").status_code == 429
        age(landing, days=7.1)
        assert one.put("b", 0, b"x").status_code == 200


# --- at the same time -----------------------------------------------------------------------------


def at_once(*calls: Any) -> list[Any]:
    """What each call gives, all begun together."""
    answers: list[Any] = [None] * len(calls)
    begin = threading.Barrier(len(calls))

    def run(n: int) -> None:
        begin.wait()
        answers[n] = calls[n]()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def test_parts_at_the_same_time_from_two_receivers_add_up(made: World, landing: Path, module_database: Any) -> None:
    empty(module_database)
    url = f"file://{landing}"
    with receiving(made, landing_url=url) as first, receiving(made, landing_url=url) as second:
        two = [Parted(Pusher(client, made.keys["one"])) for client in (first, second)]
        for offset in range(0, len(LOG), 1000):
            part = LOG[offset : offset + 1000]
            answers = at_once(*(partial(one.put, "a", offset, part) for one in two * 3))
            assert {answer.status_code for answer in answers} == {200}
            assert {answer.json()["durable_bytes"] for answer in answers} == {min(offset + 1000, len(LOG))}
        receipts = at_once(*(partial(complete_patiently, one, "a") for one in two))
        assert sorted(receipt["status"] for receipt in receipts) == ["duplicate", "loaded"]
        assert len({receipt["upload_id"] for receipt in receipts}) == 1


def complete_patiently(one: Parted, name: str) -> dict[str, Any]:
    """Complete; while another does, ask again."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        answer = one.complete(name, f"{QUERY}&sha256={SHA256}")
        if answer.status_code == 200:
            return answer.json()
        assert problem(answer, 503, "is being read")["type"].endswith(":busy")
        time.sleep(0.05)
    raise TimeoutError(name)


def test_while_a_log_is_read_nobody_changes_it(one: Parted, landing: Path) -> None:
    one.send("a")
    (path,) = (landing / "parts").glob("*/*.*")
    with path.open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_EX)
        for answer in (one.put("a", len(LOG), b"x"), one.complete("a"), one.call("DELETE", "/a")):
            assert int(answer.headers["Retry-After"]) > 0
            assert problem(answer, 503, "ask again")["retryable"] is True
        assert one.durable_bytes("a") == len(LOG)
        age(landing, days=8)
        one.put("b", 0, b"x")
    assert one.durable_bytes("a") == len(LOG)
    assert one.receipt("a")["status"] == "loaded"


# --- what fails half-way --------------------------------------------------------------------------


def test_while_the_database_is_away_a_complete_log_waits(one: Parted, made: World, landing: Path) -> None:
    one.send("a")
    receiver = one.pusher.client.app.state.receiver
    engine = receiver._engine
    with receiving(World(made.url.rpartition("/")[0] + "/none", made.keys, {})) as away:
        receiver._engine = away.app.state.receiver._engine
        try:
            first, again = one.complete("a"), one.complete("a")
        finally:
            receiver._engine = engine
    assert (first.status_code, first.json()["status"]) == (202, "queued")
    assert (again.status_code, again.json()["upload_id"]) == (202, first.json()["upload_id"])
    assert not list(landing.glob("parts/*/*.*"))
    until = time.monotonic() + 30
    while (receipt := one.receipt_or_queued("a"))["status"] == "queued" and time.monotonic() < until:
        time.sleep(0.1)
    assert (receipt["status"], receipt["upload_id"]) == ("duplicate", first.json()["upload_id"])
    assert receipt["rows"]["accepted"] == 200


def test_what_a_kill_left_behind_the_durable_bytes_does_not_count(one: Parted, landing: Path) -> None:
    one.put("a", 0, LOG[:100])
    (path,) = (landing / "parts").glob("*/*.*")
    with path.open("ab") as file:
        file.write(b"half a part")
    assert one.durable_bytes("a") == 100
    assert one.put("a", 100, LOG[100:300]).json()["durable_bytes"] == 300
    (path,) = (landing / "parts").glob("*/*.*")
    with path.open("ab") as file:
        file.write(b"half a part again")
    one.put("a", 300, LOG[300:])
    (path,) = (landing / "parts").glob("*/*.*")
    with path.open("ab") as file:
        file.write(b"and again, before it is complete")
    assert one.receipt("a", f"{QUERY}&sha256={SHA256}")["can"]["lines_rejected"] == 0
    assert (landing / "raw" / SHA256[:2] / SHA256).read_bytes() == LOG


def test_a_kill_before_the_first_byte_begins_nothing(one: Parted, landing: Path) -> None:
    one.put("a", 0, LOG[:100])
    (path,) = (landing / "parts").glob("*/*.*")
    path.rename(path.with_suffix(".0"))
    assert one.durable_bytes("a") == 0
    problem(one.complete("a"), 404, "offset=0")
    one.send("a")
    assert one.receipt("a", f"{QUERY}&sha256={SHA256}")["status"] == "loaded"


def test_a_log_that_was_kept_but_not_loaded_is_not_added_to(one: Parted, landing: Path) -> None:
    """The kept file and the parts are one file on disk then."""
    one.send("a")
    (path,) = (landing / "parts").glob("*/*.*")
    kept = landing / "raw" / "kept"
    kept.parent.mkdir()
    os.link(path, kept)
    problem(one.put("a", len(LOG), b"x"), 409, "complete")
    assert kept.read_bytes() == LOG
    assert one.receipt("a")["status"] == "loaded"
