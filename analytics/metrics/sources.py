"""Where the definitions of metrics come from, named once; what nobody has published is called own."""

from __future__ import annotations

OWN = "own definition"
OWN_ORDER = "own order of methods"
OWN_RATIO = f"{OWN}: a ratio of sums"
OWN_STATES = "own model of states: the first that holds"

BUSES = "NREL and FTA bus evaluations (NREL/TP-5400-67698, FTA Report 0118)"
AVAILABILITY = f"form of the {BUSES}; own limits and bounds"
ROADCALLS = (
    "NREL evaluations of Foothill Transit's buses; own interval. FTA's own measure counts NTD major mechanical"
    " failures alone"
)

ODOMETER = "SAE J1939 SPN 917"
FUEL_COUNTER, FUEL_RATE = "SAE J1939 SPN 250", "SAE J1939 SPN 183"
STOP_LAMP = "SAE J1939 DM1 (SPN 623)"
POWER_INTEGRAL = "trapezoidal integral of net power as in the ZTBus data set"
SPEED_INTEGRAL = "trapezoidal integral of speed as in the ZTBus data set"

DIESEL_ENERGY = f"{BUSES}: diesel of 128,450 Btu per gallon, lower heating value (GREET)"
HYDROGEN_ENERGY = "Hydrogen Analysis Resource Center, Energy equivalency of fuels: lower heating values (GREET)"
GAS_ENERGY = "AFDC, Gasoline and diesel gallon equivalency methodology: lower heating values"
CHARGING_LOSS = "10 % charging loss of NREL/TP-5400-67698"

PAIRING = "own pairing of boundaries; each figure names its factors"
TAILPIPE_VS_GENERATION = f"{PAIRING} (US: EPA GHG Emission Factors Hub and eGRID, whose line loss divides)"
WELL_TO_WHEEL = f"{PAIRING} (EU diesel: Directive (EU) 2018/2001, Annex V; electricity: Ember)"
CONSERVATIVE = f"{PAIRING}; a lower bound"
BIOGENIC = "EPA GHG Emission Factors Hub, which tells biogenic CO2 apart"
LIMITS = "own screening by certification limits; each figure names its limits (US: EPA, 40 CFR 1036.104)"
BY_THE_HOUR = f"{OWN}; energy of an interval meets the factor of that interval, as in WattTime's documentation"
MEASURED_SHARE = f"{OWN}: measured, in place of the utility factor of SAE J2841"
