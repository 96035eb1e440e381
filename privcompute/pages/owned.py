"""Values that parties know in the clear: one party's cells, or rows of several owners.

What others need of them is shared: texts as 62 bits of their hashes, by which they are compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain.primitives.crypto import digest

_TEXT_BITS = 62


@dataclass(frozen=True, slots=True)
class OwnCells:
    """Cells that one party knows: an array there, nothing elsewhere."""

    party: int
    cells: NDArray[Any] | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class OwnedRows:
    """An owner's part of rows that several have."""

    party: int
    cells: NDArray[Any] | None = field(repr=False)
    places: NDArray[np.int64] | None = field(repr=False)
    """Where its rows stand among all; None elsewhere."""
    length: int
    """Rows that it is shared as: all of a join, its own of a union."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Rows of several owners: one after another, or at places of a join that only their owners know."""

    parts: tuple[OwnedRows, ...]
    joined: bool


def spread(part: OwnedRows) -> NDArray[Any] | None:
    """Return a part's cells at its places among all rows, 0 elsewhere."""
    if part.cells is None or part.places is None:
        return part.cells
    made = np.zeros((part.length, *part.cells.shape[1:]), part.cells.dtype)
    made[part.places] = part.cells
    return made


def hashed(cells: NDArray[Any]) -> NDArray[np.int64]:
    """Return 62 bits of each text's hash: texts are compared by it."""
    known: dict[str, int] = {}
    for text in cells.flat:
        if text not in known:
            whole = int.from_bytes(digest("assent/page-text", str(text).encode())[:8], "big")
            known[text] = whole >> (64 - _TEXT_BITS)
    return np.array([known[text] for text in cells.flat], np.int64).reshape(cells.shape)
