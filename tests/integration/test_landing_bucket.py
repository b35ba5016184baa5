"""Receivers whose landing store is a bucket: logs kept, read anew, waiting; a bucket that is away or shared."""

from __future__ import annotations

import gzip
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from receiver_kit import T0, Pusher, World, at, make_world, receiving

from ingest import drain, s3
from ingest.corrections import Corrections
from ingest.landing import landing_of
from ingest.objects import Objects
from schemas.database import engine
from schemas.errors import NotFoundError
from schemas.settings import Settings
from tests.s3_server import S3Server

EPOCH_S = int(T0.timestamp())
PATH, OCTETS, NDJSON = "/v1/can-logs?vehicle=truck-01", "application/octet-stream", "application/x-ndjson"
PATIENCE_S = 30


def log_of(*speeds: float, first: int = 0) -> bytes:
    data = (b"\xff" + struct.pack("<H", round(speed * 256)) + b"\xff" * 5 for speed in speeds)
    lines = (f"({EPOCH_S + n}.000000) can0 18FEF100#{one.hex().upper()}\n" for n, one in enumerate(data, start=first))
    return "".join(lines).encode()


def row(speed: float, second: int = 0) -> bytes:
    return b'{"time": "%s", "vehicle": "truck-01", "speed_kmh": %f}' % (at(second).encode(), speed)


def wait_for(is_done: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_done():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.1)


@dataclass(frozen=True)
class Place:
    """A receiver with its scratch folder, and its bucket."""

    database: Any
    world: World
    server: S3Server
    settings: dict[str, Any]
    pusher: Pusher

    @property
    def objects(self) -> Objects:
        return landing_of(Settings(_env_file=None, **self.settings)).objects

    def keys(self, sha256: str) -> list[str]:
        return [entry.key for entry in self.objects.under(f"raw/{sha256[:2]}")]

    def log(self, body: bytes) -> dict[str, Any]:
        answer = self.pusher.post(body, OCTETS, path=PATH)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def corrections(self) -> Corrections:
        return Corrections(engine(self.database.url()), Settings(_env_file=None, **self.settings))

    def speeds(self) -> list[float]:
        with self.database.connect() as owner:
            return [speed for (speed,) in owner.execute("SELECT speed_kmh FROM telemetry ORDER BY time")]

    def database_is(self, *, there: bool) -> None:
        with self.database.server.admin() as admin:
            name = sql.Identifier(self.database.name)
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(name, sql.Literal(there)))
            if not there:
                query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
                admin.execute(query, [self.database.name])

    def scratch_is_empty(self) -> bool:
        return not [path for path in Path(self.settings["landing_scratch"]).rglob("*") if path.is_file()]


