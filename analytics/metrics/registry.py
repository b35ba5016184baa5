"""Every metric, once. API models, pages, documents and tests iterate this."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from analytics.metrics import (
    charging_hours,
    dispensed,
    distance,
    electric_share,
    emissions,
    energy,
    fuel,
    hours,
    intensity,
    pollutants,
    uptime,
)
from analytics.metrics.metric import Metric

_FAMILIES = (
    distance,
    energy,
    intensity,
    fuel,
    hours,
    uptime,
    emissions,
    pollutants,
    charging_hours,
    electric_share,
    dispensed,
)

METRICS: Mapping[str, Metric] = MappingProxyType({m.slug: m for family in _FAMILIES for m in family.METRICS})
"""Every metric by slug, in the order in which pages list them."""
