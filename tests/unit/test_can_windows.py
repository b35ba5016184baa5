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
    return window.frames.time_us[window.split :].tolist()


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_FRAMES", 20)
    monkeypatch.setattr(windows, "MOST_BUCKETS", 3)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=200), st.integers(1, 30))
def test_every_frame_is_told_once_with_the_bucket_before(times: list[int], size: int) -> None:
    times.sort()
    blocks = [frames(times[n : n + size]) for n in range(0, len(times), size)]
    cut = list(Windows(BUCKET).cut(blocks))
    assert [time for window in cut for time in own(window)] == times
    for window in cut:
        low, high = window.own
        assert low % BUCKET == high % BUCKET == 0
        assert high - low <= 3 * BUCKET
        before = [time for time in times if low - BUCKET <= time < low]
        assert window.frames.time_us[: window.split].tolist() == before


def test_a_clock_that_jumps_by_years_makes_no_window_of_years() -> None:
    cut = list(Windows(BUCKET).cut([frames([0, 1, 10**15, 10**15 + 1])]))
    assert [own(window) for window in cut] == [[0, 1], [10**15, 10**15 + 1]]
    assert all(window.own[1] - window.own[0] == BUCKET for window in cut)


def test_frames_out_of_order_by_less_than_a_bucket_are_put_in_order() -> None:
    times = list(range(0, 600, 2))
    shuffled = [*times[:100], *times[110:115], *times[100:110], *times[115:]]
    blocks = [frames(shuffled[n : n + 7]) for n in range(0, len(shuffled), 7)]
    assert [time for window in Windows(BUCKET).cut(blocks) for time in own(window)] == times


def test_going_back_by_more_than_a_bucket_is_noticed() -> None:
    blocks = [frames(list(range(0, 600, 5))), replace(frames([10]))]
    with pytest.raises(LateFramesError):
        list(Windows(BUCKET).cut(blocks))
