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
from contracts.pages.limits import GAS_ANEW
from contracts.pages.paying import Payer


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


def drawn_anew(graph: Graph, value: int, sums: Iterable[int], payer: Payer) -> bool:
    """Tell whether a release that adds noise to these sums does anew what gets noise inside the computation.

    It does anew what its value follows from and what follows from them; of a loop all, with loops in it.
    """
    nodes, found, loops = _behind(graph, value), set(sums), set[int]()
    while True:
        before = len(loops)
        payer.charge(GAS_ANEW * len(nodes))
        for node in nodes:
            home = graph.homes[node]
            if home in loops or any(arg in found for arg in graph.args[node]):
                found.add(node)
            if node in found:
                loops |= {node} if graph.name(node) == "repeat" else {home} - {-1}
        found |= loops
        if len(loops) == before:
            return any(graph.name(node) == "noised" for node in found)


def _behind(graph: Graph, value: int) -> list[int]:
    """Return the nodes that a value follows from, itself included, in order."""
    seen, pending = set[int](), [value]
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            pending += graph.args[node]
    return sorted(seen)
