"""What an operator puts right: afterwards the store is what it would have been had it been right from the start."""

from __future__ import annotations

import datetime as dt
import json
import os
import struct
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from receiver_kit import T0, Pusher, World, empty, make_world, on_both, receiving

from ingest.corrections import Corrections
from ingest.landing import landing_of
from ingest.rebuild import Rebuild
from schemas.database import engine
from schemas.errors import CorrectionError, NotFoundError, NothingUsableError
from schemas.settings import Settings
from tests import campaign

EPOCH_S = int(T0.timestamp())
PATH = "/v1/can-logs?vehicle=truck-01"
DBC = """VERSION ""
BU_:
BO_ 256 BMS: 8 Vector__XXX
 SG_ PackCurrent : 0|16@1- (0.1,0) [0|0] "A" Vector__XXX
 SG_ PackVoltage : 16|16@1+ (0.1,0) [0|0] "V" Vector__XXX
 SG_ Contactor : 32|1@1+ (1,0) [0|1] "" Vector__XXX
"""
SPN, FMI = 110, 3


# --- uploads, and what they leave -----------------------------------------------------------------


def line(second: float, can_id: int, data: bytes) -> str:
    shown = f"{can_id:08X}" if can_id > 0x7FF else f"{can_id:03X}"
    return f"({EPOCH_S + second:.6f}) can0 {shown}#{data.hex().upper()}\n"


def speed(second: float, kmh: float) -> str:
    return line(second, 0x18FEF100, b"\xff" + struct.pack("<H", round(kmh * 256)) + b"\xff" * 5)


def pack(second: float, volts: float, amperes: float) -> str:
    return line(second, 0x100, struct.pack("<hHB3x", round(amperes * 10), round(volts * 10), int(second) % 2))


def fault(second: float, *, active: bool) -> str:
    code = struct.pack("<HBB", SPN, FMI, 1) if active else bytes(4)
    return line(second, 0x18FECA00, bytes([0x10 if active else 0, 0xFF]) + code + b"\xff\xff")


def log_of(first: float, last: float, seed: int, what: str) -> bytes:
    """A log of some seconds: `what` names the frames in it (s: speed, p: pack, f: faults)."""
    lines = []
    second = first
    while second < last:
        n = int(second * 10) + seed
        if "s" in what:
            lines.append(speed(second, 30 + n % 40))
        if "p" in what:
            lines.append(pack(second + 0.01, 350 + n % 30, n % 90 - 40))
        if "f" in what and int(second) % 2 == 0:
            lines.append(fault(second + 0.02, active=n % 7 != 0))
        second += 0.5
    return "".join(lines).encode()


def rows_of(first: int, last: int, seed: int, signals: tuple[str, ...]) -> bytes:
    rows = []
    for second in range(first, last):
        values: dict[str, Any] = dict.fromkeys(signals, (20 + (second * 3 + seed) % 50) * 1.0)
        rows.append({"time": (T0 + dt.timedelta(seconds=second)).isoformat(), "vehicle": "truck-01", **values})
    return "\n".join(map(json.dumps, rows)).encode()


@dataclass(frozen=True)
class Upload:
    """One upload: of rows, or of a log."""

    body: bytes
    is_log: bool

    def push(self, pusher: Pusher) -> uuid.UUID:
        if self.is_log:
            answer = pusher.post(self.body, "application/octet-stream", path=PATH)
        else:
            answer = pusher.post(self.body, "application/x-ndjson")
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "loaded"
        return uuid.UUID(answer.json()["upload_id"])


logs_sent = st.builds(
    lambda first, length, seed, what: Upload(log_of(first, first + length, seed, what), True),
    st.integers(0, 150), st.integers(3, 100), st.integers(0, 5), st.sampled_from(["s", "p", "sp", "spf", "pf"]),
)  # fmt: skip
rows_sent = st.builds(
    lambda first, length, seed, names: Upload(rows_of(first, first + length, seed, names), False),
    st.integers(0, 200), st.integers(1, 80), st.integers(0, 5),
    st.sampled_from([("speed_kmh",), ("battery_soc_pct",), ("speed_kmh", "door"), ("battery_current_a", "cabin")]),
)  # fmt: skip
uploads_sent = st.lists(st.one_of(logs_sent, rows_sent), min_size=2, max_size=5, unique_by=lambda one: one.body)