@pytest.fixture
def place(database: Any, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(drain, "PERIOD_S", 0.1)
    world = make_world(database)
    settings = s3_server.settings(f"place/{uuid.uuid4().hex}", tmp_path / "scratch")
    with receiving(world, **settings, key_cache_s=0) as client:
        pusher = Pusher(client, world.keys["one"])
        assert pusher.get("/v1/gateway").status_code == 200
        yield Place(database, world, s3_server, settings, pusher)


def test_a_log_is_kept_decoded_anew_taken_back_and_loaded_again(place: Place) -> None:
    body = log_of(*range(40, 100))
    receipt = place.log(gzip.compress(body))
    id_ = uuid.UUID(receipt["upload_id"])
    (key,) = place.keys(receipt["sha256"])
    assert gzip.decompress(place.objects.read(key)) == body
    signals = f"signals/{receipt['upload_id'][:2]}"
    (before,) = place.objects.under(signals)
    corrections = place.corrections()
    assert list(corrections.redecode([id_])) == [1]
    (after,) = place.objects.under(signals)
    assert after.key != before.key
    assert place.speeds() == list(range(40, 100))
    corrections.void(id_, "a test drive")
    assert place.speeds() == []
    assert place.keys(receipt["sha256"]) == [key]
    corrections.retry(id_)
    assert place.speeds() == list(range(40, 100))
    assert place.scratch_is_empty()
    corrections.engine.dispose()


def test_a_log_that_somebody_took_from_the_bucket_is_said_to_be_gone(place: Place) -> None:
    receipt = place.log(log_of(50, 51))
    place.objects.delete(*place.keys(receipt["sha256"]))
    corrections = place.corrections()
    with pytest.raises(NotFoundError, match="not in the landing store any more"):
        list(corrections.redecode([uuid.UUID(receipt["upload_id"])]))
    assert place.speeds() == [50, 51]
    corrections.engine.dispose()


def test_a_refused_log_leaves_nothing(place: Place) -> None:
    answer = place.pusher.post(b"hello\n" * 10, OCTETS, path=PATH)
    assert answer.status_code == 415
    assert list(place.objects.under("raw")) == []
    assert place.scratch_is_empty()


def test_a_bucket_that_is_away_costs_logs_a_503_and_rows_nothing(place: Place) -> None:
    sent = log_of(50, 51)
    place.server.kill()
    try:
        answer = place.pusher.post(sent, OCTETS, path=PATH)
        assert answer.status_code == 503, answer.text
        assert "Retry-After" in answer.headers
        assert answer.json()["retryable"]
        assert place.pusher.post(row(70, 100), NDJSON).json()["status"] == "loaded"
        assert place.pusher.get("/readyz").status_code == 200
        place.database_is(there=False)
        assert place.pusher.post(row(71, 101), NDJSON).status_code == 503
        assert place.pusher.get("/readyz").status_code == 503
        place.database_is(there=True)
        with place.database.connect() as owner:
            assert owner.execute("SELECT count(*) FROM upload").fetchone() == (1,)
        assert place.scratch_is_empty()
    finally:
        place.server.start()
    receipt = place.log(sent)
    assert receipt["status"] == "loaded"
    assert place.keys(receipt["sha256"])
    assert place.speeds() == [50, 51, 70]


def test_a_bucket_that_does_not_answer_is_as_good_as_away(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "STALLED_S", 1)
    with receiving(place.world, **place.settings, key_cache_s=0) as client, place.server.hung():
        pusher = Pusher(client, place.world.keys["one"])
        began = time.monotonic()
        assert pusher.post(row(70), NDJSON).json()["status"] == "loaded"
        assert pusher.post(log_of(50), OCTETS, path=PATH).status_code == 503
        assert time.monotonic() - began < PATIENCE_S
    assert place.log(log_of(50))["status"] == "loaded"


def test_what_waits_is_seen_by_every_receiver(place: Place) -> None:
    """One receiver takes uploads in while the database is away, and goes; another loads them, in their order."""
    other_scratch = {**place.settings, "landing_scratch": Path(place.settings["landing_scratch"]).with_name("other")}
    place.database_is(there=False)
    rows = place.pusher.post(row(10), NDJSON)
    log = place.pusher.post(log_of(20, first=10), OCTETS, path=PATH)
    late = place.pusher.post(row(11), NDJSON)
    assert [answer.status_code for answer in (rows, log, late)] == [202, 202, 202]
    with receiving(place.world, **other_scratch, key_cache_s=0) as client:
        other = Pusher(client, place.world.keys["one"])
        place.database_is(there=True)
        for answer in (rows, log, late):
            path = f"/v1/uploads/{answer.json()['upload_id']}"
            assert other.get(path).json()["status"] in ("queued", "loaded")
            wait_for(lambda path=path: other.get(path).json()["status"] == "loaded")
        assert other.get(f"/v1/uploads/{late.json()['upload_id']}").json()["rows"]["conflicting"] == 1
    assert place.speeds() == [10, 20]
    wait_for(lambda: not list(place.objects.under("waiting")))


def test_the_same_log_at_two_receivers_at_once_is_loaded_once(place: Place) -> None:
    body = log_of(*range(60))
    with receiving(place.world, **place.settings, key_cache_s=0) as client:
        pushers = [place.pusher, Pusher(client, place.world.keys["one"])] * 3
        with ThreadPoolExecutor(len(pushers)) as pool:
            answers = list(pool.map(lambda pusher: pusher.post(body, OCTETS, path=PATH), pushers))
    receipts = [answer.json() for answer in answers]
    assert sorted(receipt["status"] for receipt in receipts) == ["duplicate"] * 5 + ["loaded"]
    assert len({receipt["upload_id"] for receipt in receipts}) == 1
    assert place.keys(receipts[0]["sha256"])
    assert place.speeds() == list(range(60))


def test_parts_of_a_log_come_together_in_the_bucket(place: Place) -> None:
    body = log_of(*range(60))
    for first in range(0, len(body), 1000):
        path = f"/v1/can-logs/parts/a?offset={first}"
        answer = place.pusher.client.request(
            "PUT", path, content=body[first : first + 1000], headers={"Content-Type": OCTETS, **place.pusher.auth}
        )
        assert answer.status_code == 200, answer.text
    answer = place.pusher.client.request(
        "POST", "/v1/can-logs/parts/a/complete?vehicle=truck-01", headers=place.pusher.auth
    )
    assert answer.status_code == 200, answer.text
    (key,) = place.keys(answer.json()["sha256"])
    assert place.objects.read(key) == body
    assert place.speeds() == list(range(60))
