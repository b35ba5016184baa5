"""Decoding against cantools frame by frame, the not-available rule, and which definition holds for which frame."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import cantools
import numpy as np
import pytest
from cantools.database.errors import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.can.dbc import read_dbc
from ingest.can.decode import Column, decode, physical
from ingest.can.definitions import Bound, Definitions
from ingest.can.frames import EXTENDED, MAX_BYTES, Frames, Payloads, pack, payloads
from ingest.can.j1939 import destination_of, not_available, pgn_of, pgn_of_id, source_of
from ingest.can.specs import MessageSpec, SignalSpec
from tests import campaign

SCALES = ("1", "2", "-3", "1.0", "4.0", "0.5", "0.1", "-0.25", "1E-05", "0.00390625", "1000000007", "123456.789")
OFFSETS = ("0", "-40", "250", "1.0", "0.5", "-273.15", "9007199254740993")
TEXT_OF_FLOAT = {32: 1, 64: 2}
CAN_ID = 100


@dataclass
class Drawn:
    """A signal of a random message: what the DBC file says of it."""

    name: str
    start: int
    bits: int
    big_endian: bool
    sign: str = "+"
    floating: bool = False
    scale: str = "1"
    offset: str = "0"
    named: bool = False
    multiplexer: bool = False
    parent: str | None = None
    ids: tuple[int, ...] = ()

    def cells(self) -> set[int]:
        """Its bits as byte x 8 + bit, lowest bit of a byte first."""
        if not self.big_endian:
            return set(range(self.start, self.start + self.bits))
        first = self.start // 8 * 8 + 7 - self.start % 8
        return {at // 8 * 8 + 7 - at % 8 for at in range(first, first + self.bits)}

    def line(self) -> str:
        """Its SG_ line."""
        mark = ("" if self.parent is None else f"m{self.ids[0]}") + ("M" if self.multiplexer else "")
        layout = f"{self.start}|{self.bits}@{'0' if self.big_endian else '1'}{self.sign}"
        return f' SG_ {self.name} {mark} : {layout} ({self.scale},{self.offset}) [0|0] "" A'

    def more(self) -> list[str]:
        """The statements about it."""
        lines = []
        if self.floating:
            lines.append(f"SIG_VALTYPE_ {CAN_ID} {self.name} : {TEXT_OF_FLOAT[self.bits]};")
        if self.named:
            lines.append(f'VAL_ {CAN_ID} {self.name} 0 "off" 1 "on" ;')
        if self.parent is not None:
            ranges = ", ".join(f"{n}-{n}" for n in self.ids)
            lines.append(f"SG_MUL_VAL_ {CAN_ID} {self.name} {self.parent} {ranges};")
        return lines


@dataclass
class Layout:
    """A random message, grown signal by signal without overlaps."""

    size: int
    signals: list[Drawn] = field(default_factory=list)

    def add(self, new: Drawn) -> bool:
        """Take the signal if it has room where it may be present together with others."""
        cells = new.cells()
        for old in self.signals:
            apart = old.parent is not None and old.parent == new.parent and not set(old.ids) & set(new.ids)
            if not apart and cells & old.cells():
                return False
        self.signals.append(new)
        return True

    def text(self) -> str:
        """The DBC file."""
        lines = ['VERSION ""', "NS_ :", "BS_:", "BU_: A", f"BO_ {CAN_ID} Message: {self.size} A"]
        lines += [signal.line() for signal in self.signals]
        lines += [line for signal in self.signals for line in signal.more()]
        return "\n".join(lines) + "\n"


@st.composite
def layouts(draw: st.DrawFn, *, multiplexed: bool) -> Layout:
    layout = Layout(draw(st.sampled_from((2, 5, 8, 8, 12, 24, 64))))

    def place(name: str, parent: str | None = None, ids: tuple[int, ...] = (), *, mux: bool = False) -> bool:
        floating = not mux and draw(st.integers(0, 4)) == 0
        widths = ((1, 3),) if mux else ((1, 12), (1, 64), (57, 64))
        width = st.sampled_from((32, 64)) if floating else st.integers(*draw(st.sampled_from(widths)))
        bits = min(draw(width), 8 * layout.size)
        floating = floating and bits in TEXT_OF_FLOAT
        first, big_endian = draw(st.integers(0, 8 * layout.size - bits)), draw(st.booleans())
        start = first // 8 * 8 + 7 - first % 8 if big_endian else first
        plain = mux or draw(st.integers(0, 3)) == 0
        signal = Drawn(
            name, start, bits, big_endian, "+" if mux else draw(st.sampled_from("+-")),
            floating, "1" if plain else draw(st.sampled_from(SCALES)), "0" if plain else draw(st.sampled_from(OFFSETS)),
            named=not mux and not floating and draw(st.integers(0, 3)) == 0, multiplexer=mux, parent=parent, ids=ids,
        )  # fmt: skip
        return layout.add(signal)

    some_ids = st.sets(st.integers(0, 7), min_size=1, max_size=5).map(lambda ids: tuple(sorted(ids)))
    if multiplexed:
        while not place("Outer", mux=True):
            pass
        nested = place("Inner", "Outer", draw(some_ids), mux=True)
        for n in range(draw(st.integers(1, 5))):
            place(f"Of{n}", "Inner" if nested and draw(st.booleans()) else "Outer", draw(some_ids))
    for n in range(draw(st.integers(1, 6))):
        place(f"Free{n}")
    if not layout.signals:
        layout.add(Drawn("Only", 0, 8, big_endian=False))
    return layout


def _payloads(rows: Sequence[bytes]) -> Payloads:
    data = np.zeros((len(rows), MAX_BYTES), np.uint8)
    for n, row in enumerate(rows):
        data[n, : len(row)] = np.frombuffer(row, np.uint8)
    length = np.array([len(row) for row in rows], np.uint8)
    word, long_at, long_data = pack(data, length)
    frames = Frames(
        np.arange(len(rows)), np.full(len(rows), CAN_ID, np.uint32), np.zeros(len(rows), np.uint8), length, word,
        long_at, long_data,
    )  # fmt: skip
    return payloads(frames, np.arange(len(rows)))


def _same(ours: float, theirs: float) -> bool:
    if isinstance(ours, int) or isinstance(theirs, int):
        return isinstance(ours, int) and isinstance(theirs, int) and ours == theirs
    return (ours != ours and theirs != theirs) or struct.pack("<d", ours) == struct.pack("<d", theirs)


def _is_there(column: Column, n: int) -> bool:
    return column.present is None or bool(column.present[n])


def _compare(text: str, rows: Sequence[bytes]) -> int:
    """Compare every value with cantools'; how many frames cantools decoded."""
    (message,) = read_dbc(text.encode(), "random.dbc").messages
    theirs = cantools.database.load_string(text, "dbc", strict=False).messages[0]
    columns = decode(_payloads(rows), message)
    assert set(columns) == {signal.name for signal in theirs.signals}
    values = {signal.name: physical(columns[signal.name], signal) for signal in message.signals}
    compared = 0
    for n, row in enumerate(rows):
        try:
            raw, scaled = (
                theirs.decode(row, decode_choices=False, scaling=scaling, allow_truncated=True)
                for scaling in (False, True)
            )
        except DecodeError:  # a multiplexer has a value that selects nothing
            continue
        compared += 1
        there = {name for name, column in columns.items() if _is_there(column, n)}
        assert there == set(raw)
        for name in columns:
            value = values[name][n].item()
            if name not in there:
                assert np.isnan(value)
                continue
            assert _same(columns[name].raw[n].item(), raw[name]), (name, row.hex())
            assert _same(value, float(scaled[name])), (name, row.hex())
    return compared


