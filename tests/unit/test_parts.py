"""Parts on disk: what is synced before a part is acknowledged, and what a mishap leaves."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.part_files import Finished, locked
from ingest.parts import Limits, Parts
from schemas.errors import BusyError, PartsConflictError

LIMITS = Limits(log_bytes=10_000, logs=4, unfinished_bytes=10_000, expire_s=60)
WHOLE = bytes(range(256)) * 4


@contextmanager
def part(body: bytes) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.flush()
        yield file


def append(parts: Parts, offset: int, body: bytes) -> int:
    with part(body) as file:
        return parts.append(1, "log", offset, file).durable_bytes


def stored(parts: Parts) -> bytes | None:
    with parts.taken(1, "log") as file:
        return file.read() if file else None


def test_bytes_and_names_are_on_disk_before_a_part_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, Any]] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)
        there = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else path.read_bytes()
        synced.append((str(path.relative_to(tmp_path)), there))

    monkeypatch.setattr(os, "fsync", recorded)
    parts = Parts(tmp_path / "parts", LIMITS)
    append(parts, 0, b"abc")
    stem = b"log".hex()
    assert synced == [
        (".", ["parts"]),
        ("parts", ["1"]),
        (f"parts/1/{stem}.0", b"abc"),
        ("parts/1", sorted([f"{stem}.3", "lock"])),
    ]
    synced.clear()
    append(parts, 3, b"de")
    assert synced == [(f"parts/1/{stem}.3", b"abcde"), ("parts/1", sorted([f"{stem}.5", "lock"]))]


@settings(deadline=None)  # it waits for the disk
@given(st.data())
def test_parts_of_any_size_sent_in_any_wrong_way_give_the_whole(data: st.DataObject) -> None:
    """The model: bytes so far. A part is taken if it goes on from there, changes nothing if it lies within."""
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(Path(folder), LIMITS)
        so_far = b""
        for _ in range(data.draw(st.integers(1, 12))):
            offset = data.draw(st.integers(0, len(so_far)) | st.just(len(so_far)) | st.integers(0, len(WHOLE)))
            body = WHOLE[offset : offset + data.draw(st.integers(0, 400))]
            if offset == len(so_far):
                so_far += body
            elif offset > len(so_far) or offset + len(body) > len(so_far):
                with pytest.raises(PartsConflictError) as refused:
                    append(parts, offset, body)
                assert refused.value.expected_offset == len(so_far)
                continue
            assert append(parts, offset, body) == len(so_far)
            for left in Path(folder).glob(f"1/*.{len(so_far)}"):
                with left.open("ab") as file:
                    file.write(data.draw(st.binary(max_size=5)))  # a kill in the middle of the next part
        assert stored(parts) == (so_far or None)


def test_a_part_that_cannot_be_written_leaves_the_log_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts(tmp_path, LIMITS)
    append(parts, 0, b"abc")
    sendfile = os.sendfile

    def fails(target: int, source: int, offset: int, size_bytes: int) -> int:
        if offset:
            raise OSError(28, "No space left on device")
        return sendfile(target, source, offset, 2)

    monkeypatch.setattr(os, "sendfile", fails)
    with pytest.raises(OSError, match="No space"):
        append(parts, 3, b"defgh")
    assert stored(parts) == b"abc"
    assert next(tmp_path.glob("1/*.3")).stat().st_size == 3
    with pytest.raises(OSError, match="No space"), part(b"xyz") as file:
        parts.append(1, "another", 0, file)
    assert [log.name for log in parts.unfinished(1).uploads] == ["log"]


def test_a_gateway_whose_lock_is_never_given_back_is_told_so(tmp_path: Path) -> None:
    with locked(tmp_path / "1"), pytest.raises(BusyError, match="try again"), locked(tmp_path / "1", patience_s=0.05):
        pass


def test_what_expires_elsewhere_waits_while_it_is_in_use(tmp_path: Path) -> None:
    parts = Parts(tmp_path, LIMITS)
    append(parts, 0, b"abc")
    os.utime(next(tmp_path.glob("1/*.3")), (0, 0))
    with locked(tmp_path / "1"):
        parts.expire()
    with parts.taken(1, "log"):
        parts.expire()
    assert stored(parts) == b"abc"
    parts.expire()
    assert stored(parts) is None


def test_a_half_written_memory_of_a_finished_log_is_none(tmp_path: Path) -> None:
    parts = Parts(tmp_path, LIMITS)
    append(parts, 0, b"abc")
    (tmp_path / "1" / "finished").mkdir()
    (tmp_path / "1" / "finished" / f"{b'log'.hex()}.new").write_bytes(b'{"upload')
    assert parts.finished(1, "log") is None
    finished = Finished(upload_id=uuid.uuid4(), sha256="0" * 64, size_bytes=3, query="vehicle=a")
    with parts.taken(1, "log"):
        parts.finish(1, "log", finished)
    assert parts.finished(1, "log") == finished
    assert stored(parts) is None


def test_files_of_others_and_broken_memories_are_passed_over(tmp_path: Path) -> None:
    parts = Parts(tmp_path, LIMITS)
    append(parts, 0, b"abc")
    (tmp_path / "1" / "finished").mkdir()
    (tmp_path / "1" / "finished" / b"other".hex()).write_bytes(b"")
    (tmp_path / "1" / ".nfs00000001").touch()
    (tmp_path / "lost+found").mkdir()
    assert [log.name for log in parts.unfinished(1).uploads] == ["log"]
    assert parts.finished(1, "other") is None
    parts.expire()
