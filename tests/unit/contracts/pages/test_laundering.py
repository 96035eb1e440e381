"""Pages that would carry more out of a column than its grant allows are refused, each with its reason.

The requester and receiver is bank, which brings `loans` and may craft its columns as it likes; `people` is
city's.
"""

from __future__ import annotations

import pytest

from contracts.pages.faults import PageRefused
from contracts.pages.page import trace
from contracts.pages.releases import against
from contracts.pages.tables import DatasetSchema

SCHEMAS = {
    "loans": DatasetSchema(
        "bank",
        {"id": "text", "weight": "integer", "kind": "category", "mark": "boolean", "limit": "decimal"},
        categories={"kind": 3},
    ),
    "people": DatasetSchema(
        "city",
        {
            "id": "text",
            "age": "integer",
            "income": "decimal",
            "home": "category",
            "ill": "boolean",
            "name": "category",
            "debt": "decimal",
            "score": "decimal",
            "key": "text",
            "flag": "boolean",
            "seen": "timestamp",
            "points": "decimal",
            "town": "category",
        },
        ("id",),
        categories={"home": 3, "name": 3, "town": 3},
    ),
}
OWN = {("loans", name): "plain" for name in SCHEMAS["loans"].columns}
GRANTS = OWN | {
    ("people", "id"): "join-only",
    ("people", "age"): "exact-aggregate",
    ("people", "income"): "exact-aggregate",
    ("people", "home"): "exact-aggregate",
    ("people", "ill"): "exact-aggregate",
    ("people", "debt"): "compare-only",
    ("people", "score"): "encrypted-only",
    ("people", "key"): "join-only",
    ("people", "flag"): "join-only",
    ("people", "seen"): "exact-aggregate",
    ("people", "points"): "aggregate-only",
    ("people", "town"): "aggregate-only",
}
"""`name` is not granted at all."""
OUT = 'release({}, to="bank", exact=True)'
NOISY = 'release({}, to="bank", noise=laplace(epsilon=1))'
CHOSEN = (
    "it chooses the rows that are counted or summed, together with a column that its receiver or the"
    " initiator owns"
)
FITTED = (
    "w = zeros(2)\n    for step in repeat(9):\n"
    "        slope = noised(x.T @ (sigmoid(x @ w) - rows.loans.mark), gaussian(epsilon=1, delta=0.001))\n"
    '        w = clip(w - slope, -5, 5)\n    release(w, to="bank", noised=True)'
)
TALLY = "its comparisons with another owner's column are counted"
FIGURE, ROW = "it is in a figure that is no plain count or sum", "it leaves as values of single rows"

