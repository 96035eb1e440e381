"""Who learns which rows of a dataset are joined: other owners of joined data, and whom a release tells."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.pages.graph import Graph
from contracts.pages.releases import SHARES, DatasetRead, Release


def membership_of(
    graph: Graph, datasets: Sequence[DatasetRead], releases: Sequence[Release]
) -> dict[str, list[str]]:
    """Return, by the name of each dataset, the organisations that learn which of its rows are in a join.

    An owner of joined data learns which of its own rows the others have, so which of theirs it has
    (privcompute/mpc/protocols/psi.py).
    """
    told: dict[int, set[str]] = {place: set() for place in range(len(datasets))}
    for joined in _joins(graph):
        for place in joined:
            told[place] |= {datasets[other].owner for other in joined if other != place}
    for release in releases:
        if release.membership and release.receiver != SHARES:
            for column in release.identifiers:
                told[graph.columns[column].dataset].add(release.receiver)
    return {dataset.name: sorted(told[place] - {dataset.owner}) for place, dataset in enumerate(datasets)}


def _joins(graph: Graph) -> set[frozenset[int]]:
    """Return the datasets of each join."""
    return {
        frozenset(
            int(part) for key in graph.args[node] for part in str(graph.cells[key].shape[0])[2:].split("+")
        )
        for node in range(len(graph))
        if graph.name(node) == "join"
    }
