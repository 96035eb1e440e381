"""Builders of operators: closures that compute, compare and combine values.

Fast paths test exact types and leave everything else to `operators`, so both compute and charge the same.
"""

from __future__ import annotations

from typing import Any

from contracts.language.back.builder import Build, Builder
from contracts.language.ir import Node
from contracts.language.limits import GAS_OPERATOR
from contracts.language.run.machine import Closure, Frame
from contracts.language.run.operators import BINARY, COMPARE, SMALL, UNARY, Operator

_ORDER = frozenset({"<", "<=", ">", ">="})


def _binary(b: Build, node: Node) -> Closure:
    symbol, left, right = node[1], b.expr(node[2]), b.expr(node[3])
    b.cost += GAS_OPERATOR
    if symbol == "+":
        return _add(left, right)
    if symbol == "-":
        return _subtract(left, right)
    if symbol == "*":
        return _multiply(left, right)
    slow = BINARY[symbol]
    if symbol in ("//", "%"):
        return _divide(symbol, left, right, slow)
    return lambda f: slow(f[0], left(f), right(f))


def _add(left: Closure, right: Closure) -> Closure:
    slow = BINARY["+"]

    def run(f: Frame) -> Any:
        x = left(f)
        y = right(f)
        if type(x) is int and type(y) is int:
            z = x + y
            if -SMALL < z < SMALL:
                return z
        return slow(f[0], x, y)

    return run


def _subtract(left: Closure, right: Closure) -> Closure:
    slow = BINARY["-"]

    def run(f: Frame) -> Any:
        x = left(f)
        y = right(f)
        if type(x) is int and type(y) is int:
            z = x - y
            if -SMALL < z < SMALL:
                return z
        return slow(f[0], x, y)

    return run


def _multiply(left: Closure, right: Closure) -> Closure:
    slow = BINARY["*"]

    def run(f: Frame) -> Any:
        x = left(f)
        y = right(f)
        if type(x) is int and type(y) is int and -SMALL < x < SMALL and -SMALL < y < SMALL:
            return x * y
        return slow(f[0], x, y)

    return run


def _divide(symbol: str, left: Closure, right: Closure, slow: Operator) -> Closure:
    whole = symbol == "//"

    def run(f: Frame) -> Any:
        x = left(f)
        y = right(f)
        if type(x) is int and type(y) is int and -SMALL < x < SMALL and 0 < y < SMALL:
            return x // y if whole else x % y
        return slow(f[0], x, y)

    return run


def _unary(b: Build, node: Node) -> Closure:
    work, inner = UNARY[node[1]], b.expr(node[2])
    b.cost += GAS_OPERATOR
    return lambda f: work(f[0], inner(f))


def _not(b: Build, node: Node) -> Closure:
    inner = b.expr(node[1])
    return lambda f: not inner(f)


def _compare(b: Build, node: Node) -> Closure:
    symbol = node[1]
    if node[3][0] == "map":
        return b.expr(("map_has", node[3][1], node[2], symbol == "not in"))
    left = b.expr(node[2])
    if symbol in ("is", "is not"):
        return _is_none(left, symbol == "is")
    right = b.expr(node[3])
    b.cost += GAS_OPERATOR
    if symbol in ("==", "!="):
        return _equality(left, right, symbol == "==")
    if symbol in _ORDER:
        return _ordering(symbol, left, right)
    slow = COMPARE[symbol]
    return lambda f: slow(f[0], left(f), right(f))


def _is_none(left: Closure, wanted: bool) -> Closure:
    if wanted:
        return lambda f: left(f) is None
    return lambda f: left(f) is not None


def _equality(left: Closure, right: Closure, wanted: bool) -> Closure:
    slow = COMPARE["=="]

    def run(f: Frame) -> Any:
        x = left(f)
        y = right(f)
        if type(x) is int and type(y) is int:
            return (x == y) is wanted
        if type(x) is str and type(y) is str and len(x) < 64:
            return (x == y) is wanted
        return slow(f[0], x, y) is wanted

    return run


def _ordering(symbol: str, left: Closure, right: Closure) -> Closure:
    slow, strict, down = COMPARE[symbol], symbol in ("<", ">"), symbol in (">", ">=")

    def run(f: Frame) -> Any:
        x = left(f)
        y = right(f)
        if type(x) is int and type(y) is int:
            if x == y:
                return not strict
            return (x > y) is down
        return slow(f[0], x, y)

    return run


def _chain(b: Build, node: Node) -> Closure:
    """a < b < c: each operand once, later ones only while the comparison holds."""
    first = b.expr(node[1])
    steps: list[tuple[str, Operator | None, Closure]] = []
    for place, (symbol, right) in enumerate(node[2:]):
        b.cost += GAS_OPERATOR
        steps.append((symbol, COMPARE.get(symbol), b.expr(right) if place == 0 else b.optional(right)))

    def run(f: Frame) -> Any:
        m, left = f[0], first(f)
        for symbol, work, operand in steps:
            right = operand(f)
            holds = (left is None) is (symbol == "is") if work is None else work(m, left, right)
            if not holds:
                return False
            left = right
        return True

    return run


def _and(b: Build, node: Node) -> Closure:
    first = b.expr(node[1])
    rest = [b.optional(part) for part in node[2:]]
    if len(rest) == 1:
        second = rest[0]
        return lambda f: first(f) and second(f)

    def run(f: Frame) -> Any:
        value = first(f)
        for part in rest:
            if not value:
                break
            value = part(f)
        return value

    return run


def _or(b: Build, node: Node) -> Closure:
    first = b.expr(node[1])
    rest = [b.optional(part) for part in node[2:]]
    if len(rest) == 1:
        second = rest[0]
        return lambda f: first(f) or second(f)

    def run(f: Frame) -> Any:
        value = first(f)
        for part in rest:
            if value:
                break
            value = part(f)
        return value

    return run


def _choose(b: Build, node: Node) -> Closure:
    test, chosen, other = b.expr(node[1]), b.optional(node[2]), b.optional(node[3])
    return lambda f: chosen(f) if test(f) else other(f)


BUILDERS: dict[str, Builder] = {
    "and": _and,
    "binary": _binary,
    "chain": _chain,
    "choose": _choose,
    "compare": _compare,
    "not": _not,
    "or": _or,
    "unary": _unary,
}
