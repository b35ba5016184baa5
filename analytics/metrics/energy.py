"""Energy used, charged and bought, at the battery (DC) and at the charger's input (AC).

The headline climbs down a ladder: counters; the integral of power where it covers at least 95 %; state of charge times
usable capacity. What each method gives stays beside it.
"""

from __future__ import annotations

from typing import Any

from analytics.metrics import rules, sources
from analytics.metrics.metric import AC, DC, Given, Metric, Total
from analytics.metrics.rows import (
    ESTIMATED,
    MEASURED,
    MIXED,
    Day,
    Figure,
    Figures,
    first,
    full,
    notes,
    scalable,
    scaled,
    scaled_bounds,
    scaled_figure,
    scaling_method,
    scaling_note,
    within,
)  # fmt: skip
from analytics.metrics.running import POWER, SOC

COUNTER, INTEGRAL, CHARGE = "counter", "power", "soc"
UNWATCHED = "charging was not observed"
NEARLY_ALL, SOME = 0.995, 0.005
"""Shares of charged energy that state of charge tells, from which on it is called estimated or mixed."""
COVERAGE = {COUNTER: "energy_discharged_kwh_pct", INTEGRAL: f"{POWER}_pct", CHARGE: f"{SOC}_pct"}


def _sum(
    slug: str, name: str, meaning: str, definition: str, source: str, *inputs: str, shown: bool = True, side: str = DC
) -> Metric:
    return Metric(
        slug, name, "kWh", meaning, definition, inputs, 1, Total.SUM, "energy", source, shown=shown, side=side
    )


_POWER_INPUTS = ("battery_power_kw", "battery_voltage_v", "battery_current_a")
_COUNTERS = ("energy_discharged_kwh", "energy_regenerated_kwh")
_GROSS = f"{sources.OWN}: gross energy, split at the zero crossing"
METRICS = (
    _sum(
        "energy_used_kwh", "Energy used",
        "Energy taken from the battery while not plugged in, less what braking returned (DC).",
        "energy counters; power integral covering 95 % or more; change in state of charge x usable capacity",
        f"{sources.OWN_ORDER}; {sources.POWER_INTEGRAL}", *_COUNTERS, *_POWER_INPUTS, SOC, Given.CAPACITY,
    ),
    _sum(
        "energy_discharged_kwh", "Energy discharged", "Gross energy out of the battery while not plugged in (DC).",
        "counter; else power integral, split at the zero crossing", _GROSS, "energy_discharged_kwh", *_POWER_INPUTS,
    ),
    _sum(
        "energy_regenerated_kwh", "Energy regenerated", "Energy braking returned to the battery (DC).",
        "counter; else power integral, split at the zero crossing", _GROSS, "energy_regenerated_kwh", *_POWER_INPUTS,
    ),
    _sum(
        "energy_charged_kwh", "Energy charged", "Energy into the battery while plugged in, without regeneration (DC).",
        "counter; else power integral while plugged in, with state of charge across silences",
        sources.OWN_ORDER, "energy_charged_kwh", *_POWER_INPUTS, SOC, "plugged_in", "charging", Given.CAPACITY,
    ),
    _sum(
        "grid_energy_kwh", "Grid energy", "Energy bought: AC at the charger's input.",
        "meter counter or power; metered sessions; energy charged, and what was used at the plug, / charger efficiency"
        " (0.90 if none is declared)",
        f"{sources.OWN_ORDER}; default efficiency: {sources.CHARGING_LOSS}",
        "grid_energy_kwh", "grid_power_kw", Given.METERS, "energy_charged_kwh", "charger_output_energy_kwh",
        "charger_output_power_kw", "auxiliary_power_kw", "hotel_power_kw", Given.CHARGER_EFFICIENCY, side=AC,
    ),
    _sum(
        "auxiliary_energy_kwh", "Auxiliary energy", "Energy of all loads but traction while not plugged in (DC).",
        "integral of auxiliary power; else median power at a standstill x key-on hours", sources.OWN_ORDER,
        "auxiliary_power_kw", *_POWER_INPUTS, "speed_kmh", "plugged_in", "key_on_h", Given.VEHICLE,
    ),
    _sum(
        "hotel_energy_kwh", "Hotel energy",
        "Energy of the loads for people and cargo on board a vessel while not plugged in (DC).",
        "integral of hotel power", f"{sources.OWN}: the integral of a load", "hotel_power_kw", "plugged_in",
    ),
    _sum(
        "propulsion_energy_kwh", "Propulsion energy", "Energy a vessel used but for its hotel loads (DC).",
        "energy used - hotel energy, where both are covered",
        f"{sources.OWN}: a difference of energies", "energy_used_kwh", "hotel_energy_kwh", Given.VEHICLE,
    ),
    _sum(
        "idle_energy_kwh", "Idle energy", "Net battery energy while idle, standing with key on (DC).",
        "power integral in the state idle", f"{sources.OWN_STATES}; {sources.POWER_INTEGRAL}", *_POWER_INPUTS, "idle_h",
    ),
    *(
        _sum(
            f"energy_used_by_{m}_kwh", f"Energy used by {words}", "As this method alone tells it.", words, source,
            *inputs, shown=False,
        )
        for m, words, source, inputs in (
            (COUNTER, "energy counters", f"{sources.OWN}: a difference of counters", _COUNTERS),
            (INTEGRAL, "power integral", sources.POWER_INTEGRAL, _POWER_INPUTS),
            (CHARGE, "state of charge", f"{sources.OWN}: change x usable capacity", (SOC, Given.CAPACITY)),
        )
    ),
)  # fmt: skip


