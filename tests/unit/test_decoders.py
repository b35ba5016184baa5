"""Decoders: the same rows from every format, faulty rows counted, nothing guessed."""

from __future__ import annotations

import gzip
import io
import json
import resource
import zlib

import polars as pl
import pytest
import zstandard

from ingest.decoders import decode, media_type, ndjson
from ingest.decoders.decoded import Decoded, Limits
from ingest.decoders.encodings import decompress
from ingest.decoders.ndjson import count_pairs
from schemas.errors import BodyTooLargeError, MalformedBodyError, UnknownFormatError

LIMITS = Limits(body_bytes=10_000_000, rows=1000, fields=50)
NDJSON, JSON, CSV = "application/x-ndjson", "application/json", "text/csv"
PARQUET, ARROW = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"
FRAME = pl.DataFrame({"time": ["2026-01-06T08:00:00Z", "2026-01-06T08:00:01Z"], "speed_kmh": [1.5, None]})


def encoded(content_type: str) -> bytes:
    out = io.BytesIO()
    match content_type:
        case "application/vnd.apache.parquet":
            FRAME.write_parquet(out)
        case "application/vnd.apache.arrow.stream":
            FRAME.write_ipc_stream(out)
        case "text/csv":
            FRAME.write_csv(out)
        case "application/x-ndjson":
            FRAME.write_ndjson(out)
        case _:
            return json.dumps(FRAME.to_dicts()).encode()
    return out.getvalue()


@pytest.mark.parametrize("content_type", [NDJSON, JSON, CSV, PARQUET, ARROW])
def test_every_format_gives_the_same_rows(content_type: str) -> None:
    decoded = decode(content_type, encoded(content_type), LIMITS)
    assert decoded.frame.select(FRAME.columns).equals(FRAME)
    assert decoded.row.to_list() == [1, 2]
    assert decoded.rejects.is_empty()
    assert decoded.typed is (content_type != CSV)


def faults(decoded: Decoded) -> list[tuple[int, str]]:
    return list(decoded.rejects.select("row", "reason").iter_rows())


def test_malformed_lines_are_rejected_rows_and_the_rest_loads() -> None:
    body = b'{"a": 1}\n\noops\n[1]\n{"a": 2, "b": "x"}\r\n{"a": "\xff"}\n'
    decoded = decode(NDJSON, body, LIMITS)
    assert decoded.row.to_list() == [1, 4]
    assert decoded.frame.to_dict(as_series=False) == {"a": [1.0, 2.0], "b": [None, "x"]}
    assert decoded.received == 5
    assert [row for row, _ in faults(decoded)] == [2, 3, 5]
    assert decoded.rejects["value"].to_list()[:2] == ["oops", "[1]"]
    assert faults(decoded)[1:] == [(3, "not a JSON object"), (5, "not UTF-8")]


def test_a_field_that_appears_late_is_not_lost() -> None:
    lines = [{"time": n, "speed_kmh": n / 2} for n in range(500)]
    lines[400]["late"] = 7
    decoded = decode(NDJSON, "\n".join(map(json.dumps, lines)).encode(), LIMITS)
    assert decoded.frame["late"].to_list()[400] == 7
    assert decoded.frame["late"].null_count() == 499


def test_a_signal_that_is_whole_for_long_may_become_fractional() -> None:
    lines = [{"time": n, "speed_kmh": 1, "own": 1} for n in range(300)]
    lines[250] |= {"speed_kmh": 1.5, "own": 1.5}
    decoded = decode(NDJSON, "\n".join(map(json.dumps, lines)).encode(), LIMITS)
    assert decoded.frame.row(250) == (250, 1.5, 1.5)


@pytest.mark.parametrize(
    ("value", "part"),
    [("true", "boolean"), ('"x"', "text"), ("[1]", "nested"), ('{"b": 1}', "nested")],
)
def test_values_of_several_types_stay_apart(value: str, part: str) -> None:
    body = f'{{"a": 1, "n": {value}}}\n{{"a": {value}, "n": 2}}\n'.encode()
    for content_type, sent in ((NDJSON, body), (JSON, b"[" + body.strip().replace(b"\n", b",") + b"]")):
        column = decode(content_type, sent, LIMITS).frame["a"].struct.unnest()
        assert column["number"].to_list() == [1.0, None]
        assert column[part].null_count() == 1


def test_numbers_beside_quoted_numbers_are_told_apart() -> None:
    column = decode(NDJSON, b'{"x": 1}\n{"x": "1"}\n', LIMITS).frame["x"].struct.unnest()
    assert column["number"].to_list() == [1.0, None]
    assert column["text"].to_list() == [None, "1"]
    assert decode(NDJSON, b'{"x": "1"}\n{"x": "2"}\n', LIMITS).frame["x"].to_list() == ["1", "2"]


