"""What is around a log is taken off as far as it is sound."""

import gzip
import io
import random

import pytest
import zstandard

from ingest.landing import unpacked
from schemas.errors import BodyTooLargeError, MalformedBodyError

PLAIN = b"".join(b"(%d.000000) can0 123#%016X\n" % (n, random.Random(n).getrandbits(64)) for n in range(20_000))
PACKERS = {"gzip": gzip.compress, "zstd": zstandard.compress}


def content(packed, folder, limit=2**30):
    with unpacked(io.BytesIO(packed), folder, limit) as plain:
        return plain.read()


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_a_whole_file_and_several_in_one(pack, tmp_path):
    assert content(pack(PLAIN), tmp_path) == PLAIN
    assert content(pack(PLAIN[:999]) + pack(PLAIN[999:]), tmp_path) == PLAIN
    assert content(PLAIN, tmp_path) == PLAIN


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
@pytest.mark.parametrize("part", [0.6, 0.9, 0.999])
def test_a_cut_file_is_read_as_far_as_it_goes(pack, part, tmp_path):
    """Also a small one, which is unpacked in one go."""
    packed = pack(PLAIN)
    found = content(packed[: int(len(packed) * part)], tmp_path)
    assert PLAIN.startswith(found)
    assert len(found) > len(PLAIN) * part - 140_000  # a block of zstd
    assert found


def test_what_stands_behind_a_gzip_member_costs_nothing_of_it(tmp_path):
    assert content(gzip.compress(PLAIN) + b"no member", tmp_path) == PLAIN


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_broken_from_the_start_or_too_large(pack, tmp_path):
    packed = pack(PLAIN)
    with pytest.raises(MalformedBodyError):
        content(packed[:4] + b"\xff" * 100, tmp_path)
    with pytest.raises(BodyTooLargeError):
        content(packed, tmp_path, len(PLAIN) - 1)
