"""Annotations of a source: the hint of each, and its text."""

# ruff: noqa: E501  (tables)

from __future__ import annotations

import ast

import pytest

from contracts.language.front.annotations import parse_hint
from contracts.language.hints import hint_text


@pytest.mark.parametrize(
    "text",
    ["int", "list[str]", "dict[str, int]", "tuple[int, str]", "tuple[str, ...]", "int | None", "list", "dict", "tuple",
     "Value", "dict[int, list[tuple[str, int] | None]]", "subject", "bool | str | bytes"],
)  # fmt: skip
def test_a_hint_reads_back_as_it_was_written(text: str) -> None:
    node = ast.parse(text, mode="eval").body
    assert hint_text(parse_hint(node)) == text
