"""Names that nothing has: the refusal names those that are most like them."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from contracts.pages.builtins import FUNCTIONS
from contracts.pages.faults import Unfit

_KNOWN_MAX = 100
_LENGTH_MAX = 24
_ELSEWHERE = {
    "max": "maximum(x, y) of two, greatest(x) of an axis",
    "min": "minimum(x, y) of two, least(x) of an axis",
    "round": "bins(column), or nothing: releases are rounded as the plan states",
    "print": 'release(figure, to="bank", exact=True)',
    "float": "a real literal, such as 0.5",
    "int": "whole numbers as they are",
    "np": "the functions that docs/pages.md lists",
    "numpy": "the functions that docs/pages.md lists",
    "var": "mean(x * x) - mean(x) * mean(x)",
    "std": "sqrt(mean(x * x) - mean(x) * mean(x))",
    "require": "where(condition, x, 0)",
}


def unknown(name: str, known: Sequence[str]) -> Unfit:
    """Return the refusal of a name that nothing has."""
    near: list[str] = []
    if len(name) <= _LENGTH_MAX:
        near = get_close_matches(name, [*FUNCTIONS, *known[:_KNOWN_MAX]], n=3, cutoff=0.75)
    instead = _ELSEWHERE.get(name) or ", ".join(near) or "a name that is set before, or a function of pages"
    return Unfit("UNKNOWN_NAME", f"nothing is called {name}", instead)
