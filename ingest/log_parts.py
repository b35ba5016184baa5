"""A raw log that came in parts, from its last part to its receipt."""

from __future__ import annotations

from typing import BinaryIO

import structlog

from ingest import answers
from ingest.auth import Caller
from ingest.landing import sha256_of
from ingest.log_receiver import LogQuery, LogReceiver
from ingest.part_files import Finished
from ingest.parts import Limits, Parts
from ingest.receipts import as_duplicate
from schemas.errors import (
    ChecksumError,
    NotFoundError,
    PartsConflictError,
    UnknownClockError,
    UnusableUploadError,
)
from schemas.settings import Settings
from schemas.wire import Receipt

PARTS = "parts"
log = structlog.get_logger()


class LogParts:
    """Takes raw logs in whose parts are all there. Safe to use from several threads at once."""

    def __init__(self, logs: LogReceiver) -> None:
        self._logs = logs
        self.parts = Parts(logs.landing.scratch / PARTS, _limits(logs.receiver.settings))

    def complete(
        self, caller: Caller, name: str, query: LogQuery, sha256: str | None, idempotency_key: str | None
    ) -> Receipt:
        """Take a log in as if it had come in one piece, and again tell the same.

        The parts go when it is loaded or cannot be used; they stay where only the question was wrong.

        Raises:
            ChecksumError: the bytes are not those of `sha256`.
            NotFoundError: there are no parts, and nothing is known of what became of them.
            PartsConflictError: it was completed as something else.
            BusyError: it is being read already.
            and what `LogReceiver.receive` raises.
        """
        gateway_id = caller.scope.gateway_id
        with self.parts.taken(gateway_id, name) as file:
            if file is None:
                return self._repeated(gateway_id, name, query, sha256)
            digest, size_bytes = sha256_of(file)
            _compare(sha256, digest, size_bytes)
            receipt = self._receive(caller, name, file, query, idempotency_key)
            finished = Finished(
                upload_id=receipt.upload_id, sha256=digest, size_bytes=size_bytes, query=query.normalised()
            )
            self._finish(gateway_id, name, finished)
        return receipt

    def _finish(self, gateway_id: int, name: str, finished: Finished) -> None:
        try:
            self.parts.finish(gateway_id, name, finished)
        except OSError as error:
            # It is loaded, and that is what counts. Asked again, the parts that stayed are found to be a duplicate.
            log.warning("can log parts stay", name=name, reason=str(error))

    def _receive(
        self, caller: Caller, name: str, file: BinaryIO, query: LogQuery, idempotency_key: str | None
    ) -> Receipt:
        try:
            return self._logs.receive(caller, file, query, idempotency_key)
        except UnknownClockError:
            raise  # it may have taken hours to send; asked again with start= it can be used
        except UnusableUploadError:
            self.parts.drop(caller.scope.gateway_id, name)
            raise

    def _repeated(self, gateway_id: int, name: str, query: LogQuery, sha256: str | None) -> Receipt:
        finished = self.parts.finished(gateway_id, name)
        if finished is None:
            raise NotFoundError(f"{name}: no part of it is here: begin with offset=0")
        _compare(sha256, finished.sha256, finished.size_bytes)
        if finished.query != query.normalised():
            raise PartsConflictError(
                f"{name} was completed as {finished.query}: DELETE it and send it again to have it read in another way"
            )
        try:
            receipt = answers.receipt_of(self._logs.receiver, gateway_id, finished.upload_id)
        except NotFoundError:
            self.parts.give_up(gateway_id, name)  # a database that was set back: the log can be sent again
            raise
        return receipt if receipt.status == "queued" else as_duplicate(receipt)


def _limits(settings: Settings) -> Limits:
    return Limits(
        settings.max_log_bytes,
        settings.max_unfinished_logs,
        settings.max_unfinished_bytes,
        settings.unfinished_expire_s,
    )


def _compare(wanted: str | None, found: str, size_bytes: int) -> None:
    if wanted is not None and wanted.lower() != found:
        raise ChecksumError(
            f"sha256 of the {size_bytes} bytes that came is {found}: ask without sha256 if they are right,"
            " or DELETE them and send the log again"
        )
