"""Sums that get noise inside a computation: what is computed on then follows from the noise as well.

Noise is drawn anew in each turn of the loops around a sum, and its epsilon is that of all turns together:
each of n spends an n-th of rho, or of the epsilon of Laplace noise (Bun and Steinke 2016, lemma 1.7). Who
chooses a turn's sum by the turns before stays within that: what they left has noise (adaptive composition),
and is taken as given when one row's values are replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.pages.graph import Graph
from contracts.pages.labels import Atom, Columns, Labels


@dataclass(frozen=True, slots=True)
class NoisedSum:
    """A sum or count that gets noise inside a computation."""

    node: int
    """The node of the sum with noise; that of the sum itself is `atom.node`."""
    atom: Atom
    mechanism: str
    epsilon: str
    delta: str
    turns: int
    """How often noise is drawn, for one epsilon together."""

    @property
    def columns(self) -> Columns:
        """The columns whose values it covers."""
        return self.atom.label.values


def noised_sums(graph: Graph, labels: Labels) -> tuple[NoisedSum, ...]:
    """Return those of a graph, in order."""
    atoms, found = {atom.node: atom for atom in labels.atoms}, list[NoisedSum]()
    for node in range(len(graph)):
        if graph.name(node) == "noised":
            (arg,), (mechanism, epsilon, delta) = graph.args[node], graph.attrs[node]
            found.append(NoisedSum(node, atoms[arg], mechanism, epsilon, delta, graph.turns(node)))
    return tuple(found)


def drawn_anew(graph: Graph, sums: Iterable[int]) -> bool:
    """Tell whether something that gets noise follows from one of these sums, so that it would get it anew.

    What a loop takes is taken by all of it, since a turn goes on from the one before.
    """
    found, loops = set(sums), set[int]()
    while True:
        before = len(loops)
        for node in range(len(graph)):
            home = graph.homes[node]
            if home in loops or any(arg in found for arg in graph.args[node]):
                found.add(node)
            if node in found and home != -1:
                loops.add(home)
                found.add(home)
        if len(loops) == before:
            return any(graph.name(node) == "noised" for node in found)
