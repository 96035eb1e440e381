"""Every primitive on the joint engine and in the clear against numpy, and against what its flow declares.

Each case is a page over two owners' tables; it is run with operands of one owner, of two, and in shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from contracts.pages.labels import Labels
from contracts.pages.limits import Gas
from contracts.pages.page import trace
from contracts.pages.plan import Plan
from contracts.pages.primitives import PRIMITIVES
from contracts.pages.types import is_rows
from privcompute.pages.clear import ClearData, evaluate_nodes
from privcompute.pages.inputs import lot
from tests.unit.privcompute.pages.running import JOB, Data, numbers, run_plan

ULP = 2.0**-16
SEEDS = (1, 2)


@dataclass(frozen=True)
class Case:
    """An expression of pages; `x`, `y`, `r`, `s` and `t` are columns, `c` and `d` conditions."""

    primitive: str
    says: str
    ulps: float = 0.0
    relative: float = 0.0
    """Allowed error, beside ulps, as a part of the value."""
    before: str = ""


def loop(turns: int, *body: str, begin: str) -> str:
    """Return the lines of a loop of a page."""
    lines = "\n".join(f"        {line}" for line in body)
    return f"{begin}\n    for step in repeat({turns}):\n{lines}"


CASES = (
    Case("column", "r"),
    Case("number", "x + 7"),
    Case("fill", "sum(x) + ones(3)"),
    Case("position", "x * position(rows)"),
    Case("lot", "where(lot(rows, 0.4), x, y)"),
    Case("lot", "sum(where(lot(rows, 0.4), r, 0))", 1),
    Case("join", "count(rows)"),
    Case("align", "r - s", 1),
    Case("real", "real(x) * 0.3", 2, 2.0**-32),
    Case("add", "r + s + 0.5", 1),
    Case("subtract", "x - y"),
    Case("multiply", "r * s", 45),
    Case("multiply", "r * (-1/3)", 2, 2.0**-32),
    Case("multiply", "x * r", 32),
    Case("multiply", "x * x"),
    Case("divide", "r / (s * s + 1)", 60, 2.0**-11),
    Case("divide", "x / (y - 15)", 4),
    Case("divide", "x * 30000000 / y", 4),
    Case("divide", "r / 7", 2, 2.0**-32),
    Case("divide", "sum(x * 100000000) / sum(y)", 4),
    Case("negative", "-r", 1),
    Case("absolute", "abs(r)", 1),
    Case("minimum", "minimum(r, x)", 1),
    Case("maximum", "maximum(x, y)"),
    Case("sqrt", "sqrt(x * y)", 3, 2.0**-22),
    Case("sqrt", "sqrt(x - y)", 3, 2.0**-22),
    Case("exp", "exp(r / 4)", 4, 2.0**-13),
    Case("log", "log(x * y)", 3),
    Case("log", "log(x - y)", 3),
    Case("sigmoid", "sigmoid(r)", 10),
    Case("less", "x < y"),
    Case("less", "r > 0.5"),
    Case("less_equal", "x <= y"),
    Case("equal", "x == y"),
    Case("equal", "rows.a.k == rows.b.h"),
    Case("is", 'where(rows.a.k == "u", x, y)'),
    Case("and", "c & d"),
    Case("or", "c | d"),
    Case("not", "~c"),
    Case("where", "where(c, r, s)", 1),
    Case("where", "where(c, 5, s)", 1),
    Case("one_hot", "one_hot(rows.a.k) + x[:, None]"),
    Case("bins", "sum(bins(rows.a.x) * y[:, None])"),
    Case("cut", "bins(x, edges=[1, 5, 9, 29])"),
    Case("transpose", "stack([x, y]).T @ z", 0),
    Case("stack", "stack([x, r])", 1),
    Case("concat", "concat([stack([x, y]), stack([z, x])])"),
    Case("take", "stack([x, y])[:, 1] - x"),
    Case("spread", "sum(x[:, None] - y[None, :])"),
    Case("sum", "sum(r)", 40),
    Case("sum", "sum(r, where=c)", 40),
    Case("sum", "sum(stack([x, y]), where=c)"),
    Case("sum", "sum(stack([x, y]), axis=1)"),
    Case("group_sum", "sum(r, by=rows.b.h)", 40),
    Case("group_sum", "sum(stack([x, y]), by=rows.a.k, where=c)"),
    Case("group_count", "count(rows, by=rows.b.h)"),
    Case("group_count", "count(rows, by=rows.a.k, where=d)"),
    Case("greatest", "greatest(r)", 1),
    Case("greatest", "greatest(stack([x, y]))"),
    Case("greatest", "greatest(filter(rows, x > 3).a.x)"),
    Case("least", "least(x)"),
    Case("least", "least(filter(rows, rows.b.y > 20).a.r)", 1),
    Case("matmul", "x @ y"),
    Case("matmul", "stack([r, s]).T @ stack([r, s])", 50, 2.0**-10),
    Case("matmul", "stack([r, s]) @ (x @ stack([y, z]))", 60, 2.0**-10),
    Case("running_sum", "running_sum(r)", 40),
    Case("shift", "shift(x)"),
    Case("sort", "sort_by(t, r)", 1),
    Case("sort", "sort_by(filter(rows, rows.b.y > 9).a.t)"),
    Case("first", "first(x, 3)"),
    Case("first", "first(sort_by(-t, x), 5)"),
    Case("repeat", "w", before=loop(4, "w = w * 2 + y", begin="w = x")),
    Case("step", "w", 3, before=loop(5, "w = w + step", begin="w = sum(x)")),
    Case(
        "carry",
        "w",
        40,
        2.0**-12,
        before=loop(3, "w = w / 2 + stack([sum(r), sum(s)])", begin="w = zeros(2)"),
    ),
    Case("again", "w + v", before=loop(3, "o = w", "w = v", "v = o + 1", begin="w, v = x, y")),
    Case(
        "after", "w", before=loop(2, "for j in repeat(3):", "    w = w + y * 2", "w = w - 1", begin="w = x")
    ),
    Case("clip", "clip(r, -2, 2.5)", 1),
    Case("clip", "clip(x, 3, 9)"),
)
UNIONS = (
    ("append", "sum(union(a, b).t)"),
    ("append", 'sum(where(union(a, b).k == "u", union(a, b).t, 0))'),
    ("align", "sum(join(union(a, b), c).a.t * join(union(a, b), c).c.v)"),
)
OPERANDS = {
    "one owner": ("rows.a.x", "rows.a.y", "rows.a.r", "rows.a.s"),
    "two owners": ("rows.a.x", "rows.b.y", "rows.a.r", "rows.b.s"),
    "shares": (
        "(rows.a.x + rows.b.o)",
        "(rows.a.y + rows.b.o)",
        "(rows.a.r + rows.b.o)",
        "(rows.a.s + rows.b.o)",
    ),
}


def tables(seed: int) -> Data:
    """Two tables of the same ids: whole numbers, reals of some size, texts; t has no two equal cells."""
    random = np.random.default_rng(seed)
    n = int(random.integers(3, 40))
    print(f"seed {seed}: {n} rows")

    def table() -> dict[str, Any]:
        return {
            "id": np.arange(n),
            "x": random.integers(1, 30, n),
            "y": random.integers(1, 30, n),
            "z": random.integers(-9, 9, n),
            "r": np.rint(random.normal(0, 80, n)) / 16,
            "s": np.rint(random.normal(0, 80, n)) / 16,
            "t": random.permutation(n),
            "o": np.zeros(n, np.int64),
            "k": random.choice(["u", "v", "w"], n),
            "h": random.choice(["u", "q"], n),
        }

    types = dict.fromkeys(("id", "x", "y", "z", "t", "o"), "integer") | {"r": "decimal", "s": "decimal"}
    types |= {"k": "category", "h": "category"}
    declared = {f"{one}.k": {"categories": ("u", "v", "w")} for one in "ab"}
    declared |= {f"{one}.h": {"categories": ("q", "u")} for one in "ab"}
    declared |= {f"{one}.x": {"edges": ("1", "9", "30")} for one in "ab"}
    return Data({"a": 0, "b": 1}, {"a": table(), "b": table()}, {"a": types, "b": types}, declared)


def page(case: Case, operands: str) -> str:
    x, y, r, s = OPERANDS[operands]
    return f'''"""A case."""

def run(a, b):
    rows = join(a, b)
    x, y, r, s, z, t = {x}, {y}, {r}, {s}, rows.a.z, rows.a.t
    c, d = x > y, r > s
    {case.before or "w = 0"}
    release({case.says}, to="all", exact=True, name="it")
'''


def world(plan: Plan, data: Data) -> ClearData:
    domains: dict[str, list[Any]] = {}
    for name, said in data.declared.items():
        domains[name] = (
            [float(edge) for edge in said["edges"]] if "edges" in said else list(said["categories"])
        )
    lots = [plan.graph.attrs[node] for node in range(len(plan.graph)) if plan.graph.name(node) == "lot"]
    rows = len(data.columns["a"]["id"])
    drawn = {attrs: lot(JOB, 0, rows, Fraction(attrs[1])).astype(float) for attrs in lots}
    return ClearData(data.columns, domains, drawn)


def wanted(plan: Plan, data: Data) -> np.ndarray:
    one = plan.asked[0]
    values, _ = evaluate_nodes(plan, world(plan, data))
    cells = np.asarray(values[one.value], float)
    if one.rows is None:
        return cells
    counts = np.asarray(values[one.rows], bool)
    return np.where(counts.reshape(-1, *[1] * (cells.ndim - 1)), cells, np.nan)


@pytest.mark.parametrize("operands", OPERANDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.primitive}: {case.says}"[:50])
def test_a_primitive_is_what_numpy_says_within_its_error(case: Case, operands: str) -> None:
    for seed in SEEDS:
        data = tables(seed)
        plan = trace(page(case, operands), data.schemas())
        expected = wanted(plan, data)
        for clear in (True, False):
            found = numbers(run_plan(plan, data, clear=clear)[0]["it"])
            allowed = case.ulps * ULP + case.relative * np.abs(expected)
            assert found.shape == expected.shape
            assert np.array_equal(np.isnan(found), np.isnan(expected))
            worst = np.nanmax(np.abs(found - expected) - allowed)
            assert worst <= 1e-6, f"{'clear' if clear else 'rep3'}: {found} for {expected}"


@pytest.mark.parametrize(("primitive", "says"), UNIONS)
def test_a_union_of_two_owners_is_their_rows_one_after_another(primitive: str, says: str) -> None:
    for seed in SEEDS:
        data = tables(seed)
        n = len(data.columns["a"]["id"])
        columns = dict(data.columns)
        columns["b"] = {**columns["b"], "id": np.arange(n, 2 * n)}
        random = np.random.default_rng(seed)
        columns["c"] = {"id": random.permutation(2 * n + 4), "v": random.integers(1, 9, 2 * n + 4)}
        types = {**data.types, "c": {"id": "integer", "v": "integer"}}
        three = Data({"a": 0, "b": 1, "c": 2}, columns, types, data.declared)
        source = f'"""U."""\n\ndef run(a, b, c):\n    release({says}, to="all", exact=True, name="it")\n'
        plan = trace(source, three.schemas())
        assert primitive in {plan.graph.name(node) for node in range(len(plan.graph))}
        both = {name: np.concatenate([columns["a"][name], columns["b"][name]]) for name in ("id", "t", "k")}
        v = dict(zip(columns["c"]["id"].tolist(), columns["c"]["v"].tolist(), strict=True))
        expected = {
            UNIONS[0][1]: both["t"].sum(),
            UNIONS[1][1]: both["t"][both["k"] == "u"].sum(),
            UNIONS[2][1]: sum(
                t * v[key] for key, t in zip(both["id"].tolist(), both["t"].tolist(), strict=True)
            ),
        }[says]
        for clear in (True, False):
            assert run_plan(plan, three, clear=clear)[0]["it"] == expected


def test_every_primitive_has_a_case() -> None:
    traced: set[str] = set()
    for case in CASES:
        plan = trace(page(case, "two owners"), tables(1).schemas())
        names = {plan.graph.name(node) for node in range(len(plan.graph))}
        assert case.primitive in names, case
        traced |= names
    elsewhere = {"append", "noised"}  # unions are above; what draws noise is in test_noised.py
    assert traced | elsewhere == {primitive.name for primitive in PRIMITIVES}


# --- flows, by perturbation -------------------------------------------------------------------------------
_BY_CELL = ("local", "multiply", "compare", "key", "not", "both", "view")


def _perturbed(data: Data, dataset: str, column: str, rows: list[int], seed: int) -> Data:
    """Return the data with other cells of one column in some rows."""
    cells = data.columns[dataset][column].copy()
    random = np.random.default_rng(seed)
    if cells.dtype.kind == "U":
        cells[rows] = random.choice(["u", "v", "q"], len(rows))
    elif cells.dtype.kind == "f":
        cells[rows] = np.rint(random.normal(0, 80, len(rows))) / 16
    else:
        cells[rows] = random.integers(1, 30, len(rows))
    columns = {**data.columns, dataset: {**data.columns[dataset], column: cells}}
    return Data(data.owners, columns, data.types, data.declared)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.primitive}: {case.says}"[:50])
def test_a_column_that_a_label_does_not_hold_changes_nothing(case: Case) -> None:
    data = tables(3)
    plan = trace(page(case, "two owners"), data.schemas())
    labels = Labels(
        plan.graph, [plan.datasets[one.dataset].owner for one in plan.graph.columns], Gas(1 << 40)
    )
    label = labels.of[plan.asked[0].value]
    before = numbers(run_plan(plan, data)[0]["it"])
    every = list(range(len(data.columns["a"]["id"])))
    for place, read in enumerate(plan.graph.columns):
        if (label.values | label.match) >> place & 1 or read.column == "id":
            continue
        other = _perturbed(data, plan.datasets[read.dataset].name, read.column, every, 4)
        after = numbers(run_plan(plan, other)[0]["it"])
        assert np.allclose(after, before, atol=2 * (case.ulps + 1) * ULP, rtol=case.relative, equal_nan=True)


@pytest.mark.parametrize("operands", OPERANDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.primitive}: {case.says}"[:50])
def test_where_flows_stay_in_the_row_other_rows_change_nothing(case: Case, operands: str) -> None:
    data = tables(5)
    plan = trace(page(case, operands), data.schemas())
    label = _labels(plan)
    graph, value = plan.graph, plan.asked[0].value
    if not graph.cells[value].shape or not is_rows(graph.cells[value].shape[0]) or label.crossed:
        return
    changed = [1]
    before = numbers(run_plan(plan, data)[0]["it"])
    for read in graph.columns:
        if read.column == "id":
            continue
        other = _perturbed(data, plan.datasets[read.dataset].name, read.column, changed, 6)
        after = numbers(run_plan(plan, other)[0]["it"])
        same = np.isclose(
            after, before, atol=2 * case.ulps * ULP + 1e-6, rtol=2 * case.relative, equal_nan=True
        )
        assert np.delete(same, changed, axis=0).all()


def _labels(plan: Plan) -> Any:
    owners = [plan.datasets[one.dataset].owner for one in plan.graph.columns]
    return Labels(plan.graph, owners, Gas(1 << 40)).of[plan.asked[0].value]


@pytest.mark.parametrize("operands", OPERANDS)
@pytest.mark.parametrize(
    "fold",
    ["sum({v})", "sum({v}, by=kept.b.h)", "greatest({v})", "least({v})", "{v} @ {v}", "count(kept)",
     "count(kept, by=kept.a.k)", "first(sort_by(kept.b.t, {v}), 2)", "mean({v})"],
)  # fmt: skip
def test_rows_that_do_not_count_change_nothing(fold: str, operands: str) -> None:
    data = tables(2)
    v = OPERANDS[operands][0].replace("rows.", "kept.")
    source = f'''"""Rows that count."""

def run(a, b):
    rows = join(a, b)
    kept = filter(rows, rows.b.y > 12)
    release({fold.format(v=v)}, to="all", exact=True, name="it")
'''
    plan = trace(source, data.schemas())
    left_out = np.flatnonzero(data.columns["b"]["y"] <= 12).tolist()
    assert 0 < len(left_out) < len(data.columns["b"]["y"]) - 2
    before = run_plan(plan, data)[0]["it"]
    for dataset, column in (("a", "x"), ("a", "k"), ("b", "h"), ("b", "t")):
        assert run_plan(plan, _perturbed(data, dataset, column, left_out, 8))[0]["it"] == before