def test_nan_is_null_and_infinity_is_a_number_in_json() -> None:
    frame = decode(NDJSON, b'{"a": NaN, "b": 1}\n{"a": -Infinity, "b": 1e999}\n', LIMITS).frame
    assert frame["a"].to_list() == [None, float("-inf")]
    assert frame["b"].to_list() == [1.0, float("inf")]


def test_the_first_of_two_equal_keys_stays_on_both_ways() -> None:
    assert decode(NDJSON, b'{"a": 1, "a": 2}\n', LIMITS).frame["a"].to_list() == [1]
    assert decode(NDJSON, b'{"a": 1, "a": 2}\nx\n', LIMITS).frame["a"].to_list() == [1]


@pytest.mark.parametrize(
    "body",
    [b'{"rows": [{"a": 1}, {"a": 2}]}', b' [ {"a": 1},\n {"a": 2} ] ', b'[\n  {\n    "a": 1\n  },\n  {"a": 2}\n]\n'],
)
def test_json_in_its_forms(body: bytes) -> None:
    assert decode(JSON, body, LIMITS).frame["a"].to_list() == [1, 2]


def test_json_text_that_looks_like_the_end_of_a_row() -> None:
    rows = [{"a": "x},{y"}, {"a": '}, {"b": 1'}]
    assert decode(JSON, json.dumps(rows).encode(), LIMITS).frame["a"].to_list() == ["x},{y", '}, {"b": 1']


def test_an_element_that_is_no_object_is_a_rejected_row() -> None:
    decoded = decode(JSON, b'[{"a": 1}, 3, null, {"a": 2}]', LIMITS)
    assert decoded.row.to_list() == [1, 4]
    assert faults(decoded) == [(2, "not a JSON object"), (3, "not a JSON object")]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"a": 1}', b'[{"a": 1}', b'[{"a": 1},]', b'[{"a": 1} {"a": 2}]', b"3"])
def test_a_body_that_is_no_json_array_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBodyError):
        decode(JSON, body, LIMITS)


@pytest.mark.parametrize("opening", [b'{"a":', b"["])
def test_deep_nesting_is_refused_without_falling_over(opening: bytes) -> None:
    deep = opening * 100_000
    assert decode(NDJSON, b'{"a": 1}\n' + deep + b"\n", LIMITS).row.to_list() == [1]
    with pytest.raises(MalformedBodyError):
        decode(JSON, b"[" + deep + b"]", LIMITS)


def nested(levels: int, opening: bytes, closing: bytes) -> bytes:
    """A row of so many levels."""
    return b'{"a":' + opening * (levels - 1) + b"1" + closing * (levels - 1) + b"}"


@pytest.mark.parametrize("before", [1, 200])  # it is among the lines whose types are looked at, or after them
@pytest.mark.parametrize("levels", [31, 32, 33, 40, 900, 1100, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b'{"a":', b"}"), (b"[", b"]")])
def test_a_row_that_nests_too_deeply_is_rejected_alone(
    opening: bytes, closing: bytes, levels: int, before: int
) -> None:
    rows = [b'{"a":"x"}'] * before + [nested(levels, opening, closing), b'{"a":"y"}']
    for content_type, body in ((NDJSON, b"\n".join(rows)), (JSON, b"[" + b",".join(rows) + b"]")):
        decoded = decode(content_type, body, LIMITS)
        assert faults(decoded) == ([(before + 1, "nested deeper than 32 levels")] if levels > 32 else [])
        assert decoded.received == before + 2


@pytest.mark.parametrize("name", ["vehicle", "time", "speed_kmh", "own"])
@pytest.mark.parametrize(
    "value", [b"[" * 40 + b"]" * 40, b'{"b":' * 40 + b"null" + b"}" * 40, b"[1," * 40 + b"1" + b"]" * 40]
)
def test_no_column_hides_what_nests_too_deeply(name: str, value: bytes) -> None:
    key = name.encode()
    rows = [b'{"%s":"1"}' % key] * 200 + [b'{"%s":%s}' % (key, value)]
    for content_type, body in ((NDJSON, b"\n".join(rows)), (JSON, b"[" + b",".join(rows) + b"]")):
        assert faults(decode(content_type, body, LIMITS)) == [(201, "nested deeper than 32 levels")]