def with_energy(day: Day) -> dict[str, Any]:
    """Each method's figure, `energy_kwh` by the ladder, what was charged, and what was bought."""
    known = {
        "used_by_counter": _minus(day["energy_discharged_kwh"], day["energy_regenerated_kwh"]),
        "used_by_power": _minus(day["drawn_kwh"], day["returned_kwh"]),
        "used_by_soc": by_capacity(day["soc_used_pts"], day),
    }
    for step in (_used, _charged, _grid):
        known |= step({**day, **known})
    return known


def _minus(value: float | None, less: float | None) -> float | None:
    return None if value is None or less is None else value - less


def by_capacity(points: float | None, day: Day) -> float | None:
    """Energy (kWh) of a change in state of charge by the battery's usable capacity."""
    capacity_kwh = day["usable_battery_kwh"]
    return None if points is None or capacity_kwh is None else points / 100 * capacity_kwh


# --- used -----------------------------------------------------------------------------------------


def _used(day: Day) -> dict[str, Any]:
    """`energy_kwh` by the ladder, with `energy_pct`, `energy_by`, `energy_method`, note and bounds."""
    by = _ladder(day)
    if by is None:
        nothing = "no energy counter, power or state of charge"
        told = dict.fromkeys(("by", "kwh", "pct", "low", "high"))
        return {f"energy_{name}": part for name, part in told.items()} | {
            "energy_method": MEASURED, "energy_note": nothing
        }  # fmt: skip
    seen_kwh, pct = day[f"used_by_{by}"], day[COVERAGE[by]]
    value = scaled(seen_kwh, pct)
    low, high = _used_bounds(seen_kwh, pct, _soc_error_kwh(day) if by == CHARGE else None)
    words = {COUNTER: "counter", INTEGRAL: "power integral", CHARGE: _soc_words(day)}[by]
    return {
        "energy_by": by, "energy_kwh": value, "energy_pct": pct, "energy_low": low, "energy_high": high,
        "energy_method": ESTIMATED if by == CHARGE else scaling_method(pct),
        "energy_note": notes(words, scaling_note(pct)),
    }  # fmt: skip


def _ladder(day: Day) -> str | None:
    """The method of the headline. A partly covered power integral is preferred to a small change in state of charge."""
    counted, summed, charged = (day[f"used_by_{m}"] is not None for m in (COUNTER, INTEGRAL, CHARGE))
    power_pct, soc_used_pts = day[COVERAGE[INTEGRAL]], day["soc_used_pts"]
    steps = (
        (counted and scalable(day[COVERAGE[COUNTER]]), COUNTER),
        (summed and power_pct >= rules.HEADLINE_COVERAGE_PCT, INTEGRAL),
        (charged and scalable(day[COVERAGE[CHARGE]]) and soc_used_pts >= rules.SOC_MIN_PTS, CHARGE),
        (summed and scalable(power_pct), INTEGRAL),
        (charged, CHARGE),
        (summed, INTEGRAL),
        (counted, COUNTER),
    )
    return next((method for holds, method in steps if holds), None)


