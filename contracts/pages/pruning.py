"""Leaving out of a plan what no release needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from contracts.pages.graph import Args, Graph
from contracts.pages.limits import GAS_STEP
from contracts.pages.paying import Payer
from contracts.pages.releases import ReleaseAsked
from contracts.pages.types import is_rows

_NAMES_SIZES = {"fill": 1, "position": 0, "lot": 0}
"""Primitives that name sizes, and in which attribute."""


def pruned(
    graph: Graph, asked: Sequence[ReleaseAsked], payer: Payer
) -> tuple[Graph, list[ReleaseAsked], list[int]]:
    """Return the nodes and columns that releases need, the releases on them, and where each node stood."""
    payer.charge(GAS_STEP * (len(graph) + sum(map(len, graph.args))))
    kept = _needed(graph, asked)
    columns = sorted({int(graph.attrs[node][0]) for node in kept if graph.name(node) == "column"})
    made = Graph(graph.table, [graph.columns[column] for column in columns], graph.datasets)
    places: dict[int, int] = {}
    sizes: dict[str, str] = {}
    for node in kept:
        args: Args = tuple([places[arg] for arg in graph.args[node]])
        attrs = list(graph.attrs[node])
        if graph.name(node) == "column":
            attrs[0] = str(columns.index(int(attrs[0])))
        place = _NAMES_SIZES.get(graph.name(node))
        if place is not None:
            attrs[place] = ";".join(sizes.get(size, size) for size in attrs[place].split(";"))
        places[node] = made.add(graph.primitives[node].number, args, tuple(attrs))
        pairs = zip(graph.cells[node].shape, made.cells[places[node]].shape, strict=True)
        sizes.update({str(old): str(new) for old, new in pairs})
    moved = [
        replace(one, value=places[one.value], rows=None if one.rows is None else places[one.rows])
        for one in asked
    ]
    return made, moved, kept


def _needed(graph: Graph, asked: Sequence[ReleaseAsked]) -> list[int]:
    """Return the nodes that releases need, in order: with each what it takes, and whose sizes it names."""
    makers: dict[str, int] = {}
    for node in range(len(graph)):
        for size in graph.cells[node].shape:
            if isinstance(size, str) and (not is_rows(size) or graph.name(node) == "join"):
                makers.setdefault(size, node)
    pending = [node for one in asked for node in (one.value, one.rows) if node is not None]
    found: set[int] = set()
    while pending:
        node = pending.pop()
        if node in found:
            continue
        found.add(node)
        pending += graph.args[node]
        place = _NAMES_SIZES.get(graph.name(node))
        if place is not None:
            pending += [makers[size] for size in graph.attrs[node][place].split(";") if size in makers]
    return sorted(found)
