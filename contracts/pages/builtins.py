"""The functions that pages call: what each takes, and the nodes that it makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from contracts.pages.arguments import a_number, a_table, a_text, some_cells, some_items, walked, whole
from contracts.pages.calendar import day_number, moment_number
from contracts.pages.faults import Unfit
from contracts.pages.limits import LIST_MAX, RELEASE_NAME_MAX, RELEASES_MAX, REPEAT_MAX
from contracts.pages.numbers import number_text
from contracts.pages.releases import NOISED, SHARES, ReleaseAsked
from contracts.pages.types import is_rows
from contracts.pages.units import DAYS, SECONDS, Dated
from contracts.pages.values import NoiseAsked, PageTable, Repeat, Secret, Sizes, TablePart, said_kind
from contracts.pages.workbench import Workbench

Call = Callable[..., Any]
_BOUND_MAX = 2**53
"""Of what `range` begins and ends with."""


@dataclass(frozen=True, slots=True)
class PageFunction:
    """A function that the language provides."""

    call: Call
    names: tuple[str, ...]
    """Its parameters, all of which may be given by name; the last may be `*name` for several."""
    required: int
    says: str

    @property
    def signature(self) -> str:
        """How it is called, for documents and diagnostics."""
        shown = [name if place < self.required else f"{name}=" for place, name in enumerate(self.names)]
        return f"({', '.join(shown)})"


# --- tables ----------------------------------------------------------------------------------------------
def _join(bench: Workbench, *tables: object, on: object = None) -> PageTable:
    return bench.tables.join(_several(tables, "join"), on)


def _union(bench: Workbench, *tables: object) -> PageTable:
    return bench.tables.union(_several(tables, "union"))


def _several(tables: tuple[object, ...], what: str) -> list[PageTable]:
    """Return tables that are given one by one, or as one list."""
    one = tables[0]
    every = one if len(tables) == 1 and isinstance(one, (list, tuple)) else tables
    return [a_table(table, what) for table in every]


def _name_of(bench: Workbench, table: object) -> str:
    return bench.tables.datasets[bench.tables.place(a_table(table, "name_of"))]


def _owner_of(bench: Workbench, table: object) -> str:
    return bench.tables.owner(bench.tables.place(a_table(table, "owner_of")))


def _filter(bench: Workbench, table: object, condition: object) -> PageTable:
    return bench.tables.filter(a_table(table, "filter"), some_cells(condition, "filter"))


def _membership(bench: Workbench, table: object) -> Secret:
    return bench.tables.membership(a_table(table, "membership"))


def _position(bench: Workbench, table: object) -> Secret:
    found = a_table(table, "position")
    node = bench.build.node("position", (), (found.size,))
    return Secret(node, bench.build.graph.cells[node], found.rows)


def _lot(bench: Workbench, table: object, share: object) -> Secret:
    found, part = a_table(table, "lot"), a_number(share, "the share")
    node = bench.build.node("lot", (), (found.size, number_text(part)))
    return Secret(node, bench.build.graph.cells[node], found.rows)


# --- cells -----------------------------------------------------------------------------------------------
def _primitive(name: str) -> Call:
    def call(bench: Workbench, *values: object) -> Secret:
        if not any(isinstance(value, Secret) for value in values):
            raise Unfit(
                "VALUE", f"{name} takes cells, not {said_kind(values[0])}", "a column, or public arithmetic"
            )
        return bench.build.apply(name, values)

    return call


def _clip(bench: Workbench, x: object, low: object, high: object) -> Secret:
    bounds = number_text(a_number(low, "the lower bound")), number_text(a_number(high, "the upper bound"))
    return bench.build.apply("clip", [some_cells(x, "clip")], bounds)


def _where(bench: Workbench, condition: object, x: object, y: object) -> Secret:
    return bench.build.apply("where", [some_cells(condition, "where"), x, y])


def _one_hot(bench: Workbench, column: object) -> Secret:
    return bench.build.apply("one_hot", [some_cells(column, "one_hot")])


def _bins(bench: Workbench, column: object, edges: object = None) -> Secret:
    x = some_cells(column, "bins")
    if edges is None:
        return bench.build.apply("bins", [x])
    if not isinstance(edges, (list, tuple)):
        raise Unfit("ARGUMENT", f"edges are {said_kind(edges)}", "a list of numbers")
    text = ";".join(number_text(a_number(edge, "an edge")) for edge in edges)
    return bench.build.apply("cut", [x], (text,))


def _stack(bench: Workbench, values: object) -> Secret:
    return bench.build.apply("stack", some_items(values, "stack"))


def _concat(bench: Workbench, values: object) -> Secret:
    return bench.build.apply("concat", some_items(values, "concat"))


def _filled(value: int) -> Call:
    def call(bench: Workbench, shape: object) -> Secret:
        sizes = shape if isinstance(shape, tuple) else (shape,)
        texts = [
            each.name if isinstance(each, Sizes) else str(whole(each, 1, 100_000, "a size")) for each in sizes
        ]
        return bench.build.apply("fill", [], (str(value), ";".join(texts)))

    return call


def _shape(bench: Workbench, x: object) -> tuple[object, ...]:
    del bench
    return tuple(
        Fraction(size) if isinstance(size, int) else Sizes(size) for size in some_cells(x, "shape").shape
    )


# --- folds -----------------------------------------------------------------------------------------------
def _chosen(bench: Workbench, value: Secret, where: object) -> Secret:
    """Return a value of the rows that count and that a condition chooses besides."""
    if where is None:
        return value
    bit = some_cells(where, "where=")
    if not value.cells.by_row:
        raise Unfit("SHAPE", "where= chooses among rows, and there are none", "where(condition, x, 0)")
    if value.rows is not None:
        joined = Secret(value.rows, bench.build.graph.cells[value.rows], value.rows)
        bit = bench.build.apply("and", [joined, bit])
    elif bit.rows is not None:
        raise Unfit("ROWS_DIFFER", "where= is of another choice of rows", "one table for both")
    return Secret(value.node, value.cells, bit.node)


def _groups(bench: Workbench, by: object, rows: int | None) -> Secret:
    groups = some_cells(by, "by=")
    if groups.cells.by_row and len(groups.shape) == 1 and groups.cells.kind in ("text", "any"):
        groups = bench.build.apply("one_hot", [groups])
    return Secret(groups.node, groups.cells, rows)


def _sum(
    bench: Workbench, x: object, by: object = None, where: object = None, axis: object = Fraction(0)
) -> Secret:
    before = some_cells(x, "sum")
    value = _chosen(bench, before, where)
    if by is not None:
        _same_rows(before, by)
        return bench.build.counted("group_sum", [value, _groups(bench, by, value.rows)])
    place = whole(axis, 0, 2, "axis")
    over = value.shape[place] if place < len(value.shape) else None
    if over is not None and is_rows(over):
        return bench.build.counted("sum", [value], (str(place),))
    return bench.build.apply("sum", [value], (str(place),))


def _same_rows(value: Secret, by: object) -> None:
    groups = some_cells(by, "by=")
    if groups.rows != value.rows:
        raise Unfit("ROWS_DIFFER", "groups and values are of different choices of rows", "one table for both")


def _count(bench: Workbench, x: object, by: object = None, where: object = None) -> Secret:
    if not isinstance(x, (PageTable, TablePart)):
        bits = some_cells(x, "count")
        if bits.cells.kind not in ("bit", "any"):
            raise Unfit(
                "KIND", f"count takes a table or bits, not {said_kind(bits)}", "sum(x), or count(table)"
            )
        return _sum(bench, bits, by, where)
    every = bench.tables.ones(a_table(x, "count"))
    chosen = _chosen(bench, every, where)
    if by is None:
        return bench.build.counted("sum", [chosen], ("0",))
    _same_rows(every, by)
    return bench.build.counted("group_count", [_groups(bench, by, chosen.rows)])


def _mean(bench: Workbench, x: object, by: object = None, where: object = None) -> Secret:
    before = some_cells(x, "mean")
    if not before.shape or not is_rows(before.shape[0]):
        raise Unfit("SHAPE", "a mean over rows of what has none", "sum(x) / n")
    total, value = _sum(bench, before, by, where), _chosen(bench, before, where)
    if by is not None:
        number = bench.build.counted("group_count", [_groups(bench, by, value.rows)])
    else:
        ones = bench.tables.ones_of(str(value.shape[0]), value.rows)
        number = bench.build.counted("sum", [ones], ("0",))
    if len(total.shape) > len(number.shape) and number.shape:
        number = bench.build.apply("spread", [number], ("1",))
    return bench.build.apply("divide", [total, number])


def _fold(name: str) -> Call:
    def call(bench: Workbench, x: object) -> Secret:
        value = some_cells(x, name)
        return bench.build.counted(name, [value])

    return call


def _in_order(name: str) -> Call:
    def call(bench: Workbench, x: object) -> Secret:
        value = some_cells(x, name)
        made = bench.build.apply(name, [bench.build.kept(value)])
        return Secret(made.node, made.cells, value.rows)

    return call


def _first(bench: Workbench, x: object, count: object) -> Secret:
    number = whole(count, 1, 1_000, "the number of first cells")
    return bench.build.apply("first", [bench.build.kept(some_cells(x, "first"))], (str(number),))


def _sort_by(bench: Workbench, key: object, *values: object) -> object:
    order = some_cells(key, "sort_by")
    found = bench.build.sort(order, [some_cells(value, "sort_by") for value in (values or (key,))])
    return tuple(found) if len(found) > 1 else found[0]


# --- public ----------------------------------------------------------------------------------------------
def _range(
    bench: Workbench, start: object, stop: object = None, step: object = Fraction(1)
) -> list[Fraction]:
    numbers = (Fraction(0), start) if stop is None else (start, stop)
    first, last = (whole(each, -_BOUND_MAX, _BOUND_MAX, "a bound of range") for each in numbers)
    made = range(first, last, whole(step, -_BOUND_MAX, _BOUND_MAX, "the step") or 1)
    if len(made) > LIST_MAX:
        raise Unfit("ARGUMENT", f"a range of {len(made)} numbers", f"at most {LIST_MAX} of them")
    bench.pay_items(len(made))
    return [Fraction(number) for number in made]


def _len(bench: Workbench, x: object) -> Fraction:
    del bench
    if isinstance(x, (PageTable, TablePart, Secret)):
        raise Unfit(
            "SECRET_LENGTH", "how many rows there are is no public number", "count(table), which is a secret"
        )
    if isinstance(x, (list, tuple, str)):
        return Fraction(len(x))
    raise Unfit("ARGUMENT", f"len of {said_kind(x)}", "a list or a text")


def _zip(bench: Workbench, one: object, other: object) -> list[object]:
    pairs = list(zip(walked(one), walked(other), strict=False))
    bench.pay_items(len(pairs))
    return list(pairs)


def _enumerate(bench: Workbench, x: object) -> list[object]:
    items = walked(x)
    bench.pay_items(len(items))
    return [(Fraction(place), item) for place, item in enumerate(items)]


def _str(bench: Workbench, x: object) -> str:
    del bench
    return number_text(a_number(x, "what str takes"))


def _day(bench: Workbench, text: object) -> Fraction:
    del bench
    return Dated(day_number(text), DAYS)


def _moment(bench: Workbench, text: object) -> Fraction:
    del bench
    return Dated(moment_number(text), SECONDS)


def _laplace(bench: Workbench, epsilon: object) -> NoiseAsked:
    del bench
    return NoiseAsked("laplace", a_number(epsilon, "epsilon"))


def _gaussian(bench: Workbench, epsilon: object, delta: object) -> NoiseAsked:
    del bench
    return NoiseAsked("gaussian", a_number(epsilon, "epsilon"), a_number(delta, "delta"))


def _noised(bench: Workbench, figure: object, noise: object) -> Secret:
    value = some_cells(figure, "noised")
    if not isinstance(noise, NoiseAsked):
        raise Unfit(
            "NOISE", f"noised takes noise, not {said_kind(noise)}", "noised(sum(x), laplace(epsilon=0.5))"
        )
    made = bench.build.apply("noised", [value], noise.texts)
    bench.noised[made.node] = bench.here
    return made


def _repeat(bench: Workbench, turns: object) -> Repeat:
    del bench
    return Repeat(whole(turns, 1, REPEAT_MAX, "the number of turns"))


# --- releases --------------------------------------------------------------------------------------------
def _release(
    bench: Workbench,
    figure: object,
    to: object = None,
    noise: object = None,
    exact: object = False,
    noised: object = False,
    name: object = None,
) -> None:
    value = some_cells(figure, "release")
    if not isinstance(to, str) or not to:
        raise Unfit("RECEIVER", "a release names who receives it", 'release(figure, to="bank", exact=True)')
    instead = (
        "one of noise=laplace(epsilon=0.5), exact=True, and noised=True where the noise is in it already"
    )
    if not isinstance(noise, (NoiseAsked, type(None))):
        raise Unfit("NOISE", f"noise= is {said_kind(noise)}", instead)
    strange = next(
        (name for name, one in (("exact", exact), ("noised", noised)) if not isinstance(one, bool)), ""
    )
    if strange:
        raise Unfit("NOISE", f"{strange}= is {said_kind(exact if strange == 'exact' else noised)}", instead)
    ways = (noise is not None, exact is True, noised is True)
    if ways.count(True) != 1:
        told = [name for name, holds in zip(("noise=", "exact=", "noised="), ways, strict=True) if holds]
        said = f"has {' and '.join(told)}" if told else "has no noise and is not exact"
        raise Unfit("NOISE", f"a release {said}", instead)
    asked = noise.texts if noise is not None else (NOISED if noised else "", "", "")
    _ask(bench, value, a_text(to, "to="), asked, name)


def _keep(bench: Workbench, value: object, name: object) -> None:
    _ask(bench, some_cells(value, "keep"), SHARES, ("", "", ""), name)


def _ask(bench: Workbench, value: Secret, receiver: str, noise: tuple[str, str, str], name: object) -> None:
    if bench.build.graph.open:
        raise Unfit("RELEASE_IN_LOOP", "a release inside repeat", "a release of what the loop leaves")
    place = len(bench.asked) + 1
    if place > RELEASES_MAX:
        raise Unfit("RELEASES", f"more than {RELEASES_MAX} releases", "stack([…]) releases several together")
    called = f"figure {place}" if name is None else a_text(name, "name=", RELEASE_NAME_MAX)
    rows = value.rows if value.cells.by_row else None
    bench.ask(ReleaseAsked(value.node, rows, receiver, called, *noise))


def _f(call: Call, names: str, required: int, says: str) -> PageFunction:
    return PageFunction(call, tuple(names.split()), required, says)


FUNCTIONS: Mapping[str, PageFunction] = {
    "join": _f(_join, "*tables on", 1, "the rows whose ids all tables have"),
    "union": _f(_union, "*tables", 1, "the rows of several tables of one schema, one after another"),
    "name_of": _f(_name_of, "table", 1, "the name of a dataset on this page"),
    "owner_of": _f(_owner_of, "table", 1, "the organisation that owns a dataset"),
    "filter": _f(_filter, "table condition", 2, "the table whose rows count where the condition holds"),
    "membership": _f(_membership, "table", 1, "1 for each row that counts"),
    "position": _f(_position, "table", 1, "0, 1, 2 … by row"),
    "lot": _f(_lot, "table share", 2, "public random bits, 1 for that share of the rows"),
    "count": _f(_count, "x by where", 1, "how many rows a table has, or how many bits are 1"),
    "sum": _f(_sum, "x by where axis", 1, "the sum over the first axis, or another"),
    "mean": _f(_mean, "x by where", 1, "the sum over rows by their number"),
    "greatest": _f(_fold("greatest"), "x", 1, "the greatest along the first axis"),
    "least": _f(_fold("least"), "x", 1, "the least along the first axis"),
    "maximum": _f(_primitive("maximum"), "x y", 2, "the greater of two"),
    "minimum": _f(_primitive("minimum"), "x y", 2, "the lesser of two"),
    "clip": _f(_clip, "x low high", 3, "x within public bounds"),
    "abs": _f(_primitive("absolute"), "x", 1, "x without its sign"),
    "sqrt": _f(_primitive("sqrt"), "x", 1, "the square root; 0 where x <= 0"),
    "exp": _f(_primitive("exp"), "x", 1, "e to the x"),
    "log": _f(_primitive("log"), "x", 1, "the natural logarithm; 0 where x <= 0"),
    "sigmoid": _f(_primitive("sigmoid"), "x", 1, "1 / (1 + e^-x)"),
    "real": _f(_primitive("real"), "x", 1, "the same as real numbers"),
    "where": _f(_where, "condition x y", 3, "x where the condition holds, else y"),
    "one_hot": _f(_one_hot, "column", 1, "a bit for each row and category"),
    "bins": _f(_bins, "column edges", 1, "a bit for each row and registered bin, or between public edges"),
    "stack": _f(_stack, "values", 1, "values along a new last axis"),
    "concat": _f(_concat, "values", 1, "values along their last axis"),
    "zeros": _f(_filled(0), "shape", 1, "0 in every cell of a shape"),
    "ones": _f(_filled(1), "shape", 1, "1 in every cell of a shape"),
    "shape": _f(_shape, "x", 1, "the sizes of the axes"),
    "running_sum": _f(_in_order("running_sum"), "x", 1, "sums from the first row on"),
    "shift": _f(_in_order("shift"), "x", 1, "the cell of the row before; 0 at the first"),
    "first": _f(_first, "x count", 2, "the cells of the first rows; 0 where they do not count"),
    "sort_by": _f(
        _sort_by, "key *values", 1, "values in ascending order of a key; rows that do not count last"
    ),
    "repeat": _f(_repeat, "turns", 1, "a loop of public length: for step in repeat(80)"),
    "laplace": _f(_laplace, "epsilon", 1, "noise of the Laplace mechanism"),
    "gaussian": _f(_gaussian, "epsilon delta", 2, "noise of the Gaussian mechanism"),
    "noised": _f(_noised, "figure noise", 2, "a sum over rows with noise, to compute on"),
    "release": _f(_release, "figure to noise exact noised name", 2, "a figure leaves, to one receiver"),
    "keep": _f(_keep, "value name", 2, "a value stays shares, under a name"),
    "range": _f(_range, "start stop step", 1, "whole numbers"),
    "len": _f(_len, "x", 1, "how many items a list has"),
    "zip": _f(_zip, "one other", 2, "pairs of two lists"),
    "enumerate": _f(_enumerate, "x", 1, "items with their places"),
    "str": _f(_str, "x", 1, "a number as text"),
    "day": _f(_day, "text", 1, "the number of a day, as dates have it"),
    "moment": _f(_moment, "text", 1, "the number of a second, as timestamps have it"),
}
