"""The push client against a receiver that answers by script, and files as uploads."""

import datetime as dt
import gzip
import hashlib
import io
import json
import random
import threading
import uuid

import httpx
import polars as pl
import pytest
import zstandard

from ingest.gateway.bodies import Upload, arrow_stream, csv_zstd, ndjson_gzip, parquet
from ingest.gateway.column_map import ColumnMap
from ingest.gateway.files import file_uploads
from ingest.gateway.push import NoKeyError, Patience, push
from schemas.errors import MalformedBodyError, UnknownFormatError

FRAME = pl.DataFrame(
    {
        "vehicle": ["a"] * 5,
        "time": [dt.datetime(2025, 1, 1, 0, 0, s, tzinfo=dt.UTC) for s in range(5)],
        "speed_kmh": [1.5, None, 3.0, 4.0, 5.0],
        "note": ['x, "y"\nz', "b", "c", "d", "e"],
    }
)


def plain(body: bytes, encoding: str | None) -> bytes:
    if encoding == "zstd":
        return zstandard.ZstdDecompressor().decompress(body)
    return gzip.decompress(body) if encoding == "gzip" else body


def receipt(request: httpx.Request) -> httpx.Response:
    now = dt.datetime.now(dt.UTC).isoformat()
    body = {
        "upload_id": str(uuid.uuid4()), "sha256": hashlib.sha256(request.content).hexdigest(), "status": "loaded",
        "received_at": now, "server_time": now, "rows": {"received": 1, "accepted": 1},
    }  # fmt: skip
    return httpx.Response(200, json=body)


def problem(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"title": "no", "status": status, "detail": "not now"}, headers=headers)


