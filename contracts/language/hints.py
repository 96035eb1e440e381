"""Type hints: their canonical form, their text in the ABI, and the check that enforces them.

A hint is a tuple: ("int",) ("str",) ("bytes",) ("bool",) ("none",) ("list", T) ("dict", K, V) ("tuple", T…)
("rest", T) for tuple[T, ...], ("union", T…), ("subject",), ("record", name) and ("any",).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Container, Mapping
from typing import Any, Protocol

from chain.primitives.execution import SUBJECT_PATTERN
from chain.primitives.values import Value
from contracts.language.limits import GAS_ALTERNATIVE, GAS_HINT_SUBJECT, GAS_TYPES
from contracts.language.machine import Machine
from contracts.language.values import NoneType

Hint = tuple[Any, ...]
Check = Callable[[Machine, Value], bool]


class CheckedRecord(Protocol):
    """What a hint that names a record needs of it."""

    @property
    def depth(self) -> int:
        """Return how deep a value of it nests, as far as its fields say."""

    @property
    def has_bytes(self) -> bool:
        """Return whether any of its fields may hold bytes."""

    @property
    def check(self) -> Check:
        """Return the test of its fields."""

    @property
    def fill(self) -> Check:
        """Return the test of its fields that first gives those their defaults that are missing."""


Records = Mapping[str, CheckedRecord]
HEADS = {"record": "dict", "rest": "tuple", "subject": "str"}
"""Heads of hints that are not the name of a type, and that type."""
NO_RECORDS: Records = {}
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


def united(left: Hint, right: Hint) -> Hint:
    """Return the hint of either, each alternative once."""
    parts = [
        *(left[1:] if left[0] == "union" else (left,)),
        *(right[1:] if right[0] == "union" else (right,)),
    ]
    return ("union", *dict.fromkeys(parts))


KNOWN_PARTS_MAX = 32
"""Parts of a type that is inferred; a larger one counts as any: a source could double it line by line."""


def bounded(hint: Hint) -> Hint:
    """Return a hint, or ANY for one of too many parts."""
    return hint if _count(hint, KNOWN_PARTS_MAX) >= 0 else ANY


def _count(hint: Hint, room: int) -> int:
    """Return how many parts there is still room for; negative when there are too many."""
    room -= 1
    if hint[0] != "record":
        for part in hint[1:]:
            if room < 0:
                break
            room = _count(part, room)
    return room


def either(one: Hint, other: Hint) -> Hint:
    """Return what is known of a value that is of one of two hints."""
    one, other = bounded(one), bounded(other)
    if one == other:
        return one
    return ANY if ANY in (one, other) else bounded(united(one, other))


def parts_of(hint: Hint) -> tuple[Hint, ...]:
    """Return the alternatives of a hint; ANY alone stands for very many."""
    if hint[0] != "union":
        return (hint,)
    return hint[1:] if len(hint) <= KNOWN_PARTS_MAX else (ANY,)


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


def hint_text(hint: Hint) -> str:
    """Return the hint as a person writes it."""
    head = hint[0]
    if head == "any":
        return "Value"
    if head == "none":
        return "None"
    if head == "record":
        return str(hint[1])
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


def holds_bytes(hint: Hint, records: Records) -> bool:
    """Tell whether a value of this hint may hold bytes."""
    if hint[0] == "record":
        return records[hint[1]].has_bytes
    return hint[0] == "bytes" or any(holds_bytes(part, records) for part in hint[1:])


def exact_type(hint: Hint) -> type | None:
    """Return the one Python type that the hint means, when `type(value) is …` is the whole check."""
    if hint[0] in EXACT:
        return EXACT[hint[0]]
    bare = {("list", ANY): list, ("dict", ANY, ANY): dict, ("rest", ANY): tuple}
    return bare.get(hint)


def depth_of(hint: Hint, records: Records) -> int:
    """Return how deep a value of this hint nests, as far as the hint says."""
    if hint[0] == "record":
        return records[hint[1]].depth
    inner = max([depth_of(part, records) for part in hint[1:]], default=0)
    return inner + (hint[0] in ("list", "dict", "tuple", "rest"))


def holds_record(hint: Hint) -> bool:
    """Tell whether a value of this hint may hold a record."""
    return hint[0] == "record" or any(holds_record(part) for part in hint[1:] if type(part) is tuple)


def checker(hint: Hint, records: Records = NO_RECORDS, *, fill: bool = False) -> Check:
    """Compile a hint into a metered predicate; `bool` is not an `int` here.

    With `fill`, fields of records that are missing get their defaults: for values that nothing shares yet.
    """
    exact = exact_type(hint)
    if exact is not None:
        return lambda _, value: type(value) is exact
    head = hint[0]
    if head == "any":
        return lambda _, __: True
    if head == "subject":
        return _subject
    if head == "record":
        return records[hint[1]].fill if fill else records[hint[1]].check
    # A value that might be one record or another is none of them before it has all fields.
    fill = fill and (head != "union" or sum(map(holds_record, hint[1:])) < 2)
    parts = [checker(part, records, fill=fill) for part in hint[1:]]
    if head == "union":
        return _union_of(hint[1:], parts)
    if head == "tuple":
        return _fixed(parts)
    if head == "dict":
        return _entries(parts[0], parts[1])
    return _items(list if head == "list" else tuple, parts[0])


def _subject(m: Machine, value: Value) -> bool:
    m.charge(GAS_HINT_SUBJECT)
    return type(value) is str and _SUBJECT.fullmatch(value) is not None


def _union_of(hints: tuple[Hint, ...], parts: list[Check]) -> Check:
    """Scalars, and what else is one look at the type if nothing is more, are in the price of the place.

    Every other alternative that is tried pays (a source has room for thousands, and a list for 10,000 items).
    """
    exact = [exact_type(hint) for hint in hints]
    if None not in exact:
        kinds = frozenset(exact)
        return lambda _, value: type(value) in kinds
    scalars = frozenset(EXACT[hint[0]] for hint in hints if hint[0] in EXACT)
    rest = [part for hint, part in zip(hints, parts, strict=True) if hint[0] not in EXACT]

    def check(m: Machine, value: Value) -> bool:
        if type(value) in scalars:
            return True
        for part in rest:
            m.charge(GAS_ALTERNATIVE)
            if part(m, value):
                return True
        return False

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
