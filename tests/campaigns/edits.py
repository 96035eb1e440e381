"""One-line mutants: where a source is changed, into what, and under which stable name."""

from __future__ import annotations

import ast
import hashlib
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace bytes `start`..`end` of a source by a text."""

    start: int
    end: int
    text: str

    def apply(self, source: str) -> str:
        """Return the changed source."""
        raw = source.encode()
        return (raw[: self.start] + self.text.encode() + raw[self.end :]).decode()


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed place of one file."""

    name: str
    """`slot.py:Slot.decide:boundary:1`, or the name of a mutant written by hand."""
    file: str
    """Below the root, such as `consensus/slot.py`."""
    function: str
    """Qualified inside its file."""
    operator: str
    lines: tuple[int, int]
    """First and last line of the statement that is changed (of its head, if it has a body)."""
    before: str
    """The lines that are changed (of a mutant by hand, its text alone), folded into one."""
    after: str
    edit: Edit

    @property
    def module(self) -> str:
        """Dotted name of the module that is changed."""
        return self.file.removesuffix(".py").replace("/", ".")

    @property
    def key(self) -> str:
        """Name and content: what a stored verdict is about."""
        return f"{self.name}#{digest(self.before, self.after)[:12]}"

    def source(self, original: str) -> str:
        """Return the changed source of the file."""
        return self.edit.apply(original)


def digest(*parts: str) -> str:
    """Return the SHA-256 of these texts, in hex."""
    summed = hashlib.sha256()
    for part in parts:
        summed.update(len(part).to_bytes(8, "big") + part.encode())
    return summed.hexdigest()


def one_line(text: str) -> str:
    """Return a text with its white space folded."""
    return " ".join(text.split())


class Positions:
    """Line and column of the syntax tree, as byte offsets."""

    def __init__(self, source: str) -> None:
        """Measure every line of a source."""
        self._raw = source.encode()
        self._starts = [0]
        for line in self._raw.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Return the offsets of a node."""
        at = node
        start = self._starts[at.lineno - 1] + at.col_offset  # type: ignore[attr-defined]
        end = self._starts[at.end_lineno - 1] + at.end_col_offset  # type: ignore[attr-defined]
        return start, end

    def around(self, edit: Edit, lines: tuple[int, int]) -> tuple[str, str]:
        """Return the text of some lines before and after an edit inside them, each folded into one line."""
        start, end = self._starts[lines[0] - 1], max(self._starts[lines[1]], edit.end)
        changed = self._raw[start : edit.start] + edit.text.encode() + self._raw[edit.end : end]
        return one_line(self._raw[start:end].decode()), one_line(changed.decode())


class Scope:
    """One function: whether a change of it is Python, and another program than before."""

    def __init__(self, source: str, function: ast.AST) -> None:
        """Cut the function out, whole lines of it."""
        start, self._end = Positions(source).span(function)
        raw = source.encode()
        self._start = raw.rfind(b"\n", 0, start) + 1
        self._text = raw[self._start : self._end].decode()
        self._tree = ast.dump(ast.parse(textwrap.dedent(self._text)))

    def takes(self, edit: Edit) -> bool:
        """Tell whether an edit inside the function makes a valid and different one."""
        inner = Edit(edit.start - self._start, edit.end - self._start, edit.text)
        changed = textwrap.dedent(inner.apply(self._text))
        try:
            compile(changed, "<mutant>", "exec")
        except SyntaxError:
            return False
        return ast.dump(ast.parse(changed)) != self._tree
