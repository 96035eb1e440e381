"""Binary Merkle trees over a list of leaf hashes (RFC 6962, section 2.1, with our domain tags)."""

from __future__ import annotations

from collections.abc import Sequence

from chain.primitives.crypto import ZERO_HASH, digest

DEPTH_MAX = 40


def _parent(left: bytes, right: bytes) -> bytes:
    return digest("assent/merkle-node", left, right)


def leaf_hash(data: bytes) -> bytes:
    """Return the hash that stands for one leaf's bytes."""
    return digest("assent/merkle-leaf", data)


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes in order; an odd node moves up unpaired; empty is 32 zeros."""
    level = list(leaves)
    if not level:
        return ZERO_HASH
    while len(level) > 1:
        level = _next_level(level)
    return level[0]


def levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Return every level of the tree, leaves first, root last: keep it to prove many leaves of one tree."""
    found = [list(leaves)]
    while len(found[-1]) > 1:
        found.append(_next_level(found[-1]))
    return found


def proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the sibling hashes from leaf `index` up to the root."""
    return path_in(levels(leaves), index)


def path_in(tree: Sequence[Sequence[bytes]], index: int) -> tuple[bytes, ...]:
    """Return the sibling hashes from leaf `index` up to the root of a tree given by its levels."""
    if not 0 <= index < len(tree[0]):
        raise IndexError(f"leaf {index} of {len(tree[0])}")
    path = []
    for level in tree[:-1]:
        if index ^ 1 < len(level):
            path.append(level[index ^ 1])
        index //= 2
    return tuple(path)


def verify(root_hash: bytes, leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> bool:
    """Tell whether `leaf` is number `index` of the `count` leaves under this root."""
    if not 0 <= index < count or len(path) > DEPTH_MAX:
        return False
    node, siblings, width = leaf, iter(path), count
    while width > 1:
        if index ^ 1 < width:
            sibling = next(siblings, None)
            if sibling is None:
                return False
            node = _parent(sibling, node) if index & 1 else _parent(node, sibling)
        index, width = index // 2, (width + 1) // 2
    return node == root_hash and next(siblings, None) is None


def _next_level(level: list[bytes]) -> list[bytes]:
    paired = [_parent(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    if len(level) % 2:
        paired.append(level[-1])
    return paired
