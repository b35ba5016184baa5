"""What a metric is: one record that code, pages, documents and tests read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DC, AC = "DC", "AC"
"""Where energy is told: at the battery, and at the charger's input. A ratio never mixes them."""


class Total(StrEnum):
    """How a metric totals over days, vehicles and pilots."""

    SUM = "sum"
    RATIO = "ratio of sums"
    AVAILABILITY = "availability from vehicle-days"
    ROADCALL_DISTANCE = "distance over roadcalls, with Poisson bounds"
    NONE = "does not total"


class Given(StrEnum):
    """What metrics start from besides signals and each other: records, declarations, factors."""

    ROWS = "times of rows"
    PLANNED_SERVICE = "planned service"
    MAINTENANCE = "maintenance records"
    TROUBLE_CODES = "trouble codes"
    ROADCALLS = "roadcall records"
    METERS = "charger meter records"
    FILLINGS = "fuelling records"
    OPERATOR = "operator's limits"
    GATEWAY = "gateway policy"
    CAPACITY = "usable battery capacity"
    CHARGER_EFFICIENCY = "charger efficiency"
    VEHICLE = "category and powertrain"
    BASELINE = "declared baseline"
    ENGINES = "declared work and engine standards"
    LINE_LOSS = "line loss"
    FACTORS = "emission factors"
    HOURLY_FACTORS = "hourly grid factors"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    `meaning` is one plain sentence for a person, `definition` the formula. `inputs` are canonical signals, other
    metrics' slugs, or what is `Given`: nothing else, and never none. A name that is both a signal and a slug stands
    for the signal in the metric of that name, for the metric in others. `decimals` is for display only. A ratio is
    `scale` x sum of `numerator` / sum of `denominator`, both metrics' slugs. `anchor` names the heading in
    `docs/definitions.md` that decides the figure. `source` names the published method, or says that there is none
    (`sources`). `side` says on which side of the charger an energy is told, and `printed` what must be read with every
    figure. Component figures that only serve totals have `shown=False`.
    """

    slug: str
    name: str
    unit: str
    meaning: str
    definition: str
    inputs: tuple[str, ...]
    decimals: int
    total: Total
    anchor: str
    source: str
    numerator: str | None = None
    denominator: str | None = None
    scale: float = 1.0
    shown: bool = True
    side: str | None = None
    printed: str | None = None

    def __post_init__(self) -> None:
        """Refuse what comes from nothing, a ratio without its two sides, or sides on anything else."""
        if not (self.inputs and self.source):
            raise ValueError(f"{self.slug}: inputs and source are required")
        sides = (self.numerator is not None, self.denominator is not None)
        needs_sides = self.total in (Total.RATIO, Total.AVAILABILITY, Total.ROADCALL_DISTANCE)
        if sides != (needs_sides, needs_sides):
            raise ValueError(f"{self.slug}: numerator and denominator do not suit total={self.total}")
