"""Labels: in which ways each column stands in each value of a plan.

A column stands in a value of a table's rows
- `raw`: its cells as they are; `square`: their squares;
- `key`: as the choice of rows by its registered categories or bins, or by a bit that it holds;
- `match`: only as identifiers that were joined;
- `versus`: as a comparison of its cells with those of another owner;
- `rowwise`: in any other way that differs from row to row;
and in a figure over rows
- `count`: as what chose rows that were counted or summed; `tally`: as comparisons that were counted;
- `sum`: as an unweighted sum of its cells or their squares; `figure`: in any other way;
and in a value of either kind
- `noised`: only by a sum with noise that was drawn inside the computation, which any row may hold.

A label is larger, never smaller, than what a value holds. What a page computes with figures stays of their
ways: it follows from them. `match` never changes. Atoms are the sums and counts over rows that a figure
follows from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from contracts.pages.faults import Unfit
from contracts.pages.graph import Graph
from contracts.pages.limits import ATOMS_MAX, GAS_LABEL, NOISED_MOST, RUN_CELLS_MAX, SIZE_MAX
from contracts.pages.numbers import read_number
from contracts.pages.paying import Payer
from contracts.pages.spreads import (
    BIT,
    WHOLE_MOST,
    Domain,
    Interval,
    Spread,
    awaited,
    held,
    hull,
    in_range,
    quotient,
    squared,
    summed,
    through,
)
from contracts.pages.types import Shape, Size, is_rows

Columns = int
"""A set of columns: bit i stands for the plan's column i."""
ROWS = ("raw", "square", "key", "versus", "rowwise")
FIGURES = ("count", "tally", "sum", "figure")
WAYS = (*ROWS, "match", *FIGURES, "noised")


@dataclass(frozen=True, slots=True)
class Label:
    """The columns in a value, by their way; and what decides whether noise can cover it."""

    raw: Columns = 0
    square: Columns = 0
    key: Columns = 0
    versus: Columns = 0
    rowwise: Columns = 0
    match: Columns = 0
    count: Columns = 0
    tally: Columns = 0
    sum: Columns = 0
    figure: Columns = 0
    noised: Columns = 0
    atoms: int = 0
    """A set of atoms, by their place."""
    chosen: bool = False
    """Whether it differs from row to row by public choice: position, random lots."""
    crossed: bool = False
    """Whether a row's cell depends on other rows."""
    spread: Spread = None

    @property
    def values(self) -> Columns:
        """The columns that stand in a way other than `match` and `noised`."""
        return self.in_rows | self.in_figures

    @property
    def in_rows(self) -> Columns:
        """The columns that stand in a way of rows."""
        return self.raw | self.square | self.key | self.versus | self.rowwise

    @property
    def in_figures(self) -> Columns:
        """The columns that stand in a way of figures."""
        return self.count | self.tally | self.sum | self.figure

    def only(self, *ways: str) -> bool:
        """Tell whether columns stand in these ways alone, `match` aside, and nothing is chosen by row."""
        rest = sum(getattr(self, way) != 0 for way in (*ROWS, *FIGURES, "noised") if way not in ways)
        return rest == 0 and not self.chosen


@dataclass(frozen=True, slots=True)
class SummedCells:
    """Cells of one row that a sum adds, alike in what bounds them."""

    cells: Shape
    choices: Size
    """1 for cells of their own; else each stands for so many, of which one at most is not 0."""
    spread: Spread
    columns: Columns
    """The columns that they follow from."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What decides whether and where a sum adds the cells of a row."""

    rows: Columns = 0
    """The columns that decide whether the row counts."""
    groups: Size = 1
    by: Columns = 0
    """The columns that decide in which groups it is."""
    apart: bool = True
    """Whether a row is in one group at most."""


@dataclass(frozen=True, slots=True)
class Atom:
    """A sum or count over rows, from which figures follow."""

    node: int
    rows: str
    """The name of the number of rows that it is over."""
    parts: tuple[SummedCells, ...]
    """What one row adds; none where its cells follow from other rows, so that no noise can cover it."""
    choice: Choice
    label: Label

    @property
    def bounded(self) -> bool:
        """Whether something bounds what one row adds, so that noise can cover it."""
        return len(self.parts) > 0 and all(part.spread is not None for part in self.parts)

    @property
    def of_bits(self) -> bool:
        """Whether it adds bits or counts them, so that noise inside a computation stays below NOISED_MOST."""
        return all(part.spread in (BIT, _ONE.spread) for part in self.parts)


EMPTY = Label()


