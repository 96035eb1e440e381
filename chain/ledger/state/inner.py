"""Inner node of the state tree: up to 256 children by the next byte of a path, hashed in sixteen groups.

In memory, behind what every node begins with (`chain.ledger.state.node`):

    mask: 32 | n hashes: 32 n | n addresses: 8 n | n numbers of leaves: n | hashes of its groups: 512

The mask is little-endian: bit b says that there is a child for byte b. The hashes of the groups are not
stored: they are made when a node is loaded, and whoever sets children calls `hash_groups`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from struct import Struct
from typing import cast

from chain.ledger.state.node import ADDRESS_BYTES, HEAD_BYTES, LEAVES_AT, Node, Ref

_GROUPS_BYTES = 512
"""Of the hashes of sixteen groups, at the end of an inner node in memory."""
_MASK = HEAD_BYTES
_CHILDREN = _MASK + 32
"""Offset of the hashes of the children."""
_FULL_BYTES = _CHILDREN + 256 * 41 + _GROUPS_BYTES
_BELOW = [(1 << byte) - 1 for byte in range(256)]
_PUT_HASH, _PUT_ADDRESS = Struct("32s").pack_into, Struct("8s").pack_into
_NODE = b"assent/state-node\0"
_HASHING = sha256(_NODE)
_HASHING_FULL = sha256(_NODE + b"\xff\xff")


def inner_hash(mask: int, children: bytes) -> bytes:
    """Return the hash of a group, or of an inner node, from its 16-bit mask and the hashes below, joined."""
    return sha256(_NODE + mask.to_bytes(2, "big") + children).digest()


def mask_of(node: Node) -> int:
    """Return the mask of present children of an inner node: bit b for byte b."""
    return int.from_bytes(node[_MASK:_CHILDREN], "little")


def child_of(node: Node, byte: int) -> Ref | None:
    """Return one child of an inner node without reading the others."""
    mask = mask_of(node)
    if not mask >> byte & 1:
        return None
    index, count = (mask & _BELOW[byte]).bit_count(), mask.bit_count()
    at, address = _CHILDREN + 32 * index, _CHILDREN + 32 * count + 8 * index
    return bytes(node[at : at + 32]), bytes(node[address : address + 8]), node[_CHILDREN + 40 * count + index]


def children_of(node: Node) -> dict[int, Ref]:
    """Return the children of an inner node by byte, in order."""
    held, mask = bytes(node), mask_of(node)
    addresses = _CHILDREN + 32 * mask.bit_count()
    counts = addresses + 8 * mask.bit_count()
    present = [byte for byte in range(256) if mask >> byte & 1]
    return {
        byte: (
            held[_CHILDREN + 32 * index : _CHILDREN + 32 * index + 32],
            held[addresses + 8 * index : addresses + 8 * index + 8],
            held[counts + index],
        )
        for index, byte in enumerate(present)
    }


def leaves_fit(node: Node, most: int) -> bool:
    """Tell whether at most so many leaves stand below an inner node, all in buckets."""
    counts = node[_CHILDREN + 40 * mask_of(node).bit_count() : -_GROUPS_BYTES]
    return 0 not in counts and sum(counts) <= most


def pack_inner(children: Mapping[int, Ref]) -> Node:
    """Return the inner node with these children, by byte, that has no address yet."""
    mask = sum(1 << byte for byte in children)
    below = [children[byte] for byte in sorted(children)]
    hashes, addresses, counts = zip(*below, strict=True) if below else ((), (), ())
    record = b"".join((bytes(2), mask.to_bytes(32, "little"), *hashes, *addresses, bytes(counts)))
    node = inner_of_record(bytes(ADDRESS_BYTES), record)
    hash_groups(node)
    return node


def inner_of_record(address: bytes, record: bytes) -> Node:
    """Return the inner node whose full record (`is_inner_record`) stands at an address; groups not hashed."""
    return Node(bytearray().join((address, record, bytes(_GROUPS_BYTES))))


def record_of_inner(node: Node) -> bytes:
    """Return the full record of an inner node."""
    return bytes(node[ADDRESS_BYTES:-_GROUPS_BYTES])


def is_inner_record(record: bytes) -> bool:
    """Tell whether a full record has the form of an inner node's."""
    start = _CHILDREN - ADDRESS_BYTES
    if len(record) < start or record[LEAVES_AT - ADDRESS_BYTES]:
        return False
    return len(record) == start + 41 * int.from_bytes(record[start - 32 : start], "little").bit_count()


