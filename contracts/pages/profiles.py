"""Profiles that can run a plan: those with arithmetic on shares, and where joins say it all, those without.

What follows of no column but as identifiers that were joined is public once the join is done: sizes of joins,
and that a joined row is joined. Two owners can settle that between themselves, without arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

from contracts.pages.graph import Graph
from contracts.pages.releases import SHARES, DatasetRead, Release

ARITHMETIC = ("rep3",)
JOINS_ALONE = ("dh-psi",)


def profiles_of(
    graph: Graph, datasets: Sequence[DatasetRead], releases: Sequence[Release]
) -> tuple[str, ...]:
    """Return the names of the profiles that can run a plan, in order."""
    joins = all(_follows_of_joins(graph, datasets, one) for one in releases)
    return tuple(sorted((*ARITHMETIC, *(JOINS_ALONE if joins else ()))))


def _follows_of_joins(graph: Graph, datasets: Sequence[DatasetRead], one: Release) -> bool:
    """Tell whether a release is of sizes alone, or tells an owner of joined data which rows are joined."""
    if one.columns or one.keys or one.mechanism or one.receiver == SHARES:
        return False
    owners = {datasets[graph.columns[column].dataset].owner for column in one.identifiers}
    return one.kind != "membership" or one.receiver in owners
