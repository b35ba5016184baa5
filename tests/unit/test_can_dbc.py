"""DBC files: what is read, what is left out with a warning, what is refused and at which line; real files."""

import os
from pathlib import Path

import cantools
import numpy as np
import pytest

from ingest.can.dbc import DbcError, read_dbc
from ingest.can.decode import decode, physical
from ingest.can.frames import EXTENDED, Payloads
from ingest.can.specs import MessageSpec
from schemas.signals import Aggregate

FOLDER = Path(os.environ.get("BEACHHEAD_SAMPLE_DATA", "../shared/data"))
HEAD = 'VERSION ""\n\nNS_ :\n\tCM_\n\nBS_:\n\nBU_: A\n\n'
BASE = f'{HEAD}BO_ 100 Message: 8 A\n SG_ First : 0|8@1+ (1,0) [0|0] "km" A\n SG_ Second : 8|8@1+ (1,0) [0|0] "" A\n\n'
NEXT = BASE.count("\n") + 1
FORMATS = 'BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";\n'


def _names(text: str) -> dict[str, list[str]]:
    return {m.name: [signal.name for signal in m.signals] for m in read_dbc(text.encode(), "x.dbc").messages}


def _warnings(text: str) -> tuple[str, ...]:
    return read_dbc(text.encode(), "x.dbc").warnings


def _only(text: str) -> MessageSpec:
    (message,) = read_dbc(text.encode(), "x.dbc").messages
    return message


def test_a_faultless_file_has_no_warnings() -> None:
    assert _warnings(BASE) == ()
    assert _names(BASE) == {"Message": ["First", "Second"]}


@pytest.mark.parametrize("statement", [
    'VAL_ 100 Missing 0 "a" ;', "SIG_VALTYPE_ 100 Missing : 1;", "SG_MUL_VAL_ 100 Missing First 0-0;",
    'CM_ SG_ 100 Missing "text";', 'CM_ SG_ 100 Missing "a text\nof lines";', 'BA_ "x" SG_ 100 Missing 1;',
])  # fmt: skip
def test_what_is_said_of_a_missing_signal_is_left_out(statement: str) -> None:
    text = f'{BASE}{statement}\nVAL_ 100 First 0 "off" ;\n'
    assert _warnings(text) == (f"line {NEXT}: left out: signal Missing of message 100 does not exist",)
    assert _names(text) == {"Message": ["First", "Second"]}
    assert _only(text).signals[0].aggregate is Aggregate.LAST


@pytest.mark.parametrize("statement", [
    'VAL_ 101 First 0 "a" ;', "SIG_VALTYPE_ 101 First : 1;", 'CM_ BO_ 101 "text";', "SIG_GROUP_ 101 g 1 : First;",
])  # fmt: skip
def test_what_is_said_of_a_missing_message_is_left_out(statement: str) -> None:
    assert _warnings(f"{BASE}{statement}\n") == (f"line {NEXT}: left out: message 101 does not exist",)


def test_the_extended_frame_bit_is_mended_wherever_the_id_is_named() -> None:
    text = BASE.replace("100", "419361278") + 'VAL_ 419361278 First 0 "a" ;\nCM_ BO_ 419361278 "text";\n'
    assert _warnings(text) == ("line 10: id 419361278 has 29 bits: its extended-frame bit was set",)
    message = _only(text)
    assert message.can_id == 0x18FEF1FE | int(EXTENDED)
    assert message.signals[0].aggregate is Aggregate.LAST


def test_a_stray_line_is_left_out() -> None:
    after = _warnings(f"{BASE}what is this\n")
    assert len(after) == 1
    assert after[0].startswith(f"line {NEXT}: left out: ")
    within = BASE.replace(" SG_ Second", "stray\n SG_ Second")
    assert [warning.partition(":")[0] for warning in _warnings(within)] == ["line 12"]
    assert _names(within) == {"Message": ["First", "Second"]}


def test_a_broken_signal_is_left_out() -> None:
    text = BASE.replace("8|8@1+ (1,0)", "8|8@1+ (1,)")
    assert [warning.partition(":")[0] for warning in _warnings(text)] == ["line 12"]
    assert _names(text) == {"Message": ["First"]}


