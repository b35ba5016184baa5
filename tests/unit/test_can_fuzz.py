"""Broken logs of every format, and of what is wrapped around them, are read or refused, never worse.

A case that fails is made again by its numbers: `tests.can_logs.fuzz.case(format, number, seed)`.
"""

import io

import pytest

from ingest.can.formats import FORMATS, read_log
from tests import campaign
from tests.can_logs import fuzz
from tests.can_logs.fuzz_samples import FILES, GOLDEN, samples

PARTS = campaign.size(1, 20)
EACH = campaign.size(80, 1_000)
"""In each part; of DBC files a fifth, as cantools takes its time."""


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", fuzz.NAMES)
def test_broken_bytes(name, part):
    each = EACH // 5 if name == fuzz.DBC else EACH
    with fuzz.limited_memory():
        counts, failures = fuzz.run(name, range(part * each, (part + 1) * each), campaign.SEED)
    assert not failures, fuzz.tell(name, counts, failures)
    assert counts["read"] > 0.3 * each, "the mutations leave nothing to read"


def test_every_golden_log_is_broken():
    used = {file for files in FILES.values() for file in files}
    logs = {
        path.name
        for path in GOLDEN.iterdir()
        if path.suffix in (".log", ".asc", ".trc", ".txt", ".blf", ".mf4", ".dbc")
    }
    assert used == logs | {"gvret.csv"}


@pytest.mark.parametrize("name", list(FORMATS))
def test_sound_logs_are_read(name):
    for data in samples(name):
        assert fuzz.check(name, data, decoded=True) == fuzz.check(name, data, in_small_blocks=True) == "read"
        blocks = list(read_log(io.BytesIO(data), name).blocks)
        frames = sum(len(block.frames) for block in blocks)
        assert frames > 80
        assert sum(block.rejected for block in blocks) < frames / 10


def test_cases_are_the_same_every_time_and_differ():
    assert fuzz.case("asc", 5) == fuzz.case("asc", 5) != fuzz.case("asc", 5, seed=1)
    assert len({fuzz.case("blf", n) for n in range(50)}) > 45


def test_a_failure_is_told_with_its_number(monkeypatch):
    """What is looked for is found: a reader that breaks at some bytes."""

    def broken(file, name):
        if b"\xff" in file.getvalue():
            raise IndexError("out of bounds")
        return read_log(file, name)

    monkeypatch.setattr(fuzz, "read_log", broken)
    counts, failures = fuzz.run("crtd", range(60))
    assert failures
    assert {failure.number for failure in failures} == {n for n in range(60) if b"\xff" in fuzz.case("crtd", n)}
    assert "IndexError" in failures[0].what
    assert f"first case {failures[0].number}: IndexError" in fuzz.tell("crtd", counts, failures)
    with pytest.raises(IndexError):
        fuzz.check("crtd", fuzz.case("crtd", failures[0].number))


def test_frames_out_of_nothing_are_told(monkeypatch):
    many = read_log(io.BytesIO(GOLDEN.joinpath("candump.log").read_bytes()), "candump")
    monkeypatch.setattr(fuzz, "read_log", lambda _file, _name: many)
    with pytest.raises(AssertionError, match="frames out of"):
        fuzz.check("candump", b"one line\n")


def test_too_much_memory_is_told():
    with fuzz.limited_memory(), pytest.raises(MemoryError):
        bytearray(2 * fuzz.MEMORY_BYTES)
    assert len(bytearray(2**20)) == 2**20
