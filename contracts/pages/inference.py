"""The types of what each primitive makes of what it takes; `primitives.py` has them in a table.

Each function is given the graph, the nodes and the texts that a primitive takes, and raises Unfit for others.
"""

from __future__ import annotations

from itertools import groupby, pairwise

from contracts.pages.faults import Unfit
from contracts.pages.graph import Args, Attrs, Graph
from contracts.pages.limits import DATASETS_MAX, KEY_COLUMNS_MAX, REPEAT_MAX
from contracts.pages.mechanisms import check_noise
from contracts.pages.numbers import read_number
from contracts.pages.types import (
    Cells,
    Shape,
    Size,
    broadcast,
    checked,
    is_rows,
    numeric,
    said_size,
    united_kind,
)

_NOTHING = Cells("loop")


def _unfit(rule: str, reason: str, instead: str) -> Unfit:
    return Unfit(rule, reason, instead)


def _of(graph: Graph, args: Args) -> list[Cells]:
    found = [graph.cells[arg] for arg in args]
    if any(cells.kind == "loop" for cells in found):
        raise _unfit("KIND", "a loop is no value", "what the loop carries")
    return found


def _whole(text: str, least: int, most: int, what: str) -> int:
    if not text.isascii() or not text.isdigit() or str(int(text[:9])) != text:
        raise _unfit("ATTRIBUTE", f"{what} is {text!r}", f"a whole number from {least} to {most}")
    value = int(text)
    if not least <= value <= most:
        raise _unfit("ATTRIBUTE", f"{what} is {value}", f"a whole number from {least} to {most}")
    return value


# --- leaves ----------------------------------------------------------------------------------------------
def of_column(graph: Graph, _args: Args, attrs: Attrs) -> Cells:
    """Type column."""
    read = graph.columns[_whole(attrs[0], 0, len(graph.columns) - 1, "the number of the column")]
    return Cells(read.kind, (f"n:{read.dataset}",))


def of_number(_graph: Graph, _args: Args, attrs: Attrs) -> Cells:
    """Type number."""
    return Cells("integer" if read_number(attrs[0]).denominator == 1 else "real")


def of_fill(graph: Graph, _args: Args, attrs: Attrs) -> Cells:
    """Type fill."""
    value, text = read_number(attrs[0]), attrs[1]
    sizes: list[Size] = []
    for part in text.split(";") if text else ():
        if part.isascii() and part.isdigit():
            sizes.append(_whole(part, 1, 10**9, "a size"))
        elif _is_size(graph, part):
            sizes.append(part)
        else:
            raise _unfit("SHAPE", f"{part[:40]!r} is no size that this page knows", "shape(x)[1]")
    kind = "bit" if value in (0, 1) else "integer" if value.denominator == 1 else "real"
    return Cells(kind, checked(tuple(sizes)))


def _is_size(graph: Graph, text: str) -> bool:
    """Tell whether a text names a size that this graph has."""
    kind, _, place = text.partition(":")
    if kind == "n" and place.startswith("join"):
        return place[4:] in map(str, range(1, graph.joins + 1))
    below = map(str, range(graph.datasets if kind == "n" else len(graph.columns)))
    if kind == "n":
        parts, known = place.split("+"), set(below)
        return len(parts) <= DATASETS_MAX and len(set(parts)) == len(parts) and known.issuperset(parts)
    return kind in ("k", "b") and place in below


def _rows_of(graph: Graph, text: str) -> Shape:
    if not is_rows(text) or not _is_size(graph, text):
        raise _unfit("SHAPE", f"{text[:40]!r} counts no rows of this page", "a table of the page")
    return (text,)


def of_position(graph: Graph, _args: Args, attrs: Attrs) -> Cells:
    """Type position."""
    return Cells("integer", _rows_of(graph, attrs[0]))


