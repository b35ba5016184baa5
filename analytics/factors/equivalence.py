"""Arithmetic of credit programmes and of planning. None of it enters a figure: those rest on what was measured.

An energy economy ratio (EER) says how many times less energy an electric vehicle uses than the one it displaces. It
makes avoided emissions grow with the electricity used, so it is for a programme's credits alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from schemas.units import MJ_PER_KWH

BTU_PER_KWH = 3412.142
GRAMS_PER_TONNE = 1e6

EER: Mapping[str, float] = MappingProxyType(
    {"electric-truck-or-bus": 5.0, "electric-car": 3.4, "gas-spark-ignition": 0.9, "gas-compression-ignition": 1.0}
)
"""17 CCR 95486.1, Table 5 (Register 2024 No. 38). Ratios that were only recalled are left out."""


def programme_credit_t(energy_kwh: float, eer: float, standard_g_per_mj: float, supplied_g_per_mj: float) -> float:
    """Credits of a low-carbon fuel standard, t CO2e: (standard x EER - supplied) x energy. 17 CCR 95486.1.

    The standard falls from year to year and is not what the displaced vehicle emitted.
    """
    return (standard_g_per_mj * eer - supplied_g_per_mj) * energy_kwh * MJ_PER_KWH / GRAMS_PER_TONNE


def displaced_by_eer(energy_kwh: float, eer: float, mj_per_amount: float) -> float:
    """Fuel that a programme counts as displaced, in the amount (gallon, litre) that holds `mj_per_amount`."""
    return energy_kwh * MJ_PER_KWH * eer / mj_per_amount


def electricity_for_fuel_kwh(
    amount: float, btu_per_amount: float, engine_efficiency: float, charger_efficiency: float
) -> float:
    """Electricity (AC) for the work that an amount of fuel did: fuel energy x engine / charger efficiency."""
    return amount * btu_per_amount * engine_efficiency / (charger_efficiency * BTU_PER_KWH)
