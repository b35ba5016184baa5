"""Exactly once, whatever the cutting, order, repetition and concurrency."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from receiver_kit import T0, Client, Pusher, World, at, empty, receiving

from tests import campaign

COLUMNS = ("speed_kmh", "battery_soc_pct", "ready", "fault_count")
EXTRAS = ("door", "gear", "oil_bar")
TRUTH: dict[tuple[str, int], dict[str, Any]] = {
    (vehicle, second): {
        "speed_kmh": second + 0.25, "battery_soc_pct": 50.5, "ready": second % 2 == 0, "fault_count": second,
        "door": second % 2 == 1, "gear": "DRN"[second % 3], "oil_bar": 2.5 * second,
    }
    for vehicle in ("truck-01", "truck-02") for second in range(6)
}  # fmt: skip


@pytest.fixture(scope="module")
def client(made: World) -> Iterator[Client]:
    with receiving(made) as client:
        yield client


def clear(client: Client, database: Any) -> None:
    empty(database)
    receiver = client.app.state.receiver
    receiver.known_signals = receiver.known_signals.clear()


def stored(owner: psycopg.Connection) -> dict[tuple[str, Any], dict[str, Any]]:
    rows = owner.execute(
        f"SELECT v.name, t.time, {', '.join(COLUMNS)} FROM telemetry t JOIN vehicle v ON v.id = vehicle_id"
    ).fetchall()
    found = {
        (name, time): {c: v for c, v in zip(COLUMNS, values, strict=True) if v is not None}
        for name, time, *values in rows
    }
    samples = owner.execute(
        "SELECT v.name, time, s.name, kind, number, text FROM signal_sample JOIN extra_signal s ON s.id = signal_id"
        " JOIN vehicle v ON v.id = s.vehicle_id"
    ).fetchall()
    for vehicle, time, name, kind, number, text in samples:
        found[vehicle, time][name] = text if kind == "text" else bool(number) if kind == "boolean" else number
    return found


parts = st.lists(
    st.tuples(st.sampled_from(sorted(TRUTH)), st.sets(st.sampled_from((*COLUMNS, *EXTRAS)))), min_size=1, max_size=12
)
uploads = st.lists(parts, min_size=1, max_size=5)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=uploads)
def test_any_cutting_order_and_repetition_gives_the_same_table(
    client: Client, made: World, module_database: Any, sent: list[Any]
) -> None:
    clear(client, module_database)
    pusher = Pusher(client, made.keys["both"])
    expected: dict[Any, dict[str, Any]] = {}
    accepted = 0
    for rows in [*sent, *sent[:1]]:
        body = [
            {"time": at(key[1]), "vehicle": key[0], **{f: TRUTH[key][f] for f in sorted(fields)}}
            for key, fields in rows
        ]
        receipt = pusher.push(body)
        assert receipt["rows"]["conflicting"] == receipt["rows"]["rejected"] == receipt["fields_rejected"] == 0
        accepted += receipt["rows"]["accepted"] if receipt["status"] == "loaded" else 0
        for key, fields in rows:
            expected.setdefault(key, {}).update({f: TRUTH[key][f] for f in fields})
    with module_database.connect() as owner:
        found = {(name, time.isoformat().replace("+00:00", "Z")): row for (name, time), row in stored(owner).items()}
    assert found == {(name, at(second)): row for (name, second), row in expected.items()}
    assert accepted == len(expected)


def test_overlapping_uploads_at_once(client: Client, made: World, module_database: Any) -> None:
    """Eight clients, overlapping halves, vehicles in opposite orders, new extras: no deadlock, nothing twice."""
    clear(client, module_database)
    pusher = Pusher(client, made.keys["both"])

    def rows(n: int) -> list[dict[str, Any]]:
        vehicles = ["truck-01", "truck-02"][:: 1 if n % 2 else -1]
        return [
            {"time": at(s), "vehicle": v, "speed_kmh": s, "battery_soc_pct": 50, "mode": s, "own": n // 4}
            for v in vehicles for s in range(n * 10, n * 10 + 50)
        ]  # fmt: skip

    with ThreadPoolExecutor(8) as threads:
        receipts = list(threads.map(lambda n: pusher.push(rows(n)), range(8)))
    assert sum(r["rows"]["accepted"] for r in receipts) == 2 * 120
    assert sum(r["rows"]["received"] for r in receipts) == 8 * 100
    assert sum(r["rows"]["merged"] for r in receipts) == 0
    with module_database.connect() as owner:
        assert owner.execute("SELECT count(*) FROM telemetry").fetchone() == (240,)
        assert owner.execute("SELECT count(*) FROM signal_sample").fetchone() == (480,)
        assert owner.execute("SELECT count(*) FROM extra_signal").fetchone() == (4,)
        quarantined = "SELECT count(*), count(DISTINCT (vehicle_id, time, field, value)) FROM upload_reject"
        ((kept, different),) = owner.execute(quarantined).fetchall()
    # Each receipt tells of all its own; a value that several sent is set aside once.
    assert kept == different == 2 * 40
    assert kept < sum(r["fields_rejected"] for r in receipts)


def test_the_same_upload_at_once_loads_once(client: Client, made: World, module_database: Any) -> None:
    clear(client, module_database)
    pusher = Pusher(client, made.keys["both"])
    body = json.dumps([{"time": at(s), "vehicle": "truck-01", "speed_kmh": s} for s in range(100)]).encode()
    with ThreadPoolExecutor(8) as threads:
        receipts = list(threads.map(lambda _: pusher.push(body, Idempotency_Key="k"), range(8)))
    assert sorted(r["status"] for r in receipts) == ["duplicate"] * 7 + ["loaded"]
    assert len({r["upload_id"] for r in receipts}) == 1
    with module_database.connect() as owner:
        assert owner.execute("SELECT count(*) FROM upload").fetchone() == (1,)
        assert owner.execute("SELECT count(*) FROM stale_mark").fetchone() == (1,)


def test_rows_far_apart_and_between_stored_ones(client: Client, made: World, module_database: Any) -> None:
    clear(client, module_database)
    pusher = Pusher(client, made.keys["both"])
    day_s = 86_400
    pusher.push([{"time": at(s), "vehicle": "truck-01", "speed_kmh": 1} for s in (0, 2, 4, 60 * day_s)])
    receipt = pusher.push(
        [
            {"time": at(s), "vehicle": "truck-01", "speed_kmh": 1}
            for s in (60 * day_s, 1, 3, 4, 30 * day_s, 30 * day_s + 1)
        ]
    )
    assert (receipt["rows"]["accepted"], receipt["rows"]["duplicate"]) == (4, 2)


def test_a_large_upload(client: Client, made: World, module_database: Any) -> None:
    clear(client, module_database)
    pusher = Pusher(client, made.keys["both"])
    head = "time,vehicle,speed_kmh\n"
    rows = "".join(f"{1767686400 + s},truck-01,{s % 90}\n" for s in range(100_000))
    assert pusher.push((head + rows).encode(), "text/csv")["rows"]["accepted"] == 100_000
    again = pusher.push((head + rows + "1767686399,truck-01,1\n").encode(), "text/csv")
    assert (again["rows"]["accepted"], again["rows"]["duplicate"]) == (1, 100_000)


# --- with conflicts -------------------------------------------------------------------------------

values = st.tuples(st.sampled_from(["truck-01", "truck-02"]), st.integers(0, 4), st.sampled_from([10.0, 20.0, 30.0]))


@settings(
    max_examples=campaign.size(15, 300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sent=st.lists(st.lists(values, min_size=1, max_size=8), min_size=1, max_size=6))
def test_table_and_quarantine_hold_every_value_ever_accepted_and_none_twice(
    client: Client, made: World, module_database: Any, sent: list[list[tuple[str, int, float]]]
) -> None:
    clear(client, module_database)
    pusher = Pusher(client, made.keys["both"])
    for part in sent:
        pusher.push([{"vehicle": vehicle, "time": at(n), "speed_kmh": value} for vehicle, n, value in part])
    with module_database.connect() as owner:
        names = dict(owner.execute("SELECT id, name FROM vehicle").fetchall())
        stored = owner.execute("SELECT vehicle_id, time, speed_kmh FROM telemetry").fetchall()
        aside = owner.execute("SELECT vehicle_id, time, value::float8 FROM upload_reject").fetchall()
    found = [(names[id_], round((time - T0).total_seconds()), value) for id_, time, value in (*stored, *aside)]
    assert len(found) == len(set(found))
    assert set(found) == {value for part in sent for value in part}
