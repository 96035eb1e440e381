"""Functions that stand in several system contracts, which import nothing, are one text in each of them."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache

import pytest

from contracts.system import sources

COPIED = {
    "count_today": 7,
    "check_text": 7,
    "check_id": 6,
    "admin": 4,
    "steward": 3,
    "count_retraction": 2,
    "is_void": 2,
    "jobs_only": 2,
}
"""Function -> in how many contracts it stands."""


@cache
def copies() -> dict[str, list[str]]:
    """Return name -> the texts of all functions of that name, one for each contract that has one."""
    found = defaultdict[str, list[str]](list)
    for source in sources().values():
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef):
                found[node.name].append(ast.get_source_segment(source, node) or "")
    return found


@pytest.mark.parametrize("name", COPIED)
def test_a_function_of_several_contracts_is_mended_in_all_of_them(name: str) -> None:
    texts = copies()[name]
    assert texts == texts[:1] * COPIED[name]


def test_every_function_that_stands_twice_is_listed() -> None:
    assert {name for name, texts in copies().items() if len(texts) > len(set(texts))} == set(COPIED)