class Script:
    """Answers from a list, then with receipts; keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.requests, self.waits = list(answers), [], []
        self.lock = threading.Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            self.requests.append(request)
            answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer or receipt(request)

    def push(self, uploads, keys="k", **options):
        patience = Patience(tries=4, sleep=self.waits.append, dice=random.Random(1))
        return push(uploads, "http://receiver", keys, patience=patience, transport=httpx.MockTransport(self), **options)


def small(label="one", gateway=None) -> Upload:
    return Upload(label.encode(), "text/csv", None, 1, label, {"vehicle": "v 1"}, gateway)


def test_sends_body_type_encoding_key_and_query():
    script = Script()
    upload = csv_zstd(FRAME, "x")
    [outcome] = script.push([Upload(upload.body, upload.content_type, upload.encoding, 5, "x", {"tz": "Asia/Tokyo"})])
    [request] = script.requests
    assert request.url == "http://receiver/v1/telemetry?tz=Asia%2FTokyo"
    assert request.headers["Authorization"] == "Bearer k"
    assert (request.headers["Content-Type"], request.headers["Content-Encoding"]) == ("text/csv", "zstd")
    assert outcome.ok
    assert outcome.receipt.sha256 == hashlib.sha256(upload.body).hexdigest()
    assert (outcome.tries, outcome.rows, outcome.sent_bytes) == (1, 5, len(upload.body))


def test_outcomes_keep_the_order_and_progress_sees_each():
    seen = []
    labels = [f"u{n}" for n in range(40)]
    outcomes = Script().push((small(label) for label in labels), connections=4, progress=seen.append)
    assert [o.label for o in outcomes] == labels
    assert seen == outcomes


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_what_may_pass_is_tried_again(status):
    script = Script(problem(status), problem(status))
    [outcome] = script.push([small()])
    assert outcome.ok
    assert outcome.tries == 3
    assert len(script.waits) == 2
    assert 0 <= script.waits[0] <= 0.5
    assert 0 <= script.waits[1] <= 1.0


def test_waits_at_least_as_long_as_the_receiver_asks():
    soon = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    script = Script(problem(429, **{"Retry-After": "7"}), problem(503, **{"Retry-After": soon}))
    assert script.push([small()])[0].ok
    assert 7 <= script.waits[0] <= 7.5
    assert 27 <= script.waits[1] <= 30.5


@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        ("Fri, 27 Nov 2020 03:00:00 -0000", (0, 0.5)),
        ("²", (0, 0.5)),
        ("-3", (0, 0.5)),
        ("soon", (0, 0.5)),
        ("9" * 400, (86_400, 86_400.5)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", (86_400, 86_400.5)),
    ],
)
def test_an_odd_retry_after_is_no_reason_to_stop(asked, waits):
    answer = httpx.Response(429, headers={"Retry-After": asked.encode("latin-1")})
    script = Script(answer)
    assert script.push([small()])[0].ok
    assert waits[0] <= script.waits[0] <= waits[1]


def test_an_answer_garbled_on_its_way_is_tried_again():
    garbled = httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"not gzip"))
    [outcome] = Script(garbled).push([small()])
    assert (outcome.ok, outcome.tries) == (True, 2)


def test_a_receiver_that_cannot_be_reached_is_tried_again_then_told():
    script = Script(*(httpx.ConnectError("refused") for _ in range(4)))
    [outcome] = script.push([small()])
    assert (outcome.ok, outcome.status, outcome.tries) == (False, None, 4)
    assert outcome.problem.detail == "refused"
    assert outcome.problem.retryable
    assert len(script.waits) == 3


def test_a_link_that_is_away_for_days_is_waited_for():
    waits = []
    patience = Patience(longest_wait_s=60, sleep=waits.append)
    for failures in range(1, 5000):
        patience.wait(failures, None)
    assert max(waits) <= 60
    assert sum(waits) > 60 * 1000


@pytest.mark.parametrize("status", [400, 403, 413, 415, 422, 500])
def test_what_is_final_is_not_tried_again(status):
    [outcome] = Script(problem(status)).push([small()])
    assert (outcome.ok, outcome.status, outcome.tries) == (False, status, 1)
    assert outcome.problem.detail == "not now"


def test_a_problem_that_says_so_is_tried_again():
    answer = httpx.Response(500, json={"title": "t", "status": 500, "detail": "d", "retryable": True})
    [outcome] = Script(answer).push([small()])
    assert (outcome.ok, outcome.tries) == (True, 2)


def test_an_answer_that_is_not_a_receivers_is_told():
    [outcome] = Script(httpx.Response(200, text="<html>hello</html>")).push([small()])
    assert not outcome.ok
    assert outcome.problem.detail == "<html>hello</html>"


def test_an_unknown_key_ends_the_run():
    script = Script(*(problem(401) for _ in range(100)))
    outcomes = script.push([small(str(n)) for n in range(100)], connections=1)
    assert len(outcomes) < 5
    assert {o.status for o in outcomes} == {401}


def test_each_gateway_has_its_key():
    script = Script()
    script.push([small("1", "gw-1"), small("2", "gw-2")], {"gw-1": "a", "gw-2": "b"}, connections=1)
    assert [r.headers["Authorization"] for r in script.requests] == ["Bearer a", "Bearer b"]
    with pytest.raises(NoKeyError, match="gw-3"):
        script.push([small("3", "gw-3")], {"gw-1": "a"})


def test_uploads_are_taken_only_as_they_are_sent():
    taken = []
    release = threading.Event()

    def stalled(request: httpx.Request) -> httpx.Response:
        assert release.wait(10)
        return receipt(request)

    def uploads():
        for n in range(50):
            taken.append(n)
            yield small(str(n))

    def run():
        push(uploads(), "http://receiver", "k", connections=2, transport=httpx.MockTransport(stalled))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(0.2)
    held = len(taken)
    release.set()
    thread.join(10)
    assert held <= 5
    assert len(taken) == 50


def test_bodies_read_back():
    time = FRAME["time"].dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
    read = {
        "parquet": pl.read_parquet(parquet(FRAME, "x").body),
        "arrow": pl.read_ipc_stream(plain(arrow_stream(FRAME, "x").body, "zstd")),
    }
    assert all(frame.equals(FRAME) for frame in read.values())
    csv = pl.read_csv(plain(csv_zstd(FRAME, "x").body, "zstd"))
    ndjson = pl.read_ndjson(io.BytesIO(plain(ndjson_gzip(FRAME, "x").body, "gzip")))
    assert csv.equals(FRAME.with_columns(time=time))
    assert ndjson.equals(FRAME.with_columns(time=time))
    assert ndjson_gzip(FRAME, "x").body == ndjson_gzip(FRAME, "x").body


def written(tmp_path, suffix):
    path = tmp_path / f"log{suffix}"
    text = {".csv": FRAME.write_csv(), ".ndjson": FRAME.write_ndjson(), ".json": FRAME.write_json()}
    kind = "." + suffix.split(".")[1]
    if kind in text:
        body = text[kind].encode()
    else:
        body = parquet(FRAME, "").body if kind == ".parquet" else plain(arrow_stream(FRAME, "").body, "zstd")
    if suffix.endswith(".gz"):
        body = gzip.compress(body)
    if suffix.endswith(".zst"):
        body = zstandard.ZstdCompressor().compress(body)
    path.write_bytes(body)
    return path


def read_back(upload: Upload) -> pl.DataFrame:
    body = plain(upload.body, upload.encoding)
    if upload.content_type == "text/csv":
        return pl.read_csv(body)
    if upload.content_type == "application/x-ndjson":
        return pl.read_ndjson(io.BytesIO(body))
    if upload.content_type == "application/json":
        return pl.DataFrame(json.loads(body))
    if upload.content_type == "application/vnd.apache.parquet":
        return pl.read_parquet(body)
    return pl.read_ipc_stream(body)


SUFFIXES = [".csv", ".csv.gz", ".csv.zst", ".ndjson", ".ndjson.gz", ".json", ".json.zst", ".parquet", ".arrow"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_small_file_is_sent_as_it_is(tmp_path, suffix):
    path = written(tmp_path, suffix)
    [upload] = file_uploads(path, vehicle="v", tz="Asia/Kolkata").uploads
    stored = path.read_bytes()
    encoding = {"gz": "gzip", "st": "zstd"}.get(suffix[-2:])
    assert plain(upload.body, upload.encoding) == plain(stored, encoding)
    assert upload.query == {"vehicle": "v", "tz": "Asia/Kolkata"}
    assert upload.rows == 5
    if encoding:
        assert (upload.body, upload.encoding) == (stored, encoding)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_large_file_is_cut_without_changing_a_row(tmp_path, suffix):
    path = written(tmp_path, suffix)
    [whole] = file_uploads(path).uploads
    parts = list(file_uploads(path, max_rows=2).uploads)
    assert [part.rows for part in parts] == [2, 2, 1]
    assert pl.concat([read_back(part) for part in parts]).equals(read_back(whole))
    again = list(file_uploads(path, max_rows=2).uploads)
    assert [part.body for part in again] == [part.body for part in parts]


def test_an_arrow_file_goes_as_a_stream(tmp_path):
    path = tmp_path / "log.arrow"
    FRAME.write_ipc(path)
    [upload] = file_uploads(path).uploads
    assert pl.read_ipc_stream(plain(upload.body, upload.encoding)).equals(FRAME)


def test_a_column_map_is_applied_before_sending(tmp_path):
    columns = ColumnMap.model_validate(
        {
            "time": {"column": "t", "format": "%d.%m.%Y %H:%M", "tz": "Europe/Berlin"},
            "vehicle": "v",
            "signals": {"odometer_km": {"column": "miles", "unit": "mi"}},
        }
    )
    path = tmp_path / "log.csv"
    path.write_text("t,miles\n1.7.2025 12:00,10\nnever,11\n")
    sent = file_uploads(path, columns=columns)
    [upload] = sent.uploads
    expected = (dt.datetime(2025, 7, 1, 10, tzinfo=dt.UTC), pytest.approx(16.09344))
    assert pl.read_parquet(upload.body).select("time", "odometer_km").row(0) == expected
    assert [r.row for r in sent.rejects] == [2]


def test_unknown_and_broken_files_are_told(tmp_path):
    with pytest.raises(UnknownFormatError, match=r"log\.xlsx: the name must end in one of \.csv"):
        file_uploads(tmp_path / "log.xlsx")
    broken = tmp_path / "log.parquet"
    broken.write_bytes(b"not parquet")
    with pytest.raises(MalformedBodyError, match=r"log\.parquet"):
        list(file_uploads(broken).uploads)
    wrong = tmp_path / "log.json"
    wrong.write_text('{"a": 1}')
    with pytest.raises(MalformedBodyError, match="array of rows"):
        list(file_uploads(wrong).uploads)


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.zst", ".ndjson.gz", ".json.gz", ".parquet.gz", ".arrow.zst"])
def test_an_archive_cut_short_is_told(tmp_path, suffix):
    path = written(tmp_path, suffix)
    for kept in (path.read_bytes()[:-9], b"no archive at all"):
        path.write_bytes(kept)
        with pytest.raises(MalformedBodyError, match=f"log{suffix}"):
            list(file_uploads(path).uploads)
        if suffix.startswith(".csv"):
            columns = ColumnMap.model_validate(
                {
                    "time": {"column": "time", "format": "%Y", "tz": "UTC"},
                    "vehicle": "v",
                    "signals": {"speed_kmh": {"column": "speed_kmh"}},
                }
            )
            with pytest.raises(MalformedBodyError, match=f"log{suffix}"):
                file_uploads(path, columns=columns)


def test_json_nested_too_deeply_is_told(tmp_path):
    path = tmp_path / "log.json"
    path.write_text("[" * 200_000)
    with pytest.raises(MalformedBodyError, match=r"log\.json"):
        list(file_uploads(path).uploads)


def test_frames_of_zstd_one_after_another_are_one_file(tmp_path):
    path = tmp_path / "log.ndjson.zst"
    lines = [json.dumps({"time": n, "note": "x" * 1000}).encode() + b"\n" for n in range(1000)]
    path.write_bytes(b"".join(map(zstandard.compress, lines)) + zstandard.compress(b""))
    parts = list(file_uploads(path, max_rows=300).uploads)
    assert b"".join(plain(part.body, part.encoding) for part in parts) == b"".join(lines)
    path.write_bytes(zstandard.compress(b"".join(lines) * 3)[:-5])
    with pytest.raises(MalformedBodyError, match="cut short"):
        list(file_uploads(path, max_rows=300).uploads)
