"""Keys of the ledger's rows: one column (first byte) per kind, heights big-endian so that they sort.

| column | key after the column          | value                                                        |
|--------|-------------------------------|--------------------------------------------------------------|
| 00     | name                          | format, genesis, head, certified, held, rebuild, loading, …  |
| B      | height                        | payload as consensus ordered it (b"" for a gap)              |
| T      | height, index                 | encoded transaction                                          |
| H      | height                        | encoded header                                               |
| h      | header hash                   | height                                                       |
| K      | height                        | encoded certificate                                          |
| S      | height                        | skip decision, executed under or waiting (`skiprows.py`)     |
| I      | transaction id                | height, index of the receipt that is final                   |
| R      | height, index                 | encoded receipt                                              |
| L      | subject, height               | number of the first entry, positions of the entries          |
| C      | contract, event name, height  | positions of the events                                      |
| O      | height                        | root of the state tree                                       |
| X      | height                        | places of records that list what this height made stale      |
| D      | place of a record             | (that no tree in use needs; its segment is still there)      |
| G      | number of a segment           | its stream, bytes of dead records: `chain.ledger.records`    |
| M      | former place of a record      | where it went when its segment was given up                  |
| P      | path                          | of a state being fetched: complete subtrees, open nodes      |
| J      | the driver's own              | consensus votes                                              |
| s      | namespace, key                | (an entry of the current state; the tree leads to its value) |

B, T, K, S and the genesis are what a node was told; everything else follows from them (`rebuild`), or from
the oldest state that is held when older blocks are not (pruning, snapshots: the row `held`). Skip decisions
stay when blocks are pruned, as headers and certificates do.

The column s is the last one. It is the largest that a block seldom writes to; between others, LevelDB would
write it anew with every compaction that spans it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Annotated

from chain.ledger.records import MOVED
from chain.ledger.statenode import Ref
from chain.primitives.codec import U64, U64_MAX, Bound, Hash, record
from chain.primitives.errors import LimitError

PAYLOAD, TRANSACTION, HEADER, HEADER_HASH, CERTIFICATE = b"B", b"T", b"H", b"h", b"K"
SKIP = b"S"
TX_INDEX, RECEIPT, SUBJECT, CONTRACT = b"I", b"R", b"L", b"C"
STATE, ROOT, STALE, DEAD = b"s", b"O", b"X", b"D"
PARTIAL = b"P"
VOTES = b"J"
DERIVED = (
    HEADER_HASH, TX_INDEX, RECEIPT, SUBJECT, CONTRACT, STATE, STALE, DEAD, MOVED, PARTIAL
)  # fmt: skip
"""What `rebuild` deletes and makes again, beside O and G; headers stay, to be compared."""
GENESIS_KEY, HEAD_KEY, CERTIFIED_KEY, REBUILD_KEY = b"\0genesis", b"\0head", b"\0certified", b"\0rebuild"
HELD_KEY, LOADING_KEY, CLEANING_KEY = b"\0held", b"\0loading", b"\0cleaning"
BEGUN_KEY = b"\0begun"

NODES, VALUES = b"n", b"v"
"""What the places that a stale list names are of: its first byte."""

PLACE_UNKNOWN = 2**32 - 1
"""Place in the batch of a transaction whose block is not here: a snapshot names ids and heights only."""

Position = tuple[int, int, int]
"""(height, transaction's place in the batch, event's place in the receipt)."""

_HEIGHT = struct.Struct(">Q")
_INDEX = struct.Struct(">I")
_PLACE = struct.Struct(">QI")
_POSITION = struct.Struct(">IH")
_CURSOR = struct.Struct(">QIH")


@record("head", max_bytes=256)
class Head:
    """Where the ledger stands; written with every block."""

    height: U64
    header_hash: Hash
    transactions: U64
    """Executed so far, failed ones included."""
    failed: U64
    events: U64


@record("held", max_bytes=1_024)
class Held:
    """From which height on this node holds what; absent when it holds everything."""

    blocks: U64 = 0
    """First height with its batch, transactions, receipts and index rows."""
    state: U64 = 0
    """First height whose state can be read."""
    headers: U64 = 0
    """First height from which every header is here; some lower ones may be."""
    swept: U64 = 0
    """Heights below this have no rows left of what is not held; those up to `blocks` wait for deletion."""
    archive: Annotated[str, Bound(0, 512)] = ""
    """Where blocks below were archived, for people; empty when unknown."""


def at(column: bytes, height: int) -> bytes:
    """Return the key of a row kept per height."""
    return column + _height(height)


def _height(height: int) -> bytes:
    try:
        return _HEIGHT.pack(height)
    except struct.error:
        raise LimitError(f"height {height}: expected 0..{U64_MAX}") from None


def height_of(key: bytes) -> int:
    """Return the height at the end of a key."""
    height: int = _HEIGHT.unpack(key[-8:])[0]
    return height


def placed(column: bytes, height: int, index: int) -> bytes:
    """Return the key of a row kept per height and place in the batch."""
    return column + _height(height) + _INDEX.pack(index)


def place(height: int, index: int) -> bytes:
    """Return the value of a transaction's index row."""
    return _PLACE.pack(height, index)