@pytest.mark.parametrize("symbols", [(), ("CM_",), ("NS_DESC_", "CM_", "CAT_", "FILTER", "BA_DEF_DEF_", "SG_MUL_VAL_")])
@pytest.mark.parametrize("nodes", ["BU_: A\n\n", ""])
def test_a_missing_end_of_the_new_symbols_is_mended(symbols: tuple[str, ...], nodes: str) -> None:
    listed = "".join(f"\t{symbol}\n" for symbol in symbols)
    text = f'VERSION ""\nNS_ :\n{listed}\n{nodes}{BASE.removeprefix(HEAD)}'
    warning = f"line {3 + len(symbols)}: BS_: is missing: the list of new symbols was ended here"
    assert _warnings(text) == (warning,)
    assert _names(text) == {"Message": ["First", "Second"]}


def test_neither_new_symbols_nor_their_end_are_needed() -> None:
    assert _warnings('VERSION ""\nBU_: A\n' + BASE.removeprefix(HEAD)) == ()


def test_names_of_signals_of_no_message_are_left_out() -> None:
    text = (
        f"{BASE}BO_ 3221225472 VECTOR__INDEPENDENT_SIG_MSG: 0 Vector__XXX\n"
        ' SG_ Loose : 0|8@1+ (1,0) [0|0] "" A\n\nVAL_ 3221225472 Loose 0 "a" ;\n'
    )
    assert _warnings(text) == (f"line {NEXT + 3}: left out: message 3221225472 does not exist",)
    assert _names(text) == {"Message": ["First", "Second"]}


@pytest.mark.parametrize(("text", "reason"), [
    (BASE.replace("8|8@1+", "0|65@1+"), "Second has 65 bits"),
    (BASE.replace("8|8@1+", "-8|8@1+"), "Second begins at bit -8"),
    (BASE.replace("8|8@1+ (1,0)", "8|8@1+ (1e400,0)"), "its factor or offset is no number"),
    (BASE.replace("8|8@1+ (1,0)", f"8|8@1+ (1,{10**400})"), "its factor or offset is no number"),
    (f"{BASE}SIG_VALTYPE_ 100 Second : 1;\n", "Second is a floating-point number of 8 bits"),
    (BASE.replace("Second :", "Second m0 :") + "SG_MUL_VAL_ 100 Second Gone 0-1;\n", "its multiplexer does not exist"),
])  # fmt: skip
def test_signals_that_cannot_be_decoded_are_left_out(text: str, reason: str) -> None:
    assert _warnings(text) == (f"line 12: left out: signal Second of message Message: {reason}",)
    assert _names(text) == {"Message": ["First"]}


def test_multiplexers_that_hang_on_each_other_are_left_out() -> None:
    third = ' SG_ Third m0M : 16|8@1+ (1,0) [0|0] "" A\n'
    text = BASE.replace("Second :", "Second m0M :").rstrip("\n") + f"\n{third}\n"
    text += "SG_MUL_VAL_ 100 Second Third 0-1;\nSG_MUL_VAL_ 100 Third Second 0-1;\n"
    assert _warnings(text) == (
        "line 12: left out: signal Second of message Message: its multiplexer Second hangs on itself",
        "line 13: left out: signal Third of message Message: its multiplexer Third hangs on itself",
    )
    assert _names(text) == {"Message": ["First"]}


def test_a_multiplexed_signal_without_any_multiplexer_is_always_there() -> None:
    message = _only(BASE.replace("Second :", "Second m0 :"))
    assert [signal.selector for signal in message.signals] == [None, None]


@pytest.mark.parametrize(("text", "line"), [
    ("", 1), ("\n\n", 1), ('VERSION ""\n', 1), ("\x00\x01 binary \x02", 1), (HEAD, 1),
    (BASE.replace("BO_ 100", "BO_ x"), 10), (f"{BASE}BO_ 101 Broken 8 A\n", NEXT),
    (f"{BASE}BO_ x Broken: 8 A\n SG_ First : 8|8@1+ (1,0) [0|0] \"\" A\n", NEXT),
    (BASE.replace("8|8@1+", "8|0@1+"), 12), (BASE.replace("BO_ 100", "BO_ 99999999999"), 10),
    (f'{BASE}BA_ "NotDefined" 3;\n', NEXT), (BASE + "x y\n" * 60, NEXT + 49),
])  # fmt: skip
def test_a_refusal_names_the_line(text: str, line: int) -> None:
    with pytest.raises(DbcError, match=rf"\bline {line}\b"):
        read_dbc(text.encode(), "x.dbc")