def of_lot(graph: Graph, _args: Args, attrs: Attrs) -> Cells:
    """Type lot."""
    share = read_number(attrs[1])
    if not 0 < share < 1:
        raise _unfit("ATTRIBUTE", f"a share of {share} of the rows", "a share between 0 and 1")
    return Cells("bit", _rows_of(graph, attrs[0]))


# --- tables ----------------------------------------------------------------------------------------------
def of_join(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type join: of each table as many columns, which together are the id of a row."""
    rows = [cells.shape for cells in _of(graph, args)]
    if any(graph.name(arg) not in ("column", "append") for arg in args):
        raise _unfit("JOIN", "rows are joined on columns as their owners hold them", "join(a, b)")
    runs = [len(list(run)) for _, run in groupby(rows)]
    if len(set(rows)) != len(runs) or len(runs) < 2 or len(set(args)) != len(args):
        raise _unfit("JOIN", "a dataset is joined with itself", "different datasets")
    if len(runs) > DATASETS_MAX or len(set(runs)) > 1 or runs[0] > KEY_COLUMNS_MAX:
        reason = f"ids of {', '.join(map(str, runs))} columns are joined"
        raise _unfit("JOIN", reason, f"ids of as many columns in each table, 1 to {KEY_COLUMNS_MAX}")
    return Cells("bit", (f"n:join{graph.joins + 1}",))


def of_align(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type align."""
    value, _ = _of(graph, args)
    if graph.name(args[1]) != "join" or value.shape not in [
        graph.cells[key].shape for key in graph.args[args[1]]
    ]:
        raise _unfit("JOIN", "this column is of no dataset of that join", "a column of a joined dataset")
    return Cells(value.kind, graph.cells[args[1]].shape)


def of_append(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type append."""
    cells = _of(graph, args)
    kinds = {each.kind for each in cells}
    plain = all(graph.name(arg) == "column" for arg in args)
    if not plain or len({each.shape for each in cells}) != len(cells) or len(kinds) != 1:
        raise _unfit("UNION", "tables are put together by columns of one kind", "datasets of one schema")
    places = "+".join(str(each.shape[0])[2:] for each in cells)
    return Cells(kinds.pop(), (f"n:{places}",))


# --- arithmetic ------------------------------------------------------------------------------------------
def of_arithmetic(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type arithmetic."""
    cells = _of(graph, args)
    kind = united_kind([numeric(each, "arithmetic") for each in cells])
    return Cells("integer" if kind == "bit" else kind, checked(broadcast([each.shape for each in cells])))


def of_extreme(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type extreme."""
    cells = _of(graph, args)
    kind = united_kind([numeric(each, "the greater or lesser of two") for each in cells])
    return Cells(kind, checked(broadcast([each.shape for each in cells])))


def of_clip(graph: Graph, args: Args, attrs: Attrs) -> Cells:
    """Type clip."""
    (cells,) = _of(graph, args)
    low, high = read_number(attrs[0]), read_number(attrs[1])
    if low >= high:
        raise _unfit("ATTRIBUTE", f"clip to {low} … {high}", "a lower bound below the upper one")
    whole = low.denominator == high.denominator == 1 and numeric(cells, "clip") in ("bit", "integer")
    return Cells("integer" if whole else "real", cells.shape)


def of_real(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type real."""
    cells = _of(graph, args)
    for each in cells:
        numeric(each, "this function")
    return Cells("real", checked(broadcast([each.shape for each in cells])))


def of_compare(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type compare."""
    cells = _of(graph, args)
    for each in cells:
        numeric(each, "an order")
    return Cells("bit", checked(broadcast([each.shape for each in cells])))


def of_equal(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type equal."""
    cells = _of(graph, args)
    texts = [each.kind == "text" for each in cells]
    if any(texts) and not all(texts) and "any" not in [each.kind for each in cells]:
        raise _unfit("KIND", "a text is compared with a number", "values of one kind")
    return Cells("bit", checked(broadcast([each.shape for each in cells])))


def of_is(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type is."""
    (cells,) = _of(graph, args)
    if cells.kind not in ("text", "any"):
        raise _unfit("KIND", f"{cells.kind} is compared with a text", "a column of texts")
    return Cells("bit", cells.shape)


def of_bits(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type bits."""
    cells = _of(graph, args)
    wrong = next((each.kind for each in cells if each.kind not in ("bit", "any")), None)
    if wrong is not None:
        raise _unfit("KIND", f"& | ~ take bits, not {wrong}", "comparisons in brackets: (a > 1) & (b > 2)")
    return Cells("bit", checked(broadcast([each.shape for each in cells])))


def of_where(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type where."""
    bit, one, other = _of(graph, args)
    if bit.kind not in ("bit", "any"):
        raise _unfit("KIND", f"where takes a bit first, not {bit.kind}", "a comparison")
    kind = united_kind([numeric(one, "where"), numeric(other, "where")])
    return Cells(kind, checked(broadcast([bit.shape, one.shape, other.shape])))


# --- groups ----------------------------------------------------------------------------------------------
def source_of(graph: Graph, node: int) -> int | None:
    """Return the column that a node holds as it stands, through joins and unions, else None."""
    while graph.name(node) in ("align", "append"):
        node = graph.args[node][0]
    return int(graph.attrs[node][0]) if graph.name(node) == "column" else None


def _whole_column(graph: Graph, args: Args, what: str) -> tuple[Cells, int]:
    (cells,) = _of(graph, args)
    source = source_of(graph, args[0])
    if source is None or len(cells.shape) != 1:
        raise _unfit("GROUP", f"{what} takes a column as it stands", "a column of a table")
    return cells, source


def of_one_hot(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type one hot."""
    cells, source = _whole_column(graph, args, "one_hot")
    if cells.kind in ("integer", "real"):
        raise _unfit("KIND", f"one_hot takes categories, not {cells.kind}", "bins(column)")
    return Cells("bit", checked((*cells.shape, graph.columns[source].categories or f"k:{source}")))


def of_bins(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type bins."""
    cells, source = _whole_column(graph, args, "bins")
    numeric(cells, "bins")
    return Cells("bit", checked((*cells.shape, graph.columns[source].bins or f"b:{source}")))


def of_cut(graph: Graph, args: Args, attrs: Attrs) -> Cells:
    """Type cut."""
    (cells,) = _of(graph, args)
    numeric(cells, "bins")
    edges = [read_number(part) for part in attrs[0].split(";")]
    if len(edges) < 2 or any(one >= two for one, two in pairwise(edges)):
        raise _unfit(
            "ATTRIBUTE", "edges in no ascending order", "at least two edges, each greater than the last"
        )
    return Cells("bit", checked((*cells.shape, len(edges) - 1)))


# --- shapes ----------------------------------------------------------------------------------------------
def of_transpose(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type transpose."""
    (cells,) = _of(graph, args)
    if len(cells.shape) != 2:
        raise _unfit("SHAPE", f".T of {len(cells.shape)} axes", "a value of two axes")
    return Cells(cells.kind, cells.shape[::-1])


def of_stack(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type stack."""
    cells = _of(graph, args)
    kind = united_kind([numeric(each, "stack") for each in cells])
    if len({each.shape for each in cells}) != 1:
        raise _unfit("SHAPE", "stack takes values of one shape", "columns of one table")
    return Cells(kind, checked((*cells[0].shape, len(cells))))


def of_concat(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type concat."""
    cells = _of(graph, args)
    kind = united_kind([numeric(each, "concat") for each in cells])
    fronts = {each.shape[:-1] for each in cells}
    ends = [each.shape[-1] if each.shape else 0 for each in cells]
    if len(fronts) != 1 or any(not isinstance(end, int) or end == 0 for end in ends):
        raise _unfit(
            "SHAPE", "concat takes values whose last axis has a public size", "stack([…]) of columns"
        )
    return Cells(kind, checked((*fronts.pop(), sum(int(end) for end in ends))))


def of_take(graph: Graph, args: Args, attrs: Attrs) -> Cells:
    """Type take."""
    (cells,) = _of(graph, args)
    axis = _whole(attrs[0], 0, 8, "an axis")
    if axis >= len(cells.shape):
        raise _unfit("SHAPE", f"axis {axis} of {len(cells.shape)}", "an axis that the value has")
    size = cells.shape[axis]
    if is_rows(size):
        raise _unfit("ROW_INDEX", "a row is taken by its number", "where(condition, x, 0), sort_by or first")
    if not isinstance(size, int):
        raise _unfit("INDEX", "a category is taken by its number", 'the comparison column == "a"')
    _whole(attrs[1], 0, size - 1, "the index")
    return Cells(cells.kind, cells.shape[:axis] + cells.shape[axis + 1 :])


def of_spread(graph: Graph, args: Args, attrs: Attrs) -> Cells:
    """Type spread."""
    (cells,) = _of(graph, args)
    axis = _whole(attrs[0], 0, len(cells.shape), "an axis")
    return Cells(cells.kind, checked((*cells.shape[:axis], 1, *cells.shape[axis:])))


# --- folds -----------------------------------------------------------------------------------------------
def _summed(kind: str) -> str:
    return "integer" if kind == "bit" else "real" if kind == "any" else kind


def _check_mask(cells: Cells, rows: Size) -> None:
    if cells.kind not in ("bit", "any") or cells.shape != (rows,) or not is_rows(rows):
        raise _unfit(
            "SHAPE", "rows are counted by one bit a row of the same table", "a comparison of its columns"
        )


def of_sum(graph: Graph, args: Args, attrs: Attrs) -> Cells:
    """Type sum."""
    cells = _of(graph, args)
    axis = _whole(attrs[0], 0, 8, "an axis")
    if axis >= len(cells[0].shape):
        raise _unfit("SHAPE", f"axis {axis} of {len(cells[0].shape)}", "an axis that the value has")
    size = cells[0].shape[axis]
    if len(cells) == 2:
        if not is_rows(size):
            raise _unfit("SHAPE", "only sums over rows choose among them", "where(condition, x, 0)")
        _check_mask(cells[1], size)
    kept = cells[0].shape[:axis] + cells[0].shape[axis + 1 :]
    return Cells(_summed(numeric(cells[0], "sum")), kept)


def of_group_sum(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type group sum."""
    cells = _of(graph, args)
    value, by = cells[:2]
    numeric(value, "a sum by group")
    if len(value.shape) not in (1, 2) or not is_rows(value.shape[0]):
        raise _unfit("SHAPE", "a sum by group takes one or several numbers a row", "columns of a table")
    return Cells(_summed(value.kind), (_groups(graph, args[1:], by, value.shape[0]), *value.shape[1:]))


def of_group_count(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type group count."""
    by = _of(graph, args)[0]
    return Cells("integer", (_groups(graph, args, by, by.shape[0] if by.shape else 0),))


def _groups(graph: Graph, args: Args, by: Cells, rows: Size) -> Size:
    """Return the number of groups of (by, mask): by is rows x groups of bits."""
    if by.kind != "bit" or len(by.shape) != 2 or by.shape[0] != rows or not is_rows(rows):
        raise _unfit(
            "GROUP", "groups are bits, one for each row and group", "one_hot(column) or bins(column)"
        )
    if len(args) == 2:
        _check_mask(graph.cells[args[1]], rows)
    return by.shape[1]


def of_fold(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type fold."""
    cells = _of(graph, args)
    numeric(cells[0], "the greatest or least")
    if not cells[0].shape:
        raise _unfit("SHAPE", "the greatest of one value", "a value with an axis")
    if len(cells) == 2:
        _check_mask(cells[1], cells[0].shape[0])
    return Cells(cells[0].kind, cells[0].shape[1:])


def of_matmul(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type matmul."""
    one, other = _of(graph, args)
    kind = united_kind([numeric(one, "@"), numeric(other, "@")])
    if not one.shape or not other.shape or len(one.shape) > 2 or len(other.shape) > 2:
        raise _unfit("SHAPE", "@ takes values of one or two axes", "* for products of single cells")
    if one.shape[-1] != other.shape[0]:
        raise _unfit(
            "SHAPE",
            f"@ of sizes {said_size(one.shape[-1])} and {said_size(other.shape[0])}",
            "x.T @ y sums over rows",
        )
    return Cells(_summed(kind), one.shape[:-1] + other.shape[1:])


def of_same(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type same."""
    (cells,) = _of(graph, args)
    kind = numeric(cells, "this function")
    if not cells.shape:
        raise _unfit("SHAPE", "a value without an axis has no order", "a value with an axis")
    return Cells("integer" if kind == "bit" else kind, cells.shape)


def of_sort(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type sort."""
    cells = _of(graph, args)
    numeric(cells[0], "an order")
    if len(cells[0].shape) != 1 or any(each.shape[:1] != cells[0].shape for each in cells[1:]):
        raise _unfit(
            "SHAPE", "sort_by takes one key a row, and values of the same rows", "columns of one table"
        )
    numeric(cells[1], "sort_by")
    if len(cells) == 3:
        _check_mask(cells[2], cells[0].shape[0])
    return cells[1]


def of_first(graph: Graph, args: Args, attrs: Attrs) -> Cells:
    """Type first."""
    (cells,) = _of(graph, args)
    count = _whole(attrs[0], 1, 1_000, "the number of first cells")
    if not cells.shape or (isinstance(cells.shape[0], int) and cells.shape[0] < count):
        raise _unfit("SHAPE", f"the first {count} of fewer cells", "as many as there are")
    return Cells(cells.kind, (count, *cells.shape[1:]))


def of_noised(graph: Graph, args: Args, attrs: Attrs) -> Cells:
    """Type noised."""
    (cells,) = _of(graph, args)
    check_noise(*attrs)
    numeric(cells, "noised")
    if cells.by_row:
        raise _unfit("NOISE_ON_ROWS", "noise on cells of single rows hides nobody", "noised(sum(x), noise)")
    return Cells(_summed(cells.kind), cells.shape)


# --- loops -----------------------------------------------------------------------------------------------
def of_repeat(graph: Graph, args: Args, attrs: Attrs) -> Cells:
    """Type repeat."""
    for cells in _of(graph, args):
        numeric(cells, "repeat")
    _whole(attrs[0], 1, REPEAT_MAX, "the number of repetitions")
    return _NOTHING


def _open_loop(graph: Graph, node: int) -> None:
    if graph.name(node) != "repeat" or graph.home != node:
        raise _unfit("REPEAT", "this is not the loop around", "the innermost repeat")


def of_step(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type step."""
    _open_loop(graph, args[0])
    return Cells("integer")


def _carried(graph: Graph, loop: int, attrs: Attrs) -> Cells:
    started = graph.args[loop]
    return graph.cells[started[_whole(attrs[0], 0, len(started) - 1, "what is carried")]]


def of_carry(graph: Graph, args: Args, attrs: Attrs) -> Cells:
    """Type carry."""
    _open_loop(graph, args[0])
    return _carried(graph, args[0], attrs)


def of_again(graph: Graph, args: Args, _attrs: Attrs) -> Cells:
    """Type again."""
    _open_loop(graph, args[0])
    wanted = [graph.cells[start] for start in graph.args[args[0]]]
    if [graph.cells[arg] for arg in args[1:]] != wanted:
        raise _unfit("CARRIED", "a turn leaves values of other types than it began with", "the same types")
    return _NOTHING


def of_after(graph: Graph, args: Args, attrs: Attrs) -> Cells:
    """Type after."""
    if graph.name(args[0]) != "again":
        raise _unfit("REPEAT", "this is not the end of a loop", "the end of a repeat")
    return _carried(graph, graph.args[args[0]][0], attrs)
