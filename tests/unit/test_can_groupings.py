"""Windows told in any grouping of buckets: all the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ingest.can import dm1, isotp, transport, windows
from ingest.can.dbc import read_dbc
from ingest.can.definitions import Bound
from ingest.can.setup import Setup
from ingest.can.signals import Told, tell
from ingest.can.specs import Canonical
from ingest.can.windows import Window, Windows
from tests.can_logs.rows import (
    DBC,
    DM1,
    LENGTH_FIRST,
    MINUTE,
    OWN_DM1,
    SECOND,
    SERVICE_FIRST,
    SPEED,
    Row,
    broadcast,
    capacity,
    frames,
    response,
    session,
    soc,
    trouble,
    volts_amps,
    window,
)

CAR = Setup(bound=(Bound(None, read_dbc(DBC, "car.dbc").messages),))
MAPS = (Canonical("battery_power_kw", "Drive", "Power"), Canonical("battery_soc_pct", "Battery", "StateOfCharge"))
SETUPS = {
    "plain": CAR,
    "mapped": Setup(bound=CAR.bound, maps=MAPS),
    "seven seconds": Setup(period_us=7 * SECOND, bound=CAR.bound),
    "half a second": Setup(period_us=500_000, bound=CAR.bound),
    "kept": Setup(bound=CAR.bound, keep=frozenset({("HVESSD4", "SPN8080"), ("Battery", "Volts")})),
    "own": Setup(bound=(Bound(None, read_dbc(OWN_DM1, "own.dbc").messages),)),
}
PACKS = (0xF3, 0xF4, 0xF5)
CODES = ((100, 3), (200, 4), (520_000, 31))


@st.composite
def traffic(draw: st.DrawFn) -> list[Row]:
    """Up to ten minutes of a bus, with silences; much of it near the edges of buckets."""
    rows: list[Row] = []
    edges = st.sampled_from([-50_000_000, -30_000_000, -5_000_000, -1_000_000, -1, 0, 1_000_000])
    times = st.builds(
        lambda minute, at: max(0, minute * MINUTE + at), st.integers(0, 9), edges | st.integers(0, MINUTE)
    )
    for kind, t in draw(st.lists(st.tuples(st.sampled_from(KINDS), times), min_size=1, max_size=40)):
        rows += kind(draw, t)
    assume(rows)
    return sorted(rows, key=lambda row: row[0])


def _speed(draw: st.DrawFn, t: int) -> list[Row]:
    raw = draw(st.sampled_from([0, 20_000, 50_000, 0xFFFF]))
    return [(t, SPEED | draw(st.sampled_from([0, 0x17])), b"\xff" + raw.to_bytes(2, "little") + b"\xff" * 5)]


def _packs(draw: st.DrawFn, t: int) -> list[Row]:
    rows = []
    for source in draw(st.sets(st.sampled_from(PACKS), min_size=1)):
        pct, ah = draw(st.integers(0, 100)), draw(st.sampled_from([0, 33.3, 100, 250]))
        said = [soc(t, source, pct), capacity(t, source, ah), volts_amps(t, source, 300 + pct, pct - 50)]
        rows += draw(st.sampled_from([said, *([one] for one in said)]))
    return rows


def _own_power(draw: st.DrawFn, t: int) -> list[Row]:
    return [(t, 512, draw(st.integers(-900, 900)).to_bytes(2, "little", signed=True) + bytes(6))]


def _trouble(draw: st.DrawFn, t: int) -> list[Row]:
    """One after the other, every second or so, single or joined."""
    rows: list[Row] = []
    source = draw(st.sampled_from([0, 3]))
    for active in draw(st.lists(st.sets(st.sampled_from(CODES)), min_size=1, max_size=4)):
        body = trouble(*sorted(active), lamps=draw(st.sampled_from([0, 0x04, 0x50, 0xFF])))
        rows += [(t, DM1 | source, body)] if len(body) <= 8 else broadcast(t, source, body)
        t += draw(st.sampled_from([SECOND, 9 * SECOND, 29 * SECOND, 31 * SECOND]))
    return rows


def _sessions(draw: st.DrawFn, t: int) -> list[Row]:
    """Transport of all kinds, up to fifty seconds long, some of it cut off or with a packet missing."""
    gap = draw(st.sampled_from([10_000, 200_000, SECOND, 1_250_000, 1_250_001]))
    size, source = draw(st.integers(9, 280)), draw(st.sampled_from([0xF3, 3]))
    if draw(st.booleans()):
        codes = trouble(*((n, 1) for n in range(1, size // 4)))
        rows = session(
            t, draw(st.sampled_from([0x10, 0x20])), source, draw(st.sampled_from([5, 0xFF])), codes, dm1.PGN, gap
        )
    else:
        body = volts_amps(0, 0, draw(st.integers(300, 400)), 10)[2] + bytes(size)
        rows = session(t, 0x10, source, 5, body, 0xF090, gap)
    return _damaged(draw, rows)


def _responses(draw: st.DrawFn, t: int) -> list[Row]:
    body = bytes.fromhex("620101") + draw(st.binary(min_size=1, max_size=60))
    can_id = draw(st.sampled_from([LENGTH_FIRST, SERVICE_FIRST]))
    return _damaged(draw, response(t, can_id, body, draw(st.sampled_from([10_000, 900_000, SECOND, 1_000_001]))))


def _damaged(draw: st.DrawFn, rows: list[Row]) -> list[Row]:
    damage = draw(st.sampled_from(["none", "none", "cut", "hole"]))
    at = draw(st.integers(0, len(rows) - 1))
    return rows if damage == "none" else rows[: at + 1] if damage == "cut" else rows[:at] + rows[at + 1 :]


KINDS = (_speed, _packs, _packs, _own_power, _trouble, _sessions, _responses)


def groupings(rows: list[Row], cuts: set[int], bucket: int) -> Iterator[list[Window]]:
    """Bucket by bucket; cut at will; and as a log is cut."""
    end = rows[-1][0] // bucket + 1
    for edges in (range(end + 1), sorted({0, end, *(cut for cut in cuts if cut < end)})):
        yield [window(rows, low * bucket, high * bucket, bucket) for low, high in pairwise(edges)]
    yield list(Windows(bucket).cut([frames(rows[n : n + 7]) for n in range(0, len(rows), 7)]))


def everything(parts: list[Told]) -> dict[str, object]:
    """What windows told together, in an order of its own."""
    rows = pl.concat([part.rows for part in parts], how="diagonal")
    samples: dict[str, list[tuple[int, str]]] = {}
    for one in (one for part in parts for one in part.samples):
        samples.setdefault(one.name, []).extend(zip(one.time_us.tolist(), map(repr, one.values.tolist()), strict=True))
    return {
        "rows": rows.select(sorted(rows.columns)).rows(),
        "extras": sorted(row for part in parts for row in part.extras.rows()),
        "samples": samples,
        "sightings": sorted((row for part in parts for row in part.sightings.rows()), key=repr),
        "episodes": dm1.episodes(pl.concat([part.sightings for part in parts])).rows(),
        **{name: sum(getattr(part, name) for part in parts) for name in ("frames", "decoded", "losses")},
        "counts": [
            sum((Counter(getattr(part, name)) for part in parts), Counter()) for name in ("unknown", "out_of_limits")
        ],
    }


@settings(max_examples=300, deadline=None)
@given(traffic(), st.sampled_from(sorted(SETUPS)), st.sets(st.integers(1, 10)))
def test_any_grouping_of_buckets_tells_the_same(rows: list[Row], name: str, cuts: set[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "WINDOW_FRAMES", 20)
        setup = SETUPS[name]
        bucket = setup.bucket_us
        end = (rows[-1][0] // bucket + 1) * bucket
        whole = everything([tell(window(rows, 0, end, bucket), setup)])
        for cut in groupings(rows, cuts, bucket):
            told_ = everything([tell(one, setup) for one in cut])
            for what, value in whole.items():
                assert told_[what] == value, what


@given(traffic())
def test_every_loss_is_told_once(rows: list[Row]) -> None:
    whole = frames(rows)
    joined = [transport.join(whole), isotp.join(whole, [("can0", LENGTH_FIRST), ("can0", SERVICE_FIRST)])]
    failed = np.concatenate([one.failed_us for one in joined])
    end = (rows[-1][0] // MINUTE + 1) * MINUTE
    assert sum(tell(one, CAR).losses for one in Windows(MINUTE).cut([whole])) == (failed < end).sum()
