"""Lines of text logs and the numbers in them, beside Python's own."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.can.formats.log import FAULTS_KEPT
from ingest.can.formats.text import (
    MOST_LINE_BYTES,
    PAD,
    Rejects,
    are_digits,
    are_hex,
    cut,
    decimal_value,
    hex_bytes,
    hex_value,
    last_digits,
    lines_of,
    load8,
    records,
)

eight = st.binary(min_size=8, max_size=8)


def _words(*texts):
    return np.frombuffer(b"".join(texts), np.uint64)


def _lines(data, block_bytes):
    return [
        (lines.first_row + n, lines.line(n))
        for lines in lines_of(io.BytesIO(data), block_bytes)
        for n in range(len(lines))
    ]


@given(
    st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line and not line.endswith(b"\r")), max_size=30),
    st.integers(1, 40), st.sampled_from([b"\n", b"\r\n"]), st.booleans(),
)  # fmt: skip
def test_lines_are_the_same_whatever_the_block(lines, block_bytes, ending, ended):
    data = ending.join(lines) + (ending if ended else b"")
    expected = data.replace(b"\r\n", b"\n").split(b"\n")
    expected = expected[:-1] if expected[-1] == b"" else expected
    assert _lines(data, block_bytes) == list(enumerate(expected, 1))


@pytest.mark.parametrize("block_bytes", [1000, MOST_LINE_BYTES, 2**20])
@pytest.mark.parametrize("size", [MOST_LINE_BYTES, MOST_LINE_BYTES + 1, 300_000])
def test_a_line_without_end_is_one_line_cut(size, block_bytes):
    data = b"first\n" + b"x" * size + b"\nlast"
    assert _lines(data, block_bytes) == [(1, b"first"), (2, b"x" * min(size, MOST_LINE_BYTES)), (3, b"last")]


def test_nothing_at_all():
    assert _lines(b"", 100) == []


def test_a_file_of_one_line_without_end_stays_small():
    class Endless(io.RawIOBase):
        left = 400

        def read(self, size=-1):
            self.left -= 1
            return b"y" * 2**20 if self.left >= 0 else b""

    held = [len(lines.text) for lines in lines_of(Endless())]
    assert len(held) == 1
    assert held[0] < 4 * 2**20


@given(st.integers(0, 0xFFFFFFFF), st.booleans())
def test_hex_numbers(value, upper):
    written = f"{value:08{'X' if upper else 'x'}}".encode()
    assert hex_value(_words(written))[0] == value
    assert hex_bytes(_words(written))[0] == int.from_bytes(bytes.fromhex(written.decode()), "little")
    assert are_hex(_words(written)).all()


@given(st.integers(0, 99_999_999))
def test_decimal_numbers(value):
    written = f"{value:08d}".encode()
    assert decimal_value(_words(written))[0] == value
    assert are_digits(_words(written)).all()


@pytest.mark.parametrize("place", range(8))
def test_every_byte_that_is_no_digit_is_seen_in_every_place(place):
    written = [b"0" * place + bytes([byte]) + b"9" * (7 - place) for byte in range(256)]
    assert are_hex(_words(*written)).tolist() == [chr(byte) in "0123456789abcdefABCDEF" for byte in range(256)]
    assert are_digits(_words(*written)).tolist() == [chr(byte) in "0123456789" for byte in range(256)]


@given(st.lists(eight, min_size=1, max_size=20))
def test_digits_of_any_bytes(texts):
    words = _words(*texts)
    assert are_hex(words).tolist() == [all(chr(b) in "0123456789abcdefABCDEF" for b in text) for text in texts]
    assert are_digits(words).tolist() == [all(chr(b) in "0123456789" for b in text) for text in texts]


@given(eight, st.integers(0, 8))
def test_last_digits_fills_with_zeros(text, count):
    assert last_digits(_words(text), count)[0].tobytes() == b"0" * (8 - count) + text[:count]


@given(st.binary(min_size=100, max_size=120), st.lists(st.integers(0, 30), min_size=1), st.integers(0, PAD - 8))
def test_bytes_at_any_place(data, at, offset):
    text = np.frombuffer(data, np.uint8).copy()
    places = np.array(at)
    expected = [data[n + offset : n + offset + 8] for n in at]
    assert [word.tobytes() for word in load8(text, places + offset)] == expected
    assert [word.tobytes() for word in cut(records(text, places), offset)] == expected


def test_rejects_keep_the_first_and_count_all():
    (lines,) = lines_of(io.BytesIO(b"".join(b"%d \xff\0 %s\n" % (n, b"x" * 300) for n in range(500))))
    rejects = Rejects()
    rejects.add(lines, range(10, 500), "because")
    count, faults = rejects.take()
    assert (count, len(faults)) == (490, FAULTS_KEPT)
    assert (faults[0].row, faults[0].reason) == (11, "because")
    assert faults[0].value.startswith("10 \N{REPLACEMENT CHARACTER} xxx")
    assert len(faults[0].value) <= 200
    assert rejects.take() == (0, ())
