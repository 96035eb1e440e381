"""Delta encoding of tree nodes: a record is a node in full, or what changed since the record before.

A change of a large tree touches few children of an inner node and one leaf of a bucket, so a *delta* is a
fraction of the node. After `BUCKET_DELTAS_MAX` or `NODE_DELTAS_MAX` of them a node is written in full, and
then the records before it are stale.

    full record            = 0: 1 | the node in memory behind that byte, without what is made from the rest
    delta                  = how many since the full record: 1 | address of the record before: 8 | entries
    entry of a bucket      = index of the leaf: 1 | value hash: 32 | length: 1 | what is held
    entry of an inner node = byte: 1 | hash: 32 | address: 8 | number of leaves: 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from chain.ledger.state.bucket import (
    bucket_of_record,
    hash_of_bucket,
    is_bucket_record,
    record_of_bucket,
    set_leaf,
)
from chain.ledger.state.inner import (
    hash_groups,
    hash_of_inner,
    inner_of_record,
    is_inner_record,
    kept_children,
    record_of_inner,
    set_children,
)
from chain.ledger.state.node import ADDRESS_BYTES, DELTAS_AT, LEAVES_AT, Node, Ref

BUCKET_DELTAS_MAX, NODE_DELTAS_MAX = 4, 8
_HEAD = 9
"""Bytes of a delta before its entries."""
_CHILD = 42
"""Bytes of an entry of an inner node."""
_BYTE = [bytes([value]) for value in range(256)]

ReadRecord = Callable[[bytes], bytes]
"""Returns the record at an address."""


def full_record(node: Node) -> bytes:
    """Return the full record of a node."""
    node[DELTAS_AT] = 0
    return record_of_bucket(node) if node[LEAVES_AT] else record_of_inner(node)


def delta_record(node: Node, deltas: int, entries: bytes) -> bytes:
    """Return the delta of a changed node, whose address is still that of the record before."""
    node[DELTAS_AT] = deltas
    return _BYTE[deltas] + node[:ADDRESS_BYTES] + entries


def leaf_entry(index: int, hashed: bytes, held: bytes) -> bytes:
    """Return what a delta says of a leaf that got another value."""
    return b"".join((_BYTE[index], hashed, _BYTE[len(held)], held))


def child_entry(byte: int, child: Ref) -> bytes:
    """Return what a delta says of a child that replaced another."""
    return b"".join((_BYTE[byte], child[0], child[1], _BYTE[child[2]]))


def node_at(record: ReadRecord, address: bytes) -> Node | None:
    """Return the node whose last record stands at an address; None when the records make none."""
    deltas: list[bytes] = []
    last, before = record(address), address
    while last[:1] != b"\0":
        if len(last) < _HEAD or len(deltas) == NODE_DELTAS_MAX:
            return None
        deltas.append(last)
        before = last[1:_HEAD]
        last = record(before)
    deltas.reverse()
    if any(delta[0] != number for number, delta in enumerate(deltas, start=1)):
        return None
    changed = _changed_inner if is_inner_record(last) else _changed_bucket
    node = changed(address, last, deltas)
    if node is not None:
        node[DELTAS_AT] = len(deltas)
    return node


def addresses_of(record: ReadRecord, address: bytes) -> Iterator[bytes]:
    """Yield the addresses of all records of a node, given that of its last one, which comes first."""
    for _ in range(NODE_DELTAS_MAX + 1):
        yield address
        last = record(address)
        if last[:1] == b"\0" or len(last) < _HEAD:
            return
        address = last[1:_HEAD]


def hash_of(node: Node) -> bytes:
    """Return the hash of a node of either kind."""
    return hash_of_bucket(node) if node[LEAVES_AT] else hash_of_inner(node)


def _changed_inner(address: bytes, full: bytes, deltas: list[bytes]) -> Node | None:
    """Return the inner node of a full record, changed as deltas say; None when that makes no sense."""
    node = inner_of_record(address, full)
    children: dict[int, Ref] = {}
    for delta in deltas:
        if (len(delta) - _HEAD) % _CHILD:
            return None
        for at in range(_HEAD, len(delta), _CHILD):
            child = at + 33
            children[delta[at]] = delta[at + 1 : child], delta[child : child + 8], delta[child + 8]
    if kept_children(node, children) is None:
        return None
    set_children(node, children)
    hash_groups(node)
    return node


def _changed_bucket(address: bytes, full: bytes, deltas: list[bytes]) -> Node | None:
    """Return the bucket of a full record, changed as deltas say; None when that makes no sense."""
    if not is_bucket_record(full) or len(deltas) > BUCKET_DELTAS_MAX:
        return None
    bucket = bucket_of_record(address, full)
    return bucket if all(_set_leaves(bucket, delta) for delta in deltas) else None


def _set_leaves(bucket: Node, delta: bytes) -> bool:
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
