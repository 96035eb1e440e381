"""Argument binding: which parameter takes which argument; a call that never fits is refused."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence

from contracts.language.front.known import never_fits
from contracts.language.front.refusals import Refusal
from contracts.language.hints import Hint, wanted


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


Params = Sequence[tuple[str, Hint]]
NAMES_SHOWN = 12
"""Names of parameters that a refusal lists: a source has room for thousands."""


def listed(names: Sequence[str]) -> str:
    """Return names for the text of a refusal, the first few of many."""
    more = ["…"] * (len(names) > NAMES_SHOWN)
    return ", ".join([*names[:NAMES_SHOWN], *more])


def bound(
    node: ast.Call, what: str, params: Params, places: Mapping[str, int], optional: Collection[str]
) -> list[tuple[int, ast.expr]]:
    """Return (place of its parameter, argument) for each argument, in the order of the source.

    Raises Refusal for a call that does not fit. The work is that of the arguments that are given, however
    many may be left out.
    """
    if len(node.args) > len(params):
        reason = f"{what}() takes {len(params)} arguments, not {len(node.args)}"
        raise Refusal(node, "ARGUMENTS", reason, _head(what, params))
    given: dict[str, ast.expr] = {name: value for (name, _), value in zip(params, node.args, strict=False)}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise Refusal(
                keyword.value, "STAR", "** arguments are not in the language", "each argument by name"
            )
        if keyword.arg not in places or keyword.arg in given:
            problem = "twice" if keyword.arg in given else "unknown"
            reason = f"{what}(): argument {keyword.arg} is {problem}"
            raise Refusal(keyword, "ARGUMENTS", reason, _head(what, params))
        given[keyword.arg] = keyword.value
    if sum(name not in optional for name in given) < len(params) - len(optional):
        missing = [name for name, _ in params if name not in given and name not in optional]
        raise Refusal(node, "ARGUMENTS", f"{what}() misses {listed(missing)}", _head(what, params))
    return [(places[name], value) for name, value in given.items()]


def _head(what: str, params: Params) -> str:
    return f"{what}({listed([name for name, _ in params])})"


def check_fit(node: ast.expr, what: str, given: Hint, hint: Hint) -> None:
    """Refuse a value that is known to be never of the wanted type."""
    if never_fits(given, hint):
        reason = f"{what} is {wanted(hint)}, not {wanted(given)}"
        raise Refusal(node, "HINT", reason, "a value of that type")