def merged(labels: Sequence[Label]) -> Label:
    """Return the label of what holds each of several values, and no more."""
    ways = dict.fromkeys((*WAYS, "atoms"), 0)
    for label in labels:
        for way in ways:
            ways[way] |= getattr(label, way)
    chosen, crossed = any(label.chosen for label in labels), any(label.crossed for label in labels)
    return Label(**ways, chosen=chosen, crossed=crossed, spread=hull([label.spread for label in labels]))


class Labels:
    """The labels of all nodes of a graph, and its atoms."""

    def __init__(self, graph: Graph, owners: Sequence[str], payer: Payer) -> None:
        """Derive them; `owners` has the owner of each column of the graph. The payer pays by the node."""
        self.graph = graph
        self.owners = owners
        self.of: list[Label] = [EMPTY] * len(graph)
        self.atoms: list[Atom] = []
        self._places: dict[int, int] = {}
        self._carried: dict[int, list[Label]] = {}
        self._passes: dict[int, int] = {}
        """How often each loop was gone through since it began."""
        self._payer = payer
        self._run()

    def _run(self) -> None:
        """Go through the nodes in order, and through a loop's body until its labels stay as they are."""
        node = 0
        while node < len(self.graph):
            self._payer.charge(GAS_LABEL + len(self.graph.args[node]))
            name = self.graph.name(node)
            if name == "again":
                loop = self.graph.args[node][0]
                if self._grown(loop, [self.of[arg] for arg in self.graph.args[node][1:]]):
                    node = loop + 1
                    continue
            else:
                self.of[node] = self._label(node, name)
            node += 1

    def _grown(self, loop: int, ends: Sequence[Label]) -> bool:
        """Put what a turn ends with to what it began with; tell whether that changed anything."""
        before = self._carried[loop]
        after = [merged([one, other]) for one, other in zip(before, ends, strict=True)]
        self._passes[loop] += 1
        if self._passes[loop] > _SPREAD_PASSES:
            after = [
                one if one.spread == was.spread else replace(one, spread=None)
                for one, was in zip(after, before, strict=True)
            ]
        self._carried[loop] = after
        return after != before

    def _label(self, node: int, name: str) -> Label:
        graph, args = self.graph, self.graph.args[node]
        if name == "repeat":
            self._carried[node] = [self.of[arg] for arg in args]
            self._passes[node] = 0
            return EMPTY
        if name == "carry":
            return self._carried[args[0]][int(graph.attrs[node][0])]
        if name == "after":
            return self._carried[graph.args[args[0]][0]][int(graph.attrs[node][0])]
        if name == "column":
            column = int(graph.attrs[node][0])
            averaged = self.graph.columns[column].averaged
            return Label(raw=1 << column, crossed=averaged, spread=self._domain(column))
        return _RULES[graph.primitives[node].flow](self, node, [self.of[arg] for arg in args])

    def _domain(self, column: int) -> Spread:
        read = self.graph.columns[column]
        if read.kind in ("bit", "text"):
            return BIT if read.kind == "bit" else None
        if not read.low:
            return Domain(column, read.kind != "any")
        real = read.kind == "real"
        return in_range(held(read_number(read.low), read_number(read.high), real), real)

    # --- rules, by the name in the table's column `flow` -------------------------------------------------
    def _of_public(self, node: int, _labels: Sequence[Label]) -> Label:
        if self.graph.name(node) == "step":
            turns = int(self.graph.attrs[self.graph.args[node][0]][0])
            return Label(spread=Interval(Fraction(0), Fraction(turns - 1)))
        value = read_number(self.graph.attrs[node][0])
        return Label(spread=self._in_range(node, held(value, value, self._real(node))))

    def _real(self, node: int) -> bool:
        """Tell whether cells are real on shares, so rounded; those of columns without a schema may be."""
        return self.graph.cells[node].kind in ("real", "any")

    def _of_chosen(self, node: int, _labels: Sequence[Label]) -> Label:
        return Label(chosen=True, spread=BIT if self.graph.name(node) == "lot" else None)

    def _of_match(self, _node: int, labels: Sequence[Label]) -> Label:
        every = merged(labels)
        return Label(match=every.values | every.match, spread=BIT)

    def _of_view(self, node: int, labels: Sequence[Label]) -> Label:
        every = merged(labels)
        return replace(every, spread=labels[0].spread) if self.graph.name(node) == "align" else every

    def _of_local(self, node: int, labels: Sequence[Label]) -> Label:
        """Cells from cells of the same row; a figure that is put to each row makes rows depend on others."""
        every = merged(labels)
        spread = self._spread(node, labels)
        if not self.graph.cells[node].by_row:
            return replace(every, spread=spread)
        crossed = every.crossed or every.in_figures != 0
        return Label(
            rowwise=every.values,
            match=every.match,
            atoms=every.atoms,
            chosen=every.chosen,
            crossed=crossed,
            noised=every.noised,
            spread=spread,
        )

    def _spread(self, node: int, labels: Sequence[Label]) -> Spread:
        """Return the spread of cells that are right on shares, as what compares cells twice needs them."""
        name, attrs, real = self.graph.name(node), self.graph.attrs[node], self._real(node)
        spreads = [label.spread for label in labels]
        if name in ("and", "or", "not"):
            spreads = [self._held(label) for label in labels]
        elif name == "where":
            spreads[0] = self._held(labels[0])
        if name in ("matmul", "divide"):
            made = self._inner(node, spreads) if name == "matmul" else self._quotient(node, spreads)
            return self._in_range(node, made)
        within = isinstance(spreads[0], Interval) or labels[0].only(
            "raw"
        )  # a column's own cells lie in range
        if name in ("clip", "cut", "sigmoid") and not within:
            return spreads[0]
        if name == "clip":
            return self._in_range(node, held(read_number(attrs[0]), read_number(attrs[1]), real))
        return self._in_range(node, through(name, spreads, real))

    def _held(self, label: Label) -> Spread:
        """Return the spread of what chooses: a column that does has bits, whatever is not known of it."""
        return BIT if isinstance(label.spread, Domain) and label.only("raw") else label.spread

    def _along(self, node: int, labels: Sequence[Label]) -> Spread:
        """Return the spread of a sum along an axis that is none of rows; unknown sizes are SIZE_MAX."""
        if self.graph.name(node) != "sum" or any(label.spread is None for label in labels):
            return None
        size = self.graph.cells[self.graph.args[node][0]].shape[int(self.graph.attrs[node][0])]
        reached = summed(labels[0].spread, size if isinstance(size, int) else SIZE_MAX)
        return self._in_range(node, reached)

    def _inner(self, node: int, spreads: Sequence[Spread]) -> Spread:
        """Return the spread of a product along an axis that is none of rows; unknown sizes are SIZE_MAX."""
        each = through("multiply", spreads, self._real(node))
        size = self.graph.cells[self.graph.args[node][0]].shape[-1]
        return summed(each, size if isinstance(size, int) else SIZE_MAX)

    def _quotient(self, node: int, spreads: Sequence[Spread]) -> Spread:
        whole = self.graph.cells[self.graph.args[node][1]].kind in ("bit", "integer")
        return quotient(*spreads, whole=whole)

    def _in_range(self, node: int, spread: Spread) -> Spread:
        """Return a spread, None beyond the range of shares; what may be real is judged once that is known."""
        return in_range(spread, self.graph.cells[node].kind == "real")

    def _of_key(self, node: int, labels: Sequence[Label]) -> Label:
        """Registered categories and bins choose groups; any other text, as an identifier, chooses rows."""
        (label,) = labels
        if label.only("raw") and not any(self._unregistered(column) for column in bits_of(label.raw)):
            return Label(key=label.raw, match=label.match, crossed=label.crossed, spread=BIT)
        return self._of_local(node, labels)

    def _unregistered(self, column: int) -> bool:
        read = self.graph.columns[column]
        return read.kind == "text" and not read.categories

    def _of_not(self, node: int, labels: Sequence[Label]) -> Label:
        (label,) = labels
        if label.only("raw", "key", "versus"):
            return self._bits(label)
        return self._of_local(node, labels)

    def _of_both(self, node: int, labels: Sequence[Label]) -> Label:
        every = merged(labels)
        if self.graph.cells[node].by_row and every.only("raw", "key", "versus"):
            return self._bits(every)
        return self._of_local(node, labels)

    def _bits(self, label: Label) -> Label:
        """Return the label of bits that follow of bits alone."""
        keys = label.raw | label.key
        return Label(key=keys, versus=label.versus, match=label.match, crossed=label.crossed, spread=BIT)

    def _of_compare(self, node: int, labels: Sequence[Label]) -> Label:
        one, other = labels
        if one.raw and other.raw and one.only("raw") and other.only("raw"):
            mine = {self.owners[column] for column in bits_of(one.raw)}
            if mine.isdisjoint(self.owners[column] for column in bits_of(other.raw)):
                both = merged([one, other])
                return Label(versus=both.raw, match=both.match, crossed=both.crossed, spread=BIT)
        return self._of_local(node, labels)

    def _of_multiply(self, node: int, labels: Sequence[Label]) -> Label:
        one, other = self.graph.args[node]
        label = labels[0]
        if one == other and label.only("raw") and label.raw:
            square = self._in_range(node, squared(label.spread, self._real(node)))
            return Label(square=label.raw, match=label.match, crossed=label.crossed, spread=square)
        return self._of_local(node, labels)

    def _of_cross(self, node: int, labels: Sequence[Label]) -> Label:
        """Cells from cells of any rows."""
        every = merged(labels)
        if self.graph.cells[node].by_row:
            return Label(
                rowwise=every.values,
                match=every.match,
                atoms=every.atoms,
                chosen=every.chosen,
                crossed=True,
                noised=every.noised,
            )
        if any(self.graph.cells[arg].by_row for arg in self.graph.args[node]):
            label = Label(figure=every.values, match=every.match, noised=every.noised)
            product = self.graph.name(node) == "matmul" and not every.crossed
            return self._atom(node, self._products(node) if product else (), Choice(), label, every.atoms)
        return replace(every, spread=None)

    def _of_fold(self, node: int, labels: Sequence[Label]) -> Label:
        if self._folds_rows(node):
            return self._of_cross(node, labels)
        return self._of_local(node, labels)

    def _of_sum(self, node: int, labels: Sequence[Label]) -> Label:
        graph = self.graph
        if not self._folds_rows(node):
            return replace(self._of_local(node, labels), spread=self._along(node, labels))
        if graph.cells[node].by_row:
            return self._of_cross(node, labels)
        counted = graph.name(node) == "group_count"
        summand = EMPTY if counted else labels[0]
        choosing = labels if counted else labels[1:]
        chooses = merged(choosing)
        every = merged([summand, chooses])
        parts: tuple[SummedCells, ...] = ()
        in_bounds = all(label.spread is not None for label in choosing)
        if in_bounds and not every.crossed:
            parts = (_ONE,) if counted else tuple(self._parts(graph.args[node][0]))
            waits = awaited([self._held(label) for label in choosing])
            parts = parts if waits is None else tuple([replace(part, spread=waits) for part in parts])
        choice = self._choice(node, labels)
        return self._atom(node, parts, choice, _summed(summand, chooses, every), every.atoms)

    def _choice(self, node: int, labels: Sequence[Label]) -> Choice:
        """Return how the rows of a sum are chosen; what it takes is (x, groups, rows), or a part of that."""
        graph, name = self.graph, self.graph.name(node)
        first = 0 if name == "group_count" else 1
        if name == "sum":
            return Choice(rows=merged(labels[first:]).values)
        by = graph.args[node][first]
        groups = graph.cells[by].shape[1]
        return Choice(merged(labels[first + 1 :]).values, groups, labels[first].values, self._apart(by))

    def _apart(self, node: int) -> bool:
        """Tell whether one bit along the last axis is 1 at most: categories and bins do not overlap."""
        return self.graph.name(node) in ("one_hot", "bins", "cut")

    def _parts(self, node: int, depth: int = 0) -> list[SummedCells]:
        """Return the cells of one row of a value by row: those of a stack each, up to a depth."""
        self._payer.charge(GAS_LABEL)
        graph, label = self.graph, self.of[node]
        name, shape = graph.name(node), graph.cells[node].shape
        if name in ("stack", "concat", "spread", "transpose") and depth < _PARTS_DEPTH:
            return [part for arg in graph.args[node] for part in self._parts(arg, depth + 1)]
        if self._apart(node):
            return [SummedCells(_of_a_row(shape[:-1]), shape[-1], label.spread, label.values)]
        return [SummedCells(_of_a_row(shape), 1, label.spread, label.values)]

    def _products(self, node: int) -> tuple[SummedCells, ...]:
        """Return what one row adds to a product over rows: each cell of one side by each of the other.

        Reals are cut to 2^-16 once they are added up, which is right below the range of shares alone.
        """
        graph = self.graph
        args = graph.args[node]
        real = all(graph.cells[arg].kind in ("real", "any") for arg in args)
        found = []
        for one in self._parts(args[0]):
            for other in self._parts(args[1]):
                self._payer.charge(GAS_LABEL)
                spread = through("multiply", [one.spread, other.spread], real)
                if real and in_range(summed(spread, RUN_CELLS_MAX), real) is None:
                    return ()
                cells, choices = (*one.cells, *other.cells), one.choices
                if choices == 1:
                    choices = other.choices
                elif other.choices != 1:
                    cells = (*cells, other.choices)
                found.append(SummedCells(cells, choices, spread, one.columns | other.columns))
        return tuple(found)

    def _of_noised(self, node: int, labels: Sequence[Label]) -> Label:
        """Noise covers the sum that it is added to, so nothing that follows crosses rows by it."""
        (arg,), (label,) = self.graph.args[node], labels
        place = self._places.get(arg)
        if place is None or not self.atoms[place].bounded:
            raise _unfit_for_noise(node, "this is no sum or count over rows that something bounds")
        if not label.values:
            reason = "noise on how many rows are joined hides no value of theirs"
            raise _unfit_for_noise(node, reason, "NOISE_WITHOUT_ROWS")
        spread = label.spread
        if isinstance(spread, Interval):
            far = NOISED_MOST if self._real(node) or self.atoms[place].of_bits else WHOLE_MOST / 2
            spread = in_range(Interval(spread.low - far, spread.high + far), self._real(node))
        return Label(match=label.match, noised=label.values | label.noised, spread=spread)

    def _folds_rows(self, node: int) -> bool:
        """Tell whether an axis of rows is gone from what a sum or product is of."""
        graph = self.graph
        name, args = graph.name(node), graph.args[node]
        shape = graph.cells[args[0]].shape
        if name in ("group_sum", "group_count"):
            return True
        axis = int(graph.attrs[node][0]) if name == "sum" else len(shape) - 1 if name == "matmul" else 0
        return is_rows(shape[axis])

    def _atom(
        self, node: int, parts: tuple[SummedCells, ...], choice: Choice, label: Label, atoms: int
    ) -> Label:
        """Return a figure over rows as an atom of its own; what its rows held of others counts, too."""
        place = self._places.setdefault(node, len(self.atoms))
        if place == ATOMS_MAX:
            raise Unfit("ATOMS", f"more than {ATOMS_MAX} sums over rows", "fewer, or stack([…])")
        rows = next(
            str(size)
            for arg in self.graph.args[node]
            for size in self.graph.cells[arg].shape
            if is_rows(size)
        )
        atom = Atom(node, rows, parts, choice, label)
        if place == len(self.atoms):
            self.atoms.append(atom)
        else:
            self.atoms[place] = atom
        reached = hull([summed(part.spread, RUN_CELLS_MAX) for part in parts])
        return replace(label, atoms=atoms | 1 << place, spread=self._in_range(node, reached))


