"""State proof: the path of one key through the state tree, which shows its value or that it has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from chain.ledger.state.bucket import BUCKET_LEAVES, Leaf, bucket_hash, leaf_in, leaves_of
from chain.ledger.state.inner import child_of, group_of, groups_of, inner_hash
from chain.ledger.state.node import DEPTH_MAX, LEAVES_AT, Load, Node, Ref
from chain.primitives.codec import Bound, Hash, record
from chain.primitives.crypto import ZERO_HASH

Levels = tuple[tuple[int, tuple[bytes, ...]], ...]


@record("state-proof", max_bytes=65_536)
class StateProof:
    """The path of one key through the tree of a height: proves its value, or that it has none."""

    levels: Annotated[
        tuple[tuple[Annotated[int, Bound(0, 65_535)], Annotated[tuple[Hash, ...], Bound(0, 16)]], ...],
        Bound(0, 2 * DEPTH_MAX),
    ]
    """From the root down, a node's groups and then a group's children: their mask, and their hashes without
    the path's own."""
    bucket: Annotated[tuple[tuple[Hash, Hash], ...], Bound(0, BUCKET_LEAVES)]
    """(key hash, value hash) of every leaf of the bucket at the path's end; none when there is none."""

    def value_hash(self, key_hash: bytes) -> bytes | None:
        """Return the hash of a key's value as the bucket has it, None when the key is not there."""
        return dict(self.bucket).get(key_hash)


@dataclass(frozen=True, slots=True)
class KeyPath:
    """The path of a key through one tree, and what stands at its end."""

    levels: Levels
    bucket: tuple[tuple[bytes, bytes], ...]
    leaf: Leaf | None
    """The key's own."""


def find(load: Load, root: Ref | None, key_hash: bytes) -> KeyPath:
    """Follow a key's path from a root to what proves its value or its absence."""
    levels: list[tuple[int, tuple[bytes, ...]]] = []
    ref, depth = root, 0
    while ref is not None:
        node = load(ref[1], key_hash[:depth], ref[0])
        if node[LEAVES_AT]:
            pairs = tuple((key, value) for key, value, _ in leaves_of(node))
            return KeyPath(tuple(levels), pairs, leaf_in(node, key_hash))
        byte = key_hash[depth]
        mask, hashes = groups_of(node)
        levels.append(_others(mask, hashes, byte >> 4))
        if mask >> (byte >> 4) & 1:
            levels.append(_others(*group_of(node, byte >> 4), byte & 15))
        ref = child_of(node, byte)
        depth += 1
    return KeyPath(tuple(levels), (), None)


def _others(mask: int, hashes: list[bytes], nibble: int) -> tuple[int, tuple[bytes, ...]]:
    """Return a level of a path: the mask, and the hashes but that of a nibble."""
    own = (mask & (1 << nibble) - 1).bit_count()
    return mask, tuple(hashes[:own] + hashes[own + (mask >> nibble & 1) :])


def find_bucket(load: Load, root: Ref | None, key_hash: bytes) -> Node | None:
    """Return the bucket on the path of a key in the tree of a root, None when there is none."""
    ref, depth = root, 0
    while ref is not None:
        node = load(ref[1], key_hash[:depth], ref[0])
        if node[LEAVES_AT]:
            return node
        ref = child_of(node, key_hash[depth])
        depth += 1
    return None


def find_leaf(load: Load, root: Ref | None, key_hash: bytes) -> Leaf | None:
    """Return the leaf of a key in the tree of a root, None when it has none."""
    bucket = find_bucket(load, root, key_hash)
    return None if bucket is None else leaf_in(bucket, key_hash)


def root_of(proof: StateProof, key_hash: bytes) -> bytes | None:
    """Return the root that a proof of this key leads to; None when the proof is malformed."""
    levels, bucket = proof.levels, proof.bucket
    current: bytes | None = None
    if bucket:
        keys = [key for key, _ in bucket]
        above = key_hash[: len(levels) // 2]
        if len(levels) % 2 or keys != sorted(set(keys)) or not all(key.startswith(above) for key in keys):
            return None
        current = bucket_hash(b"".join(keys), b"".join([value for _, value in bucket]))
    for depth in range(len(levels) - 1, -1, -1):
        mask, hashes = levels[depth]
        nibble = key_hash[depth >> 1] >> (0 if depth & 1 else 4) & 15
        present = mask >> nibble & 1
        if bool(present) != (current is not None) or mask.bit_count() != len(hashes) + present:
            return None
        children = list(hashes)
        if current is not None:
            children.insert((mask & ((1 << nibble) - 1)).bit_count(), current)
        current = inner_hash(mask, b"".join(children))
    return ZERO_HASH if current is None else current