def stored(database: Any) -> dict[str, list[Any]]:
    """Everything stored but the ledger, without ids that differ from time to time."""
    with database.connect() as owner:
        return {
            "rows": owner.execute("SELECT * FROM telemetry ORDER BY vehicle_id, time").fetchall(),
            "extras": owner.execute(
                "SELECT name, time, number, text FROM signal_sample JOIN extra_signal ON id = signal_id ORDER BY 1, 2"
            ).fetchall(),
            "sightings": owner.execute("SELECT * FROM fault_sighting ORDER BY 1, 2, 3, 4, 5, 6").fetchall(),
            "episodes": owner.execute("SELECT * FROM fault_event ORDER BY 1, 2, 3, 4, 5, 6").fetchall(),
            "quarantine": owner.execute(
                'SELECT sha256, "row", time, field, value, r.reason FROM upload_reject r JOIN upload ON id = upload_id'
                " WHERE status = 'loaded' ORDER BY sha256, n"
            ).fetchall(),
        }


def receipts(database: Any) -> list[Any]:
    """What gateways are told of loaded logs, without ids and times of arrival."""
    with database.connect() as owner:
        found = owner.execute(
            "SELECT receipt FROM upload WHERE kind = 'can-log' AND status = 'loaded' ORDER BY seq"
        ).fetchall()
    left_out = ("upload_id", "received_at", "server_time", "rejects_url")
    return [{name: value for name, value in receipt.items() if name not in left_out} for (receipt,) in found]


def every_value(database: Any, landing: Path) -> list[pl.DataFrame]:
    with database.connect() as owner:
        keys = owner.execute("SELECT signals_key FROM upload_log JOIN upload ON id = upload_id ORDER BY seq").fetchall()
    return [pl.read_parquet(landing / key).with_columns(pl.col("signal").cast(pl.String)) for (key,) in keys if key]