@pytest.mark.parametrize(("text", "expected"), [
    (BASE, False),
    (BASE.replace("100", str(0x98FEF1FE)), True),
    (BASE.replace("100", str(0x98FEF121)), False),
    (BASE.replace("100", str(0x98FEF121)) + 'BA_DEF_ "ProtocolType" STRING ;\nBA_ "ProtocolType" "J1939";\n', True),
    (BASE + 'BA_DEF_ "ProtocolType" STRING ;\nBA_ "ProtocolType" "J1939";\n', False),
    (BASE.replace("100", str(0x98FEF121)) + FORMATS + f'BA_ "VFrameFormat" BO_ {0x98FEF121} 3;\n', True),
    (BASE.replace("100", str(0x98FEF1FE)) + FORMATS + f'BA_ "VFrameFormat" BO_ {0x98FEF1FE} 1;\n', False),
])  # fmt: skip
def test_which_messages_are_matched_by_parameter_group(text: str, expected: bool) -> None:
    assert _only(text).by_pgn is expected


def test_bytes_beyond_ascii_in_either_encoding() -> None:
    text = BASE.replace('"km"', '"°C"')
    for content in (text.encode(), text.encode("cp1252"), text.encode("utf-8-sig")):
        assert read_dbc(content, "x.dbc").messages[0].signals[0].unit == "°C"


def test_windows_line_ends_keep_line_numbers() -> None:
    assert _warnings(f"{BASE}stray line\n".replace("\n", "\r\n"))[0].startswith(f"line {NEXT}: ")


REAL = {
    "kona-ev-can/bcan.dbc": (3, 1), "kona-ev-can/ccan.dbc": (1, 1), "kona-ev-can/comp_can.dbc": (5, 0),
    "kona-ev-can/pcan.dbc": (76, 1), "savvycan-formats/LeafPowertrainBus.dbc": (6, 0),
    "savvycan-formats/ThinkCity.dbc": (61, 0), "truck-j1939-mf4/j1939-demo.dbc": (2, 0),
}  # fmt: skip


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no DBC files in {FOLDER}")
@pytest.mark.parametrize("path", REAL)
def test_real_files_decode_as_by_cantools(path: str) -> None:
    if not (FOLDER / path).is_file():
        pytest.skip(f"no file {FOLDER / path}")
    dbc = read_dbc((FOLDER / path).read_bytes(), path)
    assert (len(dbc.messages), len(dbc.warnings)) == REAL[path]
    assert all(warning.startswith("line ") for warning in dbc.warnings)
    text = (FOLDER / path).read_text("utf-8", errors="replace")
    if "BS_:" not in text.replace(" ", ""):
        text = text.replace("BO_ ", "BS_:\n\nBO_ ", 1)
    theirs = {m.name: m for m in cantools.database.load_string(text, "dbc", strict=False).messages}
    numbers = np.random.default_rng(1)
    for message in dbc.messages:
        rows = numbers.integers(0, 256, (6, 8), np.uint8)
        payloads = Payloads(np.arange(6), np.zeros(6, np.uint32), np.full(6, 8), rows.view("<u8").reshape(-1), None)
        columns = decode(payloads, message)
        values = {signal.name: physical(columns[signal.name], signal) for signal in message.signals}
        for n, row in enumerate(rows):
            try:
                expected = theirs[message.name].decode(row.tobytes(), decode_choices=False, allow_truncated=True)
            except cantools.database.DecodeError:
                continue
            for signal in message.signals:
                value = values[signal.name][n]
                assert (signal.name in expected) != bool(np.isnan(value)), (message.name, signal.name)
                assert signal.name not in expected or value == float(expected[signal.name]), signal.name
