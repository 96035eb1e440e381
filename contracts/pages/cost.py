"""What a plan costs under a profile: rounds, bytes that the heaviest party sends, memory; formulas of rows.

The factors are those that `privcompute/README.md` states and its tests assert; costs of a join are those of
its Diffie-Hellman protocol. Independent nodes share rounds, so rounds are those of the longest way through
the plan; sorts and extremes over rows are added up, since how many rounds they take depends on the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.pages.formulas import Formula, Total, cells_of, whole
from contracts.pages.graph import Graph
from contracts.pages.types import Cells, is_rows

SHARE_BYTES = 16
"""Memory of a cell: a party of `rep3` holds two of three shares."""
_LOCAL = (0, 0)
_REP3: Mapping[str, tuple[int, int]] = {
    "column": (1, 8),
    "divide": (40, 344),
    "absolute": (11, 59),
    "minimum": (11, 59),
    "maximum": (11, 59),
    "clip": (22, 118),
    "sqrt": (51, 428),
    "exp": (38, 494),
    "log": (39, 376),
    "sigmoid": (16, 558),
    "less": (10, 51),
    "less_equal": (10, 51),
    "equal": (9, 34),
    "is": (0, 0),
    "and": (1, 8),
    "or": (1, 8),
    "where": (1, 8),
    "cut": (10, 51),
    "align": (1, 8),
}
"""Rounds, and bytes a cell of the result. What an owner makes of its own column is shared with it."""
FACTORS: Mapping[str, Mapping[str, tuple[int, int]]] = {"dh-psi": {}, "rep3": _REP3}
"""By profile; what has no factor costs nothing there. All there is to `dh-psi` are joins."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a plan costs under one profile."""

    profile: str
    rounds: Formula
    sent: Formula
    """Bytes that the heaviest party sends."""
    memory: Formula
    """Bytes of a party's shares, if none were let go."""


def costs(graph: Graph, profiles: Sequence[str]) -> tuple[Cost, ...]:
    """Return the cost under each of the profiles that can run a plan."""
    return tuple(_cost(graph, profile, FACTORS[profile]) for profile in profiles)


def _cost(graph: Graph, profile: str, factors: Mapping[str, tuple[int, int]]) -> Cost:
    sent, memory, varying = Total(), Total(), Total()
    depth: list[int] = []
    deepest: dict[int, int] = {}
    for node in range(len(graph)):
        args = [graph.cells[arg] for arg in graph.args[node]]
        own, data, more = cost_of(graph.name(node), graph.cells[node], args, factors)
        turns = _turns(graph, node)
        sent.add(data, turns)
        varying.add(more, turns)
        if graph.cells[node].kind != "loop":
            memory.add(cells_of(graph.cells[node].shape), SHARE_BYTES)
        reached = own + max((depth[arg] for arg in graph.args[node]), default=0)
        if graph.name(node) == "again":
            loop = graph.args[node][0]
            body = max(deepest.get(loop, 0), reached) - depth[loop]
            reached = depth[loop] + body * int(graph.attrs[loop][0])
        depth.append(reached)
        for home in _homes(graph, node):
            deepest[home] = max(deepest.get(home, 0), reached)
    rounds = whole(max(depth, default=0)) + varying.formula()
    return Cost(profile, rounds, sent.formula(), memory.formula())


def _homes(graph: Graph, node: int) -> list[int]:
    """Return the loops around a node, innermost first."""
    found = []
    home = graph.homes[node]
    while home != -1:
        found.append(home)
        home = graph.homes[home]
    return found


def _turns(graph: Graph, node: int) -> int:
    turns = 1
    for loop in _homes(graph, node):
        turns *= int(graph.attrs[loop][0])
    return turns


def cost_of(
    name: str, cells: Cells, args: Sequence[Cells], factors: Mapping[str, tuple[int, int]]
) -> tuple[int, Formula, Formula]:
    """Return (rounds, bytes, rounds that depend on rows) of one primitive on values of these types."""
    nothing = whole(0)
    if name == "join":
        tables = {each.shape for each in args}
        total = nothing
        for shape in sorted(tables):
            total += cells_of(shape)
        return 2 * len(tables), total.times(64 * len(tables)), nothing
    if name in ("multiply", "matmul") or (name in ("sum", "group_sum") and len(args) > 1):
        real = all(each.kind in ("real", "any") for each in args[:2])
        rounds, per_cell = (2, 16) if real else (1, 8)
        return rounds, cells_of(cells.shape).times(per_cell), nothing
    if name == "group_count" and len(args) > 1:
        return 1, cells_of(cells.shape).times(8), nothing
    if name == "sort":
        rows_name = args[0].shape[0]
        stages = (
            whole(1).over(f"log2 {rows_name}").over(f"log2 {rows_name}") if is_rows(rows_name) else whole(49)
        )
        data = stages
        for size in args[1].shape:
            data = data.over(size)
        return 0, data.times(30), stages.times(6)
    if name in ("greatest", "least"):
        size = args[0].shape[0]
        stages = whole(1).over(f"log2 {size}") if isinstance(size, str) else whole((size - 1).bit_length())
        return 0, cells_of(args[0].shape).times(59), stages.times(11)
    rounds, per_cell = factors.get(name, _LOCAL)
    return rounds, cells_of(cells.shape).times(per_cell), nothing
