"""What the names of a page hold while it is traced: tables, cells that nobody sees, and what describes them.

Public values are Fraction, bool, str, None, and lists and tuples of values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from contracts.pages.numbers import bounded, number_text
from contracts.pages.types import Cells, Shape


@dataclass(frozen=True, slots=True)
class Secret:
    """Cells that are computed on without being seen: a node of the plan."""

    node: int
    cells: Cells
    rows: int | None = None
    """The bits of the table's rows that count; None when all do, or there are no rows."""

    @property
    def shape(self) -> Shape:
        """Its shape."""
        return self.cells.shape


@dataclass(frozen=True, slots=True)
class PageTable:
    """Rows of a dataset, of a union or of a join, all of them or those that a filter left."""

    parts: Mapping[str, tuple[int, ...]]
    """Dataset's name on the page -> its place, or several places for a union."""
    joined: int | None
    """The node of the join."""
    size: str
    """The name of the number of its rows."""
    rows: int | None
    """The bits of the rows that count."""


@dataclass(frozen=True, slots=True)
class TablePart:
    """What a joined table has of one dataset."""

    table: PageTable
    name: str


@dataclass(frozen=True, slots=True)
class NoiseAsked:
    """How noise is drawn."""

    mechanism: str
    epsilon: Fraction
    delta: Fraction | None = None

    @property
    def texts(self) -> tuple[str, str, str]:
        """Its mechanism, epsilon and delta as plans have them."""
        delta = "" if self.delta is None else number_text(bounded(self.delta))
        return self.mechanism, number_text(bounded(self.epsilon)), delta


@dataclass(frozen=True, slots=True)
class Repeat:
    """A loop whose body the plan holds once."""

    turns: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """A size that is known only when the data is there."""

    name: str


def said_kind(value: object) -> str:
    """Name the kind of a value for a diagnostic."""
    if isinstance(value, Secret):
        return f"secret {value.cells}"
    if isinstance(value, Fraction):
        return "a number"
    names = {
        PageTable: "a table",
        TablePart: "a table",
        bool: "a bool",
        str: "a text",
        type(None): "None",
        list: "a list",
        tuple: "a tuple",
        NoiseAsked: "noise",
        Repeat: "repeat(…)",
        Sizes: "a size that only the data tells",
    }
    return names.get(type(value), "a function")
