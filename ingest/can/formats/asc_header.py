"""What the lines before the events of a Vector ASC log say: base, kind of times, start."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from ingest.can.formats.text import Lines

HEADER_LINES = 1000
SAME_START = dt.timedelta(seconds=1)
START_US = 1_000_000

_BASE = re.compile(rb"^\s*base\s+(hex|dec)\b(?:\s+timestamps\s+(absolute|relative))?", re.IGNORECASE)
_DATE = re.compile(rb"^\s*date\s+(.+)$", re.IGNORECASE)
_BEGIN = re.compile(rb"^\s*begin\s+triggerblock\s+(.+)$", re.IGNORECASE)
_EVENT = re.compile(rb"^\s*(\d{1,12})(?:\.\d*)?\s")

_LIKE_HEADER = re.compile(
    rb"^(?:\xef\xbb\xbf)?[ \t]*base[ \t]+(?:hex|dec)[ \t]+timestamps[ \t]+(?:absolute|relative)\b",
    re.MULTILINE | re.IGNORECASE,
)
_LIKE_FRAME = re.compile(
    rb"^[ \t]*\d{1,12}\.\d{1,9}[ \t]+(?:\d{1,3}[ \t]+\w{1,64}[ \t]+(?:Rx|Tx|TxRq)[ \t]+[dr][ \t]+[0-9A-Fa-f]{1,2}\s"
    rb"|CANFD[ \t]+\d{1,3}[ \t]+(?:Rx|Tx)[ \t])",
    re.MULTILINE,
)

_CLOCK = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2}):(?P<second>\d{2})(?:[.,:](?P<fraction>\d{1,9}))?(?:\s*(?P<half>[ap])\.?m\.?)?"
)
_DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<month>[^\W\d]{{3,9}})\.?\s+(?P<day>\d{{1,2}})[.,]?\s+{_CLOCK}\s+(?P<year>\d{{4}})\b",
        rf"(?P<day>\d{{1,2}})\.?\s+(?P<month>[^\W\d]{{3,9}})\.?\s+{_CLOCK}\s+(?P<year>\d{{4}})\b",
        rf"(?P<day>\d{{1,2}})\.(?P<month>\d{{1,2}})\.(?P<year>\d{{4}})\s+{_CLOCK}",
        rf"(?P<year>\d{{4}})-(?P<month>\d{{1,2}})-(?P<day>\d{{1,2}})[T\s]+{_CLOCK}",
    )
)
_MONTHS = {
    name: number
    for number, names in enumerate(
        ("jan", "feb", "mar mär mrz maerz", "apr", "may mai", "jun", "jul", "aug", "sep", "oct okt", "nov", "dec dez"),
        1,
    )
    for name in names.split()
}


@dataclass(frozen=True, slots=True)
class Head:
    """`base`: of ids and data, 16 or 10. `relative`: times count from the event before. `start`: wall-clock time."""

    base: int = 16
    relative: bool = False
    start: dt.datetime | None = None


def recognises(head: bytes) -> bool:
    """Whether a file that begins like this is an ASC log."""
    return bool(_LIKE_HEADER.search(head) or _LIKE_FRAME.search(head))


def head_of(lines: Lines) -> Head:
    """What the lines before the first event say.

    The date of the file is when the measurement began. Some writers put another one there, and what times count from
    at the first trigger block: that one is taken when the block's first event is at its very beginning.
    """
    base, relative, date, block, first_us = 16, False, None, None, 0
    for n in range(min(len(lines), HEADER_LINES)):
        line = lines.line(n)
        if event := _EVENT.match(line):
            first_us = int(event[1]) * 1_000_000
            break
        if found := _BASE.match(line):
            base, relative = (10 if found[1].lower() == b"dec" else 16), (found[2] or b"").lower() == b"relative"
        elif (found := _DATE.match(line)) and date is None:
            date = date_of(found[1])
        elif block is None:
            block = block_start(line)
    return Head(base, relative, _start(date, block, first_us))


def _start(date: dt.datetime | None, block: dt.datetime | None, first_us: int) -> dt.datetime | None:
    if date is None or block is None:
        return date or block
    other = first_us < START_US and abs(block - date) > SAME_START
    return block if other else date


def block_start(line: bytes) -> dt.datetime | None:
    """The time in a line `Begin Triggerblock Fri Jan 5 10:00:00.123 am 2026`, if it is one."""
    found = _BEGIN.match(line)
    return date_of(found[1]) if found else None


def date_of(text: bytes) -> dt.datetime | None:
    """A date in English or German, with or without milliseconds, of twelve or twenty-four hours."""
    try:
        written = text.decode("utf-8")
    except UnicodeDecodeError:
        written = text.decode("latin-1")
    for pattern in _DATES:
        if found := pattern.search(written):
            return _date(found)
    return None


def _date(found: re.Match[str]) -> dt.datetime | None:
    name = found["month"].lower()
    month = int(name) if name.isdigit() else _MONTHS.get(name[:3], 0)
    hour = int(found["hour"])
    if found["half"]:
        hour = hour % 12 + (12 if found["half"].lower() == "p" else 0)
    micros = int((found["fraction"] or "0")[:6].ljust(6, "0"))
    try:
        return dt.datetime(  # noqa: DTZ001 - a wall-clock time without a zone
            int(found["year"]), month, int(found["day"]), hour, int(found["minute"]), int(found["second"]), micros
        )
    except ValueError:
        return None
