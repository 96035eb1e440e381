"""Node of the state tree: what inner nodes and buckets have in common.

The state tree is a radix tree over key hashes whose lowest nodes are buckets of leaves. A *path* is the
first bytes of a key hash. Everything below a path is one *bucket* while that is at most `BUCKET_LEAVES`
keys, and else an *inner node* with a child for each next byte that occurs. Hence the shape, and so the root,
depends on the keys and values alone, never on the order in which they came. An inner node is hashed in two
levels of sixteen, so that proofs stay short: its children of the same upper nibble are a *group*. The root
of an empty tree is 32 zeros.

    bucket hash = H("assent/state-bucket", number of keys: 1 byte, hash of the keys, their value hashes)
    hash of the keys of a bucket = H("assent/state-keys", key hashes in order)
    group hash  = H("assent/state-node", mask of present children: 2 bytes, their hashes in nibble order)
    inner hash  = H("assent/state-node", mask of present groups: 2 bytes, their hashes in nibble order)

Nodes are records (`chain.ledger.store.records`): a block adds some and changes none, so the tree of
every height that was not pruned can be read. A parent names its children by the addresses of their records.
What a block made stale is a list that pruning works off.

In memory a node of either kind is one bytearray (`Node`) that begins with the same ten bytes:

    address of its record: 8 | deltas since the last full record: 1 | leaves, 0 in an inner node: 1

The address is that of the record which made it this version of the node. It is not hashed, nor is the number
of deltas. What follows is the business of one module each: `inner.py` and `bucket.py`; `delta.py` turns
nodes into records and back. One bytearray and not an object with fields, because every object on the way to
a key is memory that no processor cache holds (docs/decisions/keys-together-in-memory.md).
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from struct import Struct
from typing import NewType

DEPTH_MAX = 32
"""Bytes of a key hash: no path is longer."""
ADDRESS_BYTES = 8
DELTAS_AT, LEAVES_AT = 8, 9
"""Offsets, in a node of either kind, of the number of deltas and of the number of leaves."""
HEAD_BYTES = 10
"""What both kinds begin with."""

Node = NewType("Node", bytearray)
"""A node in memory, of either kind: a bucket if `node[LEAVES_AT]`, else an inner node."""

Ref = tuple[bytes, bytes, int]
"""A node by reference: (hash, address of its record, number of leaves if it is a bucket, else 0).

The hash is checked; the number, which no hash covers, only says when buckets may be merged.
"""
Load = Callable[[bytes, bytes, bytes], Node]
"""Returns the node at (address of its record, path, hash), checked, a new object."""

_KEY = b"assent/state-key\0"
_VALUE = b"assent/state-value\0"
_PUT_ADDRESS = Struct("8s").pack_into


def state_key_hash(namespace: str, key: bytes) -> bytes:
    """Return the tree's key of a state entry: H(length of the namespace: 1 byte, namespace, key)."""
    name = namespace.encode()
    return hash_of_name(bytes([len(name)]) + name + key)


def hash_of_name(name: bytes) -> bytes:
    """Return the tree's key of a state entry from its name: length of the namespace, namespace, key."""
    return sha256(_KEY + name).digest()


def state_value_hash(value: bytes) -> bytes:
    """Return the hash that stands for a state entry's bytes."""
    return sha256(_VALUE + value).digest()


def set_address(node: Node, address: bytes) -> None:
    """Note the address of the record that made a node this version of it."""
    _PUT_ADDRESS(node, 0, address)


def address_of(node: Node) -> bytes:
    """Return the address of the record that made a node this version of it."""
    return bytes(node[:ADDRESS_BYTES])


def pack_root(root: Ref | None) -> bytes:
    """Return the bytes of a reference to a node, 41 of them, as of a tree's root; none for an empty tree."""
    return b"" if root is None else root[0] + root[1] + bytes([root[2]])


def read_root(packed: bytes) -> Ref | None:
    """Return the reference that `pack_root` packed."""
    return (packed[:32], packed[32:40], packed[40]) if packed else None


def pack_entry(name: bytes, value: bytes) -> bytes:
    """Return a state entry as stored: its name (`sized(namespace) + key`) behind its length, its value."""
    return len(name).to_bytes(4, "big") + name + value


def name_of_entry(packed: bytes) -> bytes:
    """Return the name in a packed entry."""
    return packed[4 : 4 + int.from_bytes(packed[:4], "big")]