def _rows(size: int) -> st.SearchStrategy[list[bytes]]:
    edges = st.sampled_from(
        (bytes(size), bytes(size), b"\xff" * size, b"\x80" + bytes(size - 1), bytes(size - 1) + b"\x80")
    )
    return st.lists(_random(size) | edges, min_size=1, max_size=8)


def _random(size: int) -> st.SearchStrategy[bytes]:
    """Bytes with no liking for zeros."""
    return st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).bytes(size))


slow_ok = settings(max_examples=campaign.size(70, 1000), deadline=None, suppress_health_check=[HealthCheck.too_slow])


@slow_ok
@given(st.data())
def test_values_are_those_of_cantools(data: st.DataObject) -> None:
    layout = data.draw(layouts(multiplexed=False))
    rows = data.draw(_rows(layout.size))
    assert _compare(layout.text(), rows) == len(rows)


@slow_ok
@given(st.data())
def test_short_and_long_frames_are_decoded_as_by_cantools(data: st.DataObject) -> None:
    layout = data.draw(layouts(multiplexed=False))
    rows = data.draw(st.lists(st.integers(0, MAX_BYTES).flatmap(_random), min_size=1, max_size=6))
    assert _compare(layout.text(), rows) == len(rows)


@slow_ok
@given(st.data())
def test_multiplexed_signals_are_those_of_cantools(data: st.DataObject) -> None:
    layout = data.draw(layouts(multiplexed=True))
    rows = data.draw(_rows(layout.size))
    _compare(layout.text(), rows)