ATTACKS: dict[str, tuple[str, str, str]] = {
    # name -> (statements; column and use that is refused; its reason)
    "cells of a column": (OUT.format("people.income"), "income plain", ROW),
    "cells of a join": (OUT.format("rows.people.income"), "income plain", ROW),
    "a bit of each row": (OUT.format("rows.people.income > 3"), "income plain", ROW),
    "a bit against an own column": (OUT.format("rows.people.debt > rows.loans.limit"), "debt plain", ROW),
    "cells times one": (OUT.format("rows.people.income * 1"), "income plain", ROW),
    "cells through where": (OUT.format("where(rows.people.ill, 1, 0)"), "ill plain", ROW),
    "cells through sort_by": (OUT.format("sort_by(rows.people.income)"), "income plain", ROW),
    "cells in the order of another column": (
        OUT.format("sort_by(rows.loans.weight, rows.people.income)"),
        "income plain",
        ROW,
    ),
    "the first rows": (OUT.format("first(rows.people.income, 1)"), "income plain", FIGURE),
    "the greatest": (OUT.format("greatest(rows.people.income)"), "income plain", FIGURE),
    "one row by its position": (
        OUT.format("sum(rows.people.income, where=position(rows) == 3)"),
        "income plain",
        FIGURE,
    ),
    "one row by a filter on its position": (
        f"one = filter(rows, position(rows) == 3)\n    {OUT.format('sum(one.people.income)')}",
        "income plain",
        FIGURE,
    ),
    "rows by lot": (OUT.format("sum(rows.people.income, where=lot(rows, 0.01))"), "income plain", FIGURE),
    "public weights": (OUT.format("sum(rows.people.income * position(rows))"), "income plain", FIGURE),
    "powers of two as own weights": (
        OUT.format("sum(rows.people.ill * rows.loans.weight)"),
        "ill plain",
        FIGURE,
    ),
    "own weights by @": (OUT.format("rows.people.ill @ rows.loans.weight"), "ill plain", FIGURE),
    "own weights through where": (
        OUT.format("sum(where(rows.people.ill, rows.loans.weight, 0))"),
        "ill plain",
        FIGURE,
    ),
    "own weights summed by their groups": (
        OUT.format("sum(rows.loans.weight, by=rows.people.home)"),
        "home plain",
        CHOSEN,
    ),
    "own weights of rows that a bit chooses": (
        OUT.format("sum(rows.loans.weight, where=rows.people.ill)"),
        "ill plain",
        CHOSEN,
    ),
    "groups that the receiver chose": (
        OUT.format("sum(rows.people.income, by=rows.loans.kind)"),
        "income plain",
        "it is summed without weights, together with a column that its receiver or the initiator owns",
    ),
    "rows that the receiver marked": (
        OUT.format("sum(rows.people.income, where=rows.loans.mark)"),
        "income plain",
        "it is summed without weights, together with a column that its receiver or the initiator owns",
    ),
    "counts of groups that the receiver chose": (
        OUT.format("count(rows.people.ill, by=rows.loans.kind)"),
        "ill plain",
        "it is summed without weights, together with a column that its receiver or the initiator owns",
    ),
    "counts above limits that the receiver chose": (
        OUT.format("count(rows.loans.limit <= rows.people.debt)"),
        "debt plain",
        TALLY,
    ),
    "counts above limits of somebody who neither asks nor receives": (
        OUT.replace("bank", "state").format("count(rows.people.debt > rows.loans.limit)"),
        "debt plain",
        TALLY,
    ),
    "the lesser of two counted comparisons": (
        OUT.replace("bank", "state").format(
            "minimum(count(rows.people.debt > rows.loans.limit), count(rows.people.ill))"
        ),
        "debt plain",
        TALLY,
    ),
    "counts of equal cells": (
        OUT.replace("bank", "state").format("count(rows.people.debt == rows.loans.limit)"),
        "debt plain",
        TALLY,
    ),
    "a compared column in any other figure with noise": (
        NOISY.format("sum(rows.people.debt)"),
        "debt noisy",
        "it is summed without weights",
    ),
    "counts of comparisons over groups that the receiver chose": (
        OUT.format("count(rows.people.ill & (rows.loans.limit <= rows.people.debt))"),
        "ill plain",
        CHOSEN,
    ),
    "a crafted threshold": (
        OUT.format("count(rows, where=rows.people.income > 3.1)"),
        "income plain",
        FIGURE,
    ),
    "shifted bins": (
        OUT.format("count(rows, by=bins(rows.people.income, edges=[0, 3.1, 9]))"),
        "income plain",
        FIGURE,
    ),
    "who was there at one moment": (
        OUT.format('count(rows, where=rows.people.seen == moment("2024-01-31 12:00"))'),
        "seen plain",
        FIGURE,
    ),
    "days that the requester chose, of a timestamp": (
        OUT.format('count(rows, by=bins(rows.people.seen, edges=[moment("2024-01-31 12:00"), 2 ** 31]))'),
        "seen plain",
        FIGURE,
    ),
    "seconds between a timestamp and the own day": (
        OUT.format("sum(rows.people.seen - rows.loans.weight * 86400)"),
        "seen plain",
        FIGURE,
    ),
    "a difference of two groups in one condition": (
        OUT.format('count(rows, where=(rows.people.home == "a") | (rows.people.home == "b"))'),
        "home plain",
        FIGURE,
    ),
    "cubes, of which n give all cells": (
        OUT.format("sum(rows.people.income ** 3)"),
        "income plain",
        FIGURE,
    ),
    "a product of two columns": (
        OUT.format("sum(rows.people.income * rows.people.age)"),
        "income plain",
        FIGURE,
    ),
    "a compared column summed": (
        OUT.format("sum(rows.people.debt)"),
        "debt aggregate",
        "it is summed without weights",
    ),
    "a compared column against a public number": (
        OUT.format("count(rows.people.debt > 3)"),
        "debt plain",
        FIGURE,
    ),
    "a compared column against one of its own owner": (
        OUT.format("count(rows.people.debt > rows.people.age)"),
        "debt plain",
        FIGURE,
    ),
    "a compared column against a shifted own column": (
        OUT.format("count(rows.people.debt > rows.loans.limit + 1)"),
        "debt plain",
        FIGURE,
    ),
    "a comparison that chooses what is summed": (
        OUT.format("sum(rows.people.income, where=rows.people.debt > rows.loans.limit)"),
        "debt plain",
        FIGURE,
    ),
    "a column for noise, summed without": (
        OUT.format("sum(rows.people.points)"),
        "points aggregate",
        "it is summed without weights",
    ),
    "a column for noise that chooses groups without": (
        OUT.format("sum(rows.people.income, by=rows.people.town)"),
        "town aggregate",
        "it chooses the rows that are counted or summed",
    ),
    "a column for noise in a figure without": (
        OUT.format("sum(clip(rows.people.points, 0, 1) * rows.loans.weight)"),
        "points plain",
        FIGURE,
    ),
    "a column for models, counted": (
        OUT.format("sum(rows.people.score)"),
        "score aggregate",
        "it is summed without weights",
    ),
    "a column for models, with noise": (
        NOISY.format("sum(clip(rows.people.score, 0, 1))"),
        "score noisy",
        FIGURE,
    ),
    "an identifier as groups": (
        OUT.format("count(rows, by=rows.people.key)"),
        "key plain",
        FIGURE,
    ),
    "all but one identifier": (
        OUT.format('sum(people.income) - sum(people.income, where=~(people.id == "u1"))'),
        "income plain",
        FIGURE,
    ),
    "a count of one identifier and of a group": (
        OUT.format('count(people, where=(people.id == "u1") & people.ill)'),
        "ill plain",
        FIGURE,
    ),
    "rows of one identifier": (
        f'one = filter(people, people.id == "u1")\n    {OUT.format("sum(one.income)")}',
        "income plain",
        FIGURE,
    ),
    "a text without categories": (
        OUT.format('sum(people.income, where=people.key == "u1")'),
        "income plain",
        FIGURE,
    ),
    "an identifier compared": (OUT.format('rows.people.id == "u1"'), "id plain", ROW),
    "a column that nobody granted": (
        OUT.format("count(rows, by=rows.people.name)"),
        "name aggregate",
        "it chooses the rows that are counted or summed",
    ),
    "a column that only decides a filter": (
        f'some = filter(rows, rows.people.name == "x")\n    {OUT.format("count(some)")}',
        "name aggregate",
        "it chooses the rows that are counted or summed",
    ),
    "a filter that chooses cells": (
        f"some = filter(rows, rows.people.ill)\n    {OUT.format('some.loans.weight')}",
        "ill plain",
        ROW,
    ),
    "a join on a granted column that is none": (
        f'other = join(loans, people, on=("id", "income"))\n    {OUT.format("count(other)")}',
        "income join",
        "it decides which rows are joined",
    ),
    "coefficients on crafted indicators": (
        "x = stack([rows.loans.weight, rows.loans.limit])\n    w = zeros(2)\n    for step in repeat(9):\n"
        f"        w = w - x.T @ (sigmoid(x @ w) - rows.people.ill)\n    {OUT.format('w')}",
        "ill plain",
        FIGURE,
    ),
    "cells that a loop carries": (
        "x = rows.loans.weight\n    for step in repeat(2):\n        x = x + rows.people.income\n"
        f"    {OUT.format('x')}",
        "income plain",
        ROW,
    ),
    "cells that come into a loop in its second turn": (
        "x = rows.loans.weight\n    y = rows.loans.weight\n    for step in repeat(2):\n        x = y\n"
        f"        y = real(rows.people.income)\n    {OUT.format('x')}",
        "income plain",
        ROW,
    ),
    "cells that a loop begins with and drops": (
        "x = real(rows.people.income)\n    y = real(rows.loans.weight)\n    for step in repeat(1):\n"
        f"        y = x\n        x = real(rows.loans.weight)\n    {OUT.format('y')}",
        "income plain",
        ROW,
    ),
    "a bit of a dataset that chooses its rows": (
        OUT.format("sum(people.age, where=people.flag)"),
        "flag aggregate",
        "it chooses the rows that are counted or summed",
    ),
    "a mean that enters every row": (
        OUT.format("sum(rows.people.income - mean(rows.people.income))"),
        "income plain",
        FIGURE,
    ),
    "a sum of running sums": (OUT.format("sum(running_sum(people.income))"), "income plain", FIGURE),
    "a sum of sorted cells": (OUT.format("sum(sort_by(people.income))"), "income plain", FIGURE),
    "cells that running sums hold": (OUT.format("running_sum(rows.people.income)"), "income plain", ROW),
    "cells of the row before": (OUT.format("shift(rows.people.income)"), "income plain", ROW),
    "cells in another shape": (OUT.format("rows.people.income[:, None]"), "income plain", ROW),
    "a model with noise of a column that is for shares": (
        f"x = stack([clip(rows.people.score, 0, 1), clip(rows.loans.weight, 0, 1)])\n    {FITTED}",
        "score noisy",
        "it is in a sum with noise",
    ),
    "scores of a model with noise": (
        f"x = stack([clip(rows.people.points, 0, 1), clip(rows.loans.weight, 0, 1)])\n    {FITTED}\n"
        f"    {OUT.format('x @ w')}",
        "points plain",
        ROW,
    ),
    "an exact count by a model with noise": (
        f"x = stack([clip(rows.people.points, 0, 1), clip(rows.loans.weight, 0, 1)])\n    {FITTED}\n"
        f"    {OUT.format('count(x @ w > 0)')}",
        "points plain",
        FIGURE,
    ),
    "a column for shares that a row holds by noise": (
        "n = noised(sum(clip(rows.people.score, 0, 1)), laplace(epsilon=1))\n"
        f"    {OUT.format('rows.loans.weight * n')}",
        "score noisy",
        "it is in a sum with noise",
    ),
    "cells beside harmless ones": (
        OUT.format("stack([rows.loans.weight, rows.people.age])"),
        "age plain",
        ROW,
    ),
}
BEFORE_ANY_GRANT = {
    "noise on single rows": (NOISY.format("rows.people.income"), "NOISE_ON_ROWS"),
    "noise that nothing bounds": (
        NOISY.format("sum(rows.people.income * rows.people.age)"),
        "NOISE_UNBOUNDED",
    ),
    "noise on a greatest": (NOISY.format("greatest(rows.people.income)"), "NOISE_UNBOUNDED"),
    "noise on coefficients": (NOISY.format("rows.people.ill @ rows.people.income"), "NOISE_UNBOUNDED"),
    "noise on cells that leave the range of shares": (
        NOISY.format("sum(maximum(clip(rows.people.age, 0, 1) + 70368744177664 + 70368744177664, 0))"),
        "NOISE_UNBOUNDED",
    ),
    "noise on groups that are no bits there": (
        NOISY.format("count(rows, by=bins(rows.people.age + 4611686018427387904, edges=[0, 5, 9]))"),
        "NOISE_UNBOUNDED",
    ),
    "noise once on what others see through, clipped": (
        NOISY.format("sum(clip(rows.people.income - mean(rows.people.income), 0, 1))"),
        "NOISE_UNBOUNDED",
    ),
    "noise once on what others see through": (
        NOISY.format("sum(where(rows.people.income > mean(rows.people.income), 1, 0))"),
        "NOISE_UNBOUNDED",
    ),
    "noise inside on cells that nothing bounds": (
        f"x = stack([rows.people.income ** 2, real(rows.loans.weight)])\n    {FITTED}",
        "NOISE_UNBOUNDED",
    ),
    "noise inside on errors of coefficients that nothing bounds": (
        "x = stack([clip(rows.people.points, 0, 1), clip(rows.loans.weight, 0, 1)])\n    "
        + FITTED.replace("clip(w - slope, -5, 5)", "w - slope"),
        "NOISE_UNBOUNDED",
    ),
    "noise inside on what others see through": (
        "p = clip(rows.people.points, 0, 1)\n"
        "    x = stack([clip(p - mean(p), 0, 1), real(rows.loans.mark)])\n"
        f"    {FITTED}",
        "NOISE_UNBOUNDED",
    ),
    "noise inside that a sum without is added to": (
        "n = noised(sum(clip(rows.people.age, 0, 1)), laplace(epsilon=1)) + sum(rows.people.age)\n"
        '    release(n, to="bank", noised=True)',
        "NOISE",
    ),
    "noise inside on single rows": (
        'release(noised(rows.people.age, laplace(epsilon=1)), to="bank", noised=True)',
        "NOISE_ON_ROWS",
    ),
    "noise of how many rows are joined": ('release(count(rows), to="bank", noised=True)', "NOISE"),
    "noise of nothing": ('release(sum(rows.people.age), to="bank", noised=True)', "NOISE"),
    "noise on it once more, through what has some": (
        "n = sum(clip(rows.people.age, 0, 1))\n    w = 0\n    for step in repeat(2):\n"
        "        w = w + n * noised(sum(clip(rows.people.points, 0, 1)), laplace(epsilon=1))\n    "
        + NOISY.format("w"),
        "NOISE",
    ),
    "a branch": ("if sum(rows.people.ill) > 3:\n        pass", "SECRET_BRANCH"),
    "as many turns as a secret": ("for i in range(count(rows)):\n        pass", "SECRET_NUMBER"),
}


