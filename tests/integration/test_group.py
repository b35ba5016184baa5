"""Small uploads that share a transaction: each has its own outcome, the same as if it had come alone."""

from __future__ import annotations

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from receiver_kit import Pusher, World, at, empty, make_world, receiving

from ingest import group, loader
from ingest.checks.rows import Query
from ingest.loader import VEHICLE_LOCKS
from ingest.receiver import Incoming
from ingest.together import Member, load_together
from tests import campaign

NDJSON = "application/x-ndjson"


@pytest.fixture(scope="module")
def world(module_database: Any) -> World:
    return make_world(module_database)


@pytest.fixture(scope="module")
def app(world: World, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with receiving(world, landing_url=f"file://{tmp_path_factory.mktemp('landing')}", group_wait_ms=200) as client:
        yield client


@pytest.fixture
def pushers(app: Any, world: World, module_database: Any) -> dict[str, Pusher]:
    clear(app, module_database)
    return {name: Pusher(app, key) for name, key in world.keys.items()}


def clear(app: Any, database: Any) -> None:
    empty(database)
    app.app.state.receiver.known_signals = app.app.state.receiver.known_signals.clear()


def lines(*rows: dict[str, Any]) -> bytes:
    return "\n".join(json.dumps({"vehicle": "truck-01", **row}) for row in rows).encode()


def together(app: Any, uploads: list[tuple[Pusher, bytes, str]]) -> list[Any]:
    """Answers to uploads that come at the same time and are one group, in their order."""
    groups = app.app.state.groups
    groups._lately = len(uploads)
    posts = [partial(pusher.post, body, NDJSON, path=path) for pusher, body, path in uploads]
    with ThreadPoolExecutor(len(uploads)) as threads:
        return [future.result() for future in [threads.submit(post) for post in posts]]


def rows(database: Any, columns: str = "time, speed_kmh") -> list[Any]:
    with database.connect() as owner:
        return owner.execute(f"SELECT {columns} FROM telemetry ORDER BY vehicle_id, time").fetchall()


PATH = "/v1/telemetry"


def test_each_has_its_own_receipt_and_its_own_failure(
    app: Any, pushers: dict[str, Pusher], module_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    load = group.load_together
    monkeypatch.setattr(group, "load_together", lambda some, receiver: sizes.append(len(some)) or load(some, receiver))
    one, both, bus = pushers["one"], pushers["both"], pushers["bus"]
    answers = together(
        app,
        [
            (one, lines({"time": at(0), "speed_kmh": 10}, {"time": at(1), "speed_kmh": 11}), PATH),
            (both, lines({"vehicle": "truck-02", "time": at(0), "speed_kmh": 20, "door": "open"}), PATH),
            (bus, lines({"vehicle": "bus-01", "time": at(0), "speed_kmh": 30}, {"time": at(0), "speed_kmh": 1}), PATH),
            (one, lines({"time": at(5), "speed_kmh": 500, "battery_soc_pct": 50}), PATH),
            (one, lines({"vehicle": "bus-01", "time": at(0), "speed_kmh": 1}), PATH),
            (one, b'{"time": 5, "vehicle": "truck-01", "speed_kmh": 12}', PATH),
            (one, b'{"time": "%s", "speed_kmh": 13}\n' % at(7).encode(), PATH + "?vehicle=VIN-truck-01"),
            (one, b"{not json}", PATH),
        ],
    )
    assert max(sizes) > 3, "they did not come together"
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 403, 422, 200, 422]
    told = [answer.json() for answer in answers]
    assert told[0]["rows"]["accepted"] == 2
    assert told[1]["vehicles"] == ["truck-02"]
    assert told[1]["extra_signals"] == ["door"]
    assert told[2]["rows"] == {**told[2]["rows"], "received": 2, "accepted": 1, "rejected": 1}
    assert told[2]["rejects"] == [
        {"row": 2, "field": "vehicle", "value": "truck-01", "reason": "not a vehicle of this key"}
    ]
    assert told[3]["fields_rejected"] == 1
    assert told[3]["rejects"] == [{"row": 1, "field": "speed_kmh", "value": "500", "reason": "above 160"}]
    assert "upload requeue" in told[5]["detail"]
    assert [row[1] for row in rows(module_database)] == [10, 11, None, 13, 20, 30]
    for n in (0, 1, 2, 3, 6):
        pusher = (one, both, bus, one, one, one, one)[n]
        assert pusher.get(f"/v1/uploads/{told[n]['upload_id']}").json()["rows"] == told[n]["rows"]
        kept = pusher.get(f"/v1/uploads/{told[n]['upload_id']}/rejects").json()["rejects"]
        assert kept == told[n]["rejects"]


def test_the_same_upload_twice_in_one_group_loads_once(
    app: Any, pushers: dict[str, Pusher], module_database: Any
) -> None:
    body = lines({"time": at(0), "speed_kmh": 10})
    answers = together(app, [(pushers["one"], body, PATH)] * 3)
    assert sorted(answer.json()["status"] for answer in answers) == ["duplicate", "duplicate", "loaded"]
    assert len({answer.json()["upload_id"] for answer in answers}) == 1
    assert len(rows(module_database)) == 1


def test_uploads_that_come_again_are_told_so_together(
    app: Any, pushers: dict[str, Pusher], module_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [lines({"time": at(n), "speed_kmh": n}) for n in range(8)]
    first = [pushers["one"].post(body, NDJSON).json() for body in bodies[:6]]
    alone = []
    receive = app.app.state.receiver.receive
    monkeypatch.setattr(app.app.state.receiver, "receive", lambda *more: alone.append(more) or receive(*more))
    again = [answer.json() for answer in together(app, [(pushers["one"], body, PATH) for body in bodies])]
    assert [told["status"] for told in again] == ["duplicate"] * 6 + ["loaded"] * 2
    assert [told["upload_id"] for told in again[:6]] == [told["upload_id"] for told in first]
    assert [told["rows"] for told in again[:6]] == [told["rows"] for told in first]
    assert len(alone) < 8, "each went alone"
    once_more = together(app, [(pushers["one"], body, PATH) for body in bodies])
    assert [answer.json()["status"] for answer in once_more] == ["duplicate"] * 8
    assert len(rows(module_database)) == 8


def test_two_gateways_for_one_vehicle(app: Any, pushers: dict[str, Pusher], module_database: Any) -> None:
    answers = together(
        app,
        [
            (pushers["one"], lines({"time": at(0), "speed_kmh": 10}), PATH),
            (pushers["both"], lines({"time": at(0), "battery_soc_pct": 50}), PATH),
        ],
    )
    assert sorted(json.dumps(a.json()["rows"]["accepted"]) for a in answers) == ["0", "1"]
    assert rows(module_database, "speed_kmh, battery_soc_pct") == [(10, 50)]


def test_a_scope_read_anew_between_two_uploads_holds_for_both(
    app: Any, pushers: dict[str, Pusher], module_database: Any
) -> None:
    receiver = app.app.state.receiver
    newer = receiver.keys.verify(f"Bearer {pushers['both'].key}")
    only_first = {id_: name for id_, name in newer.scope.vehicle_names.items() if name == "truck-01"}
    names = newer.scope.names.filter(pl.col("vehicle_id").is_in(list(only_first)))
    older = replace(newer, scope=replace(newer.scope, vehicle_names=only_first, names=names))
    bodies = [
        lines({"vehicle": "truck-02", "time": at(0), "speed_kmh": 20}),
        lines({"time": at(0), "speed_kmh": 10}, {"time": "never", "speed_kmh": 10}),
    ]
    members = [
        Member(caller, receiver.upload_of(caller, Incoming(body, NDJSON, "", Query()), body), None, body, n)
        for n, (caller, body) in enumerate(zip((older, newer), bodies, strict=True), 1)
    ]
    receipts = load_together(members, receiver)
    assert [receipts[n].vehicles for n in (0, 1)] == [["truck-02"], ["truck-01"]]
    assert len(rows(module_database)) == 2


def test_only_vehicles_are_waited_for_no_longer_than_soon(world: World, module_database: Any) -> None:
    rows = pl.DataFrame({"vehicle_id": [1, 1, 2]}, schema={"vehicle_id": pl.Int32})
    with module_database.connect() as one, module_database.connect() as other:
        for before in ("0", "7s"):
            one.execute("SELECT set_config('lock_timeout', %s, true)", [before])
            assert loader.lock_vehicles_soon(one, rows) == [1, 2]
            assert one.execute("SHOW lock_timeout").fetchall() == [(before,)]
        assert loader.lock_free_vehicles(other, rows) == []
        with pytest.raises(psycopg.errors.LockNotAvailable):
            loader.lock_vehicles_soon(other, rows)
        other.rollback()
        one.rollback()
        assert loader.lock_free_vehicles(other, rows) == [1, 2]
        assert loader.lock_vehicles_soon(other, rows[:0]) == []


def test_nobody_waits_for_a_vehicle_that_others_write_for(
    app: Any, pushers: dict[str, Pusher], module_database: Any
) -> None:
    """As while its long log is loaded: in a group, and more of them alone than there are threads for groups."""
    one, both, bus = pushers["one"], pushers["both"], pushers["bus"]
    groups = app.app.state.groups
    with ThreadPoolExecutor(8) as threads, module_database.connect() as other:
        other.execute("SELECT pg_advisory_xact_lock(%s, id) FROM vehicle WHERE name = 'truck-01'", [VEHICLE_LOCKS])

        def post(pusher: Pusher, vehicle: str, second: int) -> Future[Any]:
            body = lines({"vehicle": vehicle, "time": at(second), "speed_kmh": second})
            return threads.submit(pusher.post, body, NDJSON)

        held = []
        for second in range(group.WORKERS + 1):
            groups._lately = 1
            held.append(post(one, "truck-01", second))
            time.sleep(0.1)
        groups._lately = 3
        held.append(post(one, "truck-01", 9))
        free = [post(both, "truck-02", 0), post(bus, "bus-01", 0)]
        assert [future.result(timeout=20).status_code for future in free] == [200, 200]
        assert not any(future.done() for future in held)
        other.rollback()
        assert [future.result(timeout=20).status_code for future in held] == [200] * len(held)
    assert len(rows(module_database)) == len(held) + len(free)


@pytest.mark.parametrize("ends", ["revoked_at = now()", "expires_at = now()"])
def test_whose_key_ended_is_refused_and_the_others_load(
    app: Any, pushers: dict[str, Pusher], module_database: Any, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    sizes = []
    load = group.load_together
    monkeypatch.setattr(group, "load_together", lambda some, receiver: sizes.append(len(some)) or load(some, receiver))
    one, both = pushers["one"], pushers["both"]
    assert [pusher.get("/v1/gateway").status_code for pusher in (one, both)] == [200, 200]  # both are remembered
    mine = [one.key.split("_")[1]]
    with module_database.connect() as owner:
        owner.execute(f"UPDATE api_key SET {ends} WHERE prefix = %s", mine)
    try:
        answers = together(
            app, [(pusher, lines({"time": at(n), "speed_kmh": n}), PATH) for n, pusher in enumerate([one, both] * 3)]
        )
        assert one.get("/v1/gateway").status_code == 401
    finally:
        with module_database.connect() as owner:
            owner.execute("UPDATE api_key SET revoked_at = NULL, expires_at = NULL WHERE prefix = %s", mine)
    assert max(sizes) > 3, "they did not come together"
    assert [answer.status_code for answer in answers] == [401, 200] * 3
    assert rows(module_database, "speed_kmh") == [(1,), (3,), (5,)]


def test_an_upload_of_too_many_rows_is_refused_however_many_come_with_it(
    world: World, module_database: Any, tmp_path: Any
) -> None:
    empty(module_database)
    with receiving(world, landing_url=f"file://{tmp_path}", group_wait_ms=200, max_rows=10) as app:
        pusher = Pusher(app, world.keys["one"])
        bodies = [lines(*({"time": at(100 * n + row)} for row in range(11 if n % 2 else 10))) for n in range(8)]
        answers = together(app, [(pusher, body, PATH) for body in bodies])
    assert [answer.status_code for answer in answers] == [200, 413] * 4
    assert len(rows(module_database)) == 40


moments = st.sampled_from([("truck-01", n) for n in range(12)] + [("truck-02", n) for n in range(12)])
parts = st.lists(st.lists(st.tuples(moments, st.booleans()), min_size=1, max_size=6), min_size=2, max_size=8)


@settings(
    max_examples=campaign.size(15, 300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sent=parts, numbered=st.booleans())
def test_any_uploads_at_once_give_the_table_and_the_counts_of_the_truth(
    app: Any, world: World, module_database: Any, sent: list[list[tuple[tuple[str, int], bool]]], numbered: bool
) -> None:
    """Without conflicts: one value for each moment and signal, whoever sends it and how often."""
    clear(app, module_database)
    pusher = Pusher(app, world.keys["both"])
    bodies = []
    for n, part in enumerate(sent):
        told = []
        for (vehicle, second), fast in part:
            signals = {"speed_kmh": second + 0.5} if fast else {"battery_soc_pct": second * 2, "door": "open"}
            told.append({"vehicle": vehicle, "time": at(second), **signals})
        bodies.append(lines(*told, *([{"time": at(60 + n)}] if numbered else [])))
    answers = [answer.json() for answer in together(app, [(pusher, body, PATH) for body in bodies])]
    first = [answer for answer in answers if answer["status"] == "loaded"]
    assert {a["status"] for a in answers} <= {"loaded", "duplicate"}
    wanted = {moment: set() for part in sent for moment, _ in part}
    for part in sent:
        for moment, fast in part:
            wanted[moment].add(fast)
    stored = rows(module_database, "speed_kmh, battery_soc_pct")
    moments_stored = [row for row in stored if row != (None, None)]
    assert len(moments_stored) == len(wanted)
    assert sum(speed is not None for speed, _ in moments_stored) == sum(True in kinds for kinds in wanted.values())
    assert sum(soc is not None for _, soc in moments_stored) == sum(False in kinds for kinds in wanted.values())
    assert sum(a["rows"]["accepted"] for a in first) == len(stored)
    assert sum(a["rows"]["conflicting"] for a in first) == 0
    for answer in first:
        counts = answer["rows"]
        assert counts["received"] == sum(
            counts[name] for name in ("accepted", "merged", "duplicate", "conflicting", "rejected")
        )
    with module_database.connect() as owner:
        assert owner.execute("SELECT count(*), sum(rows_accepted) FROM upload").fetchone() == (len(first), len(stored))
        assert owner.execute("SELECT count(*) FROM upload_body").fetchone() == (len(first),)
