"""Formats of CAN logs. A new one is a module with `recognises` and `read`, and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import BinaryIO

from ingest.can.formats.log import Log
from schemas.errors import UnknownFormatError

HEAD_BYTES = 64 * 2**10

FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "mdf4": "ingest.can.formats.mdf4",
        "blf": "ingest.can.formats.blf",
        "asc": "ingest.can.formats.asc",
        "trc": "ingest.can.formats.trc",
        "busmaster": "ingest.can.formats.busmaster",
        "crtd": "ingest.can.formats.crtd",
        "gvret": "ingest.can.formats.gvret",
        "candump": "ingest.can.formats.candump",
    }
)
"""Modules by the name of their format, in the order in which content is tried.

Each has `recognises(head: bytes) -> bool`, told the first bytes of a file, and `read(file: BinaryIO) -> Log`, given a
seekable file without compression; `read` raises MalformedBodyError when the file as a whole cannot be of the format.
"""


def recognise(head: bytes) -> str:
    """The name of the format whose files begin like this.

    Raises:
        UnknownFormatError: none does.
    """
    for name, module in FORMATS.items():
        if import_module(module).recognises(head[:HEAD_BYTES]):
            return name
    raise UnknownFormatError(f"not a CAN log of a known format ({', '.join(FORMATS)}); `format=` can name it")


def read_log(file: BinaryIO, name: str) -> Log:
    """Open a log.

    Raises:
        UnknownFormatError: no format has this name.
        MalformedBodyError: the file is not of this format.
    """
    if name not in FORMATS:
        raise UnknownFormatError(f"format={name}: must be one of {', '.join(FORMATS)}")
    file.seek(0)
    log: Log = import_module(FORMATS[name]).read(file)
    return log
