"""Records of nodes of the state tree: a full one, or a *delta*, which says what changed since another record.

Most changes of a large tree touch few children of an inner node and one leaf of a bucket; a delta is a
fraction of the node. After some of them (`deltas_max`) a node is written in full, and then the records before
it are stale.

    full record            = 0: 1 | the node in memory behind that byte, without what is made from the rest
    delta                  = how many since the full record: 1 | place of the record before: 8 | entries
    entry of a bucket      = which leaf: 1 | value hash: 32 | length: 1 | what is held
    entry of an inner node = byte: 1 | hash: 32 | place: 8 | number of leaves: 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from chain.ledger.statebucket import (
    bucket_of_record,
    hash_of_bucket,
    is_bucket,
    record_of_bucket,
    set_leaf,
)
from chain.ledger.statenode import (
    DELTAS_AT,
    GROUPS_BYTES,
    LEAVES_AT,
    Ref,
    hash_groups,
    hash_of_node,
    is_node,
    kept_children,
    node_of_record,
    set_children,
)

BUCKET_DELTAS_MAX, NODE_DELTAS_MAX = 4, 8
_HEAD = 9
_CHILD = 42
_BYTE = [bytes([value]) for value in range(256)]

Record = Callable[[bytes], bytes]
"""Returns the record at a place."""


def full_record(node: bytearray) -> bytes:
    """Return the full record of a node."""
    node[DELTAS_AT] = 0
    return record_of_bucket(node) if node[LEAVES_AT] else bytes(node[DELTAS_AT:-GROUPS_BYTES])


def delta_record(node: bytearray, deltas: int, entries: bytes) -> bytes:
    """Return the record of a changed node, whose own place is still the former one."""
    node[DELTAS_AT] = deltas
    return _BYTE[deltas] + node[:DELTAS_AT] + entries


def leaf_entry(index: int, hashed: bytes, held: bytes) -> bytes:
    """Return what a delta says of a leaf that got another value."""
    return b"".join((_BYTE[index], hashed, _BYTE[len(held)], held))


def child_entry(byte: int, child: Ref) -> bytes:
    """Return what a delta says of a child that took the place of another."""
    return b"".join((_BYTE[byte], child[0], child[1], _BYTE[child[2]]))


def node_at(record: Record, where: bytes) -> bytearray | None:
    """Return the node whose last record stands at a place; None when the records make none."""
    deltas: list[bytes] = []
    last, before = record(where), where
    while last[:1] != b"\0":
        if len(last) < _HEAD or len(deltas) == NODE_DELTAS_MAX:
            return None
        deltas.append(last)
        before = last[1:_HEAD]
        last = record(before)
    deltas.reverse()
    if any(delta[0] != number for number, delta in enumerate(deltas, start=1)):
        return None
    node = _changed_node(where, last, deltas) if is_node(last) else _changed_bucket(where, last, deltas)
    if node is not None:
        node[DELTAS_AT] = len(deltas)
    return node


def places_of(record: Record, where: bytes) -> Iterator[bytes]:
    """Yield the places of all records of the node whose last one stands at a place, that one first."""
    for _ in range(NODE_DELTAS_MAX + 1):
        yield where
        last = record(where)
        if last[:1] == b"\0" or len(last) < _HEAD:
            return
        where = last[1:_HEAD]


def hash_of(node: bytearray) -> bytes:
    """Return the hash of a node of either kind."""
    return hash_of_bucket(node) if node[LEAVES_AT] else hash_of_node(node)


def _changed_node(where: bytes, full: bytes, deltas: list[bytes]) -> bytearray | None:
    """Return the inner node of a full record, changed as deltas say; None when that makes no sense."""
    node = node_of_record(where, full)
    children: dict[int, Ref] = {}
    for delta in deltas:
        if (len(delta) - _HEAD) % _CHILD:
            return None
        for at in range(_HEAD, len(delta), _CHILD):
            place = at + 33
            children[delta[at]] = delta[at + 1 : place], delta[place : place + 8], delta[place + 8]
    if kept_children(node, children) is None:
        return None
    set_children(node, children)
    hash_groups(node)
    return node


def _changed_bucket(where: bytes, full: bytes, deltas: list[bytes]) -> bytearray | None:
    """Return the bucket of a full record, changed as deltas say; None when that makes no sense."""
    if not is_bucket(full) or len(deltas) > BUCKET_DELTAS_MAX:
        return None
    bucket = bucket_of_record(where, full)
    return bucket if all(_set_leaves(bucket, delta) for delta in deltas) else None


def _set_leaves(bucket: bytearray, delta: bytes) -> bool:
    """Change a bucket as one delta says; return whether that made sense."""
    at, end = _HEAD, len(delta)
    while at < end:
        held = at + 34
        stop = held + delta[held - 1] if held < end else end + 1
        if not held < stop <= end or delta[at] >= bucket[LEAVES_AT]:
            return False
        set_leaf(bucket, delta[at], delta[at + 1 : at + 33], delta[held:stop])
        at = stop
    return True
