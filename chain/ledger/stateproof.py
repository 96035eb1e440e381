"""Proofs from the state tree: the path of one key, which shows its value or that it has none."""

from __future__ import annotations

from binascii import hexlify
from dataclasses import dataclass
from typing import Annotated

from chain.ledger.statenode import (
    DEPTH_MAX,
    NIBBLE,
    Load,
    Ref,
    child_of,
    hashes_of,
    leaf_hash,
    mask_of,
    node_hash,
)
from chain.primitives.codec import Bound, Hash, record
from chain.primitives.crypto import ZERO_HASH

Levels = tuple[tuple[int, tuple[bytes, ...]], ...]


@record("state-proof", max_bytes=65_536)
class StateProof:
    """The path of one key through the tree of a height: proves its value, or that it has none."""

    levels: Annotated[
        tuple[tuple[Annotated[int, Bound(0, 65_535)], Annotated[tuple[Hash, ...], Bound(0, 16)]], ...],
        Bound(0, DEPTH_MAX),
    ]
    """From the root down: mask of present children, and their hashes without the path's own."""
    leaf: tuple[Hash, Hash] | None
    """(key hash, value hash) at the path's end; None when nothing stands there."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the path of a key ends in one tree."""

    levels: Levels
    leaf: Ref | None


def find(load: Load, root: Ref | None, key_hash: bytes) -> Place:
    """Follow a key's path from a root; the leaf found may be another key's, which proves absence."""
    path = hexlify(key_hash)
    levels: list[tuple[int, tuple[bytes, ...]]] = []
    ref = root
    while ref is not None and ref[2] is None:
        depth = len(levels)
        node = load(ref[1], path[:depth], ref[0])
        nibble = NIBBLE[path[depth]]
        mask, hashes = mask_of(node), hashes_of(node)
        ref = child_of(node, nibble)
        if ref is not None:
            del hashes[(mask & ((1 << nibble) - 1)).bit_count()]
        levels.append((mask, tuple(hashes)))
    return Place(tuple(levels), ref)


def root_of(proof: StateProof, key_hash: bytes) -> bytes | None:
    """Return the root that a proof of this key leads to; None when the proof is malformed."""
    path = hexlify(key_hash)
    levels = proof.levels
    current: bytes | None = None
    if proof.leaf is not None:
        # another key's leaf proves absence only if it stands on this key's path
        if hexlify(proof.leaf[0])[: len(levels)] != path[: len(levels)]:
            return None
        current = leaf_hash(*proof.leaf)
    for depth in range(len(levels) - 1, -1, -1):
        mask, hashes = levels[depth]
        nibble = NIBBLE[path[depth]]
        present = mask >> nibble & 1
        if bool(present) != (current is not None) or mask.bit_count() != len(hashes) + present:
            return None
        children = list(hashes)
        if current is not None:
            children.insert((mask & ((1 << nibble) - 1)).bit_count(), current)
        current = node_hash(mask, b"".join(children))
    return ZERO_HASH if current is None else current
