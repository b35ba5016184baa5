"""What an operator puts right: an upload taken back, loaded again, its clock shifted; logs decoded anew.

Each correction is one transaction: it is done wholly or not at all, and doing it again changes nothing. The days that
it touches are stale afterwards.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import psycopg
import sqlalchemy as sa

from ingest import ledger
from ingest.checks.scales import Scale
from ingest.definitions import setup_of
from ingest.landing import landing_of
from ingest.ledger import KeptUpload
from ingest.rebuild import Rebuild, Where
from schemas import database
from schemas.errors import CorrectionError
from schemas.settings import Settings

LOGS_AT_ONCE = 20
"""Their vehicle's uploads wait meanwhile."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """Corrections on one database."""

    engine: sa.Engine
    settings: Settings

    def void(self, upload_id: uuid.UUID, reason: str | None) -> None:
        """Take an upload back: what is stored is as if it had never come. Its bytes stay.

        Raises:
            NotFoundError: there is no such upload.
            ExpiredError: the bytes of another one that touches its time are not kept any more.
        """
        with self._rebuild() as rebuild:
            upload = ledger.kept_upload(rebuild.db, upload_id)
            where = ledger.spans_of(rebuild.db, upload) if upload.status == "loaded" else {}
            ledger.set_status(rebuild.db, upload_id, "void", reason or "taken back")
            ledger.drop_conflicts(rebuild.db, [upload_id], where)
            rebuild.run(where, [], "void")

    def retry(self, upload_id: uuid.UUID) -> None:
        """Load an upload again, in its old place in the order of acceptance.

        Raises:
            NotFoundError: there is no such upload.
            ExpiredError: its bytes, or those of another one that touches its time, are not kept any more.
            CorrectionError: the same bytes were loaded as another upload.
            NothingUsableError: nothing in it can be used now either.
        """
        with self._rebuild() as rebuild:
            self._again(rebuild, ledger.kept_upload(rebuild.db, upload_id), "retry")

    def shift(self, upload_id: uuid.UUID, shift_s: float) -> None:
        """Load an upload with `shift_s` added to every time as it was sent. Raises what `retry` raises."""
        self.put_right(upload_id, shift_s=shift_s)

    def put_right(
        self, upload_id: uuid.UUID, *, shift_s: float | None = None, scales: Mapping[str, Scale] | None = None
    ) -> None:
        """Load an upload with its times shifted, its fields put into their unit, or both.

        What is said of a field takes the place of what was said before; a factor of 1 lets it be as it was sent.

        Raises:
            CorrectionError: no row has a field of that name, or the upload is a CAN log and not of rows.
            NotFoundError: and all that `retry` raises.
        """
        with self._rebuild() as rebuild:
            upload = ledger.kept_upload(rebuild.db, upload_id)
            cause = "shift" if scales is None else "scale"
            if scales and upload.kind == "can-log":
                raise CorrectionError("a CAN log's signals are scaled by their definition: `beachhead dbc`")
            self._again(rebuild, upload, cause, shift_s, scales)

    def _again(
        self, rebuild: Rebuild, upload: KeptUpload, cause: str, shift_s: float | None = None,
        scales: Mapping[str, Scale] | None = None,
    ) -> None:  # fmt: skip
        ledger.require_bytes([upload])
        other = ledger.loaded_twin(rebuild.db, upload)
        if other is not None:
            raise CorrectionError(f"the same bytes were loaded as upload {other} already: nothing was changed")
        before = ledger.spans_of(rebuild.db, upload) if upload.status == "loaded" else {}
        if shift_s is not None:
            ledger.set_shift(rebuild.db, upload.id, shift_s)
        if scales is not None:
            both = {**upload.units(), **scales}
            ledger.set_scales(rebuild.db, upload.id, {name: one for name, one in both.items() if not one.is_nothing})
        ledger.set_status(rebuild.db, upload.id, "loaded", None)
        after = rebuild.reach(ledger.kept_upload(rebuild.db, upload.id))
        rebuild.run(_together(before, after), [upload.id], cause)

    def outdated_logs(self, vehicle_id: int, *, every: bool = False) -> list[uuid.UUID]:
        """A vehicle's logs that were decoded by other definitions than it has now, or all of them; by their times."""
        with self._transaction() as db:
            now = None if every else setup_of(db, vehicle_id).sha256
            return ledger.logs_decoded_otherwise(db, vehicle_id, now)

    def redecode(self, upload_ids: Sequence[uuid.UUID]) -> Iterator[int]:
        """Decode logs anew by the definitions that hold now, some at a time; yields how many are done.

        Raises:
            NotFoundError: there is no such upload.
            CorrectionError: it is no loaded CAN log, or bytes that are needed are not kept any more.
        """
        done = 0
        for first in range(0, len(upload_ids), LOGS_AT_ONCE):
            some = upload_ids[first : first + LOGS_AT_ONCE]
            with self._rebuild() as rebuild:
                where: Where = {}
                for upload_id in some:
                    upload = ledger.kept_upload(rebuild.db, upload_id)
                    if upload.kind != "can-log" or upload.status != "loaded":
                        raise CorrectionError(f"upload {upload_id} is no CAN log that is loaded")
                    ledger.require_bytes([upload])
                    where = _together(where, ledger.spans_of(rebuild.db, upload))
                    where = _together(where, rebuild.reach(upload))
                rebuild.run(where, some, "redecode")
            done += len(some)
            yield done

    @contextmanager
    def _rebuild(self) -> Iterator[Rebuild]:
        with self._transaction() as db:
            rebuild = Rebuild(db, landing_of(self.settings), self.settings)
            yield rebuild
        for key in rebuild.obsolete:
            rebuild.landing.forget(key)

    def _transaction(self) -> AbstractContextManager[psycopg.Connection]:
        return database.psycopg_transaction(self.engine)


def _together(one: Where, other: Where) -> Where:
    return {vehicle: [*one.get(vehicle, []), *other.get(vehicle, [])] for vehicle in one.keys() | other.keys()}
