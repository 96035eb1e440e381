"""Formulas of rows: sums of products of sizes that are known only when the data is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from contracts.pages.types import Shape, Size

Product = tuple[str, ...]
"""Names of sizes, sorted; `log2 n:…` is the logarithm of one, rounded up."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A sum of products, each with a whole factor."""

    parts: tuple[tuple[Product, int], ...] = ()

    def __add__(self, other: Formula) -> Formula:
        """Return the sum."""
        return _made([*self.parts, *other.parts])

    def times(self, factor: int) -> Formula:
        """Return it, a whole number of times."""
        return _made([(product, number * factor) for product, number in self.parts])

    def over(self, size: Size) -> Formula:
        """Return it for each of so many."""
        if isinstance(size, int):
            return self.times(size)
        return _made([(tuple(sorted((*product, size))), number) for product, number in self.parts])

    def value(self, sizes: Mapping[str, int]) -> int:
        """Return its value; raise KeyError for a size that is not given."""
        total = 0
        for product, number in self.parts:
            for name in product:
                number *= _log(sizes[name[5:]]) if name.startswith("log2 ") else sizes[name]
            total += number
        return total

    def text(self, said: Callable[[str], str]) -> str:
        """Return it in words of the reader; `said` names a size."""
        parts = []
        for product, number in self.parts:
            names = [
                f"log2({said(name[5:])})" if name.startswith("log2 ") else said(name) for name in product
            ]
            parts.append(" * ".join(names if number == 1 and names else [f"{number:,}", *names]))
        return " + ".join(parts) or "0"


class Total:
    """A sum that grows part by part, in the time of the parts that are added."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        """Begin with nothing."""
        self._parts: dict[Product, int] = {}

    def add(self, formula: Formula, times: int) -> None:
        """Add a formula, a whole number of times."""
        for product, number in formula.parts:
            self._parts[product] = self._parts.get(product, 0) + number * times

    def formula(self) -> Formula:
        """Return the sum."""
        return _made([*self._parts.items()])


def _made(parts: list[tuple[Product, int]]) -> Formula:
    total: dict[Product, int] = {}
    for product, number in parts:
        total[product] = total.get(product, 0) + number
    kept = {product: number for product, number in total.items() if number}
    return Formula(tuple(sorted(kept.items(), key=lambda part: (-len(part[0]), part[0]))))


def _log(size: int) -> int:
    return max(1, (size - 1).bit_length())


def whole(number: int) -> Formula:
    """Return a number."""
    return _made([((), number)])


def cells_of(shape: Shape) -> Formula:
    """Return how many cells a shape has."""
    made = whole(1)
    for size in shape:
        made = made.over(size)
    return made
