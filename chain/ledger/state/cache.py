"""Cache of the nodes of one state tree, of bounded size.

The nodes below one inner node stand together in a list, by the next byte of their paths: a large tree is
read at random, and every object on the way to a node is memory that no processor cache holds. That, and
weights that change in place, is why it is no `chain.primitives.boundedcache`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from chain.ledger.state.node import Node

NODE_EXTRA, LIST_EXTRA = 200, 2_200
"""What Python adds to the bytes of a node; what a list of 256 nodes takes."""

Below = list["Node | None"]
"""The nodes at the 256 paths one byte longer than another; None where none is kept."""


class NodeCache:
    """Keeps nodes by path, at most `bytes_max` of them after an update but for the root; for one thread."""

    __slots__ = ("_bytes", "_bytes_max", "_lists", "below", "root")

    def __init__(self, bytes_max: int) -> None:
        """`bytes_max` is what the nodes may sum up to, with `NODE_EXTRA` and `LIST_EXTRA`."""
        self._lists: dict[bytes, Below] = {}
        self._bytes, self._bytes_max = 0, bytes_max
        self.root: Node | None = None
        """The node at the empty path; it is not forgotten."""
        self.below: Callable[[bytes], Below | None] = self._lists.get
        """Returns the nodes below a path, None when none is kept; not to be changed by the caller."""

    @property
    def room(self) -> int:
        """How many bytes more can be kept before something is forgotten."""
        return self._bytes_max - self._bytes

    def get(self, path: bytes) -> Node | None:
        """Return the node at a path, None when it is not kept."""
        if not path:
            return self.root
        nodes = self.below(path[:-1])
        return None if nodes is None else nodes[path[-1]]

    def add(self, path: bytes, node: Node) -> None:
        """Keep a node instead of the one that was kept at its path."""
        if not path:
            self._bytes += _size(node) - _size(self.root)
            self.root = node
            return
        nodes = self.below(path[:-1])
        if nodes is None:
            nodes = self._lists[path[:-1]] = [None] * 256
            self._bytes += LIST_EXTRA
        self._bytes += _size(node) - _size(nodes[path[-1]])
        nodes[path[-1]] = node

    def update(self, made: Mapping[bytes, Node], removed: Iterable[bytes], grown: int) -> None:
        """Keep new nodes, drop those at paths where none stands any more, and forget what is too much.

        `grown` is by how much nodes that are kept became longer since they were given.
        """
        self._bytes += grown
        for path in removed:
            self._drop(path)
        for path, node in made.items():
            self.add(path, node)
        if self._bytes > self._bytes_max:
            self._forget()

    def clear(self) -> None:
        """Forget everything."""
        self._lists.clear()
        self._bytes, self.root = 0, None

    def _drop(self, path: bytes) -> None:
        if not path:
            self._bytes -= _size(self.root)
            self.root = None
            return
        nodes = self.below(path[:-1])
        if nodes is None or (node := nodes[path[-1]]) is None:
            return
        nodes[path[-1]] = None
        self._bytes -= _size(node)
        if nodes.count(None) == len(nodes):
            del self._lists[path[:-1]]
            self._bytes -= LIST_EXTRA

    def _forget(self) -> None:
        """Forget nodes together with their neighbours, lowest first and then what was known longest.

        An eighth more than must be goes, so that this is rare.
        """
        for path in sorted(self._lists, key=len, reverse=True):
            if self._bytes <= self._bytes_max - self._bytes_max // 8:
                return
            self._bytes -= _weight(self._lists.pop(path))


def _size(node: Node | None) -> int:
    return 0 if node is None else len(node) + NODE_EXTRA


def _weight(nodes: Below) -> int:
    kept = list(filter(None, nodes))
    return LIST_EXTRA + NODE_EXTRA * len(kept) + sum(map(len, kept))
