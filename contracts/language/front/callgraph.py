"""The call graph of a contract: its strongly connected components, and what a function reaches."""

from __future__ import annotations

from collections.abc import Mapping, Set

Graph = Mapping[str, Set[str]]


def reached(graph: Graph, start: str) -> set[str]:
    """Return a function and all that it calls, directly or not."""
    found, pending = {start}, [start]
    while pending:
        more = graph[pending.pop()] - found
        found |= more
        pending += more
    return found


def groups(graph: Graph) -> list[list[str]]:
    """Return the strongly connected components, callees before callers.

    Tarjan, "Depth-first search and linear graph algorithms" (1972), without recursion: a source may hold
    thousands of functions that call one another in a row.
    """
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    open_: list[str] = []
    closed: set[str] = set()
    found: list[list[str]] = []
    for start in graph:
        if start in order:
            continue
        order[start] = low[start] = len(order)
        open_.append(start)
        path = [(start, iter(sorted(graph[start])))]
        while path:
            name, following = path[-1]
            for callee in following:
                if callee not in order:
                    order[callee] = low[callee] = len(order)
                    open_.append(callee)
                    path.append((callee, iter(sorted(graph[callee]))))
                    break
                if callee not in closed:
                    low[name] = min(low[name], order[callee])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[name])
                if low[name] == order[name]:
                    found.append([open_.pop()])
                    while found[-1][-1] != name:
                        found[-1].append(open_.pop())
                    closed.update(found[-1])
    return found