@slow_ok
@given(st.data())
def test_multiplexed_signals_are_there_while_all_their_multiplexers_select_them(data: st.DataObject) -> None:
    layout = data.draw(layouts(multiplexed=True))
    rows = data.draw(_rows(layout.size))
    (message,) = read_dbc(layout.text().encode(), "random.dbc").messages
    columns = decode(_payloads(rows), message)
    by_name = {signal.name: signal for signal in layout.signals}
    for signal in layout.signals:
        for n in range(len(rows)):
            expected, at = True, signal
            while at.parent is not None:
                expected &= columns[at.parent].raw[n].item() in at.ids
                at = by_name[at.parent]
            assert _is_there(columns[signal.name], n) == expected


def test_nested_multiplexing_by_hand() -> None:
    text = "\n".join(
        [
            'VERSION ""', "BS_:", "BU_: A", f"BO_ {CAN_ID} Message: 4 A",
            ' SG_ Outer M : 0|4@1+ (1,0) [0|0] "" A',
            ' SG_ Inner m0M : 4|4@1+ (1,0) [0|0] "" A',
            ' SG_ Leaf m2 : 8|8@1+ (0.5,-1) [0|0] "" A',
            ' SG_ Else m1 : 8|8@1- (1,0) [0|0] "" A',
            f"SG_MUL_VAL_ {CAN_ID} Inner Outer 0-0, 3-4;",
            f"SG_MUL_VAL_ {CAN_ID} Leaf Inner 2-3;",
            f"SG_MUL_VAL_ {CAN_ID} Else Outer 1-1;", "",
        ]
    )  # fmt: skip
    rows = [bytes((first, 0xFE, 0, 0)) for first in (0x20, 0x33, 0x01, 0x24, 0x10, 0x25)]
    (message,) = read_dbc(text.encode(), "nested.dbc").messages
    columns = decode(_payloads(rows), message)
    values = {signal.name: physical(columns[signal.name], signal).tolist() for signal in message.signals}
    nan = pytest.approx(float("nan"), nan_ok=True)
    assert values["Inner"] == [2, 3, nan, 2, 1, nan]
    assert values["Leaf"] == [126, 126, nan, 126, nan, nan]
    assert values["Else"] == [nan, nan, -2, nan, nan, nan]


