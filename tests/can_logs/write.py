"""Writers of text logs, event by event: small captures of every format and variant."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from tests.can_logs.bus import Event, Kind
from tests.can_logs.truck import SECOND_US, T0_US

START = dt.datetime.fromtimestamp(T0_US / SECOND_US, dt.UTC)
FD_CODES = {12: 9, 16: 10, 20: 11, 24: 12, 32: 13, 48: 14, 64: 15}
BRS = 1
REMOTE_BYTES = 4


def _hex(data: bytes, between: str = "") -> str:
    return data.hex(between).upper() if between else data.hex().upper()


def _code(event: Event) -> int:
    return FD_CODES.get(len(event.data), len(event.data))


def _id(event: Event) -> str:
    return f"{event.bare_id:08X}" if event.extended else f"{event.bare_id:03X}"


# --- candump --------------------------------------------------------------------------------------


def candump(events: Iterable[Event]) -> str:
    """What `candump -l` writes."""
    return "".join(f"({_clock(e.time_us)}) can{e.channel} {_candump_rest(e)}\n" for e in events)


def _clock(time_us: int) -> str:
    return f"{time_us // SECOND_US}.{time_us % SECOND_US:06d}"


def _candump_rest(event: Event) -> str:
    if event.kind is Kind.ERROR:
        return f"{0x20000000 | event.bare_id:08X}#{_hex(event.data)}"
    if event.kind is Kind.REMOTE:
        return f"{_id(event)}#R{len(event.data) or ''}"
    return f"{_id(event)}{f'##{BRS}' if event.fd else '#'}{_hex(event.data)}"


def console(events: Iterable[Event]) -> str:
    """What `candump -t a` prints."""
    return "".join(_printed(e, f"{e.time_us // SECOND_US:010d}.{e.time_us % SECOND_US:06d}") for e in events)


def console_deltas(events: Sequence[Event]) -> str:
    """What `candump -t d` prints: times since the line before."""
    times = [0, *(later.time_us - event.time_us for event, later in pairwise(events))]
    lines = [_printed(e, f"{t // SECOND_US:03d}.{t % SECOND_US:06d}") for e, t in zip(events, times, strict=True)]
    return "".join(lines)


def _printed(event: Event, clock: str) -> str:
    rest = " ".join(f"{byte:02X}" for byte in event.data)
    if event.kind is Kind.REMOTE:
        rest = "remote request"
    id_ = f"{0x20000000 | event.bare_id:08X}" if event.kind is Kind.ERROR else _id(event)
    if event.kind is Kind.ERROR:
        rest += "   ERRORFRAME"
    size = f"[{len(event.data):02d}]" if event.fd else f" [{len(event.data)}]"
    return f" ({clock})  can{event.channel}  {id_:>8}  {size}  {rest}".rstrip() + "\n"


# --- Vector ASC -----------------------------------------------------------------------------------


def asc(events: Sequence[Event], *, decimal: bool = False, relative: bool = False) -> str:
    """An ASC log, ids and data in hex or decimal, times since the start or since the event before."""
    date = f"{START:%a %b} {START.day} {START:%I:%M:%S}.000 {START:%p} {START.year}".replace("AM", "am")
    head = (
        f"date {date}\nbase {'dec' if decimal else 'hex'}  timestamps {'relative' if relative else 'absolute'}\n"
        f"internal events logged\n// version 9.0.0\nBegin Triggerblock {date}\n   0.000000 Start of measurement\n"
    )
    before, lines = T0_US, []
    for event in events:
        since = event.time_us - before
        before = event.time_us if relative else before
        lines.append(f"{since // SECOND_US:4d}.{since % SECOND_US:06d} {_asc_rest(event, decimal)}\n")
    return head + "".join(lines) + "End TriggerBlock\n"


def _asc_rest(event: Event, decimal: bool) -> str:
    channel = event.channel + 1
    id_ = (f"{event.bare_id}" if decimal else f"{event.bare_id:X}") + ("x" if event.extended else "")
    data = "".join(f" {byte}" if decimal else f" {byte:02X}" for byte in event.data)
    if event.kind is Kind.ERROR:
        return f"{channel}  ErrorFrame"
    if event.kind is Kind.REMOTE:
        return f"{channel}  {id_:<15} Rx   r"
    if event.fd:
        size = f"{_code(event):x} {len(event.data):2d}"
        return f"CANFD {channel:3d} Rx   {id_:>8}  {'':>32} 1 0 {size}{data}   130000  130     3000 0 0 0 0 0"
    return f"{channel}  {id_:<15} Rx   d {len(event.data):x}{data}  Length = 0 BitCount = 0 ID = {event.bare_id}" + (
        "x" if event.extended else ""
    )


# --- PEAK TRC -------------------------------------------------------------------------------------


def trc(events: Sequence[Event], version: str) -> str:
    """A PEAK trace of version 1.1, 1.3, 2.0 or 2.1."""
    days = (START - dt.datetime(1899, 12, 30, tzinfo=dt.UTC)) / dt.timedelta(days=1)
    head = [f";$FILEVERSION={version}", f";$STARTTIME={days!r}", ";"]
    if version == "2.0":
        head.insert(2, ";$COLUMNS=N,O,T,I,d,l,D")
    if version == "2.1":
        head.insert(2, ";$COLUMNS=N,O,T,B,I,d,R,L,D")
    line = _old_trc if version < "2" else _new_trc
    return "\n".join([*head, *(line(n, event, version) for n, event in enumerate(events, 1))]) + "\n"


def _old_trc(n: int, event: Event, version: str) -> str:
    since_ms = f"{(event.time_us - T0_US) // 100 / 10:.1f}"
    bus = f" {event.channel + 1}" if version == "1.3" else ""
    dash = " - " if version == "1.3" else ""
    kind, data = "Rx", _hex(event.data, " ")
    if event.kind is Kind.REMOTE:
        data = "RTR"
    if event.kind is Kind.ERROR:
        kind = "Error"
    return f"{n:6d}) {since_ms:>11}{bus}  {kind:<5} {_peak_id(event)} {dash} {len(event.data)}    {data}".rstrip()


def _new_trc(n: int, event: Event, version: str) -> str:
    since_us = event.time_us - T0_US
    kind = {Kind.DATA: "FB" if event.fd else "DT", Kind.REMOTE: "RR", Kind.ERROR: "ER"}[event.kind]
    many = version == "2.1"
    bus, dash = (f" {event.channel + 1}", " - ") if many else ("", "")
    size = _code(event) if many else len(event.data)
    data = "" if event.kind is Kind.REMOTE else _hex(event.data, " ")
    clock = f"{since_us // 1000}.{since_us % 1000:03d}"
    return f"{n:7d} {clock:>13} {kind}{bus} {_peak_id(event)} Rx{dash} {size:<2d} {data}".rstrip()


def _peak_id(event: Event) -> str:
    return f"{event.bare_id:08X}" if event.extended else f"    {event.bare_id:04X}"


# --- GVRET, CRTD, BUSMASTER -----------------------------------------------------------------------


def gvret(events: Iterable[Event]) -> str:
    """SavvyCAN's CSV, microseconds since power-up."""
    head = "Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
    lines = (
        f"{e.time_us - T0_US},{e.bare_id:08X},{str(e.extended).lower()},Rx,{e.channel},{len(e.data)}"
        f",{''.join(f'{byte:02X},' for byte in e.data)}\n"
        for e in events
    )
    return head + "".join(lines)


