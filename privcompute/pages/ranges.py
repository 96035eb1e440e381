"""How far what a page computes may reach, from registered domains and stated numbers of rows.

A run ends alike whatever rows hold, so nothing in it tells that a value left the range of shares: a quotient
is 0, any other figure is wrong. A trial sees that on its sample; here it follows for whatever data the
domains allow.
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
REAL_MAX, SHARED_REAL_MAX, WHOLE_MAX = 1 << 30, 1 << 46, 1 << 62
"""Products and quotients of reals on shares lie below the first, all other reals below the second."""
_ROUNDED = frozenset({"multiply", "divide", "matmul"})
_VIEWS = frozenset({"align", "append", "real", "transpose", "stack", "concat", "take", "spread"})
_WITH_ZERO = frozenset({"first", "shift", "greatest", "least"})
"""What gives cells of what it takes, or 0 where there are none."""
_ZERO = Interval(Fraction(0), Fraction(0))


def large_divisors(plan: Plan, sizes: Mapping[str, int] | None) -> list[str]:
    """Return a warning for each shared divisor that may reach 2^30; `sizes` are stated rows by name."""
    graph, found = plan.graph, _reaches(plan.graph, sizes or {})
    warnings = set()
    for node in range(len(graph)):
        if graph.name(node) == "divide":
            divisor = graph.args[node][1]
            spread = found[divisor]
            if (
                isinstance(spread, Interval)
                and spread.high >= DIVISOR_MAX
                and graph.name(divisor) != "number"
            ):
                warnings.add(_warning(graph, divisor, spread.high))
    return sorted(warnings)


def large_values(plan: Plan, sizes: Mapping[str, int] | None) -> list[str]:
    """Return a warning for each primitive that may leave the range in which figures are right.

    What follows of it is not named again, nor are columns, which their owner judges.
    """
    graph, found = plan.graph, _reaches(plan.graph, sizes or {})
    mosts = [_most(graph, node, joint=len(owners) > 1) for node, owners in enumerate(_owners(plan))]
    warnings: dict[str, str] = {}
    for node in range(len(graph)):
        name, far, most = graph.name(node), _far(found[node]), mosts[node]
        first = all(_far(found[arg]) < mosts[arg] for arg in graph.args[node])
        if far >= most and first and name not in ("column", "append", "align", "number", "fill"):
            kind = "reals" if graph.cells[node].kind == "real" else "whole numbers"
            warnings.setdefault(
                name,
                f"a value of {name!r} may reach {float(far):.3g} by the registered domains; it is right for"
                f" {kind} below {most:,}, and beyond figures are wrong and nothing tells: divide its columns"
                " by a public number, or clip them first",
            )
    return [warnings[name] for name in sorted(warnings)]


def _reaches(graph: Graph, sizes: Mapping[str, int]) -> list[Spread]:
    found = list[Spread]()
    for node in range(len(graph)):
        found.append(_reach(graph, node, found, sizes))
    return found


def _far(spread: Spread) -> Fraction:
    return max(abs(spread.low), abs(spread.high)) if isinstance(spread, Interval) else Fraction(0)


def _most(graph: Graph, node: int, *, joint: bool) -> int:
    if graph.cells[node].kind != "real":
        return WHOLE_MAX
    return REAL_MAX if joint and graph.name(node) in _ROUNDED else SHARED_REAL_MAX


def _owners(plan: Plan) -> list[frozenset[str]]:
    """Return whose columns are behind each node: datasets whose owner is not known have one each."""
    graph, found = plan.graph, list[frozenset[str]]()
    for node in range(len(graph)):
        if graph.name(node) == "column":
            read = graph.columns[int(graph.attrs[node][0])]
            found.append(frozenset([plan.datasets[read.dataset].owner or f"#{read.dataset}"]))
        else:
            args = () if graph.name(node) == "join" else graph.args[node]
            found.append(frozenset().union(*[found[arg] for arg in args]))
    return found


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
