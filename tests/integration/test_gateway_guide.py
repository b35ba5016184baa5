"""Everything that docs/gateway-guide.md shows is run against a real receiver, in its order and in one folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from receiver_kit import World, empty, make_world
from served import CHECKOUT, Served
from test_log_parts import speeds

from ingest.openapi import DESCRIPTION
from ingest.problems import PROBLEMS

GUIDE = (CHECKOUT / "docs" / "gateway-guide.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
RUN = [text for language, text in BLOCKS if language == "sh"]
C_HEADERS = ["/usr/include/curl/curl.h", *map(str, Path("/usr/include").glob("*/curl/curl.h"))]


def the(language: str) -> str:
    """The only block of a language."""
    [text] = [text for name, text in BLOCKS if name == language]
    return text


def command(words: str) -> str:
    """The only command with these words."""
    [text] = [text for text in RUN if words in text]
    return text


@dataclass
class Gateway:
    """A folder of a gateway's, and a receiver."""

    folder: Path
    served: Served
    database: Any

    def start(self, script: str) -> subprocess.Popen[str]:
        environment = os.environ | {
            "URL": f"http://127.0.0.1:{self.served.port}", "KEY": self.served.key, "NO_PROXY": "127.0.0.1",
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "HOME": str(self.folder),
        }  # fmt: skip
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script], cwd=self.folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def run(self, script: str) -> str:
        process = self.start(script)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output

    def stored(self, hour: int) -> int:
        """Rows of an hour of the guide's day."""
        with self.database.connect() as owner:
            found = owner.execute(
                "SELECT count(*) FROM telemetry WHERE time >= %s AND time < %s::timestamptz + interval '1 hour'",
                [f"2026-01-06T{hour:02d}:00:00Z"] * 2,
            ).fetchone()
        return int(found[0])


@pytest.fixture(scope="module")
def made(module_database: Any) -> World:
    return make_world(module_database)


@pytest.fixture
def it(made: World, module_database: Any, tmp_path: Path) -> Iterator[Gateway]:
    empty(module_database)
    served = Served(made, tmp_path / "landing")
    served.environment |= {"BEACHHEAD_METRICS_ADDRESS": ""}
    folder = tmp_path / "gateway"
    (folder / "bin").mkdir(parents=True)
    beachhead = folder / "bin" / "beachhead"
    program = "from pipelines.cli import typer_app; typer_app()"
    beachhead.write_text(f"#!/bin/sh\nPYTHONPATH={CHECKOUT} exec {sys.executable} -c '{program}' \"$@\"\n")
    beachhead.chmod(0o755)
    (folder / "rows.ndjson").write_text(the("ndjson"))
    try:
        yield Gateway(folder, served, module_database)
    finally:
        served.kill()
        served.client.close()


def test_every_command_is_run_by_a_test() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    named = re.findall(r'command\("([^"]+)"\)', source)
    assert {command(words) for words in named} == set(RUN)
    assert {language for language, _ in BLOCKS} == {"", "sh", "ndjson", "python", "c"}


def test_the_first_contact(it: Gateway) -> None:
    it.served.start()
    told = json.loads(it.run(command("v1/gateway")))
    assert "truck-01" in [vehicle["vehicle"] for vehicle in told["vehicles"]]
    for limit in ("max_body_bytes", "max_rows", "max_requests_per_s", "max_bytes_per_s"):
        assert limit in GUIDE
        assert limit in told
    receipt = json.loads(it.run(command("@rows.ndjson ")))
    assert (receipt["status"], receipt["rows"]["accepted"], receipt["fields_rejected"]) == ("loaded", 3, 1)
    assert [(reject["row"], reject["field"]) for reject in receipt["rejects"]] == [(3, "battery_soc_pct")]
    assert receipt["extra_signals"] == ["door_open"]
    again = json.loads(it.run(command("gzip -k")))
    assert (again["status"], again["upload_id"]) == ("duplicate", receipt["upload_id"])
    listed = json.loads(it.run(command("uploads?limit")))
    assert [upload["upload_id"] for upload in listed["uploads"]] == [receipt["upload_id"]]
    assert it.served.client.get(receipt["rejects_url"]).json()["rejects"] == receipt["rejects"]
    assert it.stored(8) == 3