def read_place(value: bytes) -> tuple[int, int]:
    """Return (height, index) from a transaction's index row."""
    height, index = _PLACE.unpack(value)
    return height, index


@lru_cache(maxsize=4_096)
def sized(text: str) -> bytes:
    """Return UTF-8 bytes behind their length (1 byte), so that no name is a prefix of another."""
    data = text.encode()
    return bytes([len(data)]) + data


def subject_prefix(subject: str) -> bytes:
    """Return what the keys of a subject's rows start with."""
    return SUBJECT + sized(subject)


def event_prefix(contract: str, name: str | None = None) -> bytes:
    """Return what the keys of a contract's event rows start with."""
    return CONTRACT + sized(contract) + (b"" if name is None else sized(name))


def state_key(namespace: str, key: bytes) -> bytes:
    """Return the key of a current state row."""
    return STATE + sized(namespace) + key


def split_state_key(row: bytes) -> tuple[str, bytes]:
    """Return (namespace, key) of a current state row."""
    end = 2 + row[1]
    return row[2:end].decode(), row[end:]


def value_record(name: bytes, value: bytes) -> bytes:
    """Return a value's record: the entry's name (`sized(namespace) + key`) behind its length, the value."""
    return len(name).to_bytes(4, "big") + name + value


def name_of_value(record: bytes) -> bytes:
    """Return the name in a value's record."""
    return record[4 : 4 + int.from_bytes(record[:4], "big")]


def pack_root(root: Ref | None) -> bytes:
    """Return the row of a tree's root; empty for an empty tree."""
    return b"" if root is None else root[0] + root[1] + bytes([root[2]])


def read_root(row: bytes) -> Ref | None:
    """Return a tree's root from its row."""
    return (row[:32], row[32:40], row[40]) if row else None


def read_places(listed: bytes) -> Iterator[bytes]:
    """Yield the places of records that a row or record lists."""
    return (listed[start : start + 8] for start in range(0, len(listed), 8))


def pack_positions(places: Iterable[tuple[int, int]]) -> bytes:
    """Return (place in the batch, place in the receipt) pairs of one height as bytes."""
    return b"".join([_POSITION.pack(*pair) for pair in places])


def read_positions(height: int, data: bytes) -> list[Position]:
    """Return the positions that `pack_positions` joined."""
    return [(height, index, event) for index, event in _POSITION.iter_unpack(data)]


def pack_cursor(position: Position) -> bytes:
    """Return a position as a cursor that a later query continues after."""
    return _CURSOR.pack(*position)


def read_cursor(cursor: bytes) -> Position | None:
    """Return the position of a cursor; None when the bytes are none."""
    if len(cursor) != _CURSOR.size:
        return None
    height, index, event = _CURSOR.unpack(cursor)
    return height, index, event
