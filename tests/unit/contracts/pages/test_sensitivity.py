"""What noise is scaled by: no replacement of one row's values changes a sum by more, and some by as much."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import product
from math import ceil, floor
from typing import Any

import numpy as np
import pytest

from contracts.pages.faults import PageRefused, Unfit
from contracts.pages.page import trace
from contracts.pages.plan import Plan
from contracts.pages.sensitivity import columns_of, greatest, sensitivity
from contracts.pages.spreads import ULP
from contracts.pages.tables import DatasetSchema
from privcompute.pages.clear import ClearData, evaluate_nodes
from tests.unit.contracts.pages.draw import Draw

OWNERS = {"loans": "bank", "people": "city"}
BOUNDS = {
    "loans": {"w": ("-3.5", "2"), "r": ("2", "5")},
    "people": {
        "a": ("0", "9"),
        "i": ("-1", "1"),
        "d": ("0.1", "0.7"),
        "t": ("1970-01-01 00:00", "1970-01-02T01:00:00.9+01:00"),
    },
}
CATEGORIES = {"loans": {"k": ["x", "y", "z"]}, "people": {"h": ["x", "y", "z"]}}
BINS = {
    "loans": {"w": [-4.0, -1.0, 2.0], "r": [2.0, 3.0, 5.0]},
    "people": {"a": [0.0, 4.0, 9.0], "i": [-1.0, 0.5, 2.0], "d": [0.0, 0.5, 1.0], "t": [0.0, 9.0, 1e6]},
}
TYPES = {
    "loans": {"id": "text", "w": "decimal", "r": "integer", "k": "category", "m": "boolean"},
    "people": {
        "id": "text",
        "a": "integer",
        "i": "decimal",
        "d": "decimal",
        "h": "category",
        "b": "boolean",
        "t": "timestamp",
    },
}
SCHEMAS = {
    name: DatasetSchema(
        OWNERS[name],
        types,
        ("id",),
        {column: len(several) for column, several in CATEGORIES[name].items()},
        {column: len(edges) - 1 for column, edges in BINS[name].items()},
        BOUNDS[name],
    )
    for name, types in TYPES.items()
}
DOMAINS: dict[str, list[Any]] = {
    **{f"{name}.{column}": several for name in OWNERS for column, several in CATEGORIES[name].items()},
    **{f"{name}.{column}": edges for name in OWNERS for column, edges in BINS[name].items()},
    "loans.m": ["false", "true"],
    "people.b": ["false", "true"],
}
EXTREMES: dict[str, dict[str, list[Any]]] = {
    "loans": {"w": [-3.5, 2.0, 0.0], "r": [2, 5, 3], "k": ["x", "y"], "m": [0, 1]},
    "people": {
        "a": [0, 9, 5],
        "i": [-1.0, 1.0, 0.0],
        "d": [0.1, 0.7],
        "h": ["x", "y"],
        "b": [0, 1],
        "t": [0, 86_400],
    },
}
ROWS = 3
Rows = dict[str, list[dict[str, Any]]]


def plan_of(*figures: str) -> Plan:
    noisy = "\n    ".join(f'release({one}, to="bank", noise=laplace(epsilon=1), name="f{n}")'
                          for n, one in enumerate(figures))  # fmt: skip
    return trace(
        f'"""A page."""\n\n\ndef run(loans, people):\n    rows = join(loans, people)\n    {noisy}\n', SCHEMAS
    )


def world(rows: Rows) -> ClearData:
    data = {
        name: {"id": np.array([str(row) for row in range(ROWS)])}
        | {column: np.array([row[column] for row in rows[name]]) for column in EXTREMES[name]}
        for name in OWNERS
    }
    lots = np.array([1.0, 0.0, 1.0])
    return ClearData(data, DOMAINS, _Lots(lots))  # type: ignore[arg-type]


class _Lots(dict[Any, Any]):
    def __init__(self, bits: Any) -> None:
        super().__init__()
        self.bits = bits

    def __missing__(self, key: Any) -> Any:
        return self.bits


def drawn(chance: random.Random) -> Rows:
    return {
        name: [{column: chance.choice(found) for column, found in columns.items()} for _ in range(ROWS)]
        for name, columns in EXTREMES.items()
    }


def change(plan: Plan, node: int, before: Rows, after: Rows) -> tuple[float, float]:
    one, other = (
        np.asarray(evaluate_nodes(plan, world(rows))[0][node], np.float64) for rows in (before, after)
    )
    return float(np.abs(one - other).sum()), float(((one - other) ** 2).sum()) ** 0.5


def replaced(rows: Rows, name: str, values: dict[str, Any]) -> Rows:
    return rows | {name: [rows[name][0] | values, *rows[name][1:]]}


def greatest_change(plan: Plan, node: int, name: str) -> tuple[float, float]:
    """Return the greatest change by the first row's values of one dataset, whatever the others' are."""
    columns = sorted({read.column for read in plan.graph.columns} & EXTREMES[name].keys())
    other = next(each for each in OWNERS if each != name)
    fixed = sorted({read.column for read in plan.graph.columns} & EXTREMES[other].keys())
    chance, found = random.Random(1), (0.0, 0.0)
    for theirs in product(*[EXTREMES[other][column] for column in fixed]):
        rows = replaced(drawn(chance), other, dict(zip(fixed, theirs, strict=True)))
        several = [
            np.asarray(
                evaluate_nodes(plan, world(replaced(rows, name, dict(zip(columns, mine, strict=True)))))[0][
                    node
                ],
                float,
            )
            for mine in product(*[EXTREMES[name][column] for column in columns])
        ]
        for one, two in product(several, several):
            gap = np.abs(one - two)
            found = max(found[0], float(gap.sum())), max(found[1], float((gap**2).sum()) ** 0.5)
    return found


ROOT_2 = 2**0.5
CASES: dict[str, tuple[str, str, float, float]] = {
    # name -> (figure, dataset, l1, l2)
    "a count by a key changes in two groups": ("count(rows, by=rows.people.h)", "people", 2, ROOT_2),
    "a key of another owner changes nothing": ("count(rows, by=rows.people.h)", "loans", 0, 0),
    "a count of bins changes in two bins": ("count(rows, by=bins(rows.people.a))", "people", 2, ROOT_2),
    "a count of one public bin changes by one": (
        "count(rows, by=bins(rows.people.a, edges=[2, 6]))", "people", 1, 1),
    "a count of bits changes by one": ("count(rows.people.b)", "people", 1, 1),
    "a choice of rows changes by one": ("count(rows, where=rows.people.b)", "people", 1, 1),
    "a sum changes by the width of its domain": ("sum(rows.people.a)", "people", 9, 9),
    "a domain that begins above 0 changes by its width": ("sum(rows.loans.r)", "loans", 3, 3),
    "a clipped sum changes by the width of the clip": ("sum(clip(rows.loans.r, 3, 4))", "loans", 1, 1),
    "a square is of its domain": ("sum(rows.loans.r * rows.loans.r)", "loans", 21, 21),
    "squares of both signs begin at 0": ("sum(rows.people.i * rows.people.i)", "people", 1, 1),
    "rows of one's own choice come with their value": (
        "sum(rows.loans.r, where=rows.people.b)", "people", 5, 5),
    "a value that one chooses oneself may be left out": (
        "sum(rows.loans.r, where=rows.loans.m)", "loans", 5, 5),
    "a value moves from group to group with its key": (
        "sum(rows.loans.r, by=rows.people.h)", "people", 10, 5 * ROOT_2),
    "a value in a group of another's key changes by its width": (
        "sum(rows.loans.r, by=rows.people.h)", "loans", 3, 3),
    "key and value of one owner move together": (
        "sum(rows.people.a, by=rows.people.h)", "people", 18, 9 * ROOT_2),
    "a value of both signs changes most within its group": (
        "sum(rows.people.i, by=rows.people.h)", "people", 2, 2),
    "every column of a matrix adds": (
        "sum(stack([rows.people.a, rows.people.a * 2]))", "people", 27, (9**2 + 18**2) ** 0.5),
    "columns of another owner add nothing": (
        "sum(stack([rows.people.a, rows.loans.r]))", "people", 9, 9),
    "categories in the place of a matrix change twice": ("sum(one_hot(rows.people.h))", "people", 2, ROOT_2),
    "crossed groups change in two cells": (
        "sum(one_hot(rows.loans.k), by=rows.people.h)", "people", 2, ROOT_2),
    "groups that overlap change each": (
        "count(rows, by=stack([rows.people.b, ~rows.people.b, rows.people.a > 4]))", "people", 3, 3**0.5),
    "sums of groups that overlap change each": (
        "sum(rows.loans.r, by=stack([rows.people.b, rows.people.a > 4]))", "people", 10, 5 * ROOT_2),
    "a comparison of two owners is a bit": ("count(rows.loans.r > rows.people.a)", "people", 1, 1),
    "minutes of a timestamp are its seconds": ("sum(rows.people.t)", "people", 86_400, 86_400),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_sensitivity_of_a_sum_is_the_greatest_change_by_one_rows_values_of_one_owner(name: str) -> None:
    figure, dataset, l1, l2 = CASES[name]
    plan = plan_of(figure)
    (atom,) = plan.releases[0].noise_on
    told = sensitivity(atom, columns_of(plan.graph, plan.datasets, OWNERS[dataset]))
    assert (float(told[0]), float(told[1])) == pytest.approx((l1, l2), abs=16 * float(ULP))
    assert greatest_change(plan, atom.node, dataset) == pytest.approx((l1, l2), abs=1e-9)
    assert told[0] >= Fraction(l1)
    assert float(told[1]) >= l2 - 1e-12


def test_reals_are_bounded_by_what_shares_hold() -> None:
    (atom,) = plan_of("sum(rows.people.d)").releases[0].noise_on
    plan = plan_of("sum(rows.people.d)")
    low, high = Fraction(floor(Fraction(1, 10) / ULP)) * ULP, Fraction(ceil(Fraction(7, 10) / ULP)) * ULP
    assert sensitivity(atom, columns_of(plan.graph, plan.datasets, "city"))[0] == high - low > Fraction(6, 10)
    (product_,) = plan_of("sum(rows.people.i * rows.loans.w)").releases[0].noise_on
    most = sensitivity(product_, columns_of(plan.graph, plan.datasets, "city"))[0]
    assert most >= 7 + 8 * ULP


def test_no_replacement_changes_sums_of_random_pages_by_more() -> None:
    """Of one row's values of one owner's columns, over pages that somebody could write."""
    judged = 0
    for seed in range(400):
        source = Draw(seed).page().replace("exact=True", "noise=laplace(epsilon=1)")
        try:
            plan = trace(source, SCHEMAS)
        except PageRefused:
            continue
        atoms = {atom.node: atom for one in plan.releases for atom in one.noise_on}
        chance = random.Random(seed)
        for _ in range(6):
            rows, name = drawn(chance), chance.choice(["loans", "people"])
            other = replaced(rows, name, drawn(chance)[name][0])
            values = [evaluate_nodes(plan, world(each))[0] for each in (rows, other)]
            for node, atom in atoms.items():
                told = sensitivity(atom, columns_of(plan.graph, plan.datasets, OWNERS[name]))
                gap = np.abs(np.asarray(values[0][node], float) - np.asarray(values[1][node], float))
                assert float(gap.sum()) <= float(told[0]) + 1e-9, source
                assert float((gap**2).sum()) ** 0.5 <= float(told[1]) + 1e-9, source
                judged += 1
    assert judged > 300


def test_a_count_of_joined_rows_is_covered_for_one_row_that_joins_or_not() -> None:
    plan = plan_of("count(rows)")
    (atom,) = plan.releases[0].noise_on
    assert sensitivity(atom, columns_of(plan.graph, plan.datasets, "city")) == (0, 0)
    assert greatest(plan.graph, plan.datasets, atom) == (1, 1)


def test_the_greatest_is_over_owners_and_a_row_of_one_owner_is_of_all_its_datasets() -> None:
    plan = plan_of("sum(rows.people.a, where=rows.loans.m)")
    (atom,) = plan.releases[0].noise_on
    assert greatest(plan.graph, plan.datasets, atom) == (9, 9)
    grouped = plan_of("sum(rows.people.a, by=rows.loans.k)")
    (atom,) = grouped.releases[0].noise_on
    assert greatest(grouped.graph, grouped.datasets, atom)[0] == 18
    alone = trace(
        '"""A page."""\n\n\ndef run(loans, people):\n    rows = join(loans, people)\n'
        '    release(sum(rows.people.a, by=rows.loans.k), to="x", noise=laplace(epsilon=1))\n',
        {name: DatasetSchema("bank", *_rest(name)) for name in SCHEMAS},
    )
    (atom,) = alone.releases[0].noise_on
    both = sensitivity(atom, columns_of(alone.graph, alone.datasets, "bank"))
    assert both[0] == 18
    assert greatest(alone.graph, alone.datasets, atom) == both


def _rest(name: str) -> tuple[Any, ...]:
    one = SCHEMAS[name]
    return one.columns, one.key, one.categories, one.bins, one.bounds


@pytest.mark.parametrize(
    ("figure", "schemas", "code"),
    [
        ("sum(people.a)", {"a": "integer"}, "people.a, whose schema declares no low and high"),
        ("count(people, by=people.h)", {"h": "text"}, ""),
    ],
)
def test_what_no_domain_bounds_is_named(figure: str, schemas: dict[str, str], code: str) -> None:
    source = f'"""A page."""\n\n\ndef run(people):\n    release({figure}, to="x", noise=laplace(epsilon=1))\n'
    plan = trace(source, {"people": DatasetSchema("city", schemas)})
    (atom,) = plan.releases[0].noise_on
    if code:
        with pytest.raises(Unfit, match=code) as found:
            greatest(plan.graph, plan.datasets, atom)
        assert found.value.rule == "DOMAIN_NOT_REGISTERED"
    else:
        assert greatest(plan.graph, plan.datasets, atom)[0] == 2


def test_a_column_whose_missing_cells_are_means_of_the_others_takes_no_noise() -> None:
    """One row's value would change the cells of all rows that lack one."""
    schema = DatasetSchema("city", {"d": "decimal"}, bounds={"d": ("0", "1")}, averaged=frozenset({"d"}))
    for figure in ("sum(people.d)", "sum(clip(people.d, 0, 1))", "count(people.d > 0.5)",
                   "count(people, by=bins(people.d, edges=[0, 1, 2]))"):  # fmt: skip
        source = (
            f'"""A page."""\n\n\ndef run(people):\n    release({figure}, to="x", noise=laplace(epsilon=1))\n'
        )
        with pytest.raises(PageRefused, match="NOISE_UNBOUNDED"):
            trace(source, {"people": schema})
