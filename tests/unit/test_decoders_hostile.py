"""Small bodies that would be large in memory are refused, or read, with little of it."""

from __future__ import annotations

import io
import subprocess
import sys
import time

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.decoders import decode
from ingest.decoders.decoded import Limits
from schemas.errors import BodyTooLargeError

DEFAULTS = Limits(body_bytes=64 * 2**20, rows=500_000, fields=1000)
NDJSON, JSON, CSV = "application/x-ndjson", "application/json", "text/csv"
PARQUET, ARROW = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"
MOST_MB = 4 * 64

# Linux tells a process that begins with the memory of the one that started it: the peak is reset first.
MEASURED = """
import sys, io
import pyarrow as pa, pyarrow.parquet as pq
from ingest.decoders import decode
from ingest.decoders.decoded import Limits
from schemas.errors import BodyTooLargeError

def names(count):
    return ",".join(map(str, range(count))).encode()

def parquet(columns, **how):
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, compression="zstd", **how)
    return out.getvalue()

def arrow(columns):
    out, table = io.BytesIO(), pa.table(columns)
    with pa.ipc.new_stream(out, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
        stream.write_table(table)
    return out.getvalue()

def same(value, columns):
    column = pa.array([value]).take(pa.array([0] * 500_000))
    return {str(n): column for n in range(columns)}

def kb(what):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(what))

decode("application/x-ndjson", b'{"a": 1}', Limits(1000, 10, 10))
body = BODY
open("/proc/self/clear_refs", "w").write("5")
before = kb("VmRSS")
try:
    told = str(decode("CONTENT_TYPE", body, Limits(64 * 2**20, 500_000, 1000)).frame.shape)
except BodyTooLargeError as error:
    told = "too large"
print(told, (kb("VmHWM") - before) // 1024, sep=";")
"""
WIDE = "','.join('\"k%d\":1' % n for n in range(1000)).encode()"
BODIES = {
    "lines of nothing": (NDJSON, 'b"\\n" * 67_000_000', "(0, 0)"),
    "lines of blanks": (NDJSON, "b'{\"a\":1}\\n' + b'  \\n' * 22_000_000", "(1, 1)"),
    "lines of no objects": (NDJSON, 'b"1\\n" * 33_000_000', "too large"),
    "a value that is long": (NDJSON, "b'{\"a\":[' + b'[],' * 22_000_000 + b'1]}'", "too large"),
    "a line of many keys": (NDJSON, "b'{' + b'\"a\":1,' * 9_000_000 + b'\"a\":1}'", "too large"),
    "rows of lists, one of them broken": (NDJSON, "(b'{\"a\":[' + b'[],' * 340_000 + b'1]}\\n') * 8 + b'x'", "(8, 1)"),
    "an element of lists": (JSON, "b'[{},{\"a\":[' + b'[],' * 20_000_000 + b'1]}]'", "too large"),
    "wide rows, one of them broken": (NDJSON, f"(b'{{' + {WIDE} + b'}}\\n') * 1500 + b'x'", "(1500, 1000)"),
    "wide once": (NDJSON, f"b'{{' + {WIDE} + b'}}\\n' + b'{{}}\\n' * 499_000", "too large"),
    "an array of numbers": (JSON, 'b"[" + b"1," * 33_000_000 + b"1]"', "too large"),
    "an array of nothing": (JSON, 'b"[" + b"{}," * 22_000_000 + b"{}]"', "too large"),
    "csv of nothing": (CSV, 'b"time,a\\n" + b"\\n" * 67_000_000', "(0, 2)"),
    "csv of commas": (CSV, 'b"time,a\\n" + b",\\n" * 33_000_000', "too large"),
    "csv of one line": (CSV, 'b"a,b\\n" + b"," * 66_000_000', "too large"),
    "csv of one record": (CSV, "b'a,b\\n' + b'\"\\n\"' + b',\"x\\n\"' * 1_900_000", "too large"),
    "a wide csv of nothing": (CSV, "names(1000) + (b','*999 + b'\\n') * 60_000", "too large"),
    "a csv header": (CSV, "names(1_000_000) + b'\\n'", "too large"),
    "parquet of one number": (PARQUET, "parquet(same(1.0, 80))",
                              "too large"),
    "parquet of lists": (PARQUET, "parquet(same([1] * 20, 5))", "too large"),
    "parquet of one text": (PARQUET, "parquet(same('x' * 100, 10))", "(500000, 10)"),
    "parquet of texts alike": (PARQUET, "parquet({'a': pa.array(['x' * 1000] * 300_000)}, use_dictionary=False, "
                               "column_encoding={'a': 'DELTA_BYTE_ARRAY'})", "too large"),
    "arrow of one number": (ARROW, "arrow(same(1.0, 80))",
                            "too large"),
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("name", BODIES)
def test_memory_stays_within_a_few_times_the_body_limit(name: str) -> None:
    content_type, body, expected = BODIES[name]
    script = MEASURED.replace("BODY", body, 1).replace("CONTENT_TYPE", content_type, 1)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    told, megabytes = done.stdout.strip().split(";")
    assert told == expected
    assert int(megabytes) < MOST_MB


@pytest.mark.parametrize("key", [b'{"k%d":1}', b'{"k\\t%d":1}', b'{"a":{"k%d":1}}'])
@pytest.mark.parametrize("content_type", [NDJSON, JSON])
def test_many_keys_are_refused_before_types_are_inferred(content_type: str, key: bytes) -> None:
    rows = [key % n for n in range(20_000)]
    body = b"\n".join(rows) if content_type == NDJSON else b"[" + b",".join(rows) + b"]"
    began = time.process_time()
    with pytest.raises(BodyTooLargeError, match="different fields"):
        decode(content_type, body, DEFAULTS)
    assert time.process_time() - began < 5


def test_as_many_keys_as_there_may_be_are_read_wherever_they_stand() -> None:
    body = b"\n".join(b'{"a:b":1,"k%d":%d}' % (n % 999, n) for n in range(5000))
    frame = decode(NDJSON, body, DEFAULTS).frame
    assert frame.shape == (5000, 1000)
    assert frame["k998"].drop_nulls().to_list() == [998, 1997, 2996, 3995, 4994]


@pytest.mark.parametrize(("content_type", "rows"), [(NDJSON, b'{"a":"1"}'), (CSV, b"1,x")])
def test_blank_lines_are_no_rows_however_many(content_type: str, rows: bytes) -> None:
    limits = Limits(10**6, 3, 50)
    head = b"a,b\n" if content_type == CSV else b""
    for blank in (b"\n", b"\n\n\n", b"\r\n\r\n\n"):
        assert decode(content_type, head + blank.join([rows] * 3) + blank, limits).frame["a"].to_list() == ["1"] * 3
        with pytest.raises(BodyTooLargeError):
            decode(content_type, head + blank.join([rows] * 4), limits)


def test_a_csv_record_over_many_lines_is_one_row() -> None:
    decoded = decode(CSV, b'a,b\n"1\n\n2",x\n3,y\n', Limits(10**6, 2, 50))
    assert decoded.frame["a"].to_list() == ["1\n\n2", "3"]


def test_a_faulty_csv_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.decoders.csv_rows.VALUES_AT_ONCE", 4)
    decoded = decode(CSV, b"a,b\n" + b"".join(b"%d,x\n" % n for n in range(9)) + b"1\n", DEFAULTS)
    assert decoded.frame["a"].to_list() == [str(n) for n in range(9)]
    assert decoded.rejects["row"].to_list() == [10]


def test_ordinary_binary_uploads_of_the_most_rows_are_read() -> None:
    empty = pl.DataFrame({str(n): pl.Series([None], dtype=pl.Float64) for n in range(60)})
    frame = empty.select(pl.all().repeat_by(500_000).explode())
    out, stream = io.BytesIO(), io.BytesIO()
    frame.write_parquet(out)
    assert decode(PARQUET, out.getvalue(), DEFAULTS).frame.shape == (500_000, 60)
    frame.head(100_000).write_ipc_stream(stream, compression="zstd")
    assert decode(ARROW, stream.getvalue(), DEFAULTS).frame.shape == (100_000, 60)


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_arrow_streams_are_measured_however_they_are_packed(compression: str | None) -> None:
    texts = pa.array(["a", "b", None] * 1000).dictionary_encode()
    table = pa.table({"n": [1.0] * 3000, "text": texts, "list": [[1, 2]] * 3000, "nothing": pa.nulls(3000)})
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as stream:
        stream.write_table(table, max_chunksize=500)
    assert decode(ARROW, out.getvalue(), DEFAULTS).frame["text"].to_list()[:3] == ["a", "b", None]
    needed = 3000 * (8 + 4 + 4 + 16)
    assert decode(ARROW, out.getvalue(), Limits(needed * 5 // 4, 3000, 4)).received == 3000
    with pytest.raises(BodyTooLargeError):
        decode(ARROW, out.getvalue(), Limits(needed * 3 // 4, 3000, 4))


def test_small_lists_and_shortened_texts_of_parquet_are_read() -> None:
    table = pa.table({"list": [[1, 2]] * 100, "text": [f"some text {n}" for n in range(100)]})
    out = io.BytesIO()
    pq.write_table(
        table, out, use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY", "list.list.element": "PLAIN"}
    )
    assert decode(PARQUET, out.getvalue(), DEFAULTS).frame["text"].to_list() == table["text"].to_pylist()
