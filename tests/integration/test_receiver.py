"""The receiver over HTTP on a real database: receipts, replays, merges, conflicts, keys."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from receiver_kit import Client, Pusher, World, at

from ingest import ledger


@pytest.fixture
def owner(module_database: Any) -> Iterator[psycopg.Connection]:
    with module_database.connect() as connection:
        connection.autocommit = True
        yield connection


def telemetry(owner: psycopg.Connection) -> list[tuple[Any, ...]]:
    return owner.execute(
        "SELECT v.name, t.time, speed_kmh, battery_soc_pct, ready FROM telemetry t JOIN vehicle v ON v.id = vehicle_id"
        " ORDER BY 1, 2"
    ).fetchall()


def marks(owner: psycopg.Connection) -> list[tuple[Any, ...]]:
    return owner.execute(
        "SELECT v.name, from_time, to_time FROM stale_mark JOIN vehicle v ON v.id = vehicle_id ORDER BY stale_mark.id"
    ).fetchall()


def when(second: float) -> dt.datetime:
    return dt.datetime.fromisoformat(at(second))


def test_a_receipt_tells_what_was_stored(both: Pusher, owner: psycopg.Connection) -> None:
    receipt = both.push(
        [
            {"time": at(0), "vehicle": "truck-01", "speed_kmh": 10, "battery_soc_pct": 140, "door_open": True},
            {"time": at(1), "vehicle": "VIN-truck-02", "speed_kmh": "11.5", "ready": "true"},
            {"time": at(2), "vehicle": "truck-01"},
            {"time": at(3), "vehicle": "truck-01", "speed_kmh": -1},
            {"time": "yesterday", "vehicle": "truck-01", "speed_kmh": 1},
        ]
    )
    assert receipt["status"] == "loaded"
    assert receipt["rows"] == {
        "received": 5, "accepted": 3, "merged": 0, "duplicate": 0, "conflicting": 0, "rejected": 2, "late": 3,
        "replaced": 0,
    }  # fmt: skip
    assert receipt["fields_rejected"] == 1
    assert (receipt["first_time"], receipt["last_time"]) == (at(0), at(2))
    assert receipt["vehicles"] == ["truck-01", "truck-02"]
    assert receipt["extra_signals"] == ["door_open"]
    assert [(r["row"], r["field"], r["value"], r["reason"]) for r in receipt["rejects"]] == [
        (1, "battery_soc_pct", "140", "above 100"),
        (4, "speed_kmh", "-1", "below 0"),
        (4, None, None, "no field of the row could be used"),
        (5, "time", "yesterday", "not a time: use RFC 3339 with an offset, or an epoch number"),
    ]
    assert telemetry(owner) == [
        ("truck-01", when(0), 10.0, None, None),
        ("truck-01", when(2), None, None, None),
        ("truck-02", when(1), 11.5, None, True),
    ]
    assert marks(owner) == [("truck-01", when(0), when(2)), ("truck-02", when(1), when(1))]
    assert both.get(receipt["rejects_url"]).json()["rejects"] == receipt["rejects"]
    assert owner.execute("SELECT number, text FROM signal_sample").fetchall() == [(1.0, None)]


def test_the_same_upload_twice_changes_nothing(both: Pusher, owner: psycopg.Connection) -> None:
    rows = [{"time": at(0), "vehicle": "truck-01", "speed_kmh": 10, "odd": 1}]
    first = both.push(rows)
    before = [owner.execute(f"SELECT * FROM {table}").fetchall() for table in ("upload", "stale_mark", "signal_sample")]
    second = both.push(rows)
    assert second == {**first, "status": "duplicate", "server_time": second["server_time"]}
    after = [owner.execute(f"SELECT * FROM {table}").fetchall() for table in ("upload", "stale_mark", "signal_sample")]
    assert before == after
    assert both.get(f"/v1/uploads/{first['upload_id']}").json()["status"] == "loaded"


def test_compression_does_not_make_another_upload(both: Pusher) -> None:
    import gzip

    body = b'[{"time": "2026-01-06T08:00:00Z", "vehicle": "truck-01", "speed_kmh": 10}]'
    first = both.push(body)
    assert both.push(gzip.compress(body), Content_Encoding="gzip")["upload_id"] == first["upload_id"]


def test_the_same_bytes_under_another_query_are_another_upload(both: Pusher) -> None:
    body = b"time,speed_kmh\n2026-01-06T08:00:00Z,10\n"
    first = both.push(body, "text/csv", path="/v1/telemetry?vehicle=truck-01")
    second = both.push(body, "text/csv", path="/v1/telemetry?vehicle=truck-02")
    assert second["status"] == "loaded"
    assert first["sha256"] == second["sha256"]


def test_overlap_is_duplicate_and_new_signals_merge(both: Pusher, owner: psycopg.Connection) -> None:
    both.push([{"time": at(s), "vehicle": "truck-01", "speed_kmh": 10 + s} for s in range(3)])
    owner.execute("DELETE FROM stale_mark")
    receipt = both.push(
        [
            {"time": at(3), "vehicle": "truck-01", "speed_kmh": 13},
            {"time": at(0), "vehicle": "truck-01", "speed_kmh": 10.005},
            {"time": at(1), "vehicle": "truck-01", "speed_kmh": 11, "battery_soc_pct": 50, "ready": False},
            {"time": at(2), "vehicle": "truck-01", "battery_soc_pct": 51},
        ]
    )
    counts = receipt["rows"]
    assert (counts["accepted"], counts["merged"], counts["duplicate"]) == (1, 2, 1)
    assert telemetry(owner) == [
        ("truck-01", when(0), 10.0, None, None),
        ("truck-01", when(1), 11.0, 50.0, False),
        ("truck-01", when(2), 12.0, 51.0, None),
        ("truck-01", when(3), 13.0, None, None),
    ]
    assert marks(owner) == [("truck-01", when(1), when(3))]


def test_a_replay_in_other_bytes_marks_nothing(both: Pusher, owner: psycopg.Connection) -> None:
    row = {"time": at(0), "vehicle": "truck-01", "speed_kmh": 10, "gear": "D"}
    both.push([row])
    owner.execute("DELETE FROM stale_mark")
    assert both.push([row, row])["rows"]["duplicate"] == 2
    assert marks(owner) == []


def test_conflicts_go_to_quarantine_and_new_signals_still_load(both: Pusher, owner: psycopg.Connection) -> None:
    both.push([{"time": at(0), "vehicle": "truck-01", "speed_kmh": 10, "ready": True, "gear": "D", "door": True}])
    receipt = both.push(
        [
            {"time": at(0), "vehicle": "truck-01", "speed_kmh": 12, "battery_soc_pct": 50, "ready": False},
            {"time": at(0), "vehicle": "truck-01", "gear": "R", "door": True},
        ]
    )
    assert receipt["rows"]["conflicting"] == 2
    assert receipt["fields_rejected"] == 3
    assert telemetry(owner) == [("truck-01", when(0), 10.0, 50.0, True)]
    rejects = owner.execute(
        'SELECT "row", field, value, reason, vehicle_id IS NOT NULL, time FROM upload_reject ORDER BY n'
    ).fetchall()
    assert rejects == [
        (1, "speed_kmh", "12", "stored value differs", True, when(0)),
        (1, "ready", "false", "stored value differs", True, when(0)),
        (2, "gear", "R", "stored value differs", True, when(0)),
    ]


def test_rows_of_one_instant_merge_in_order(both: Pusher, owner: psycopg.Connection) -> None:
    receipt = both.push(
        [
            {"time": at(0), "vehicle": "truck-01", "speed_kmh": 10},
            {"time": at(0), "vehicle": "truck-01", "battery_soc_pct": 50},
            {"time": at(0), "vehicle": "truck-01", "speed_kmh": 10},
            {"time": at(0), "vehicle": "truck-01", "speed_kmh": 11, "ready": True},
            {"time": at(0), "vehicle": "truck-01", "extra": 1},
            {"time": at(0), "vehicle": "truck-01", "extra": 2},
        ]
    )
    assert receipt["rows"] == {
        "received": 6, "accepted": 1, "merged": 2, "duplicate": 1, "conflicting": 2, "rejected": 0, "late": 6,
        "replaced": 0,
    }  # fmt: skip
    assert telemetry(owner) == [("truck-01", when(0), 10.0, 50.0, True)]
    assert owner.execute("SELECT number FROM signal_sample").fetchall() == [(1.0,)]


def test_an_extra_keeps_its_type_over_uploads(both: Pusher) -> None:
    both.push([{"time": at(0), "vehicle": "truck-01", "mode": 3}])
    receipt = both.push(
        [
            {"time": at(1), "vehicle": "truck-01", "mode": "eco"},
            {"time": at(2), "vehicle": "truck-01", "mode": "4"},
            {"time": at(1), "vehicle": "truck-02", "mode": "eco"},
        ]
    )
    assert receipt["rows"]["accepted"] == 2
    assert [(r["row"], r["field"], r["reason"]) for r in receipt["rejects"]] == [
        (1, "mode", "changes type: it is a number"),
        (1, None, "no field of the row could be used"),
    ]


def test_times_outside_the_assignment_are_rejected(both: Pusher, owner: psycopg.Connection, world: World) -> None:
    owner.execute("UPDATE assignment SET ends_on = '2026-01-06' WHERE vehicle_id = %s", [world.vehicle_ids["truck-02"]])
    receipt = both.push(
        [
            {"time": "2026-01-05T10:59:59Z", "vehicle": "truck-01"},
            {"time": "2026-01-05T11:00:00Z", "vehicle": "truck-01"},
            {"time": "2026-01-07T10:59:59Z", "vehicle": "truck-02"},
            {"time": "2026-01-07T11:00:00Z", "vehicle": "truck-02"},
            {"time": (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=660)).isoformat(), "vehicle": "truck-01"},
            {"time": (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=540)).isoformat(), "vehicle": "truck-01"},
        ]
    )
    assert [(r["row"], r["reason"]) for r in receipt["rejects"]] == [
        (1, "before the vehicle's start, 2026-01-05T11:00:00Z"),
        (4, "outside every assignment of the vehicle"),
        (5, "more than 600 s in the future"),
    ]
    assert receipt["rows"]["late"] == 2
    owner.execute("UPDATE assignment SET ends_on = NULL")


def test_baseline_lets_earlier_rows_in(both: Pusher, owner: psycopg.Connection) -> None:
    owner.execute("UPDATE pilot SET baseline_from = '2025-07-01'")
    assert both.push([{"time": "2025-07-01T10:00:00Z", "vehicle": "truck-01"}])["rows"]["accepted"] == 1
    assert both.post([{"time": "2025-07-01T09:59:59Z", "vehicle": "truck-01"}]).status_code == 422
    owner.execute("UPDATE pilot SET baseline_from = NULL")


def test_foreign_vehicles_reject_the_row_and_403_if_all_are(client: Client, world: World) -> None:
    one = Pusher(client, world.keys["one"])
    mixed = one.push([{"time": at(0), "vehicle": "truck-01"}, {"time": at(0), "vehicle": "truck-02"}])
    assert [(r["row"], r["field"], r["value"], r["reason"]) for r in mixed["rejects"]] == [
        (2, "vehicle", "truck-02", "not a vehicle of this key")
    ]
    refused = one.post([{"time": at(0), "vehicle": "bus-01"}, {"time": at(0), "vehicle": "nothing"}])
    assert refused.status_code == 403
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert [e["row"] for e in refused.json()["errors"]] == [1, 2]
    assert one.post([{"time": at(0)}], path="/v1/telemetry?vehicle=bus-01").status_code == 403


def test_a_vehicle_registered_a_moment_ago_is_known(both: Pusher, owner: psycopg.Connection, world: World) -> None:
    both.push([{"time": at(0), "vehicle": "truck-01"}])
    owner.execute("UPDATE vehicle SET name = 'truck-09' WHERE name = 'truck-02'")
    import time

    time.sleep(1.05)
    assert both.push([{"time": at(0), "vehicle": "truck-09"}])["rows"]["accepted"] == 1
    owner.execute("UPDATE vehicle SET name = 'truck-02' WHERE name = 'truck-09'")


def test_idempotency_key(both: Pusher) -> None:
    rows = [{"time": at(0), "vehicle": "truck-01", "speed_kmh": 10}]
    first = both.push(rows, Idempotency_Key="a")
    assert both.push(rows, Idempotency_Key="a")["status"] == "duplicate"
    other = both.post([{"time": at(1), "vehicle": "truck-01"}], Idempotency_Key="a")
    assert other.status_code == 422
    assert other.json()["type"] == "urn:beachhead:problem:idempotency"
    assert both.push([{"time": at(1), "vehicle": "truck-01"}], Idempotency_Key="b")["upload_id"] != first["upload_id"]


def test_an_idempotency_key_of_a_duplicate_means_these_bytes(both: Pusher, owner: psycopg.Connection) -> None:
    def rows(n: int) -> list[dict[str, Any]]:
        return [{"time": at(n), "vehicle": "truck-01", "speed_kmh": 10}]

    first = both.push(rows(0))
    again = [both.push(rows(0), Idempotency_Key="a") for _ in range(3)]
    assert {(told["status"], told["upload_id"]) for told in again} == {("duplicate", first["upload_id"])}
    for n in (1, 2):
        other = both.post(rows(n), Idempotency_Key="a")
        assert other.status_code == 422
        assert other.json()["type"] == "urn:beachhead:problem:idempotency"
    assert both.push(rows(1), Idempotency_Key="b")["status"] == "loaded"
    assert owner.execute("SELECT count(*) FROM upload WHERE idempotency_key = 'a'").fetchone() == (1,)
    # By name the first receipt is told again as it is by then, whatever the parameters.
    ledger.set_status(owner, first["upload_id"], "void", None)
    told = both.push(rows(0), Idempotency_Key="a", path="/v1/telemetry?vehicle=truck-02")
    assert told["upload_id"] == first["upload_id"]
    assert "taken back" in told["warnings"][0]


def test_receipts_are_listed_and_belong_to_their_gateway(client: Client, world: World, both: Pusher) -> None:
    ids = [both.push([{"time": at(s), "vehicle": f"truck-0{s + 1}"}])["upload_id"] for s in range(2)]
    listed = both.get("/v1/uploads").json()
    assert [u["upload_id"] for u in listed["uploads"]] == ids
    assert listed["next_url"] is None
    page = both.get("/v1/uploads?limit=1").json()
    assert [u["upload_id"] for u in page["uploads"]] == ids[:1]
    assert [u["upload_id"] for u in both.get(page["next_url"]).json()["uploads"]] == ids[1:]
    by_vehicle = both.get("/v1/uploads?vehicle=VIN-truck-02&since=2026-01-01T00:00:00Z").json()
    assert [u["upload_id"] for u in by_vehicle["uploads"]] == ids[1:]
    assert both.get("/v1/uploads?since=2999-01-01T00:00:00Z").json()["uploads"] == []
    assert both.get("/v1/uploads?since=2026-01-01T00:00:00").status_code == 400
    other = Pusher(client, world.keys["one"])
    assert other.get(f"/v1/uploads/{ids[0]}").status_code == 404
    assert other.get(f"/v1/uploads/{ids[0]}/rejects").status_code == 404


def test_rejects_come_in_pages(both: Pusher) -> None:
    good = {"time": at(0), "vehicle": "truck-01"}
    receipt = both.push([good, *({"time": f"no {n}", "vehicle": "truck-01"} for n in range(250))])
    assert len(receipt["rejects"]) == 100
    page, rows = both.get(receipt["rejects_url"] + "?limit=120").json(), []
    while True:
        rows += [reject["row"] for reject in page["rejects"]]
        if page["next_url"] is None:
            break
        page = both.get(page["next_url"]).json()
    assert rows == list(range(2, 252))


def test_gateway_tells_its_vehicles_and_limits(both: Pusher) -> None:
    told = both.get("/v1/gateway").json()
    assert (told["gateway"], told["pilot"]) == ("both", "drayage")
    assert told["vehicles"][0] == {
        "vehicle": "truck-01", "aliases": {"vin": "VIN-truck-01"}, "sample_period_s": 1.0,
    }  # fmt: skip
    assert told["max_rows"] == 500_000
    assert "battery_soc_pct" in told["wanted_signals"]


def test_kept_body_is_the_uncompressed_upload(both: Pusher, owner: psycopg.Connection) -> None:
    import zstandard

    body = b'[{"time": "2026-01-06T08:00:00Z", "vehicle": "truck-01", "speed_kmh": 10}]'
    both.push(zstandard.compress(body), Content_Encoding="zstd")
    kept = owner.execute("SELECT body_zstd FROM upload_body").fetchone()
    assert kept is not None
    assert zstandard.decompress(kept[0]) == body
