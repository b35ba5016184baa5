"""The error tree. Domain errors carry no HTTP; `ingest.problems` and `analytics.api` map them.

BeachheadError
├── LocalServerError        a TimescaleDB of the checkout's own cannot be had; the message says what to do
├── SettingsError           a setting is missing or wrong
├── RegistryError           a programme or records file has faults, each with line and field
├── UnusableUploadError     nothing in an upload can be used
│   ├── MalformedBodyError      the bytes are not what they claim to be
│   ├── UnknownFormatError      no decoder for the content type
│   ├── BodyTooLargeError       more bytes or rows than the limit
│   ├── HeadersTooLargeError    headers of more bytes than the limit
│   ├── StalledBodyError        the body stopped coming, or comes too slowly
│   ├── ChecksumError           the bytes are not those whose sha256 was told
│   │   └── PartChecksumError       of one part, which can be sent again
│   └── NothingUsableError      every row was rejected; carries them
│       └── UnknownClockError       a log counts time from a moment that nobody told
├── NotAllowedError         a key covers none of the vehicles
├── UnknownKeyError         no such gateway key
├── RateLimitError          too much in too short a time; tells when to come back
│   └── KeyAttemptsError        too many keys that are none, from one address
├── IdempotencyError        the same idempotency key with other bytes
├── PartsConflictError      a part or its completion does not fit what came before; tells where to go on
├── PartsLimitError         a gateway has too many unfinished uploads
├── CorrectionError         what was kept does not allow this correction
│   └── ExpiredError            bytes that it needs are not kept any more
├── NotFoundError           no such pilot, vehicle, upload …
└── UnavailableError        the database cannot be reached now; try again
    ├── BusyError               another request is at work on the same upload
    ├── LandingAwayError        the landing store cannot be reached
    ├── OverloadedError         too many uploads at once
    └── StorageFullError        the disk or the landing store is full
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class BeachheadError(Exception):
    """Anything this product raises on purpose. `str(error)` is a sentence for a person."""


class LocalServerError(BeachheadError):
    """A TimescaleDB of the checkout's own cannot be had; the message says what to do."""


class SettingsError(BeachheadError):
    """A setting is missing or wrong."""


@dataclass(frozen=True)
class Fault:
    """One fault in a file: where, which field, why."""

    where: str
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.field}: {self.reason}"


class RegistryError(BeachheadError):
    """A programme or records file has faults."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class UnusableUploadError(BeachheadError):
    """Nothing in an upload can be used."""


class MalformedBodyError(UnusableUploadError):
    """The bytes are not what they claim to be."""


class UnknownFormatError(UnusableUploadError):
    """No decoder for the content type or encoding."""


class BodyTooLargeError(UnusableUploadError):
    """More bytes or rows than the limit allows, also after decompression."""


class HeadersTooLargeError(UnusableUploadError):
    """The headers of a request have more bytes than the limit allows."""


class StalledBodyError(UnusableUploadError):
    """The body stopped coming before it was complete, or came too slowly."""


class ChecksumError(UnusableUploadError):
    """The bytes are not those whose sha256 was told."""


class PartChecksumError(ChecksumError):
    """The bytes of one part changed on their way; it can be sent again."""


@dataclass(frozen=True)
class RejectedRow:
    """A row, or one field of it, that cannot be used; `row` counts from 1."""

    row: int
    field: str | None
    value: str | None
    reason: str


class NothingUsableError(UnusableUploadError):
    """Every row of an upload was rejected."""

    def __init__(self, sentence: str, rejects: Sequence[RejectedRow] = ()) -> None:
        super().__init__(sentence)
        self.rejects = tuple(rejects)


class UnknownClockError(NothingUsableError):
    """A log counts time from a moment that it does not tell, and nobody else did."""


class NotAllowedError(BeachheadError):
    """A key covers none of the vehicles it was used for."""

    def __init__(self, sentence: str, rejects: Sequence[RejectedRow] = ()) -> None:
        super().__init__(sentence)
        self.rejects = tuple(rejects)


class UnknownKeyError(BeachheadError):
    """No such gateway key, or it was revoked."""


class RateLimitError(BeachheadError):
    """Too much in too short a time; it may be done again after `retry_after_s`."""

    def __init__(self, sentence: str, retry_after_s: int) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class KeyAttemptsError(RateLimitError):
    """Too many keys that are none came from one address."""


class IdempotencyError(BeachheadError):
    """The same idempotency key came with other bytes."""


class PartsConflictError(BeachheadError):
    """A part, or the completion of an upload in parts, does not fit what came before.

    `expected_offset` is the number of durable bytes, where the next part begins; null: no part fits.
    """

    def __init__(self, sentence: str, expected_offset: int | None = None) -> None:
        super().__init__(sentence)
        self.expected_offset = expected_offset


class PartsLimitError(BeachheadError):
    """A gateway has too many unfinished uploads, or too large ones."""


class PeriodError(BeachheadError):
    """A period cannot be closed; nothing was changed."""


class CorrectionError(BeachheadError):
    """What was kept does not allow this correction; nothing was changed."""


class ExpiredError(CorrectionError):
    """Bytes of an upload that would be needed are not kept any more; nothing was changed."""


class NotFoundError(BeachheadError):
    """No such pilot, vehicle, upload or region."""


class UnavailableError(BeachheadError):
    """The database cannot be reached now; trying again later may work."""


class BusyError(UnavailableError):
    """Another request is at work on the same upload; its outcome can be asked for later."""


class LandingAwayError(UnavailableError):
    """The landing store cannot be reached or written now. Nothing of the request was kept."""


class OverloadedError(UnavailableError):
    """More uploads are under way than can be at once. Nothing of the request was kept."""


class StorageFullError(UnavailableError):
    """The disk or the landing store is full. Nothing of the request was kept."""
