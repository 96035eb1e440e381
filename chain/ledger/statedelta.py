"""Records of nodes of the state tree: a full one, or a *delta*, which says what changed since another record.

Most changes of a large tree touch one child of an inner node and one leaf of a bucket; a delta is a tenth of
the node. After `DELTAS_MAX` of them a node is written in full, and then the records before it are stale.

    full record            = 0: 1 | the node in memory behind that byte
    delta                  = how many since the full record: 1 | place of the record before: 8 | entries
    entry of a bucket      = key hash: 32 | value hash: 32 | length: 1 | what is held
    entry of an inner node = nibble: 1 | hash: 32 | place: 8 | number of leaves: 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from chain.ledger.statebucket import hash_of_bucket, index_in, is_bucket, set_leaf
from chain.ledger.statenode import DELTAS_AT, LEAVES_AT, Ref, hash_of_node, is_node, mask_of, set_child

DELTAS_MAX = 4
_HEAD = 9
_CHILD = 42
_BYTE = [bytes([value]) for value in range(256)]

Record = Callable[[bytes], bytes]
"""Returns the record at a place."""


def full_record(node: bytearray) -> bytes:
    """Return the full record of a node."""
    node[DELTAS_AT] = 0
    return bytes(node[DELTAS_AT:])


def delta_record(node: bytearray, deltas: int, entries: bytes) -> bytes:
    """Return the record of a changed node, whose own place is still the former one."""
    node[DELTAS_AT] = deltas
    return _BYTE[deltas] + node[:DELTAS_AT] + entries


def bucket_entry(key: bytes, hashed: bytes, held: bytes) -> bytes:
    """Return what a delta says of a leaf that got another value."""
    return b"".join((key, hashed, _BYTE[len(held)], held))


def child_entry(nibble: int, child: Ref) -> bytes:
    """Return what a delta says of a child that took the place of another."""
    return b"".join((_BYTE[nibble], child[0], child[1], _BYTE[child[2]]))


def node_at(record: Record, where: bytes) -> bytearray | None:
    """Return the node whose last record stands at a place; None when the records make none."""
    deltas: list[bytes] = []
    last, before = record(where), where
    while last[:1] != b"\0":
        if len(last) < _HEAD or len(deltas) == DELTAS_MAX:
            return None
        deltas.append(last)
        before = last[1:_HEAD]
        last = record(before)
    node = bytearray(where + last)
    if not (is_node(node) or is_bucket(node)):
        return None
    for number, delta in enumerate(reversed(deltas), start=1):
        if delta[0] != number or not _apply(node, delta):
            return None
    node[DELTAS_AT] = len(deltas)
    return node


def places_of(record: Record, where: bytes) -> Iterator[bytes]:
    """Yield the places of all records of the node whose last one stands at a place, that one first."""
    for _ in range(DELTAS_MAX + 1):
        yield where
        last = record(where)
        if last[:1] == b"\0" or len(last) < _HEAD:
            return
        where = last[1:_HEAD]


def hash_of(node: bytearray) -> bytes:
    """Return the hash of a node of either kind."""
    return hash_of_bucket(node) if node[LEAVES_AT] else hash_of_node(node)


def _apply(node: bytearray, delta: bytes) -> bool:
    """Change a node as a delta says; return whether that made sense."""
    at, end = _HEAD, len(delta)
    if not node[LEAVES_AT]:
        if (end - at) % _CHILD:
            return False
        for start in range(at, end, _CHILD):
            nibble = delta[start]
            if nibble > 15 or not mask_of(node) >> nibble & 1:
                return False
            place = start + 33
            set_child(node, nibble, (delta[start + 1 : place], delta[place : place + 8], delta[place + 8]))
        return True
    while at < end:
        held = at + 65
        stop = held + delta[held - 1] if held < end else end + 1
        index = index_in(node, delta[at : at + 32])
        if not held < stop <= end or index < 0:
            return False
        set_leaf(node, index, delta[at + 32 : at + 64], delta[held:stop])
        at = stop
    return True
