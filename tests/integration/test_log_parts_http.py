"""Raw CAN logs in parts over real HTTP, with a receiver that is killed."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from receiver_kit import World, empty, make_world
from served import CHECKOUT, OWN_MOUNTS, Served
from test_log_parts import EPOCH_S, QUERY, files, same, speeds
from typer.testing import CliRunner, Result

from ingest.gateway import parts as client_parts
from ingest.gateway.parts import LargeLog
from ingest.gateway.push import Outcome, Patience, push
from pipelines.cli import typer_app
from tests import campaign

LOG = speeds(3000)
SHA256 = hashlib.sha256(LOG).hexdigest()
PART_BYTES = 20_000
PARTS = "/v1/can-logs/parts"


class Parts(Served):
    """A receiver to which a log is sent in parts."""

    def put(self, name: str, offset: int, body: bytes) -> httpx.Response:
        return self.client.put(f"{PARTS}/{name}", params={"offset": offset}, content=body)

    def durable_bytes(self, name: str) -> int:
        answer = self.client.get(f"{PARTS}/{name}")
        return answer.json()["durable_bytes"] if answer.is_success else 0

    def complete(self, name: str) -> httpx.Response:
        return self.client.post(f"{PARTS}/{name}/complete?{QUERY}&sha256={SHA256}")


@pytest.fixture(scope="module")
def made(module_database: Any) -> World:
    return make_world(module_database)


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    return tmp_path / "landing"


@pytest.fixture
def served(made: World, module_database: Any, landing: Path) -> Iterator[Parts]:
    empty(module_database)
    served = Parts(made, landing)
    served.start()
    try:
        yield served
    finally:
        served.kill()
        served.client.close()


def test_a_receiver_killed_between_and_during_parts(served: Parts, landing: Path, module_database: Any) -> None:
    offset, kills = 0, 0
    while offset < len(LOG):
        assert served.put("drive", offset, LOG[offset : offset + PART_BYTES]).json()["durable_bytes"] > offset
        offset = served.durable_bytes("drive")
        if offset // PART_BYTES == 2:
            served.kill()
        elif offset // PART_BYTES == 4:
            part = LOG[offset : offset + PART_BYTES]
            with served.begun(f"{PARTS}/drive?offset={offset}", "PUT", part[:6000], len(part)):
                served.kill()
        if served.process is None:
            kills += 1
            served.start()
            assert served.durable_bytes("drive") == offset
    assert kills == 2
    receipt = served.complete("drive").json()
    assert receipt["status"] == "loaded"
    assert not [
        name for name in files(landing) if "raw" not in name and "signals" not in name and "finished" not in name
    ]
    empty(module_database)
    assert same(served.client.post(f"/v1/can-logs?{QUERY}", content=LOG).json()) == same(receipt)


@pytest.mark.long
@pytest.mark.timeout(campaign.size(300, 3600))
def test_a_receiver_killed_at_any_moment(
    served: Parts, module_database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway's client sends on, and asks until it has the receipt; the receiver dies now and then."""
    monkeypatch.setattr(client_parts, "PART_BYTES", 4000)
    monkeypatch.setattr(client_parts, "LEAST_PART_BYTES", 1000)
    log, dice = speeds(campaign.size(3000, 50_000)), random.Random(campaign.SEED)
    file = tmp_path / "drive.log"
    file.write_bytes(log)
    outcomes: list[Outcome] = []

    def send() -> None:
        patience = Patience(tries=10_000, longest_wait_s=0.1)
        large = LargeLog(file, file.name, {"vehicle": "truck-01"})
        outcomes.extend(push([large], str(served.client.base_url), served.key, patience=patience))

    sender = threading.Thread(target=send)
    sender.start()
    for _ in range(campaign.size(3, 60)):
        time.sleep(dice.uniform(0.02, 0.3))
        served.kill()
        served.start()
    sender.join(300)
    (outcome,) = outcomes
    assert outcome.receipt is not None, outcome.problem
    assert outcome.receipt.status in ("loaded", "duplicate")
    receipt = outcome.receipt.model_dump(mode="json")
    again = served.client.post(f"{PARTS}/{hashlib.sha256(log).hexdigest()}/complete?{QUERY}").json()
    assert same(again) == same({**receipt, "status": "duplicate"})
    empty(module_database)
    whole = served.client.post(f"/v1/can-logs?{QUERY}", content=log).json()
    assert same(whole) == same({**receipt, "status": "loaded"})


