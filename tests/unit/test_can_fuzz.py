"""Broken logs of every format are read or refused, never worse.

BEACHHEAD_FUZZ says how many of each format; all 20,000 go through `python -m tests.can_logs.fuzz`. A case that fails is
made again by its number: `tests.can_logs.fuzz.case(format, number)`.
"""

import io
import os

import pytest

from ingest.can.formats import FORMATS, read_log
from tests.can_logs import fuzz

EACH = int(os.environ.get("BEACHHEAD_FUZZ", "150"))


@pytest.mark.parametrize("name", list(FORMATS))
def test_broken_bytes(name):
    counts, failures = fuzz.run(name, range(EACH))
    assert failures == []
    assert counts["read"] > EACH / 4, "the mutations leave nothing to read"


def test_every_golden_log_is_broken():
    used = {file for files in fuzz.FILES.values() for file in files}
    logs = {
        path.name for path in fuzz.GOLDEN.iterdir() if path.suffix in (".log", ".asc", ".trc", ".txt", ".blf", ".mf4")
    }
    assert used == logs | {"gvret.csv"}


def test_cases_are_the_same_every_time_and_differ():
    assert fuzz.case("asc", 5) == fuzz.case("asc", 5)
    assert len({fuzz.case("blf", n) for n in range(50)}) > 45


def test_a_failure_is_told_with_its_number(monkeypatch):
    """What is looked for is found: a reader that breaks at some bytes."""

    def broken(file, name):
        if b"\xff" in file.getvalue():
            raise IndexError("out of bounds")
        return read_log(file, name)

    monkeypatch.setattr(fuzz, "read_log", broken)
    _, failures = fuzz.run("crtd", range(60))
    assert failures
    assert {failure.number for failure in failures} == {n for n in range(60) if b"\xff" in fuzz.case("crtd", n)}
    assert "IndexError" in failures[0].what
    with pytest.raises(IndexError):
        fuzz.check("crtd", fuzz.case("crtd", failures[0].number), decoded=False)


def test_frames_out_of_nothing_are_told(monkeypatch):
    many = read_log(io.BytesIO(fuzz.GOLDEN.joinpath("candump.log").read_bytes()), "candump")
    monkeypatch.setattr(fuzz, "read_log", lambda _file, _name: many)
    with pytest.raises(AssertionError, match="frames out of"):
        fuzz.check("candump", b"one line\n", decoded=False)