def _used_bounds(seen_kwh: float, pct: float, error_kwh: float | None) -> tuple[float | None, float | None]:
    """What scaling may add, and how coarsely state of charge is told. The error of sensors is not in it."""
    low, high = scaled_bounds(seen_kwh, pct)
    if error_kwh is None:
        return low, high
    value = scaled(seen_kwh, pct)
    return (value if low is None else low) - error_kwh, (value if high is None else high) + error_kwh  # type: ignore[operator]


def _soc_error_kwh(day: Day) -> float | None:
    return by_capacity(rules.SOC_ERROR_PTS, day)


def _soc_words(day: Day) -> str | None:
    capacity_kwh = day["usable_battery_kwh"]
    return None if capacity_kwh is None else f"SOC x {capacity_kwh} kWh"


# --- charged --------------------------------------------------------------------------------------


def _charged(day: Day) -> dict[str, Any]:
    """Charged energy: the counter, or what power saw plus what state of charge gained where power saw nothing."""
    counted, seen = day["energy_charged_kwh"], day["returned_plugged_kwh"]
    from_soc, watched_pct = by_capacity(day["soc_gained_pts"], day), _watched_pct(day)
    added = (seen or 0.0) + (from_soc or 0.0)
    unwatched = from_soc is None and added == 0 and not scalable(watched_pct)
    gained = None if (seen is None and from_soc is None) or unwatched else added
    share = _soc_share(seen, from_soc, added)
    error_kwh = _soc_error_kwh(day) if counted is None and share > SOME else None
    whole = counted is not None or from_soc is not None
    words = _charged_words(day, share) if gained is not None else UNWATCHED if unwatched and seen is not None else None
    return {
        "charged_kwh": first(counted, gained),
        "charged_pct": 100.0 if whole else watched_pct if gained is not None else None,
        "charged_method": MEASURED if counted is not None else _method(share),
        "charged_note": "counter" if counted is not None else words,
        "charged_low": None if error_kwh is None or gained is None else gained - error_kwh,
        "charged_high": None if error_kwh is None or gained is None else gained + error_kwh,
    }


def _soc_share(seen: float | None, from_soc: float | None, added: float) -> float:
    """How much of the charged energy state of charge tells."""
    if added != 0:
        return (from_soc or 0.0) / added
    return 1.0 if seen is None else 0.0


def _method(share: float) -> str:
    return ESTIMATED if share > NEARLY_ALL else MIXED if share > SOME else MEASURED


def _charged_words(day: Day, share: float) -> str | None:
    if share > NEARLY_ALL:
        return _soc_words(day)
    return notes("power integral", _soc_words(day) if share > SOME else None)


def _watched_pct(day: Day) -> float | None:
    """How much of the time with key off, when vehicles charge, the power signal tells of."""
    off_s = (day["day_h"] - (day["on_h"] or 0.0)) * 3600
    told_s = (day[f"{POWER}_s"] or 0.0) - (day[f"{POWER}_on_s"] or 0.0)
    return within(told_s / off_s * 100, 0.0, 100.0) if off_s > 0 else 100.0


# --- bought ---------------------------------------------------------------------------------------


def _grid(day: Day) -> dict[str, Any]:
    """Grid energy: metered, else charged energy, and what went past the battery, by the charger's efficiency."""
    metered, charged, past = first(day["grid_energy_kwh"], day["grid_power_kw_sum"]), day["charged_kwh"], _past(day)
    if metered is not None:
        return _bought(metered, 100.0, MEASURED, "metered")
    if charged is None:
        return _bought(None, day["charged_pct"], ESTIMATED, day["charged_note"])
    efficiency = day["charger_efficiency"]
    used = rules.DEFAULT_CHARGER_EFFICIENCY if efficiency is None else efficiency
    what = "charged and used at the plug" if past > rules.PAST_PACK * charged else "charged"
    words = f"{what} / {used}{' (default)' if efficiency is None else ''}"
    bounds = _grid_bounds(day, past)
    return _bought((charged + past) / used, day["charged_pct"], ESTIMATED, words, *bounds)