def test_a_receiver_killed_while_it_reads_the_log(served: Parts, module_database: Any) -> None:
    served.put("drive", 0, LOG)
    with module_database.connect() as owner:
        # whoever loads waits here
        owner.execute("LOCK TABLE upload IN ACCESS EXCLUSIVE MODE")
        failed: list[Exception] = []

        def complete() -> None:
            try:
                served.complete("drive")
            except httpx.TransportError as error:
                failed.append(error)

        asking = threading.Thread(target=complete)
        asking.start()
        _wait_for_lock(module_database)
        busy = served.complete("drive")
        assert (busy.status_code, busy.json()["type"]) == (503, "urn:beachhead:problem:busy")
        served.kill()
        asking.join(30)
        assert failed
    served.start()
    assert served.durable_bytes("drive") == len(LOG)
    assert served.complete("drive").json()["status"] == "loaded"
    assert served.complete("drive").json()["status"] == "duplicate"


def test_a_client_that_did_not_wait_for_the_receipt_gets_it_later(served: Parts, module_database: Any) -> None:
    served.put("drive", 0, LOG)
    with module_database.connect() as owner:
        owner.execute("LOCK TABLE upload IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(httpx.ReadTimeout):
            served.client.post(f"{PARTS}/drive/complete?{QUERY}", timeout=1)
        _wait_for_lock(module_database)
        assert served.complete("drive").json()["type"] == "urn:beachhead:problem:busy"
    until = time.monotonic() + 30
    while not (answer := served.complete("drive")).is_success and time.monotonic() < until:
        time.sleep(0.1)
    assert answer.json()["status"] == "duplicate"
    assert answer.json()["rows"]["accepted"] == 3000


def _wait_for_lock(database: Any) -> None:
    until = time.monotonic() + 30
    with database.server.admin() as admin:
        while time.monotonic() < until:
            waiting = admin.execute(
                "SELECT FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'", [database.name]
            )
            if waiting.rowcount:
                return
            time.sleep(0.02)
    raise TimeoutError("nobody waits for the lock")


@pytest.mark.parametrize("length", [len(LOG), None], ids=["content-length", "chunked"])
def test_a_body_that_is_cut_leaves_nothing(served: Parts, landing: Path, length: int | None) -> None:
    """Neither a part nor a whole log: the first half of either could be read by itself."""
    half = LOG[: len(LOG) // 2]
    for method, target in (("PUT", f"{PARTS}/cut?offset=0"), ("POST", f"/v1/can-logs?{QUERY}")):
        with served.begun(target, method, half, length):
            pass
    with served.begun(f"{PARTS}/cut?offset=0", "PUT", half, length) as connection:
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        assert b" 200 " not in connection.recv(1000)
    time.sleep(0.5)
    assert served.durable_bytes("cut") == 0
    assert served.client.get("/v1/uploads").json()["uploads"] == []
    assert files(landing) == []


def test_a_full_disk_is_told_and_keeps_nothing_half(made: World, module_database: Any, landing: Path) -> None:
    if subprocess.run([*OWN_MOUNTS, "true"], capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    empty(module_database)
    landing.mkdir()
    served = Parts(made, landing, disk_bytes=2**20)
    served.start()
    try:
        _fill(served)
        answer = served.complete("drive")
        assert _is_full(answer), answer.text
        assert served.durable_bytes("drive") == len(LOG)
        assert _is_full(served.client.post(f"/v1/can-logs?{QUERY}", content=b"x" * 2**21))
        served.client.delete(f"{PARTS}/filler")
        assert _is_full(served.put("large", 0, b"x" * 2**21))
        assert served.client.get(f"{PARTS}/large").status_code == 404
        assert served.complete("drive").json()["status"] == "loaded"
    finally:
        served.kill()
        served.client.close()


def _fill(served: Parts) -> None:
    """A log that is all there, and another one whose parts fill the disk; a part that does not fit changes nothing."""
    assert served.put("drive", 0, LOG).is_success
    offset = 0
    for size_bytes in (200_000, 20_000, 4096):
        while (answer := served.put("filler", offset, b"x" * size_bytes)).is_success:
            offset += size_bytes
        assert _is_full(answer), answer.text
        assert served.durable_bytes("filler") == offset
    assert offset > 500_000


def _is_full(answer: httpx.Response) -> bool:
    told = answer.json()
    return (answer.status_code, told["type"], told["retryable"]) == (503, "urn:beachhead:problem:storage-full", True)


def test_the_commands_of_the_documentation_work(served: Parts, tmp_path: Path) -> None:
    text = (CHECKOUT / "docs" / "can.md").read_text().partition("## Large logs, in parts")[2]
    script = text.partition("```sh\n")[2].partition("```")[0]
    script = script.replace("http://127.0.0.1:8000", str(served.client.base_url)).replace("head -c 8M", "head -c 50K")
    (tmp_path / "drive.log").write_bytes(LOG)
    served.put("drive-2026-01-06", 0, LOG[:10])
    environment = os.environ | {"KEY": served.key, "no_proxy": "*"}
    done = subprocess.run(
        ["sh", "-euc", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert SHA256 in done.stdout
    (receipt,) = served.client.get("/v1/uploads").json()["uploads"]
    assert receipt["rows"]["accepted"] == 3000


# --- beachhead push -------------------------------------------------------------------------------

GOLDEN = CHECKOUT / "tests" / "golden" / "can"


def pushed(served: Parts, *arguments: str) -> list[dict[str, Any]]:
    """What `beachhead push` tells of each file."""
    done = command(served, *arguments, "--json")
    assert done.exit_code == 0, done.output
    told: list[dict[str, Any]] = json.loads(done.stdout)
    return told


def command(served: Parts, *arguments: str) -> Result:
    return CliRunner().invoke(
        typer_app, ["push", "--url", str(served.client.base_url), "--key", served.key, *arguments]
    )


def test_push_takes_logs_and_rows_from_one_folder(
    served: Parts, landing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path /= "logs"
    (tmp_path / "more").mkdir(parents=True)
    (tmp_path / "a.csv").write_bytes((GOLDEN / "gvret.csv").read_bytes())
    (tmp_path / "b.csv").write_text("time,speed_kmh\n2026-01-06T12:00:00Z,42.5\n2026-01-06T12:00:01Z,43.5\n")
    (tmp_path / "c.log.gz").write_bytes(gzip.compress(LOG))
    (tmp_path / "d.log").write_bytes(speeds(1000, since_s=5000))
    monkeypatch.setattr("ingest.gateway.logs.WHOLE_BYTES", 40_000)
    monkeypatch.setattr(client_parts, "PART_BYTES", 20_000)
    arguments = (str(tmp_path), "--vehicle", "truck-01", "--start", "2026-01-06T20:00:00+00:00")
    told = pushed(served, *arguments)
    assert [row["status"] for row in told] == ["loaded"] * 4
    assert [row["frames_read"] for row in told] == [290, None, 3000, 1000]
    assert [row["frames_decoded"] for row in told][1:] == [None, 3000, 1000]
    assert [row["accepted"] for row in told][1:3] == [2, 3000]
    assert len(list(landing.glob("parts/*/finished/*"))) == 1
    again = pushed(served, *arguments)
    assert [row["upload"] for row in again] == [row["upload"] for row in told]
    assert {row["status"] for row in again} == {"duplicate"}
    shown = command(served, *arguments).stdout
    assert "frames read" in shown
    assert "frames decoded" in shown
    assert "frames_read" not in pushed(served, str(tmp_path / "b.csv"), "--vehicle", "truck-01")[0]


def test_push_says_what_a_log_needs(served: Parts, tmp_path: Path) -> None:
    log = GOLDEN / "gvret.csv"
    done = command(served, str(log))
    assert done.exit_code == 2
    assert "gvret.csv is a raw CAN log" in done.stderr
    assert "--vehicle" in done.stderr
    done = command(served, str(log), "--vehicle", "truck-01", "--start", "2026-01-06 08:00")
    assert done.exit_code == 2
    assert "offset" in done.stderr
    done = command(served, str(log), "--vehicle", "truck-01")
    assert done.exit_code == 1
    assert "start=2026-01-06T08:00:00Z" in done.stdout
    other = tmp_path / "notes.txt"
    other.write_text("no log, no rows")
    done = command(served, str(other), "--vehicle", "truck-01")
    assert done.exit_code == 1
    assert "raw CAN log" in str(done.exception)


def test_a_gateway_killed_in_the_middle_goes_on(served: Parts, tmp_path: Path) -> None:
    """The command itself, and a log of the size that it sends in parts."""
    file = tmp_path / "drive.log"
    line = f"({EPOCH_S}.000000) can0 18FEF100#FF0032FFFFFFFFFF\n".encode()
    file.write_bytes(line * (34 * 2**20 // len(line)))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    beachhead = [str(Path(sys.executable).with_name("beachhead")), "push", str(file), "--vehicle", "truck-01", "--json"]
    environment = served.environment | {
        "BEACHHEAD_PUSH_URL": str(served.client.base_url), "BEACHHEAD_PUSH_KEY": served.key,
    }  # fmt: skip
    first = subprocess.Popen(beachhead, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (kept := served.durable_bytes(sha256)) and time.monotonic() < until:
        time.sleep(0.01)
    first.kill()
    first.wait(30)
    assert 0 < kept < file.stat().st_size
    done = subprocess.run(beachhead, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    assert (told["status"], told["frames_read"]) == ("loaded", file.stat().st_size // len(line))
