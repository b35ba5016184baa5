"""Streams of frames as one, and frames in no order put in order on disk."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.can import merge, windows
from ingest.can.formats import candump
from ingest.can.frames import Frames, concat
from ingest.can.merge import in_order, merged
from ingest.can.setup import Setup
from ingest.can.whole import Reading
from ingest.can.windows import LateFramesError
from ingest.log_files import tell_alone

BUCKET = 60


def frames(times: list[int], ids: list[int] | None = None, channel: str = "") -> Frames:
    count = len(times)
    return Frames(
        np.array(times, np.int64), np.array(ids or range(count), np.uint32), np.zeros(count, np.uint8),
        np.zeros(count, np.uint8), np.zeros(count, np.uint64), channels=(channel,),
    )  # fmt: skip


def cut(whole: Frames, size: int) -> list[Frames]:
    return [whole.between(n, min(n + size, len(whole))) for n in range(0, len(whole), size)]


def listed(blocks: list[Frames]) -> list[tuple[int, int, str]]:
    return [
        (time, id_, block.channels[channel])
        for block in blocks
        for time, id_, channel in zip(
            block.time_us.tolist(), block.can_id.tolist(), block.channel.tolist(), strict=True
        )
    ]


@given(
    st.lists(st.lists(st.integers(0, 3000), max_size=60), min_size=1, max_size=4), st.integers(1, 20),
)  # fmt: skip
def test_streams_of_different_buses_are_all_there_in_order(times: list[list[int]], size: int) -> None:
    streams = [cut(frames(sorted(one), channel=f"can{n}"), size) for n, one in enumerate(times)]
    found = listed(list(merged(streams, BUCKET)))
    assert [time for time, _, _ in found] == sorted(time for one in times for time in one)
    assert sorted(found) == sorted(frame for stream in streams for frame in listed(stream))


@given(st.lists(st.integers(0, 3000), max_size=60), st.data())
def test_a_frame_that_several_streams_hold_counts_once(times: list[int], data: st.DataObject) -> None:
    whole = frames(sorted(times))
    kept = [sorted(data.draw(st.sets(st.integers(0, len(times) - 1)))) if times else [] for _ in range(2)]
    streams = [cut(whole.take(np.array(at, np.int64)), 7) for at in [list(range(len(times))), *kept]]
    assert listed(list(merged(streams, BUCKET))) == listed([whole])


def test_a_frame_that_came_twice_in_one_log_stays_twice() -> None:
    twice, once = frames([5, 5, 9], [1, 1, 2]), frames([5, 9], [1, 2])
    assert listed(list(merged([[twice], [once]], BUCKET))) == listed([twice])
    assert listed(list(merged([[once], [twice]], BUCKET))) == listed([once])


def test_a_stream_that_goes_back_is_noticed() -> None:
    streams = [[frames([0, 500]), frames([10])], [frames([0, 400, 450])]]
    with pytest.raises(LateFramesError):
        list(merged(streams, BUCKET))


def test_no_stream_is_no_frame() -> None:
    assert list(merged([], BUCKET)) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 1000), max_size=200), st.integers(1, 50))
def test_frames_in_no_order_are_put_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: list[int], size: int
) -> None:
    monkeypatch.setattr(merge, "RUN_FRAMES", 40)
    monkeypatch.setattr(merge, "SLICE_FRAMES", 6)
    whole = frames(times)
    found = concat(list(in_order(cut(whole, size), tmp_path)))
    assert listed([found]) == listed([whole.sorted()])
    assert not list(tmp_path.iterdir())


def test_a_log_that_goes_back_by_hours_tells_what_it_tells_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_FRAMES", 300)
    monkeypatch.setattr(candump, "BLOCK_BYTES", 20_000)
    lines = [f"({1767686400 + n}.000000) can0 18FEF100#FF{n % 100:02X}32FFFFFFFFFF\n" for n in range(20_000)]
    told = []
    for name, ordered in (("order", lines), ("back", [*lines[10_000:], *lines[:10_000]])):
        folder = tmp_path / name
        folder.mkdir()
        alone = tell_alone(io.BytesIO("".join(ordered).encode()), "candump", Reading("UTC"), Setup(), folder)
        assert alone.counts.frames == 20_000
        assert alone.counts.dropped == 0
        assert alone.signals is not None
        told.append((pl.concat(piece.rows for piece in alone.spool.pieces()), pl.read_parquet(alone.signals)))
    (rows, values), (other_rows, other_values) = told
    assert rows.equals(other_rows)
    assert values.height == other_values.height == 20_000
