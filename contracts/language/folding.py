"""The port of constant folding: the front end asks through it for values, and the back end computes them.

A module-level constant is an expression of the language, so what computes it is the code that the back end
makes of it. Neither end imports the other: `program.py` gives the one to the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from chain.primitives.values import Value
from contracts.language.hints import Hint
from contracts.language.ir import Node
from contracts.language.records import Record


@dataclass(frozen=True, slots=True)
class Folded:
    """A constant that was computed."""

    node: Node
    """What stands for it in the IR: ("const", bytes), or ("global", number in the table of constants)."""
    value: Value
    mutable: bool
    """Whether any part of it can change."""
    flat: bool
    """Whether no part of it holds what can change; of a table entry, whether it is a list or dict besides."""
    fits: bool
    """Whether it is of the hint."""


class Folder(Protocol):
    """Computes the constants of one source, in the order in which they stand there."""

    def define(self, record: Record) -> None:
        """Let constants be of this record; the records that its fields name were defined before."""

    def link(self, alias: str, number: int) -> None:
        """Let the next entry of the table of constants be this one of a library's table."""

    def fold(self, node: Node, hint: Hint) -> Folded:
        """Compute a constant; raise Halt, as its code does, when it cannot be made within the caps."""
