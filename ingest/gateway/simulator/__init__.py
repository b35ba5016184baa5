"""A physical, seeded simulation of pilot fleets that knows its ground truth.

`simulate` yields each gateway's rows, `truth` what truly happened, `uploads` cuts logs into bodies for the receiver.
"""

from ingest.gateway.simulator.demo import DEMO_FLEET, DEMO_INCIDENTS
from ingest.gateway.simulator.fleet import Fleet, PilotSpec, VehicleSpec
from ingest.gateway.simulator.incidents import Incidents
from ingest.gateway.simulator.simulate import DEFAULT_SEED, VehicleLog, simulate, truth
from ingest.gateway.simulator.truth import DayTruth, SessionTruth, TripTruth, Truth, as_frames
from ingest.gateway.simulator.uploads import Phase, PhasedUpload, uploads

__all__ = [
    "DEFAULT_SEED",
    "DEMO_FLEET",
    "DEMO_INCIDENTS",
    "DayTruth",
    "Fleet",
    "Incidents",
    "Phase",
    "PhasedUpload",
    "PilotSpec",
    "SessionTruth",
    "TripTruth",
    "Truth",
    "VehicleLog",
    "VehicleSpec",
    "as_frames",
    "simulate",
    "truth",
    "uploads",
]