def page(statements: str) -> str:
    return f'"""A page."""\n\n\ndef run(loans, people):\n    rows = join(loans, people)\n    {statements}\n'


@pytest.mark.parametrize("name", ATTACKS)
def test_what_carries_more_out_than_is_granted_is_refused_with_its_reason(name: str) -> None:
    statements, wanted, reason = ATTACKS[name]
    plan = trace(page(statements), SCHEMAS)
    found = {(f"{one.column} {one.use}", one.reason) for one in against(plan.uses, plan.releases, GRANTS)}
    assert (wanted, reason) in found


@pytest.mark.parametrize("name", BEFORE_ANY_GRANT)
def test_what_no_grant_could_allow_is_refused_when_it_is_traced(name: str) -> None:
    statements, code = BEFORE_ANY_GRANT[name]
    with pytest.raises(PageRefused) as refused:
        trace(page(statements), SCHEMAS)
    assert [item.rule for item in refused.value.diagnostics] == [code]


HONEST = {
    "a count": OUT.format("count(rows)"),
    "sums by registered groups": OUT.format("sum(rows.people.income, by=rows.people.home)"),
    "means by two groups": OUT.format("mean(rows.people.income, by=rows.people.home, where=rows.people.ill)"),
    "a deviation": OUT.format("sqrt(mean(rows.people.age ** 2) - mean(rows.people.age) ** 2)"),
    "registered bins": OUT.format("count(rows, by=bins(rows.people.income))"),
    "counted comparisons with noise": NOISY.format("count(rows.people.debt > rows.loans.limit)"),
    "a noisy mean of what is computed": NOISY.format(
        "mean(clip(clip(rows.people.income, 0, 9) * clip(rows.loans.weight, 0, 9), 0, 9))"
    ),
    "a noisy threshold": NOISY.format("count(rows.people.income > 3.1)"),
    "a model that stays": (
        "x = stack([rows.people.score, rows.people.income])\n    w = zeros(2)\n    for step in repeat(9):\n"
        '        w = w - x.T @ (sigmoid(x @ w) - rows.loans.mark)\n    keep(w, "model")'
    ),
    "a model with noise": (
        f"x = stack([clip(rows.people.points, 0, 1), clip(rows.loans.weight, 0, 1)])\n    {FITTED}\n"
        f"    {NOISY.format('count(x @ w > 0)')}"
    ),
    "a model with noise that stays shares": (
        f"x = stack([clip(rows.people.score, 0, 1), clip(rows.people.points, 0, 1)])\n    {FITTED}"
    ).replace('release(w, to="bank", noised=True)', 'keep(w, "model")'),
    "own cells": OUT.format("loans.weight"),
    "noise on a column for noise": NOISY.format("sum(clip(rows.people.points, 0, 1), by=rows.people.town)"),
    "noise on a column for exact figures": NOISY.format("sum(clip(rows.people.age, 0, 1))"),
    "noise on comparisons over groups": NOISY.format(
        "count(rows.people.debt > rows.loans.limit, by=rows.people.town)"
    ),
    "a compared column that stays shares": 'keep(rows.people.debt, "debt")',
    "a column for noise that stays shares": 'keep(rows.people.points, "points")',
}


