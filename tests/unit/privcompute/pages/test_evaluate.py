"""Running plans: what groups show, what is refused, who computes what, and how many rounds it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from contracts.pages.page import trace
from privcompute.mpc.local import run_local
from privcompute.mpc.rounds import Round
from privcompute.pages import inputs
from privcompute.pages.columns import InputRefused
from privcompute.pages.schedule import WEIGHT_MAX, schedule, together
from tests.unit.privcompute.pages.running import Data, in_the_clear, numbers, on_rep3, run_page, run_plan


def data(**more: Any) -> Data:
    """30 loans and 30 people of whom 25 have one; three of them live free."""
    loans = {"id": np.arange(30), "amount": np.arange(30) * 10, "rate": np.linspace(0, 3, 30)}
    housing = np.where(np.arange(30) < 8, "free", np.where(np.arange(30) < 20, "own", "rent"))
    people = {
        "id": np.arange(5, 35),
        "age": 20 + np.arange(30),
        "housing": housing,
        "old": np.arange(30) > 14,
    }
    types = {
        "loans": {"id": "integer", "amount": "integer", "rate": "decimal"},
        "people": {"id": "integer", "age": "integer", "housing": "category", "old": "boolean"},
    }
    declared = {"people.housing": {"categories": ("free", "own", "rent")}} | more
    return Data({"loans": 0, "people": 1}, {"loans": loans, "people": people}, types, declared)


def page(*lines: str, head: str = "loans, people") -> str:
    body = "\n".join(f"    {line}" for line in ("rows = join(loans, people)", *lines))
    return f'"""A page."""\n\n\ndef run({head}):\n{body}\n'


def released(what: str, name: str = "it") -> str:
    return f'release({what}, to="bank", exact=True, name="{name}")'


# --- groups ------------------------------------------------------------------------------------------------
def test_groups_below_the_minimum_are_hidden_and_one_more_if_their_sum_would_tell() -> None:
    source = page(
        released("count(rows, by=rows.people.housing)", "counts"),
        released("sum(rows.loans.amount, by=rows.people.housing)", "sums"),
        released("mean(rows.loans.amount, by=rows.people.housing)", "means"),
        released("count(rows)", "all"),
    )
    for clear in (True, False):
        found, _ = run_page(source, data(), clear=clear, min_group=6)
        assert found["counts"] == [None, 12, None], (
            "5 rent, so the smallest other one would be told by the total"
        )
        found, _ = run_page(source, data(), clear=clear, min_group=5)
        assert found["counts"] == [8, 12, 5]
        found, _ = run_page(source, data(), clear=clear, min_group=9)
        assert found["counts"] == [None, 12, None]
        assert found["sums"] == [None, sum(range(130, 250, 10)), None]
        assert found["means"][0] is None
        assert numbers(found["means"][1:2])[0] == pytest.approx(185, abs=1e-4)
        assert found["all"] == 25


def test_a_figure_over_too_few_rows_is_null_and_so_is_what_follows_from_it() -> None:
    source = page(
        'few = filter(rows, (rows.people.housing == "rent") & (rows.loans.amount > 20))',
        released("count(few)", "count"),
        released("sum(few.loans.amount)", "sum"),
        released("mean(few.loans.rate) * 2 + 1", "mean"),
        released("greatest(few.loans.amount)", "greatest"),
        released("sum(rows.loans.amount)", "all"),
    )
    for clear in (True, False):
        found, _ = run_page(source, data(), clear=clear, min_group=6)
        assert [found[name] for name in ("count", "sum", "mean", "greatest")] == [None] * 4
        assert found["all"] == sum(range(50, 300, 10))
        found, _ = run_page(source, data(), clear=clear, min_group=5)
        assert found["count"] == 5
        assert found["greatest"] == 290


def test_what_mixes_groups_is_hidden_where_one_of_them_is() -> None:
    source = page(
        "counts = count(rows, by=rows.people.housing)",
        released("sum(counts)", "total"),
        released("greatest(counts)", "greatest"),
    )
    found, _ = run_page(source, data(), min_group=9)
    assert found == {"total": None, "greatest": None}


def test_counts_of_bits_are_groups_too() -> None:
    source = page(released("count(rows.loans.rate > rows.people.age - 40)", "it"))
    small = run_page(source, data(), min_group=1)[0]["it"]
    assert small is not None
    assert 0 < small < 25
    assert run_page(source, data(), min_group=small)[0]["it"] == small
    assert run_page(source, data(), min_group=small + 1)[0]["it"] is None


def test_cells_of_single_rows_leave_where_rows_count_and_nowhere_else() -> None:
    source = page("old = filter(rows, rows.people.old)", released("old.loans.amount"))
    found, _ = run_page(source, data())
    assert found["it"] == [None] * 15 + [10 * row for row in range(20, 30)]


# --- what is refused ---------------------------------------------------------------------------------------
def test_a_page_traced_without_schemas_does_not_run() -> None:
    plan = trace(page(released("sum(rows.loans.amount)")))
    with pytest.raises(
        InputRefused, match="its type is not known; trace the page with its datasets' schemas"
    ):
        run_plan(plan, data())


def test_texts_do_not_leave() -> None:
    with pytest.raises(InputRefused, match="release 'it' is of texts, which leave no computation"):
        run_page(page(released("rows.people.housing")), data())


def test_groups_of_a_column_without_declared_categories_are_refused_by_its_name() -> None:
    with pytest.raises(InputRefused, match="column housing: its schema declares no categories"):
        run_page(page(released("count(rows, by=rows.people.housing)")), data(**{"people.housing": {}}))


@pytest.mark.parametrize("edges", [("0", "10", "0.0", "10.0"), ("3", "1", "2"), ("1", "1")])
def test_registered_edges_that_do_not_ascend_are_refused(edges: tuple[str, ...]) -> None:
    """One row would be in several bins, and noise covers a row that is in one."""
    of = data(**{"loans.amount": {"edges": edges}})
    with pytest.raises(InputRefused, match=r"column amount: its edges of bins, .* do not ascend"):
        run_page(page(released("count(rows, by=bins(rows.loans.amount))")), of)


def test_a_value_of_too_many_cells_is_refused_before_anything_is_shared(monkeypatch: Any) -> None:
    monkeypatch.setattr(inputs, "CELLS_MAX", 600)
    with pytest.raises(InputRefused, match=r"less of 25 x 25 cells, at most 600"):
        run_page(page(released("sum(sum(rows.loans.rate[:, None] < rows.loans.rate[None, :]))")), data())


# --- who computes what -------------------------------------------------------------------------------------
def test_an_owner_computes_alone_what_needs_nobody_else_and_shares_the_figure() -> None:
    source = page("age = rows.people.age", released("sqrt(mean(age * age) - mean(age) * mean(age))"))
    found, local = run_page(source, data())
    age = 20 + np.arange(25)
    assert numbers(found["it"]) == pytest.approx(age.std(), abs=2**-17 + 1e-6)
    assert max(local.sent_bytes) < 200, "one figure is shared and opened, no column"


def test_a_column_is_shared_once_however_often_it_is_used() -> None:
    lines = [
        released(f"sum(rows.loans.rate * rows.people.age * {factor})", f"f{factor}") for factor in range(1, 5)
    ]
    one = run_page(page(lines[0]), data())[1]
    four = run_page(page(*lines), data())[1]
    assert max(four.sent_bytes) < max(one.sent_bytes) * 1.6


def test_what_stays_shares_is_kept_and_never_opened() -> None:
    source = page('keep(stack([rows.loans.amount, rows.people.age]), name="model")')
    plan = trace(source, data().schemas())
    runs = data().runs(plan)
    local = run_local([in_the_clear(plan, run, me) for me, run in enumerate(runs)])
    opened, outputs = local.results[0]
    assert opened == {}
    assert outputs.kept["model"].shape == (25, 2)


# --- rounds ------------------------------------------------------------------------------------------------
def test_independent_steps_share_their_rounds() -> None:
    one = released("sum(rows.loans.rate / (rows.people.age + 1))", "f0")
    lines = [
        released(f"sum(rows.loans.rate / (rows.people.age + {number}))", f"f{number}")
        for number in range(2, 12)
    ]
    rounds = max(run_page(page(one), data())[1].rounds)
    assert max(run_page(page(one, *lines), data())[1].rounds) == rounds + len(lines), (
        "only their opening adds"
    )


def test_a_loop_runs_beside_what_does_not_need_it() -> None:
    loop = (
        "w = sum(rows.people.age * 0)",
        "for step in repeat(6):",
        "    w = w + sum(rows.loans.rate * w) + 1",
    )
    alone = max(run_page(page(*loop, released("w")), data())[1].rounds)
    both = page(*loop, released("w"), released("greatest(rows.loans.rate * rows.people.age)", "other"))
    other = page(released("greatest(rows.loans.rate * rows.people.age)", "other"))
    assert max(run_page(both, data())[1].rounds) < alone + max(run_page(other, data())[1].rounds) - 5


def test_what_a_loop_does_not_change_is_done_once() -> None:
    def rounds(turns: int) -> int:
        source = page(
            "w = sum(rows.people.age)",
            f"for step in repeat({turns}):",
            "    w = w + sum(rows.loans.rate / rows.people.age)",
            released("w"),
        )
        return max(run_page(source, data())[1].rounds)

    assert rounds(9) == rounds(2)


def test_progress_counts_steps_to_the_last() -> None:
    source = page(*("w = sum(rows.people.age)", "for step in repeat(4):", "    w = w * 2"), released("w"))
    plan = trace(source, data().schemas())
    seen: list[tuple[str, int, int]] = []
    runs = [replace(run, progress=lambda *said: seen.append(said)) for run in data().runs(plan)[:1]]
    runs += data().runs(plan)[1:]
    run_local([on_rep3(plan, run, me) for me, run in enumerate(runs)])
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})
    assert {stage.partition(": ")[0] for stage, _, _ in seen} == {"page"}
    assert {"page: multiply", "page: share"} <= {stage for stage, _, _ in seen}
    assert seen[-1][1] == seen[-1][2]


def test_heavy_work_waits_for_its_turn() -> None:
    active, most = 0, 0

    def work(_place: int) -> Any:
        nonlocal active, most
        active += 1
        most = max(most, active)
        yield Round({}, {})
        active -= 1

    ended: list[int] = []
    plan = schedule(dict.fromkeys(range(6), ()), dict.fromkeys(range(6), WEIGHT_MAX // 2))
    run_local([together(plan, work, ended.append)])
    assert most == 2
    assert ended == [0, 1, 2, 3, 4, 5]
