"""Points-to analysis: classes of values that may be one object, each with the class of what lies inside.

Steensgaard, "Points-to analysis in almost linear time" (POPL 1996): values that may be one object are joined,
and then whatever lies inside them is, so the work is almost linear in the source whatever an author writes.
"""

from __future__ import annotations

from dataclasses import dataclass

DEPTH_MAX = 3
"""Levels told apart inside an object; what lies deeper counts as lying in the last one."""
UNKNOWN, NOTHING = -1, -2
"""What is inside: not looked at yet, or only values that cannot change."""

HELD, STORED, RETURNED, CHANGED, LIST, USED = 1, 2, 4, 8, 16, 32
"""Flags of a class: a local or a caller names it; it goes to state, an event or another contract; a function
returns it; something changes it; it is certainly a list; it is compared, walked or computed with."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary of a function for its callers: the classes of its parameters and result, level by level."""

    params: tuple[tuple[int, ...], ...]
    result: tuple[int, ...]
    origins: tuple[int, ...]
    """Of each level of the result."""
    changed: frozenset[int]
    stored: frozenset[int]


class Objects:
    """A union-find of numbered objects; every method takes and returns any number of a class."""

    __slots__ = ("_depth", "_inside", "_origin", "_parent", "flags")

    def __init__(self) -> None:
        """Start with none."""
        self._parent: list[int] = []
        self._inside: list[int] = []
        self._depth: list[int] = []
        self._origin: list[int] = []
        self.flags: list[int] = []
        """By class: of use for what `find` returns."""

    def new(self, origin: int = 0, inside: int = UNKNOWN, *, flags: int = 0, depth: int = 0) -> int:
        """Return a new object; `origin` tells what it was copied from, 0 for nothing."""
        self._parent.append(len(self._parent))
        self._inside.append(inside)
        self._depth.append(depth)
        self._origin.append(origin)
        self.flags.append(flags)
        return len(self._parent) - 1

    def find(self, one: int) -> int:
        """Return the number that stands for the class."""
        parent = self._parent
        while parent[one] != one:
            parent[one] = one = parent[parent[one]]
        return one

    def origin(self, one: int) -> int:
        """Return the greatest origin of the class."""
        return self._origin[self.find(one)]

    def mark(self, one: int, flag: int) -> None:
        """Set a flag of the class."""
        self.flags[self.find(one)] |= flag

    def has(self, one: int, flag: int) -> bool:
        """Tell whether the class has one of these flags."""
        return bool(self.flags[self.find(one)] & flag)

    def inside(self, one: int) -> int | None:
        """Return what lies inside; None when that cannot change."""
        root = self.find(one)
        held = self._inside[root]
        if held == NOTHING:
            return None
        if held == UNKNOWN:
            depth = self._depth[root] + 1
            held = root if depth > DEPTH_MAX else self.new(self._origin[root], depth=depth)
            self._inside[root] = held
        return self.find(held)

    def levels(self, one: int) -> list[int]:
        """Return the class and those inside it, as far as they were looked at; at most 1 + DEPTH_MAX."""
        found = [self.find(one)]
        while len(found) <= DEPTH_MAX and self._inside[found[-1]] >= 0:
            found.append(self.find(self._inside[found[-1]]))
        return found

    def put(self, one: int, item: int | None) -> None:
        """Let an item lie inside; None is one that cannot change."""
        if item is None:
            return
        root = self.find(one)
        if self._inside[root] < 0:
            self._inside[root] = item
        else:
            self.join(self._inside[root], item)

    def join(self, one: int, other: int) -> int:
        """Let two values be one object, and so what lies inside them; return the class."""
        pending = [(one, other)]
        while pending:
            kept, gone = (self.find(number) for number in pending.pop())
            if kept == gone:
                continue
            self._parent[gone] = kept
            self.flags[kept] |= self.flags[gone]
            self._origin[kept] = max(self._origin[kept], self._origin[gone])
            mine, theirs = self._inside[kept], self._inside[gone]
            if mine >= 0 and theirs >= 0:
                pending.append((mine, theirs))
            else:
                self._inside[kept] = max(mine, theirs)
        return self.find(one)

    def spread(self, flags: int) -> None:
        """Let whatever lies inside a class have these of its flags, too."""
        for number in range(len(self._parent)):
            root = self.find(number)
            while (given := self.flags[root] & flags) and self._inside[root] >= 0:
                root = self.find(self._inside[root])
                if self.flags[root] & given == given:
                    break
                self.flags[root] |= given
