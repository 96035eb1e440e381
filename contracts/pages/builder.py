"""Building a plan: equal nodes are made once, numbers become nodes, rows that do not count stay out."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from contracts.pages.faults import Unfit
from contracts.pages.graph import Args, Attrs, ColumnRead, Graph
from contracts.pages.limits import GAS_PLAN_ARG, GAS_PLAN_CHAR, GAS_PLAN_NODE, INPUTS_MAX, PageLimits
from contracts.pages.numbers import bounded, number_text
from contracts.pages.paying import Payer
from contracts.pages.primitives import BY_NAME, TABLE
from contracts.pages.units import Dated, check_units, unit_kept
from contracts.pages.values import Secret, said_kind

_ALWAYS_NEW = frozenset({"repeat", "again", "after", "noised"})


class Builder:
    """Makes nodes, and pays for them."""

    def __init__(self, payer: Payer, limits: PageLimits, datasets: int) -> None:
        """Begin an empty plan."""
        self.graph = Graph(TABLE, [], datasets)
        self.payer = payer
        self.limits = limits
        self._seen: list[dict[tuple[str, Args, Attrs], int]] = [{}]
        self._columns: dict[tuple[int, str], int] = {}
        self._units: dict[int, str] = {}
        """Node -> days or seconds, where its cells are such."""

    def node(self, name: str, args: Args, attrs: Attrs = ()) -> int:
        """Return the node that computes this, a new one unless there is one in reach."""
        self.payer.charge(GAS_PLAN_NODE + GAS_PLAN_ARG * len(args) + GAS_PLAN_CHAR * sum(map(len, attrs)))
        key = (name, args, attrs)
        if name not in _ALWAYS_NEW:
            for seen in self._seen:
                if key in seen:
                    return seen[key]
        if len(self.graph) >= self.limits.nodes:
            raise Unfit(
                "PLAN_SIZE", f"a plan of more than {self.limits.nodes} nodes", "repeat(n), or stack([…])"
            )
        made = self.graph.add(BY_NAME[name].number, args, attrs)
        if name == "again":
            self._seen.pop()
        self._seen[-1][key] = made
        if self._units and (unit := unit_kept(name, [self._units.get(arg, "") for arg in args])):
            self._units[made] = unit
        if name == "repeat":
            self._seen.append({})
        return made

    def unit(self, value: object) -> str:
        """Return the unit of a value, "" where it has none that is known."""
        if isinstance(value, Secret):
            return self._units.get(value.node, "")
        return value.unit if isinstance(value, Dated) else ""

    def column(self, read: ColumnRead, unit: str = "") -> int:
        """Return the node of a column, whose cells may be days or seconds."""
        place = self._columns.get((read.dataset, read.column))
        if place is None:
            place = self._columns[read.dataset, read.column] = len(self.graph.columns)
            if place == INPUTS_MAX:
                raise Unfit("COLUMNS", f"more than {INPUTS_MAX} columns", "fewer columns")
            self.graph.columns.append(read)
        node = self.node("column", (), (str(place),))
        if unit:
            self._units[node] = unit
        return node

    def number(self, value: Fraction) -> Secret:
        """Return a public number as a node."""
        return self._secret(self.node("number", (), (number_text(bounded(value)),)), None)

    def lift(self, value: object, what: str) -> Secret:
        """Return cells for an operand, or raise Unfit."""
        if isinstance(value, Secret):
            return value
        if isinstance(value, Fraction):
            return self.number(value)
        raise Unfit("VALUE", f"{what} takes cells or numbers, not {said_kind(value)}", "a column or a number")

    def apply(self, name: str, operands: Sequence[object], attrs: Attrs = ()) -> Secret:
        """Return a primitive of operands whose rows, if they have any, are the same."""
        check_units(name, [self.unit(operand) for operand in operands])
        cells = [self.lift(operand, name) for operand in operands]
        rows = common_rows(cells)
        return self._secret(self.node(name, tuple([each.node for each in cells]), attrs), rows)

    def _secret(self, node: int, rows: int | None) -> Secret:
        cells = self.graph.cells[node]
        return Secret(node, cells, rows if cells.by_row else None)

    def counted(self, name: str, operands: Sequence[Secret], attrs: Attrs = ()) -> Secret:
        """Return a fold of operands, over the rows that count."""
        rows = common_rows(operands)
        args = tuple([each.node for each in operands])
        return self._secret(self.node(name, args if rows is None else (*args, rows), attrs), rows)

    def kept(self, value: Secret) -> Secret:
        """Return cells with 0 in rows that do not count, and none left out."""
        if value.rows is None:
            return value
        bit = Secret(value.rows, self.graph.cells[value.rows])
        for axis in range(1, len(value.shape)):
            bit = self._secret(self.node("spread", (bit.node,), (str(axis),)), None)
        zero = self.number(Fraction(0))
        return self._secret(self.node("where", (bit.node, value.node, zero.node)), None)

    def matmul(self, one: Secret, other: Secret) -> Secret:
        """Return a product in which rows that do not count add nothing."""
        rows = common_rows([one, other])
        kept = self.kept(other)
        return self._secret(self.node("matmul", (one.node, kept.node)), rows)

    def sort(self, key: Secret, values: Sequence[Secret]) -> list[Secret]:
        """Return values in the order of a key; rows that do not count come last."""
        rows = common_rows([key, *values])
        more = () if rows is None else (rows,)
        sorted_rows = None if rows is None else self.node("sort", (key.node, rows, rows))
        return [self._secret(self.node("sort", (key.node, each.node, *more)), sorted_rows) for each in values]


def common_rows(cells: Sequence[Secret]) -> int | None:
    """Return the bits of the rows that count for all of these, or raise Unfit when they differ."""
    found = {each.rows for each in cells if each.cells.by_row}
    if len(found) > 1:
        raise Unfit(
            "ROWS_DIFFER",
            "these values are of different choices of rows",
            "take all of them from the same table, after the same filter",
        )
    return found.pop() if found else None
