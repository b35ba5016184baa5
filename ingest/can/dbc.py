"""DBC files to message specs. cantools reads them; tolerable faults are left out with a warning."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ingest.can.frames import EXTENDED
from ingest.can.specs import MessageSpec, Selector, SignalSpec
from schemas.errors import BeachheadError
from schemas.signals import Aggregate

if TYPE_CHECKING:
    from cantools.database import Message
    from cantools.database.can import Database, Signal

MOST_REPAIRS = 50
STANDARD_MOST, EXTENDED_MOST = 0x7FF, 0x1FFFFFFF
STATE_BITS = 2
ANY_SOURCE = 0xFE
NO_MESSAGE = 0xC0000000
"""The id under which editors keep signals of no message."""
MOST_WHOLE = 2.0**64
MOST_BITS, FLOAT_BITS = 64, (16, 32, 64)
_AT_LINE = re.compile(r"line (\d+)")
_SYMBOL = re.compile(r"^\s*(?:[A-Z_]+_|FILTER)\s*$")
_BO = re.compile(r"^\s*BO_\s+(\d+)\s")
_SG = re.compile(r"^\s*SG_\s+(\w+)")
_REFERENCE = re.compile(
    r'^\s*(?:VAL_|SIG_VALTYPE_|SG_MUL_VAL_|SIG_GROUP_|CM_\s+(?:SG_|BO_)|BA_\s+"[^"]*"\s+(?:SG_|BO_))\s+(\d+)(?:\s+(\w+))?'
)
_OF_SIGNAL = re.compile(r'^\s*(?:VAL_|SIG_VALTYPE_|SG_MUL_VAL_|CM_\s+SG_|BA_\s+"[^"]*"\s+SG_)\s')


class DbcError(BeachheadError):
    """A DBC file cannot be used; the message names the line."""


@dataclass(frozen=True, slots=True)
class Dbc:
    """The messages of a DBC file. `sha256` is of its content; `warnings` tell what was left out or mended."""

    name: str
    sha256: str
    messages: tuple[MessageSpec, ...]
    warnings: tuple[str, ...]


def read_dbc(content: bytes, name: str) -> Dbc:
    """Read a DBC file.

    Raises:
        DbcError: it has no message, or a fault that cannot be left out.
    """
    lines = _text(content).splitlines()
    warnings: list[str] = []
    _end_namespace(lines, warnings)
    _mend_ids(lines, warnings)
    _drop_dangling(lines, warnings)
    database = _load(lines, warnings)
    j1939 = database.dbc is not None and _attribute(database.dbc.attributes, "ProtocolType") == "J1939"
    read = [_decodable(_message(message, j1939=j1939), lines, warnings) for message in database.messages]
    messages = tuple(message for message in read if message.signals)
    if not messages:
        raise DbcError(f"{name}: line 1: no message with signals is in it")
    return Dbc(name, hashlib.sha256(content).hexdigest(), messages, tuple(warnings))


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _end_namespace(lines: list[str], warnings: list[str]) -> None:
    """End the list of new symbols by the section that follows it: where it is missing, the list is read too far."""
    if any(line.strip().replace(" ", "").startswith("BS_:") for line in lines):
        return
    for number, line in enumerate(lines):
        if line.strip().replace(" ", "").startswith("NS_:"):
            after = number + 1
            while after < len(lines) and (not lines[after].strip() or _SYMBOL.match(lines[after])):
                after += 1
            lines[after - 1] += " BS_:"
            warnings.append(f"line {after}: BS_: is missing: the list of new symbols was ended here")
            return


def _mend_ids(lines: list[str], warnings: list[str]) -> None:
    """Set the extended-frame bit of 29-bit ids that lack it, where they are defined and where they are named."""
    short = {int(found[1]) for line in lines if (found := _BO.match(line)) and _lacks_bit(int(found[1]))}
    if not short:
        return
    pattern = re.compile(r'^(\s*(?:\w+|BA_\s+"[^"]*"|CM_)\s+(?:(?:SG_|BO_)\s+)?)(\d+)\b')
    for number, line in enumerate(lines, start=1):
        found = pattern.match(line)
        if found and int(found[2]) in short:
            lines[number - 1] = f"{found[1]}{int(found[2]) | int(EXTENDED)}{line[found.end() :]}"
            if _BO.match(line):
                warnings.append(f"line {number}: id {found[2]} has 29 bits: its extended-frame bit was set")


def _lacks_bit(can_id: int) -> bool:
    return STANDARD_MOST < can_id <= EXTENDED_MOST


def _drop_dangling(lines: list[str], warnings: list[str]) -> None:
    """Leave out what is said of messages and signals that do not exist."""
    known: dict[int, set[str]] = {}
    current: int | None = None
    for line in lines:
        if found := _BO.match(line):
            current = int(found[1])
            known.setdefault(current, set())
        elif current is not None and (found := _SG.match(line)):
            known[current].add(found[1])
    known.pop(NO_MESSAGE, None)
    for number, line in enumerate(lines, start=1):
        reason = _dangling(line, known)
        if reason:
            _drop(lines, number, warnings, reason)


def _dangling(line: str, known: dict[int, set[str]]) -> str | None:
    found = _REFERENCE.match(line)
    if not found:
        return None
    message, signal = int(found[1]), found[2]
    if message not in known:
        return f"message {message} does not exist"
    if _OF_SIGNAL.match(line) and signal is not None and signal not in known[message]:
        return f"signal {signal} of message {message} does not exist"
    return None


def _drop(lines: list[str], number: int, warnings: list[str], reason: str) -> None:
    """Blank a statement: its line, and those after it while a quote is open."""
    warnings.append(f"line {number}: left out: {reason}")
    quotes = 0
    for at in range(number - 1, len(lines)):
        quotes += lines[at].count('"')
        lines[at] = ""
        if quotes % 2 == 0:
            return


def _load(lines: list[str], warnings: list[str]) -> Database:
    # Here, since it takes as long to import as all else of a receiver together, which may never see a DBC file.
    import cantools
    from cantools.database.can import Database
    from cantools.database.errors import UnsupportedDatabaseFormatError

    for _ in range(MOST_REPAIRS):
        try:
            database = cantools.database.load_string("\n".join(lines) + "\n", database_format="dbc", strict=False)
        except UnsupportedDatabaseFormatError as error:
            _repair(lines, warnings, str(error))
        except (cantools.Error, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise DbcError(f"line {_line_of(lines, str(error))}: {error}") from None
        else:
            if isinstance(database, Database):
                return database
            raise DbcError("line 1: this is a diagnostics database")
    raise DbcError(f"{warnings[-1]}: more than {MOST_REPAIRS} faults")


def _repair(lines: list[str], warnings: list[str], reason: str) -> None:
    """Leave out the statement at fault; a message's own line cannot be."""
    found = _AT_LINE.search(reason)
    if not found:
        raise DbcError(f"line {_line_of(lines, reason)}: {reason}")
    number = int(found[1])
    number = min(number, len(lines))
    while number > 1 and not lines[number - 1].strip():
        number -= 1
    if number == 0:
        raise DbcError("line 1: the file is empty")
    if re.match(r"\s*BO_\b", lines[number - 1]) or not lines[number - 1].strip():
        raise DbcError(f"line {number}: {lines[number - 1].strip()[:80] or reason}: {reason}")
    _drop(lines, number, warnings, reason.partition(": ")[2] or reason)


