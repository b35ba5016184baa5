"""SAE J1939: the parts of an identifier, and which raw values say that nothing was measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ingest.can.frames import EXTENDED, Ids

PDU2 = 240
"""From this PDU format on, the second byte belongs to the group; below, it is a destination."""
GLOBAL = 0xFF


def pgn_of_id(can_id: int) -> int:
    """The parameter group number of a 29-bit id."""
    pgn = can_id >> 8 & 0x3FFFF
    return pgn if pgn >> 8 & 0xFF >= PDU2 else pgn & 0x3FF00


def pgn_of(can_id: Ids) -> NDArray[np.int64]:
    """Parameter group numbers; -1 for 11-bit ids."""
    ids = can_id.astype(np.int64)
    pgn = ids >> 8 & 0x3FFFF
    pgn = np.where(pgn >> 8 & 0xFF >= PDU2, pgn, pgn & 0x3FF00)
    return np.where(ids & int(EXTENDED), pgn, -1)


def source_of(can_id: Ids) -> NDArray[np.int64]:
    """Source addresses."""
    return can_id.astype(np.int64) & 0xFF


def destination_of(can_id: Ids) -> NDArray[np.int64]:
    """Destination addresses; the global one where the group has none."""
    ids = can_id.astype(np.int64)
    return np.where(ids >> 16 & 0xFF >= PDU2, GLOBAL, ids >> 8 & 0xFF)


def priority_of(can_id: Ids) -> NDArray[np.int64]:
    """Priorities, 0 to 7; 0 is the highest."""
    return can_id.astype(np.int64) >> 26 & 7


def not_available(raw: NDArray[np.int64] | NDArray[np.uint64], bits: int) -> NDArray[np.bool_] | None:
    """Where an unsigned raw value of this width says "not available" or "error"; None: nowhere.

    One rule by width: 1 bit never; 2 bits 3 and 2; 4 and 8 bits the two highest values; from 16 bits on, in whole
    bytes, the two highest values of the top byte. Other widths of four bits and more: all ones.
    """
    if bits in (2, 4, 8):
        missing = raw >= (1 << bits) - 2
    elif bits in (16, 24, 32):
        missing = raw >= 0xFE << (bits - 8)
    elif bits > 3:
        missing = raw == (1 << bits) - 1
    else:
        return None
    return missing if bool(missing.any()) else None
