"""Raw logs by the push client: what is a log, and large ones in parts over a link that fails."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import os
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.gateway import parts as client_parts
from ingest.gateway.bodies import Upload, arrow_stream, csv_zstd, ndjson_gzip, parquet
from ingest.gateway.logs import is_log, log_upload
from ingest.gateway.parts import LargeLog
from ingest.gateway.push import Outcome, Patience, push
from ingest.gateway.simulator.simulate import simulate
from ingest.parts import Limits, Parts
from schemas.errors import NotFoundError, PartChecksumError, PartsConflictError
from schemas.wire import Receipt

CHECKOUT = Path(__file__).resolve().parents[2]
GOLDEN = CHECKOUT / "tests" / "golden" / "can"
DATA = Path(os.environ.get("BEACHHEAD_SAMPLE_DATA", CHECKOUT.parent / "shared" / "data"))
NO_LOGS = {"classic.csv", "mixed.csv", "make.py", "truck.dbc", "rich.dbc"}
LOGS = sorted(file.name for file in GOLDEN.iterdir() if file.is_file() and file.name not in NO_LOGS)

# --- what is a log --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOGS)
def test_every_golden_log_is_a_log_whatever_its_name_and_wrapping(tmp_path: Path, name: str) -> None:
    body = (GOLDEN / name).read_bytes()
    wrapped = {"drive.csv": body, "drive.json": gzip.compress(body), "drive": zstandard.compress(body)}
    for file, content in wrapped.items():
        (tmp_path / file).write_bytes(content)
        assert is_log(tmp_path / file)


def tables() -> list[Path]:
    """Every CSV of the checkout and of the sample data that is no CAN log."""
    ours = [path for folder in ("analytics", "pipelines", "tests") for path in (CHECKOUT / folder).rglob("*.csv")]
    theirs = [path for folder in ("twizy-ev", "drive-cycles") for path in (DATA / folder).glob("*.csv")]
    return [path for path in (*ours, *theirs) if path != GOLDEN / "gvret.csv"]


def test_no_table_is_a_log() -> None:
    assert len(tables()) > 2
    assert [path for path in tables() if is_log(path)] == []


def test_real_logs_are_logs() -> None:
    found = [
        *(DATA / "savvycan-formats").glob("*.[clt]*"),
        *(DATA / "kona-ev-can").glob("*.csv"), *(DATA / "truck-j1939-mf4").glob("*.mf4"),
    ]  # fmt: skip
    if not found:
        pytest.skip("the recordings are not in BEACHHEAD_SAMPLE_DATA")
    assert [path for path in found if not is_log(path)] == []


def test_rows_of_the_demonstration_are_no_log(tmp_path: Path) -> None:
    frame = next(log.frame for log in simulate(days=1) if log.frame.height).head(2000)
    file = tmp_path / "rows"
    whole = frame.with_columns(pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    bodies = [
        csv_zstd(frame, "").body, ndjson_gzip(frame, "").body, parquet(frame, "").body, arrow_stream(frame, "").body,
        whole.write_csv().encode(), json.dumps(whole.to_dicts()).encode(), whole.write_ndjson().encode(), b"",
        b"\x1f\x8b", b"\x28\xb5\x2f\xfdbroken", b"\x1f\x8b" + bytes(100),
    ]  # fmt: skip
    for body in bodies:
        file.write_bytes(body)
        assert not is_log(file)


def test_small_logs_go_as_they_are_and_large_ones_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.gateway.logs.WHOLE_BYTES", 10)
    file = tmp_path / "drive.log"
    file.write_bytes(b"x" * 10)
    small = log_upload(file, {"vehicle": "v"})
    assert isinstance(small, Upload)
    assert (small.path, small.body, small.encoding, small.query) == ("/v1/can-logs", b"x" * 10, None, {"vehicle": "v"})
    file.write_bytes(b"x" * 11)
    assert log_upload(file, {"vehicle": "v"}) == LargeLog(file, "drive.log", {"vehicle": "v"})


# --- in parts -------------------------------------------------------------------------------------

BODY = random.Random(5).randbytes(20_500)


class FakeReceiver:
    """The receiver's own store of parts, with `complete` made up, behind a link that fails by script.

    A fault is None (the request passes), "before" (it never arrives), "after" (its answer is lost), or an answer.
    """

    def __init__(self, folder: Path, faults: Iterator[Any] | None = None) -> None:
        self.parts = Parts(folder, Limits(10**6, 4, 10**6, 60))
        self.faults, self.asked, self.put_sizes = faults or iter(()), Counter[str](), list[int]()
        self.completed: list[tuple[bytes, httpx.QueryParams]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        fault = next(self.faults, None)
        if fault == "before":
            raise httpx.ConnectError("no link")
        if isinstance(fault, httpx.Response):
            return fault
        try:
            answer = self.answer(request)
        except NotFoundError as error:
            answer = refusal(404, str(error))
        except PartsConflictError as error:
            answer = refusal(409, str(error), expected_offset=error.expected_offset)
        except PartChecksumError as error:
            answer = refusal(422, str(error), retryable=True)
        if fault == "after":
            raise httpx.ReadTimeout("no answer")
        return answer

    def answer(self, request: httpx.Request) -> httpx.Response:
        name, _, action = request.url.path.removeprefix("/v1/can-logs/parts/").partition("/")
        self.asked[action or request.method] += 1
        if request.method == "PUT":
            self.put_sizes.append(len(request.content))
            part = self.parts.incoming()
            with part:
                part.write(request.content)
                part.flush()
                offset = int(request.url.params["offset"])
                state = self.parts.append(1, name, offset, part, request.url.params["sha256"])
            return httpx.Response(200, text=state.model_dump_json())
        if request.method == "DELETE":
            self.parts.give_up(1, name)
            return httpx.Response(204)
        if action == "complete":
            return self.complete(name, request.url.params)
        return httpx.Response(200, text=self.parts.state(1, name).model_dump_json())

    def complete(self, name: str, params: httpx.QueryParams) -> httpx.Response:
        with self.parts.taken(1, name) as file:
            if file is None:
                raise NotFoundError("nothing is here")
            body = file.read()
        if hashlib.sha256(body).hexdigest() != params["sha256"]:
            return refusal(422, "other bytes", type="urn:beachhead:problem:checksum")
        self.completed.append((body, params))
        now = dt.datetime.now(dt.UTC)
        receipt = Receipt(
            upload_id=uuid.uuid4(), sha256=params["sha256"], status="loaded", received_at=now, server_time=now,
            rows={"received": 1, "accepted": 1},
        )  # fmt: skip
        return httpx.Response(200, text=receipt.model_dump_json())


def refusal(status: int, detail: str, **more: Any) -> httpx.Response:
    headers = {"Retry-After": "5"} if status == 503 else {}
    return httpx.Response(status, json={"title": "no", "status": status, "detail": detail, **more}, headers=headers)


class Link:
    """Sends one log; `waits` are the seconds waited, `told` the bytes of progress."""

    def __init__(self, tmp_path: Path) -> None:
        self.file = tmp_path / "drive.log"
        self.file.write_bytes(BODY)
        self.waits: list[float] = []
        self.told: list[int] = []

    def push(self, receiver: FakeReceiver, tries: int = 4) -> Outcome:
        patience = Patience(tries=tries, sleep=self.waits.append, dice=random.Random(1))
        log = LargeLog(self.file, "drive.log", {"vehicle": "v 1", "channel": "can1"})
        (outcome,) = push(
            [log], "http://receiver", "k", patience=patience, sent=self.told.append,
            transport=httpx.MockTransport(receiver),
        )  # fmt: skip
        return outcome


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_parts, "PART_BYTES", 4096)
    monkeypatch.setattr(client_parts, "LEAST_PART_BYTES", 512)


@pytest.fixture
def link(tmp_path: Path) -> Link:
    return Link(tmp_path)


@pytest.fixture
def receiver(tmp_path: Path) -> FakeReceiver:
    return FakeReceiver(tmp_path / "parts")


def test_a_large_log_goes_in_parts(link: Link, receiver: FakeReceiver) -> None:
    outcome = link.push(receiver)
    ((body, params),) = receiver.completed
    assert body == BODY
    assert params == httpx.QueryParams(vehicle="v 1", channel="can1", sha256=hashlib.sha256(BODY).hexdigest())
    assert receiver.put_sizes == [4096] * 5 + [20]
    assert (outcome.ok, outcome.sent_bytes, outcome.label) == (True, len(BODY), "drive.log")
    assert sum(link.told) == len(BODY)


FAULTS = st.sampled_from([None, None, "before", "after", 503, 502, 408])


@settings(deadline=None, max_examples=40)
@given(st.lists(FAULTS, max_size=40))
def test_whatever_the_link_does_the_whole_arrives_once(
    tmp_path_factory: pytest.TempPathFactory, faults: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("push")
    script = (refusal(fault, "not now") if isinstance(fault, int) else fault for fault in faults)
    link, receiver = Link(folder), FakeReceiver(folder / "parts", script)
    assert link.push(receiver, tries=50).ok
    assert {body for body, _ in receiver.completed} == {BODY}
    assert sum(link.told) == len(BODY)


def test_parts_become_short_on_a_bad_link_and_long_again(link: Link, tmp_path: Path) -> None:
    faults = [None, *["before", None] * 5]  # each try that fails is followed by the question how far it came
    receiver = FakeReceiver(tmp_path / "parts", iter(faults))
    assert link.push(receiver, tries=10).ok
    assert receiver.put_sizes[:5] == [512, 1024, 2048, 4096, 4096]
    assert receiver.asked["GET"] == 6


def test_another_run_goes_on_where_the_last_one_stopped(link: Link, tmp_path: Path) -> None:
    receiver = FakeReceiver(tmp_path / "parts", iter([None, None, None, *["before"] * 10]))
    first = link.push(receiver)
    assert (first.ok, first.status, first.tries) == (False, None, 3 + 4)
    assert first.problem is not None
    assert "8192 of 20500 bytes are there" in first.problem.detail
    assert sum(link.told) == 8192
    link.told.clear()
    receiver.faults, receiver.put_sizes = iter(()), []
    second = link.push(receiver)
    assert second.ok
    assert receiver.put_sizes[0] == 4096
    assert second.sent_bytes == sum(receiver.put_sizes) == len(BODY) - 8192
    assert link.told[0] == 8192
    assert sum(link.told) == len(BODY)


def test_patience_is_for_tries_without_progress(link: Link, tmp_path: Path) -> None:
    """Two failures before every part that passes: fourteen in all, with a patience of four."""
    receiver = FakeReceiver(tmp_path / "parts", iter(["before", None, *["before", None, "before", None, None] * 20]))
    assert link.push(receiver).ok


def test_a_receiver_at_work_is_waited_for(link: Link, receiver: FakeReceiver) -> None:
    busy = refusal(503, "is being read", type="urn:beachhead:problem:busy", retryable=True)
    receiver.faults = iter([None] * 7 + [busy] * 30)
    assert link.push(receiver).ok
    assert len(link.waits) == 30
    assert min(link.waits) >= 5


def test_a_log_that_was_given_up_begins_anew_once(link: Link, receiver: FakeReceiver) -> None:
    sha256 = hashlib.sha256(BODY).hexdigest()
    complete, gone = receiver.complete, []

    def forgets_once(name: str, params: httpx.QueryParams) -> httpx.Response:
        if not gone:
            gone.append(name)
            receiver.parts.give_up(1, name)
        return complete(name, params)

    receiver.complete = forgets_once  # type: ignore[method-assign]
    assert link.push(receiver).ok
    assert gone == [sha256]
    assert sum(link.told) == len(BODY)
    receiver.parts.give_up(1, sha256)

    def forgets(name: str, params: httpx.QueryParams) -> httpx.Response:
        receiver.parts.give_up(1, name)
        return complete(name, params)

    receiver.complete = forgets  # type: ignore[method-assign]
    outcome = link.push(receiver)
    assert (outcome.ok, outcome.status) == (False, 404)


def test_a_log_that_was_completed_as_another_is_sent_again(link: Link, receiver: FakeReceiver) -> None:
    receiver.faults = iter([None] * 7 + [refusal(409, "completed as vehicle=x")])
    assert link.push(receiver).ok
    assert receiver.asked["DELETE"] == 1
    assert len(receiver.put_sizes) == 12


def test_a_file_that_changes_meanwhile_is_told_and_taken_away(link: Link, receiver: FakeReceiver) -> None:
    answer = receiver.answer

    def changes(request: httpx.Request) -> httpx.Response:
        if receiver.asked["PUT"] == 2:
            with link.file.open("r+b") as file:
                file.seek(17_000)
                file.write(b"changed")
        return answer(request)

    receiver.answer = changes  # type: ignore[method-assign]
    outcome = link.push(receiver)
    assert not outcome.ok
    assert outcome.problem is not None
    assert "send it again" in outcome.problem.detail
    assert receiver.parts.unfinished(1).uploads == []
    link.file.write_bytes(BODY)

    def shrinks(request: httpx.Request) -> httpx.Response:
        link.file.write_bytes(BODY[:5000])
        return answer(request)

    receiver.answer = shrinks  # type: ignore[method-assign]
    assert not link.push(receiver).ok


@pytest.mark.parametrize("status", [400, 401, 403, 413, 415, 422, 500])
@pytest.mark.parametrize("before", [0, 1, 7])
def test_what_is_final_is_not_tried_again(link: Link, receiver: FakeReceiver, status: int, before: int) -> None:
    receiver.faults = iter([None] * before + [refusal(status, "never")])
    outcome = link.push(receiver)
    assert (outcome.ok, outcome.status, outcome.tries) == (False, status, before + 1)
    assert outcome.problem is not None
    assert outcome.problem.detail == "never"


def test_somebody_else_who_answers_is_told(link: Link, receiver: FakeReceiver) -> None:
    receiver.faults = iter([httpx.Response(200, text="<html>login</html>")])
    outcome = link.push(receiver)
    assert not outcome.ok
    assert outcome.problem is not None
    assert outcome.problem.detail == "<html>login</html>"
