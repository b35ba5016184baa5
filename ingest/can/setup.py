"""How one vehicle's frames are read: definitions, maps, sample period."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from ingest.can import j1939_table
from ingest.can.definitions import Bound, Definitions
from ingest.can.specs import Canonical

LEAST_BUCKET_US = 60_000_000
"""How far back anything may look: sessions and what is held, codes not yet cleared, capacities."""
HOLD_US = 5_000_000
"""How long a value stands while other parts of its sum, or its partner in a product, are heard."""
CAPACITY_HOLD_US = 60_000_000
"""How long a pack's capacity stands."""


class Rule(Enum):
    """How several sources of one canonical signal become one value."""

    PRIORITY = "the first that speaks, in a stated order"
    SUM = "all added"
    MEAN = "their mean"
    WEIGHTED = "their mean, weighted by the packs' capacities where all of these are known"
    MAXIMUM = "the highest"


RULES = {
    "battery_current_a": Rule.SUM,
    "battery_power_kw": Rule.SUM,
    "motor_power_kw": Rule.SUM,
    "battery_voltage_v": Rule.MEAN,
    "battery_soc_pct": Rule.WEIGHTED,
    "battery_temperature_c": Rule.MAXIMUM,
    "red_stop_lamp": Rule.MAXIMUM,  # lit when any controller lights it
    "amber_warning_lamp": Rule.MAXIMUM,
    "protect_lamp": Rule.MAXIMUM,
    "malfunction_lamp": Rule.MAXIMUM,
    "fault_count": Rule.SUM,
}
"""Where packs or motors come from several sources; every other canonical signal goes by priority."""


@dataclass(frozen=True)
class Setup:
    """What decides how frames become rows.

    `bound` are the definitions in order of precedence, without the built-in table. `maps` (the most specific first) say
    what is canonical; the built-in table's own map comes after them, for canonical signals that they leave out. `keep`
    names (message, signal) stored at full resolution.
    """

    period_us: int = 1_000_000
    bound: tuple[Bound, ...] = ()
    maps: tuple[Canonical, ...] = ()
    keep: frozenset[tuple[str, str]] = field(default_factory=frozenset)

    @cached_property
    def definitions(self) -> Definitions:
        """What decodes frames, the built-in table last."""
        return Definitions([*self.bound, Bound(None, j1939_table.MESSAGES)])

    @property
    def bucket_us(self) -> int:
        """The stretch of time that is decoded as one: a minute, or the next whole number of sample periods."""
        return self.period_us * -(-LEAST_BUCKET_US // self.period_us)

    @cached_property
    def mapped(self) -> frozenset[str]:
        """The canonical signals that are mapped."""
        return frozenset(canonical.name for canonical in self.maps)

    @cached_property
    def canonical(self) -> dict[str, list[Canonical]]:
        """Candidates by canonical signal, the preferred first. A mapped signal hides the built-in candidates."""
        built_in = (canonical for canonical in j1939_table.CANONICAL if canonical.name not in self.mapped)
        found: dict[str, list[Canonical]] = {}
        for canonical in (*self.maps, *built_in):
            found.setdefault(canonical.name, []).append(canonical)
        return found

    @cached_property
    def sha256(self) -> str:
        """Names this setup: equal setups decode alike."""
        return hashlib.sha256("\n".join(self._facts()).encode()).hexdigest()

    def _facts(self) -> Iterator[str]:
        yield repr(self.period_us)
        for bound in self.bound:
            yield repr(bound)
        for canonical in self.maps:
            yield repr(canonical)
        yield repr(sorted(self.keep))
