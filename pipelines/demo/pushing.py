"""Simulate the fleet and push its uploads, as its gateways would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from ingest.gateway.bodies import Upload
from ingest.gateway.push import Outcome, push
from ingest.gateway.simulator.demo import DEMO_FLEET
from ingest.gateway.simulator.simulate import VehicleLog, simulate
from ingest.gateway.simulator.uploads import Phase, PhasedUpload, uploads
from schemas.errors import BeachheadError

ON_TIME = (Phase.FIRST, Phase.WRONG_CLOCK)
Share = Callable[[float], None]


class PushError(BeachheadError):
    """The receiver did not take an upload of the demonstration."""


class FleetPush:
    """The fleet's uploads: first those that come in time, then those that come late or twice."""

    def __init__(self, url: str, keys: Mapping[str, str], days: int | None, pilots: tuple[str, ...] | None) -> None:
        """Prepare to push `days` days of `pilots` (default: all) to the receiver at `url`, with a key per gateway."""
        self._url, self._keys, self._days, self._pilots = url, keys, days, pilots
        self._held_back: list[PhasedUpload] = []
        self.tally: Counter[str] = Counter()

    def in_time(self, progress: Share) -> None:
        """Simulate and push what reaches the receiver in time; `progress` is told the share of it done."""
        logs = simulate(days=self._days, pilots=self._pilots)
        self._push(self._without_late(uploads(_counted(logs, self._logs(), progress))))

    def late(self, progress: Share) -> None:
        """Push what was held back, and once more what is sent twice."""
        total = max(len(self._held_back), 1)
        self._push(_told(self._held_back, total, progress))

    def _logs(self) -> int:
        chosen = [pilot for pilot in DEMO_FLEET.pilots if self._pilots is None or pilot.id in self._pilots]
        return len(DEMO_FLEET.dates[: self._days]) * sum(len(pilot.vehicles) for pilot in chosen)

    def _without_late(self, all_uploads: Iterable[PhasedUpload]) -> Iterator[Upload]:
        for upload in all_uploads:
            if upload.phase in ON_TIME:
                yield upload.upload
            else:
                self._held_back.append(upload)

    def _push(self, chosen: Iterable[Upload]) -> None:
        push(chosen, self._url, self._keys, progress=self._note)

    def _note(self, outcome: Outcome) -> None:
        if outcome.receipt is None:
            raise PushError(f"{outcome.label}: {outcome.problem.detail if outcome.problem else 'no answer'}")
        self.tally["uploads"] += 1
        self.tally["repeated uploads"] += outcome.receipt.status == "duplicate"
        if outcome.receipt.status != "duplicate":
            self.tally.update(outcome.receipt.rows.model_dump())


def _counted(logs: Iterable[VehicleLog], total: int, progress: Share) -> Iterator[VehicleLog]:
    for done, log in enumerate(logs):
        progress(done / total)
        yield log


def _told(held_back: Iterable[PhasedUpload], total: int, progress: Share) -> Iterator[Upload]:
    for done, upload in enumerate(held_back):
        progress(done / total)
        yield upload.upload
