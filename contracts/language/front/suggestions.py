"""Suggestions: the refusal of a name that nothing defines names those that are most like it."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import chain, islice

from contracts.language.front.declarations import Declarations
from contracts.language.front.refusals import Refusal
from contracts.language.vocabulary import BUILTINS, HOST, REPLACED


def unknown_member(names: Declarations, node: ast.Attribute, dotted: str) -> Refusal:
    """Return the refusal of what a library does not have."""
    owner, _, name = dotted.partition(".")
    library = names.libraries[owner]
    known = [*library.signatures, *library.records, *library.constants]
    known = [one for one in known if not one.startswith("_")]
    near = near_ones(names, name, known) or known[:MEMBERS_SHOWN]
    return Refusal(
        node, "UNKNOWN_NAME", f"library {owner} has no {name}", ", ".join(f"{owner}.{n}" for n in near)
    )


SUGGESTIONS_MAX = 3
"""Diagnostics of one source that look for a name like the misspelt one: the comparison is dear."""
_SUGGESTED_FROM = 200
"""Names of a contract that a misspelt one is held against."""
MEMBERS_SHOWN = 6
"""Names of a library that the refusal of a misspelt one names when none is like it."""
_COMPARED = 12
_COMPARED_LENGTH = 24
_LIKE = 0.75
"""Likeness from which a name is a likely slip of the pen: below, `bin` is like `min`."""


def unknown_name(names: Declarations, node: ast.AST, name: str, known: Iterable[str]) -> Refusal:
    """Return the refusal of a name that nothing defines, with the nearest way to say it."""
    if name in REPLACED:
        return Refusal(node, "NOT_IN_LANGUAGE", f"{name} is not in the language", REPLACED[name])
    near: list[str] = []
    if names.suggestions < SUGGESTIONS_MAX and len(name) <= _COMPARED_LENGTH:
        names.suggestions += 1
        near = get_close_matches(name, _likely(name, known), n=3, cutoff=_LIKE)
    instead = ", ".join(near) or "a name that is assigned before, or defined at the top level"
    return Refusal(node, "UNKNOWN_NAME", f"nothing is called {name}", instead)


def near_ones(names: Declarations, name: str, known: Iterable[str]) -> list[str]:
    """Return a few of the names of a short list that are like a misspelt one."""
    if names.suggestions >= SUGGESTIONS_MAX or len(name) > _COMPARED_LENGTH:
        return []
    names.suggestions += 1
    return get_close_matches(name, list(known), n=3, cutoff=_LIKE)


def _likely(name: str, known: Iterable[str]) -> list[str]:
    """Return a few names that share most letters with `name`."""
    letters = set(name)
    others = [
        other
        for other in islice(chain(BUILTINS, HOST, known), _SUGGESTED_FROM)
        if abs(len(other) - len(name)) <= 3 and len(other) <= _COMPARED_LENGTH
    ]
    return sorted(others, key=lambda other: len(letters.symmetric_difference(other)))[:_COMPARED]
