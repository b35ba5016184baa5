"""How messages are laid out, whoever defined them: a DBC file or the built-in J1939 table."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.signals import Aggregate


@dataclass(frozen=True, slots=True)
class Selector:
    """A signal is there only while the multiplexer `name` has a raw value in one of `ranges` (both ends included)."""

    name: str
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """One signal of a message.

    `start_bit` and `big_endian` as in DBC files: for little-endian signals the lowest bit, for big-endian ones the
    highest, bits of byte n numbered 8n (lowest) to 8n + 7. Physical value = raw x `scale` + `offset`, in `unit`.
    `aggregate`: mean for continuous signals, last for states, counters and whatever has names for its values.
    """

    name: str
    start_bit: int
    bits: int
    big_endian: bool = False
    signed: bool = False
    floating: bool = False
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""
    aggregate: Aggregate = Aggregate.MEAN
    selector: Selector | None = None
    spn: int | None = None


@dataclass(frozen=True, slots=True)
class MessageSpec:
    """One message. `can_id` has EXTENDED for 29-bit ids.

    A `by_pgn` message is J1939: it is matched by its parameter group whatever its priority, source (and, for PDU1,
    destination), its sources are kept apart, and its raw values obey the not-available rule. `bytes` is the length by
    definition; a classic message longer than eight bytes comes by a transport protocol (J1939 TP, or ISO-TP where the
    message is not `by_pgn`).
    """

    name: str
    can_id: int
    bytes: int
    signals: tuple[SignalSpec, ...]
    by_pgn: bool = False


@dataclass(frozen=True, slots=True)
class Canonical:
    """Which decoded signal is which canonical signal: canonical = value x `factor` + `offset`.

    `message` and `signal` are names of a MessageSpec and one of its signals; the unit is already the canonical one
    after `factor`, which also turns the sign.
    """

    name: str
    message: str
    signal: str
    factor: float = 1.0
    offset: float = 0.0
