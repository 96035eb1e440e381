"""State chunks: the state of one height in parts, each checked by itself against a certified root.

A chunk is everything below one path of the state tree or, when that is too much, what stands there: an inner
node, a group of one (at an odd number of digits), or a bucket of large entries, each of which is then asked
for at the whole path of its key. All of them hash to what stands above, so from the header's state root
downwards nothing is kept that is not proved, whoever sent it, and chunks of different paths may come from
different peers in any order.
"""

from __future__ import annotations

from binascii import hexlify, unhexlify
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Annotated

from chain.ledger.state.bucket import (
    BUCKET_LEAVES,
    Leaf,
    bucket_hash,
    leaf_in,
    leaves_of,
    pack_bucket,
)
from chain.ledger.state.delta import full_record
from chain.ledger.state.inner import child_of, children_of, groups_of, inner_hash, pack_inner
from chain.ledger.state.node import (
    DEPTH_MAX,
    LEAVES_AT,
    Load,
    Node,
    Ref,
    hash_of_name,
    pack_root,
    read_root,
    state_value_hash,
)
from chain.ledger.state.state import hold
from chain.ledger.state.tree import build_subtree
from chain.ledger.store import rows
from chain.ledger.store.records import PendingRecords, Row
from chain.primitives.codec import Bound, Hash, record
from chain.primitives.errors import ProofInvalid

CHUNK_BYTES = 262_144
"""Names and values of a chunk, unless one entry alone is larger."""
CHUNK_ENTRIES = 4_096
NAME_BYTES_MAX = 4_096
VALUE_BYTES_MAX = 1_048_576
LARGE_BYTES = CHUNK_BYTES + NAME_BYTES_MAX + VALUE_BYTES_MAX + CHUNK_ENTRIES * 16
_DIGITS = b"0123456789abcdef"
_CHILD = 42
"""Bytes that say what one child of a group is: its byte, and it as `pack_root`."""

Path = Annotated[bytes, Bound(0, 2 * DEPTH_MAX)]
"""Where in the tree: ASCII hex digits of key hashes."""
Entry = tuple[Annotated[bytes, Bound(1, NAME_BYTES_MAX)], Annotated[bytes, Bound(0, VALUE_BYTES_MAX)]]
"""(length of the namespace, namespace, key; value)."""
Entries = Annotated[tuple[Entry, ...], Bound(0, CHUNK_ENTRIES)]


@record("state-chunk", max_bytes=LARGE_BYTES)
class StateChunk:
    """All entries below a path of the state tree, or the node or group there: exactly one of the three."""

    path: Path
    mask: Annotated[int, Bound(0, 65_535)]
    """What is present, of an inner node's groups or of a group's children; 0 when it is neither."""
    hashes: Annotated[tuple[Hash, ...], Bound(0, 16)]
    leaves: Annotated[tuple[tuple[Hash, Hash], ...], Bound(0, BUCKET_LEAVES)]
    """(key hash, value hash) of the bucket's leaves, in order."""
    entries: Entries
    """In the order of their key hashes."""

    def paths(self) -> list[bytes]:
        """Return the paths below that the node leads to."""
        below = [self.path + _DIGITS[nibble : nibble + 1] for nibble in range(16) if self.mask >> nibble & 1]
        return below + [hexlify(key) for key, _ in self.leaves]


# --- making chunks --------------------------------------------------------------------------------


def make_chunk(
    load: Load, entry: Callable[[Leaf], tuple[bytes, bytes]], root: Ref | None, path: bytes
) -> StateChunk | None:
    """Return the chunk of what stands exactly at a path of a tree, None when nothing does.

    `entry` returns a leaf's (name, value). Reads at most about `CHUNK_BYTES` whatever lies below. Raises
    DataDamaged for a node that is missing.
    """
    if path.translate(None, _DIGITS):
        return None
    way, ref = unhexlify(path[: len(path) & ~1]), root
    for depth, byte in enumerate(way):
        node = None if ref is None else load(ref[1], way[:depth], ref[0])
        if node is None or ref is None:
            return None
        if node[LEAVES_AT]:
            leaf = leaf_in(node, way) if len(path) == 2 * DEPTH_MAX else None
            return None if leaf is None else StateChunk(path, 0, (), (), (entry(leaf),))
        ref = child_of(node, byte)
    if ref is None:
        return None
    node = load(ref[1], way, ref[0])
    if len(path) % 2 == 0:
        return _entries_below(load, entry, [(way, ref)], path) or _shown(node, path)
    below = _group(node, path) if not node[LEAVES_AT] else []
    if not below:
        return None
    mask, hashes = sum(1 << (at[-1] & 15) for at, _ in below), tuple(child[0] for _, child in below)
    return _entries_below(load, entry, below, path) or StateChunk(path, mask, hashes, (), ())


