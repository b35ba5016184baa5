"""How a gateway does, over HTTP and by the command: counts of two periods, shares, reasons, and its clock."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from receiver_kit import Client, Pusher, World, at, receiving
from test_receiver_http import problem

BEACHHEAD = Path(sys.executable).with_name("beachhead")


@pytest.fixture
def owner(module_database: Any) -> Iterator[psycopg.Connection]:
    with module_database.connect() as connection:
        connection.autocommit = True
        yield connection


def row(seconds_ago: float, speed_kmh: float = 10, **more: Any) -> dict[str, Any]:
    time = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds_ago)
    return {"time": time.isoformat(), "vehicle": "truck-01", "speed_kmh": speed_kmh} | more


def score(pusher: Pusher, gateway: str = "both") -> dict[str, Any]:
    answer = pusher.get(f"/v1/gateways/{gateway}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def beachhead(world: World, module_database: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    given = {"BEACHHEAD_DATABASE_URL": module_database.url(), "BEACHHEAD_INGEST_URL": world.url, "COLUMNS": "200"}
    return subprocess.run(
        [str(BEACHHEAD), "gateway", *arguments], env=os.environ | given, capture_output=True, text=True, timeout=60
    )


def test_counts_shares_and_reasons_of_two_periods(
    both: Pusher, owner: psycopg.Connection, world: World, module_database: Any
) -> None:
    old = [{"time": at(n), "vehicle": "truck-01", "speed_kmh": 10} for n in range(2)]
    forgotten = both.push([{**old[0], "time": at(100)}])["upload_id"]
    ten_days = both.push(old)["upload_id"]
    both.push([{**old[0], "speed_kmh": 60}, {**old[1], "battery_soc_pct": 50}])
    good = [row(3), row(2), row(1)]
    assert [both.push(good)["status"] for _ in range(2)] == ["loaded", "duplicate"]
    both.push([row(4), {**row(5), "vehicle": "nobody"}, row(6, battery_soc_pct=140)])
    for days, upload_id in ((40, forgotten), (10, ten_days)):
        owner.execute(
            "UPDATE upload SET received_at = now() - make_interval(days => %s) WHERE id = %s", [days, upload_id]
        )
    told = score(both)
    short, long = told["last_7_days"], told["last_30_days"]
    assert short == {
        "uploads": 3, "uploads_failed": 0, "rows_received": 8, "rows_accepted": 5, "rows_merged": 1,
        "rows_duplicate": 0, "rows_conflicting": 1, "rows_rejected": 1, "rows_late": 2,
        "late_pct": 25.0, "reject_pct": 12.5, "conflict_pct": 12.5,
    }  # fmt: skip
    assert (long["uploads"], long["rows_received"], long["rows_accepted"], long["rows_late"]) == (4, 10, 7, 4)
    assert (long["late_pct"], long["reject_pct"]) == (40.0, 10.0)
    reasons = {(reject["field"], reject["count"]) for reject in told["last_rejects"]}
    assert reasons == {("speed_kmh", 1), ("battery_soc_pct", 1), ("vehicle", 1)}
    assert "above 100" in {reject["reason"] for reject in told["last_rejects"]}
    last = dt.datetime.fromisoformat(told["last_seen_at"])
    assert last >= dt.datetime.fromisoformat(told["last_upload_at"])
    assert abs(last - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    shown = beachhead(world, module_database, "show", "drayage/both", "--json")
    assert json.loads(shown.stdout) | {"server_time": ""} == told | {"server_time": ""}
    plain = beachhead(world, module_database, "show", "both").stdout
    assert plain.startswith("drayage/both: last seen 20")
    assert "above 100" in plain


def test_void_uploads_and_those_of_others_do_not_count(
    both: Pusher, client: Client, world: World, owner: psycopg.Connection
) -> None:
    Pusher(client, world.keys["one"]).push([row(1)])
    owner.execute("UPDATE upload SET status = 'void' WHERE id = %s", [both.push([row(2)])["upload_id"]])
    told = score(both)["last_30_days"]
    assert (told["uploads"], told["rows_received"], told["late_pct"]) == (0, 0, None)


@pytest.mark.parametrize(
    ("behind_s", "offset_s", "spread_s", "note"),
    [
        ((2, 4, 9), 4, 3.5, None),
        ((600, 600, 600), 600, 0, None),
        ((601, 602, 603), 602, 1, "slow"),
        ((-599, -599, 5), -599, 302, None),
        ((-601, -601, -601), -601, 0, "fast"),
    ],
)
def test_the_clocks_offset(
    both: Pusher,
    owner: psycopg.Connection,
    behind_s: tuple[int, ...],
    offset_s: float,
    spread_s: float,
    note: str | None,
) -> None:
    for n, behind in enumerate(behind_s):
        upload_id = both.push([row(n)])["upload_id"]
        owner.execute(
            "UPDATE upload SET last_time = received_at - make_interval(secs => %s) WHERE id = %s", [behind, upload_id]
        )
    # What is late, or of long ago, tells nothing of the clock.
    both.push([{"time": at(0), "vehicle": "truck-01", "speed_kmh": 1}])
    before = both.push([row(20)])["upload_id"]
    owner.execute("UPDATE upload SET received_at = received_at - interval '8 days' WHERE id = %s", [before])
    clock = score(both)["clock"]
    assert (clock["offset_s"], clock["spread_s"], clock["uploads"]) == (offset_s, spread_s, 3)
    assert clock["is_off"] is (note is not None)
    assert (note or "") in (clock["note"] or "")


def test_rows_in_the_future_say_that_the_clock_is_fast(both: Pusher) -> None:
    both.push([row(1), row(-3600), row(-7200)])
    assert both.post([row(-3600, 20)]).status_code == 422
    told = score(both)
    assert told["clock"]["rows_in_future"] == 3
    assert told["clock"]["is_off"]
    assert "fast" in told["clock"]["note"]
    assert told["last_7_days"]["uploads_failed"] == 1
    assert told["last_rejects"][0]["reason"].endswith("in the future")


def test_a_clock_that_was_reset_is_shown(both: Pusher) -> None:
    both.push([row(1)])
    for second in range(5):
        assert both.post([{"time": 1000 + second, "vehicle": "truck-01", "speed_kmh": 10}]).status_code == 422
    clock = score(both)["clock"]
    assert (clock["rows_before_start"], clock["is_off"]) == (5, True)
    assert "reset" in clock["note"]


def test_a_vehicle_that_reports_before_its_pilot_starts_has_a_clock_that_is_right(
    both: Pusher, owner: psycopg.Connection
) -> None:
    owner.execute("UPDATE assignment SET starts_on = current_date + 3")
    try:
        with receiving(World(both.client.app.state.receiver.settings.ingest_url, {}, {})) as client:
            early = Pusher(client, both.key)
            assert early.post([row(1)]).status_code == 422
            clock = score(early)["clock"]
    finally:
        owner.execute("UPDATE assignment SET starts_on = '2026-01-05'")
    assert (clock["rows_before_start"], clock["is_off"]) == (0, False)


@pytest.mark.parametrize("behind_s", [3700, 7200, 90 * 86_400])
def test_a_clock_slow_by_hours_is_shown(both: Pusher, behind_s: int) -> None:
    for _ in range(25):
        both.push([row(1)])  # as long as it was right
    for n in range(20):
        both.push([row(behind_s + n % 3)])
    clock = score(both)["clock"]
    assert clock["offset_s"] == pytest.approx(behind_s + 1, abs=2)
    assert (clock["uploads"], clock["is_off"]) == (20, True)
    assert "slow" in clock["note"]
    both.push([row(1)])
    assert not score(both)["clock"]["is_off"]


@pytest.mark.parametrize(
    ("begin_s", "step_s"),
    [(7200, 60), (40_000, 300), (40_000, 1), (7200, -60)],
    ids=["minutes", "long", "seconds", "the newest first"],
)
def test_a_backlog_is_no_slow_clock(both: Pusher, begin_s: int, step_s: int) -> None:
    for _ in range(3):
        both.push([row(1)])
    for n in range(20):
        both.push([row(begin_s - n * step_s), row(begin_s - n * step_s - 0.5)])
    clock = score(both)["clock"]
    assert (clock["uploads"], clock["is_off"], clock["note"]) == (3, False, None)
    assert clock["offset_s"] < 10


def test_a_day_of_each_of_many_vehicles_is_no_slow_clock(both: Pusher) -> None:
    for n in range(6):
        both.push([row(200_000 + n), row(150_000), row(100_000)])
    clock = score(both)["clock"]
    assert (clock["offset_s"], clock["uploads"], clock["is_off"]) == (None, 0, False)


def test_a_gateway_that_sent_nothing(client: Client, world: World) -> None:
    told = score(Pusher(client, world.keys["bus"]), "bus")
    assert told["pilot"] == "buses"
    assert told["last_upload_at"] is None
    assert told["last_seen_at"] is not None
    assert told["last_7_days"]["uploads"] == 0
    assert told["last_7_days"]["reject_pct"] is None
    assert told["clock"] == {
        "offset_s": None, "spread_s": None, "uploads": 0, "rows_in_future": 0, "rows_before_start": 0, "is_off": False,
        "note": None,
    }  # fmt: skip
    assert told["last_rejects"] == []


def test_a_gateway_sees_only_itself(client: Client, both: Pusher) -> None:
    for other in ("one", "bus", "nothing", "%00"):
        problem(both.get(f"/v1/gateways/{other}"), 404)
    problem(client.request("GET", "/v1/gateways/both"), 401)


def test_the_command_names_a_gateway_that_is_none(world: World, module_database: Any) -> None:
    shown = beachhead(world, module_database, "show", "drayage/bus")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "drayage/bus: there is no such gateway" in shown.stderr
