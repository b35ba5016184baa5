"""What a landing store keeps its files in: the same to whoever uses it, be it a folder or a bucket."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import obstore
import pytest
from receiver_kit import on_both

from ingest import s3
from ingest.landing import landing_of
from ingest.objects import Objects
from ingest.s3 import S3
from ingest.waiting import Waiting
from schemas.errors import LandingAwayError, StorageFullError
from schemas.settings import Settings
from tests.s3_server import S3Server


def objects_of(settings: dict[str, Any]) -> Objects:
    return landing_of(Settings(_env_file=None, **settings)).objects


@pytest.fixture
def objects(landing_settings: dict[str, Any]) -> Objects:
    return objects_of(landing_settings)


@on_both
def test_what_was_put_is_read_until_it_is_deleted(objects: Objects) -> None:
    objects.put("waiting/b.json", b"one")
    objects.put("waiting/b.json", b"two")
    objects.put("waiting/a.zst", b"")
    assert objects.read("waiting/b.json") == b"two"
    assert [(entry.key, entry.size_bytes) for entry in objects.under("waiting")] == [
        ("waiting/a.zst", 0),
        ("waiting/b.json", 3),
    ]
    assert all(abs(entry.changed_s - time.time()) < 60 for entry in objects.under("waiting"))
    objects.delete("waiting/a.zst", "waiting/nothing", "waiting/b.json")
    assert list(objects.under("waiting")) == []
    with pytest.raises(FileNotFoundError):
        objects.read("waiting/b.json")


@on_both
@pytest.mark.parametrize("size_bytes", [0, 5, s3.PART_BYTES, 2 * s3.PART_BYTES + 5])
def test_a_file_that_is_kept_is_never_altered(objects: Objects, tmp_path: Path, size_bytes: int) -> None:
    file = tmp_path / "landing" / "file"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content := bytes(range(256)) * (size_bytes // 256) + b"x" * (size_bytes % 256))
    objects.keep("raw/00/name", file)
    file.unlink()
    file.write_bytes(b"other bytes")
    objects.keep("raw/00/name", file)
    with objects.opened("raw/00/name") as kept:
        assert kept.read() == content
        assert kept.seek(0) == 0
    assert [file.name for file in (tmp_path / "landing").rglob("*") if "tmp" in file.name] == []


@on_both
def test_what_is_not_there_is_said_to_be_so(objects: Objects) -> None:
    assert list(objects.under("waiting")) == []
    with pytest.raises(FileNotFoundError), objects.opened("raw/00/nothing"):
        pass
    objects.delete("raw/00/nothing")


@on_both
def test_only_what_lies_in_a_folder_is_told_of_it(objects: Objects) -> None:
    objects.put("waiting-not/a", b"")
    objects.put("raw/ab/name", b"")
    assert list(objects.under("waiting")) == []
    assert not [entry for entry in objects.under("raw") if "/ab/" in entry.key]


@pytest.fixture
def bucket(s3_server: S3Server, tmp_path: Path) -> Objects:
    return objects_of(s3_server.settings(f"objects/{time.time_ns()}", tmp_path))


def test_bytes_that_changed_in_the_bucket_are_not_taken_for_what_was_kept(bucket: S3, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a log")
    bucket.keep("raw/00/name", tmp_path / "file")
    kept = obstore.get(bucket.quick, "raw/00/name").attributes[s3.SHA256]
    obstore.put(bucket.quick, "raw/00/name", b"b log", attributes={s3.SHA256: kept})
    with pytest.raises(LandingAwayError, match="other bytes"), bucket.opened("raw/00/name"):
        pass


def test_a_file_that_was_sent_by_halves_is_not_there(bucket: S3, tmp_path: Path) -> None:
    def halves() -> Iterator[bytes]:
        yield bytes(s3.PART_BYTES)
        raise OSError("killed")

    with pytest.raises(OSError, match="killed"):
        obstore.put(bucket.long, "raw/00/name", halves(), chunk_size=s3.PART_BYTES)
    assert list(bucket.under("raw/00")) == []
    (tmp_path / "file").write_bytes(b"whole")
    bucket.keep("raw/00/name", tmp_path / "file")
    with bucket.opened("raw/00/name") as kept:
        assert kept.read() == b"whole"


def test_a_wrong_key_is_no_way_in(s3_server: S3Server, tmp_path: Path) -> None:
    wrong = objects_of(s3_server.settings("x", tmp_path) | {"landing_secret_key": "wrong"})
    for use in (lambda: wrong.put("a/b", b""), lambda: wrong.read("a/b"), lambda: list(wrong.under("a"))):
        with pytest.raises(LandingAwayError) as caught:
            use()
        assert "wrong" not in str(caught.value)


def test_keys_may_come_from_the_usual_variables(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = s3_server.settings("variables", tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", settings.pop("landing_access_key"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", settings.pop("landing_secret_key"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", settings.pop("landing_endpoint"))
    objects = objects_of(settings)
    objects.put("a/b", b"c")
    assert objects.read("a/b") == b"c"


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Any]:
    """A server that gives one answer to everything."""
    servers = []

    def start(status: int, body: bytes) -> Objects:
        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        address = f"http://127.0.0.1:{server.server_port}"
        keys = {"landing_access_key": "a", "landing_secret_key": "b", "landing_region": "us-east-1"}
        return objects_of({"landing_url": "s3://b", "landing_endpoint": address, "landing_scratch": tmp_path, **keys})

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (507, "XMinioStorageFull", StorageFullError),
        (403, "QuotaExceeded", StorageFullError),
        (403, "AccessDenied", LandingAwayError),
        (404, "NoSuchBucket", LandingAwayError),
        (503, "SlowDown", LandingAwayError),
    ],
)
def test_what_a_server_refuses_is_told_by_its_kind(answering: Any, status: int, code: str, error: type) -> None:
    objects = answering(status, b"<Error><Code>%s</Code></Error>" % code.encode())
    with pytest.raises(error):
        objects.put("waiting/a", b"b")


# --- how often a bucket is asked ------------------------------------------------------------------


class Counted:
    """A store that counts how often it is asked, or is away."""

    trusted_s = 60.0

    def __init__(self) -> None:
        self.asked = 0
        self.is_away = False

    def under(self, _: str) -> Iterator[Any]:
        self.asked += 1
        if self.is_away:
            raise LandingAwayError("away")
        return iter(())

    keys = under

    def delete(self, *_: str) -> None: ...


def test_an_upload_does_not_cost_a_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = Counted()
    waiting = Waiting(objects, 1000)  # type: ignore[arg-type]
    assert all(waiting.is_empty() for _ in range(100))
    assert objects.asked == 1
    waiting._glance.added(10)
    assert not waiting.is_empty()
    waiting._glance.taken()
    assert waiting.is_empty()
    assert objects.asked == 2
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 61)
    assert waiting.is_empty()
    assert objects.asked == 3


def test_a_bucket_that_is_away_keeps_no_rows_from_the_database() -> None:
    objects = Counted()
    objects.is_away = True
    waiting = Waiting(objects, 1000)  # type: ignore[arg-type]
    assert all(waiting.is_empty() for _ in range(100))
    assert objects.asked == 1
    with pytest.raises(LandingAwayError):
        waiting.bytes_waiting()


@on_both
def test_the_sum_of_what_waits_is_counted_on_and_asked_for_before_anything_is_refused(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = Waiting(objects, 100)
    assert waiting.bytes_waiting() == 0
    objects.put("waiting/a.zst", bytes(60))  # another receiver's
    assert waiting.bytes_waiting() == 0
    waiting._glance.added(90)
    assert waiting.bytes_waiting() == 90
    waiting._glance.added(20)
    assert waiting.bytes_waiting() == 60
    objects.put("waiting/b.zst", bytes(60))
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 11)
    until = time.monotonic() + 10
    while waiting.bytes_waiting() != 120:  # nobody waits for it
        assert time.monotonic() < until
        time.sleep(0.01)
    objects.delete("waiting/b.zst")
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 2)
    assert waiting.bytes_waiting() == 60


# --- durable, by what the system was asked to do --------------------------------------------------

KEEPING = """
import sys
from pathlib import Path
from ingest.folder import Folder
folder = Folder(Path(sys.argv[1]))
log = folder.root / "log"
log.write_bytes(b"a log")
print("begins", flush=True)
folder.keep("raw/ab/name", log)
print("kept", flush=True)
folder.put("waiting/ticket", b"a ticket")
print("put", flush=True)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is missing: install the package strace")
def test_in_a_folder_file_then_name_then_folders_are_on_disk_before_it_is_said(tmp_path: Path) -> None:
    trace, root = tmp_path / "trace", tmp_path / "landing"
    root.mkdir()
    calls = "openat,fsync,fdatasync,rename,renameat,renameat2,link,linkat,write"
    command = ["strace", "-f", "-y", "-e", f"trace={calls}", "-o", str(trace), sys.executable, "-c", KEEPING, str(root)]
    done = subprocess.run(command, capture_output=True, text=True)
    if "ptrace" in done.stderr:
        pytest.skip("this machine does not let processes be traced")
    assert done.returncode == 0, done.stderr
    lines = [line.partition(" ")[2].strip() for line in trace.read_text().splitlines()]
    kept = _between(lines, "begins", "kept")
    assert _steps(kept, root) == [
        ("fsync", "log"),
        ("rename", "raw/ab/name"),
        ("fsync", "raw/ab"),
        ("fsync", "raw"),
        ("fsync", ""),
    ]
    put = _between(lines, "kept", "put")
    partial, *rest = _steps(put, root)
    assert partial[0] == "fsync"
    assert partial[1].startswith("waiting/.ticket.")
    assert rest == [("rename", "waiting/ticket"), ("fsync", "waiting"), ("fsync", "")]


def _between(lines: list[str], begin: str, end: str) -> list[str]:
    said = [n for word in (begin, end) for n, line in enumerate(lines) if line.startswith("write(1") and word in line]
    return lines[said[0] + 1 : said[1]]


def _steps(lines: list[str], root: Path) -> list[tuple[str, str]]:
    """What was asked of the system, each with the path below `root` that it is about."""
    steps = []
    for line in lines:
        name = line.partition("(")[0]
        if name in ("fsync", "fdatasync"):
            assert line.endswith("= 0")
            steps.append(("fsync", _below(line.partition("<")[2].partition(">")[0], root)))
        elif name.startswith("rename"):
            assert line.endswith("= 0")
            steps.append(("rename", _below(line.split('"')[-2], root)))
    return steps


def _below(path: str, root: Path) -> str:
    return "" if Path(path) == root else str(Path(path).relative_to(root))