def _group(node: Node, path: bytes) -> list[tuple[bytes, Ref]]:
    """Return (path, child) of the children in the group of an inner node at this path."""
    way, nibble = unhexlify(path[:-1]), int(path[-1:], 16)
    found = children_of(node).items()
    return [(way + byte.to_bytes(1, "big"), child) for byte, child in found if byte >> 4 == nibble]


def _shown(node: Node, path: bytes) -> StateChunk:
    """Return the chunk that shows a node."""
    if node[LEAVES_AT]:
        return StateChunk(path, 0, (), tuple((key, hashed) for key, hashed, _ in leaves_of(node)), ())
    mask, hashes = groups_of(node)
    return StateChunk(path, mask, tuple(hashes), (), ())


def _entries_below(
    load: Load, entry: Callable[[Leaf], tuple[bytes, bytes]], tops: list[tuple[bytes, Ref]], path: bytes
) -> StateChunk | None:
    """Return the chunk of all entries below nodes, (path, node), in order; None when that is too much."""
    entries: list[Entry] = []
    size = 0
    for leaf in chain.from_iterable(leaves_below(load, ref, at) for at, ref in tops):
        name, value = entry(leaf)
        size += len(name) + len(value)
        if entries and (size > CHUNK_BYTES or len(entries) == CHUNK_ENTRIES):
            return None
        entries.append((name, value))
    return StateChunk(path, 0, (), (), tuple(entries))


def leaves_below(load: Load, top: Ref, path: bytes) -> Iterator[Leaf]:
    """Yield the leaves below a node whose path this is, in the order of their key hashes."""
    waiting = [(top, path)]
    while waiting:
        ref, at = waiting.pop()
        node = load(ref[1], at, ref[0])
        if node[LEAVES_AT]:
            yield from leaves_of(node)
        else:
            below = [(child, at + byte.to_bytes(1, "big")) for byte, child in children_of(node).items()]
            waiting += below[::-1]


# --- taking chunks --------------------------------------------------------------------------------


class StateLoader:
    """Turns chunks into the rows of one height's state tree, from its root downwards.

    Keeps what a node said of each path not yet here (the frontier, deepest first, so that it stays small)
    and the nodes above it. What it knows is also written as rows (`rows.PARTIAL`), so a loader made from
    those goes on where a former process stopped.
    """

    def __init__(self, height: int, state_root: bytes, partial: Iterable[Row] = ()) -> None:
        """`partial` are the rows of a former loader of the same height, if any."""
        self.height, self.state_root = height, state_root
        self._wanted: dict[bytes, bytes] = {b"": state_root}
        """Path -> the hash that must stand there; of a value, at the path of its key."""
        self._opened: dict[bytes, _Opened] = {}
        """Path -> node there that is not complete."""
        self._above: dict[bytes, bytes] = {}
        """Path below an opened node -> that node's path."""
        self._done: dict[bytes, bytes] = {}
        """Path that is complete while the node above is not -> what stands there: a node as `pack_root`,
        the children of a group (`_CHILD`), or what a leaf holds."""
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

    def take(self, chunk: StateChunk, records: PendingRecords) -> tuple[list[Row], list[bytes]]:
        """Return the rows to (put, delete) for a chunk; nothing for a path that is not wanted (any more).

        What it holds is added to `records`. Raises ProofInvalid when it does not hash to what stands above.
        """
        path, expected = chunk.path, self._wanted.get(chunk.path)
        if expected is None:
            return [], []
        if not chunk.mask and not chunk.leaves:
            return self._take_entries(chunk, expected, records)
        row = _row_of(chunk)
        opened = _Opened.read(path, row)
        one_kind = not chunk.entries and not (chunk.leaves and (chunk.mask or chunk.hashes))
        if not one_kind or opened.hash != expected:
            raise self._invalid(path)
        self._open(path, opened)
        return [(rows.PARTIAL + path, row)], []

    def _take_entries(
        self, chunk: StateChunk, expected: bytes, records: PendingRecords
    ) -> tuple[list[Row], list[bytes]]:
        path = chunk.path
        named = {hash_of_name(name): (name, value) for name, value in chunk.entries}
        if list(named) != sorted(named) or len(named) != len(chunk.entries) or chunk.hashes:
            raise self._invalid(path)
        if any(not hexlify(key).startswith(path) for key in named):
            raise self._invalid(path)
        leaves = {
            key: (state_value_hash(value), hold(name, value, records)) for key, (name, value) in named.items()
        }
        above = self._above.get(path)
        if above is not None and self._opened[above].bucket:
            hashed, what = leaves.get(unhexlify(path), (b"", b""))
        else:
            hashed, what = _built(path, leaves, records)
        if hashed != expected:
            raise self._invalid(path)
        self.entries += len(leaves)
        del self._wanted[path]
        return self._close(path, what, records)

    def _open(self, path: bytes, node: _Opened) -> None:
        """Expect what a node, or group, leads to instead of it."""
        self._wanted.pop(path, None)
        self._opened[path] = node
        for below, expected in node.below.items():
            self._above[below] = path
            if below not in self._done and below not in self._opened:
                self._wanted[below] = expected

    def _close(self, path: bytes, what: bytes, records: PendingRecords) -> tuple[list[Row], list[bytes]]:
        """Note that a path is complete, and every node above it that this completes."""
        deletes: list[bytes] = []
        while path in self._above:
            self._done[path] = what
            above = self._above[path]
            node = self._opened[above]
            if not node.below.keys() <= self._done.keys():
                return [(rows.PARTIAL + path, b"d" + what)], deletes
            held = {below: self._done.pop(below) for below in node.below}
            deletes += [rows.PARTIAL + below for below in held]
            for below in held:
                del self._above[below]
            del self._opened[above]
            path, what = above, node.packed(above, held, records)
        self.root = read_root(what)
        return [(rows.PARTIAL, b"d" + what)], deletes

    def _resume(self, partial: dict[bytes, bytes]) -> None:
        opened: dict[bytes, _Opened] = {}
        for key in sorted(partial):
            path, row = key[len(rows.PARTIAL) :], partial[key]
            if row[:1] == b"d":
                self._done[path] = row[1:]
            else:
                opened[path] = self._opened[path] = _Opened.read(path, row)
        self.root = read_root(self._done.pop(b"", b""))
        if self.root is not None or opened:
            self._wanted.clear()
        for path, node in opened.items():
            self._open(path, node)

    def _invalid(self, path: bytes) -> ProofInvalid:
        return ProofInvalid(
            f"state of height {self.height}: the chunk of path {path.decode(errors='replace') or '(root)'} "
            "does not hash to what the certified header says"
        )


