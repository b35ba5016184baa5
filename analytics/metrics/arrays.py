"""Names of the arrays that the metrics compute with."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
Flags = NDArray[np.bool_]
Numbers = TypeVar("Numbers", Floats, Whole, Flags)
