"""Charts: one definition each, for pages and reports, drawn to SVG on the server.

A chart is a function of plain rows. Nothing is fetched: fonts are the reader's own, and the SVG holds no script and
no style sheet.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from html import escape
from typing import Any

import altair as alt
import vl_convert

FONT = "Helvetica Neue, Helvetica, Arial, sans-serif"
INK, MUTED, RULE = "#1d2b33", "#51626c", "#dde4e6"
ENERGY, ENERGY_PALE, CHARGED = "#0f6b74", "#bfdcdd", "#b4530a"
BAND, UP, TARGET = "#cfe3e1", "#0f6b74", "#9a3412"
LOW_COVERAGE_PCT = 80.0

STATES: dict[str, tuple[str, str]] = {
    "in_service_h": ("In service", "#0f6b74"),
    "idle_h": ("Idle", "#6fb3b0"),
    "charging_h": ("Charging", "#e0a03a"),
    "parked_h": ("Parked", "#c9d3d6"),
    "planned_maintenance_h": ("Planned maintenance", "#7c6fa6"),
    "down_h": ("Down", "#b3362b"),
    "unknown_h": ("Unknown", "#f1ece2"),
}
"""States of a vehicle's day that fill it without overlap, in the order they are stacked: label and colour."""


class Width(Enum):
    """The two widths a chart is drawn for, in pixels of plot area: a desk or paper, and a phone."""

    WIDE = 860
    NARROW = 276

    @property
    def height(self) -> int:
        """Height of the plot area in pixels."""
        return 240 if self is Width.WIDE else 190


@dataclass(frozen=True, slots=True)
class EnergyDay:
    """Energy of one operating day. Null is unknown."""

    day: dt.date
    used_kwh: float | None
    charged_kwh: float | None
    coverage_pct: float | None


@dataclass(frozen=True, slots=True)
class AvailabilityDay:
    """Availability of one operating day with its bounds. All null: nothing was planned; a null value alone: unknown."""

    day: dt.date
    value_pct: float | None
    low_pct: float | None
    high_pct: float | None


@dataclass(frozen=True, slots=True)
class StateHours:
    """Vehicle-hours in one state (a key of `STATES`) on one operating day."""

    day: dt.date
    state: str
    hours: float


def energy_svg(days: tuple[EnergyDay, ...], width: Width = Width.WIDE) -> str:
    """Energy used per day as bars, charged as a line; low or unknown coverage is pale, an unknown day a `?`."""
    rows = [asdict(day) | {"seen": _seen(day)} for day in days]
    day = _day_axis(days, width)
    base = alt.Chart(_data(rows))
    used = base.mark_bar().encode(
        x=day,
        y=alt.Y("used_kwh:Q", axis=_axis("kWh per day")),
        color=alt.Color(
            "seen:N",
            legend=_legend(width),
            scale=alt.Scale(
                domain=["used", f"used, coverage below {LOW_COVERAGE_PCT:g} %", "charged"],
                range=[ENERGY, ENERGY_PALE, CHARGED],
            ),
        ),
        stroke=alt.value(ENERGY),
        strokeWidth=alt.value(1),
    )
    charged = (
        base.transform_calculate(seen="'charged'")
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=28, filled=True))
        .encode(x=day, y="charged_kwh:Q", color="seen:N")
    )
    layers = alt.LayerChart(layer=[used, charged, _unknown(base, day, "!isValid(datum.used_kwh)")])
    return _drawn(layers, width, "Energy per day", describe_energy(days))


def availability_svg(
    days: tuple[AvailabilityDay, ...], target_pct: float | None = None, width: Width = Width.WIDE
) -> str:
    """Availability per day as a point with the band between its bounds, and the pilot's target as a line."""
    day = _day_axis(days, width)
    scale = alt.Scale(domain=[0, 100], nice=False)
    base = alt.Chart(_data(asdict(day) for day in days))
    band = base.mark_bar(color=BAND).encode(
        x=day, y=alt.Y("low_pct:Q", axis=_axis("% of planned vehicle-days"), scale=scale), y2="high_pct:Q"
    )
    central = base.mark_line(color=UP, strokeWidth=2, point=alt.OverlayMarkDef(color=UP, size=36, filled=True)).encode(
        x=day, y=alt.Y("value_pct:Q", scale=scale)
    )
    layers = [band, central, _unknown(base, day, "!isValid(datum.value_pct) && isValid(datum.high_pct)")]
    if target_pct is not None:
        layers += _target(target_pct, scale)
    chart = alt.LayerChart(layer=layers)
    return _drawn(chart, width, "Availability per day", describe_availability(days, target_pct))


def hours_svg(hours: tuple[StateHours, ...], width: Width = Width.WIDE) -> str:
    """Vehicle-hours by state, stacked per day."""
    shown = [state for state in STATES if any(row.state == state for row in hours)]
    order = {state: place for place, state in enumerate(STATES)}
    rows = [
        {"day": row.day, "state": STATES[row.state][0], "hours": row.hours, "place": order[row.state]} for row in hours
    ]
    chart = (
        alt.Chart(_data(rows))
        .mark_bar(stroke=MUTED, strokeWidth=0.4)
        .encode(
            x=_day_axis(hours, width),
            y=alt.Y("hours:Q", axis=_axis("vehicle-hours per day")),
            color=alt.Color(
                "state:N",
                legend=_legend(width),
                scale=alt.Scale(
                    domain=[STATES[state][0] for state in shown], range=[STATES[state][1] for state in shown]
                ),
            ),
            order=alt.Order("place:Q"),
        )
    )
    return _drawn(chart, width, "Hours by state", describe_hours(hours))


