"""What is checked before the parser sees a source: what passes never overwhelms it."""

# ruff: noqa: E501  (tables)

from __future__ import annotations

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.language.front.tokens import precheck
from contracts.language.limits import SOURCE_BYTES_MAX

SETTINGS = settings(max_examples=50, deadline=None, derandomize=True)
PIECES = st.sampled_from(
    ["(", ")", "[", "]", "{", "}", "x", "1", "+", "-", "not ", "if ", "else ", ",", ":", ".", "=", "'a'", "f'{x}'", "\n", "  ",
     "lambda ", "for ", "in ", "and ", "**", "def f():\n ", "elif ", "#c\n", "\\\n", "await ", "@", "yield ",
     "class A(Record):\n x: int\n", "class P(Protocol):\n def f(self): ...\n", "A(1)", ".x"]
)  # fmt: skip


@SETTINGS
@given(st.lists(PIECES, max_size=400), st.integers(1, 40))
def test_what_passes_the_tokens_never_overwhelms_the_parser(pieces: list[str], times: int) -> None:
    source = "".join(pieces * times)[:SOURCE_BYTES_MAX]
    if precheck(source).found:
        return
    try:
        ast.parse(source, feature_version=(3, 11))
    except SyntaxError:
        return


@pytest.mark.parametrize(
    "source",
    [
        "x = " + "(" * 31 + "1" + ")" * 31,
        "x = " + "-" * 199 + "1",
        "x = " + " + ".join(["1"] * 200),
        "x = [" + ", ".join(["-1"] * 5_000) + "]",
        "if 1:\n x = 1\n" + "elif 1:\n x = 1\n" * 64,
        "def f():\n" + "".join(" " * n + "if 1:\n" for n in range(1, 15)) + " " * 15 + "x = 1",
    ],
)
def test_the_largest_that_passes_the_tokens_is_parsed(source: str) -> None:
    assert precheck(source).found == ()
    ast.parse(source)
