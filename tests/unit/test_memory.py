"""Freed memory is kept by processes that compute."""

import subprocess
import sys

FAULTS = """
import resource, sys
import numpy as np
from schemas.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
for _ in range(3):
    [np.ones(1_000_000) for _ in range(4)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    [np.ones(1_000_000) for _ in range(4)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], check=True, capture_output=True, text=True).stdout)


def test_memory_that_was_freed_is_used_again_without_page_faults() -> None:
    assert faults("kept") < 0.05 * faults("given back")
