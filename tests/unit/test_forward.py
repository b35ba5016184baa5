"""Store and forward against a receiver that answers by script: what waits, what goes, what is put aside."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard
from test_push import problem, receipt
from typer.testing import CliRunner

from ingest.gateway.files import file_uploads
from ingest.gateway.forward import Done, Forwarder, Tally, Teller
from ingest.gateway.logs import log_upload
from ingest.gateway.push import Patience
from ingest.gateway.spool import Entry, FileChangedError, Source, Spool, SpoolError
from ingest.gateway.watched import Watched
from pipelines.cli import typer_app

BATCH = 2


def refusal(status: int = 422, slug: str = "nothing-usable", *, retryable: bool = False) -> httpx.Response:
    body = {
        "type": f"urn:beachhead:problem:{slug}", "title": "t", "status": status, "detail": f"is {slug}",
        "retryable": retryable,
    }  # fmt: skip
    return httpx.Response(status, json=body)


class Setting:
    """A spool, a watched folder and a receiver; each run is a process of its own, as far as the spool can tell."""

    def __init__(self, folder: Path) -> None:
        self.spool, self.inbox = folder / "spool", folder / "inbox"
        self.inbox.mkdir()
        self.answers: list[Any] = []
        self.bodies: list[bytes] = []
        self.told: list[Done] = []
        self.trouble: list[str] = []
        self.waits: list[float] = []
        self.lock = threading.Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            answer = self.answers.pop(0) if self.answers else None
            if callable(answer):
                answer = answer(request)
            if isinstance(answer, Exception):
                raise answer
            if answer is None:
                self.bodies.append(zstandard.ZstdDecompressor().decompress(request.content))
        return answer or receipt(request)

    def write(self, name: str, *rows: int) -> Path:
        path = self.inbox / name
        path.write_text("".join(f'{{"time": {row}}}\n' for row in rows))
        return path

    def run(self, *files: Path, watch: bool = False, after: str = "move", make: Any = None) -> Tally:
        stop, waiting = threading.Event(), self.spool / "waiting"

        def uploads(path: Path) -> Any:
            return file_uploads(path, vehicle="v", max_rows=BATCH).uploads

        def slept(seconds: float) -> None:
            self.waits.append(seconds)
            assert len(self.waits) < 100

        class Once(Watched):
            """Looks twice, so that what is there has not changed, and ends when nothing waits."""

            looks = 0

            def complete(self) -> Iterator[Source]:
                self.looks += 1
                yield from super().complete()
                if self.looks > 2 and not any(waiting.iterdir()):
                    stop.set()

        with closing(Spool(self.spool)) as spool:
            forwarder = Forwarder(
                spool, "http://receiver", "k", make or uploads, Teller(self.told.append, self.trouble.append),
                stop=stop, watched=Once(self.inbox, 0) if watch else None, after=after,
                patience=Patience(sleep=slept, dice=random.Random(1)), transport=httpx.MockTransport(self),
            )  # fmt: skip
            for file in files:
                forwarder.take(file)
            return forwarder.run()

    def rows(self) -> list[int]:
        return [json.loads(line)["time"] for body in self.bodies for line in body.splitlines()]

    def journal(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.spool / "receipts.ndjson").read_text().splitlines()]

    def waiting(self) -> list[str]:
        return sorted(path.name for path in (self.spool / "waiting").rglob("*.json"))


@pytest.fixture
def it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    monkeypatch.setattr("ingest.gateway.forward.LOOK_EVERY_S", 0.001)
    return Setting(tmp_path)


def test_a_file_goes_in_batches_and_its_receipts_are_kept(it: Setting) -> None:
    tally = it.run(it.write("a.ndjson", 1, 2, 3, 4, 5))
    assert sorted(it.rows()) == [1, 2, 3, 4, 5]
    assert [len(body.splitlines()) for body in sorted(it.bodies)] == [2, 2, 1]
    assert [(done.file, done.status, done.uploads, done.rows.accepted) for done in it.told] == [
        ("a.ndjson", "sent", 3, 3)
    ]
    assert {line["part"] for line in it.journal()} == {1, 2, 3}
    assert (tally.left, it.waiting(), tally.rows["accepted"]) == (0, [], 3)
    assert (it.inbox / "a.ndjson").exists()


def test_what_may_pass_is_tried_until_it_does(it: Setting) -> None:
    it.answers = [httpx.ConnectError("refused")] * 20 + [problem(503), problem(429), httpx.Response(200, text="<html>")]
    it.run(it.write("a.ndjson", 1))
    assert it.rows() == [1]
    assert len(it.waits) == 23
    assert max(it.waits[:-1]) <= 60
    assert [said for said in it.trouble if "refused" in said] == ["a.ndjson waits: refused"]


@pytest.mark.parametrize("status", [429, 503])
def test_it_waits_as_long_as_the_receiver_asks(it: Setting, status: int) -> None:
    it.answers = [problem(status, **{"Retry-After": "77"})]
    it.run(it.write("a.ndjson", 1))
    assert 77 <= it.waits[0] <= 78


def test_what_is_refused_for_good_is_put_aside_and_the_rest_goes(it: Setting) -> None:
    bad = it.write("bad.ndjson", 1, 2, 3)
    os.utime(bad, (1, 1))
    it.write("good.ndjson", 4)
    it.answers = [lambda request: refusal() if b'"time": 1' in zstandard.decompress(request.content) else None] * 3
    it.run(watch=True)
    assert sorted(it.rows()) == [3, 4]
    assert {done.file: (done.status, done.note) for done in it.told} == {
        "bad.ndjson": ("refused", "is nothing-usable"), "good.ndjson": ("sent", ""),
    }  # fmt: skip
    assert (it.inbox / "refused" / "bad.ndjson").exists()
    beside = json.loads((it.inbox / "refused" / "bad.ndjson.problem.json").read_text())
    assert beside["detail"] == "is nothing-usable"
    assert (it.inbox / "sent" / "good.ndjson").exists()
    [aside] = (it.spool / "refused").iterdir()
    assert sorted(path.name for path in aside.iterdir()) == [
        "000001.body", "000001.json", "000001.problem.json", "entry.json",
    ]  # fmt: skip
    (aside / "000001.problem.json").unlink()
    aside.rename(it.spool / "waiting" / aside.name)
    it.run()
    assert sorted(it.rows()) == [1, 2, 3, 4]
    assert it.waiting() == []


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, text="oops"), httpx.Response(404, text="no such page"), problem(400),
        httpx.Response(302, headers={"Location": "http://portal"}), httpx.Response(401, text="portal"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_refusal_of_a_receivers_refuses_nothing(it: Setting, answer: httpx.Response) -> None:
    it.answers = [answer, answer]
    it.run(it.write("a.ndjson", 1), it.write("b.ndjson", 2))
    assert sorted(it.rows()) == [1, 2]
    assert {done.status for done in it.told} == {"sent"}
    assert it.waits


def test_one_upload_at_which_a_receiver_fails_does_not_hold_up_the_others(it: Setting) -> None:
    poison = lambda request: httpx.Response(500) if b'"time": 1}' in zstandard.decompress(request.content) else None  # noqa: E731
    it.answers = [poison] * 60
    files = [it.write("0.ndjson", 1), *(it.write(f"{n}.ndjson", n) for n in range(2, 30))]
    it.run(*files)
    assert sorted(it.rows()[:28]) == list(range(2, 30))
    assert it.rows()[-1] == 1


def test_what_waits_at_the_receiver_has_arrived(it: Setting) -> None:
    def queued(request: httpx.Request) -> httpx.Response:
        return httpx.Response(202, json=json.loads(receipt(request).content) | {"status": "queued", "rows": {}})

    it.answers = [queued]
    it.write("a.ndjson", 1)
    tally = it.run(watch=True)
    assert [(done.status, done.rows.received) for done in it.told] == [("queued", 0)]
    assert (it.inbox / "sent" / "a.ndjson").exists()
    assert (tally.left, it.waiting(), it.waits) == (0, [], [])


def test_what_had_arrived_before_is_said_to_have(it: Setting) -> None:
    def again(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=json.loads(receipt(request).content) | {"status": "duplicate"})

    it.answers = [again]
    it.run(it.write("a.ndjson", 1, 2, 3))
    assert [(done.status, done.uploads, done.note) for done in it.told] == [("sent", 2, "1 of them had arrived before")]


def test_an_unknown_key_ends_it_and_nothing_is_lost(it: Setting) -> None:
    it.answers = [refusal(401, "unknown-key")] * 20
    tally = it.run(*(it.write(f"{n}.ndjson", n) for n in range(10)))
    assert (tally.key_unknown, tally.left, it.rows()) == (True, 10, [])
    it.answers = []
    assert it.run().left == 0
    assert sorted(it.rows()) == list(range(10))


def test_what_came_in_while_nobody_ran_is_sent_in_its_order(it: Setting) -> None:
    for n in range(5):
        path = it.write(f"{9 - n}.ndjson", n)
        os.utime(path, (n + 1, n + 1))
    it.run(watch=True)
    assert [done.file for done in it.told] == ["9.ndjson", "8.ndjson", "7.ndjson", "6.ndjson", "5.ndjson"]
    assert sorted(path.name for path in it.inbox.iterdir()) == ["sent"]


def test_files_that_are_left_where_they_are_go_once(it: Setting) -> None:
    it.write("a.ndjson", 1)
    it.write("bad.xlsx", 2)
    for _ in range(2):
        it.run(watch=True, after="record")
    assert it.rows() == [1]
    assert sorted(done.status for done in it.told) == ["refused", "sent"]
    it.write("a.ndjson", 1, 5)
    it.run(watch=True, after="record")
    assert it.rows() == [1, 1, 5]


def test_files_that_cannot_be_sent_are_put_aside_at_once(it: Setting) -> None:
    (it.inbox / "photo.jpg").write_bytes(b"jpeg")
    (it.inbox / "cut.csv.gz").write_bytes(b"\x1f\x8b\x08")
    (it.inbox / os.fsdecode(b"\xff.csv")).write_text("time\n1\n")
    (it.inbox / ".hidden.csv").write_text("time\n1\n")
    (it.inbox / "half.csv.part").write_text("time\n1\n")
    (it.inbox / "empty.csv").touch()
    it.run(watch=True)
    assert it.bodies == []
    assert sorted(path.name for path in it.inbox.iterdir()) == [
        ".hidden.csv", "empty.csv", "half.csv.part", "refused",
    ]  # fmt: skip
    assert len(list((it.inbox / "refused").iterdir())) == 6
    assert len(it.told) == 3


def test_a_name_that_was_sent_before_overwrites_nothing(it: Setting) -> None:
    for n in range(3):
        it.write("a.ndjson", n)
        it.run(watch=True)
    assert sorted(path.read_text() for path in (it.inbox / "sent").iterdir()) == [
        f'{{"time": {n}}}\n' for n in range(3)
    ]
    assert it.rows() == [0, 1, 2]


def test_a_week_of_files_that_wait_is_looked_through_quickly(it: Setting) -> None:
    """They lie in the watched folder and in the spool while the link is away, and are looked at every second."""
    sources = [Source(path=it.inbox / f"{n}.csv", size_bytes=1, changed_ns=n) for n in range(10_000)]
    with closing(Spool(it.spool)) as spool:
        for n, source in enumerate(sources):
            spool._entries[str(n)] = Entry(id=str(n), source=source, after="move")
            spool._sources.add(source)
        began = time.process_time()
        assert all(spool.knows(source) for source in sources)
        assert time.process_time() - began < 2


def test_a_file_that_grows_is_waited_for(tmp_path: Path) -> None:
    now = [0.0]
    path = tmp_path / "a.csv"
    watched = Watched(tmp_path, 5, clock=lambda: now[0])
    for second in range(10):
        now[0] = second
        path.write_text("time\n" * (second + 1))
        assert list(watched.complete()) == []
    now[0] = 13.9
    assert list(watched.complete()) == []
    now[0] = 14.0
    assert [source.path for source in watched.complete()] == [path]


def test_a_file_that_changes_while_it_is_read_is_not_kept(it: Setting) -> None:
    path = it.write("a.ndjson", 1)
    source = Source.of(path)
    with closing(Spool(it.spool)) as spool:

        def growing() -> Any:
            yield from file_uploads(path).uploads
            it.write("a.ndjson", 1, 2)

        with pytest.raises(FileChangedError):
            spool.add(source, growing(), "move")
        assert spool.entries() == []
        assert list((it.spool / "incoming").iterdir()) == []


def test_a_file_that_changed_after_it_was_spooled_is_not_moved(it: Setting) -> None:
    def late(request: httpx.Request) -> None:
        it.write("a.ndjson", 1, 2, 3)

    it.write("a.ndjson", 1)
    it.answers = [late]
    it.run(watch=True)
    it.run(watch=True)
    assert it.rows()[0] == 1
    assert sorted(it.rows()) == [1, 1, 2, 3]
    assert [path.read_bytes().count(b"\n") for path in (it.inbox / "sent").iterdir()] == [3]


def test_one_process_has_a_spool(it: Setting) -> None:
    with closing(Spool(it.spool)), pytest.raises(SpoolError, match="another process"):
        Spool(it.spool)
    Spool(it.spool).close()


def test_bytes_that_the_disk_lost_are_told_and_the_rest_goes(it: Setting) -> None:
    with closing(Spool(it.spool)) as spool:
        for n in range(4):
            path = it.write(f"{n}.ndjson", n)
            spool.add(Source.of(path), file_uploads(path).uploads, "move")
    first, second, third, _ = sorted((it.spool / "waiting").iterdir())
    (first / "000001.body").write_bytes(b"")
    (second / "000001.json").write_bytes(bytes(20))
    (third / "entry.json").write_bytes(b"")
    it.run()
    assert it.rows() == [3]
    assert len(list((it.spool / "refused").iterdir())) == 3
    assert [done.status for done in it.told].count("refused") == 2
    assert any("was damaged" in said for said in it.trouble)
    assert it.waiting() == []


def test_a_journal_cut_short_goes_on_in_a_new_line(it: Setting) -> None:
    it.run(it.write("a.ndjson", 1))
    with (it.spool / "receipts.ndjson").open("a") as journal:
        journal.write('{"entry": "half a li')
    it.run(it.write("b.ndjson", 2))
    lines = (it.spool / "receipts.ndjson").read_text().splitlines()
    assert [json.loads(lines[n])["file"] for n in (0, 2)] == ["a.ndjson", "b.ndjson"]


def test_a_receipt_on_disk_is_not_asked_for_again(it: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the journal and forgetting the upload."""
    path = it.write("a.ndjson", 1, 2, 3)

    def killed(self: Spool, *_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "_forget", killed)
        with pytest.raises(KeyboardInterrupt):
            it.run(path)
    sent = {line["part"] for line in it.journal()}
    assert len(sent) == 1
    it.bodies.clear()
    it.run()
    assert [line["part"] for line in it.journal()].count(*sent) == 1
    assert len(it.bodies) == 1
    assert it.told[-1].uploads == 2


