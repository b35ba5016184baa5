"""Windows told, by hand."""

from __future__ import annotations

import polars as pl
import pytest

from ingest.can import dm1, isotp, transport, windows
from ingest.can.dbc import read_dbc
from ingest.can.definitions import Bound
from ingest.can.setup import CAPACITY_HOLD_US, HOLD_US, LEAST_BUCKET_US, Setup
from ingest.can.signals import Told, tell
from ingest.can.specs import Canonical
from ingest.can.windows import Windows
from tests.can_logs.rows import (
    DBC,
    DM1,
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


def told(rows: list[Row], low: int = 0, high: int = MINUTE, setup: Setup | None = None) -> Told:
    return tell(window(rows, low, high), setup or Setup())


def values(told_: Told, name: str) -> dict[float, object]:
    """What rows say of a signal, by second."""
    rows = told_.rows if name in told_.rows.columns else told_.rows.with_columns(pl.lit(None).alias(name))
    seconds = rows["time"].dt.epoch("us") / SECOND
    return {t: v for t, v in zip(seconds, rows[name], strict=True) if v is not None}


def samples(told_: Told, name: str) -> list[tuple[float, float]]:
    found = [one for one in told_.samples if one.name == name]
    assert len(found) <= 1
    return [(t / SECOND, v) for one in found for t, v in zip(one.time_us, one.values, strict=True) if v == v]


def test_trouble_codes_of_single_and_joined_messages_are_one_story() -> None:
    """Source 3: one code alone, then two together, then none. Source 5 has another code at its end."""
    rows = [(1 * SECOND, DM1 | 3, trouble((100, 3))), *broadcast(2 * SECOND, 3, trouble((100, 3), (200, 4))),
            (3 * SECOND, DM1 | 3, trouble()), (4 * SECOND, DM1 | 5, trouble((7, 1), lamps=0x40))]  # fmt: skip
    found = told(rows).sightings
    assert found.schema == dm1.SIGHTING_SCHEMA
    assert found.select("channel", "source", "spn", "fmi", "first_us", "last_us", "cleared_us").rows() == [
        ("can0", 3, 100, 3, SECOND, 2_100_000, 3 * SECOND),
        ("can0", 3, 200, 4, 2_100_000, 2_100_000, 3 * SECOND),
        ("can0", 5, 7, 1, 4 * SECOND, 4 * SECOND, None),
    ]
    assert found["malfunction_lamp"].to_list() == [False, False, True]


def test_a_code_of_the_bucket_before_is_cleared_in_this_one() -> None:
    rows = [(59 * SECOND, DM1 | 3, trouble((100, 3))), (60 * SECOND, DM1 | 3, trouble())]
    before, after = told(rows).sightings, told(rows, MINUTE, 2 * MINUTE).sightings
    assert after.select("first_us", "cleared_us").rows() == [(None, MINUTE)]
    assert dm1.episodes(pl.concat([before, after])).select("first_us", "cleared_us").rows() == [(59 * SECOND, MINUTE)]


def test_a_message_too_long_on_its_way_is_left_out() -> None:
    body = trouble(*((n, 1) for n in range(1, 65)))
    assert len(told(broadcast(0, 3, body, gap=SECOND), high=MINUTE).sightings) == 0
    assert len(told(broadcast(0, 3, body, gap=SECOND // 2), high=MINUTE).sightings) == 64


def test_fault_codes_are_counted_and_added_over_sources() -> None:
    """Source 3 reports two codes at 1 s; source 5 one at 2 s and none from 4 s; what is heard stands for 5 s."""
    rows = [*broadcast(SECOND, 3, trouble((100, 3), (200, 4))), (2 * SECOND, DM1 | 5, trouble((7, 1))),
            (4 * SECOND, DM1 | 5, trouble()), (9 * SECOND, DM1 | 5, trouble((7, 1)))]  # fmt: skip
    found = told(rows)
    assert values(found, "fault_count") == {1: 2, 2: 3, 4: 2, 9: 1}
    assert found.rows["fault_count"].dtype == pl.Int64


def test_a_fault_count_that_is_mapped_outranks_the_reports() -> None:
    setup = Setup(bound=CAR.bound, maps=(Canonical("fault_count", "Drive", "Codes"),))
    rows = [(SECOND, DM1 | 3, trouble((100, 3))), (2 * SECOND, 512, bytes([0, 0, 9, 0, 0, 0, 0, 0]))]
    assert values(told(rows, setup=setup), "fault_count") == {2: 9}
    assert told(rows, setup=setup).sightings.height == 1


def test_lamps_of_single_and_joined_messages_come_once() -> None:
    two = trouble((100, 3), (200, 4), lamps=0x10)
    rows = [(SECOND, DM1 | 3, trouble(lamps=0x04)), *broadcast(2 * SECOND, 3, two), (3 * SECOND, DM1 | 3, trouble())]
    found = told(rows)
    assert values(found, "red_stop_lamp") == {1: False, 2: True, 3: False}
    assert values(found, "amber_warning_lamp") == {1: True, 2: False, 3: False}
    assert samples(found, "can0/DM1.SPN623@03") == [(1, 0), (2.1, 1), (3, 0)]
    assert len(found.samples) == 4


def test_a_definition_of_ones_own_does_not_hide_trouble_codes() -> None:
    setup = Setup(bound=(Bound(None, read_dbc(OWN_DM1, "own.dbc").messages),))
    rows = [(SECOND, DM1 | 3, trouble((100, 3), lamps=0x10)), *broadcast(2 * SECOND, 3, trouble((1, 1), (2, 2)))]
    found = told(rows, setup=setup)
    assert found.sightings["spn"].to_list() == [1, 2, 100]
    assert values(found, "fault_count") == {1: 1, 2: 2}
    assert values(found, "red_stop_lamp") == {1: True, 2: False}
    assert [one.name for one in found.samples] == ["can0/Faults.Raw@03"]
    assert found.extras["name"].unique().to_list() == ["can0/Faults.Raw@03"]


def test_a_response_of_several_frames_is_decoded_as_its_file_lays_it_out() -> None:
    """Byte 0 of the layout is the length, then 62 01 01; charge is byte 7, volts are bytes 14 and 15."""
    body = bytes.fromhex("620101 FFFFFF 91 000000000000 0E10 0000")
    rows = [*response(SECOND, LENGTH_FIRST, body), (SECOND + 1, 0x7E4, bytes.fromhex("30000A0000000000"))]
    found = told(rows, setup=CAR)
    at = 1.02
    assert samples(found, "can0/Battery.StateOfCharge") == [(at, 72.5)]
    assert samples(found, "can0/Battery.Volts") == [(at, 360.0)]
    assert samples(found, "can0/Battery.service") == [(at, 0x62)]
    assert samples(found, "can0/Battery.response") == [(at, 0x101)]
    assert samples(found, "can0/Battery.Health") == []
    assert (found.frames, found.decoded, found.unknown, found.losses) == (4, 3, {("can0", 0x7E4): 1}, 0)


def test_a_response_in_one_frame_is_decoded_alike() -> None:
    found = told(response(SECOND, LENGTH_FIRST, bytes.fromhex("62010503E8")), setup=CAR)
    assert samples(found, "can0/Battery.Health") == [(1, 100.0)]
    assert samples(found, "can0/Battery.Volts") == []


def test_a_layout_may_begin_with_the_service() -> None:
    """0x028C = 652: 0xB4 = 180 x 0.4 %. 0x1E4B = 7755: four bytes of no interest... then 0x000F4240 = 1 000 000."""
    one = response(SECOND, SERVICE_FIRST, bytes.fromhex("62028CB4"))
    several = response(2 * SECOND, SERVICE_FIRST, bytes.fromhex("621E4B 000000 000F4240"))
    found = told(one + several, setup=CAR)
    assert samples(found, "can0/Gateway.Charge") == [(1, 72.0)]
    assert samples(found, "can0/Gateway.Total") == [(2.01, 1000.0)]
    assert samples(found, "can0/Gateway.S") == [(1, 0x62), (2.01, 0x62)]


def test_longer_frames_stand_for_themselves() -> None:
    rows = [(SECOND, 768, bytes(range(1, 17))), *response(2 * SECOND, 768, bytes(range(100, 115)))]
    found = told(rows, setup=CAR)
    assert samples(found, "can0/Flexible.Near") == [(1, 1), (2.02, 15)]  # the length comes first
    assert samples(found, "can0/Flexible.Far") == [(1, 16), (2.02, 114)]
    assert found.decoded == 4


def test_a_response_belongs_to_the_bucket_in_which_it_ends() -> None:
    setup = Setup(bound=CAR.bound, maps=(Canonical("battery_voltage_v", "Battery", "Volts"),))
    body = bytes.fromhex("620101 FFFFFF 91 000000000000 0E10 0000")
    rows = response(MINUTE - 10_000, LENGTH_FIRST, body)
    before, after = told(rows, setup=setup), told(rows, MINUTE, 2 * MINUTE, setup)
    assert (before.samples, values(before, "battery_voltage_v")) == ([], {})
    assert values(after, "battery_voltage_v") == {60: 360.0}
    assert (before.decoded, after.decoded) == (1, 2)
    assert before.losses + after.losses == 0


@pytest.mark.parametrize(
    ("rows", "failed_s"),
    [
        (response(10 * SECOND, LENGTH_FIRST, bytes(range(98, 118)))[:2], 11.01),
        (broadcast(10 * SECOND, 3, bytes(20))[:2], 11.3),
        (session(10 * SECOND, 0x10, 3, 5, bytes(20), dm1.PGN, 10)[:2], 11.25001),
    ],
)
def test_a_loss_is_told_when_it_is_certain(rows: list[Row], failed_s: float) -> None:
    shift = MINUTE - round(failed_s * SECOND)
    for by, expected in ((-1, [1, 0]), (0, [0, 1])):
        moved = [(t + shift + by, *rest) for t, *rest in rows]
        counts = [told(moved, low, low + MINUTE, CAR).losses for low in (0, MINUTE)]
        assert counts == expected
    assert told(moved, setup=CAR).samples == []


def test_a_loss_before_a_silence_is_told_with_what_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*broadcast(MINUTE - 60_000, 3, bytes(20))[:2], (10 * MINUTE, SPEED, bytes(8))]
    (whole,) = Windows(MINUTE).cut([frames(rows)])
    assert tell(whole, CAR).losses == 1
    monkeypatch.setattr(windows, "MOST_BUCKETS", 1)
    cut = list(Windows(MINUTE).cut([frames(rows)]))
    assert [(one.own[0], one.silent_us, tell(one, CAR).losses) for one in cut] == [(0, MINUTE, 1), (10 * MINUTE, 0, 0)]
    assert [tell(one, CAR).losses for one in Windows(MINUTE).cut([frames(rows[:2])])] == [0]


@pytest.mark.parametrize("period_us", [1, 999, 100_000, SECOND, 7 * SECOND, 44 * SECOND, 61 * SECOND, 300 * SECOND])
def test_a_bucket_is_as_long_as_anything_looks_back(period_us: int) -> None:
    bucket = Setup(period_us=period_us).bucket_us
    assert bucket % period_us == 0
    assert LEAST_BUCKET_US <= bucket < LEAST_BUCKET_US + period_us
    assert Setup().bucket_us == MINUTE


def test_nothing_looks_back_further_than_a_bucket() -> None:
    # A voltage stands while currents come, and the power that comes of both while other packs are heard.
    assert max(transport.MOST_SESSION_US, isotp.MOST_SESSION_US) + 2 * HOLD_US <= LEAST_BUCKET_US
    assert dm1.CLEAR_GAP_US + dm1.MOST_SENT_US <= LEAST_BUCKET_US
    assert CAPACITY_HOLD_US <= LEAST_BUCKET_US


def test_state_of_charge_is_weighted_by_capacity() -> None:
    """(80 % of 100 Ah + 50 % of 200 Ah) / 300 Ah = 60 %. With a third pack that tells no capacity: the plain mean."""
    rows = [capacity(SECOND, 0xF3, 100), capacity(SECOND, 0xF4, 200)]
    heard = [(2, 0xF3, 80), (2, 0xF4, 50), (9, 0xF4, 40), (20, 0xF3, 80), (20, 0xF4, 50), (20, 0xF5, 53)]
    rows += [soc(t * SECOND, source, pct) for t, source, pct in heard]
    assert values(told(rows), "battery_soc_pct") == {2: 60.0, 9: 40.0, 20: 61.0}


def test_a_capacity_stands_for_a_minute() -> None:
    rows = [capacity(30 * SECOND, 0xF3, 100), capacity(30 * SECOND, 0xF4, 300)]
    rows += [soc(t * SECOND, source, pct) for t in (89, 90, 91) for source, pct in ((0xF3, 80), (0xF4, 40))]
    expected = pytest.approx({89: 50.0, 90: 50.0, 91: 60.0})
    assert values(told(rows, high=2 * MINUTE), "battery_soc_pct") == expected
    assert values(told(rows, MINUTE, 2 * MINUTE), "battery_soc_pct") == expected


def test_capacities_that_cannot_be_are_no_weights() -> None:
    rows = [capacity(SECOND, 0xF3, 0), capacity(SECOND, 0xF4, 300), soc(SECOND, 0xF3, 80), soc(SECOND, 0xF4, 40)]
    assert values(told(rows), "battery_soc_pct") == {1: 60.0}


def test_a_capacity_that_came_in_several_frames_is_no_weight() -> None:
    """It may have begun before anything that a window holds."""
    rows = [*broadcast(SECOND, 0xF3, capacity(0, 0, 100)[2] + bytes(4), pgn=0xF093), capacity(SECOND, 0xF4, 300)]
    rows += [soc(2 * SECOND, 0xF3, 80), soc(2 * SECOND, 0xF4, 40)]
    assert values(told(rows), "battery_soc_pct") == {2: 60.0}


def test_a_voltage_that_is_no_longer_told_hides_no_other() -> None:
    """Pack F3 told one minutes ago, F4 tells one now: F5, which tells none, has that of F4, 500 V x 5 A."""
    silent = (4 * MINUTE, VOLTS_AMPS | 0xF5, b"\xff" * 6 + round(1605 / 0.05).to_bytes(2, "little"))
    rows = [volts_amps(SECOND, 0xF3, 400, 0), volts_amps(4 * MINUTE, 0xF4, 500, 0), silent]
    assert values(told(rows, high=5 * MINUTE), "battery_power_kw") == {1: 0, 240: pytest.approx(2.5)}


def test_power_by_each_pack_s_own_voltage() -> None:
    """400 V x 10 A + 500 V x 20 A = 14 kW. A pack that tells no voltage has that of the first: 400 V x 5 A."""
    rows = [volts_amps(SECOND, 0xF3, 400, 10), volts_amps(SECOND, 0xF4, 500, 20)]
    assert values(told(rows), "battery_power_kw") == {1: pytest.approx(14.0)}
    silent = (SECOND, VOLTS_AMPS | 0xF5, b"\xff" * 6 + round(1605 / 0.05).to_bytes(2, "little"))
    assert values(told([*rows, silent]), "battery_power_kw") == {1: pytest.approx(16.0)}


def test_power_of_packs_that_are_mapped_one_by_one() -> None:
    maps = [Canonical(name, pack, signal) for pack in ("PackA", "PackB")
            for name, signal in (("battery_current_a", "Current"), ("battery_voltage_v", "Voltage"))]  # fmt: skip
    setup = Setup(bound=CAR.bound, maps=tuple(maps))
    rows = [(SECOND, 513, bytes.fromhex("6400A00F00000000")), (SECOND, 514, bytes.fromhex("C800881300000000"))]
    found = told(rows, setup=setup)  # 10 A at 400 V, 20 A at 500 V
    assert values(found, "battery_current_a") == {1: 30.0}
    assert values(found, "battery_power_kw") == {1: pytest.approx(14.0)}


def test_what_was_joined_in_the_bucket_before_still_stands() -> None:
    """A voltage that came in several frames; a current alone two seconds later, across the edge."""
    told_before = broadcast(MINUTE - SECOND - 100_000, 0xF3, volts_amps(0, 0, 400, 10)[2] + bytes(4), pgn=0xF090)
    current = (MINUTE + SECOND, VOLTS_AMPS | 0xF3, b"\xff" * 6 + round(1620 / 0.05).to_bytes(2, "little"))
    found = told([*told_before, current], MINUTE, 2 * MINUTE)
    assert values(found, "battery_power_kw") == {61: pytest.approx(8.0)}


def test_a_pack_alone_says_what_it_said() -> None:
    """Though it is weighted while others are heard in the same window: (0.3 x 0.7) / 0.7 is not 0.3."""
    rows = [capacity(SECOND, source, ah) for source, ah in ((0xF3, 33.3), (0xF4, 271.8))]
    alone = [soc(t * SECOND, 0xF3, t * 1.37) for t in range(20, 50)]
    one, two = told([*rows, *alone]), told([*rows, *alone, soc(55 * SECOND, 0xF4, 50)])
    assert values(one, "battery_soc_pct").items() < values(two, "battery_soc_pct").items()


def test_power_that_is_told_is_preferred_where_it_is_told() -> None:
    setup = Setup(bound=CAR.bound, maps=(Canonical("battery_power_kw", "Drive", "Power"),))
    rows = [volts_amps(t * SECOND, 0xF3, 400, 10) for t in (1, 2)] + [(2 * SECOND, 512, (77).to_bytes(8, "little"))]
    assert values(told(rows, setup=setup), "battery_power_kw") == {1: pytest.approx(4.0), 2: pytest.approx(7.7)}


def test_a_message_sent_alone_and_joined_is_one_signal() -> None:
    """Two destinations of one group from one source, and a single frame: one column, in order of time."""
    body = volts_amps(0, 0, 400, 10)[2]
    rows = [*broadcast(SECOND, 0xF3, body + bytes(4), pgn=0xF090), volts_amps(SECOND + 50_000, 0xF3, 410, 10),
            *session(SECOND, 0x10, 0xF3, 5, body + bytes(4), 0xF090, 20_000)]  # fmt: skip
    found = told(rows)
    assert samples(found, "can0/HVESSD1.SPN5919@F3") == [(1.04, 400.0), (1.05, 410.0), (1.1, 400.0)]
    assert found.extras.select("name", "time").is_unique().all()