def crtd(events: Iterable[Event]) -> str:
    """The log of Open Vehicles, since the epoch."""
    lines = (
        f"{_clock(e.time_us)} {e.channel + 1}R{29 if e.extended else 11} {_id(e)} {_hex(e.data, ' ')}".rstrip() + "\n"
        for e in events
    )
    return f"{_clock(T0_US)} CXX made by the tests\n" + "".join(lines)


def busmaster(events: Iterable[Event], *, decimal: bool = False) -> str:
    """BUSMASTER's log in time of day, ticks of 100 microseconds."""
    start = f"{START.day}:{START.month}:{START.year} {START.hour}:{START.minute}:{START.second}:0"
    head = (
        "***BUSMASTER Ver 2.4.0***\n***PROTOCOL CAN***\n***[START LOGGING SESSION]***\n"
        f"***START DATE AND TIME {start}***\n***{'DEC' if decimal else 'HEX'}***\n***SYSTEM MODE***\n"
        "***<Time><Tx/Rx><Channel><CAN ID><Type><DLC><DataBytes>***\n"
    )
    return head + "".join(map(_busmaster_line(decimal), events)) + "***[STOP LOGGING SESSION]***\n"


def _busmaster_line(decimal: bool) -> Callable[[Event], str]:
    def line(event: Event) -> str:
        clock = dt.datetime.fromtimestamp(event.time_us // SECOND_US, dt.UTC)
        tick = event.time_us % SECOND_US // 100
        id_ = f"{event.bare_id}" if decimal else f"0x{event.bare_id:X}"
        kind = ("x" if event.extended else "s") + ("r" if event.kind is Kind.REMOTE else "")
        data = " ".join(f"{byte:03d}" if decimal else f"{byte:02X}" for byte in event.data)
        day = f"{clock.hour:02d}:{clock.minute:02d}:{clock.second:02d}:{tick:04d}"
        return f"{day} Rx {event.channel + 1} {id_} {kind} {len(event.data)} {data} \n"

    return line
