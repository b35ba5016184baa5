"""Windows told in any grouping of buckets: all the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.can import dm1, isotp, transport, windows
from ingest.can.dbc import read_dbc
from ingest.can.definitions import Bound
from ingest.can.setup import Setup
from ingest.can.signals import Told, tell
from ingest.can.specs import Canonical
from ingest.can.windows import Window, Windows
from tests import campaign
from tests.can_logs.rows import (
    CAPACITY,
    DBC,
    DM1,
    J1939,
    LENGTH_FIRST,
    MINUTE,
    OWN_DM1,
    SECOND,
    SERVICE_FIRST,
    SPEED,
    VOLTS_AMPS,
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
SOURCES = (0xF3, 0xF4, 0xF5)
CODES = ((100, 3), (200, 4), (520_000, 31))


NEAR_US = (-50_000_000, -30_000_000, -5_000_000, -1_000_000, -1, 0, 1, 1_000_000, 4_000_000)


def traffic(seed: int, events: int) -> list[Row]:
    """Some minutes of a bus, with silences: near a few edges of buckets, a few sources say something each."""
    dice = random.Random(seed)
    edges = dice.sample((3, 4, 5, 6, 8), dice.randint(1, 4))
    speakers = {edge: [(dice.choice(KINDS), dice.choice(SOURCES)) for _ in range(dice.randint(1, 3))] for edge in edges}
    quiet_after = [edge for edge in edges if dice.random() < 0.3]
    rows: list[Row] = []
    while events > 0 or not rows:
        edge = dice.choice(edges)
        near = dice.choice((dice.choice(NEAR_US), dice.randrange(-10 * SECOND, 5 * SECOND), dice.randrange(MINUTE)))
        kind, source = dice.choice(speakers[edge])
        said = kind(dice, edge * MINUTE + (-abs(near) - 1 if edge in quiet_after else near), source)
        # As often as not it ends there.
        back = max(row[0] for row in said) - said[0][0] if said and dice.random() < 0.5 else 0
        rows += [(t - back, *rest) for t, *rest in said]
        events -= 1
    return sorted(rows, key=lambda row: row[0])


def _speed(dice: random.Random, t: int, source: int) -> list[Row]:
    raw = dice.choice((0, 20_000, 50_000, 0xFFFF))
    return [(t, SPEED | source, b"\xff" + raw.to_bytes(2, "little") + b"\xff" * 5)]


def _pack(dice: random.Random, t: int, source: int) -> list[Row]:
    pct, ah = dice.uniform(0, 100), dice.choice((0, 33.3, 100, 250, 271.8))
    said = [soc(t, source, pct), capacity(t, source, ah), volts_amps(t, source, 300 + pct, pct - 50)]
    return dice.choice((said, said[:2], said[:1], said[1:2], said[2:]))


def _current(dice: random.Random, t: int, source: int) -> list[Row]:
    """A pack that tells its current alone."""
    return [(t, VOLTS_AMPS | source, b"\xff" * 6 + dice.randrange(60_000).to_bytes(2, "little"))]


def _own_power(dice: random.Random, t: int, _: int) -> list[Row]:
    return [(t, 512, dice.randint(-900, 900).to_bytes(2, "little", signed=True) + bytes(6))]


def _trouble(dice: random.Random, t: int, source: int) -> list[Row]:
    """Reports one after the other, single or joined."""
    rows: list[Row] = []
    for _ in range(dice.randint(1, 4)):
        codes = dice.sample(CODES, dice.randint(0, 3))
        body = trouble(*codes, lamps=dice.choice((0, 0x04, 0x50, 0xFF)))
        rows += [(t, DM1 | source, body)] if len(body) <= 8 else broadcast(t, source, body)
        t += dice.choice((SECOND, 9 * SECOND, 29 * SECOND, 31 * SECOND))
    return rows


def _session(dice: random.Random, t: int, source: int) -> list[Row]:
    """Transport of all kinds, up to fifty seconds long: trouble codes, voltages and currents, capacities."""
    packets, gap = dice.randint(2, 45), dice.choice((10_000, 200_000, SECOND, 1_250_000, 1_250_001))
    kind, destination = dice.choice((0x10, 0x20)), dice.choice((5, 0xFF))
    body, pgn = dice.choice((
        (trouble(*((n + 1, 1) for n in range(packets * 7 // 4))), dm1.PGN),
        (volts_amps(0, 0, dice.uniform(300, 400), 10)[2] + bytes(7 * packets - 8), VOLTS_AMPS >> 8 & 0xFFFF),
        (capacity(0, 0, dice.uniform(10, 400))[2] + bytes(7 * packets - 8), CAPACITY >> 8 & 0xFFFF),
    ))  # fmt: skip
    said = _damaged(dice, session(t, kind, source, destination, body, pgn, gap))
    # The receiver asks for more, acknowledges, or either side gives up.
    answer = bytes([dice.choice((0x11, 0x13, 0xFF)), 0xFF, 0xFF, 0xFF, 0xFF, *pgn.to_bytes(3, "little")])
    place = J1939 | 0xEC00 << 8 | source << 8 | destination
    return said if dice.random() < 0.6 else [*said, (dice.choice(said)[0] + dice.choice((1, gap)), place, answer)]


def _response(dice: random.Random, t: int, _: int) -> list[Row]:
    body = bytes.fromhex("620101") + dice.randbytes(dice.randint(1, 60))
    can_id, gap = dice.choice((LENGTH_FIRST, SERVICE_FIRST)), dice.choice((10_000, 900_000, SECOND, 1_000_001))
    return _damaged(dice, response(t, can_id, body, gap))


def _damaged(dice: random.Random, rows: list[Row]) -> list[Row]:
    at = dice.randrange(len(rows))
    return dice.choice((rows, rows, rows[: at + 1], rows[:at] + rows[at + 1 :]))


KINDS = (_speed, _pack, _pack, _current, _own_power, _trouble, _session, _session, _response)


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


many = settings(max_examples=campaign.size(120, 5000), deadline=None)
logs = st.builds(traffic, st.integers(0, 2**32), st.integers(1, 60))


@many
@given(logs, st.sampled_from(sorted(SETUPS)), st.sets(st.integers(3, 8)))
def test_any_grouping_of_buckets_tells_the_same(rows: list[Row], name: str, cuts: set[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "WINDOW_FRAMES", 20)
        setup = SETUPS[name]
        bucket = setup.bucket_us
        end = (rows[-1][0] // bucket + 1) * bucket
        whole = everything([tell(window(rows, 0, end, bucket), setup)])
        for cut in groupings(rows, cuts, bucket):
            parts = everything([tell(one, setup) for one in cut])
            for what, value in whole.items():
                assert parts[what] == value, what


@many
@given(logs)
def test_every_loss_is_told_once(rows: list[Row]) -> None:
    whole = frames(rows)
    joined = [transport.join(whole), isotp.join(whole, [("can0", LENGTH_FIRST), ("can0", SERVICE_FIRST)])]
    failed_us = np.concatenate([one.failed_us for one in joined])
    end = (rows[-1][0] // MINUTE + 1) * MINUTE
    assert sum(tell(one, CAR).losses for one in Windows(MINUTE).cut([whole])) == (failed_us < end).sum()
