"""What a release with noise does anew: all that follows from its sums and counts, on these with noise.

So a sum that exact releases rest on as well stays without noise for them, and no two releases share noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from contracts.pages.graph import Graph
from contracts.pages.mechanisms import DRAWN
from contracts.pages.plan import Plan
from privcompute.pages.columns import InputRefused
from privcompute.pages.noise import Noise, noise_of

AGAIN_MAX = 100_000
"""Steps that releases with noise take of their own, all together."""


def noises(plan: Plan) -> dict[int, dict[int, Noise]]:
    """Return the noise of the sums and counts of each release that has some, by its number and their node.

    Raise InputRefused for noise that cannot be drawn, or releases that do more than AGAIN_MAX steps anew.
    """
    found, steps = dict[int, dict[int, Noise]](), 0
    for number, asked in enumerate(plan.asked):
        if asked.mechanism in DRAWN:
            found[number] = noise_of(plan, number)
            steps += len(downstream(plan.graph, asked.value, found[number]))
            if steps > AGAIN_MAX:
                raise InputRefused(
                    f"releases with noise compute {steps:,} steps or more from their sums, at most"
                    f" {AGAIN_MAX:,}: release several figures at once with stack([…]), or their sums"
                )
    return found


def needed(plan: Plan, noisy: Mapping[int, Mapping[int, Noise]]) -> list[int]:
    """Return the nodes that are done without noise, in order.

    They are those of exact releases, and what the sums and counts that noise is added to are of.
    """
    roots: list[int] = []
    for number, asked in enumerate(plan.asked):
        if number not in noisy:
            roots += [asked.value] if asked.rows is None else [asked.value, asked.rows]
            continue
        again = set(downstream(plan.graph, asked.value, noisy[number]))
        for node in again:
            args = plan.graph.args[node]
            roots += args if node in noisy[number] else [arg for arg in args if arg not in again]
    return sorted(behind(plan.graph, roots, ()))


def downstream(graph: Graph, value: int, atoms: Iterable[int]) -> list[int]:
    """Return the nodes that a value follows from and that follow from atoms, these included, in order.

    A loop that takes or makes such a value is one as a whole.
    """
    nodes = sorted(behind(graph, [value], atoms))
    found, loops = set(atoms), _bodies(graph, nodes)
    while True:
        before = len(found)
        for node in nodes:
            if any(arg in found for arg in graph.args[node]) or _in_loop(graph, node, found):
                found.add(node)
        found |= {loop for loop, body in loops.items() if not found.isdisjoint(body)}
        if len(found) == before:
            return sorted(found)


def _in_loop(graph: Graph, node: int, found: set[int]) -> bool:
    """Tell whether a node is a loop inside of one of these."""
    return graph.name(node) == "repeat" and graph.homes[node] in found


def _bodies(graph: Graph, nodes: Sequence[int]) -> dict[int, set[int]]:
    bodies: dict[int, set[int]] = {node: set() for node in nodes if graph.name(node) == "repeat"}
    for node in nodes:
        home = graph.homes[node]
        while home != -1:
            bodies[home].add(node)
            home = graph.homes[home]
    return bodies


def behind(graph: Graph, roots: Iterable[int], stops: Iterable[int]) -> set[int]:
    """Return all nodes that some follow from, these included, without what is behind `stops` and joins.

    What gets noise inside the computation follows from what its sum is of: no step has that sum as it is.
    """
    seen: set[int] = set()
    pending, ends = list(roots), set(stops)
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            args = graph.args[graph.args[node][0]] if graph.name(node) == "noised" else graph.args[node]
            pending += [] if node in ends or graph.name(node) == "join" else args
    return seen