def _built(
    path: bytes, leaves: Mapping[bytes, tuple[bytes | None, bytes]], records: PendingRecords
) -> tuple[bytes, bytes]:
    """Make what stands at a path, of all leaves below; return its hash, and what it is (see `_done`)."""
    way = unhexlify(path[: len(path) & ~1])
    if len(path) % 2 == 0:
        built = build_subtree(way, leaves, records)
        return (b"", b"") if built is None else (built[0], pack_root(built))
    mask, hashes, children = 0, [], []
    for start, below in groupby(leaves, key=lambda key: key[: len(way) + 1]):
        child = build_subtree(start, {key: leaves[key] for key in below}, records)
        mask |= 1 << (start[-1] & 15)
        hashes.append(b"" if child is None else child[0])
        children.append(start[-1:] + pack_root(child))
    return inner_hash(mask, b"".join(hashes)), b"".join(children)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A node, or group, of which not everything below is here yet."""

    hash: bytes
    below: dict[bytes, bytes]
    """Path -> hash, in order: of an inner node's groups, a group's children, a bucket's values."""
    bucket: bool

    @classmethod
    def read(cls, path: bytes, row: bytes) -> _Opened:
        """Return the node that `_row_of` made a row of."""
        if row[:1] == b"b":
            keys, values = row[1 : 1 + len(row) // 2], row[1 + len(row) // 2 :]
            pairs = [(keys[at : at + 32], values[at : at + 32]) for at in range(0, len(keys), 32)]
            return cls(bucket_hash(keys, values), {hexlify(key): value for key, value in pairs}, bucket=True)
        mask, joined = int.from_bytes(row[1:3], "big"), row[3:]
        paths = [path + _DIGITS[nibble : nibble + 1] for nibble in range(16) if mask >> nibble & 1]
        below = {child: joined[32 * i : 32 * i + 32] for i, child in enumerate(paths)}
        return cls(inner_hash(mask, joined), below, bucket=False)

    def packed(self, path: bytes, held: dict[bytes, bytes], records: PendingRecords) -> bytes:
        """Add it, complete, to `records`; return what it is (see `_done`). `held` is by path, in order."""
        if self.bucket:
            node = pack_bucket([(unhexlify(below), self.below[below], what) for below, what in held.items()])
        elif len(path) % 2:
            return b"".join([unhexlify(below[-2:]) + what for below, what in held.items()])
        else:
            joined = b"".join(held.values())
            found = [joined[at : at + _CHILD] for at in range(0, len(joined), _CHILD)]
            node = pack_inner({each[0]: child for each in found if (child := read_root(each[1:]))})
        return pack_root((self.hash, records.add(full_record(node)), len(held) if self.bucket else 0))


def _row_of(chunk: StateChunk) -> bytes:
    """Return the row of the node or group that a chunk shows."""
    if chunk.leaves:
        keys, values = zip(*chunk.leaves, strict=True)
        return b"b" + b"".join(keys) + b"".join(values)
    return b"n" + chunk.mask.to_bytes(2, "big") + b"".join(chunk.hashes)
