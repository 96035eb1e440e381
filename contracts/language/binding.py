"""Which parameter takes which argument, and what can never fit: refused where the call is written."""

from __future__ import annotations

import ast
from collections.abc import Container, Sequence

from contracts.language.hints import Hint, wanted
from contracts.language.known import never_fits
from contracts.language.scope import Refusal


def check_count(node: ast.Call, name: str, least: int, most: int) -> None:
    """Refuse a call with the wrong number of arguments, or with names for them."""
    if node.keywords:
        raise Refusal(
            node.keywords[0], "ARGUMENTS", f"{name}() takes no argument names here", "arguments in order"
        )
    if not least <= len(node.args) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        reason = f"{name}() takes {wanted} arguments, not {len(node.args)}"
        raise Refusal(node, "ARGUMENTS", reason, f"{name}({_shape(least)}) with {wanted}")


def _shape(count: int, more: str = "") -> str:
    return ", ".join(["…"] * count + [more] * bool(more))


def bound(
    node: ast.Call, what: str, names: Sequence[str], optional: Container[str]
) -> list[tuple[str, ast.expr]]:
    """Return which parameter takes which argument, as they are written; refuse a call that does not fit."""
    shape = f"{what}({', '.join(names)})"
    if len(node.args) > len(names):
        reason = f"{what}() takes {len(names)} arguments, not {len(node.args)}"
        raise Refusal(node, "ARGUMENTS", reason, shape)
    given: dict[str, ast.expr] = dict(zip(names, node.args, strict=False))
    for keyword in node.keywords:
        if keyword.arg is None:
            raise Refusal(
                keyword.value, "STAR", "** arguments are not in the language", "each argument by name"
            )
        if keyword.arg not in names or keyword.arg in given:
            problem = "twice" if keyword.arg in given else "unknown"
            reason = f"{what}(): argument {keyword.arg} is {problem}"
            raise Refusal(keyword, "ARGUMENTS", reason, shape)
        given[keyword.arg] = keyword.value
    missing = [name for name in names if name not in given and name not in optional]
    if missing:
        raise Refusal(node, "ARGUMENTS", f"{what}() misses {', '.join(missing)}", shape)
    return list(given.items())


def check_fit(node: ast.expr, what: str, given: Hint, hint: Hint) -> None:
    """Refuse a value that is known to be never of the wanted type."""
    if never_fits(given, hint):
        reason = f"{what} is {wanted(hint)}, not {wanted(given)}"
        raise Refusal(node, "HINT", reason, "a value of that type")
