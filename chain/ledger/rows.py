"""Keys of the ledger's rows: one column (first byte) per kind, heights big-endian so that they sort.

| column | key after the column          | value                                                        |
|--------|-------------------------------|--------------------------------------------------------------|
| 00     | name                          | format, genesis, head, certified, held, rebuild, loading     |
| B      | height                        | payload as consensus ordered it (b"" for a gap)              |
| T      | height, index                 | encoded transaction                                          |
| H      | height                        | encoded header                                               |
| h      | header hash                   | height                                                       |
| K      | height                        | encoded certificate                                          |
| I      | transaction id                | height, index of the receipt that is final                   |
| R      | height, index                 | encoded receipt                                              |
| L      | subject, height               | number of the first entry, positions of the entries          |
| C      | contract, event name, height  | positions of the events                                      |
| S      | namespace, key                | current state                                                |
| V      | height, key hash              | state as written at that height, with its namespace and key  |
| N      | height, path                  | inner node of the state tree                                 |
| O      | height                        | root of the state tree                                       |
| X      | height                        | keys of the V and N rows that this height made stale         |
| P      | path                          | of a state being fetched: complete subtrees, open nodes      |
| J      | the driver's own              | consensus votes                                              |

B, T, K and the genesis are what a node was told; everything else follows from them (`rebuild`), or from the
oldest state that is held when older blocks are not (pruning, snapshots: the row `held`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Annotated

from chain.ledger.statetree import Ref
from chain.primitives.codec import U64, U64_MAX, Bound, Hash, record
from chain.primitives.errors import LimitError

PAYLOAD, TRANSACTION, HEADER, HEADER_HASH, CERTIFICATE = b"B", b"T", b"H", b"h", b"K"
TX_INDEX, RECEIPT, SUBJECT, CONTRACT = b"I", b"R", b"L", b"C"
STATE, VALUE, NODE, ROOT, STALE = b"S", b"V", b"N", b"O", b"X"
PARTIAL = b"P"
VOTES = b"J"
DERIVED = (
    HEADER_HASH, TX_INDEX, RECEIPT, SUBJECT, CONTRACT, STATE, VALUE, NODE, ROOT, STALE, PARTIAL
)  # fmt: skip
"""What `rebuild` deletes and makes again; headers stay, to be compared."""
BASE = (VALUE, NODE, ROOT, STALE)
"""Of these, `rebuild` keeps the rows up to the height of the state that it starts from."""

GENESIS_KEY, HEAD_KEY, CERTIFIED_KEY, REBUILD_KEY = b"\0genesis", b"\0head", b"\0certified", b"\0rebuild"
HELD_KEY, LOADING_KEY = b"\0held", b"\0loading"

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
    rooted: U64 = 0
    """State rows written below this height belong to no tree in use (a snapshot replaced them)."""
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


def value_key(when: bytes, key_hash: bytes) -> bytes:
    """Return the key of a state value as written at a height (8 bytes)."""
    return VALUE + when + key_hash


def value_row(name: bytes, value: bytes) -> bytes:
    """Return a value row: the entry's name (`sized(namespace) + key`) behind its length, then the value."""
    return len(name).to_bytes(4, "big") + name + value


def split_value_row(row: bytes) -> tuple[bytes, bytes]:
    """Return (name, value) of a value row."""
    end = 4 + int.from_bytes(row[:4], "big")
    return row[4:end], row[end:]


def node_key(when: bytes, path: bytes) -> bytes:
    """Return the key of an inner node of the state tree, written at a height (8 bytes)."""
    return NODE + when + path


def pack_root(root: Ref | None) -> bytes:
    """Return the row of a tree's root; empty for an empty tree."""
    return b"" if root is None else root[0] + root[1] + (root[2] or b"")


def read_root(row: bytes) -> Ref | None:
    """Return a tree's root from its row."""
    return (row[:32], row[32:40], row[40:] or None) if row else None


def pack_keys(keys: Iterable[bytes]) -> bytes:
    """Return row keys, each behind its length (1 byte)."""
    return b"".join([bytes([len(key)]) + key for key in keys])


def read_keys(row: bytes) -> Iterator[bytes]:
    """Yield the keys that `pack_keys` joined."""
    start = 0
    while start < len(row):
        end = start + 1 + row[start]
        yield row[start + 1 : end]
        start = end


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
