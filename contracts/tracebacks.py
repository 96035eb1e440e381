"""Tracebacks of failed calls: each function that the failure went through, its line, the code."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from chain.primitives.runtimeport import Outcome, TraceFrame
from chain.primitives.visible import json_text
from contracts.language.front.syntax import syntax_tree


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a contract in force, and the file or contract that it is called by."""

    name: str
    text: str


Sources = Callable[[TraceFrame], Source | None]
"""Finds the source in which a frame is: of its library if it names one, else of its contract."""
LIBRARY_SHOWN = 16
"""Digits of a library's hash in the head of a frame."""


def render(outcome: Outcome, what: str, sources: Sources) -> str:
    """Return the text of a failure; `what` names the call, outermost frame first, the code last."""
    lines = [f"{what}: {outcome.status}, {outcome.gas_used} gas"]
    inner: TraceFrame | None = None
    shown: list[str] = []
    for frame in outcome.trace:
        shown = [*_shown(frame, inner, sources(frame)), *shown]
        inner = frame
    last = f"{outcome.code}: {outcome.why}" if outcome.why else outcome.code
    return "\n".join([*lines, *shown, last])


VALUE_LENGTH = 80
"""Characters of one argument in the text of a call; a longer one is cut."""
ARGUMENTS_SHOWN = 20


def call_text(contract: str, method: str, args: Mapping[str, Any] | None) -> str:
    """Return a call as its sender wrote it, `grants.revoke(id="g1")`; None: arguments that are no values."""
    if args is None:
        return f"{contract}.{method}(arguments that are no values)"
    shown = [f"{name}={_cut(json_text(value))}" for name, value in islice(args.items(), ARGUMENTS_SHOWN)]
    more = ["…"] * (len(args) > ARGUMENTS_SHOWN)
    return f"{contract}.{method}({', '.join([*shown, *more])})"


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_LENGTH else f"{text[: VALUE_LENGTH - 1]}…"


def _shown(frame: TraceFrame, inner: TraceFrame | None, source: Source | None) -> list[str]:
    head = f"  {frame.contract}.{frame.function}"
    if frame.library:
        head = f"  {frame.contract}, library {frame.library[:LIBRARY_SHOWN]}: {frame.function}"
    if source is None or not frame.line:
        return [f"{head}, line {frame.line}" if frame.line else head]
    lines = source.text.split("\n")
    text = lines[frame.line - 1] if frame.line <= len(lines) else ""
    start, end = _span(source.text, frame.line, inner.function if inner else None) or (0, len(text))
    indent = len(text) - len(text.lstrip())
    start, end = max(start, indent), min(end, len(text.rstrip()))
    caret = " " * (start - indent) + "^" * max(1, end - start)
    return [f"{head}, {source.name}:{frame.line}", f"    {text.strip()}", f"    {caret}"]


def _span(source: str, line: int, called: str | None) -> tuple[int, int] | None:
    """Return the columns of what failed: the one call of `called`, else the statement's own part."""
    statement = _statements(source).get(line)
    if statement is None:
        return None
    node = _own_part(statement)
    if called is not None:
        calls = [part for part in ast.walk(node) if isinstance(part, ast.Call) and _name(part) == called]
        if len(calls) == 1 and calls[0].lineno == line:
            node = calls[0]
    if node.lineno != line:
        node = statement
    end = node.end_col_offset if node.end_lineno == line else None
    text = source.split("\n")[line - 1]
    return _column(text, node.col_offset), len(text) if end is None else _column(text, end)


def _name(call: ast.Call) -> str:
    func = call.func
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def _own_part(node: ast.stmt) -> ast.stmt | ast.expr:
    """Return what a statement computes itself: the test of an `if`, what a `for` walks, else all of it."""
    if isinstance(node, (ast.If, ast.While)):
        return node.test
    return node.iter if isinstance(node, ast.For) else node


def _column(text: str, offset: int) -> int:
    """Return the character at which a UTF-8 offset of a line lies."""
    return len(text.encode()[:offset].decode(errors="ignore"))


@lru_cache(maxsize=64)
def _statements(source: str) -> dict[int, ast.stmt]:
    """Return the first statement that begins on each line."""
    found: dict[int, ast.stmt] = {}
    for node in ast.walk(syntax_tree(source)):
        if isinstance(node, ast.stmt):
            found.setdefault(node.lineno, node)
    return found