def describe_energy(days: Sequence[EnergyDay]) -> str:
    """The energy chart in words."""
    known = [day for day in days if day.used_kwh is not None]
    if not known:
        return "Energy per day: unknown on every day."
    used = [(day.used_kwh or 0.0, day.day) for day in known]
    low, high = min(used), max(used)
    pale = sum(1 for day in known if _seen(day) != "used")
    return (
        f"Energy used per day on {len(known)} of {len(days)} days, from {low[0]:,.0f} kWh ({_date(low[1])})"
        f" to {high[0]:,.0f} kWh ({_date(high[1])}); coverage is below {LOW_COVERAGE_PCT:g} % on {pale} of them."
    )


def describe_availability(days: Sequence[AvailabilityDay], target_pct: float | None) -> str:
    """The availability chart in words."""
    known = [(day.value_pct, day.day) for day in days if day.value_pct is not None]
    if not known:
        return "Availability per day: nothing planned or nothing known on every day."
    low = min(known)
    target = f" The target is {target_pct:g} %." if target_pct is not None else ""
    full = sum(1 for value, _ in known if value >= 100)
    return (
        f"Availability on {len(known)} days with planned service; 100 % on {full} of them,"
        f" lowest {low[0]:.0f} % on {_date(low[1])}.{target}"
    )


def describe_hours(hours: Sequence[StateHours]) -> str:
    """The chart of hours by state in words."""
    sums = {state: sum(row.hours for row in hours if row.state == state) for state in STATES}
    parts = [f"{STATES[state][0].lower()} {total:,.0f} h" for state, total in sums.items() if total]
    return f"Vehicle-hours over the period: {', '.join(parts)}." if parts else "Hours by state: unknown."


def _seen(day: EnergyDay) -> str:
    covered = day.coverage_pct is not None and day.coverage_pct >= LOW_COVERAGE_PCT
    return "used" if covered else f"used, coverage below {LOW_COVERAGE_PCT:g} %"


def _date(day: dt.date) -> str:
    return f"{day.day} {day:%b %Y}"


def _data(rows: Iterable[dict[str, Any]]) -> alt.InlineData:
    return alt.InlineData(values=[row | {"day": row["day"].isoformat()} for row in rows])


def _day_axis(days: Sequence[EnergyDay | AvailabilityDay | StateHours], width: Width) -> alt.X:
    """One band per calendar day from the first to the last; an operating day is a name, so no zone may move it."""
    names = [day.isoformat() for day in _span(days)]
    step = -(-len(names) // (7 if width is Width.WIDE else 4)) or 1
    axis = alt.Axis(
        values=names[::step], labelExpr="utcFormat(toDate(datum.value), '%-d %b')", title=None,
        labelAngle=0, ticks=False,
    )  # fmt: skip
    return alt.X("day:O", axis=axis, scale=alt.Scale(domain=names, paddingInner=0.22, paddingOuter=0.11))


def _span(days: Sequence[EnergyDay | AvailabilityDay | StateHours]) -> list[dt.date]:
    if not days:
        return []
    first, last = min(day.day for day in days), max(day.day for day in days)
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]


def _axis(title: str) -> alt.Axis:
    """An axis whose title lies flat above it, where a phone's reader finds it."""
    return alt.Axis(
        title=title, titleAngle=0, titleAlign="left", titleAnchor="end", titleX=0, titleY=-10, tickCount=5,
        titleBaseline="bottom",
    )  # fmt: skip


def _legend(width: Width) -> alt.Legend:
    columns = 7 if width is Width.WIDE else 2
    return alt.Legend(
        orient="bottom", title=None, columns=columns, columnPadding=24, symbolType="square", labelLimit=240
    )


def _unknown(base: alt.Chart, day: alt.X, condition: str) -> alt.Chart:
    """A question mark on the base line of each day whose figure is unknown: missing is not zero."""
    marks = base.transform_filter(condition).mark_text(
        text="?", color=MUTED, baseline="bottom", fontSize=13, fontWeight="bold"
    )
    chart: alt.Chart = marks.encode(x=day, y=alt.value(alt.expr("height - 3")))
    return chart


def _target(target_pct: float, scale: alt.Scale) -> list[alt.Chart]:
    data = alt.InlineData(values=[{"target": target_pct, "label": f"target {target_pct:g} %"}])
    at = alt.Y("target:Q", scale=scale)
    line = alt.Chart(data).mark_rule(color=TARGET, strokeDash=[6, 4], strokeWidth=1.5).encode(y=at)
    label = (
        alt.Chart(data)
        .mark_text(align="right", baseline="top", dy=4, dx=-4, color=TARGET, fontSize=12)
        .encode(x=alt.value(alt.expr("width")), y=at, text="label:N")
    )
    return [line, label]


def _drawn(chart: alt.Chart | alt.LayerChart, width: Width, title: str, description: str) -> str:
    """The chart as SVG, with a title and a description that screen readers find."""
    spec = (
        chart.properties(width=width.value, height=width.height, description=description)
        .configure(font=FONT, background="#ffffff", padding={"left": 4, "right": 14, "top": 4, "bottom": 4})
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK, titleColor=MUTED, gridColor=RULE, domainColor=MUTED, tickColor=MUTED,
            labelFontSize=12, titleFontSize=12, titleFontWeight="normal",
        )
        .configure_legend(labelColor=INK, labelFontSize=12)
    )  # fmt: skip
    svg: str = vl_convert.vegalite_to_svg(spec.to_json(), vl_version="6.4")
    opening, rest = svg.split(">", 1)
    words = f'<title id="t">{escape(title)}</title><desc id="d">{escape(description)}</desc>'
    return f'{opening} role="img" aria-labelledby="t d">{words}{rest}'