def _line_of(lines: list[str], reason: str) -> int:
    """The line of the message and signal that the complaint is of, else of what it quotes."""
    message, signal = re.search(r"\bmessage (\w+)", reason), re.search(r"\bsignal (\w+)", reason)
    at = _first(lines, rf"\s*BO_\s+\d+\s+{message[1]}\b") if message else 0
    if signal:
        at = _first(lines, rf"\s*SG_\s+{signal[1]}\b", at) or at
    for quoted in re.findall(r"'([^']+)'", reason):
        at = at or _first(lines, rf".*{re.escape(quoted)}")
    return at or 1


def _first(lines: list[str], pattern: str, after: int = 0) -> int:
    """The number of the first line after this one that begins so; 0: none."""
    return next((n for n, line in enumerate(lines[after:], start=after + 1) if re.match(pattern, line)), 0)


def _decodable(message: MessageSpec, lines: list[str], warnings: list[str]) -> MessageSpec:
    """The message without the signals that cannot be decoded."""
    by_name = {signal.name: signal for signal in message.signals}
    kept = []
    for signal in message.signals:
        reason = _fault(signal, by_name)
        if reason is None:
            kept.append(signal)
            continue
        begin = _first(lines, rf"\s*BO_\s+{message.can_id}\b")
        number = _first(lines, rf"\s*SG_\s+{signal.name}\b", begin) or begin
        warnings.append(f"line {number}: left out: signal {signal.name} of message {message.name}: {reason}")
    return replace(message, signals=tuple(kept))


