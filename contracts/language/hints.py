"""Type hints: their canonical form, and their text in the ABI.

A hint is a tuple: ("int",) ("str",) ("bytes",) ("bool",) ("none",) ("list", T) ("dict", K, V) ("tuple", T…)
("rest", T) for tuple[T, ...], ("union", T…), ("subject",), ("record", name) and ("any",).
`front/annotations.py` reads them from a source, `run/checks.py` enforces them.
"""

from __future__ import annotations

from typing import Any

Hint = tuple[Any, ...]


HEADS = {"record": "dict", "rest": "tuple", "subject": "str"}
"""Heads of hints that are not the name of a type, and that type."""
ANY: Hint = ("any",)
SUBJECT: Hint = ("subject",)


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


def holds_record(hint: Hint) -> bool:
    """Tell whether a value of this hint may hold a record."""
    return hint[0] == "record" or any(holds_record(part) for part in hint[1:] if type(part) is tuple)
