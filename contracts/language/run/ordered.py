"""The B-tree of a Map that can be walked in the order of its keys: its nodes are rows of the state.

Reads of the state are by key, and proved by key, so an order of keys must itself stand in rows. Beside the
entries `NAME/key` lie the head `NAME#`, [number of the root, next number], and the nodes `NAME#n`: a leaf is
[0, keys], another node [1, keys, children], where child i holds the keys below keys[i]. Every row is read,
decoded, written and paid for as an entry is. Bayer and McCreight, "Organization and maintenance of large
ordered indices" (1972); a node that becomes empty goes, others are not merged.

All keys of an index are of one type: a version that gives the Map another one finds the first key of every
node that it reads in its way (TYPE_ERROR), before Python compares a text with a number, which no verdict
covers. `lifecycle` refuses to commit such a version, too.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chain.primitives.values import Value
from contracts.language.faults import Reverted
from contracts.language.hints import Hint, wanted
from contracts.language.limits import GAS_ORDER_STEP, NODE_KEYS_MAX, PAGE_MAX
from contracts.language.run import host
from contracts.language.run.checks import checker
from contracts.language.run.machine import Machine
from contracts.language.run.payments import new_items
from contracts.language.run.values import type_name, wrong_type

Node = list[Any]
_KEYS, _CHILDREN = 1, 2


@dataclass(frozen=True, slots=True)
class _Step:
    """One node on the way down, and the child that was taken."""

    number: int
    node: Node
    place: int


class Index:
    """The index of one Map; it holds nothing but the names of its rows and the type of its keys."""

    __slots__ = ("_fits", "_hint", "_name", "head", "prefix")

    def __init__(self, name: str, hint: Hint) -> None:
        """Name the rows and what the keys are."""
        self.head = self.prefix = name.encode() + b"#"
        self._name, self._hint = name, hint
        self._fits = checker(hint)

    def add(self, m: Machine, key: Value) -> None:
        """Add a key, unless it is there."""
        head = host.load(m, self.head)
        if head is host.ABSENT:
            host.store(m, self._row(0), [0, [key]])
            host.store(m, self.head, [0, 1])
            return
        path, number, leaf = self._descend(m, head[0], key)
        place = bisect_left(leaf[_KEYS], key)
        if place < len(leaf[_KEYS]) and leaf[_KEYS][place] == key:
            return
        leaf[_KEYS].insert(place, key)
        self._put(m, head, path, number, leaf)

    def discard(self, m: Machine, key: Value) -> None:
        """Take a key out, if it is there."""
        head = host.load(m, self.head)
        if head is host.ABSENT:
            return
        path, number, leaf = self._descend(m, head[0], key)
        place = bisect_left(leaf[_KEYS], key)
        if place == len(leaf[_KEYS]) or leaf[_KEYS][place] != key:
            return
        del leaf[_KEYS][place]
        if leaf[_KEYS]:
            host.store(m, self._row(number), leaf)
        else:
            self._drop(m, head, path, number)

    def page(self, m: Machine, after: Value, limit: int, prefix: Value) -> list[Value]:
        """Return at most `limit` keys in order, behind `after` and with this prefix; None admits all.

        Reverts with VALUE_ERROR unless `limit` is 1 to PAGE_MAX.
        """
        if not 1 <= limit <= PAGE_MAX:
            raise Reverted("VALUE_ERROR", f"a page has 1 to {PAGE_MAX} keys, not {limit}")
        found: list[Value] = []
        for key in self._from(m, after, prefix):
            if prefix is not None and key[: len(prefix)] != prefix:
                break
            found.append(key)
            if len(found) == limit:
                break
        new_items(m, len(found))
        return found

    def _row(self, number: int) -> bytes:
        return self.prefix + str(number).encode()

    def _load(self, m: Machine, number: int) -> Node:
        m.charge(GAS_ORDER_STEP)
        node: Node = host.load(m, self._row(number))
        first = node[_KEYS][0]
        if not self._fits(m, first):
            found = f"has keys such as {type_name(first)} in its order, and is of {wanted(self._hint)} now"
            raise wrong_type(f"{self._name} {found}: give the Map another name")
        return node

    def _descend(self, m: Machine, number: int, key: Value) -> tuple[list[_Step], int, Node]:
        """Return the way to the leaf where a key belongs, and that leaf."""
        path: list[_Step] = []
        node = self._load(m, number)
        while node[0]:
            place = bisect_right(node[_KEYS], key)
            path.append(_Step(number, node, place))
            number = node[_CHILDREN][place]
            node = self._load(m, number)
        return path, number, node

    def _put(self, m: Machine, head: list[int], path: list[_Step], number: int, node: Node) -> None:
        """Store a node that has grown; one too many is split, its middle key going to the node above."""
        while len(node[_KEYS]) > NODE_KEYS_MAX:
            middle = len(node[_KEYS]) // 2
            separator = node[_KEYS][middle]
            if node[0]:
                right = [1, node[_KEYS][middle + 1 :], node[_CHILDREN][middle + 1 :]]
                left = [1, node[_KEYS][:middle], node[_CHILDREN][: middle + 1]]
            else:
                right, left = [0, node[_KEYS][middle:]], [0, node[_KEYS][:middle]]
            other, head[1] = head[1], head[1] + 1
            host.store(m, self._row(number), left)
            host.store(m, self._row(other), right)
            if path:
                above = path.pop()
                number, node = above.number, above.node
                node[_KEYS].insert(above.place, separator)
                node[_CHILDREN].insert(above.place + 1, other)
            else:
                node = [1, [separator], [number, other]]
                number, head[0], head[1] = head[1], head[1], head[1] + 1
            host.store(m, self.head, head)
        host.store(m, self._row(number), node)

    def _drop(self, m: Machine, head: list[int], path: list[_Step], number: int) -> None:
        """Take out a node that has become empty, and those above that held it alone."""
        host.remove(m, self._row(number))
        while path:
            above = path.pop()
            keys, children = above.node[_KEYS], above.node[_CHILDREN]
            del children[above.place]
            if keys:
                del keys[max(0, above.place - 1)]
            if len(children) > 1 or (children and path):
                host.store(m, self._row(above.number), above.node)
                return
            host.remove(m, self._row(above.number))
            if children:  # the root has one child left, which takes its place
                host.store(m, self.head, [children[0], head[1]])
                return
        host.remove(m, self.head)

    def _from(self, m: Machine, after: Value, prefix: Value) -> Iterator[Value]:
        """Give the keys behind `after`, from the prefix on; each node is read when it is reached."""
        head = host.load(m, self.head)
        if head is host.ABSENT:
            return
        behind = after is not None and (prefix is None or after >= prefix)
        start = after if behind else prefix
        path: list[tuple[Node, int]] = []
        node = self._load(m, head[0])
        while node[0]:
            place = 0 if start is None else bisect_right(node[_KEYS], start)
            path.append((node, place))
            node = self._load(m, node[_CHILDREN][place])
        keys = node[_KEYS]
        place = 0 if start is None else bisect_right(keys, start) if behind else bisect_left(keys, start)
        while True:
            yield from keys[place:]
            while path and path[-1][1] + 1 >= len(path[-1][0][_CHILDREN]):
                path.pop()
            if not path:
                return
            node, at = path.pop()
            path.append((node, at + 1))
            node = self._load(m, node[_CHILDREN][at + 1])
            while node[0]:
                path.append((node, 0))
                node = self._load(m, node[_CHILDREN][0])
            keys, place = node[_KEYS], 0