def _bought(
    kwh: float | None, pct: float | None, method: str, note: str | None, low: float | None = None,
    high: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    told = {"kwh": kwh, "pct": pct, "method": method, "note": note, "low": low, "high": high}
    return {f"grid_{name}": part for name, part in told.items()}


def _past(day: Day) -> float:
    """What went past the battery at the plug: by the charger's output, else by the loads that tell of themselves."""
    output = first(day["charger_output_energy_kwh"], day["charger_output_power_kw_sum"])
    by_output = within(_minus(output, day["charged_kwh"]), 0.0, float("inf"))
    return first(by_output, day["past_pack_kwh"]) or 0.0


def _grid_bounds(day: Day, past: float) -> tuple[float | None, float | None]:
    """The bounds of charged energy, and of a charger whose efficiency nobody declared."""
    efficiency, (least, most) = day["charger_efficiency"], rules.CHARGER_EFFICIENCIES
    bounds = []
    for end, edge in (("low", most), ("high", least)):
        charged = day[f"charged_{end}"]
        if efficiency is None:
            charged = first(charged, day["charged_kwh"])
        bounds.append(None if charged is None else (charged + past) / (edge if efficiency is None else efficiency))
    return bounds[0], bounds[1]


# --- figures --------------------------------------------------------------------------------------


def activity(day: Day) -> float | None:
    """What an energy figure should have covered: km, or key-on hours of equipment and of what does not count km."""
    hours = day["category"] == "equipment" or day["distance_km"] is None
    return day["on_h"] if hours else day["distance_km"]  # type: ignore[no-any-return]


def _one_way(day: Day, counter: str, integral: str) -> Figure:
    """Gross discharge or regeneration: the counter, else the power integral, else what the counter told of a part."""
    by_counter = day[counter] is not None and (scalable(day[COVERAGE[COUNTER]]) or day[integral] is None)
    value, pct = (day[counter], day[COVERAGE[COUNTER]]) if by_counter else (day[integral], day[COVERAGE[INTEGRAL]])
    return scaled_figure(value, pct, activity(day), "counter" if by_counter else "power integral")


def _propulsion(day: Day) -> Figure:
    """A vessel's energy without its hotel loads: as well covered as the worse of both."""
    pct, hotel_pct, energy_kwh = day["energy_pct"], day["hotel_power_kw_pct"], day["energy_kwh"]
    hotel_kwh = scaled(day["hotel_power_kw_sum"], hotel_pct)
    covered = day["category"] == "vessel" and scalable(pct) and scalable(hotel_pct)
    value = _minus(energy_kwh, hotel_kwh) if covered else None
    worse = min(known for known in (pct, hotel_pct) if known is not None)
    method = day["energy_method"] if full(worse) else ESTIMATED
    return Figure(value, worse, activity(day), method, day["energy_note"] if value is not None else None)


def _idle_pct(day: Day) -> float | None:
    standing_h = day["standing_h"]
    return within(day["idle_power_s"] / 36 / standing_h, 0.0, 100.0) if standing_h else None


def figures(day: Day) -> Figures:
    """Figures of a day that has passed `with_distance` and `with_energy`."""
    weight, energy_kwh = activity(day), day["energy_kwh"]
    return {
        "energy_used_kwh": Figure(
            energy_kwh, None if energy_kwh is None else day["energy_pct"], weight, day["energy_method"],
            day["energy_note"], day["energy_low"], day["energy_high"],
        ),
        "energy_discharged_kwh": _one_way(day, "energy_discharged_kwh", "drawn_kwh"),
        "energy_regenerated_kwh": _one_way(day, "energy_regenerated_kwh", "returned_kwh"),
        **{
            slug: Figure(weight=weight, value=day[f"{name}_kwh"], coverage_pct=day[f"{name}_pct"],
                         method=day[f"{name}_method"], note=day[f"{name}_note"], low=day[f"{name}_low"],
                         high=day[f"{name}_high"])
            for slug, name in (("energy_charged_kwh", "charged"), ("grid_energy_kwh", "grid"))
        },
        "auxiliary_energy_kwh": scaled_figure(day["auxiliary_power_kw_sum"], day["auxiliary_power_kw_pct"], weight),
        "hotel_energy_kwh": scaled_figure(day["hotel_power_kw_sum"], day["hotel_power_kw_pct"], weight),
        "propulsion_energy_kwh": _propulsion(day),
        "idle_energy_kwh": scaled_figure(day["idle_kwh"], _idle_pct(day), weight),
        **{
            f"energy_used_by_{m}_kwh": Figure(
                day[f"used_by_{m}"], day[pct], weight, ESTIMATED if m == CHARGE else MEASURED
            )
            for m, pct in COVERAGE.items()
        },
    }  # fmt: skip
