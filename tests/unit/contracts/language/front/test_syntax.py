"""Python's parser is entered by one thread at a time: two at once may fail with SystemError."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from contracts.language.front import syntax
from contracts.language.front.checker import parse
from contracts.pages.limits import Gas
from contracts.pages.reading import read_page

CONTRACTS = Path(syntax.__file__).parents[2]


def test_whoever_parses_holds_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    honest, held = ast.parse, []

    def noted(*args: object, **more: object) -> ast.Module:
        held.append(syntax.ONE_AT_A_TIME.locked())
        return honest(*args, **more)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(ast, "parse", noted)
    assert parse("x = 1")[0] is not None
    read_page('"""Says."""\n\n\ndef run(a):\n    keep(a.x, name="x")\n', "page.py", Gas(10**6))
    assert held == [True, True]
    with pytest.raises(SyntaxError):
        syntax.syntax_tree("x =")
    assert not syntax.ONE_AT_A_TIME.locked()


def test_nothing_that_contracts_are_made_of_parses_past_the_lock() -> None:
    sources = {path.name: path.read_text(encoding="utf-8") for path in CONTRACTS.rglob("*.py")}
    assert [name for name, text in sources.items() if "ast.parse(" in text] == ["syntax.py"]