@pytest.mark.parametrize("name", HONEST)
def test_what_the_grants_allow_is_not_refused(name: str) -> None:
    plan = trace(page(HONEST[name]), SCHEMAS)
    assert against(plan.uses, plan.releases, GRANTS) == ()


def test_a_figure_that_packs_many_sums_counts_as_many() -> None:
    source = page(
        OUT.format('sum(rows.people.age, where=rows.people.home == "a") + 1000 * sum(rows.people.age)')
    )
    (release,) = trace(source, SCHEMAS).releases
    assert release.kind == "sum"
    assert release.figures.value({}) == 2
    assert release.cells.value({}) == 1


def test_a_figure_of_rows_that_hold_figures_counts_all_of_them() -> None:
    source = page(OUT.format("sum((rows.people.age - mean(rows.people.age)) ** 2)"))
    (release,) = trace(source, SCHEMAS).releases
    assert release.kind == "figure"
    assert release.figures.value({}) == 3


def test_own_sums_over_joined_rows_tell_membership_and_say_so() -> None:
    (release,) = trace(page(OUT.format("sum(rows.loans.weight)")), SCHEMAS).releases
    assert release.membership


def test_what_the_initiator_owns_chooses_for_no_receiver() -> None:
    """It asks for the figure, and may work with whoever receives it."""
    source = page(OUT.replace("bank", "state").format("sum(rows.people.income, where=rows.loans.mark)"))
    assert against_all(source, "state") == set()
    assert against_all(source, "bank") & {"income plain"}


def against_all(source: str, initiator: str) -> set[str]:
    plan = trace(source, SCHEMAS, initiator=initiator)
    return {f"{one.column} {one.use}" for one in against(plan.uses, plan.releases, GRANTS)}
