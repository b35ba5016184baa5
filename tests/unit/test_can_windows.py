"""Windows of whole buckets: whatever the blocks, every frame is told once, with the bucket before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.can import windows
from ingest.can.frames import Frames
from ingest.can.windows import LateFramesError, Window, Windows

BUCKET = 60


def frames(times: list[int]) -> Frames:
    count = len(times)
    return Frames(
        np.array(times, np.int64), np.arange(count, dtype=np.uint32), np.zeros(count, np.uint8),
        np.zeros(count, np.uint8), np.zeros(count, np.uint64),
    )  # fmt: skip


def own(window: Window) -> list[int]:
    return real(window)[window.split :]


def real(window: Window) -> list[int]:
    times = window.frames.time_us
    return (times if window.silences is None else window.silences.real(times)).tolist()


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_FRAMES", 20)
    monkeypatch.setattr(windows, "MOST_BUCKETS", 4)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=200), st.integers(1, 30))
def test_every_frame_is_told_once_with_the_bucket_before(times: list[int], size: int) -> None:
    times.sort()
    blocks = [frames(times[n : n + size]) for n in range(0, len(times), size)]
    cut = list(Windows(BUCKET).cut(blocks))
    assert [time for window in cut for time in own(window)] == times
    for window in cut:
        low, high = window.own
        assert low % BUCKET == high % BUCKET == 0
        assert high - low <= 4 * BUCKET
        first = window.spans[0][0]
        before = [time for time in times if first - BUCKET <= time < first]
        assert real(window)[: window.split] == before
        inside = [any(low <= time < high for low, high in window.spans) for time in own(window)]
        assert all(inside)
        assert window.spans[0][0] == low


def test_a_silence_is_told_as_one_of_a_bucket() -> None:
    year = 10**15 // BUCKET * BUCKET
    (window,) = Windows(BUCKET).cut([frames([0, 1, year, year + 1])])
    assert own(window) == [0, 1, year, year + 1]
    assert window.frames.time_us.tolist() == [0, 1, 2 * BUCKET, 2 * BUCKET + 1]
    assert window.own == (0, 3 * BUCKET)
    assert window.spans == ((0, BUCKET), (year, year + BUCKET))


def test_buckets_next_to_each_other_stay_so() -> None:
    (window,) = Windows(BUCKET).cut([frames([0, 60, 600])])
    assert window.frames.time_us.tolist() == [0, 60, 180]
    assert window.spans == ((0, 120), (600, 660))


def test_frames_out_of_order_by_less_than_a_bucket_are_put_in_order() -> None:
    times = list(range(0, 600, 2))
    shuffled = [*times[:100], *times[110:115], *times[100:110], *times[115:]]
    blocks = [frames(shuffled[n : n + 7]) for n in range(0, len(shuffled), 7)]
    assert [time for window in Windows(BUCKET).cut(blocks) for time in own(window)] == times


def test_going_back_by_more_than_a_bucket_is_noticed() -> None:
    blocks = [frames(list(range(0, 600, 5))), replace(frames([10]))]
    with pytest.raises(LateFramesError):
        list(Windows(BUCKET).cut(blocks))
