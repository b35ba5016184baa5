"""The database goes away: what is acknowledged waits on disk, and loads by itself when it is back."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import pytest
from psycopg import sql
from receiver_kit import Pusher, World, at, make_world, on_both, receiving

from ingest import drain
from ingest.corrections import Corrections
from ingest.folder import Folder
from ingest.together import load_together
from ingest.waiting import Waiting
from schemas.database import engine
from schemas.errors import UnavailableError

NDJSON = "application/x-ndjson"
CAN = b"(1767686400.000000) can0 18FEF100#FF0032FFFFFFFFFF\n(1767686401.000000) can0 18FEF100#FF0032FFFFFFFFFF\n"
CAN_PATH = "/v1/can-logs?vehicle=truck-01"
PATIENCE_S = 30


def body(*speeds: float, first: int = 0) -> bytes:
    rows = [{"time": at(n), "vehicle": "truck-01", "speed_kmh": speed} for n, speed in enumerate(speeds, start=first)]
    return "\n".join(map(json.dumps, rows)).encode()


@dataclass(frozen=True)
class Place:
    database: Any
    world: World
    pusher: Pusher
    landing: Path

    def waits(self) -> list[str]:
        objects = self.pusher.client.app.state.receiver.landing.objects
        return [entry.key for entry in objects.under("waiting")]

    def away(self) -> None:
        self._alter("ALLOW_CONNECTIONS false", ends_sessions=True)

    def back(self) -> None:
        self._alter("ALLOW_CONNECTIONS true")

    def read_only(self) -> None:
        """As after a failover to a standby."""
        self._alter("SET default_transaction_read_only = on", ends_sessions=True)

    def writable(self) -> None:
        """Sessions of the time before stay as they are."""
        self._alter("RESET default_transaction_read_only")

    def _alter(self, how: LiteralString, *, ends_sessions: bool = False) -> None:
        with self.database.server.admin() as admin:
            admin.execute(sql.SQL("ALTER DATABASE {} ").format(sql.Identifier(self.database.name)) + sql.SQL(how))
            if ends_sessions:
                admin.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                    [self.database.name],
                )

    def receipt(self, id_: str) -> dict[str, Any]:
        return self.pusher.get(f"/v1/uploads/{id_}").json()

    def loaded(self, id_: str) -> dict[str, Any]:
        wait_for(lambda: self.receipt(id_).get("status") not in (None, "queued", 503))
        return self.receipt(id_)

    def queued(self, content: bytes, content_type: str = NDJSON, **more: str) -> dict[str, Any]:
        answer = self.pusher.post(content, content_type, **more)
        assert answer.status_code == 202, answer.text
        assert answer.json()["status"] == "queued"
        return answer.json()

    def speeds(self) -> list[float]:
        with self.database.connect() as owner:
            return [speed for (speed,) in owner.execute("SELECT speed_kmh FROM telemetry ORDER BY time")]


def wait_for(is_done: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_done():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.1)


@pytest.fixture
def place(database: Any, landing_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(drain, "PERIOD_S", 0.1)
    world = make_world(database)
    with receiving(world, **landing_settings, key_cache_s=0) as client:
        pusher = Pusher(client, world.keys["one"])
        assert pusher.get("/v1/gateway").status_code == 200
        yield Place(database, world, pusher, tmp_path / "landing")


@on_both
def test_rows_wait_and_load_by_themselves(place: Place) -> None:
    place.away()
    receipt = place.queued(body(10, 11))
    assert place.receipt(receipt["upload_id"])["status"] == "queued"
    assert place.pusher.get("/readyz").status_code == 200
    place.back()
    told = place.loaded(receipt["upload_id"])
    assert told["status"] == "loaded"
    assert told["rows"]["accepted"] == 2
    assert told["received_at"] == receipt["received_at"]
    assert place.speeds() == [10, 11]
    wait_for(lambda: not place.waits())


def test_what_cannot_be_stored_does_not_fail_the_good_rows_that_waited_with_it(place: Place) -> None:
    place.away()
    faulty = (b'{"a":"\0"}', bytes(50), b'{"\\ud800":1}', b'{"time":"%s","vehicle":"truck-01\\udfff"}' % at(9).encode())
    told = [place.queued(body(n, first=n) + b"\n" + row) for n, row in enumerate(faulty)]
    told.append(place.queued(b"[" + body(4, first=4) + rb',"\ud800"]', "application/json"))
    place.back()
    receipts = [place.loaded(one["upload_id"]) for one in told]
    assert [(one["status"], one["rows"]["accepted"], one["rows"]["rejected"]) for one in receipts] == [
        ("loaded", 1, 1)
    ] * 5
    assert place.speeds() == [0, 1, 2, 3, 4]


@on_both
def test_logs_wait_too(place: Place) -> None:
    place.away()
    receipt = place.queued(CAN, "application/octet-stream", path=CAN_PATH)
    place.back()
    told = place.loaded(receipt["upload_id"])
    assert told["status"] == "loaded"
    assert told["can"]["frames_read"] == 2
    assert place.speeds() == [50, 50]


@on_both
def test_what_waits_comes_before_what_comes_later(place: Place) -> None:
    place.away()
    first = place.queued(body(10, 11))
    place.queued(body(12, 13, first=1))
    place.back()
    last = place.pusher.post(body(14, first=2), NDJSON)
    assert last.status_code in (200, 202)
    place.loaded(first["upload_id"])
    place.loaded(last.json()["upload_id"])
    assert place.speeds() == [10, 11, 13]
    assert place.loaded(last.json()["upload_id"])["rows"]["conflicting"] == 1


@on_both
def test_many_small_uploads_load_together_and_in_order(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(group: Any, *arguments: Any, **more: Any) -> Any:
        sizes.append(len(group))
        return load_together(group, *arguments, **more)

    monkeypatch.setattr(drain, "load_together", counted)
    place.away()
    told = [place.queued(body(n, n + 0.5, first=n)) for n in range(20)]  # the second row of each comes again
    strange = place.queued(b'{"time": "2020-01-01T00:00:00Z", "vehicle": "truck-01"}')  # before the pilot began
    told += [place.queued(body(n, n + 0.5, first=n)) for n in range(20, 30)]
    place.back()
    receipts = [place.loaded(one["upload_id"]) for one in told]
    assert [r["status"] for r in receipts] == ["loaded"] * 30
    assert [r["received_at"] for r in receipts] == [one["received_at"] for one in told]
    assert [r["rows"]["accepted"] for r in receipts] == [2] + [1] * 29
    assert [r["rows"]["conflicting"] for r in receipts] == [0] + [1] * 29
    assert place.loaded(strange["upload_id"])["status"] == "failed"
    assert place.speeds() == [0, *(n + 0.5 for n in range(30))]
    assert max(sizes) > 2
    wait_for(lambda: not place.waits())


@on_both
def test_the_same_upload_twice_while_the_database_is_away(place: Place) -> None:
    place.away()
    receipts = [place.queued(body(10, 11)) for _ in range(2)]
    place.back()
    statuses = [place.loaded(receipt["upload_id"])["status"] for receipt in receipts]
    assert statuses == ["loaded", "duplicate"]
    assert place.speeds() == [10, 11]


def test_an_idempotency_key_of_a_duplicate_that_waited_means_these_bytes(place: Place) -> None:
    assert place.pusher.post(body(10), NDJSON).status_code == 200
    place.away()
    again = place.queued(body(10), Idempotency_Key="a")
    other = place.queued(body(11, first=1), Idempotency_Key="a")
    place.back()
    assert place.loaded(again["upload_id"])["status"] == "duplicate"
    assert place.loaded(other["upload_id"])["status"] == "failed"
    assert place.pusher.post(body(12, first=2), NDJSON, Idempotency_Key="a").status_code == 422
    assert place.speeds() == [10]


def test_a_key_that_was_revoked_meanwhile_loads_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.away()
    receipts = [place.queued(body(10)), place.queued(CAN, "application/octet-stream", path=CAN_PATH)]
    with monkeypatch.context() as held:
        held.setattr(drain.Drain, "drain", lambda _: False)
        time.sleep(2 * drain.PERIOD_S)
        place.back()
        with place.database.connect() as owner:
            owner.execute("UPDATE api_key SET revoked_at = now() WHERE prefix = %s", [place.pusher.key.split("_")[1]])
    ids = [receipt["upload_id"] for receipt in receipts]
    with place.database.connect() as owner:
        owner.autocommit = True
        query = (
            "SELECT count(*) FROM upload WHERE id = ANY(%s::uuid[]) AND status = 'failed' AND reason LIKE '%%revoked%%'"
        )
        wait_for(lambda: owner.execute(query, [ids]).fetchone() == (2,))
        assert owner.execute("SELECT count(*) FROM upload_body").fetchone() == (1,)
    assert place.speeds() == []
    assert len(list((place.landing / "raw").rglob("*/*"))) == 1


def test_a_key_that_came_to_its_end_meanwhile_was_good_when_the_upload_came(place: Place) -> None:
    with place.database.connect() as owner:
        ends = "UPDATE api_key SET expires_at = now() + interval '3 s' WHERE prefix = %s"
        owner.execute(ends, [place.pusher.key.split("_")[1]])
    assert place.pusher.get("/v1/gateway").status_code == 200
    place.away()
    place.queued(body(10))
    time.sleep(3)
    assert place.pusher.post(body(11, first=1), NDJSON).status_code == 503
    place.back()
    wait_for(lambda: place.speeds() == [10])
    assert place.pusher.get("/v1/gateway").status_code == 401


def test_without_database_and_disk_nothing_is_kept(place: Place) -> None:
    place.away()
    place.landing.mkdir(exist_ok=True)
    (place.landing / "waiting").write_text("in the way")
    answer = place.pusher.post(body(10), NDJSON)
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    assert answer.json()["retryable"]
    assert place.pusher.get("/readyz").status_code == 503
    (place.landing / "waiting").unlink()
    place.back()
    assert place.pusher.post(body(10), NDJSON).status_code == 200
    assert place.speeds() == [10]


@on_both
def test_a_database_that_takes_no_writes_is_as_good_as_away(place: Place) -> None:
    place.read_only()
    receipts = [place.queued(body(10, 11)), place.queued(CAN, "application/octet-stream", path=CAN_PATH)]
    stranger = Pusher(place.pusher.client, place.world.keys["both"])
    assert stranger.post(body(12, first=5), NDJSON).status_code == 202, "its key can be read"
    assert place.receipt(receipts[0]["upload_id"])["status"] == "queued"
    assert place.pusher.get("/readyz").status_code == 200
    time.sleep(5 * drain.PERIOD_S)
    assert place.waits()
    place.writable()
    assert {place.loaded(receipt["upload_id"])["status"] for receipt in receipts} == {"loaded"}
    wait_for(lambda: place.speeds() == [50, 50, 12])  # the log outranks rows
    wait_for(lambda: place.pusher.post(body(13, first=6), NDJSON).status_code == 200)
    assert place.pusher.get("/readyz").status_code == 200


def test_a_database_that_takes_no_writes_and_no_disk(place: Place) -> None:
    place.read_only()
    place.landing.mkdir(exist_ok=True)
    (place.landing / "waiting").write_text("in the way")
    assert place.pusher.post(body(10), NDJSON).status_code == 503
    assert place.pusher.get("/readyz").status_code == 503
    (place.landing / "waiting").unlink()
    place.writable()
    wait_for(lambda: place.pusher.get("/readyz").status_code == 200)
    assert place.pusher.post(body(10), NDJSON).status_code == 200
    assert place.speeds() == [10]


def test_it_is_not_ready_while_some_wait_and_no_more_can(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.away()
    place.queued(body(10))
    with monkeypatch.context() as held:
        held.setattr(drain.Drain, "drain", lambda _: False)
        time.sleep(2 * drain.PERIOD_S)
        place.back()
        assert place.pusher.get("/readyz").status_code == 200
        receiver = place.pusher.client.app.state.receiver
        held.setattr(receiver, "waiting", Waiting(receiver.landing.objects, 1))
        assert place.pusher.post(body(11, first=1), NDJSON).status_code == 503
        assert place.pusher.get("/readyz").status_code == 503
    wait_for(lambda: place.speeds() == [10])
    assert place.pusher.get("/readyz").status_code == 200


@on_both
def test_what_waits_is_bounded(place: Place) -> None:
    receiver = place.pusher.client.app.state.receiver
    receiver.waiting = Waiting(receiver.landing.objects, 100)
    place.away()
    place.queued(body(10))
    answer = place.pusher.post(body(11, first=1), NDJSON)
    assert answer.status_code == 503
    assert "wait for the database" in answer.json()["detail"]
    place.back()
    wait_for(lambda: place.speeds() == [10])


@pytest.mark.parametrize(
    ("content", "content_type", "path", "status"),
    [
        (b"not json", NDJSON, "/v1/telemetry", 422),
        (b'{"time": "2026-01-06T08:00:00Z", "vehicle": "bus-01", "speed_kmh": 1}', NDJSON, "/v1/telemetry", 403),
        (b"hello", "application/octet-stream", CAN_PATH, 415),
        (CAN, "application/octet-stream", "/v1/can-logs?vehicle=bus-01", 403),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(
    place: Place, content: bytes, content_type: str, path: str, status: int
) -> None:
    place.away()
    assert place.pusher.post(content, content_type, path=path).status_code == status
    assert not [file for file in place.landing.rglob("*") if file.is_file()]
    place.back()


def test_an_unknown_key_is_not_let_in_while_the_database_is_away(place: Place) -> None:
    place.away()
    stranger = Pusher(place.pusher.client, place.world.keys["both"])
    assert stranger.post(body(10), NDJSON).status_code == 503
    wrong = Pusher(place.pusher.client, place.pusher.key[:-1] + ("a" if place.pusher.key[-1] != "a" else "b"))
    assert wrong.post(body(10), NDJSON).status_code == 503
    place.back()


@on_both
def test_a_receiver_killed_between_commit_and_clean_up_loads_nothing_twice(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Waiting.done
    monkeypatch.setattr(Waiting, "done", lambda *_: None)
    place.away()
    receipt = place.queued(body(10, 11))
    place.back()
    with place.database.connect() as owner:
        owner.autocommit = True
        wait_for(lambda: bool(owner.execute("SELECT FROM upload").rowcount))
    time.sleep(0.5)  # it is drained again and again
    monkeypatch.setattr(Waiting, "done", done)
    wait_for(lambda: not place.waits())
    assert place.receipt(receipt["upload_id"])["rows"]["accepted"] == 2
    assert place.speeds() == [10, 11]


def test_an_upload_that_the_database_refuses_does_not_hold_up_others(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = place.pusher.client.app.state.receiver
    load = receiver.load

    def refusing(caller: Any, upload: Any, *more: Any) -> Any:
        if upload.size_bytes < 100:
            raise UnavailableError("too odd")
        return load(caller, upload, *more)

    def refusing_together(group: Any, *more: Any, **options: Any) -> Any:
        if any(member.upload.size_bytes < 100 for member in group):
            raise UnavailableError("too odd")
        return load_together(group, *more, **options)

    monkeypatch.setattr(drain, "MOST_TRIES", 3)
    monkeypatch.setattr(drain, "load_together", refusing_together)
    place.away()
    odd, good = place.queued(body(10)), place.queued(body(11, 12, first=1))
    monkeypatch.setattr(receiver, "load", refusing)
    place.back()
    assert place.loaded(good["upload_id"])["status"] == "loaded"
    assert place.loaded(odd["upload_id"])["status"] == "failed"
    assert place.speeds() == [11, 12]


def test_what_a_killed_receiver_left_half_written_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, folder = Waiting(Folder(tmp_path), 1000), tmp_path / "waiting"
    folder.mkdir()
    (folder / "000-a.zst").write_bytes(b"bytes without a ticket")
    (folder / ".000-b.json.17").write_bytes(b"half a ticket")
    waiting.sweep()
    assert len(list(folder.iterdir())) == 2, "somebody may be about to write the ticket"
    monkeypatch.setattr("ingest.waiting.SETTLED_S", -1)
    waiting.sweep()
    assert not list(folder.iterdir())


def test_a_log_that_failed_while_it_waited_is_loaded_by_hand_for_its_own_vehicle(place: Place) -> None:
    """Another pilot has a vehicle of the same name."""
    with place.database.connect() as owner:
        owner.execute("UPDATE vehicle SET name = 'truck-01' WHERE name = 'bus-01'")
    bus = Pusher(place.pusher.client, place.world.keys["bus"])
    assert bus.get("/v1/gateway").status_code == 200
    with place.database.connect() as owner:
        owner.execute("UPDATE api_key SET revoked_at = now() WHERE prefix = %s", [bus.key.split("_")[1]])
    place.away()
    answer = bus.post(CAN, "application/octet-stream", path=CAN_PATH)
    assert answer.status_code == 202, answer.text
    place.back()
    id_ = uuid.UUID(answer.json()["upload_id"])
    with place.database.connect() as owner:
        owner.autocommit = True
        failed = "SELECT FROM upload WHERE id = %s AND status = 'failed'"
        wait_for(lambda: bool(owner.execute(failed, [id_]).rowcount))
    owner_engine = engine(place.database.url())
    Corrections(owner_engine, place.pusher.client.app.state.receiver.settings).retry(id_)
    owner_engine.dispose()
    with place.database.connect() as owner:
        vehicles = owner.execute("SELECT DISTINCT vehicle_id FROM telemetry").fetchall()
    assert vehicles == [(place.world.vehicle_ids["bus-01"],)]
    assert place.speeds() == [50, 50]


class Entries:
    """Counts what is read of folders."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read, self.listings, self._scandir = 0, 0, os.scandir
        monkeypatch.setattr("ingest.folder.os.scandir", self._counted)

    @contextmanager
    def _counted(self, folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with self._scandir(folder) as found:
            yield self._each(found)

    def _each(self, found: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
        for entry in found:
            self.read += 1
            yield entry
        self.listings += 1


def test_an_upload_that_waits_behind_many_looks_at_few(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    many, few = 3000, 50
    place.away()
    place.queued(body(0))
    for n in range(many):
        (place.landing / "waiting" / f"{n:018d}-{uuid.uuid4()}.json").write_bytes(b"{}")
    entries = Entries(monkeypatch)
    receipts = [place.queued(body(n, first=n)) for n in range(1, few)]
    assert [place.receipt(receipt["upload_id"])["status"] for receipt in receipts] == ["queued"] * len(receipts)
    # What waits may have been summed up meanwhile, in the background and not for each.
    assert entries.read < 3 * many + 20 * few
    shutil.rmtree(place.landing / "waiting")
    place.back()


def test_what_waits_is_listed_once_and_not_for_every_batch(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "AT_ONCE", 4)
    place.away()
    receipts = [place.queued(body(n, n + 0.5, first=n)) for n in range(60)]
    entries = Entries(monkeypatch)
    place.back()
    assert {place.loaded(receipt["upload_id"])["status"] for receipt in receipts} == {"loaded"}
    assert place.speeds() == [0, *(n + 0.5 for n in range(60))], "in the order of arrival"
    wait_for(lambda: not place.waits())
    assert entries.read < 8 * 2 * len(receipts)
