"""Raw CAN logs through the receiver into the store."""

from __future__ import annotations

import datetime as dt
import gzip
import os
import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from receiver_kit import T0, Client, Pusher, World, empty, make_world, on_both, receiving

from ingest import log_receiver
from ingest.log_files import tell_alone
from tests import campaign

EPOCH_S = int(T0.timestamp())
PATH = "/v1/can-logs?vehicle=truck-01"


def line(second: float, can_id: int, data: bytes, channel: str = "can0") -> str:
    return f"({EPOCH_S + second:.6f}) {channel} {can_id:08X}#{data.hex().upper()}\n"


def speed(second: float, kmh: float) -> str:
    return line(second, 0x18FEF100, b"\xff" + struct.pack("<H", round(kmh * 256)) + b"\xff" * 5)


def pack(second: float, source: int, volts: float, amperes: float) -> str:
    raw = (0xFFFF, 0xFFFF, round(volts / 0.05), round((amperes + 1600) / 0.05))
    return line(second, 0x18F09000 | source, struct.pack("<4H", *raw))


@pytest.fixture
def logs(database: Any, tmp_path: Path, landing_settings: dict[str, Any]) -> Any:
    world = make_world(database)
    with receiving(world, **landing_settings) as client:
        yield database, Pusher(client, world.keys["one"]), tmp_path / "landing"


def push(pusher: Pusher, body: bytes, path: str = PATH) -> dict[str, Any]:
    answer = pusher.post(body, "application/octet-stream", path=path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows(database: Any, columns: str = "time, speed_kmh, battery_power_kw") -> list[Any]:
    with database.connect() as owner:
        return owner.execute(f"SELECT {columns} FROM telemetry ORDER BY time").fetchall()


@on_both
def test_a_plain_truck_log_needs_no_dbc(logs: Any) -> None:
    database, pusher, landing = logs
    body = "".join(speed(n / 10, 50 + n % 10) for n in range(30)).encode()
    receipt = push(pusher, body)
    assert receipt["rows"]["accepted"] == 3
    assert receipt["can"]["format"] == "candump"
    assert receipt["can"]["frames_read"] == receipt["can"]["frames_decoded"] == 30
    assert [row[1] for row in rows(database)] == [pytest.approx(54.5)] * 3
    objects = pusher.client.app.state.receiver.landing.objects
    assert objects.read(f"raw/{receipt['sha256'][:2]}/{receipt['sha256']}") == body
    (kept,) = objects.under(f"signals/{receipt['upload_id'][:2]}")
    with objects.opened(kept.key) as file:
        every = pl.read_parquet(file).filter(pl.col("signal").cast(pl.String) == "can0/CCVS1.SPN84@00")
    assert every["value"].to_list() == [50 + n % 10 for n in range(30)]
    assert not list((landing / "incoming").iterdir())


def test_power_is_formed_before_it_is_averaged_and_packs_add(logs: Any) -> None:
    database, pusher, _ = logs
    body = pack(0, 0xF3, 400, 100) + pack(0, 0xF4, 400, 10) + pack(0.5, 0xF3, 300, -100) + pack(0.5, 0xF4, 300, 10)
    push(pusher, body.encode())
    ((_, volts, amperes, power),) = rows(database, "time, battery_voltage_v, battery_current_a, battery_power_kw")
    # pack 1: (40 - 30) / 2 kW; pack 2: (4 + 3) / 2 kW; mean V x mean I would be 350 x 10 W
    assert (volts, amperes, power) == (pytest.approx(350), pytest.approx(10), pytest.approx(5 + 3.5))


@on_both
def test_the_same_log_again_is_a_duplicate_also_when_compressed(logs: Any) -> None:
    database, pusher, _ = logs
    body = "".join(speed(n, 50) for n in range(5)).encode()
    first, again = push(pusher, body), push(pusher, gzip.compress(body))
    assert again["status"] == "duplicate"
    assert again["upload_id"] == first["upload_id"]
    assert len(rows(database)) == 5


def test_a_raw_log_outranks_rows(logs: Any) -> None:
    database, pusher, _ = logs
    sent = [{"vehicle": "truck-01", "time": T0.isoformat(), "speed_kmh": 40.0, "battery_soc_pct": 70.0}]
    pusher.push(sent)
    receipt = push(pusher, (speed(0, 50) + speed(1, 50)).encode())
    assert receipt["rows"]["merged"] == 1
    assert receipt["rows"]["replaced"] == 1
    assert rows(database, "speed_kmh, battery_soc_pct") == [(50.0, 70.0), (50.0, None)]
    with database.connect() as owner:
        set_aside = owner.execute("SELECT time, field, value, reason FROM upload_reject").fetchall()
    assert set_aside == [(T0, "speed_kmh", "40", "a raw log took its place")]


@on_both
def test_what_another_log_told_is_not_replaced_but_told_together(logs: Any) -> None:
    database, pusher, _ = logs
    pusher.push([{"vehicle": "truck-01", "time": T0.isoformat(), "engine_speed_rpm": 700}])
    push(pusher, speed(0, 50).encode())
    engine = line(0.2, 0x0CF00400, bytes([0xFF, 0xFF, 0xFF]) + struct.pack("<H", 8 * 900) + b"\xff" * 3)
    receipt = push(pusher, (speed(0.5, 60) + engine).encode())
    assert rows(database, "speed_kmh, engine_speed_rpm") == [(55.0, 900.0)]
    assert receipt["rows"]["replaced"] == 1
    with database.connect() as owner:
        set_aside = owner.execute("SELECT field, value FROM upload_reject").fetchall()
    assert set_aside == [("engine_speed_rpm", "700")]


def test_unknown_ids_only_are_kept_with_a_warning(logs: Any) -> None:
    _, pusher, _ = logs
    receipt = push(pusher, "".join(line(n, 0x0CDEAD00, b"\x01") for n in range(3)).encode())
    assert receipt["rows"]["received"] == 0
    assert receipt["can"]["unknown_ids"] == [{"channel": "can0", "id": "0CDEAD00", "frames": 3}]
    assert receipt["warnings"]


def test_garbage_lines_are_counted_and_the_rest_loads(logs: Any) -> None:
    database, pusher, _ = logs
    receipt = push(pusher, (speed(0, 50) + "what is this\n" + speed(1, 50)).encode())
    assert receipt["can"]["lines_rejected"] == 1
    assert len(rows(database)) == 2


@pytest.mark.parametrize(
    ("body", "path", "status", "words"),
    [
        (b"", PATH, 415, "not a CAN log"),
        (b"hello\n" * 10, PATH, 415, "not a CAN log"),
        (b"(0.000000) can0 18FEF100#FF0032FFFFFFFFFF\n", PATH, 422, "start="),
        (b"(0.000000) can0 18FEF100#FF0032FFFFFFFFFF\n", PATH + "&format=nonsense", 415, "must be one of"),
        (speed(0, 50).encode(), "/v1/can-logs?vehicle=bus-01", 403, "not a vehicle"),
        (speed(0, 50).encode(), PATH + "&tz=Mars/Base", 400, "time zone"),
    ],
)
def test_what_cannot_be_used_is_refused_and_not_kept(
    logs: Any, body: bytes, path: str, status: int, words: str
) -> None:
    database, pusher, landing = logs
    answer = pusher.post(body, "application/octet-stream", path=path)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]
    assert rows(database) == []
    assert not [file for file in landing.rglob("*") if file.is_file()]


