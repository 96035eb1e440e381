"""Type hints: their canonical form, their text in the ABI, and the check that enforces them.

A hint is a tuple: ("int",) ("str",) ("bytes",) ("bool",) ("none",) ("list", T) ("dict", K, V) ("tuple", T…)
("rest", T) for tuple[T, ...], ("union", T…), ("subject",) and ("any",).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

from chain.primitives.execution import SUBJECT_PATTERN
from chain.primitives.values import Value
from contracts.language.limits import GAS_HINT_SUBJECT, GAS_TYPES
from contracts.language.machine import Machine
from contracts.language.values import NoneType

Hint = tuple[Any, ...]
Check = Callable[[Machine, Value], bool]

ANY: Hint = ("any",)
SUBJECT: Hint = ("subject",)
EXACT: dict[str, type] = {"int": int, "str": str, "bytes": bytes, "bool": bool, "none": NoneType}
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
_SUBJECT = re.compile(SUBJECT_PATTERN)
_FEW = 3
_KEYS: tuple[Hint, ...] = (("int",), ("str",))
EXPECTED = "int, str, bytes, bool, None, list[T], dict[K, V], tuple[T, ...], T | None, Value"


class BadHint(Exception):
    """An annotation that is not a type of the language; `node` is the offending part."""

    def __init__(self, node: ast.expr, reason: str) -> None:
        """Point at the part of the annotation."""
        super().__init__(reason)
        self.node = node


def parse_hint(node: ast.expr) -> Hint:
    """Return the canonical form of an annotation; raise BadHint with the offending part."""
    if isinstance(node, ast.Constant) and node.value is None:
        return ("none",)
    if isinstance(node, ast.Name) and node.id in _PLAIN:
        return _PLAIN[node.id]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union(parse_hint(node.left), parse_hint(node.right))
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        return _generic(node, node.value.id)
    raise BadHint(node, "not a type of the language")


def _union(left: Hint, right: Hint) -> Hint:
    parts = [
        *(left[1:] if left[0] == "union" else (left,)),
        *(right[1:] if right[0] == "union" else (right,)),
    ]
    return ("union", *dict.fromkeys(parts))


def _generic(node: ast.Subscript, name: str) -> Hint:
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "list" and len(inner) == 1:
        return ("list", parse_hint(inner[0]))
    if name == "dict" and len(inner) == 2:
        key = parse_hint(inner[0])
        if key not in _KEYS:
            raise BadHint(inner[0], "the keys of a dict are int or str")
        return ("dict", key, parse_hint(inner[1]))
    if (
        name == "tuple"
        and len(inner) == 2
        and isinstance(inner[1], ast.Constant)
        and inner[1].value is Ellipsis
    ):
        return ("rest", parse_hint(inner[0]))
    if name == "tuple" and inner:
        return ("tuple", *[parse_hint(part) for part in inner])
    raise BadHint(node, "not a generic type of the language")


def hint_text(hint: Hint) -> str:
    """Return the hint as a person writes it."""
    head = hint[0]
    if head == "any":
        return "Value"
    if head == "none":
        return "None"
    if head == "union":
        return " | ".join(hint_text(part) for part in hint[1:])
    if head == "rest":
        return "tuple" if hint[1] == ANY else f"tuple[{hint_text(hint[1])}, ...]"
    if head in ("list", "dict", "tuple"):
        if all(part == ANY for part in hint[1:]) and head != "tuple":
            return str(head)
        return f"{head}[{', '.join(hint_text(part) for part in hint[1:])}]"
    return str(head)


WANTED_LENGTH_MAX = 120


def wanted(hint: Hint) -> str:
    """Return the hint for the text of an error, cut when it is long; never part of a receipt."""
    text = hint_text(hint)
    return text if len(text) <= WANTED_LENGTH_MAX else text[: WANTED_LENGTH_MAX - 3] + "..."


def holds_bytes(hint: Hint) -> bool:
    """Tell whether bytes fit a hint itself, not only inside it."""
    return hint[0] == "bytes" or (hint[0] == "union" and ("bytes",) in hint[1:])


def exact_type(hint: Hint) -> type | None:
    """Return the one Python type that the hint means, when `type(value) is …` is the whole check."""
    if hint[0] in EXACT:
        return EXACT[hint[0]]
    bare = {("list", ANY): list, ("dict", ANY, ANY): dict, ("rest", ANY): tuple}
    return bare.get(hint)


def checker(hint: Hint) -> Check:
    """Compile a hint into a metered predicate; `bool` is not an `int` here."""
    exact = exact_type(hint)
    if exact is not None:
        return lambda _, value: type(value) is exact
    head = hint[0]
    if head == "any":
        return lambda _, __: True
    if head == "subject":
        return _subject
    parts = [checker(part) for part in hint[1:]]
    if head == "union":
        return _union_of(parts)
    if head == "tuple":
        return _fixed(parts)
    if head == "dict":
        return _entries(parts[0], parts[1])
    return _items(list if head == "list" else tuple, parts[0])


def _subject(m: Machine, value: Value) -> bool:
    m.charge(GAS_HINT_SUBJECT)
    return type(value) is str and _SUBJECT.fullmatch(value) is not None


def _union_of(parts: list[Check]) -> Check:
    """A few alternatives are in the price of the place; many pay (a source has room for thousands)."""
    count = len(parts)
    if count <= _FEW:
        return lambda m, value: any(part(m, value) for part in parts)

    def check(m: Machine, value: Value) -> bool:
        m.charge(2 * count)
        return any(part(m, value) for part in parts)

    return check


def _items(kind: Any, part: Check) -> Check:
    def check(m: Machine, value: Value) -> bool:
        if type(value) is not kind:
            return False
        m.charge(GAS_TYPES + len(value))
        return all(part(m, item) for item in value)

    return check


def _entries(key_check: Check, value_check: Check) -> Check:
    def check(m: Machine, value: Value) -> bool:
        if type(value) is not dict:
            return False
        m.charge(GAS_TYPES + 2 * len(value))
        return all(key_check(m, key) and value_check(m, item) for key, item in value.items())

    return check


def _fixed(parts: list[Check]) -> Check:
    def check(m: Machine, value: Value) -> bool:
        if type(value) is not tuple or len(value) != len(parts):
            return False
        m.charge(GAS_TYPES + 2 * len(parts))
        return all(part(m, item) for part, item in zip(parts, value, strict=True))

    return check
