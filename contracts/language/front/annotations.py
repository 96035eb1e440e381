"""Annotations: which types the language has, the hint of each, and what to write instead of others."""

from __future__ import annotations

import ast
from collections.abc import Container

from contracts.language.front.refusals import Refusal
from contracts.language.hints import ANY, SUBJECT, Hint, united
from contracts.language.vocabulary import REPLACED_TYPES

_PLAIN: dict[str, Hint] = {
    "int": ("int",),
    "str": ("str",),
    "bytes": ("bytes",),
    "bool": ("bool",),
    "list": ("list", ANY),
    "dict": ("dict", ANY, ANY),
    "tuple": ("rest", ANY),
    "subject": SUBJECT,
    "Value": ANY,
}
_KEYS: tuple[Hint, ...] = (("int",), ("str",))
EXPECTED = (
    "int, str, bytes, bool, None, list[T], dict[K, V], tuple[T, ...], T | None, Value, "
    "or a record that is defined above"
)


class BadHint(Exception):
    """An annotation that is not a type of the language; `node` is the offending part."""

    def __init__(self, node: ast.expr, reason: str) -> None:
        """Point at the part of the annotation."""
        super().__init__(reason)
        self.node = node


def parse_hint(node: ast.expr, records: Container[str] = ()) -> Hint:
    """Return the canonical form of an annotation; raise BadHint with the offending part."""
    if isinstance(node, ast.Constant) and node.value is None:
        return ("none",)
    if isinstance(node, ast.Name) and node.id in _PLAIN:
        return _PLAIN[node.id]
    if isinstance(node, ast.Name) and node.id in records:
        return ("record", node.id)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr[0] != "_":
        name = f"{node.value.id}.{node.attr}"  # a record of a library
        if name in records:
            return ("record", name)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return united(parse_hint(node.left, records), parse_hint(node.right, records))
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        return _generic(node, node.value.id, records)
    raise BadHint(node, "not a type of the language")


def _generic(node: ast.Subscript, name: str, records: Container[str]) -> Hint:
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "list" and len(inner) == 1:
        return ("list", parse_hint(inner[0], records))
    if name == "dict" and len(inner) == 2:
        key = parse_hint(inner[0], records)
        if key not in _KEYS:
            raise BadHint(inner[0], "the keys of a dict are int or str")
        return ("dict", key, parse_hint(inner[1], records))
    if (
        name == "tuple"
        and len(inner) == 2
        and isinstance(inner[1], ast.Constant)
        and inner[1].value is Ellipsis
    ):
        return ("rest", parse_hint(inner[0], records))
    if name == "tuple" and inner:
        return ("tuple", *[parse_hint(part, records) for part in inner])
    raise BadHint(node, "not a generic type of the language")


def hint_of(node: ast.expr | None, records: Container[str]) -> Hint:
    """Return the hint of an annotation, `Value` when there is none."""
    if node is None:
        return ANY
    try:
        return parse_hint(node, records)
    except BadHint as bad:
        name = bad.node.value if isinstance(bad.node, ast.Subscript) else bad.node
        instead = REPLACED_TYPES.get(name.id, EXPECTED) if isinstance(name, ast.Name) else EXPECTED
        raise Refusal(bad.node, "HINT", str(bad), instead) from None
