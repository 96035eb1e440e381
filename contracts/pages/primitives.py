"""The table of primitives: what a plan can be made of, with types and shapes.

Numbers are fixed for ever once a plan used them. No primitive is named after a program: programs are pages.
How labels pass is in labels.py under the name of the column `flow`, what a primitive costs is in cost.py.
"""

from __future__ import annotations

from contracts.pages.graph import Infer, Primitive
from contracts.pages.inference import (
    of_after,
    of_again,
    of_align,
    of_append,
    of_arithmetic,
    of_bins,
    of_bits,
    of_carry,
    of_clip,
    of_column,
    of_compare,
    of_concat,
    of_cut,
    of_equal,
    of_extreme,
    of_fill,
    of_first,
    of_fold,
    of_group_count,
    of_group_sum,
    of_is,
    of_join,
    of_lot,
    of_matmul,
    of_noised,
    of_number,
    of_one_hot,
    of_position,
    of_real,
    of_repeat,
    of_same,
    of_sort,
    of_spread,
    of_stack,
    of_step,
    of_sum,
    of_take,
    of_transpose,
    of_where,
)
from contracts.pages.limits import ARGS_MAX, CARRIED_MAX, DATASETS_MAX, KEY_COLUMNS_MAX


def _row(
    number: int,
    name: str,
    flow: str,
    arity: tuple[int, int, int],
    infer: Infer,
    says: tuple[str, str],
) -> Primitive:
    return Primitive(number, name, flow, *arity, infer, *says)