def _fault(signal: SignalSpec, by_name: dict[str, SignalSpec]) -> str | None:
    """Why the signal, or a multiplexer that it hangs on, cannot be decoded."""
    if not math.isfinite(signal.scale) or not math.isfinite(signal.offset):
        return "its factor or offset is no number"
    seen: set[str] = set()
    at: SignalSpec | None = signal
    while at is not None:
        if at.bits > MOST_BITS:
            return f"{at.name} has {at.bits} bits"
        if at.start_bit < 0:
            return f"{at.name} begins at bit {at.start_bit}"
        if at.floating and at.bits not in FLOAT_BITS:
            return f"{at.name} is a floating-point number of {at.bits} bits"
        seen.add(at.name)
        if at.selector is None:
            return None
        if at.selector.name in seen:
            return f"its multiplexer {at.selector.name} hangs on itself"
        at = by_name.get(at.selector.name)
    return "its multiplexer does not exist"


def _attribute(attributes: object, name: str) -> object:
    found = attributes.get(name) if hasattr(attributes, "get") else None
    return getattr(found, "value", None)


def _message(message: Message, *, j1939: bool) -> MessageSpec:
    can_id = message.frame_id | (int(EXTENDED) if message.is_extended_frame else 0)
    signals = {signal.name: _signal(signal) for signal in message.signals}
    return MessageSpec(message.name, can_id, message.length, tuple(signals.values()), _by_pgn(message, j1939=j1939))


def _by_pgn(message: Message, *, j1939: bool) -> bool:
    """Whether a message is matched by its parameter group."""
    if not message.is_extended_frame:
        return False
    attributes = message.dbc.attributes if message.dbc is not None else {}
    frame_format = str(getattr(message, "protocol", None) or _attribute(attributes, "VFrameFormat") or "")
    if frame_format in {"ExtendedCAN", "1"}:
        return False
    return j1939 or frame_format in {"j1939", "J1939PG", "3"} or message.frame_id & 0xFF == ANY_SOURCE


def _signal(signal: Signal) -> SignalSpec:
    scale, offset = _bounded(signal.conversion.scale), _bounded(signal.conversion.offset)
    if not signal.conversion.is_float and _is_whole(scale) and _is_whole(offset):
        scale, offset = int(scale), int(offset)
    selector = None
    if signal.multiplexer_ids:
        selector = Selector(signal.multiplexer_signal or "", tuple(_ranges(signal.multiplexer_ids)))
    return SignalSpec(
        signal.name,
        signal.start,
        signal.length,
        big_endian=signal.byte_order == "big_endian",
        signed=signal.is_signed,
        floating=signal.conversion.is_float,
        scale=scale,
        offset=offset,
        unit=signal.unit or "",
        aggregate=_aggregate(signal),
        selector=selector,
        spn=signal.spn or None,
    )


def _bounded(number: float) -> float:
    """The number, as a floating-point one if it is too large to reckon with as a whole one."""
    try:
        return number if abs(number) < MOST_WHOLE else float(number)
    except OverflowError:
        return math.inf


def _is_whole(number: float) -> bool:
    return abs(number) < MOST_WHOLE and float(number).is_integer()


def _ranges(values: list[int]) -> Iterator[tuple[int, int]]:
    """Ascending whole numbers as runs."""
    ordered = sorted(set(values))
    first = last = ordered[0]
    for value in ordered[1:]:
        if value != last + 1:
            yield first, last
            first = value
        last = value
    yield first, last


_IS_STATE: tuple[Callable[[Signal], bool], ...] = (
    lambda signal: bool(signal.choices),
    lambda signal: signal.is_multiplexer,
    lambda signal: signal.length <= STATE_BITS,
    lambda signal: not signal.unit and not signal.conversion.is_float
    and (signal.conversion.scale, signal.conversion.offset) == (1, 0),
)  # fmt: skip


def _aggregate(signal: Signal) -> Aggregate:
    return Aggregate.LAST if any(is_state(signal) for is_state in _IS_STATE) else Aggregate.MEAN
