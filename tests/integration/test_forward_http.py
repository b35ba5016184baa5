"""`beachhead push --watch` and a receiver, both as processes that die at random: each row is there once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from receiver_kit import World, at, empty, make_world
from served import CHECKOUT, Served

from tests import campaign

DAY_S = 86_400
DRAWN_S = (20, 900)
PROGRAM = "from pipelines.cli import typer_app; typer_app()"


@pytest.fixture(scope="module")
def made(module_database: Any) -> World:
    return make_world(module_database)


@pytest.fixture
def served(made: World, module_database: Any, tmp_path: Path) -> Iterator[Served]:
    empty(module_database)
    served = Served(made, tmp_path / "landing")
    served.environment |= {"BEACHHEAD_METRICS_ADDRESS": ""}
    try:
        yield served
    finally:
        served.kill()
        served.client.close()


class Gateway:
    """The command as a process, which is killed and started again on the same folders."""

    def __init__(self, served: Served, folder: Path, *more: str) -> None:
        self.inbox, self.spool, self.output = folder / "inbox", folder / "spool", folder / "output.ndjson"
        self.inbox.mkdir()
        self.command = [
            sys.executable, "-c", PROGRAM, "push", "--watch", str(self.inbox), "--spool", str(self.spool),
            "--url", f"http://127.0.0.1:{served.port}", "--key", served.key, "--json", *more,
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(self.command, env=environment, stdout=output, stderr=subprocess.DEVNULL)

    def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        code = self.process.wait(60)
        self.process = None
        return code

    def sent(self) -> int:
        return len(list((self.inbox / "sent").glob("*"))) if (self.inbox / "sent").exists() else 0

    def journal(self) -> list[dict[str, Any]]:
        lines = (self.spool / "receipts.ndjson").read_text().splitlines()
        return [json.loads(line) for line in lines]


def rows(first: int, count: int) -> bytes:
    """Seconds of a day; each row tells its own number."""
    made = ({"time": at(n), "vehicle": "truck-01", "odometer_km": n / 100} for n in range(first, first + count))
    return "".join(f"{json.dumps(row)}\n" for row in made).encode()


def write_day(inbox: Path, dice: random.Random, seconds: int, ended: threading.Event) -> int:
    """Write a day file by file, as a logger does: under another name first, or growing. How many files there are."""
    first, files = 0, 0
    while first < seconds:
        count = min(dice.randint(*DRAWN_S), seconds - first)
        body, name = rows(first, count), f"{first:06d}.ndjson"
        if files % 2:
            (inbox / f"{name}.part").write_bytes(body)
            (inbox / f"{name}.part").rename(inbox / name)
        else:
            with (inbox / name).open("wb") as file:
                file.write(body[: len(body) // 2])
                file.flush()
                ended.wait(0.02)
                file.write(body[len(body) // 2 :])
        first, files = first + count, files + 1
        ended.wait(dice.uniform(0, 0.05))
    return files


def stored(database: Any) -> tuple[int, int, int]:
    """Rows, different instants, and rows whose value is that of their own instant."""
    with database.connect() as owner:
        found = owner.execute(
            "SELECT count(*), count(DISTINCT time),"
            " count(*) FILTER (WHERE abs(odometer_km - extract(epoch FROM time - %s::timestamptz) / 100) < 0.006)"
            " FROM telemetry",
            [at(0)],
        ).fetchone()
    return tuple(found)


@pytest.mark.long
@pytest.mark.timeout(campaign.size(300, 3600))
def test_a_day_with_the_receiver_up_half_of_the_time_and_the_client_killed(
    served: Served, module_database: Any, tmp_path: Path
) -> None:
    dice, seconds = random.Random(campaign.SEED), campaign.size(DAY_S // 4, DAY_S)
    gateway = Gateway(served, tmp_path, "--settled", "0.5", "--batch-rows", "300")
    ended, files = threading.Event(), list[int]()
    logger = threading.Thread(
        target=lambda: files.append(write_day(gateway.inbox, random.Random(campaign.SEED + 1), seconds, ended))
    )
    gateway.start()
    logger.start()
    try:
        for _ in range(campaign.size(5, 100)):
            if served.process is None:
                served.start()
            time.sleep(dice.uniform(0.3, 2.5))
            served.kill()
            if dice.random() < 0.6:
                time.sleep(dice.uniform(0, 1))
                gateway.end(signal.SIGKILL)
                gateway.start()
            time.sleep(dice.uniform(0.1, 1.5))
        logger.join(120)
        served.start()
        until = time.monotonic() + campaign.size(150, 600)
        while not files or gateway.sent() < files[0]:
            assert time.monotonic() < until, f"{gateway.sent()} of {files} files arrived"
            time.sleep(0.2)
        assert gateway.end(signal.SIGTERM) == 0
    finally:
        ended.set()
        if gateway.process is not None:
            gateway.end(signal.SIGKILL)
    assert stored(module_database) == (seconds, seconds, seconds)
    assert sorted(path.name for path in gateway.inbox.iterdir()) == ["sent"]
    assert not any((gateway.spool / "waiting").iterdir())
    check_receipts(served, gateway, seconds)
    last = json.loads(gateway.output.read_text().splitlines()[-1])
    assert last["summary"]["waiting"] == 0


def check_receipts(served: Served, gateway: Gateway, seconds: int) -> None:
    """Each upload has one line in the client's journal and one receipt, and their rows add up."""
    journal = gateway.journal()
    assert len({(line["entry"], line["part"]) for line in journal}) == len(journal)
    assert len({line["upload_id"] for line in journal}) == len(journal)
    receipts = [served.client.get(f"/v1/uploads/{line['upload_id']}").json() for line in journal]
    assert {receipt["status"] for receipt in receipts} == {"loaded"}
    assert sum(receipt["rows"]["accepted"] for receipt in receipts) == seconds
    assert sum(receipt["rows"]["received"] for receipt in receipts) == seconds
    told = [line for line in journal if line["status"] != "queued"]
    assert {line["upload_id"]: line["rows"] for line in told} == {
        receipt["upload_id"]: receipt["rows"]
        for receipt in receipts
        if receipt["upload_id"] in {line["upload_id"] for line in told}
    }


def test_a_spool_is_sent_without_files_and_ends(served: Served, module_database: Any, tmp_path: Path) -> None:
    """A file is spooled while the receiver is away, and the client ended; the next one sends what waits and ends."""
    gateway = Gateway(served, tmp_path)
    file = tmp_path / "a.ndjson"
    file.write_bytes(rows(0, 10))
    spooling = [argument for argument in gateway.command if argument not in ("--watch", str(gateway.inbox))]
    gateway.command = [*spooling, str(file)]
    gateway.start()
    until = time.monotonic() + 30
    while not list(gateway.spool.glob("waiting/*/entry.json")):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert gateway.end(signal.SIGTERM) == 1
    assert json.loads(gateway.output.read_text().splitlines()[-1])["summary"]["waiting"] == 1
    file.unlink()
    served.start()
    gateway.command = spooling
    gateway.start()
    assert gateway.process is not None
    assert gateway.process.wait(60) == 0
    assert stored(module_database) == (10, 10, 10)