_ROWS = "x: any shape"
_TWO = "x, y: shapes that broadcast"
PRIMITIVES: tuple[Primitive, ...] = (
    _row(1, "column", "source", (0, 0, 1), of_column, ("a column of a dataset", "its cells, one a row")),
    _row(2, "number", "public", (0, 0, 1), of_number, ("a public number", "it, without axes")),
    _row(3, "fill", "public", (0, 0, 2), of_fill, ("a public number, a shape", "it in every cell")),
    _row(4, "position", "chosen", (0, 0, 1), of_position, ("rows of a table", "0, 1, 2 … by row")),
    _row(
        5,
        "lot",
        "chosen",
        (0, 0, 2),
        of_lot,
        ("rows of a table, a share", "public random bits, 1 for that share"),
    ),
    _row(
        6,
        "join",
        "match",
        (2, DATASETS_MAX * KEY_COLUMNS_MAX, 0),
        of_join,
        ("id columns, as many of each table", "1 for a row that all hold"),
    ),
    _row(
        7, "align", "view", (2, 2, 0), of_align, ("a column, a join", "the column in the order of the join")
    ),
    _row(
        8,
        "append",
        "view",
        (2, DATASETS_MAX, 0),
        of_append,
        ("columns of one kind", "their rows one after another"),
    ),
    _row(9, "real", "view", (1, 1, 0), of_real, (_ROWS, "the same as real numbers")),
    _row(10, "add", "local", (2, 2, 0), of_arithmetic, (_TWO, "x + y")),
    _row(11, "subtract", "local", (2, 2, 0), of_arithmetic, (_TWO, "x - y")),
    _row(12, "multiply", "multiply", (2, 2, 0), of_arithmetic, (_TWO, "x * y")),
    _row(13, "divide", "local", (2, 2, 0), of_real, (_TWO, "x / y, 0 where y <= 0")),
    _row(14, "negative", "local", (1, 1, 0), of_arithmetic, (_ROWS, "-x")),
    _row(15, "absolute", "local", (1, 1, 0), of_arithmetic, (_ROWS, "x without its sign")),
    _row(16, "minimum", "local", (2, 2, 0), of_extreme, (_TWO, "the lesser")),
    _row(17, "maximum", "local", (2, 2, 0), of_extreme, (_TWO, "the greater")),
    _row(18, "sqrt", "local", (1, 1, 0), of_real, (_ROWS, "the square root, 0 where x <= 0")),
    _row(19, "exp", "local", (1, 1, 0), of_real, (_ROWS, "e to the x")),
    _row(20, "log", "local", (1, 1, 0), of_real, (_ROWS, "the natural logarithm, 0 where x <= 0")),
    _row(21, "sigmoid", "local", (1, 1, 0), of_real, (_ROWS, "1 / (1 + e^-x)")),
    _row(22, "less", "compare", (2, 2, 0), of_compare, (_TWO, "1 where x < y")),
    _row(23, "less_equal", "compare", (2, 2, 0), of_compare, (_TWO, "1 where x <= y")),
    _row(24, "equal", "compare", (2, 2, 0), of_equal, (_TWO, "1 where x == y")),
    _row(25, "is", "key", (1, 1, 1), of_is, ("texts, a public text", "1 where they are it")),
    _row(26, "and", "both", (2, 2, 0), of_bits, ("bits", "1 where both are")),
    _row(27, "or", "local", (2, 2, 0), of_bits, ("bits", "1 where one is")),
    _row(28, "not", "not", (1, 1, 0), of_bits, ("bits", "1 where it is 0")),
    _row(29, "where", "local", (3, 3, 0), of_where, ("bits, x, y", "x where the bit is 1, else y")),
    _row(
        30,
        "one_hot",
        "key",
        (1, 1, 0),
        of_one_hot,
        ("a column of categories", "a bit for each row and category"),
    ),
    _row(
        31,
        "bins",
        "key",
        (1, 1, 0),
        of_bins,
        ("a column of numbers", "a bit for each row and registered bin"),
    ),
    _row(
        32,
        "cut",
        "local",
        (1, 1, 1),
        of_cut,
        ("x, public edges", "a bit for each cell and bin; the last edge included"),
    ),
    _row(33, "transpose", "view", (1, 1, 0), of_transpose, ("x of two axes", "the axes exchanged")),
    _row(
        34, "stack", "view", (1, ARGS_MAX, 0), of_stack, ("values of one shape", "them along a new last axis")
    ),
    _row(
        35,
        "concat",
        "view",
        (1, ARGS_MAX, 0),
        of_concat,
        ("values with public last axes", "them along that axis"),
    ),
    _row(36, "take", "view", (1, 1, 2), of_take, ("x, an axis of public size, an index", "the cells there")),
    _row(37, "spread", "view", (1, 1, 1), of_spread, ("x, a place", "x with a new axis of size 1")),
    _row(38, "sum", "sum", (1, 2, 1), of_sum, ("x, rows as bits or none, an axis", "the sum along it")),
    _row(
        39,
        "group_sum",
        "sum",
        (2, 3, 0),
        of_group_sum,
        ("x by row, groups, rows as bits or none", "a sum for each group"),
    ),
    _row(
        40,
        "group_count",
        "sum",
        (1, 2, 0),
        of_group_count,
        ("groups, rows as bits or none", "a count for each group"),
    ),
    _row(
        41,
        "greatest",
        "fold",
        (1, 2, 0),
        of_fold,
        ("x with an axis, rows as bits or none", "the greatest along the first"),
    ),
    _row(
        42,
        "least",
        "fold",
        (1, 2, 0),
        of_fold,
        ("x with an axis, rows as bits or none", "the least along the first"),
    ),
    _row(43, "matmul", "fold", (2, 2, 0), of_matmul, ("x, y of one or two axes", "the matrix product")),
    _row(44, "running_sum", "cross", (1, 1, 0), of_same, ("x with an axis", "sums from the first cell on")),
    _row(45, "shift", "cross", (1, 1, 0), of_same, ("x with an axis", "the cell before, 0 at the first")),
    _row(
        46,
        "sort",
        "cross",
        (2, 3, 0),
        of_sort,
        ("keys, x, rows as bits or none", "x by ascending keys, rows of bit 0 last"),
    ),
    _row(47, "first", "cross", (1, 1, 1), of_first, ("x with an axis, a count", "the first cells")),
    _row(
        48, "repeat", "loop", (1, CARRIED_MAX, 1), of_repeat, ("values, a public count", "a loop that begins")
    ),
    _row(49, "step", "public", (1, 1, 0), of_step, ("the loop", "0, 1, 2 … by turn")),
    _row(50, "carry", "carry", (1, 1, 1), of_carry, ("the loop, which value", "it at the turn's begin")),
    _row(51, "again", "again", (2, CARRIED_MAX + 1, 0), of_again, ("the loop, values", "the turn's end")),
    _row(
        52, "after", "after", (1, 1, 1), of_after, ("the loop's end, which value", "it after the last turn")
    ),
    _row(53, "clip", "local", (1, 1, 2), of_clip, ("x, public bounds", "x within them")),
    _row(
        54,
        "noised",
        "noised",
        (1, 1, 3),
        of_noised,
        ("a sum over rows, a mechanism, epsilon, delta", "it with noise that is drawn in each turn"),
    ),
)
TABLE: dict[int, Primitive] = {primitive.number: primitive for primitive in PRIMITIVES}
BY_NAME: dict[str, Primitive] = {primitive.name: primitive for primitive in PRIMITIVES}
