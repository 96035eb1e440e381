"""How far what a page divides by may reach, from registered domains and stated numbers of rows.

Shares hold divisors below 2^30: beyond, a quotient is 0 and nothing tells. A trial sees that on its sample;
here it follows for whatever data the domains allow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from contracts.pages.graph import Graph
from contracts.pages.numbers import read_number
from contracts.pages.plan import Plan
from contracts.pages.spreads import Interval, Spread, hull, through
from contracts.pages.types import Size

DIVISOR_MAX = 1 << 30
"""Divisors that are shared lie below this (privcompute/mpc/engine.py)."""
_VIEWS = frozenset({"align", "append", "real", "transpose", "stack", "concat", "take", "spread"})
_WITH_ZERO = frozenset({"first", "shift", "greatest", "least"})
"""What gives cells of what it takes, or 0 where there are none."""
_ZERO = Interval(Fraction(0), Fraction(0))


def large_divisors(plan: Plan, sizes: Mapping[str, int] | None) -> list[str]:
    """Return a warning for each shared divisor that may reach 2^30; `sizes` are stated rows by name."""
    graph, found = plan.graph, list[Spread]()
    warnings = []
    for node in range(len(graph)):
        if graph.name(node) == "divide":
            divisor = graph.args[node][1]
            spread = found[divisor]
            if (
                isinstance(spread, Interval)
                and spread.high >= DIVISOR_MAX
                and graph.name(divisor) != "number"
            ):
                warnings.append(_warning(graph, divisor, spread.high))
        found.append(_reach(graph, node, found, sizes or {}))
    return sorted(set(warnings))


def _warning(graph: Graph, divisor: int, high: Fraction) -> str:
    return (
        f"a divisor ({graph.name(divisor)}) may reach {float(high):.3g} by the registered domains, and from "
        f"{DIVISOR_MAX:,} on a quotient is 0: divide what is on both sides by a public number first"
    )


def _reach(graph: Graph, node: int, found: Sequence[Spread], sizes: Mapping[str, int]) -> Spread:
    """Return what the cells of a node lie between; None where nothing says."""
    name, args, attrs, cells = graph.name(node), graph.args[node], graph.attrs[node], graph.cells[node]
    parts = [found[arg] for arg in args]
    if name == "column":
        read = graph.columns[int(attrs[0])]
        return Interval(read_number(read.low), read_number(read.high)) if read.low else None
    if name in ("number", "fill"):
        value = read_number(attrs[0])
        return Interval(value, value)
    if name == "clip":
        return Interval(read_number(attrs[0]), read_number(attrs[1]))
    if name in _VIEWS:
        return hull(parts[:1] if name == "align" else parts)
    if name in _WITH_ZERO:
        return hull([parts[0], _ZERO])
    if name == "sort":
        return parts[1]
    if name in ("sum", "group_sum", "group_count"):
        return _summed(graph, node, parts, sizes)
    return through(name, parts, cells.kind == "real") if parts else None


def _summed(graph: Graph, node: int, parts: Sequence[Spread], sizes: Mapping[str, int]) -> Spread:
    """Return the reach of a sum or count, of which some rows may be left out."""
    shape = graph.cells[graph.args[node][0]].shape
    size: Size = shape[int(graph.attrs[node][0])] if graph.name(node) == "sum" else shape[0]
    cells = size if isinstance(size, int) else sizes.get(size)
    each = Interval(Fraction(0), Fraction(1)) if graph.name(node) == "group_count" else parts[0]
    if cells is None or not isinstance(each, Interval):
        return None
    return Interval(min(Fraction(0), cells * each.low), max(Fraction(0), cells * each.high))