def test_the_journal_stays_small(it: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.gateway.spool.JOURNAL_BYTES", 2000)
    it.run(*(it.write(f"{n}.ndjson", n) for n in range(40)))
    sizes = [path.stat().st_size for path in it.spool.glob("receipts*")]
    assert len(sizes) == 2
    assert max(sizes) < 3000


def test_a_large_log_goes_in_parts_from_the_spool(it: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.gateway.logs.WHOLE_BYTES", 10)
    log = it.inbox / "drive.log"
    log.write_bytes(b"x" * 1000)
    came = b""

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal came
        if request.method == "PUT":
            came += request.content
        if request.method == "POST":
            assert request.url.params["sha256"] == hashlib.sha256(came).hexdigest()
            return receipt(request)
        return httpx.Response(200, json={"name": "x", "durable_bytes": len(came)})

    it.answers = [answer] * 10
    it.run(log, make=lambda path: [log_upload(path, {"vehicle": "v"})])
    assert came == b"x" * 1000
    assert [(done.file, done.status) for done in it.told] == [("drive.log", "sent")]


def test_a_full_disk_is_told_and_what_was_half_written_goes(it: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    path = it.write("a.ndjson", 1)
    with monkeypatch.context() as patch:
        patch.setattr("ingest.gateway.spool._write_upload", full)
        it.run(path)
        it.run(path, watch=True)
    assert it.trouble == ["a.ndjson cannot be put into the spool: No space left on device"] * 2
    assert list((it.spool / "incoming").iterdir()) == []
    it.run(path)
    assert it.rows() == [1]


TRACED = """
import sys
from pathlib import Path
from ingest.gateway.bodies import Upload
from ingest.gateway.spool import Source, Spool
folder = Path(sys.argv[1])
file = folder / "a.csv"
file.write_text("x")
spool = Spool(folder / "spool")
spool.add(Source.of(file), [Upload(b"body", "text/csv", None, 1, "a.csv")], "move")
"""


def test_a_file_is_spooled_when_all_of_it_is_on_disk(tmp_path: Path) -> None:
    """Every file and the folder are synced before the rename that makes it wait, and the folder above after it."""
    if subprocess.run(["sh", "-c", "command -v strace"], capture_output=True).returncode:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-y", "-e", "trace=fsync,rename", "-o", str(trace), sys.executable, "-c", TRACED]
    subprocess.run([*command, str(tmp_path)], check=True, timeout=60)
    calls = trace.read_text().splitlines()
    renamed = next(n for n, call in enumerate(calls) if "rename(" in call and "/spool/waiting/" in call)
    before = [call for call in calls[:renamed] if "fsync" in call and "/incoming/" in call]
    for name in ("000001.body>", "000001.json>", "entry.json>"):
        assert any(name in call for call in before)
    assert before[-1].split("/incoming/")[1].count("/") == 0
    assert any("fsync" in call and "/spool/waiting>" in call for call in calls[renamed:])


def test_a_file_that_cannot_be_spooled_is_a_failure_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ingest.gateway.spool._write_upload", full)
    file = tmp_path / "a.ndjson"
    file.write_text('{"time": 1}\n')
    done = CliRunner().invoke(
        typer_app,
        ["push", str(file), "--spool", str(tmp_path / "spool"), "--url", "http://127.0.0.1:9", "--key", "k"],
    )
    assert done.exit_code == 1
    assert "a.ndjson cannot be put into the spool: No space left on device" in done.output


def test_nothing_to_send_is_wrong_usage() -> None:
    assert CliRunner().invoke(typer_app, ["push", "--url", "http://127.0.0.1:9", "--key", "k"]).exit_code == 2
