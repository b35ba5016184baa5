"""Campaigns: tests with a short form, in `make test`, and a full form, in `make test-long`.

A test that has both is marked `long` and asks `size` how much to do; what it draws, it draws from SEED:

    @pytest.mark.long
    @pytest.mark.timeout(campaign.size(60, 3600))
    def test_worker_killed_anywhere():
        for n in range(campaign.size(3, 200)):
            dice = random.Random(f"{campaign.SEED} {n}")

`make test-long` runs these and all properties, with BEACHHEAD_LONG set to a seed that it prints.
"""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")
VARIABLE = "BEACHHEAD_LONG"
FULL = bool(os.environ.get(VARIABLE))
SEED = int(os.environ.get(VARIABLE) or 0)
"""0 in the short form: a run tells something about the change, not about luck."""


def size(short: T, full: T) -> T:
    """What holds for this run."""
    return full if FULL else short
