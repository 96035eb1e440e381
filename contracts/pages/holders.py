"""Who knows each value of a plan, and in which loop it is made: what decides how often it costs, and whether.

What follows of one owner's columns and public values alone its owner computes in the clear, and shares once
with the others where it meets what they hold, or noise. What a loop does not change is made before it. Runs
do so, too (privcompute/pages).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contracts.pages.graph import Graph

PUBLIC = ""
SECRET = None
Holder = str | None
"""The owner that knows a value; "" where everybody does, None where nobody does."""
_PUBLIC = frozenset({"number", "fill", "position", "lot", "join", "step"})
_OF_LOOPS = frozenset({"repeat", "again", "after"})


class Holders:
    """Holders and regions of all nodes of a graph."""

    def __init__(self, graph: Graph, owners: Sequence[str], noise: Mapping[int, int] | None = None) -> None:
        """Find them; `owners` has that of each column of the plan, `noise` the rounds of sums with noise."""
        self._graph, self._owners = graph, owners
        self.noise = noise or {}
        """Sum or count -> the rounds in which the noise that is added to it is drawn."""
        covered = {
            *self.noise,
            *(graph.args[node][0] for node in range(len(graph)) if graph.name(node) == "noised"),
        }
        self._jointly = {node for node in covered if graph.name(node) == "matmul"}
        """Products that get noise: owners do not compute them, since floats would round with other rows."""
        self.holders: list[Holder] = []
        self.regions: list[int] = []
        """The loop in each turn of which a value is made; -1 outside of loops."""
        self._levels = {-1: 0}
        for node in range(len(graph)):
            self.holders.append(self._holder(node))
            self.regions.append(self._region(node))
            if graph.name(node) == "repeat":
                self._levels[node] = self._levels[self.regions[node]] + 1

    def taken(self, node: int) -> Holder:
        """Return who knows a value as others take it: nobody, where noise is added to it."""
        return SECRET if node in self.noise else self.holders[node]

    def turns(self, node: int) -> int:
        """Return how often a value is made."""
        turns, region = 1, self.regions[node]
        while region != -1:
            turns, region = turns * int(self._graph.attrs[region][0]), self.regions[region]
        return turns

    def _holder(self, node: int) -> Holder:
        name, args = self._graph.name(node), self._graph.args[node]
        if name == "column":
            return self._owners[int(self._graph.attrs[node][0])]
        if name in _PUBLIC:
            return PUBLIC
        if name in _OF_LOOPS or name in ("carry", "noised") or node in self._jointly:
            return SECRET
        taken = args[:1] if name == "align" else args
        held = {self.taken(arg) for arg in taken} - {PUBLIC}
        return PUBLIC if not held else held.pop() if len(held) == 1 else SECRET

    def _region(self, node: int) -> int:
        name, args = self._graph.name(node), self._graph.args[node]
        if name in ("carry", "step"):
            return args[0]
        if name in _OF_LOOPS or name == "noised":
            return self._graph.homes[node]
        return max((self.regions[arg] for arg in args), key=self._levels.__getitem__, default=-1)


class Depths:
    """How many rounds lie before each value, on the longest way to it through its region.

    What a turn takes from outside is there when it begins: the loop waits for it, its turns do not.
    """

    def __init__(self, graph: Graph, at: Holders) -> None:
        """Begin with no node."""
        self._graph, self._at = graph, at
        self._depths: list[int] = []
        self._lengths: dict[int, int] = {}
        """Loop -> the rounds of one turn."""
        self._awaited: dict[int, int] = {}
        """Loop -> the rounds before it can begin."""

    def add(self, rounds: int) -> None:
        """Take in the next node, which takes so many rounds by itself."""
        node = len(self._depths)
        name, args, region = self._graph.name(node), self._graph.args[node], self._at.regions[node]
        if self._at.holders[node] is not SECRET or name == "carry":
            reached = 0  # it waits for nothing that others send
        elif name == "repeat":
            self._awaited[node] = max([self.until(arg, region) for arg in args], default=0)
            reached = 0
        elif name == "again":
            reached = self._end(args[0], args[1:])
        elif name == "noised":  # noise is drawn beside the sum
            reached = max([rounds, *[self.until(arg, region) for arg in args]])
        else:
            reached = rounds + max([self.until(arg, region) for arg in args], default=0)
        self._depths.append(reached)
        if region != -1:
            self._lengths[region] = max(self._lengths.get(region, 0), reached)

    @property
    def longest(self) -> int:
        """The rounds until every value outside of loops is there."""
        made = [depth for node, depth in enumerate(self._depths) if self._at.regions[node] == -1]
        return max([*made, *self._at.noise.values()], default=0)

    def until(self, arg: int, region: int) -> int:
        """Return the rounds until a value is there for the others, in a region: it is shared in one more."""
        there = self._depths[arg] + (self._at.holders[arg] not in (PUBLIC, SECRET))
        there = max(there, self._at.noise.get(arg, 0))
        if self._at.regions[arg] == region:
            return there
        loop = region
        while self._at.regions[loop] != self._at.regions[arg]:
            loop = self._at.regions[loop]
        self._awaited[loop] = max(self._awaited.get(loop, 0), there)
        return 0

    def _end(self, loop: int, left: Sequence[int]) -> int:
        """Return the rounds until a loop has ended, which leaves these values of its last turn."""
        turn = max([self._lengths.get(loop, 0), *[self.until(arg, loop) for arg in left]])
        return self._awaited[loop] + int(self._graph.attrs[loop][0]) * turn
