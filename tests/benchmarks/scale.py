"""Whether cost grows in line: ten times the rows, into a store that grows, beside ten times the time."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.ingest import CLIENTS, ROWS, TYPES, body_of, empty, expect_rows, post, rows_of
from tests.benchmarks.receiver import database_of, peak_mb, receiver
from tests.benchmarks.result import Result

FEW_POSTS = 6  # of each client
TIMES = 10
MOST = 11.0
KIND = "parquet"


def run() -> list[Result]:
    """Measure few rows and ten times as many, each from an empty store."""
    with tempfile.TemporaryDirectory() as folder, database_of(Path(folder)) as (owner_url, ingest_url, key):
        few_s, _ = _took_s(FEW_POSTS, owner_url, ingest_url, key)
        many_s, peak = _took_s(FEW_POSTS * TIMES, owner_url, ingest_url, key)
    rows = FEW_POSTS * CLIENTS * ROWS
    note = f"{rows:,} rows in {few_s:.1f} s, {rows * TIMES:,} in {many_s:.1f} s; {KIND}, {CLIENTS} clients"
    ratio = many_s / few_s
    return [Result("ingest.ten_times_the_rows", ratio, "times the time", "at most", MOST, MOST / ratio, peak, note)]


def _took_s(posts: int, owner_url: str, ingest_url: str, key: str) -> tuple[float, float]:
    """How long so many posts of each client take, and the receiver's peak in MB. Bodies are made one by one."""
    empty(owner_url)
    with receiver(ingest_url) as (port, pid):
        post(port, key, TYPES[KIND], [body_of(KIND, rows_of(CLIENTS, 0))])
        took_s = 0.0
        for first in range(0, posts, FEW_POSTS):
            some = range(first, first + FEW_POSTS)
            bodies = [[body_of(KIND, rows_of(client, n)) for n in some] for client in range(CLIENTS)]
            began = time.perf_counter()
            with ThreadPoolExecutor(CLIENTS) as threads:
                list(threads.map(lambda own: post(port, key, TYPES[KIND], own), bodies))
            took_s += time.perf_counter() - began
        peak = peak_mb(pid)
    expect_rows(owner_url, (posts * CLIENTS + 1) * ROWS)
    return took_s, peak