def test_curl_waits_for_a_receiver_that_is_away(it: Gateway) -> None:
    sending = it.start(command("gzip -k"))
    time.sleep(1)
    it.served.start()
    output, _ = sending.communicate(timeout=60)
    assert sending.returncode == 0, output
    assert it.stored(8) == 3


def test_python_keeps_and_sends(it: Gateway) -> None:
    """Away at first, and the program killed; then the other one sends what both kept."""
    (it.folder / "keep_and_send.py").write_text(the("python"))
    first = it.start(command("python3"))
    wait_for(lambda: list((it.folder / "outbox").glob("[0-9]*")))
    time.sleep(0.5)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    (it.folder / "outbox" / "0.gz").write_bytes(b"no rows")
    second = it.start(command("python3"))
    time.sleep(1)
    it.served.start()
    output, _ = second.communicate(timeout=90)
    assert second.returncode == 0, output
    assert "0.gz was refused" in output
    assert output.count("60 rows") == 2
    assert sorted(path.name for path in (it.folder / "refused").iterdir()) == ["0.gz", "0.gz.problem.json"]
    assert list((it.folder / "outbox").iterdir()) == []
    assert it.stored(9) == 60


def test_c_keeps_and_sends(it: Gateway) -> None:
    if shutil.which("cc") is None or not any(map(os.path.exists, C_HEADERS)):
        pytest.skip("cc or libcurl4-openssl-dev is not installed")
    (it.folder / "keep_and_send.c").write_text(the("c"))
    compile_line, run_line = command("cc -Wall").splitlines()
    it.run(compile_line)
    first = it.start(run_line)
    wait_for(lambda: list((it.folder / "outbox-c").glob("[0-9]*")))
    time.sleep(0.5)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    (it.folder / "outbox-c" / "0.ndjson").write_text("no rows")
    second = it.start(run_line)
    time.sleep(1)
    it.served.start()
    output, _ = second.communicate(timeout=90)
    assert second.returncode == 0, output
    assert output.count(" sent\n") == 2
    assert "0.ndjson was refused" in output
    assert [path.name for path in (it.folder / "refused-c").iterdir()] == ["0.ndjson"]
    assert list((it.folder / "outbox-c").iterdir()) == []
    assert it.stored(8) == 3


def test_the_ready_made_client(it: Gateway) -> None:
    it.served.start()
    assert "loaded" in it.run(command("push rows.ndjson --url"))
    assert it.stored(8) == 3
    outgoing = it.folder / "outgoing"
    outgoing.mkdir()
    shutil.copy(it.folder / "rows.ndjson", outgoing / "again.ndjson")
    (outgoing / "bad.ndjson").write_text('{"time": "2026-01-06T08:00:00Z", "vehicle": "nobody"}\n')
    watching = it.start("exec " + command("push --watch"))
    try:
        wait_for(lambda: (outgoing / "sent" / "again.ndjson").exists() and len(list(outgoing.glob("refused/*"))) == 2)
    finally:
        watching.send_signal(signal.SIGTERM)
        output, _ = watching.communicate(timeout=60)
    assert watching.returncode == 1, output  # as something was refused
    assert "again.ndjson: sent, 1 uploads, 3 received" in output
    assert json.loads((outgoing / "refused" / "bad.ndjson.problem.json").read_text())["status"] == 403
    assert len((it.folder / "spool" / "receipts.ndjson").read_text().splitlines()) == 1
    assert "rows.ndjson: sent" in it.run(command("push rows.ndjson --spool"))
    assert it.stored(8) == 3


def test_raw_can_logs(it: Gateway) -> None:
    it.served.start()
    (it.folder / "drive.log").write_bytes(speeds(50))
    assert "loaded" in it.run(command("drive.log"))


def test_every_problem_is_in_the_table_as_it_is() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d+) \| (yes|no) \| .+ \|$", GUIDE, re.MULTILINE)
    assert len(rows) == len({name for name, _, _ in rows})
    assert {(name, int(status), again == "yes") for name, status, again in rows} == {
        (meaning.slug, meaning.status, meaning.retryable) for meaning in PROBLEMS.values()
    }


def test_the_guide_is_found() -> None:
    for text in ((CHECKOUT / "README.md").read_text(encoding="utf-8"), DESCRIPTION):
        assert "docs/gateway-guide.md" in text
    for link in re.findall(r"\]\(([a-z-]+\.md)\)", GUIDE):
        assert (CHECKOUT / "docs" / link).exists()


def wait_for(what: Any) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until
        time.sleep(0.05)
