"""`docs/metrics.md`, generated from the registry: `python -m analytics.metrics.document > docs/metrics.md`."""

from __future__ import annotations

import sys

from analytics.metrics.metric import Given, Metric
from analytics.metrics.registry import METRICS

_HEAD = """# Metrics

Generated from the registry of metrics; `tests/unit/test_metrics_registry.py` compares the two. How each figure is
decided is in [definitions](definitions.md). Inputs are signals of the [data dictionary](data-dictionary.md), other
metrics, or records and declarations in plain words. A source is a published method; what nobody has published is called
own.
"""
_COLUMNS = ("metric", "name", "unit", "meaning", "inputs", "formula", "how it totals", "source")


def markdown() -> str:
    """The whole page: one table of the figures that are shown, one of the components that totals need."""
    shown = [metric for metric in METRICS.values() if metric.shown]
    parts = [metric for metric in METRICS.values() if not metric.shown]
    return "\n".join([_HEAD, _table(shown), "", "## Components", "", "Stored with the figures so that totals can be"
                      " formed; not shown on pages.", "", _table(parts), ""])  # fmt: skip


def _table(metrics: list[Metric]) -> str:
    head = [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"]
    return "\n".join([*head, *(f"| {' | '.join(_cells(metric))} |" for metric in metrics)])


def _cells(metric: Metric) -> list[str]:
    slug = f"[`{metric.slug}`](definitions.md#{metric.anchor})"
    unit = metric.unit if metric.side is None else f"{metric.unit}, {metric.side}"
    inputs = ", ".join(name if isinstance(name, Given) else f"`{name}`" for name in metric.inputs)
    return [slug, metric.name, unit, metric.meaning, inputs, metric.definition, _totalling(metric), metric.source]


def _totalling(metric: Metric) -> str:
    if metric.numerator is None:
        return metric.total.value
    return f"{metric.total.value}: `{metric.numerator}` / `{metric.denominator}`"


if __name__ == "__main__":
    sys.stdout.write(markdown())