def test_a_key_that_is_revoked_while_its_log_is_read_loads_nothing(logs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    database, pusher, landing = logs
    read = []

    def told(*more: Any) -> Any:
        read.append(more)
        with database.connect() as owner:
            owner.execute("UPDATE api_key SET revoked_at = now() WHERE prefix = %s", [pusher.key.split("_")[1]])
        return tell_alone(*more)

    assert pusher.get("/v1/gateway").status_code == 200
    monkeypatch.setattr(log_receiver, "tell_alone", told)
    for _ in range(2):
        assert pusher.post(speed(0, 50).encode(), "application/octet-stream", path=PATH).status_code == 401
    assert len(read) == 1
    assert rows(database) == []
    assert not [file for file in landing.rglob("*") if file.is_file()]
    with database.connect() as owner:
        assert owner.execute("SELECT count(*) FROM upload").fetchone() == (0,)


def test_an_idempotency_key_of_a_duplicate_means_this_log(logs: Any) -> None:
    _, pusher, _ = logs
    first = push(pusher, speed(0, 50).encode())
    named = {"path": PATH, "Idempotency_Key": "a"}
    again = pusher.post(speed(0, 50).encode(), "application/octet-stream", **named).json()
    assert (again["status"], again["upload_id"]) == ("duplicate", first["upload_id"])
    assert pusher.post(speed(0, 51).encode(), "application/octet-stream", **named).status_code == 422


def test_a_log_of_a_wrong_clock_is_refused_but_kept_once(logs: Any) -> None:
    database, pusher, landing = logs
    body = b"(9999999999.000000) can0 18FEF100#FF0032FFFFFFFFFF\n"
    for _ in range(2):
        answer = pusher.post(body, "application/octet-stream", path=PATH)
        assert answer.status_code == 422, answer.text
        assert "future" in answer.json()["detail"]
        assert "upload requeue" in answer.json()["detail"]
    assert rows(database) == []
    with database.connect() as owner:
        ((id_, status, reason),) = owner.execute("SELECT id, status, reason FROM upload").fetchall()
    assert status == "failed"
    assert str(id_) in answer.json()["detail"]
    assert "future" in reason
    assert pusher.get(f"/v1/uploads/{id_}").json()["status"] == "failed"
    assert len([file for file in landing.rglob("*") if file.is_file()]) == 1


def test_a_relative_clock_starts_when_it_is_said(logs: Any) -> None:
    database, pusher, _ = logs
    body = b"(0.000000) can0 18FEF100#FF0032FFFFFFFFFF\n(1.000000) can0 18FEF100#FF0032FFFFFFFFFF\n"
    push(pusher, body, PATH + "&start=2026-01-06T09:00:00Z")
    start = dt.datetime(2026, 1, 6, 9, tzinfo=dt.UTC)
    assert [row[0] for row in rows(database)] == [start, start + dt.timedelta(seconds=1)]


# --- a log cut anywhere ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared_world(module_database: Any) -> World:
    return make_world(module_database)


@pytest.fixture(scope="module")
def shared_client(shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with receiving(shared_world, landing_url=f"file://{tmp_path_factory.mktemp('landing')}") as client:
        yield client


def trouble(second: float, *codes: tuple[int, int]) -> list[str]:
    """A report of active trouble codes (number, failure mode): one frame, or a broadcast of several."""
    data = bytes([0x04 if codes else 0, 0xFF]) + b"".join(struct.pack("<HBB", spn, fmi, 1) for spn, fmi in codes)
    if len(codes) < 2:
        return [line(second, 0x18FECA0B, data.ljust(6, b"\0").ljust(8, b"\xff"))]
    packets = [data[n : n + 7].ljust(7, b"\xff") for n in range(0, len(data), 7)]
    announced = bytes([0x20, len(data), 0, len(packets), 0xFF, 0xCA, 0xFE, 0x00])
    sent = [line(second + 0.06 * n, 0x18EBFF0B, bytes([n]) + packet) for n, packet in enumerate(packets, start=1)]
    return [line(second, 0x18ECFF0B, announced), *sent]


def _lines() -> list[str]:
    """Three and a half minutes: speed, two packs whose voltage and current vary, a state that stays, trouble codes."""
    found = []
    for n in range(0, 2100, 3):
        second = n / 10
        found.append(speed(second, 30 + n % 40))
        found.append(pack(second + 0.01, 0xF3, 380 + n % 20, 50 - n % 90))
        if n % 2:
            found.append(pack(second + 0.02, 0xF4, 380 + n % 20, 40 - n % 70))
        found.append(line(second + 0.03, 0x18F0010B, bytes([0xFF, n // 500]) + b"\xff" * 6))
        if n % 30 == 0:
            active = [(110, 3)] * (500 < n < 1500) + [(523000 & 0xFFFF, 12)] * (n % 900 < 600)
            found += trouble(second + 0.04, *active)
    return sorted(found)


LINES = _lines()


def _store(database: Any) -> tuple[list[Any], list[Any], list[Any]]:
    signals = "speed_kmh, battery_voltage_v, battery_current_a, battery_power_kw, amber_warning_lamp, fault_count"
    with database.connect() as owner:
        extras = owner.execute(
            "SELECT name, time, number FROM signal_sample s JOIN extra_signal e ON e.id = signal_id ORDER BY 1, 2"
        ).fetchall()
        episodes = owner.execute("SELECT * FROM fault_event ORDER BY spn, time").fetchall()
    return rows(database, f"time, {signals}"), extras, episodes


@pytest.fixture(scope="module")
def as_whole(module_database: Any, shared_world: World, shared_client: Client) -> tuple[list[Any], ...]:
    push(Pusher(shared_client, shared_world.keys["one"]), "".join(LINES).encode())
    whole = _store(module_database)
    assert len(whole[0]) == 210
    assert whole[1]
    assert {row[-1] for row in whole[0] if row[-1] is not None} == {0, 1, 2}
    assert len([episode for episode in whole[2] if episode[4] == 110]) == 1
    assert len([episode for episode in whole[2] if episode[4] != 110]) == 3
    return whole


@settings(
    max_examples=campaign.size(12, 300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(1, len(LINES) - 1), min_size=1, max_size=4, unique=True), data=st.data())
def test_a_log_cut_anywhere_in_any_order_is_the_whole(
    module_database: Any, shared_world: World, shared_client: Client, as_whole: tuple[list[Any], ...],
    cuts: list[int], data: st.DataObject,
) -> None:  # fmt: skip
    empty(module_database)
    edges = [0, *sorted(cuts), len(LINES)]
    parts = ["".join(LINES[a:b]) for a, b in pairwise(edges)]
    pusher = Pusher(shared_client, shared_world.keys["one"])
    for part in data.draw(st.permutations(parts)):
        push(pusher, part.encode())
    assert _store(module_database) == as_whole


# --- definitions ----------------------------------------------------------------------------------

DATA = Path(os.environ.get("BEACHHEAD_SAMPLE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
DBC = """VERSION ""
BU_:
BO_ 256 BMS: 8 Vector__XXX
 SG_ PackCurrent : 0|16@1- (0.1,0) [0|0] "A" Vector__XXX
 SG_ PackVoltage : 16|16@1+ (0.1,0) [0|0] "V" Vector__XXX
 SG_ Contactor : 32|1@1+ (1,0) [0|1] "" Vector__XXX
"""


def dbc(database: Any, *arguments: str) -> str:
    """`beachhead dbc` on the test's database."""
    program = [sys.executable, "-c", "from pipelines.cli import app; app()", "dbc", *arguments]
    environment = os.environ | {"BEACHHEAD_DATABASE_URL": database.url(), "COLUMNS": "200"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_dbc_is_added_mapped_and_used(logs: Any, tmp_path: Path) -> None:
    database, pusher, _ = logs
    file = tmp_path / "bms.dbc"
    file.write_text(DBC)
    shown = dbc(database, "add", str(file), "--vehicle", "truck-01", "--channel", "can1", "--yes")
    assert "battery_current_a" in shown
    assert "BMS.PackCurrent" in shown
    dbc(database, "map", "bms.dbc", "battery_current_a=BMS.PackCurrent*-1")
    assert "can1" in dbc(database, "list")
    frame = struct.pack("<hHB3x", 1000, 4000, 1).hex()
    body = f"({EPOCH_S}.000000) can1 100#{frame}\n({EPOCH_S}.500000) can0 100#{frame}\n"
    receipt = push(pusher, body.encode())
    assert receipt["can"]["unknown_ids"] == [{"channel": "can0", "id": "100", "frames": 1}]
    assert receipt["extra_signals"] == ["can1/BMS.Contactor"]
    ((_, volts, amperes, power),) = rows(database, "time, battery_voltage_v, battery_current_a, battery_power_kw")
    assert (volts, amperes, power) == (pytest.approx(400), pytest.approx(-100), pytest.approx(-40))


def test_a_real_electric_car_on_its_powertrain_bus(logs: Any, tmp_path: Path) -> None:
    folder = DATA / "kona-ev-can"
    if not folder.exists():
        pytest.skip("kona-ev-can is not in BEACHHEAD_SAMPLE_DATA")
    database, pusher, landing = logs
    dbc(database, "add", str(folder / "pcan.dbc"), "--vehicle", "truck-01", "--channel", "0", "--yes")
    (log,) = folder.glob("230112*.csv")
    receipt = push(pusher, log.read_bytes(), PATH + "&start=2026-01-06T08:00:00Z")
    assert receipt["can"]["format"] == "gvret"
    assert receipt["can"]["frames_read"] == 39_546
    (file,) = (landing / "signals").rglob("*.parquet")
    every = pl.read_parquet(file).with_columns(pl.col("signal").cast(pl.String))
    spans = {name: (min(values), max(values)) for name, values in every.group_by("signal").agg("value").iter_rows()}
    assert spans["0/Batt_HV_Status.VBatt"] == (pytest.approx(354.8), pytest.approx(355.1))
    assert spans["0/Batt_HV_Status.IBatt"] == (pytest.approx(0), pytest.approx(3.4))
    first = next(row for row in rows(database, "displayed_soc_pct, battery_voltage_v") if None not in row)
    assert first[0] == pytest.approx(36.5)
    assert 354.8 <= first[1] <= 355.1


def test_lamps_also_come_by_transport_messages(logs: Any) -> None:
    database, pusher, _ = logs
    # two trouble codes: ten bytes, in two packets; the red stop lamp is on, the others off
    codes = bytes([0b00010000, 0xFF]) + bytes([0x5B, 0x00, 0x03, 0x01]) + bytes([0x6E, 0x00, 0x00, 0x05])
    body = line(0, 0x18ECFF21, bytes([0x20, 10, 0, 2, 0xFF, 0xCA, 0xFE, 0x00]))
    body += line(0.05, 0x18EBFF21, b"\x01" + codes[:7]) + line(0.1, 0x18EBFF21, b"\x02" + codes[7:] + b"\xff" * 4)
    body += line(1, 0x18FECA00, bytes([0, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF]))
    body += line(10, 0x18FECA00, bytes([0, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF]))
    push(pusher, body.encode())
    # one second later another controller says off: the first one's word still stands; nine seconds later no more
    assert rows(database, "red_stop_lamp, amber_warning_lamp") == [(True, False), (True, False), (False, False)]