def test_many_brackets_are_not_deep() -> None:
    rows = [{"a": [[n] for n in range(100)]}, {"a": "[" * 100}]
    for content_type, body in ((NDJSON, "\n".join(map(json.dumps, rows))), (JSON, json.dumps(rows))):
        assert faults(decode(content_type, body.encode(), LIMITS)) == []


def test_what_is_too_deep_to_read_ends_where_its_brackets_close() -> None:
    deep = nested(5000, b'{"]}\\"[":[', b"]}")
    decoded = decode(JSON, b'[{"a":1},' + deep + b', {"a":2}]', LIMITS)
    assert decoded.frame["a"].to_list() == [1, 2]
    assert faults(decoded) == [(2, "nested deeper than 32 levels")]


@pytest.mark.parametrize("digits", [301, 400, 5001])
def test_a_whole_number_of_any_length_is_infinite_and_touches_no_other_row(digits: int) -> None:
    rows = [b'{"a":1,"b":1}', b'{"a":2,"b":-1%s}' % (b"0" * (digits - 1))]
    for content_type, body in ((NDJSON, b"\n".join(rows)), (JSON, b"[" + b",".join(rows) + b"]")):
        decoded = decode(content_type, body, LIMITS)
        assert decoded.frame["a"].to_list() == [1, 2]
        assert decoded.frame["b"].to_list() == [1, -1e300 if digits == 301 else float("-inf")]
        assert faults(decoded) == []


@pytest.mark.parametrize("exactly", [False, True])
def test_half_of_a_surrogate_pair_is_as_little_text_as_nul(exactly: bool) -> None:
    """Both ways: Polars reads it as NUL. What is whole stays."""
    rows = [b'{"a":"x","n\\udfff":1}', b'{"a":"\\ud800"}', b'{"a":"\\ud83d\\ude00 \xc3\xa9"}', *[b"3"] * exactly]
    for content_type, body in ((NDJSON, b"\n".join(rows)), (JSON, b"[" + b",".join(rows) + b"]")):
        decoded = decode(content_type, body, LIMITS)
        assert decoded.frame["a"].to_list() == ["x", "\0", "\U0001f600 \xe9"]
        assert decoded.frame["n\0"].to_list() == [1, None, None]


def test_what_a_row_holds_that_is_no_object_is_shown_as_it_was_sent() -> None:
    decoded = decode(JSON, b'[{"a":1}, "\\ud800", [ 1 ], {"a":["\\ud800"]}]', LIMITS)
    assert decoded.rejects["value"].to_list() == [r'"\ud800"', "[ 1 ]"]
    assert decoded.frame["a"].struct.field("nested").to_list() == [None, '["\0"]']


def test_csv_rows_of_the_wrong_width_are_rejected_rows() -> None:
    decoded = decode(CSV, b"a,b\n1,2\n3\n\n4,5,6\n7,8\n", LIMITS)
    assert decoded.row.to_list() == [1, 4]
    assert faults(decoded) == [(2, "1 fields, the header has 2"), (3, "3 fields, the header has 2")]


def test_csv_quotes_line_ends_and_byte_order_mark() -> None:
    decoded = decode(CSV, b'\xef\xbb\xbfa, b\r\n"1,5","x ""y"""\r\n2,z\r\n', LIMITS)
    assert decoded.frame.to_dict(as_series=False) == {"a": ["1,5", "2"], "b": ['x "y"', "z"]}


@pytest.mark.parametrize("body", [b"", b"\n1,2\n", b"a,a\n1,2\n", b"a,b\n1,\xff\n", b'a,b\n1,"x\n'])
def test_a_broken_csv_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBodyError):
        decode(CSV, body, LIMITS)