def kept_children(node: Node, edits: Mapping[int, Ref | None]) -> Mapping[int, Ref] | None:
    """Return children, by byte, if an inner node has them all and keeps them, else None."""
    if None in edits.values():
        return None
    if len(node) != _FULL_BYTES:
        mask = mask_of(node)
        if not all(mask >> byte & 1 for byte in edits):
            return None
    return cast("Mapping[int, Ref]", edits)


def set_children(node: Node, children: Mapping[int, Ref]) -> None:
    """Replace children of an inner node, by byte; all of them are there already. See `hash_groups`."""
    full = len(node) == _FULL_BYTES
    mask = 0 if full else mask_of(node)
    count = 256 if full else mask.bit_count()
    addresses = _CHILDREN + 32 * count
    counts = addresses + 8 * count
    for byte, (hashed, address, leaves) in children.items():
        index = byte if full else (mask & _BELOW[byte]).bit_count()
        _PUT_HASH(node, _CHILDREN + 32 * index, hashed)
        _PUT_ADDRESS(node, addresses + 8 * index, address)
        node[counts + index] = leaves


def with_children(node: Node, edits: Mapping[int, Ref | None]) -> Node:
    """Return an inner node with children, by byte, replaced, added, or removed (None); without an address."""
    children: dict[int, Ref | None] = {**children_of(node), **edits}
    return pack_inner({byte: child for byte, child in children.items() if child is not None})


# --- groups -------------------------------------------------------------------------------------------


def group_of(node: Node, nibble: int) -> tuple[int, list[bytes]]:
    """Return (mask, hashes) of the children in one group of an inner node."""
    mask, at, end = _group(node, nibble)
    return mask, [bytes(node[start : start + 32]) for start in range(at, end, 32)]


def groups_of(node: Node) -> tuple[int, list[bytes]]:
    """Return (mask, hashes) of the groups of an inner node."""
    masks, start = mask_of(node), len(node) - _GROUPS_BYTES
    present = [nibble for nibble in range(16) if masks >> 16 * nibble & 0xFFFF]
    hashes = [bytes(node[start + 32 * nibble : start + 32 * nibble + 32]) for nibble in present]
    return sum(1 << nibble for nibble in present), hashes


def _group(node: Node, nibble: int) -> tuple[int, int, int]:
    """Return (mask, start, end) of the hashes of one group."""
    masks = mask_of(node)
    mask = masks >> 16 * nibble & 0xFFFF
    at = _CHILDREN + 32 * (masks & _BELOW[16 * nibble]).bit_count()
    return mask, at, at + 32 * mask.bit_count()


def hash_groups(node: Node, nibbles: Iterable[int] = range(16)) -> None:
    """Hash groups anew, some of whose children were set."""
    start = len(node) - _GROUPS_BYTES
    if len(node) == _FULL_BYTES:
        for nibble in nibbles:
            hashing, at = _HASHING_FULL.copy(), _CHILDREN + 512 * nibble
            hashing.update(node[at : at + 512])
            _PUT_HASH(node, start + 32 * nibble, hashing.digest())
        return
    for nibble in nibbles:
        mask, at, end = _group(node, nibble)
        if mask:
            hashing = _HASHING.copy()
            hashing.update(mask.to_bytes(2, "big") + node[at:end])
            _PUT_HASH(node, start + 32 * nibble, hashing.digest())


def hash_of_inner(node: Node) -> bytes:
    """Return the hash of an inner node from those of its groups."""
    if len(node) == _FULL_BYTES:
        hashing = _HASHING_FULL.copy()
        hashing.update(node[-_GROUPS_BYTES:])
        return hashing.digest()
    mask, hashes = groups_of(node)
    return inner_hash(mask, b"".join(hashes))
