"""Storage keys of the ledger's rows: one column (first byte) a kind, heights big-endian so that they sort.

| column | key after the column          | value                                                        |
|--------|-------------------------------|--------------------------------------------------------------|
| 00     | name                          | format, genesis, head, certified, held, records, rebuild, …  |
| B      | height                        | payload as consensus ordered it (b"" for a null request)     |
| T      | height, position in the batch | encoded transaction                                          |
| H      | height                        | encoded header                                               |
| h      | header hash                   | height                                                       |
| K      | height                        | encoded certificate                                          |
| S      | height                        | skip decision, executed under or waiting (`skiprows.py`)     |
| I      | transaction id                | height, position in the batch, of the receipt that is final  |
| R      | height, position in the batch | encoded receipt                                              |
| L      | subject, height               | number of the first entry, positions of the entries          |
| C      | contract, event name, height  | positions of the events                                      |
| O      | height                        | root of the state tree                                       |
| X      | height                        | addresses of records that list what it made stale            |
| P      | path                          | of a state being fetched: complete subtrees, open nodes      |
| J      | the driver's own              | consensus votes                                              |
| s      | namespace, key                | (an entry of the current state; the tree leads to its value) |

B, T, K, S and the genesis are what a node was told; everything else follows from them (`rebuild`), or from
the oldest state that is here when older blocks are not (pruning, snapshots: the row `held`). Skip decisions
stay when blocks are pruned, as headers and certificates do.

The column s must be the last one. It is the largest column that a block seldom writes to. LevelDB writes anew
whatever a compaction spans, so between other columns it would be rewritten all the time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Annotated

from chain.primitives.codec import U64, U64_MAX, Bound, Hash, record
from chain.primitives.errors import LimitError

PAYLOAD, TRANSACTION, HEADER, HEADER_HASH, CERTIFICATE = b"B", b"T", b"H", b"h", b"K"
SKIP = b"S"
TX_INDEX, RECEIPT, SUBJECT, CONTRACT = b"I", b"R", b"L", b"C"
STATE, ROOT, STALE = b"s", b"O", b"X"
PARTIAL = b"P"
VOTES = b"J"
DERIVED = (HEADER_HASH, TX_INDEX, RECEIPT, SUBJECT, CONTRACT, STATE, STALE, PARTIAL)
"""What `rebuild` deletes and makes again, beside O and the records; headers stay, to be compared."""
GENESIS_KEY, HEAD_KEY, CERTIFIED_KEY, REBUILD_KEY = b"\0genesis", b"\0head", b"\0certified", b"\0rebuild"
HELD_KEY, LOADING_KEY, CLEARED_KEY, BEGUN_KEY = b"\0held", b"\0loading", b"\0cleared", b"\0begun"

NODES, VALUES = b"n", b"v"
"""First byte of a stale list: it lists addresses of tree nodes, or of state values."""

POSITION_UNKNOWN = 2**32 - 1
"""Position in the batch of a transaction whose block is not here: a snapshot names ids and heights only."""

EventPosition = tuple[int, int, int]
"""(height, position of the transaction in the batch, position of the event in the receipt)."""

_HEIGHT = struct.Struct(">Q")
_INDEX = struct.Struct(">I")
_TX_POSITION = struct.Struct(">QI")
_EVENT_POSITION = struct.Struct(">IH")
_CURSOR = struct.Struct(">QIH")


@record("head", max_bytes=256)
class LedgerHead:
    """Newest executed height, its header's hash and totals; written with every block."""

    height: U64
    header_hash: Hash
    transactions: U64
    """Executed so far, failed ones included."""
    failed: U64
    events: U64


@record("held", max_bytes=1_024)
class PrunedBelow:
    """Heights below which this node pruned, or never had, its rows; without this row nothing is pruned."""

    blocks: U64 = 0
    """First height with its batch, transactions, receipts and index rows."""
    state: U64 = 0
    """First height whose state can be read."""
    headers: U64 = 0
    """First height from which every header is here; some lower ones may be."""
    swept: U64 = 0
    """Heights below this have no pruned rows left; those from here up to `blocks` wait for deletion."""
    archive: Annotated[str, Bound(0, 512)] = ""
    """Path at which older blocks were archived, for people; empty when unknown."""


@record("cleared", max_bytes=256)
class Cleared:
    """How far the records of pruned states are deleted; without this row none ever were."""

    below: U64 = 0
    """Heights below this have no stale lists left."""
    until: U64 = 0
    """A clearing is under way up to this height; 0 when there is none."""
    compacted: U64 = 0
    """Number of the record at which its compaction goes on."""
    size: U64 = 0
    """Bytes that the records took after the last one."""


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


def at_position(column: bytes, height: int, index: int) -> bytes:
    """Return the key of a row kept per height and position in the batch."""
    return column + _height(height) + _INDEX.pack(index)


def pack_tx_position(height: int, index: int) -> bytes:
    """Return the value of a transaction's index row: its height and its position in the batch."""
    return _TX_POSITION.pack(height, index)


def read_tx_position(value: bytes) -> tuple[int, int]:
    """Return (height, position in the batch) from a transaction's index row."""
    height, index = _TX_POSITION.unpack(value)
    return height, index


@lru_cache(maxsize=4_096)
def sized(text: str) -> bytes:
    """Return up to 255 UTF-8 bytes behind their length (1 byte), so that no name is a prefix of another."""
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


def read_addresses(listed: bytes) -> Iterator[bytes]:
    """Yield the addresses (8 bytes each) of the records that a row or a record lists."""
    return (listed[start : start + 8] for start in range(0, len(listed), 8))


def pack_event_positions(pairs: Iterable[tuple[int, int]]) -> bytes:
    """Return (position in the batch, position in the receipt) pairs of one height as bytes."""
    return b"".join([_EVENT_POSITION.pack(*pair) for pair in pairs])


def read_event_positions(height: int, data: bytes) -> list[EventPosition]:
    """Return the positions that `pack_event_positions` joined."""
    return [(height, index, event) for index, event in _EVENT_POSITION.iter_unpack(data)]


def pack_cursor(position: EventPosition) -> bytes:
    """Return a position as a cursor that a later query continues after."""
    return _CURSOR.pack(*position)


def read_cursor(cursor: bytes) -> EventPosition | None:
    """Return the position of a cursor; None when the bytes are no cursor."""
    if len(cursor) != _CURSOR.size:
        return None
    height, index, event = _CURSOR.unpack(cursor)
    return height, index, event
