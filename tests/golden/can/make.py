"""Writes the captures beside this file anew: `python -m tests.golden.can.make`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.can_logs import bus, truck, write, write_binary
from tests.can_logs.bus import Event, Kind

HERE = Path(__file__).parent
EVENTS = 300


def classic() -> list[Event]:
    """Classic frames, remote and error frames."""
    return bus.rich(EVENTS, seed=3, fd=False)


def mixed() -> list[Event]:
    """Classic and CAN FD frames, remote and error frames."""
    return bus.rich(EVENTS, seed=4)


def one_bus(events: Iterable[Event]) -> list[Event]:
    """What a format without error frames and channels can hold."""
    return [event for event in events if event.channel == 0]


def plain(events: Iterable[Event]) -> list[Event]:
    """Data frames alone."""
    return [event for event in events if event.kind is Kind.DATA]


def without_errors(events: Iterable[Event]) -> list[Event]:
    """Data and remote frames."""
    return [event for event in events if event.kind is not Kind.ERROR]


def texts() -> dict[str, str]:
    """Every text file and its content."""
    return {
        "candump.log": write.candump(mixed()),
        "candump_console.log": write.console(mixed()),
        "candump_deltas.log": write.console_deltas(plain(classic())),
        "hex_absolute.asc": write.asc(mixed()),
        "decimal_relative.asc": write.asc(mixed(), decimal=True, relative=True),
        "v1_1.trc": write.trc(one_bus(classic()), "1.1"),
        "v1_3.trc": write.trc(classic(), "1.3"),
        "v2_0.trc": write.trc(one_bus(mixed()), "2.0"),
        "v2_1.trc": write.trc(mixed(), "2.1"),
        "gvret.csv": write.gvret(plain(classic())),
        "crtd.txt": write.crtd(plain(classic())),
        "busmaster_hex.log": write.busmaster(without_errors(classic())),
        "busmaster_decimal.log": write.busmaster(without_errors(classic()), decimal=True),
        "rich.dbc": bus.DBC,
        "truck.dbc": truck.dbc(),
        "classic.csv": expected(classic()),
        "mixed.csv": expected(mixed()),
    }


def expected(events: Iterable[Event]) -> str:
    """What is in a capture, one event per line."""
    head = "time_us,channel,id,extended,kind,fd,data\n"
    return head + "".join(
        f"{e.time_us},{e.channel},{e.bare_id:X},{int(e.extended)},{e.kind.value},{int(e.fd)},{e.data.hex()}\n"
        for e in events
    )


def main() -> None:
    """Write all files."""
    for name, text in texts().items():
        (HERE / name).write_bytes(text.encode())
    (HERE / "all.blf").write_bytes(write_binary.blf(mixed()))
    frames = write_binary.frames_of(classic())
    write_binary.mdf4(frames, HERE / "compressed.mf4")
    write_binary.mdf4(frames, HERE / "plain.mf4", compressed=False)


if __name__ == "__main__":
    main()