@pytest.mark.parametrize(
    ("layout", "scaling"),
    [
        ("0|64@1+", "3,0.5"), ("0|64@1-", "3,1"), ("7|64@0+", "1,9007199254740993"), ("0|64@1+", "2.0,0"),
        ("0|60@1-", "-3,0"), ("0|8@1+", "-3,0"), ("0|8@1+", "-0.5,0"), ("0|64@1+", "1,0"), ("3|57@1-", "1000,7"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("names", ["", f'VAL_ {CAN_ID} S 0 "off" ;\n'])
def test_wide_and_negative_scalings_round_as_in_cantools(layout: str, scaling: str, names: str) -> None:
    head = f'VERSION ""\nBS_:\nBU_: A\nBO_ {CAN_ID} M: 8 A\n SG_ S : {layout} ({scaling}) [0|0] "" A\n{names}'
    rows = [bytes(8), b"\xff" * 8, bytes.fromhex("0100000000002000"), bytes.fromhex("0020000000000001")]
    assert _compare(head, rows) == len(rows)


def test_floats_that_are_no_numbers_are_decoded_quietly() -> None:
    text = (
        f'VERSION ""\nBS_:\nBU_: A\nBO_ {CAN_ID} M: 8 A\n SG_ S : 0|32@1- (0.5,1) [0|0] "" A\n'
        f' SG_ T : 32|32@1- (1,0) [0|0] "" A\nSIG_VALTYPE_ {CAN_ID} S : 1;\nSIG_VALTYPE_ {CAN_ID} T : 1;\n'
    )
    halves = ("0100807f", "0000807f", "000080ff", "0000c07f", "00000080", "01000000", "ffff7f7f")
    assert _compare(text, [bytes.fromhex(half * 2) for half in halves]) == len(halves)


def test_no_frames_have_no_values() -> None:
    message = MessageSpec("M", 1, 16, (SignalSpec("S", 0, 8), SignalSpec("T", 100, 8)))
    assert {name: len(column.raw) for name, column in decode(_payloads([]), message).items()} == {"S": 0, "T": 0}


@pytest.mark.parametrize(
    ("bits", "missing", "valid"),
    [
        (1, (), (0, 1)), (2, (2, 3), (0, 1)), (3, (), (0, 6, 7)), (4, (14, 15), (0, 13)), (5, (31,), (0, 30)),
        (7, (127,), (126,)), (8, (254, 255), (0, 253)), (10, (1023,), (1022, 1008)), (12, (4095,), (4094, 0xFE0)),
        (16, (0xFE00, 0xFEFF, 0xFF00, 0xFFFF), (0xFDFF, 0xFAFF, 0)), (17, (0x1FFFF,), (0x1FFFE, 0x1FE00)),
        (20, (0xFFFFF,), (0xFFFFE, 0xFE000)), (24, (0xFE0000, 0xFFFFFF), (0xFDFFFF, 0xFEFF)),
        (32, (0xFE000000, 0xFFFFFFFF), (0xFDFFFFFF, 0xFAFFFFFF)), (40, ((1 << 40) - 1,), ((1 << 40) - 2,)),
        (63, ((1 << 63) - 1,), ((1 << 63) - 2, 0)), (64, ((1 << 64) - 1,), ((1 << 64) - 2, 1 << 63)),
    ],
)  # fmt: skip
def test_not_available_by_width(bits: int, missing: tuple[int, ...], valid: tuple[int, ...]) -> None:
    kind = np.uint64 if bits == 64 else np.int64
    found = not_available(np.array([*missing, *valid], kind), bits)
    expected = [True] * len(missing) + [False] * len(valid)
    assert (found is None) if not missing else (found is not None and found.tolist() == expected)
    assert not_available(np.array(valid, kind), bits) is None
    assert not_available(np.array([], kind), bits) is None


def test_parts_of_identifiers() -> None:
    ids = np.array([0x98FEF1FE, 0x8CF00421, 0x98EF2517, 0x99EAFF00, 0x98FFFF01, 0x123], np.uint32)
    assert pgn_of(ids).tolist() == [0xFEF1, 0xF004, 0xEF00, 0x1EA00, 0xFFFF, -1]
    assert [pgn_of_id(int(id_)) for id_ in ids[:5]] == [0xFEF1, 0xF004, 0xEF00, 0x1EA00, 0xFFFF]
    assert source_of(ids[:5]).tolist() == [0xFE, 0x21, 0x17, 0x00, 0x01]
    assert destination_of(ids[:5]).tolist() == [0xFF, 0xFF, 0x25, 0xFF, 0xFF]


ANY = (SignalSpec("S", 0, 8),)
EXT = int(EXTENDED)


def _message(name: str, can_id: int, *, by_pgn: bool = False) -> MessageSpec:
    return MessageSpec(name, can_id, 8, ANY, by_pgn)


def _frames(ids: Sequence[int], channel: Sequence[int] | None = None, channels: tuple[str, ...] = ("",)) -> Frames:
    count = len(ids)
    return Frames(
        np.arange(count), np.array(ids, np.uint32), np.array(channel or [0] * count, np.uint8),
        np.full(count, 8, np.uint8), np.zeros(count, np.uint64), channels=channels,
    )  # fmt: skip


def _grouped(bound: Sequence[Bound], frames: Frames) -> tuple[dict[tuple[str, str, int | None], list[int]], dict]:
    grouped = Definitions(bound).groups(frames)
    groups = {(group.channel, group.message.name, group.source): group.at.tolist() for group in grouped.groups}
    assert len(groups) == len(grouped.groups)
    return groups, grouped.unknown


def test_groups_of_parameter_groups() -> None:
    speed = _message("PDU2", EXT | 0x18FEF1FE, by_pgn=True)
    command = _message("PDU1", EXT | 0x18EF00FE, by_pgn=True)
    frames = _frames(
        [
            EXT | 0x18FEF121, EXT | 0x18EF2521, EXT | 0x0CFEF121, EXT | 0x18FEF122, EXT | 0x18EFFF21,
            EXT | 0x19EF2521, EXT | 0x18FEF221, 0x0FEF121 & 0x7FF, EXT | 0x18EF2521,
        ]
    )  # fmt: skip
    groups, unknown = _grouped([Bound(None, (speed, command))], frames)
    assert groups == {("", "PDU2", 0x21): [0, 2], ("", "PDU2", 0x22): [3], ("", "PDU1", 0x21): [1, 4, 8]}
    assert unknown == {("", EXT | 0x19EF2521): 1, ("", EXT | 0x18FEF221): 1, ("", 0x121): 1}


def test_groups_without_parameter_groups_have_no_source() -> None:
    exact = _message("Exact", EXT | 0x18FEF121)
    group = _message("Group", EXT | 0x18FEF1FE, by_pgn=True)
    standard = _message("Standard", 0x121)
    frames = _frames([EXT | 0x18FEF121, EXT | 0x18FEF122, 0x121, EXT | 0x121])
    groups, unknown = _grouped([Bound(None, (group, exact, standard))], frames)
    assert groups == {("", "Exact", None): [0], ("", "Group", 0x22): [1], ("", "Standard", None): [2]}
    assert unknown == {("", EXT | 0x121): 1}


def test_groups_by_channel() -> None:
    bound = [Bound("a", (_message("OfA", 1),)), Bound(None, (_message("OfAll", 1), _message("Two", 2)))]
    frames = _frames([1, 1, 2, 1, 3, 3, 3, 2], [0, 1, 0, 0, 1, 1, 0, 1], ("a", "b"))
    groups, unknown = _grouped(bound, frames)
    assert groups == {("a", "OfA", None): [0, 3], ("b", "OfAll", None): [1], ("a", "Two", None): [2],
                      ("b", "Two", None): [7]}  # fmt: skip
    assert unknown == {("b", 3): 2, ("a", 3): 1}
    assert _grouped([Bound("c", (_message("OfC", 1),))], frames)[0] == {}


def test_the_first_definition_holds() -> None:
    first, second = _message("First", 1), _message("Second", 1)
    assert _grouped([Bound(None, (first, second))], _frames([1]))[0] == {("", "First", None): [0]}
    assert _grouped([Bound(None, (second,)), Bound(None, (first,))], _frames([1]))[0] == {("", "Second", None): [0]}


def test_no_frames_are_in_no_group() -> None:
    assert _grouped([Bound(None, (_message("M", 1),))], Frames()) == ({}, {})


@pytest.mark.parametrize("count", [65_536, 70_000])
def test_groups_of_very_many_ids(count: int) -> None:
    ids = [EXT | n * 2654435 % (1 << 29) for n in range(count)]
    assert len(set(ids)) == count
    wanted = ids[12345]
    groups, unknown = _grouped([Bound(None, (_message("M", wanted),))], _frames([*ids, wanted, ids[7]]))
    assert groups == {("", "M", None): [12345, count]}
    assert len(unknown) == count - 1
    assert unknown["", ids[7]] == 2
    assert sum(unknown.values()) == count


@settings(max_examples=campaign.size(50, 2000), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, (1 << 32) - 1)), min_size=1, max_size=60), st.data())
def test_every_frame_is_counted_once(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=60))
    names = tuple(f"c{n}" for n in range(201))
    frames = _frames([id_ for _, id_ in pairs], [channel for channel, _ in pairs], names)
    known = _message("Known", pairs[0][1])
    groups, unknown = _grouped([Bound(None, (known,))], frames)
    expected: dict[tuple[str, int], list[int]] = {}
    for n, (channel, id_) in enumerate(pairs):
        expected.setdefault((names[channel], id_), []).append(n)
    for (channel, id_), at in expected.items():
        if id_ == known.can_id:
            assert groups.pop((channel, "Known", None)) == at
        else:
            assert unknown.pop((channel, id_)) == len(at)
    assert not groups
    assert not unknown


@pytest.mark.parametrize(("factor", "offset"), [("1e308", "0"), ("1", "1e308"), ("1e300", "0.5"), (f"{10**40}", "0")])
def test_huge_factors_are_no_error(factor: str, offset: str) -> None:
    """A factor from a broken file: the values are of no use, and nothing else suffers."""
    text = f'VERSION ""\n\nBU_: A\n\nBO_ 100 M: 8 A\n SG_ S : 0|64@1+ ({factor},{offset}) [0|0] "" A\n'
    (message,) = read_dbc(text.encode(), "x.dbc").messages
    word = np.array([1, (1 << 64) - 1], np.uint64)
    found = Payloads(np.zeros(2, np.int64), np.zeros(2, np.uint32), np.full(2, 8), word, None)
    values = physical(decode(found, message)["S"], message.signals[0])
    with np.errstate(over="ignore"):
        assert values.tolist() == (word.astype(np.float64) * float(factor) + float(offset)).tolist()