@pytest.mark.parametrize("content_type", [PARQUET, ARROW])
def test_a_broken_binary_file_is_malformed(content_type: str) -> None:
    body = encoded(content_type)
    for broken in (b"", b"PAR1", body[: len(body) // 2], body[:-20] + b"x" * 20):
        with pytest.raises(MalformedBodyError):
            decode(content_type, broken, LIMITS)


@pytest.mark.parametrize("content_type", [NDJSON, JSON, CSV, PARQUET, ARROW])
def test_too_many_rows_or_fields_are_too_large(content_type: str) -> None:
    body = encoded(content_type)
    for limits in (Limits(10_000_000, 1, 50), Limits(10_000_000, 1000, 1)):
        with pytest.raises(BodyTooLargeError):
            decode(content_type, body, limits)


def test_a_parquet_file_that_says_it_is_large_is_not_read() -> None:
    out = io.BytesIO()
    pl.DataFrame({"a": ["x" * 1000] * 900}).write_parquet(out, use_pyarrow=False)
    with pytest.raises(BodyTooLargeError):
        decode(PARQUET, out.getvalue(), Limits(500, 1000, 50))


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/xml"])
def test_unknown_content_types(content_type: str) -> None:
    with pytest.raises(UnknownFormatError):
        media_type(content_type)


def test_content_type_parameters() -> None:
    assert media_type('Application/JSON; charset="UTF-8"') == JSON
    with pytest.raises(UnknownFormatError, match="latin-1"):
        media_type("text/csv; charset=latin-1")


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("zstd", zstandard.compress),
        ("identity", bytes),
        ("", bytes),
        ("GZIP", lambda body: gzip.compress(body[:3]) + gzip.compress(body[3:])),
        ("zstd", lambda body: zstandard.compress(body[:3]) + zstandard.compress(body[3:])),
    ],
)
def test_content_encodings(encoding: str, compress) -> None:
    assert decompress(compress(b"some rows"), encoding, 100) == b"some rows"
    with pytest.raises(BodyTooLargeError):
        decompress(compress(b"some rows"), encoding, 8)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_broken_or_cut_streams_are_malformed(encoding: str) -> None:
    whole = gzip.compress(b"x" * 1000) if encoding == "gzip" else zstandard.compress(b"x" * 1000)
    for broken in (b"nothing of the kind", whole[: len(whole) // 2]):
        with pytest.raises(MalformedBodyError):
            decompress(broken, encoding, 10_000)


def test_unknown_encoding() -> None:
    with pytest.raises(UnknownFormatError):
        decompress(b"", "br", 10)


def _gzip_bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(size // 2**20)) + packer.flush()


def _zstd_bomb(size: int) -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    return b"".join(packer.compress(bytes(2**20)) for _ in range(size // 2**20)) + packer.flush()


@pytest.mark.parametrize(("encoding", "bomb"), [("gzip", _gzip_bomb), ("zstd", _zstd_bomb)])
def test_a_bomb_is_refused_with_flat_memory(encoding: str, bomb) -> None:
    body = bomb(1 << 29)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BodyTooLargeError):
        decompress(body, encoding, 2**20)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 64 * 1024


@pytest.mark.parametrize("body", [b"", b'"', b'":', b'x":', b'":x', b'x":x":', b'"":":"', b'{"a":1,"b":"c"}'])
def test_pairs_are_counted_wherever_they_stand(body: bytes) -> None:
    assert count_pairs(body, b'":') == body.count(b'":')


SEEN = b'{"time":1767686400,"speed_kmh":1.5,"note":"x","on":true,"n":2}\n{"time":1767686401,"speed_kmh":2,"n":3}'
SAME_BEGINNING = b'{"time":1767686400,"speed_kmh":7,"note":"y","on":false,"n":4}'


@pytest.mark.parametrize("line", [
    b'{"time":1767686400.5,"speed_kmh":8}', b'{"time":"2026-01-06T08:00:00Z","speed_kmh":8}', b'{"speed_kmh":"8"}',
    b'{"n":2.5}', b'{"n":"2"}', b'{"n":true}', b'{"on":1}', b'{"on":"yes"}', b'{"note":5}', b'{"note":true}',
    b'{"note":[1]}', b'{"note":null}', b'{"more":1}', b'{"more":{"deep":[1]}}', b'{"n":18446744073709551615}',
    b'{"n":1,"n":2}', b'{"time":null}', b"oops", b'{"speed_kmh":1e400}', b'{"speed_kmh":NaN}', b"",
])  # fmt: skip
def test_what_was_read_before_changes_nothing(line: bytes) -> None:
    """Types are remembered by the form of the first line; whatever comes after it is read as if for the first time."""
    body = SAME_BEGINNING + b"\n" + line
    ndjson._known.clear()
    expected = decode(NDJSON, body, LIMITS)
    ndjson._known.clear()
    decode(NDJSON, SEEN, LIMITS)
    assert ndjson._known
    found = decode(NDJSON, body, LIMITS)
    assert found.frame.schema == expected.frame.schema
    assert found.frame.equals(expected.frame)
    assert (found.row.to_list(), faults(found)) == (expected.row.to_list(), faults(expected))


def test_no_more_than_so_many_forms_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson, "MOST_FORMS", 3)
    for n in range(10):
        decode(NDJSON, b'{"a%d":1}' % n, LIMITS)
        assert len(ndjson._known) <= 3


def test_a_first_line_of_any_length_has_a_form_of_bounded_size() -> None:
    line = b"{" + b",".join(b'"k%d":1' % n for n in range(200_000)) + b"}"
    assert len(ndjson._form(line)) * 6 < ndjson.MOST_FORM_BYTES
