"""A brute-force reference for labels: it runs a page on three rows, and looks at what leaves.

Nothing is shared with the tracer. CPython runs the page on arrays of expressions, loops turn by turn. A cell
that is released is then read from above: which sums over rows it follows from, and whether each is, term by
term, what docs/pages.md calls an unweighted sum or a count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

ROWS = 3
OWNERS = {"loans": "bank", "people": "city"}
KEYS = {"k", "h"}
BITS = {"m", "b"}
GROUPS = 2
Way = tuple[str, str]
"""(column as `dataset.name`, how it stands in a figure)."""


class Made:
    """Expressions by number; equal ones have one number."""

    def __init__(self) -> None:
        self.nodes: list[tuple[Any, ...]] = []
        self.known: dict[tuple[Any, ...], int] = {}

    def __call__(self, *node: Any) -> int:
        if node not in self.known:
            self.known[node] = len(self.nodes)
            self.nodes.append(node)
        return self.known[node]


class Value:
    """An array of expressions; the first axis is one of rows if `mask` is no None."""

    __array_ufunc__ = None

    def __init__(self, made: Made, cells: Any, by_row: bool, mask: Any = None) -> None:
        self.made, self.cells, self.by_row, self.mask = made, np.array(cells, dtype=object), by_row, mask

    def _apply(self, name: str, *others: Any) -> Value:
        values = [
            other if isinstance(other, Value) else Value(self.made, self.made("num"), False)
            for other in others
        ]
        every = [self, *values]
        by_row = any(value.by_row for value in every)
        mask = next((value.mask for value in every if value.by_row), None)
        arrays = np.broadcast_arrays(*[value.cells for value in every])
        flat = [
            self.made("op", name, *cells) for cells in zip(*[array.ravel() for array in arrays], strict=True)
        ]
        return Value(self.made, np.array(flat, dtype=object).reshape(arrays[0].shape), by_row, mask)

    def __add__(self, other: Any) -> Value:
        return self._apply("add", other)

    def __sub__(self, other: Any) -> Value:
        return self._apply("sub", other)

    def __mul__(self, other: Any) -> Value:
        return self._apply("mul", other)

    def __truediv__(self, other: Any) -> Value:
        return self._apply("div", other)

    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = lambda self, other: self._apply("left", other)

    def __lt__(self, other: Any) -> Value:
        return self._apply("compare", other)

    __le__ = __gt__ = __ge__ = __lt__

    def __eq__(self, other: object) -> Value:  # type: ignore[override]
        return self._apply("is") if isinstance(other, str) else self._apply("compare", other)

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other: Any) -> Value:
        return self._apply("and", other)

    def __or__(self, other: Any) -> Value:
        return self._apply("or", other)

    def __invert__(self) -> Value:
        return self._apply("not")

    def __pow__(self, power: int) -> Value:
        made = self
        for _ in range(power - 1):
            made = made * self
        return made

    def __getitem__(self, index: Any) -> Value:
        return Value(self.made, self.cells[index], self.by_row, self.mask)


class Rows:
    """The joined table, or what a filter left of it."""

    def __init__(self, made: Made, mask: list[int]) -> None:
        self.made, self.mask = made, mask
        self.loans, self.people = Part(self, "loans"), Part(self, "people")


class Part:
    """The columns of one dataset in it."""

    def __init__(self, rows: Rows, dataset: str) -> None:
        self.rows, self.dataset = rows, dataset

    def __getattr__(self, name: str) -> Value:
        made = self.rows.made
        cells = [made("raw", f"{self.dataset}.{name}", row) for row in range(ROWS)]
        return Value(made, cells, True, self.rows.mask)


class Reference:
    """Runs one page; `uses` says of each release which uses of which columns it needs."""

    def __init__(self) -> None:
        self.made = Made()
        self.uses: list[set[tuple[str, str]]] = []

    def run(self, source: str) -> list[set[tuple[str, str]]]:
        names = {name: getattr(self, f"of_{name}") for name in FUNCTIONS}
        exec(compile(source, "page.py", "exec"), names)  # noqa: S102 (drawn by a test)
        names["run"]("loans", "people")
        return self.uses

    # --- functions of pages ------------------------------------------------------------------------------
    def of_join(self, *_tables: str) -> Rows:
        return Rows(self.made, [self.made("match", row) for row in range(ROWS)])

    def of_filter(self, rows: Rows, condition: Value) -> Rows:
        both = zip(rows.mask, condition.cells, strict=True)
        return Rows(self.made, [self.made("op", "and", one, other) for one, other in both])

    def of_membership(self, rows: Rows) -> Value:
        return Value(self.made, rows.mask, True, rows.mask)

    def of_position(self, rows: Rows) -> Value:
        return Value(self.made, [self.made("pos", row) for row in range(ROWS)], True, rows.mask)

    def of_lot(self, rows: Rows, _share: float) -> Value:
        return self.of_position(rows)

    def _masked(self, mask: Sequence[int], where: Value | None) -> list[int]:
        if where is None:
            return list(mask)
        return [self.made("op", "and", one, other) for one, other in zip(mask, where.cells, strict=True)]

    def _total(self, cells: Sequence[int], mask: Sequence[int]) -> int:
        return self.made("sum", tuple(zip(mask, cells, strict=True)))

    def of_sum(self, x: Value, by: Value | None = None, where: Value | None = None) -> Value:
        mask = self._masked(x.mask, where)
        if by is None:
            return self._of_columns(x, lambda cells: self._total(cells, mask))
        groups = self.of_one_hot(by) if by.cells.ndim == 1 else by
        totals = []
        for group in range(groups.cells.shape[1]):
            chosen = self._masked(mask, Value(self.made, groups.cells[:, group], True))
            totals.append(self._total(list(x.cells), chosen))
        return Value(self.made, totals, False)

    def _of_columns(self, x: Value, work: Callable[[list[int]], int]) -> Value:
        if x.cells.ndim == 1:
            return Value(self.made, work(list(x.cells)), False)
        return Value(self.made, [work(list(x.cells[:, place])) for place in range(x.cells.shape[1])], False)

    def of_count(self, x: Rows | Value, by: Value | None = None, where: Value | None = None) -> Value:
        if isinstance(x, Rows):
            x = Value(self.made, [self.made("num")] * ROWS, True, x.mask)
        return self.of_sum(x, by, where)

    def of_mean(self, x: Value, by: Value | None = None, where: Value | None = None) -> Value:
        ones = Value(self.made, [self.made("num")] * ROWS, True, x.mask)
        return self.of_sum(x, by, where) / self.of_sum(ones, by, where)

    def _fold(self, x: Value) -> Value:
        return self._of_columns(x, lambda cells: self.made("fold", *cells, *x.mask))

    of_greatest = of_least = _fold

    def _cross(self, x: Value, *others: Value) -> Value:
        """Every cell may hold every row."""
        every = [cell for value in (x, *others) for cell in value.cells.ravel()]
        mixed = self.made("op", "mixed", *every, *x.mask)
        return Value(self.made, [self.made("op", "at", mixed, self.made("num"))] * ROWS, True, x.mask)

    of_running_sum = of_shift = of_sort_by = _cross

    def of_one_hot(self, column: Value) -> Value:
        cells = [
            [self.made("op", "is", cell, *["num"] * group) for group in range(GROUPS)]
            for cell in column.cells
        ]
        return Value(self.made, cells, True, column.mask)

    of_bins = of_one_hot

    def of_where(self, condition: Value, x: Any, y: Any) -> Value:
        return condition._apply("where", x, y)

    def of_clip(self, x: Value, _low: float, _high: float) -> Value:
        return x._apply("clip")

    def of_sqrt(self, x: Value) -> Value:
        return x._apply("sqrt")

    of_sigmoid = of_exp = of_abs = of_sqrt

    def of_real(self, x: Value) -> Value:
        return x

    def of_maximum(self, x: Value, y: Any) -> Value:
        return x._apply("maximum", y)

    def of_stack(self, values: list[Value]) -> Value:
        return Value(
            self.made, np.stack([v.cells for v in values], axis=-1), values[0].by_row, values[0].mask
        )

    def of_repeat(self, turns: int) -> Iterable[Value]:
        for _ in range(turns):
            yield Value(self.made, self.made("num"), False)

    def of_laplace(self, epsilon: float) -> str:
        assert epsilon > 0
        return "noise"

    def of_release(self, x: Value, to: str, exact: bool = False, noise: str | None = None) -> None:
        del exact
        self.uses.append(_needs(self.made, x, to, noise is not None))

    def of_keep(self, x: Value, name: str) -> None:
        del name
        held = _mentioned(self.made, [int(cell) for cell in x.cells.ravel()] + (x.mask or []))
        self.uses.append({(column, "join" if column.endswith(".id") else "encrypted") for column in held})


FUNCTIONS = [name[3:] for name in dir(Reference) if name.startswith("of_")]


# --- what a released cell is made of ------------------------------------------------------------------------
def _mentioned(made: Made, roots: Iterable[int]) -> set[str]:
    """Return every column that stands anywhere below, however deep; ids for what was joined."""
    found: set[str] = set()
    seen: set[int] = set()
    pending = list(roots)
    while pending:
        place = pending.pop()
        if place in seen or not isinstance(place, int):
            continue
        seen.add(place)
        node = made.nodes[place]
        if node[0] == "raw":
            found.add(node[1])
        elif node[0] == "match":
            found |= {"loans.id", "people.id"}
        elif node[0] == "sum":
            pending += [part for term in node[1] for part in term]
        else:
            pending += [part for part in node[1:] if isinstance(part, int)]
    return found


def _atoms(made: Made, root: int) -> set[int]:
    """Return the sums and folds over rows that a figure follows from, without going into them."""
    found: set[int] = set()
    pending = [root]
    while pending:
        place = pending.pop()
        node = made.nodes[place]
        if node[0] in ("sum", "fold"):
            found.add(place)
        else:
            pending += [part for part in node[1:] if isinstance(part, int)]
    return found


def _choice(made: Made, place: int, row: int) -> list[Way] | None:
    """Return the columns of a condition on one row that may choose rows of exact figures, else None."""
    node = made.nodes[place]
    if node[0] == "match" and node[1] == row:
        return [("loans.id", "match"), ("people.id", "match")]
    if node[0] == "raw" and node[2] == row and node[1].split(".")[1] in BITS:
        return [(node[1], "count")]
    if node[0] != "op":
        return None
    if node[1] == "is":
        return _raw(made, node[2], row, "count")
    if node[1] == "not":
        return _choice(made, node[2], row)
    if node[1] == "and":
        one, other = _choice(made, node[2], row), _choice(made, node[3], row)
        return None if one is None or other is None else one + other
    if node[1] == "compare":
        one, other = _raw(made, node[2], row, "tally"), _raw(made, node[3], row, "tally")
        if one and other and one[0][0].split(".")[0] != other[0][0].split(".")[0]:
            return one + other
    return None


def _raw(made: Made, place: int, row: int, way: str) -> list[Way] | None:
    node = made.nodes[place]
    return [(node[1], way)] if node[0] == "raw" and node[2] == row else None


def _summand(made: Made, place: int, row: int) -> list[Way] | None:
    node = made.nodes[place]
    if node[0] == "num":
        return []
    if node[:2] == ("op", "mul") and node[2] == node[3]:
        return _raw(made, node[2], row, "sum")
    return _raw(made, place, row, "sum") or _choice(made, place, row)


def _ways(made: Made, atom: int) -> set[Way]:
    """Return how columns stand in one sum or fold over rows."""
    node = made.nodes[atom]
    found: set[Way] = set()
    lawful = node[0] == "sum"
    for row, (mask, x) in enumerate(node[1] if lawful else ()):
        chosen, summed = _choice(made, mask, row), _summand(made, x, row)
        lawful = lawful and chosen is not None and summed is not None
        found |= {*(chosen or ()), *(summed or ())}
    ways = {way for _, way in found}
    if not lawful or ("tally" in ways and "sum" in ways):
        held = _mentioned(made, [atom])
        return {(column, "match" if column.endswith(".id") else "figure") for column in held}
    return found


def _needs(made: Made, x: Value, to: str, noise: bool) -> set[tuple[str, str]]:
    """Return the uses of columns that a release needs."""
    cells = [int(cell) for cell in x.cells.ravel()]
    if x.by_row:
        held = _mentioned(made, cells + list(x.mask))
        return {(column, "join" if column.endswith(".id") else "plain") for column in held}
    ways = {way for cell in cells for atom in _atoms(made, cell) for way in _ways(made, atom)}
    own = any(OWNERS[c.split(".")[0]] == to and way != "match" for c, way in ways)
    needed = set()
    for column, way in ways:
        use = {
            "match": "join",
            "count": "aggregate",
            "sum": "aggregate",
            "tally": "plain",
            "figure": "plain",
        }[way]
        if noise and way != "match":
            use = "compare" if way == "tally" else "noisy"
        others = OWNERS[column.split(".")[0]] != to
        if not noise and own and others and way != "match":
            use = "plain"
        needed.add((column, use))
    return needed