# --- the world ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    database: Any
    world: World
    pusher: Pusher
    landing: Path
    landing_settings: dict[str, Any]
    corrections: Corrections

    def dbc(self, *arguments: str) -> str:
        return self.command("dbc", *arguments)

    def command(self, *arguments: str) -> str:
        program = [sys.executable, "-c", "from pipelines.cli import app; app()", *arguments]
        environment = os.environ | {
            "BEACHHEAD_DATABASE_URL": self.database.url(), "COLUMNS": "200",
            **{f"BEACHHEAD_{name.upper()}": str(value) for name, value in self.landing_settings.items()},
        }  # fmt: skip
        done = subprocess.run(program, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def undefine(self) -> None:
        with self.database.connect() as owner:
            owner.execute("TRUNCATE dbc, dbc_binding, dbc_map")

    def define(self, tmp_path: Path) -> None:
        file = tmp_path / "bms.dbc"
        file.write_text(DBC)
        self.dbc("add", str(file), "--vehicle", "truck-01", "--yes")


def _place(database: Any, landing: Path, landing_settings: dict[str, Any]) -> Any:
    world = make_world(database)
    owner = engine(database.url())
    corrections = Corrections(owner, Settings(_env_file=None, **landing_settings))
    with receiving(world, **landing_settings) as client:
        yield Place(database, world, Pusher(client, world.keys["one"]), landing, landing_settings, corrections)
    owner.dispose()


@pytest.fixture
def place(database: Any, tmp_path: Path, landing_settings: dict[str, Any]) -> Any:
    yield from _place(database, tmp_path / "landing", landing_settings)


@pytest.fixture(scope="module")
def shared(module_database: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    landing = tmp_path_factory.mktemp("landing")
    yield from _place(module_database, landing, {"landing_url": f"file://{landing}"})


@pytest.fixture(scope="module")
def defined(shared: Place, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The definitions' rows, to be put in and taken out in an instant."""
    shared.define(tmp_path_factory.mktemp("dbc"))
    with shared.database.connect() as owner:
        kept = {
            table: owner.execute(f"SELECT * FROM {table}").fetchall() for table in ("dbc", "dbc_binding", "dbc_map")
        }

    def put_in() -> None:
        with shared.database.connect() as owner:
            for table, rows in kept.items():
                for row in rows:
                    owner.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)

    shared.undefine()
    return put_in


few = settings(
    max_examples=campaign.size(10, 200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# --- properties -----------------------------------------------------------------------------------


@few
@given(sent=uploads_sent.filter(lambda sent: any(one.is_log for one in sent)))
def test_logs_decoded_anew_are_as_if_the_definitions_had_always_been_there(
    shared: Place, defined: Any, sent: list[Upload]
) -> None:
    shared.undefine()
    empty(shared.database)
    for one in sent:
        one.push(shared.pusher)
    defined()
    outdated = shared.corrections.outdated_logs(shared.world.vehicle_ids["truck-01"])
    assert len(outdated) == sum(one.is_log for one in sent)
    list(shared.corrections.redecode(outdated))
    assert shared.corrections.outdated_logs(shared.world.vehicle_ids["truck-01"]) == []
    late = stored(shared.database), receipts(shared.database)
    values = every_value(shared.database, shared.landing)

    empty(shared.database)
    for one in sent:
        one.push(shared.pusher)
    assert late == (stored(shared.database), receipts(shared.database))
    for one, other in zip(values, every_value(shared.database, shared.landing), strict=True):
        assert one.equals(other)
    shared.undefine()


@few
@given(sent=uploads_sent, data=st.data())
def test_an_upload_taken_back_is_as_if_it_had_never_come(
    shared: Place, defined: Any, sent: list[Upload], data: st.DataObject
) -> None:
    empty(shared.database)
    wrong = data.draw(st.integers(0, len(sent) - 1))
    ids = [one.push(shared.pusher) for one in sent]
    before = stored(shared.database), receipts(shared.database)
    shared.corrections.void(ids[wrong], "wrong vehicle")
    shared.corrections.void(ids[wrong], "wrong vehicle")
    without = stored(shared.database)
    shared.corrections.retry(ids[wrong])
    assert (stored(shared.database), receipts(shared.database)) == before

    empty(shared.database)
    for one in sent[:wrong] + sent[wrong + 1 :]:
        one.push(shared.pusher)
    assert stored(shared.database) == without


@few
@given(sent=uploads_sent, data=st.data())
def test_a_clock_put_right_is_as_if_it_had_always_been_right(
    shared: Place, defined: Any, sent: list[Upload], data: st.DataObject
) -> None:
    empty(shared.database)
    wrong = data.draw(st.integers(0, len(sent) - 1))
    by_s = data.draw(st.sampled_from([-3600, -7, 1, 45, 86_400]))
    ids = [one.push(shared.pusher) for one in sent]
    for _ in range(2):
        shared.corrections.shift(ids[wrong], by_s)
    shifted = stored(shared.database)
    right = _moved(sent[wrong], by_s)

    empty(shared.database)
    for one in [*sent[:wrong], right, *sent[wrong + 1 :]]:
        one.push(shared.pusher)
    assert _without_hashes(stored(shared.database)) == _without_hashes(shifted)


def _moved(upload: Upload, by_s: int) -> Upload:
    if upload.is_log:
        moved = []
        for text in upload.body.decode().splitlines(keepends=True):
            time, rest = text[1:].split(")", 1)
            moved.append(f"({float(time) + by_s:.6f}){rest}")
        return Upload("".join(moved).encode(), True)
    rows = [json.loads(text) for text in upload.body.splitlines()]
    for row in rows:
        row["time"] = (dt.datetime.fromisoformat(row["time"]) + dt.timedelta(seconds=by_s)).isoformat()
    return Upload("\n".join(map(json.dumps, rows)).encode(), False)


def _without_hashes(found: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return found | {"quarantine": sorted(row[1:] for row in found["quarantine"])}


@few
@given(sent=uploads_sent, data=st.data())
def test_building_any_stretch_anew_changes_nothing(
    shared: Place, defined: Any, sent: list[Upload], data: st.DataObject
) -> None:
    empty(shared.database)
    ids = [one.push(shared.pusher) for one in sent]
    before = stored(shared.database), receipts(shared.database)
    low = data.draw(st.integers(0, 250))
    span = ((EPOCH_S + low) * 1_000_000, (EPOCH_S + low + data.draw(st.integers(1, 200))) * 1_000_000)
    with psycopg.connect(shared.database.url()) as db:
        rebuild = Rebuild(db, landing_of(shared.corrections.settings), shared.corrections.settings)
        rebuild.run({shared.world.vehicle_ids["truck-01"]: [span]}, [], "test")
    assert (stored(shared.database), receipts(shared.database)) == before
    assert ids


# --- single cases ---------------------------------------------------------------------------------


def test_an_upload_that_was_taken_back_stays_so_when_it_is_sent_again(place: Place) -> None:
    one = Upload(rows_of(0, 5, 0, ("speed_kmh",)), False)
    id_ = one.push(place.pusher)
    assert "taken back" in place.command("upload", "void", str(id_), "--reason", "a test drive")
    assert stored(place.database)["rows"] == []
    again = place.pusher.post(one.body, "application/x-ndjson").json()
    assert again["status"] == "duplicate"
    assert again["upload_id"] == str(id_)
    assert "taken back" in again["warnings"][0]
    assert stored(place.database)["rows"] == []
    assert place.pusher.get(f"/v1/uploads/{id_}").json()["status"] == "void"
    assert "void" in place.command("upload", "list")
    place.command("upload", "retry", str(id_))
    assert len(stored(place.database)["rows"]) == 5


@on_both
def test_a_log_of_a_wrong_clock_is_put_right(place: Place) -> None:
    late_s = 40_000_000
    lines = (b"(%d.000000) can0 18FEF100#FF0032FFFFFFFFFF\n" % (EPOCH_S - late_s + n) for n in range(3))
    body = b"".join(lines)
    answer = place.pusher.post(body, "application/octet-stream", path=PATH)
    assert answer.status_code == 422
    with place.database.connect() as owner:
        ((id_,),) = owner.execute("SELECT id FROM upload").fetchall()
    assert "3 rows, 3 accepted" in place.command("upload", "requeue", str(id_), "--shift", str(late_s))
    found = stored(place.database)["rows"]
    assert [row[1] for row in found] == [T0 + dt.timedelta(seconds=n) for n in range(3)]
    receipt = place.pusher.get(f"/v1/uploads/{id_}").json()
    assert receipt["status"] == "loaded"
    assert receipt["rows"]["accepted"] == 3
    assert receipt["rejects"] == []


def test_rows_of_a_wrong_clock_are_kept_and_put_right(place: Place) -> None:
    body = b'{"time": 5, "vehicle": "truck-01", "speed_kmh": 10}\n{"time": 6, "vehicle": "truck-01", "speed_kmh": 11}\n'
    for _ in range(2):
        answer = place.pusher.post(body, "application/x-ndjson")
        assert answer.status_code == 422
        assert "upload requeue" in answer.json()["detail"]
        assert [error["row"] for error in answer.json()["errors"]] == [1, 2]
    with place.database.connect() as owner:
        ((id_, status),) = owner.execute("SELECT id, status FROM upload").fetchall()
    assert status == "failed"
    with pytest.raises(NothingUsableError, match="before the vehicle's start"):
        place.corrections.retry(id_)
    with pytest.raises(NothingUsableError, match="shift of 7 s"):
        place.corrections.shift(id_, 7)
    place.corrections.shift(id_, EPOCH_S)
    assert [row[1].timestamp() - EPOCH_S for row in stored(place.database)["rows"]] == [5, 6]


def test_rows_with_a_fault_beside_the_clock_are_not_kept(place: Place) -> None:
    body = b'{"time": 5, "vehicle": "truck-01", "speed_kmh": 10}\n{"time": 6, "vehicle": "nobody", "speed_kmh": 11}\n'
    assert place.pusher.post(body, "application/x-ndjson").status_code == 422
    with place.database.connect() as owner:
        assert owner.execute("SELECT FROM upload").rowcount == 0


def test_what_failed_and_came_right_later_is_not_loaded_twice(place: Place) -> None:
    body = b'{"time": "2026-01-05T10:00:00Z", "vehicle": "truck-01", "speed_kmh": 10}\n'
    assert place.pusher.post(body, "application/x-ndjson").status_code == 422
    with place.database.connect() as owner:
        ((id_,),) = owner.execute("SELECT id FROM upload").fetchall()
        owner.execute("UPDATE assignment SET starts_on = '2026-01-01'")
    place.pusher.client.app.state.receiver.keys._callers.clear()
    assert place.pusher.post(body, "application/x-ndjson").status_code == 200
    with pytest.raises(CorrectionError, match="were loaded as upload"):
        place.corrections.retry(id_)
    assert len(stored(place.database)["rows"]) == 1


def test_rows_stay_after_their_gateways_binding_ended(place: Place) -> None:
    one = Upload(rows_of(0, 5, 0, ("speed_kmh",)), False)
    other = Upload(rows_of(0, 5, 1, ("speed_kmh",)), False)
    ids = [one.push(place.pusher), other.push(place.pusher)]
    with place.database.connect() as owner:
        owner.execute("DELETE FROM gateway_vehicle")
        owner.execute("UPDATE assignment SET ends_on = starts_on")
    place.corrections.void(ids[0], None)
    assert [row[2] for row in stored(place.database)["rows"]] == [21 + 3 * n for n in range(5)]
    assert stored(place.database)["quarantine"] == []


def test_the_days_are_stale_afterwards(place: Place) -> None:
    id_ = Upload(rows_of(0, 5, 0, ("speed_kmh",)), False).push(place.pusher)
    with place.database.connect() as owner:
        owner.execute("DELETE FROM stale_mark")
    place.corrections.void(id_, None)
    with place.database.connect() as owner:
        ((low, high, cause),) = owner.execute("SELECT from_time, to_time, cause FROM stale_mark").fetchall()
    assert low <= T0 <= T0 + dt.timedelta(seconds=4) <= high
    assert cause == "void"


def test_a_failure_half_way_changes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [Upload(rows_of(n, n + 5, n, ("speed_kmh",)), False).push(place.pusher) for n in range(3)]
    before = stored(place.database)
    monkeypatch.setattr("ingest.loader.mark", _broken)
    with pytest.raises(RuntimeError):
        place.corrections.void(ids[0], None)
    assert stored(place.database) == before
    assert place.pusher.get(f"/v1/uploads/{ids[0]}").json()["status"] == "loaded"


def _broken(*_: Any) -> None:
    raise RuntimeError("the disk is full")


def test_what_is_asked_for_must_be_there(place: Place) -> None:
    with pytest.raises(NotFoundError):
        place.corrections.void(uuid.uuid4(), None)
    id_ = Upload(rows_of(0, 5, 0, ("speed_kmh",)), False).push(place.pusher)
    with pytest.raises(CorrectionError, match="no CAN log"):
        list(place.corrections.redecode([id_]))


@on_both
def test_decoding_anew_by_command(place: Place, tmp_path: Path) -> None:
    Upload(log_of(0, 10, 0, "p"), True).push(place.pusher)
    file = tmp_path / "bms.dbc"
    file.write_text(DBC)
    said = place.dbc("add", str(file), "--vehicle", "truck-01", "--yes")
    assert "1 kept logs were decoded before this" in said
    assert "1 log decoded anew" in place.command("redecode", "--dbc", "bms.dbc")
    assert "already" in place.command("redecode", "--vehicle", "drayage/truck-01")
    assert "1 log decoded anew" in place.command("redecode", "--vehicle", "drayage/truck-01", "--all")
    (row, *_) = stored(place.database)["rows"]
    assert 352.5 in row
    with place.database.connect() as owner:
        ((key,),) = owner.execute("SELECT signals_key FROM upload_log").fetchall()
    objects = landing_of(place.corrections.settings).objects
    assert [entry.key for entry in objects.under(key.rpartition("/")[0])] == [key]
    with objects.opened(key) as kept:
        assert "can0/BMS.PackVoltage" in pl.read_parquet(kept)["signal"].cast(pl.String)
    assert not list((place.landing / "incoming").iterdir())
