"""The error tree. Domain errors carry no HTTP; `ingest.problems` and `analytics.api` map them.

BeachheadError
├── LocalServerError        a TimescaleDB of the checkout's own cannot be had; the message says what to do
├── SettingsError           a setting is missing or wrong
├── RegistryError           a programme or records file has faults, each with line and field
├── UnusableUploadError     nothing in an upload can be used
│   ├── MalformedBodyError      the bytes are not what they claim to be
│   ├── UnknownFormatError      no decoder for the content type
│   ├── BodyTooLargeError       more bytes or rows than the limit
│   ├── StalledBodyError        the body stopped coming
│   └── NothingUsableError      every row was rejected; carries them
├── NotAllowedError         a key covers none of the vehicles
├── UnknownKeyError         no such gateway key
├── IdempotencyError        the same idempotency key with other bytes
├── NotFoundError           no such pilot, vehicle, upload …
└── UnavailableError        the database cannot be reached now; try again
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


class StalledBodyError(UnusableUploadError):
    """The body stopped coming before it was complete."""


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


class NotAllowedError(BeachheadError):
    """A key covers none of the vehicles it was used for."""

    def __init__(self, sentence: str, rejects: Sequence[RejectedRow] = ()) -> None:
        super().__init__(sentence)
        self.rejects = tuple(rejects)


class UnknownKeyError(BeachheadError):
    """No such gateway key, or it was revoked."""


class IdempotencyError(BeachheadError):
    """The same idempotency key came with other bytes."""


class NotFoundError(BeachheadError):
    """No such pilot, vehicle, upload or region."""


class UnavailableError(BeachheadError):
    """The database cannot be reached now; trying again later may work."""
