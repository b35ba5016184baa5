"""Metrics: pure functions from frames to figures. No database, no clock.

`compute(Inputs) -> Results` gives the figures of vehicle-days and their trips, `totals` folds figures, `METRICS` says
what each figure means, `PADDING`, `SIGNALS` and `LASTING` say what telemetry to read.
"""

from analytics.metrics.daily import compute
from analytics.metrics.inputs import PADDING, Inputs, Padding, Policy, Results
from analytics.metrics.metric import Metric, Total
from analytics.metrics.registry import METRICS
from analytics.metrics.samples import LASTING, SIGNALS
from analytics.metrics.totals import totals

__all__ = [
    "LASTING", "METRICS", "PADDING", "SIGNALS", "Inputs", "Metric", "Padding", "Policy", "Results", "Total", "compute",
    "totals",
]  # fmt: skip
