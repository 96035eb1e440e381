"""The state of one height in chunks, each checked by itself against a root that a quorum certified.

A chunk is everything below one path of the state tree or, when that is too much, the inner node there. Both
hash to what the parent said, so from the header's state root downwards nothing is kept that is not proved,
whoever sent it, and chunks of different paths may come from different peers in any order.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated

from chain.ledger import rows
from chain.ledger.records import Records, Row
from chain.ledger.statenode import (
    DEPTH_MAX,
    Load,
    Ref,
    children_of,
    hash_of_name,
    node_hash,
    pack_node,
    state_value_hash,
    stored_hash,
)
from chain.ledger.statetree import build_subtree
from chain.primitives.codec import Bound, Hash, record
from chain.primitives.errors import ProofInvalid

CHUNK_BYTES = 262_144
"""Names and values of a chunk, unless one entry alone is larger."""
CHUNK_ENTRIES = 4_096
NAME_BYTES_MAX = 4_096
VALUE_BYTES_MAX = 1_048_576
LARGE_BYTES = CHUNK_BYTES + NAME_BYTES_MAX + VALUE_BYTES_MAX + CHUNK_ENTRIES * 16
_DIGITS = b"0123456789abcdef"

Path = Annotated[bytes, Bound(0, DEPTH_MAX)]
"""Where in the tree: ASCII hex digits of key hashes."""
Entry = tuple[Annotated[bytes, Bound(1, NAME_BYTES_MAX)], Annotated[bytes, Bound(0, VALUE_BYTES_MAX)]]
"""(length of the namespace, namespace, key; value)."""
Entries = Annotated[tuple[Entry, ...], Bound(0, CHUNK_ENTRIES)]


@record("state-chunk", max_bytes=LARGE_BYTES)
class StateChunk:
    """All entries below a path of the state tree, or the inner node there."""

    path: Path
    mask: Annotated[int, Bound(0, 65_535)]
    """Present children of the inner node; 0 when the entries follow."""
    hashes: Annotated[tuple[Hash, ...], Bound(0, 16)]
    entries: Entries
    """In the order of their key hashes."""


# --- making chunks --------------------------------------------------------------------------------


def make_chunk(load: Load, value: Callable[[Ref], tuple[bytes, bytes]], top: Ref, path: bytes) -> StateChunk:
    """Return the chunk of what stands at `path`; `value` returns a leaf's (name, value).

    Reads at most about `CHUNK_BYTES` whatever lies below. Raises DataDamaged for a node that is missing.
    """
    entries: list[Entry] = []
    size = 0
    for leaf in leaves_below(load, top, path):
        name, content = value(leaf)
        size += len(name) + len(content)
        if entries and (size > CHUNK_BYTES or len(entries) == CHUNK_ENTRIES):
            node = load(top[1], path, top[0])
            children = children_of(node)
            mask = sum(1 << nibble for nibble in children)
            return StateChunk(path, mask, tuple(child[0] for child in children.values()), ())
        entries.append((name, content))
    return StateChunk(path, 0, (), tuple(entries))


def leaves_below(load: Load, top: Ref, path: bytes) -> Iterator[Ref]:
    """Yield the leaves below a reference that stands at `path`, in the order of their key hashes."""
    waiting = [(top, path)]
    while waiting:
        ref, at = waiting.pop()
        if ref[2] is not None:
            yield ref
            continue
        below = children_of(load(ref[1], at, ref[0]))
        waiting += [(below[nibble], at + _DIGITS[nibble : nibble + 1]) for nibble in sorted(below)[::-1]]


def ref_at(load: Load, root: Ref | None, path: bytes) -> Ref | None:
    """Return what stands exactly at a path of a tree; None when nothing does."""
    ref = root
    for depth, digit in enumerate(path):
        if ref is None or ref[2] is not None:
            return None
        ref = children_of(load(ref[1], path[:depth], ref[0])).get(_DIGITS.find(digit))
    return ref


# --- taking chunks --------------------------------------------------------------------------------


class StateLoader:
    """Turns chunks into the rows of one height's state tree, from its root downwards.

    Keeps what a parent said of each path not yet here (the frontier, deepest first, so that it stays small)
    and the inner nodes above it. What it knows is also written as rows (`rows.PARTIAL`), so a loader made
    from those goes on where a former process stopped.
    """

    def __init__(self, height: int, state_root: bytes, partial: Iterable[Row] = ()) -> None:
        """`partial` are the rows of a former loader of the same height, if any."""
        self.height, self.state_root = height, state_root
        self._wanted: dict[bytes, bytes] = {b"": state_root}
        """Path -> the hash that must stand there."""
        self._nodes: dict[bytes, dict[int, bytes]] = {}
        """Path of an inner node that is not complete -> its children's hashes."""
        self._refs: dict[bytes, Ref] = {}
        """Path of a child that is complete, while its parent is not -> what stands there."""
        self.root: Ref | None = None
        """The finished tree."""
        self.entries = 0
        self._resume(dict(partial))

    @property
    def complete(self) -> bool:
        """Whether the whole state is here."""
        return self.root is not None

    @property
    def known_share(self) -> float:
        """The share of the tree that is here, 0..1, by the width of the missing paths."""
        return 1.0 - sum(16.0 ** -len(path) for path in self._wanted)

    def wanted(self) -> Iterator[bytes]:
        """Yield the paths that can be asked for now, those that close gaps first."""
        return iter(sorted(self._wanted, key=lambda path: (-len(path), path)))

    def take(self, chunk: StateChunk, records: Records) -> tuple[list[Row], list[bytes]]:
        """Return the rows to (put, delete) for a chunk; nothing for a path that is not wanted (any more).

        What it holds is added to `records`. Raises ProofInvalid when it does not hash to its parent's word.
        """
        expected = self._wanted.get(chunk.path)
        if expected is None:
            return [], []
        if chunk.mask:
            return self._take_node(chunk, expected), []
        return self._take_entries(chunk, expected, records)

    def _take_node(self, chunk: StateChunk, expected: bytes) -> list[Row]:
        joined = b"".join(chunk.hashes)
        places = [nibble for nibble in range(16) if chunk.mask >> nibble & 1]
        if (
            len(places) != len(chunk.hashes)
            or len(chunk.path) >= DEPTH_MAX
            or node_hash(chunk.mask, joined) != expected
        ):
            raise self._invalid(chunk.path)
        self._open(chunk.path, dict(zip(places, chunk.hashes, strict=True)))
        return [(rows.PARTIAL + chunk.path, b"n" + chunk.mask.to_bytes(2, "big") + joined)]

    def _take_entries(
        self, chunk: StateChunk, expected: bytes, records: Records
    ) -> tuple[list[Row], list[bytes]]:
        named = {hash_of_name(name): (name, value) for name, value in chunk.entries}
        if list(named) != sorted(named) or len(named) != len(chunk.entries):
            raise self._invalid(chunk.path)
        if any(not hexlify(key).startswith(chunk.path) for key in named):
            raise self._invalid(chunk.path)
        leaves = {
            key: (state_value_hash(value), records.add(rows.value_record(name, value)))
            for key, (name, value) in named.items()
        }
        built = build_subtree(chunk.path, leaves, records)
        if built is None or built[0] != expected:
            raise self._invalid(chunk.path)
        self.entries += len(leaves)
        del self._wanted[chunk.path]
        return self._close(chunk.path, built, records)

    def _open(self, path: bytes, hashes: dict[int, bytes]) -> None:
        """Expect the children of an inner node instead of the node."""
        self._wanted.pop(path, None)
        self._nodes[path] = hashes
        for nibble, expected in hashes.items():
            child = path + _DIGITS[nibble : nibble + 1]
            if child not in self._refs and child not in self._nodes:
                self._wanted[child] = expected

    def _close(self, path: bytes, ref: Ref, records: Records) -> tuple[list[Row], list[bytes]]:
        """Note that a path is complete, and every node above it that this completes."""
        deletes: list[bytes] = []
        while path:
            parent = path[:-1]
            self._refs[path] = ref
            children = {nibble: parent + _DIGITS[nibble : nibble + 1] for nibble in self._nodes[parent]}
            if any(child not in self._refs for child in children.values()):
                return [(rows.PARTIAL + path, b"d" + rows.pack_root(ref))], deletes
            below = {nibble: self._refs.pop(child) for nibble, child in children.items()}
            node = pack_node(records.place(), below)
            deletes += [rows.PARTIAL + child for child in children.values()]
            del self._nodes[parent]
            path, ref = parent, (stored_hash(node), records.add(node), None)
        self.root = ref
        return [(rows.PARTIAL, b"d" + rows.pack_root(ref))], deletes

    def _resume(self, partial: dict[bytes, bytes]) -> None:
        for key in sorted(partial):
            path, row = key[len(rows.PARTIAL) :], partial[key]
            if row[:1] == b"d":
                self._refs[path] = rows.read_root(row[1:]) or (b"", b"", None)
            else:
                mask = int.from_bytes(row[1:3], "big")
                places = [nibble for nibble in range(16) if mask >> nibble & 1]
                self._nodes[path] = {nibble: row[3 + 32 * i : 35 + 32 * i] for i, nibble in enumerate(places)}
        self.root = self._refs.pop(b"", None)
        if self.root is not None or self._nodes:
            self._wanted.clear()
        for path, hashes in list(self._nodes.items()):
            self._open(path, hashes)

    def _invalid(self, path: bytes) -> ProofInvalid:
        return ProofInvalid(
            f"state of height {self.height}: the chunk of path {path.decode(errors='replace') or '(root)'} "
            "does not hash to what the certified header says"
        )
