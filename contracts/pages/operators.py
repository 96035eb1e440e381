"""Operators: public values are computed with at once, cells become nodes of the plan."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from contracts.pages.faults import Unfit
from contracts.pages.limits import LIST_MAX, TEXT_MAX
from contracts.pages.numbers import bounded, power
from contracts.pages.units import check_units
from contracts.pages.values import PageTable, Secret, Sizes, TablePart, said_kind
from contracts.pages.workbench import Workbench

_ON_CELLS: Mapping[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.BitAnd: "and",
    ast.BitOr: "or",
}
_ON_NUMBERS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_ORDERS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_POWER_MAX = 8


def number_of(literal: float | int) -> Fraction:
    """Return a literal exactly as it is written."""
    return Fraction(literal) if isinstance(literal, int) else Fraction(repr(literal))


def arithmetic(bench: Workbench, op: ast.operator, one: Any, other: Any) -> Any:
    """Return what a binary operator makes."""
    if isinstance(one, Secret) or isinstance(other, Secret):
        return _on_cells(bench, op, one, other)
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return _on_numbers(op, one, other)
    if isinstance(op, ast.Add) and type(one) is type(other) and isinstance(one, (str, list, tuple)):
        if isinstance(one, str) and len(one) + len(other) > TEXT_MAX:
            raise Unfit("TEXT", f"a text of {len(one) + len(other)} characters", f"at most {TEXT_MAX}")
        if not isinstance(one, str):
            bench.pay_items(len(one) + len(other))
        return one + other
    if isinstance(one, bool) and isinstance(other, bool) and isinstance(op, (ast.BitAnd, ast.BitOr)):
        return one & other if isinstance(op, ast.BitAnd) else one | other
    if isinstance(one, Sizes) or isinstance(other, Sizes):
        raise Unfit(
            "SIZE", "arithmetic with a size that only the data tells", "zeros(shape(x)[1]), or count(table)"
        )
    tables = next((value for value in (one, other) if isinstance(value, (PageTable, TablePart))), None)
    if tables is not None:
        raise Unfit("VALUE", "arithmetic with a table", "columns of it: loans.amount * 2")
    raise Unfit(
        "OPERATOR", f"{said_kind(one)} and {said_kind(other)} do not go together", "numbers, or cells"
    )


def _on_numbers(op: ast.operator, one: Fraction, other: Fraction) -> Fraction:
    if isinstance(op, ast.Pow):
        return power(one, other)
    work = _ON_NUMBERS.get(type(op))
    if work is None:
        raise Unfit("OPERATOR", f"{type(op).__name__} of numbers", "+ - * / // % **")
    if other == 0 and isinstance(op, (ast.Div, ast.FloorDiv, ast.Mod)):
        raise Unfit("DIVISION", "a division of public numbers by 0", "another divisor")
    return bounded(Fraction(work(one, other)))


def _on_cells(bench: Workbench, op: ast.operator, one: Any, other: Any) -> Secret:
    build = bench.build
    if isinstance(op, ast.MatMult):
        return build.matmul(build.lift(one, "@"), build.lift(other, "@"))
    if isinstance(op, ast.Pow):
        if not isinstance(other, Fraction) or other.denominator != 1 or not 2 <= other <= _POWER_MAX:
            raise Unfit(
                "POWER", "a power of cells", f"a whole public exponent from 2 to {_POWER_MAX}; sqrt, exp"
            )
        base = made = build.lift(one, "**")
        for _ in range(int(other) - 1):
            made = build.apply("multiply", [made, base])
        return made
    name = _ON_CELLS.get(type(op))
    if name is None:
        raise Unfit(
            "OPERATOR", f"{type(op).__name__} of cells", "+ - * / @ ** & |, and bins(column) for whole parts"
        )
    if name == "divide" and isinstance(other, Fraction) and other < 0:
        return build.apply(name, [build.apply("negative", [one]), -other])
    return build.apply(name, [one, other])


def negated(bench: Workbench, op: ast.unaryop, value: Any) -> Any:
    """Return what a unary operator makes."""
    if isinstance(value, Secret):
        if isinstance(op, ast.Not):
            raise Unfit("SECRET_BOOLEAN", f"not decides on a {said_kind(value)}", "~(condition)")
        return bench.build.apply("negative" if isinstance(op, ast.USub) else "not", [value])
    if isinstance(value, Fraction) and isinstance(op, ast.USub):
        return -value
    if isinstance(value, bool) and not isinstance(op, ast.USub):
        return not value
    raise Unfit(
        "OPERATOR", f"{type(op).__name__} of {said_kind(value)}", "- of numbers, not of conditions, ~ of bits"
    )


def compared(bench: Workbench, op: ast.cmpop, one: Any, other: Any) -> Any:
    """Return what a comparison makes: a bool of public values, bits of cells."""
    if isinstance(one, Secret) or isinstance(other, Secret):
        return _compare_cells(bench, op, one, other)
    if isinstance(op, (ast.In, ast.NotIn)):
        return _within(bench, one, other) is isinstance(op, ast.In)
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        check_units("compare", [bench.build.unit(one), bench.build.unit(other)])
        return _ORDERS[type(op)](one, other)
    plain = (str, bool, type(None), Fraction)
    if isinstance(op, (ast.Eq, ast.NotEq)) and isinstance(one, plain) and isinstance(other, plain):
        return (type(one) is type(other) and one == other) is isinstance(op, ast.Eq)
    raise Unfit("COMPARE", f"{said_kind(one)} is compared with {said_kind(other)}", "numbers, or texts by ==")


def _within(bench: Workbench, one: Any, other: Any) -> bool:
    plain = (str, Fraction)
    if not isinstance(other, (list, tuple)) or not isinstance(one, plain):
        raise Unfit("COMPARE", f"{said_kind(one)} in {said_kind(other)}", "a number or a text in a list")
    bench.pay_items(min(len(other), LIST_MAX))
    kind = Fraction if isinstance(one, Fraction) else str
    return any(isinstance(item, kind) and item == one for item in other)


def _compare_cells(bench: Workbench, op: ast.cmpop, one: Any, other: Any) -> Secret:
    build = bench.build
    if isinstance(op, (ast.In, ast.NotIn)):
        raise Unfit("SECRET_IN", "in looks for a secret", '(x == "a") | (x == "b")')
    if isinstance(op, (ast.Eq, ast.NotEq)):
        text = one if isinstance(one, str) else other
        cells = other if isinstance(one, str) else one
        made = (
            build.apply("is", [cells], (text,))
            if isinstance(text, str)
            else build.apply("equal", [one, other])
        )
        return made if isinstance(op, ast.Eq) else build.apply("not", [made])
    name = "less" if isinstance(op, (ast.Lt, ast.Gt)) else "less_equal"
    operands = [one, other] if isinstance(op, (ast.Lt, ast.LtE)) else [other, one]
    return build.apply(name, operands)