_PARTS_DEPTH = 4
_SPREAD_PASSES = 3
"""How often a loop is gone through before what still grows has no bounds."""
_ONE = SummedCells((), 1, Interval(Fraction(1), Fraction(1)), 0)
"""What counting adds for a row."""


def _of_a_row(shape: Shape) -> Shape:
    return tuple([size for size in shape if not is_rows(size)])


_RULES: Mapping[str, Callable[[Labels, int, Sequence[Label]], Label]] = {
    "public": Labels._of_public,
    "chosen": Labels._of_chosen,
    "match": Labels._of_match,
    "view": Labels._of_view,
    "local": Labels._of_local,
    "key": Labels._of_key,
    "not": Labels._of_not,
    "both": Labels._of_both,
    "compare": Labels._of_compare,
    "multiply": Labels._of_multiply,
    "cross": Labels._of_cross,
    "fold": Labels._of_fold,
    "sum": Labels._of_sum,
    "noised": Labels._of_noised,
}
"""By the table's column `flow`; columns and loops have rules of their own."""


def _summed(summand: Label, choice: Label, every: Label) -> Label:
    """Return the ways of a sum of a summand over chosen rows."""
    counts = every.only("raw", "key", "square")
    tallies = every.only("key", "versus", "raw") and not summand.raw | summand.square
    if counts:
        return Label(
            count=summand.key | choice.key | choice.raw, sum=summand.raw | summand.square, match=every.match
        )
    if tallies:
        return Label(count=summand.key | choice.key | choice.raw, tally=every.versus, match=every.match)
    return Label(figure=every.values, match=every.match, noised=every.noised)


def _unfit_for_noise(node: int, reason: str, rule: str = "NOISE_UNBOUNDED") -> Unfit:
    instead = (
        "noised(sum(x), noise), or noised(x.T @ y, noise) of products below 32, with x = clip(…, low, high)"
    )
    unfit = Unfit(rule, reason, instead)
    unfit.node = node
    return unfit


def bits_of(columns: Columns) -> list[int]:
    """Return the members of a set of columns or atoms, ascending."""
    found = []
    while columns:
        found.append((columns & -columns).bit_length() - 1)
        columns &= columns - 1
    return found
