"""What a plan costs under a profile: rounds, bytes that the heaviest party sends, memory; formulas of rows.

The factors are those that `privcompute/README.md` states and its tests assert. What one owner computes by
itself costs nothing (holders.py). Independent nodes share rounds, so rounds are those of the longest way
through the plan; sorts and extremes over rows are added up, since how many rounds they take depends on the
rows, and so are joins among owners, one for each set of datasets, of up to 4,096 rows each; one that a third
party aids takes a round more and fewer bytes. Hiding groups that are too small comes on top: it follows of a
job's smallest group, about 10 rounds for figures and 60 for groups.
Noise is drawn beside all else; its bytes are those of Laplace noise of a scale near 2^10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.pages.formulas import Formula, Total, cells_of, whole
from contracts.pages.graph import Graph
from contracts.pages.holders import PUBLIC, SECRET, Depths, Holders
from contracts.pages.types import Cells, Size, is_rows

SHARE_BYTES = 16
"""Memory of a cell: a party of `rep3` holds two of three shares."""
JOIN_ROUNDS = 3
"""Of a join, beside two for each list: its opening, the number of common rows, and what owners say of it."""
POINT_BYTES, PLACE_BYTES = 32, 4
_LOCAL = (0, 0)
_REP3: Mapping[str, tuple[int, int]] = {
    "column": (1, 8),
    "divide": (40, 344),
    "absolute": (11, 59),
    "minimum": (11, 59),
    "maximum": (11, 59),
    "clip": (11, 118),
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
_OF_WHOLE: Mapping[str, tuple[int, int]] = {"sqrt": (12, 67), "log": (11, 59)}
"""What more of whole numbers: a comparison that finds those beyond the range of reals, and what follows."""
_NOISE: Mapping[str, tuple[int, int]] = {"laplace": (8, 1_120), "gaussian": (1, 8)}
"""Rounds, and bytes a number."""
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


def costs(
    graph: Graph, owners: Sequence[str], profiles: Sequence[str], noisy: Sequence[tuple[int, str]] = ()
) -> tuple[Cost, ...]:
    """Return the cost under each of these profiles; `owners` has that of each column of the plan.

    `noisy` has the sums and counts that noise is added to, as often as it is, each with the mechanism.
    """
    at = Holders(graph, owners, {node: _NOISE[mechanism][0] for node, mechanism in noisy})
    drawn = Total()
    for node, mechanism in noisy:
        drawn.add(cells_of(graph.cells[node].shape), _NOISE[mechanism][1])
    return tuple(_cost(graph, at, profile, FACTORS[profile], drawn.formula()) for profile in profiles)


def _cost(
    graph: Graph, at: Holders, profile: str, factors: Mapping[str, tuple[int, int]], drawn: Formula
) -> Cost:
    sent, memory, varying = Total(), Total(), Total()
    depths, shared, joined, leading = Depths(graph, at), set[int](), 0, set[tuple[Size, ...]]()
    for node in range(len(graph)):
        cells, args, turns = graph.cells[node], graph.args[node], at.turns(node)
        own, data, more = 0, whole(0), whole(0)
        if graph.name(node) == "noised":
            own, each = _NOISE[graph.attrs[node][0]]
            data = cells_of(cells.shape).times(each)
        elif graph.name(node) == "join":
            tables = tuple(sorted({graph.cells[arg].shape[0] for arg in args}, key=str))
            if tables not in leading:
                leading.add(tables)
                joined += 2 * len(tables) + JOIN_ROUNDS
                sent.add(_join_bytes(tables, str(cells.shape[0])), 1)
        elif at.holders[node] is SECRET:
            given = [graph.cells[arg] for arg in args]
            own, data, more = cost_of(_paid_as(graph, at, node), cells, given, factors)
            shared |= {arg for arg in args if at.holders[arg] not in (PUBLIC, SECRET)}
        depths.add(own)
        sent.add(data, turns)
        varying.add(more, turns)
        if cells.kind != "loop" and at.holders[node] is SECRET:
            memory.add(cells_of(cells.shape), SHARE_BYTES)
    for node in sorted(shared):
        sent.add(cells_of(graph.cells[node].shape), 8 * at.turns(node))
        memory.add(cells_of(graph.cells[node].shape), SHARE_BYTES)
    sent.add(drawn, 1)
    rounds = whole(joined + depths.longest) + varying.formula()
    return Cost(profile, rounds, sent.formula(), memory.formula())


def _join_bytes(tables: Sequence[Size], rows: str) -> Formula:
    """Return what an owner sends in a join: each list once, and twice the places of what all have in it."""
    total = whole(0)
    for table in tables:
        total += cells_of((table,)).times(POINT_BYTES)
    return total + cells_of((rows,)).times(2 * PLACE_BYTES * len(tables))


def _paid_as(graph: Graph, at: Holders, node: int) -> str:
    """Return the primitive that costs as much as a node; what is public beside shares costs less."""
    name, public = graph.name(node), [at.taken(arg) == PUBLIC for arg in graph.args[node]]
    if name == "divide" and public[1]:
        return "multiply"
    if name in ("where", "and", "or") and public[0]:
        return "transpose"
    if name in ("sum", "group_count") and public[1:] == [True]:
        return "transpose"
    return name


def cost_of(
    name: str, cells: Cells, args: Sequence[Cells], factors: Mapping[str, tuple[int, int]]
) -> tuple[int, Formula, Formula]:
    """Return (rounds, bytes, rounds that depend on rows) of one primitive on values of these types."""
    nothing = whole(0)
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
    if name in _OF_WHOLE and rounds and args[0].kind in ("integer", "bit"):
        more_rounds, more_bytes = _OF_WHOLE[name]
        rounds, per_cell = rounds + more_rounds, per_cell + more_bytes
    return rounds, cells_of(cells.shape).times(per_cell), nothing
